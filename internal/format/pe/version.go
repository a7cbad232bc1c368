package pe

import (
	"fmt"
	"io/fs"
	"unicode/utf16"
)

const (
	maxResource = 1 << 16 // bytes of a version resource; Microsoft's have about one kilobyte
	maxEntries  = 1 << 12 // of a resource directory
	maxStrings  = 256     // of a version resource
	typeVersion = 16      // RT_VERSION
)

// Version is the version resource (VS_VERSIONINFO).
// https://learn.microsoft.com/windows/win32/menurc/vs-versioninfo
type Version struct {
	File, Product [4]uint16
	Strings       map[string]string // of the first language there is: FileDescription, OriginalFilename and others
}

// Version reads the version resource. It gives fs.ErrNotExist if there is none.
func (f *File) Version() (*Version, error) {
	if f.resource == 0 {
		return nil, fmt.Errorf("version resource: %w", fs.ErrNotExist)
	}
	at, wanted := uint32(0), typeVersion
	for range 3 { // type, name, language
		next, err := f.resourceChild(at, wanted)
		if err != nil {
			return nil, err
		}
		wanted = -1 // the first one there is
		if next&(1<<31) == 0 {
			return f.versionAt(next)
		}
		at = next &^ (1 << 31)
	}
	return nil, fmt.Errorf("%w: resources nested too deeply", ErrFormat)
}

// resourceChild gives where the entry of a resource directory points: the one with that number, or
// the first for -1.
func (f *File) resourceChild(at uint32, id int) (uint32, error) {
	var head [16]byte
	if err := f.readRVA(head[:], f.resource, at); err != nil {
		return 0, err
	}
	n := int(le16(head[12:])) + int(le16(head[14:]))
	if n > maxEntries {
		return 0, fmt.Errorf("%w: %d resources", ErrFormat, n)
	}
	entries := make([]byte, 8*n)
	if err := f.readRVA(entries, f.resource, at+16); err != nil {
		return 0, err
	}
	for ; len(entries) > 0; entries = entries[8:] {
		if id < 0 || le32(entries) == uint32(id) { //nolint:gosec // 16
			return le32(entries[4:]), nil
		}
	}
	return 0, fmt.Errorf("resource of type %d: %w", id, fs.ErrNotExist)
}

func (f *File) versionAt(at uint32) (*Version, error) {
	var entry [16]byte
	if err := f.readRVA(entry[:], f.resource, at); err != nil {
		return nil, err
	}
	size := le32(entry[4:])
	if size > maxResource {
		return nil, fmt.Errorf("%w: version resource of %d bytes", ErrFormat, size)
	}
	b := make([]byte, size)
	if err := f.readRVA(b, le32(entry[:]), 0); err != nil {
		return nil, err
	}
	return parseVersion(b)
}

// readRVA reads at an address in memory, which the sections map to the file.
func (f *File) readRVA(b []byte, base, offset uint32) error {
	at := uint64(base) + uint64(offset)
	for _, s := range f.Sections {
		if from := uint64(s.VirtualAddress); at >= from && at+uint64(len(b)) <= from+uint64(s.Size) {
			return f.read(b, int64(at-from)+int64(s.Offset)) //nolint:gosec // both below 2^33
		}
	}
	return fmt.Errorf("%w: no section has %d bytes at %#x", ErrFormat, len(b), at)
}

// block is the common form of everything in a version resource.
type block struct {
	key      string
	text     bool
	value    []byte
	children []byte
}

// nextBlock cuts one block off b, which starts at a multiple of four.
func nextBlock(b []byte) (v block, rest []byte, ok bool) {
	if len(b) < 6 {
		return block{}, nil, false
	}
	length, valueLength := int(le16(b)), int(le16(b[2:]))
	v.text = le16(b[4:]) == 1
	if length < 6 || length > len(b) {
		return block{}, nil, false
	}
	rest = b[min((length+3)&^3, len(b)):]
	body := b[6:length]
	n := 0
	for n+2 <= len(body) && le16(body[n:]) != 0 {
		n += 2
	}
	v.key = utf16String(body[:n])
	at := min((6+n+2+3)&^3, length)
	if v.text {
		valueLength *= 2
	}
	end := min(at+valueLength, length)
	v.value, v.children = b[at:end], b[min((end+3)&^3, length):length]
	return v, rest, true
}

func parseVersion(b []byte) (*Version, error) {
	root, _, ok := nextBlock(b)
	if !ok || root.key != "VS_VERSION_INFO" || len(root.value) < 52 || le32(root.value) != 0xFEEF04BD {
		return nil, fmt.Errorf("%w: version resource without its fixed part", ErrFormat)
	}
	quad := func(b []byte) [4]uint16 { return [4]uint16{le16(b[2:]), le16(b), le16(b[6:]), le16(b[4:])} }
	v := &Version{File: quad(root.value[8:]), Product: quad(root.value[16:]), Strings: map[string]string{}}
	for child, rest, ok := nextBlock(root.children); ok; child, rest, ok = nextBlock(rest) {
		if child.key != "StringFileInfo" {
			continue
		}
		table, _, _ := nextBlock(child.children)
		for s, rest, ok := nextBlock(table.children); ok && len(v.Strings) < maxStrings; s, rest, ok = nextBlock(rest) {
			v.Strings[s.key] = utf16String(s.value)
		}
		break
	}
	return v, nil
}

// utf16String gives little-endian UTF-16 up to a zero.
func utf16String(b []byte) string {
	u := make([]uint16, 0, len(b)/2)
	for ; len(b) >= 2 && le16(b) != 0; b = b[2:] {
		u = append(u, le16(b))
	}
	return string(utf16.Decode(u))
}
