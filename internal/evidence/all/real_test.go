package all_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/all"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// dataDir finds the collection of real evidence, or skips the test.
func dataDir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("OLDGUARD_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "data") // beside the repository
	}
	if _, err := os.Stat(filepath.Join(dir, "systeminfo")); err != nil {
		t.Skipf("no real evidence here; set OLDGUARD_DATA: %v", err)
	}
	return dir
}

func readOne(t testing.TB, file string, o evidence.Options) []*host.Host {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	in := evidence.Input{Name: filepath.Base(file), File: io.NewSectionReader(f, 0, info.Size())}
	var hosts []*host.Host
	for h, err := range evidence.Read(context.Background(), all.Readers(), []evidence.Input{in}, o) {
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, h)
	}
	return hosts
}

// plain decodes well enough to look for ASCII, by other means than the readers.
func plain(b []byte) string {
	if len(b) > 2 && b[0] == 0xff && b[1] == 0xfe {
		units := make([]uint16, len(b)/2)
		for i := range units {
			units[i] = uint16(b[2*i]) | uint16(b[2*i+1])<<8
		}
		return string(utf16.Decode(units))
	}
	return strings.ReplaceAll(string(b), "\x00", "")
}

// wanted is what the name of a file in the collection says about the machine.
type wanted struct {
	Build       string // the text's own version, where the name is off: see its place in buildsOf
	ServicePack int
	Arch        winver.Arch
}

// releases of the file names, with their version and service pack.
var releases = map[string]wanted{
	"10_rtm": {"10.0.10240", -1, 0}, "10_1803": {"10.0.17134", -1, 0}, "10_1809": {"10.0.17763", -1, 0}, "10_21H2": {"10.0.19044", -1, 0},
	"11_22H2": {"10.0.22621", -1, 0}, "11_24H2": {"10.0.26100", -1, 0}, "7_sp1": {"6.1.7601", 1, 0},
	// Server 2008 was released with Service Pack 1.
	"srv_2008_rtm": {"6.0.6001", 1, 0}, "srv_2008r2_sp1": {"6.1.7601", 1, 0}, "srv_2016_1607": {"10.0.14393", -1, 0}, "srv_2022": {"10.0.20348", -1, 0},
	"W8_Pro": {"6.2.9200", -1, 0}, "WindowsServer2008_SP2": {"6.0.6002", 2, 0}, "WindowsServer2012_RTM": {"6.2.9200", -1, 0},
	"W10_1507": {"10.0.10240", -1, 0}, "W10_1511": {"10.0.10586", -1, 0}, "W10_1607": {"10.0.14393", -1, 0}, "W10_1703": {"10.0.15063", -1, 0},
	"W10_1709": {"10.0.16299", -1, 0}, "W10_1803": {"10.0.17134", -1, 0}, "W10_1809": {"10.0.17763", -1, 0}, "W10_1903": {"10.0.18362", -1, 0},
	"W10_1909": {"10.0.18363", -1, 0}, "W10_2004": {"10.0.19041", -1, 0}, "W10_20H2": {"10.0.19042", -1, 0}, "W10_Pro_20H2": {"10.0.19042", -1, 0},
	"W10_21H1": {"10.0.19043", -1, 0}, "W10_21H2": {"10.0.19044", -1, 0}, "W10_22H2": {"10.0.19045", -1, 0},
	"W11_21H2": {"10.0.22000", -1, 0}, "W11_22H2": {"10.0.22621", -1, 0}, "W11_Dev": {"10.0.22454", -1, 0},
	"WindowsServer2016_1607": {"10.0.14393", -1, 0}, "WindowsServer2019_1809": {"10.0.17763", -1, 0}, "WindowsServer2022_21H2": {"10.0.20348", -1, 0},
}

// misnamed are files whose name is off by a feature update; the text names the version.
var misnamed = map[string]string{}

var (
	reKB   = regexp.MustCompile(`(?i)\bKB(\d{5,8})`)
	reBare = regexp.MustCompile(`(?m)(?:\[\d+\]: |^http://\S+\s+\S+\s+(?:Security )?(?:Update|Hotfix)\s+)(\d{6,7})\b`)
)

// TestRealFiles: every file of the collection that states a release is read to the right
// version, service pack, architecture and full set of KB numbers. What is right comes from
// the file's name and from a search for KB numbers that knows nothing of forms.
func TestRealFiles(t *testing.T) {
	dir := dataDir(t)
	var files []string
	for _, pattern := range []string{"systeminfo/*/*.txt", "wua/*_systeminfo.txt", "wua/*_qfe.txt"} {
		got, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(pattern)))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, got...)
	}
	if len(files) < 150 {
		t.Fatalf("only %d files of evidence in %s", len(files), dir)
	}
	for _, file := range files {
		base := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(base, func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			hosts := readOne(t, file, evidence.Options{})
			if len(hosts) != 1 {
				t.Fatalf("gave %d machines, want 1", len(hosts))
			}
			h := hosts[0]
			var kbs []string
			for _, kb := range h.Updates.All() {
				kbs = append(kbs, strconv.Itoa(int(kb)))
			}
			slices.Sort(kbs)
			if diff := cmp.Diff(wantKBs(plain(b)), kbs); diff != "" {
				t.Errorf("KB numbers (-want +got):\n%s", diff)
			}
			if _, whole := h.Updates.Whole(); whole == strings.Contains(base, "ultimaten_de") { // the one real list that is cut
				t.Errorf("the list counts as whole: %v; %+v", whole, h.Updates.Listings())
			}
			if strings.Contains(base, "qfe") {
				return
			}
			got := wanted{h.Build.Or(winver.Build{}).String(), h.ServicePack.Or(0), h.Arch.Or(0)}
			if diff := cmp.Diff(wantOf(t, base), got); diff != "" {
				t.Errorf("release (-name +got):\n%s", diff)
			}
		})
	}
}

func wantKBs(text string) []string {
	var kbs []string
	for line := range strings.Lines(text) {
		m := reKB.FindAllStringSubmatch(line, -1)
		m = append(m, reBare.FindAllStringSubmatch(line, -1)...)
		if strings.Contains(line, "(KB893803)") {
			m = m[1:] // a title that names the update, which is listed too
		}
		for _, m := range m {
			kbs = append(kbs, m[1])
		}
	}
	slices.Sort(kbs)
	return slices.Compact(kbs)
}

func wantOf(t *testing.T, base string) wanted {
	t.Helper()
	var w wanted
	name := strings.TrimPrefix(base, "SystemInfo_")
	longest := ""
	for release, r := range releases {
		if strings.HasPrefix(name, release) && len(release) > len(longest) {
			longest, w = release, r
		}
	}
	if longest == "" {
		t.Fatalf("no release known for %q", base)
	}
	if b, ok := misnamed[base]; ok {
		w.Build = b
	}
	w.Arch = winver.AMD64 // as all of vanilla, and of wesng what does not say x86
	if strings.Contains(base, "_x86_") {
		w.Arch = winver.X86
	}
	return w
}
