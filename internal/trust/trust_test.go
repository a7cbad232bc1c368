package trust_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/trust"
	"github.com/oldguard/oldguard/internal/trust/trusttest"
)

func day(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC) }

var (
	now     = day(2026, 11, 22)
	stamped = day(2015, 6, 5)
)

// signs gives what makes the signature of a file from what is covered of it.
func signs(a *trusttest.Authority, s trusttest.Signing) func([]byte) []byte {
	return func(covered []byte) []byte {
		h := s.Hash
		if h == 0 {
			h = crypto.SHA256
		}
		return a.Sign(trusttest.Digest(h, trusttest.Sum(h, covered)), s)
	}
}

func check(t testing.TB, b []byte, o trust.Options) *trust.Report {
	t.Helper()
	if o.Now.IsZero() {
		o.Now = now
	}
	r, err := trust.Check(bytes.NewReader(b), int64(len(b)), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestPolicy signs a cabinet in one way after the other.
func TestPolicy(t *testing.T) {
	two, one := trusttest.New(t, x509.SHA256WithRSA), trusttest.New(t, x509.SHA1WithRSA)
	issue := func(c trusttest.Cert) *x509.Certificate { return two.Issue(two.Code, c) }
	code := []asn1.ObjectIdentifier{trusttest.ForCode}
	const ms = "Microsoft Corporation"
	short := trusttest.Cert{Name: ms, Organization: ms, For: code, Until: day(2016, 1, 1)}
	strict := two.Issue(two.Root, trusttest.Cert{Name: "Strict CA", Authority: true, MaxPath: -1})
	below := two.Issue(strict, trusttest.Cert{Name: "CA below", Authority: true})
	altered := issue(trusttest.Cert{Name: ms, Organization: ms, For: code})
	altered.Raw = bytes.Replace(altered.Raw, []byte(ms), []byte("Microsoft Corporati0n"), 1)

	tests := []struct {
		name   string
		by     *trusttest.Authority
		sign   trusttest.Signing
		want   trust.Verdict
		reason string // some of the reasons
	}{
		{name: "rfc3161", sign: trusttest.Signing{Stamped: stamped}, want: trust.Genuine},
		{name: "pkcs9", sign: trusttest.Signing{Stamped: stamped, PKCS9: true}, want: trust.Genuine},
		{name: "no_countersignature_but_valid_today", want: trust.Genuine},
		{name: "expired_but_stamped_before", sign: trusttest.Signing{Signer: issue(short), Stamped: stamped}, want: trust.Genuine},
		{name: "expired_and_not_stamped", sign: trusttest.Signing{Signer: issue(short)}, want: trust.MicrosoftOther, reason: "no countersignature"},
		{name: "stamped_after_expiry", sign: trusttest.Signing{Signer: issue(short), Stamped: day(2017, 1, 1)}, want: trust.MicrosoftOther, reason: "not on 2017-01-01"},
		{
			name: "stamped_by_one_who_may_not", sign: trusttest.Signing{Stamped: stamped, StampBy: issue(trusttest.Cert{Name: "Clock", For: code})},
			want: trust.Uncovered, reason: "time stamp does not hold",
		},
		{name: "sha1_then", by: one, sign: trusttest.Signing{Hash: crypto.SHA1, Stamped: stamped, PKCS9: true}, want: trust.Genuine},
		{name: "sha1_later", by: one, sign: trusttest.Signing{Hash: crypto.SHA1, Stamped: day(2019, 10, 1), PKCS9: true}, want: trust.Uncovered, reason: "KB4472027"},
		{name: "sha1_not_stamped", by: one, sign: trusttest.Signing{Hash: crypto.SHA1}, want: trust.MicrosoftOther, reason: "SHA-1"},
		{name: "name_not_whole", sign: trusttest.Signing{Signer: issue(trusttest.Cert{Name: ms + " Updates", Organization: ms, For: code})}, want: trust.MicrosoftOther, reason: "signs no updates"},
		{name: "organization_not_whole", sign: trusttest.Signing{Signer: issue(trusttest.Cert{Name: ms, Organization: ms + " Ltd", For: code})}, want: trust.OtherPublisher, reason: "belongs to"},
		{name: "no_organization", sign: trusttest.Signing{Signer: issue(trusttest.Cert{Name: ms, For: code})}, want: trust.OtherPublisher},
		{name: "not_for_code", sign: trusttest.Signing{Signer: issue(trusttest.Cert{Name: ms, Organization: ms, For: []asn1.ObjectIdentifier{trusttest.ForWeb}})}, want: trust.MicrosoftOther, reason: "is not for"},
		{name: "for_nothing_stated", sign: trusttest.Signing{Signer: issue(trusttest.Cert{Name: ms, Organization: ms})}, want: trust.MicrosoftOther, reason: "is not for"},
		{name: "windows", sign: trusttest.Signing{Signer: issue(trusttest.Cert{Name: "Microsoft Windows", Organization: ms, For: append(code, trusttest.ForWindows)})}, want: trust.Genuine},
		{name: "windows_for_code_only", sign: trusttest.Signing{Signer: issue(trusttest.Cert{Name: "Microsoft Windows", Organization: ms, For: code})}, want: trust.MicrosoftOther, reason: "an update needs one for"},
		{name: "self_signed", sign: trusttest.Signing{Signer: two.Issue(nil, trusttest.Cert{Name: ms, Organization: ms, For: code})}, want: trust.OtherPublisher, reason: "no path"},
		{
			name: "issued_by_no_authority", sign: trusttest.Signing{
				Signer: two.Issue(two.Publisher(), trusttest.Cert{Name: ms + " 2", Organization: ms, For: code}),
			}, want: trust.OtherPublisher, reason: "no path",
		},
		{
			name: "path_too_long", sign: trusttest.Signing{
				Signer: two.Issue(below, trusttest.Cert{Name: ms, Organization: ms, For: code}), Extra: []*x509.Certificate{strict, below},
			}, want: trust.Uncovered, reason: "belongs to nothing", // the second authority is not of the path
		},
		{name: "critical_extension", sign: trusttest.Signing{Signer: issue(trusttest.Cert{Name: ms, Organization: ms, For: code, Critical: true})}, want: trust.MicrosoftOther, reason: "critical extension"},
		{name: "certificate_altered", sign: trusttest.Signing{Signer: altered}, want: trust.Altered, reason: "issuer did not sign"},
		{name: "certificate_of_nobody", sign: trusttest.Signing{Extra: []*x509.Certificate{two.Publisher()}}, want: trust.Uncovered, reason: "belongs to nothing"},
		{name: "attribute_of_nobody", sign: trusttest.Signing{Attribute: asn1.ObjectIdentifier{1, 2, 3}}, want: trust.Uncovered, reason: "attribute 1.2.3"},
		{name: "other_name_of_the_algorithm", sign: trusttest.Signing{Encryption: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}}, want: trust.Uncovered, reason: "does not write there"},
		{name: "other_version", sign: trusttest.Signing{Version: 3}, want: trust.Uncovered, reason: "versions"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := tt.by
			if a == nil {
				a = two
			}
			b := trusttest.Cabinet([]byte("hello"), signs(a, tt.sign))
			r := check(t, b, trust.Options{Roots: []*x509.Certificate{a.Root}})
			if r.Verdict != tt.want || !strings.Contains(strings.Join(r.Reasons, "\n"), tt.reason) {
				t.Errorf("verdict %q, reasons %q; want %q with %q", r.Verdict, r.Reasons, tt.want, tt.reason)
			}
			if r := check(t, b, trust.Options{}); r.Verdict == trust.Genuine {
				t.Error("genuine without the root")
			}
		})
	}
}

