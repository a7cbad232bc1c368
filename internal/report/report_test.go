package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/all"
	"github.com/oldguard/oldguard/internal/golden"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// assessed assesses the only machine in a folder.
func assessed(tb testing.TB, dir, day string) *assess.Assessment {
	tb.Helper()
	in := []evidence.Input{{Name: filepath.Base(dir), Tree: os.DirFS(dir)}}
	for h, err := range evidence.Read(tb.Context(), all.Readers(), in, evidence.Options{}) {
		if err != nil {
			tb.Fatal(err)
		}
		return assessedHost(tb, h, day)
	}
	tb.Fatalf("no machine in %s", dir)
	return nil
}

func assessedHost(tb testing.TB, h *host.Host, day string) *assess.Assessment {
	tb.Helper()
	on, err := time.Parse(time.DateOnly, day)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := catalog.Embedded()
	if err != nil {
		tb.Fatal(err)
	}
	return assess.Assess(h, c, assess.Policy{}, on)
}

// cases are the machines that tests write.
func cases(tb testing.TB) map[string]*assess.Assessment {
	tb.Helper()
	out := map[string]*assess.Assessment{"nothing_known": assessedHost(tb, &host.Host{}, "2026-02-01"), "hostile": assessedHost(tb, hostile(), "2026-02-01"), "servicing": assessedHost(tb, servicing(), "2026-02-01"), "long_gone": assessedHost(tb, longGone(), "2026-02-01")}
	for _, name := range []string{"fs01", "fs02", "app03"} {
		out[name] = assessed(tb, filepath.Join("../../examples", name), "2026-02-01")
	}
	out["fs01_in_support"] = assessed(tb, "../../examples/fs01", "2020-01-14")
	return out
}

const nasty = "\x1b]0;owned\x07\x1b[2J<script>alert(1)</script>\u202egnp.exe\u2066\r\nFAKE LINE\x9b\xff"

// hostile is a machine whose evidence wants to be more than text.
func hostile() *host.Host {
	h := new(host.Host)
	src := host.Source{Reader: "systeminfo", Input: nasty, At: nasty}
	h.Name.Say(nasty, 1, src)
	h.Domain.Say(nasty, 1, src)
	h.Product.Say("Windows Server 2008 "+nasty, 1, src)
	h.Product.Say(nasty, 1, src)
	h.Edition.Say(nasty, 1, src)
	h.Build.Say(winver.Build{Major: 6, Number: 6002}, 1, src)
	h.Build.Say(winver.Build{Major: 6, Number: 6003}, 1, src)
	h.BuildLab.Say(nasty, 1, src)
	h.Updates.List(host.Listing{From: src, Why: nasty, Announced: -1})
	h.Gap(host.Gap{What: nasty, From: src, Why: nasty, Hint: nasty})
	return h
}

// longGone is a machine whose last update came years before the list of exploited
// vulnerabilities ends.
func longGone() *host.Host {
	h := new(host.Host)
	src := host.Source{Reader: "systeminfo", Input: "kiosk.txt", At: "line 3"}
	h.Name.Say("KIOSK", 1, src)
	h.Product.Say("Microsoft Windows Vista Business", 1, src)
	h.Installation.Say(host.Client, 1, src)
	h.Arch.Say(winver.X86, 1, src)
	h.Build.Say(winver.Build{Major: 6, Number: 6002}, 1, src)
	return h
}

