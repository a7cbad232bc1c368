// Package pkcs7 reads signed data, the form of Authenticode signatures, catalogs and time stamps
// (PKCS #7 1.5, RFC 2315, and its successor CMS, RFC 5652), and does the arithmetic of one
// signature. Whom to believe is decided in package trust.
//
// It reads everything there is: each signer with its signed and unsigned attributes, so that nested
// signatures and time stamps can be read in turn. What it gives lies in the bytes it was given.
package pkcs7

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	_ "crypto/sha1" // #nosec G505 -- what was signed with SHA-1 is to be read; trust says until when it counts
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/oldguard/oldguard/internal/format/pkcs7/der"
)

// Object identifiers, with where they are assigned.
const (
	OIDSignedData = "1.2.840.113549.1.7.2" // RFC 5652, 5.1

	// Contents.
	OIDSpcIndirectData = "1.3.6.1.4.1.311.2.1.4"     // Windows Authenticode Portable Executable Signature Format, 2008
	OIDCertTrustList   = "1.3.6.1.4.1.311.10.1"      // [MS-CAESO], 2.2: szOID_CTL
	OIDTSTInfo         = "1.2.840.113549.1.9.16.1.4" // RFC 3161, 2.4.2

	// Attributes.
	OIDContentType       = "1.2.840.113549.1.9.3"       // RFC 5652, 11.1
	OIDMessageDigest     = "1.2.840.113549.1.9.4"       // RFC 5652, 11.2
	OIDSigningTime       = "1.2.840.113549.1.9.5"       // RFC 5652, 11.3
	OIDCounterSignature  = "1.2.840.113549.1.9.6"       // RFC 5652, 11.4
	OIDSigningCert       = "1.2.840.113549.1.9.16.2.12" // RFC 2634, 5.4
	OIDSigningCertV2     = "1.2.840.113549.1.9.16.2.47" // RFC 5035
	OIDNestedSignature   = "1.3.6.1.4.1.311.2.4.1"      // wintrust.h: szOID_NESTED_SIGNATURE
	OIDTimestampToken    = "1.3.6.1.4.1.311.3.3.1"      // wincrypt.h: szOID_RFC3161_counterSign
	OIDSpcOpusInfo       = "1.3.6.1.4.1.311.2.1.12"     // Authenticode format, as above
	OIDSpcStatementType  = "1.3.6.1.4.1.311.2.1.11"     // Authenticode format, as above
	OIDRSAEncryption     = "1.2.840.113549.1.1.1"       // RFC 8017, appendix C
	oidECDSAWithSHA256   = "1.2.840.10045.4.3.2"        // RFC 5758
	oidECDSAWithSHA384   = "1.2.840.10045.4.3.3"        // RFC 5758
	oidECDSAWithSHA512   = "1.2.840.10045.4.3.4"        // RFC 5758
	oidSHA1WithRSA       = "1.2.840.113549.1.1.5"       // RFC 8017, appendix C
	oidSHA256WithRSA     = "1.2.840.113549.1.1.11"      // RFC 8017, appendix C
	oidSHA384WithRSA     = "1.2.840.113549.1.1.12"      // RFC 8017, appendix C
	oidSHA512WithRSA     = "1.2.840.113549.1.1.13"      // RFC 8017, appendix C
	maxCertificates      = 64                           // Microsoft's signatures carry up to ten
	maxSigners           = 8                            // Authenticode has one
	maxAttributes        = 64                           // in one list
	maxAttributeValues   = 16                           // nested signatures may be several values of one
	maxDigestAlgorithms  = 8                            // one for each signer
	maxAnomalies         = 20                           // more say nothing new
	maxCertificateLength = 1 << 16                      // a certificate has one to three kilobytes
)

// hashes are the digests known here. MD5 is not: nothing signed with it proves anything.
var hashes = map[string]crypto.Hash{
	"1.3.14.3.2.26":          crypto.SHA1,   // RFC 3370
	"2.16.840.1.101.3.4.2.1": crypto.SHA256, // RFC 5754
	"2.16.840.1.101.3.4.2.2": crypto.SHA384, // RFC 5754
	"2.16.840.1.101.3.4.2.3": crypto.SHA512, // RFC 5754
}

// signatureHash gives the digest that a signature algorithm fixes; one not listed is unknown.
var signatureHash = map[string]crypto.Hash{
	OIDRSAEncryption:   0, // whatever the digest algorithm says
	oidSHA1WithRSA:     crypto.SHA1,
	oidSHA256WithRSA:   crypto.SHA256,
	oidSHA384WithRSA:   crypto.SHA384,
	oidSHA512WithRSA:   crypto.SHA512,
	oidECDSAWithSHA256: crypto.SHA256,
	oidECDSAWithSHA384: crypto.SHA384,
	oidECDSAWithSHA512: crypto.SHA512,
}

