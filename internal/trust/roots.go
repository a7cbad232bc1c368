package trust

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	_ "embed"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"time"
)

//go:embed roots.txt
var rootTable string

// Root is an authority that paths may end in.
type Root struct {
	Name                string
	SHA256              string // thumbprint of the certificate, in hexadecimal
	Subject             []byte // encoded
	Key                 crypto.PublicKey
	NotBefore, NotAfter time.Time
	Use                 string // "code", "time", "code time", or "others": it certifies publishers that are not Microsoft
}

// Roots gives the pinned roots. The certificates themselves are not needed: signatures leave them
// out, and what counts is their name and key, which the table has.
var Roots = sync.OnceValue(func() []Root {
	roots, err := parseRoots(rootTable)
	if err != nil {
		panic(err) // the table is part of the program, and tested
	}
	return roots
})

func parseRoots(table string) (roots []Root, err error) {
	for line := range strings.Lines(table) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if key == "" || strings.HasPrefix(key, "#") {
			continue
		}
		if key == "root" {
			roots = append(roots, Root{Name: value})
			continue
		}
		if len(roots) == 0 {
			return nil, fmt.Errorf("roots: %q before the first root", key)
		}
		if err := roots[len(roots)-1].set(key, value); err != nil {
			return nil, fmt.Errorf("root %q: %s: %w", roots[len(roots)-1].Name, key, err)
		}
	}
	return roots, nil
}

func (r *Root) set(key, value string) (err error) {
	switch key {
	case "sha256":
		r.SHA256 = value
	case "use":
		r.Use = value
	case "valid":
		from, to, _ := strings.Cut(value, " ")
		if r.NotBefore, err = time.Parse(time.RFC3339, from); err == nil {
			r.NotAfter, err = time.Parse(time.RFC3339, to)
		}
	case "subject":
		r.Subject, err = hex.DecodeString(value)
	case "key":
		var der []byte
		if der, err = hex.DecodeString(value); err == nil {
			r.Key, err = x509.ParsePKIXPublicKey(der)
		}
	default:
		return fmt.Errorf("unknown line %q", key)
	}
	return err
}

// ofUser makes a root of a certificate that the user trusts.
func ofUser(c *x509.Certificate) Root {
	return Root{
		Name: c.Subject.CommonName, SHA256: thumbprint(c), Subject: c.RawSubject, Key: c.PublicKey,
		NotBefore: c.NotBefore, NotAfter: c.NotAfter, Use: "code time",
	}
}

func thumbprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}
