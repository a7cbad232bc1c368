package report

import (
	"encoding/json"
	"io"
	"strings"
	"time"

	"github.com/oldguard/oldguard/internal/trust"
	"github.com/oldguard/oldguard/internal/update"
	"github.com/oldguard/oldguard/internal/verify"
	"github.com/oldguard/oldguard/winver"
)

const (
	schemaVerification  = "oldguard/verification/1"
	schemaVerifications = "oldguard/verifications/1"
)

// Verified is what verify found out in one run. Lists are in the order of the arguments.
type Verified struct {
	Files    []*verify.Answer
	Contents bool // list what is in the files
	Stores   []*verify.Store
	Matches  []verify.Match
	Unread   []UnreadFile
}

// UnreadFile is a file about which there is no answer.
type UnreadFile struct {
	File string `json:"file"`
	Why  string `json:"why"`
}

// one reports whether there is an answer about one file and nothing else.
func (v *Verified) one() bool {
	return len(v.Files) == 1 && len(v.Stores)+len(v.Matches)+len(v.Unread) == 0
}

// VerificationFormat is one way to write what verify found out.
type VerificationFormat struct {
	Name, Ext, MIME, Doc string
	Write                func(w io.Writer, v *Verified, o Options) error
}

// Verifications lists the formats, the default first.
func Verifications() []VerificationFormat {
	return []VerificationFormat{
		{"text", ".txt", "text/plain; charset=utf-8", "for people", verificationText},
		{
			"json", ".json", "application/json",
			`one document "` + schemaVerification + `", or of several files "` + schemaVerifications + `" with a list of them`, verificationJSON,
		},
		{"jsonl", ".jsonl", "application/jsonl", `one document "` + schemaVerification + `" a line, of files only`, verificationLines},
		{"html", ".html", "text/html; charset=utf-8", "one page that needs no network", verificationHTML},
	}
}

// Verification is the answer about one file as programs read it. Lists are never null; what is
// not known is.
type Verification struct {
	Schema      string           `json:"schema"`
	File        string           `json:"file"`
	Kind        string           `json:"kind"`
	Size        int64            `json:"size"`
	SHA1        string           `json:"sha1"`
	SHA256      string           `json:"sha256"`
	Verdict     string           `json:"verdict"`
	VerdictText string           `json:"verdict_text"`
	Publisher   string           `json:"publisher"`
	Because     []string         `json:"because"`
	Signatures  []FileSignature  `json:"signatures"`
	Package     *UpdatePackage   `json:"package"`
	Program     *VerifiedProgram `json:"program"`
	Catalogue   []Published      `json:"catalogue"`
	Contradicts []string         `json:"contradictions"`
	Troubles    []Trouble        `json:"troubles"`
	Notes       []string         `json:"notes"`
	Contents    []Content        `json:"contents"`
}

// FileSignature is one signature of a file.
type FileSignature struct {
	Place       string          `json:"place"`
	Verdict     string          `json:"verdict"`
	Signer      string          `json:"signer"`
	Digest      string          `json:"digest"`
	Signed      string          `json:"signed"`
	Computed    string          `json:"computed"`
	Description string          `json:"description"`
	URL         string          `json:"url"`
	JudgedAt    *time.Time      `json:"judged_at"`
	Chain       []Certificate   `json:"chain"`
	Timestamps  []FileTimestamp `json:"timestamps"`
	Problems    []string        `json:"problems"`
	Uncovered   []string        `json:"uncovered"`
}

