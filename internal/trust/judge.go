package trust

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oldguard/oldguard/internal/format/pkcs7"
	"github.com/oldguard/oldguard/internal/format/pkcs7/der"
)

// judge holds what is the same for all signatures of one file.
type judge struct {
	options Options
	roots   []Root
	links   int // certificates checked so far
	sigs    int
	crls    int                  // certificates looked up in a revocation list
	checked map[[2][32]byte]bool // certificate and key: did this sign that
}

func newJudge(o Options) *judge {
	j := &judge{options: o, roots: slices.Clone(Roots()), checked: map[[2][32]byte]bool{}}
	for _, c := range o.Roots {
		j.roots = append(j.roots, ofUser(c))
	}
	return j
}

// notes says what the answer leaves open.
func (j *judge) notes() (ns []string) {
	switch {
	case len(j.options.CRLs) == 0:
		ns = append(ns, "whether a certificate was revoked was not checked: that needs the network, or revocation lists")
	case j.crls == 0:
		ns = append(ns, "the revocation lists given are not those of the issuers in the signature")
	default:
		ns = append(ns, fmt.Sprintf("revocation was checked in the lists given: %d look-ups", j.crls))
	}
	for _, c := range j.options.Roots {
		ns = append(ns, fmt.Sprintf("root %q is trusted because you say so", c.Subject.CommonName))
	}
	return ns
}

// signedData judges one signature and those nested in it: the first is the one itself.
func (j *judge) signedData(place string, data []byte, s *subject, depth int, padded bool) []Signature {
	sig := Signature{Place: place}
	fail := func(v Verdict, format string, args ...any) []Signature {
		sig.Verdict, sig.Problems = v, append(sig.Problems, fmt.Sprintf(format, args...))
		return []Signature{sig}
	}
	if j.sigs++; j.sigs > maxSigs || depth > maxNested {
		return fail(NotUnderstood, "more signatures in signatures than are looked at")
	}
	sd, err := pkcs7.Parse(data)
	if err != nil {
		return fail(NotUnderstood, "the signature cannot be read: %v", err)
	}
	sig.Odd = slices.Clone(sd.Anomalies)
	odd := func(format string, args ...any) { sig.Odd = append(sig.Odd, fmt.Sprintf(format, args...)) }
	if n := len(sd.Trailing); n > 0 && (!padded || !zero(sd.Trailing) || len(data)%8 != 0 || n >= 8) {
		odd("%d bytes after the signature", n)
	}
	if len(sd.Signers) != 1 {
		return fail(NotUnderstood, "%d signers, Authenticode has one", len(sd.Signers))
	}
	signer := &sd.Signers[0]
	if sd.Version != 1 || signer.Version != 1 {
		odd("versions %d and %d of the structures, not 1", sd.Version, signer.Version)
	}
	u := &use{sd: sd, used: make([]bool, len(sd.Certificates))}
	shape(u, signer, "signature", odd)
	sig.Algorithm = digests[signer.Digest.Hash()]
	sig.Description, sig.URL = signer.Opus()

	leaf := u.signer(signer)
	if leaf == nil {
		return fail(NotUnderstood, "the certificate of the signer is not in the signature")
	}
	sig.Signer, sig.Purposes = leaf.Subject.CommonName, purposesOf(leaf)
	sig.Chain = []Link{link(leaf)}
	if !sane(leaf.PublicKey) {
		return fail(NotUnderstood, "key of the signer: algorithm or length not supported")
	}
	why := sig.compare(sd, s)
	if err = signer.Verify(leaf, sd.ContentType, sd.Content); err != nil {
		why = err.Error()
	}
	nested := j.unsigned(&sig, u, signer, s, depth, odd)
	if why != "" {
		return append(fail(Altered, "%s", why), nested...)
	}
	j.decide(&sig, u, leaf, s.kind)
	for i, c := range sd.Certificates {
		if !u.used[i] && sig.Verdict != OtherPublisher { // of whom it is unknown what he needs
			odd("certificate %d in it belongs to nothing that was signed%s", i+1, nameOf(c))
		}
	}
	return append([]Signature{sig}, nested...)
}

func nameOf(c pkcs7.Certificate) string {
	switch {
	case c.Cert != nil:
		return fmt.Sprintf(": %q", c.Cert.Subject.CommonName)
	case c.Err != nil:
		return ": " + c.Err.Error()
	}
	return ""
}

