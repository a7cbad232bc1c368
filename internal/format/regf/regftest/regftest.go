// Package regftest writes registry hives and their transaction logs, readable and plain,
// for tests.
package regftest

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/oldguard/oldguard/internal/winreg"
)

// Options of a hive. The zero value is a hive as Windows Vista and later write it.
type Options struct {
	FileName string // as which Windows had it
	Minor    uint32 // minor version of the format; 0 is 5. Up to 1 cells have longer headers
	List     string // kind of the lists of subkeys: lh, lf, li, or ri for lists of lists; empty is lh
	Wide     bool   // names in UTF-16, although they need less
	Root     string // name of the root key; empty is ROOT
	Sequence uint32 // 0 is 1
	Written  time.Time
}

const (
	baseSize = 4096
	segment  = 16344
	none     = 0xffffffff
	epoch    = 116444736000000000
)

var le = binary.LittleEndian

// Hive writes root and all below it as a hive.
func Hive(root *winreg.Memory, o Options) []byte {
	w := &writer{Options: o, head: 4}
	if w.Minor == 0 {
		w.Minor = 5
	}
	if w.Minor <= 1 {
		w.head = 8
	}
	if w.Root == "" {
		w.Root = "ROOT"
	}
	w.Sequence = max(w.Sequence, 1)
	w.bins = make([]byte, 32)
	w.security = w.cell(slices.Concat([]byte("sk\x00\x00"), make([]byte, 12), le.AppendUint32(nil, 20), make([]byte, 20)))
	top := w.key(root, w.Root, none)
	b := w.bins[top:]
	b[w.head+2] |= 0x0c // root, not to be deleted

	free := (4096 - len(w.bins)%4096) % 4096
	if free > 0 && free < 8 {
		free += 4096
	}
	if free > 0 {
		at := len(w.bins)
		w.bins = append(w.bins, make([]byte, free)...)
		le.PutUint32(w.bins[at:], uint32(free))
	}
	copy(w.bins, "hbin")
	le.PutUint32(w.bins[8:], uint32(len(w.bins))) //nolint:gosec // test hives are small
	le.PutUint64(w.bins[20:], ticks(w.Written))

	base := make([]byte, baseSize)
	copy(base, "regf")
	le.PutUint32(base[4:], w.Sequence)
	le.PutUint32(base[8:], w.Sequence)
	le.PutUint64(base[12:], ticks(w.Written))
	le.PutUint32(base[20:], 1)
	le.PutUint32(base[24:], w.Minor)
	le.PutUint32(base[32:], 1)
	le.PutUint32(base[36:], top)
	le.PutUint32(base[40:], uint32(len(w.bins))) //nolint:gosec // test hives are small
	le.PutUint32(base[44:], 1)
	name := wide(w.FileName)
	copy(base[48:110], name[max(0, len(name)-62):])
	b = slices.Concat(base, w.bins)
	Sum(b)
	return b
}

// Sum writes the checksum of a base block, after a test has changed it.
func Sum(b []byte) {
	var sum uint32
	for i := 0; i < 508; i += 4 {
		sum ^= le.Uint32(b[i:])
	}
	switch sum {
	case 0:
		sum = 1
	case none:
		sum--
	}
	le.PutUint32(b[508:], sum)
}

// Torn gives a copy of a hive as it is when Windows had begun to write changes to it.
func Torn(hive []byte) []byte {
	b := slices.Clone(hive)
	le.PutUint32(b[4:], le.Uint32(b[8:])+1)
	Sum(b)
	return b
}

// OldLog writes the log that turns the hive before into after, as Windows Vista to 8 do.
func OldLog(before, after []byte) []byte {
	size := len(after) - baseSize
	log := slices.Clone(after[:512])
	copy(log[12:20], before[12:20])
	le.PutUint32(log[28:], 1)
	Sum(log)
	bitmap := make([]byte, size/512/8)
	var pages []byte
	for _, at := range changed(before, after) {
		bitmap[at/4096] = 0xff
		pages = append(pages, after[baseSize+at:][:4096]...)
	}
	log = append(append(log, "DIRT"...), bitmap...)
	return append(pad(log), pages...)
}

