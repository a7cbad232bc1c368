package evidence_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/all"
	"github.com/oldguard/oldguard/internal/host"
)

// info is a systeminfo text with what telling machines apart needs.
func info(name, domain, productID string, kbs ...string) string {
	var b strings.Builder
	line := func(label, value string) { fmt.Fprintf(&b, "%-27s%s\r\n", label, value) }
	line("Host Name:", name)
	line("OS Name:", "Microsoft Windows Server 2008 R2 Standard ")
	line("OS Version:", "6.1.7601 Service Pack 1 Build 7601")
	line("OS Manufacturer:", "Microsoft Corporation")
	line("OS Configuration:", "Member Server")
	line("Product ID:", productID)
	line("System Type:", "x64-based PC")
	line("Processor(s):", "1 Processor(s) Installed.")
	line("", "[01]: Intel64 Family 6 Model 63 Stepping 2 GenuineIntel ~2600 Mhz")
	line("Page File Location(s):", `C:\pagefile.sys`)
	line("Domain:", domain)
	line("Logon Server:", "N/A")
	line("Hotfix(s):", fmt.Sprintf("%d Hotfix(s) Installed.", len(kbs)))
	for i, kb := range kbs {
		line("", fmt.Sprintf("[%02d]: %s", i+1, kb))
	}
	line("Network Card(s):", "N/A")
	return b.String()
}

func qfe(name string, kbs ...string) string {
	text := "\r\nNode,CSName,HotFixID,InstalledOn\r\n"
	for _, kb := range kbs {
		text += name + "," + name + "," + kb + ",4/9/2019\r\n"
	}
	return text
}

const (
	pid1    = "00477-001-0000421-84001"
	pid2    = "00477-001-0000421-84002"
	hotfix1 = "\r\nHotFixID\r\n--------\r\nKB4490628\r\n\r\n"
)

func tree(files map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

// say writes hosts shortly: name.domain, KB numbers, then what the gaps are about.
func say(t *testing.T, hosts []*host.Host) (said []string) {
	t.Helper()
	for _, h := range hosts {
		s := h.Name.Or("?")
		if d, ok := h.Domain.Value(); ok {
			s += "." + d
		}
		for _, kb := range h.Updates.All() {
			s += " " + kb.String()
		}
		for _, g := range h.Gaps {
			s += " !" + g.What + ":" + g.From.Input
		}
		said = append(said, s)
	}
	return said
}

func readAll(t *testing.T, o evidence.Options, inputs ...evidence.Input) (hosts []*host.Host) {
	t.Helper()
	for h, err := range evidence.Read(context.Background(), all.Readers(), inputs, o) {
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, h)
	}
	return hosts
}

