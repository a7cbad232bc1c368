package cab_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/format/cab"
	"github.com/oldguard/oldguard/internal/format/cab/cabtest"
)

var le = binary.LittleEndian

func open(t testing.TB, b []byte) *cab.Cabinet {
	t.Helper()
	c, err := cab.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// walk gives the contents by name.
func walk(c *cab.Cabinet) (map[string]string, error) {
	got := map[string]string{}
	err := c.Walk(func(f *cab.File, r io.Reader) error {
		b, err := io.ReadAll(r)
		got[f.Name] = string(b)
		return err
	})
	return got, err
}

// prose is data with matches near and far, and with calls.
func prose(size int) []byte {
	rnd := rand.New(rand.NewPCG(uint64(size), 1))
	words := make([][]byte, 400)
	for i := range words {
		words[i] = make([]byte, 3+rnd.IntN(60))
		for j := range words[i] {
			words[i][j] = byte(rnd.IntN(256))
		}
	}
	b := make([]byte, 0, size+100)
	for len(b) < size {
		switch rnd.IntN(20) {
		case 0:
			b = append(b, bytes.Repeat([]byte{byte(rnd.IntN(256))}, rnd.IntN(900))...)
		case 1:
			b = le.AppendUint32(append(b, 0xe8), rnd.Uint32N(1<<25)-1<<24)
		case 2:
			b = append(b, byte(rnd.IntN(256)))
		default:
			b = append(b, words[rnd.IntN(len(words))]...)
		}
	}
	return b[:size]
}

// cabinets are one for each way of packing.
var cabinets = sync.OnceValue(func() map[string]cabtest.Cabinet {
	small := []cabtest.File{{Name: "a.txt", Data: []byte("alpha")}, {Name: "empty"}, {Name: `sub\b.bin`, Data: prose(70_001)}}
	all := map[string]cabtest.Cabinet{
		"stored":         {Folders: []cabtest.Folder{{Method: cab.Stored, Files: small}}},
		"mszip":          {Folders: []cabtest.Folder{{Method: cab.MSZIP, Files: small}}},
		"reserve":        {Folders: []cabtest.Folder{{Method: cab.Stored, Files: small}}, Reserve: make([]byte, 6144)},
		"lzx_e8":         {Folders: []cabtest.Folder{{Method: cab.LZX, Window: 17, E8: true, Files: small}}},
		"lzx_stored_odd": {Folders: []cabtest.Folder{{Method: cab.LZX, Window: 15, Kinds: []int{3}, Files: small}}},
		"lzx_aligned":    {Folders: []cabtest.Folder{{Method: cab.LZX, Window: 16, Kinds: []int{2}, Files: small}}},
		"several_folders": {Folders: []cabtest.Folder{
			{Method: cab.LZX, Window: 21, Files: []cabtest.File{{Name: "1", Data: prose(100_000)}}},
			{Method: cab.Stored, Files: []cabtest.File{{Name: "2", Data: prose(40_000)}, {Name: "3", Data: prose(3)}}},
			{Method: cab.MSZIP, Files: []cabtest.File{{Name: "4", Data: prose(200_000)}}},
		}},
	}
	for w := uint8(15); w <= 21; w++ {
		// Long enough for the window to slide, except for the larger ones.
		all[fmt.Sprintf("lzx_%d", w)] = cabtest.Cabinet{Folders: []cabtest.Folder{
			{Method: cab.LZX, Window: w, E8: w&1 == 0, Files: []cabtest.File{{Name: "long", Data: prose(min(3<<w, 600_000))}}},
		}}
	}
	return all
})

func TestRoundTrip(t *testing.T) {
	for name, made := range cabinets() {
		t.Run(name, func(t *testing.T) {
			want := map[string]string{}
			for _, f := range made.Folders {
				for _, file := range f.Files {
					want[file.Name] = string(file.Data)
				}
			}
			c := open(t, made.Bytes())
			got, err := walk(c)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("contents differ (-want +got): %.300s", diff)
			}
			for _, f := range c.Files {
				r, err := f.Open()
				if err != nil {
					t.Fatal(err)
				}
				if b, err := io.ReadAll(r); err != nil || string(b) != want[f.Name] {
					t.Errorf("Open(%q) gave %d bytes, %v; want %d", f.Name, len(b), err, len(want[f.Name]))
				}
				if day := "2019-04-09T10:30:16Z"; f.Modified.Format(time.RFC3339) != day {
					t.Errorf("Modified of %q = %v, want %s", f.Name, f.Modified, day)
				}
			}
		})
	}
}

