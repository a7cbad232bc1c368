package backup

import (
	"bytes"
	"errors"
	"fmt"
	"hash"
	"io"
)

// checked gives an error in place of the end of what has another hash than it must have.
type checked struct {
	r     io.Reader
	sum   hash.Hash
	want  []byte
	other bool
}

// Read reads.
func (c *checked) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	_, _ = c.sum.Write(p[:n]) // a hash takes everything
	switch {
	case err == nil:
	case !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return n, damaged("it ends too early: %w", err)
	case !bytes.Equal(c.sum.Sum(nil), c.want):
		c.other = true
		return n, fmt.Errorf("%w: evidence with SHA-256 %x has another", ErrDamaged, c.want)
	}
	return n, err
}
