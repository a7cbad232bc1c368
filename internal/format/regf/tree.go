package regf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// maxDepth is how deep Windows nests keys:
	// https://learn.microsoft.com/windows/win32/sysinfo/registry-element-size-limits
	maxDepth = 512
	// maxListDepth is how deep lists of lists are followed. Windows writes one level.
	maxListDepth = 4

	keyHead   = 76 // a key's cell up to its name
	valueHead = 20
	// damaged marks an offset in Hive.values: offsets are multiples of 8.
	damaged = 1

	flagRoot       = 0x04
	flagNarrowKey  = 0x20
	flagPredefined = 0x40 // what would be its values is a handle
	flagNarrow     = 0x01 // of a value
	inline         = 1 << 31
	segment        = 16344 // data of one part of big data
)

// cell gives the contents of the allocated cell at off, or says what is wrong with it.
func (h *Hive) cell(off uint32) (b []byte, why string) {
	if off%8 != 0 || int64(off)+int64(h.head) > int64(len(h.bins)) {
		return nil, "lies outside the hive"
	}
	b = h.bins[off:]
	size := -int64(int32(binary.LittleEndian.Uint32(b))) //nolint:gosec // negative sizes mean allocated
	switch {
	case size <= 0:
		return nil, "is not in use"
	case size < int64(h.head) || size > int64(len(b)):
		return nil, "has an impossible size"
	}
	return b[h.head:size], ""
}

// record is cell for one that bears a signature and at least n bytes.
func (h *Hive) record(off uint32, signature string, n int) (b []byte, why string) {
	b, why = h.cell(off)
	switch {
	case why != "":
		return nil, why
	case len(b) < n || string(b[:2]) != signature:
		return nil, "is no " + signature
	}
	return b, ""
}

func file(off uint32) int { return baseSize + int(off) }

// checkBins looks at the headers of the bins. Nothing is left out because of them: a cell
// is found by its offset alone.
func (h *Hive) checkBins() {
	le := binary.LittleEndian
	for off, bad := 0, false; off+32 <= len(h.bins); {
		b := h.bins[off:]
		size := int(le.Uint32(b[8:]))
		if string(b[:4]) != "hbin" || int(le.Uint32(b[4:])) != off || size == 0 || size%pageSize != 0 || size > len(b) {
			if !bad {
				h.odd(baseSize+off, nil, "there should be the header of a bin")
			}
			bad = true
			off += pageSize
			continue
		}
		bad = false
		off += size
	}
}

// index finds the root and every key and value, breadth first, so that the subkeys of a
// key lie together.
func (h *Hive) index() error {
	h.seen = make([]uint64, len(h.bins)/8/64+1)
	root, why := h.findRoot()
	if why != "" {
		return errors.New("the root key " + why)
	}
	h.mark(root)
	h.keys = append(h.keys, Key{hive: h, cell: root})
	for i := 0; i < len(h.keys); i++ { // it grows
		k := h.keys[i]
		h.findValues(&k)
		k.firstKey = uint32(len(h.keys)) //nolint:gosec // fewer than bytes of the hive
		h.findKeys(&k, uint32(i))
		k.keys = uint32(len(h.keys)) - k.firstKey //nolint:gosec // as before
		h.keys[i] = k
	}
	return nil
}

// findRoot finds the root where the base block says, or else the first key that says it is
// one. It also finds out how long the headers of cells are: before NT 3.5 they had 4 bytes
// more. The version is not asked, since a damaged base block may give any.
func (h *Hive) findRoot() (root uint32, why string) {
	for _, h.head = range []uint32{8, 4} {
		if why = h.keyAt(h.root); why == "" {
			return h.root, ""
		}
	}
	for off := uint32(32); int64(off)+8 <= int64(len(h.bins)); {
		b, _ := h.record(off, "nk", keyHead)
		if b != nil && b[2]&flagRoot != 0 && h.keyAt(off) == "" {
			h.odd(36, nil, "the first block does not point to the root key, which is at %#x", file(off))
			return off, ""
		}
		off += 8
	}
	return 0, why
}

// keyAt says what is wrong with the key at off.
func (h *Hive) keyAt(off uint32) (why string) {
	b, why := h.record(off, "nk", keyHead)
	if why == "" && keyHead+int(binary.LittleEndian.Uint16(b[72:])) > len(b) {
		return "has a name longer than its cell"
	}
	return why
}

// mark reports whether the cell at off was not seen before.
func (h *Hive) mark(off uint32) bool {
	i, bit := off/8/64, uint64(1)<<(off/8%64)
	fresh := h.seen[i]&bit == 0
	h.seen[i] |= bit
	return fresh
}

// above reports whether the key at off is k or above it.
func (h *Hive) above(off uint32, k *Key) bool {
	for ; k.depth > 0; k = &h.keys[k.parent] {
		if k.cell == off {
			return true
		}
	}
	return k.cell == off
}

// findKeys appends the subkeys of k, which is key number parent. Keys may share lists and
// subkeys as long as there are not more of them than the hive has room for.
func (h *Hive) findKeys(k *Key, parent uint32) {
	le := binary.LittleEndian
	b, _ := h.cell(k.cell)
	count, list := le.Uint32(b[20:]), le.Uint32(b[28:])
	if count == 0 {
		return
	}
	if k.depth >= maxDepth {
		h.lost(file(k.cell), k, "keys are nested more than %d deep", maxDepth)
		return
	}
	before := len(h.keys)
	h.findList(k, parent, list, 0)
	if found := len(h.keys) - before; int64(found) != int64(count) && !k.lossy {
		h.odd(file(k.cell), k, "%d subkeys are announced, and %d are there", count, found)
	}
}

