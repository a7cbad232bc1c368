package netsh

import (
	"regexp"
	"slices"
	"strings"
)

// policyValue is what a profile does with what no rule matches. It is not translated: so seen
// in German and French outputs, 2026-11-25.
var policyValue = regexp.MustCompile(`(?i)^(allow|block)inbound(always)?\s*,\s*(allow|block)outbound$`)

// gap is what stands between a label and a value that no colon separates.
var gap = regexp.MustCompile(`\s{2,}`)

// cells cuts a line of a table.
func cells(line string) []string { return gap.Split(strings.TrimSpace(line), -1) }

// profiles reads the blocks that netsh advfirewall show allprofiles prints: a heading, and
// of each setting its name and its value. They are in one order, so that three whose headings
// are not understood are known nonetheless.
func (p *parser) profiles() {
	var found []Profile
	for n, head := range p.heads {
		end := len(p.lines)
		if n+1 < len(p.heads) {
			end = p.heads[n+1]
		}
		if q, ok := profileOf(p.lines[head:end]); ok {
			q.Line = head + 1
			found = append(found, q)
		}
	}
	unknown := func(q Profile) bool { return q.Name == Unknown }
	if len(found) == 3 && slices.ContainsFunc(found, unknown) {
		order := []Word{Domain, Private, Public}
		if !slices.ContainsFunc(found, func(q Profile) bool {
			i := slices.IndexFunc(found, func(o Profile) bool { return o.Line == q.Line })
			return q.Name != Unknown && q.Name != order[i]
		}) {
			for i := range found {
				found[i].Name = order[i]
			}
		}
	}
	p.out.Profiles = append(p.out.Profiles, found...)
}

// profileOf reads one block: it is one if it says what happens by default, or if its heading
// names a profile and its first setting is a state.
func profileOf(lines []string) (q Profile, ok bool) {
	if len(lines) < 3 || strings.ContainsRune(lines[2], '=') {
		return q, false
	}
	q.Heading = clip(strings.TrimSpace(lines[0]))
	q.Name = headed(q.Heading)
	first := true
	odd := func(c []string) { q.Odd = append(q.Odd, shown(strings.Join(c, ": "))) }
	for _, line := range lines[2:] {
		c := cells(line)
		if len(c) < 2 {
			continue
		}
		value := c[len(c)-1]
		m := policyValue.FindStringSubmatch(value)
		switch {
		case m != nil && q.In == Unknown:
			q.In, q.NoExceptions, q.Out, ok = actions(m[1]), m[2] != "", actions(m[3]), true
		case first:
			q.State = states(value)
			ok = ok || q.Name != Unknown && q.State != Unknown
			if q.State != On && q.State != Off {
				q.State = Unknown
				odd(c)
			}
		case c[0] == "LogDroppedConnections":
			if q.LogDropped = states(value); q.LogDropped == Unknown {
				odd(c)
			}
		case c[0] == "LogAllowedConnections":
			if q.LogAllowed = states(value); q.LogAllowed == Unknown {
				odd(c)
			}
		case c[0] == "FileName":
			q.LogFile = clip(value)
		}
		first = false
	}
	return q, ok
}

func shown(s string) string {
	if len(s) > 2*maxShown {
		s = strings.ToValidUTF8(s[:2*maxShown], "") + "…"
	}
	return s
}

// old reads netsh firewall show config and show state, which are of Server 2003 and still
// answer on 2008: blocks of settings "label = value", one for each of two profiles, Domain and
// Standard, of which the last is today's Private, and tables.
func (p *parser) old() {
	for i, head := range p.heads {
		end := len(p.lines)
		if i+1 < len(p.heads) {
			end = p.heads[i+1]
		}
		body := p.lines[min(head+2, end):end]
		if len(body) == 0 {
			continue
		}
		if _, value, ok := strings.Cut(body[0], " = "); ok {
			p.oldProfile(head, body, strings.TrimSpace(value))
			continue
		}
		for _, line := range body {
			c := strings.Fields(line)
			if len(c) < 3 {
				continue
			}
			if _, ok := PortRange(c[0]); ok && certain[strings.ToLower(c[1])] != "" && states(c[2]) != No {
				p.out.Opened++
			} else if states(c[0]) == Yes && strings.Contains(line, ` / `) && strings.Contains(line, `:\`) {
				p.out.Opened++
			}
		}
	}
}

// oldProfile reads one block of settings. The first is whether the firewall works; show
// state says before it which profile it means. A block that names no profile is none.
func (p *parser) oldProfile(head int, body []string, value string) {
	q := Profile{Line: head + 1, Heading: clip(strings.TrimSpace(p.lines[head]))}
	q.Name = headed(q.Heading)
	state := states(value)
	if state == Unknown && places(value) != Unknown && len(body) > 1 {
		q.Name = places(value)
		_, value, _ = strings.Cut(body[1], " = ")
		state = states(value)
	}
	switch {
	case q.Name == Unknown:
		return
	case state == Yes || state == On:
		q.State = On
	case state == No || state == Off:
		q.State = Off
	default:
		q.Odd = append(q.Odd, shown(body[0]))
	}
	p.out.Profiles = append(p.out.Profiles, q)
}
