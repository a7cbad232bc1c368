package explain

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/winver"
)

var day = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

func embedded(t testing.TB) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func ask(t *testing.T, query string, on time.Time) *Answer {
	t.Helper()
	a, err := Explain(query, embedded(t), on)
	if err != nil {
		t.Fatalf("Explain(%q): %v", query, err)
	}
	return a
}

func textOf(t *testing.T, a *Answer) string {
	t.Helper()
	var b strings.Builder
	if err := a.WriteText(&b, 0); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// flow is text without its line breaks, so that a sentence can be looked for.
func flow(s string) string { return strings.Join(strings.Fields(s), " ") }

func TestExplain(t *testing.T) {
	tests := []struct {
		name, query string
		kind        Kind
		unknown     bool
		want        []string
	}{
		{"servicing_stack", "KB4493730", KindUpdate, false, []string{"servicing stack update for Windows Server 2008 SP2, 2019-04-09", "CONFLICT: It is sometimes named as the cause of build 6003", "contained in KB4517134"}},
		{"bare_number", "4493730", KindUpdate, false, []string{"KB4493730: servicing stack"}},
		{"rollup", "KB4493471", KindUpdate, false, []string{"leads to build 6.0.6003.20489 (inferred)", "7 × monthly rollup", "the newest is KB5073697", "CVE-2019-0803"}},
		{"security_only_after_support", "KB5073700", KindUpdate, false, []string{"contains itself alone", "needs SHA-2 support, KB4474419", "Premium Assurance (2020-01-14 to 2026-01-13)", "does not prove a licence", "KB5016891"}},
		{"trap", "KB5058429", KindUpdate, false, []string{"The rollup of the same month does not contain it"}},
		{"digests", "KB4490628", KindUpdate, false, []string{"8075f6d889bcb27be6f52ed47081675e5bb8a5390f2f5bfe4ec27a2bb70cbf5e"}},
		{"article", "KB4495374", KindUpdate, false, []string{"build number of Server 2008 SP2 changing"}},
		{"licensing_package", "KB4538484", KindUpdate, false, []string{"followed by KB4575904"}},
		{"component", "KB982861", KindUpdate, false, []string{"brings Internet Explorer 9 to Windows Server 2008 SP2"}},
		{"slip_of_the_hand", "KB4493703", KindUpdate, true, []string{"known until 2026-06-28", "does not mean that there is no such update", "See also: KB4493730"}},
		{"cve", "CVE-2019-0708", KindCVE, false, []string{"ransomware", "KB4499149 (monthly rollup, 2019-05-14)", "x86, amd64, ia64"}},
		{"cve_loose", "cve 2019-0708", KindCVE, false, []string{"CVE-2019-0708: "}},
		{"cve_without_record", "CVE-2020-1472", KindCVE, false, []string{"No record names Windows Server 2008 SP2, though there are records for Windows Server 2008 R2 SP1", `A missing record is not "not affected"`}},
		{"cve_without_itanium", "CVE-2021-34527", KindCVE, false, []string{"No record names Windows Server 2008 SP2 for ia64"}},
		{"cve_not_there", "CVE-2026-99999", KindCVE, true, []string{`A missing record is not "not affected"`}},
		{"6003", "6003", KindBuild, false, []string{"nothing to do with ESU", "CONFLICT: Against a hard limit", "6.0.6003.23717 is KB5073697", "support ended on 2020-01-14, the last programme after it on 2026-01-13"}},
		{"6002", "6.0.6002.18005", KindBuild, false, []string{"branch as released", "no update of 2019-03-19 or later in effect"}},
		{"build_lab", "6003.22015.amd64fre.vistasp2_ldr_escrow.230327-1945", KindBuild, false, []string{"leads to it 6.0.6003.22015 is KB5025271", "nearest below 6.0.6003.21966", "nearest above 6.0.6003.22070", "2023-03-27"}},
		{"between_revisions", "6.0.6003.20600", KindBuild, false, []string{"leads to it no update that is known", "nearest below 6.0.6003.20569 is KB4507452", "nearest above 6.0.6003.20625 is KB4516026"}},
		{"shared_build", "10.0.17763.107", KindBuild, false, []string{"Windows Server, version 1809, Windows Server 2019", "KB4464455"}},
		{"server_2003", "5.2.3790", KindBuild, true, []string{"Windows Server 2003", "from Vista and Server 2008 on"}},
		{"beta", "6.0.5384", KindBuild, true, []string{"no build of a released Windows"}},
		{"release_id", "windows-server-2008-sp2", KindRelease, false, []string{"esu-y3", "Premium Assurance", "KB5073697", "553673ed-6ddf-419c-a153-b760283472fd", "ia64, last update recorded on 2020-01-14"}},
		{"release_words", "Server 2008 SP2", KindRelease, false, []string{"Windows Server 2008 SP2 (windows-server-2008-sp2)"}},
		{"release_long", "Microsoft® Windows Server® 2008 Service Pack 2", KindRelease, false, []string{"(windows-server-2008-sp2)"}},
		{"release_shortest", "2012", KindRelease, false, []string{"(windows-server-2012)", "See also: windows-server-2012-r2"}},
		{"release_r2", "2012 R2", KindRelease, false, []string{"(windows-server-2012-r2)"}},
		{"package", "Package_1_for_KB4493730~31bf3856ad364e35~amd64~~6.0.1.1", KindPackage, false, []string{"KB4493730: servicing stack", "architecture amd64", "it is no build of Windows"}},
		{"package_without_kb", "Microsoft-Windows-Foundation-Package~31bf3856ad364e35~amd64~~6.0.6001.18000", KindPackage, false, []string{"names no update"}},
		{"file", `C:\in\windows6.0-kb4493730-x64_5cb91f4e9000383f061b80f88feffdf228c2443c.msu`, KindPackage, false, []string{"for windows6.0", "A name proves nothing"}},
		{"activation_id", "{04FA0286-FA74-401E-BBE9-FBFBB158010D}", KindActivation, false, []string{"Windows Server 2008 SP2: Extended Security Updates, year 2", "LicenseStatus 1 is licensed"}},
		{"activation_id_unknown", "00000000-0000-0000-0000-000000000000", KindActivation, true, []string{"none of those known"}},
		{"error_hex", "0x80070661", KindError, false, []string{"Win32 error 1633", "-2147023263", "not activated", "Azure Arc"}},
		{"error_hex_bare", "80070661", KindError, false, []string{"ERROR_INSTALL_PLATFORM_UNSUPPORTED"}},
		{"error_signed", "-2147023263", KindError, false, []string{"0x80070661"}},
		{"error_unsigned", "2147944033", KindError, false, []string{"0x80070661"}},
		{"error_win32", "1633", KindError, false, []string{"0x80070661"}},
		{"error_win32_like_a_build", "12029", KindError, false, []string{"IMDS"}},
		{"error_licence", "0xC004F050", KindError, false, []string{"licensing preparation package"}},
		{"error_stack", "0x800f0816", KindError, false, []string{"CBS_E_DPX_JOB_STATE_SAVED"}},
		{"error_sha2", "0x80092004", KindError, false, []string{"KB4474419"}},
		{"error_unknown", "0x80070666", KindError, true, []string{"Win32 error 1638", "none of them"}},
		{"error_words", "the windows modules installer must be updated", KindError, false, []string{"servicing stack update is missing"}},
		{"error_line_of_a_log", "2023-01-11 10:00:01, Info CBS ESU: NO ESU KEY FOUND", KindError, false, []string{"embedded device"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := ask(t, tt.query, day)
			if a.Kind != tt.kind || a.Known == tt.unknown || a.Schema != Schema {
				t.Errorf("kind %s, known %t, schema %s", a.Kind, a.Known, a.Schema)
			}
			text := flow(textOf(t, a))
			for _, want := range tt.want {
				if !strings.Contains(text, flow(want)) {
					t.Errorf("no %q in:\n%s", want, textOf(t, a))
				}
			}
			if len(a.Sources) == 0 {
				t.Error("it names no source")
			}
		})
	}
}

func TestNotUnderstood(t *testing.T) {
	for query, near := range map[string]string{
		"":                        "",
		"   ":                     "",
		"hello":                   "",
		"KB":                      "",
		"KB12":                    "",
		"Server":                  "windows-server-2008-sp1",
		"1809":                    "windows-server-1809",
		"Server 2008 SP7":         "windows-server-2008-sp2",
		"6.3.17763":               "",
		"CVE-2019":                "",
		"99999999999":             "",
		strings.Repeat("6", 5000): "",
	} {
		_, err := Explain(query, embedded(t), day)
		var e *QuestionError
		if !errors.As(err, &e) {
			t.Errorf("%.40q: error %v, want a QuestionError", query, err)
			continue
		}
		if near != "" && !slices.Contains(e.Near, near) {
			t.Errorf("%q: near %q, want %s among them", query, e.Near, near)
		}
		if len(e.Error()) > 300 {
			t.Errorf("%.40q: the error has %d bytes", query, len(e.Error()))
		}
	}
}

// What was published later is not known on the day, except that it exists.
func TestAsOf(t *testing.T) {
	before, after := time.Date(2019, 4, 8, 0, 0, 0, 0, time.UTC), time.Date(2020, 6, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		query      string
		on         time.Time
		want, lack string
	}{
		{"windows-server-2008-sp2", before, "in extended support until 2020-01-14", "KB4493471"},
		{"windows-server-2008-sp2", after, "support ended on 2020-01-14; ", "KB5073697"},
		{"windows-server-2008-sp2", day, "support ended on 2020-01-14, the last programme after it on 2026-01-13", "still runs"},
		{"KB4493471", before, "That is after 2019-04-08", ""},
		{"CVE-2019-0708", after, "not on CISA's list on 2020-06-01; it entered it on 2021-11-03", "ransomware"},
	} {
		text := flow(textOf(t, ask(t, tt.query, tt.on)))
		if !strings.Contains(text, tt.want) || tt.lack != "" && strings.Contains(text, tt.lack) {
			t.Errorf("%s on %s: want %q and not %q in:\n%s", tt.query, tt.on.Format(time.DateOnly), tt.want, tt.lack, text)
		}
	}
}

// Every row of the tables can be asked for, and says what it should.
func TestTables(t *testing.T) {
	f, err := tables()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range f.errors {
		if r.says == "" || r.cause == "" || r.cure == "" || r.confidence == "" || r.from == "" {
			t.Errorf("0x%08X: a column is empty", r.code)
		}
		if r.code != 0 && r.code < 0x80000000 {
			t.Errorf("0x%08X is no HRESULT of a failure", r.code)
		}
	}
	for kb, list := range f.traps {
		for _, x := range list {
			if trapText[x.rule] == "" {
				t.Errorf("%s: rule %s is explained nowhere", kb, x.rule)
			}
		}
	}
	for kb, list := range f.files {
		for _, x := range list {
			if _, err := winver.ParseArch(x.arch); err != nil || !strings.Contains(x.name, strings.ToLower(kb.String())) {
				t.Errorf("%s: %+v, %v", kb, x, err)
			}
			if len(x.sha256) != 64 && x.sha256 != "" {
				t.Errorf("%s: digest %q", kb, x.sha256)
			}
		}
	}
	for kb := range f.notes {
		if a := ask(t, kb.String(), day); !a.Known {
			t.Errorf("a note is about %s, which is not known", kb)
		}
	}
	for kb := range f.articles {
		if a := ask(t, kb.String(), day); !a.Known {
			t.Errorf("%s is an article and not known", kb)
		}
	}
	if len(f.errors) < 40 || len(f.builds) < 10 || len(f.revisions) < 50 || len(f.servicing) < 40 {
		t.Errorf("%d errors, %d builds, %d revisions, %d servicing stacks", len(f.errors), len(f.builds), len(f.revisions), len(f.servicing))
	}
}

// Every update and every release of the catalogue can be explained; a sample of the former.
func TestWholeCatalogue(t *testing.T) {
	c := embedded(t)
	r := rand.New(rand.NewPCG(6002, 6003))
	for _, rel := range c.Releases() {
		if a := ask(t, rel.ID, day); a.Kind != KindRelease || !a.Known {
			t.Errorf("%s is not known as a release", rel.ID)
		}
		if a := ask(t, rel.Name, day); a.Kind != KindRelease {
			t.Errorf("%q is taken for %s", rel.Name, a.Kind)
		}
		for _, b := range rel.Builds {
			if a := ask(t, b.String(), day); a.Kind != KindBuild || !a.Known {
				t.Errorf("%s is not known as a build", b)
			}
		}
		rec, err := c.Records(rel.ID)
		if err != nil {
			t.Fatal(err)
		}
		if len(rec.Updates) == 0 {
			continue
		}
		u := rec.Updates[r.IntN(len(rec.Updates))]
		if a := ask(t, u.KB.String(), day); a.Kind != KindUpdate || !a.Known || !strings.Contains(flow(textOf(t, a)), rel.Name) {
			t.Errorf("%s is not known as an update for %s", u.KB, rel.ID)
		}
	}
}

// hostile is what must not reach a terminal.
func hostile(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) })
}

func TestTextIsClean(t *testing.T) {
	a := Answer{Title: "a\x1b[31mb\u202ec", Sections: []Section{{Heading: "h\a", Lines: []Line{{Label: "l\t", Text: "t\x00\u200b", Source: "s\x9b"}}}}, Near: []string{"\r"}}
	if text := textOf(t, &a); hostile(text) || !strings.Contains(text, `a\x1b[31mb\u202ec`) {
		t.Errorf("%q", text)
	}
}

func FuzzExplain(f *testing.F) {
	c := embedded(f)
	for _, s := range []string{"6003", "KB4493730", "CVE-2019-0708", "0x80070661", "2012 R2", "Package_for_KB1~31bf3856ad364e35~x86~~1.0", "\x1b]0;x\a", "-1", "{", "windows6.0-kb976932-x64.msu"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, q string) {
		a, err := Explain(q, c, day)
		if err != nil {
			if e := (*QuestionError)(nil); !errors.As(err, &e) || hostile(err.Error()) {
				t.Fatalf("%q", err)
			}
			return
		}
		if text := textOf(t, a); hostile(text) {
			t.Fatalf("%q", text)
		}
	})
}
