package host

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
)

// The encoded form of a host holds all that a Host holds, so that a host need not be read
// from its evidence each time something is to be said about it. It is for this program
// alone, and for as long as the types stay as they are: it begins with a fingerprint of
// them, and what another layout wrote is refused. The evidence is the truth; whoever keeps
// hosts reads it again then.
//
// Fields follow each other in the order of the types, numbers are varints, and a string
// that stood before is its place in the list of those that did.

// ErrLayout is for what another version of the program encoded.
var ErrLayout = errors.New("encoded by another version of the program")

var errEncoded = errors.New("the encoded host is damaged")

// Encode gives the encoded form.
func (h *Host) Encode() []byte {
	e := encoder{b: make([]byte, 0, 4096), strings: map[string]uint64{}}
	e.b = append(e.b, layout()...)
	e.value(reflect.ValueOf(h).Elem())
	return e.b
}

// Decode reads what Encode wrote. ErrLayout is for what another version of the program
// did. Memory is bounded by the length of b.
func Decode(b []byte) (*Host, error) {
	l := layout()
	if len(b) < len(l) || string(b[:len(l)]) != l {
		return nil, ErrLayout
	}
	d := decoder{b: b[len(l):]}
	h := new(Host)
	if err := d.value(reflect.ValueOf(h).Elem()); err != nil {
		return nil, err
	}
	if len(d.b) > 0 {
		return nil, errEncoded
	}
	return h, nil
}

// layout is the fingerprint of all types that a Host is made of.
var layout = sync.OnceValue(func() string {
	var b strings.Builder
	describe(&b, reflect.TypeFor[Host](), map[reflect.Type]bool{})
	sum := sha256.Sum256([]byte(b.String()))
	return string(sum[:8])
})

func describe(b *strings.Builder, t reflect.Type, seen map[reflect.Type]bool) {
	b.WriteString(t.String())
	b.WriteByte(' ')
	if seen[t] || t == timeType || t == addrType || t == prefixType {
		return
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Struct:
		for f := range t.Fields() {
			b.WriteString(f.Name)
			b.WriteByte(':')
			describe(b, f.Type, seen)
		}
	case reflect.Slice:
		describe(b, t.Elem(), seen)
	case reflect.Map:
		describe(b, t.Key(), seen)
		describe(b, t.Elem(), seen)
	default:
		b.WriteString(t.Kind().String())
	}
}

var (
	timeType   = reflect.TypeFor[time.Time]()
	addrType   = reflect.TypeFor[netip.Addr]()
	prefixType = reflect.TypeFor[netip.Prefix]()
)

// coded is a type that has what others do not see. It sees to its encoding itself, and to
// its sources.
type coded interface {
	encode(e *encoder)
	decode(d *decoder) error
}

type encoder struct {
	b       []byte
	strings map[string]uint64
	origins map[Source]bool // gathers sources, if not nil
}

func (e *encoder) number(n uint64) { e.b = binary.AppendUvarint(e.b, n) }

func (e *encoder) bytes(b []byte) {
	e.number(uint64(len(b)))
	e.b = append(e.b, b...)
}

// text writes a string: its place among those before, or 0 and the string.
func (e *encoder) text(s string) {
	if at, ok := e.strings[s]; ok {
		e.number(at)
		return
	}
	e.strings[s] = uint64(len(e.strings)) + 1
	e.number(0)
	e.number(uint64(len(s)))
	e.b = append(e.b, s...)
}

func (e *encoder) time(t time.Time) {
	if t.IsZero() {
		e.number(0)
		return
	}
	b, err := t.MarshalBinary()
	if err != nil { // an offset from UTC with seconds
		b, _ = t.UTC().MarshalBinary() // UTC has an encoding
	}
	e.bytes(b)
}

