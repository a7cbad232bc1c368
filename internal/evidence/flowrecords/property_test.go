package flowrecords_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/flowrecords"
	"github.com/oldguard/oldguard/internal/host"
)

// spoken is a conversation as it was, from which the files of the tests are written.
type spoken struct {
	client, server   netip.Addr
	cport, sport     uint16
	proto            host.IPProto
	answered, closed bool // closed: a reset was the answer
	from, to         time.Time
	sent, received   [2]uint64 // packets and bytes
}

// conversations makes a list, the same for the same seed. The answers of each begin a second after
// the questions, and no port of a client comes twice.
func conversations(seed uint64, n int) (list []spoken) {
	r := rand.New(rand.NewPCG(seed, 1))
	at := time.Date(2019, 3, 19, 8, 0, 0, 0, time.UTC)
	known := []uint16{53, 88, 123, 135, 389, 443, 445, 1433, 3389, 5985}
	for i := range n {
		c := spoken{
			client: netip.AddrFrom4([4]byte{192, 0, 2, byte(50 + r.IntN(20))}), server: netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + r.IntN(3))}),
			cport: uint16(20000 + i), sport: known[r.IntN(len(known))], proto: host.TCP, from: at, answered: true,
		}
		if r.IntN(3) == 0 {
			c.client, c.server = netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", 0x50+r.IntN(20))), netip.MustParseAddr("2001:db8::10")
		}
		c.sent = [2]uint64{uint64(2 + r.IntN(20)), uint64(100 + r.IntN(9000))}
		switch r.IntN(10) {
		case 0, 1, 2:
			c.proto = host.UDP
			c.answered = r.IntN(4) > 0
		case 3:
			// Without ports, two of the same ends are one; each has a client of its own.
			c.proto, c.cport, c.sport, c.client = host.ICMP, 0, 0, netip.AddrFrom4([4]byte{198, 51, byte(100 + i>>8), byte(i)})
			if c.server.Is6() {
				c.proto, c.client = host.ICMPv6, netip.MustParseAddr(fmt.Sprintf("2001:db8:1::%x", i))
			}
		case 4: // a reset
			c.closed, c.sent = true, [2]uint64{1, 40}
		case 5: // nothing
			c.answered, c.sent = false, [2]uint64{3, 180}
		case 6:
			c.sport = uint16(49152 + r.IntN(100)) // where RPC goes on
		}
		c.to = c.from.Add(time.Duration(2+r.IntN(60)) * time.Second)
		if c.answered {
			c.received = [2]uint64{uint64(2 + r.IntN(20)), uint64(100 + r.IntN(90000))}
			if c.closed {
				c.received = [2]uint64{1, 40}
			}
		}
		list = append(list, c)
		at = at.Add(time.Duration(r.IntN(5)) * time.Second)
	}
	return list
}

// seen is what a reader should make of the conversations of one kind.
type seen struct {
	Times, Refused int
	Packets, Bytes uint64
	First, Last    string
	Sure           bool
}

// wanted gives what should be known of the conversations. In records of one direction only
// TCP's flags and the types of ICMP show who began.
func wanted(list []spoken, sessions bool) map[string]seen {
	want := map[string]seen{}
	for _, c := range list {
		port := c.sport
		if c.proto == host.ICMP || c.proto == host.ICMPv6 {
			port = uint16(ways(c)[0].icmp)
		}
		k := fmt.Sprint(c.client, " ", c.server, " ", c.proto, " ", port)
		s, known := want[k]
		s.Times++
		if c.proto == host.TCP && (c.closed || !c.answered) {
			s.Refused++
		}
		s.Packets += c.sent[0] + c.received[0]
		s.Bytes += c.sent[1] + c.received[1]
		if from := c.from.Format(time.DateTime); !known || from < s.First {
			s.First = from
		}
		s.Last = max(s.Last, c.to.Format(time.DateTime))
		s.Sure = sessions || c.proto != host.UDP
		want[k] = s
	}
	return want
}

