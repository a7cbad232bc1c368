package host

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// Tri is a three-valued truth. The zero value is Unknown.
type Tri uint8

// The three values.
const (
	Unknown Tri = iota
	Yes
	No
)

// String gives unknown, yes or no.
func (t Tri) String() string {
	switch t {
	case Yes:
		return "yes"
	case No:
		return "no"
	case Unknown:
	}
	return "unknown"
}

// MarshalText writes what String gives.
func (t Tri) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads what String gives.
func (t *Tri) UnmarshalText(text []byte) error {
	for _, v := range []Tri{Unknown, Yes, No} {
		if v.String() == string(text) {
			*t = v
			return nil
		}
	}
	return fmt.Errorf("%q is neither yes, no nor unknown", text)
}

// Listing is one source's list of members, and whether the source listed every one.
type Listing struct {
	From Source
	// Whole means that a member this source does not name is not there, for what the
	// source can list at all (Scope).
	Whole bool
	// Scope names what a whole list is whole for: "cbs" for what is delivered as CBS
	// packages (rollups, security-only updates, servicing stacks, IE on old systems).
	Scope string
	// Why says what makes the list whole or not, for people.
	Why string
	// Announced is the number of members the source says it has; Printed the number it
	// shows. Announced is -1 where the source gives no number.
	Announced, Printed int
}

// Set is a set of things of which sources list some or all. The zero value knows nothing:
// Has is Unknown for everything.
type Set[T cmp.Ordered] struct {
	members  map[T][]Source
	listings []Listing
}

// Add records that src names v as a member.
func (s *Set[T]) Add(v T, src Source) {
	if s.members == nil {
		s.members = map[T][]Source{}
	}
	if !slices.Contains(s.members[v], src) {
		s.members[v] = append(s.members[v], src)
	}
}

// List records a source's statement about its list as a whole.
func (s *Set[T]) List(l Listing) {
	if !slices.Contains(s.listings, l) {
		s.listings = append(s.listings, l)
	}
}

// Has is Yes if a source names v, No if none does and one of them lists everything,
// Unknown otherwise. The scope of the whole list is the caller's to heed: see Whole.
func (s Set[T]) Has(v T) Tri {
	if _, ok := s.members[v]; ok {
		return Yes
	}
	if _, ok := s.Whole(); ok {
		return No
	}
	return Unknown
}

// Whole returns a listing that is complete, if there is one.
func (s Set[T]) Whole() (Listing, bool) {
	for _, l := range s.listings {
		if l.Whole {
			return l, true
		}
	}
	return Listing{}, false
}

// Listings returns what the sources say about their lists, in the order they were read.
func (s Set[T]) Listings() []Listing { return s.listings }

// Sources returns who names v, nil if nobody does.
func (s Set[T]) Sources(v T) []Source { return s.members[v] }

// All returns the members in ascending order.
func (s Set[T]) All() []T { return slices.Sorted(maps.Keys(s.members)) }

// Len is the number of members.
func (s Set[T]) Len() int { return len(s.members) }

// Merge adds what t knows to s.
func (s *Set[T]) Merge(t Set[T]) {
	for v, srcs := range t.members {
		for _, src := range srcs {
			s.Add(v, src)
		}
	}
	for _, l := range t.listings {
		s.List(l)
	}
}
