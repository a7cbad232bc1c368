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
	byName map[string]int // folded name to place in keys
	byVal  map[string]int
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
		i, ok := k.byName[strings.ToLower(n)]
		if !ok {
			if k.byName == nil {
				k.byName = map[string]int{}
			}
			i = len(k.keys)
			k.byName[strings.ToLower(n)] = i
			k.keys = append(k.keys, &Memory{name: n})
		}
		k = k.keys[i]
	}
	return k, nil
}

// Set sets a value, in place of the one of that name.
func (m *Memory) Set(v Value) {
	fold := strings.ToLower(v.Name)
	if i, ok := m.byVal[fold]; ok {
		m.values[i] = v
		return
	}
	if m.byVal == nil {
		m.byVal = map[string]int{}
	}
	m.byVal[fold] = len(m.values)
	m.values = append(m.values, v)
}

// Walk calls visit for m and each key below it, parents first. It is for those who make a
// Memory.
func (m *Memory) Walk(visit func(k *Memory)) {
	visit(m)
	for _, k := range m.keys {
		k.Walk(visit)
	}
}

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
		i, ok := k.byName[strings.ToLower(name)]
		if !ok {
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
	if i, ok := m.byVal[strings.ToLower(name)]; ok {
		return m.values[i], nil
	}
	return Value{}, fmt.Errorf("value %q: %w", name, absence(m.Whole))
}

// Values implements Key.
func (m *Memory) Values() ([]Value, error) { return slices.Clone(m.values), m.rest() }

func (m *Memory) rest() error {
	if m.Whole {
		return nil
	}
	return ErrNotShown
}