// Algorithm is an AlgorithmIdentifier.
type Algorithm struct {
	OID    string
	Params []byte // encoded; nil if absent
}

// Hash gives the digest algorithm, or 0 for one not known here.
func (a Algorithm) Hash() crypto.Hash { return hashes[a.OID] }

// Plain reports whether the parameters are absent or NULL, as they are for digests and RSA.
func (a Algorithm) Plain() bool {
	return len(a.Params) == 0 || bytes.Equal(a.Params, []byte{der.Null, 0})
}

// Attribute is one attribute of a signer; values are encoded.
type Attribute struct {
	OID    string
	Values []der.Value
}

// Certificate is one of the certificates that come with a signature. They are in no order and
// need not belong to it.
type Certificate struct {
	Raw       []byte
	Cert      *x509.Certificate // nil if it could not be read, or is an attribute certificate
	Attribute bool              // an attribute certificate (RFC 5652, 10.2.2), which states facts and signs nothing
	Err       error             // why Cert is nil, else
}

// Signer is one SignerInfo.
type Signer struct {
	Raw       []byte
	Version   int
	Issuer    []byte   // the encoded name of the issuer of the signer's certificate; nil if it is named by KeyID
	Serial    *big.Int // of the signer's certificate; nil as above
	KeyID     []byte
	Digest    Algorithm
	Encrypt   Algorithm // the algorithm of the signature
	Signature []byte
	Signed    []Attribute
	Unsigned  []Attribute // no signature covers them: what they hold must prove itself
	Unordered bool        // the signed attributes are not in the order of DER
	signedRaw []byte      // the signed attributes as a SET, as they lie; nil if there are none
	sortedRaw []byte      // the same in the order of DER; nil if that is no other
}

// SignedData is one signature, or several over the same content.
type SignedData struct {
	Version      int
	Digests      []Algorithm
	ContentType  string
	Content      []byte // what the signers' digests cover: the content without its own tag and length; nil if absent
	Certificates []Certificate
	CRLs         [][]byte
	Signers      []Signer
	Raw          []byte
	Trailing     []byte   // what follows in the bytes given; padding is zero
	Anomalies    []string // what is readable, but not as DER and Authenticode have it
}

// Parse reads a ContentInfo that holds SignedData. Bytes after it are no error: they are in
// Trailing. Errors wrap der.ErrSyntax where the bytes are at fault.
func Parse(b []byte) (*SignedData, error) {
	outer, rest, err := der.Read(b)
	if err != nil {
		return nil, err
	}
	sd := &SignedData{Raw: outer.Raw, Trailing: rest, Anomalies: der.Check(outer.Raw, maxAnomalies)}
	info := outer.Fields(der.Sequence)
	kind := info.Next(der.OID).OIDString()
	f := info.Next(der.Context(0, true)).Fields(der.Context(0, true))
	body := f.Next(der.Sequence)
	if err := errors.Join(info.Done(), f.Done()); err != nil {
		return nil, err
	}
	if kind != OIDSignedData {
		return nil, fmt.Errorf("%w: content %q where signed data should be", der.ErrSyntax, kind)
	}
	if err := sd.parse(body); err != nil {
		return nil, err
	}
	return sd, nil
}

func (sd *SignedData) parse(body der.Value) error {
	f := body.Fields(der.Sequence)
	sd.Version = small(f.Next(der.Integer))
	digests := f.Next(der.Set)
	content := f.Next(der.Sequence)
	certificates := f.Optional(der.Context(0, true))
	crls := f.Optional(der.Context(1, true))
	signers := f.Next(der.Set)
	if err := f.Done(); err != nil {
		return err
	}
	vs, err := digests.Children(maxDigestAlgorithms)
	if err != nil {
		return err
	}
	for _, v := range vs {
		var a Algorithm
		if a, err = algorithm(v); err != nil {
			return err
		}
		sd.Digests = append(sd.Digests, a)
	}
	if err = sd.parseContent(content); err != nil {
		return err
	}
	if certificates.Tag != 0 {
		if vs, err = certificates.Children(maxCertificates); err != nil {
			return err
		}
		for _, v := range vs {
			sd.Certificates = append(sd.Certificates, certificate(v))
		}
	}
	if crls.Tag != 0 {
		if vs, err = crls.Children(maxCertificates); err != nil {
			return err
		}
		for _, v := range vs {
			sd.CRLs = append(sd.CRLs, v.Raw)
		}
	}
	if vs, err = signers.Children(maxSigners); err != nil {
		return err
	}
	for _, v := range vs {
		var s *Signer
		if s, err = ParseSigner(v); err != nil {
			return fmt.Errorf("signer: %w", err)
		}
		sd.Signers = append(sd.Signers, *s)
	}
	return nil
}

