package chain

import (
	"strconv"
	"strings"

	"github.com/oldguard/oldguard/internal/policy/space"
)

// protocols are names of https://www.iana.org/assignments/protocol-numbers and those that
// Debian's /etc/protocols has for them (netbase), read 2026-11-25.
var protocols = map[string]space.Num{
	"icmp": 1, "igmp": 2, "ggp": 3, "ipencap": 4, "st": 5, "tcp": 6, "egp": 8, "igp": 9, "pup": 12, "udp": 17, "hmp": 20,
	"xns-idp": 22, "rdp": 27, "iso-tp4": 29, "dccp": 33, "xtp": 36, "ddp": 37, "idpr-cmtp": 38, "ipv6": 41,
	"ipv6-route": 43, "ipv6-frag": 44, "idrp": 45, "rsvp": 46, "gre": 47, "esp": 50, "ipsec-esp": 50, "ah": 51, "ipsec-ah": 51,
	"skip": 57, "ipv6-icmp": 58, "icmpv6": 58, "icmp6": 58, "ipv6-nonxt": 59, "ipv6-opts": 60, "rspf": 73, "vmtp": 81,
	"eigrp": 88, "ospf": 89, "ospfigp": 89, "ax.25": 93, "ipip": 94, "etherip": 97, "encap": 98, "pim": 103, "ipcomp": 108,
	"vrrp": 112, "l2tp": 115, "isis": 124, "sctp": 132, "fc": 133, "mobility-header": 135, "udplite": 136, "mpls-in-ip": 137, "ethernet": 143,
	"manet": 138, "hip": 139, "shim6": 140, "wesp": 141, "rohc": 142,
}

// services are names of ports that rule sets use; the others of
// https://www.iana.org/assignments/service-names-port-numbers, read 2026-11-25, are not understood.
var services = map[string]space.Num{
	"tcpmux": 1, "echo": 7, "discard": 9, "systat": 11, "daytime": 13, "netstat": 15, "qotd": 17, "chargen": 19, "ftp-data": 20,
	"ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "mail": 25, "time": 37, "whois": 43, "tacacs": 49, "domain": 53, "dns": 53,
	"bootps": 67, "bootpc": 68, "tftp": 69, "gopher": 70, "finger": 79, "http": 80, "www": 80, "kerberos": 88, "kerberos-sec": 88,
	"iso-tsap": 102, "acr-nema": 104, "pop3": 110, "pop-3": 110, "sunrpc": 111, "portmapper": 111, "auth": 113, "ident": 113,
	"nntp": 119, "ntp": 123, "epmap": 135, "loc-srv": 135, "netbios-ns": 137, "netbios-dgm": 138, "netbios-ssn": 139,
	"imap2": 143, "imap": 143, "snmp": 161, "snmp-trap": 162, "snmptrap": 162, "cmip-man": 163, "xdmcp": 177, "bgp": 179,
	"irc": 194, "ldap": 389, "https": 443, "microsoft-ds": 445, "kpasswd": 464, "submissions": 465, "ssmtp": 465, "smtps": 465,
	"urd": 465, "isakmp": 500, "exec": 512, "biff": 512, "login": 513, "who": 513, "shell": 514, "syslog": 514, "printer": 515,
	"talk": 517, "ntalk": 518, "route": 520, "rip": 520, "gdomap": 538, "uucp": 540, "klogin": 543, "kshell": 544,
	"dhcpv6-client": 546, "dhcpv6-server": 547, "afpovertcp": 548, "rtsp": 554, "nntps": 563, "submission": 587, "ipp": 631,
	"ldaps": 636, "ldp": 646, "tinc": 655, "silc": 706, "domain-s": 853, "ftps-data": 989, "ftps": 990, "telnets": 992,
	"imaps": 993, "pop3s": 995, "socks": 1080, "openvpn": 1194, "rmiregistry": 1099, "ms-sql-s": 1433, "ms-sql-m": 1434,
	"l2f": 1701, "l2tp": 1701, "radius": 1812, "radius-acct": 1813, "nfs": 2049, "gsiftp": 2811, "mysql": 3306,
	"ms-wbt-server": 3389, "nut": 3493, "distcc": 3632, "svn": 3690, "subversion": 3690, "iax": 4569, "mdns": 5353,
	"xmpp-client": 5222, "xmpp-server": 5269, "postgresql": 5432, "amqp": 5672, "amqps": 5671, "x11": 6000, "http-alt": 8080,
	"webcache": 8080, "puppet": 8140, "bacula-dir": 9101, "bacula-fd": 9102, "bacula-sd": 9103, "git": 9418,
	"zabbix-agent": 10050, "zabbix-trapper": 10051,
}

// Protocol gives the number of a protocol, from its name or its digits.
func Protocol(s string) (space.Num, bool) { return Number(s, protocols, 255) }

// Port gives the number of a port, from its name or its digits.
func Port(s string) (space.Num, bool) { return Number(s, services, 65535) }

// Number gives a number up to a limit, from one of the names or from digits (hexadecimal with
// 0x).
func Number(s string, names map[string]space.Num, limit uint64) (space.Num, bool) {
	if n, ok := names[strings.ToLower(s)]; ok {
		return n, true
	}
	digits, base := s, 10
	if rest, ok := strings.CutPrefix(s, "0x"); ok {
		digits, base = rest, 16
	}
	n, err := strconv.ParseUint(digits, base, 16)
	if err != nil || n > limit {
		return 0, false
	}
	return space.Num(n), true
}
