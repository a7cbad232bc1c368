package regf

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"math/bits"
	"slices"
)

// entry is one step of a new log: pages to be written over the hive.
type entry struct {
	seq, flags, size, pages uint32
	body                    []byte // the references and the pages
	log, at                 int
}

// recover applies logs to a hive that was being written, and tells whether that completed
// it: a log that does not fit it is none, and a damaged one is not applied, or, of the new
// kind, only up to the damage, as Windows does. A log that is missing may go on where one
// of the new kind ends; each of the old kind is whole.
func (h *Hive) recover(logs []*io.SectionReader) State {
	var old, young []openLog
	growth := int64(len(h.bins))
	for i, r := range logs {
		if r == nil {
			continue
		}
		l, ok := h.openLog(i+1, r)
		if !ok {
			continue
		}
		growth += int64(len(l.data))
		if l.kind == kindNewLog {
			young = append(young, l)
		} else {
			old = append(old, l)
		}
	}
	growth = min(growth, maxHive) // no page lies further out than all logs hold pages
	switch {
	case h.recoverNew(young, int(growth)):
		if slices.Contains(logs, nil) {
			return Dirty
		}
		return Recovered
	case slices.ContainsFunc(old, func(l openLog) bool { return h.recoverOld(l, int(growth)) }):
		return Recovered
	}
	return Dirty
}

type openLog struct {
	base
	number int // in the order given, from 1
	data   []byte
}

// openLog reads a log and its base block. An empty one is usual: Windows makes two or three.
func (h *Hive) openLog(number int, r *io.SectionReader) (l openLog, ok bool) {
	if r.Size() < 2*sectorSize {
		return l, false
	}
	if r.Size() > maxHive {
		h.oddLog(number, 0, "it is larger than %d MB", maxHive>>20)
		return l, false
	}
	l = openLog{number: number, data: make([]byte, r.Size())}
	if _, err := r.ReadAt(l.data, 0); err != nil && !errors.Is(err, io.EOF) {
		h.oddLog(number, 0, "%v", err)
		return l, false
	}
	if !errors.Is(Sniff(l.data), ErrLog) {
		if len(bytes.Trim(l.data[:sectorSize], "\x00")) > 0 {
			h.oddLog(number, 0, "it is no transaction log")
		}
		return l, false
	}
	l.base = parseBase(l.data)
	switch {
	case !l.valid:
		h.oddLog(number, 508, "the checksum of its first block is wrong; it was not applied")
	case l.primary != l.secondary:
		h.oddLog(number, 4, "it was itself being written; it was not applied")
	default:
		return l, true
	}
	return l, false
}

// recoverOld applies a log as Windows wrote it up to 8: a map of pages, and the pages. It
// belongs to the hive if it has its time; of a hive whose base block is damaged the first
// bin has the time too, at 20.
func (h *Hive) recoverOld(l openLog, growth int) bool {
	again := len(h.bins) > 28 && l.written == binary.LittleEndian.Uint64(h.bins[20:])
	if l.written != h.written && (h.valid || !again) {
		h.oddLog(l.number, 12, "it is of another time than the hive; it was not applied")
		return false
	}
	start := sectorSize * int(min(max(l.cluster, 1), 8))
	bitmap := int(l.size / sectorSize / 8)
	if len(l.data) < start+4+bitmap || !bytes.HasPrefix(l.data[start:], []byte("DIRT")) || int(l.size) > growth {
		h.oddLog(l.number, start, "it has no list of pages; it was not applied")
		return false
	}
	dirty := l.data[start+4 : start+4+bitmap]
	pages := l.data[min(roundUp(start+4+bitmap, start), len(l.data)):]
	n := 0
	for _, b := range dirty {
		n += bits.OnesCount8(b)
	}
	if n == 0 || n*sectorSize > len(pages) {
		h.oddLog(l.number, start, "it announces %d sectors and ends before the last; it was not applied", n)
		return false
	}
	h.base = l.base
	h.grow(int(l.size))
	for i := range bitmap * 8 {
		if dirty[i/8]&(1<<(i%8)) != 0 {
			copy(h.bins[i*sectorSize:], pages[:sectorSize])
			pages = pages[sectorSize:]
		}
	}
	return true
}