func TestPathLength(t *testing.T) {
	a := trusttest.New(t, x509.SHA256WithRSA)
	strict := a.Issue(a.Root, trusttest.Cert{Name: "Strict CA", Authority: true, MaxPath: -1})
	a.Code = a.Issue(strict, trusttest.Cert{Name: "CA below", Authority: true})
	b := trusttest.Cabinet(nil, signs(a, trusttest.Signing{Extra: []*x509.Certificate{strict}}))
	r := check(t, b, trust.Options{Roots: []*x509.Certificate{a.Root}})
	if r.Verdict != trust.MicrosoftOther || !strings.Contains(strings.Join(r.Reasons, "\n"), "allows 0 authorities") {
		t.Errorf("verdict %q, reasons %q", r.Verdict, r.Reasons)
	}
}

// TestReport shows all that is said of a file.
func TestReport(t *testing.T) {
	a := trusttest.New(t, x509.SHA256WithRSA)
	b := trusttest.Cabinet([]byte("hello"), signs(a, trusttest.Signing{Stamped: stamped}))
	r := check(t, b, trust.Options{Roots: []*x509.Certificate{a.Root}})
	var names []string
	for _, l := range r.Signatures[0].Chain {
		names = append(names, l.Subject)
	}
	if diff := cmp.Diff([]string{"Microsoft Corporation", "Test Code Signing PCA", "Test Root"}, names); diff != "" {
		t.Errorf("chain (-want +got):\n%s", diff)
	}
	s := r.Signatures[0]
	if s.Place != "primary" || s.Algorithm != "SHA-256" || s.Signed != s.Computed || !s.At.Equal(stamped) || s.Timestamps[0].Kind != "RFC 3161" {
		t.Errorf("signature %+v", s)
	}
	wantNotes := []string{
		"whether a certificate was revoked was not checked: that needs the network, or revocation lists",
		`root "Test Root" is trusted because you say so`,
	}
	if diff := cmp.Diff(wantNotes, r.Notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
}

func TestNested(t *testing.T) {
	a := trusttest.New(t, x509.SHA256WithRSA)
	roots := trust.Options{Roots: []*x509.Certificate{a.Root}}
	stranger := a.Issue(nil, trusttest.Cert{Name: "Somebody", For: []asn1.ObjectIdentifier{trusttest.ForCode}})
	deep := func(covered []byte, levels int) (sig []byte) {
		for range levels {
			sig = signs(a, trusttest.Signing{Nested: sig})(covered)
		}
		return sig
	}
	tests := []struct {
		name   string
		nested func(covered []byte) []byte
		want   trust.Verdict
		sigs   int
	}{
		{"second_signature", signs(a, trusttest.Signing{Stamped: stamped}), trust.Genuine, 2},
		{"of_another_file", func([]byte) []byte { return signs(a, trusttest.Signing{})([]byte("another")) }, trust.Uncovered, 2},
		{"by_somebody_else", signs(a, trusttest.Signing{Signer: stranger}), trust.Uncovered, 2},
		{"with_a_trailer", func(c []byte) []byte { return append(signs(a, trusttest.Signing{})(c), 0) }, trust.NotUnderstood, 1},
		{"three_levels", func(c []byte) []byte { return deep(c, 3) }, trust.Genuine, 4},
		{"too_deep", func(c []byte) []byte { return deep(c, 4) }, trust.Uncovered, 5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := trusttest.Cabinet([]byte("hello"), func(covered []byte) []byte {
				return signs(a, trusttest.Signing{Nested: tt.nested(covered)})(covered)
			})
			r := check(t, b, roots)
			if r.Verdict != tt.want || len(r.Signatures) != tt.sigs {
				t.Errorf("verdict %q with %d signatures, reasons %q; want %q with %d", r.Verdict, len(r.Signatures), r.Reasons, tt.want, tt.sigs)
			}
		})
	}
}