// value writes v, which is addressable.
func (e *encoder) value(v reflect.Value) {
	switch v.Type() {
	case timeType:
		e.time(v.Interface().(time.Time))
		return
	case addrType:
		b, _ := v.Interface().(netip.Addr).MarshalBinary() // it gives no error
		e.bytes(b)
		return
	case prefixType:
		b, _ := v.Interface().(netip.Prefix).MarshalBinary() // it gives no error
		e.bytes(b)
		return
	}
	if c, ok := reflect.TypeAssert[coded](v.Addr()); ok {
		c.encode(e)
		return
	}
	switch v.Kind() {
	case reflect.String:
		e.text(v.String())
	case reflect.Bool:
		e.number(map[bool]uint64{true: 1}[v.Bool()])
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		e.b = binary.AppendVarint(e.b, v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		e.number(v.Uint())
	case reflect.Float64:
		e.number(math.Float64bits(v.Float()))
	case reflect.Struct:
		for _, f := range v.Fields() {
			e.value(f)
		}
	case reflect.Slice:
		e.number(uint64(v.Len())) // #nosec G115 -- a length
		for i := range v.Len() {
			e.value(v.Index(i))
		}
	case reflect.Map:
		e.number(uint64(v.Len())) // #nosec G115 -- a length
		for _, k := range sortedKeys(v) {
			e.value(addressable(k))
			e.value(addressable(v.MapIndex(k)))
		}
	default:
		panic("host: no encoding for " + v.Type().String()) // a test encodes every type
	}
}

// addressable gives a copy of v that has an address.
func addressable(v reflect.Value) reflect.Value {
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	return c
}

// sortedKeys gives the keys of a map, so that equal hosts are encoded equally.
func sortedKeys(v reflect.Value) []reflect.Value {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int {
		if a.Kind() == reflect.String {
			return strings.Compare(a.String(), b.String())
		}
		return int(max(-1, min(1, int64(a.Uint())-int64(b.Uint())))) // #nosec G115 -- a KB, of 32 bits
	})
	return keys
}

type decoder struct {
	b       []byte
	strings []string
}

func (d *decoder) number() (uint64, error) {
	n, k := binary.Uvarint(d.b)
	if k <= 0 {
		return 0, errEncoded
	}
	d.b = d.b[k:]
	return n, nil
}

// count reads the number of things that follow, of which none is shorter than a byte.
func (d *decoder) count() (int, error) {
	n, err := d.number()
	if err != nil || n > uint64(len(d.b)) {
		return 0, errEncoded
	}
	return int(n), nil // #nosec G115 -- at most a length
}

