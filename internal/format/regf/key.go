package regf

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/oldguard/oldguard/internal/winreg"
)

// Key is a key of a hive. Strings and data that it gives must not be changed.
type Key struct {
	hive               *Hive
	cell               uint32
	parent             uint32 // number in Hive.keys
	firstKey, keys     uint32
	firstValue, values uint32
	depth              uint16
	lossy              bool // something of it is left out
}

var _ winreg.Key = (*Key)(nil)

func (k *Key) record() []byte {
	b, _ := k.hive.cell(k.cell) // it was read before
	return b
}

// Name is the key's own name. The root has one too, which is not part of any path.
func (k *Key) Name() string {
	b := k.record()
	name := b[keyHead : keyHead+int(binary.LittleEndian.Uint16(b[72:]))]
	if b[2]&flagNarrowKey != 0 {
		return narrow(name)
	}
	return wide(name)
}

// Path joins the names from below the root to the key by backslashes.
func (k *Key) Path() string {
	var names []string
	for ; k.depth > 0; k = &k.hive.keys[k.parent] {
		names = append(names, k.Name())
	}
	slices.Reverse(names)
	return strings.Join(names, `\`)
}

// LastWrite is when the key was last changed.
func (k *Key) LastWrite() time.Time {
	return fileTime(binary.LittleEndian.Uint64(k.record()[4:]))
}

// Class is the key's class name, which is empty for nearly every key.
func (k *Key) Class() string {
	b := k.record()
	class, why := k.hive.cell(binary.LittleEndian.Uint32(b[48:]))
	if n := int(binary.LittleEndian.Uint16(b[74:])); why == "" && n <= len(class) {
		return wide(class[:n])
	}
	return ""
}

// Security is the key's security descriptor as stored, self-relative; nil if it is damaged.
func (k *Key) Security() []byte {
	b, why := k.hive.record(binary.LittleEndian.Uint32(k.record()[44:]), "sk", 20)
	if why != "" {
		return nil
	}
	if n := binary.LittleEndian.Uint32(b[16:]); int64(n) <= int64(len(b)-20) {
		return b[20 : 20+n]
	}
	return nil
}

// Open implements winreg.Key. It gives fs.ErrNotExist only where the hive proves it.
func (k *Key) Open(path string) (winreg.Key, error) {
	for name := range strings.SplitSeq(path, `\`) {
		next := k.child(name)
		if next == nil {
			return nil, fmt.Errorf("key %q: %w", path, k.absence())
		}
		k = next
	}
	return k, nil
}

func (k *Key) child(name string) *Key {
	plain := isASCII(name)
	for i := range k.keys {
		c := &k.hive.keys[k.firstKey+i]
		b := c.record()
		if same(b[keyHead:keyHead+int(binary.LittleEndian.Uint16(b[72:]))], b[2]&flagNarrowKey != 0, name, plain) {
			return c
		}
	}
	return nil
}

// same compares a stored name with one, without regard to case; plain tells that the one
// is ASCII. Keys may have very many subkeys, so what is usual is told apart at once.
func same(stored []byte, isNarrow bool, name string, plain bool) bool {
	switch {
	case !isNarrow:
		return strings.EqualFold(wide(stored), name)
	case !plain:
		return strings.EqualFold(narrow(stored), name)
	case len(stored) != len(name):
		return false
	}
	for i, c := range stored {
		if lower(c) != lower(name[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// errDamaged is why something may be there that is not shown.
type errDamaged struct{}

func (errDamaged) Error() string { return "the hive is damaged here" }

// absence is what it means that something is not in k.
func (k *Key) absence() error {
	switch {
	case k.lossy:
		return errDamaged{}
	case k.hive.state == Dirty:
		return winreg.ErrNotShown // it may stand in the log
	}
	return fs.ErrNotExist
}

// rest is what it means that nothing more is in k.
func (k *Key) rest() error {
	if k.lossy {
		return fmt.Errorf("key %q: %w", k.Path(), errDamaged{})
	}
	if k.hive.state == Dirty {
		return winreg.ErrNotShown
	}
	return nil
}

// Subkeys implements winreg.Key. With an error come those that could be read.
func (k *Key) Subkeys() ([]winreg.Key, error) {
	keys := make([]winreg.Key, k.keys)
	for i := range keys {
		keys[i] = &k.hive.keys[int(k.firstKey)+i]
	}
	return keys, k.rest()
}

// Value implements winreg.Key.
func (k *Key) Value(name string) (winreg.Value, error) {
	plain := isASCII(name)
	for _, off := range k.hive.values[k.firstValue : k.firstValue+k.values] {
		v, _ := k.hive.cell(off &^ damaged)
		if !same(v[valueHead:valueHead+int(binary.LittleEndian.Uint16(v[2:]))], v[16]&flagNarrow != 0, name, plain) {
			continue
		}
		if off&damaged != 0 {
			return winreg.Value{}, fmt.Errorf("value %q: %w", name, errDamaged{})
		}
		return k.value(v), nil
	}
	return winreg.Value{}, fmt.Errorf("value %q: %w", name, k.absence())
}

// Values implements winreg.Key. With an error come those that could be read.
func (k *Key) Values() ([]winreg.Value, error) {
	values := make([]winreg.Value, 0, k.values)
	for _, off := range k.hive.values[k.firstValue : k.firstValue+k.values] {
		if off&damaged == 0 {
			v, _ := k.hive.cell(off)
			values = append(values, k.value(v))
		}
	}
	return values, k.rest()
}

// value reads the value in cell v, whose data was checked.
func (k *Key) value(v []byte) winreg.Value {
	le := binary.LittleEndian
	out := winreg.Value{Name: valueName(v), Type: winreg.Type(le.Uint32(v[12:]))}
	size := le.Uint32(v[4:])
	if n := size &^ inline; n == 0 || size&inline != 0 {
		out.Data = v[8 : 8+n]
		return out
	}
	b, _ := k.hive.cell(le.Uint32(v[8:]))
	if int(size) <= len(b) {
		out.Data = b[:size:size]
		return out
	}
	out.Data = make([]byte, 0, size)
	k.hive.segments(b, int(size), func(part []byte) { out.Data = append(out.Data, part...) })
	return out
}

func valueName(v []byte) string {
	name := v[valueHead : valueHead+int(binary.LittleEndian.Uint16(v[2:]))]
	if v[16]&flagNarrow != 0 {
		return narrow(name)
	}
	return wide(name)
}
