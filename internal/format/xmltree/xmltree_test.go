package xmltree_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/format/xmltree"
)

func TestParse(t *testing.T) {
	root, err := xmltree.Parse(strings.NewReader("\ufeff<?xml version='1.0' encoding='utf-8'?>\n" +
		`<a xmlns="urn:x" xmlns:p="urn:y" k="1"> one <p:b p:l="2&amp;3"/> two <!-- no --></a><b.RegDword Key="x"/>`))
	if err != nil {
		t.Fatal(err)
	}
	want := &xmltree.Node{Children: []*xmltree.Node{
		{Name: "a", Attr: []xmltree.Attr{{Name: "k", Value: "1"}}, Text: "one  two", Children: []*xmltree.Node{
			{Name: "b", Attr: []xmltree.Attr{{Name: "l", Value: "2&3"}}},
		}},
		{Name: "b.RegDword", Attr: []xmltree.Attr{{Name: "Key", Value: "x"}}},
	}}
	if diff := cmp.Diff(want, root); diff != "" {
		t.Errorf("tree differs (-want +got):\n%s", diff)
	}
	if got := root.Child("a").Child("b").Get("l") + root.Child("none").Child("none").Get("none"); got != "2&3" {
		t.Errorf("chained look-ups gave %q", got)
	}
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		name, text string
		limit      bool
	}{
		{"not_closed", "<a><b></b>", false},
		{"crossed", "<a><b></a></b>", false},
		{"closes_nothing", "</a>", false},
		{"entity", `<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>`, false},
		{"billion_laughs", `<!DOCTYPE a [<!ENTITY x "yyyy"><!ENTITY z "&x;&x;">]><a b="&z;"/>`, false},
		{"foreign_encoding", `<?xml version="1.0" encoding="utf-7"?><a/>`, false},
		{"deep", strings.Repeat("<a>", 100), true},
		{"many", strings.Repeat("<a/>", xmltree.MaxElements+1), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := xmltree.Parse(strings.NewReader(tt.text)); err == nil || errors.Is(err, xmltree.ErrLimit) != tt.limit {
				t.Errorf("Parse gave %v", err)
			}
		})
	}
}

func TestEach(t *testing.T) {
	var got []string
	err := xmltree.Each(strings.NewReader("<a><b x='1'/></a><c/>"), func(depth int, n xmltree.Node) error {
		got = append(got, strings.Repeat(" ", depth)+n.Name+n.Get("x"))
		return nil
	})
	if diff := cmp.Diff([]string{"a", " b1", "c"}, got); err != nil || diff != "" {
		t.Errorf("Each gave %v (-want +got):\n%s", err, diff)
	}
	stop := errors.New("stop")
	if err := xmltree.Each(strings.NewReader("<a/>"), func(int, xmltree.Node) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("Each gave %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("<a b='c'>d<!-- e --><f/></a>")
	f.Add("<?xml version='1.0'?><!DOCTYPE x><a:b xmlns:a='c'><![CDATA[x]]></a:b>")
	f.Fuzz(func(t *testing.T, text string) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		root, err := xmltree.Parse(strings.NewReader(text))
		runtime.ReadMemStats(&after)
		const perByte, fixed = 400, 1 << 20
		if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(perByte*len(text)+fixed); got > limit {
			t.Errorf("%d bytes made Parse allocate %d, more than %d", len(text), got, limit)
		}
		if (root == nil) == (err == nil) {
			t.Errorf("Parse gave %v, %v", root, err)
		}
	})
}
