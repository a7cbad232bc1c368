package nftables

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/policy"
	"github.com/oldguard/oldguard/internal/policy/chain"
)

// Bounds of what is read.
const (
	maxText     = 64 << 20
	maxExpand   = 1 << 20 // tokens that variables are replaced by; past them a variable is not understood
	maxDefines  = 1 << 12
	maxElements = 1 << 22 // looked at over all rules; a set counts each time it is read
	maxNotes    = 100
	maxQuote    = 100 // bytes of a rule that a note shows
)

var beginning = regexp.MustCompile(`(?m)\A#!.*\bnft\b|^[ \t]*(?:(?:add|create|delete|destroy)[ \t]+)?table[ \t]+(?:(?:inet|ip6?|bridge|arp|netdev)[ \t]+)?[\w./-]+[ \t]*(?:\{|;|#|\r?$)|^[ \t]*flush[ \t]+ruleset\b`)

// Sniff reports whether text begins like a rule set for nft.
func Sniff(text []byte) bool { return beginning.Match(text) }

// Read reads a rule set: what `nft list ruleset` prints, or a file for nft -f. What it could not
// understand is in the policy's notes, and on the rules concerned. It fails only where the rules are
// too many to be held, or go round in circles.
func Read(text string, v policy.View) (*policy.Policy, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("%s is larger than %d bytes", v.File, maxText)
	}
	r := &reader{file: v.File, vars: map[string][]token{}, noted: map[string]bool{}}
	r.commands(lex(strings.TrimPrefix(text, "\ufeff")))
	set, err := r.ruleset()
	if err != nil {
		return nil, err
	}
	return set.Policy(v)
}

type reader struct {
	file     string
	tables   []*table
	vars     map[string][]token
	notes    []string
	noted    map[string]bool
	left     int // notes that are not told
	elements int
	expanded int
	answers  bool
	unread   string // files that may drop more
}

type table struct {
	family, name string
	dormant      bool
	chains       []*rules
	sets         map[string]*set
}

// rules is a chain before its rules are read: sets and chains may follow them.
type rules struct {
	name, kind, hook string
	policy           policy.Action
	raw              [][]token
}

// set is a set or a map.
type set struct {
	raw    [][]token // between the braces, as often as there were some
	varies string    // why its elements may be others
	cache  map[string]*values
}

func (r *reader) at(line int) string { return fmt.Sprintf("%s:%d", r.file, line) }

// note says what was not understood, once.
func (r *reader) note(line int, format string, args ...any) {
	s := fmt.Sprintf("%s: %s", r.at(line), fmt.Sprintf(format, args...))
	switch {
	case r.noted[s]:
	case len(r.notes) < maxNotes:
		r.noted[s] = true
		r.notes = append(r.notes, s)
	default:
		r.left++
	}
}

func quote(list []token) string { return policy.Plain(textOf(list), maxQuote) }

// statements splits tokens where lines end outside of braces. A remark stays with the
// statement before it.
func statements(list []token) (out [][]token) {
	for i := 0; i < len(list); {
		j := i
		for j < len(list) && list[j].kind != newline {
			if list[j].is("{") || list[j].is("(") {
				j += balanced(list[j:])
			} else {
				j++
			}
		}
		if s := list[i:j]; len(s) > 0 && s[0].kind != remark {
			out = append(out, s)
		}
		i = j + 1
	}
	return out
}

// block takes a statement apart at its first brace: what is before it, and what is within.
func block(s []token) (head, body []token, ok bool) {
	i := slices.IndexFunc(s, func(t token) bool { return t.is("{") })
	if i < 0 {
		return bare(s), nil, false
	}
	end := i + balanced(s[i:])
	if s[end-1].is("}") {
		return s[:i], s[i+1 : end-1], true
	}
	return s[:i], s[i+1 : end], true
}

// bare is a statement without its remarks.
func bare(s []token) []token {
	return slices.DeleteFunc(slices.Clone(s), func(t token) bool { return t.kind == remark || t.kind == newline })
}

var families = []string{"ip", "ip6", "inet", "bridge", "arp", "netdev"}

// commands reads the file's top level.
func (r *reader) commands(list []token) {
	for _, s := range statements(list) {
		verb, rest := s[0].text, s[1:]
		switch verb {
		case "define", "redefine":
			r.define(s)
			continue
		case "undefine":
			if len(rest) > 0 {
				delete(r.vars, rest[0].text)
			}
			continue
		case "include":
			r.include(s)
			continue
		case "add", "create", "insert", "replace", "delete", "destroy", "flush":
		default:
			verb, rest = "add", s
		}
		if len(rest) == 0 || !r.command(verb, rest[0].text, rest[1:]) {
			r.note(s[0].line, "not understood: %s", quote(s))
		}
	}
}