// recoverNew applies logs as Windows writes them from 8.1 on: entries with numbers, in one
// log or two. The first has at least the hive's number; where a number is missing it ends.
func (h *Hive) recoverNew(logs []openLog, growth int) bool {
	if len(logs) == 0 {
		return false
	}
	slices.SortStableFunc(logs, func(a, b openLog) int { return cmp.Compare(a.primary, b.primary) })
	from := h.secondary
	if !h.valid {
		h.base = logs[0].base
		from = h.secondary
	}
	var entries []entry
	for _, l := range logs {
		entries = h.readEntries(l, entries)
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return cmp.Compare(a.seq, b.seq) })
	done := false
	for _, e := range entries {
		switch {
		case e.seq < from:
			continue // written into the hive already
		case done && e.seq > from:
			h.oddLog(e.log, e.at, "it goes on at number %d, and %d is missing; the rest was not applied", e.seq, from)
			return true
		case !h.apply(e, growth):
			h.oddLog(e.log, e.at, "entry %d names pages that are not there; from it on nothing was applied", e.seq)
			return done
		}
		from, done = e.seq+1, true
	}
	if !done {
		h.oddLog(logs[0].number, 4, "it does not go on where the hive ends, at number %d", from)
	}
	return done
}

// The layout of an entry: https://github.com/msuhanov/regf, "Log entries".
const entryHead = 40

// readEntries appends the entries of a log up to the first that is none, or damaged.
func (h *Hive) readEntries(l openLog, to []entry) []entry {
	le := binary.LittleEndian
	start := sectorSize * int(min(max(l.cluster, 1), 8))
	for at, next := start, l.primary; at+entryHead <= len(l.data); next++ {
		b := l.data[at:]
		if !bytes.HasPrefix(b, []byte("HvLE")) {
			break
		}
		e := entry{flags: le.Uint32(b[8:]), seq: le.Uint32(b[12:]), size: le.Uint32(b[16:]), pages: le.Uint32(b[20:]), log: l.number, at: at}
		if e.seq != next && at != start {
			break // left over from an earlier use of the file
		}
		next = e.seq
		n := int(le.Uint32(b[4:]))
		if n < entryHead || n%sectorSize != 0 || n > len(b) || e.size%pageSize != 0 ||
			marvin(b[:32]) != le.Uint64(b[32:]) || marvin(b[entryHead:n]) != le.Uint64(b[24:]) {
			h.oddLog(l.number, at, "entry %d has a wrong checksum or size; from it on nothing was applied", e.seq)
			break
		}
		e.body = b[entryHead:n]
		to = append(to, e)
		at += n
	}
	return to
}

// apply writes the pages of an entry, all or none.
func (h *Hive) apply(e entry, growth int) bool {
	le := binary.LittleEndian
	if int64(e.pages)*8 > int64(len(e.body)) || int64(e.size) > int64(growth) {
		return false
	}
	refs, pages := e.body[:e.pages*8], e.body[e.pages*8:]
	total := 0
	for r := refs; len(r) > 0; r = r[8:] {
		at, n := int64(le.Uint32(r)), int64(le.Uint32(r[4:]))
		if at+n > int64(e.size) || int64(total)+n > int64(len(pages)) {
			return false
		}
		total += int(n)
	}
	h.grow(int(e.size))
	for r := refs; len(r) > 0; r = r[8:] {
		n := copy(h.bins[le.Uint32(r):], pages[:le.Uint32(r[4:])])
		pages = pages[n:]
	}
	h.size, h.primary, h.secondary = e.size, e.seq, e.seq
	return true
}

func (h *Hive) grow(n int) {
	if n > len(h.bins) {
		h.bins = append(h.bins, make([]byte, n-len(h.bins))...)
	}
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }

// marvin is the checksum of log entries, Marvin32 with the seed 82EF4D887A4E55C5.
func marvin(b []byte) uint64 {
	lo, hi := uint32(0x7A4E55C5), uint32(0x82EF4D88)
	mix := func(v uint32) {
		lo += v
		hi ^= lo
		lo = bits.RotateLeft32(lo, 20) + hi
		hi = bits.RotateLeft32(hi, 9) ^ lo
		lo = bits.RotateLeft32(lo, 27) + hi
		hi = bits.RotateLeft32(hi, 19)
	}
	for ; len(b) >= 4; b = b[4:] {
		mix(binary.LittleEndian.Uint32(b))
	}
	last := uint32(0x80)
	for _, c := range slices.Backward(b) {
		last = last<<8 | uint32(c)
	}
	mix(last)
	mix(0)
	return uint64(hi)<<32 | uint64(lo)
}
