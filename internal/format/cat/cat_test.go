package cat_test

import (
	"crypto"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/format/cat"
	"github.com/oldguard/oldguard/internal/trust/trusttest"
)

func TestParse(t *testing.T) {
	sum := trusttest.Sum(crypto.SHA256, []byte("a file"))
	c, err := cat.Parse(trusttest.Catalog(crypto.SHA256, trusttest.Member{Sum: sum, Name: "a.dll"}))
	if err != nil {
		t.Fatal(err)
	}
	m := c.Lookup(sum)
	if m == nil || m.File() != "a.dll" || !m.PE || !strings.EqualFold(m.Tag, hex.EncodeToString(sum)) {
		t.Fatalf("member %+v", m)
	}
	if diff := cmp.Diff([]cat.Attribute{{Name: "OSAttr", Value: "2:6.0"}}, c.Attributes); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	if c.Version != 1 || c.Time.Year() != 2015 || c.Lookup([]byte("another")) != nil {
		t.Errorf("catalog %+v", c)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(trusttest.Catalog(crypto.SHA1, trusttest.Member{Sum: make([]byte, 20), Name: "a.dll"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := cat.Parse(b)
		if err != nil {
			return
		}
		for _, m := range c.Members {
			if m.Hash != nil && c.Lookup(m.Hash) == nil {
				t.Errorf("member %q is not found by its digest", m.Tag)
			}
		}
	})
}
