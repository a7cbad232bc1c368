package winver

import (
	"errors"
	"fmt"
	"strings"
)

// FromRegistry reads a version from the values of the key
// HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion. get gives a value by its name, numbers
// in decimal, and the empty string for a value that is absent or unreadable. It is asked for
// CurrentBuildNumber, CurrentBuild, CurrentMajorVersionNumber, CurrentMinorVersionNumber,
// CurrentVersion, UBR, BuildLabEx, BuildLab and CSDVersion. A value that cannot be read as
// what it should be counts as absent; it is an error if no build number is left, or if the
// build number and the major version cannot both be true.
//
// The revision is UBR from Windows 10 on. Before, UBR is absent or not maintained, and the
// greater of UBR and the revision in BuildLabEx is given, which is that of the running
// kernel: an update that left the kernel alone does not raise it, so it is a lower bound.
//
// Branch, BranchName and Compiled are those of BuildLabEx or BuildLab. On Windows 10 these
// may lag behind: version 22H2, 19045, bears 19041.1.amd64fre.vb_release.191206-1406.
func FromRegistry(get func(name string) string) (Version, error) {
	// BuildLabEx and BuildLab say the same, the former with revision and architecture.
	v, err := Parse(get("BuildLabEx"))
	if err != nil {
		v, err = Parse(get("BuildLab"))
	}
	lab := v.Build
	if err != nil {
		v, lab = Version{}, Build{}
	}

	b := Build{Number: lab.Number}
	// CurrentBuild comes second: up to Server 2003 it holds the text "1.511.1 ()
	// (Obsolete data - do not use)".
	for _, name := range []string{"CurrentBuildNumber", "CurrentBuild"} {
		if n, ok := number(get(name)); ok && n > 0 {
			b.Number = n
			break
		}
	}
	if b.Number == 0 {
		return Version{}, errors.New("no build number in CurrentBuildNumber, CurrentBuild, BuildLabEx and BuildLab")
	}

	// CurrentVersion comes last: it stays at 6.3 on Windows 10 and later.
	known := false
	if b.Major, b.Minor, known = pair(get("CurrentMajorVersionNumber"), get("CurrentMinorVersionNumber")); !known {
		if b.Major, b.Minor, known = family(b.Number); !known {
			major, minor, _ := strings.Cut(get("CurrentVersion"), ".")
			if b.Major, b.Minor, known = pair(major, minor); !known {
				return Version{}, fmt.Errorf("build number %d is of no known Windows, and CurrentVersion is %.20q", b.Number, get("CurrentVersion"))
			}
		}
	}
	if err := plausible(b); err != nil {
		return Version{}, err
	}

	b.Revision, b.HasRevision = number(get("UBR"))
	if b.Major < 10 && lab.HasRevision && lab.Number == b.Number {
		b.Revision, b.HasRevision = max(b.Revision, lab.Revision), true
	}
	v.Build = b
	if v.BranchName == "" {
		v.Branch = b.Branch()
	}
	v.ServicePack = csd(get("CSDVersion"))
	return v, nil
}

// number reads one field of a version and nothing else.
func number(s string) (uint32, bool) {
	f, n, err := fields(s)
	return f[0], n == 1 && err == nil
}

func pair(major, minor string) (uint16, uint16, bool) {
	f, n, err := fields(major)
	g, m, err2 := fields(minor)
	if n != 1 || m != 1 || err != nil || err2 != nil || f[0] == 0 {
		return 0, 0, false
	}
	return uint16(f[0]), uint16(g[0]), true //nolint:gosec // fields gives at most maxField
}

// csd reads CSDVersion: the one small number in a text of any language, 0 without one.
func csd(s string) int {
	if len(s) > maxText {
		return 0
	}
	for word := range strings.FieldsFuncSeq(s, func(r rune) bool { return r < '0' || r > '9' }) {
		if n, ok := number(word); ok && 0 < n && n <= maxServicePack {
			return int(n)
		}
	}
	return 0
}
