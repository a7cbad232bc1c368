// Package trusttest makes authorities, signatures and small signed files for tests: everything that
// Authenticode has, and everything that may be wrong with it. Nothing in it is anybody's real key
// or file.
//
//nolint:gosec // what it makes is small, and SHA-1 is what old signatures have
package trusttest

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"math/big"
	"slices"
	"sync"
	"testing"
	"time"
	"unicode/utf16"
)

// Object identifiers that tests need to name.
var (
	ForCode    = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 3}
	ForTime    = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8}
	ForWindows = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 10, 3, 6}
	ForWeb     = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1}

	signedData    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	data          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	tstInfo       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}
	contentType   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	messageDigest = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	signingTime   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 5}
	counterSign   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 6}
	token         = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 3, 3, 1}
	nested        = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 4, 1}
	rsaEncryption = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	sha1WithRSA   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 5}
	sha256WithRSA = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}
	peImage       = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 1, 15}
	catalogList   = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 12, 1, 1}
	catalogMember = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 12, 1, 2}
	nameValue     = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 12, 2, 1}
	digestOIDs    = map[crypto.Hash]asn1.ObjectIdentifier{
		crypto.SHA1:   {1, 3, 14, 3, 2, 26},
		crypto.SHA256: {2, 16, 840, 1, 101, 3, 4, 2, 1},
	}

	// Indirect is the type of Authenticode's content, List that of a catalog's.
	Indirect = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 1, 4}
	List     = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 10, 1}
)

// key is one for all that tests sign: what differs between authorities is their names.
var key = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// Authority is a root with what hangs below it.
type Authority struct {
	Root *x509.Certificate // give it to trust.Options.Roots
	Code *x509.Certificate // certifies publishers
	Time *x509.Certificate // a time stamp authority, from Code
	t    testing.TB
}

// Cert is what a certificate is to say. The zero values are sensible: SHA-256, 2010 to 2030.
type Cert struct {
	Name, Organization string
	For                []asn1.ObjectIdentifier
	Authority          bool
	MaxPath            int // of an authority; 0 is unlimited, -1 is none below it
	Algorithm          x509.SignatureAlgorithm
	From, Until        time.Time
	Critical           bool // with an extension that nobody knows
}

// New makes an authority with that algorithm in all its certificates.
func New(t testing.TB, alg x509.SignatureAlgorithm) *Authority {
	t.Helper()
	a := &Authority{t: t}
	a.Root = a.Issue(nil, Cert{Name: "Test Root", Authority: true, Algorithm: alg})
	a.Code = a.Issue(a.Root, Cert{Name: "Test Code Signing PCA", Authority: true, Algorithm: alg})
	a.Time = a.Issue(a.Code, Cert{Name: "Test Time-Stamp Service", For: []asn1.ObjectIdentifier{ForTime}, Algorithm: alg})
	return a
}

// Issue makes a certificate; a nil parent makes it sign itself.
func (a *Authority) Issue(parent *x509.Certificate, c Cert) *x509.Certificate {
	a.t.Helper()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		a.t.Fatal(err)
	}
	if c.From.IsZero() {
		c.From = time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if c.Until.IsZero() {
		c.Until = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)), Subject: pkix.Name{CommonName: c.Name},
		NotBefore: c.From, NotAfter: c.Until, UnknownExtKeyUsage: c.For, BasicConstraintsValid: true,
		IsCA: c.Authority, SignatureAlgorithm: c.Algorithm,
		SubjectKeyId: []byte(c.Name), // all have one key; the names tell them apart
	}
	if c.Organization != "" {
		tmpl.Subject.Organization = []string{c.Organization}
	}
	if c.Authority {
		tmpl.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
		tmpl.MaxPathLen, tmpl.MaxPathLenZero = max(c.MaxPath, 0), c.MaxPath < 0
	}
	if c.Critical {
		tmpl.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}
	}
	if parent == nil {
		parent = tmpl
	}
	b, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key().Public(), key())
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(b)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert
}

