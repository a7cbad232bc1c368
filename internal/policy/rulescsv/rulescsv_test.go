package rulescsv_test

import (
	"bytes"
	"encoding/csv"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/golden"
	"github.com/oldguard/oldguard/internal/policy"
	"github.com/oldguard/oldguard/internal/policy/policytest"
	"github.com/oldguard/oldguard/internal/policy/rulescsv"
)

func write(t testing.TB, p *policy.Policy) string {
	t.Helper()
	var b bytes.Buffer
	if err := rulescsv.Write(&b, p); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func read(t testing.TB, text string, v policy.View) *policy.Policy {
	t.Helper()
	p, err := rulescsv.Read(text, v)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	return p
}

func random(seed uint64) *policy.Policy {
	r := rand.New(rand.NewPCG(seed, 29))
	o := policytest.Options{Rules: 9, Drops: true, Odd: true, Unsure: true, Order: policy.Order(r.IntN(2))}
	if seed%2 == 0 {
		o.Own = policytest.Own()
	}
	return policytest.Policy(r, o)
}

func TestWrittenAndReadBack(t *testing.T) {
	for seed := range uint64(100) {
		p := random(seed)
		text := write(t, p)
		q := read(t, text, policy.View{File: "f", Own: p.Own})
		if len(q.Notes) > 0 {
			t.Fatalf("seed %d: %v", seed, q.Notes)
		}
		policytest.Same(t, p, q, policytest.Packets(rand.New(rand.NewPCG(seed, 30)), 100, p))
		for i, r := range p.Ordered() {
			if got := q.Rules[i]; got.ID != r.ID || got.Unsure != r.Unsure || got.Program != r.Program {
				t.Fatalf("seed %d: %+v became %+v", seed, *r, got)
			}
		}
		// Once read, it is written as it was, but for the places where rules were read.
		for i := range q.Rules {
			q.Rules[i].At = ""
		}
		if diff := cmp.Diff(text, write(t, q)); diff != "" {
			t.Fatalf("seed %d (-first +second):\n%s", seed, diff)
		}
		if !rulescsv.Sniff([]byte(text)) {
			t.Fatalf("not recognised: %s", text)
		}
	}
}

// TestNoFormulas looks at every cell as a spreadsheet does.
func TestNoFormulas(t *testing.T) {
	p := &policy.Policy{Host: "@SUM(1)", Own: policytest.Own()}
	for i, s := range append(policytest.Hostile(), "+1", "-1", "＝1", "\t=1", "'=1", "@x") {
		p.Rules = append(p.Rules, policy.Rule{ID: "r-" + strings.Repeat("i", i+1), Comment: s, Program: s, Service: s, At: s, Unsure: s})
	}
	p.Rules[0].ID = "-1"
	in := csv.NewReader(strings.NewReader(strings.TrimPrefix(write(t, p), "\uFEFF")))
	rows, err := in.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(p.Rules)+3 {
		t.Fatalf("%d rows", len(rows))
	}
	for _, row := range rows {
		for _, cell := range row {
			if strings.IndexAny(cell, "=+-@\t\r\n＝＋－＠") == 0 || strings.ContainsAny(cell, "\r\n\x00\x1b") {
				t.Errorf("%q", cell)
			}
		}
	}
	q := read(t, write(t, p), policy.View{Own: p.Own})
	if got := q.Rules[0].ID; got != "-1" {
		t.Errorf("id %q", got)
	}
}

func TestGolden(t *testing.T) {
	port := func(n uint16) []policy.Ports { return []policy.Ports{{From: n, To: n}} }
	p := &policy.Policy{
		Host: "FS01", Own: policytest.Own(),
		Rules: []policy.Rule{
			{ID: "in-smb", Action: policy.Accept, Proto: policy.TCP, LocalPorts: []policy.Ports{{From: 139, To: 139}, {From: 445, To: 446}}, Remote: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.1/32")}, Comment: "file shares, seen 3141 times"},
			{ID: "in-ping", Action: policy.Accept, Proto: policy.ICMP, ICMP: []policy.ICMPType{{Type: 8, Code: -1}, {Type: 3, Code: 4}}},
			{ID: "out-dns", Dir: policy.Out, Action: policy.Accept, Proto: policy.UDP, RemotePorts: port(53), Remote: []netip.Prefix{netip.MustParsePrefix("198.51.100.53/32")}, Comment: "=HYPERLINK(\"http://example.com\")", At: "flows.csv:12"},
			{ID: "out-rest", Dir: policy.Out, Action: policy.Drop, Except: []policy.Proto{policy.TCP, policy.UDP}},
		},
	}
	golden.Check(t, "testdata/rules.csv", []byte(write(t, p)))
}

// TestReadByHand reads what a spreadsheet in another language makes of such a table, and a
// person.
func TestReadByHand(t *testing.T) {
	text := "Direction;Action;Protocol;Source;Destination;Destination_Ports;Reason\r\n" +
		"in;allow;tcp;198.51.100.5, 2001:db8::5;any;22,3389-3390;desk\r\n" +
		"in;permit;tcp;somewhere;any;445;\r\n" +
		";;;;;;\r\n" +
		"in;perhaps;udp;any;any;53;\r\n" +
		"sideways;allow;tcp;any;any;1;\r\n" +
		"out;deny;any;*;*;;all\r\n"
	if !rulescsv.Sniff([]byte(text)) {
		t.Error("not recognised")
	}
	p := read(t, text, policy.View{File: "r.csv"})
	type rule struct {
		id     string
		action policy.Action
		remote string
		unsure string
	}
	var got []rule
	for i := range p.Rules {
		r := &p.Rules[i]
		u := rule{r.ID, r.Action, "", r.Unsure}
		if len(r.Remote) > 0 {
			u.remote = r.Remote[0].String()
		}
		got = append(got, u)
	}
	want := []rule{
		{"in", policy.Accept, "198.51.100.5/32", ""},
		{"in-row-2", policy.Accept, "2001:db8::5/128", ""},
		{"in-row-3", policy.Accept, "", "source somewhere"},
		{"in-row-4", policy.Drop, "", "action perhaps"},
		{"in-row-5", policy.Accept, "", "action perhaps"},
		{"out", policy.Drop, "", ""},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(rule{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	wantNotes := []string{"r.csv:3: not understood: source somewhere", "r.csv:5: not understood: action perhaps", "r.csv:6: not understood: direction sideways"}
	if diff := cmp.Diff(wantNotes, p.Notes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzRead(f *testing.F) {
	f.Add("id,direction,action,protocol,source,destination,destination_ports,icmp\nx,in,accept,tcp,192.0.2.1,any,1-2 3,\n")
	f.Add("direction;action;source;destination;protocol\nout;drop;any;::/0;any except tcp 17\n")
	f.Add(write(f, random(2)))
	f.Fuzz(func(t *testing.T, text string) {
		rulescsv.Sniff([]byte(text))
		p, err := rulescsv.Read(text, policy.View{File: "f", Own: policytest.Own()})
		if err != nil {
			return
		}
		if err := p.Check(); err != nil {
			t.Fatal(err)
		}
		q := read(t, write(t, p), policy.View{File: "f", Own: p.Own})
		policytest.Same(t, p, q, policytest.Packets(rand.New(rand.NewPCG(1, 1)), 50, p))
	})
}