// include is not followed: only the one file is there. What it holds may drop anything.
func (r *reader) include(s []token) {
	r.note(s[0].line, "%s: what that file holds was not read; nft list ruleset prints all that is loaded", quote(s))
	r.unread = "what included files hold"
}

func (r *reader) define(s []token) {
	s = bare(s)
	if len(s) < 4 || !s[2].is("=") || len(r.vars) >= maxDefines {
		r.note(s[0].line, "not understood: %s", quote(s))
		return
	}
	r.vars[s[1].text] = r.expand(s[3:])
}

// expand puts variables in their places.
func (r *reader) expand(s []token) (out []token) {
	for i, t := range s {
		name, ok := strings.CutPrefix(t.text, "$")
		value := r.vars[name]
		switch {
		case t.kind == newline:
			// Within braces: it separates nothing but inline rules, which keep theirs.
			out = append(out, t)
		case t.kind == word && ok && value != nil && r.expanded+len(value) <= maxExpand:
			r.expanded += len(value)
			for _, v := range value {
				v.line = t.line
				out = append(out, v)
			}
		case t.kind == remark && i < len(s)-1:
		default:
			out = append(out, t)
		}
	}
	return out
}

// command follows one command about an object; false if it is none that is known.
func (r *reader) command(verb, object string, s []token) bool {
	line := 0
	if len(s) > 0 {
		line = s[0].line
	}
	if object == "ruleset" && verb == "flush" {
		r.tables = nil
		return true
	}
	family := "ip"
	if len(s) > 1 && slices.Contains(families, s[0].text) {
		family, s = s[0].text, s[1:]
	}
	if len(s) == 0 {
		return false
	}
	name := s[0].text
	t := r.table(family, name)
	adds := verb == "add" || verb == "create"
	switch object {
	case "table":
		switch {
		case adds:
			if t == nil {
				t = &table{family: family, name: name, sets: map[string]*set{}}
				r.tables = append(r.tables, t)
			}
			if _, body, ok := block(s); ok {
				r.inTable(t, body)
			}
		case verb == "flush" && t != nil:
			for _, c := range t.chains {
				c.raw = nil
			}
		case verb == "delete" || verb == "destroy":
			r.tables = slices.DeleteFunc(r.tables, func(o *table) bool { return o == t })
		}
		return true
	case "chain", "rule", "set", "map", "element":
	case "flowtable", "counter", "quota", "limit", "ct", "secmark", "synproxy":
		return true // nothing that decides
	default:
		return false
	}
	if t == nil || len(s) < 2 {
		return false
	}
	switch s = s[1:]; object {
	case "chain":
		switch {
		case adds:
			r.inTable(t, append([]token{{word, "chain", line}}, s...))
		case verb == "flush":
			if c := t.chain(s[0].text); c != nil {
				c.raw = nil
			}
		case verb == "delete" || verb == "destroy":
			t.chains = slices.DeleteFunc(t.chains, func(c *rules) bool { return c.name == s[0].text })
		default:
			return false
		}
		return true
	case "rule":
		c := t.chain(s[0].text)
		if c == nil || verb != "add" && verb != "insert" {
			return false
		}
		s = s[1:]
		if len(s) > 1 && (s[0].is("position") || s[0].is("handle") || s[0].is("index")) {
			r.note(line, "its place among the rules was not followed: %s", quote(s))
			s = s[2:]
		}
		if s = r.expand(s); verb == "insert" {
			c.raw = slices.Insert(c.raw, 0, s)
		} else {
			c.raw = append(c.raw, s)
		}
		return true
	case "set", "map":
		switch {
		case adds:
			r.inTable(t, append([]token{{word, "set", line}}, s...))
		case verb == "flush" && t.sets[s[0].text] != nil:
			t.sets[s[0].text].raw = nil
		case verb == "delete" || verb == "destroy":
			delete(t.sets, s[0].text)
		default:
			return false
		}
		return true
	}
	// An element.
	e := t.sets[s[0].text]
	_, body, ok := block(s)
	switch {
	case e == nil || !ok:
		return false
	case adds:
		e.raw = append(e.raw, r.expand(body))
	default:
		e.varies = "elements are taken out of it"
	}
	return true
}

func (r *reader) table(family, name string) *table {
	for _, t := range r.tables {
		if t.family == family && t.name == name {
			return t
		}
	}
	return nil
}

func (t *table) chain(name string) *rules {
	for _, c := range t.chains {
		if c.name == name {
			return c
		}
	}
	return nil
}