// Certificate is one link of a path.
type Certificate struct {
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	Algorithm string    `json:"algorithm"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	SHA256    string    `json:"sha256"`
	Root      bool      `json:"root"`
}

// FileTimestamp is a countersignature.
type FileTimestamp struct {
	Kind      string        `json:"kind"`
	Time      time.Time     `json:"time"`
	Digest    string        `json:"digest"`
	Authority string        `json:"authority"`
	Chain     []Certificate `json:"chain"`
	Problems  []string      `json:"problems"`
}

// UpdatePackage is what an update says of itself.
type UpdatePackage struct {
	Kind        string            `json:"kind"`
	KB          *winver.KB        `json:"kb"`
	Name        string            `json:"name"`
	Version     string            `json:"version"`
	Arch        winver.Arch       `json:"arch"`
	ReleaseType string            `json:"release_type"`
	Description string            `json:"description"`
	Support     string            `json:"support"`
	Created     *time.Time        `json:"created"`
	Languages   []string          `json:"languages"`
	Products    []UpdateProduct   `json:"products"`
	Parents     []string          `json:"parents"`
	Packages    []string          `json:"packages"`
	Files       int               `json:"files"`
	Versions    []string          `json:"versions"`
	LeadsTo     *string           `json:"leads_to"`
	ESU         bool              `json:"esu"`
	Stack       *string           `json:"servicing_stack"`
	Restart     string            `json:"restart"`
	Permanence  string            `json:"permanence"`
	Properties  map[string]string `json:"properties"`
}

// UpdateProduct is something that an update is for.
type UpdateProduct struct {
	Name        string `json:"name"`
	Version     string `json:"version"`
	ServicePack *int   `json:"service_pack"`
}

// VerifiedProgram is what a program says of itself.
type VerifiedProgram struct {
	Arch           string `json:"arch"`
	FileVersion    string `json:"file_version"`
	ProductVersion string `json:"product_version"`
	Description    string `json:"description"`
	Company        string `json:"company"`
	OriginalName   string `json:"original_name"`
}

// Published is what the catalogue has on an update for one release.
type Published struct {
	Release      string      `json:"release"`
	Name         string      `json:"name"`
	Concerns     bool        `json:"concerns"`
	Kind         string      `json:"kind"`
	Released     date        `json:"released"`
	ReleasedSure string      `json:"released_sure"`
	Build        *string     `json:"build"`
	Security     bool        `json:"security"`
	Supersedes   []winver.KB `json:"supersedes"`
}

// Trouble is why a genuine file may fail on the machine it is for.
type Trouble struct {
	Codes []string    `json:"codes"`
	Why   string      `json:"why"`
	Needs []winver.KB `json:"needs"`
	Cure  string      `json:"cure"`
}

// Content is something in a file.
type Content struct {
	Name     string     `json:"name"`
	Path     *string    `json:"path"`
	Unsafe   string     `json:"unsafe"`
	Size     int64      `json:"size"`
	Modified *time.Time `json:"modified"`
}

// VerificationList is the answer about several files, about Windows folders, and what the files do
// for machines.
type VerificationList struct {
	Schema  string         `json:"schema"`
	Files   []Verification `json:"files"`
	Stores  []Store        `json:"windows_folders"`
	Against []Match        `json:"against"`
	Unread  []UnreadFile   `json:"unread"`
}

// Store is the answer about the installed packages of a Windows folder.
type Store struct {
	Folder    string       `json:"folder"`
	Catalogs  Tally        `json:"catalogs"`
	Packages  Tally        `json:"package_manifests"`
	Manifests Tally        `json:"component_manifests"`
	Files     Tally        `json:"component_files"`
	Damaged   []Damage     `json:"damaged"`
	Unchecked []NotChecked `json:"unchecked"`
	Notes     []string     `json:"notes"`
}

// Tally counts what was compared.
type Tally struct {
	Good      int `json:"good"`
	Damaged   int `json:"damaged"`
	Unchecked int `json:"unchecked"`
}

// Damage is a damaged part.
type Damage struct {
	Path    string     `json:"path"`
	What    string     `json:"what"`
	Why     string     `json:"why"`
	Package string     `json:"package"`
	KB      *winver.KB `json:"kb"`
	Cure    string     `json:"cure"`
}

// NotChecked is why some parts could not be checked.
type NotChecked struct {
	What    string `json:"what"`
	Why     string `json:"why"`
	Count   int    `json:"count"`
	Example string `json:"example"`
}

// Match is what files do for one machine.
type Match struct {
	Host    string      `json:"host"`
	Release string      `json:"release"`
	Arch    winver.Arch `json:"arch"`
	Missing []Want      `json:"missing"`
	Others  []OtherFile `json:"other_files"`
}

// Want is a missing update and what there is of it.
type Want struct {
	KB    winver.KB `json:"kb"`
	Kind  string    `json:"kind"`
	State string    `json:"state"`
	Files []string  `json:"files"`
	Why   string    `json:"why"`
}

// OtherFile is a file that is no use for a machine.
type OtherFile struct {
	File string `json:"file"`
	Why  string `json:"why"`
}

// verdictNames are for programs; trust has the words.
var verdictNames = map[trust.Verdict]string{
	trust.NotUnderstood: "not-understood", trust.Genuine: "genuine", trust.MicrosoftOther: "microsoft-other",
	trust.OtherPublisher: "other-publisher", trust.Altered: "altered", trust.Uncovered: "uncovered", trust.Unsigned: "unsigned",
}

// wantNames are for programs.
var wantNames = map[verify.State]string{
	verify.ToFetch: "to-fetch", verify.Here: "here", verify.Refused: "refused", verify.Undecided: "undecided",
}

func itself[T any](v T) T { return v }

func verificationOf(a *verify.Answer, contents bool) Verification {
	t := a.Trust
	v := Verification{
		Schema: schemaVerification, File: a.File, Kind: a.Kind(), Size: t.Size, SHA1: t.SHA1, SHA256: t.SHA256,
		Verdict: verdictNames[a.Verdict], VerdictText: verdictText(a), Publisher: t.Publisher, Because: each(a.Because, itself),
		Signatures: each(t.Signatures, signatureOf), Catalogue: each(a.Published, publishedOf),
		Contradicts: each(a.Contradictions, itself), Notes: each(a.Notes, itself), Contents: []Content{},
		Troubles: each(a.Troubles, func(t verify.Trouble) Trouble { return Trouble{t.Codes, t.Why, each(t.Needs, itself), t.Cure} }),
	}
	if a.Package != nil {
		v.Package = packageOfUpdate(a.Package)
	}
	if a.Program != nil {
		v.Program = verifiedProgramOf(a.Program)
	}
	if contents {
		v.Contents = each(a.Contents(), func(c verify.Content) Content {
			return Content{c.Name, known(c.Path), c.Unsafe, c.Size, moment(c.Modified)}
		})
	}
	return v
}

// verdictText is the verdict with who it speaks of.
func verdictText(a *verify.Answer) string {
	if a.Verdict == trust.OtherPublisher && a.Trust.Publisher != "" {
		return a.Verdict.String() + ": " + a.Trust.Publisher
	}
	return a.Verdict.String()
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func signatureOf(s trust.Signature) FileSignature {
	return FileSignature{
		Place: s.Place, Verdict: verdictNames[s.Verdict], Signer: s.Signer, Digest: s.Algorithm, Signed: s.Signed, Computed: s.Computed,
		Description: s.Description, URL: s.URL, JudgedAt: moment(s.At), Chain: each(s.Chain, certificateOf),
		Timestamps: each(s.Timestamps, func(t trust.Timestamp) FileTimestamp {
			return FileTimestamp{t.Kind, t.Time.UTC(), t.Algorithm, t.Authority, each(t.Chain, certificateOf), each(t.Problems, itself)}
		}),
		Problems: each(s.Problems, itself), Uncovered: each(s.Odd, itself),
	}
}

func certificateOf(l trust.Link) Certificate {
	return Certificate{l.Subject, l.Issuer, l.Algorithm, l.NotBefore.UTC(), l.NotAfter.UTC(), l.SHA256, l.Root}
}

func packageOfUpdate(p *update.Package) *UpdatePackage {
	u := &UpdatePackage{
		Kind: p.Kind.String(), KB: known(p.KB), Name: p.Identity.Name, Version: p.Identity.Version, Arch: p.Arch,
		ReleaseType: p.ReleaseType, Description: p.Description, Support: p.Support, Created: moment(p.Created),
		Languages: each(p.Languages, itself), Files: len(p.Files), Versions: each(p.Builds, winver.Build.String),
		LeadsTo: known(p.Kernel.String()), ESU: p.ESU != "", Stack: known(p.Stack.String()), Restart: p.Restart, Permanence: p.Permanence,
		Products: each(p.Products, func(x update.Product) UpdateProduct { return UpdateProduct{x.Name, x.Version, known(x.ServicePack)} }),
		Packages: []string{}, Parents: []string{}, Properties: map[string]string{},
	}
	for _, i := range p.Packages {
		u.Packages = append(u.Packages, i.String())
	}
	for _, parent := range p.Parents {
		for _, i := range parent.Packages {
			u.Parents = append(u.Parents, i.String())
		}
	}
	for _, x := range p.Properties {
		u.Properties[x.Name] = x.Value
	}
	return u
}

func verifiedProgramOf(p *verify.Program) *VerifiedProgram {
	f := &VerifiedProgram{Arch: p.Machine}
	if v := p.Version; v != nil {
		f.FileVersion, f.ProductVersion = dotted(v.File), dotted(v.Product)
		f.Description, f.Company, f.OriginalName = v.Strings["FileDescription"], v.Strings["CompanyName"], v.Strings["OriginalFilename"]
	}
	return f
}

func dotted(v [4]uint16) string {
	return winver.Build{Major: v[0], Minor: v[1], Number: uint32(v[2]), Revision: uint32(v[3]), HasRevision: true}.String()
}

func publishedOf(p verify.Published) Published {
	u := p.Update
	out := Published{
		Release: p.Release.ID, Name: p.Release.Name, Concerns: p.Concerns, Kind: u.Stream.String(), Released: date(u.Released),
		Build: known(u.Build.String()), Security: u.HasCVE, Supersedes: each(u.Supersedes, itself),
	}
	if u.Released != 0 {
		out.ReleasedSure = u.Sure.String()
	}
	return out
}

func storeOf(s *verify.Store) Store {
	tally := func(t verify.Tally) Tally { return Tally(t) }
	return Store{
		Folder: s.Name, Catalogs: tally(s.Catalogs), Packages: tally(s.Packages), Manifests: tally(s.Manifests), Files: tally(s.Files),
		Damaged: each(s.Damaged, func(d verify.Damage) Damage {
			return Damage{d.Path, d.What, d.Why, d.Package, known(d.KB), d.Cure()}
		}),
		Unchecked: each(s.Unchecked, func(u verify.Unchecked) NotChecked { return NotChecked(u) }), Notes: each(s.Notes, itself),
	}
}

func matchOf(m verify.Match) Match {
	return Match{
		Host: m.Lacking.Host, Release: m.Lacking.Release, Arch: m.Lacking.Arch,
		Missing: each(m.Wants, func(w verify.Want) Want {
			return Want{w.KB, w.Kind, wantNames[w.State], each(w.Files, itself), w.Why}
		}),
		Others: each(m.Others, func(o verify.Other) OtherFile { return OtherFile(o) }),
	}
}

func verificationList(v *Verified) *VerificationList {
	return &VerificationList{
		Schema: schemaVerifications,
		Files:  each(v.Files, func(a *verify.Answer) Verification { return verificationOf(a, v.Contents) }),
		Stores: each(v.Stores, storeOf), Against: each(v.Matches, matchOf), Unread: each(v.Unread, itself),
	}
}

func verificationJSON(w io.Writer, v *Verified, _ Options) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if v.one() {
		return enc.Encode(verificationOf(v.Files[0], v.Contents))
	}
	return enc.Encode(verificationList(v))
}

func verificationLines(w io.Writer, v *Verified, _ Options) error {
	enc := json.NewEncoder(w)
	for _, a := range v.Files {
		if err := enc.Encode(verificationOf(a, v.Contents)); err != nil {
			return err
		}
	}
	return nil
}

// verificationHTML writes a page.
func verificationHTML(w io.Writer, v *Verified, _ Options) error {
	b, err := render("verification", verificationList(v))
	if err == nil {
		_, err = w.Write(b)
	}
	return err
}

// Mark is the class of a verdict.
func (v Verification) Mark() string {
	switch {
	case v.Verdict == "not-understood", v.Verdict == "genuine" && len(v.Contradicts) > 0:
		return "undecided"
	case v.Verdict == "genuine":
		return "clear"
	}
	return "bad"
}

// Base is the file's name without its folder.
func (v Verification) Base() string { return v.File[strings.LastIndexAny(v.File, `/\`)+1:] }

// Rows names the tallies.
func (s Store) Rows() []NamedTally {
	return []NamedTally{
		{"catalogs", s.Catalogs}, {"package manifests", s.Packages}, {"component manifests", s.Manifests}, {"component files", s.Files},
	}
}

// NamedTally is a row of a table.
type NamedTally struct {
	Name string
	Tally
}