// TestAnyChunks holds reading by small pieces, and leaving files unread, to the same result.
func TestAnyChunks(t *testing.T) {
	files := []cabtest.File{{Name: "1", Data: prose(50_000)}, {Name: "2", Data: prose(50_001)}, {Name: "3", Data: prose(10)}}
	c := open(t, cabtest.Cabinet{Folders: []cabtest.Folder{{Method: cab.LZX, Window: 18, Files: files}}}.Bytes())
	i := 0
	err := c.Walk(func(f *cab.File, r io.Reader) error {
		want := files[i].Data[:len(files[i].Data)/2]
		i++
		got, err := io.ReadAll(io.LimitReader(struct{ io.Reader }{r}, int64(len(want))))
		if !bytes.Equal(got, want) {
			t.Errorf("half of %q differs", f.Name)
		}
		return err
	})
	if err != nil || i != 3 {
		t.Errorf("Walk visited %d files, %v", i, err)
	}
}

func TestFS(t *testing.T) {
	c := open(t, cabtest.Cabinet{Folders: []cabtest.Folder{
		{Method: cab.MSZIP, Files: []cabtest.File{
			{Name: "update.mum", Data: []byte("<assembly/>")},
			{Name: `amd64_x\a.dll`, Data: prose(40_000)},
			{Name: `amd64_x\sub/b.dll`, Data: prose(100)},
			{Name: `..\evil`, Data: []byte("no")},
		}},
		{Method: cab.Stored, Files: []cabtest.File{{Name: "other", Data: prose(9)}}},
	}}.Bytes())
	tree := c.FS()
	if err := fstest.TestFS(tree, "update.mum", "amd64_x/a.dll", "amd64_x/sub/b.dll", "other"); err != nil {
		t.Error(err)
	}
	n := 0
	err := fs.WalkDir(tree, ".", func(_ string, d fs.DirEntry, err error) error {
		if !d.IsDir() {
			n++
		}
		return err
	})
	if err != nil || n != 4 {
		t.Errorf("the tree has %d files, %v; want 4", n, err)
	}
}

func TestPaths(t *testing.T) {
	const utf = 0x80
	tests := []struct {
		name string
		raw  string
		attr uint16
		want string
		why  string
	}{
		{name: "plain", raw: "update.mum", want: "update.mum"},
		{name: "backslashes", raw: `a\b/c.dll`, want: "a/b/c.dll"},
		{name: "dots_inside", raw: "microsoft-windows-u..salcrt~31bf.cat", want: "microsoft-windows-u..salcrt~31bf.cat"},
		{name: "ansi", raw: "caf\xe9 \x80.txt", want: "café €.txt"},
		{name: "utf8", raw: "café.txt", attr: utf, want: "café.txt"},
		{name: "utf8_broken", raw: "caf\xe9.txt", attr: utf, why: "characters that are none"},
		{name: "utf8_overlong_slash", raw: "..\xc0\xafx", attr: utf, why: "characters that are none"},
		{name: "climbs", raw: `..\..\windows\x.dll`, why: "leads out"},
		{name: "climbs_inside", raw: `a/../../x`, why: "leads out"},
		{name: "absolute", raw: `\windows\x`, why: "absolute"},
		{name: "unc", raw: `\\server\share`, why: "absolute"},
		{name: "drive", raw: `c:\x`, why: "colon"},
		{name: "stream", raw: `a.txt:hidden`, why: "colon"},
		{name: "device", raw: `a\NUL.txt`, why: "device"},
		{name: "device_port", raw: "com¹", attr: utf, why: "device"},
		{name: "no_device", raw: "com10.dll", want: "com10.dll"},
		{name: "dot_at_the_end", raw: "a.", why: "ends in a dot"},
		{name: "blank_at_the_end", raw: "a ", why: "ends in a dot or a blank"},
		{name: "double_slash", raw: `a\\b`, why: "empty part"},
		{name: "dot_part", raw: `a\.\b`, why: "empty part"},
		{name: "control", raw: "a\nb", why: "characters that are none"},
		{name: "right_to_left", raw: "a\u202efdp.exe", attr: utf, why: "hide others"},
		{name: "wildcard", raw: "a*b", why: "does not allow"},
		{name: "empty", raw: "", why: "empty"},
		{name: "deep", raw: strings.Repeat("a/", 40) + "b", why: "too deep"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := open(t, cabtest.Stored(cabtest.File{Name: tt.raw, Attr: tt.attr}))
			got, why := c.Files[0].Path()
			if got != tt.want || !strings.Contains(why, tt.why) || (got == "") == (why == "") {
				t.Errorf("Path of %q = %q, %q; want %q, %q", tt.raw, got, why, tt.want, tt.why)
			}
			if got != "" && !fs.ValidPath(got) {
				t.Errorf("%q is not a path for io/fs", got)
			}
		})
	}
}

