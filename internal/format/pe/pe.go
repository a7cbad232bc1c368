// Package pe reads what a Windows program file says of itself and where its signatures lie: the
// headers, the certificate table, the Authenticode digest and the version resource. It executes
// and maps nothing, and is not for reading code. Oddities of the certificate table, which no
// signature covers, are given as anomalies for package trust to judge.
package pe

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
)

// Machine is the processor that a file is for.
type Machine uint16

// Machines that Windows Server 2008 and its successors ran on.
// https://learn.microsoft.com/windows/win32/debug/pe-format#machine-types
const (
	I386  Machine = 0x014C
	ARMNT Machine = 0x01C4
	IA64  Machine = 0x0200
	AMD64 Machine = 0x8664
	ARM64 Machine = 0xAA64
)

// String gives the name that Microsoft's packages use for the architecture.
func (m Machine) String() string {
	switch m {
	case I386:
		return "x86"
	case ARMNT:
		return "arm"
	case IA64:
		return "ia64"
	case AMD64:
		return "amd64"
	case ARM64:
		return "arm64"
	}
	return fmt.Sprintf("machine %#04x", uint16(m))
}

const (
	maxSections     = 96      // the loader's own limit
	maxHeaderOffset = 1 << 16 // of the PE header; the stub before it is small
	maxCertificates = 16      // entries of the certificate table
	maxTable        = 1 << 24 // bytes of the certificate table
	securityEntry   = 4       // index in the data directory
	resourceEntry   = 2
	maxDirectories  = 16
)

// Section is one section header.
type Section struct {
	Name                                      string
	VirtualAddress, VirtualSize, Offset, Size uint32
}

// Certificate is one entry of the certificate table (WIN_CERTIFICATE).
type Certificate struct {
	Offset         int64
	Length         uint32 // as it states, with its head of eight bytes
	Revision, Type uint16
	Data           []byte // the contents, padding after the signature included
	Padding        []byte // up to the next multiple of eight
}

// PKCS7 reports whether the entry holds signed data, the only type in use.
func (c Certificate) PKCS7() bool { return c.Type == 2 }

// File is a program file.
type File struct {
	Machine      Machine
	Plus         bool // PE32+, of 64 bits
	Checksum     uint32
	Sections     []Section
	Certificates []Certificate
	TableOffset  int64    // of the certificate table; 0 if there is none
	TableSize    int64    // as the header states it
	Anomalies    []string // of the certificate table and what lies behind it

	r              io.ReaderAt
	size           int64
	checksumAt     int64
	securityAt     int64 // of the directory entry that points to the certificate table; 0 if there is none
	resource       uint32
	resourceLength uint32
}

// ErrFormat is wrapped by every error about bytes that are no program file.
var ErrFormat = errors.New("not a PE file")

// Open reads the headers and the certificate table. It reads from r again for Digest, Sum and
// Version, and does not close it.
func Open(r io.ReaderAt, size int64) (*File, error) {
	f := &File{r: r, size: size}
	var dos [64]byte
	if err := f.read(dos[:], 0); err != nil {
		return nil, err
	}
	at := int64(le32(dos[60:]))
	if string(dos[:2]) != "MZ" || at > maxHeaderOffset {
		return nil, fmt.Errorf("%w: no MZ header", ErrFormat)
	}
	var head [24]byte
	if err := f.read(head[:], at); err != nil {
		return nil, err
	}
	if string(head[:4]) != "PE\x00\x00" {
		return nil, fmt.Errorf("%w: no PE header", ErrFormat)
	}
	f.Machine = Machine(le16(head[4:]))
	sections, optional := int(le16(head[6:])), int(le16(head[20:]))
	if sections > maxSections {
		return nil, fmt.Errorf("%w: %d sections", ErrFormat, sections)
	}
	opt := make([]byte, optional)
	if err := f.read(opt, at+24); err != nil {
		return nil, err
	}
	if err := f.optional(opt, at+24); err != nil {
		return nil, err
	}
	table := make([]byte, 40*sections)
	if err := f.read(table, at+24+int64(optional)); err != nil {
		return nil, err
	}
	end := at + 24 + int64(optional) + int64(len(table)) // of what the headers describe
	for ; len(table) > 0; table = table[40:] {
		s := Section{
			Name: cString(table[:8]), VirtualSize: le32(table[8:]), VirtualAddress: le32(table[12:]),
			Size: le32(table[16:]), Offset: le32(table[20:]),
		}
		f.Sections = append(f.Sections, s)
		if s.Size > 0 {
			end = max(end, int64(s.Offset)+int64(s.Size))
		}
	}
	return f, f.table(end)
}

// optional reads the optional header, of which only the end differs between 32 and 64 bits.
func (f *File) optional(opt []byte, at int64) error {
	if len(opt) < 2 {
		return fmt.Errorf("%w: no optional header", ErrFormat)
	}
	directories := 0 // offset of their number
	switch le16(opt) {
	case 0x10B:
		directories = 92
	case 0x20B:
		directories, f.Plus = 108, true
	default:
		return fmt.Errorf("%w: optional header %#x", ErrFormat, le16(opt))
	}
	if len(opt) < directories+4 {
		return fmt.Errorf("%w: optional header of %d bytes", ErrFormat, len(opt))
	}
	f.checksumAt, f.Checksum = at+64, le32(opt[64:])
	n := int(min(le32(opt[directories:]), maxDirectories))
	entry := func(i int) (at int, a, b uint32) {
		at = directories + 4 + 8*i
		if i >= n || len(opt) < at+8 {
			return 0, 0, 0
		}
		return at, le32(opt[at:]), le32(opt[at+4:])
	}
	_, f.resource, f.resourceLength = entry(resourceEntry)
	o, a, b := entry(securityEntry)
	if o != 0 {
		f.securityAt = at + int64(o)
	}
	f.TableOffset, f.TableSize = int64(a), int64(b)
	return nil
}

