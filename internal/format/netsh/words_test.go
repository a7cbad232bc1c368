package netsh

import (
	"strings"
	"testing"
)

// TestWords: in one column a word means one thing, in whatever language; and a heading names
// one profile.
func TestWords(t *testing.T) {
	for _, column := range [][]Word{{Yes, No}, {In, Out}, {Allow, Block, Bypass, Any}, {Domain, Private, Public, Any}, {On, Off, Yes, No}} {
		means := map[string]Word{}
		for _, p := range phrases {
			key := strings.ToLower(p.text)
			for _, w := range column {
				if p.means != w {
					continue
				}
				if old, ok := means[key]; ok && old != w {
					t.Errorf("%s %q means %s and %s", p.lang, p.text, old, w)
				}
				means[key] = w
			}
		}
	}
	for _, h := range headings {
		if got := headed(h.part); got != h.means {
			t.Errorf("%q names %s", h.part, got)
		}
	}
	for _, p := range phrases {
		if p.means >= Domain && p.means <= Public && headed("x "+p.text+" y") != p.means {
			t.Errorf("a heading with %q names %s", p.text, headed(p.text))
		}
	}
}
