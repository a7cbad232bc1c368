package msi_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io/fs"
	"slices"
	"testing"

	"github.com/oldguard/oldguard/internal/format/msi"
)

// compound is a file of one stream of 4096 bytes, in sectors of 512: table, directory, stream.
func compound() []byte {
	le := binary.LittleEndian
	b := make([]byte, 512*11)
	copy(b, msi.Magic)
	le.PutUint16(b[26:], 3)
	le.PutUint16(b[28:], 0xFFFE)
	le.PutUint16(b[30:], 9)
	le.PutUint16(b[32:], 6)
	le.PutUint32(b[44:], 1)
	le.PutUint32(b[48:], 1)
	le.PutUint32(b[56:], 4096)
	le.PutUint32(b[60:], 0xFFFFFFFE)
	le.PutUint32(b[68:], 0xFFFFFFFE)
	for i := 80; i < 512; i++ {
		b[i] = 0xFF
	}
	table := b[512:1024]
	for i := range table {
		table[i] = 0xFF
	}
	le.PutUint32(table, 0xFFFFFFFD)
	le.PutUint32(table[4:], 0xFFFFFFFE)
	for s := 2; s < 9; s++ {
		le.PutUint32(table[4*s:], uint32(s+1))
	}
	le.PutUint32(table[4*9:], 0xFFFFFFFE)
	entry := func(i int, name string, kind byte, child, start, size uint32) {
		e := b[1024+128*i:]
		for j, c := range name {
			e[2*j] = byte(c)
		}
		le.PutUint16(e[64:], uint16(2*len(name)+2))
		e[66] = kind
		le.PutUint32(e[68:], 0xFFFFFFFF)
		le.PutUint32(e[72:], 0xFFFFFFFF)
		le.PutUint32(e[76:], child)
		le.PutUint32(e[116:], start)
		le.PutUint32(e[120:], size)
	}
	entry(0, "Root Entry", 5, 1, 0xFFFFFFFE, 0)
	entry(1, "a", 2, 0xFFFFFFFF, 2, 4096)
	copy(b[512*3:], "contents")
	return b
}

func TestCompound(t *testing.T) {
	good := compound()
	hidden := slices.Concat(good, bytes.Repeat([]byte("hidden!!"), 64))
	circle := compound()
	binary.LittleEndian.PutUint32(circle[512+4*9:], 2)
	tests := []struct {
		name string
		b    []byte
		odd  int
		bad  bool
	}{
		{"good", good, 0, false},
		{"appended", append(slices.Clone(good), "PK"...), 2, false},
		{"hidden_sector", hidden, 1, false},
		{"circle", circle, 0, true},
		{"cut", good[:600], 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := msi.Open(bytes.NewReader(tt.b), int64(len(tt.b)))
			if (err != nil) != tt.bad {
				t.Fatalf("error %v, want one: %v", err, tt.bad)
			}
			if tt.bad {
				return
			}
			if len(f.Anomalies) != tt.odd {
				t.Errorf("anomalies %q, want %d", f.Anomalies, tt.odd)
			}
			got, err := f.Stream("a")
			if err != nil || len(got) != 4096 || string(got[:8]) != "contents" {
				t.Errorf("stream of %d bytes, %v", len(got), err)
			}
			h, want := sha256.New(), sha256.Sum256(append(got, make([]byte, 16)...)) // and the class of the root
			if err := f.Digest(h); err != nil || !bytes.Equal(h.Sum(nil), want[:]) {
				t.Errorf("digest is another, or %v", err)
			}
		})
	}
	f, err := msi.Open(bytes.NewReader(good), int64(len(good)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Stream(msi.Signature); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent stream: %v, want fs.ErrNotExist", err)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(compound())
	f.Fuzz(func(_ *testing.T, b []byte) {
		c, err := msi.Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		_ = c.Digest(sha256.New())
		c.ExtendedDigest(sha256.New())
		_, _ = c.Stream(msi.Signature)
	})
}
