package trust

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/oldguard/oldguard/internal/format/pkcs7"
)

// path is a way from a signer's certificate to a root: each is signed by the next, the last by
// the root's key.
type path struct {
	certs []*x509.Certificate
	root  *Root
}

// Errors of finding a path, which mean different things.
var (
	errBroken  = errors.New("a certificate was altered: its issuer did not sign it")
	errNoRoot  = errors.New("no path to a root that is trusted")
	errTooMuch = errors.New("too many certificates to look at")
)

// hashes of the signature algorithms of certificates. crypto/x509 refuses SHA-1 altogether; here
// the day decides. MD5 is in no path.
var certHash = map[x509.SignatureAlgorithm]crypto.Hash{
	x509.SHA1WithRSA: crypto.SHA1, x509.SHA256WithRSA: crypto.SHA256, x509.SHA384WithRSA: crypto.SHA384,
	x509.SHA512WithRSA: crypto.SHA512, x509.ECDSAWithSHA256: crypto.SHA256, x509.ECDSAWithSHA384: crypto.SHA384,
	x509.ECDSAWithSHA512: crypto.SHA512,
}

// signed reports whether the key signed the certificate; id is what tells the key from others.
// What was found out once is remembered: signatures of one file share most of their paths.
func (j *judge) signed(c *x509.Certificate, key crypto.PublicKey, id []byte) bool {
	h, ok := certHash[c.SignatureAlgorithm]
	if !ok || !sane(key) {
		return false
	}
	pair := [2][32]byte{sha256.Sum256(c.Raw), sha256.Sum256(id)}
	j.links++ // known or not, for the bound is one of paths too
	good, known := j.checked[pair]
	if !known {
		good = pkcs7.VerifyKey(key, h, sum(h, c.RawTBSCertificate), c.Signature) == nil
		j.checked[pair] = good
	}
	return good
}

// sane reports whether a key costs no more time than Microsoft's do.
func sane(key crypto.PublicKey) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return k.N.BitLen() <= maxRSA && k.E <= 1<<17
	case *ecdsa.PublicKey:
		return true
	}
	return false
}

// find gives the path from a certificate to a root through the others, the shortest first.
func (j *judge) find(leaf *x509.Certificate, others []*x509.Certificate) (*path, error) {
	broken := false
	visited := map[*x509.Certificate]bool{leaf: true} // one path to each, or their number would explode
	paths := [][]*x509.Certificate{{leaf}}
	for depth := 0; depth < maxPath && len(paths) > 0; depth++ {
		var longer [][]*x509.Certificate
		for _, p := range paths {
			last := p[len(p)-1]
			if j.links > maxLinks {
				return nil, errTooMuch
			}
			for i := range j.roots {
				r := &j.roots[i]
				switch {
				case thumbprint(last) == r.SHA256: // the root itself came along
					return &path{p, r}, nil
				case !bytes.Equal(last.RawIssuer, r.Subject):
				case j.signed(last, r.Key, []byte(r.SHA256)):
					return &path{p, r}, nil
				default:
					broken = true
				}
			}
			for _, c := range others {
				if !bytes.Equal(last.RawIssuer, c.RawSubject) || visited[c] ||
					len(last.AuthorityKeyId) > 0 && len(c.SubjectKeyId) > 0 && !bytes.Equal(last.AuthorityKeyId, c.SubjectKeyId) {
					continue
				}
				if !j.signed(last, c.PublicKey, c.RawSubjectPublicKeyInfo) {
					broken = true
					continue
				}
				visited[c] = true
				longer = append(longer, append(slices.Clip(p), c))
			}
		}
		paths = longer
	}
	if broken {
		return nil, errBroken
	}
	return nil, errNoRoot
}

