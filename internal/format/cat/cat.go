// Package cat reads catalog files: lists of digests that one signature vouches for. It reads the
// content of the signature, a certificate trust list; package pkcs7 reads the signature, package
// trust judges it.
package cat

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/oldguard/oldguard/internal/format/pkcs7"
	"github.com/oldguard/oldguard/internal/format/pkcs7/der"
)

// Object identifiers of catalogs, from wintrust.h and mscat.h of the Windows SDK.
const (
	oidCatalogList     = "1.3.6.1.4.1.311.12.1.1" // szOID_CATALOG_LIST
	oidMemberV1        = "1.3.6.1.4.1.311.12.1.2" // szOID_CATALOG_LIST_MEMBER: tags are SHA-1
	oidMemberV2        = "1.3.6.1.4.1.311.12.1.3" // szOID_CATALOG_LIST_MEMBER2: tags are SHA-256
	oidNameValue       = "1.3.6.1.4.1.311.12.2.1" // CAT_NAMEVALUE_OBJID
	oidMemberInfo      = "1.3.6.1.4.1.311.12.2.2" // CAT_MEMBERINFO_OBJID
	oidPEImageData     = "1.3.6.1.4.1.311.2.1.15" // SPC_PE_IMAGE_DATA_OBJID
	maxMembers         = 1 << 18                  // the largest catalogs of Windows have some 20,000
	maxAttributes      = 256                      // of a member
	maxAttributeLength = 1 << 16
)

// Attribute is a name with a text: a hint such as the file's name, or the systems it is for.
type Attribute struct{ Name, Value string }

// Member is one file that the catalog vouches for.
type Member struct {
	Tag        string // how the catalog names it: the digest in hexadecimal, as a rule
	Hash       []byte // nil if the member has none of its own; then the tag is it
	Algorithm  pkcs7.Algorithm
	PE         bool   // the digest is that of Authenticode, else of all bytes
	GUID       string // of the program that checks it
	Attributes []Attribute
}

// File gives the file name among the hints, or "".
func (m *Member) File() string {
	for _, a := range m.Attributes {
		if strings.EqualFold(a.Name, "File") {
			return a.Value
		}
	}
	return ""
}

// Catalog is the content of a catalog file. Members are in the catalog's order.
type Catalog struct {
	ID         []byte
	Time       time.Time
	Version    int // 1 or 2
	Members    []Member
	Attributes []Attribute

	byHash map[string]int
}

// Parse reads the content of a signature whose type is pkcs7.OIDCertTrustList, without its tag and
// length, as SignedData has it.
func Parse(content []byte) (*Catalog, error) {
	f := der.Value{Tag: der.Sequence, Bytes: content}.Fields(der.Sequence)
	usage := f.Next(der.Sequence).Fields(der.Sequence).Next(der.OID).OIDString()
	c := &Catalog{byHash: map[string]int{}}
	c.ID = f.Optional(der.OctetString).Bytes
	at := f.Optional(der.UTCTime)
	if at.Tag == 0 {
		at = f.Next(der.GeneralizedTime)
	}
	algorithm := f.Next(der.Sequence).Fields(der.Sequence).Next(der.OID).OIDString()
	members := f.Optional(der.Sequence)
	extensions := f.Optional(der.Context(0, true))
	if err := f.Done(); err != nil {
		return nil, err
	}
	if usage != oidCatalogList {
		return nil, fmt.Errorf("trust list for %q, want a catalog", usage)
	}
	var err error
	if c.Time, err = at.Time(); err != nil {
		return nil, err
	}
	switch algorithm {
	case oidMemberV1:
		c.Version = 1
	case oidMemberV2:
		c.Version = 2
	default:
		return nil, fmt.Errorf("catalog with members of kind %q", algorithm)
	}
	if err = c.members(members); err != nil {
		return nil, err
	}
	if extensions.Tag == 0 {
		return c, nil
	}
	vs, err := extensions.Fields(extensions.Tag).Next(der.Sequence).Children(maxAttributes)
	if err != nil {
		return nil, err
	}
	for _, v := range vs {
		f := v.Fields(der.Sequence)
		oid := f.Next(der.OID).OIDString()
		f.Optional(der.Boolean)
		value := f.Next(der.OctetString)
		if f.Err() != nil || oid != oidNameValue {
			continue
		}
		if inner, _, err := der.Read(value.Bytes); err == nil {
			if a, ok := nameValue(inner); ok {
				c.Attributes = append(c.Attributes, a)
			}
		}
	}
	return c, nil
}

