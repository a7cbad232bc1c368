package update

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/oldguard/oldguard/internal/format/wsusscan"
	"github.com/oldguard/oldguard/internal/format/xmltree"
	"github.com/oldguard/oldguard/winver"
)

// Claim is one statement of one part of the file about the whole.
type Claim struct {
	What  string `json:"what"` // KB, architecture, Windows, package, or a digest
	Value string `json:"value"`
	From  string `json:"from"`
}

// Contradiction is what parts of the file disagree about: no two of their values are the same.
type Contradiction struct {
	What   string  `json:"what"`
	Claims []Claim `json:"claims"`
}

// contradictions compares what each part says. A part may name several values (an update for two
// versions of Windows); it agrees with another if they have one in common.
func contradictions(claims []Claim) (list []Contradiction) {
	var whats []string
	by := map[string]map[string][]string{} // what, from, values
	for _, c := range claims {
		if by[c.What] == nil {
			by[c.What] = map[string][]string{}
			whats = append(whats, c.What)
		}
		by[c.What][c.From] = append(by[c.What][c.From], c.Value)
	}
	for _, what := range whats {
		if !agree(by[what]) {
			c := Contradiction{What: what}
			for _, claim := range claims {
				if claim.What == what {
					c.Claims = append(c.Claims, claim)
				}
			}
			list = append(list, c)
		}
	}
	return list
}

func agree(sources map[string][]string) bool {
	for a, values := range sources {
		for b, others := range sources {
			if a < b && !slices.ContainsFunc(values, func(v string) bool { return slices.Contains(others, v) }) {
				return false
			}
		}
	}
	return true
}

// What claims are about. That of a digest is followed by the file's name.
const (
	aboutKB      = "KB"
	aboutArch    = "architecture"
	aboutWindows = "Windows"
	aboutPackage = "package"
	aboutVersion = "version of the package file"
	aboutSHA1    = "SHA-1"
	aboutSHA256  = "SHA-256"
)

func (p *Package) claim(from, what, value string) {
	c := Claim{What: what, Value: value, From: from}
	if value != "" && !slices.Contains(p.Claims, c) {
		p.Claims = append(p.Claims, c)
	}
}

func (p *Package) claimKB(from string, kb winver.KB) {
	if kb != 0 {
		p.claim(from, aboutKB, kb.String())
	}
}

func (p *Package) claimArch(from, arch string) {
	if a, err := winver.ParseArch(arch); err == nil {
		p.claim(from, aboutArch, a.String())
	}
}

// claims collects what the parts of the file say.
func (o *opener) claims(first *manifest) {
	p := o.p
	if first != nil {
		const from = "update.mum"
		p.claimKB(from, p.KB)
		p.claimArch(from, first.Identity.Arch)
		p.claim(from, aboutPackage, first.Identity.String())
		for _, product := range p.Products {
			p.claim(from, aboutWindows, product.Version)
		}
	}
	for _, property := range p.Properties {
		const from = "pkgProperties.txt"
		switch property.Name {
		case "KB Article Number":
			if kb, err := winver.ParseKB(property.Value); err == nil {
				p.claimKB(from, kb)
			}
		case "Processor Architecture":
			p.claimArch(from, property.Value)
		case "Applies to":
			p.claim(from, aboutWindows, windows(property.Value))
		case "File Version":
			p.claim(from, aboutVersion, property.Value)
		}
	}
	for _, a := range o.answers {
		const from = "answer file"
		p.claimKB(from, kbOf(a.Identity.Name))
		p.claimArch(from, a.Identity.Arch)
		p.claim(from, aboutPackage, a.Identity.String())
	}
	o.scanClaims()
}