// Publisher makes a certificate for signing updates, as Microsoft Corporation has it.
func (a *Authority) Publisher() *x509.Certificate {
	return a.Issue(a.Code, Cert{Name: "Microsoft Corporation", Organization: "Microsoft Corporation", For: []asn1.ObjectIdentifier{ForCode}, Algorithm: a.Code.SignatureAlgorithm})
}

// Revoke makes a revocation list of an issuer.
func (a *Authority) Revoke(issuer *x509.Certificate, on time.Time, revoked ...*x509.Certificate) *x509.RevocationList {
	a.t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: on, NextUpdate: on.AddDate(0, 1, 0)}
	for _, c := range revoked {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: on})
	}
	b, err := x509.CreateRevocationList(rand.Reader, l, issuer, key())
	if err != nil {
		a.t.Fatal(err)
	}
	if l, err = x509.ParseRevocationList(b); err != nil {
		a.t.Fatal(err)
	}
	return l
}

// Signing is what a signature is to have beside its content. The zero value of each field
// leaves it out, or as it should be.
type Signing struct {
	Signer     *x509.Certificate // Publisher, if nil
	Extra      []*x509.Certificate
	Hash       crypto.Hash // SHA-256
	Type       asn1.ObjectIdentifier
	Stamped    time.Time // countersigned then
	PKCS9      bool      // in the old way
	StampBy    *x509.Certificate
	Nested     []byte                // a whole signature
	Attribute  asn1.ObjectIdentifier // an unsigned one that nobody knows
	Encryption asn1.ObjectIdentifier
	Version    int
}

// Sign makes signed data over a content, which is given without its tag and length.
func (a *Authority) Sign(content []byte, s Signing) []byte {
	a.t.Helper()
	if s.Signer == nil {
		s.Signer = a.Publisher()
	}
	if s.Hash == 0 {
		s.Hash = crypto.SHA256
	}
	if s.Type == nil {
		s.Type = Indirect
	}
	certs := append([]*x509.Certificate{s.Signer, a.Code}, s.Extra...)
	signer, signature := a.signer(s.Signer, s.Hash, s.Encryption, content, TLV(0x06, oidBytes(s.Type)), nil)
	var unsigned [][]byte
	if !s.Stamped.IsZero() {
		by := s.StampBy
		if by == nil {
			by = a.Time
		}
		if s.PKCS9 {
			at, _ := asn1.Marshal(s.Stamped.UTC())
			c, _ := a.signer(by, crypto.SHA1, sha1WithRSA, signature, TLV(0x06, oidBytes(data)), at)
			unsigned = append(unsigned, attribute(counterSign, TLV(0x30, c)))
			certs = append(certs, by)
		} else {
			unsigned = append(unsigned, attribute(token, a.token(by, s.Hash, signature, s.Stamped)))
		}
	}
	if s.Nested != nil {
		unsigned = append(unsigned, attribute(nested, s.Nested))
	}
	if s.Attribute != nil {
		unsigned = append(unsigned, attribute(s.Attribute, TLV(0x04, []byte("anything"))))
	}
	if len(unsigned) > 0 {
		signer = append(signer, TLV(0xA1, unsigned...)...)
	}
	return a.wrap(max(s.Version, 1), s.Hash, TLV(0x30, TLV(0x06, oidBytes(s.Type)), TLV(0xA0, TLV(0x30, content))), certs, signer)
}

func (a *Authority) wrap(version int, h crypto.Hash, content []byte, certs []*x509.Certificate, signer []byte) []byte {
	var raw [][]byte
	for _, c := range certs {
		raw = append(raw, c.Raw)
	}
	slices.SortFunc(raw, bytes.Compare)
	return TLV(0x30, TLV(0x06, oidBytes(signedData)), TLV(0xA0, TLV(0x30,
		TLV(0x02, []byte{byte(version)}), TLV(0x31, algorithm(digestOIDs[h])), content, TLV(0xA0, raw...), TLV(0x31, TLV(0x30, signer)))))
}

