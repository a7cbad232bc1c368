// Package mum reads what Windows servicing writes about packages: package manifests
// (update.mum), component manifests (.manifest), the answer file and the properties that lie
// beside a package in an MSU, and the index of a container whose files are stored as
// differences (_manifest_.cix.xml). It says what they state; what it means is for package
// update.
//
// None of these formats is documented. The names follow the files, as in packages of 2006
// (Vista) to 2019, and https://learn.microsoft.com/windows-hardware/manufacture/desktop/ for
// the answer file.
package mum

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"github.com/oldguard/oldguard/internal/format/xmltree"
)

// ErrCompressed is the answer for a manifest in the form in which Windows 8 and later keep
// theirs (DCM, DCN, DCS, PA30), which needs a file of the system to be read.
var ErrCompressed = errors.New("a compressed manifest, which this program does not read")

// ErrNoAssembly is the answer for XML without an assembly in it.
var ErrNoAssembly = errors.New("no assembly in it")

// Identity names an assembly: a package, a component or a driver.
type Identity struct {
	Name           string `json:"name"`
	Version        string `json:"version"`
	Arch           string `json:"arch,omitempty"`     // as written: amd64, x86, wow64, msil
	Language       string `json:"language,omitempty"` // neutral, or a name as de-DE
	PublicKeyToken string `json:"public_key_token,omitempty"`
}

// String is the name as servicing writes it: Name~token~arch~language~version, where neutral is
// empty.
func (i Identity) String() string {
	language := i.Language
	if strings.EqualFold(language, "neutral") {
		language = ""
	}
	return strings.Join([]string{i.Name, i.PublicKeyToken, i.Arch, language, i.Version}, "~")
}

// Version reads four numbers, each up to 65535.
func Version(s string) (v [4]uint16, ok bool) {
	parts := strings.Split(s, ".")
	if len(parts) != len(v) {
		return v, false
	}
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return [4]uint16{}, false
		}
		v[i] = uint16(n)
	}
	return v, true
}

// Assembly is a manifest.
type Assembly struct {
	Identity     Identity
	Description  string
	Support      string    // supportInformation: an address
	Created      time.Time // zero if it says nothing
	Package      *Package  // nil in the manifest of a component
	Files        []File    // of a component
	Dependencies []Identity
}

// Package is what a package manifest adds.
type Package struct {
	Identifier   string // KB4493730
	ReleaseType  string // Security Update, Update, Hotfix, Service Pack, Language Pack, …
	Restart      string // possible, required, or empty
	Permanence   string // permanent, removable, or empty
	Parents      []Parent
	Stack        []Identity // installerAssembly: the servicing stack it wants
	Updates      []Update
	Applicable   bool            // it has rules of its own on top of its parents
	Capabilities []string        // names that it provides or asks for
	Custom       []*xmltree.Node // customInformation and other extensions, as they stand
}

// Parent are packages of which one (or, by Disposition, a state of it) must be there.
type Parent struct {
	Integrate   string     `json:"integrate,omitempty"`   // separate, delegate, hidden, visible
	Disposition string     `json:"disposition,omitempty"` // detect, staged, installed
	Packages    []Identity `json:"packages"`
}

// Update is one element of a package: other packages, components, drivers.
type Update struct {
	Name       string
	Restart    string
	Packages   []Identity
	Components []Identity
	Drivers    []Identity
	Detects    []Identity // components whose presence decides
}

// File is a file of a component.
type File struct {
	Name        string
	Destination string // $(runtime.system32)\
	Algorithm   string // sha256, sha1; empty without a hash
	Hash        string // hexadecimal
}

// Parse reads one manifest. An error wraps ErrCompressed, ErrNoAssembly or tells what is wrong
// with the XML.
func Parse(r io.Reader) (*Assembly, error) {
	br := bufio.NewReader(r)
	if start, err := br.Peek(4); err == nil {
		if s := string(start); s == "DCM\x01" || s == "DCN\x01" || s == "DCS\x01" || s == "PA30" {
			return nil, ErrCompressed
		}
	}
	root, err := xmltree.Parse(br)
	if err != nil {
		return nil, err
	}
	all := FromTree(root)
	if len(all) == 0 {
		return nil, ErrNoAssembly
	}
	return all[0], nil
}

// FromTree gives the assemblies in a tree, in order: metadata of Windows Update has several in
// one text.
func FromTree(root *xmltree.Node) (all []*Assembly) {
	root.Find("assembly", func(n *xmltree.Node) { all = append(all, assembly(n)) })
	return all
}

func assembly(n *xmltree.Node) *Assembly {
	a := &Assembly{
		Identity:    identity(n.Child("assemblyIdentity")),
		Description: n.Get("description"),
		Support:     n.Get("supportInformation"),
	}
	if t, err := time.Parse(time.RFC3339, n.Get("creationTimeStamp")); err == nil {
		a.Created = t.UTC()
	}
	for _, p := range n.All("package") {
		a.Package = packageOf(p)
	}
	for _, f := range n.All("file") {
		file := File{Name: f.Get("name"), Destination: f.Get("destinationPath")}
		hash := f.Child("hash")
		if b, err := base64.StdEncoding.DecodeString(hash.Child("DigestValue").Text); err == nil && len(b) > 0 {
			method := hash.Child("DigestMethod").Get("Algorithm")
			file.Algorithm, file.Hash = method[strings.LastIndexByte(method, '#')+1:], hex.EncodeToString(b)
		}
		a.Files = append(a.Files, file)
	}
	for _, d := range n.All("dependency") {
		a.Dependencies = append(a.Dependencies, identities(d.Child("dependentAssembly"))...)
	}
	return a
}

