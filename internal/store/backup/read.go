package backup

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Into takes what a backup holds, in the order of the backup. An error ends the reading.
type Into interface {
	// Row takes a row of a table of the header, as many values as that has columns: int64,
	// string, []byte, bool or nil. The values are the callee's.
	Row(t *Table, values []any) error
	Job(j Job) error
	// Evidence takes evidence; what r gives has the hash if it reads to the end without an
	// error.
	Evidence(hash string, r io.Reader) error
}

// Nowhere is for a backup that is only looked at.
type Nowhere struct{}

// Row takes a row.
func (Nowhere) Row(*Table, []any) error { return nil }

// Job takes a job.
func (Nowhere) Job(Job) error { return nil }

// Evidence reads it to its end.
func (Nowhere) Evidence(_ string, r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}

// Check reads a backup to its end, and says what is in it.
func Check(r io.Reader) (Header, End, error) {
	b, err := NewReader(r)
	if err != nil {
		return Header{}, End{}, err
	}
	defer b.Close()
	end, err := b.Read(Nowhere{})
	return b.Header, end, err
}

// Reader reads a backup.
type Reader struct {
	Header Header

	packed *zstd.Decoder
	tar    *tar.Reader
	into   Into
	have   End
}

// NewReader reads the header of a backup. Close the reader after use.
func NewReader(r io.Reader) (*Reader, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(32<<20))
	if err != nil {
		return nil, err
	}
	b := newReader(z)
	b.packed = z
	if err := b.begin(); err != nil {
		z.Close()
		return nil, err
	}
	return b, nil
}

func newReader(plain io.Reader) *Reader {
	return &Reader{tar: tar.NewReader(plain), have: End{Rows: map[string]int64{}}}
}

// Close ends the reading.
func (b *Reader) Close() { b.packed.Close() }

// Read reads the rest to its end, once, and gives what it held. The end of it says what must
// have been there: ErrDamaged if that is not so, and nothing that was taken may be used then.
func (b *Reader) Read(into Into) (End, error) {
	b.into = into
	for {
		e, err := b.tar.Next()
		if err != nil {
			return End{}, damaged("it ends too early: %w", err)
		}
		if e.Name == endName {
			return b.finish()
		}
		if err := b.entry(e); err != nil {
			return End{}, err
		}
	}
}

// damaged makes an error that is ErrDamaged.
func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrDamaged, fmt.Errorf(format, args...))
}

// document reads an entry that is one JSON document.
func (b *Reader) document(v any) error {
	text, err := io.ReadAll(io.LimitReader(b.tar, maxSmall+1))
	if err != nil {
		return damaged("%w", err)
	}
	if len(text) > maxSmall {
		return damaged("a part of it is too large")
	}
	if err := json.Unmarshal(text, v); err != nil {
		return damaged("%w", err)
	}
	return nil
}

func (b *Reader) begin() error {
	e, err := b.tar.Next()
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, zstd.ErrMagicMismatch), errors.Is(err, tar.ErrHeader):
		return ErrFormat
	case err != nil:
		return damaged("%w", err)
	case e.Name != headerName:
		return ErrFormat
	}
	h := &b.Header
	if err := b.document(h); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	switch {
	case h.Schema == Schema:
	case strings.HasPrefix(h.Schema, "oldguard/backup/"):
		return fmt.Errorf("%w (%s)", ErrNewer, h.Schema)
	default:
		return ErrFormat
	}
	names := map[string]bool{}
	for _, t := range h.Tables {
		if names[t.Name] || len(t.Columns) == 0 {
			return damaged("table %q is listed wrongly", t.Name)
		}
		names[t.Name] = true
	}
	return nil
}

