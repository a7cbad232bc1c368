package pcap

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
)

// source is a window over the file, or over what a packed one unpacks to.
type source struct {
	at     io.ReaderAt // nil for a packed file
	size   int64
	stream io.Reader // nil for a plain file

	buf        []byte
	start, end int   // what of buf is not read yet
	off        int64 // where in the file buf[end] is
	owed       int64 // bytes to pass over before the next look
	read       int64 // bytes that were read, those read twice too
}

// place is where the next look begins.
func (s *source) place() int64 { return s.off - int64(s.end-s.start) + s.owed }

// has reports whether the file has n more bytes; of a packed one nobody knows.
func (s *source) has(n int64) bool { return s.stream != nil || n <= s.size-s.place() }

// skip passes over n bytes. What peek gave stays valid until the next call of peek.
func (s *source) skip(n int64) { s.owed += n }

// peek gives the next n bytes, at most a window, without passing over them: io.EOF if there is
// nothing left, io.ErrUnexpectedEOF if there is less. It is valid until the next call.
func (s *source) peek(n int) ([]byte, error) {
	if s.owed > 0 {
		if err := s.pass(); err != nil {
			return nil, err
		}
	}
	if n > s.end-s.start {
		if err := s.fill(n); err != nil {
			return nil, err
		}
	}
	return s.buf[s.start : s.start+n], nil
}

// peekUpTo is peek for where less will do.
func (s *source) peekUpTo(n int) ([]byte, error) {
	b, err := s.peek(n)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return s.buf[s.start:s.end], nil
	}
	return b, err
}

// pass passes over what is owed.
func (s *source) pass() error {
	here := int64(s.end - s.start)
	if s.owed <= here {
		s.start += int(s.owed)
		s.owed = 0
		return nil
	}
	s.owed -= here
	s.start, s.end = 0, 0
	if s.stream == nil {
		if s.owed > s.size-s.off {
			return io.ErrUnexpectedEOF
		}
		s.off += s.owed
		s.owed = 0
		return nil
	}
	for s.owed > 0 {
		if err := s.fill(1); err != nil {
			if errors.Is(err, io.EOF) {
				return io.ErrUnexpectedEOF
			}
			return err
		}
		n := min(s.owed, int64(s.end))
		s.start, s.owed = int(n), s.owed-n
		if s.owed > 0 {
			s.start, s.end = 0, 0
		}
	}
	return nil
}

// fill reads until n bytes are there, and more if it is as easy.
func (s *source) fill(n int) error {
	if s.buf == nil {
		size := int64(window)
		if s.stream == nil {
			size = max(min(s.size, window), 1)
		}
		s.buf = make([]byte, size)
	}
	copy(s.buf, s.buf[s.start:s.end])
	s.start, s.end = 0, s.end-s.start
	for s.end < n {
		if s.off >= s.size && s.stream != nil {
			return fmt.Errorf("it unpacks to more than %d GiB", s.size>>30)
		}
		var got int
		var err error
		if s.stream != nil {
			got, err = s.stream.Read(s.buf[s.end:])
		} else if left := s.size - s.off; left > 0 && s.end < len(s.buf) {
			b := s.buf[s.end:]
			got, err = s.at.ReadAt(b[:min(int64(len(b)), left)], s.off)
		} else {
			err = io.EOF
		}
		s.end, s.off, s.read = s.end+got, s.off+int64(got), s.read+int64(got)
		switch {
		case s.end >= n:
			return nil
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF): // the latter from gzip
			if s.end == 0 && errors.Is(err, io.EOF) {
				return io.EOF
			}
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
	}
	return nil
}

// seek goes to a place in a plain file.
func (s *source) seek(to int64) {
	from := s.off - int64(s.end)
	s.owed = 0
	if to >= from && to <= s.off {
		s.start = int(to - from)
		return
	}
	s.start, s.end, s.off = 0, 0, to
}

// scale gives part/unit as a number of nanoseconds; part is below unit.
func scale(part, unit uint64) uint64 {
	hi, lo := bits.Mul64(part, 1e9)
	q, _ := bits.Div64(hi, lo, unit)
	return q
}