func packageOf(n *xmltree.Node) *Package {
	p := &Package{
		Identifier: n.Get("identifier"), ReleaseType: n.Get("releaseType"),
		Restart: n.Get("restart"), Permanence: n.Get("permanence"),
	}
	for _, c := range n.Children {
		switch c.Name {
		case "parent":
			p.Parents = append(p.Parents, Parent{Integrate: c.Get("integrate"), Disposition: c.Get("disposition"), Packages: identities(c)})
		case "installerAssembly":
			p.Stack = append(p.Stack, identity(c))
		case "update":
			p.Updates = append(p.Updates, update(c))
		case "declareCapability", "requireCapability":
			c.Find("capabilityIdentity", func(c *xmltree.Node) { p.Capabilities = append(p.Capabilities, c.Get("name")) })
		case "applicable", "detectUpdate":
			p.Applicable = true
		default:
			p.Custom = append(p.Custom, c)
		}
	}
	return p
}

func update(n *xmltree.Node) Update {
	u := Update{Name: n.Get("name"), Restart: n.Get("restart")}
	for _, c := range n.Children {
		switch c.Name {
		case "package":
			u.Packages = append(u.Packages, identities(c)...)
		case "component":
			u.Components = append(u.Components, identities(c)...)
		case "driver":
			u.Drivers = append(u.Drivers, identities(c)...)
		case "applicable":
			c.Find("assemblyIdentity", func(i *xmltree.Node) { u.Detects = append(u.Detects, identity(i)) })
		}
	}
	return u
}

func identities(n *xmltree.Node) (all []Identity) {
	for _, i := range n.All("assemblyIdentity") {
		all = append(all, identity(i))
	}
	return all
}

func identity(n *xmltree.Node) Identity {
	return Identity{
		Name: n.Get("name"), Version: n.Get("version"), Arch: n.Get("processorArchitecture"),
		Language: n.Get("language"), PublicKeyToken: n.Get("publicKeyToken"),
	}
}

// Answer is what an answer file (unattend) wants done with one package.
type Answer struct {
	Action   string // install, stage, remove
	Identity Identity
	Source   string // where the package lies, with variables in it
}

// ParseUnattend reads the packages of an answer file.
func ParseUnattend(r io.Reader) (answers []Answer, err error) {
	root, err := xmltree.Parse(r)
	if err != nil {
		return nil, err
	}
	root.Find("servicing", func(n *xmltree.Node) {
		for _, p := range n.All("package") {
			answers = append(answers, Answer{
				Action: p.Get("action"), Identity: identity(p.Child("assemblyIdentity")),
				Source: p.Child("source").Get("location"),
			})
		}
	})
	return answers, nil
}

// Property is a line of pkgProperties.txt.
type Property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

const maxProperties = 1 << 20 // bytes

// ParseProperties reads lines of the form Name="Value", in UTF-8 or UTF-16 with a mark. Other
// lines are passed over.
func ParseProperties(r io.Reader) (all []Property, err error) {
	decoder := unicode.BOMOverride(transform.Nop)
	b, err := io.ReadAll(io.LimitReader(transform.NewReader(io.LimitReader(r, maxProperties), decoder), 2*maxProperties))
	if err != nil {
		return nil, err
	}
	for line := range bytes.Lines(b) {
		name, value, ok := strings.Cut(strings.TrimSpace(string(line)), "=")
		if ok {
			all = append(all, Property{name, strings.Trim(value, `"`)})
		}
	}
	return all, nil
}

// Entry is a file of a container, as its index has it.
type Entry struct {
	Name   string // component folder\file, or a name by itself
	Size   int64
	SHA1   string // hexadecimal; empty if the index has another hash
	Source string // the member that it is made from
	Delta  string // how: RAW, PA30, PA19; empty if only from another file
}

// ParseContainer reads the index of a container, _manifest_.cix.xml, and gives each file to
// visit. The members of the cabinet are differences then, with numbers for names.
func ParseContainer(r io.Reader, visit func(Entry)) error {
	var e Entry
	var source bool
	flush := func() {
		if e.Name != "" {
			visit(e)
		}
		e, source = Entry{}, false
	}
	err := xmltree.Each(r, func(_ int, n xmltree.Node) error {
		switch n.Name {
		case "File":
			flush()
			size, err := strconv.ParseInt(cmp.Or(n.Get("length"), "0"), 10, 64)
			if err != nil || size < 0 {
				return fmt.Errorf("%.50q is no length of a file", n.Get("length"))
			}
			e = Entry{Name: n.Get("name"), Size: size}
		case "Hash":
			if !source && e.SHA1 == "" && n.Get("alg") == "SHA1" {
				e.SHA1 = strings.ToLower(n.Get("value"))
			}
		case "Source":
			source = true
			e.Source, e.Delta = n.Get("name"), n.Get("type")
		}
		return nil
	})
	flush()
	return err
}

// Component is what the name of a component's folder or manifest tells.
type Component struct {
	Arch, Name, Token, Version, Language string
}

// ParseComponent reads arch_name_token_version_language_hash, with or without .manifest. The name
// is shortened in the middle, and in lower case, as the component store has it.
func ParseComponent(s string) (c Component, ok bool) {
	parts := strings.Split(strings.TrimSuffix(s, ".manifest"), "_")
	const fields, hash = 6, 16
	n := len(parts)
	if n < fields || len(parts[n-1]) != hash {
		return Component{}, false
	}
	if _, ok := Version(parts[n-3]); !ok {
		return Component{}, false
	}
	return Component{
		Arch: parts[0], Name: strings.Join(parts[1:n-4], "_"), Token: parts[n-4],
		Version: parts[n-3], Language: parts[n-2],
	}, true
}