func TestReadGroupsByMachine(t *testing.T) {
	cut, _, _ := strings.Cut(info("C", "x.example", "", "KB1000003", "KB1000004"), "00004")
	for _, tc := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{
			"files_of_one_machine_merge_wherever_they_lie",
			map[string]string{"a/s.txt": info("FS01", "corp.example", pid1, "KB976902"), "b/q.csv": qfe("fs01", "KB4493730")},
			[]string{"FS01.corp.example KB976902 KB4493730"},
		},
		{
			"two_machines_in_one_folder_stay_two",
			map[string]string{"1.txt": info("B", "corp.example", pid1, "KB1000001"), "2.txt": info("A", "corp.example", pid2, "KB1000002"), "3.csv": qfe("B", "KB1000003")},
			[]string{"A.corp.example KB1000002", "B.corp.example KB1000001 KB1000003"},
		},
		{
			"a_list_without_name_belongs_to_the_only_machine_of_its_folder",
			map[string]string{"a/s.txt": info("A", "x.example", pid1, "KB1000001"), "a/h.txt": hotfix1, "b/s.txt": info("B", "x.example", pid2, "KB1000002")},
			[]string{"A.x.example KB1000001 KB4490628", "B.x.example KB1000002"},
		},
		{
			"a_list_without_name_belongs_to_the_only_machine_of_the_folder_above",
			map[string]string{"a/s.txt": info("A", "x.example", pid1, "KB1000001"), "a/lists/h.txt": hotfix1, "b/s.txt": info("B", "x.example", pid2, "KB1000002")},
			[]string{"A.x.example KB1000001 KB4490628", "B.x.example KB1000002"},
		},
		{
			"a_list_without_name_among_two_machines_is_a_gap_of_its_own",
			map[string]string{"1.txt": info("A", "x.example", pid1, "KB1000001"), "2.txt": info("B", "x.example", pid2, "KB1000002"), "h.txt": hotfix1},
			[]string{"A.x.example KB1000001", "B.x.example KB1000002", "? KB4490628 !machine:h.txt"},
		},
		{
			"one_name_in_two_domains_is_two_machines",
			map[string]string{"1.txt": info("A", "one.example", "", "KB1000001"), "2.txt": info("A", "two.example", "", "KB1000002")},
			[]string{"A.one.example KB1000001", "A.two.example KB1000002"},
		},
		{
			"a_bare_name_that_two_machines_have_goes_to_the_one_of_its_folder",
			map[string]string{"a/1.txt": info("A", "one.example", pid1, "KB1000001"), "b/2.txt": info("A", "two.example", pid2, "KB1000002"), "b/q.csv": qfe("A", "KB1000003"), "c/q.csv": qfe("A", "KB1000004")},
			[]string{"A KB1000004 !machine:c/q.csv", "A.one.example KB1000001", "A.two.example KB1000002 KB1000003"},
		},
		{
			"another_product_id_is_another_installation",
			map[string]string{"1.txt": info("A", "one.example", pid1, "KB1000001"), "2.txt": info("A", "one.example", pid2, "KB1000002")},
			[]string{"A.one.example KB1000001", "A.one.example KB1000002"},
		},
		{
			"short_and_long_domain_are_one",
			map[string]string{"1.txt": info("A", "corp", pid1, "KB1000001"), "2.txt": info("A", "corp.example", pid1, "KB1000002")},
			[]string{"A.corp KB1000001 KB1000002"},
		},
		{
			"what_nobody_understands_hides_nothing",
			map[string]string{
				"empty.txt": "", "photo.jpg": "\xff\xd8\xff\xe0JFIF", "zeros.bin": strings.Repeat("\x00", 100_000), "notes.txt": "the server in the cellar",
				"1.txt": info("A", "x.example", pid1, "KB1000001"), "2.txt": info("B", "x.example", pid2, "KB1000002"), "cut.txt": cut,
			},
			[]string{
				"A.x.example KB1000001", "B.x.example KB1000002", "C.x.example KB1000003 !updates:cut.txt",
				"? !file:empty.txt !file:notes.txt !file:photo.jpg !file:zeros.bin",
			},
		},
		{
			"what_nobody_understands_is_a_gap_of_the_only_machine_there",
			map[string]string{"s.txt": info("A", "x.example", pid1, "KB1000001"), "photo.jpg": "\xff\xd8\xff\xe0JFIF"},
			[]string{"A.x.example KB1000001 !file:photo.jpg"},
		},
		{
			"a_name_with_escapes_and_html_is_no_name",
			map[string]string{"1.txt": info("\x1b[31m<b>A</b>", "x.example", pid1, "KB1000001"), "2.txt": info("B", "x.example", pid2, "KB1000002")},
			[]string{"B.x.example KB1000002", "?.x.example KB1000001 !name:1.txt !machine:1.txt"},
		},
		{"nothing_gives_nothing", map[string]string{}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, workers := range []int{1, 4} {
				got := say(t, readAll(t, evidence.Options{Workers: workers}, evidence.Input{Tree: tree(tc.files)}))
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("with %d workers (-want +got):\n%s", workers, diff)
				}
			}
			// The same files, named one by one and in another order.
			var inputs []evidence.Input
			for _, name := range slices.Backward(slices.Sorted(maps.Keys(tc.files))) {
				text := tc.files[name]
				inputs = append(inputs, evidence.Input{Name: name, File: io.NewSectionReader(strings.NewReader(text), 0, int64(len(text)))})
			}
			if got := say(t, readAll(t, evidence.Options{}, inputs...)); len(got) != len(tc.want) {
				t.Errorf("named one by one, the files give %q, want %d machines", got, len(tc.want))
			}
		})
	}
}

