package update

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/oldguard/oldguard/internal/format/cab"
	"github.com/oldguard/oldguard/internal/format/cab/cabtest"
)

// TestRereader holds the way to cabinets that are too large for memory to what it reads from.
func TestRereader(t *testing.T) {
	want := make([]byte, 200_000)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range want {
		want[i] = byte(rnd.IntN(256))
	}
	b := cabtest.Cabinet{Folders: []cabtest.Folder{{Method: cab.MSZIP, Files: []cabtest.File{
		{Name: "before", Data: []byte("something")}, {Name: "a", Data: want}, {Name: "after", Data: []byte("more")},
	}}}}.Bytes()
	c, err := cab.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	r := &rereader{file: c.Files[1]}
	for range 50 {
		at := rnd.IntN(len(want))
		got := make([]byte, rnd.IntN(40_000))
		n, err := r.ReadAt(got, int64(at))
		if end := min(at+len(got), len(want)); !bytes.Equal(got[:n], want[at:end]) || (n < len(got)) != errors.Is(err, io.EOF) {
			t.Fatalf("ReadAt(%d bytes, %d) gave %d bytes, %v", len(got), at, n, err)
		}
	}
	if n, err := r.ReadAt(make([]byte, 1), int64(len(want))+5); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("beyond the end ReadAt gave %d, %v", n, err)
	}
}
