// Package msi reads the compound file (OLE storage) that a Windows Installer package or patch is, as
// far as its signature needs: the tree of streams, the two streams of the signature, and the
// digest that Authenticode takes of the rest. The database inside is not read.
//
// Layout: [MS-CFB]. Sectors that no stream uses are covered by no signature; what lies there is
// given as an anomaly, for programs have been hidden behind signed packages.
package msi

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"slices"
	"unicode/utf16"
)

const (
	maxSize      = 4 << 30 // what 32-bit installers could open
	maxEntries   = 1 << 16 // of the directory
	maxDepth     = 32      // of storages
	maxSignature = 16 << 20
	miniSector   = 64
	miniCutoff   = 4096 // streams below lie in the mini stream

	freeSector = 0xFFFFFFFF
	endOfChain = 0xFFFFFFFE
	fatSector  = 0xFFFFFFFD
	difSector  = 0xFFFFFFFC
	maxRegular = 0xFFFFFFFA
)

// Names of the streams that hold the signature.
const (
	Signature         = "\x05DigitalSignature"
	ExtendedSignature = "\x05MsiDigitalSignatureEx"
)

// Class identifiers of the root: what kind of package it is.
// {000C1084-0000-0000-C000-000000000046} and {000C1086-…}: STGFMT of msi.dll, as shown by every package and patch.
var (
	classPackage = [16]byte{0x84, 0x10, 0x0C, 0, 0, 0, 0, 0, 0xC0, 0, 0, 0, 0, 0, 0, 0x46}
	classPatch   = [16]byte{0x86, 0x10, 0x0C, 0, 0, 0, 0, 0, 0xC0, 0, 0, 0, 0, 0, 0, 0x46}
)

// Magic begins every compound file.
const Magic = "\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1"

// ErrFormat is wrapped by every error about bytes that are no compound file.
var ErrFormat = errors.New("not a compound file")

// entry types of the directory.
const (
	storage = 1
	stream  = 2
	root    = 5
)

// entry is one of the directory, with its fields as they are digested.
type entry struct {
	name     []byte // UTF-16, little-endian, without the final zero
	kind     byte
	class    [16]byte
	state    [4]byte
	times    [16]byte // created, modified
	start    uint32
	size     uint64
	children []*entry
}

// File is a compound file.
type File struct {
	Anomalies []string

	r       io.ReaderAt
	size    int64
	sector  int64
	fat     []uint32
	mini    []uint32
	used    []bool // sectors that something refers to
	root    *entry
	miniMap []uint32 // the sectors of the mini stream
}

// Open reads the tables and the directory; it reads streams from r when they are asked for, and
// does not close it.
func Open(r io.ReaderAt, size int64) (*File, error) {
	f := &File{r: r, size: size}
	head := make([]byte, 512)
	if size < 512*3 || size > maxSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrFormat, size)
	}
	if _, err := r.ReadAt(head, 0); err != nil {
		return nil, err
	}
	if string(head[:8]) != Magic || le16(head[28:]) != 0xFFFE {
		return nil, fmt.Errorf("%w: no header", ErrFormat)
	}
	switch major, shift := le16(head[26:]), le16(head[30:]); {
	case major == 3 && shift == 9, major == 4 && shift == 12:
		f.sector = 1 << shift
	default:
		return nil, fmt.Errorf("%w: version %d with sectors of 2^%d", ErrFormat, major, shift)
	}
	if le16(head[32:]) != 6 || le32(head[56:]) != miniCutoff {
		return nil, fmt.Errorf("%w: mini sectors of 2^%d up to %d", ErrFormat, le16(head[32:]), le32(head[56:]))
	}
	f.used = make([]bool, (size-1)/f.sector) // the header fills the place of one
	if rest := size % f.sector; rest != 0 {
		f.note("%d bytes after the last sector", rest)
	}
	if err := f.tables(head); err != nil {
		return nil, err
	}
	directory, err := f.chain(le32(head[48:]), maxEntries*128/f.sector)
	if err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	if err = f.directory(directory); err != nil {
		return nil, err
	}
	miniTable, err := f.chain(le32(head[60:]), int64(len(f.used)))
	if err != nil {
		return nil, fmt.Errorf("mini table: %w", err)
	}
	if f.mini, err = f.words(miniTable); err != nil {
		return nil, err
	}
	if f.miniMap, err = f.chain(f.root.start, int64(len(f.used))); err != nil {
		return nil, fmt.Errorf("mini stream: %w", err)
	}
	return f, f.leftovers()
}