func TestReadNamesWhatAFileIs(t *testing.T) {
	for _, tc := range []struct{ name, data, want string }{
		{"empty", "", "it is empty"},
		{"blank", "\r\n \r\n", "it holds nothing but white space"},
		{"zeros", strings.Repeat("\x00", 5000), "it begins with nothing but zero bytes"},
		{"jpeg", "\xff\xd8\xff\xe1Exif", "it is a JPEG picture"},
		{"gzip", "\x1f\x8bxxxx", "it is compressed with gzip; unpack it"},
		{"prose", "Dear all", "it looks like none of the kinds known"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			hosts := readAll(t, evidence.Options{}, evidence.TextInput("x", tc.data))
			if len(hosts) != 1 || len(hosts[0].Gaps) != 1 {
				t.Fatalf("gave %d hosts, want one with one gap", len(hosts))
			}
			if got := hosts[0].Gaps[0].Why; !strings.HasSuffix(got, tc.want) {
				t.Errorf("gap says %q, want %q at its end", got, tc.want)
			}
		})
	}
}

func TestReadAs(t *testing.T) {
	in := evidence.TextInput("x", "nothing of the kind")
	h := readAll(t, evidence.Options{As: "systeminfo"}, in)[0]
	if len(h.Gaps) != 1 || h.Gaps[0].From.Reader != "systeminfo" {
		t.Errorf("gaps are %+v, want one from systeminfo", h.Gaps)
	}
	for _, err := range evidence.Read(context.Background(), all.Readers(), []evidence.Input{in}, evidence.Options{As: "nobody"}) {
		if err == nil || !strings.Contains(err.Error(), "there are systeminfo, ") || !strings.Contains(err.Error(), ", hotfix") {
			t.Errorf("error is %v, want one that names the readers", err)
		}
	}
}

// zeros is an endless file without memory.
type zeros struct{}

func (zeros) ReadAt(b []byte, _ int64) (int, error) { clear(b); return len(b), nil }

func TestReadRefusesHugeFiles(t *testing.T) {
	for _, as := range []string{"", "systeminfo"} {
		hosts := readAll(t, evidence.Options{As: as}, evidence.Input{Name: "zeros", File: io.NewSectionReader(zeros{}, 0, 100<<20)})
		if len(hosts) != 1 || len(hosts[0].Gaps) != 1 {
			t.Errorf("as %q: got %+v, want one host with one gap", as, hosts)
		}
	}
}

func TestReadFollowsNoLinks(t *testing.T) {
	outside := t.TempDir()
	secret := filepath.Join(outside, "secret.txt")
	dir := t.TempDir()
	if err := errors.Join(
		os.WriteFile(secret, []byte(info("SECRET", "x.example", pid1, "KB1000001")), 0o600),
		os.WriteFile(filepath.Join(dir, "s.txt"), []byte(info("A", "x.example", pid2, "KB1000002")), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Symlink(secret, filepath.Join(dir, "link.txt")), os.Symlink(outside, filepath.Join(dir, "folder"))); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	got := say(t, readAll(t, evidence.Options{}, evidence.Input{Name: "in", Tree: os.DirFS(dir)}))
	want := []string{"A.x.example KB1000002 !file:in/folder !file:in/link.txt"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("hosts (-want +got):\n%s", diff)
	}
}

func TestReadBoundsTheWalk(t *testing.T) {
	files := tree(map[string]string{"a/b/c/d.txt": "x", "1": "", "2": "", "3": "", "4": ""})
	for _, tc := range []struct {
		name string
		o    evidence.Options
		want string
	}{
		{"depth", evidence.Options{MaxDepth: 2}, "folders are nested more than 2 deep here"},
		{"files", evidence.Options{MaxFiles: 3}, "there are more than 3 files; this one and all behind it were not read"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var whys []string
			for _, h := range readAll(t, tc.o, evidence.Input{Tree: files}) {
				for _, g := range h.Gaps {
					whys = append(whys, g.Why)
				}
			}
			if !slices.Contains(whys, tc.want) {
				t.Errorf("gaps say %q, want %q among them", whys, tc.want)
			}
		})
	}
}

func TestReadStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	files := map[string]string{}
	for i := range 50 {
		files[fmt.Sprintf("%02d.txt", i)] = info(fmt.Sprintf("H%02d", i), "x.example", "", "KB1000001")
	}
	n, last := 0, error(nil)
	for h, err := range evidence.Read(ctx, all.Readers(), []evidence.Input{{Tree: tree(files)}}, evidence.Options{}) {
		last = err
		if h != nil {
			n++
		}
		if n == 3 {
			cancel()
		}
	}
	if !errors.Is(last, context.Canceled) || n > 10 {
		t.Errorf("after %d machines the last error is %v, want context.Canceled soon after 3", n, last)
	}
	cancel()
}

