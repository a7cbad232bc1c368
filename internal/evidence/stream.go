package evidence

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// MaxLine is the longest line that LineReader gives. The longest of a firewall's log has
// some 4 KiB.
const MaxLine = 64 << 10

// streamChunk is how much is read at once; between two chunks the context is looked at.
const streamChunk = 64 << 10

// Stream gives a text input piece by piece, for files of any size. UTF-16 becomes UTF-8
// and is recognised as Decode does, by the first bytes. Any other text is given as it is,
// whatever its code page; its ASCII characters are right. Byte order marks and NUL characters,
// with which Windows pads its firewall log, are dropped. A read fails with ctx's error once
// ctx is over. A tree is an error.
func (in Input) Stream(ctx context.Context) (io.Reader, error) {
	if in.File == nil {
		return nil, fmt.Errorf("%s is a folder where a text file is expected", in.Name)
	}
	s := &stream{ctx: ctx, file: in.File}
	head := make([]byte, min(in.File.Size(), probeSize))
	n, err := in.File.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read %s: %w", in.Name, err)
	}
	switch head = head[:n]; {
	case bytes.HasPrefix(head, []byte{0xff, 0xfe}):
		s.at, s.wide = 2, true
	case bytes.HasPrefix(head, []byte{0xfe, 0xff}):
		s.at, s.wide, s.big = 2, true, true
	case bytes.HasPrefix(head, []byte{0xef, 0xbb, 0xbf}):
		s.at = 3
	default:
		if start, big, ok := find16(head); ok {
			s.at, s.wide, s.big = int64(start), true, big
			s.ready = bytes.Clone(head[:start]) // an 8-bit line in front
		}
	}
	if s.wide {
		s.raw = make([]byte, streamChunk)
	}
	return s, nil
}

type stream struct {
	ctx       context.Context
	file      io.ReaderAt
	at        int64
	wide, big bool
	raw       []byte // a chunk of UTF-16
	ready     []byte // what is to be given next
	high      []byte // the first half of a pair, kept from the chunk before
}

func (s *stream) Read(p []byte) (int, error) {
	for {
		if len(s.ready) > 0 {
			n := copy(p, s.ready)
			s.ready = s.ready[n:]
			return n, nil
		}
		if err := s.ctx.Err(); err != nil {
			return 0, err
		}
		if !s.wide {
			n, err := s.file.ReadAt(p[:min(len(p), streamChunk)], s.at)
			s.at += int64(n)
			if n = dropNULs(p[:n]); n > 0 || err != nil || len(p) == 0 {
				return n, err
			}
			continue
		}
		n, err := s.file.ReadAt(s.raw, s.at)
		s.at += int64(n)
		s.decode(s.raw[:n])
		if len(s.ready) == 0 && err != nil {
			return 0, err
		}
	}
}

// decode turns a chunk into UTF-8. A pair of surrogates that two chunks share is put
// together again; half a unit at the end of the file is dropped.
func (s *stream) decode(b []byte) {
	b = append(s.high, b...)
	cut := len(b) &^ 1
	if cut >= 2 {
		lead := b[cut-1]
		if s.big {
			lead = b[cut-2]
		}
		if lead&0xfc == 0xd8 { // the first half of a pair
			cut -= 2
		}
	}
	s.ready = []byte(decode16(b[:cut], s.big))
	s.high = bytes.Clone(b[cut:])
}

// dropNULs moves what is not NUL together and gives its length.
func dropNULs(b []byte) int {
	i := bytes.IndexByte(b, 0)
	if i < 0 {
		return len(b)
	}
	for _, c := range b[i:] {
		if c != 0 {
			b[i] = c
			i++
		}
	}
	return i
}

// LineReader reads a text line by line, in bounded memory.
type LineReader struct {
	r *bufio.Reader
	// N is the number of the line last given, the first being 1.
	N int
	// TooLong is the number of lines that had more than MaxLine bytes and were left out.
	TooLong uint64
	// Cut tells that the text does not end with a line end. What stands behind the last one
	// is left out, since half of a number is another number.
	Cut bool
	err error
}

// NewLineReader makes a LineReader.
func NewLineReader(r io.Reader) *LineReader {
	return &LineReader{r: bufio.NewReaderSize(r, MaxLine)}
}

// Next gives the next line without its end and the white space before that. The bytes are
// valid until the next call. It is not ok at the end and after an error.
func (l *LineReader) Next() (line []byte, ok bool) {
	for l.err == nil {
		line, err := l.r.ReadSlice('\n')
		switch {
		case err == nil:
			l.N++
			return bytes.TrimRight(line, " \t\r\n\v\f"), true
		case errors.Is(err, bufio.ErrBufferFull):
			l.skip()
		default:
			l.Cut = len(bytes.TrimSpace(line)) > 0
			l.err = err
		}
	}
	return nil, false
}

// skip passes over the rest of a line that is too long.
func (l *LineReader) skip() {
	l.TooLong++
	for {
		_, err := l.r.ReadSlice('\n')
		switch {
		case err == nil:
			l.N++
			return
		case !errors.Is(err, bufio.ErrBufferFull):
			l.Cut, l.err = true, err
			return
		}
	}
}

// Err is the error that ended the reading, nil for the end of the text.
func (l *LineReader) Err() error {
	if errors.Is(l.err, io.EOF) {
		return nil
	}
	return l.err
}