// tables reads the sector table, whose sectors are listed in the header and, of large files, in
// sectors of their own.
func (f *File) tables(head []byte) error {
	list := make([]uint32, 0, 109)
	for b := head[76:]; len(b) > 0; b = b[4:] {
		list = append(list, le32(b))
	}
	buf := make([]byte, f.sector)
	next := le32(head[68:])
	for n := 0; next < maxRegular; n++ {
		if n > len(f.used) || f.take(next) != nil {
			return fmt.Errorf("%w: list of table sectors goes in circles", ErrFormat)
		}
		if err := f.readSector(buf, next); err != nil {
			return err
		}
		for b := buf; len(b) > 4; b = b[4:] {
			list = append(list, le32(b))
		}
		next = le32(buf[len(buf)-4:])
	}
	var sectors []uint32
	for _, s := range list {
		if s == freeSector {
			continue
		}
		if err := f.take(s); err != nil {
			return fmt.Errorf("sector table: %w", err)
		}
		sectors = append(sectors, s)
	}
	var err error
	f.fat, err = f.words(sectors)
	return err
}

// take marks a sector as used, once.
func (f *File) take(s uint32) error {
	if int64(s) >= int64(len(f.used)) {
		return fmt.Errorf("%w: sector %d of %d", ErrFormat, s, len(f.used))
	}
	if f.used[s] {
		return fmt.Errorf("%w: sector %d used twice", ErrFormat, s)
	}
	f.used[s] = true
	return nil
}

// chain gives the sectors of a chain, which has at most limit, and marks them as used.
func (f *File) chain(s uint32, limit int64) (sectors []uint32, err error) {
	for s != endOfChain && (s != freeSector || len(sectors) > 0) {
		if err := f.take(s); err != nil {
			return nil, err
		}
		if int64(len(sectors)) >= limit || int64(s) >= int64(len(f.fat)) {
			return nil, fmt.Errorf("%w: chain of more than %d sectors", ErrFormat, len(sectors))
		}
		sectors = append(sectors, s)
		s = f.fat[s]
	}
	return sectors, nil
}

// words reads sectors as 32-bit numbers.
func (f *File) words(sectors []uint32) (ws []uint32, err error) {
	buf := make([]byte, f.sector)
	ws = make([]uint32, 0, len(sectors)*int(f.sector/4))
	for _, s := range sectors {
		if err := f.readSector(buf, s); err != nil {
			return nil, err
		}
		for b := buf; len(b) > 0; b = b[4:] {
			ws = append(ws, le32(b))
		}
	}
	return ws, nil
}

func (f *File) readSector(b []byte, s uint32) error {
	n, err := f.r.ReadAt(b, (int64(s)+1)*f.sector)
	if n == len(b) || errors.Is(err, io.EOF) && n > 0 { // the last one may be cut
		clear(b[n:])
		return nil
	}
	return cmp.Or(err, io.ErrUnexpectedEOF)
}

