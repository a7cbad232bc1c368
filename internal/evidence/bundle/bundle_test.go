package bundle_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/all"
	"github.com/oldguard/oldguard/internal/evidence/bundle"
	"github.com/oldguard/oldguard/internal/evidence/evidencetest"
	"github.com/oldguard/oldguard/internal/format/cab"
	"github.com/oldguard/oldguard/internal/format/cab/cabtest"
	"github.com/oldguard/oldguard/internal/golden"
	"github.com/oldguard/oldguard/internal/host"
)

// The cases are what bundle reads itself; archives are made by code, below.
func TestGolden(t *testing.T) { evidencetest.Golden(t, bundle.Reader) }

func FuzzRead(f *testing.F) {
	f.Add(zipped(f, collection(f)))
	f.Add(cabinet(collection(f)))
	f.Add(zipped(f, map[string]string{"../a": "x", "nul": "x", "a/b.txt": "x"}))
	evidencetest.Fuzz(f, bundle.Reader)
}

// example is a file of an example in the repository.
func example(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "examples", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// utf16 is how wmic and reg export write.
func utf16(s string) string {
	out := "\xff\xfe"
	for _, c := range []byte(s) {
		out += string([]byte{c, 0})
	}
	return out
}

// collection is what the collector makes of the example FS01, without names in the files that
// do not have them on a real machine either.
func collection(t testing.TB) map[string]string {
	t.Helper()
	files := map[string]string{
		"ver.txt":        "\r\nMicrosoft Windows [Version 6.0.6003]\r\n",
		"systeminfo.txt": example(t, "fs01/systeminfo.txt"),
		"settings.txt":   "\r\nHKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Control\\Lsa\r\n    LmCompatibilityLevel    REG_DWORD    0x2\r\n\r\n",
		"cbs.reg": utf16("Windows Registry Editor Version 5.00\r\n\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Component Based Servicing]\r\n\r\n" +
			"[HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Component Based Servicing\\Packages]\r\n\r\n" +
			"[HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Component Based Servicing\\Packages\\Package_for_KB4493471~31bf3856ad364e35~amd64~~6.0.1.0]\r\n\"CurrentState\"=dword:00000070\r\n\r\n"),
		"netstat.txt": "  TCP    0.0.0.0:445            0.0.0.0:0              LISTENING       4\r\n",
		"status.txt": "oldguard-collect 1\r\ncomputer FS01\r\ntaken 20200214093000.000000+060\r\nadministrator yes\r\npending.xml no\r\n" +
			"ok ver.txt\r\nfailed slmgr.txt 1\r\n  Access denied.\r\nend\r\n",
	}
	manifest := "oldguard-manifest 1 sha1\r\n"
	for _, name := range slices.Sorted(maps.Keys(files)) {
		sum := sha1.Sum([]byte(files[name]))
		manifest += hex.EncodeToString(sum[:]) + "  " + name + "\r\n"
	}
	files["manifest.txt"] = manifest
	return files
}

func zipped(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func cabinet(files map[string]string) []byte {
	var list []cabtest.File
	for _, name := range slices.Sorted(maps.Keys(files)) {
		list = append(list, cabtest.File{Name: strings.ReplaceAll(name, "/", `\`), Data: []byte(files[name])})
	}
	return cabtest.Cabinet{Folders: []cabtest.Folder{{Method: cab.MSZIP, Files: list}}}.Bytes()
}

func file(b []byte) *fstest.MapFile { return &fstest.MapFile{Data: b} }

// view is what is known, less where it stands, which differs between a folder and an archive.
func view(t testing.TB, tree fstest.MapFS) []map[string]any {
	t.Helper()
	return evidencetest.Read(t, all.Readers(), tree)
}

// TestForms: a collection says the same as folder, cabinet and ZIP archive, and for ever.
func TestForms(t *testing.T) {
	files := collection(t)
	folder, deep := fstest.MapFS{}, map[string]string{}
	for name, text := range files {
		folder[name] = file([]byte(text))
		deep["FS01-20200214093000/"+name] = text
	}
	for name, tree := range map[string]fstest.MapFS{
		"folder":      folder,
		"cabinet":     {"FS01.cab": file(cabinet(files))},
		"zip":         {"FS01.zip": file(zipped(t, files))},
		"zip_folder":  {"FS01.zip": file(zipped(t, deep))},
		"below":       {"a/b/FS01.zip": file(zipped(t, files))},
		"not_by_name": {"evidence": file(zipped(t, files))},
	} {
		t.Run(name, func(t *testing.T) {
			golden.JSON(t, filepath.Join("..", "all", "testdata", "collection", "want.json"), view(t, tree))
		})
	}
}

// TestManyBundles: bundles beside each other do not mix.
func TestManyBundles(t *testing.T) {
	one, two := collection(t), collection(t)
	two["systeminfo.txt"] = example(t, "fs02/systeminfo.txt")
	two["status.txt"] = strings.ReplaceAll(two["status.txt"], "FS01", "FS02")
	delete(two, "manifest.txt")
	delete(two, "ver.txt")
	nameless := map[string]string{"settings.txt": one["settings.txt"], "cbs.reg": one["cbs.reg"]}
	both := map[string]string{"settings.txt": one["settings.txt"]}
	for name, text := range one {
		both["FS01/"+name] = text
	}
	for name, text := range two {
		both["FS02/"+name] = text
	}
	names := func(tree fstest.MapFS) (out []string) {
		for _, v := range view(t, tree) {
			gaps, _ := v["gaps"].([]string)
			out = append(out, fmt.Sprint(v["name"], " ", v["build"], " ", v["settings"] != nil, " ", len(gaps)))
		}
		return out
	}
	for _, tc := range []struct {
		name string
		tree fstest.MapFS
		want []string
	}{
		{"beside_each_other", fstest.MapFS{"1.zip": file(zipped(t, one)), "2.cab": file(cabinet(two))}, []string{"FS01 6.0.6003 true 1", "FS02 6.0.6002 true 1"}},
		{"no_name_in_it_is_one_machine", fstest.MapFS{"1.zip": file(zipped(t, nameless))}, []string{"<nil> <nil> true 1"}},
		{"no_name_in_it_but_beside_it", fstest.MapFS{"a.zip": file(zipped(t, nameless)), "s.txt": file([]byte(one["systeminfo.txt"]))}, []string{"FS01 6.0.6003 true 0"}},
		{"two_in_one", fstest.MapFS{"all.zip": file(zipped(t, both))}, []string{"FS01 6.0.6003 true 1", "FS02 6.0.6002 true 1", "<nil> <nil> true 1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, names(tc.tree)); diff != "" {
				t.Errorf("name, build, settings, gaps (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAltered: what was changed after the collection shows, and is read all the same.
func TestAltered(t *testing.T) {
	files := collection(t)
	files["ver.txt"] = "\r\nMicrosoft Windows [Version 6.0.6002]\r\n"
	delete(files, "netstat.txt")
	got := view(t, fstest.MapFS{"x.zip": file(zipped(t, files))})
	if len(got) != 1 {
		t.Fatalf("gave %d machines", len(got))
	}
	want := []string{
		"collection: netstat.txt was collected, but is not there any more",
		"collection: ver.txt was altered since it was collected: its SHA-1 is another one",
		"collection: slmgr.txt could not be collected: exit status 1: Access denied.",
	}
	if diff := cmp.Diff(want, got[0]["gaps"]); diff != "" {
		t.Errorf("gaps (-want +got):\n%s", diff)
	}
	if !strings.Contains(fmt.Sprint(got[0]["build"]), "disputed") {
		t.Errorf("the build is %v", got[0]["build"])
	}
}

// gapsOf reads one file and gives its gaps; it must take little time and memory.
func gapsOf(t *testing.T, b []byte) (gaps []string, h *host.Host) {
	t.Helper()
	return gapsWithin(t, b, time.Second, 64<<20)
}

func gapsWithin(t *testing.T, b []byte, most time.Duration, memory uint64) (gaps []string, h *host.Host) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin := time.Now()
	h = new(host.Host)
	in := evidence.Input{Name: "x.zip", File: io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))}
	for one, err := range evidence.Read(context.Background(), all.Readers(), []evidence.Input{in}, evidence.Options{}) {
		if err != nil {
			t.Fatal(err)
		}
		h.Merge(one)
	}
	runtime.ReadMemStats(&after)
	if took := time.Since(begin); took > most {
		t.Errorf("it took %v", took)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > memory {
		t.Errorf("it took %d MiB", got>>20)
	}
	for _, g := range h.Gaps {
		gaps = append(gaps, g.Why)
	}
	return gaps, h
}

func TestPathTricks(t *testing.T) {
	const ver = "\r\nMicrosoft Windows [Version 6.0.6003]\r\n"
	for _, name := range []string{
		"../ver.txt", "a/../../ver.txt", "/etc/ver.txt", `..\ver.txt`, `C:\ver.txt`, "C:ver.txt", `\\server\share\ver.txt`, "ver\x00.txt", "nul", "a/con.txt", "LPT1.txt",
		"ver.txt:stream", "a//ver.txt", "./ver.txt", "ver.txt ", "ver.txt.", strings.Repeat("a", 5000), strings.Repeat("a/", 2000) + "ver.txt",
	} {
		t.Run(fmt.Sprintf("%.20q", name), func(t *testing.T) {
			gaps, h := gapsOf(t, zipped(t, map[string]string{name: ver, "good/systeminfo.txt": example(t, "fs01/systeminfo.txt")}))
			if len(gaps) != 1 || !strings.HasPrefix(gaps[0], "it was not unpacked: ") {
				t.Errorf("gaps %q", gaps)
			}
			if h.Name.Or("") != "FS01" || len(h.Build.Claims()) != 1 {
				t.Errorf("the file beside it says %q, %v", h.Name.Or(""), h.Build.Claims())
			}
		})
	}
	t.Run("same_name_twice", func(t *testing.T) {
		gaps, h := gapsOf(t, zipped(t, map[string]string{"ver.txt": ver, "VER.TXT": "\r\nMicrosoft Windows [Version 6.0.6002]\r\n"}))
		if len(gaps) == 0 || len(h.Build.Claims()) != 1 {
			t.Errorf("gaps %q, build %v", gaps, h.Build.Claims())
		}
	})
}

func TestBombs(t *testing.T) {
	zeros := strings.Repeat("\x00", 8<<20)
	inner := zipped(t, map[string]string{"zeros.txt": zeros[:100_000]})
	lie := zipped(t, map[string]string{"ver.txt": strings.Repeat("a", 100_000)})
	at := bytes.LastIndex(lie, []byte("PK\x01\x02"))
	copy(lie[at+24:], []byte{10, 0, 0, 0}) // the size unpacked that the directory states
	huge := bytes.Clone(lie)
	copy(huge[at+24:], []byte{0xff, 0xff, 0xff, 0xf0})
	for name, tc := range map[string]struct {
		data []byte
		want string
	}{
		"ratio_zip":          {zipped(t, map[string]string{"zeros.txt": zeros}), "times as large unpacked"},
		"ratio_cab":          {cabinet(map[string]string{"zeros.txt": zeros}), "times as large unpacked"},
		"states_4_gigabytes": {huge, "it has more than 256 MiB"},
		"nested":             {zipped(t, map[string]string{"inner.zip": string(inner)}), "an archive within an archive"},
		"nested_cab":         {cabinet(map[string]string{"inner.zip": string(inner)}), "an archive within an archive"},
		"longer_than_stated": {lie, "it cannot be unpacked"},
		"cut":                {lie[:len(lie)-30], "the ZIP archive cannot be read"},
		"empty":              {zipped(t, nil), "the archive is empty"},
		"office":             {zipped(t, map[string]string{"[Content_Types].xml": "<x/>", "word/document.xml": "<x/>"}), "it is an Office document"},
		"update":             {cabinet(map[string]string{"WSUSSCAN.cab": "x", "Windows6.0-KB1-x64.xml": "<x/>"}), "it is an update package"},
	} {
		t.Run(name, func(t *testing.T) {
			gaps, _ := gapsOf(t, tc.data)
			if len(gaps) != 1 || !strings.Contains(gaps[0], tc.want) {
				t.Errorf("gaps %q, want one with %q", gaps, tc.want)
			}
		})
	}
}

// TestBombsHideNothing: what is left out of an archive is named, and what is beside it is read.
func TestBombsHideNothing(t *testing.T) {
	good := example(t, "fs01/systeminfo.txt")
	zeros := strings.Repeat("\x00", 2<<20)
	with := func(more map[string]string) map[string]string {
		more["good.txt"] = good
		return more
	}
	huge := zipped(t, with(map[string]string{"z.txt": strings.Repeat("a", 100_000)}))
	copy(huge[bytes.LastIndex(huge, []byte("PK\x01\x02"))+24:], []byte{0xff, 0xff, 0xff, 0xf0})
	many := map[string]string{"0.good.txt": good} // it comes before 0.txt
	for i := range 6000 {
		many[fmt.Sprintf("%d.txt", i)] = ""
	}
	for name, tc := range map[string]struct {
		data     []byte
		at, want string
	}{
		"zip_packed_too_well":     {zipped(t, with(map[string]string{"a.txt": zeros, "b/b.txt": "x"})), "a.txt", "times as large unpacked"},
		"cabinet_packed_too_well": {cabinet(with(map[string]string{"a.txt": zeros})), "a.txt", "times as large unpacked"},
		"states_4_gigabytes":      {huge, "z.txt", "it has more than 256 MiB"},
		"too_many":                {zipped(t, many), "5498.txt", "it and what is behind it in the archive, 1001 files, were not unpacked"},
		"within":                  {zipped(t, with(map[string]string{"inner.zip": string(zipped(t, map[string]string{"zeros.txt": zeros}))})), "", "an archive within an archive"},
	} {
		t.Run(name, func(t *testing.T) {
			gaps, h := gapsWithin(t, tc.data, 10*time.Second, 256<<20) // 5000 files, each of which is looked at
			found := false
			for i, why := range gaps {
				found = found || strings.Contains(why, tc.want) && (tc.at == "" || h.Gaps[i].From.At == tc.at)
			}
			if !found {
				t.Errorf("gaps %.300q, want one at %q with %q", gaps, tc.at, tc.want)
			}
			if h.Name.Or("") != "FS01" || !h.Build.Known() {
				t.Errorf("what is beside it says %q, %v", h.Name.Or(""), h.Build.Claims())
			}
			again, _ := gapsWithin(t, tc.data, 10*time.Second, 256<<20)
			if diff := cmp.Diff(gaps, again); diff != "" {
				t.Errorf("another time (-first +then):\n%s", diff)
			}
		})
	}
}

// TestLongListing: a list of files that is longer than any takes no memory.
func TestLongListing(t *testing.T) {
	one := zipped(t, map[string]string{strings.Repeat("a", 500): ""})
	at := bytes.Index(one, []byte("PK\x01\x02"))
	end := bytes.LastIndex(one, []byte("PK\x05\x06"))
	list := bytes.Repeat(one[at:end], 40_000)
	b := slices.Concat(one[:at], list, one[end:])
	binary.LittleEndian.PutUint16(b[len(b)-14:], 40_000)
	binary.LittleEndian.PutUint16(b[len(b)-12:], 40_000)
	binary.LittleEndian.PutUint32(b[len(b)-10:], uint32(len(list)))
	gaps, _ := gapsOf(t, b)
	if len(gaps) != 1 || !strings.Contains(gaps[0], "its list of files has more than 16 MiB") {
		t.Errorf("gaps %q", gaps)
	}
}

// TestBeside: hives in an archive find their logs, and only what lies beside them.
func TestBeside(t *testing.T) {
	var got []string
	probe := evidence.Reader{Name: "probe", Sniff: func(p evidence.Probe) bool { return path.Ext(p.Name) == ".a" }, Read: func(_ context.Context, in evidence.Input, _ *host.Host) ([]evidence.Input, error) {
		for _, name := range []string{"X.B", "x.b", "../x.b", "y/x.b", "nothing"} {
			got = append(got, fmt.Sprint(name, " ", in.Beside(name) != nil))
		}
		return nil, evidence.ErrPart
	}}
	b := zipped(t, map[string]string{"d/x.a": "", "d/x.b": "", "x.b": "", "d/y/x.b": ""})
	evidencetest.Read(t, []evidence.Reader{probe, bundle.Reader}, fstest.MapFS{"z.zip": file(b)})
	want := []string{"X.B true", "x.b true", "../x.b false", "y/x.b false", "nothing false"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