func (d *decoder) bytes() ([]byte, error) {
	n, err := d.count()
	if err != nil {
		return nil, err
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b, nil
}

func (d *decoder) text() (string, error) {
	at, err := d.number()
	switch {
	case err != nil || at > uint64(len(d.strings)):
		return "", errEncoded
	case at > 0:
		return d.strings[at-1], nil
	}
	b, err := d.bytes()
	if err != nil {
		return "", err
	}
	s := string(b)
	d.strings = append(d.strings, s)
	return s, nil
}

func (d *decoder) time() (t time.Time, err error) {
	b, err := d.bytes()
	if err == nil && len(b) > 0 {
		err = t.UnmarshalBinary(b)
	}
	return t, err
}

// value reads v, which can be set and is the zero value.
func (d *decoder) value(v reflect.Value) error {
	switch v.Type() {
	case timeType:
		t, err := d.time()
		v.Set(reflect.ValueOf(t))
		return err
	case addrType, prefixType:
		b, err := d.bytes()
		if err != nil {
			return err
		}
		if err := v.Addr().Interface().(interface{ UnmarshalBinary(b []byte) error }).UnmarshalBinary(b); err != nil {
			return errEncoded
		}
		return nil
	}
	if c, ok := reflect.TypeAssert[coded](v.Addr()); ok {
		return c.decode(d)
	}
	switch v.Kind() {
	case reflect.String:
		s, err := d.text()
		v.SetString(s)
		return err
	case reflect.Bool:
		n, err := d.number()
		v.SetBool(n != 0)
		return err
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, k := binary.Varint(d.b)
		if k <= 0 || v.OverflowInt(n) {
			return errEncoded
		}
		d.b = d.b[k:]
		v.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := d.number()
		if err != nil || v.OverflowUint(n) {
			return errEncoded
		}
		v.SetUint(n)
	case reflect.Float64:
		n, err := d.number()
		v.SetFloat(math.Float64frombits(n))
		return err
	case reflect.Struct:
		for _, f := range v.Fields() {
			if err := d.value(f); err != nil {
				return err
			}
		}
	case reflect.Slice:
		return d.slice(v)
	case reflect.Map:
		return d.mapping(v)
	default:
		return fmt.Errorf("no encoding for %s", v.Type())
	}
	return nil
}

func (d *decoder) slice(v reflect.Value) error {
	n, err := d.count()
	if err != nil || n == 0 {
		return err
	}
	// A list whose length is a lie ends before it has grown to that.
	list := reflect.MakeSlice(v.Type(), 0, min(n, 64))
	for i := range n {
		list = reflect.Append(list, reflect.Zero(v.Type().Elem()))
		if err := d.value(list.Index(i)); err != nil {
			return err
		}
	}
	v.Set(list)
	return nil
}

func (d *decoder) mapping(v reflect.Value) error {
	n, err := d.count()
	if err != nil || n == 0 {
		return err
	}
	v.Set(reflect.MakeMap(v.Type()))
	for range n {
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		if err := errors.Join(d.value(key), d.value(value)); err != nil {
			return err
		}
		v.SetMapIndex(key, value)
	}
	return nil
}

func (s *Source) encode(e *encoder) {
	if e.origins != nil {
		e.origins[Source{Reader: s.Reader, Input: s.Input, Taken: s.Taken}] = true
	}
	e.text(s.Reader)
	e.text(s.Input)
	e.text(s.At)
	e.time(s.Taken)
}

func (s *Source) decode(d *decoder) (err error) {
	if s.Reader, err = d.text(); err != nil {
		return err
	}
	if s.Input, err = d.text(); err != nil {
		return err
	}
	if s.At, err = d.text(); err != nil {
		return err
	}
	s.Taken, err = d.time()
	return err
}

func (f *Fact[T]) encode(e *encoder) {
	e.number(uint64(len(f.claims)))
	for i := range f.claims {
		c := &f.claims[i]
		e.value(reflect.ValueOf(&c.Value).Elem())
		c.From.encode(e)
		e.b = binary.AppendVarint(e.b, int64(c.Rank))
	}
}

func (f *Fact[T]) decode(d *decoder) error {
	n, err := d.count()
	if err != nil {
		return err
	}
	for range n {
		var c Claim[T]
		if err := d.value(reflect.ValueOf(&c).Elem()); err != nil {
			return err
		}
		f.claims = append(f.claims, c)
	}
	return nil
}

func (s *Set[T]) encode(e *encoder) {
	e.number(uint64(len(s.members)))
	for _, v := range slices.Sorted(maps.Keys(s.members)) {
		e.value(reflect.ValueOf(&v).Elem())
		sources := s.members[v]
		e.number(uint64(len(sources)))
		for i := range sources {
			sources[i].encode(e)
		}
	}
	e.number(uint64(len(s.listings)))
	for i := range s.listings {
		e.value(reflect.ValueOf(&s.listings[i]).Elem())
	}
}

func (s *Set[T]) decode(d *decoder) error {
	n, err := d.count()
	if err != nil {
		return err
	}
	if n > 0 {
		s.members = make(map[T][]Source, min(n, 1024))
	}
	for range n {
		var v T
		if err := d.value(reflect.ValueOf(&v).Elem()); err != nil {
			return err
		}
		k, err := d.count()
		if err != nil {
			return err
		}
		var sources []Source
		for range k {
			var src Source
			if err := src.decode(d); err != nil {
				return err
			}
			sources = append(sources, src)
		}
		s.members[v] = sources
	}
	return d.value(reflect.ValueOf(&s.listings).Elem())
}

// Origins gives who reads what of a host, and as of when: each source once, without its
// place, ordered by reader and input. Those that only say what they could not read are
// left out.
func (h *Host) Origins() []Source {
	o := *h
	o.Gaps = nil
	e := encoder{strings: map[string]uint64{}, origins: map[Source]bool{}}
	e.value(reflect.ValueOf(&o).Elem())
	return slices.SortedFunc(maps.Keys(e.origins), func(a, b Source) int {
		return cmp.Or(strings.Compare(a.Reader, b.Reader), strings.Compare(a.Input, b.Input), a.Taken.Compare(b.Taken))
	})
}