// inTable reads what stands in the braces of a table.
func (r *reader) inTable(t *table, list []token) {
	for _, s := range statements(list) {
		head, body, braces := block(s)
		switch {
		case s[0].is("define") || s[0].is("redefine"):
			r.define(s)
		case s[0].is("include"):
			r.include(s)
		case s[0].is("flags"):
			if t.dormant = strings.Contains(textOf(s), "dormant"); t.dormant {
				r.note(s[0].line, "table %s is dormant: its rules do nothing", policy.Plain(t.name, maxQuote))
			}
		case s[0].is("comment") || s[0].is("type"):
		case len(head) < 2:
			r.note(s[0].line, "not understood: %s", quote(s))
		case s[0].is("chain"):
			c := t.chain(head[1].text)
			if c == nil {
				c = &rules{name: head[1].text, policy: policy.Accept}
				t.chains = append(t.chains, c)
			}
			r.inChain(c, body)
		case (s[0].is("set") || s[0].is("map")) && braces:
			e := t.sets[head[1].text]
			if e == nil {
				e = &set{cache: map[string]*values{}}
				t.sets[head[1].text] = e
			}
			r.inSet(e, body)
		case braces: // counters, limits, tables of flows: nothing that decides
		default:
			r.note(s[0].line, "not understood: %s", quote(s))
		}
	}
}

func (r *reader) inChain(c *rules, list []token) {
	for _, s := range statements(list) {
		plain := bare(s)
		switch {
		case s[0].is("type"):
			for i := 0; i+1 < len(plain); i++ {
				switch {
				case plain[i].is("type"):
					c.kind = plain[i+1].text
				case plain[i].is("hook"):
					c.hook = plain[i+1].text
				}
			}
		case s[0].is("policy"):
			switch v := r.expand(plain[1:]); {
			case len(v) > 0 && v[0].is("accept"):
				c.policy = policy.Accept
			case len(v) > 0 && v[0].is("drop"):
				c.policy = policy.Drop
			default:
				r.note(s[0].line, "not understood: %s", quote(s))
				// It may drop or accept; accept is what there is without one.
				c.raw = append(c.raw, nil)
			}
		case s[0].is("comment") || s[0].is("flags") || s[0].is("devices") || s[0].is("device"):
		case s[0].is("include"):
			c.raw = append(c.raw, bare(s)) // rules of any kind
		case s[0].is("define"):
			r.define(s)
		default:
			c.raw = append(c.raw, r.expand(s))
		}
	}
}

func (r *reader) inSet(e *set, list []token) {
	for _, s := range statements(list) {
		switch {
		case s[0].is("elements"):
			if _, body, ok := block(r.expand(s)); ok {
				e.raw = append(e.raw, body)
			} else {
				e.varies = "its elements were not understood"
			}
		case s[0].is("timeout"):
			e.varies = "its elements come and go"
		case s[0].is("flags"):
			if text := textOf(s); strings.Contains(text, "dynamic") || strings.Contains(text, "timeout") {
				e.varies = "its elements come and go"
			}
		}
	}
}

// ruleset turns what was read into chains that can be walked.
func (r *reader) ruleset() (*chain.Ruleset, error) {
	out := &chain.Ruleset{}
	for _, t := range r.tables {
		if t.dormant {
			continue
		}
		if t.family == "arp" || t.family == "netdev" {
			if slices.ContainsFunc(t.chains, func(c *rules) bool { return len(c.raw) > 0 || c.policy == policy.Drop }) {
				out.Notes = append(out.Notes, fmt.Sprintf("%s: table %s %s was not followed", r.file, t.family, policy.Plain(t.name, maxQuote)))
			}
			continue
		}
		into := &chain.Table{Name: t.family + " " + policy.Plain(t.name, maxQuote), V4: t.family != "ip6", V6: t.family != "ip"}
		out.Tables = append(out.Tables, into)
		for i := 0; i < len(t.chains); i++ { // rules within rules add to them
			c := t.chains[i]
			next := &chain.Chain{Name: c.name, Hook: c.hook, Policy: c.policy}
			into.Chains = append(into.Chains, next)
			if c.kind == "nat" || c.hook == "ingress" || c.hook == "egress" {
				next.Hook = ""
				if len(c.raw) > 0 {
					out.Notes = append(out.Notes, fmt.Sprintf("%s: chain %s of table %s was not followed (%s)", r.file, policy.Plain(c.name, maxQuote), into.Name, policy.Plain(c.kind+" "+c.hook, maxQuote)))
				}
				continue
			}
			for _, raw := range c.raw {
				if raw == nil { // a policy that was not understood
					continue
				}
				list, err := r.rule(t, raw)
				if err != nil {
					return nil, err
				}
				next.Rules = append(next.Rules, list...)
			}
			if slices.ContainsFunc(c.raw, func(s []token) bool { return s == nil }) {
				next.Rules = append(next.Rules, chain.Rule{Match: everything(), Unsure: "policy of chain " + c.name, At: r.file})
			}
		}
	}
	out.Answers, out.Unread = r.answers, r.unread
	if r.left > 0 {
		r.notes = append(r.notes, fmt.Sprintf("%s: %d more that were not understood", r.file, r.left))
	}
	out.Notes = append(r.notes, out.Notes...)
	return out, nil
}
