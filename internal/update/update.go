// Package update says what an update file is: an MSU, a servicing cabinet, or a cabinet that is
// no update; which article, version, architecture and products it states to be for, what is in
// it, and where its parts contradict each other. It believes nothing: whether the file is genuine
// is for package trust, whether it would install for package applicability.
package update

import (
	"bytes"
	"cmp"
	"crypto/sha1" //nolint:gosec // what Microsoft's metadata has
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/oldguard/oldguard/internal/format/cab"
	"github.com/oldguard/oldguard/internal/format/mum"
	"github.com/oldguard/oldguard/internal/format/wsusscan"
	"github.com/oldguard/oldguard/winver"
)

// ErrLimit is the answer for a file that would unpack to more than any update does.
var ErrLimit = errors.New("it would unpack to more than any update does")

// ErrImage is the answer for an MSU of the kind that Windows 11 24H2 brought, which is an image
// (WIM) and no cabinet.
var ErrImage = errors.New("an MSU of the new kind (a WIM image), which no Windows before 11 installs")

// Limits, far from what genuine updates need: they unpack to some 12 times their size (the
// metadata of Windows Update), hold two to six cabinets, three deep.
const (
	maxDepth     = 4
	maxCabinets  = 64
	maxGrowth    = 100
	minBudget    = 64 << 20
	maxHeld      = 64 << 20 // a cabinet inside a file that is kept in memory
	maxHeldTotal = 96 << 20
	minTexts     = 3 << 20 // of manifests; of genuine ones there are 2 MiB in 50
	maxTexts     = 5       // times the size of the file
)

// Kind is what kind of file it is.
type Kind uint8

// The kinds.
const (
	Other Kind = iota // a cabinet, but no update that this package knows
	MSU               // Microsoft Update Standalone Package
	CAB               // a package of Component Based Servicing by itself
)

var kinds = [...]string{"other", "msu", "cab"}

// String names the kind.
func (k Kind) String() string { return kinds[k] }

// MarshalText writes what String gives.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Package is an update, as it describes itself.
type Package struct {
	Kind        Kind           `json:"kind"`
	KB          winver.KB      `json:"kb,omitzero"`
	Identity    mum.Identity   `json:"identity,omitzero"`
	Also        []mum.Identity `json:"also,omitempty"` // further packages beside the first, such as a servicing stack
	Arch        winver.Arch    `json:"arch,omitzero"`
	ReleaseType string         `json:"release_type,omitempty"`
	Description string         `json:"description,omitempty"`
	Support     string         `json:"support,omitempty"`
	Created     time.Time      `json:"created,omitzero"`
	Languages   []string       `json:"languages,omitempty"` // none for all
	Products    []Product      `json:"products,omitempty"`  // what it is for
	Parents     []mum.Parent   `json:"parents,omitempty"`   // the same as it states it
	Restart     string         `json:"restart,omitempty"`   // possible, required; empty if it says nothing
	Permanence  string         `json:"permanence,omitempty"`
	Stack       winver.Build   `json:"stack,omitzero"` // the oldest servicing stack that it accepts
	// Builds are the newest versions of components in it, one for each build and branch.
	Builds []winver.Build `json:"builds,omitempty"`
	// Kernel is the newest kernel in it, which is the build that Windows has afterwards; not known
	// if there is none in it.
	Kernel winver.Build `json:"kernel,omitzero"`
	// ESU is the name of the component by which it asks for an ESU licence; empty if none is
	// seen, which proves nothing for updates of before 2020.
	ESU            string             `json:"esu,omitempty"`
	Packages       []mum.Identity     `json:"packages,omitempty"` // all package manifests
	Files          []File             `json:"files,omitempty"`    // what it installs
	Members        []Member           `json:"members,omitempty"`  // what it consists of
	Properties     []mum.Property     `json:"properties,omitempty"`
	Claims         []Claim            `json:"claims,omitempty"`
	Contradictions []Contradiction    `json:"contradictions,omitempty"`
	Gaps           []string           `json:"gaps,omitempty"` // what could not be read
	Scan           *wsusscan.Metadata `json:"-"`              // nil if there is none

	cabinets []opened
}

// File is a file that the update installs.
type File struct {
	Name      string       `json:"name"`
	Component string       `json:"component,omitempty"`
	Arch      string       `json:"arch,omitempty"`
	Version   winver.Build `json:"version,omitzero"` // of the component, which is as a rule the file's
	Language  string       `json:"language,omitempty"`
	Size      int64        `json:"size"`
	SHA1      string       `json:"sha1,omitempty"`  // where an index states it
	Delta     bool         `json:"delta,omitempty"` // stored as a difference
}

