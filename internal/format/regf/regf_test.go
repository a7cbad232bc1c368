package regf_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/format/regf"
	"github.com/oldguard/oldguard/internal/format/regf/regftest"
	"github.com/oldguard/oldguard/internal/peer"
	"github.com/oldguard/oldguard/internal/winreg"
)

// sample is a registry with something of everything, its keys in order.
func sample(t testing.TB, build string) *winreg.Memory {
	t.Helper()
	root := &winreg.Memory{Whole: true}
	set := func(path string, values ...winreg.Value) {
		k, err := root.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		k.Whole = true
		k.Written = time.Date(2026, 1, 13, 18, 0, 0, 123456700, time.UTC)
		for _, v := range values {
			k.Set(v)
		}
	}
	set(`Empty`)
	set(`Microsoft`)
	set(
		`Microsoft\CurrentVersion`, winreg.TextValue("", winreg.String, "the default"), winreg.TextValue("Build", winreg.String, build), winreg.DwordValue("InstallDate", 1230768000),
		winreg.TextValue("Größe", winreg.Expand, "ünï"), winreg.TextValue("名前", winreg.Multi, "a", "b"), winreg.Value{Name: "nothing", Type: winreg.None},
		winreg.Value{Name: "big", Type: winreg.Binary, Data: bytes.Repeat([]byte("0123456789"), 4000)},
		winreg.Value{Name: "odd type", Type: 0xffff0011, Data: []byte{1, 2, 3}},
	)
	for i := range 7 {
		set(fmt.Sprintf(`Packages\Package_%d_for_KB4493730`, i), winreg.DwordValue("CurrentState", 112))
	}
	set(`Zürich\日本`)
	return root
}

func TestRead(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options regftest.Options
		hivex   bool
	}{
		{"vista", regftest.Options{}, true},
		{"nt4", regftest.Options{Minor: 3, List: "lf"}, true},
		{"nt35", regftest.Options{Minor: 2, List: "li"}, false},
		{"nt31_long_cell_headers", regftest.Options{Minor: 1, List: "li"}, false},
		{"lists_of_lists", regftest.Options{List: "ri"}, true},
		{"wide_names", regftest.Options{Wide: true}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := sample(t, "6003")
			b := regftest.Hive(root, tt.options)
			h, err := open(b)
			if err != nil {
				t.Fatal(err)
			}
			if a, n := h.Anomalies(); n > 0 || h.State() != regf.Clean {
				t.Errorf("state %v, anomalies %+v", h.State(), a)
			}
			want := dump(nil, root, "")
			if diff := cmp.Diff(want, dump(nil, h.Root(), "")); diff != "" {
				t.Errorf("(-written +read):\n%s", diff)
			}
			if tt.hivex {
				t.Run("TestPeer", func(t *testing.T) {
					peer.Need(t, "hivex")
					file := filepath.Join(t.TempDir(), "hive")
					if err := os.WriteFile(file, b, 0o600); err != nil {
						t.Fatal(err)
					}
					out, err := exec.Command(python, "-c", hivexDump, file).CombinedOutput()
					if diff := cmp.Diff(want, strings.Split(strings.TrimRight(string(out), "\n"), "\n")); err != nil || diff != "" {
						t.Errorf("%v (-written +hivex):\n%s", err, diff)
					}
				})
			}
		})
	}
}

func TestBaseBlock(t *testing.T) {
	written := time.Date(2026, 1, 13, 18, 0, 0, 0, time.UTC)
	h, err := open(regftest.Hive(sample(t, "6003"), regftest.Options{FileName: `\SystemRoot\System32\Config\SOFTWARE`, Written: written}))
	if err != nil {
		t.Fatal(err)
	}
	if got := h.FileName(); got != `temRoot\System32\Config\SOFTWARE` && !strings.HasSuffix(got, `\Config\SOFTWARE`) {
		t.Errorf("FileName() = %q", got)
	}
	if !h.Written().Equal(written) || h.Minor() != 5 || h.Root().Name() != "ROOT" || h.Root().Path() != "" {
		t.Errorf("written %v, version 1.%d, root %q", h.Written(), h.Minor(), h.Root().Name())
	}
	if len(h.Root().Security()) != 20 || h.Root().Class() != "" {
		t.Errorf("security %x, class %q", h.Root().Security(), h.Root().Class())
	}
}

