package capture

import (
	"github.com/oldguard/oldguard/internal/format/packet"
)

// known are ports above 1023, and the more common ones below, on which servers wait: where a port is
// known and the other is not, it is the server's. From
// https://www.iana.org/assignments/service-names-port-numbers and
// https://learn.microsoft.com/troubleshoot/windows-server/networking/service-overview-and-network-port-requirements,
// read 2026-11-25.
var known = portSet(
	7, 9, 13, 17, 19, 21, 22, 23, 25, 37, 42, 43, 49, 53, 67, 69, 70, 79, 80, 88, 102, 109, 110, 111, 113, 119, 123, 135, 137, 138, 139, 143,
	161, 162, 177, 179, 389, 427, 443, 444, 445, 464, 465, 500, 502, 512, 513, 514, 515, 520, 523, 543, 544, 546, 547, 548, 554, 563, 587, 593,
	631, 636, 646, 873, 902, 989, 990, 992, 993, 995,
	1080,       // SOCKS
	1194,       // OpenVPN
	1270,       // Operations Manager
	1352,       // Lotus Notes
	1433, 1434, // SQL Server and its browser
	1494,       // Citrix ICA
	1521,       // Oracle
	1645, 1646, // RADIUS, as it was
	1701,       // L2TP
	1719, 1720, // H.323
	1723,       // PPTP
	1755,       // Windows Media
	1801,       // Message Queuing
	1812, 1813, // RADIUS
	1883,             // MQTT
	1900,             // SSDP
	2049,             // NFS
	2101, 2103, 2105, // Message Queuing
	2222,       // EtherNet/IP
	2383,       // Analysis Services
	2404,       // IEC 60870-5-104
	2598,       // Citrix
	2638,       // SQL Anywhere
	2869,       // UPnP
	2967,       // Symantec
	3050,       // Firebird
	3128,       // proxies
	3260,       // iSCSI
	3268, 3269, // Global Catalog
	3306,       // MySQL
	3343,       // Cluster service
	3389,       // Remote Desktop
	3478,       // STUN
	3527,       // Message Queuing
	3544,       // Teredo
	3702,       // WS-Discovery
	4011,       // PXE
	4500,       // IPsec
	4840,       // OPC UA
	5004, 5005, // RTP, RTCP
	5060, 5061, // SIP
	5222,       // XMPP
	5353, 5355, // multicast DNS, LLMNR
	5357, 5358, // WSD
	5432,       // PostgreSQL
	5666, 5667, // NRPE, NSCA
	5671, 5672, // AMQP
	5722,       // DFS replication
	5723,       // Operations Manager
	5900, 5901, // VNC
	5984,       // CouchDB
	5985, 5986, // WinRM
	6000,       // X11
	6101, 6106, // Backup Exec
	6129,                   // DameWare
	6379,                   // Redis
	6514,                   // syslog over TLS
	8000, 8005, 8009, 8080, // web servers
	8081, 8088, 8443, 8530, 8531, 8888,
	9000, 9090,
	9100,       // printers
	9200, 9300, // Elasticsearch
	9389,         // Active Directory Web Services
	9443,         // web servers
	10000,        // backup over NDMP, Webmin
	10050, 10051, // Zabbix
	10123,        // Configuration Manager
	11211,        // memcached
	13724, 13782, // NetBackup
	20000, // DNP3
	27017, // MongoDB
	44818, // EtherNet/IP
	47808, // BACnet
)

// portSet is a bitmap of the ports.
func portSet(ports ...uint16) *[1 << 13]byte {
	s := new([1 << 13]byte)
	for _, p := range ports {
		s[p>>3] |= 1 << (p & 7)
	}
	return s
}

// classOf orders ports by how likely a server waits there: known ones, those that only a privileged
// process may take, the rest, and those that systems give to clients, from Windows Vista on and by IANA.
func classOf(port uint16) int {
	switch {
	case known[port>>3]&(1<<(port&7)) != 0:
		return 0
	case port < 1024:
		return 1
	case port < 49152:
		return 2
	}
	return 3
}

// isGroup reports whether packets to the address go to many: multicast, and broadcast to all.
func isGroup(a *packet.Addr) bool {
	if a[10] == 0xff && a[11] == 0xff && a[0] == 0 {
		return a[12]&0xf0 == 0xe0 || a[12]&a[13]&a[14]&a[15] == 0xff
	}
	return a[0] == 0xff
}
