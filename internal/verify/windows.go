package verify

import (
	"bytes"
	"crypto/sha1" // #nosec G505 -- what catalogs of Windows 6.0 list
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/format/mum"
	"github.com/oldguard/oldguard/internal/trust"
	"github.com/oldguard/oldguard/winver"
)

// Where Windows keeps what servicing needs, below its folder; upper and lower case are the same.
// https://learn.microsoft.com/windows-hardware/manufacture/desktop/manage-the-component-store
const (
	packagesAt  = "servicing/Packages" // a manifest and a catalog for each package
	manifestsAt = "WinSxS/Manifests"   // a manifest for each component
	storeAt     = "WinSxS"             // a folder for each component with files
)

// catalogsAt are the folders of catalogs. The GUID is that of the catalog database of the system,
// DRIVER_ACTION_VERIFY of softpub.h.
var catalogsAt = []string{packagesAt, "WinSxS/Catalogs", "System32/CatRoot/{F750E6C3-38EE-11D1-85E5-00C04FC295EE}"}

// Bounds of what is read. The largest component stores have some 60,000 manifests.
const (
	maxEntries  = 1 << 20  // of one folder
	maxManifest = 32 << 20 // bytes
	maxListed   = 10_000   // damages and gaps of each kind that are named
)

// Store is the answer about the installed packages of a Windows folder.
type Store struct {
	Name      string
	Catalogs  Tally // judged by their signatures
	Packages  Tally // package manifests, against catalogs
	Manifests Tally // component manifests, against catalogs
	Files     Tally // files of components, against manifests
	Damaged   []Damage
	Unchecked []Unchecked // kinds of things that could not be checked, with how many and why
	Notes     []string
}

// Tally counts.
type Tally struct{ Good, Damaged, Unchecked int }

// Damage is a part that is not what Microsoft made.
type Damage struct {
	Path    string // below the folder of Windows
	What    string // catalog, package manifest, component manifest, file
	Why     string
	Package string    // that brings it; "" if not known
	KB      winver.KB // of that package; 0 if it has none
}

// Cure says how the part may be had again.
func (d Damage) Cure() string {
	switch {
	case d.KB != 0:
		return fmt.Sprintf("take it from a genuine file of %s (package %s), as oldguard verify --extract unpacks it", d.KB, d.Package)
	case d.Package != "":
		return fmt.Sprintf("take it from the installation medium or service pack with package %s, or from a healthy machine of the same build", d.Package)
	}
	return "take it from a healthy machine of the same build and architecture"
}

// Unchecked is why some parts could not be checked.
type Unchecked struct {
	What    string
	Why     string
	Count   int
	Example string
}

// IsWindows reports whether the tree is a Windows folder, or has one at its top.
func IsWindows(tree fs.FS) bool {
	_, ok := windows(tree)
	return ok
}

// windows gives the folder of Windows: what has packages or a component store.
func windows(tree fs.FS) (string, bool) {
	for _, at := range []string{".", "Windows"} {
		dir, err := find(tree, ".", at)
		if err != nil {
			continue
		}
		for _, sign := range []string{packagesAt, manifestsAt} {
			if _, err := find(tree, dir, sign); err == nil {
				return dir, true
			}
		}
	}
	return "", false
}

// find gives the path of name below at as the tree has it, whatever its case.
func find(tree fs.FS, at, name string) (string, error) {
	if _, err := fs.Stat(tree, path.Join(at, name)); err == nil {
		return path.Join(at, name), nil
	}
	for part := range strings.SplitSeq(path.Clean(name), "/") {
		entries, err := fs.ReadDir(tree, at)
		if err != nil {
			return "", err
		}
		i := slices.IndexFunc(entries, func(e fs.DirEntry) bool { return strings.EqualFold(e.Name(), part) })
		if i < 0 {
			return "", fmt.Errorf("%s: %w", path.Join(at, part), fs.ErrNotExist)
		}
		at = path.Join(at, entries[i].Name())
	}
	return at, nil
}

// store is the state of Windows.
type store struct {
	*Store
	tree    fs.FS
	at      string // the folder of Windows
	options trust.Options
	listed  map[string]bool             // digests that genuine catalogs vouch for
	bad     map[string]bool             // package catalogs that vouch for nothing, without .cat, in lower case
	owners  map[mum.Component][]owner   // components by all but their name
	gaps    map[[2]string]int           // places in Unchecked, by what and why
	hashes  map[string]func() hash.Hash // by the name in a manifest
}

// owner is a package that brings a component.
type owner struct {
	component string // its name in full, lower case
	pkg       string
	kb        winver.KB
}