func TestPathsThatMeet(t *testing.T) {
	c := open(t, cabtest.Stored(
		cabtest.File{Name: "a"}, cabtest.File{Name: "A"}, cabtest.File{Name: `a\b`},
		cabtest.File{Name: `d\e`}, cabtest.File{Name: "D"}, cabtest.File{Name: `D\f`}))
	want := []string{"a", "", "", "d/e", "", "D/f"}
	for i, f := range c.Files {
		if got, why := f.Path(); got != want[i] || (got == "") == (why == "") {
			t.Errorf("Path of %q = %q, %q; want %q", f.Name, got, why, want[i])
		}
	}
}

func TestHeader(t *testing.T) {
	reserve := le.AppendUint32(le.AppendUint32([]byte{0, 0, 0x10, 0}, 1234), 56)
	b := cabtest.Cabinet{Reserve: append(reserve, make([]byte, 8)...), Folders: []cabtest.Folder{
		{Method: cab.Stored, Files: []cabtest.File{{Name: "a", Data: []byte("b")}}},
	}}.Bytes()
	le.PutUint32(b[4:], 1)
	le.PutUint32(b[12:], 2)
	le.PutUint32(b[20:], 3)
	le.PutUint16(b[32:], 4)
	le.PutUint16(b[34:], 5)
	c := open(t, append(b, "signature"...))
	h := c.Header
	if s, ok := h.Signature(); !ok || s.Offset != 1234 || s.Size != 56 {
		t.Errorf("Signature() = %v, %v", s, ok)
	}
	got := []uint32{h.Reserved1, h.Reserved2, h.Reserved3, uint32(h.SetID), uint32(h.Index), h.Size, uint32(h.Length), uint32(c.Trailing)}
	if diff := cmp.Diff([]uint32{1, 2, 3, 4, 5, uint32(len(b)), 60, 9}, got); diff != "" {
		t.Errorf("header differs (-want +got):\n%s", diff)
	}
	c = open(t, cabtest.Cabinet{Reserve: make([]byte, 20)}.Bytes())
	if s, ok := c.Header.Signature(); ok {
		t.Errorf("Signature() of zeros = %v", s)
	}
}

