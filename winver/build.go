package winver

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Build is a Windows version number such as 6.0.6003 or, with its revision,
// 6.0.6003.23717. The zero value means "not known". Builds are comparable with ==;
// a build with an unknown revision is not equal to the same build with a known one.
type Build struct {
	Major, Minor uint16
	Number       uint32
	Revision     uint32 // the fourth number; meaningful only if HasRevision
	HasRevision  bool
}

// Known reports whether b holds a version at all.
func (b Build) Known() bool { return b != Build{} }

// Base returns b without its revision.
func (b Build) Base() Build { return Build{Major: b.Major, Minor: b.Minor, Number: b.Number} }

// String writes the usual dotted form, with the revision only where it is known.
// The zero value is the empty string.
func (b Build) String() string {
	switch {
	case !b.Known():
		return ""
	case b.HasRevision:
		return fmt.Sprintf("%d.%d.%d.%d", b.Major, b.Minor, b.Number, b.Revision)
	default:
		return fmt.Sprintf("%d.%d.%d", b.Major, b.Minor, b.Number)
	}
}

// Compare orders builds by major, minor, number and revision. An unknown revision sorts
// before every known one: 6.0.6003 < 6.0.6003.0 < 6.0.6003.20489.
func (b Build) Compare(c Build) int {
	return cmp.Or(
		cmp.Compare(b.Major, c.Major),
		cmp.Compare(b.Minor, c.Minor),
		cmp.Compare(b.Number, c.Number),
		cmp.Compare(b.revision(), c.revision()),
	)
}

func (b Build) revision() int64 {
	if !b.HasRevision {
		return -1
	}
	return int64(b.Revision)
}

// AtLeast reports whether b is known to be c or later, in the order of Compare: an unknown
// build never is, and a build with an unknown revision is not at least the same build with
// a known one. To accept a product whatever its updates, give c without a revision.
//
// On Windows 6.0 and 6.1 before the rollup model a higher revision is not always newer; see
// Branch.
func (b Build) AtLeast(c Build) bool { return b.Known() && b.Compare(c) >= 0 }

// MarshalText writes the dotted form.
func (b Build) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads what Parse reads, as long as a build is in it. The empty text gives
// the zero value.
func (b *Build) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*b = Build{}
		return nil
	}
	v, err := Parse(string(text))
	if err != nil {
		return err
	}
	if !v.Build.Known() {
		return fmt.Errorf("%q states no build", text)
	}
	*b = v.Build
	return nil
}

// KB is the number of a Microsoft Knowledge Base article, by which updates are named.
// Zero means none.
type KB uint32

// String writes the usual form, KB4493730.
func (k KB) String() string { return "KB" + strconv.FormatUint(uint64(k), 10) }

// MarshalText writes the usual form, KB4493730.
func (k KB) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what ParseKB reads.
func (k *KB) UnmarshalText(text []byte) error {
	v, err := ParseKB(string(text))
	if err == nil {
		*k = v
	}
	return err
}

// ParseKB reads "KB4493730", "kb4493730" or "4493730". Article numbers have five to
// eight digits (KB67567 to KB5073697 are in use); anything else is an error.
func ParseKB(s string) (KB, error) {
	digits := strings.TrimSpace(s)
	if len(digits) > 2 && strings.EqualFold(digits[:2], "KB") {
		digits = digits[2:]
	}
	if len(digits) < 5 || len(digits) > 8 {
		return 0, fmt.Errorf("%q is not a KB number", s)
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is not a KB number", s)
	}
	return KB(n), nil
}

// Arch is a processor architecture that Windows was made for.
type Arch uint8

// The architectures. The zero value is not known.
const (
	ArchUnknown Arch = iota
	X86
	AMD64
	IA64
	ARM
	ARM64
)

var archNames = [...]string{"", "x86", "amd64", "ia64", "arm", "arm64"}

// String gives x86, amd64, ia64, arm, arm64, or the empty string.
func (a Arch) String() string {
	if int(a) < len(archNames) {
		return archNames[a]
	}
	return ""
}

// MarshalText writes what String gives.
func (a Arch) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what ParseArch reads. The empty text gives ArchUnknown.
func (a *Arch) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*a = ArchUnknown
		return nil
	}
	v, err := ParseArch(string(text))
	if err == nil {
		*a = v
	}
	return err
}

// ParseArch reads the name of an architecture as Windows, its tools and its packages write
// it, in upper or lower case: x86, i386; x64, amd64, x86_64; ia64; arm; arm64, aarch64.
func ParseArch(s string) (Arch, error) {
	if a := archOf(s); a != ArchUnknown {
		return a, nil
	}
	return ArchUnknown, fmt.Errorf("%.20q is not an architecture", s)
}

func archOf(name string) Arch {
	for _, n := range [...]struct {
		name string
		arch Arch
	}{
		{"x86", X86},
		{"i386", X86},
		{"amd64", AMD64},
		{"x64", AMD64},
		{"x86_64", AMD64},
		{"ia64", IA64},
		{"arm64", ARM64},
		{"aarch64", ARM64},
		{"arm", ARM},
	} {
		if strings.EqualFold(name, n.name) {
			return n.arch
		}
	}
	return ArchUnknown
}