// TestEveryByte changes each byte of signed files in turn: nothing is left that can be changed.
func TestEveryByte(t *testing.T) {
	a := trusttest.New(t, x509.SHA256WithRSA)
	roots := trust.Options{Roots: []*x509.Certificate{a.Root}}
	sum := trusttest.Sum(crypto.SHA256, []byte("a file"))
	files := map[string][]byte{
		"cabinet": trusttest.Cabinet([]byte("hello"), func(c []byte) []byte {
			return signs(a, trusttest.Signing{Stamped: stamped, PKCS9: true, Nested: signs(a, trusttest.Signing{Stamped: stamped})(c)})(c)
		}),
		"catalog": a.Sign(trusttest.Catalog(crypto.SHA256, trusttest.Member{Sum: sum, Name: "a.dll"}), trusttest.Signing{Type: trusttest.List, Stamped: stamped}),
	}
	for name, b := range files {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if r := check(t, b, roots); r.Verdict != trust.Genuine {
				t.Fatalf("unaltered: %q, %q", r.Verdict, r.Reasons)
			}
			for i := range b {
				for _, mask := range []byte{0x04, 0xFF} { // the first turns one name of an algorithm into another
					b[i] ^= mask
					if r := check(t, b, roots); r.Verdict == trust.Genuine {
						t.Errorf("byte %d of %d with %#02x: still genuine", i, len(b), mask)
					}
					b[i] ^= mask
				}
			}
			for _, more := range [][]byte{{0}, make([]byte, 8), []byte("PK\x03\x04")} {
				if r := check(t, slices.Concat(b, more), roots); r.Verdict == trust.Genuine {
					t.Errorf("with %q appended: still genuine", more)
				}
			}
		})
	}
}

