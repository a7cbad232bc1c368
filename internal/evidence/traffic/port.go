package traffic

import "github.com/oldguard/oldguard/internal/host"

// Ports below wellKnown are given to services:
// https://www.iana.org/assignments/service-names-port-numbers, read 2026-11-25, "System Ports".
const wellKnown = 1024

// Ephemeral is the first of the ports that nobody is given, RFC 6335, 6; Windows Vista and
// Server 2008 and later take them for the client's side (KB929851). Earlier ones take 1025 to
// 5000, others what they like; and the server's side of RPC has such a port too.
const Ephemeral = 49152

// served are ports above wellKnown on which servers wait, by the same list of IANA and the
// documents of their products.
var served = map[uint16]bool{
	1311: true, 1352: true, 1414: true, 1433: true, 1434: true, 1494: true, 1500: true, 1521: true, 1556: true, 1645: true, 1646: true, 1688: true, 1701: true,
	1723: true, 1801: true, 1812: true, 1813: true, 1883: true, 1900: true, 2049: true, 2103: true, 2105: true, 2107: true, 2181: true, 2381: true, 2383: true,
	2598: true, 3128: true, 3260: true, 3268: true, 3269: true, 3306: true, 3343: true, 3389: true, 3702: true, 4500: true, 5060: true, 5061: true, 5353: true,
	5355: true, 5357: true, 5432: true, 5666: true, 5671: true, 5672: true, 5722: true, 5723: true, 5900: true, 5985: true, 5986: true, 6000: true, 6106: true,
	6160: true, 6162: true, 6343: true, 6379: true, 6514: true, 7680: true, 8000: true, 8005: true, 8080: true, 8081: true, 8086: true, 8089: true, 8172: true,
	8400: true, 8403: true, 8443: true, 8530: true, 8531: true, 9000: true, 9080: true, 9090: true, 9100: true, 9200: true, 9389: true, 9392: true, 9443: true,
	9997: true, 10000: true, 10050: true, 10051: true, 10102: true, 11211: true, 12489: true, 13720: true, 13724: true, 13782: true, 27017: true, 47001: true,
}

// Serves reports whether a port is one on which a server waits by convention.
func Serves(p uint16) bool { return p > 0 && p < wellKnown || served[p] }

// Server tells from the two port numbers of a conversation which one is the server's: 1 for a,
// 2 for b, 0 if they do not tell.
func Server(a, b uint16) int {
	x, y := Serves(a), Serves(b)
	switch {
	case x == y:
		return 0
	case x:
		return 1
	}
	return 2
}

// TCPFlags are the control bits of TCP, RFC 9293, 3.1.
type TCPFlags uint8

// The flags.
const (
	FIN TCPFlags = 1 << iota
	SYN
	RST
	PSH
	ACK
)

// Stray reports whether a packet that was dropped shows no attempt to begin a conversation: a
// TCP packet that is no first one belongs to a connection that the firewall has forgotten, or is
// the answer to one it never saw; a UDP packet from a service's port to a client's is a late
// answer. known tells whether the log shows flags.
func Stray(p host.IPProto, flags TCPFlags, known bool, from, to uint16) bool {
	return p == host.TCP && known && (flags&SYN == 0 || flags&ACK != 0) ||
		p == host.UDP && Server(from, to) == 1
}
