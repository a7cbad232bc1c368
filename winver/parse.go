package winver

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	maxText        = 512    // bytes; the longest real text, a systeminfo line, has about 80
	maxField       = 0xffff // the four numbers of a file version are 16 bits each (VS_FIXEDFILEINFO)
	maxServicePack = 6      // Windows NT 4.0 had six, no later one more than four
	// .NET's OSVersion.Version has the service pack as the upper half of the fourth number,
	// and nothing of the revision: 6.0.6002.131072 is Service Pack 2. dotnet/runtime,
	// System.Private.CoreLib/src/System/Environment.Win32.cs (GetOSVersion), read 2026-11-22.
	maxRevision = maxServicePack<<16 | maxField
)

// Parse reads a Windows version in any of the ways it is written:
//
//	6.0.6003, 6.0.6003.22015, 6003, 6003.22015                registry, WMI, people
//	6003.22015.amd64fre.vistasp2_ldr_escrow.230327-1945       BuildLabEx
//	6003.vistasp2_ldr_escrow.230327-1945                      BuildLab
//	6.0.6003.22015 (vistasp2_ldr_escrow.230327-1945)          version of a file
//	6.0.6002 Service Pack 2 Build 6002                        systeminfo, msinfo32
//	10.0.17134 N/A Build 17134                                systeminfo
//	Microsoft Windows [Version 6.0.6003]                      ver
//	Version 6.0 (Build 6003: Service Pack 2)                  winver
//	Version 1809 (OS Build 17763.107)                         winver, Settings
//	Microsoft Windows NT 6.0.6003 Service Pack 2              .NET Environment.OSVersion
//	Service Pack 2                                            CSDVersion
//
// The words may be in any language and any encoding that leaves ASCII alone: Parse goes by
// the numbers, their shape and their order. A build number without major and minor version
// is completed for released Windows versions, and from 10240 up; 22015 alone is 10.0.22015.
//
// A text that states two different builds, service packs or branches is an error, and so is
// a pair that cannot be, such as 6.3.17763. (Some tools print that, joining two registry
// values; CurrentVersion stays at 6.3 on Windows 10.) Texts over 512 bytes are refused.
func Parse(s string) (Version, error) {
	if len(s) > maxText {
		return Version{}, fmt.Errorf("windows version: %d bytes is too long, at most %d", len(s), maxText)
	}
	var p parser
	for i := 0; i < len(s); {
		end := wordEnd(s, i)
		if end == i {
			i++
			continue
		}
		if err := p.word(s[i:end]); err != nil {
			return Version{}, fmt.Errorf("windows version %q: %w", s, err)
		}
		i = end
	}
	v, err := p.version()
	if err != nil {
		return Version{}, fmt.Errorf("windows version %q: %w", s, err)
	}
	return v, nil
}