// problems gives what speaks against using the path for that purpose at that time, in a file of
// that kind.
func (j *judge) problems(p *path, purpose string, at time.Time, k Kind) (why []string) {
	day := at.Format(time.DateOnly)
	for i, c := range p.certs {
		name := c.Subject.CommonName
		add := func(format string, args ...any) {
			why = append(why, fmt.Sprintf("%q ", name)+fmt.Sprintf(format, args...))
		}
		if at.Before(c.NotBefore) || at.After(c.NotAfter) {
			add("is valid from %s to %s, not on %s", c.NotBefore.Format(time.DateOnly), c.NotAfter.Format(time.DateOnly), day)
		}
		if certHash[c.SignatureAlgorithm] == crypto.SHA1 {
			if no := sha1Refused(k, at); no != "" {
				add("is signed with SHA-1, as of %s: %s", day, no)
			}
		}
		if key, ok := c.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() < minRSA {
			add("has an RSA key of %d bits", key.N.BitLen())
		}
		if len(c.UnhandledCriticalExtensions) > 0 {
			add("has a critical extension that is not known here: %v", c.UnhandledCriticalExtensions)
		}
		if purposes := purposesOf(c); i == 0 && !slices.Contains(purposes, purpose) ||
			i > 0 && len(purposes) > 0 && !slices.Contains(purposes, purpose) && !slices.Contains(purposes, anyPurpose) {
			add("is not for %s", purpose)
		}
		if i > 0 {
			switch below := i - 1; { // authorities below this one
			case !c.BasicConstraintsValid || !c.IsCA:
				add("is no authority")
			case c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0:
				add("may not sign certificates")
			case (c.MaxPathLen > 0 || c.MaxPathLenZero) && below > c.MaxPathLen:
				add("allows %d authorities below it, there are %d", c.MaxPathLen, below)
			}
		}
		if no := j.revoked(p, i, at); no != "" {
			add("%s", no)
		}
	}
	if r := p.root; at.Before(r.NotBefore) || at.After(r.NotAfter) {
		why = append(why, fmt.Sprintf("root %q is valid from %s to %s, not on %s", r.Name, r.NotBefore.Format(time.DateOnly), r.NotAfter.Format(time.DateOnly), day))
	}
	return why
}

const anyPurpose = "2.5.29.37.0" // RFC 5280, 4.2.1.12

// purposesOf gives the extended key usages.
func purposesOf(c *x509.Certificate) (oids []string) {
	const extKeyUsage = "2.5.29.37"
	for _, e := range c.Extensions {
		if e.Id.String() != extKeyUsage {
			continue
		}
		var ids []asn1.ObjectIdentifier
		if _, err := asn1.Unmarshal(e.Value, &ids); err != nil {
			return nil // crypto/x509 read it before, and would have refused
		}
		for _, id := range ids {
			oids = append(oids, id.String())
		}
	}
	return oids
}

// revoked gives why a certificate of the path is on a revocation list that its issuer signed, or
// "". What was countersigned before the day of revocation stays good, unless the key was stolen.
func (j *judge) revoked(p *path, i int, at time.Time) string {
	issuer := p.root.Key
	if i+1 < len(p.certs) {
		issuer = p.certs[i+1].PublicKey
	}
	const keyCompromise = 1 // RFC 5280, 5.3.1
	for _, l := range j.options.CRLs {
		h, ok := certHash[l.SignatureAlgorithm]
		if !ok || !bytes.Equal(l.RawIssuer, p.certs[i].RawIssuer) || !sane(issuer) ||
			pkcs7.VerifyKey(issuer, h, sum(h, l.RawTBSRevocationList), l.Signature) != nil {
			continue
		}
		j.crls++
		for _, e := range l.RevokedCertificateEntries {
			if e.SerialNumber.Cmp(p.certs[i].SerialNumber) == 0 && (!e.RevocationTime.After(at) || e.ReasonCode == keyCompromise) {
				return "was revoked on " + e.RevocationTime.Format(time.DateOnly)
			}
		}
	}
	return ""
}

// chain gives the path for the report.
func (p *path) chain() (links []Link) {
	for _, c := range p.certs {
		links = append(links, link(c))
	}
	r := p.root
	if last := links[len(links)-1]; last.SHA256 == r.SHA256 {
		links[len(links)-1].Root = true
		return links
	}
	return append(links, Link{Subject: r.Name, Issuer: r.Name, NotBefore: r.NotBefore, NotAfter: r.NotAfter, SHA256: r.SHA256, Root: true})
}

func link(c *x509.Certificate) Link {
	return Link{
		Subject: c.Subject.CommonName, Issuer: c.Issuer.CommonName, Algorithm: c.SignatureAlgorithm.String(),
		NotBefore: c.NotBefore, NotAfter: c.NotAfter, SHA256: thumbprint(c),
	}
}

func sum(h crypto.Hash, b []byte) []byte {
	d := h.New()
	d.Write(b)
	return d.Sum(nil)
}
