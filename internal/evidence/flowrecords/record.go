package flowrecords

import (
	"bytes"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/evidence/traffic"
	"github.com/oldguard/oldguard/internal/host"
)

// kindOf tells what the records of a file are by the columns it has.
func kindOf(r *row) kind {
	zeek := r.is(roleSource) && r.rank[roleSource] == 0
	switch {
	case zeek, r.answered[0] != nil:
		return whole
	case r.is(roleOneWay):
		return oneSided
	case r.any(roleArrow, roleInitiated):
		return whole
	case r.is(roleAction) && r.any(rolePolicy, roleSession):
		return whole
	case r.is(roleOctetsSent, roleOctetsReceived), r.is(rolePacketsSent, rolePacketsReceived):
		return whole
	case r.is(roleAction):
		return asked
	}
	return oneSided
}

// otherEvents are Suricata's that are about what was said in a flow, or about a part of it; the flow
// has an event of its own.
var otherEvents = func() map[string]bool {
	m := map[string]bool{}
	for name := range strings.FieldsSeq(`alert anomaly arp bittorrent_dht dcerpc dhcp dnp3 dns doh2 drop enip fileinfo frame ftp ftp_data http http2 ike ikev2 krb5
		ldap mdns modbus mqtt netflow nfs packet pgsql pop3 quic rdp rfb sip smb smtp snmp ssh stats tftp tls websocket`) {
		m[name] = true
	}
	return m
}()

// record reads a row. It is fine if the row is of a conversation, or is none on purpose.
func (x *reading) record(r *row) reason {
	if otherEvents[string(r.cell[roleEvent])] {
		return fine
	}
	switch string(r.cell[roleStatus]) {
	case "NODATA":
		return fine
	case "SKIPDATA":
		x.lostWindows++
		return fine
	}
	f := flow{kind: kindOf(r), icmp: unshown, sure: true, begins: r.begins, line: r.line}
	var src, dst endpoint
	if why := ends(r, &src, &dst); why != fine {
		return why
	}
	f.src, f.dst = src.addr, dst.addr
	if why := x.spoken(r, &f, src, dst); why != fine {
		return why
	}
	f.first, f.last = x.spanOf(r)
	f.counts(r)
	x.decided(r, &f)
	x.translation(r, &f)
	x.sampling(r)
	if cell := r.cell[roleArrow]; f.kind == whole && len(cell) > 0 {
		f.sure = bytes.IndexByte(cell, '?') < 0
		if bytes.IndexByte(cell, '<') >= 0 && bytes.IndexByte(cell, '>') < 0 {
			f.src, f.dst, f.sport, f.dport = f.dst, f.src, f.dport, f.sport
		}
	}
	x.firewall = x.firewall || f.kind != oneSided && r.is(roleAction)
	x.name(src.addr, src.name, r.line)
	x.name(src.addr, r.cell[roleSourceName], r.line)
	x.name(dst.addr, dst.name, r.line)
	x.name(dst.addr, r.cell[roleTargetName], r.line)
	x.take(&f)
	return fine
}

// ends reads the two ends.
func ends(r *row, src, dst *endpoint) reason {
	if r.addr[0].IsValid() {
		src.addr, dst.addr = r.addr[0], r.addr[1]
		return fine
	}
	var ok1, ok2 bool
	*src, ok1 = endpointOf(r.cell[roleSource])
	*dst, ok2 = endpointOf(r.cell[roleTarget])
	if ok1 && ok2 {
		return fine
	}
	for _, cell := range [][]byte{r.cell[roleSource], r.cell[roleTarget]} {
		if bytes.Contains(cell, []byte("..")) && bytes.IndexByte(cell, ':') > 0 {
			return shortened
		}
	}
	for i, cell := range [][]byte{r.cell[roleSource], r.cell[roleTarget]} {
		if ok := []bool{ok1, ok2}[i]; !ok && hostName(cell) != "" {
			return namedOnly
		}
	}
	return noAddress
}

// spoken reads protocol and ports.
func (x *reading) spoken(r *row, f *flow, src, dst endpoint) reason {
	known := false
	f.proto, known = traffic.Proto(r.cell[roleProto])
	target := r.cell[roleTargetPort]
	if len(target) == 0 {
		target = r.cell[roleOnlyPort]
	}
	port, hasPort := portOf(target)
	if !hasPort && dst.hasPort {
		port, hasPort = dst.port, true
	}
	if !known || !hasPort {
		for _, cell := range [][]byte{r.cell[roleService], r.cell[roleProto], target} {
			p, ok, n, ok1 := serviceOf(cell)
			if ok && !known {
				f.proto, known = p, true
			}
			if ok1 && !hasPort {
				port, hasPort = n, true
			}
		}
	}
	if !known {
		return noProtocol
	}
	if f.proto == host.ICMP && f.dst.Is6() {
		f.proto = host.ICMPv6
	}
	source, hasSource := portOf(r.cell[roleSourcePort])
	if !hasSource && src.hasPort {
		source, hasSource = src.port, true
	}
	switch {
	case f.proto == host.ICMP || f.proto == host.ICMPv6:
		f.icmp = icmpOf(r, f.kind, source, port, hasPort)
	case traffic.HasPorts(f.proto):
		if !hasPort {
			return noPort
		}
		f.dport, f.sport, f.hasSource = port, source, hasSource
		if !hasSource {
			x.noSource++
		}
	}
	return fine
}

