package verify

import (
	"crypto"
	"crypto/x509"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/trust/trusttest"
	"github.com/oldguard/oldguard/internal/verify/verifytest"
	"github.com/oldguard/oldguard/winver"
)

const lackingText = `{"schema":"oldguard/assessment/1","host":{"name":{"value":"FS01"},"release":{"value":"Windows Server 2008 SP2"},
"arch":{"value":"amd64"},"build":{"value":"6.0.6002"}},"updates":{"missing":[{"kb":"KB4493730","kind":"servicing stack"},{"kb":"KB4474419","kind":"SHA-2"},
{"kb":"KB4493471","kind":"rollup"},{"kb":"KB5034867","kind":"servicing stack"},{"kb":"KB5073697","kind":"rollup"}]}}`

func TestReadLacking(t *testing.T) {
	want := Lacking{
		Host: "FS01", Release: "Windows Server 2008 SP2", Arch: winver.AMD64, Build: winver.Build{Major: 6, Number: 6002},
		Updates: []Lack{{4493730, "servicing stack"}, {4474419, "SHA-2"}, {4493471, "rollup"}, {5034867, "servicing stack"}, {5073697, "rollup"}},
	}
	for _, tc := range []struct {
		name, text string
		want       []Lacking
		fails      bool
	}{
		{"one", lackingText, []Lacking{want}, false},
		{"lines", lackingText + "\n" + lackingText + "\n", []Lacking{want, want}, false},
		{"list", `{"schema":"oldguard/assessments/1","assessments":[` + lackingText + `]}`, []Lacking{want}, false},
		{"nothing_known", `{"schema":"oldguard/assessment/1","host":{"name":{"value":null}}}`, []Lacking{{Host: "a machine whose name is not known"}}, false},
		{"other_schema", `{"schema":"oldguard/inspection/1"}`, nil, true},
		{"no_json", "Host Name: FS01", nil, true},
		{"empty", "", nil, true},
		{"cut", lackingText[:100], nil, true},
		{"one_whole_one_cut", lackingText + lackingText[:100], nil, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := ReadLacking(strings.NewReader(tc.text))
			if tc.fails != errors.Is(err, ErrNoAssessment) {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAgainst(t *testing.T) {
	a := trusttest.New(t, x509.SHA256WithRSA)
	o := options(t, a)
	machines, err := ReadLacking(strings.NewReader(lackingText))
	if err != nil {
		t.Fatal(err)
	}
	file := func(name, kb, arch string, by *trusttest.Authority) *Answer {
		return answerOf(t, name, verifytest.Update(by, crypto.SHA256, kb, arch), o)
	}
	got := Against([]*Answer{
		file("ssu-x86.cab", "KB4493730", "x86", a),
		file("ssu-x64.cab", "KB4493730", "amd64", a),
		file("sha2-x86.cab", "KB4474419", "x86", a),
		file("rollup.cab", "KB4493471", "amd64", nil),
		file("Windows6.0-KB4493471-x64.cab", "KB5034867", "amd64", a),
		file("other.cab", "KB4489887", "amd64", a),
		answerOf(t, "readme.txt", []byte("hello"), o),
	}, machines)[0]
	type row struct {
		KB    winver.KB
		State string
		Files string
	}
	var rows []row
	for _, w := range got.Wants {
		rows = append(rows, row{w.KB, w.State.String(), strings.Join(w.Files, " ")})
	}
	if diff := cmp.Diff([]row{
		{4493730, "here", "ssu-x64.cab"},
		{4474419, "to fetch", "sha2-x86.cab"},
		{4493471, "refused", "rollup.cab"},
		{5034867, "undecided", "Windows6.0-KB4493471-x64.cab"},
		{5073697, "to fetch", ""},
	}, rows); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Other{
		{"ssu-x86.cab", "KB4493730 for x86"},
		{"sha2-x86.cab", "KB4474419 for x86"},
		{"other.cab", "KB4489887, which the machine is not known to lack"},
		{"readme.txt", "no update: file"},
	}, got.Others); diff != "" {
		t.Errorf("others (-want +got):\n%s", diff)
	}
}
