// Package trust answers whether a file is Microsoft's and unmodified, from the file alone: offline,
// on any system, as of the time of its countersignature. It reads Authenticode signatures of
// programs, cabinets (MSU too), installer packages and catalogs, computes the digests again, and
// follows every path to a root whose thumbprint is pinned. It never executes anything, and
// whether a certificate was revoked it knows only from the lists it is given.
//
// What an attacker can change without breaking a signature is looked at as closely as what is
// signed: a genuine file has nothing there that does not prove itself. The policy is in policy.go,
// the roots are in roots.txt.
package trust

import (
	"crypto/sha1" // #nosec G505 -- update files bear their SHA-1 in their names
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Verdict is the answer about one file.
type Verdict int

// The verdicts, of which only Genuine is good news.
const (
	NotUnderstood  Verdict = iota // the file or its signature could not be read
	Genuine                       // signed by Microsoft as updates are, nothing altered
	MicrosoftOther                // signed by Microsoft, but not as an update, or not in a way that still counts
	OtherPublisher                // signed by somebody else, or by a key that nothing ties to Microsoft
	Altered                       // what was signed was changed
	Uncovered                     // what was signed is whole, but bytes that no signature covers are not as Microsoft leaves them
	Unsigned                      // no signature, and no catalog given vouches for it
)

// String gives the verdict as a sentence would have it.
func (v Verdict) String() string {
	switch v {
	case Genuine:
		return "genuine Microsoft update"
	case MicrosoftOther:
		return "signed by Microsoft, but no update"
	case OtherPublisher:
		return "signed by somebody else"
	case Altered:
		return "altered after signing"
	case Uncovered:
		return "altered in bytes that no signature covers"
	case Unsigned:
		return "unsigned"
	case NotUnderstood:
	}
	return "not understood"
}

// Kind is what a file is, as far as its signature is concerned.
type Kind int

// The kinds of files.
const (
	Other     Kind = iota // only a catalog can vouch for it
	Program               // PE
	Cabinet               // CAB, MSU
	Installer             // MSI
	Patch                 // MSP
	List                  // a catalog
)

// String gives the usual abbreviation.
func (k Kind) String() string {
	if k < Other || k > List {
		k = Other
	}
	return [...]string{"file", "program", "cabinet", "installer package", "installer patch", "catalog"}[k]
}

// Options are what the answer depends on beside the file.
type Options struct {
	Now      time.Time              // the day of asking: what bears no countersignature is judged as of it
	Roots    []*x509.Certificate    // roots that the user trusts as he trusts Microsoft's, beside the pinned ones
	CRLs     []*x509.RevocationList // revocation lists; those whose signature does not fit an issuer are not used
	Catalogs []*Catalog             // catalogs that may vouch for the file
}

// Link is one certificate of a path.
type Link struct {
	Subject, Issuer     string
	Algorithm           string // of the issuer's signature on it
	NotBefore, NotAfter time.Time
	SHA256              string // the thumbprint
	Root                bool   // pinned, or given by the user
}

// Timestamp is the statement of an authority that a signature existed at a time.
type Timestamp struct {
	Kind      string // "RFC 3161" or "PKCS #9"
	Time      time.Time
	Algorithm string // its digest
	Authority string
	Chain     []Link
	Problems  []string // why it does not count; none if it does
	Unproven  string   // what in it nobody can check, or ""; it counts all the same
}

// Signature is one signature of the file and what was found about it.
type Signature struct {
	Place       string // "primary", "nested 1", "certificate table 2", "catalog NAME"
	Algorithm   string // of the digest
	Signed      string // the digest that was signed, in hexadecimal; "" of a catalog, which is its own content
	Computed    string // the digest of the file now
	Signer      string // the common name
	Description string // signed along
	URL         string
	Purposes    []string // what the signer's certificate is for: object identifiers
	Chain       []Link
	Timestamps  []Timestamp
	At          time.Time // as of when it was judged
	Verdict     Verdict   // of this signature alone
	Problems    []string  // why it is not Genuine
	Odd         []string  // what in it nothing covers and should not be there
}

// Report is the answer about one file with its grounds. Lists are in the order of the file.
type Report struct {
	Kind       Kind
	Size       int64
	SHA1       string
	SHA256     string
	Verdict    Verdict
	Publisher  string // the signer that the verdict speaks of
	Signatures []Signature
	Reasons    []string // of the verdict
	Notes      []string // what was not checked, and what the user vouched for
}

// Check judges the file. The error is one of reading; a file that is not understood is a verdict.
func Check(r io.ReaderAt, size int64, o Options) (*Report, error) {
	s, err := open(r, size)
	if err != nil {
		return nil, err
	}
	rep := &Report{Kind: s.kind, Size: size}
	one, two := sha1.New(), sha256.New() // #nosec G401 -- see the import
	if _, err := io.Copy(io.MultiWriter(one, two), io.NewSectionReader(r, 0, size)); err != nil {
		return nil, fmt.Errorf("digest of the file: %w", err)
	}
	sums := [...][]byte{one.Sum(nil), two.Sum(nil)}
	rep.SHA1, rep.SHA256 = hex.EncodeToString(sums[0]), hex.EncodeToString(sums[1])
	j := newJudge(o)
	j.file(rep, s)
	if rep.Verdict == Unsigned || rep.Verdict == NotUnderstood && len(s.blobs) == 0 {
		j.catalogs(rep, s, sums[:])
	}
	if len(rep.Signatures) > 0 {
		rep.Notes = append(rep.Notes, j.notes()...)
		for _, sig := range rep.Signatures {
			for _, t := range sig.Timestamps {
				if t.Unproven != "" {
					rep.Notes = append(rep.Notes, sig.Place+": "+t.Unproven)
				}
			}
		}
	}
	return rep, nil
}

// file judges the signatures that the file carries.
func (j *judge) file(rep *Report, s *subject) {
	if s.err != nil {
		rep.Verdict, rep.Reasons = NotUnderstood, []string{s.err.Error()}
		return
	}
	if len(s.blobs) == 0 {
		rep.Verdict, rep.Reasons = Unsigned, append([]string{"there is no signature in it of the kinds that updates have"}, s.odd...)
		return
	}
	for _, b := range s.blobs {
		rep.Signatures = append(rep.Signatures, j.signedData(b.place, b.data, s, 0, true)...)
	}
	first := rep.Signatures[0]
	rep.Verdict, rep.Publisher = first.Verdict, first.Signer
	rep.Reasons = slices.Clone(first.Problems)
	odd := slices.Clone(s.odd)
	for i, sig := range rep.Signatures {
		for _, o := range sig.Odd {
			odd = append(odd, sig.Place+": "+o)
		}
		if i > 0 && sig.Verdict != Genuine && sig.Verdict != MicrosoftOther {
			odd = append(odd, fmt.Sprintf("%s: %s: %s", sig.Place, sig.Verdict, strings.Join(sig.Problems, "; ")))
		}
	}
	switch rep.Verdict {
	case Genuine, MicrosoftOther:
		if len(odd) > 0 {
			rep.Verdict = Uncovered
		}
	case NotUnderstood, OtherPublisher, Altered, Uncovered, Unsigned:
		odd = s.odd // the rest is measured by how Microsoft signs
	}
	if rep.Verdict == Genuine {
		rep.Reasons = []string{fmt.Sprintf("signed by %q, countersigned or judged as of %s, up to %q",
			first.Signer, first.At.Format(time.RFC3339), first.Chain[len(first.Chain)-1].Subject)}
	}
	rep.Reasons = append(rep.Reasons, odd...)
}
