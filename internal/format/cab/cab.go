// Package cab reads Microsoft cabinets, of which Windows updates are made (an MSU is one):
// stored, MSZIP and LZX, from a single file. Cabinets that continue in another file are
// refused. Whether a signature in the reserved header is worth anything is for others; the
// bytes needed to judge it are in Header.
//
// A cabinet is whatever its sender wanted it to be. Open checks that all it states lies
// inside the file and does not overlap, before anything is unpacked, so that what can be
// unpacked is known: Cabinet.Unpacked. Unpacking takes the memory of one window, at most
// 4 MiB, and the time of one pass.
//
// The format: https://learn.microsoft.com/openspecs/exchange_server_protocols/ms-mcab, and
// for LZX https://learn.microsoft.com/openspecs/exchange_server_protocols/ms-patch, read
// 2026-11-22.
package cab

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// ErrNotCabinet is the answer for a file that does not begin as a cabinet.
var ErrNotCabinet = errors.New("not a cabinet")

// ErrSet is the answer for a cabinet that continues from or in another file.
var ErrSet = errors.New("part of a set of cabinets, which this program does not read")

// ErrDamaged is the answer for a cabinet that contradicts itself, or that is cut short.
var ErrDamaged = errors.New("damaged cabinet")

// Sizes and limits of the format.
const (
	signature   = "MSCF"
	headerSize  = 36
	folderSize  = 8
	fileSize    = 16
	dataSize    = 8
	maxName     = 256 // bytes, with the zero at the end
	maxBlock    = 32768
	maxPacked   = maxBlock + 6144 // what LZX may add to a block it could not pack
	maxUnpacked = 0x7fff8000      // cbFile and uoffFolderStart: 65535 blocks of 32 KiB

	flagPrev    = 1
	flagNext    = 2
	flagReserve = 4

	attrUTF = 0x80
)

// Header is the header as it stands in the file. A signature does not cover all of it, so
// everything is kept, also what means nothing.
type Header struct {
	Reserved1, Reserved2, Reserved3 uint32
	Size                            uint32 // of the cabinet; a signature comes after it
	FilesAt                         uint32 // where the list of files begins
	Minor, Major                    uint8
	Flags                           uint16
	SetID, Index                    uint16
	Reserve                         []byte // the reserved area of the header; nil without one
	FolderReserve, DataReserve      uint8  // sizes of the reserved areas of each folder and block
	Prev, Next                      string // names of other cabinets of the set, as stated
	Length                          int64  // of the header with everything in it, without the folders
}

// Signature says where the header puts an Authenticode signature. Neither number is checked
// against the file.
type Signature struct{ Offset, Size uint32 }

// Signature reads the place of the signature from the reserved area. It is false if there is
// no reserved area of the form that signing tools write.
func (h *Header) Signature() (s Signature, ok bool) {
	const length, mark = 20, 0x00100000
	if len(h.Reserve) != length || le.Uint32(h.Reserve) != mark {
		return Signature{}, false
	}
	s = Signature{Offset: le.Uint32(h.Reserve[4:]), Size: le.Uint32(h.Reserve[8:])}
	return s, s.Size != 0
}

// Method is a way of packing.
type Method uint8

// The methods. Quantum cabinets exist (Windows 95); no update was made that way.
const (
	Stored Method = iota
	MSZIP
	Quantum
	LZX
)

// String names the method.
func (m Method) String() string {
	if names := [...]string{"stored", "MSZIP", "Quantum", "LZX"}; int(m) < len(names) {
		return names[m]
	}
	return fmt.Sprintf("method %d", uint8(m))
}

// Folder is a run of data that is packed as one. It is no directory.
type Folder struct {
	Method  Method
	Window  uint8 // the binary logarithm of the window's size; LZX only
	Blocks  int
	Size    int64  // unpacked
	Reserve []byte // its reserved area

	at, end int64
}

// File is one file in a cabinet.
type File struct {
	Name     string    // as stated, but decoded; see Path before making a file of it
	Size     int64     // unpacked
	Modified time.Time // as it stands, without a zone; held as UTC; zero if it is no time
	Attr     uint16
	Folder   int

	cab  *Cabinet
	at   int64
	path string
	why  string // why there is no path
}

