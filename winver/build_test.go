package winver_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/winver"
)

func TestBuild_order(t *testing.T) {
	ascending := []winver.Build{
		{},
		build(5, 1, 2600, -1),
		build(6, 0, 6002, -1),
		build(6, 0, 6002, 18005),
		build(6, 0, 6002, 24566),
		build(6, 0, 6003, -1),
		build(6, 0, 6003, 0),
		build(6, 0, 6003, 20489), // below 24566, and newer
		build(6, 1, 7601, -1),
		build(10, 0, 10240, -1),
	}
	for i, a := range ascending {
		for j, b := range ascending {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := a.Compare(b); got != want {
				t.Errorf("%q.Compare(%q) = %d, want %d", a, b, got, want)
			}
			if got, want := a.AtLeast(b), a.Known() && i >= j; got != want {
				t.Errorf("%q.AtLeast(%q) = %t, want %t", a, b, got, want)
			}
		}
	}
}

func TestBuild_Branch(t *testing.T) {
	tests := map[string]winver.Branch{
		"6.0.6000.16386": winver.RTM,
		"6.0.6001.18000": winver.RTM,
		"6.0.6002.18005": winver.RTM,
		"6.1.7600.16385": winver.RTM,
		"6.1.7601.17514": winver.RTM,
		"6.0.6003.18005": winver.GDR, // never released; the release is 6002
		"6.0.6002.16383": winver.BranchUnknown,
		"6.0.6002.16384": winver.GDR,
		"6.0.6002.20479": winver.GDR,
		"6.0.6002.20480": winver.LDR,
		"6.0.6002.24566": winver.LDR,
		"6.0.6002.24575": winver.LDR,
		"6.0.6002.24576": winver.BranchUnknown,
		"6.0.6003.20489": winver.LDR,
		"6.0.6003.23717": winver.LDR,
		"6.1.7601.18247": winver.GDR,
		"6.1.7601.28117": winver.LDR,
		"6.1.7601":       winver.BranchUnknown,
		"6.2.9200.16384": winver.BranchUnknown,
		"6.3.9600.20778": winver.BranchUnknown,
		"10.0.17763.107": winver.BranchUnknown,
		"5.2.3790.3959":  winver.BranchUnknown,
	}
	for text, want := range tests {
		v, err := winver.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := v.Build.Branch(); got != want {
			t.Errorf("%s: Branch() = %q, want %q", text, got, want)
		}
	}
}

func TestBuild_Line(t *testing.T) {
	tests := map[string]string{
		"5.1.2600":       "Windows XP",
		"5.2.3790":       "Windows XP x64 / Windows Server 2003",
		"6.0.6000":       "Windows Vista",
		"6.0.6001":       "Windows Vista / Windows Server 2008, Service Pack 1",
		"6.0.6002":       "Windows Vista / Windows Server 2008, Service Pack 2",
		"6.0.6003.23717": "Windows Vista / Windows Server 2008, Service Pack 2",
		"6.1.7600":       "Windows 7 / Windows Server 2008 R2",
		"10.0.17763":     "Windows 10, version 1809 / Windows Server 2019",
		"10.0.20348":     "Windows Server 2022",
		"10.0.28000":     "Windows 11, version 26H1",
		"6.0.5384":       "",
		"10.0.22454":     "",
	}
	for text, want := range tests {
		v, err := winver.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if l := v.Build.Line(); l.String() != want || l.Known() != (want != "") {
			t.Errorf("%s: Line() = %q, want %q", text, l, want)
		}
	}
	if l := (winver.Build{}).Line(); l.Known() {
		t.Errorf("the zero build has line %q", l)
	}
	// A number belongs to its own version only.
	if l := build(6, 3, 17763, -1).Line(); l.Known() {
		t.Errorf("6.3.17763 has line %q", l)
	}
}

func TestBuild_SameProduct(t *testing.T) {
	tests := []struct {
		name string
		a, b winver.Build
		want bool
	}{
		{"6002_and_6003", build(6, 0, 6002, -1), build(6, 0, 6003, 23717), true},
		{"service_packs", build(6, 0, 6001, -1), build(6, 0, 6002, -1), false},
		{"revisions", build(10, 0, 17763, 1), build(10, 0, 17763, -1), true},
		{"one_code_two_releases", build(10, 0, 19041, -1), build(10, 0, 19045, -1), false},
		{"beta_and_itself", build(6, 0, 5384, 4), build(6, 0, 5384, -1), true},
		{"two_betas", build(6, 0, 5384, -1), build(6, 0, 5600, -1), false},
		{"unknown", winver.Build{}, winver.Build{}, false},
		{"known_and_unknown", build(6, 0, 6002, -1), winver.Build{}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := test.a.SameProduct(test.b); got != test.want {
				t.Errorf("%q.SameProduct(%q) = %t", test.a, test.b, got)
			}
			if got := test.b.SameProduct(test.a); got != test.want {
				t.Errorf("%q.SameProduct(%q) = %t", test.b, test.a, got)
			}
		})
	}
	for number, want := range map[uint32]bool{6000: false, 6001: false, 6002: true, 6003: true, 6004: false} {
		if got := winver.IsServer2008SP2(build(6, 0, number, -1)); got != want {
			t.Errorf("IsServer2008SP2(6.0.%d) = %t", number, got)
		}
	}
	if winver.IsServer2008SP2(build(6, 1, 6003, -1)) {
		t.Error("IsServer2008SP2(6.1.6003)")
	}
}