func TestSniff(t *testing.T) {
	b := regftest.Hive(sample(t, "6003"), regftest.Options{})
	for _, tt := range []struct {
		name string
		head []byte
		want error
	}{
		{"hive", b, nil},
		{"old_log", regftest.OldLog(b, b), regf.ErrLog},
		{"new_log", regftest.NewLog(1, b, b), regf.ErrLog},
		{"text", []byte("Host Name:                 FS01.example.com"), regf.ErrNotHive},
		{"short", b[:8], regf.ErrNotHive},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := regf.Sniff(tt.head); !errors.Is(got, tt.want) {
				t.Errorf("Sniff = %v, want %v", got, tt.want)
			}
			if _, err := open(tt.head); (err == nil) != (tt.want == nil) || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("Open: %v", err)
			}
		})
	}
}

// build reads the value that the logs change.
func build(t *testing.T, h *regf.Hive) string {
	t.Helper()
	k, err := h.Root().Open(`microsoft\CURRENTVERSION`)
	if err != nil {
		t.Fatal(err)
	}
	v, err := k.Value("build")
	if err != nil {
		t.Fatal(err)
	}
	return v.Plain()
}

// missing stands for a log that is not there, and might be.
var missing = []byte("missing")

func TestLogs(t *testing.T) {
	at := func(s string) []byte { return regftest.Hive(sample(t, s), regftest.Options{Sequence: 7}) }
	one, two, three := at("6001"), at("6002"), at("6003")
	spoil := func(b []byte, at int) []byte {
		b = slices.Clone(b)
		b[at] ^= 0x55
		return b
	}
	noSum := spoil(regftest.Torn(one), 508)
	larger := sample(t, "6004")
	for i := range 200 {
		if _, err := larger.Create(fmt.Sprintf(`Packages\Package_for_KB%d`, 5000000+i)); err != nil {
			t.Fatal(err)
		}
	}
	grown := regftest.Hive(larger, regftest.Options{Sequence: 7})
	for _, tt := range []struct {
		name  string
		hive  []byte
		logs  [][]byte
		state regf.State
		build string
		odd   bool
	}{
		{"clean_ignores_a_log", one, [][]byte{regftest.NewLog(7, one, two)}, regf.Clean, "6001", false},
		{"no_log", regftest.Torn(one), nil, regf.Dirty, "6001", false},
		{"empty_log", regftest.Torn(one), [][]byte{nil, make([]byte, 4096)}, regf.Dirty, "6001", false},
		{"old", regftest.Torn(one), [][]byte{regftest.OldLog(one, three)}, regf.Recovered, "6003", false},
		{"old_grows", regftest.Torn(one), [][]byte{regftest.OldLog(one, grown)}, regf.Recovered, "6004", false},
		{"old_spoiled", regftest.Torn(one), [][]byte{spoil(regftest.OldLog(one, three), 508)}, regf.Dirty, "6001", true},
		{"old_of_another_time", regftest.Torn(one), [][]byte{regftest.OldLog(regftest.Hive(sample(t, "6001"), regftest.Options{Written: time.Unix(1e9, 0)}), three)}, regf.Dirty, "6001", true},
		{"old_cut", regftest.Torn(one), [][]byte{regftest.OldLog(one, three)[:1024]}, regf.Dirty, "6001", true},
		{"old_restores_the_first_block", noSum, [][]byte{regftest.OldLog(one, three)}, regf.Recovered, "6003", true},
		{"new", regftest.Torn(one), [][]byte{regftest.NewLog(7, one, two, three)}, regf.Recovered, "6003", false},
		{"new_grows", regftest.Torn(one), [][]byte{regftest.NewLog(7, one, grown)}, regf.Recovered, "6004", false},
		{"new_in_two_logs", regftest.Torn(one), [][]byte{regftest.NewLog(8, two, three), regftest.NewLog(7, one, two)}, regf.Recovered, "6003", false},
		{"new_with_older_entries", regftest.Torn(two), [][]byte{regftest.NewLog(6, one, two, three)}, regf.Recovered, "6003", false},
		{"new_with_a_number_missing", regftest.Torn(one), [][]byte{regftest.NewLog(7, one, two), regftest.NewLog(9, two, three)}, regf.Recovered, "6002", true},
		{"new_too_old", regftest.Torn(one), [][]byte{regftest.NewLog(5, three, two)}, regf.Dirty, "6001", true},
		{"new_first_entry_spoiled", regftest.Torn(one), [][]byte{spoil(regftest.NewLog(7, one, two, three), 600)}, regf.Dirty, "6001", true},
		{"new_last_byte_spoiled", regftest.Torn(one), [][]byte{spoil(regftest.NewLog(7, one, two, three), len(regftest.NewLog(7, one, two, three))-1)}, regf.Recovered, "6002", true},
		{"new_restores_the_first_block", noSum, [][]byte{regftest.NewLog(7, one, three)}, regf.Recovered, "6003", true},
		{"new_and_one_is_missing", regftest.Torn(one), [][]byte{regftest.NewLog(7, one, two), missing}, regf.Dirty, "6002", false},
		{"old_and_one_is_missing", regftest.Torn(one), [][]byte{regftest.OldLog(one, two), missing}, regf.Recovered, "6002", false},
		{"a_text", regftest.Torn(one), [][]byte{bytes.Repeat([]byte("no log "), 1000)}, regf.Dirty, "6001", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, err := open(tt.hive, tt.logs...)
			if err != nil {
				t.Fatal(err)
			}
			anomalies, n := h.Anomalies()
			if got := build(t, h); got != tt.build || h.State() != tt.state || tt.odd != (n > 0) {
				t.Errorf("build %s, state %v, want %s, %v; anomalies %+v", got, h.State(), tt.build, tt.state, anomalies)
			}
		})
	}
}