func TestReadTellsProgress(t *testing.T) {
	files := map[string]string{"1.txt": info("A", "x.example", pid1, "KB1000001"), "2.csv": qfe("A", "KB1000002")}
	var got []evidence.Progress
	readAll(t, evidence.Options{Progress: func(p evidence.Progress) { got = append(got, p) }}, evidence.Input{Tree: tree(files)})
	want := []evidence.Progress{
		{File: "1.txt", Files: 1, FilesTotal: 2},
		{File: "2.csv", Files: 2, FilesTotal: 2},
		{Files: 2, FilesTotal: 2, Machines: 1, MachinesTotal: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
}

// bytewise reads a file to its end, a piece at a time.
var bytewise = evidence.Reader{
	Name:  "bytewise",
	Sniff: func(evidence.Probe) bool { return true },
	Read: func(_ context.Context, in evidence.Input, _ *host.Host) ([]evidence.Input, error) {
		_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{in.File}, make([]byte, 300<<10))
		return nil, err
	},
}

// TestReadTellsProgressOfLargeFiles: of a large file it is told how much of it was read, once
// at a time whichever files are read, and nothing when all is read.
func TestReadTellsProgressOfLargeFiles(t *testing.T) {
	const size = 20 << 20
	var inputs []evidence.Input
	for i := range 4 {
		inputs = append(inputs, evidence.Input{Name: fmt.Sprintf("%d.pcap", i), File: io.NewSectionReader(zeros{}, 0, size)})
	}
	inputs = append(inputs, evidence.TextInput("small.txt", "x"))
	last, busy, over := map[string]int64{}, atomic.Bool{}, false
	steps := 0
	o := evidence.Options{Workers: 3, Progress: func(p evidence.Progress) {
		if busy.Swap(true) || over {
			t.Error("told twice at a time, or after the end")
		}
		defer busy.Store(false)
		if p.Size == 0 {
			return
		}
		steps++
		if p.Size != size || p.Done <= last[p.File] || p.Done > size || p.FilesTotal != 5 {
			t.Errorf("%+v after %d bytes", p, last[p.File])
		}
		last[p.File] = p.Done
	}}
	for _, err := range evidence.Read(context.Background(), []evidence.Reader{bytewise}, inputs, o) {
		if err != nil {
			t.Fatal(err)
		}
	}
	over = true
	if steps < 4*18 || steps > 4*20 || len(last) != 4 || last["0.pcap"] < size-1<<20 {
		t.Errorf("%d steps, the last ones %v", steps, last)
	}
}

// fleet is n machines in one folder, made as they are opened.
type fleet int

func (f fleet) text(name string) []byte {
	kbs := make([]string, 60)
	for i := range kbs {
		kbs[i] = fmt.Sprintf("KB%d", 4000000+i)
	}
	return []byte(info(strings.TrimSuffix(name, ".txt"), "x.example", "", kbs...))
}

func (f fleet) Open(name string) (fs.File, error) {
	if name == "." {
		return fstest.MapFS{}.Open(".")
	}
	return fstest.MapFS{name: &fstest.MapFile{Data: f.text(name)}}.Open(name)
}

func (f fleet) ReadDir(string) ([]fs.DirEntry, error) {
	entries := make([]fs.DirEntry, f)
	for i := range entries {
		entries[i] = entry(fmt.Sprintf("SRV%06d.txt", i))
	}
	return entries, nil
}

type entry string

func (e entry) Name() string             { return string(e) }
func (entry) IsDir() bool                { return false }
func (entry) Type() fs.FileMode          { return 0 }
func (entry) Info() (fs.FileInfo, error) { return nil, fs.ErrInvalid }

// peak reads a fleet and gives the most memory that was in use while machines came.
func peak(t testing.TB, n int) (machines int, bytes uint64) {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before := m.HeapAlloc
	for h, err := range evidence.Read(context.Background(), all.Readers(), []evidence.Input{{Tree: fleet(n)}}, evidence.Options{}) {
		if err != nil || h.Updates.Len() != 60 {
			t.Fatalf("host %q has %d updates, want 60; error %v", h.Name.Or(""), h.Updates.Len(), err)
		}
		machines++
		if machines%(n/10) == 0 {
			runtime.GC()
			runtime.ReadMemStats(&m)
			bytes = max(bytes, m.HeapAlloc-min(before, m.HeapAlloc))
		}
	}
	return machines, bytes
}

// TestReadNeedsLittleMemory: what is kept grows by no more than a few hundred bytes for a
// machine, where a machine with its updates takes twenty thousand.
func TestReadNeedsLittleMemory(t *testing.T) {
	_, small := peak(t, 1000)
	machines, large := peak(t, 4000)
	if machines != 4000 {
		t.Fatalf("read %d machines, want 4000", machines)
	}
	each := (int64(large) - int64(small)) / 3000
	t.Logf("1000 machines: %d KiB, 4000: %d KiB, %d bytes for each further one", small>>10, large>>10, each)
	if each > 1500 {
		t.Errorf("each machine keeps %d bytes, more than 1500", each)
	}
}

// BenchmarkReadFleet reads ten thousand machines from one folder on a disk.
func BenchmarkReadFleet(b *testing.B) {
	const n = 10_000
	dir := b.TempDir()
	var size int
	for i := range n {
		name := fmt.Sprintf("SRV%06d.txt", i)
		text := fleet(0).text(name)
		size += len(text)
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(size))
	for b.Loop() {
		machines := 0
		for _, err := range evidence.Read(context.Background(), all.Readers(), []evidence.Input{{Tree: os.DirFS(dir)}}, evidence.Options{}) {
			if err != nil {
				b.Fatal(err)
			}
			machines++
		}
		if machines != n {
			b.Fatalf("read %d machines, want %d", machines, n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/machine")
}

// TestDisagreementIsShown: two sources of different trust state different things.
func TestDisagreementIsShown(t *testing.T) {
	other := strings.ReplaceAll(info("A", "x.example", pid1, "KB1000001"), "6.1.7601 Service Pack 1 Build 7601", "6.1.7600 N/A Build 7600")
	hosts := readAll(t, evidence.Options{}, evidence.Input{Tree: tree(map[string]string{"1.txt": info("A", "x.example", pid1, "KB1000001"), "2.txt": other})})
	if len(hosts) != 1 || !hosts[0].Build.Disputed() || len(hosts[0].Build.Claims()) != 2 {
		t.Errorf("got %d hosts with build %+v, want one with a disputed build", len(hosts), hosts[0].Build)
	}
}

// TestReadKeepsFewConversations: of files with very many conversations not all are kept from the first pass
// to the second; what they say is the same.
func TestReadKeepsFewConversations(t *testing.T) {
	const each = host.MaxTalks/2 - 1000
	var reads [3]atomic.Int32
	busy := evidence.Reader{
		Name: "busy", Sniff: func(evidence.Probe) bool { return true },
		Read: func(_ context.Context, in evidence.Input, h *host.Host) ([]evidence.Input, error) {
			n := in.Name[len(in.Name)-1] - '0'
			reads[n].Add(1)
			h.Name.Say("FS01", 1, host.Source{Reader: "busy", Input: in.Name})
			own := netip.MustParseAddr("192.0.2.11")
			for i := range uint32(each) {
				peer := netip.AddrFrom4([4]byte{10 + n, byte(i >> 16), byte(i >> 8), byte(i)})
				h.Traffic.Add(host.Talk{Client: peer, Server: own, Proto: host.TCP, Port: 445}, host.Sighting{From: host.Source{Reader: "busy", Input: in.Name}, Times: 1})
			}
			return nil, nil
		},
	}
	tree := fstest.MapFS{"f0": {Data: []byte("x")}, "f1": {Data: []byte("x")}, "f2": {Data: []byte("x")}}
	for h, err := range evidence.Read(context.Background(), []evidence.Reader{busy}, []evidence.Input{{Name: "", Tree: tree}}, evidence.Options{}) {
		if err != nil {
			t.Fatal(err)
		}
		if h.Traffic.Len() != host.MaxTalks || h.Traffic.Lost != 3*each-host.MaxTalks {
			t.Errorf("%d conversations, %d lost", h.Traffic.Len(), h.Traffic.Lost)
		}
	}
	if a, b, c := reads[0].Load(), reads[1].Load(), reads[2].Load(); a != 1 || b != 1 || c != 2 {
		t.Errorf("read %d, %d and %d times, want the third one twice", a, b, c)
	}
}