func TestText(t *testing.T) {
	type all struct {
		Build  winver.Build
		KB     winver.KB
		Arch   winver.Arch
		Branch winver.Branch
	}
	want := all{build(6, 0, 6003, 23717), 5073697, winver.AMD64, winver.Escrow}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`{"Build":"6.0.6003.23717","KB":"KB5073697","Arch":"amd64","Branch":"escrow"}`, string(text)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var got all
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := json.Unmarshal([]byte(`{"Build":"","Arch":"","Branch":""}`), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all{KB: 5073697}, got); diff != "" {
		t.Errorf("empty texts (-want +got):\n%s", diff)
	}
	for _, bad := range []string{
		`{"Build":"6004"}`, `{"Build":"Service Pack 2"}`, `{"KB":"KB0"}`, `{"KB":"KB123456789"}`, `{"KB":"KB+12345"}`, `{"Arch":"vax"}`, `{"Branch":"main"}`,
	} {
		if err := json.Unmarshal([]byte(bad), &got); err == nil {
			t.Errorf("%s is read as %+v", bad, got)
		}
	}
}

func TestParseArch(t *testing.T) {
	for text, want := range map[string]winver.Arch{
		"x86": winver.X86, "X86": winver.X86, "i386": winver.X86, "x64": winver.AMD64, "AMD64": winver.AMD64, "x86_64": winver.AMD64,
		"IA64": winver.IA64, "arm": winver.ARM, "ARM64": winver.ARM64, "aarch64": winver.ARM64,
	} {
		if got, err := winver.ParseArch(text); err != nil || got != want {
			t.Errorf("ParseArch(%q) = %q, %v, want %q", text, got, err, want)
		}
	}
	if got, err := winver.ParseArch(""); err == nil {
		t.Errorf(`ParseArch("") = %q`, got)
	}
}

// Every build number that the lifecycle facts name has a line, with the name they give it.
func TestBuild_Line_lifecycle(t *testing.T) {
	dir := filepath.Join("..", "..", "shared", "data")
	if env := os.Getenv("OLDGUARD_DATA"); env != "" {
		dir = env
	}
	data, err := os.ReadFile(filepath.Join(dir, "..", "facts", "lifecycle.json"))
	if err != nil {
		t.Skip("no lifecycle facts: set OLDGUARD_DATA to the data folder beside them")
	}
	var facts struct {
		Rows []struct {
			Product, Kind, Version string
			NT                     string `json:"nt_version"`
		}
	}
	if err := json.Unmarshal(data, &facts); err != nil {
		t.Fatal(err)
	}
	// What the names of lifecycle say more than ours, or otherwise.
	plain := regexp.MustCompile(` \((SAC|Annual Channel)\)$`)
	release := regexp.MustCompile(`^(Windows 1[01]) (\d\dH\d|\d{4})$`)
	alias := map[string]string{
		"Windows Server 2003 R2": "Windows Server 2003", "Windows Server, version 1809": "Windows Server 2019",
		"Windows 10 Enterprise 2015 LTSB": "Windows 10, version 1507", "Windows 10 Enterprise 2016 LTSB": "Windows 10, version 1607",
		"Windows 10 Enterprise LTSC 2019": "Windows 10, version 1809", "Windows 10 Enterprise LTSC 2021": "Windows 10, version 21H2",
	}
	for _, row := range facts.Rows {
		if row.Kind == "embedded" {
			continue
		}
		name := release.ReplaceAllString(plain.ReplaceAllString(row.Product, ""), "$1, version $2")
		if a, ok := alias[name]; ok {
			name = a
		}
		for _, text := range regexp.MustCompile(`\d+\.\d\.\d{4,5}`).FindAllString(row.NT, -1) {
			v, err := winver.Parse(text)
			if err != nil {
				t.Errorf("%s: %v", row.Product, err)
				continue
			}
			if l := v.Build.Line(); !strings.HasPrefix(l.Client, name) && l.Server != name {
				t.Errorf("%s is %q here, %q in the facts", text, l, row.Product)
			}
		}
	}
	if len(facts.Rows) < 40 {
		t.Errorf("%d rows, want at least 40", len(facts.Rows))
	}
}