// signer makes a SignerInfo without its tag and length, and without unsigned attributes.
func (a *Authority) signer(c *x509.Certificate, h crypto.Hash, enc asn1.ObjectIdentifier, content, kind, at []byte) (info, signature []byte) {
	a.t.Helper()
	attrs := [][]byte{attribute(contentType, kind), attribute(messageDigest, TLV(0x04, Sum(h, content)))}
	if at != nil {
		attrs = append(attrs, attribute(signingTime, at))
	}
	slices.SortFunc(attrs, bytes.Compare)
	signature, err := rsa.SignPKCS1v15(nil, key(), h, Sum(h, TLV(0x31, attrs...)))
	if err != nil {
		a.t.Fatal(err)
	}
	if enc == nil {
		enc = rsaEncryption
	}
	serial, _ := asn1.Marshal(c.SerialNumber)
	return slices.Concat(TLV(0x02, []byte{1}), TLV(0x30, c.RawIssuer, serial), algorithm(digestOIDs[h]), TLV(0xA0, attrs...), algorithm(enc), TLV(0x04, signature)), signature
}

// token makes an RFC 3161 time stamp.
func (a *Authority) token(by *x509.Certificate, h crypto.Hash, signature []byte, at time.Time) []byte {
	info := TLV(0x30, TLV(0x02, []byte{1}), TLV(0x06, oidBytes(catalogList)), TLV(0x30, algorithm(digestOIDs[h]), TLV(0x04, Sum(h, signature))),
		TLV(0x02, []byte{1}), TLV(0x18, []byte(at.UTC().Format("20060102150405Z"))))
	signer, _ := a.signer(by, h, sha256WithRSA, info, TLV(0x06, oidBytes(tstInfo)), nil)
	return a.wrap(3, h, TLV(0x30, TLV(0x06, oidBytes(tstInfo)), TLV(0xA0, TLV(0x04, info))), []*x509.Certificate{by, a.Code}, signer)
}

// Digest makes the content of an Authenticode signature: SpcIndirectDataContent without its tag
// and length.
func Digest(h crypto.Hash, sum []byte) []byte {
	return slices.Concat(TLV(0x30, TLV(0x06, oidBytes(peImage)), TLV(0x30)), TLV(0x30, algorithm(digestOIDs[h]), TLV(0x04, sum)))
}

// Cabinet makes a cabinet with one stored file. sign gets what Authenticode covers; what it gives is
// put behind the cabinet. Without sign the cabinet is not signed.
func Cabinet(payload []byte, sign func(covered []byte) []byte) []byte {
	const header = 60
	body := binary.LittleEndian.AppendUint32(nil, header+8+16+6) // CFFOLDER: where its data is
	body = append(body, 1, 0, 0, 0)
	body = binary.LittleEndian.AppendUint32(body, uint32(len(payload)))
	body = append(body, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x20, 0)
	body = append(body, "a.txt\x00"...)
	body = append(body, 0, 0, 0, 0)
	body = binary.LittleEndian.AppendUint16(body, uint16(len(payload)))
	body = binary.LittleEndian.AppendUint16(body, uint16(len(payload)))
	body = append(body, payload...)
	b := make([]byte, header, header+len(body))
	le := binary.LittleEndian
	copy(b, "MSCF")
	le.PutUint32(b[8:], uint32(header+len(body)))
	le.PutUint32(b[16:], header+8)
	b[24], b[25], b[26], b[28], b[30] = 3, 1, 1, 1, 4
	le.PutUint32(b[36:], 20)
	le.PutUint32(b[40:], 0x00100000)
	if sign == nil {
		return append(b, body...)
	}
	le.PutUint32(b[44:], uint32(header+len(body)))
	sig := pad(sign(slices.Concat(b[:4], b[8:34], b[56:60], body)))
	le.PutUint32(b[48:], uint32(len(sig)))
	return slices.Concat(b, body, sig)
}

