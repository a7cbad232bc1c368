// Package winreg is one view of a registry, wherever it comes from: an export, a hive, a
// live server. It reads; nothing is ever written to a registry.
//
// What is not there, and what is not known to be there, are two things: a hive proves that
// a key is absent, and an export of another key does not.
package winreg

import (
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
)

// ErrNotShown means that the source does not show whether there is such a key or value:
// it was not exported. What is proven to be absent is fs.ErrNotExist.
var ErrNotShown = errors.New("not shown by the source")

// Key is a key of a registry. Names are compared without regard to case. A Key is safe for
// concurrent use if nobody changes what is behind it.
type Key interface {
	// Name is the key's own name, the last part of its path; empty for a root without one.
	Name() string
	// LastWrite is when the key was last changed, zero if the source does not tell.
	LastWrite() time.Time
	// Open gives a key below this one; path is joined by backslashes. It gives
	// fs.ErrNotExist if there is no such key, ErrNotShown if the source does not tell, and
	// another error for damage.
	Open(path string) (Key, error)
	// Subkeys gives the keys directly below, in the order of the source. With ErrNotShown
	// come those that are known where there may be others.
	Subkeys() ([]Key, error)
	// Value gives a value by its name, the key's default value by the empty name. Its
	// errors are those of Open.
	Value(name string) (Value, error)
	// Values gives every value, in the order of the source; its errors are those of Subkeys.
	Values() ([]Value, error)
}

// Type is the type of a value, as Windows numbers them.
type Type uint32

// The types: https://learn.microsoft.com/windows/win32/sysinfo/registry-value-types
const (
	None     Type = 0
	String   Type = 1
	Expand   Type = 2
	Binary   Type = 3
	Dword    Type = 4
	DwordBig Type = 5
	Link     Type = 6
	Multi    Type = 7
	Qword    Type = 11
)

var typeNames = map[Type]string{
	None: "REG_NONE", String: "REG_SZ", Expand: "REG_EXPAND_SZ", Binary: "REG_BINARY", Dword: "REG_DWORD",
	DwordBig: "REG_DWORD_BIG_ENDIAN", Link: "REG_LINK", Multi: "REG_MULTI_SZ", Qword: "REG_QWORD",
}

// String gives the name, REG_SZ, or the number of a type without one.
func (t Type) String() string {
	if n, ok := typeNames[t]; ok {
		return n
	}
	return strconv.FormatUint(uint64(t), 10)
}

// TypeOf reads a name that String gives. REG_DWORD_LITTLE_ENDIAN and the like are what
// Windows documents as the same.
func TypeOf(name string) (Type, bool) {
	name = strings.TrimSuffix(name, "_LITTLE_ENDIAN")
	for t, n := range typeNames {
		if n == name {
			return t, true
		}
	}
	return None, false
}

// Value is a value with its data as the registry holds it.
type Value struct {
	Name string
	Type Type
	Data []byte
}

// Text is the text of a string value, up to its first NUL. ok is false for other types.
func (v Value) Text() (s string, ok bool) {
	if v.Type != String && v.Type != Expand && v.Type != Link {
		return "", false
	}
	s, _, _ = strings.Cut(decode(v.Data), "\x00")
	return s, true
}

// Texts are the texts of a REG_MULTI_SZ value, without empty ones.
func (v Value) Texts() (list []string, ok bool) {
	if v.Type != Multi {
		return nil, false
	}
	for s := range strings.SplitSeq(decode(v.Data), "\x00") {
		if s != "" {
			list = append(list, s)
		}
	}
	return list, true
}

// Number is the number of a REG_DWORD or REG_QWORD value. ok is false for other types and
// for data of another length.
func (v Value) Number() (n uint64, ok bool) {
	switch {
	case v.Type == Dword && len(v.Data) == 4:
		return uint64(binary.LittleEndian.Uint32(v.Data)), true
	case v.Type == DwordBig && len(v.Data) == 4:
		return uint64(binary.BigEndian.Uint32(v.Data)), true
	case v.Type == Qword && len(v.Data) == 8:
		return binary.LittleEndian.Uint64(v.Data), true
	}
	return 0, false
}

// Plain is the text, or the number in decimal; empty for other types.
func (v Value) Plain() string {
	if s, ok := v.Text(); ok {
		return s
	}
	if n, ok := v.Number(); ok {
		return strconv.FormatUint(n, 10)
	}
	return ""
}

func decode(b []byte) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}

// TextValue makes a value of a string type; Multi joins several.
func TextValue(name string, t Type, texts ...string) Value {
	var units []uint16
	for _, s := range texts {
		units = append(units, utf16.Encode([]rune(s))...)
		units = append(units, 0)
	}
	if t == Multi {
		units = append(units, 0)
	}
	b := make([]byte, 0, 2*len(units))
	for _, u := range units {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return Value{Name: name, Type: t, Data: b}
}

// DwordValue makes a REG_DWORD value.
func DwordValue(name string, n uint32) Value {
	return Value{Name: name, Type: Dword, Data: binary.LittleEndian.AppendUint32(nil, n)}
}