func TestAbsence(t *testing.T) {
	clean := regftest.Hive(sample(t, "6003"), regftest.Options{})
	holed := slices.Clone(clean) // the name of the value is longer than its cell
	binary.LittleEndian.PutUint16(holed[bytes.Index(holed, []byte("InstallDate"))-18:], 999)
	for _, tt := range []struct {
		name, path string
		hive       []byte
		want       error
		damage     bool
	}{
		{"key", `Microsoft\None`, clean, fs.ErrNotExist, false},
		{"key_of_a_dirty_hive", `Microsoft\None`, regftest.Torn(clean), winreg.ErrNotShown, false},
		{"below_a_damaged_key", `Microsoft\CurrentVersion\None`, holed, nil, true},
		{"beside_a_damaged_key", `Microsoft\None`, holed, fs.ErrNotExist, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, err := open(tt.hive)
			if err != nil {
				t.Fatal(err)
			}
			_, err = h.Root().Open(tt.path)
			if tt.damage {
				if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, winreg.ErrNotShown) {
					t.Errorf("Open = %v, want damage", err)
				}
				return
			}
			if !errors.Is(err, tt.want) {
				t.Errorf("Open = %v, want %v", err, tt.want)
			}
		})
	}
}

// walk visits everything and gives the number of keys and bytes of data.
func walk(k winreg.Key) (keys, size int) {
	values, _ := k.Values()
	for _, v := range values {
		size += len(v.Data)
	}
	subkeys, _ := k.Subkeys()
	for _, c := range subkeys {
		n, s := walk(c)
		keys += n
		size += s
	}
	return keys + 1, size
}