// NewLog writes the log that turns the first hive into the second, and so on, an entry for
// each step, as Windows 8.1 and later do. The first entry has the number sequence.
func NewLog(sequence uint32, hives ...[]byte) []byte {
	log := slices.Clone(hives[0][:512])
	le.PutUint32(log[4:], sequence)
	le.PutUint32(log[8:], sequence)
	le.PutUint32(log[28:], 6)
	Sum(log)
	for i, after := range hives[1:] {
		e := append([]byte("HvLE"), make([]byte, 36)...)
		at := changed(hives[i], after)
		for _, page := range at {
			e = le.AppendUint32(le.AppendUint32(e, uint32(page)), 4096) //nolint:gosec // test hives are small
		}
		for _, page := range at {
			e = append(e, after[baseSize+page:][:4096]...)
		}
		e = pad(e)
		le.PutUint32(e[4:], uint32(len(e))) //nolint:gosec // test hives are small
		le.PutUint32(e[12:], sequence+uint32(i))
		le.PutUint32(e[16:], uint32(len(after)-baseSize)) //nolint:gosec // test hives are small
		le.PutUint32(e[20:], uint32(len(at)))             //nolint:gosec // test hives are small
		le.PutUint64(e[24:], marvin(e[40:]))
		le.PutUint64(e[32:], marvin(e[:32]))
		log = append(log, e...)
	}
	return log
}

// changed gives the pages in which hives differ.
func changed(before, after []byte) (at []int) {
	for i := baseSize; i < len(after); i += 4096 {
		if i+4096 > len(before) || string(before[i:i+4096]) != string(after[i:i+4096]) {
			at = append(at, i-baseSize)
		}
	}
	return at
}

func pad(b []byte) []byte { return append(b, make([]byte, (512-len(b)%512)%512)...) }

type writer struct {
	Options
	bins     []byte
	head     int
	security uint32
}

// cell writes an allocated cell and gives its offset.
func (w *writer) cell(data []byte) uint32 {
	at := len(w.bins)
	n := (w.head + len(data) + 7) / 8 * 8
	w.bins = append(w.bins, make([]byte, n)...)
	le.PutUint32(w.bins[at:], uint32(-n)) //nolint:gosec // negative means allocated
	copy(w.bins[at+w.head:], data)
	return uint32(at) //nolint:gosec // test hives are small
}

func (w *writer) key(k *winreg.Memory, name string, parent uint32) uint32 {
	stored, narrow := w.name(name)
	b := make([]byte, 76+len(stored))
	copy(b, "nk")
	if narrow {
		b[2] = 0x20
	}
	le.PutUint64(b[4:], ticks(k.LastWrite()))
	le.PutUint32(b[16:], parent)
	for _, at := range []int{28, 32, 40, 48} {
		le.PutUint32(b[at:], none)
	}
	le.PutUint32(b[44:], w.security)
	le.PutUint16(b[72:], uint16(len(stored))) //nolint:gosec // names are short
	copy(b[76:], stored)
	at := w.cell(b)

	values, _ := k.Values() // a test's key shows what it has
	var list []byte
	for _, v := range values {
		list = le.AppendUint32(list, w.value(v))
	}
	if len(values) > 0 {
		le.PutUint32(w.bins[at:][w.head+36:], uint32(len(values))) //nolint:gosec // few
		valuesAt := w.cell(list)
		le.PutUint32(w.bins[at:][w.head+40:], valuesAt)
	}
	keys := slices.Clone(k.Children())
	slices.SortFunc(keys, func(a, b *winreg.Memory) int {
		return strings.Compare(strings.ToUpper(a.Name()), strings.ToUpper(b.Name()))
	})
	var names []string
	var offsets []uint32
	for _, c := range keys {
		names = append(names, c.Name())
		offsets = append(offsets, w.key(c, c.Name(), at))
	}
	if len(keys) > 0 {
		le.PutUint32(w.bins[at:][w.head+20:], uint32(len(keys))) //nolint:gosec // few
		keysAt := w.list(names, offsets)
		le.PutUint32(w.bins[at:][w.head+28:], keysAt)
	}
	return at
}

