package host

import (
	"slices"
	"time"

	"github.com/oldguard/oldguard/winver"
)

// Source says who read a statement, from which input, at which place in it, and as of when.
type Source struct {
	Reader string    // name of the evidence reader, such as "systeminfo"
	Input  string    // name of the input as the user gave it
	At     string    // place in the input: a line, a registry key, a field
	Taken  time.Time // when the evidence was taken; zero if the evidence does not say
}

// Claim is one source's word for a value.
type Claim[T comparable] struct {
	Value T
	From  Source
	// Rank tells how much this source is to be trusted for this fact; higher is better.
	// It is the reader's place in the list of readers unless the reader knows better.
	Rank int
}

// Fact is a value that zero or more sources state. The zero value is unknown.
type Fact[T comparable] struct {
	claims []Claim[T] // best first, stable for equal rank
}

// Say records that src states v. Saying the zero value of T is saying nothing. The same
// value from the same place is recorded once.
func (f *Fact[T]) Say(v T, rank int, src Source) {
	var zero T
	if v == zero {
		return
	}
	for _, c := range f.claims {
		if c.Value == v && c.From == src {
			return
		}
	}
	i := 0
	for i < len(f.claims) && f.claims[i].Rank >= rank {
		i++
	}
	f.claims = slices.Insert(f.claims, i, Claim[T]{v, src, rank})
}

// Value returns the best claim's value, and whether there is one. Where another source
// tells the same more exactly, that is the value.
func (f Fact[T]) Value() (v T, known bool) {
	if len(f.claims) == 0 {
		return v, false
	}
	v = f.claims[0].Value
	for _, c := range f.claims[1:] {
		if refines(c.Value, v) {
			v = c.Value
		}
	}
	return v, true
}

// Or returns the value, or def if it is unknown.
func (f Fact[T]) Or(def T) T {
	if v, ok := f.Value(); ok {
		return v
	}
	return def
}

// Known reports whether any source states a value.
func (f Fact[T]) Known() bool { return len(f.claims) > 0 }

// Disputed reports whether two sources state values that cannot both be true. A build
// without its revision says less than one with it, and nothing else.
func (f Fact[T]) Disputed() bool {
	var most T // of those so far that agree, what says most
	for i, c := range f.claims {
		switch {
		case i == 0 || refines(c.Value, most):
			most = c.Value
		case c.Value != most && !refines(most, c.Value):
			return true
		}
	}
	return false
}

// refines reports whether a is b told more exactly: a build with its revision, or Server
// Core where another source can say "server" only.
func refines[T comparable](a, b T) bool {
	switch x := any(a).(type) {
	case winver.Build:
		return x.HasRevision && any(b) == any(x.Base())
	case Installation:
		return x == ServerCore && any(b) == any(Server)
	}
	return false
}

// Claims returns all claims, best first. The caller must not change them.
func (f Fact[T]) Claims() []Claim[T] { return f.claims }

// Merge adds every claim of g to f.
func (f *Fact[T]) Merge(g Fact[T]) {
	for _, c := range g.claims {
		f.Say(c.Value, c.Rank, c.From)
	}
}