// use keeps account of which certificates of a signature something refers to.
type use struct {
	sd   *pkcs7.SignedData
	used []bool
}

func (u *use) certs() (cs []*x509.Certificate) {
	for _, c := range u.sd.Certificates {
		if c.Cert != nil {
			cs = append(cs, c.Cert)
		}
	}
	return cs
}

// signer gives the certificate that a signer names, or nil.
func (u *use) signer(s *pkcs7.Signer) *x509.Certificate {
	for _, c := range u.sd.Certificates {
		if c.Cert != nil && s.Matches(c.Cert) {
			return c.Cert
		}
	}
	return nil
}

func (u *use) mark(p *path) {
	for i, c := range u.sd.Certificates {
		if c.Cert != nil && slices.Contains(p.certs, c.Cert) {
			u.used[i] = true
		}
	}
}

// shape looks at the fields of a signature that nothing covers.
func shape(u *use, s *pkcs7.Signer, place string, odd func(string, ...any)) {
	if place != "PKCS #9" { // which stands in another's structure
		if len(u.sd.CRLs) > 0 {
			odd("revocation lists in it")
		}
		if len(u.sd.Digests) != 1 || u.sd.Digests[0].OID != s.Digest.OID || !u.sd.Digests[0].Plain() {
			odd("the list of digest algorithms is not that of the signer")
		}
	}
	if s.Unordered {
		odd("signed attributes in another order than that of DER")
	}
	if !slices.Contains(encryptions[place], s.Encrypt.OID) {
		odd("algorithm %s, which Microsoft does not write there", s.Encrypt.OID)
	}
}

// compare checks the digest of the file, or for a catalog that it is one.
func (sig *Signature) compare(sd *pkcs7.SignedData, s *subject) (why string) {
	if s.digest == nil {
		if sd.ContentType != pkcs7.OIDCertTrustList {
			return "what was signed is no catalog: " + sd.ContentType
		}
		return ""
	}
	in, err := sd.Indirect()
	if err != nil {
		return "what was signed cannot be read: " + err.Error()
	}
	h := in.Digest.Hash()
	if h == 0 {
		return "digest with an algorithm that is not known here: " + in.Digest.OID
	}
	got, err := s.sum(h)
	if err != nil {
		return "the digest of the file cannot be computed: " + err.Error()
	}
	sig.Algorithm, sig.Signed, sig.Computed = digests[h], hex.EncodeToString(in.Sum), hex.EncodeToString(got)
	if !bytes.Equal(got, in.Sum) {
		return "the file is not what was signed: its digest is another"
	}
	return ""
}

// unsigned reads the attributes that no signature covers: each must prove itself.
func (j *judge) unsigned(sig *Signature, u *use, s *pkcs7.Signer, sub *subject, depth int, odd func(string, ...any)) (nested []Signature) {
	for _, a := range s.Unsigned {
		if len(a.Values) == 0 {
			odd("attribute %s without a value", a.OID)
		}
		for _, v := range a.Values {
			switch a.OID {
			case pkcs7.OIDCounterSignature, pkcs7.OIDTimestampToken:
				if len(sig.Timestamps) >= maxSigs {
					odd("more time stamps than are looked at")
					return nested
				}
				stamp := j.token
				if a.OID == pkcs7.OIDCounterSignature {
					stamp = j.countersignature
				}
				t, strange := stamp(u, s, v, sub.kind)
				sig.Timestamps = append(sig.Timestamps, t)
				sig.Odd = append(sig.Odd, strange...)
				if len(t.Problems) > 0 {
					odd("time stamp does not hold: %s", strings.Join(t.Problems, "; "))
				}
			case pkcs7.OIDNestedSignature:
				place := fmt.Sprintf("nested %d", len(nested)+1)
				if depth > 0 {
					place = sig.Place + ", " + place
				}
				nested = append(nested, j.signedData(place, v.Raw, sub, depth+1, false)...)
			default:
				odd("attribute %s, which nothing covers and Microsoft does not write", a.OID)
			}
		}
	}
	return nested
}