func (sd *SignedData) parseContent(v der.Value) error {
	f := v.Fields(der.Sequence)
	sd.ContentType = f.Next(der.OID).OIDString()
	wrapped := f.Optional(der.Context(0, true))
	if err := f.Done(); err != nil || wrapped.Tag == 0 {
		return err
	}
	content, rest, err := der.Read(wrapped.Bytes)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("%w: %d bytes after the content", der.ErrSyntax, len(rest))
	}
	sd.Content = content.Bytes
	// The tag of the content is not signed: Authenticode has a SEQUENCE, CMS an OCTET STRING.
	want := byte(der.Sequence)
	if sd.ContentType == OIDTSTInfo {
		want = der.OctetString
	}
	if content.Tag != want {
		sd.note("content with tag %#02x", content.Tag)
	}
	return nil
}

func (sd *SignedData) note(format string, args ...any) {
	if len(sd.Anomalies) < maxAnomalies {
		sd.Anomalies = append(sd.Anomalies, fmt.Sprintf(format, args...))
	}
}

func certificate(v der.Value) Certificate {
	c := Certificate{Raw: v.Raw}
	switch {
	case v.Tag == der.Context(1, true), v.Tag == der.Context(2, true):
		c.Attribute = true
	case v.Tag != der.Sequence:
		c.Err = fmt.Errorf("%w: certificate with tag %#02x", der.ErrSyntax, v.Tag)
	case len(v.Raw) > maxCertificateLength:
		c.Err = fmt.Errorf("certificate of %d bytes", len(v.Raw))
	default:
		c.Cert, c.Err = x509.ParseCertificate(v.Raw)
	}
	return c
}

// ParseSigner reads one SignerInfo, as it stands in signed data and as a countersignature.
func ParseSigner(v der.Value) (*Signer, error) {
	s := &Signer{Raw: v.Raw}
	f := v.Fields(der.Sequence)
	s.Version = small(f.Next(der.Integer))
	if id := f.Optional(der.Context(0, false)); id.Tag != 0 {
		s.KeyID = id.Bytes
	} else {
		id := f.Next(der.Sequence).Fields(der.Sequence)
		s.Issuer = id.Next(der.Sequence).Raw
		if n := id.Next(der.Integer); len(n.Bytes) > 0 && len(n.Bytes) <= 64 {
			s.Serial = new(big.Int).SetBytes(n.Bytes)
			if n.Bytes[0]&0x80 != 0 { // negative, as some old authorities had them
				s.Serial.Sub(s.Serial, new(big.Int).Lsh(big.NewInt(1), uint(8*len(n.Bytes))))
			}
		}
		if err := errors.Join(f.Err(), id.Done()); err != nil {
			return nil, err
		}
	}
	var err error
	if s.Digest, err = algorithm(f.Next(der.Sequence)); err != nil {
		return nil, errors.Join(f.Err(), err)
	}
	if signed := f.Optional(der.Context(0, true)); signed.Tag != 0 {
		// What is signed is the list as a SET: RFC 5652, 5.4.
		s.signedRaw = bytes.Clone(signed.Raw)
		s.signedRaw[0] = der.Set
		if s.Signed, err = attributes(signed); err != nil {
			return nil, err
		}
		s.sort(signed)
	}
	if s.Encrypt, err = algorithm(f.Next(der.Sequence)); err != nil {
		return nil, errors.Join(f.Err(), err)
	}
	s.Signature = f.Next(der.OctetString).Bytes
	if unsigned := f.Optional(der.Context(1, true)); unsigned.Tag != 0 {
		if s.Unsigned, err = attributes(unsigned); err != nil {
			return nil, err
		}
	}
	return s, f.Done()
}

// sort keeps the signed attributes in the order of DER too, if they are in another: what is signed is
// DER, but some signers store them as they please.
func (s *Signer) sort(signed der.Value) {
	vs, err := signed.Children(maxAttributes)
	byBytes := func(a, b der.Value) int { return bytes.Compare(a.Raw, b.Raw) }
	if err != nil || slices.IsSortedFunc(vs, byBytes) {
		return
	}
	slices.SortFunc(vs, byBytes)
	s.Unordered = true
	s.sortedRaw = s.signedRaw[: len(s.signedRaw)-len(signed.Bytes) : len(s.signedRaw)-len(signed.Bytes)]
	for _, v := range vs {
		s.sortedRaw = append(s.sortedRaw, v.Raw...)
	}
}

