// Package space is the algebra of sets of packets: exact, by ranges and not by samples. It knows
// no rules and no directions; package policy does.
package space

import (
	"cmp"
	"net/netip"
	"slices"
)

// Point is what ranges are of. Next and Prev are asked only where there is a next or a
// previous point.
type Point[T any] interface {
	comparable
	Compare(T) int
	Next() T
	Prev() T
}

// Num is a port, a protocol's number, or a type or a code of ICMP.
type Num uint16

// Compare is negative if n is less than o.
func (n Num) Compare(o Num) int { return cmp.Compare(n, o) }

// Next is the number after n.
func (n Num) Next() Num { return n + 1 }

// Prev is the number before n.
func (n Num) Prev() Num { return n - 1 }

// Span is a range with both its ends. A span of addresses is of one family.
type Span[T Point[T]] struct{ From, To T }

// Set is a set of points: spans in order that neither overlap nor touch. It is not changed
// once it is made. The zero value is empty.
type Set[T Point[T]] []Span[T]

// Addrs is a set of addresses, IPv4 before IPv6.
type Addrs = Set[netip.Addr]

// Nums is a set of numbers.
type Nums = Set[Num]

// SetOf makes a set of spans in any order. A span that ends before it begins is nothing.
func SetOf[T Point[T]](spans ...Span[T]) Set[T] {
	spans = slices.DeleteFunc(slices.Clone(spans), func(p Span[T]) bool { return p.From.Compare(p.To) > 0 })
	slices.SortFunc(spans, func(a, b Span[T]) int { return a.From.Compare(b.From) })
	var out Set[T]
	for _, p := range spans {
		if n := len(out); n > 0 && (p.From.Compare(out[n-1].To) <= 0 || p.From == out[n-1].To.Next()) {
			if p.To.Compare(out[n-1].To) > 0 {
				out[n-1].To = p.To
			}
			continue
		}
		out = append(out, p)
	}
	return out
}

// Has reports whether the set holds the point.
func (s Set[T]) Has(v T) bool {
	i, _ := slices.BinarySearchFunc(s, v, func(p Span[T], v T) int { return p.To.Compare(v) })
	return i < len(s) && s[i].From.Compare(v) <= 0
}

// Equal reports whether two sets hold the same points.
func (s Set[T]) Equal(o Set[T]) bool { return slices.Equal(s, o) }

// Or is the union.
func (s Set[T]) Or(o Set[T]) Set[T] {
	if len(s) == 0 {
		return o
	}
	if len(o) == 0 {
		return s
	}
	return SetOf(slices.Concat(s, o)...)
}

// And is the intersection.
func (s Set[T]) And(o Set[T]) Set[T] {
	if len(s) > 0 && len(o) > 0 && (&s[0] == &o[0] && len(s) == len(o)) {
		return s
	}
	var out Set[T]
	for i, j := 0, 0; i < len(s) && j < len(o); {
		from, to := s[i].From, s[i].To
		if o[j].From.Compare(from) > 0 {
			from = o[j].From
		}
		c := o[j].To.Compare(to)
		if c < 0 {
			to = o[j].To
		}
		if from.Compare(to) <= 0 {
			out = append(out, Span[T]{from, to})
		}
		if c < 0 {
			j++
		} else {
			i++
		}
	}
	return out
}

// Meets reports whether the sets have a point in common.
func (s Set[T]) Meets(o Set[T]) bool {
	for i, j := 0, 0; i < len(s) && j < len(o); {
		switch {
		case s[i].To.Compare(o[j].From) < 0:
			i++
		case o[j].To.Compare(s[i].From) < 0:
			j++
		default:
			return true
		}
	}
	return false
}

// Minus is what s holds and o does not.
func (s Set[T]) Minus(o Set[T]) Set[T] {
	var out Set[T]
	j := 0
	for _, p := range s {
		for j < len(o) && o[j].To.Compare(p.From) < 0 {
			j++
		}
		gone := false
		for k := j; k < len(o) && o[k].From.Compare(p.To) <= 0; k++ {
			if o[k].From.Compare(p.From) > 0 {
				out = append(out, Span[T]{p.From, o[k].From.Prev()})
			}
			if o[k].To.Compare(p.To) >= 0 {
				gone = true
				break
			}
			p.From = o[k].To.Next()
		}
		if !gone {
			out = append(out, p)
		}
	}
	return out
}