// Cabinet is an open cabinet. It may be used from several goroutines at once if its
// io.ReaderAt may.
type Cabinet struct {
	Header   Header
	Folders  []Folder
	Files    []*File // in the order of the list
	Trailing int64   // bytes of the file after the cabinet: its signature, if there is one

	r     io.ReaderAt
	order []*File // by folder and place
}

var le = binary.LittleEndian

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// Open reads the lists of a cabinet and checks them. It keeps r and does not close it. The
// error wraps ErrNotCabinet, ErrSet or ErrDamaged, or is that of r.
func Open(r io.ReaderAt, size int64) (*Cabinet, error) {
	c := &Cabinet{r: r}
	in := &input{r: bufio.NewReaderSize(io.NewSectionReader(r, 0, size), 1<<16)}
	folders, files, err := c.readHeader(in, size)
	if err != nil {
		return nil, err
	}
	if err := c.readFolders(in, folders); err != nil {
		return nil, err
	}
	if err := c.scan(); err != nil {
		return nil, err
	}
	if err := c.readFiles(files); err != nil {
		return nil, err
	}
	return c, c.arrange()
}

// Unpacked is the size of all folders together, unpacked. Nothing that is read from the
// cabinet is longer.
func (c *Cabinet) Unpacked() (n int64) {
	for i := range c.Folders {
		n += c.Folders[i].Size
	}
	return n
}

// input reads the lists, and knows where it is.
type input struct {
	r  *bufio.Reader
	at int64
}

func (in *input) bytes(n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(in.r, b)
	in.at += int64(n)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = damaged("cut short in its lists")
	}
	return b, err
}

// text reads up to a zero byte.
func (in *input) text() ([]byte, error) {
	var b []byte
	for len(b) < maxName {
		c, err := in.r.ReadByte()
		switch {
		case errors.Is(err, io.EOF):
			return nil, damaged("cut short in a name")
		case err != nil:
			return nil, err
		}
		in.at++
		if c == 0 {
			return b, nil
		}
		b = append(b, c)
	}
	return nil, damaged("a name is longer than %d bytes", maxName)
}

func (c *Cabinet) readHeader(in *input, size int64) (folders, files int, err error) {
	b, err := in.bytes(headerSize)
	switch {
	case !Is(b):
		return 0, 0, ErrNotCabinet
	case err != nil:
		return 0, 0, err
	}
	h := &c.Header
	*h = Header{
		Reserved1: le.Uint32(b[4:]), Size: le.Uint32(b[8:]), Reserved2: le.Uint32(b[12:]),
		FilesAt: le.Uint32(b[16:]), Reserved3: le.Uint32(b[20:]), Minor: b[24], Major: b[25],
		Flags: le.Uint16(b[30:]), SetID: le.Uint16(b[32:]), Index: le.Uint16(b[34:]),
	}
	folders, files = int(le.Uint16(b[26:])), int(le.Uint16(b[28:]))
	if h.Major != 1 || h.Minor > 3 {
		return 0, 0, damaged("version %d.%d of the format is not known", h.Major, h.Minor)
	}
	if int64(h.Size) > size {
		return 0, 0, damaged("cut short: it states %d bytes, the file has %d", h.Size, size)
	}
	c.Trailing = size - int64(h.Size)
	if h.Flags&flagReserve != 0 {
		if b, err = in.bytes(4); err != nil {
			return 0, 0, err
		}
		h.FolderReserve, h.DataReserve = b[2], b[3]
		if h.Reserve, err = in.bytes(int(le.Uint16(b))); err != nil {
			return 0, 0, err
		}
	}
	for _, n := range [...]struct {
		flag uint16
		name *string
	}{{flagPrev, &h.Prev}, {flagNext, &h.Next}} {
		if h.Flags&n.flag == 0 {
			continue
		}
		name, err := in.text()
		if err != nil {
			return 0, 0, err
		}
		if _, err := in.text(); err != nil { // the name of the disk
			return 0, 0, err
		}
		*n.name = decode(name, false)
	}
	if h.Prev != "" || h.Next != "" || h.Flags&(flagPrev|flagNext) != 0 {
		return 0, 0, fmt.Errorf("%w (number %d; before it %q, after it %q)", ErrSet, int(h.Index)+1, h.Prev, h.Next)
	}
	h.Length = in.at
	return folders, files, nil
}

