package policy_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/oldguard/oldguard/internal/policy"
	"github.com/oldguard/oldguard/internal/policy/policytest"
)

func TestPlain(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		limit      int
		want       string
	}{
		{"as_it_is", "file shares, seen 12 times", 128, "file shares, seen 12 times"},
		{"lines_become_one", "a\nb\r\nc\td", 128, "a b c d"},
		{"quotes", `say "no" \ 'yes'`, 128, `say 'no' / 'yes'`},
		{"controls", "a\x00b\x1b[1mc\u202ed\u2028e", 128, "a?b?[1mc?d e"},
		{"not_utf8", "a\xff", 128, "a?"},
		{"cut_between_characters", strings.Repeat("ä", 10), 10, "äää..."},
		{"cut_to_nothing", "abcdef", 2, ".."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := policy.Plain(tt.text, tt.limit); got != tt.want {
				t.Errorf("Plain(%q, %d) = %q; want %q", tt.text, tt.limit, got, tt.want)
			}
		})
	}
	for _, s := range policytest.Hostile() {
		if got := policy.Plain(s, 128); len(got) > 128 || !utf8.ValidString(got) || strings.ContainsAny(got, "\"\\\n\r\t\x00\x1b") {
			t.Errorf("Plain(%q) = %q", s, got)
		}
	}
}

func TestSlug(t *testing.T) {
	seen := map[string]string{}
	for _, name := range append(policytest.Hostile(), "", "FS01", "fs-01", "fs_01", "fs 01", strings.Repeat("a", 15), strings.Repeat("a", 16), strings.Repeat("b", 90)) {
		got := policy.Slug("oldguard", name, 24)
		if len(got) > 24 || strings.Trim(got, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" || !strings.HasPrefix(got, "oldguard") {
			t.Errorf("Slug(%q) = %q", name, got)
		}
		if other, ok := seen[got]; ok {
			t.Errorf("%q and %q are both %q", name, other, got)
		}
		seen[got] = name
	}
	if got := policy.Slug("oldguard", "FS01", 24); got != "oldguard_fs01" {
		t.Errorf("FS01 is %q", got)
	}
}