// countersignature reads the older kind of time stamp: a signer over the signature, with its
// certificates among those of the signature.
func (j *judge) countersignature(u *use, parent *pkcs7.Signer, v der.Value, k Kind) (t Timestamp, odd []string) {
	t.Kind = "PKCS #9"
	fail := func(why string) (Timestamp, []string) {
		t.Problems = append(t.Problems, why)
		return t, odd
	}
	s, err := pkcs7.ParseSigner(v)
	if err != nil {
		return fail(err.Error())
	}
	note := func(format string, args ...any) { odd = append(odd, "time stamp: "+fmt.Sprintf(format, args...)) }
	shape(u, s, t.Kind, note)
	if s.Version != 1 || len(s.Unsigned) > 0 {
		note("version %d with %d attributes that nothing covers", s.Version, len(s.Unsigned))
	}
	t.Algorithm = digests[s.Digest.Hash()]
	at, ok := s.SigningTime()
	if !ok {
		return fail("no time in it")
	}
	t.Time = at
	return j.authority(t, u, s, "", parent.Signature, k), odd
}

// token reads the newer kind: signed data of its own over the digest of the signature.
func (j *judge) token(_ *use, parent *pkcs7.Signer, v der.Value, k Kind) (t Timestamp, odd []string) {
	t.Kind = "RFC 3161"
	fail := func(why string) (Timestamp, []string) {
		t.Problems = append(t.Problems, why)
		return t, odd
	}
	sd, err := pkcs7.Parse(v.Raw)
	if err != nil {
		return fail(err.Error())
	}
	note := func(format string, args ...any) { odd = append(odd, "time stamp: "+fmt.Sprintf(format, args...)) }
	for _, a := range sd.Anomalies {
		note("%s", a)
	}
	if len(sd.Signers) != 1 {
		return fail(fmt.Sprintf("%d signers", len(sd.Signers)))
	}
	s := &sd.Signers[0]
	u := &use{sd: sd, used: make([]bool, len(sd.Certificates))}
	shape(u, s, t.Kind, note)
	if sd.Version != 3 || s.Version != 1 || len(s.Unsigned) > 0 {
		note("versions %d and %d with %d attributes that nothing covers", sd.Version, s.Version, len(s.Unsigned))
	}
	info, err := sd.TSTInfo()
	if err != nil {
		return fail(err.Error())
	}
	t.Time, t.Algorithm = info.Time, digests[info.Digest.Hash()]
	if h := info.Digest.Hash(); h == 0 || !bytes.Equal(sum(h, parent.Signature), info.Sum) {
		return fail("it is the stamp of another signature")
	}
	t = j.authority(t, u, s, sd.ContentType, sd.Content, k)
	// The certificates that the authority signed along are covered, its own must be among them.
	ids, err := s.CertIDs()
	if err != nil {
		return fail(err.Error())
	}
	clock := false
	for i, c := range sd.Certificates {
		named := slices.ContainsFunc(ids, func(id pkcs7.CertID) bool { return id.Names(c) })
		if c.Attribute && c.Raw[0] == der.Context(1, true) {
			if u.used[i] = named || !clock && ofClock(c, u.signer(s)); !named && u.used[i] {
				clock = true
				t.Unproven = fmt.Sprintf("the %d bytes about the authority's clock in the time stamp are signed by a key that is not in it", len(c.Raw))
			}
		}
		if len(ids) > 0 && c.Cert != nil && s.Matches(c.Cert) && !ids[0].Names(c) {
			return fail("the authority signed with another certificate")
		}
		if !u.used[i] {
			note("certificate %d in it belongs to nothing that was signed%s", i+1, nameOf(c))
		}
	}
	return t, odd
}

// ofClock reports whether an attribute certificate is what the newer clocks of Microsoft's
// authorities put into their stamps: a statement about the authority's very certificate. Older
// clocks (nCipher DSE) had it signed along; these (Thales TSS, in files from 2019 on, later nShield
// TSS) sign a digest that it does not have, and with a key that is not there.
func ofClock(c pkcs7.Certificate, authority *x509.Certificate) bool {
	const most = 1200 // bytes; those seen have 720 to 950
	return authority != nil && len(c.Raw) <= most &&
		slices.ContainsFunc(authority.Subject.OrganizationalUnit, func(unit string) bool { return strings.Contains(unit, " TSS ESN:") }) &&
		bytes.Contains(c.Raw, authority.RawSubject) && bytes.Contains(c.Raw, sum(crypto.SHA1, authority.Raw))
}