// Windows compares what servicing installed with catalogs and hashes, as far as the files allow:
// catalogs with their signatures, package and component manifests with the catalogs, the files of
// components with their manifests. It reads only. The error is fs.ErrNotExist for a folder that
// is no Windows; what cannot be read inside is unchecked.
func Windows(name string, tree fs.FS, o Options) (*Store, error) {
	at, ok := windows(tree)
	if !ok {
		return nil, fmt.Errorf("%s: no installed packages: %w", name, fs.ErrNotExist)
	}
	s := newStore(name, tree, at, o)
	s.catalogs()
	s.packages()
	s.components()
	slices.SortStableFunc(s.Unchecked, func(a, b Unchecked) int { return b.Count - a.Count })
	s.Notes = append(s.Notes,
		"files outside the component store, such as those in System32, were not compared: Windows links them to the store, but a copy may have taken the place of a link",
		"whether a package should be installed at all was not judged, nor the registry of component servicing")
	return s.Store, nil
}

func newStore(name string, tree fs.FS, at string, o Options) *store {
	return &store{
		Store: &Store{Name: name}, tree: tree, at: at, options: o.Trust,
		listed: map[string]bool{}, bad: map[string]bool{}, owners: map[mum.Component][]owner{}, gaps: map[[2]string]int{},
		hashes: map[string]func() hash.Hash{"sha256": sha256.New, "sha1": sha1.New},
	}
}

func (s *store) damaged(t *Tally, d Damage) {
	t.Damaged++
	if t.Damaged <= maxListed {
		s.Damaged = append(s.Damaged, d)
	}
}

func (s *store) unchecked(t *Tally, what, why, example string) {
	t.Unchecked++
	i, ok := s.gaps[[2]string{what, why}]
	switch {
	case ok:
		s.Unchecked[i].Count++
	case len(s.Unchecked) < maxListed:
		s.gaps[[2]string{what, why}] = len(s.Unchecked)
		s.Unchecked = append(s.Unchecked, Unchecked{what, why, 1, example})
	}
}

// names gives the names of a folder that end in ext, sorted, and the folder as it is written.
func (s *store) names(folder, ext string) (dir string, list []string) {
	dir, err := find(s.tree, s.at, folder)
	if err != nil {
		s.Notes = append(s.Notes, fmt.Sprintf("%s: there is no such folder", folder))
		return "", nil
	}
	entries, err := fs.ReadDir(s.tree, dir)
	if err != nil {
		s.Notes = append(s.Notes, fmt.Sprintf("%s cannot be read: %v", folder, err))
	}
	if len(entries) > maxEntries {
		s.Notes = append(s.Notes, fmt.Sprintf("%s: only the first %d of %d names were looked at", folder, maxEntries, len(entries)))
		entries = entries[:maxEntries]
	}
	for _, e := range entries {
		if strings.EqualFold(path.Ext(e.Name()), ext) && e.Type().IsRegular() {
			list = append(list, e.Name())
		}
	}
	return dir, list
}

// read reads a small file.
func (s *store) read(name string, limit int64) ([]byte, error) {
	f, err := s.tree.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("larger than %d MiB", limit>>20)
	}
	return b, err
}

// below gives a path as it stands below the folder of Windows.
func (s *store) below(name string) string {
	return strings.TrimPrefix(strings.TrimPrefix(name, s.at), "/")
}

// catalogs judges every catalog once: the same one lies in several folders.
func (s *store) catalogs() {
	const maxCatalog = 64 << 20
	judged := map[[sha256.Size]byte]*trust.Catalog{}
	for _, folder := range catalogsAt {
		dir, names := s.names(folder, ".cat")
		for _, name := range names {
			at := path.Join(dir, name)
			b, err := s.read(at, maxCatalog)
			if err != nil {
				s.unchecked(&s.Catalogs, "catalog", cause(err), s.below(at))
				continue
			}
			sum := sha256.Sum256(b)
			c, ok := judged[sum]
			if !ok {
				if c, err = trust.ReadCatalog(name, bytes.NewReader(b), int64(len(b)), s.options); err != nil {
					s.unchecked(&s.Catalogs, "catalog", cause(err), s.below(at))
					continue
				}
				judged[sum] = c
				s.list(c)
			}
			s.catalog(folder, at, name, c)
		}
	}
}