// table reads the certificate table; end is where the rest of the file ends by its own headers.
func (f *File) table(end int64) error {
	if f.TableOffset == 0 && f.TableSize == 0 {
		return nil
	}
	stop := f.TableOffset + f.TableSize
	switch {
	case f.TableSize > maxTable || stop > f.size || f.TableSize < 8:
		return fmt.Errorf("%w: certificate table of %d bytes at %d in a file of %d", ErrFormat, f.TableSize, f.TableOffset, f.size)
	case f.TableOffset < end:
		f.note("the certificate table begins inside what the headers describe")
	}
	if stop < f.size {
		f.note("%d bytes after the certificate table", f.size-stop)
	}
	if f.TableOffset%8 != 0 {
		f.note("the certificate table is not aligned to eight bytes")
	}
	b := make([]byte, f.TableSize)
	if err := f.read(b, f.TableOffset); err != nil {
		return err
	}
	for at := f.TableOffset; len(b) > 0; {
		if len(b) < 8 || len(f.Certificates) == maxCertificates {
			f.note("%d bytes in the certificate table that are no entry", len(b))
			break
		}
		c := Certificate{Offset: at, Length: le32(b), Revision: le16(b[4:]), Type: le16(b[6:])}
		if c.Length < 8 || int64(c.Length) > int64(len(b)) {
			f.note("entry of %d bytes in the %d that the certificate table has left", c.Length, len(b))
			break
		}
		if c.Revision != 0x0200 || !c.PKCS7() {
			f.note("entry of revision %#04x and type %d in the certificate table", c.Revision, c.Type)
		}
		c.Data = b[8:c.Length]
		next := min(int64(c.Length+7)&^7, int64(len(b)))
		c.Padding = b[c.Length:next]
		f.Certificates = append(f.Certificates, c)
		b, at = b[next:], at+next
	}
	if n := len(f.Certificates); n > 1 {
		f.note("%d entries in the certificate table", n)
	}
	return nil
}

func (f *File) note(format string, args ...any) {
	f.Anomalies = append(f.Anomalies, fmt.Sprintf(format, args...))
}

// Digest writes what Authenticode covers: the whole file up to its certificate table, but for the
// checksum and the directory entry of the table. An unsigned file is filled up to a multiple of
// eight bytes, as signing it would do.
func (f *File) Digest(w hash.Hash) error {
	end := f.TableOffset
	if end == 0 {
		end = f.size
	}
	at := int64(0)
	for _, gap := range [...][2]int64{{f.checksumAt, 4}, {f.securityAt, 8}} {
		if gap[0] == 0 {
			continue
		}
		if gap[0]+gap[1] > end {
			return fmt.Errorf("%w: certificate table over the header", ErrFormat)
		}
		if err := f.copy(w, at, gap[0]); err != nil {
			return err
		}
		at = gap[0] + gap[1]
	}
	if err := f.copy(w, at, end); err != nil {
		return err
	}
	if f.TableOffset == 0 {
		w.Write(make([]byte, (8-end%8)%8))
	}
	return nil
}

func (f *File) copy(w io.Writer, from, to int64) error {
	_, err := io.Copy(w, io.NewSectionReader(f.r, from, to-from))
	return err
}

// Sum computes the checksum that the header should have: the sum of 16-bit words, with carries,
// and the length of the file. https://learn.microsoft.com/windows/win32/api/imagehlp/nf-imagehlp-checksummappedfile
func (f *File) Sum() (uint32, error) {
	var sum uint64
	var word [1 << 15]byte
	for at := int64(0); at < f.size; {
		b := word[:min(int64(len(word)), f.size-at)]
		if err := f.read(b, at); err != nil {
			return 0, err
		}
		for i, n := 0, int64(len(b)); int64(i) < n; i += 2 {
			if o := at + int64(i); o >= f.checksumAt && o < f.checksumAt+4 {
				continue
			}
			sum += uint64(b[i])
			if int64(i)+1 < n {
				sum += uint64(b[i+1]) << 8
			}
		}
		at += int64(len(b))
	}
	for sum > 0xFFFF {
		sum = sum>>16 + sum&0xFFFF
	}
	return uint32(sum + uint64(f.size)), nil //nolint:gosec // the sum is 32 bits wide by definition
}

func (f *File) read(b []byte, at int64) error {
	if at < 0 || at+int64(len(b)) > f.size {
		return fmt.Errorf("%w: %d bytes at %d in a file of %d", ErrFormat, len(b), at, f.size)
	}
	n, err := f.r.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	return cmp.Or(err, io.ErrUnexpectedEOF)
}

func le16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }
func le32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }

// cString gives the text up to a zero byte.
func cString(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
