package flowrecords

import (
	"bytes"
	"net/netip"
	"strings"
	"time"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/traffic"
	"github.com/oldguard/oldguard/internal/host"
)

// absent are words for no value.
var absent = map[string]bool{"": true, "-": true, "(empty)": true, "N/A": true, "n/a": true, "null": true, "NULL": true, "None": true, "none": true, "unknown": true}

// value trims a cell and makes nothing of a word for nothing.
func value(b []byte) []byte {
	b = bytes.TrimSpace(b)
	if len(b) > 0 && b[0] >= '0' && b[0] <= '9' {
		return b
	}
	if len(b) <= 7 && absent[string(b)] {
		return nil
	}
	return b
}

// endpoint is one end of a conversation, as a cell shows it.
type endpoint struct {
	addr    netip.Addr
	port    uint16
	hasPort bool
	name    []byte
}

// maxCell is the longest cell that is taken apart: a name, an address and a port.
const maxCell = 400

// endpointOf reads a cell that should hold an address: alone, with a port behind it, with a name
// before or behind it in brackets. A name alone is no address.
func endpointOf(b []byte) (e endpoint, ok bool) {
	if e.addr, ok = traffic.Addr(b); ok || len(b) > maxCell {
		return e, ok
	}
	if open := bytes.IndexByte(b, '('); open > 0 && b[len(b)-1] == ')' {
		outer, inner := bytes.TrimSpace(b[:open]), bytes.TrimSpace(b[open+1:len(b)-1])
		if e, ok = endpointOf(inner); !ok {
			outer, inner = inner, outer
			e, ok = endpointOf(inner)
		}
		e.name = outer
		return e, ok
	}
	at := bytes.LastIndexByte(b, ':')
	if bytes.Count(b, []byte{':'}) == 2 && bytes.IndexByte(b, '.') > 0 { // 192.0.2.1:445:X1
		at = bytes.IndexByte(b, ':')
		b = b[:bytes.LastIndexByte(b, ':')]
	}
	if at > 0 && (b[at-1] == ']' || bytes.IndexByte(b, ':') == at) {
		e.addr, ok = traffic.Addr(b[:at])
		if p, isPort := traffic.Port(b[at+1:]); ok && isPort {
			e.port, e.hasPort = p, true
			return e, true
		}
	}
	return e, false
}

// scaled reads a number as programs shorten it for people: "3.1 M", 1.2k, 420160. A shortened one
// is as exact as it was printed.
func scaled(b []byte) (n uint64, ok bool) {
	if n, ok = traffic.Number(b); ok {
		return n, true
	}
	unit := 1.0
	if len(b) > 1 {
		switch b[len(b)-1] {
		case 'k', 'K':
			unit = 1e3
		case 'm', 'M':
			unit = 1e6
		case 'g', 'G':
			unit = 1e9
		case 't', 'T':
			unit = 1e12
		}
	}
	if unit > 1 {
		b = bytes.TrimSpace(b[:len(b)-1])
	}
	whole, fraction, _ := bytes.Cut(b, []byte{'.'})
	w, ok := traffic.Number(whole)
	if !ok || len(fraction) > 9 || w > 1e9 {
		return 0, false
	}
	v, step := float64(w), 1.0
	for _, c := range fraction {
		if c < '0' || c > '9' {
			return 0, false
		}
		step /= 10
		v += float64(c-'0') * step
	}
	return uint64(v*unit + 0.5), true
}

// flagLetters are the letters of TCP's flags, and flagWords their names.
const flagLetters = "FSRPA"

var flagWords = map[string]traffic.TCPFlags{"FIN": traffic.FIN, "SYN": traffic.SYN, "RST": traffic.RST, "PSH": traffic.PSH, "ACK": traffic.ACK, "URG": 0, "ECE": 0, "CWR": 0}