func TestRefusals(t *testing.T) {
	one := cabtest.Stored(cabtest.File{Name: "a", Data: []byte("data")})
	const folder, file, data = 36, 44, 62
	tests := []struct {
		name string
		edit func(b []byte) []byte
		err  error
		why  string
	}{
		{"empty", func([]byte) []byte { return nil }, cab.ErrNotCabinet, ""},
		{"only_the_beginning", func(b []byte) []byte { return b[:20] }, cab.ErrDamaged, "cut short"},
		{"not_a_cabinet", func(b []byte) []byte { copy(b, "MZ"); return b }, cab.ErrNotCabinet, ""},
		{"cut_short", func(b []byte) []byte { return b[:len(b)-1] }, cab.ErrDamaged, "cut short: it states 74 bytes, the file has 73"},
		{"version", func(b []byte) []byte { b[25] = 2; return b }, cab.ErrDamaged, "version 2.3"},
		{"next", func(b []byte) []byte { b[30] = 2; return b }, cab.ErrSet, ""},
		{"continued", func(b []byte) []byte { le.PutUint16(b[file+8:], 0xfffe); return b }, cab.ErrSet, `"a"`},
		{"block_continued", func(b []byte) []byte { le.PutUint16(b[data+6:], 0); return b }, cab.ErrSet, "block 0"},
		{"no_such_folder", func(b []byte) []byte { le.PutUint16(b[file+8:], 1); return b }, cab.ErrDamaged, "folder 1 of 1"},
		{"method", func(b []byte) []byte { b[folder+6] = 4; return b }, cab.ErrDamaged, "method 4"},
		{"lzx_window_14", func(b []byte) []byte { b[folder+6], b[folder+7] = 3, 14; return b }, cab.ErrDamaged, "2^14"},
		{"lzx_window_31", func(b []byte) []byte { b[folder+6], b[folder+7] = 3, 31; return b }, cab.ErrDamaged, "2^31"},
		{"file_too_long", func(b []byte) []byte { le.PutUint32(b[file:], 0x7fffffff); return b }, cab.ErrDamaged, "ends at"},
		{"file_beyond", func(b []byte) []byte { le.PutUint32(b[file+4:], 1); return b }, cab.ErrDamaged, "ends at 5, its folder at 4"},
		{"folder_beyond", func(b []byte) []byte { le.PutUint32(b[folder:], 1<<31); return b }, cab.ErrDamaged, "lies outside"},
		{"block_beyond", func(b []byte) []byte { le.PutUint16(b[data+4:], 5); return b }, cab.ErrDamaged, "lies outside"},
		{"block_too_long", func(b []byte) []byte { le.PutUint16(b[data+6:], 0xffff); return b }, cab.ErrDamaged, "more than a block holds"},
		{"more_folders", func(b []byte) []byte { b[26] = 200; return b }, cab.ErrDamaged, ""},
		{"more_files", func(b []byte) []byte { b[28] = 2; return b }, cab.ErrDamaged, ""},
		{"files_before_folders", func(b []byte) []byte { b[16] = 36; return b }, cab.ErrDamaged, "inside the list of folders"},
		{"name_without_end", func(b []byte) []byte {
			b = append(b[:file+16], bytes.Repeat([]byte("x"), 300)...)
			le.PutUint32(b[8:], uint32(len(b)))
			le.PutUint16(b[folder+4:], 0)
			return b
		}, cab.ErrDamaged, "longer than 256"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := tt.edit(bytes.Clone(one))
			_, err := cab.Open(bytes.NewReader(b), int64(len(b)))
			if !errors.Is(err, tt.err) || !strings.Contains(err.Error(), tt.why) {
				t.Errorf("Open gave %v; want %v with %q", err, tt.err, tt.why)
			}
		})
	}
}

func TestOverlapIsRefused(t *testing.T) {
	b := cabtest.Stored(cabtest.File{Name: "a", Data: []byte("data")}, cabtest.File{Name: "b", Data: []byte("more")})
	le.PutUint32(b[44+18+4:], 3) // where b begins
	if _, err := cab.Open(bytes.NewReader(b), int64(len(b))); !errors.Is(err, cab.ErrDamaged) {
		t.Errorf("Open gave %v", err)
	}
	made := cabtest.Cabinet{Folders: []cabtest.Folder{{Method: cab.Stored, Files: []cabtest.File{{Name: "a", Data: prose(30_000)}}}}}
	for range 1000 {
		made.Folders = append(made.Folders, cabtest.Folder{Method: cab.Stored})
	}
	b = made.Bytes()
	for i := range 1000 { // all folders at one place
		copy(b[44+8*i:], b[36:44])
	}
	if _, err := cab.Open(bytes.NewReader(b), int64(len(b))); !errors.Is(err, cab.ErrDamaged) {
		t.Errorf("Open gave %v", err)
	}
}

