package update_test

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/format/cab"
	"github.com/oldguard/oldguard/internal/format/cab/cabtest"
	"github.com/oldguard/oldguard/internal/golden"
	"github.com/oldguard/oldguard/internal/update"
	"github.com/oldguard/oldguard/winver"
)

func open(b []byte) (*update.Package, error) {
	return update.Open(bytes.NewReader(b), int64(len(b)))
}

func identity(name, version string) string {
	return fmt.Sprintf(`<assemblyIdentity name=%q version=%q language="neutral" processorArchitecture="amd64" publicKeyToken="31bf3856ad364e35"/>`, name, version)
}

// manifest writes a package manifest.
func manifest(name, identifier, parent, updates string) string {
	return `<?xml version="1.0" encoding="utf-8"?><assembly xmlns="urn:schemas-microsoft-com:asm.v3" manifestVersion="1.0" ` +
		`description="Fix for ` + identifier + `" supportInformation="https://support.example.com/" creationTimeStamp="2019-03-30T01:02:03Z">` +
		identity(name, "6.0.1.2") +
		`<package identifier="` + identifier + `" releaseType="Security Update" restart="required" permanence="permanent">` +
		`<parent integrate="separate" disposition="detect">` + parent + `</parent>` +
		`<installerAssembly name="Microsoft-Windows-ServicingStack" version="6.0.6002.24564" language="neutral" processorArchitecture="amd64"/>` +
		updates + `</package></assembly>`
}

const kernelFolder = "amd64_microsoft-windows-os-kernel_31bf3856ad364e35_6.0.6003.20489_none_0123456789abcdef"

// payload is a servicing cabinet for Server 2008 SP2 that we made up.
func payload() []byte {
	const child = `<update name="x"><package integrate="hidden">%s</package></update>`
	files := []cabtest.File{
		{Name: "update.mum", Data: []byte(manifest("Package_for_KB4990001", "KB4990001",
			identity("Microsoft-Windows-Foundation-Package", "6.0.6001.18000"),
			fmt.Sprintf(child, identity("Package_for_KB4990001_server", "6.0.1.2"))))},
		{Name: "package_for_kb4990001_server~31bf3856ad364e35~amd64~~6.0.1.2.mum", Data: []byte(manifest(
			"Package_for_KB4990001_server", "KB4990001", identity("Package_for_KB948465", "6.0.1.18005"),
			`<update name="y"><component>`+identity("Microsoft-Windows-SLC-Component-ExtendedSecurityUpdatesAI", "6.0.6003.20489")+`</component></update>`))},
		{Name: "update.cat", Data: []byte("not looked at")},
		{Name: kernelFolder + ".manifest", Data: []byte("DCM\x01")},
		{Name: kernelFolder + `\ntoskrnl.exe`, Data: bytes.Repeat([]byte("kernel "), 9000)},
	}
	return cabtest.Cabinet{Folders: []cabtest.Folder{{Method: cab.LZX, Window: 18, Files: files}}}.Bytes()
}