// icmpOf finds the type of an ICMP message: in a column of its own, or where other protocols have
// their ports. Exporters of flows put it above the code in the destination's, RFC 3954, 8
// (ICMP_TYPE); Zeek in the source's.
func icmpOf(r *row, k kind, source, target uint16, hasTarget bool) int {
	if n, ok := traffic.Number(r.cell[roleIcmpType]); ok && n < 256 {
		return int(n)
	}
	if n, ok := traffic.Number(r.cell[roleIcmpPacked]); ok && n < 1<<16 {
		return int(n >> 8)
	}
	if word := r.cell[roleIcmpType]; len(word) > 0 {
		switch strings.ToLower(string(word)) { // of pfSense
		case "request":
			return 8
		case "reply":
			return 0
		}
	}
	if name, _, ok := bytes.Cut(r.cell[roleTargetPort], []byte{'.'}); ok { // 8.0 of nfdump
		if n, ok := traffic.Number(name); ok && n < 256 {
			return int(n)
		}
	}
	if s := strings.ToLower(string(r.cell[roleService])); s == "ping" || s == "echo-request" {
		if r.addr[0].Is6() || bytes.IndexByte(r.cell[roleSource], ':') >= 0 {
			return 128
		}
		return 8
	}
	switch {
	case r.rank[roleSource] == 0 && k == whole && source < 256 && r.is(roleSourcePort):
		return int(source)
	case hasTarget && target > 255:
		return int(target >> 8)
	case hasTarget && k == oneSided && r.is(roleOneWay):
		return 0
	}
	return unshown
}

// counts reads packets and bytes, TCP flags, and how often.
func (f *flow) counts(r *row) {
	sum := func(all, sent, received role) (n uint64) {
		back, _ := scaled(r.cell[received])
		if total, ok := scaled(r.cell[all]); ok {
			if f.kind == oneSided { // a record of one direction may carry the other beside it
				f.biflow = f.biflow || back > 0
				return total + back
			}
			return total
		}
		n, _ = scaled(r.cell[sent])
		return n + back
	}
	f.packets = sum(rolePackets, rolePacketsSent, rolePacketsReceived)
	f.bytes = sum(roleOctets, roleOctetsSent, roleOctetsReceived)
	if f.proto == host.TCP && f.kind != whole {
		f.flags, f.flagsKnown = flagsOf(r.cell[roleFlags])
	}
	if f.kind != oneSided || !f.hasSource {
		if n, ok := traffic.Number(r.cell[roleTimes]); ok && n > 0 && n < 1e9 {
			f.times = int(n)
		}
	}
	if f.kind == whole && len(r.cell[roleSession]) > 0 {
		f.session = hash(r.cell[roleSession])
	}
}

// hash is FNV-1a, never 0.
func hash(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return max(h, 1)
}

// decided reads what became of the conversation.
func (x *reading) decided(r *row, f *flow) {
	if word := r.cell[roleAction]; len(word) > 0 {
		refused, known := refusedBy(word)
		f.refused = refused
		if w := string(word); !known && len(x.words) < maxWords && hostName(word) != "" && !slices.Contains(x.words, w) {
			x.words = append(x.words, w)
		}
	}
	if n, ok := traffic.Number(r.cell[roleForwarding]); ok && n >= 128 && n < 192 { // RFC 7270, 4.12
		f.refused = true
	}
	if s, ok := states[string(r.cell[roleState])]; ok && f.proto == host.TCP {
		f.refused = f.refused || s.refused
		f.sure = !s.midway
	} else if ok && s.midway {
		f.sure = false
	}
	if f.kind == whole && f.proto == host.TCP && !r.is(roleState) {
		f.answer = answerOf(r)
	}
}

// answerOf tells whether a firewall that counts both directions of a connection saw anything come
// back. What it writes at the beginning tells nothing.
func answerOf(r *row) answer {
	if string(r.cell[roleSubtype]) == "start" || string(r.cell[roleAction]) == "start" {
		return untold
	}
	got := untold
	for _, pair := range [][2]role{{rolePacketsSent, rolePacketsReceived}, {roleOctetsSent, roleOctetsReceived}} {
		sent, ok1 := scaled(r.cell[pair[0]])
		received, ok2 := scaled(r.cell[pair[1]])
		switch {
		case ok2 && received > 0:
			return answered
		case ok1 && ok2 && sent > 0:
			got = unanswered
		}
	}
	return got
}

// translation reads the addresses that a firewall put in place of the conversation's own.
func (x *reading) translation(r *row, f *flow) {
	source, target, port := r.cell[roleNatSource], r.cell[roleNatTarget], r.cell[roleNatTargetPort]
	if r.answered[0] != nil {
		target, source, port = r.answered[0], r.answered[1], r.answered[2]
	}
	if a, ok := traffic.Addr(source); ok && !a.IsUnspecified() && a != f.src {
		f.nat.source = a
	}
	if a, ok := traffic.Addr(target); ok && !a.IsUnspecified() && (a != f.dst || len(port) > 0) {
		f.nat.target = a
		if p, ok := traffic.Port(port); ok && traffic.HasPorts(f.proto) {
			f.nat.port = p
		}
	}
}

func (x *reading) sampling(r *row) {
	cell := r.cell[roleSampling]
	if len(cell) == 0 {
		return
	}
	n, ok := traffic.Number(cell)
	// nfdump says 1 for sampled and 0 for not; a rate or an interval of 1 is every packet.
	yesNo := r.rank[roleSampling] == 0
	switch {
	case ok && yesNo && n == 1:
		x.sampled = max(x.sampled, 1)
	case ok && n > 1:
		x.sampled = max(x.sampled, n)
	}
}