// TestLies: hives that would take for ever, or all memory, if one believed them.
func TestLies(t *testing.T) {
	le := binary.LittleEndian
	root := new(winreg.Memory)
	for i := range 3000 {
		k, err := root.Create(fmt.Sprintf(`Key%04d`, i))
		if err != nil {
			t.Fatal(err)
		}
		k.Set(winreg.Value{Name: "v", Type: winreg.Binary, Data: make([]byte, 100)})
	}
	whole := regftest.Hive(root, regftest.Options{})
	// each visits every key's cell, the root's last.
	each := func(b []byte, change func(nk []byte, at uint32)) []byte {
		b = slices.Clone(b)
		for i := 4096 + 32; i+80 < len(b); i += 8 {
			if string(b[i+4:i+6]) == "nk" {
				change(b[i+4:], uint32(i-4096))
			}
		}
		return b
	}
	rootAt := le.Uint32(whole[36:])
	top := whole[4096+rootAt+4:]
	keysAt, first := le.Uint32(top[28:]), le.Uint32(whole[4096+le.Uint32(top[28:])+8:])
	valuesAt := le.Uint32(whole[4096+first+4+40:])
	for _, tt := range []struct {
		name string
		hive []byte
	}{
		{"every_key_has_all_keys", each(whole, func(nk []byte, _ uint32) { le.PutUint32(nk[20:], 3000); le.PutUint32(nk[28:], keysAt) })},
		{"every_key_has_itself", each(whole, func(nk []byte, at uint32) { le.PutUint32(nk[20:], 1); le.PutUint32(nk[28:], at) })},
		{"list_used_as_values", each(whole, func(nk []byte, _ uint32) { le.PutUint32(nk[36:], 6000); le.PutUint32(nk[40:], keysAt) })},
		{"one_list_of_values", each(whole, func(nk []byte, _ uint32) { le.PutUint32(nk[36:], 1); le.PutUint32(nk[40:], valuesAt) })},
		{"four_billion_of_each", each(whole, func(nk []byte, _ uint32) { le.PutUint32(nk[20:], 1<<32-1); le.PutUint32(nk[36:], 1<<32-1) })},
		{"list_of_lists_of_itself", func() []byte {
			b := slices.Clone(whole)
			list := b[4096+keysAt+4:]
			copy(list, "ri")
			for i := range 6000 {
				le.PutUint32(list[4+4*i:], keysAt)
			}
			return b
		}()},
		{"every_list_entry_the_same", func() []byte {
			b := slices.Clone(whole)
			list := b[4096+keysAt+4:]
			for i := range 3000 {
				le.PutUint32(list[4+8*i:], first)
			}
			return b
		}()},
		{"data_shared_and_huge", func() []byte {
			b := slices.Clone(whole)
			for i := 4096 + 32; i+24 < len(b); i += 8 {
				if string(b[i+4:i+6]) == "vk" {
					le.PutUint32(b[i+8:], 20000)
					le.PutUint32(b[i+12:], keysAt)
				}
			}
			return b
		}()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Now()
			check(t, tt.hive)
			if d := time.Since(start); d > time.Second && !raceEnabled {
				t.Errorf("took %v", d)
			}
		})
	}
}

// check opens and walks a hive, which must end with as many keys as fit, no more data than
// the hive has, and memory in proportion. It reports whether the hive could be opened.
func check(t *testing.T, b []byte, logs ...[]byte) bool {
	t.Helper()
	total := len(b)
	for _, l := range logs {
		total += len(l)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	h, err := open(b, logs...)
	runtime.ReadMemStats(&after)
	if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(8*total+1<<19); got > limit {
		t.Errorf("%d bytes made Open allocate %d, more than %d", total, got, limit)
	}
	if err != nil {
		return false
	}
	if keys, size := walk(h.Root()); keys > total/80+1 || size > total+4*total/24 {
		t.Errorf("%d keys and %d bytes of data in %d bytes", keys, size, total)
	}
	return true
}

// TestCut cuts a hive at every sector and spoils every word of its start.
func TestCut(t *testing.T) {
	b := regftest.Hive(sample(t, "6003"), regftest.Options{List: "ri"})
	for n := 0; n < len(b); n += 512 {
		if check(t, b[:n]) {
			h, err := open(b[:n])
			if err != nil {
				t.Fatal(err)
			}
			if _, count := h.Anomalies(); count == 0 {
				t.Errorf("cut at %d, and nothing is wrong", n)
			}
		}
	}
	step := 4
	if raceEnabled {
		step = 52
	}
	for i := 4; i < min(len(b), 10_000); i += step {
		for _, word := range []uint32{0, 0xffffffff, 0x20, uint32(len(b))} {
			c := slices.Clone(b)
			binary.LittleEndian.PutUint32(c[i:], word)
			check(t, c)
		}
	}
}

func FuzzOpen(f *testing.F) {
	one := regftest.Hive(sample(f, "6001"), regftest.Options{})
	two := regftest.Hive(sample(f, "6002"), regftest.Options{})
	f.Add(one, []byte(nil))
	f.Add(regftest.Torn(one), regftest.OldLog(one, two))
	f.Add(regftest.Torn(one), regftest.NewLog(1, one, two, one))
	f.Add(regftest.Hive(sample(f, "6003"), regftest.Options{Minor: 1, List: "ri", Wide: true}), []byte(nil))
	f.Fuzz(func(t *testing.T, hive, log []byte) {
		if len(hive)+len(log) > 1<<20 {
			t.Skip("longer than what tells anything")
		}
		check(t, hive, log)
	})
}