func (s *store) catalog(folder, at, name string, c *trust.Catalog) {
	switch c.Report.Verdict {
	case trust.Genuine:
		s.Catalogs.Good++
		return
	case trust.OtherPublisher, trust.MicrosoftOther: // drivers and programs of others have theirs here as well
		if folder != packagesAt {
			s.unchecked(&s.Catalogs, "catalog", c.Report.Verdict.String(), s.below(at))
			return
		}
	case trust.NotUnderstood, trust.Altered, trust.Uncovered, trust.Unsigned:
	}
	d := Damage{Path: s.below(at), What: "catalog", Why: c.Report.Verdict.String()}
	if len(c.Report.Reasons) > 0 {
		d.Why += ": " + c.Report.Reasons[0]
	}
	if folder == packagesAt {
		stem := name[:len(name)-len(".cat")]
		d.Package, d.KB = stem, kbIn(stem)
		s.bad[strings.ToLower(stem)] = true
	}
	s.damaged(&s.Catalogs, d)
}

// list notes what a genuine catalog vouches for.
func (s *store) list(c *trust.Catalog) {
	if c.Report.Verdict != trust.Genuine || c.List == nil {
		return
	}
	for _, m := range c.List.Members {
		sum := string(m.Hash)
		if sum == "" {
			b, err := hex.DecodeString(strings.TrimSpace(m.Tag))
			if err != nil {
				continue
			}
			sum = string(b)
		}
		s.listed[sum] = true
	}
}

// vouched reports whether a genuine catalog lists these bytes.
func (s *store) vouched(b []byte) bool {
	one, two := sha1.Sum(b), sha256.Sum256(b) // #nosec G401 -- see the import
	return s.listed[string(one[:])] || s.listed[string(two[:])]
}

// packages compares the package manifests with the catalogs.
func (s *store) packages() {
	dir, names := s.names(packagesAt, ".mum")
	for _, name := range names {
		at := path.Join(dir, name)
		const what = "package manifest"
		b, err := s.read(at, maxManifest)
		if err != nil {
			s.unchecked(&s.Packages, what, cause(err), s.below(at))
			continue
		}
		stem := name[:len(name)-len(".mum")]
		switch {
		case s.vouched(b):
			s.Packages.Good++
			s.own(b)
		case s.bad[strings.ToLower(stem)]:
			s.unchecked(&s.Packages, what, "its catalog vouches for nothing", s.below(at))
		default:
			s.damaged(&s.Packages, Damage{
				Path: s.below(at), What: what, Why: "no genuine catalog here lists it: it was altered, or its catalog is gone",
				Package: stem, KB: kbIn(stem),
			})
		}
	}
}

// own notes which components a package brings.
func (s *store) own(manifest []byte) {
	a, err := mum.Parse(bytes.NewReader(manifest))
	if err != nil || a.Package == nil {
		return
	}
	kb := kbIn(a.Package.Identifier)
	if kb == 0 {
		kb = kbIn(a.Identity.Name)
	}
	for _, u := range a.Package.Updates {
		for _, i := range slices.Concat(u.Components, u.Drivers, u.Detects) {
			s.owned(i, a.Identity.String(), kb)
		}
	}
}

func (s *store) owned(i mum.Identity, pkg string, kb winver.KB) {
	key := keyOf(mum.Component{Arch: i.Arch, Token: i.PublicKeyToken, Version: i.Version, Language: i.Language})
	o := owner{strings.ToLower(i.Name), pkg, kb}
	if !slices.Contains(s.owners[key], o) {
		s.owners[key] = append(s.owners[key], o)
	}
}

// keyOf is what a component's folder name and its identity have in common beside the name.
func keyOf(c mum.Component) mum.Component {
	c.Name = ""
	c.Arch, c.Token, c.Language = strings.ToLower(c.Arch), strings.ToLower(c.Token), strings.ToLower(c.Language)
	if c.Language == "none" || c.Language == "*" || c.Language == "" {
		c.Language = "neutral"
	}
	return c
}

// ownerOf finds the package of a component's folder or manifest.
func (s *store) ownerOf(name string) (o owner, ok bool) {
	c, ok := mum.ParseComponent(strings.ToLower(name))
	if !ok {
		return owner{}, false
	}
	before, after, short := strings.Cut(c.Name, "..") // shortened in the middle
	for _, o := range s.owners[keyOf(c)] {
		if o.component == c.Name || short && strings.HasPrefix(o.component, before) && strings.HasSuffix(o.component, after) {
			return o, true
		}
	}
	return owner{}, false
}

