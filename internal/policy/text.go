package policy

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Plain makes of text, which may be evidence, one line that is a text in every dialect: without
// controls, line ends, marks that turn the direction of writing, quotes and backslashes, and of
// at most limit bytes, cut between characters.
func Plain(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '"':
			return '\''
		case r == '\\':
			return '/'
		case r == utf8.RuneError:
			return '?'
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	const dots = "..."
	if len(s) <= limit {
		return s
	}
	cut := max(limit-len(dots), 0)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + dots[:min(len(dots), limit)]
}

// Slug makes of a name a word of small letters, digits and underscores that begins with prefix and
// has at most limit bytes. Names that would lose something by that get a number, so that two of
// them stay two words.
func Slug(prefix, name string, limit int) string {
	if name == "" {
		return prefix
	}
	s := prefix + "_" + strings.Map(func(r rune) rune {
		switch {
		case 'A' <= r && r <= 'Z':
			return r - 'A' + 'a'
		case 'a' <= r && r <= 'z' || '0' <= r && r <= '9':
			return r
		}
		return '_'
	}, name)
	if len(s) <= limit && strings.EqualFold(s, prefix+"_"+name) {
		return s
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	sum := fmt.Sprintf("_%08x", h.Sum32())
	return s[:min(len(s), limit-len(sum))] + sum
}

// Ordered gives the rules in an order in which the first that matches decides.
func (p *Policy) Ordered() []*Rule {
	var drops, rest []*Rule
	for i := range p.Rules {
		r := &p.Rules[i]
		if p.Order == DropWins && r.Action == Drop {
			drops = append(drops, r)
		} else {
			rest = append(rest, r)
		}
	}
	return slices.Concat(drops, rest)
}
