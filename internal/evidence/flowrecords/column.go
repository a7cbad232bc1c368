package flowrecords

import (
	"net/netip"
	"strings"
	"unicode/utf8"
)

// role is what a column says.
type role uint8

const (
	roleNone role = iota

	roleSource
	roleTarget
	roleSourcePort
	roleTargetPort
	roleOnlyPort // a column that is called port and nothing more: the server's
	roleProto
	roleService // 443, tcp/443, https (TCP/443)

	roleDay
	roleStamp // of a line; a time of day if there is a day
	roleStart
	roleEnd
	roleDuration

	roleFlags
	roleIcmpType
	roleIcmpPacked // type and code in one number

	roleAction
	roleForwarding // status by IPFIX, 128 and up is dropped
	roleState
	roleArrow // of argus

	rolePackets // of both directions, or of the only one
	rolePacketsSent
	rolePacketsReceived
	roleOctets
	roleOctetsSent
	roleOctetsReceived
	roleTimes

	roleSourceName
	roleTargetName
	roleNatSource
	roleNatTarget
	roleNatTargetPort

	roleSession   // the number of a session, by which a log names it again
	rolePolicy    // a rule or the like: only a firewall's log has it
	roleOneWay    // only exports of flows have it, a record for each direction
	roleInitiated // of Sysmon: the source began
	roleEvent     // kind of a line, where there are several
	roleSampling
	roleStatus  // of a line: AWS says NODATA, SKIPDATA
	roleSubtype // of a line: Palo Alto says start, end

	numRoles // their number
)

