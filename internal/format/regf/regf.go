// Package regf reads registry hives, the files that hold the Windows registry, from NT 3.1
// to today, with the transaction logs that belong to them. It reads bytes into keys and
// values and knows nothing of what they mean.
//
// Open checks a hive as a whole. What is damaged is left out and listed as an anomaly, and
// what is left is a tree, with no more keys, values and data than the hive has room for,
// even where several share a cell. So whoever walks it ends in time in proportion to the file, whatever
// the file says. Where something was left out, keys say so instead of proving an absence.
//
// A hive is held in memory: Open allocates at most 8 bytes for each byte of the hive and
// its logs, one of them for the hive itself, and half a megabyte.
//
// The format is not documented by its maker. Facts are from M. Suhanov's specification,
// https://github.com/msuhanov/regf (read 2026-11), and from hives.
package regf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf16"
)

// ErrNotHive means that the file is no registry hive at all.
var ErrNotHive = errors.New("not a registry hive")

// ErrLog means that the file is the transaction log of a hive, not a hive.
var ErrLog = errors.New("a transaction log of a registry hive, not a hive")

const (
	baseSize   = 4096 // the base block; offsets in a hive count from behind it
	sectorSize = 512
	pageSize   = 4096
	// maxHive bounds what is read into memory. Windows limits all hives together to 2 GB.
	maxHive = 2 << 30
	// maxAnomalies bounds what is kept; the others are counted.
	maxAnomalies = 256
)

// State says what became of changes that Windows had not yet written into the hive.
type State uint8

// The states. Of a Dirty hive nothing is proven to be absent, and values may be older or
// newer than each other.
const (
	Dirty     State = iota // it was being written, and no log completes it
	Clean                  // nothing was outstanding
	Recovered              // the logs completed it
)

// String names the state.
func (s State) String() string {
	switch s {
	case Clean:
		return "clean"
	case Recovered:
		return "recovered"
	case Dirty:
	}
	return "dirty"
}

// Anomaly is something in a hive or log that Windows would not have written, or damage
// because of which something was left out.
type Anomaly struct {
	Log    int    // in which of the logs, in the order given, from 1; 0 is the hive itself
	Offset int64  // in the file
	Key    string // path of the key concerned, without the root; empty if there is none
	What   string
	Lost   bool // something was left out
}

// Hive is a registry hive in memory. It is safe for concurrent use.
type Hive struct {
	base
	bins  []byte // what follows the base block, with the logs applied
	head  uint32 // size of a cell's header: 4, or 8 before NT 3.5
	state State

	keys   []Key    // a key's subkeys lie together; the first is the root
	values []uint32 // offsets of value cells, those of one key together; see lost
	// While Open runs: the cells that are keys, a bit for each; the entries in lists; the
	// bytes of data that values claim.
	seen            []uint64
	entries, claims int

	anomalies   []Anomaly
	count, lose int // of all, and of those that are Lost
}

// base is the base block of a hive or log.
type base struct {
	primary, secondary uint32
	written            uint64
	minor              uint32
	kind               uint32
	root, size         uint32
	cluster            uint32
	valid              bool // the checksum is right
	name               string
}

// The kinds of file. Logs up to Windows 2000 may say 2.
const (
	kindHive   = 0
	kindOldLog = 1
	kindOldest = 2
	kindNewLog = 6
)

// Sniff says what a file that begins with head is: nil for a hive, ErrLog, or ErrNotHive.
// It needs the first 32 bytes.
func Sniff(head []byte) error {
	if len(head) < 32 || !bytes.HasPrefix(head, []byte("regf")) {
		return ErrNotHive
	}
	switch binary.LittleEndian.Uint32(head[28:]) {
	case kindOldLog, kindOldest, kindNewLog:
		return ErrLog
	}
	return nil
}

