// Package verify answers about update files: is this one Microsoft's and unmodified (package
// trust), what is it (package update), what was published about it (package catalog), where do
// these disagree, and why a genuine file may still fail on the machine it is for. It answers
// about the installed packages of a Windows folder, too (Check), and compares files with what an
// assessment lacks (Against).
//
// It opens no path, writes nothing and asks nobody: whoever calls it gives the bytes. What a file
// says of itself is never believed because it is there; it is shown beside the verdict.
package verify

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/format/cab"
	"github.com/oldguard/oldguard/internal/format/pe"
	"github.com/oldguard/oldguard/internal/trust"
	"github.com/oldguard/oldguard/internal/update"
	"github.com/oldguard/oldguard/winver"
)

// Options are what an answer depends on beside the file.
type Options struct {
	Trust   trust.Options
	Catalog *catalog.Catalog // nil leaves its view out
}

// Answer is what is known of one file. Lists are in the order of the file.
type Answer struct {
	File    string
	Trust   *trust.Report // its verdict is that of the signatures alone
	Verdict trust.Verdict // that of the signatures and of what the file is
	Package *update.Package
	Program *Program
	// Published is what the catalogue has on the update's KB, for each release.
	Published []Published
	// Contradictions are what the name, the parts of the file, the catalogue and the list of
	// known files disagree about.
	Contradictions []string
	Troubles       []Trouble // why it may fail on the machine it is for; only of genuine files
	Because        []string  // of the verdict
	Notes          []string  // what was not checked, and what could not be read

	image bool
}

// Program is what a program file says of itself.
type Program struct {
	Machine string
	Version *pe.Version // nil if it has none
}

// Published is the catalogue's view of an update for one release.
type Published struct {
	Release  *catalog.Release
	Update   catalog.Update
	Concerns bool // the file says that it is for this release
}

// File answers about one file. The error is one of reading; a file that is not understood is an
// answer. The package in it reads from r when it is walked.
func File(name string, r io.ReaderAt, size int64, o Options) (*Answer, error) {
	a := &Answer{File: name}
	type opened struct {
		p   *update.Package
		err error
	}
	// Signatures want every byte, and so does what is packed: side by side they take half the time.
	packed := make(chan opened, 1)
	go func() {
		p, err := update.Open(r, size)
		packed <- opened{p, err}
	}()
	rep, err := trust.Check(r, size, o.Trust)
	in := <-packed
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	a.Trust, a.Verdict = rep, rep.Verdict
	a.Because, a.Notes = slices.Clone(rep.Reasons), slices.Clone(rep.Notes)
	if rep.Kind == trust.Program {
		a.program(r, size)
	}
	a.unpacked(in.p, in.err)
	a.named()
	a.known()
	if err := a.published(o.Catalog); err != nil {
		return nil, err
	}
	if a.Verdict == trust.Genuine {
		a.Troubles = troubles(a)
	}
	return a, nil
}

// Certain reports whether nothing speaks against the file: it is genuine, and is what its name says.
func (a *Answer) Certain() bool { return a.Verdict == trust.Genuine && len(a.Contradictions) == 0 }

// Kind says what the file is.
func (a *Answer) Kind() string {
	switch {
	case a.Package != nil && a.Package.Kind == update.MSU:
		return "MSU"
	case a.Package != nil && a.Package.Kind == update.CAB:
		return "servicing cabinet"
	case a.image:
		return "MSU image"
	}
	return a.Trust.Kind.String()
}

func (a *Answer) program(r io.ReaderAt, size int64) {
	f, err := pe.Open(r, size)
	if err != nil {
		return // the verdict says so
	}
	a.Program = &Program{Machine: f.Machine.String()}
	if v, err := f.Version(); err == nil {
		a.Program.Version = v
	}
}

// unpacked joins what is in a cabinet to the verdict: Microsoft signs cabinets that are no updates.
func (a *Answer) unpacked(p *update.Package, err error) {
	switch {
	case errors.Is(err, cab.ErrNotCabinet):
		return
	case errors.Is(err, update.ErrImage):
		a.image, a.Verdict, a.Because = true, trust.NotUnderstood, []string{err.Error()}
		return
	case err != nil:
		a.Notes = append(a.Notes, err.Error())
		if a.Verdict == trust.Genuine {
			a.Verdict = trust.NotUnderstood
			a.Because = append(a.Because, "what is in it cannot be read, so it is not known to be an update")
		}
		return
	}
	a.Package = p
	a.Notes = append(a.Notes, p.Gaps...)
	if p.Kind == update.Other && a.Verdict == trust.Genuine {
		a.Verdict = trust.MicrosoftOther
		a.Because = append(a.Because, "nothing in the cabinet is an update")
	}
}