func (b *Reader) entry(e *tar.Header) error {
	folder, name, _ := strings.Cut(e.Name, "/")
	switch {
	case e.Typeflag != tar.TypeReg:
		return damaged("%q is no file", e.Name)
	case folder+"/" == evidenceFolder:
		return b.evidence(name, e.Size)
	case folder == jobsName:
		return b.lines(e, func(line []byte) error {
			var j Job
			if err := json.Unmarshal(line, &j); err != nil {
				return damaged("%s: %w", e.Name, err)
			}
			b.have.Jobs++
			return b.into.Job(j)
		})
	case folder+"/" == rowsFolder:
		table, _, _ := strings.Cut(name, "/")
		i := slices.IndexFunc(b.Header.Tables, func(t Table) bool { return t.Name == table })
		if i < 0 {
			return damaged("%q is of no table", e.Name)
		}
		t := &b.Header.Tables[i]
		return b.lines(e, func(line []byte) error {
			values, err := row(line)
			if err != nil {
				return damaged("%s: %w", e.Name, err)
			}
			if len(values) != len(t.Columns) {
				return damaged("%s: a row has %d values for %d columns", e.Name, len(values), len(t.Columns))
			}
			b.have.Rows[t.Name]++
			return b.into.Row(t, values)
		})
	}
	return damaged("%q does not belong in it", e.Name)
}

// lines gives each line of an entry.
func (b *Reader) lines(e *tar.Header, do func(line []byte) error) error {
	if e.Size > maxRows {
		return damaged("%q is too large", e.Name)
	}
	s := bufio.NewScanner(b.tar)
	s.Buffer(nil, maxRows)
	for s.Scan() {
		if err := do(s.Bytes()); err != nil {
			return err
		}
	}
	if err := s.Err(); err != nil {
		return damaged("%s: %w", e.Name, err)
	}
	return nil
}

// row reads a row.
func row(line []byte) ([]any, error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	var raw []json.RawMessage
	if err := d.Decode(&raw); err != nil {
		return nil, err
	}
	values := make([]any, len(raw))
	for i, r := range raw {
		var err error
		switch r[0] {
		case 'n':
		case 't', 'f':
			values[i] = r[0] == 't'
		case '"':
			var s string
			err = json.Unmarshal(r, &s)
			values[i] = s
		case '{':
			var b struct {
				B []byte `json:"b"`
			}
			err = json.Unmarshal(r, &b)
			if b.B == nil {
				b.B = []byte{}
			}
			values[i] = b.B
		default:
			var n int64
			err = json.Unmarshal(r, &n)
			values[i] = n
		}
		if err != nil {
			return nil, err
		}
	}
	return values, nil
}

func (b *Reader) evidence(hash string, size int64) error {
	want, err := hex.DecodeString(hash)
	if err != nil || len(want) != sha256.Size || hash != strings.ToLower(hash) {
		return damaged("%q is no evidence", hash)
	}
	c := &checked{r: b.tar, sum: sha256.New(), want: want}
	if err := b.into.Evidence(hash, c); err != nil && !c.other {
		return err
	}
	if _, err := io.Copy(io.Discard, b.tar); err != nil {
		return damaged("%w", err)
	}
	if c.other {
		// It was so when it was saved, if the end says so.
		b.have.Damaged = append(b.have.Damaged, Damaged{Hash: hash})
		return nil
	}
	b.have.Evidence++
	b.have.Bytes += size
	return nil
}

// finish compares what was there with what must have been.
func (b *Reader) finish() (End, error) {
	var end End
	if err := b.document(&end); err != nil {
		return End{}, err
	}
	if end.Rows == nil {
		end.Rows = map[string]int64{}
	}
	said := map[string]bool{}
	for _, d := range end.Damaged {
		said[d.Hash] = true
	}
	for _, d := range b.have.Damaged {
		if !said[d.Hash] {
			return End{}, damaged("evidence %s is not what its SHA-256 says", d.Hash)
		}
	}
	if !maps.Equal(end.Rows, b.have.Rows) || end.Jobs != b.have.Jobs || end.Evidence != b.have.Evidence || end.Bytes != b.have.Bytes {
		return End{}, damaged("what is in it is not what its end says")
	}
	if _, err := b.tar.Next(); !errors.Is(err, io.EOF) {
		return End{}, damaged("something follows its end")
	}
	return end, nil
}