func got(t testing.TB, text string) map[string]seen {
	t.Helper()
	h := readText(t, text)
	out := map[string]seen{}
	for _, c := range h.Traffic.All() {
		k := fmt.Sprint(c.Client, " ", c.Server, " ", c.Proto, " ", c.Port)
		for i, s := range c.Seen {
			if i > 0 {
				k += "+"
			}
			out[k] = seen{s.Times, s.Refused, s.Packets, s.Bytes, s.First.Format(time.DateTime), s.Last.Format(time.DateTime), s.Sure}
		}
	}
	return out
}

func readText(t testing.TB, text string) *host.Host {
	t.Helper()
	in := evidence.Input{Name: "x", File: io.NewSectionReader(strings.NewReader(text), 0, int64(len(text)))}
	h := new(host.Host)
	if !flowrecords.Reader.Sniff(evidence.Probe{Name: "x", Head: []byte(text[:min(len(text), 32<<10)]), Text: text[:min(len(text), 32<<10)]}) {
		t.Errorf("not recognised:\n%s", text[:min(len(text), 300)])
	}
	if _, err := flowrecords.Reader.Read(context.Background(), in, h); err != nil {
		t.Fatal(err)
	}
	return h
}

// way is one direction of a conversation.
type way struct {
	src, dst     netip.Addr
	sport, dport uint16
	packets      uint64
	bytes        uint64
	from, to     time.Time
	flags        string // letters of FSRPA
	icmp         int
	c            spoken
}

func ways(c spoken) (list []way) {
	q := way{src: c.client, dst: c.server, sport: c.cport, dport: c.sport, packets: c.sent[0], bytes: c.sent[1], from: c.from, to: c.to, c: c, icmp: 8}
	a := way{src: c.server, dst: c.client, sport: c.sport, dport: c.cport, packets: c.received[0], bytes: c.received[1], from: c.from.Add(time.Second), to: c.to, c: c}
	if c.proto == host.ICMPv6 {
		q.icmp, a.icmp = 128, 129
	}
	if c.proto == host.TCP {
		q.flags, a.flags = "FSPA", "FSPA"
		switch {
		case c.closed:
			q.flags, a.flags = "S", "RA"
		case !c.answered:
			q.flags = "S"
		}
	}
	if list = append(list, q); c.answered {
		list = append(list, a)
	}
	return list
}

func (w way) dots() string {
	out := []byte("........")
	for i, c := range "APRSF" {
		if strings.ContainsRune(w.flags, c) {
			out[3+i] = byte(c)
		}
	}
	return string(out)
}

func (w way) number() (n int) {
	for i, c := range "FSRPA" {
		if strings.ContainsRune(w.flags, c) {
			n |= 1 << i
		}
	}
	return n
}

// ports gives what stands in the places of the ports.
func (w way) ports() (string, string) {
	if w.c.proto == host.ICMP || w.c.proto == host.ICMPv6 {
		return "0", fmt.Sprint(w.icmp << 8)
	}
	return fmt.Sprint(w.sport), fmt.Sprint(w.dport)
}

func protoName(p host.IPProto) string {
	return map[host.IPProto]string{host.TCP: "TCP", host.UDP: "UDP", host.ICMP: "ICMP", host.ICMPv6: "ICMP6"}[p]
}

func words(a netip.Addr) string {
	if a.Is4() {
		b := a.As4()
		return fmt.Sprintf("0|0|0|%d", uint32(b[0])<<24|uint32(b[1])<<16|uint32(b[2])<<8|uint32(b[3]))
	}
	b := a.As16()
	var out []string
	for i := 0; i < 16; i += 4 {
		out = append(out, fmt.Sprint(uint32(b[i])<<24|uint32(b[i+1])<<16|uint32(b[i+2])<<8|uint32(b[i+3])))
	}
	return strings.Join(out, "|")
}

