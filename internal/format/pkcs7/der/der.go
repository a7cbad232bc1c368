// Package der walks DER, the encoding in which signatures and catalogs are written. It reads
// values as they lie in the bytes and copies nothing; it knows no types beyond tags. What is
// readable but not canonical is read all the same and found by Check, because bytes that may be
// changed without changing a meaning are where altered signatures hide.
package der

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Identifier octets of the values that signatures are made of.
const (
	Boolean         = 0x01
	Integer         = 0x02
	BitString       = 0x03
	OctetString     = 0x04
	Null            = 0x05
	OID             = 0x06
	UTF8String      = 0x0C
	UTCTime         = 0x17
	GeneralizedTime = 0x18
	BMPString       = 0x1E
	Sequence        = 0x30
	Set             = 0x31
)

// Context is the identifier octet of a context-specific tag; constructed says whether it holds
// values rather than bytes.
func Context(n byte, constructed bool) byte {
	if constructed {
		return 0xA0 | n
	}
	return 0x80 | n
}

const (
	maxLength = 1 << 30 // no signature or catalog comes near
	maxDepth  = 64      // nested signatures with timestamps use about 30
)

// ErrSyntax is wrapped by every error about bytes that are not DER.
var ErrSyntax = errors.New("not DER")

// Value is one encoded value. The zero Value is what is absent: tag 0, which nothing here uses.
type Value struct {
	Tag       byte
	Raw       []byte // with tag and length
	Bytes     []byte // the contents
	canonical bool   // the length is written in the shortest way
}

// Read gives the first value of b and what follows it. The value and the rest lie in b.
func Read(b []byte) (v Value, rest []byte, err error) {
	if len(b) < 2 {
		return Value{}, nil, fmt.Errorf("%w: %d bytes where a value should be", ErrSyntax, len(b))
	}
	if b[0]&0x1F == 0x1F {
		return Value{}, nil, fmt.Errorf("%w: tag of several bytes", ErrSyntax)
	}
	head, n := 2, int(b[1])
	canonical := true
	if n >= 0x80 {
		width := n & 0x7F
		switch {
		case width == 0:
			return Value{}, nil, fmt.Errorf("%w: indefinite length, which is BER", ErrSyntax)
		case width > 4 || len(b) < 2+width:
			return Value{}, nil, fmt.Errorf("%w: length of %d bytes", ErrSyntax, width)
		}
		head, n = 2+width, 0
		for _, c := range b[2:head] {
			n = n<<8 | int(c)
			if n > maxLength {
				return Value{}, nil, fmt.Errorf("%w: length beyond %d", ErrSyntax, maxLength)
			}
		}
		canonical = b[2] != 0 && n >= 0x80
	}
	if n > len(b)-head {
		return Value{}, nil, fmt.Errorf("%w: %d bytes announced, %d there", ErrSyntax, n, len(b)-head)
	}
	end := head + n
	return Value{Tag: b[0], Raw: b[:end:end], Bytes: b[head:end:end], canonical: canonical}, b[end:], nil
}

// Constructed reports whether the value is made of values.
func (v Value) Constructed() bool { return v.Tag&0x20 != 0 }

// Children gives the values that v is made of, at most limit of them.
func (v Value) Children(limit int) (vs []Value, err error) {
	if !v.Constructed() {
		return nil, fmt.Errorf("%w: value with tag %#02x holds no values", ErrSyntax, v.Tag)
	}
	for rest := v.Bytes; len(rest) > 0; {
		var c Value
		if c, rest, err = Read(rest); err != nil {
			return nil, err
		}
		if len(vs) == limit {
			return nil, fmt.Errorf("%w: more than %d values in one", ErrSyntax, limit)
		}
		vs = append(vs, c)
	}
	return vs, nil
}

// Fields reads the values of a SEQUENCE or another constructed value one after the other. The
// first error stays: look at Err, or at what Done gives, after the last.
type Fields struct {
	rest []byte
	err  error
}

// Fields starts reading v, which must have the tag.
func (v Value) Fields(tag byte) *Fields {
	if v.Tag != tag {
		return &Fields{err: fmt.Errorf("%w: tag %#02x, want %#02x", ErrSyntax, v.Tag, tag)}
	}
	return &Fields{rest: v.Bytes}
}

// Next gives the next value, which must have the tag.
func (f *Fields) Next(tag byte) Value {
	v := f.Any()
	if f.err == nil && v.Tag != tag {
		f.err = fmt.Errorf("%w: tag %#02x, want %#02x", ErrSyntax, v.Tag, tag)
		return Value{}
	}
	return v
}