// directory reads the entries and puts them into a tree.
func (f *File) directory(sectors []uint32) error {
	var entries []*entry
	var links [][3]uint32 // left, right, child
	buf := make([]byte, f.sector)
	for _, s := range sectors {
		if err := f.readSector(buf, s); err != nil {
			return err
		}
		for b := buf; len(b) > 0; b = b[128:] {
			n := int(le16(b[64:]))
			e := &entry{kind: b[66], start: le32(b[116:]), size: binary.LittleEndian.Uint64(b[120:])}
			if f.sector == 512 {
				e.size &= 0xFFFFFFFF // [MS-CFB] 2.6.1: the upper half may be anything in version 3
			}
			if n > 64 || n%2 != 0 || n < 2 && e.kind != 0 {
				return fmt.Errorf("%w: name of %d bytes", ErrFormat, n)
			}
			e.name = bytes.Clone(b[:max(n-2, 0)])
			copy(e.class[:], b[80:])
			copy(e.state[:], b[96:])
			copy(e.times[:], b[100:])
			entries = append(entries, e)
			links = append(links, [3]uint32{le32(b[68:]), le32(b[72:]), le32(b[76:])})
		}
	}
	if len(entries) == 0 || entries[0].kind != root {
		return fmt.Errorf("%w: no root entry", ErrFormat)
	}
	f.root = entries[0]
	seen := make([]bool, len(entries))
	seen[0] = true
	var add func(id uint32, to *entry, depth int) error
	add = func(id uint32, to *entry, depth int) error {
		for stack := []uint32{id}; len(stack) > 0; {
			id, stack = stack[len(stack)-1], stack[:len(stack)-1]
			if id == freeSector {
				continue
			}
			if int64(id) >= int64(len(entries)) || seen[id] || depth > maxDepth {
				return fmt.Errorf("%w: directory goes in circles", ErrFormat)
			}
			seen[id] = true
			e := entries[id]
			switch e.kind {
			case storage:
				if err := add(links[id][2], e, depth+1); err != nil {
					return err
				}
			case stream:
			default:
				return fmt.Errorf("%w: entry of type %d", ErrFormat, e.kind)
			}
			to.children = append(to.children, e)
			stack = append(stack, links[id][0], links[id][1])
		}
		return nil
	}
	if err := add(links[0][2], f.root, 0); err != nil {
		return err
	}
	for i, e := range entries {
		if !seen[i] && e.kind != 0 {
			f.note("entry %q in no storage", e.String())
		}
	}
	var order func(e *entry)
	order = func(e *entry) {
		// The order of digesting is that of the names' bytes, not of the directory's tree.
		slices.SortFunc(e.children, func(a, b *entry) int { return bytes.Compare(a.name, b.name) })
		for _, c := range e.children {
			order(c)
		}
	}
	order(f.root)
	return nil
}

// leftovers looks at the sectors that no chain has: they are free, and nothing is in them.
func (f *File) leftovers() error {
	var walk func(e *entry) error
	walk = func(e *entry) error {
		for _, c := range e.children {
			if c.kind == stream && c.size >= miniCutoff {
				n := (int64(c.size) + f.sector - 1) / f.sector //nolint:gosec // chain finds sizes that the file cannot have
				got, err := f.chain(c.start, int64(len(f.used)))
				if err != nil {
					return fmt.Errorf("stream %q: %w", c, err)
				}
				if int64(len(got)) != n {
					return fmt.Errorf("%w: stream %q of %d bytes in %d sectors", ErrFormat, c, c.size, len(got))
				}
			}
			if err := walk(c); err != nil {
				return err
			}
		}
		return nil
	}
	if err := walk(f.root); err != nil {
		return err
	}
	buf := make([]byte, f.sector)
	lost := 0
	for s, used := range f.used {
		if used {
			continue
		}
		if err := f.readSector(buf, uint32(s)); err != nil {
			return err
		}
		if slices.ContainsFunc(buf, func(c byte) bool { return c != 0 && c != 0xFF }) {
			lost++
		}
	}
	if lost > 0 {
		f.note("%d sectors with contents that belong to no stream", lost)
	}
	return nil
}

func (f *File) note(format string, args ...any) {
	if len(f.Anomalies) < 20 {
		f.Anomalies = append(f.Anomalies, fmt.Sprintf(format, args...))
	}
}

// String gives the name.
func (e *entry) String() string {
	u := make([]uint16, 0, len(e.name)/2)
	for b := e.name; len(b) >= 2; b = b[2:] {
		u = append(u, le16(b))
	}
	return string(utf16.Decode(u))
}