// servicing is a machine of which packages, licences, programs and logs are known.
func servicing() *host.Host {
	h := new(host.Host)
	at := func(reader, input, place string) host.Source {
		return host.Source{Reader: reader, Input: input, At: place}
	}
	reg, lic, log := at("regexport", "web01.reg", `HKLM\SOFTWARE`), at("slmgr", "dlv.txt", "line 4"), at("cbslog", "CBS.log", "line 1207")
	h.Name.Say("WEB01", 1, reg)
	h.Arch.Say(winver.X86, 1, reg)
	h.Build.Say(winver.Build{Major: 6, Number: 6003, Revision: 20555, HasRevision: true}, 1, reg)
	h.Role.Say(host.DomainController, 1, reg)
	for kb, s := range map[winver.KB]host.PackageState{4493730: host.PackageInstalled, 4534303: host.PackagePending, 4474419: host.PackageBroken} {
		name := fmt.Sprintf("Package_for_%s~31bf3856ad364e35~x86~~6.0.1.0", kb)
		h.Packages = append(h.Packages, host.Package{Name: name, KB: kb, State: s, Client: "WindowsUpdateAgent", From: reg})
	}
	slices.SortFunc(h.Packages, func(a, b host.Package) int { return strings.Compare(a.Name, b.Name) })
	h.Updates.Add(4493730, reg)
	h.Updates.List(host.Listing{From: reg, Whole: true, Scope: "cbs", Why: "lists 3 packages with their states", Announced: -1, Printed: 3})
	h.RestartChecked.Say(true, 1, reg)
	h.Restart = []host.Reason{{Text: "Session Manager holds files to be renamed at the next start", From: []host.Source{reg}}}
	h.Licences = []host.Licence{
		{ActivationID: "00000000-0000-0000-0000-000000000001", Name: "Windows Server(R), ServerStandard edition", PartialKey: "ABCDE", Status: host.Licensed, From: lic},
		{Name: "Windows Server(R), ServerWeb edition", Status: host.Unlicensed, From: lic},
	}
	h.LicencesWhole.Say(true, 1, lic)
	h.Programs = []host.Program{{Name: "Example Backup", Version: "9.1", Publisher: "Example Corp.", From: reg}, {Name: "Microsoft SQL Server 2008 (64-bit)", From: reg}}
	day := time.Date(2020, 2, 12, 3, 0, 0, 0, time.UTC)
	for i, code := range []string{"0x800f0982", "0x80070661", "0x800f0982"} {
		h.Errors = append(h.Errors, host.LogError{Code: code, Text: "Failed to install the package [HRESULT = " + code + "]", On: day.AddDate(0, 0, i), From: log})
	}
	return h
}