// Any gives the next value whatever its tag.
func (f *Fields) Any() (v Value) {
	if f.err == nil {
		v, f.rest, f.err = Read(f.rest)
	}
	return v
}

// Optional gives the next value if it has the tag, else the zero Value.
func (f *Fields) Optional(tag byte) Value {
	if f.err != nil || len(f.rest) == 0 || f.rest[0] != tag {
		return Value{}
	}
	return f.Any()
}

// More reports whether a value is left to read.
func (f *Fields) More() bool { return f.err == nil && len(f.rest) > 0 }

// Err gives the first error.
func (f *Fields) Err() error { return f.err }

// Done gives the first error, or one about values that nobody read.
func (f *Fields) Done() error {
	if f.err == nil && len(f.rest) > 0 {
		return fmt.Errorf("%w: %d bytes after the last field", ErrSyntax, len(f.rest))
	}
	return f.err
}

// OIDString gives an object identifier in dots, or "" for what is none.
func (v Value) OIDString() string {
	b := v.Bytes
	if v.Tag != OID || len(b) == 0 || len(b) > 64 || b[len(b)-1]&0x80 != 0 {
		return ""
	}
	var s strings.Builder
	var n uint64
	for i, c := range b {
		if n > 1<<50 {
			return ""
		}
		n = n<<7 | uint64(c&0x7F)
		if c&0x80 != 0 {
			continue
		}
		if i == firstArc(b) {
			top := min(n/40, 2)
			s.WriteString(strconv.FormatUint(top, 10))
			n -= top * 40
		}
		s.WriteByte('.')
		s.WriteString(strconv.FormatUint(n, 10))
		n = 0
	}
	return s.String()
}

// firstArc gives the index of the last byte of the first number of an object identifier.
func firstArc(b []byte) int { return slices.IndexFunc(b, func(c byte) bool { return c&0x80 == 0 }) }

// Int gives a small non-negative INTEGER; ok is false for any other.
func (v Value) Int() (n int, ok bool) {
	if v.Tag != Integer || len(v.Bytes) == 0 || len(v.Bytes) > 4 || v.Bytes[0]&0x80 != 0 {
		return 0, false
	}
	for _, c := range v.Bytes {
		n = n<<8 | int(c)
	}
	return n, true
}

// Time gives a UTCTime or GeneralizedTime in the forms that DER allows, fractions too.
func (v Value) Time() (time.Time, error) {
	layout := "20060102150405Z"
	if v.Tag == UTCTime {
		layout = "060102150405Z"
	} else if v.Tag != GeneralizedTime {
		return time.Time{}, fmt.Errorf("%w: no time in tag %#02x", ErrSyntax, v.Tag)
	}
	t, err := time.Parse(layout, string(v.Bytes)) // it takes a fraction after the seconds by itself
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	if v.Tag == UTCTime && t.Year() >= 2050 { // RFC 5280, 4.1.2.5.1; Go's pivot is 1969
		t = t.AddDate(-100, 0, 0)
	}
	return t.UTC(), nil
}

// Check gives what is not canonical in the values of b, in the order of their places: lengths
// longer than need be, integers with leading bytes, booleans that are neither 00 nor FF, bytes
// that are no value. At most limit are given; it looks at no more than the bytes of b and 64 levels.
func Check(b []byte, limit int) (odd []string) {
	var walk func(part []byte, at, depth int)
	note := func(at int, what string) {
		if len(odd) < limit {
			odd = append(odd, fmt.Sprintf("at byte %d: %s", at, what))
		}
	}
	walk = func(part []byte, at, depth int) {
		for len(part) > 0 && len(odd) < limit {
			v, rest, err := Read(part)
			if err != nil {
				note(at, err.Error())
				return
			}
			if !v.canonical {
				note(at, "length not in its shortest form")
			}
			switch c := v.Bytes; {
			case v.Constructed() && depth == maxDepth:
				note(at, "nested too deeply")
			case v.Constructed():
				walk(c, at+len(v.Raw)-len(c), depth+1)
			case v.Tag == Boolean && (len(c) != 1 || c[0] != 0 && c[0] != 0xFF):
				note(at, "boolean neither 00 nor FF")
			case v.Tag == Integer && (len(c) == 0 || len(c) > 1 && (c[0] == 0 && c[1] < 0x80 || c[0] == 0xFF && c[1] >= 0x80)):
				note(at, "integer not in its shortest form")
			case v.Tag == Null && len(c) != 0:
				note(at, "null with contents")
			case v.Tag == OID && v.OIDString() == "":
				note(at, "object identifier not readable")
			}
			at += len(v.Raw)
			part = rest
		}
	}
	walk(b, 0, 0)
	return odd
}