func (c *Catalog) members(list der.Value) error {
	if list.Tag == 0 {
		return nil // a catalog of nothing
	}
	vs, err := list.Children(maxMembers)
	if err != nil {
		return err
	}
	for _, v := range vs {
		m, err := member(v)
		if err != nil {
			return fmt.Errorf("member %d: %w", len(c.Members)+1, err)
		}
		key := m.Hash
		if key == nil {
			if key, err = hex.DecodeString(m.Tag); err != nil {
				key = []byte(m.Tag)
			}
		}
		c.byHash[string(key)] = len(c.Members)
		c.Members = append(c.Members, *m)
	}
	return nil
}

func member(v der.Value) (*Member, error) {
	f := v.Fields(der.Sequence)
	m := &Member{Tag: tag(f.Next(der.OctetString).Bytes)}
	attributes := f.Next(der.Set)
	if err := f.Done(); err != nil {
		return nil, err
	}
	vs, err := attributes.Children(maxAttributes)
	if err != nil {
		return nil, err
	}
	for _, v := range vs {
		f := v.Fields(der.Sequence)
		oid := f.Next(der.OID).OIDString()
		var values []der.Value
		values, err = f.Next(der.Set).Children(maxAttributes)
		if err = errors.Join(f.Done(), err); err != nil {
			return nil, err
		}
		for _, v := range values {
			switch oid {
			case pkcs7.OIDSpcIndirectData:
				var in *pkcs7.Indirect
				if in, err = pkcs7.ParseIndirect(v.Bytes); err != nil {
					return nil, err
				}
				if m.Hash != nil && !bytes.Equal(m.Hash, in.Sum) {
					return nil, errors.New("two digests for one file")
				}
				m.Hash, m.Algorithm, m.PE = in.Sum, in.Digest, in.Type == oidPEImageData
			case oidMemberInfo:
				m.GUID = pkcs7.BMP(v.Fields(der.Sequence).Next(der.BMPString).Bytes)
			case oidNameValue:
				if a, ok := nameValue(v); ok {
					m.Attributes = append(m.Attributes, a)
				}
			}
		}
	}
	return m, nil
}

// tag gives a member's tag as text: UTF-16 of version 1, bytes of version 2.
func tag(b []byte) string {
	if n := len(b); n >= 2 && n%2 == 0 && b[n-1] == 0 && b[1] == 0 {
		return littleUTF16(b)
	}
	return strings.ToUpper(hex.EncodeToString(b))
}

// nameValue reads a pair of name and text.
func nameValue(v der.Value) (a Attribute, ok bool) {
	f := v.Fields(der.Sequence)
	a.Name = pkcs7.BMP(f.Next(der.BMPString).Bytes)
	f.Next(der.Integer)
	value := f.Next(der.OctetString).Bytes
	if f.Err() != nil || len(value) > maxAttributeLength {
		return Attribute{}, false
	}
	a.Value = littleUTF16(value)
	return a, true
}

// littleUTF16 gives the text of little-endian UTF-16 up to its final zero.
func littleUTF16(b []byte) string {
	swapped := make([]byte, len(b)&^1)
	for i := 0; i+1 < len(b); i += 2 {
		swapped[i], swapped[i+1] = b[i+1], b[i]
	}
	return strings.TrimRight(pkcs7.BMP(swapped), "\x00")
}

// Lookup gives the member with that digest, or nil.
func (c *Catalog) Lookup(hash []byte) *Member {
	if i, ok := c.byHash[string(hash)]; ok {
		return &c.Members[i]
	}
	return nil
}
