package batch

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestLabels: what is jumped to and called is there, once, and each trait is compared.
func TestLabels(t *testing.T) {
	all := []Trait{Name, Arch, Version, Build, ProductID, GUID}
	text := Native + Guard(all...) + Refusals + Routines
	var labels []string
	for _, m := range regexp.MustCompile(`(?m)^:(\w+)$`).FindAllStringSubmatch(text, -1) {
		labels = append(labels, m[1])
	}
	for i, l := range labels {
		if slices.Contains(labels[i+1:], l) {
			t.Errorf("label %s is there twice", l)
		}
	}
	for _, m := range regexp.MustCompile(`(?:goto|call) :(\w+)`).FindAllStringSubmatch(text, -1) {
		if !slices.Contains(labels, m[1]) {
			t.Errorf("there is no label %s", m[1])
		}
	}
	for _, trait := range all {
		if !strings.Contains(Guard(trait), `set "OG_WHAT=`+string(trait)+`"`) || strings.Contains(Guard(), string(trait)+`"`) {
			t.Errorf("the %s is not compared, or is unasked", trait)
		}
	}
	// A parenthesis in a text would end a block; for has the only ones.
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "if ") && strings.Contains(line, "(") {
			t.Errorf("a block: %s", line)
		}
	}
}