func (c *Cabinet) readFolders(in *input, n int) error {
	for i := range n {
		b, err := in.bytes(folderSize + int(c.Header.FolderReserve))
		if err != nil {
			return err
		}
		method := le.Uint16(b[6:])
		f := Folder{
			at: int64(le.Uint32(b)), Blocks: int(le.Uint16(b[4:])), Reserve: b[folderSize:],
			Method: Method(method & 15), Window: uint8(method >> 8 & 31),
		}
		if f.Method > LZX {
			return damaged("folder %d is packed by an unknown %s", i, f.Method)
		}
		if f.Method == LZX && (f.Window < minWindow || f.Window > maxWindow) {
			return damaged("folder %d states an LZX window of 2^%d bytes, which cannot be", i, f.Window)
		}
		c.Folders = append(c.Folders, f)
	}
	if at := in.at; int64(c.Header.FilesAt) < at {
		return damaged("the list of files begins inside the list of folders")
	}
	return nil
}

// scan goes over the headers of all blocks, so that sizes are known and no data is counted
// twice: a cabinet whose folders share their blocks would unpack to a thousand times its size.
func (c *Cabinet) scan() error {
	size := int64(c.Header.Size)
	header := make([]byte, dataSize)
	step := int64(dataSize) + int64(c.Header.DataReserve)
	sum := int64(0) // of all blocks seen
	for i := range c.Folders {
		f := &c.Folders[i]
		at := f.at
		for j := range f.Blocks {
			if at+step > size {
				return damaged("block %d of folder %d lies outside", j, i)
			}
			if _, err := c.r.ReadAt(header, at); err != nil {
				return fmt.Errorf("block %d of folder %d: %w", j, i, err)
			}
			packed, unpacked := int64(le.Uint16(header[4:])), int64(le.Uint16(header[6:]))
			if unpacked == 0 && packed != 0 {
				return fmt.Errorf("%w (block %d of folder %d continues elsewhere)", ErrSet, j, i)
			}
			if packed > maxPacked || unpacked > maxBlock {
				return damaged("block %d of folder %d states %d bytes, packed %d: more than a block holds", j, i, unpacked, packed)
			}
			at += step + packed
			sum += step + packed
			if at > size || sum > size {
				return damaged("block %d of folder %d lies outside, or in another folder", j, i)
			}
			f.Size += unpacked
		}
		f.end = at
	}
	return nil
}

func (c *Cabinet) readFiles(n int) error {
	// A path takes 2 KiB at most, so this is the reader's size.
	size := int64(c.Header.Size)
	in := &input{r: bufio.NewReaderSize(io.NewSectionReader(c.r, int64(c.Header.FilesAt), size-int64(c.Header.FilesAt)), 1<<16)}
	for i := range n {
		b, err := in.bytes(fileSize)
		if err != nil {
			return err
		}
		name, err := in.text()
		if err != nil {
			return err
		}
		f := &File{
			cab: c, Size: int64(le.Uint32(b)), at: int64(le.Uint32(b[4:])), Folder: int(le.Uint16(b[8:])),
			Modified: dosTime(le.Uint16(b[10:]), le.Uint16(b[12:])), Attr: le.Uint16(b[14:]),
		}
		f.Name = decode(name, f.Attr&attrUTF != 0)
		const firstContinued = 0xfffd // from the cabinet before, in the next, both
		if f.Folder >= firstContinued {
			return fmt.Errorf("%w (file %q continues elsewhere)", ErrSet, f.Name)
		}
		if f.Folder >= len(c.Folders) {
			return damaged("file %d is in folder %d of %d", i, f.Folder, len(c.Folders))
		}
		if f.Size > maxUnpacked || f.at > maxUnpacked || f.at+f.Size > c.Folders[f.Folder].Size {
			return damaged("file %q ends at %d, its folder at %d", f.Name, f.at+f.Size, c.Folders[f.Folder].Size)
		}
		c.Files = append(c.Files, f)
	}
	return nil
}

