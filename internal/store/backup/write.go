package backup

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Writer writes a backup. Rows come table by table in the order of the header, then jobs,
// then evidence, then Close.
type Writer struct {
	header Header
	packed *zstd.Encoder
	tar    *tar.Writer
	end    End

	entry string       // that lines are gathered for
	part  int          // of the entry's table
	lines bytes.Buffer // not yet written
}

// NewWriter begins a backup. Close the writer after use.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	b := &Writer{header: h, packed: z, tar: tar.NewWriter(z), end: End{Rows: map[string]int64{}}}
	return b, b.document(headerName, h)
}

func (w *Writer) document(name string, v any) error {
	text, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		return err
	}
	return w.put(name, append(text, '\n'))
}

func (w *Writer) put(name string, content []byte) error {
	if err := w.begin(name, int64(len(content))); err != nil {
		return err
	}
	_, err := w.tar.Write(content)
	return err
}

func (w *Writer) begin(name string, size int64) error {
	return w.tar.WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o600, ModTime: w.header.Made.Truncate(time.Second), Format: tar.FormatPAX})
}

// Row writes a row: integers as int64, texts, bytes, truth values, and nil.
func (w *Writer) Row(table string, values []any) error {
	if err := w.turn(rowsFolder + table); err != nil {
		return err
	}
	line := make([]any, len(values))
	for i, v := range values {
		switch v := v.(type) {
		case nil, int64, string, bool:
			line[i] = v
		case []byte:
			line[i] = map[string][]byte{"b": v}
		default:
			return fmt.Errorf("table %s: a value is a %T", table, v)
		}
	}
	w.end.Rows[table]++
	return w.line(line)
}

// Job writes a job.
func (w *Writer) Job(j Job) error {
	if err := w.turn(jobsName); err != nil {
		return err
	}
	w.end.Jobs++
	return w.line(j)
}

// turn makes an entry the one that lines are gathered for.
func (w *Writer) turn(entry string) error {
	if w.entry == entry {
		return nil
	}
	if err := w.flush(); err != nil {
		return err
	}
	w.entry, w.part = entry, 0
	return nil
}

func (w *Writer) line(v any) error {
	e := json.NewEncoder(&w.lines)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	if w.lines.Len() < chunk {
		return nil
	}
	return w.flush()
}

// flush writes the lines that were gathered.
func (w *Writer) flush() error {
	if w.lines.Len() == 0 {
		return nil
	}
	w.part++
	if w.lines.Len() > maxRows {
		return fmt.Errorf("%s has a row of more than %d MiB", w.entry, maxRows>>20)
	}
	err := w.put(fmt.Sprintf("%s/%06d", w.entry, w.part), w.lines.Bytes())
	w.lines.Reset()
	return err
}

// Missing notes that evidence could not be opened.
func (w *Writer) Missing(hash string, why error) {
	w.end.Damaged = append(w.end.Damaged, Damaged{hash, why.Error()})
}

// Evidence writes what r gives, which has size bytes and a SHA-256. Where that is not so,
// which is noted, it is written as far as it goes.
func (w *Writer) Evidence(hash string, size int64, r io.Reader) error {
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.begin(evidenceFolder+hash, size); err != nil {
		return err
	}
	sum := sha256.New()
	from := &failing{r: r}
	n, err := io.Copy(io.MultiWriter(w.tar, sum), io.LimitReader(from, size))
	if err != nil && from.err == nil {
		return err // the backup could not be written
	}
	if _, err := io.CopyN(w.tar, zeros{}, size-n); err != nil {
		return err
	}
	switch got := hex.EncodeToString(sum.Sum(nil)); {
	case from.err != nil:
		w.Missing(hash, from.err)
	case n != size || got != hash:
		w.Missing(hash, fmt.Errorf("its SHA-256 is %s now", got))
	default:
		w.end.Evidence++
		w.end.Bytes += size
	}
	return nil
}

// Close ends the backup, and says what is in it. Without it the backup is cut off.
func (w *Writer) Close() (End, error) {
	if err := w.flush(); err != nil {
		return End{}, err
	}
	if err := w.document(endName, w.end); err != nil {
		return End{}, err
	}
	if err := w.tar.Close(); err != nil {
		return End{}, err
	}
	return w.end, w.packed.Close()
}

// failing tells an error of reading from one of writing.
type failing struct {
	r   io.Reader
	err error
}

// Read reads.
func (f *failing) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	return n, err
}

type zeros struct{}

// Read gives zeros.
func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
