package winfolder_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/all"
	"github.com/oldguard/oldguard/internal/evidence/evidencetest"
	"github.com/oldguard/oldguard/internal/evidence/winfolder"
	"github.com/oldguard/oldguard/internal/format/pe"
	"github.com/oldguard/oldguard/internal/format/regf/regftest"
	"github.com/oldguard/oldguard/internal/golden"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/winreg"
	"github.com/oldguard/oldguard/winver"
)

func TestGolden(t *testing.T) { evidencetest.Golden(t, winfolder.Reader) }

// TestSamples: the programs in testdata are what this file makes.
func TestSamples(t *testing.T) {
	golden.Check(t, filepath.Join("testdata", "kernel_itanium", "ntoskrnl.exe"), program(pe.IA64, 6, 0, 6003, 20489))
	golden.Check(t, filepath.Join("testdata", "crypt32_x86", "CRYPT32.DLL"), program(pe.I386, 6, 0, 6002, 18881))
}

// program makes a program file that consists of its headers and a version resource.
func program(m pe.Machine, version ...uint16) []byte {
	le := binary.LittleEndian
	fixed := make([]byte, 52)
	le.PutUint32(fixed, 0xFEEF04BD)
	for i, at := range [...]int{10, 8, 14, 12} {
		le.PutUint16(fixed[at:], version[i])
	}
	res := make([]byte, 88) // three directories of one entry each, and what the last one points to
	for i, id := range [...]uint32{16, 1, 0x409} {
		dir := res[24*i:]
		le.PutUint16(dir[14:], 1)
		le.PutUint32(dir[16:], id)
		next := uint32(24 * (i + 1))
		if i < 2 {
			next |= 1 << 31
		}
		le.PutUint32(dir[20:], next)
	}
	const base = 0x1000
	key := utf16.Encode([]rune("VS_VERSION_INFO\x00"))
	v := make([]byte, 6, 128)
	for _, u := range key {
		v = le.AppendUint16(v, u)
	}
	v = append(v, 0, 0)
	v = append(v, fixed...)
	le.PutUint16(v, uint16(len(v)))
	le.PutUint16(v[2:], uint16(len(fixed)))
	le.PutUint32(res[72:], base+uint32(len(res)))
	le.PutUint32(res[76:], uint32(len(v)))
	res = append(res, v...)

	optional, directories, magic := 112+128, 108, uint16(0x20B)
	if m == pe.I386 {
		optional, directories, magic = 96+128, 92, 0x10B
	}
	b := make([]byte, 512)
	copy(b, "MZ")
	le.PutUint32(b[60:], 64)
	copy(b[64:], "PE\x00\x00")
	le.PutUint16(b[68:], uint16(m))
	le.PutUint16(b[70:], 1)
	le.PutUint16(b[84:], uint16(optional))
	opt := b[88:]
	le.PutUint16(opt, magic)
	le.PutUint32(opt[directories:], 16)
	le.PutUint32(opt[directories+4+16:], base)
	le.PutUint32(opt[directories+8+16:], uint32(len(res)))
	section := b[88+optional:]
	copy(section, ".rsrc")
	for i, n := range [...]uint32{uint32(len(res)), base, uint32(len(res)), 512} {
		le.PutUint32(section[8+4*i:], n)
	}
	return append(b, res...)
}