// flagsOf reads TCP flags: ...AP.SF, S, SA, "FS PA", 27, 0x1b, SYN|ACK. Exporters that know no
// flags write none of them, so none are not known.
func flagsOf(b []byte) (f traffic.TCPFlags, known bool) {
	if len(b) == 0 || len(b) > 32 {
		return 0, false
	}
	if n, ok := number(b); ok {
		return traffic.TCPFlags(n & 0x1f), n > 0 && n < 256
	}
	letters := true
	for _, c := range b {
		switch i := strings.IndexByte(flagLetters, c); {
		case i >= 0:
			f |= 1 << i
		case strings.IndexByte("UECWXN.- ", c) >= 0:
		default:
			letters = false
		}
	}
	if letters && !bytes.Contains(b, []byte("SYN")) {
		return f, f != 0
	}
	f = 0
	for word := range bytes.FieldsFuncSeq(b, func(c rune) bool { return c < 'A' || c > 'Z' }) {
		flag, ok := flagWords[string(word)]
		if !ok {
			return 0, false
		}
		f |= flag
	}
	return f, f != 0
}

// number reads a decimal number, or one with 0x in front.
func number(b []byte) (n uint64, ok bool) {
	if len(b) < 3 || b[0] != '0' || b[1]|0x20 != 'x' {
		return traffic.Number(b)
	}
	if len(b) > 10 {
		return 0, false
	}
	for _, c := range b[2:] {
		i := strings.IndexByte("0123456789abcdef", c|0x20)
		if i < 0 || c < '0' {
			return 0, false
		}
		n = n<<4 | uint64(i)
	}
	return n, true
}

// services are names that programs print in place of ports:
// https://www.iana.org/assignments/service-names-port-numbers, read 2026-11-25, and the spellings of
// Check Point's objects, which are inferred.
var services = map[string]uint16{
	"echo": 7, "ftp-data": 20, "ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "nameserver": 42, "domain": 53, "domain-udp": 53, "domain-tcp": 53, "dns": 53, "bootps": 67,
	"bootpc": 68, "tftp": 69, "http": 80, "www": 80, "kerberos": 88, "kerberos-sec": 88, "pop3": 110, "pop-3": 110, "sunrpc": 111, "nntp": 119, "ntp": 123, "ntp-udp": 123,
	"epmap": 135, "netbios-ns": 137, "nbname": 137, "netbios-dgm": 138, "nbdatagram": 138, "netbios-ssn": 139, "nbsession": 139, "imap": 143, "imap2": 143, "snmp": 161,
	"snmptrap": 162, "snmp-trap": 162, "ldap": 389, "https": 443, "microsoft-ds": 445, "kpasswd": 464, "isakmp": 500, "ike": 500, "syslog": 514, "shell": 514, "printer": 515,
	"submission": 587, "ldaps": 636, "ldap-ssl": 636, "imaps": 993, "pop3s": 995, "ms-sql-s": 1433, "mssql": 1433, "ms-sql-m": 1434, "ica": 1494, "radius": 1812,
	"radius-acct": 1813, "nfs": 2049, "msft-gc": 3268, "msft-gc-ssl": 3269, "mysql": 3306, "ms-wbt-server": 3389, "rdp": 3389, "remote_desktop_protocol": 3389, "sip": 5060,
	"postgresql": 5432, "wsman": 5985, "http-alt": 8080, "webcache": 8080,
}

// portOf reads a port by number or by name.
func portOf(b []byte) (uint16, bool) {
	if p, ok := traffic.Port(b); ok {
		return p, true
	}
	if len(b) == 0 || len(b) > 24 {
		return 0, false
	}
	p, ok := services[string(b)]
	if !ok {
		p, ok = services[strings.ToLower(string(b))]
	}
	return p, ok
}

