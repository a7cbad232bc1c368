package pe_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io/fs"
	"testing"

	"github.com/oldguard/oldguard/internal/format/pe"
)

// program is a PE32 file of one section without certificate table.
func program() []byte {
	b := make([]byte, 1024)
	copy(b, "MZ")
	b[60] = 64
	copy(b[64:], "PE\x00\x00\x4C\x01\x01\x00")
	b[64+20] = 224
	o := 88
	binary.LittleEndian.PutUint16(b[o:], 0x10B)
	binary.LittleEndian.PutUint32(b[o+92:], 16)
	s := o + 224
	copy(b[s:], ".text")
	binary.LittleEndian.PutUint32(b[s+16:], 512)
	binary.LittleEndian.PutUint32(b[s+20:], 512)
	return b
}

func TestOpen(t *testing.T) {
	b := program()
	f, err := pe.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if f.Machine.String() != "x86" || f.Plus || len(f.Sections) != 1 || f.Sections[0].Name != ".text" || len(f.Anomalies) > 0 {
		t.Errorf("%+v", f)
	}
	if _, err := f.Version(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("version resource: %v, want fs.ErrNotExist", err)
	}
	h := sha256.New()
	if err := f.Digest(h); err != nil {
		t.Fatal(err)
	}
	first := h.Sum(nil)
	b[88+64] ^= 1 // the checksum is not covered
	h.Reset()
	if err := f.Digest(h); err != nil || !bytes.Equal(first, h.Sum(nil)) {
		t.Errorf("digest depends on the checksum, or %v", err)
	}
	b[600] ^= 1
	h.Reset()
	if err := f.Digest(h); err != nil || bytes.Equal(first, h.Sum(nil)) {
		t.Errorf("digest does not depend on the code, or %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(program())
	f.Fuzz(func(_ *testing.T, b []byte) {
		p, err := pe.Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		_ = p.Digest(sha256.New())
		_, _ = p.Sum()
		_, _ = p.Version()
	})
}