func (w *writer) list(names []string, offsets []uint32) uint32 {
	kind := w.List
	if kind == "" {
		kind = "lh"
	}
	if kind == "ri" { // each list of the second level holds two
		var parts []uint32
		for len(offsets) > 0 {
			n := min(2, len(offsets))
			parts = append(parts, w.leaf("lh", names[:n], offsets[:n]))
			names, offsets = names[n:], offsets[n:]
		}
		offsets = parts
	}
	return w.leaf(kind, names, offsets)
}

func (w *writer) leaf(kind string, names []string, offsets []uint32) uint32 {
	b := le.AppendUint16([]byte(kind), uint16(len(offsets))) //nolint:gosec // few
	for i, off := range offsets {
		b = le.AppendUint32(b, off)
		switch kind {
		case "lf":
			hint := [4]byte{}
			copy(hint[:], names[i])
			b = append(b, hint[:]...)
		case "lh":
			var hash uint32
			for _, u := range utf16.Encode([]rune(strings.ToUpper(names[i]))) {
				hash = 37*hash + uint32(u)
			}
			b = le.AppendUint32(b, hash)
		}
	}
	return w.cell(b)
}

func (w *writer) value(v winreg.Value) uint32 {
	stored, narrow := w.name(v.Name)
	b := make([]byte, 20+len(stored))
	copy(b, "vk")
	le.PutUint16(b[2:], uint16(len(stored))) //nolint:gosec // names are short
	le.PutUint32(b[4:], uint32(len(v.Data))) //nolint:gosec // test hives are small
	le.PutUint32(b[12:], uint32(v.Type))
	if narrow {
		b[16] = 1
	}
	copy(b[20:], stored)
	switch n := len(v.Data); {
	case n <= 4:
		b[7] |= 0x80
		copy(b[8:12], v.Data)
	case n > segment && w.Minor >= 4:
		var list []byte
		for part := range slices.Chunk(v.Data, segment) {
			list = le.AppendUint32(list, w.cell(part))
		}
		record := le.AppendUint16([]byte("db"), uint16(len(list)/4)) //nolint:gosec // few
		le.PutUint32(b[8:], w.cell(le.AppendUint32(record, w.cell(list))))
	default:
		le.PutUint32(b[8:], w.cell(v.Data))
	}
	return w.cell(b)
}

// name gives a name as it is stored: a character in a byte if all fit.
func (w *writer) name(s string) (b []byte, narrow bool) {
	for _, r := range s {
		if r > 0xff || w.Wide {
			return wide(s), false
		}
		b = append(b, byte(r)) //nolint:gosec // at most 0xff
	}
	return b, true
}

func wide(s string) (b []byte) {
	for _, u := range utf16.Encode([]rune(s)) {
		b = le.AppendUint16(b, u)
	}
	return b
}

func ticks(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(t.Unix()*1e7 + int64(t.Nanosecond())/100 + epoch) //nolint:gosec // after 1601
}

// marvin is Marvin32 with the seed of registry logs; see package regf.
func marvin(b []byte) uint64 {
	lo, hi := uint32(0x7A4E55C5), uint32(0x82EF4D88)
	b = append(slices.Clone(b), 0x80, 0, 0, 0)[:len(b)/4*4+4]
	for b = append(b, 0, 0, 0, 0); len(b) > 0; b = b[4:] {
		lo += le.Uint32(b)
		hi ^= lo
		lo = bits.RotateLeft32(lo, 20) + hi
		hi = bits.RotateLeft32(hi, 9) ^ lo
		lo = bits.RotateLeft32(lo, 27) + hi
		hi = bits.RotateLeft32(hi, 19)
	}
	return uint64(hi)<<32 | uint64(lo)
}