// Open reads the hive in r, which is size bytes long, and applies those logs that belong to
// it and complete it; their order does not matter, and nil stands for one that is missing.
// It gives ErrNotHive, ErrLog, an error of r, or an error that says why no key can be read.
// It keeps neither r nor the logs.
func Open(r io.ReaderAt, size int64, logs ...*io.SectionReader) (*Hive, error) {
	var head [sectorSize]byte
	switch n, err := r.ReadAt(head[:min(size, sectorSize)], 0); {
	case err != nil && !errors.Is(err, io.EOF):
		return nil, err
	case Sniff(head[:n]) != nil:
		return nil, Sniff(head[:n])
	case size <= baseSize:
		return nil, errors.New("the hive ends before its first key")
	case size > baseSize+maxHive:
		return nil, fmt.Errorf("a hive of more than %d MB", maxHive>>20)
	}
	h := &Hive{base: parseBase(head[:]), bins: make([]byte, size-baseSize), head: 4}
	n, err := io.ReadFull(io.NewSectionReader(r, baseSize, size-baseSize), h.bins)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	h.bins = h.bins[:n]
	if !h.valid {
		h.odd(508, nil, "the checksum of the first block is wrong")
	}
	switch {
	case h.valid && h.primary == h.secondary:
		h.state = Clean
	default:
		h.state = h.recover(logs)
	}
	switch {
	case !h.valid:
	case int64(h.size) > int64(len(h.bins)):
		h.lost(baseSize+len(h.bins), nil, "the file ends %d bytes early", int(h.size)-len(h.bins))
	default:
		h.bins = h.bins[:h.size] // what lies behind is left over
	}
	h.checkBins()
	if err := h.index(); err != nil {
		return nil, err
	}
	h.seen = nil
	return h, nil
}

func parseBase(b []byte) base {
	le := binary.LittleEndian
	var sum uint32
	for i := 0; i < 508; i += 4 {
		sum ^= le.Uint32(b[i:])
	}
	switch sum { // 0 and -1 are never written
	case 0:
		sum = 1
	case 0xffffffff:
		sum = 0xfffffffe
	}
	return base{
		primary: le.Uint32(b[4:]), secondary: le.Uint32(b[8:]),
		written: le.Uint64(b[12:]),
		minor:   le.Uint32(b[24:]), kind: le.Uint32(b[28:]),
		root: le.Uint32(b[36:]), size: le.Uint32(b[40:]),
		cluster: le.Uint32(b[44:]),
		valid:   sum == le.Uint32(b[508:]),
		name:    strings.TrimRight(wide(b[48:112]), "\x00"),
	}
}

// Root is the hive's first key.
func (h *Hive) Root() *Key { return &h.keys[0] }

// State says whether changes were outstanding, and what became of them.
func (h *Hive) State() State { return h.state }

// Minor is the format's minor version: 1.3 is of NT 4 and later, 1.5 of XP and later.
func (h *Hive) Minor() int { return int(h.minor) }

// FileName is the end of the path under which Windows had the hive, at most 31 characters;
// empty if it is not recorded.
func (h *Hive) FileName() string { return h.name }

// Written is when Windows last wrote the hive, zero if it is not recorded.
func (h *Hive) Written() time.Time { return fileTime(h.written) }

// Anomalies gives what is wrong with the hive and the logs given with it, the first of
// them, and how many there are in all.
func (h *Hive) Anomalies() (first []Anomaly, count int) { return h.anomalies, h.count }

// Lost is the number of anomalies because of which something was left out.
func (h *Hive) Lost() int { return h.lose }

// odd records an anomaly at an offset of the file, lost one because of which something of
// key k is left out. k is nil where no key is concerned.
func (h *Hive) odd(at int, k *Key, format string, args ...any) {
	h.note(Anomaly{Offset: int64(at)}, k, format, args)
}

func (h *Hive) lost(at int, k *Key, format string, args ...any) {
	h.lose++
	if k != nil {
		k.lossy = true
	}
	h.note(Anomaly{Offset: int64(at), Lost: true}, k, format, args)
}

// oddLog is odd for a place in a log.
func (h *Hive) oddLog(log, at int, format string, args ...any) {
	h.note(Anomaly{Log: log, Offset: int64(at)}, nil, format, args)
}

func (h *Hive) note(a Anomaly, k *Key, format string, args []any) {
	if h.count++; len(h.anomalies) >= maxAnomalies {
		return
	}
	a.What = fmt.Sprintf(format, args...)
	if k != nil {
		a.Key = k.Path()
	}
	h.anomalies = append(h.anomalies, a)
}

// fileTimeEpoch is the number of 100 ns steps from 1601, where a FILETIME begins, to 1970.
const fileTimeEpoch = 116444736000000000

func fileTime(n uint64) time.Time {
	if n == 0 || n > 1<<62 {
		return time.Time{}
	}
	steps := int64(n) - fileTimeEpoch
	return time.Unix(steps/1e7, steps%1e7*100).UTC()
}

// wide decodes UTF-16.
func wide(b []byte) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}

// narrow decodes Latin-1, as which Windows stores a name that needs no more: "compressed".
func narrow(b []byte) string {
	for _, c := range b {
		if c >= 0x80 {
			runes := make([]rune, len(b))
			for i, c := range b {
				runes[i] = rune(c)
			}
			return string(runes)
		}
	}
	return string(b)
}