// Member is a file in the cabinet, or in a cabinet inside it.
type Member struct {
	In       string    `json:"in,omitempty"` // path of the cabinet that has it; empty for the file itself
	Name     string    `json:"name"`         // as stated
	Path     string    `json:"path,omitempty"`
	Unsafe   string    `json:"unsafe,omitempty"` // why it has no path
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified,omitzero"`
	SHA1     string    `json:"sha1,omitempty"`   // of cabinets
	SHA256   string    `json:"sha256,omitempty"` // of cabinets
}

// opened is a cabinet that was read, and where it lies.
type opened struct {
	in   string
	cab  *cab.Cabinet
	r    io.ReaderAt
	size int64
}

// Open reads what there is to know about the file. It keeps r, which must stay open for Walk,
// and does not close it. What cannot be read inside the file is a gap; the error is for a file
// that is no cabinet (cab.ErrNotCabinet, ErrImage), part of a set (cab.ErrSet), damaged
// (cab.ErrDamaged) or beyond a limit (ErrLimit).
func Open(r io.ReaderAt, size int64) (*Package, error) {
	start := make([]byte, 8)
	if n, err := r.ReadAt(start, 0); err != nil && n < 4 {
		return nil, cab.ErrNotCabinet
	}
	if string(start) == "MSWIM\x00\x00\x00" {
		return nil, ErrImage
	}
	o := &opener{p: &Package{}, budget: minBudget + maxGrowth*size, texts: minTexts + maxTexts*size, versions: map[winver.Build]winver.Build{}}
	if err := o.open(r, size, "", 1); err != nil {
		return nil, err
	}
	o.conclude()
	return o.p, nil
}

// Walk unpacks all members, those of cabinets inside the file after it, and gives them to
// visit. The reader is good until visit returns.
func (p *Package) Walk(visit func(m Member, r io.Reader) error) error {
	for _, c := range p.cabinets {
		err := c.cab.Walk(func(f *cab.File, r io.Reader) error { return visit(member(c.in, f), r) })
		if err != nil {
			return in(c.in, err)
		}
	}
	return nil
}

// Cabinet gives the cabinet at the path, the file itself for "". It is nil if there is none.
func (p *Package) Cabinet(at string) *cab.Cabinet {
	for _, c := range p.cabinets {
		if c.in == at {
			return c.cab
		}
	}
	return nil
}

// Bytes gives the cabinet at the path as it stands, signature included, the file itself for "".
// It is nil if there is none. Of large cabinets inside the file only one goroutine may read at a
// time.
func (p *Package) Bytes(at string) *io.SectionReader {
	for _, c := range p.cabinets {
		if c.in == at {
			return io.NewSectionReader(c.r, 0, c.size)
		}
	}
	return nil
}

// member describes a file. The files of a cabinet inside go to a folder beside it, whose name
// is that of the cabinet with .d at its end.
func member(at string, f *cab.File) Member {
	m := Member{In: at, Name: f.Name, Size: f.Size, Modified: f.Modified}
	m.Path, m.Unsafe = f.Path()
	if m.Path != "" && at != "" {
		m.Path = at + ".d/" + m.Path
	}
	return m
}

func in(at string, err error) error {
	if at == "" {
		return err
	}
	return fmt.Errorf("%s: %w", at, err)
}

// opener is the state of Open.
type opener struct {
	p        *Package
	budget   int64 // bytes that may still be unpacked
	texts    int64 // bytes of XML that may still be read
	held     int64 // bytes of cabinets in memory
	packages []manifest
	versions map[winver.Build]winver.Build // newest, by build and branch
	index    map[string][]mum.Entry        // by cabinet
	answers  []mum.Answer
}

// manifest is a package manifest and its cabinet.
type manifest struct {
	in   string
	main bool // update.mum
	*mum.Assembly
}

// child is a cabinet inside a cabinet.
type child struct {
	file *cab.File
	r    io.ReaderAt
	at   string
}

func (o *opener) open(r io.ReaderAt, size int64, at string, depth int) error {
	if depth > maxDepth || len(o.p.cabinets) == maxCabinets {
		return in(at, fmt.Errorf("%w: over %d cabinets in it, or %d deep", ErrLimit, maxCabinets, maxDepth))
	}
	c, err := cab.Open(r, size)
	if err != nil {
		return in(at, err)
	}
	if o.budget -= c.Unpacked(); o.budget < 0 {
		return in(at, ErrLimit)
	}
	o.p.cabinets = append(o.p.cabinets, opened{in: at, cab: c, r: r, size: size})
	if strings.EqualFold(path.Base(at), "package.cab") && strings.EqualFold(path.Base(path.Dir(at)), "wsusscan.cab.d") {
		if o.p.Scan, err = wsusscan.Read(c); err != nil {
			o.gap(at, err)
		}
		return nil
	}
	var children []child
	err = c.Walk(func(f *cab.File, r io.Reader) error {
		m := member(at, f)
		if strings.EqualFold(path.Ext(m.Path), ".cab") {
			held, bad := o.hold(&m, f, r)
			if bad != nil {
				return bad
			}
			children = append(children, child{file: f, r: held, at: m.Path})
		}
		o.p.Members = append(o.p.Members, m)
		return o.look(m, r)
	})
	if err != nil {
		return in(at, err)
	}
	for _, ch := range children {
		err = o.open(ch.r, ch.file.Size, ch.at, depth+1)
		switch {
		case errors.Is(err, ErrLimit):
			return err
		case err != nil: // one bad part never hides the others
			o.p.Gaps = append(o.p.Gaps, err.Error())
		}
	}
	return nil
}