// columns are the names by which exports call their columns, reduced by reduce. Of several
// names for a role the earlier one counts where a file has both. Where they come from, each
// read 2026-11-25:
//
//	nfdump        its manual nfdump(1) of 1.7.1, and issue 631 of phaag/nfdump for the columns of 1.7.3 and later
//	NetFlow 9     RFC 3954, 8; IPFIX: https://www.iana.org/assignments/ipfix
//	SiLK          rwcut(1), https://man.freebsd.org/cgi/man.cgi?query=rwcut
//	argus         ra(1), https://manpages.ubuntu.com/manpages/noble/en/man1/ra.1.html
//	Zeek          https://docs.zeek.org/en/v8.2.0/scripts/base/protocols/conn/main.zeek.html
//	Suricata      https://docs.suricata.io/en/latest/output/eve/eve-json-format.html
//	Palo Alto     https://docs.paloaltonetworks.com/pan-os/11-0/pan-os-admin/monitoring/use-syslog-for-monitoring/syslog-field-descriptions/traffic-log-fields
//	Fortinet      https://docs.fortinet.com/document/fortigate/5.6.14/fortios-log-message-reference/419655/traffic-log-support-for-cef,
//	              the native and the CEF form
//	Check Point   https://docs.moreal.co/checkpoint-log-structure/; the columns of SmartView Tracker and SmartConsole are inferred
//	TMG           https://learn.microsoft.com/previous-versions/tn-archive/cc995278(v=technet.10)
//	Stormshield   https://documentation.stormshield.eu/SNS/v4/en/Content/Description_of_Audit_logs/Specific_fields-filter.htm
//	AWS           https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html
//	Elastic       the fields of ECS: source, destination, network, event
//
// The others are plain words that any table of connections may have.
var columns = []struct {
	role  role
	names []string
}{
	{roleSource, []string{
		"idorigh", "sourceip", "sourceipaddress", "sourceaddress", "srcip", "srcaddr", "srcaddress", "srcipaddr", "srcipaddress", "sourceipv4address", "sourceipv6address",
		"ipv4srcaddr", "ipv6srcaddr", "src4addr", "src6addr", "ipsrc", "sip", "sa", "saddr", "initiatorip", "clientip", "clientaddress", "clientipandport",
		"sourceipport", "srcipport", "sourceaddressport", "sourceendpoint",
		"source", "src", "from",
	}},
	{roleTarget, []string{
		"idresph", "destinationip", "destinationipaddress", "destinationaddress", "destip", "destaddr", "destaddress", "destipaddress", "dstip", "dstaddr", "dstaddress",
		"dstipaddr", "dstipaddress", "destinationipv4address", "destinationipv6address", "ipv4dstaddr", "ipv6dstaddr", "dst4addr", "dst6addr", "ipdst", "dip", "da", "daddr",
		"responderip", "serverip", "serveraddress", "destinationipandport", "destinationipport", "dstipport", "destinationaddressport", "destinationendpoint", "destination", "dest", "dst", "to",
	}},
	{roleSourcePort, []string{
		"idorigp", "sourceport", "srcport", "sport", "l4srcport", "sourcetransportport", "sourceporticmptype", "spt", "sp", "initiatorport", "clientport", "srcpt",
		"tcpudpsrcport", "sourceportnumber",
	}},
	{roleTargetPort, []string{
		"idrespp", "destinationport", "destport", "dstport", "dport", "l4dstport", "destinationtransportport", "destinationporticmpcode", "dpt", "dp", "responderport",
		"serverport", "dstpt", "tcpudpdstport", "destinationportnumber", "serviceport", "targetport",
	}},
	{roleOnlyPort, []string{"port", "portnumber", "ports"}},
	{roleProto, []string{
		"ipprotocol", "protocolidentifier", "networkiananumber", "networktransport", "protocolnumber", "protonum", "l4protocol", "transportprotocol", "ipproto",
		"proto", "protocol", "prot", "pro", "pr",
	}},
	{roleService, []string{"destinationservice", "dstservice", "service", "servicename", "svc"}},

	{roleStamp, []string{
		"eventtime", "timestamp", "utctime", "datetime", "time", "generatedtime", "generatetime", "receivetime", "logtime", "rt", "itime", "timeutc", "timegenerated", "timeofday",
	}},
	{roleDay, []string{"date", "logdate", "day"}},
	{roleStart, []string{
		"starttime", "start", "ts", "firstseen", "datefirstseen", "first", "tfirst", "timestart", "stime", "sessionstart", "flowstart", "flowstartmilliseconds",
		"flowstartseconds", "flowstarttime", "eventstart", "begin",
	}},
	{roleEnd, []string{
		"endtime", "end", "lastseen", "datelastseen", "last", "tlast", "timeend", "etime", "te", "ltime", "lasttime", "sessionend", "stoptime", "flowend", "flowendmilliseconds",
		"flowendseconds", "flowendtime", "eventend",
	}},
	{roleDuration, []string{"duration", "td", "dur", "elapsedtime", "elapsedtimesec", "elapsed", "sessionduration", "durationseconds"}},

	{roleFlags, []string{"tcpflags", "tcpcontrolbits", "tcpflag", "flg", "initialflags", "flags"}},
	{roleIcmpType, []string{"icmptype", "icmptypeipv4", "icmptypeipv6"}},
	{roleIcmpPacked, []string{"icmptypecode", "icmptypecodeipv4", "icmptypecodeipv6"}},

	{roleAction, []string{"action", "actiontaken", "act", "fwaction", "firewallaction", "policyaction", "ruleaction", "disposition", "verdict", "decision", "logsubtype"}},
	{roleForwarding, []string{"fwd", "forwardingstatus", "fwdstatus"}},
	{roleState, []string{"connstate", "tcpstate", "flowstate", "state"}},
	{roleArrow, []string{"dir"}},

	{rolePackets, []string{
		"packets", "pkts", "totpkts", "totalpackets", "pkt", "packetcount", "numpackets", "packetdeltacount", "packettotalcount", "inpkts", "inpackets", "ipkt", "dpkts",
		"networkpackets",
	}},
	{rolePacketsSent, []string{"packetssent", "pktssent", "sentpkt", "sentpackets", "sentpkts", "origpkts", "srcpkts", "spkts", "flowpktstoserver", "sourcepackets", "initiatorpackets"}},
	{rolePacketsReceived, []string{
		"packetsreceived", "pktsreceived", "rcvdpkt", "receivedpackets", "recvpkts", "recvpackets", "resppkts", "dstpkts", "dpktsresp", "flowpktstoclient", "destinationpackets",
		"responderpackets", "opkt", "outpackets", "outpkts",
	}},
	{roleOctets, []string{
		"bytes", "octets", "totbytes", "totalbytes", "byt", "bytecount", "numbytes", "octetdeltacount", "octettotalcount", "inbytes", "ibyt", "doctets", "networkbytes",
		"bytestotal",
	}},
	{roleOctetsSent, []string{"bytessent", "sentbyte", "sentbytes", "origipbytes", "origbytes", "srcbytes", "sbytes", "flowbytestoserver", "sourcebytes", "initiatorbytes", "sent"}},
	{roleOctetsReceived, []string{
		"bytesreceived", "rcvdbyte", "receivedbytes", "recvbytes", "rcvdbytes", "respipbytes", "respbytes", "dstbytes", "dbytes", "flowbytestoclient", "destinationbytes",
		"responderbytes", "obyt", "outbytes", "rcvd",
	}},
	{roleTimes, []string{"repeatcount", "hitcount", "hits", "count", "sessions", "sessioncount", "connections", "connectioncount", "occurrences", "flows", "aggregated"}},

	{roleSourceName, []string{
		"sourcehostname", "srchostname", "sourcehost", "srchost", "sourcename", "srcname", "shost", "sourcefqdn", "srcfqdn", "sourcedns", "srcdns", "sourcedomain", "clientname",
	}},
	{roleTargetName, []string{
		"destinationhostname", "dsthostname", "desthostname", "destinationhost", "dsthost", "desthost", "destinationname", "dstname", "destname", "dhost", "destinationfqdn",
		"dstfqdn", "destinationdns", "dstdns", "destinationdomain", "servername",
	}},
	{roleNatSource, []string{
		"natsourceip", "natsourceaddress", "natsrcip", "natsrc", "transip", "xlatesrc", "xlatesrcip", "srctransip", "translatedsourceip", "sourcetranslatedaddress",
		"postnatsourceipv4address", "sourcenatip", "snatip",
	}},
	{roleNatTarget, []string{
		"natdestinationip", "natdestinationaddress", "natdestip", "natdstip", "natdst", "tranip", "xlatedst", "xlatedstip", "dsttransip", "translateddestinationip",
		"destinationtranslatedaddress", "postnatdestinationipv4address", "destinationnatip", "dnatip",
	}},
	{roleNatTargetPort, []string{
		"natdestinationport", "natdestport", "natdstport", "natdport", "tranport", "xlatedport", "xlatedstport", "dsttransport", "translateddestinationport",
		"destinationtranslatedport", "postnaptdestinationtransportport", "destinationnatport",
	}},

	{roleSession, []string{"sessionid", "session", "externalid", "connid", "connectionid", "flowid"}},
	{rolePolicy, []string{
		"rule", "rulename", "ruleid", "rulenumber", "policy", "policyid", "policyname", "accessrulename", "accessrulenumber", "accesscontrolrule", "fwruleid", "fwrulename",
		"sessionendreason", "blade", "logid", "cs1", "filterrule", "ruleuid", "ruleuuid", "firewallrule", "sourcezone", "srczone", "srcintf", "originalclientip",
	}},
	{roleOneWay, []string{
		"exid", "eng", "exportsysid", "nexthop", "nh", "iptos", "stos", "srcas", "sas", "inputsnmp", "inputint", "interfaceid", "eniid", "ingressinterface", "sensor", "sen", "nhip",
		"flowdirection",
	}},
	{roleInitiated, []string{"initiated"}},
	{roleEvent, []string{"eventtype"}},
	{roleSampling, []string{"sampled", "samplinginterval", "samplingrate", "sampling", "samplerate", "samplingpacketinterval"}},
	{roleStatus, []string{"logstatus"}},
	{roleSubtype, []string{"threatcontenttype", "subtype"}},
}

