package winreg

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// Bounds of Windows itself: https://learn.microsoft.com/windows/win32/sysinfo/registry-element-size-limits
const (
	maxDepth = 512
	maxName  = 255
)

// Memory is a key in memory, such as a text export gives. The zero value is an empty key
// of which nothing is known.
type Memory struct {
	// Whole says that every value and every subkey is there. Of a key that is not whole
	// nothing is proven to be absent.
	Whole   bool
	Written time.Time

	name   string
	keys   []*Memory
	values []Value
	byName map[string]int // folded name to place in keys; nil while there are few
	byVal  map[string]int
	lacks  map[string]bool // folded names of values that are known not to be there
}

var _ Key = (*Memory)(nil)

// Create gives the key at path below m, and makes it and what leads to it if need be. It
// fails for a path that no registry has: an empty or too long name, or too deep.
func (m *Memory) Create(path string) (*Memory, error) {
	if strings.Count(path, `\`) >= maxDepth {
		return nil, fmt.Errorf("a key is more than %d deep", maxDepth)
	}
	names := strings.Split(path, `\`)
	for _, n := range names {
		if n == "" || len([]rune(n)) > maxName {
			return nil, fmt.Errorf("%.60q is no path of a key", path)
		}
	}
	k := m
	for _, n := range names {
		i := k.find(n)
		if i < 0 {
			i = len(k.keys)
			k.keys = append(k.keys, &Memory{name: n})
			k.byName = index(k.byName, i, n, func(i int) string { return k.keys[i].name })
		}
		k = k.keys[i]
	}
	return k, nil
}

// few is how many names are looked through one by one.
const few = 8

func (m *Memory) find(name string) int {
	return find(m.byName, len(m.keys), name, func(i int) string { return m.keys[i].name })
}

func (m *Memory) findValue(name string) int {
	return find(m.byVal, len(m.values), name, func(i int) string { return m.values[i].Name })
}

// find gives the place of a name among n, or -1.
func find(places map[string]int, n int, name string, at func(int) string) int {
	if places != nil {
		if i, ok := places[strings.ToLower(name)]; ok {
			return i
		}
		return -1
	}
	for i := range n {
		if strings.EqualFold(at(i), name) {
			return i
		}
	}
	return -1
}

// index records that name is at place i, the last one.
func index(places map[string]int, i int, name string, at func(int) string) map[string]int {
	switch {
	case places != nil:
		places[strings.ToLower(name)] = i
	case i >= few:
		places = map[string]int{}
		for j := range i + 1 {
			places[strings.ToLower(at(j))] = j
		}
	}
	return places
}

// Set sets a value, in place of the one of that name.
func (m *Memory) Set(v Value) {
	if i := m.findValue(v.Name); i >= 0 {
		m.values[i] = v
		return
	}
	m.values = append(m.values, v)
	m.byVal = index(m.byVal, len(m.values)-1, v.Name, func(i int) string { return m.values[i].Name })
}

// Lack records that a value is known not to be there, whether the key is whole or not. A
// value that is set is there all the same.
func (m *Memory) Lack(name string) {
	if m.lacks == nil {
		m.lacks = map[string]bool{}
	}
	m.lacks[strings.ToLower(name)] = true
}

// Children gives the keys directly below m, in the order in which they were made. The
// caller must not change the list.
func (m *Memory) Children() []*Memory { return m.keys }

// Name implements Key.
func (m *Memory) Name() string { return m.name }

// LastWrite implements Key.
func (m *Memory) LastWrite() time.Time { return m.Written }

// Open implements Key.
func (m *Memory) Open(path string) (Key, error) {
	k, err := m.open(path)
	if err != nil {
		return nil, err
	}
	return k, nil
}

func (m *Memory) open(path string) (*Memory, error) {
	k := m
	for name := range strings.SplitSeq(path, `\`) {
		i := k.find(name)
		if i < 0 {
			return nil, fmt.Errorf("key %q: %w", path, absence(k.Whole))
		}
		k = k.keys[i]
	}
	return k, nil
}

func absence(whole bool) error {
	if whole {
		return fs.ErrNotExist
	}
	return ErrNotShown
}

// Subkeys implements Key.
func (m *Memory) Subkeys() ([]Key, error) {
	keys := make([]Key, len(m.keys))
	for i, k := range m.keys {
		keys[i] = k
	}
	return keys, m.rest()
}

// Value implements Key.
func (m *Memory) Value(name string) (Value, error) {
	if i := m.findValue(name); i >= 0 {
		return m.values[i], nil
	}
	return Value{}, fmt.Errorf("value %q: %w", name, absence(m.Whole || m.lacks[strings.ToLower(name)]))
}

// Values implements Key.
func (m *Memory) Values() ([]Value, error) { return slices.Clone(m.values), m.rest() }

func (m *Memory) rest() error {
	if m.Whole {
		return nil
	}
	return ErrNotShown
}