func (h *Hive) findList(k *Key, parent, list uint32, depth int) {
	le := binary.LittleEndian
	b, why := h.cell(list)
	switch {
	case why != "":
	case len(b) < 4:
		why = "is too short"
	case depth > maxListDepth:
		why = "is nested too deep"
	}
	step := 4
	if why == "" {
		switch string(b[:2]) {
		case "lf", "lh":
			step = 8
		case "li", "ri":
		default:
			why = fmt.Sprintf("has the unknown kind %q", b[:2])
		}
	}
	if why != "" {
		h.lost(file(list), k, "a list of subkeys %s", why)
		return
	}
	n := int(le.Uint16(b[2:]))
	if fits := (len(b) - 4) / step; n > fits {
		h.lost(file(list), k, "a list of %d subkeys has room for %d", n, fits)
		n = fits
	}
	if h.entries += n; h.entries > len(h.bins)/4 {
		h.lost(file(list), k, "there are more entries in lists than the hive has room for")
		return
	}
	for e := b[4:]; n > 0; e, n = e[step:], n-1 {
		off := le.Uint32(e)
		if string(b[:2]) == "ri" {
			h.findList(k, parent, off, depth+1)
			continue
		}
		why := h.keyAt(off)
		switch {
		case why != "":
		case h.mark(off):
		case h.above(off, k):
			why = "is above the key"
		case len(h.keys) >= len(h.bins)/(4+keyHead):
			why = "was listed before, and so often that there are more keys than the hive has room for"
		default:
			h.odd(file(off), k, "a subkey was listed before")
		}
		if why != "" {
			h.lost(file(off), k, "a subkey %s", why)
			continue
		}
		h.keys = append(h.keys, Key{hive: h, cell: off, parent: parent, depth: k.depth + 1})
	}
}

// findValues appends the values of k. Lists may share cells as long as there are not more
// values than the hive has room for.
func (h *Hive) findValues(k *Key) {
	le := binary.LittleEndian
	k.firstValue = uint32(len(h.values)) //nolint:gosec // fewer than bytes of the hive
	b, _ := h.cell(k.cell)
	count := int64(le.Uint32(b[36:]))
	if count == 0 || le.Uint16(b[2:])&flagPredefined != 0 {
		return
	}
	at := le.Uint32(b[40:])
	list, why := h.cell(at)
	if why != "" {
		h.lost(file(at), k, "the list of values %s", why)
		return
	}
	if fits := int64(len(list) / 4); count > fits {
		h.lost(file(at), k, "the list of %d values has room for %d", count, fits)
		count = fits
	}
	if h.entries += int(count); h.entries > len(h.bins)/4 {
		h.lost(file(at), k, "there are more entries in lists than the hive has room for")
		return
	}
	for ; count > 0; list, count = list[4:], count-1 {
		off := le.Uint32(list)
		v, why := h.record(off, "vk", valueHead)
		switch {
		case why != "":
		case valueHead+int(le.Uint16(v[2:])) > len(v):
			why = "has a name longer than its cell"
		}
		if why != "" {
			h.lost(file(off), k, "a value %s", why)
			continue
		}
		if why := h.checkData(v); why != "" {
			h.lost(file(off), k, "the data of value %.60q %s", valueName(v), why)
			off |= damaged
		}
		h.values = append(h.values, off)
		k.values++
	}
}

// checkData says what is wrong with the data of the value in cell v.
func (h *Hive) checkData(v []byte) (why string) {
	le := binary.LittleEndian
	size, at := le.Uint32(v[4:]), le.Uint32(v[8:])
	switch n := size &^ inline; {
	case size&inline != 0 && n > 4:
		return "has an impossible size"
	case size&inline != 0 || n == 0:
		return ""
	case int64(n) > int64(len(h.bins)-h.claims):
		return "would make more than the hive holds"
	default:
		h.claims += int(n)
	}
	b, why := h.cell(at)
	switch {
	case why != "":
		return why
	case int(size) <= len(b):
		return ""
	}
	return h.segments(b, int(size), func([]byte) {})
}

// segments visits the parts of big data, whose record is b, or says what is wrong with them.
func (h *Hive) segments(b []byte, size int, visit func(part []byte)) (why string) {
	le := binary.LittleEndian
	if size <= segment || len(b) < 8 || !bytes.HasPrefix(b, []byte("db")) {
		return "is longer than its cell"
	}
	n := int(le.Uint16(b[2:]))
	list, why := h.cell(le.Uint32(b[4:]))
	switch {
	case why != "":
		return why
	case len(list) < 4*n || n != (size+segment-1)/segment:
		return "has a list of parts that does not fit"
	}
	for ; n > 0; list, n = list[4:], n-1 {
		part, why := h.cell(le.Uint32(list))
		want := min(size, segment)
		switch {
		case why != "":
			return why
		case len(part) < want:
			return "has a part that is too short"
		}
		visit(part[:want])
		size -= want
	}
	return ""
}
