// Package wsusscan reads the metadata of Windows Update that an MSU carries in WSUSSCAN.cab:
// inside it lies package.cab with package.xml, which lists updates and their relations, and
// with a fragment of XML for each (core: identity, relations and applicability rules; extended:
// files and article; localized: titles). Every fragment is kept whole, since the rules are
// evaluated elsewhere.
package wsusscan

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/oldguard/oldguard/internal/format/cab"
	"github.com/oldguard/oldguard/internal/format/xmltree"
)

// ErrNoPackage is the answer for a cabinet without package.xml.
var ErrNoPackage = errors.New("no package.xml in it")

// maxUnpacked bounds the metadata of one package; genuine ones have 2 MiB.
const maxUnpacked = 16 << 20

// Metadata is all of it.
type Metadata struct {
	Updates   []Update
	Fragments map[Key]string // as they stand
}

// Key names a fragment.
type Key struct {
	Revision int    // RevisionId of the update
	Kind     string // core, extended, localized
	Language string // of a localized one
}

// Update is an entry of package.xml.
type Update struct {
	ID            string // in lower case
	Revision      int    // RevisionId, the name of its fragments
	Leaf, Bundle  bool
	Action        string   // Evaluate, Bundle, …; empty for what is to be installed
	Prerequisites []string // identities; alternatives are among them
	BundledBy     []int
	Files         []string // SHA-1 of the files, hexadecimal
}

// Extended is the part of an extended fragment that names files.
type Extended struct {
	KB       string // as written, digits
	Severity string // Important, …
	Handler  string // an address that ends in Cbs, for packages
	Restart  string // RebootBehavior
	Files    []File
}

// File is a file that an update would download.
type File struct {
	Name         string
	Size         int64
	SHA1, SHA256 string // hexadecimal; empty if not given
}

// Read reads package.cab.
func Read(c *cab.Cabinet) (*Metadata, error) {
	if n := c.Unpacked(); n > maxUnpacked {
		return nil, fmt.Errorf("%d bytes of metadata are more than any update has", n)
	}
	m := &Metadata{Fragments: map[Key]string{}}
	list := false
	err := c.Walk(func(f *cab.File, r io.Reader) error {
		name, _ := f.Path()
		if strings.EqualFold(name, "package.xml") {
			list = true
			return m.readList(r)
		}
		key, ok := key(name)
		if !ok {
			return nil
		}
		var b strings.Builder
		b.Grow(int(f.Size))
		if _, err := io.Copy(&b, r); err != nil {
			return err
		}
		m.Fragments[key] = b.String()
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !list {
		return nil, ErrNoPackage
	}
	return m, nil
}

// key reads core/2858 or localized/en/2858.
func key(name string) (Key, bool) {
	dir, base := path.Split(strings.ToLower(name))
	n, err := strconv.Atoi(base)
	if err != nil {
		return Key{}, false
	}
	switch kind, language, _ := strings.Cut(strings.TrimSuffix(dir, "/"), "/"); {
	case kind == "localized" && language != "", language == "" && (kind == "core" || kind == "extended"):
		return Key{Revision: n, Kind: kind, Language: language}, true
	}
	return Key{}, false
}

func (m *Metadata) readList(r io.Reader) error {
	var u *Update
	return xmltree.Each(r, func(_ int, n xmltree.Node) error {
		if n.Name == "Update" {
			revision, err := strconv.Atoi(n.Get("RevisionId"))
			if err != nil {
				return fmt.Errorf("RevisionId %.50q is no number", n.Get("RevisionId"))
			}
			m.Updates = append(m.Updates, Update{
				ID: strings.ToLower(n.Get("UpdateId")), Revision: revision, Action: n.Get("DeploymentAction"),
				Leaf: n.Get("IsLeaf") == "true", Bundle: n.Get("IsBundle") == "true",
			})
			u = &m.Updates[len(m.Updates)-1]
		}
		if u == nil {
			return nil
		}
		switch n.Name {
		case "UpdateId":
			u.Prerequisites = append(u.Prerequisites, strings.ToLower(n.Get("Id")))
		case "Revision":
			if id, err := strconv.Atoi(n.Get("Id")); err == nil {
				u.BundledBy = append(u.BundledBy, id)
			}
		case "File":
			u.Files = append(u.Files, digest(n.Get("Id")))
		}
		return nil
	})
}

// Rules gives a core fragment as a tree: UpdateIdentity, Properties, Relationships and
// ApplicabilityRules side by side.
func (m *Metadata) Rules(revision int) (*xmltree.Node, error) {
	return m.parse(Key{Revision: revision, Kind: "core"})
}

// Extended gives what an extended fragment says about files and article.
func (m *Metadata) Extended(revision int) (*Extended, error) {
	root, err := m.parse(Key{Revision: revision, Kind: "extended"})
	if err != nil {
		return nil, err
	}
	properties := root.Child("ExtendedProperties")
	e := &Extended{
		KB: properties.Child("KBArticleID").Text, Severity: properties.Get("MsrcSeverity"),
		Handler: properties.Get("Handler"), Restart: properties.Child("InstallationBehavior").Get("RebootBehavior"),
	}
	for _, n := range root.Child("Files").All("File") {
		f := File{Name: n.Get("FileName")}
		if f.Size, err = strconv.ParseInt(n.Get("Size"), 10, 64); err != nil {
			return nil, fmt.Errorf("size %.50q of %q is no number", n.Get("Size"), f.Name)
		}
		f.hash(n.Get("DigestAlgorithm"), n.Get("Digest"))
		for _, a := range n.All("AdditionalDigest") {
			f.hash(a.Get("Algorithm"), a.Text)
		}
		e.Files = append(e.Files, f)
	}
	return e, nil
}

func (f *File) hash(algorithm, value string) {
	switch strings.ReplaceAll(strings.ToUpper(algorithm), "-", "") {
	case "SHA1":
		f.SHA1 = digest(value)
	case "SHA256":
		f.SHA256 = digest(value)
	}
}

func digest(s string) string {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return ""
	}
	return hex.EncodeToString(b)
}

func (m *Metadata) parse(k Key) (*xmltree.Node, error) {
	text, ok := m.Fragments[k]
	if !ok {
		return nil, fmt.Errorf("no %s fragment for revision %d", k.Kind, k.Revision)
	}
	return xmltree.Parse(strings.NewReader(text))
}