// Patch reports whether the file is a patch (MSP), and Package whether it is an installer package.
func (f *File) Patch() bool { return f.root.class == classPatch }

// Package reports whether the file is an installer package (MSI).
func (f *File) Package() bool { return f.root.class == classPackage }

// Stream gives the contents of a stream of the root, at most 16 MiB. It gives fs.ErrNotExist if
// there is none of that name.
func (f *File) Stream(name string) ([]byte, error) {
	for _, e := range f.root.children {
		if e.kind != stream || e.String() != name {
			continue
		}
		if e.size > maxSignature {
			return nil, fmt.Errorf("%w: stream %q of %d bytes", ErrFormat, name, e.size)
		}
		var b bytes.Buffer
		err := f.copy(&b, e)
		return b.Bytes(), err
	}
	return nil, fmt.Errorf("stream %q: %w", name, fs.ErrNotExist)
}

// copy writes a stream.
func (f *File) copy(w io.Writer, e *entry) error {
	left := int64(e.size) //nolint:gosec // a size that the file cannot have was refused
	if left < miniCutoff {
		return f.copyMini(w, e)
	}
	for s := e.start; left > 0; s = f.fat[s] { // leftovers walked this chain before
		n := min(f.sector, left)
		if _, err := io.Copy(w, io.NewSectionReader(f.r, (int64(s)+1)*f.sector, n)); err != nil {
			return err
		}
		left -= n
	}
	return nil
}

func (f *File) copyMini(w io.Writer, e *entry) error {
	var buf [miniSector]byte
	s := e.start
	for left := int64(e.size); left > 0; left -= miniSector { //nolint:gosec // below miniCutoff
		at := int64(s) * miniSector
		if int64(s) >= int64(len(f.mini)) || at/f.sector >= int64(len(f.miniMap)) {
			return fmt.Errorf("%w: stream %q leaves the mini stream", ErrFormat, e)
		}
		b := buf[:min(left, miniSector)]
		if n, err := f.r.ReadAt(b, (int64(f.miniMap[at/f.sector])+1)*f.sector+at%f.sector); n < len(b) {
			return cmp.Or(err, io.ErrUnexpectedEOF)
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		s = f.mini[s]
	}
	return nil
}

// Digest writes what Authenticode covers: the contents of all streams but those of the signature,
// and the class of each storage. If the package has the extended signature stream, its contents come
// first; that they are the digest of the names, sizes and times is for ExtendedDigest to check.
func (f *File) Digest(w hash.Hash) error {
	extended, err := f.Stream(ExtendedSignature)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	w.Write(extended)
	return f.digest(w, f.root)
}

func (f *File) digest(w hash.Hash, dir *entry) error {
	for _, e := range dir.children {
		var err error
		switch {
		case dir == f.root && e.signature():
		case e.kind == storage:
			err = f.digest(w, e)
		default:
			err = f.copy(w, e)
		}
		if err != nil {
			return err
		}
	}
	w.Write(dir.class[:])
	return nil
}

// ExtendedDigest writes the names, classes, sizes, states and times of all entries but those of
// the signature; its sum is what the extended signature stream holds.
func (f *File) ExtendedDigest(w hash.Hash) { f.extended(w, f.root) }

func (f *File) extended(w hash.Hash, dir *entry) {
	describe := func(e *entry) {
		if e.kind != root {
			w.Write(e.name)
		}
		if e.kind == stream {
			w.Write(binary.LittleEndian.AppendUint32(nil, uint32(e.size))) //nolint:gosec // the file is below 4 GiB
		} else {
			w.Write(e.class[:])
		}
		w.Write(e.state[:])
		if e.kind != root {
			w.Write(e.times[:])
		}
	}
	describe(dir)
	for _, e := range dir.children {
		switch {
		case dir == f.root && e.signature():
		case e.kind == storage:
			f.extended(w, e)
		default:
			describe(e)
		}
	}
}

func (e *entry) signature() bool {
	name := e.String()
	return e.kind == stream && (name == Signature || name == ExtendedSignature)
}

func le16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }
func le32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