func TestProgram(t *testing.T) {
	a := trusttest.New(t, x509.SHA256WithRSA)
	roots := trust.Options{Roots: []*x509.Certificate{a.Root}}
	sign := signs(a, trusttest.Signing{Stamped: stamped})
	other := signs(a, trusttest.Signing{Signer: a.Issue(nil, trusttest.Cert{Name: "Somebody", For: []asn1.ObjectIdentifier{trusttest.ForCode}})})
	good := trusttest.Program(func(c []byte) [][]byte { return [][]byte{sign(c)} })
	change := func(at int, v byte) []byte {
		b := slices.Clone(good)
		b[at] = v
		return b
	}
	tests := []struct {
		name string
		file []byte
		want trust.Verdict
	}{
		{"signed", good, trust.MicrosoftOther},
		{"unsigned", trusttest.Program(nil), trust.Unsigned},
		{"code_altered", change(520, 'x'), trust.Altered},
		{"checksum_altered", change(64+24+64, 1), trust.Uncovered},
		{"revision_altered", change(1024+4, 1), trust.Uncovered},
		{"appended", append(slices.Clone(good), "PK\x03\x04"...), trust.Uncovered},
		{"twice", trusttest.Program(func(c []byte) [][]byte { return [][]byte{sign(c), sign(c)} }), trust.Uncovered},
		{"second_by_somebody_else", trusttest.Program(func(c []byte) [][]byte { return [][]byte{sign(c), other(c)} }), trust.Uncovered},
		{"first_by_somebody_else", trusttest.Program(func(c []byte) [][]byte { return [][]byte{other(c), sign(c)} }), trust.OtherPublisher},
		// Bytes behind the signature in its own entry, where installers hide their data (CVE-2013-3900).
		{"hidden_in_the_entry", trusttest.Program(func(c []byte) [][]byte { return [][]byte{append(sign(c), "hidden!!"...)} }), trust.Uncovered},
		{"zeros_in_the_entry", trusttest.Program(func(c []byte) [][]byte { return [][]byte{append(sign(c), make([]byte, 64)...)} }), trust.Uncovered},
		{"cut", good[:len(good)-9], trust.NotUnderstood},
		{"not_a_program", []byte("MZ, he said, and nothing more followed, for he was no program at all......"), trust.NotUnderstood},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if r := check(t, tt.file, roots); r.Verdict != tt.want {
				t.Errorf("verdict %q, reasons %q; want %q", r.Verdict, r.Reasons, tt.want)
			}
		})
	}
}

func TestCatalog(t *testing.T) {
	a := trusttest.New(t, x509.SHA256WithRSA)
	o := trust.Options{Now: now, Roots: []*x509.Certificate{a.Root}}
	file, program := []byte("a manifest"), trusttest.Program(nil)
	members := []trusttest.Member{{Sum: trusttest.Sum(crypto.SHA256, file), Name: "a.mum"}}
	signed := trusttest.Program(func(c []byte) [][]byte { // for what is covered of it
		members = append(members, trusttest.Member{Sum: trusttest.Sum(crypto.SHA256, c), Name: "a.dll"})
		return [][]byte{nil}
	})
	if len(signed) <= len(program) {
		t.Fatal("no certificate table")
	}
	read := func(s trusttest.Signing) *trust.Catalog {
		s.Type = trusttest.List
		b := a.Sign(trusttest.Catalog(crypto.SHA256, members...), s)
		c, err := trust.ReadCatalog("update.cat", bytes.NewReader(b), int64(len(b)), o)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	genuine := read(trusttest.Signing{Stamped: stamped})
	foreign := read(trusttest.Signing{Signer: a.Issue(nil, trusttest.Cert{Name: "Somebody", For: []asn1.ObjectIdentifier{trusttest.ForCode}})})
	tests := []struct {
		name string
		file []byte
		by   []*trust.Catalog
		want trust.Verdict
	}{
		{"listed", file, []*trust.Catalog{genuine}, trust.Genuine},
		{"program_listed", program, []*trust.Catalog{genuine}, trust.Genuine},
		{"not_listed", []byte("another"), []*trust.Catalog{genuine}, trust.Unsigned},
		{"by_somebody_else", file, []*trust.Catalog{foreign}, trust.OtherPublisher},
		{"by_both", file, []*trust.Catalog{foreign, genuine}, trust.Genuine},
		{"no_catalog", file, nil, trust.Unsigned},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := o
			o.Catalogs = tt.by
			if r := check(t, tt.file, o); r.Verdict != tt.want {
				t.Errorf("verdict %q, reasons %q; want %q", r.Verdict, r.Reasons, tt.want)
			}
		})
	}
	if m := genuine.List.Lookup(members[0].Sum); m == nil || m.File() != "a.mum" {
		t.Errorf("member %+v", m)
	}
}

