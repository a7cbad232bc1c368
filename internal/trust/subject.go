package trust

import (
	"cmp"
	"crypto"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"

	"github.com/oldguard/oldguard/internal/format/msi"
	"github.com/oldguard/oldguard/internal/format/pe"
	"github.com/oldguard/oldguard/internal/format/pkcs7"
)

// subject is a file that may be signed: its signatures, its digest, and what is odd in bytes
// that neither covers.
type subject struct {
	kind  Kind
	blobs []blob
	odd   []string
	err   error // the file is not what its first bytes say

	digest func(hash.Hash) error // nil of a catalog, whose signature has its content in itself
	sums   map[crypto.Hash][]byte
}

// blob is one signature where it lies.
type blob struct {
	place string
	data  []byte
}

const (
	maxSignature = 16 << 20 // bytes of one signature
	maxList      = 64 << 20 // bytes of a catalog
)

// sum gives the Authenticode digest of the file.
func (s *subject) sum(h crypto.Hash) ([]byte, error) {
	if sum, ok := s.sums[h]; ok {
		return sum, nil
	}
	d := h.New()
	if err := s.digest(d); err != nil {
		return nil, err
	}
	s.sums[h] = d.Sum(nil)
	return s.sums[h], nil
}

// open recognises the file by its first bytes.
func open(r io.ReaderAt, size int64) (*subject, error) {
	var head [64]byte
	n, err := r.ReadAt(head[:min(size, int64(len(head)))], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read the start of the file: %w", err)
	}
	s := &subject{sums: map[crypto.Hash][]byte{}}
	switch start := string(head[:n]); {
	case len(start) >= 2 && start[:2] == "MZ":
		s.kind, s.err = Program, s.openProgram(r, size)
	case len(start) >= 4 && start[:4] == "MSCF":
		s.kind, s.err = Cabinet, s.openCabinet(r, size)
	case len(start) >= 8 && start[:8] == msi.Magic:
		s.kind = Installer
		s.err = s.openInstaller(r, size)
	case isSignedData(head[:n]):
		s.kind, s.err = List, s.openList(r, size)
	case len(start) >= 4 && start[:4] == "PK\x03\x04":
		s.err = errors.New("a ZIP archive; the signatures of such packages (APPX, VSIX) are not read")
	}
	return s, nil
}

// isSignedData recognises a catalog: a SEQUENCE that begins with the type of signed data.
func isSignedData(b []byte) bool {
	if len(b) < 17 || b[0] != 0x30 || b[1]&0x80 == 0 {
		return false
	}
	at := 2 + int(b[1]&0x7F)
	const oid = "\x06\x09\x2A\x86\x48\x86\xF7\x0D\x01\x07\x02"
	return at+len(oid) <= len(b) && string(b[at:at+len(oid)]) == oid
}

func (s *subject) openProgram(r io.ReaderAt, size int64) error {
	f, err := pe.Open(r, size)
	if err != nil {
		return err
	}
	s.digest, s.odd = f.Digest, f.Anomalies
	for i, c := range f.Certificates {
		b := blob{"primary", c.Data}
		if i > 0 {
			b.place = fmt.Sprintf("certificate table %d", i+1)
		}
		if !c.PKCS7() {
			continue
		}
		s.blobs = append(s.blobs, b)
		if !zero(c.Padding) {
			s.odd = append(s.odd, "padding in the certificate table is not zero")
		}
	}
	if len(s.blobs) == 0 || f.Checksum == 0 {
		return nil // a checksum of zero means that there is none
	}
	// Signing sets the checksum, which no signature covers, to that of the signed file.
	sum, err := f.Sum()
	if err == nil && sum != f.Checksum {
		s.odd = append(s.odd, fmt.Sprintf("the checksum in the header is %08x, that of the file %08x", f.Checksum, sum))
	}
	return err
}

