package netstat

import (
	"net/netip"
	"strconv"
	"strings"
	"unicode"

	"github.com/oldguard/oldguard/internal/host"
)

// end is one end of a connection, as printed.
type end struct {
	addr netip.Addr // not valid where a name stands for it, or *
	port uint16     // 0 for * and for a name that is not known
	// name is what stands where the address should be, service what stands where the port
	// should be and is not known.
	name, service string
	any           bool // *:* of UDP
}

func (e end) pair() netip.AddrPort { return netip.AddrPortFrom(e.addr, e.port) }

// row is a line of netstat's table.
type row struct {
	proto         host.IPProto
	local, remote end
	state         string
	pid           uint32
}

// listens reports whether the line is a port on which the machine waits: the other end is
// no address and port 0, in every language.
func (r row) listens() bool {
	switch {
	case r.proto == host.UDP:
		return true
	case r.state == bound:
		return false
	}
	// Without -n the machine's own name stands in front of the 0.
	return r.remote.port == 0 && r.remote.service == "" && (r.remote.addr.IsUnspecified() || r.remote.name != "")
}

// bound is the state of a port that is taken and not listened on, which netstat -q and
// Get-NetTCPConnection show.
const bound = "BOUND"

// maxLine bounds the lines that are looked at; a real one has 80 characters, 160 with names.
const maxLine = 1000

// readRow reads a line of the table:
//
//	TCP    192.0.2.11:445         192.0.2.20:49180       ESTABLISHED     4
func readRow(line string) (r row, ok bool) {
	if len(line) > maxLine {
		return r, false
	}
	word, rest := nextWord(line)
	switch word {
	case "TCP":
		r.proto = host.TCP
	case "UDP":
		r.proto = host.UDP
	default:
		return r, false
	}
	word, rest = nextWord(rest)
	if r.local, ok = readEnd(word); !ok || r.local.any {
		return r, false
	}
	word, rest = nextWord(rest)
	if r.remote, ok = readEnd(word); !ok || r.remote.any != (r.proto == host.UDP) {
		return r, false
	}
	rest = strings.TrimLeft(rest, " \t")
	state := rest
	for rest != "" { // the first number is the process; -t has a word behind it
		before := len(state) - len(rest)
		if word, rest = nextWord(rest); isDigits(word) {
			n, err := strconv.ParseUint(word, 10, 32)
			if err != nil {
				return r, false
			}
			r.pid, state = uint32(n), state[:before]
			break
		}
	}
	r.state = strings.TrimSpace(state)
	return r, true
}

// nextWord takes the first word off, at blanks and tabs.
func nextWord(s string) (word, rest string) {
	s = strings.TrimLeft(s, " \t")
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// readEnd reads 192.0.2.11:445, [fe80::1%11]:135, fs01:microsoft-ds, *:* and 0.0.0.0:*.
func readEnd(s string) (e end, ok bool) {
	colon := strings.LastIndexByte(s, ':')
	if colon <= 0 || colon == len(s)-1 {
		return e, false
	}
	addr, port := s[:colon], s[colon+1:]
	if addr == "*" {
		e.any = true
		return e, port == "*"
	}
	if inner, is := strings.CutPrefix(addr, "["); is {
		if addr, is = strings.CutSuffix(inner, "]"); !is {
			return e, false
		}
	}
	parsed, err := netip.ParseAddr(addr)
	switch {
	case err == nil:
		e.addr = parsed.Unmap().WithZone("")
	case isHostName(addr):
		e.name = addr
	default:
		return e, false
	}
	switch {
	case isDigits(port):
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return e, false
		}
		e.port = uint16(n)
	case port == "*":
	case isHostName(port):
		if e.port, ok = services[strings.ToLower(port)]; !ok {
			e.service = port
		}
	default:
		return e, false
	}
	return e, true
}

// looksLikeRow knows a line that readRow should have understood.
func looksLikeRow(line string) bool {
	word, rest := nextWord(line[:min(len(line), maxLine)])
	if word != "TCP" && word != "UDP" {
		return false
	}
	word, rest = nextWord(rest)
	other, _ := nextWord(rest)
	return strings.Contains(word, ":") && strings.Contains(other, ":")
}

// isHostName allows what names of machines and services are made of. An address that is
// none is no name.
func isHostName(s string) bool {
	return len(s) <= 255 && strings.Trim(s, "0123456789.") != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r != '-' && r != '_' && r != '.' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
}

// services are the names that netstat without -n shows for ports of TCP, from the file
// drivers\etc\services of Windows, which has those of IANA and a few of its own:
// https://www.iana.org/assignments/service-names-port-numbers, read 2026-11-25. Only those
// that a server's table is likely to have.
var services = map[string]uint16{
	"ftp-data": 20, "ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "nameserver": 42, "domain": 53, "bootps": 67, "bootpc": 68, "tftp": 69,
	"http": 80, "www": 80, "kerberos": 88, "pop3": 110, "sunrpc": 111, "nntp": 119, "ntp": 123, "epmap": 135, "loc-srv": 135,
	"netbios-ns": 137, "nbname": 137, "netbios-dgm": 138, "nbdatagram": 138, "netbios-ssn": 139, "nbsession": 139, "imap": 143, "imap4": 143, "snmp": 161,
	"snmptrap": 162, "ldap": 389, "https": 443, "microsoft-ds": 445, "kpasswd": 464, "isakmp": 500, "syslog": 514, "printer": 515,
	"rpc-epmap": 593, "http-rpc-epmap": 593, "ldaps": 636, "sldap": 636, "kerberos-adm": 749, "ftps": 990, "imaps": 993, "pop3s": 995,
	"ms-sql-s": 1433, "ms-sql-m": 1434, "wins": 1512, "l2tp": 1701, "pptp": 1723, "radius": 1812, "radacct": 1813, "ssdp": 1900, "nfsd": 2049, "nfs": 2049,
	"msft-gc": 3268, "msft-gc-ssl": 3269, "ms-wbt-server": 3389, "ws-discovery": 3702, "ipsec-msft": 4500, "llmnr": 5355,
	"wsdapi": 5357, "wsdapi-s": 5358, "wsman": 5985, "wsmans": 5986,
}