// wordEnd gives the end of the word that begins at i, i itself if none does. Bytes beyond
// ASCII separate, so that no encoding can matter. A hyphen belongs to a word only inside
// the stamp 230327-1945.
func wordEnd(s string, i int) int {
	for j := i; ; j++ {
		switch {
		case j == len(s):
			return j
		case '0' <= s[j] && s[j] <= '9', 'a' <= s[j]|0x20 && s[j]|0x20 <= 'z', s[j] == '.', s[j] == '_':
		case s[j] == '-' && j-i >= 6 && digits(s[j-6:j]) && len(s)-j > 4 && digits(s[j+1:j+5]):
		default:
			return j
		}
	}
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// parser collects what the words of one text state.
type parser struct {
	v        Version
	complete bool   // major.minor.build was stated in one word
	repeated bool   // and the build number again, by itself
	pack, nt bool   // the last word was "Pack", was "NT"
	odd      uint32 // a number by itself that is no build number of a known Windows
}

func (p *parser) word(w string) error {
	afterPack, afterNT := p.pack, p.nt
	p.pack, p.nt = false, false
	w = strings.Trim(w, ".")
	if len(w) > 1 && (w[0] == 'v' || w[0] == 'V') && digits(w[1:2]) {
		w = w[1:]
	}
	if rest, stamp, ok := cutStamp(w); ok {
		return p.lab(rest, stamp)
	}
	f, n, err := fields(w)
	switch {
	case n == 1 && err != nil:
		return nil // a number, but not of a version
	case err != nil:
		return err
	case n == 1:
		return p.single(f[0], afterPack)
	case n > 1:
		if afterNT && n == 4 && f[3] == 0 {
			n = 3 // .NET writes "Microsoft Windows NT 10.0.19045.0" whatever the revision
		}
		return p.dotted(f, n)
	case len(w) == 3 && strings.EqualFold(w[:2], "SP") && digits(w[2:]):
		return p.servicePack(uint32(w[2] - '0'))
	}
	// What is left are words: "Build", and also "22H2" and "WinBuild.160101.0800", which
	// stands in every file of Windows 10 and is neither a branch nor a time.
	p.pack, p.nt = strings.EqualFold(w, "Pack"), w == "NT"
	if arch := archOf(w); arch != ArchUnknown {
		return p.arch(arch)
	}
	return nil
}

// fields reads one to four numbers joined by dots. n is 0, without an error, if w is
// anything else than digits and dots. An error comes with the number of fields seen.
func fields(w string) (f [4]uint32, n int, err error) {
	number := true // the byte before is a dot or the beginning
	for i := range len(w) {
		switch c := w[i]; {
		case '0' <= c && c <= '9':
			if number {
				n++
			}
			number = false
			if n > len(f) {
				continue
			}
			limit := uint32(maxField)
			if n == len(f) {
				limit = maxRevision
			}
			if f[n-1] = f[n-1]*10 + uint32(c-'0'); f[n-1] > limit {
				f[n-1] = limit
				err = fmt.Errorf("%s: a number is above %d", w, limit)
			}
		case c == '.' && !number:
			number = true
		default:
			return f, 0, nil
		}
	}
	if number {
		return f, 0, nil
	}
	if n > len(f) {
		return f, n, fmt.Errorf("%s: more than four numbers", w)
	}
	return f, n, err
}

// single takes a number that stands by itself: a build number, a service pack, or neither,
// such as the 1809 in "Version 1809".
func (p *parser) single(x uint32, afterPack bool) error {
	b := &p.v.Build
	if 0 < x && x <= maxServicePack && (afterPack || b.Number != 0) {
		return p.servicePack(x)
	}
	if x == b.Number && x != 0 {
		p.repeated = p.complete
		return nil
	}
	if _, _, known := family(x); known {
		return p.number(x)
	}
	p.odd = x
	return nil
}

func (p *parser) dotted(f [4]uint32, n int) error {
	const highestMajor = 10
	if n == 2 && f[0] > highestMajor { // 6003.22015
		if err := p.number(f[0]); err != nil {
			return err
		}
		return p.revision(f[1])
	}
	b := &p.v.Build
	major, minor := uint16(f[0]), uint16(f[1]) //nolint:gosec // fields gives at most maxField
	if major < 3 || major > highestMajor {     // Windows NT began at 3.1
		return fmt.Errorf("no Windows has version %d.%d", major, minor)
	}
	if b.Major != 0 && (b.Major != major || b.Minor != minor) {
		return fmt.Errorf("states version %d.%d as well as %d.%d", b.Major, b.Minor, major, minor)
	}
	b.Major, b.Minor = major, minor
	if n == 2 {
		return nil
	}
	p.complete = true
	if err := p.number(f[2]); err != nil || n == 3 {
		return err
	}
	return p.revision(f[3])
}

func (p *parser) number(x uint32) error {
	b := &p.v.Build
	if _, _, known := family(x); x == 0 || !known && b.Major == 0 {
		return fmt.Errorf("build number %d is of no known Windows", x)
	}
	if b.Number != 0 && b.Number != x {
		return fmt.Errorf("states build %d as well as %d", b.Number, x)
	}
	b.Number = x
	return nil
}

func (p *parser) revision(x uint32) error {
	b := &p.v.Build
	if x > maxField {
		return p.servicePack(x >> 16)
	}
	if b.HasRevision && b.Revision != x {
		return fmt.Errorf("states revision %d as well as %d", b.Revision, x)
	}
	b.Revision, b.HasRevision = x, true
	return nil
}

func (p *parser) servicePack(x uint32) error {
	if p.v.ServicePack != 0 && p.v.ServicePack != int(x) {
		return fmt.Errorf("states service pack %d as well as %d", p.v.ServicePack, x)
	}
	p.v.ServicePack = int(x)
	return nil
}

func (p *parser) arch(a Arch) error {
	if p.v.Arch != ArchUnknown && p.v.Arch != a {
		return fmt.Errorf("states architecture %s as well as %s", p.v.Arch, a)
	}
	p.v.Arch = a
	return nil
}

// cutStamp cuts the time of compilation, 230327-1945, from the end of w.
func cutStamp(w string) (rest, stamp string, ok bool) {
	const layout = "060102-1504"
	i := len(w) - len(layout)
	if i < 1 || w[i-1] != '.' || w[i+6] != '-' {
		return w, "", false
	}
	return w[:i-1], w[i:], true
}

// lab takes what stands before the stamp in BuildLabEx, BuildLab or the version of a file:
// numbers, architecture, branch; only the branch is always there.
func (p *parser) lab(w, stamp string) error {
	branch := w[strings.LastIndexByte(w, '.')+1:]
	w = strings.TrimSuffix(w[:len(w)-len(branch)], ".")
	if branch == "" || digits(branch) {
		return errors.New("names no branch before " + stamp)
	}
	if p.v.BranchName != "" && p.v.BranchName != branch {
		return fmt.Errorf("states branch %s as well as %s", p.v.BranchName, branch)
	}
	compiled, err := time.Parse("060102-1504", stamp)
	if err != nil {
		return fmt.Errorf("%s is not a time of compilation", stamp)
	}
	p.v.BranchName, p.v.Compiled = branch, compiled

	flavor := w[strings.LastIndexByte(w, '.')+1:]
	for _, kind := range [...]string{"fre", "chk"} {
		name, ok := strings.CutSuffix(flavor, kind)
		if !ok {
			continue
		}
		arch := archOf(name)
		if arch == ArchUnknown {
			return fmt.Errorf("%q is not an architecture", name)
		}
		if err = p.arch(arch); err != nil {
			return err
		}
		p.v.Checked = kind == "chk"
		w = strings.TrimSuffix(w[:len(w)-len(flavor)], ".")
	}

	f, n, err := fields(w)
	switch {
	case w == "":
		return nil
	case err != nil:
		return err
	case n == 0:
		return fmt.Errorf("%s does not begin with a build number", w)
	case n == 1:
		return p.number(f[0])
	default:
		return p.dotted(f, n)
	}
}

// version gives the result, once all words are read.
func (p *parser) version() (Version, error) {
	v, b := &p.v, &p.v.Build
	if b.Major != 0 && b.Number == 0 && p.odd >= 1000 {
		b.Number = p.odd // "Version 6.0 (Build 5384)", which is not in the table
	}
	if b.Number == 0 {
		switch {
		case b.Major != 0:
			return *v, fmt.Errorf("states %d.%d, but no build number", b.Major, b.Minor)
		case v.ServicePack != 0 && v.BranchName == "":
			return *v, nil
		case p.odd != 0:
			return *v, fmt.Errorf("build number %d is of no known Windows", p.odd)
		}
		return *v, errors.New("no build number in it")
	}
	if b.Major == 0 {
		b.Major, b.Minor, _ = family(b.Number)
	}
	if err := plausible(*b); err != nil {
		return *v, err
	}
	// systeminfo and msinfo32 write the service pack between two build numbers, and
	// "N/A" in the user's language, or nothing, if there is none.
	line := b.Line()
	switch {
	case v.ServicePack == 0 && p.repeated && line.ServicePack <= 0:
		v.ServicePack = NoServicePack
	case v.ServicePack > 0 && line.ServicePack != 0 && v.ServicePack != line.ServicePack:
		return *v, fmt.Errorf("states service pack %d, but %s is %s", v.ServicePack, b.Base(), line)
	}
	if v.Branch = branchOf(v.BranchName); v.BranchName == "" {
		v.Branch = b.Branch()
	}
	return *v, nil
}

// plausible refuses a build number under a version that it cannot belong to.
func plausible(b Build) error {
	major, minor, known := family(b.Number)
	if known && (major != b.Major || minor != b.Minor) {
		return fmt.Errorf("build number %d belongs to %d.%d, not to %d.%d", b.Number, major, minor, b.Major, b.Minor)
	}
	return nil
}