// Program makes a PE32+ file of one section. sign is as for Cabinet; it may give several signatures.
func Program(sign func(covered []byte) [][]byte) []byte {
	const pe, optional = 64, 240
	le := binary.LittleEndian
	b := make([]byte, 1024)
	copy(b, "MZ")
	le.PutUint32(b[60:], pe)
	copy(b[pe:], "PE\x00\x00\x64\x86\x01\x00")
	le.PutUint16(b[pe+20:], optional)
	o := pe + 24
	le.PutUint16(b[o:], 0x20B)
	le.PutUint32(b[o+108:], 16)
	s := o + optional
	copy(b[s:], ".text")
	le.PutUint32(b[s+8:], 512)
	le.PutUint32(b[s+12:], 4096)
	le.PutUint32(b[s+16:], 512)
	le.PutUint32(b[s+20:], 512)
	copy(b[512:], "this program does nothing")
	if sign == nil {
		return b
	}
	entry := o + 112 + 4*8
	var table []byte
	for _, sig := range sign(slices.Concat(b[:o+64], b[o+68:entry], b[entry+8:])) {
		sig = pad(sig)
		table = le.AppendUint32(table, uint32(len(sig)+8))
		table = append(append(table, 0, 2, 2, 0), sig...)
	}
	le.PutUint32(b[entry:], uint32(len(b)))
	le.PutUint32(b[entry+4:], uint32(len(table)))
	return append(b, table...)
}

// Member is one file of a catalog.
type Member struct {
	Sum  []byte
	Name string
}

// Catalog makes the content of a catalog without its tag and length.
func Catalog(h crypto.Hash, members ...Member) []byte {
	var list [][]byte
	for _, m := range members {
		list = append(list, TLV(0x30, TLV(0x04, utf16le(hex.EncodeToString(m.Sum)+"\x00")), TLV(0x31,
			attribute(Indirect, TLV(0x30, Digest(h, m.Sum))),
			attribute(nameValue, TLV(0x30, TLV(0x1E, utf16be("File")), TLV(0x02, []byte{1}), TLV(0x04, utf16le(m.Name+"\x00")))))))
	}
	extension := TLV(0x30, TLV(0x06, oidBytes(nameValue)), TLV(0x04, TLV(0x30, TLV(0x1E, utf16be("OSAttr")), TLV(0x02, []byte{1}), TLV(0x04, utf16le("2:6.0\x00")))))
	return slices.Concat(TLV(0x30, TLV(0x06, oidBytes(catalogList))), TLV(0x04, []byte("id")), TLV(0x17, []byte("150605000000Z")),
		TLV(0x30, TLV(0x06, oidBytes(catalogMember)), []byte{5, 0}), TLV(0x30, list...), TLV(0xA0, TLV(0x30, extension)))
}

// TLV encodes a value in DER.
func TLV(tag byte, parts ...[]byte) []byte {
	c := slices.Concat(parts...)
	switch n := len(c); {
	case n < 0x80:
		return append([]byte{tag, byte(n)}, c...)
	case n < 0x100:
		return append([]byte{tag, 0x81, byte(n)}, c...)
	case n < 0x10000:
		return append([]byte{tag, 0x82, byte(n >> 8), byte(n)}, c...)
	default:
		return append([]byte{tag, 0x83, byte(n >> 16), byte(n >> 8), byte(n)}, c...)
	}
}

// Sum is the digest of bytes.
func Sum(h crypto.Hash, b []byte) []byte {
	if h == crypto.SHA1 {
		s := sha1.Sum(b)
		return s[:]
	}
	d := h.New()
	d.Write(b)
	return d.Sum(nil)
}

func attribute(oid asn1.ObjectIdentifier, value []byte) []byte {
	return TLV(0x30, TLV(0x06, oidBytes(oid)), TLV(0x31, value))
}

func algorithm(oid asn1.ObjectIdentifier) []byte {
	return TLV(0x30, TLV(0x06, oidBytes(oid)), []byte{5, 0})
}

// oidBytes encodes an identifier without tag and length.
func oidBytes(oid asn1.ObjectIdentifier) []byte {
	b, err := asn1.Marshal(oid)
	if err != nil {
		panic(err)
	}
	return b[2:]
}

func pad(b []byte) []byte { return append(b, make([]byte, (8-len(b)%8)%8)...) }

func utf16le(s string) (b []byte) {
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, byte(u), byte(u>>8))
	}
	return b
}

func utf16be(s string) (b []byte) {
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, byte(u>>8), byte(u))
	}
	return b
}