// serviceOf reads what names a protocol and a port together: tcp/443, 443/tcp, TCP-443, https
// (TCP/443), udp_53; or one of the two.
func serviceOf(b []byte) (p host.IPProto, hasProto bool, port uint16, hasPort bool) {
	if len(b) > maxCell {
		return 0, false, 0, false
	}
	if open := bytes.LastIndexByte(b, '('); open >= 0 && b[len(b)-1] == ')' {
		if p, hasProto = traffic.Proto(bytes.TrimSpace(b[:open])); hasProto { // UDP (17)
			return p, true, 0, false
		}
		if p, hasProto, port, hasPort = serviceOf(b[open+1 : len(b)-1]); hasPort {
			return p, hasProto, port, hasPort
		}
		b = bytes.TrimSpace(b[:open])
	}
	if port, hasPort = portOf(b); hasPort {
		return 0, false, port, true
	}
	for _, sep := range []byte("/-_: ") {
		left, right, ok := bytes.Cut(b, []byte{sep})
		if !ok {
			continue
		}
		for range 2 {
			left, right = bytes.TrimSpace(right), bytes.TrimSpace(left)
			if _, isNumber := traffic.Number(left); isNumber && len(left) > 0 {
				continue // 443/tcp: the other way round
			}
			q, ok1 := traffic.Proto(left)
			n, ok2 := portOf(right)
			if ok1 && ok2 {
				return q, true, n, true
			}
		}
	}
	if p, hasProto = traffic.Proto(b); hasProto {
		return p, true, 0, false
	}
	return 0, false, 0, false
}

// What becomes of a connection by the word of a firewall: whether it was refused. Fortinet, by
// its reference of log messages, says "Deny" for what its policy blocks and how a session ended
// for all others: client-rst and server-rst refuse nothing. Palo Alto's and AWS's words are in
// their documents named at columns; those of TMG in cc995278, Check Point's are inferred.
var decisions = map[string]bool{
	"deny": true, "denied": true, "drop": true, "dropped": true, "block": true, "blocked": true, "reject": true, "rejected": true, "refuse": true, "refused": true,
	"reset": true, "resetclient": true, "resetserver": true, "resetboth": true, "discard": true, "discarded": true, "dropicmp": true, "silentdrop": true, "prevent": true,
	"prevented": true, "ipconn": true, "d": true, "deniedconnection": true, "failed": true, "failedconnectionattempt": true, "forbidden": true, "prohibited": true, "ucdeny": true,
	"audit": false, "allow": false, "allowed": false, "accept": false, "accepted": false, "pass": false, "passed": false, "permit": false, "permitted": false,
	"a": false, "close": false, "closed": false, "timeout": false, "clientrst": false, "serverrst": false, "start": false, "end": false, "dns": false,
	"built": false, "teardown": false, "create": false, "created": false, "delete": false, "deleted": false, "update": false, "establish": false, "established": false,
	"terminate": false, "terminated": false, "intermediate": false, "initiatedconnection": false, "closedconnection": false, "encrypt": false, "decrypt": false,
	"detect": false, "detected": false, "monitor": false, "log": false, "alert": false, "inspect": false, "bypass": false, "forwarded": false, "forward": false, "ok": false,
	"ignore": false, "invalid": false, "continue": false, "trust": false, "open": false, "ucallow": false,

	// German, French, Spanish, Italian, Portuguese and Dutch, inferred as the translated columns are.
	"verweigern": true, "verweigert": true, "abgelehnt": true, "ablehnen": true, "blockiert": true, "blockieren": true, "verworfen": true, "verwerfen": true, "gesperrt": true,
	"refuser": true, "bloque": true, "bloquer": true, "rejete": true, "rejeter": true, "interdit": true, "denegar": true, "denegado": true, "bloqueado": true, "bloquear": true,
	"rechazado": true, "rechazar": true, "descartado": true, "nega": true, "negato": true, "bloccato": true, "blocca": true, "rifiutato": true, "rifiuta": true, "scartato": true,
	"negado": true, "negar": true, "rejeitado": true, "recusado": true, "geweigerd": true, "weigeren": true, "geblokkeerd": true, "blokkeren": true,
	"zulassen": false, "zugelassen": false, "erlaubt": false, "erlauben": false, "akzeptiert": false, "autorise": false, "autoriser": false, "accepte": false, "accepter": false,
	"permitir": false, "permitido": false, "aceptado": false, "aceptar": false, "consenti": false, "consentito": false, "accettato": false, "aceito": false, "toegestaan": false,
	"toestaan": false,
}

// refusedBy reads the word of a firewall.
func refusedBy(b []byte) (refused, known bool) {
	var buf [24]byte
	n, ok := reduce(buf[:], b)
	if !ok {
		return false, false
	}
	refused, known = decisions[string(buf[:n])]
	return refused, known
}