// openCabinet finds the signature of a cabinet by its header, whose reserved part has its place:
// [MS-CAB] 2.1 and the Authenticode subject package of cabinets. Not digested are the bytes 4–7,
// 34–55 and the names of a set; a cabinet that Microsoft signed has the one value there that it must have.
func (s *subject) openCabinet(r io.ReaderAt, size int64) error {
	const (
		fixed    = 36 // bytes of the header without reserved part
		reserved = 60 // with the one that signing adds
		prevNext = 3  // flags: part of a set
		extra    = 4  // flag: there is a reserved part
	)
	head := make([]byte, min(size, reserved))
	if _, err := r.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if len(head) < fixed {
		return fmt.Errorf("cabinet of %d bytes", size)
	}
	le16, le32 := binary.LittleEndian.Uint16, binary.LittleEndian.Uint32
	flags, length := le16(head[30:]), int64(le32(head[8:]))
	if flags&extra == 0 || len(head) < reserved || le32(head[36:]) != 20 || le32(head[40:]) != 0x00100000 {
		if flags&extra != 0 {
			s.odd = append(s.odd, "the reserved part of the header is not that of a signature")
		}
		return nil
	}
	at, n := int64(le32(head[44:])), int64(le32(head[48:]))
	if at == 0 && n == 0 {
		return nil
	}
	if at < reserved || n > maxSignature || at+n > size {
		return fmt.Errorf("signature of %d bytes at %d in a cabinet of %d", n, at, size)
	}
	for _, c := range []struct {
		bad  bool
		what string
	}{
		{le32(head[4:]) != 0, "bytes 4 to 7 of the header are not zero"},
		{flags&prevNext != 0, "the cabinet is part of a set, whose names are not signed"},
		{le16(head[34:]) != 0, "the number in a set, bytes 34 and 35 of the header, is not zero"},
		{le32(head[52:]) != 0, "bytes 52 to 55 of the header are not zero"},
		{at != length, "the signature does not begin where the cabinet ends"},
		{at+n != size, fmt.Sprintf("%d bytes after the signature", size-at-n)},
	} {
		if c.bad {
			s.odd = append(s.odd, c.what)
		}
	}
	data := make([]byte, n)
	if got, err := r.ReadAt(data, at); got < len(data) {
		return cmp.Or(err, io.ErrUnexpectedEOF)
	}
	s.blobs = []blob{{"primary", data}}
	s.digest = func(w hash.Hash) error {
		w.Write(head[:4])
		w.Write(head[8:34])
		w.Write(head[56:60])
		_, err := io.Copy(w, io.NewSectionReader(r, reserved, at-reserved))
		return err
	}
	return nil
}

func (s *subject) openInstaller(r io.ReaderAt, size int64) error {
	f, err := msi.Open(r, size)
	if err != nil {
		return err
	}
	switch {
	case f.Patch():
		s.kind = Patch
	case !f.Package():
		s.kind = Other
	}
	s.digest, s.odd = f.Digest, f.Anomalies
	data, err := f.Stream(msi.Signature)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	s.blobs = []blob{{"primary", data}}
	extended, err := f.Stream(msi.ExtendedSignature)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, h := range []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		if h.Size() == len(extended) {
			d := h.New()
			f.ExtendedDigest(d)
			if string(d.Sum(nil)) == string(extended) {
				return err
			}
		}
	}
	s.odd = append(s.odd, "names, sizes or times of the streams are not those that were signed")
	return err
}

func (s *subject) openList(r io.ReaderAt, size int64) error {
	if size > maxList {
		return fmt.Errorf("catalog of %d bytes", size)
	}
	data := make([]byte, size)
	if n, err := r.ReadAt(data, 0); n < len(data) {
		return cmp.Or(err, io.ErrUnexpectedEOF)
	}
	sd, err := pkcs7.Parse(data)
	if err == nil && sd.ContentType != pkcs7.OIDCertTrustList {
		s.kind = Other
		err = fmt.Errorf("signed data that is no catalog: %s", sd.ContentType)
	}
	s.blobs = []blob{{"primary", data}}
	return err
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
