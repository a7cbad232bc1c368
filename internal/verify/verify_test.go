package verify

import (
	"bytes"
	"crypto"
	"crypto/sha1"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/format/cab/cabtest"
	"github.com/oldguard/oldguard/internal/trust"
	"github.com/oldguard/oldguard/internal/trust/trusttest"
	"github.com/oldguard/oldguard/internal/verify/verifytest"
	"github.com/oldguard/oldguard/winver"
)

// asked is the day of asking.
var asked = time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)

func options(t *testing.T, a *trusttest.Authority) Options {
	t.Helper()
	c, err := catalog.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Trust: trust.Options{Now: asked}, Catalog: c}
	if a != nil {
		o.Trust.Roots = []*x509.Certificate{a.Root}
	}
	return o
}

func answerOf(t *testing.T, name string, b []byte, o Options) *Answer {
	t.Helper()
	a, err := File(name, bytes.NewReader(b), int64(len(b)), o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestFile(t *testing.T) {
	a := trusttest.New(t, x509.SHA256WithRSA)
	good := verifytest.Update(a, crypto.SHA256, "KB4493730", "amd64")
	sum := sha1.Sum(good)
	altered := slices.Clone(good)
	altered[binary.LittleEndian.Uint32(good[44:])-1] ^= 1 // the last byte of the cabinet
	for _, tc := range []struct {
		name    string
		file    string
		content []byte
		roots   bool
		verdict trust.Verdict
		kind    string
		but     []string // the beginnings of the contradictions
	}{
		{"genuine", "Windows6.0-KB4493730-x64.cab", good, true, trust.Genuine, "servicing cabinet", nil},
		{"any_name", "what i found.cab", good, true, trust.Genuine, "servicing cabinet", nil},
		{"digest_in_name", "windows6.0-kb4493730-x64_" + hex.EncodeToString(sum[:]) + ".cab", good, true, trust.Genuine, "servicing cabinet", nil},
		{"other_digest_in_name", "windows6.0-kb4493730-x64_" + strings.Repeat("0", 40) + ".cab", good, true, trust.Genuine, "servicing cabinet", []string{"SHA-1: "}},
		{"other_update_by_name", "Windows6.0-KB4474419-x64.cab", good, true, trust.Genuine, "servicing cabinet", []string{"KB: "}},
		{"other_machine_by_name", "Windows6.0-KB4493730-x86.cab", good, true, trust.Genuine, "servicing cabinet", []string{"architecture: "}},
		{"other_windows_by_name", "Windows6.1-KB4493730-x64.cab", good, true, trust.Genuine, "servicing cabinet", []string{"Windows: "}},
		{"catalogue_has_it_elsewhere", "x.cab", verifytest.Update(a, crypto.SHA256, "KB4490628", "amd64"), true, trust.Genuine, "servicing cabinet", []string{"Windows: the file is for Windows Server 2008, the catalogue has KB4490628 for "}},
		{"catalogue_not_for_that_machine", "x.cab", verifytest.Update(a, crypto.SHA256, "KB4550737", "ia64"), true, trust.Genuine, "servicing cabinet", []string{"architecture: the file is for ia64"}},
		{"nobody_known", "x.cab", good, false, trust.OtherPublisher, "servicing cabinet", nil},
		{"altered", "x.cab", altered, true, trust.Altered, "", nil},
		{"unsigned", "x.cab", verifytest.Update(nil, crypto.SHA256, "KB4493730", "amd64"), true, trust.Unsigned, "servicing cabinet", nil},
		{"no_update_in_it", "x.cab", verifytest.Cabinet(a, crypto.SHA256, cabtest.File{Name: "readme.txt", Data: []byte("hello")}), true, trust.MicrosoftOther, "cabinet", nil},
		{"text_by_the_name_of_an_update", "Windows6.0-KB4493730-x64.msu", []byte("<html>not found"), true, trust.Unsigned, "file", []string{"kind: file name says update KB4493730"}},
		{"image", "Windows11.0-KB5044284-x64.msu", append([]byte("MSWIM\x00\x00\x00"), make([]byte, 300)...), true, trust.NotUnderstood, "MSU image", []string{"kind: "}},
		{"empty", "x.msu", nil, true, trust.Unsigned, "file", nil},
		{"known_name_other_file", "windows6.1-kb4490628-x64.msu", []byte("hello"), true, trust.Unsigned, "file", []string{"kind: ", "SHA-256: the list of known files has 8075f6d889bcb27be6f52ed47081675e5bb8a5390f2f5bfe4ec27a2bb70cbf5e"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := options(t, a)
			if !tc.roots {
				o.Trust.Roots = nil
			}
			got := answerOf(t, tc.file, tc.content, o)
			if got.Verdict != tc.verdict {
				t.Errorf("verdict %q, want %q: %q", got.Verdict, tc.verdict, got.Because)
			}
			if tc.kind != "" && got.Kind() != tc.kind {
				t.Errorf("kind %q, want %q", got.Kind(), tc.kind)
			}
			if len(got.Contradictions) != len(tc.but) {
				t.Fatalf("contradictions %q, want %d", got.Contradictions, len(tc.but))
			}
			for i, want := range tc.but {
				if !strings.HasPrefix(got.Contradictions[i], want) {
					t.Errorf("contradiction %q, want %q", got.Contradictions[i], want)
				}
			}
			if got.Certain() != (tc.verdict == trust.Genuine && len(tc.but) == 0) {
				t.Errorf("certain: %v", got.Certain())
			}
			if len(got.Because) == 0 {
				t.Error("no reason")
			}
		})
	}
}

// TestTroubles holds that a genuine file tells why it may fail, and no other does.
func TestTroubles(t *testing.T) {
	codes := func(a *Answer) (list []string) {
		for _, x := range a.Troubles {
			list = append(list, x.Codes[0])
		}
		return list
	}
	for _, tc := range []struct {
		name string
		alg  x509.SignatureAlgorithm
		hash crypto.Hash
		kb   string
		want []string
	}{
		{"sha2_alone", x509.SHA256WithRSA, crypto.SHA256, "KB4493471", []string{"0x80096010", "0x800B0101", "0x800F0823", "0x80070661", "0x80240017"}},
		{"sha1", x509.SHA1WithRSA, crypto.SHA1, "KB4493471", []string{"0x800B0101", "0x800F0823", "0x80070661", "0x80240017"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := trusttest.New(t, tc.alg)
			got := answerOf(t, "x.cab", verifytest.Update(a, tc.hash, tc.kb, "amd64"), options(t, a))
			if diff := cmp.Diff(tc.want, codes(got)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", got.Verdict, diff)
			}
		})
	}
	a := trusttest.New(t, x509.SHA256WithRSA)
	needs := func(kb string) []winver.KB {
		return answerOf(t, "x.cab", verifytest.Update(a, crypto.SHA256, kb, "amd64"), options(t, a)).Troubles[0].Needs
	}
	if diff := cmp.Diff([]winver.KB{4493730, 4474419}, needs("KB4493471")); diff != "" {
		t.Errorf("needs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]winver.KB{4493730}, needs("KB4474419")); diff != "" {
		t.Errorf("an update does not need itself (-want +got):\n%s", diff)
	}
	if got := answerOf(t, "x.cab", verifytest.Update(nil, crypto.SHA256, "KB4493471", "amd64"), options(t, a)); len(got.Troubles) != 0 {
		t.Errorf("unsigned: %v", got.Troubles)
	}
}

// TestWalk holds that cabinets inside are unpacked as well, and nothing goes where it should not.
func TestWalk(t *testing.T) {
	inner := cabtest.Stored(cabtest.File{Name: "a.txt", Data: []byte("A")})
	b := cabtest.Stored(cabtest.File{Name: `..\evil.txt`, Data: []byte("E")}, cabtest.File{Name: "in.cab", Data: inner}, cabtest.File{Name: `d\b.txt`, Data: []byte("B")})
	a := answerOf(t, "x.cab", b, options(t, nil))
	got := map[string]string{}
	if err := a.Walk(func(c Content, r io.Reader) error {
		b, err := io.ReadAll(r)
		got[c.Path] = string(b)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"in.cab": string(inner), "d/b.txt": "B", "in.cab.d/a.txt": "A"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	a.Release()
	if err := a.Walk(func(c Content, _ io.Reader) error { t.Errorf("%s is still there", c.Path); return nil }); err != nil {
		t.Error(err)
	}
	if c := a.Contents()[0]; c.Path != "" || c.Unsafe == "" {
		t.Errorf("%+v has a path", c)
	}
	if err := answerOf(t, "x", []byte("text"), options(t, nil)).Walk(nil); err == nil {
		t.Error("text was unpacked")
	}
}

// realFile reads a file of the collection, or skips the test.
func realFile(t *testing.T, name string) []byte {
	t.Helper()
	dir := os.Getenv("OLDGUARD_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data") // beside the repository
	}
	b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		t.Skipf("no real files here (set OLDGUARD_DATA): %v", err)
	}
	return b
}

// TestRealFiles checks the verdicts on files that Microsoft and others signed.
func TestRealFiles(t *testing.T) {
	for name, want := range map[string]struct {
		verdict trust.Verdict
		kind    string
		kb      winver.KB
		arch    winver.Arch
		product string
	}{
		"msu/Windows6.0-KB2999226-x64.msu":                      {trust.Genuine, "MSU", 2999226, winver.AMD64, "Windows Server 2008"},
		"msu/Windows6.1-KB2999226-x64.msu":                      {trust.Genuine, "MSU", 2999226, winver.AMD64, "Windows 7"},
		"msu/Windows8.1-KB2999226-x64.msu":                      {trust.Genuine, "MSU", 2999226, winver.AMD64, "Windows 8.1"},
		"msu/Windows6.1-KB4072650-x64.cab":                      {trust.Genuine, "servicing cabinet", 4072650, winver.AMD64, "Windows Server 2008 R2"},
		"signed/relic/dummy.cab":                                {trust.Unsigned, "cabinet", 0, 0, ""},
		"signed/relic/dummy.msi":                                {trust.Unsigned, "installer package", 0, 0, ""},
		"signed/relic/hyperv.cat":                               {trust.Genuine, "catalog", 0, 0, ""},
		"signed/relic/App1_1.0.3.0_x64.appx":                    {trust.NotUnderstood, "file", 0, 0, ""},
		"signed/ms-msi/05_MBSASetup-x64-EN.msi":                 {trust.MicrosoftOther, "installer package", 0, 0, ""},
		"signed/saferwall/acpi.sys":                             {trust.MicrosoftOther, "program", 0, 0, ""},
		"signed/saferwall/putty.exe":                            {trust.OtherPublisher, "program", 0, 0, ""},
		"signed/saferwall/putty_modified.exe":                   {trust.Altered, "program", 0, 0, ""},
		"signed/uthenticode/pegoat-authenticode-nested.exe":     {trust.OtherPublisher, "program", 0, 0, ""},
		"signed/uthenticode/pegoat-authenticode_duplicated.exe": {trust.OtherPublisher, "program", 0, 0, ""},
	} {
		t.Run(filepath.Base(name), func(t *testing.T) {
			b := realFile(t, name)
			a := answerOf(t, name, b, options(t, nil))
			if a.Verdict != want.verdict || a.Kind() != want.kind || len(a.Contradictions) > 0 {
				t.Errorf("%q, %q, want %q, %q; contradictions %q; because %q", a.Verdict, a.Kind(), want.verdict, want.kind, a.Contradictions, a.Because)
			}
			if want.kb == 0 {
				return
			}
			p := a.Package
			if p.KB != want.kb || p.Arch != want.arch || !strings.Contains(productNames(p), want.product) {
				t.Errorf("%s %s for %s, want %+v", p.KB, p.Arch, productNames(p), want)
			}
			other := strings.NewReplacer("x64", "x86", "KB2999226", "KB4493730", "KB4072650", "KB4493730").Replace(name)
			if got := answerOf(t, other, b, options(t, nil)); len(got.Contradictions) != 2 {
				t.Errorf("called %s: contradictions %q, want of KB and architecture", other, got.Contradictions)
			}
		})
	}
}