// scanClaims takes what the metadata of Windows Update says, and the digests that it gives for
// the cabinets beside it.
func (o *opener) scanClaims() {
	const from = "WSUSSCAN.cab"
	const maxDescribed = 64 // a package describes itself and a bundle of it
	p, described := o.p, 0
	if p.Scan == nil {
		return
	}
	for _, u := range p.Scan.Updates {
		text := p.Scan.Fragments[wsusscan.Key{Revision: u.Revision, Kind: "extended"}]
		if !strings.Contains(text, "<KBArticleID>") && !strings.Contains(text, "<Files>") {
			continue // one of the hundreds of categories and detectoids
		}
		e, err := p.Scan.Extended(u.Revision)
		if err != nil {
			o.gap(from, err)
			continue
		}
		if kb, bad := winver.ParseKB(e.KB); bad == nil {
			p.claimKB(from, kb)
		}
		if described++; described > maxDescribed || len(e.Files) > maxDescribed {
			o.gap(from, fmt.Errorf("%w: it describes over %d updates or files", ErrLimit, maxDescribed))
			return
		}
		for _, f := range e.Files {
			p.claim(from, aboutSHA1+" of "+f.Name, f.SHA1)
			p.claim(from, aboutSHA256+" of "+f.Name, f.SHA256)
			for _, m := range p.Members {
				if m.In == "" && strings.EqualFold(m.Name, f.Name) {
					p.claim("the file", aboutSHA1+" of "+f.Name, m.SHA1)
					p.claim("the file", aboutSHA256+" of "+f.Name, m.SHA256)
				}
			}
		}
		if len(e.Files) == 0 {
			continue
		}
		rules, err := p.Scan.Rules(u.Revision)
		if err != nil {
			o.gap(from, err)
			continue
		}
		// Of the manifests in it the first is the main one.
		once := false
		rules.Find("assembly", func(n *xmltree.Node) {
			if i := n.Child("assemblyIdentity"); !once {
				once = true
				p.claim(from, aboutPackage, strings.Join([]string{
					i.Get("name"), i.Get("publicKeyToken"), i.Get("processorArchitecture"),
					strings.TrimPrefix(i.Get("language"), "neutral"), i.Get("version"),
				}, "~"))
				p.claimArch(from, i.Get("processorArchitecture"))
			}
		})
	}
}

// windows cuts the version from "Windows 6.0".
func windows(s string) string {
	_, version, _ := strings.Cut(s, "Windows ")
	return version
}

// NameClaim is what a file's name says.
type NameClaim struct {
	Windows string      `json:"windows,omitempty"` // 6.0
	KB      winver.KB   `json:"kb,omitzero"`
	Version int         `json:"version,omitempty"` // 4 for -v4
	Arch    winver.Arch `json:"arch,omitzero"`
	SHA1    string      `json:"sha1,omitempty"` // the catalogue's downloads have it at the end
}

// updateName are names as Microsoft gives them: Windows6.0-KB4493730-v4-x64_<sha1>.msu.
var updateName = regexp.MustCompile(`(?i)^(?:\d+_)?windows(\d{1,2}(?:\.\d)?)(?:-rt|-blue)?-(kb\d{5,8})(?:-v(\d{1,3}))?-(x86|x64|ia64|arm|arm64)(?:[-_.].*)?\.(?:msu|cab|exe|psf)$`)

// namedAfterProduct are versions for which file names have that of the product.
var namedAfterProduct = map[string]string{"8": "6.2", "8.1": "6.3"}

var sha1Name = regexp.MustCompile(`(?i)_([0-9a-f]{40})\.[a-z]{3}$`)

// ParseName reads a file name, of which it looks at the last element only. It is false if the
// name is not of Microsoft's form; a digest is taken from other names as well.
func ParseName(name string) (c NameClaim, ok bool) {
	name = path.Base(strings.ReplaceAll(name, `\`, "/"))
	if m := sha1Name.FindStringSubmatch(name); m != nil {
		c.SHA1 = strings.ToLower(m[1])
	}
	m := updateName.FindStringSubmatch(name)
	if m == nil {
		return c, false
	}
	kb, err := winver.ParseKB(m[2])
	if err != nil {
		return c, false
	}
	version, err := strconv.Atoi(cmp.Or(m[3], "0"))
	if err != nil {
		return c, false
	}
	arch, err := winver.ParseArch(m[4])
	if err != nil {
		return c, false
	}
	c.Windows, c.KB, c.Version, c.Arch = cmp.Or(namedAfterProduct[m[1]], m[1]), kb, version, arch
	return c, true
}

// Named compares what a name says with the package, whose claims and contradictions it adds to.
// sha1 is that of the file, in lower case, or empty if it is not known.
func (p *Package) Named(name, sha1 string) {
	c, ok := ParseName(name)
	const from = "file name"
	if ok {
		p.claimKB(from, c.KB)
		p.claimArch(from, c.Arch.String())
		p.claim(from, aboutWindows, c.Windows)
	}
	if c.SHA1 != "" && sha1 != "" {
		p.claim(from, aboutSHA1, c.SHA1)
		p.claim("the file", aboutSHA1, sha1)
	}
	p.Contradictions = contradictions(p.Claims)
}

// String is the contradiction in words.
func (c Contradiction) String() string {
	var parts []string
	for _, claim := range c.Claims {
		parts = append(parts, fmt.Sprintf("%s says %s", claim.From, claim.Value))
	}
	return c.What + ": " + strings.Join(parts, ", ")
}