// translated are the same in German, French, Spanish, Italian, Portuguese and Dutch, for exports from
// what has its words in the user's language. They are inferred: words for the thing, and no product's.
var translated = []struct {
	role  role
	names []string
}{
	{roleSource, []string{
		"quellip", "quelladresse", "quellipadresse", "ipsource", "adressesource", "adresseipsource", "iporigen", "direccionorigen", "direcciondeorigen", "direccioniporigen",
		"iporigine", "indirizzoorigine", "indirizzosorgente", "ipsorgente", "iporigem", "enderecoorigem", "enderecodeorigem", "bronip", "bronadres", "quelle", "origen", "origine",
		"sorgente", "origem", "bron",
	}},
	{roleTarget, []string{
		"zielip", "zieladresse", "zielipadresse", "ipdestination", "adressedestination", "adresseipdestination", "ipdestino", "direcciondestino", "direcciondedestino",
		"direccionipdestino", "ipdestinazione", "indirizzodestinazione", "enderecodestino", "enderecodedestino", "doelip", "doeladres", "ziel", "destino", "destinazione",
		"bestemming", "doel",
	}},
	{roleSourcePort, []string{
		"quellport", "portsource", "puertoorigen", "puertodeorigen", "portaorigine", "portasorgente", "portaorigem", "portadeorigem", "bronpoort",
	}},
	{roleTargetPort, []string{
		"zielport", "portdestination", "portdedestination", "puertodestino", "puertodedestino", "portadestinazione", "portadestino", "portadedestino", "doelpoort",
	}},
	{roleOnlyPort, []string{"puerto", "porta", "poort"}},
	{roleProto, []string{"protokoll", "protocole", "protocolo", "protocollo"}},
	{roleService, []string{"dienst", "servicio", "servizio", "servico"}},
	{roleStamp, []string{"zeit", "uhrzeit", "zeitstempel", "heure", "horodatage", "hora", "ora", "tijd", "tijdstip", "fechahora", "dataora", "datahora"}},
	{roleDay, []string{"datum", "fecha", "data"}},
	{roleAction, []string{"aktion", "accion", "azione", "acao", "actie"}},
	{rolePackets, []string{"pakete", "paquets", "paquetes", "pacchetti", "pacotes", "pakketten"}},
	{roleOctets, []string{"octetsdonnees", "byte"}},
	{rolePolicy, []string{"regel", "regle", "regla", "regola", "regra"}},
}

