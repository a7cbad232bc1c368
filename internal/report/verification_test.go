package report

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/format/cab/cabtest"
	"github.com/oldguard/oldguard/internal/trust"
	"github.com/oldguard/oldguard/internal/trust/trusttest"
	"github.com/oldguard/oldguard/internal/verify"
	"github.com/oldguard/oldguard/winver"
)

const verificationSchema = "../../docs/schema/verification-1.json"

// hostileName would move the cursor, turn text around, and be markup.
const hostileName = "a\x1b[2J\u202e<script>alert(1)</script>.cab"

// verified makes a document that has something in every list.
func verified(t *testing.T) *Verified {
	t.Helper()
	c, err := catalog.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	a := trusttest.New(t, x509.SHA256WithRSA)
	o := verify.Options{Catalog: c, Trust: trust.Options{
		Now: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), Roots: []*x509.Certificate{a.Root},
	}}
	file := func(name string, b []byte) *verify.Answer {
		x, err := verify.File(name, bytes.NewReader(b), int64(len(b)), o)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	program := trusttest.Program(func(covered []byte) [][]byte {
		sum := sha256.Sum256(covered)
		sign := trusttest.Signing{Stamped: time.Date(2019, 4, 9, 0, 0, 0, 0, time.UTC)}
		return [][]byte{a.Sign(trusttest.Digest(crypto.SHA256, sum[:]), sign)}
	})
	mum := `<assembly><assemblyIdentity name="Package_for_KB4493730" version="6.0.1.0" language="neutral" processorArchitecture="amd64" publicKeyToken="31bf3856ad364e35"/>
<package identifier="KB4493730" releaseType="Security Update" restart="possible"><parent><assemblyIdentity name="Microsoft-Windows-Foundation-Package" version="6.0.6001.18000"/></parent></package></assembly>`
	v := &Verified{
		Contents: true,
		Files: []*verify.Answer{
			file("windows6.0-kb4493471-x64.cab", cabtest.Stored(cabtest.File{Name: "update.mum", Data: []byte(mum)}, cabtest.File{Name: "../x"})),
			file(hostileName, []byte("MSCF")),
			file("program.exe", program),
		},
		Stores: []*verify.Store{{
			Name: "disk", Catalogs: verify.Tally{Good: 1}, Files: verify.Tally{Good: 3, Damaged: 1, Unchecked: 2},
			Damaged:   []verify.Damage{{Path: "winsxs/x/" + hostileName, What: "file", Why: "it is missing", Package: "P", KB: winver.KB(4493730)}, {Path: "y", What: "catalog"}},
			Unchecked: []verify.Unchecked{{What: "file", Why: "its manifest has no hash of it", Count: 2, Example: "z"}}, Notes: []string{"a note"},
		}},
		Unread: []UnreadFile{{"b.msu", "permission denied"}},
	}
	v.Files[0].Troubles = []verify.Trouble{{Codes: []string{"0x80096010"}, Why: "why", Needs: []winver.KB{4474419}, Cure: "cure"}}
	v.Matches = verify.Against(v.Files, []verify.Lacking{{Host: "FS01", Arch: winver.AMD64, Updates: []verify.Lack{{KB: 4493730, Kind: "servicing stack"}, {KB: 4474419, Kind: "SHA-2"}}}})
	return v
}

// TestVerificationSchema holds the documents against their schema.
func TestVerificationSchema(t *testing.T) {
	b, err := os.ReadFile(verificationSchema)
	if err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := json.Unmarshal(b, &root); err != nil {
		t.Fatal(err)
	}
	v := verified(t)
	properties := root["properties"].(map[string]any)["package"].(map[string]any)["properties"].(map[string]any)
	check := func(t *testing.T, schema map[string]any, write func(*bytes.Buffer) error) {
		t.Helper()
		var out bytes.Buffer
		if err := write(&out); err != nil {
			t.Fatal(err)
		}
		var doc any
		if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
			t.Fatal(err)
		}
		if list, ok := doc.(map[string]any)["files"].([]any); ok {
			for i := range list {
				list[i] = map[string]any{} // each is checked by itself
			}
		}
		c := checker{root: root}
		c.whole("$", schema, doc)
		for _, e := range c.errors {
			t.Error(e)
		}
	}
	for _, a := range v.Files {
		t.Run(a.File, func(t *testing.T) {
			check(t, root, func(out *bytes.Buffer) error {
				return verificationJSON(out, &Verified{Files: []*verify.Answer{a}, Contents: true}, Options{})
			})
		})
	}
	check(t, root["$defs"].(map[string]any)["verifications"].(map[string]any), func(out *bytes.Buffer) error { return verificationJSON(out, v, Options{}) })
	if len(properties) < 20 {
		t.Errorf("the schema has %d properties of a package", len(properties))
	}
	n := 0
	var visit func(reflect.Type)
	visit = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice:
			visit(typ.Elem())
		case reflect.Struct:
			for f := range typ.Fields() {
				if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
					if n++; !strings.Contains(string(b), `"`+name+`": {`) {
						t.Errorf("%s.%s: the schema has no %q", typ.Name(), f.Name, name)
					}
				}
				visit(f.Type)
			}
		default:
		}
	}
	visit(reflect.TypeFor[VerificationList]())
	if n < 90 {
		t.Errorf("looked at %d fields only", n)
	}
}

// TestVerificationFormats holds that every format names every file, and shows nothing hostile as it is.
func TestVerificationFormats(t *testing.T) {
	v := verified(t)
	for _, f := range Verifications() {
		t.Run(f.Name, func(t *testing.T) {
			var out bytes.Buffer
			if err := f.Write(&out, v, Options{}); err != nil {
				t.Fatal(err)
			}
			text := out.String()
			for _, want := range []string{"windows6.0-kb4493471-x64.cab", "program.exe", "unsigned"} {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in it", want)
				}
			}
			if f.Name != "jsonl" {
				for _, want := range []string{"b.msu", "permission denied", "FS01", "KB4474419", "its manifest has no hash of it", "a note"} {
					if !strings.Contains(text, want) {
						t.Errorf("no %q in it", want)
					}
				}
			}
			if strings.ContainsAny(text, "\x1b\u202e") && f.Name != "json" && f.Name != "jsonl" || strings.Contains(text, "<script>alert") && f.Name != "text" {
				t.Error("something hostile is in it as it is")
			}
		})
	}
	var one bytes.Buffer
	if err := verificationJSON(&one, &Verified{Files: v.Files[:1]}, Options{}); err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(one.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"schema", "file", "sha1", "sha256", "verdict", "signatures", "package"} {
		if _, ok := doc[name]; !ok {
			t.Errorf("the document of one file has no %q", name)
		}
	}
	if got := fmt.Sprint(doc["schema"], doc["verdict"], doc["contradictions"]); !strings.HasPrefix(got, "oldguard/verification/1unsigned[KB: ") {
		t.Errorf("got %s", got)
	}
}
