package backup_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/oldguard/oldguard/internal/store/backup"
)

var header = backup.Header{
	Schema: backup.Schema,
	Made:   time.Date(2026, 11, 25, 3, 15, 0, 0, time.UTC), Program: "test", Database: "SQLite", Migrations: []int64{1, 101},
	Tables: []backup.Table{{Name: "host", Columns: []string{"id", "name", "body", "retired"}, Last: 7}, {Name: "note", Columns: []string{"text"}}},
}

func sum(s string) string {
	b := sha256.Sum256([]byte(s))
	return hex.EncodeToString(b[:])
}

func written(t testing.TB, fill func(w *backup.Writer) error) ([]byte, backup.End) {
	t.Helper()
	var b bytes.Buffer
	w, err := backup.NewWriter(&b, header)
	if err != nil {
		t.Fatal(err)
	}
	if err = fill(w); err != nil {
		t.Fatal(err)
	}
	end, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), end
}

func small(w *backup.Writer) error {
	return errors.Join(
		w.Row("host", []any{int64(1) << 62, "a \u2028 <name>\n", []byte{0, 0xff}, true}),
		w.Row("host", []any{int64(-1), "", []byte{}, false}),
		w.Row("note", []any{nil}),
		w.Job(backup.Job{Kind: "read-upload", Args: []byte(`{"upload":1}`)}),
		w.Evidence(sum("content"), 7, strings.NewReader("content")),
	)
}

// all takes a backup as text.
type all struct{ strings.Builder }

func (a *all) Row(t *backup.Table, values []any) error {
	fmt.Fprintf(a, "%s %#v\n", t.Name, values)
	return nil
}

func (a *all) Job(j backup.Job) error {
	fmt.Fprintf(a, "job %s %s\n", j.Kind, j.Args)
	return nil
}

func (a *all) Evidence(hash string, r io.Reader) error {
	b, err := io.ReadAll(r)
	fmt.Fprintf(a, "evidence %s %q %v\n", hash[:8], b, err)
	return err
}

func TestRoundTrip(t *testing.T) {
	file, end := written(t, small)
	r, err := backup.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if d := cmp.Diff(header, r.Header); d != "" {
		t.Error(d)
	}
	var got all
	back, err := r.Read(&got)
	if err != nil || !cmp.Equal(back, end) {
		t.Errorf("%v\n%s", err, cmp.Diff(end, back))
	}
	text := `host []interface {}{4611686018427387904, "a \u2028 <name>\n", []uint8{0x0, 0xff}, true}
host []interface {}{-1, "", []uint8{}, false}
note []interface {}{interface {}(nil)}
job read-upload {"upload":1}
evidence ed7002b4 "content" <nil>
`
	if d := cmp.Diff(text, got.String()); d != "" {
		t.Error(d)
	}
}

// TestManyRows has a table go over several entries.
func TestManyRows(t *testing.T) {
	long := strings.Repeat("x", 1<<16)
	file, _ := written(t, func(w *backup.Writer) error {
		for i := range 50 {
			if err := w.Row("note", []any{fmt.Sprint(i, long)}); err != nil {
				return err
			}
		}
		return nil
	})
	var got all
	r, err := backup.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err = r.Read(&got); err != nil || strings.Count(got.String(), "note") != 50 || !strings.Contains(got.String(), `"49xxx`) {
		t.Errorf("%v, %d bytes", err, got.Len())
	}
}

// TestDamagedEvidence has what was missing or altered when it was saved told, and the rest
// come back.
func TestDamagedEvidence(t *testing.T) {
	broken := errors.New("a bad sector")
	file, end := written(t, func(w *backup.Writer) error {
		w.Missing(sum("none"), errors.New("it is not there"))
		return errors.Join(
			w.Evidence(sum("altered"), 7, strings.NewReader("Altered")),
			w.Evidence(sum("cut off"), 7, strings.NewReader("cut")),
			w.Evidence(sum("unreadable"), 10, io.MultiReader(strings.NewReader("unr"), iotest.ErrReader(broken))),
			w.Evidence(sum("well"), 4, strings.NewReader("well")),
		)
	})
	for i, want := range []string{"it is not there", "its SHA-256 is", "its SHA-256 is", "a bad sector"} {
		if len(end.Damaged) != 4 || !strings.Contains(end.Damaged[i].Why, want) {
			t.Fatalf("damaged: %+v", end.Damaged)
		}
	}
	_, back, err := backup.Check(bytes.NewReader(file))
	if err != nil || back.Evidence != 1 || !cmp.Equal(back, end) {
		t.Errorf("%+v, %v", back, err)
	}
}

func TestWriteFails(t *testing.T) {
	full := errors.New("the disk is full")
	w, err := backup.NewWriter(failing{full}, header)
	if err == nil {
		err = w.Evidence(sum("x"), 64<<20, endless{})
	}
	if !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i * i)
	}
	return len(p), nil
}

func TestNewer(t *testing.T) {
	file, _ := written(t, small)
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	plain, err := z.DecodeAll(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	later := packed(t, bytes.Replace(plain, []byte("oldguard/backup/1"), []byte("oldguard/backup/2"), 1))
	if _, _, err := backup.Check(bytes.NewReader(later)); !errors.Is(err, backup.ErrNewer) {
		t.Errorf("a later format: %v", err)
	}
	other := packed(t, bytes.Replace(plain, []byte("oldguard/backup/1"), []byte("somebody/backup/1"), 1))
	if _, _, err := backup.Check(bytes.NewReader(other)); !errors.Is(err, backup.ErrFormat) {
		t.Errorf("another's: %v", err)
	}
}

func packed(t *testing.T, b []byte) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	return z.EncodeAll(b, nil)
}

// FuzzCheck is given the archive before it is packed.
func FuzzCheck(f *testing.F) {
	file, _ := written(f, small)
	z, err := zstd.NewReader(nil)
	if err != nil {
		f.Fatal(err)
	}
	defer z.Close()
	plain, err := z.DecodeAll(file, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, end, err := backup.CheckPlain(bytes.NewReader(b))
		if err != nil {
			return
		}
		for table, n := range end.Rows {
			if n <= 0 || !strings.Contains(fmt.Sprint(h.Tables), table) {
				t.Errorf("%d rows of table %q, which is none of %v", n, table, h.Tables)
			}
		}
	})
}