// hold makes a cabinet inside readable at any place, and computes its digests on the way. Small
// ones are kept; large ones are unpacked again whenever somebody goes back.
func (o *opener) hold(m *Member, f *cab.File, r io.Reader) (io.ReaderAt, error) {
	h1, h256 := sha1.New(), sha256.New() //nolint:gosec // to compare, not to trust
	w := io.MultiWriter(h1, h256)
	var kept io.ReaderAt = &rereader{file: f}
	if f.Size <= maxHeld && o.held+f.Size <= maxHeldTotal {
		o.held += f.Size
		b := bytes.NewBuffer(make([]byte, 0, f.Size))
		if _, err := io.Copy(io.MultiWriter(b, w), r); err != nil {
			return nil, err
		}
		kept = bytes.NewReader(b.Bytes())
	} else if _, err := io.Copy(w, r); err != nil {
		return nil, err
	}
	m.SHA1, m.SHA256 = hex.EncodeToString(h1.Sum(nil)), hex.EncodeToString(h256.Sum(nil))
	return kept, nil
}

func (o *opener) gap(at string, err error) {
	o.p.Gaps = append(o.p.Gaps, in(at, err).Error())
}

// look reads a member that tells something.
func (o *opener) look(m Member, r io.Reader) error {
	base := strings.ToLower(path.Base(m.Path))
	ext := path.Ext(base)
	if ext == ".mum" || ext == ".xml" {
		if o.texts -= m.Size; o.texts < 0 {
			return ErrLimit
		}
	}
	var err error
	switch {
	case m.Path == "":
		o.gap(m.Path, fmt.Errorf("file %q: %s", m.Name, m.Unsafe))
	case ext == ".mum":
		var a *mum.Assembly
		if a, err = mum.Parse(r); err == nil {
			o.packages = append(o.packages, manifest{in: m.In, main: base == "update.mum", Assembly: a})
		}
	case base == "_manifest_.cix.xml":
		err = mum.ParseContainer(r, func(e mum.Entry) {
			if o.index == nil {
				o.index = map[string][]mum.Entry{}
			}
			o.index[m.In] = append(o.index[m.In], e)
		})
	case strings.HasSuffix(base, "pkgproperties.txt"):
		o.p.Properties, err = mum.ParseProperties(r)
	case ext == ".xml" && m.In == "":
		o.answers, err = mum.ParseUnattend(r)
	}
	if err != nil {
		if errors.Is(err, cab.ErrDamaged) {
			return err // of the cabinet, which is no use from here on
		}
		o.gap(m.Path, err)
	}
	return nil
}

// conclude turns what was read into the package.
func (o *opener) conclude() {
	p := o.p
	var first *manifest
	for i := range o.packages {
		m := &o.packages[i]
		p.Packages = append(p.Packages, m.Identity)
		switch {
		case !m.main:
		case first == nil:
			first = m
		default:
			p.Also = append(p.Also, m.Identity)
		}
		if m.Package == nil {
			continue
		}
		for _, u := range m.Package.Updates {
			for _, c := range slices.Concat(u.Components, u.Drivers, u.Detects) {
				o.component(c.Name, c.Version)
			}
		}
	}
	o.files()
	p.Kind = Other
	if first != nil {
		p.Kind = MSU
		if first.in == "" {
			p.Kind = CAB
		}
		o.describe(first)
	} else if p.Scan != nil {
		p.Kind = MSU
	}
	for b := range o.versions {
		p.Builds = append(p.Builds, o.versions[b])
	}
	slices.SortFunc(p.Builds, winver.Build.Compare)
	slices.SortFunc(p.Files, func(a, b File) int {
		return cmp.Or(strings.Compare(a.Component, b.Component), strings.Compare(a.Name, b.Name), a.Version.Compare(b.Version),
			strings.Compare(a.Arch, b.Arch), strings.Compare(a.Language, b.Language))
	})
	o.claims(first)
	p.Contradictions = contradictions(p.Claims)
}