func TestRevocation(t *testing.T) {
	a := trusttest.New(t, x509.SHA256WithRSA)
	p := a.Publisher()
	b := trusttest.Cabinet(nil, signs(a, trusttest.Signing{Signer: p, Stamped: stamped}))
	tests := []struct {
		name string
		list *x509.RevocationList
		want trust.Verdict
		note string
	}{
		{"not_listed", a.Revoke(a.Code, day(2014, 1, 1)), trust.Genuine, "look-ups"},
		{"revoked_before", a.Revoke(a.Code, day(2014, 1, 1), p), trust.MicrosoftOther, "look-ups"},
		{"revoked_after_the_stamp", a.Revoke(a.Code, day(2016, 1, 1), p), trust.Genuine, "look-ups"},
		{"list_of_another", a.Revoke(a.Issue(nil, trusttest.Cert{Name: "Other CA", Authority: true}), day(2014, 1, 1), p), trust.Genuine, "not those of the issuers"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := check(t, b, trust.Options{Roots: []*x509.Certificate{a.Root}, CRLs: []*x509.RevocationList{tt.list}})
			if r.Verdict != tt.want || !strings.Contains(r.Notes[0], tt.note) {
				t.Errorf("verdict %q, reasons %q, notes %q; want %q", r.Verdict, r.Reasons, r.Notes, tt.want)
			}
		})
	}
}

func TestRoots(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range trust.Roots() {
		if len(r.SHA256) != 64 || len(r.Subject) == 0 || r.Key == nil || r.Use == "" || !r.NotBefore.Before(r.NotAfter) || seen[r.SHA256] {
			t.Errorf("root %q is not whole, or there twice", r.Name)
		}
		seen[r.SHA256] = true
	}
	if len(seen) != 8 {
		t.Errorf("%d roots, want 8", len(seen))
	}
}

// bombs are inputs that cost others much.
func bombs(t testing.TB) map[string][]byte {
	deep := []byte{5, 0}
	for range 1 << 14 {
		deep = trusttest.TLV(0x30, deep)
	}
	a := trusttest.New(t, x509.SHA256WithRSA)
	var many []*x509.Certificate
	for range 60 { // all of one name: 60 to the power of 8 paths
		many = append(many, a.Issue(a.Code, trusttest.Cert{Name: a.Code.Subject.CommonName, Authority: true}))
	}
	signer := a.Issue(many[0], trusttest.Cert{Name: "Microsoft Corporation", For: []asn1.ObjectIdentifier{trusttest.ForCode}})
	head := []byte("\x30\x83\x00\x00\x00\x06\x09\x2A\x86\x48\x86\xF7\x0D\x01\x07\x02")
	return map[string][]byte{
		"nested_values": trusttest.TLV(0x30, head[5:], deep),
		"wide_values":   trusttest.TLV(0x30, head[5:], trusttest.TLV(0xA0, bytes.Repeat([]byte{5, 0}, 4<<20))),
		"length_lies":   append([]byte("\x30\x84\x3F\xFF\xFF\xFF"), head[5:]...),
		"many_paths":    trusttest.Cabinet(nil, signs(a, trusttest.Signing{Signer: signer, Extra: many})),
	}
}

func TestBombs(t *testing.T) {
	for name, b := range bombs(t) {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			if r := check(t, b, trust.Options{}); r.Verdict == trust.Genuine {
				t.Error("genuine")
			}
			d := time.Since(start)
			runtime.ReadMemStats(&after)
			if mem := after.TotalAlloc - before.TotalAlloc; d > time.Second || mem > 256<<20 {
				t.Errorf("took %v and %d MiB", d, mem>>20)
			}
		})
	}
}

func FuzzCheck(f *testing.F) {
	a := trusttest.New(f, x509.SHA256WithRSA)
	sign := signs(a, trusttest.Signing{Stamped: stamped})
	cabinet := trusttest.Cabinet([]byte("hello"), sign)
	genuine := string(cabinet)
	f.Add(cabinet)
	f.Add(trusttest.Program(func(c []byte) [][]byte { return [][]byte{sign(c)} }))
	f.Add(a.Sign(trusttest.Catalog(crypto.SHA256), trusttest.Signing{Type: trusttest.List, Stamped: stamped, PKCS9: true}))
	f.Add([]byte("\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := check(t, b, trust.Options{Roots: []*x509.Certificate{a.Root}})
		if r.Verdict == trust.Genuine && r.Kind == trust.Cabinet && string(b) != genuine {
			t.Errorf("a changed cabinet is genuine")
		}
	})
}