// named compares the file's name with what it is.
func (a *Answer) named() {
	if a.Package != nil && a.Package.Kind != update.Other {
		a.Package.Named(a.File, a.Trust.SHA1)
		for _, c := range a.Package.Contradictions {
			a.Contradictions = append(a.Contradictions, c.String())
		}
		return
	}
	c, ok := update.ParseName(a.File)
	if c.SHA1 != "" && c.SHA1 != a.Trust.SHA1 {
		a.contradicts("SHA-1: file name says %s, the file says %s", c.SHA1, a.Trust.SHA1)
	}
	if ok && a.Trust.Kind != trust.Program {
		a.contradicts("kind: file name says update %s, the file is no update: %s", c.KB, a.Trust.Kind)
	}
}

func (a *Answer) contradicts(format string, args ...any) {
	a.Contradictions = append(a.Contradictions, fmt.Sprintf(format, args...))
}

// known compares the file with the list of known ones. That Microsoft signed it counts for more
// than a list: it issued several files under one name.
func (a *Answer) known() {
	if k, ok := update.KnownDigest(a.Trust.SHA256); ok {
		if k.Size == a.Trust.Size {
			a.Notes = append(a.Notes, "its SHA-256 is that of a file seen elsewhere as "+k.Name)
		}
		return
	}
	k, ok := update.KnownName(base(a.File))
	switch {
	case !ok:
	case a.Verdict == trust.Genuine:
		a.Notes = append(a.Notes, fmt.Sprintf("a file of this name was seen elsewhere with SHA-256 %s and %d bytes: this is another one", k.SHA256, k.Size))
	default:
		a.contradicts("SHA-256: the list of known files has %s and %d bytes under this name, the file is %s with %d", k.SHA256, k.Size, a.Trust.SHA256, a.Trust.Size)
	}
}

func base(name string) string {
	return name[strings.LastIndexAny(name, `/\`)+1:]
}

// published adds the catalogue's view of the update that the file says it is, and compares.
func (a *Answer) published(c *catalog.Catalog) error {
	if c == nil || a.Package == nil || a.Package.KB == 0 {
		return nil
	}
	p := a.Package
	var arches catalog.ArchSet
	var others []string
	concerns := false
	for _, rel := range c.Releases() {
		rec, err := c.Records(rel.ID)
		if err != nil {
			return err
		}
		u, ok := rec.Update(p.KB)
		if !ok {
			continue
		}
		pub := Published{Release: rel, Update: *u, Concerns: concernsRelease(p, rel)}
		a.Published = append(a.Published, pub)
		if pub.Concerns {
			arches |= u.Arches
			concerns = true
		} else {
			others = append(others, rel.Name)
		}
	}
	slices.SortStableFunc(a.Published, func(x, y Published) int { return cmp.Compare(rank(x), rank(y)) })
	switch {
	case len(a.Published) == 0:
		a.Notes = append(a.Notes, fmt.Sprintf("the catalogue has nothing on %s: it holds what has security content, and not all else", p.KB))
	case !concerns && len(p.Products) > 0:
		a.contradicts("Windows: the file is for %s, the catalogue has %s for %s", productNames(p), p.KB, strings.Join(others, ", "))
	case concerns && p.Arch != winver.ArchUnknown && arches != 0 && arches&anyArch != 0 && !arches.Has(p.Arch):
		a.contradicts("architecture: the file is for %s, for which the catalogue does not have %s", p.Arch, p.KB)
	}
	return nil
}

const anyArch = catalog.OnX86 | catalog.OnAMD64 | catalog.OnIA64 | catalog.OnARM | catalog.OnARM64

func rank(p Published) int {
	if p.Concerns {
		return 0
	}
	return 1
}

// concernsRelease compares by version of Windows: 6.0 is Vista and Server 2008 alike, which share
// their updates.
func concernsRelease(p *update.Package, rel *catalog.Release) bool {
	return slices.ContainsFunc(rel.Builds, func(b winver.Build) bool { return isFor(p, b) })
}

// isFor reports whether one of the package's products is of the version of that build.
func isFor(p *update.Package, b winver.Build) bool {
	version := fmt.Sprintf("%d.%d", b.Major, b.Minor)
	return slices.ContainsFunc(p.Products, func(x update.Product) bool {
		return x.Version == version || strings.HasPrefix(x.Version, version+".") || b.Major >= 10 && x.Version == fmt.Sprint(b.Major)
	})
}

func productNames(p *update.Package) string {
	var names []string
	for _, x := range p.Products {
		if !slices.Contains(names, x.Name) {
			names = append(names, x.Name)
		}
	}
	return strings.Join(names, ", ")
}