// oneWay are the forms that have a record for each direction.
var oneWay = map[string]struct {
	head string
	line func(w way) string
}{
	"nfdump_csv": {"ts,te,td,sa,da,sp,dp,pr,flg,fwd,stos,ipkt,ibyt,opkt,obyt", func(w way) string {
		sp, dp := w.ports()
		return fmt.Sprintf("%s,%s,%.3f,%s,%s,%s,%s,%s,%s,0,0,%d,%d,0,0", w.from.Format(time.DateTime), w.to.Format(time.DateTime), w.to.Sub(w.from).Seconds(),
			w.src, w.dst, sp, dp, protoName(w.c.proto), w.dots(), w.packets, w.bytes)
	}},
	"nfdump_long6": {"Date first seen             Duration     Proto      Src IP Addr:Port           Dst IP Addr:Port     Flags Tos  Packets    Bytes Flows", func(w way) string {
		end := func(a netip.Addr, port string) string {
			if a.Is4() {
				return a.String() + ":" + port
			}
			return a.String() + "." + port
		}
		sp, dp := w.ports()
		if w.c.proto == host.ICMP || w.c.proto == host.ICMPv6 {
			dp = fmt.Sprintf("%d.0", w.icmp)
		}
		return fmt.Sprintf("%s.000     %s.000 %-5s %22s ->   %22s %s   0 %8d %8d     1", w.from.Format(time.DateTime), time.Time{}.Add(w.to.Sub(w.from)).Format(time.TimeOnly),
			protoName(w.c.proto), end(w.src, sp), end(w.dst, dp), w.dots(), w.packets, w.bytes)
	}},
	"nfdump_pipe": {"", func(w way) string {
		family := 2
		if w.src.Is6() {
			family = 10
		}
		sp, dp := w.ports()
		return fmt.Sprintf("%d|%d|%d|%d|%s|%s|%s|%s|0|0|0|0|%d|0|%d|%d", family, w.from.UnixMilli(), w.to.UnixMilli(), w.c.proto, words(w.src), sp, words(w.dst), dp, w.number(), w.packets, w.bytes)
	}},
	"silk": {"sIP|dIP|sPort|dPort|pro|packets|bytes|flags|sTime|duration|eTime|sen|", func(w way) string {
		sp, dp := w.ports()
		return fmt.Sprintf("%20s|%20s|%s|%s|%d|%d|%d|%-8s|%s|%d.000|%s|S0|", w.src, w.dst, sp, dp, w.c.proto, w.packets, w.bytes, w.flags,
			w.from.Format("2006/01/02T15:04:05.000"), int(w.to.Sub(w.from).Seconds()), w.to.Format("2006/01/02T15:04:05.000"))
	}},
	"ipfix": {`"flowStartMilliseconds";"flowEndMilliseconds";"sourceIPAddress";"destinationIPAddress";"sourceTransportPort";"destinationTransportPort";` +
		`"protocolIdentifier";"tcpControlBits";"packetDeltaCount";"octetDeltaCount";"icmpTypeCodeIPv4"`, func(w way) string {
		icmp, sp, dp := "", fmt.Sprint(w.sport), fmt.Sprint(w.dport)
		if w.c.proto == host.ICMP || w.c.proto == host.ICMPv6 {
			icmp, sp, dp = fmt.Sprint(w.icmp<<8), "", ""
		}
		return fmt.Sprintf(`"%d";"%d";"%s";"%s";"%s";"%s";"%d";"0x%02x";"%d";"%d";"%s"`, w.from.UnixMilli(), w.to.UnixMilli(), w.src, w.dst, sp, dp, w.c.proto, w.number(), w.packets, w.bytes, icmp)
	}},
	"plain_tsv": {"Start Time\tEnd Time\tSource IP\tSource Port\tDestination IP\tDestination Port\tProtocol\tTCP Flags\tPackets\tBytes\tICMP Type", func(w way) string {
		icmp := "-"
		if w.c.proto == host.ICMP || w.c.proto == host.ICMPv6 {
			icmp = fmt.Sprint(w.icmp)
		}
		var names []string
		for _, f := range []string{"FIN", "SYN", "RST", "PSH", "ACK"} {
			if strings.Contains(w.flags, f[:1]) {
				names = append(names, f)
			}
		}
		return fmt.Sprintf("%s\t%s\t%s\t%d\t%s\t%d\t%s\t%s\t%d\t%d\t%s", w.from.Format("02 Jan 2006, 15:04:05"), w.to.Format(time.RFC3339), w.src, w.sport, w.dst, w.dport,
			strings.ToLower(protoName(w.c.proto)), strings.Join(names, "|"), w.packets, w.bytes, icmp)
	}},
	"nfdump_json": {"", func(w way) string {
		m := map[string]any{
			"type": "FLOW", "sampled": 0, "export_sysid": 1, "first": w.from.Format("2006-01-02T15:04:05.000"), "last": w.to.Format("2006-01-02T15:04:05.000"),
			"in_packets": w.packets, "in_bytes": w.bytes, "proto": w.c.proto, "label": "<none>",
		}
		family := "4"
		if w.src.Is6() {
			family = "6"
		}
		m["src"+family+"_addr"], m["dst"+family+"_addr"] = w.src, w.dst
		if w.c.proto == host.ICMP || w.c.proto == host.ICMPv6 {
			m["icmp_type"], m["icmp_code"] = w.icmp, 0
		} else {
			m["src_port"], m["dst_port"], m["tcp_flags"] = w.sport, w.dport, w.dots()
		}
		b, err := json.MarshalIndent(m, "", "\t")
		if err != nil {
			panic(err)
		}
		return string(b)
	}},
}