// TestDamage flips bits in the packed data: checksums find every one, decoders without
// them must end with an error or with some data, in either case soon.
func TestDamage(t *testing.T) {
	for name, made := range cabinets() {
		if len(made.Bytes()) > 200_000 {
			continue // more of the same
		}
		t.Run(name, func(t *testing.T) {
			for _, checked := range []bool{true, false} {
				made.NoChecksums = !checked
				good := made.Bytes()
				want, err := walk(open(t, good))
				if err != nil {
					t.Fatal(err)
				}
				rnd := rand.New(rand.NewPCG(1, 2))
				for range 20 {
					b := bytes.Clone(good)
					b[len(b)/2+rnd.IntN(len(b)/2)] ^= 1 << rnd.IntN(8)
					c, err := cab.Open(bytes.NewReader(b), int64(len(b)))
					if err != nil {
						continue
					}
					got, err := walk(c)
					if checked && err == nil && !cmp.Equal(got, want) {
						t.Fatal("a flipped bit was not found")
					}
				}
			}
		})
	}
}

func TestQuantumIsRefused(t *testing.T) {
	c := open(t, cabtest.Cabinet{Folders: []cabtest.Folder{{Method: cab.Quantum, Files: []cabtest.File{{Name: "a", Data: []byte("b")}}}}}.Bytes())
	if _, err := walk(c); err == nil || !strings.Contains(err.Error(), "Quantum") {
		t.Errorf("Walk gave %v", err)
	}
}

// TestMemory reads what is far longer than the memory it may take.
func TestMemory(t *testing.T) {
	b := cabtest.Cabinet{Folders: []cabtest.Folder{{Method: cab.MSZIP, Files: []cabtest.File{{Name: "zeros", Data: make([]byte, 20<<20)}}}}}.Bytes()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var n int64
	err := open(t, b).Walk(func(_ *cab.File, r io.Reader) (err error) {
		n, err = io.Copy(io.Discard, r)
		return err
	})
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; err != nil || n != 20<<20 || got > 4<<20 {
		t.Errorf("%d bytes took %d bytes of memory, %v", n, got, err)
	}
}

func FuzzCabinet(f *testing.F) {
	// Short ones, or the fuzzer spends its time on making them shorter.
	files := []cabtest.File{{Name: "a", Data: prose(700)}, {Name: `b\c`, Data: prose(1500)}}
	for _, folder := range []cabtest.Folder{
		{Method: cab.Stored},
		{Method: cab.MSZIP},
		{Method: cab.LZX, Window: 15, E8: true, Kinds: []int{1}},
		{Method: cab.LZX, Window: 16, Kinds: []int{2}},
		{Method: cab.LZX, Window: 21, Kinds: []int{3}},
	} {
		folder.Files = files
		f.Add(cabtest.Cabinet{Folders: []cabtest.Folder{folder}, NoChecksums: true}.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<18 {
			t.Skip("longer than what tells anything")
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		first, unpacked := sum(b)
		runtime.ReadMemStats(&after)
		// Each folder brings its decoder: a window as large as its data, tables and buffers.
		const perByte, fixed = 200, 1 << 20
		folders := uint64(len(b)) / 8 * 200_000
		if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(perByte*len(b)+fixed)+folders; got > limit {
			t.Errorf("%d bytes made the reader allocate %d, more than %d", len(b), got, limit)
		}
		if unpacked > int64(len(b))*5000 {
			t.Errorf("%d bytes were unpacked to %d", len(b), unpacked)
		}
		if second, _ := sum(b); first != second {
			t.Error("the same bytes gave different contents")
		}
	})
}

// sum adds up what is in a cabinet.
func sum(b []byte) (sum uint32, unpacked int64) {
	c, err := cab.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return 0, 0
	}
	_ = c.Walk(func(_ *cab.File, r io.Reader) error {
		for buf := make([]byte, 4096); ; {
			n, err := r.Read(buf)
			unpacked += int64(n)
			for _, c := range buf[:n] {
				sum = sum*31 + uint32(c)
			}
			switch {
			case errors.Is(err, io.EOF):
				return nil
			case err != nil:
				return err
			}
		}
	})
	return sum, unpacked
}

func BenchmarkWalk(b *testing.B) {
	for _, name := range []string{"stored", "mszip", "lzx_21"} {
		b.Run(name, func(b *testing.B) {
			c := open(b, cabinets()[name].Bytes())
			b.SetBytes(c.Unpacked())
			b.ReportAllocs()
			for b.Loop() {
				err := c.Walk(func(_ *cab.File, r io.Reader) error {
					_, err := io.Copy(io.Discard, r)
					return err
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