// describe takes what the main manifest says.
func (o *opener) describe(m *manifest) {
	p := o.p
	p.Identity, p.Description, p.Support, p.Created = m.Identity, m.Description, m.Support, m.Created
	p.Arch, _ = winver.ParseArch(m.Identity.Arch)
	if l := m.Identity.Language; l != "" && l != "*" && !strings.EqualFold(l, "neutral") {
		p.Languages = []string{l}
	}
	p.KB = kbOf(m.Identity.Name)
	if m.Package == nil {
		return
	}
	if kb := kbOf(m.Package.Identifier); kb != 0 {
		p.KB = kb
	}
	p.ReleaseType, p.Restart, p.Permanence = m.Package.ReleaseType, m.Package.Restart, m.Package.Permanence
	p.Parents = m.Package.Parents
	for _, s := range m.Package.Stack {
		if b, ok := build(s.Version); ok && p.Stack.Compare(b) < 0 {
			p.Stack = b
		}
	}
	p.Products = products(m, o.packages)
}

// esuComponent ends the name of the component that asks for an ESU licence; in the component
// store the name is shortened. In packages of Windows 6.0, 6.1 and 10 it belongs to
// Microsoft-Windows-SLC-Component or Microsoft-Windows-Security-SPP-Component.
var esuComponent = [...]string{"extendedsecurityupdatesai", "edsecurityupdatesai"}

// component counts a component's version.
func (o *opener) component(name, version string) {
	name = strings.ToLower(name)
	for _, suffix := range esuComponent {
		if strings.HasSuffix(name, suffix) {
			o.p.ESU = name
		}
	}
	b, ok := build(version)
	if !ok || !b.Line().Known() {
		return
	}
	line := b.Base()
	line.Revision = uint32(b.Branch()) // a key, no build
	if o.versions[line].Compare(b) < 0 {
		o.versions[line] = b
	}
	if name == "microsoft-windows-os-kernel" && o.p.Kernel.Compare(b) < 0 {
		o.p.Kernel = b
	}
}

// files lists what is installed: from the index of a container, where there is one, else from
// the members.
func (o *opener) files() {
	for _, entries := range o.index {
		for _, e := range entries {
			o.file(strings.ReplaceAll(e.Name, `\`, "/"), File{Size: e.Size, SHA1: e.SHA1, Delta: e.Delta != "RAW"})
		}
	}
	for _, m := range o.p.Members {
		if _, indexed := o.index[m.In]; !indexed && m.Path != "" && (m.In != "" || !o.isMSU()) {
			o.file(strings.TrimPrefix(m.Path, m.In+".d/"), File{Size: m.Size})
		}
	}
}

// isMSU reports whether the main package lies in a cabinet inside.
func (o *opener) isMSU() bool {
	return !slices.ContainsFunc(o.packages, func(m manifest) bool { return m.main && m.in == "" })
}

func (o *opener) file(name string, f File) {
	switch path.Ext(name) {
	case ".mum", ".cat", ".cab":
		return
	case ".manifest":
		if c, ok := mum.ParseComponent(name); ok {
			o.component(c.Name, c.Version)
		}
		return
	}
	folder, base := path.Split(name)
	c, ok := mum.ParseComponent(strings.TrimSuffix(folder, "/"))
	if !ok {
		return // differences, indexes, and what is beside the components
	}
	o.component(c.Name, c.Version)
	f.Name, f.Component, f.Arch = base, c.Name, c.Arch
	if c.Language != "none" {
		f.Language = c.Language
	}
	f.Version, _ = build(c.Version)
	o.p.Files = append(o.p.Files, f)
}

func build(version string) (winver.Build, bool) {
	v, ok := mum.Version(version)
	return winver.Build{Major: v[0], Minor: v[1], Number: uint32(v[2]), Revision: uint32(v[3]), HasRevision: ok}, ok
}

// kbOf finds the article in Package_for_KB2999226, KB2999226_BF or such.
func kbOf(name string) winver.KB {
	for i := range len(name) {
		if !strings.EqualFold(name[i:min(i+2, len(name))], "KB") {
			continue
		}
		end := i + 2
		for end < len(name) && '0' <= name[end] && name[end] <= '9' {
			end++
		}
		if kb, err := winver.ParseKB(name[i:end]); err == nil {
			return kb
		}
	}
	return 0
}

// rereader is a file in a cabinet, unpacked again from its beginning whenever a reader goes back.
// It is not safe for concurrent use.
type rereader struct {
	file *cab.File
	r    io.Reader
	at   int64
}

// ReadAt is io.ReaderAt.
func (r *rereader) ReadAt(p []byte, at int64) (int, error) {
	if r.r == nil || at < r.at {
		var err error
		if r.r, err = r.file.Open(); err != nil {
			return 0, err
		}
		r.at = 0
	}
	n, err := io.CopyN(io.Discard, r.r, at-r.at)
	r.at += n
	if err != nil {
		return 0, err
	}
	m, err := io.ReadFull(r.r, p)
	r.at += int64(m)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return m, err
}