// msu puts a payload into a package as Windows Update has it.
func msu(payload []byte, edit func(files map[string]string)) []byte {
	const base = "Windows6.0-KB4990001-x64"
	s1, s256 := sha1.Sum(payload), sha256.Sum256(payload)
	scan := cabtest.Stored(
		cabtest.File{Name: "package.xml", Data: []byte(`<OfflineSyncPackage><Updates><Update UpdateId="AA-BB" RevisionId="7" IsLeaf="true">` +
			`<PayloadFiles><File Id="` + base64.StdEncoding.EncodeToString(s1[:]) + `"/></PayloadFiles><Prerequisites><UpdateId Id="CC"/></Prerequisites></Update></Updates></OfflineSyncPackage>`)},
		cabtest.File{Name: `core\7`, Data: []byte(`<UpdateIdentity UpdateID="aa-bb" RevisionNumber="1"/><ApplicabilityRules><Metadata><assembly>` +
			identity("Package_for_KB4990001", "6.0.1.2") + `</assembly></Metadata></ApplicabilityRules>`)},
		cabtest.File{Name: `extended\7`, Data: []byte(`<ExtendedProperties MsrcSeverity="Important"><KBArticleID>4990001</KBArticleID></ExtendedProperties><Files><File Digest="` +
			base64.StdEncoding.EncodeToString(s1[:]) + `" DigestAlgorithm="SHA1" FileName="` + base + `.cab" Size="` + fmt.Sprint(len(payload)) +
			`"><AdditionalDigest Algorithm="SHA256">` + base64.StdEncoding.EncodeToString(s256[:]) + `</AdditionalDigest></File></Files>`)},
		cabtest.File{Name: `localized\en\7`, Data: []byte(`<LocalizedProperties/>`)})
	files := map[string]string{
		"WSUSSCAN.cab": string(cabtest.Stored(cabtest.File{Name: "package.cab", Data: scan})),
		base + ".cab":  string(payload),
		base + ".xml": `<unattend xmlns="urn:schemas-microsoft-com:unattend"><servicing><package action="install">` +
			identity("Package_for_KB4990001", "6.0.1.2") + `<source location="%configsetroot%\x.CAB"/></package></servicing></unattend>`,
		base + "-pkgProperties.txt": "Applies to=\"Windows 6.0\"\r\nKB Article Number=\"4990001\"\r\nProcessor Architecture=\"amd64\"\r\n",
	}
	if edit != nil {
		edit(files)
	}
	var list []cabtest.File
	for _, name := range slices.Sorted(maps.Keys(files)) {
		list = append(list, cabtest.File{Name: name, Data: []byte(files[name])})
	}
	return cabtest.Cabinet{Folders: []cabtest.Folder{{Method: cab.MSZIP, Files: list}}}.Bytes()
}

func TestGolden(t *testing.T) {
	for name, b := range map[string][]byte{
		"msu":   msu(payload(), nil),
		"cab":   payload(),
		"other": cabtest.Stored(cabtest.File{Name: `..\readme.txt`, Data: []byte("hello")}),
	} {
		t.Run(name, func(t *testing.T) {
			p, err := open(b)
			if err != nil {
				t.Fatal(err)
			}
			golden.JSON(t, filepath.Join("testdata", name, "want.json"), p)
		})
	}
}