func attributes(v der.Value) (as []Attribute, err error) {
	vs, err := v.Children(maxAttributes)
	if err != nil {
		return nil, err
	}
	for _, v := range vs {
		f := v.Fields(der.Sequence)
		a := Attribute{OID: f.Next(der.OID).OIDString()}
		set := f.Next(der.Set)
		if err = f.Done(); err != nil {
			return nil, err
		}
		if a.Values, err = set.Children(maxAttributeValues); err != nil {
			return nil, err
		}
		as = append(as, a)
	}
	return as, nil
}

func algorithm(v der.Value) (a Algorithm, err error) {
	f := v.Fields(der.Sequence)
	a.OID = f.Next(der.OID).OIDString()
	if f.More() {
		a.Params = f.Any().Raw
	}
	return a, f.Done()
}

// small gives a version number, or -1 for what is none.
func small(v der.Value) int {
	if n, ok := v.Int(); ok {
		return n
	}
	return -1
}

// Attr gives the only value of the only signed attribute of that kind; ok is false if there is
// none or more than one, for then it is open which counts.
func (s *Signer) Attr(oid string) (v der.Value, ok bool) {
	for _, a := range s.Signed {
		if a.OID != oid {
			continue
		}
		if ok || len(a.Values) != 1 {
			return der.Value{}, false
		}
		v, ok = a.Values[0], true
	}
	return v, ok
}

// Matches reports whether the signer names this certificate.
func (s *Signer) Matches(c *x509.Certificate) bool {
	if s.Serial == nil {
		return len(s.KeyID) > 0 && bytes.Equal(s.KeyID, c.SubjectKeyId)
	}
	return c.SerialNumber.Cmp(s.Serial) == 0 && bytes.Equal(c.RawIssuer, s.Issuer)
}

// SigningTime gives the time that the signer states in a signed attribute; ok is false without one.
func (s *Signer) SigningTime() (t time.Time, ok bool) {
	v, ok := s.Attr(OIDSigningTime)
	if !ok {
		return time.Time{}, false
	}
	t, err := v.Time()
	return t, err == nil
}

// Errors of Verify, for telling what was altered.
var (
	ErrDigest    = errors.New("the content is not what was signed")
	ErrSignature = errors.New("the signature does not fit the signer's key")
	ErrAlgorithm = errors.New("algorithm not supported")
)

// Verify checks that the signer, with the key of the certificate, signed the content of that
// type. It says nothing of whether the certificate can be believed. An empty contentType is for
// countersignatures, which need no such attribute.
func (s *Signer) Verify(cert *x509.Certificate, contentType string, content []byte) error {
	h := s.Digest.Hash()
	if h == 0 || !s.Digest.Plain() {
		return fmt.Errorf("%w: digest %s", ErrAlgorithm, s.Digest.OID)
	}
	fixed, known := signatureHash[s.Encrypt.OID]
	if !known || !s.Encrypt.Plain() || fixed != 0 && fixed != h {
		return fmt.Errorf("%w: signature %s", ErrAlgorithm, s.Encrypt.OID)
	}
	sum := digest(h, content)
	if s.signedRaw == nil {
		return VerifyKey(cert.PublicKey, h, sum, s.Signature)
	}
	if v, ok := s.Attr(OIDMessageDigest); !ok || v.Tag != der.OctetString || !bytes.Equal(v.Bytes, sum) {
		return ErrDigest
	}
	if v, ok := s.Attr(OIDContentType); contentType != "" && (!ok || v.OIDString() != contentType) {
		return fmt.Errorf("%w: its type is %q, signed was %q", ErrDigest, contentType, v.OIDString())
	}
	err := VerifyKey(cert.PublicKey, h, digest(h, s.signedRaw), s.Signature)
	if err != nil && s.sortedRaw != nil {
		return VerifyKey(cert.PublicKey, h, digest(h, s.sortedRaw), s.Signature)
	}
	return err
}

// VerifyKey checks a signature over a digest with an RSA (PKCS #1 1.5) or ECDSA key. It takes
// SHA-1, which crypto/x509 refuses: whether SHA-1 counts depends on when, and that is policy.
func VerifyKey(key crypto.PublicKey, h crypto.Hash, sum, sig []byte) error {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if rsa.VerifyPKCS1v15(k, h, sum, sig) == nil {
			return nil
		}
		// Symantec's time stamps have the bare digest, without the name of its algorithm.
		if h == crypto.SHA1 && rsa.VerifyPKCS1v15(k, 0, sum, sig) == nil {
			return nil
		}
	case *ecdsa.PublicKey:
		if ecdsa.VerifyASN1(k, sum, sig) {
			return nil
		}
	default:
		return fmt.Errorf("%w: key %T", ErrAlgorithm, key)
	}
	return ErrSignature
}

func digest(h crypto.Hash, b []byte) []byte {
	d := h.New()
	d.Write(b)
	return d.Sum(nil)
}