// meaning is what a name means.
type meaning struct {
	role role
	rank uint8 // the lower, the better
}

// meanings finds a column by its reduced name.
var meanings = func() map[string]meaning {
	m := map[string]meaning{}
	for _, c := range columns {
		for i, name := range c.names {
			m[name] = meaning{c.role, uint8(i)}
		}
	}
	const behind = 100 // those above come first
	for _, c := range translated {
		for i, name := range c.names {
			m[name] = meaning{c.role, uint8(behind + i)}
		}
	}
	return m
}()

// maxName is the longest reduced name that can mean anything.
const maxName = 40

// lookup says what a column means by its name, of which only letters and digits count, whatever
// their case: "Source IP", source_ip, "source.ip" and SourceIP are the same.
func lookup(name []byte) (m meaning, reduced string) {
	var buf [maxName]byte
	n, ok := reduce(buf[:], name)
	if !ok {
		return m, ""
	}
	m = meanings[string(buf[:n])]
	return m, string(buf[:n])
}

// reduce writes the letters and digits of a name into buf, in lower case and without accents, and
// gives their number. It is not ok if there are more than buf holds, or any of another alphabet.
func reduce(buf, name []byte) (n int, ok bool) {
	for len(name) > 0 {
		c, size := name[0], 1
		switch {
		case c >= 'A' && c <= 'Z':
			c |= 0x20
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case c >= utf8.RuneSelf:
			var r rune
			if r, size = utf8.DecodeRune(name); r == utf8.RuneError {
				r = rune(c) // the code page of Western Europe
			}
			i := strings.IndexRune(accented, r)
			if i < 0 {
				return 0, false
			}
			c = unaccented[utf8.RuneCountInString(accented[:i])]
		default:
			name = name[1:]
			continue
		}
		if n == len(buf) {
			return 0, false
		}
		buf[n] = c
		n++
		name = name[size:]
	}
	return n, true
}

// Letters of the languages of translated, and what they are without their accents.
const (
	accented   = "àáâãäçèéêëìíîïñòóôõöùúûüÀÁÂÃÄÇÈÉÊËÌÍÎÏÑÒÓÔÕÖÙÚÛÜ"
	unaccented = "aaaaaceeeeiiiinooooouuuuaaaaaceeeeiiiinooooouuuu"
)

// row is a record as a file has it: the text of each role, nil where there is none.
type row struct {
	cell [numRoles][]byte
	rank [numRoles]uint8
	has  uint64 // which roles the file has, by bits
	// answered is what conntrack shows of the other direction: its source, destination and
	// source port.
	answered [3][]byte
	addr     [2]netip.Addr // the ends, where a file has them as numbers
	begins   bool          // see flow
	line     int
}

func (r *row) is(roles ...role) bool {
	for _, q := range roles {
		if r.has&(1<<q) == 0 {
			return false
		}
	}
	return true
}

func (r *row) any(roles ...role) bool {
	for _, q := range roles {
		if r.has&(1<<q) != 0 {
			return true
		}
	}
	return false
}

// set keeps a value unless a better name has given one. What loses against the name of an
// address may be the name of a machine.
func (r *row) set(m meaning, value []byte) {
	if m.role == roleNone {
		return
	}
	if r.is(m.role) && r.rank[m.role] <= m.rank {
		return
	}
	r.cell[m.role], r.rank[m.role] = value, m.rank
	r.has |= 1 << m.role
}

// put keeps a value where its place tells its meaning.
func (r *row) put(c role, value []byte) {
	r.cell[c], r.rank[c] = value, 1
	r.has |= 1 << c
}

// clear makes the row ready for the next record.
func (r *row) clear(line int) { *r = row{line: line} }

// conversation reports whether the roles are those of a record of a conversation: both ends,
// what was spoken, and something that a list of rules or of machines has not.
func (r *row) conversation() bool {
	return r.is(roleSource, roleTarget) && r.any(roleProto, roleService, roleTargetPort, roleOnlyPort) &&
		r.any(roleStamp, roleStart, roleEnd, roleOctets, roleOctetsSent, rolePackets, rolePacketsSent, roleSourcePort, roleFlags, roleTimes, roleState)
}