func write(tb testing.TB, f Format, o Options, as ...*assess.Assessment) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := f.Open(&b, o)
	for _, a := range as {
		if err := Write(w, a); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// TestGolden writes each case as text and as an inspection; its documents are too long, so
// of these the findings are left out.
func TestGolden(t *testing.T) {
	for name, a := range cases(t) {
		t.Run(name, func(t *testing.T) {
			golden.Check(t, filepath.Join("testdata", name, "want.txt"), write(t, Formats()[0], Options{}, a))
			golden.Check(t, filepath.Join("testdata", name, "want-inspection.txt"), write(t, Inspections()[0], Options{}, a))
			d := New(a, Top)
			d.Updates.Undecided = d.Updates.Undecided[:min(3, len(d.Updates.Undecided))]
			for i := range d.Sources { // they change with every catalogue
				d.Sources[i].SHA256 = "0"
			}
			golden.JSON(t, filepath.Join("testdata", name, "want.json"), d)
		})
	}
}

// TestTextIsTame holds that nothing in evidence acts on a terminal, in any text.
func TestTextIsTame(t *testing.T) {
	a := assessedHost(t, hostile(), "2026-02-01")
	for _, list := range [][]Format{Formats(), Inspections()} {
		for _, o := range []Options{{}, {Many: true}, {Many: true, Verbose: true}, {Findings: All, Width: 40}} {
			got := string(write(t, list[0], o, a, a))
			for i, r := range got {
				if r != '\n' && unsafe(r) {
					t.Fatalf("%+v: %q in %q", o, r, got[max(0, i-40):i+1])
				}
			}
			if strings.Contains(got, "\nFAKE LINE") {
				t.Errorf("%+v: a line of evidence became a line of the report", o)
			}
		}
	}
}

func TestColor(t *testing.T) {
	a := assessed(t, "../../examples/fs01", "2026-02-01")
	colored := write(t, Formats()[0], Options{Color: true, Width: plainWidth}, a)
	if !bytes.Contains(colored, []byte("\x1b[1;31m")) {
		t.Error("no colour where colours are asked for")
	}
	stripped := colored
	for _, s := range []string{"0", string(bold), string(faint), string(red), string(amber), string(green)} {
		stripped = bytes.ReplaceAll(stripped, []byte("\x1b["+s+"m"), nil)
	}
	want := write(t, Formats()[0], Options{}, a)
	if diff := cmp.Diff(string(want), string(stripped)); diff != "" {
		t.Errorf("colours change the text (-plain +coloured):\n%s", diff)
	}
}

// TestEncoding holds that documents written by hand are what encoding/json makes of them.
func TestEncoding(t *testing.T) {
	for name, a := range cases(t) {
		for _, f := range Choices() {
			t.Run(fmt.Sprintf("%s_%s", name, f), func(t *testing.T) {
				want, err := json.Marshal(New(a, f))
				if err != nil {
					t.Fatal(err)
				}
				got, err := appendDocument(nil, a, f, "")
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(want, got) {
					i := 0
					for i < min(len(want), len(got)) && want[i] == got[i] {
						i++
					}
					from := max(0, i-200)
					t.Fatalf("at byte %d: want %s\n\ngot %s", i, want[from:min(len(want), i+200)], got[from:min(len(got), i+200)])
				}
				lines, err := appendDocument(nil, a, f, "\n")
				if err != nil {
					t.Fatal(err)
				}
				var compact bytes.Buffer
				if err := json.Compact(&compact, lines); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(want, compact.Bytes()) {
					t.Error("the layout changes the document")
				}
			})
		}
	}
}

// TestMany writes no, one and several machines as many, in each format of JSON.
func TestMany(t *testing.T) {
	a := assessed(t, "../../examples/fs02", "2026-02-01")
	for n := range 3 {
		as := slices.Repeat([]*assess.Assessment{a}, n)
		for _, list := range [][]Format{Formats(), Inspections()} {
			f, _ := Find(list, "json")
			var outer map[string]json.RawMessage
			var inner []json.RawMessage
			if err := json.Unmarshal(write(t, f, Options{Many: true}, as...), &outer); err != nil {
				t.Fatal(err)
			}
			key := "assessments"
			if outer[key] == nil {
				key = "inspections"
			}
			if err := json.Unmarshal(outer[key], &inner); err != nil || len(inner) != n {
				t.Errorf("%s: %d documents, %v; want %d", key, len(inner), err, n)
			}
			if got, want := string(outer["schema"]), `"oldguard/`+key+`/1"`; got != want {
				t.Errorf("schema %s, want %s", got, want)
			}
		}
		f, _ := Find(Formats(), "jsonl")
		got := write(t, f, Options{Many: true}, as...)
		if lines := bytes.Count(got, []byte("\n")); lines != n {
			t.Errorf("%d lines, want %d", lines, n)
		}
		for line := range bytes.Lines(got) {
			if !json.Valid(line) {
				t.Errorf("a line is no JSON: %.200s", line)
			}
		}
	}
}

func TestFindings(t *testing.T) {
	a := assessed(t, "../../examples/fs01", "2026-02-01")
	open := a.Summary.Affected + a.Summary.Unfixable + a.Summary.Unknown
	for _, tc := range []struct {
		choice Findings
		want   int
	}{
		{None, 0}, {Top, topFindings}, {Affected, a.Summary.Affected + a.Summary.Unfixable}, {Open, open}, {All, open + a.Summary.Fixed + a.Summary.NotAffected},
	} {
		t.Run(string(tc.choice), func(t *testing.T) {
			if got := len(New(a, tc.choice).Findings); got != tc.want {
				t.Errorf("%d findings, want %d", got, tc.want)
			}
		})
	}
	if open == 0 || a.Summary.Fixed == 0 {
		t.Errorf("the example has %d open and %d fixed findings; the test needs both", open, a.Summary.Fixed)
	}
}

// TestErrors holds that a full disk is noticed.
func TestErrors(t *testing.T) {
	a := assessed(t, "../../examples/fs02", "2026-02-01")
	for _, list := range [][]Format{Formats(), Inspections()} {
		for _, f := range list {
			w := f.Open(full{}, Options{Many: true})
			if err := errors.Join(Write(w, a), w.Close()); err == nil {
				t.Errorf("%s: no error from a full disk", f.Name)
			}
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestClean(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"plain", `C:\temp "ä" 日本`, `C:\temp "ä" 日本`},
		{"escape", "a\x1b[2Jb", `a\x1b[2Jb`},
		{"line_end", "a\r\nb", `a\x0d\x0ab`},
		{"c1", "a\u009bb", `a\u009bb`},
		{"direction", "a\u202eb\u2066", `a\u202eb\u2066`},
		{"separator", "a\u2028b", `a\u2028b`},
		{"not_utf8", "a\xffb", `a\xffb`},
		{"replacement", "a\ufffdb", "a\ufffdb"},
		{"long", strings.Repeat("ä", maxText), strings.Repeat("ä", maxText/2) + "…"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := clean(tc.in); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestPara(t *testing.T) {
	p := newPrinter(Options{Width: 40})
	p.para(plain, "  - ", "one two three four five six seven eight nine ten "+strings.Repeat("x", 50))
	p.para(plain, "  - ", "")
	want := "  - one two three four five six seven\n    eight nine ten\n    " + strings.Repeat("x", 50) + "\n  -\n"
	if diff := cmp.Diff(want, string(p.bytes())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPlural(t *testing.T) {
	for want, got := range map[string]string{
		"1 month": plural(1, "month"), "0 months": plural(0, "month"), "2 vulnerabilities": plural(2, "vulnerability"),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 5 << 20: "5.0 MiB", 3 << 40: "3072.0 GiB"} {
		if got := Size(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}