// session are the forms that have a record for each conversation.
var session = map[string]struct {
	head string
	line func(i int, c spoken) string
}{
	"zeek": {"#separator \\x09\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tduration\tconn_state\torig_pkts\torig_ip_bytes\tresp_pkts\tresp_ip_bytes", func(i int, c spoken) string {
		name, a, b := zeekOf(c)
		return fmt.Sprintf("%d.000000\tC%d\t%s\t%d\t%s\t%d\t%s\t%d.0\t%s\t%d\t%d\t%d\t%d", c.from.Unix(), i, c.client, a, c.server, b, name, int(c.to.Sub(c.from).Seconds()), stateOf(c),
			c.sent[0], c.sent[1], c.received[0], c.received[1])
	}},
	"zeek_json": {"", func(i int, c spoken) string {
		name, a, b := zeekOf(c)
		return fmt.Sprintf(`{"ts":%d.5,"uid":"C%d","id.orig_h":"%s","id.orig_p":%d,"id.resp_h":"%s","id.resp_p":%d,"proto":"%s","duration":%d.0,"conn_state":"%s","orig_pkts":%d,"orig_ip_bytes":%d,"resp_pkts":%d,"resp_ip_bytes":%d}`,
			c.from.Unix(), i, c.client, a, c.server, b, name, int(c.to.Sub(c.from).Seconds()), stateOf(c), c.sent[0], c.sent[1], c.received[0], c.received[1])
	}},
	"suricata": {"", func(i int, c spoken) string {
		icmp, ports := "", fmt.Sprintf(`"src_port":%d,"dest_port":%d,`, c.cport, c.sport)
		state := "closed"
		switch {
		case c.proto == host.ICMP:
			icmp, ports = `"icmp_type":8,"icmp_code":0,`, ""
		case c.proto == host.ICMPv6:
			icmp, ports = `"icmp_type":128,"icmp_code":0,`, ""
		case c.proto == host.TCP && (c.closed || !c.answered):
			state = "new"
		}
		name := map[host.IPProto]string{host.TCP: "TCP", host.UDP: "UDP", host.ICMP: "ICMP", host.ICMPv6: "IPv6-ICMP"}[c.proto]
		return fmt.Sprintf(`{"timestamp":"%s","flow_id":%d,"event_type":"flow","src_ip":"%s","dest_ip":"%s",%s%s"proto":"%s","flow":{"pkts_toserver":%d,"pkts_toclient":%d,"bytes_toserver":%d,"bytes_toclient":%d,"start":"%s","end":"%s","state":"%s"}}`,
			c.to.Add(time.Minute).Format("2006-01-02T15:04:05.000000-0700"), i, c.client, c.server, ports, icmp, name, c.sent[0], c.received[0], c.sent[1], c.received[1],
			c.from.Format("2006-01-02T15:04:05.000000-0700"), c.to.In(time.FixedZone("", 5*3600)).Format("2006-01-02T15:04:05.000000-0700"), state)
	}},
	"palo_alto": {`"Receive Time","Type","Threat/Content Type","Source address","Destination address","NAT Source IP","NAT Destination IP","Rule","Session ID","Repeat Count",` +
		`"Source Port","Destination Port","NAT Source Port","NAT Destination Port","Flags","IP Protocol","Action","Bytes","Bytes Sent","Bytes Received","Packets","Start Time","Elapsed Time (sec)",` +
		`"Packets Sent","Packets Received","ICMP Type"`, func(i int, c spoken) string {
		action, icmp := "allow", ""
		switch {
		case c.closed:
			action = "reset-both"
		case c.proto == host.ICMP:
			icmp = "8"
		case c.proto == host.ICMPv6:
			icmp = "128"
		}
		name := map[host.IPProto]string{host.TCP: "tcp", host.UDP: "udp", host.ICMP: "icmp", host.ICMPv6: "ipv6-icmp"}[c.proto]
		return fmt.Sprintf(`"%s","TRAFFIC","end","%s","%s","0.0.0.0","0.0.0.0","a, ""rule""","%d","1","%d","%d","0","0","0x4019","%s","%s","%d","%d","%d","%d","%s","%d","%d","%d","%s"`,
			c.to.Add(time.Minute).Format("2006/01/02 15:04:05"), c.client, c.server, i, c.cport, c.sport, name, action, c.sent[1]+c.received[1], c.sent[1], c.received[1], c.sent[0]+c.received[0],
			c.from.Format("2006/01/02 15:04:05"), int(c.to.Sub(c.from).Seconds()), c.sent[0], c.received[0], icmp)
	}},
	"key_value": {"", func(i int, c spoken) string {
		action, icmp := "close", ""
		switch {
		case c.closed:
			action = "deny"
		case c.proto == host.ICMP:
			icmp = "icmptype=8 "
		case c.proto == host.ICMPv6:
			icmp = "icmptype=128 "
		}
		return fmt.Sprintf(`date=2001-01-01 time=01:01:01 starttime="%s" endtime="%s" type="traffic" srcip=%s srcport=%d dstip=%s dstport=%d sessionid=%d proto=%d %saction="%s" policyid=1 sentbyte=%d rcvdbyte=%d sentpkt=%d rcvdpkt=%d`,
			c.from.Format(time.DateTime), c.to.Format(time.DateTime), c.client, c.cport, c.server, c.sport, i, c.proto, icmp, action, c.sent[1], c.received[1], c.sent[0], c.received[0])
	}},
}