func hiveOf(t testing.TB, values map[string][]winreg.Value) []byte {
	t.Helper()
	root := &winreg.Memory{Whole: true}
	for p, vs := range values {
		k, err := root.Create(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range vs {
			k.Set(v)
		}
	}
	return regftest.Hive(root, regftest.Options{})
}

func text(name, s string) winreg.Value { return winreg.TextValue(name, winreg.String, s) }

func softwareHive(t testing.TB, more ...string) []byte {
	const packages = `Microsoft\Windows\CurrentVersion\Component Based Servicing\Packages\`
	values := map[string][]winreg.Value{
		`Classes`: nil,
		`Microsoft\Windows NT\CurrentVersion`: {
			text("ProductName", "Windows Server (R) 2008 Standard"), text("CurrentVersion", "6.0"), text("CurrentBuildNumber", "6003"),
			text("BuildLabEx", "6003.20489.amd64fre.vistasp2_ldr_escrow.190404-1620"), text("CSDVersion", "Service Pack 2"),
		},
		packages + installed: {winreg.DwordValue("CurrentState", 0x70)},
		packages + staged:    {winreg.DwordValue("CurrentState", 0x40)},
	}
	for _, name := range more {
		values[packages+name] = []winreg.Value{winreg.DwordValue("CurrentState", 0x70)}
	}
	return hiveOf(t, values)
}

const (
	installed = "Package_for_KB4493471~31bf3856ad364e35~amd64~~6.0.1.0"
	staged    = "Package_for_KB4012598~31bf3856ad364e35~amd64~~6.0.1.0"
	log       = "2020-02-12 10:00:00, Error                 CBS    Failed to resolve package 'Package_for_KB4537810' [HRESULT = 0x80070661 - ERROR_INSTALL_PLATFORM_UNSUPPORTED]\r\n"
	pending   = "\ufeff" + `<?xml version='1.0' encoding='utf-8'?>
<PendingTransaction Version="3.1"><POQ postAction="reboot">
<HardlinkFile source="\SystemRoot\WinSxS\amd64_example\ntoskrnl.exe" destination="\??\C:\Windows\System32\ntoskrnl.exe"/>
<DeleteFile path="\??\C:\Windows\System32\example.dll"/>
<SetKeyValue path="\Registry\Machine\SOFTWARE\Example" name="a" type="1"/>
</POQ></PendingTransaction>
`
)

func systemHive(t testing.TB, name string) []byte {
	return hiveOf(t, map[string][]winreg.Value{
		`Select`: {winreg.DwordValue("Current", 1)},
		`ControlSet001\Control\ComputerName\ComputerName`: {text("ComputerName", name)},
	})
}

// windows is a Windows folder with names in whatever case.
func windows(t testing.TB, name string) map[string][]byte {
	return map[string][]byte{
		"system32/Config/software":                        softwareHive(t),
		"system32/Config/system":                          systemHive(t, name),
		"system32/Config/RegBack/SOFTWARE":                []byte("regf, but older"),
		"system32/NTOSKRNL.EXE":                           program(pe.AMD64, 6, 0, 6003, 20489),
		"system32/ntdll.dll":                              program(pe.AMD64, 6, 0, 6002, 19623),
		"system32/Drivers/srv.sys":                        program(pe.AMD64, 6, 0, 6003, 20705),
		"system32/notepad.exe":                            []byte("MZ, and of no interest"),
		"Logs/cbs/cbs.log":                                []byte(log),
		"WinSxS/Pending.xml":                              []byte(pending),
		"WinSxS/amd64_example/ntoskrnl.exe":               program(pe.AMD64, 6, 0, 6003, 22015),
		"servicing/packages/" + installed + ".mum":        []byte("<assembly/>"),
		"servicing/packages/" + staged + ".mum":           []byte("<assembly/>"),
		"servicing/packages/" + staged + ".cat":           []byte("0"),
		"servicing/packages/wuindex.mum":                  []byte("<assembly/>"),
		"Panther/systeminfo of another machine/setup.txt": []byte("Host Name: OTHER\r\n"),
	}
}

func tree(folders map[string]map[string][]byte) fstest.MapFS {
	m := fstest.MapFS{}
	for dir, files := range folders {
		for name, b := range files {
			m[path.Join(dir, name)] = &fstest.MapFile{Data: b}
		}
	}
	return m
}

func without(files map[string][]byte, prefix string) map[string][]byte {
	for name := range files {
		if strings.HasPrefix(name, prefix) {
			delete(files, name)
		}
	}
	return files
}

// TestFolder: what is read of a Windows folder, wherever it lies.
func TestFolder(t *testing.T) {
	files := []string{
		`System32\ntoskrnl.exe | 6.0.6003.20489 | amd64`, `System32\ntdll.dll | 6.0.6002.19623 | amd64`, `System32\drivers\srv.sys | 6.0.6003.20705 | amd64`,
	}
	whole := map[string]any{
		"name": "FS01", "files": files, "build": "6.0.6003", "arch": winver.AMD64,
		"packages": []string{
			staged + ` | KB4012598 | staged | HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\Packages\` + staged,
			installed + ` | KB4493471 | installed | HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\Packages\` + installed,
		},
		"restart": []string{"pending.xml holds 2 operations on files for servicing to carry out at the next restart"}, "errors": 1,
	}
	other := maps.Clone(whole)
	other["name"] = "FS02"
	drive := tree(map[string]map[string][]byte{"Windows": windows(t, "FS01"), "Users/somebody": {"systeminfo.txt": []byte("OS Version: 6.0.6002 Service Pack 2 Build 6002\r\n")}})
	drive["pagefile.sys"] = &fstest.MapFile{Data: make([]byte, 4096)}
	for _, tt := range []struct {
		name string
		tree fstest.MapFS
		want []map[string]any
	}{
		{"itself", tree(map[string]map[string][]byte{".": windows(t, "FS01")}), []map[string]any{whole}},
		{"within", tree(map[string]map[string][]byte{"evidence/fs01/WINDOWS": windows(t, "FS01")}), []map[string]any{whole}},
		{"system_drive", drive, []map[string]any{whole}},
		{"two", tree(map[string]map[string][]byte{"fs01/Windows": windows(t, "FS01"), "fs02/Windows": windows(t, "FS02")}), []map[string]any{whole, other}},
		{"beside_other_evidence", tree(map[string]map[string][]byte{
			"Windows": windows(t, "FS01"), "exports": {"version.reg": []byte("Windows Registry Editor Version 5.00\r\n\r\n" +
				"[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Control\\ComputerName\\ComputerName]\r\n\"ComputerName\"=\"FS02\"\r\n\r\n")},
		}), []map[string]any{whole, {"name": "FS02"}}},
		{"no_hives", tree(map[string]map[string][]byte{".": without(windows(t, ""), "system32/Config/s")}), []map[string]any{{
			"files": files, "build": "6.0.6003", "arch": winver.AMD64, "restart": whole["restart"], "errors": 1,
			"packages": []string{staged + " | KB4012598 | unknown", installed + " | KB4493471 | unknown"},
			"gaps": []string{
				"updates: manifests show which packages are there, not which are in effect: the hive SOFTWARE is not in the folder",
				"machine: the file names no machine, and no other file beside it does",
			},
		}}},
		{"no_hives_no_manifests", tree(map[string]map[string][]byte{".": without(without(without(without(windows(t, ""), "system32/Config/s"), "servicing/packages/P"), "Logs"), "WinSxS")}), []map[string]any{{
			"files": files, "build": "6.0.6003", "arch": winver.AMD64,
			"gaps": []string{
				"updates: the folder has neither the hive SOFTWARE nor manifests of packages",
				"machine: the file names no machine, and no other file beside it does",
			},
		}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []map[string]any
			for _, v := range evidencetest.Read(t, all.Readers(), tt.tree) {
				got = append(got, brief(v))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("hosts (-want +got):\n%s", diff)
			}
		})
	}
}

// brief leaves of a view what TestFolder is about.
func brief(v map[string]any) map[string]any {
	out := map[string]any{}
	for _, name := range []string{"name", "files", "packages", "restart", "arch", "gaps"} {
		if x, ok := v[name]; ok {
			out[name] = x
		}
	}
	if b, ok := v["build"].(winver.Build); ok {
		out["build"] = b.String()
	}
	if e, ok := v["errors"].([]string); ok {
		out["errors"] = len(e)
	}
	return out
}

// opens records which files are opened.
type opens struct {
	fs.FS
	mu    sync.Mutex
	names []string
}

// Open implements fs.FS.
func (o *opens) Open(name string) (fs.File, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.names = append(o.names, name)
	return o.FS.Open(name)
}

// TestOpensLittle: of what lies in a Windows folder only what matters is opened, and the
// store of components, which holds most of it, is not even listed further down.
func TestOpensLittle(t *testing.T) {
	m := tree(map[string]map[string][]byte{"Windows": windows(t, "FS01")})
	for i := range 2000 {
		m[path.Join("Windows/WinSxS", "amd64_"+strings.Repeat("x", i%50)+string(rune('a'+i%26)), "f.dll")] = &fstest.MapFile{Data: []byte("MZ")}
	}
	o := &opens{FS: m}
	evidencetest.Read(t, all.Readers(), o)
	if len(o.names) > 100 {
		t.Errorf("%d files and folders were opened", len(o.names))
	}
	for _, name := range o.names {
		if strings.HasPrefix(name, "Windows/WinSxS/amd64") || strings.HasSuffix(name, ".mum") || strings.HasSuffix(name, "notepad.exe") {
			t.Errorf("%s was opened", name)
		}
	}
}

// TestOnDisk: the same from a real folder, with links and what is no file in it.
func TestOnDisk(t *testing.T) {
	dir := t.TempDir()
	for name, b := range windows(t, "FS01") {
		file := filepath.Join(dir, "Windows", filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	outside := filepath.Join(dir, "outside.dll")
	if err := os.WriteFile(outside, program(pe.AMD64, 6, 0, 6003, 99), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "Windows", "system32", "crypt32.dll")); err != nil {
		t.Skip(err)
	}
	root, err := os.OpenRoot(filepath.Join(dir, "Windows"))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	in := []evidence.Input{{Name: "/mnt/evidence/Windows", Tree: root.FS()}}
	// The reader named by hand is that of the folder; the hives in it have their own.
	for _, as := range []string{"", "winfolder"} {
		n := 0
		for h, err := range evidence.Read(context.Background(), all.Readers(), in, evidence.Options{As: as}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
			if h.Name.Or("") != "FS01" || len(h.Files) != 3 || h.Updates.Has(4493471) != host.Yes || len(h.Gaps) != 1 || !strings.Contains(h.Gaps[0].Why, "symbolic link") {
				t.Errorf("as %q: name %v, %d files, gaps %+v", as, h.Name, len(h.Files), h.Gaps)
			}
			if at := h.Files[0].From.Input; at != "/mnt/evidence/Windows/System32/ntoskrnl.exe" {
				t.Errorf("the kernel is at %s", at)
			}
		}
		if n != 1 {
			t.Errorf("as %q: %d machines", as, n)
		}
	}
}

// TestLogs: the logs of a hive are found beside it, in whatever case, and complete it.
func TestLogs(t *testing.T) {
	const stack = "Package_for_KB4493730~31bf3856ad364e35~amd64~~6.0.1.0"
	before := softwareHive(t)
	m := windows(t, "FS01")
	m["system32/Config/software"] = regftest.Torn(before)
	m["system32/Config/Software.LOG1"] = regftest.NewLog(1, before, softwareHive(t, stack))
	m["system32/Config/Software.LOG2"] = nil
	for h, err := range evidence.Read(context.Background(), all.Readers(), []evidence.Input{{Name: "Windows", Tree: tree(map[string]map[string][]byte{".": m})}}, evidence.Options{}) {
		if err != nil {
			t.Fatal(err)
		}
		if h.Updates.Has(4493730) != host.Yes || h.Updates.Has(4537810) != host.No {
			t.Errorf("updates %v, lists %+v, gaps %+v", h.Updates.All(), h.Updates.Listings(), h.Gaps)
		}
	}
}

// TestReadVersion: every machine type, from files that can be read at any place and from
// those that cannot. Real programs say the same whatever their header names as the machine.
func TestReadVersion(t *testing.T) {
	for m, want := range map[pe.Machine]winver.Arch{pe.I386: winver.X86, pe.AMD64: winver.AMD64, pe.IA64: winver.IA64, pe.ARM64: winver.ARM64, 0x1F0: winver.ArchUnknown} {
		b := program(m, 6, 0, 6003, 20489)
		for name, f := range map[string]fs.File{"at": open(t, b), "stream": stream{open(t, b)}} {
			v, err := winfolder.ReadVersion(f)
			if err != nil || v.Arch != want || v.Version.String() != "6.0.6003.20489" {
				t.Errorf("%v, %s: %+v, %v", m, name, v, err)
			}
		}
	}
	if _, err := winfolder.ReadVersion(open(t, program(pe.AMD64, 0, 0, 0, 0))); err == nil {
		t.Error("a version resource without a version is one")
	}
	data := os.Getenv("OLDGUARD_DATA")
	if data == "" {
		data = filepath.Join("..", "..", "..", "..", "shared", "data")
	}
	b, err := os.ReadFile(filepath.Join(data, "signed", "saferwall", "kernel32.dll"))
	if err != nil {
		t.Skipf("no real program here (set OLDGUARD_DATA): %v", err)
	}
	genuine, err := winfolder.ReadVersion(open(t, b))
	if err != nil || !genuine.Version.Known() || genuine.Arch == winver.ArchUnknown {
		t.Fatalf("%+v, %v", genuine, err)
	}
	b = slices.Clone(b)
	binary.LittleEndian.PutUint16(b[binary.LittleEndian.Uint32(b[60:])+4:], uint16(pe.IA64))
	patched, err := winfolder.ReadVersion(open(t, b))
	if err != nil || patched.Arch != winver.IA64 || patched.Version != genuine.Version {
		t.Errorf("patched to ia64: %+v, %v; before %+v", patched, err, genuine)
	}
}

func open(t testing.TB, b []byte) fs.File {
	t.Helper()
	f, err := fstest.MapFS{"f": {Data: b}}.Open("f")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

type stream struct{ f fs.File }

func (s stream) Stat() (fs.FileInfo, error) { return s.f.Stat() }
func (s stream) Read(b []byte) (int, error) { return s.f.Read(b) }
func (s stream) Close() error               { return s.f.Close() }

// TestProbe: a live probe finds files as Windows names them.
func TestProbe(t *testing.T) {
	live := host.Live{Windows: winfolder.Fold(tree(map[string]map[string][]byte{".": windows(t, "FS01")})), ReadVersion: winfolder.ReadVersion}
	for name, want := range map[string]host.Tri{
		`System32\ntoskrnl.exe`: host.Yes, `SYSTEM32\DRIVERS\SRV.SYS`: host.Yes, `System32\termdd.sys`: host.No, `System32\notepad.exe`: host.Unknown, `System32`: host.Unknown, `..\x`: host.Unknown,
		`System32\ntdll.dll\x`: host.No,
	} {
		if _, got := live.FileVersion(name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestFold(t *testing.T) {
	m := fstest.MapFS{"A/b/File.txt": {Data: []byte("1")}, "A/b/file.TXT": {Data: []byte("2")}, "a/c": {Data: []byte("3")}, "L": {Data: []byte("A"), Mode: fs.ModeSymlink}, "P": {Mode: fs.ModeNamedPipe}}
	f := winfolder.Fold(m)
	for name, want := range map[string]string{"A/B/File.txt": "1", "A/B/file.TXT": "2", "A/B/FILE.TXT": "1", "a/c": "3"} {
		if b, err := fs.ReadFile(f, name); err != nil || string(b) != want {
			t.Errorf("%s is %q, %v; want %q", name, b, err, want)
		}
	}
	for _, name := range []string{"a/b", "A/b/File.txt/x", "l/b", "p", "../A", "/A", ""} {
		if _, err := fs.ReadFile(f, name); err == nil {
			t.Errorf("%q was read", name)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(program(pe.AMD64, 6, 0, 6003, 20489))
	f.Add(program(pe.I386, 6, 0, 6002, 18005))
	f.Add([]byte(pending))
	f.Fuzz(func(t *testing.T, b []byte) {
		read := func() []map[string]any {
			m := windows(t, "")
			for _, name := range []string{"system32/NTOSKRNL.EXE", "WinSxS/Pending.xml", "system32/hal.dll"} {
				m[name] = b
			}
			return evidencetest.Read(t, []evidence.Reader{winfolder.Reader}, tree(map[string]map[string][]byte{".": m}))
		}
		if diff := cmp.Diff(read(), read()); diff != "" {
			t.Errorf("the same gave something else:\n%s", diff)
		}
		// Alone the same bytes say the same version.
		v, err := winfolder.ReadVersion(open(t, b))
		in := evidence.Input{Name: "ntoskrnl.exe", File: io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))}
		h := new(host.Host)
		if _, err2 := winfolder.Reader.Read(context.Background(), in, h); bytes.HasPrefix(b, []byte("MZ")) && ((err == nil) != (err2 == nil) || err == nil && h.Files[0].FileVersion != v) {
			t.Errorf("%+v, %v; alone %+v, %v", v, err, h.Files, err2)
		}
	})
}
