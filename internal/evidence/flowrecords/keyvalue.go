package flowrecords

import (
	"bytes"

	"github.com/oldguard/oldguard/internal/evidence/traffic"
)

// keyValue knows lines of names with values, in any order: Fortinet's srcip=192.0.2.1, CEF's
// src=, the kernel's SRC= of iptables and nftables, and conntrack's, which has both directions.
func keyValue(line []byte) *layout {
	var r row
	if splitKeys(line, &r) != record {
		return nil
	}
	if _, ok := endpointOf(r.cell[roleSource]); !ok {
		return nil
	}
	if _, ok := endpointOf(r.cell[roleTarget]); !ok {
		return nil
	}
	return &layout{split: splitKeys}
}

// flagKeys are words without a value that the kernel prints of a TCP packet.
var flagKeys = map[string]bool{"SYN": true, "ACK": true, "RST": true, "FIN": true, "PSH": true}

// numbered are names that mean something only with a number: the type of an ICMP message, which
// conntrack and the kernel print, and the bytes of CEF. The kernel's IN and OUT are interfaces.
var numbered = map[string]role{"type": roleIcmpType, "in": roleOctetsReceived, "out": roleOctetsSent}

// maxKeys bounds the values of a line; Fortinet's have some 60.
const maxKeys = 400

func splitKeys(line []byte, r *row) verdict {
	if bytes.IndexByte(line, '=') < 0 {
		return nothing // of another program, in the same log
	}
	front := line[:bytes.IndexByte(line, '=')]
	var sources, targets, ports int
	flags := -1 // where the words of flags begin
	for rest, n := line, 0; len(rest) > 0 && n < maxKeys; n++ {
		name, text, after := pair(rest)
		rest = after
		if name == nil {
			r.bareWord(text, len(line)-len(after) <= len(front))
			if flagKeys[string(text)] && flags < 0 {
				flags = len(line) - len(after) - len(text)
			}
			continue
		}
		m, reduced := lookup(name)
		switch m.role {
		case roleNone:
			if c, known := numbered[reduced]; known && !r.is(c) {
				if _, ok := traffic.Number(text); ok {
					r.put(c, text)
				}
			}
			continue
		case roleSource:
			sources++
			if sources == 2 {
				r.answered[0] = text
			}
		case roleTarget:
			targets++
			if targets == 2 {
				r.answered[1] = text
			}
		case roleSourcePort:
			ports++
			if ports == 2 {
				r.answered[2] = text
			}
		default:
		}
		if sources >= 2 { // what conntrack says of the answers: of its ends above, and how much
			switch m.role {
			case roleOctets:
				r.put(roleOctetsReceived, value(text))
			case rolePackets:
				r.put(rolePacketsReceived, value(text))
			default:
			}
			continue
		}
		r.set(m, value(text))
	}
	if !r.any(roleSource, roleTarget) {
		return nothing
	}
	if !r.is(roleSource, roleTarget) || !r.any(roleProto, roleTargetPort, roleService) {
		return mismatch
	}
	if r.answered[0] != nil {
		r.conntrack()
	} else if flags >= 0 {
		r.put(roleFlags, wordsOfFlags(line[flags:]))
	}
	if !r.any(roleStamp, roleStart, roleEnd, roleDay) {
		r.put(roleStamp, frontTime(front))
	}
	return record
}

// conntrack puts the counts of the two directions where those of sessions are.
func (r *row) conntrack() {
	for _, c := range []struct{ all, sent role }{{rolePackets, rolePacketsSent}, {roleOctets, roleOctetsSent}} {
		if r.is(c.all) {
			r.put(c.sent, r.cell[c.all])
			r.cell[c.all] = nil
			r.has &^= 1 << c.all
		}
	}
}

// pair cuts the next name and value off a line, or the next word, which has no name.
func pair(line []byte) (name, text, rest []byte) {
	line = bytes.TrimLeft(line, " \t,|")
	whole := len(line) > 0 && line[0] == '"' // "srcip=192.0.2.1"
	if whole {
		line = line[1:]
	}
	end := bytes.IndexAny(line, "= \t,|")
	if whole && bytes.IndexByte(line, '"') >= 0 && (end < 0 || line[end] != '=') {
		end = bytes.IndexByte(line, '"')
	}
	switch {
	case end < 0:
		return nil, line, nil
	case line[end] != '=':
		return nil, line[:end], line[end+1:]
	}
	name, line = line[:end], line[end+1:]
	quoted := len(line) > 0 && line[0] == '"'
	if quoted {
		line = line[1:]
	}
	if quoted || whole {
		if end = bytes.IndexByte(line, '"'); end >= 0 {
			return name, line[:end], line[end+1:]
		}
	}
	if end = bytes.IndexAny(line, " \t,|"); end >= 0 {
		return name, line[:end], line[end+1:]
	}
	return name, line, nil
}

// bareWord reads a word without a name: the protocol and the state of conntrack, and what UFW and
// others put in front of what the kernel logs.
func (r *row) bareWord(word []byte, front bool) {
	if len(word) == 0 || !front && word[0] != '[' || string(word) == "ipv4" || string(word) == "ipv6" { // the family
		return
	}
	if _, ok := traffic.Proto(word); ok && !r.is(roleProto) && word[0] > '9' {
		r.put(roleProto, word)
		return
	}
	if _, ok := states[string(word)]; ok && r.is(roleProto) {
		r.put(roleState, word)
		return
	}
	if tail := bytes.TrimRight(word, "]:"); len(tail) < len(word) || word[0] == '[' { // [UFW BLOCK], FW-DROP:
		tail = bytes.TrimLeft(tail[bytes.LastIndexAny(tail, "-_")+1:], "[")
		if _, known := refusedBy(tail); known && !r.is(roleAction) {
			r.put(roleAction, tail)
		}
	}
}

// wordsOfFlags gives the part of a line that holds words of flags and nothing else.
func wordsOfFlags(line []byte) []byte {
	end := 0
	for end < len(line) {
		next := bytes.IndexByte(line[end:], ' ')
		if next < 0 {
			next = len(line) - end
		}
		if !flagKeys[string(line[end:end+next])] {
			break
		}
		end = min(end+next+1, len(line))
	}
	return bytes.TrimSpace(line[:end])
}

// frontTime finds the time in front of the first value: of a syslog that prints the year, or
// seconds since 1970 in brackets as conntrack -o timestamp does.
func frontTime(front []byte) []byte {
	if t := firstTime(front); t != nil {
		return t
	}
	for word := range bytes.FieldsSeq(front) {
		if word[0] == '[' {
			word = bytes.Trim(word, "[]")
			if _, ok := epoch(word); ok && len(word) >= 10 {
				return word
			}
		}
	}
	return nil
}