// states are those of connections, as Zeek (conn_state), argus, Suricata and conntrack call
// them, see columns: refused is that a TCP connection never came to be, midway that its beginning
// was not seen.
var states = map[string]struct{ refused, midway bool }{
	"S0": {refused: true}, "REJ": {refused: true}, "RSTOS0": {refused: true}, "SH": {refused: true},
	"SHR": {midway: true}, "RSTRH": {midway: true}, "OTH": {midway: true},
	"REQ":      {refused: true},
	"syn_sent": {refused: true}, "new": {refused: true},
	"SYN_SENT": {refused: true}, "SYN_SENT2": {refused: true},
}

// clockwork reads the moments of a file.
type clockwork struct {
	order evidence.DateOrder
	// ask finds the order of day and month, once; nil after that.
	ask func() evidence.DateOrder

	zoned, local, noDay, vague, bad int // how many times were of each kind
}

// Years that a record of traffic may be of; others are another number's.
const firstYear, lastYear = 1990, 2199

// at reads a moment. A time without a zone is given as it stands, in UTC fields. Zero is for
// none and for what cannot be read, which is counted.
func (c *clockwork) at(b []byte) (t time.Time) {
	if len(b) == 0 || len(b) > 64 {
		return t
	}
	if moment, ok := epoch(b); ok {
		c.zoned++
		return moment
	}
	if len(b) >= 10 {
		if day, ok := traffic.Day(b[:10]); ok {
			rest := bytes.TrimLeft(b[10:], " T/.")
			of, zone, zoned := cutZone(rest)
			d, ok := traffic.Clock(of)
			switch {
			case len(of) == 0:
				c.local++
				return day
			case ok && zoned:
				c.zoned++
				return day.Add(d - zone)
			case ok:
				c.local++
				return day.Add(d)
			}
		}
	}
	if _, ok := traffic.Clock(b); ok {
		c.noDay++
		return t
	}
	if t, zoned, ok := worded(b); ok {
		if zoned {
			c.zoned++
		} else {
			c.local++
		}
		return t
	}
	return c.ambiguous(b)
}

// ambiguous reads a date that may have its day or its month first.
func (c *clockwork) ambiguous(b []byte) (t time.Time) {
	s := string(b)
	if c.ask != nil && c.order == evidence.OrderUnknown {
		c.order, c.ask = c.ask(), nil
	}
	t, ok := evidence.Date(s, c.order)
	switch {
	case ok:
		c.local++
		return t
	case c.order == evidence.OrderUnknown && evidence.OrderOf(s) == evidence.OrderUnknown:
		if _, ok := evidence.Date(s, evidence.DayFirst); ok {
			c.vague++
			return time.Time{}
		}
	}
	c.bad++
	return time.Time{}
}

// epoch reads seconds since 1970 with or without a fraction, milliseconds, microseconds or
// nanoseconds, by their size.
func epoch(b []byte) (t time.Time, ok bool) {
	whole, fraction := b, []byte(nil)
	if dot := bytes.IndexByte(b, '.'); dot > 0 {
		whole, fraction = b[:dot], b[dot:]
	}
	n, ok := traffic.Number(whole)
	if !ok {
		return t, false
	}
	part, ok := traffic.Fraction(fraction)
	if !ok {
		return t, false
	}
	v := int64(n & (1<<63 - 1))
	switch {
	case n < 1e11:
		t = time.Unix(v, int64(part))
	case n < 1e14:
		t = time.UnixMilli(v)
	case n < 1e17:
		t = time.UnixMicro(v)
	default:
		t = time.Unix(v/1e9, v%1e9)
	}
	t = t.UTC()
	return t, t.Year() >= firstYear && t.Year() <= lastYear
}