func TestContradictions(t *testing.T) {
	tests := []struct {
		name     string
		fileName string
		edit     func(files map[string]string)
		want     []string
	}{
		{name: "none", fileName: "windows6.0-kb4990001-x64.msu"},
		{name: "other_article", fileName: "windows6.0-kb4990002-x64.msu", want: []string{"KB"}},
		{name: "other_architecture", fileName: "Windows6.0-KB4990001-x86.msu", want: []string{"architecture"}},
		{name: "other_windows", fileName: "Windows6.1-KB4990001-x64.msu", want: []string{"Windows"}},
		{name: "other_digest", fileName: "windows6.0-kb4990001-x64_" + strings.Repeat("ab", 20) + ".msu", want: []string{"SHA-1"}},
		{name: "no_name_of_theirs", fileName: "update.msu"},
		{name: "properties", fileName: "x", want: []string{"KB"}, edit: func(files map[string]string) {
			files["Windows6.0-KB4990001-x64-pkgProperties.txt"] = `KB Article Number="4990009"`
		}},
		{name: "answer_file", fileName: "x", want: []string{"package"}, edit: func(files map[string]string) {
			name := "Windows6.0-KB4990001-x64.xml"
			files[name] = strings.ReplaceAll(files[name], "6.0.1.2", "6.0.1.3")
		}},
		{name: "payload_exchanged", fileName: "x", edit: func(files map[string]string) {
			name := "Windows6.0-KB4990001-x64.cab"
			files[name] += "!" // after the cabinet, where nothing in it would notice
		}, want: []string{"SHA-1 of Windows6.0-KB4990001-x64.cab", "SHA-256 of Windows6.0-KB4990001-x64.cab"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := open(msu(payload(), tt.edit))
			if err != nil {
				t.Fatal(err)
			}
			p.Named(tt.fileName, strings.Repeat("cd", 20))
			var got []string
			for _, c := range p.Contradictions {
				got = append(got, c.What)
				if len(c.Claims) < 2 || !strings.Contains(c.String(), " says ") {
					t.Errorf("%q says too little", c)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("contradictions differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseName(t *testing.T) {
	sum := strings.Repeat("0123456789", 4)
	tests := []struct {
		name string
		want update.NameClaim
		ok   bool
	}{
		{"Windows6.0-KB2999226-x64.msu", update.NameClaim{Windows: "6.0", KB: 2999226, Arch: winver.AMD64}, true},
		{`C:\x\windows6.0-kb4493730-v4-x86_` + sum + ".msu", update.NameClaim{Windows: "6.0", KB: 4493730, Version: 4, Arch: winver.X86, SHA1: sum}, true},
		{"windows10.0-kb5005112-x64_" + sum + ".cab", update.NameClaim{Windows: "10.0", KB: 5005112, Arch: winver.AMD64, SHA1: sum}, true},
		{"01_Windows6.1-KB4474419-v3-x64.msu", update.NameClaim{Windows: "6.1", KB: 4474419, Version: 3, Arch: winver.AMD64}, true},
		{"Windows8.1-KB2999226-x64.msu", update.NameClaim{Windows: "6.3", KB: 2999226, Arch: winver.AMD64}, true},
		{"Windows8-RT-KB2999226-x86.msu", update.NameClaim{Windows: "6.2", KB: 2999226, Arch: winver.X86}, true},
		{"Windows6.0-KB4012598-ia64.msu", update.NameClaim{Windows: "6.0", KB: 4012598, Arch: winver.IA64}, true},
		{"something_" + sum + ".msu", update.NameClaim{SHA1: sum}, false},
		{"Windows6.0-KB12-x64.msu", update.NameClaim{}, false},
		{"Windows6.0-KB2999226-x64.msu.exe.scr", update.NameClaim{}, false},
		{"", update.NameClaim{}, false},
	}
	for _, tt := range tests {
		if got, ok := update.ParseName(tt.name); got != tt.want || ok != tt.ok {
			t.Errorf("ParseName(%q) = %+v, %v; want %+v, %v", tt.name, got, ok, tt.want, tt.ok)
		}
	}
}

func TestWalk(t *testing.T) {
	p, err := open(msu(payload(), nil))
	if err != nil {
		t.Fatal(err)
	}
	var kernel int64
	got := map[string]bool{}
	err = p.Walk(func(m update.Member, r io.Reader) error {
		n, bad := io.Copy(io.Discard, r)
		if m.Path == "Windows6.0-KB4990001-x64.cab.d/"+kernelFolder+"/ntoskrnl.exe" {
			kernel = n
		}
		got[m.Path] = true
		return bad
	})
	if err != nil || kernel != 63000 {
		t.Errorf("the kernel has %d bytes, %v", kernel, err)
	}
	for _, m := range p.Members {
		if !got[m.Path] {
			t.Errorf("%q was not visited", m.Path)
		}
	}
	inside, err := io.ReadAll(p.Bytes("Windows6.0-KB4990001-x64.cab"))
	if err != nil || !bytes.Equal(inside, payload()) || p.Bytes("none") != nil {
		t.Errorf("the cabinet inside comes out with %d bytes, %v", len(inside), err)
	}
	if p.Cabinet("WSUSSCAN.cab") == nil || p.Cabinet("") == nil || p.Cabinet("none") != nil {
		t.Error("cabinets are not found by their paths")
	}
}

func TestErrors(t *testing.T) {
	tests := []struct {
		name string
		file []byte
		want error
	}{
		{"empty", nil, cab.ErrNotCabinet},
		{"program", []byte("MZ and so on"), cab.ErrNotCabinet},
		{"image", []byte("MSWIM\x00\x00\x00 and so on"), update.ErrImage},
		{"cut_short", payload()[:1000], cab.ErrDamaged},
		{"damaged", func() []byte { b := payload(); b[1500] ^= 1; return b }(), cab.ErrDamaged},
	}
	for _, tt := range tests {
		if p, err := open(tt.file); p != nil || !errors.Is(err, tt.want) {
			t.Errorf("%s: Open gave %v, want %v", tt.name, err, tt.want)
		}
	}
	p, err := open(msu(payload()[:1000], nil))
	if err != nil || len(p.Gaps) != 1 || !strings.Contains(p.Gaps[0], "cut short") {
		t.Errorf("a damaged cabinet inside gave %v, %v; want a gap", p, err)
	}
}

// TestBombs holds hostile files to a second and 256 MiB.
func TestBombs(t *testing.T) {
	deep := []byte("x")
	for range 10_000 {
		deep = cabtest.Stored(cabtest.File{Name: "a.cab", Data: deep})
		if len(deep) > 40_000 {
			break // some hundred levels, and to make the others takes time
		}
	}
	var many []cabtest.File
	empty := cabtest.Stored()
	for i := range 10_000 {
		many = append(many, cabtest.File{Name: fmt.Sprint(i, ".cab"), Data: empty})
	}
	zeros := cabtest.Cabinet{Folders: []cabtest.Folder{{Method: cab.MSZIP, Files: []cabtest.File{{Name: "zeros", Data: make([]byte, 90<<20)}}}}}.Bytes()
	inside := cabtest.Stored(cabtest.File{Name: "a.cab", Data: zeros}, cabtest.File{Name: "b.cab", Data: zeros})
	xml := []byte(`<assembly>` + strings.Repeat("<a/>", 1<<20) + `</assembly>`)
	lists := cabtest.Cabinet{Folders: []cabtest.Folder{{Method: cab.MSZIP, Files: []cabtest.File{{Name: "update.mum", Data: xml}}}}}.Bytes()
	var manifests []cabtest.File
	for i := range 60 {
		manifests = append(manifests, cabtest.File{Name: fmt.Sprint(i, ".mum"), Data: xml[:250_000]})
	}
	texts := cabtest.Cabinet{Folders: []cabtest.Folder{{Method: cab.MSZIP, Files: manifests}}}.Bytes()
	for name, b := range map[string][]byte{
		"deep": deep, "many": cabtest.Stored(many...), "zeros": zeros, "inside": inside, "xml": lists, "manifests": texts,
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			p, err := open(b)
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			if err == nil && len(p.Gaps) == 0 {
				t.Error("nothing was said")
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > 256<<20 || took > 3*time.Second && !raceEnabled {
				t.Errorf("%d bytes took %d bytes of memory and %v", len(b), got, took)
			}
			t.Logf("%d bytes: %v, %v", len(b), took, err)
		})
	}
}

func TestKnown(t *testing.T) {
	text, err := os.ReadFile("known.txt")
	if err != nil {
		t.Fatal(err)
	}
	form := regexp.MustCompile(`^[0-9a-f]{64} +\d+ [\w.-]+$`)
	n := 0
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		if n++; !form.MatchString(line) {
			t.Errorf("known.txt: %q has not the form of a line", line)
		}
	}
	if got := len(update.Known()); got != n || n < 80 {
		t.Errorf("%d files are known, the list has %d", got, n)
	}
	const sha2 = "99312df792b376f02e25607d2eb3355725c47d124d8da253193195515fe90213"
	f, ok := update.KnownDigest(strings.ToUpper(sha2))
	if !ok || f.Name != "Windows6.1-KB4474419-v3-x64.msu" || f.Size != 55853327 {
		t.Errorf("KnownDigest gave %v, %v", f, ok)
	}
	if f, ok := update.KnownName("windows6.1-kb4474419-v3-x64_" + strings.Repeat("ab", 20) + ".msu"); !ok || f.SHA256 != sha2 {
		t.Errorf("KnownName gave %v, %v", f, ok)
	}
}

// TestReal holds the real packages to what Microsoft published about them.
func TestReal(t *testing.T) {
	dir := os.Getenv("OLDGUARD_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data") // beside the repository
	}
	tests := []struct {
		file      string
		kind      update.Kind
		kb        winver.KB
		products  string
		restart   string
		builds    []string
		files     int
		packages  int
		fragments int
	}{
		{"Windows6.0-KB2999226-x64.msu", update.MSU, 2999226, "Windows Server 2008 SP2, Windows Vista SP2", "possible", []string{"6.0.6002.19405", "6.0.6002.23712"}, 172, 14, 765},
		{"Windows6.1-KB2999226-x64.msu", update.MSU, 2999226, "Windows 7 SP1, Windows Server 2008 R2 SP1", "possible", []string{"6.1.7601.18878", "6.1.7601.23081"}, 96, 6, 765},
		{"Windows8.1-KB2999226-x64.msu", update.MSU, 2999226, "Windows 8.1 SP0, Windows Server 2012 R2 SP0", "possible", []string{"6.3.9600.17898"}, 32, 4, 765},
		{"Windows6.1-KB4072650-x64.cab", update.CAB, 4072650, "Windows Server 2008 SP0, Windows Vista SP0, Windows 7 SP0, Windows Server 2008 R2 SP0", "required", []string{"6.3.9600.19456"}, 47, 1, 0},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join(dir, "msu", tt.file))
			if err != nil {
				t.Skipf("no real updates here; set OLDGUARD_DATA: %v", err)
			}
			p, err := open(b)
			if err != nil {
				t.Fatal(err)
			}
			p.Named(tt.file, "")
			var products []string
			for _, product := range p.Products {
				products = append(products, fmt.Sprintf("%s SP%d", product.Name, product.ServicePack))
			}
			fragments := 0
			if p.Scan != nil {
				fragments = len(p.Scan.Updates)
			}
			got := fmt.Sprint(p.Kind, p.KB, p.Arch, p.Restart, p.Builds, len(p.Files), len(p.Packages), fragments, len(p.Gaps), strings.Join(products, ", "))
			want := fmt.Sprint(tt.kind, tt.kb, winver.AMD64, tt.restart, tt.builds, tt.files, tt.packages, tt.fragments, 0, tt.products)
			if got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if p.ReleaseType != "Update" || len(p.Contradictions) != 0 && tt.kind == update.MSU {
				t.Errorf("release type %q, contradictions %v", p.ReleaseType, p.Contradictions)
			}
		})
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(payload()[:0])
	f.Add(cabtest.Stored(cabtest.File{Name: "update.mum", Data: []byte(manifest("Package_for_KB4990001", "KB4990001", identity("x", "6.0.6001.18000"), ""))}))
	f.Add(cabtest.Stored(cabtest.File{Name: "WSUSSCAN.cab", Data: cabtest.Stored(cabtest.File{
		Name: "package.cab",
		Data: cabtest.Stored(cabtest.File{Name: "package.xml", Data: []byte(`<Update RevisionId="1"/>`)}),
	})}))
	f.Add(cabtest.Stored(cabtest.File{Name: "_manifest_.cix.xml", Data: []byte(`<File name="a\b" length="1"><Delta><Source type="RAW" name="1"/></Delta></File>`)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<16 {
			t.Skip("longer than what tells anything")
		}
		p, err := open(b)
		if err != nil {
			return
		}
		p.Named("Windows6.0-KB4990001-x64.msu", "")
		q, err := open(b)
		if err != nil {
			t.Fatal(err)
		}
		q.Named("Windows6.0-KB4990001-x64.msu", "")
		if a, b := fmt.Sprintf("%+v", p.Claims), fmt.Sprintf("%+v", q.Claims); a != b {
			t.Errorf("the same bytes gave\n%s\nand then\n%s", a, b)
		}
	})
}
