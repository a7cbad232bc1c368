package firewalllog

import (
	"net/netip"
	"strings"

	"github.com/oldguard/oldguard/internal/evidence/traffic"
	"github.com/oldguard/oldguard/internal/host"
)

type hostPort struct {
	addr netip.Addr
	port uint16
}

// IsValid reports whether there is an address.
func (h hostPort) IsValid() bool { return h.addr.IsValid() }

// entry reads the fields of a line. It is not ok if there is no time or action, or if what is
// needed to know the conversation cannot be read.
func (c columns) entry(fields [][]byte) (e entry, ok bool) {
	field := func(at int) []byte {
		if at < 0 || at >= len(fields) || len(fields[at]) == 1 && fields[at][0] == '-' {
			return nil
		}
		return fields[at]
	}
	day, ok1 := traffic.Day(field(c.date))
	clock, ok2 := traffic.Clock(field(c.time))
	name := field(c.action)
	e.action = actions[string(name)]
	if !ok1 || !ok2 || e.action == unknown {
		return e, false
	}
	e.on = day.Add(clock)
	if e.action == lost {
		e.lost, ok = traffic.Number(field(c.info))
		return e, ok
	}
	var ok3 bool
	e.proto, ok1 = traffic.Proto(field(c.proto))
	e.src.addr, ok2 = traffic.Addr(field(c.src))
	e.dst.addr, ok3 = traffic.Addr(field(c.dst))
	if !ok1 || !ok2 || !ok3 {
		return e, false
	}
	if e.proto == host.ICMP && e.dst.addr.Is6() {
		e.proto = host.ICMPv6
	}
	switch path := string(field(c.path)); {
	case string(name) == "OPEN-INBOUND", path == "RECEIVE":
		e.inbound = true
	case string(name) == "OPEN", path == "SEND":
		e.out = true
	}
	if n, ok := traffic.Number(field(c.pid)); ok && n <= 1<<32-1 {
		e.pid = uint32(n)
	}
	return e, e.detail(field(c.sport), field(c.dport), field(c.flags), field(c.icmp))
}

// detail reads what only some protocols have.
func (e *entry) detail(sport, dport, flags, icmp []byte) (ok bool) {
	switch {
	case e.proto == host.ICMP || e.proto == host.ICMPv6:
		e.icmp, ok = traffic.Port(icmp)
		return ok && e.icmp < 256
	case traffic.HasPorts(e.proto):
		var ok1 bool
		e.src.port, ok = traffic.Port(sport)
		e.dst.port, ok1 = traffic.Port(dport)
		if !ok || !ok1 {
			return false
		}
	}
	if e.proto == host.TCP && len(flags) > 0 {
		e.flags, e.flagsKnown = flagsOf(string(flags))
	}
	return true
}

// flagsOf reads the letters of flags: S, A, F, R, P and U in any order; 0 where there are none.
// Windows Vista and later write 0 or a hyphen beside ALLOW, and beside DROP where no packet but
// a whole connection was refused: known is false then.
func flagsOf(s string) (flags traffic.TCPFlags, known bool) {
	for _, c := range s {
		i := strings.IndexRune("FSRPAU", c)
		if i < 0 {
			return 0, false
		}
		flags |= 1 << i
	}
	return flags, flags != 0
}