// cutZone takes a zone off a time of day: Z, +01:00, -0500, UTC, GMT.
func cutZone(b []byte) (rest []byte, zone time.Duration, ok bool) {
	for _, name := range []string{"Z", " UTC", " GMT", "UTC", "GMT"} {
		if rest, ok := bytes.CutSuffix(b, []byte(name)); ok {
			return bytes.TrimSpace(rest), 0, true
		}
	}
	i := bytes.LastIndexAny(b, "+-")
	if i < 5 {
		return b, 0, false
	}
	digits := bytes.ReplaceAll(b[i+1:], []byte(":"), nil)
	n, isNumber := traffic.Number(digits)
	if !isNumber || len(digits) != 4 || n/100 > 14 || n%100 > 59 {
		return b, 0, false
	}
	zone = time.Duration(n/100)*time.Hour + time.Duration(n%100)*time.Minute
	if b[i] == '-' {
		zone = -zone
	}
	return bytes.TrimSpace(b[:i]), zone, true
}

const months = "JanFebMarAprMayJunJulAugSepOctNovDec"

// worded reads a moment whose month is an English word: 19Mar2019 0:00:04, Mar 19 2019 00:00:04,
// 19 Mar 2019, 0:00:04, Mar 19, 2019 @ 00:00:04.000, 19/Mar/2019:00:00:04 +0100.
func worded(b []byte) (t time.Time, zoned, ok bool) {
	at, month := -1, 0
	for i := 0; i+3 <= len(b) && at < 0; i++ {
		if m := strings.Index(months, string(b[i:i+3])); m >= 0 && m%3 == 0 {
			at, month = i, m/3+1
		}
	}
	if at < 0 {
		return t, false, false
	}
	split := func(r rune) bool { return strings.ContainsRune(" ,@/-", r) }
	before := bytes.FieldsFunc(b[:at], split)
	after := b[at+3:]
	for len(after) > 0 && after[0]|0x20 >= 'a' && after[0]|0x20 <= 'z' {
		after = after[1:] // March
	}
	after = bytes.TrimLeft(after, " ,/-.")
	day, year := uint64(0), uint64(0)
	take := func() (n uint64) {
		end := 0
		for end < len(after) && end < 4 && after[end] >= '0' && after[end] <= '9' {
			end++
		}
		n, _ = traffic.Number(after[:end])
		after = bytes.TrimLeft(after[end:], " ,@/-:")
		return n
	}
	if len(before) > 0 {
		day, _ = traffic.Number(before[len(before)-1])
	} else {
		day = take()
	}
	year = take()
	if day < 1 || day > 31 || year < firstYear || year > lastYear {
		return t, false, false
	}
	t = time.Date(int(year), time.Month(month), int(day), 0, 0, 0, 0, time.UTC)
	if len(after) == 0 {
		return t, false, true
	}
	of, zone, zoned := cutZone(after)
	half := time.Duration(0)
	if upper := bytes.ToUpper(of); len(upper) == len(of) && len(of) > 2 {
		switch string(upper[len(upper)-2:]) {
		case "PM":
			half = 12 * time.Hour
		case "AM":
			half = -12 * time.Hour
		}
		if half != 0 {
			of = bytes.TrimSpace(of[:len(of)-2])
		}
	}
	d, ok := traffic.Clock(of)
	switch noon := d >= 12*time.Hour; {
	case half > 0 && !noon, half < 0 && noon:
		d += half
	}
	return t.Add(d - zone), zoned, ok
}

// lasting reads a duration: 1.020, 00:01:02.5.
func lasting(b []byte) time.Duration {
	if d, ok := traffic.Clock(b); ok {
		return d
	}
	whole, fraction := b, []byte(nil)
	if dot := bytes.IndexByte(b, '.'); dot >= 0 {
		whole, fraction = b[:dot], b[dot:]
	}
	n, ok := traffic.Number(whole)
	part, ok1 := traffic.Fraction(fraction)
	if !ok || !ok1 || n > 1e8 { // three years
		return 0
	}
	return time.Duration(n)*time.Second + part
}

// hostName gives the name of a machine if a cell holds one, which no address is.
func hostName(b []byte) string {
	b = bytes.TrimSuffix(b, []byte("."))
	if len(b) == 0 || len(b) > 253 {
		return ""
	}
	letters := false
	for _, c := range b {
		switch {
		case c|0x20 >= 'a' && c|0x20 <= 'z':
			letters = true
		case c >= '0' && c <= '9', c == '-', c == '.', c == '_':
		default:
			return ""
		}
	}
	if !letters {
		return ""
	}
	return string(b)
}