func zeekOf(c spoken) (name string, origin, response int) {
	if c.proto == host.ICMP {
		return "icmp", 8, 0
	}
	if c.proto == host.ICMPv6 {
		return "icmp", 128, 129
	}
	return strings.ToLower(protoName(c.proto)), int(c.cport), int(c.sport)
}

func stateOf(c spoken) string {
	switch {
	case c.proto == host.ICMP || c.proto == host.ICMPv6:
		return "OTH"
	case c.closed:
		return "REJ"
	case !c.answered:
		return "S0"
	}
	return "SF"
}

// TestDialectsAgree: the same conversations, written in every form, are the same traffic.
func TestDialectsAgree(t *testing.T) {
	for seed := range uint64(2) {
		list := conversations(seed, 200)
		for name, form := range oneWay {
			t.Run(fmt.Sprint(name, "_", seed), func(t *testing.T) {
				var b strings.Builder
				b.WriteString(form.head + "\n")
				r := rand.New(rand.NewPCG(seed, 2))
				var all []way
				for _, c := range list {
					all = append(all, ways(c)...)
				}
				// Exporters write what ends first: not the order of beginning, and near to it.
				for i := range all {
					if j := i + r.IntN(8); j < len(all) {
						all[i], all[j] = all[j], all[i]
					}
				}
				for _, w := range all {
					b.WriteString(form.line(w) + "\n")
				}
				if diff := cmp.Diff(wanted(list, false), got(t, b.String())); diff != "" {
					t.Errorf("traffic (-want +got):\n%s", diff)
				}
			})
		}
		for name, form := range session {
			t.Run(fmt.Sprint(name, "_", seed), func(t *testing.T) {
				var b strings.Builder
				b.WriteString(form.head + "\n")
				for i, c := range list {
					b.WriteString(form.line(i+1, c) + "\n")
				}
				if diff := cmp.Diff(wanted(list, true), got(t, b.String())); diff != "" {
					t.Errorf("traffic (-want +got):\n%s", diff)
				}
			})
		}
	}
}