// components compares the component manifests with the catalogs, and the files with those that
// proved good. Deployments, which only name components, come first: they tell whose those are.
func (s *store) components() {
	dir, names := s.names(manifestsAt, ".manifest")
	if dir == "" {
		return
	}
	folders := s.folders()
	type pending struct {
		name string
		a    *mum.Assembly
	}
	var good []pending
	var doubtful []string
	for _, name := range names {
		at := path.Join(dir, name)
		const what = "component manifest"
		b, err := s.read(at, maxManifest)
		if err != nil {
			s.unchecked(&s.Manifests, what, cause(err), s.below(at))
			continue
		}
		if !s.vouched(b) {
			if _, err = mum.Parse(bytes.NewReader(b)); errors.Is(err, mum.ErrCompressed) {
				s.unchecked(&s.Manifests, what, cause(err), s.below(at))
			} else {
				doubtful = append(doubtful, name)
			}
			continue
		}
		s.Manifests.Good++
		a, err := mum.Parse(bytes.NewReader(b))
		if err != nil {
			continue // it is Microsoft's all the same
		}
		if o, ok := s.ownerOf(name); ok {
			for _, i := range a.Dependencies {
				s.owned(i, o.pkg, o.kb)
			}
		}
		if len(a.Files) > 0 {
			good = append(good, pending{name, a})
		}
	}
	for _, name := range doubtful {
		s.doubtful(path.Join(dir, name), name)
	}
	for _, p := range good {
		component := strings.TrimSuffix(p.name, path.Ext(p.name))
		s.files(folders[strings.ToLower(component)], component, p.a)
	}
}

// folders gives the folders of the component store by their names in lower case.
func (s *store) folders() map[string]string {
	folders := map[string]string{}
	dir, err := find(s.tree, s.at, storeAt)
	if err != nil {
		return folders
	}
	entries, err := fs.ReadDir(s.tree, dir)
	if err != nil {
		s.Notes = append(s.Notes, fmt.Sprintf("%s cannot be read: %v", storeAt, err))
	}
	for _, e := range entries[:min(len(entries), maxEntries)] {
		if e.IsDir() {
			folders[strings.ToLower(e.Name())] = path.Join(dir, e.Name())
		}
	}
	return folders
}

// doubtful is a component manifest that no catalog lists.
func (s *store) doubtful(at, name string) {
	const what = "component manifest"
	o, ok := s.ownerOf(name)
	if !ok {
		s.unchecked(&s.Manifests, what, "no genuine catalog here lists it, and no package manifest names it: it was altered, or its package and catalog are gone", s.below(at))
		return
	}
	s.damaged(&s.Manifests, Damage{
		Path: s.below(at), What: what, Why: "no genuine catalog here lists it, though its package is installed", Package: o.pkg, KB: o.kb,
	})
}

// files compares the files of one component with its manifest. Its folder is empty if there is none.
func (s *store) files(dir, component string, a *mum.Assembly) {
	const what = "file"
	if dir == "" {
		for _, f := range a.Files {
			s.unchecked(&s.Files, what, "its component has no folder: it is staged no more, or was removed", path.Join(storeAt, component, f.Name))
		}
		return
	}
	o, _ := s.ownerOf(component)
	for _, f := range a.Files {
		name := strings.ReplaceAll(f.Name, `\`, "/")
		at := path.Join(dir, name)
		newHash := s.hashes[f.Algorithm]
		switch {
		case !fs.ValidPath(at) || !strings.HasPrefix(at, dir+"/"):
			s.unchecked(&s.Files, what, "its name leads out of the folder of its component", path.Join(s.below(dir), f.Name))
			continue
		case newHash == nil:
			s.unchecked(&s.Files, what, "its manifest has no hash of it", s.below(at))
			continue
		}
		sum, err := s.sum(dir, name, newHash())
		d := Damage{Path: s.below(at), What: what, Package: o.pkg, KB: o.kb}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			d.Why = "it is missing"
			s.damaged(&s.Files, d)
		case err != nil:
			s.unchecked(&s.Files, what, cause(err), s.below(at))
		case !strings.EqualFold(sum, f.Hash):
			d.Why = fmt.Sprintf("its %s is %s, the manifest has %s", strings.ToUpper(f.Algorithm), sum, strings.ToLower(f.Hash))
			s.damaged(&s.Files, d)
		default:
			s.Files.Good++
		}
	}
}

// cause is an error without the path, which stands beside it.
func cause(err error) string {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		err = p.Err
	}
	return err.Error()
}

func (s *store) sum(dir, name string, h hash.Hash) (string, error) {
	at, err := find(s.tree, dir, name)
	if err != nil {
		return "", err
	}
	f, err := s.tree.Open(at)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // it was only read
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// kbIn finds the article in Package_for_KB2999226 or such.
func kbIn(name string) winver.KB {
	upper := strings.ToUpper(name)
	for {
		_, rest, ok := strings.Cut(upper, "KB")
		if !ok {
			return 0
		}
		n := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		if kb, err := winver.ParseKB(rest[:n]); err == nil {
			return kb
		}
		upper = rest
	}
}