// arrange gives files their order and their paths. Files may not overlap: in genuine
// cabinets they never do, and it would let a small cabinet unpack without end.
func (c *Cabinet) arrange() error {
	c.order = slices.Clone(c.Files)
	slices.SortStableFunc(c.order, func(a, b *File) int {
		return cmp.Or(cmp.Compare(a.Folder, b.Folder), cmp.Compare(a.at, b.at), cmp.Compare(a.Size, b.Size))
	})
	for i := 1; i < len(c.order); i++ {
		if a, b := c.order[i-1], c.order[i]; a.Folder == b.Folder && a.at+a.Size > b.at {
			return damaged("files %q and %q overlap", a.Name, b.Name)
		}
	}
	places := newPlaces()
	for _, f := range c.Files {
		if f.path, f.why = SafePath(f.Name); f.why == "" {
			if f.why = places.take(f.path); f.why != "" {
				f.path = ""
			}
		}
	}
	return nil
}

// dosTime reads the two halves of a DOS time.
func dosTime(date, clock uint16) time.Time {
	t := time.Date(1980+int(date>>9), time.Month(date>>5&15), int(date&31),
		int(clock>>11), int(clock>>5&63), 2*int(clock&31), 0, time.UTC)
	if int(t.Month()) != int(date>>5&15) || t.Day() != int(date&31) || clock>>11 > 23 || clock>>5&63 > 59 {
		return time.Time{}
	}
	return t
}

// Walk unpacks all files, each folder once, and gives them to visit in the order in which
// they lie. The reader is good only until visit returns; what visit leaves unread is passed
// over. Walk ends with the first error, that of visit included.
func (c *Cabinet) Walk(visit func(f *File, r io.Reader) error) error {
	return c.WalkSome(func(*File) bool { return true }, visit)
}

// WalkSome is Walk for those files alone that are wanted. A folder is unpacked as far as the last
// of them reaches, and not at all for none.
func (c *Cabinet) WalkSome(wanted func(*File) bool, visit func(f *File, r io.Reader) error) error {
	var u *unpacker
	folder := -1
	for _, f := range c.order {
		if !wanted(f) {
			continue
		}
		if f.Folder != folder {
			var err error
			if u, err = c.unpack(f.Folder); err != nil {
				return err
			}
			folder = f.Folder
		}
		if err := u.skipTo(f.at); err != nil {
			return fmt.Errorf("file %q: %w", f.Name, err)
		}
		r := &content{u: u, left: f.Size}
		if err := visit(f, r); err != nil {
			return err
		}
		if r.err != nil { // visit may have overlooked it
			return fmt.Errorf("file %q: %w", f.Name, r.err)
		}
	}
	return nil
}

// Reach is how much of its folder is unpacked to come to the end of the file.
func (f *File) Reach() int64 { return f.at + f.Size }

// Open unpacks one file. All that lies before it in its folder is unpacked as well and thrown
// away, so Walk is the way to many files.
func (f *File) Open() (io.Reader, error) {
	u, err := f.cab.unpack(f.Folder)
	if err != nil {
		return nil, err
	}
	if err := u.skipTo(f.at); err != nil {
		return nil, fmt.Errorf("file %q: %w", f.Name, err)
	}
	return &content{u: u, left: f.Size}, nil
}

// content is a file's part of its folder.
type content struct {
	u    *unpacker
	left int64
	err  error
}

// Read unpacks the next bytes of the file.
func (r *content) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.u.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	if err != nil {
		r.err = noEOF(err)
	}
	return n, r.err
}

// WriteTo spares io.Copy its buffer: blocks go straight from the window.
func (r *content) WriteTo(w io.Writer) (n int64, err error) {
	for r.left > 0 && r.err == nil {
		b, err := r.u.next(r.left)
		if err != nil {
			r.err = noEOF(err)
			break
		}
		m, err := w.Write(b)
		n += int64(m)
		r.left -= int64(len(b))
		if err != nil {
			return n, err
		}
	}
	return n, r.err
}

// noEOF turns an end in the middle into an error.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return damaged("cut short")
	}
	return err
}

// Is reports whether a file that begins with these bytes is a cabinet; four are enough.
func Is(start []byte) bool { return bytes.HasPrefix(start, []byte(signature)) }
