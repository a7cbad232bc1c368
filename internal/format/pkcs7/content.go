package pkcs7

import (
	"bytes"
	"errors"
	"fmt"
	"time"
	"unicode/utf16"

	"github.com/oldguard/oldguard/internal/format/pkcs7/der"
)

// Indirect is SpcIndirectDataContent: the digest of the file that Authenticode signs.
type Indirect struct {
	Type   string // what was digested: a PE image, a cabinet, an MSI (SIP)
	Digest Algorithm
	Sum    []byte
}

// Indirect reads the content of an Authenticode signature.
func (sd *SignedData) Indirect() (*Indirect, error) {
	if sd.ContentType != OIDSpcIndirectData {
		return nil, fmt.Errorf("content %s, want the digest of a file", sd.ContentType)
	}
	return ParseIndirect(sd.Content)
}

// ParseIndirect reads SpcIndirectDataContent without its tag and length.
func ParseIndirect(content []byte) (*Indirect, error) {
	data, rest, err := der.Read(content)
	if err != nil {
		return nil, err
	}
	info, rest, err := der.Read(rest)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%w: %d bytes after the file's digest", der.ErrSyntax, len(rest))
	}
	in := new(Indirect)
	f := data.Fields(der.Sequence)
	in.Type = f.Next(der.OID).OIDString()
	g := info.Fields(der.Sequence)
	alg := g.Next(der.Sequence)
	in.Sum = g.Next(der.OctetString).Bytes
	if err = errors.Join(f.Err(), g.Done()); err != nil {
		return nil, err
	}
	if in.Digest, err = algorithm(alg); err != nil {
		return nil, err
	}
	return in, nil
}

// TSTInfo is what a time stamp authority states (RFC 3161, 2.4.2).
type TSTInfo struct {
	Time   time.Time
	Digest Algorithm
	Sum    []byte // of the signature that was stamped
}

// TSTInfo reads the content of a time stamp.
func (sd *SignedData) TSTInfo() (*TSTInfo, error) {
	if sd.ContentType != OIDTSTInfo {
		return nil, fmt.Errorf("content %s, want a time stamp", sd.ContentType)
	}
	v, rest, err := der.Read(sd.Content)
	if err != nil {
		return nil, err
	}
	f := v.Fields(der.Sequence)
	f.Next(der.Integer)
	f.Next(der.OID)
	imprint := f.Next(der.Sequence)
	f.Next(der.Integer)
	at := f.Next(der.GeneralizedTime)
	if err = f.Err(); err != nil || len(rest) > 0 {
		return nil, errors.Join(err, fmt.Errorf("%w: time stamp with %d bytes after it", der.ErrSyntax, len(rest)))
	}
	ts := new(TSTInfo)
	if ts.Time, err = at.Time(); err != nil {
		return nil, err
	}
	g := imprint.Fields(der.Sequence)
	alg := g.Next(der.Sequence)
	ts.Sum = g.Next(der.OctetString).Bytes
	if err = g.Done(); err != nil {
		return nil, err
	}
	ts.Digest, err = algorithm(alg)
	return ts, err
}

// CertID names a certificate by its digest (ESSCertID, RFC 5035).
type CertID struct {
	Digest Algorithm
	Sum    []byte
}

// Names reports whether the identifier is that of the certificate. An attribute certificate is
// digested with the tag of a SEQUENCE, whatever tag it has in the list.
func (id CertID) Names(c Certificate) bool {
	h := id.Digest.Hash()
	if h == 0 || len(c.Raw) == 0 {
		return false
	}
	d := h.New()
	d.Write([]byte{der.Sequence})
	d.Write(c.Raw[1:])
	return bytes.Equal(d.Sum(nil), id.Sum)
}

// CertIDs gives the certificates that the signer signed together with the rest: its own first, then
// those that came with it, as the attribute certificates of Microsoft's clocks do. They are nil
// if it signed none.
func (s *Signer) CertIDs() (ids []CertID, err error) {
	v, ok := s.Attr(OIDSigningCertV2)
	standard := Algorithm{OID: "2.16.840.1.101.3.4.2.1"} // the default of RFC 5035
	if !ok {
		v, ok = s.Attr(OIDSigningCert)
		standard = Algorithm{OID: "1.3.14.3.2.26"} // the only one of RFC 2634
	}
	if !ok {
		return nil, nil
	}
	vs, err := v.Fields(der.Sequence).Next(der.Sequence).Children(maxCertificates)
	if err != nil {
		return nil, err
	}
	for _, v := range vs {
		f := v.Fields(der.Sequence)
		id := CertID{Digest: standard}
		if a := f.Optional(der.Sequence); a.Tag != 0 {
			if id.Digest, err = algorithm(a); err != nil {
				return nil, err
			}
		}
		id.Sum = f.Next(der.OctetString).Bytes
		if err := f.Err(); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// Opus gives the program name and address that the signer signed along, as far as there are any.
func (s *Signer) Opus() (name, url string) {
	v, ok := s.Attr(OIDSpcOpusInfo)
	if !ok {
		return "", ""
	}
	f := v.Fields(der.Sequence)
	if p := f.Optional(der.Context(0, true)); p.Tag != 0 {
		name = spcString(p.Fields(p.Tag).Any())
	}
	if m := f.Optional(der.Context(1, true)); m.Tag != 0 {
		if link := m.Fields(m.Tag).Any(); link.Tag == der.Context(0, false) {
			url = string(link.Bytes)
		}
	}
	return name, url
}

// spcString gives an SpcString: UTF-16 or ASCII.
func spcString(v der.Value) string {
	if v.Tag == der.Context(0, false) {
		return BMP(v.Bytes)
	}
	return string(v.Bytes)
}

// BMP gives the text of big-endian UTF-16, as BMPString has it.
func BMP(b []byte) string {
	u := make([]uint16, 0, len(b)/2)
	for ; len(b) >= 2; b = b[2:] {
		u = append(u, uint16(b[0])<<8|uint16(b[1]))
	}
	return string(utf16.Decode(u))
}