// authority checks the signature of a time stamp and the path of its signer, as of the time it states.
func (j *judge) authority(t Timestamp, u *use, s *pkcs7.Signer, contentType string, content []byte, k Kind) Timestamp {
	fail := func(why ...string) Timestamp {
		t.Problems = append(t.Problems, why...)
		return t
	}
	cert := u.signer(s)
	if cert == nil {
		return fail("the certificate of the authority is not in it")
	}
	t.Authority, t.Chain = cert.Subject.CommonName, []Link{link(cert)}
	if !sane(cert.PublicKey) {
		return fail("key of the authority: algorithm or length not supported")
	}
	if err := s.Verify(cert, contentType, content); err != nil {
		return fail(err.Error())
	}
	p, err := j.find(cert, u.certs())
	if err != nil {
		return fail(fmt.Sprintf("%q: %v", t.Authority, err))
	}
	u.mark(p)
	t.Chain = p.chain()
	if !strings.Contains(p.root.Use, "time") {
		return fail(fmt.Sprintf("root %q is not for time stamps", p.root.Name))
	}
	if s.Digest.Hash() == crypto.SHA1 {
		if no := sha1Refused(k, t.Time); no != "" {
			return fail("signed with SHA-1: " + no)
		}
	}
	return fail(j.problems(p, forTime, t.Time, k)...)
}

// decide gives the verdict on a signature that is whole.
func (j *judge) decide(sig *Signature, u *use, leaf *x509.Certificate, k Kind) {
	sig.At = j.options.Now
	stamped := false
	for _, t := range sig.Timestamps {
		if len(t.Problems) == 0 && (!stamped || t.Time.Before(sig.At)) {
			sig.At, stamped = t.Time, true
		}
	}
	if slices.Contains(sig.Purposes, forLifetime) {
		sig.At = j.options.Now // by its own word it ends with its certificate, countersigned or not
	}
	p, err := j.find(leaf, u.certs())
	switch {
	case errors.Is(err, errBroken):
		sig.Verdict, sig.Problems = Altered, []string{err.Error()}
		return
	case err != nil:
		sig.Verdict = OtherPublisher
		sig.Problems = []string{fmt.Sprintf("%q, issued by %q: %v", sig.Signer, leaf.Issuer.CommonName, err)}
		return
	}
	u.mark(p)
	sig.Chain = p.chain()
	if !strings.Contains(p.root.Use, "code") {
		sig.Verdict = OtherPublisher
		sig.Problems = []string{fmt.Sprintf("%q is not Microsoft: root %q vouches for %s", sig.Signer, p.root.Name, p.root.Use)}
		return
	}
	if org := leaf.Subject.Organization; len(org) != 1 || org[0] != organization {
		sig.Verdict = OtherPublisher
		sig.Problems = []string{fmt.Sprintf("%q belongs to %q, not to %q", sig.Signer, strings.Join(org, ", "), organization)}
		return
	}
	sig.Problems = j.problems(p, forCode, sig.At, k)
	if len(sig.Problems) > 0 && !stamped {
		sig.Problems = append(sig.Problems, "there is no countersignature that shows an earlier time")
	}
	if sig.Algorithm == digests[crypto.SHA1] {
		if no := sha1Refused(k, sig.At); no != "" {
			sig.Problems = append(sig.Problems, fmt.Sprintf("digest with SHA-1 as of %s: %s", sig.At.Format(time.DateOnly), no))
		}
	}
	if why := noUpdate(sig, k); why != "" {
		sig.Problems = append(sig.Problems, why)
	}
	if sig.Verdict = Genuine; len(sig.Problems) > 0 {
		sig.Verdict = MicrosoftOther
	}
}

// noUpdate gives why a name, with the purposes of its certificate, signs no updates in files of
// that kind, or "".
func noUpdate(sig *Signature, k Kind) string {
	for _, p := range publishers {
		if p.name != sig.Signer {
			continue
		}
		switch {
		case !slices.ContainsFunc(p.purposes, func(oid string) bool { return slices.Contains(sig.Purposes, oid) }):
			return fmt.Sprintf("the certificate of %q is for %s, an update needs one for %s", p.name, strings.Join(sig.Purposes, ", "), strings.Join(p.purposes, " or "))
		case !slices.Contains(p.kinds, k) && k != Other:
			return fmt.Sprintf("%q signs it, but a %s is not what updates come in", p.name, k)
		}
		return ""
	}
	return fmt.Sprintf("%q is Microsoft's, but signs no updates", sig.Signer)
}
