package trust

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/format/pkcs7"
	"github.com/oldguard/oldguard/internal/peer"
)

var today = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

// sample gives a file of the real data, or skips the test where there is none.
func sample(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("OLDGUARD_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data")
	}
	p := filepath.Join(dir, filepath.FromSlash(name))
	if _, err := os.Stat(p); err != nil {
		t.Skipf("no real data: %v; OLDGUARD_DATA names its folder", err)
	}
	return p
}

func slurp(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(sample(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// samples are the files of the real data with what they are.
var samples = map[string]Verdict{
	"msu/Windows6.0-KB2999226-x64.msu": Genuine,
	"msu/Windows6.1-KB2999226-x64.msu": Genuine,
	"msu/Windows8.1-KB2999226-x64.msu": Genuine,
	"msu/Windows6.1-KB4072650-x64.cab": Genuine,

	"signed/relic/hyperv.cat":                   Genuine,
	"signed/relic/App1_1.0.3.0_x64.appx":        NotUnderstood, // a ZIP: packages of the store are no updates, and not read
	"signed/relic/ClassLibrary1.dll":            Unsigned,
	"signed/relic/WindowsFormsApplication1.exe": OtherPublisher,
	"signed/relic/dummy.cab":                    Unsigned,
	"signed/relic/dummy.msi":                    Unsigned,
	"signed/relic/hello.ps1":                    Unsigned,

	"signed/ms-msi/05_MBSASetup-x64-EN.msi":    MicrosoftOther,
	"signed/saferwall/KernelBase.dll":          OtherPublisher, // by a root for development
	"signed/saferwall/WdfCoInstaller01011.dll": MicrosoftOther,
	"signed/saferwall/acpi.sys":                MicrosoftOther,
	"signed/saferwall/kernel32.dll":            MicrosoftOther,
	"signed/saferwall/putty.exe":               OtherPublisher,
	"signed/saferwall/putty_modified.exe":      Altered,
	"signed/saferwall/shimeng.dll":             Unsigned,

	"signed/uthenticode/A_SSLippery_Slope.exe":              OtherPublisher, // with a certificate for web servers
	"signed/uthenticode/YourPhone.exe":                      Altered,        // another program's signature in its middle
	"signed/uthenticode/pegoat-authenticode-nested.exe":     OtherPublisher,
	"signed/uthenticode/pegoat-authenticode.exe":            OtherPublisher,
	"signed/uthenticode/pegoat-authenticode_duplicated.exe": OtherPublisher,
	"signed/uthenticode/pegoat.exe":                         Unsigned,
}

func report(t testing.TB, b []byte) *Report {
	t.Helper()
	r, err := Check(bytes.NewReader(b), int64(len(b)), Options{Now: today})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRealFiles(t *testing.T) {
	for name, want := range samples {
		t.Run(name, func(t *testing.T) {
			if r := report(t, slurp(t, name)); r.Verdict != want {
				t.Errorf("verdict %q, reasons %q; want %q", r.Verdict, r.Reasons, want)
			}
		})
	}
}

// TestRootTable holds the table against the certificates.
func TestRootTable(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(sample(t, "roots"), "*.crt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no certificates: %v", err)
	}
	byThumbprint := map[string]*x509.Certificate{}
	for _, f := range files {
		c := certificate(t, f)
		byThumbprint[thumbprint(c)] = c
	}
	for _, r := range Roots() {
		c := byThumbprint[r.SHA256]
		if c == nil {
			t.Errorf("no certificate for %q", r.Name)
			continue
		}
		want := ofUser(c)
		want.Use = r.Use
		if diff := cmp.Diff(want, r); diff != "" {
			t.Errorf("%q (-certificate +table):\n%s", r.Name, diff)
		}
	}
}

func certificate(t testing.TB, file string) *x509.Certificate {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if p, _ := pem.Decode(b); p != nil {
		b = p.Bytes
	}
	c, err := x509.ParseCertificate(b)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const msu = "msu/Windows6.0-KB2999226-x64.msu"

// flip gives the verdict on a real update with one byte changed. The digests of the rest are
// taken over where the byte is not covered by them, and so is what is known of certificates, for
// there are many bytes to try.
func flip(t testing.TB, b []byte, at int, mask byte, sums map[crypto.Hash][]byte, checked map[[2][32]byte]bool) Verdict {
	t.Helper()
	b[at] ^= mask
	defer func() { b[at] ^= mask }()
	s, err := open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(s.sums, sums)
	var r Report
	j := newJudge(Options{Now: today})
	j.checked = checked
	j.file(&r, s)
	return r.Verdict
}

// TestEveryByteOfARealSignature changes each byte of the header and of the signature, and a
// thousand others. With -short, or the race detector, it takes every seventh byte of the
// signature, from another one on each time.
func TestEveryByteOfARealSignature(t *testing.T) {
	original := slurp(t, msu)
	s, err := open(bytes.NewReader(original), int64(len(original)))
	if err != nil || s.err != nil {
		t.Fatal(err, s.err)
	}
	start := len(original) - len(s.blobs[0].data)
	for _, h := range []crypto.Hash{crypto.SHA1, crypto.SHA256} {
		if _, err := s.sum(h); err != nil {
			t.Fatal(err)
		}
	}
	type job struct {
		at   int
		mask byte
		sums map[crypto.Hash][]byte
	}
	var jobs []job
	random := rand.New(rand.NewPCG(5, 2999226))
	mask := func() byte { return byte(1 + random.IntN(255)) }
	for at := range 64 {
		jobs = append(jobs, job{at, 0xFF, nil}, job{at, mask(), nil})
	}
	for range 1000 {
		jobs = append(jobs, job{random.IntN(len(original)), mask(), nil})
	}
	step := 1
	if testing.Short() || raceEnabled {
		step = 7
		start += int(time.Now().UnixNano() % int64(step))
	}
	for at := start; at < len(original); at += step {
		jobs = append(jobs, job{at, mask(), s.sums})
	}
	if got := flip(t, original, 0, 0, s.sums, map[[2][32]byte]bool{}); got != Genuine {
		t.Fatalf("unaltered: %q", got)
	}
	var wg sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		wg.Go(func() {
			b, checked := slices.Clone(original), map[[2][32]byte]bool{}
			for i := w; i < len(jobs); i += workers {
				if j := jobs[i]; flip(t, b, j.at, j.mask, j.sums, checked) == Genuine {
					t.Errorf("byte %d with %#02x: still genuine", j.at, j.mask)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d changes", len(jobs))
}

// TestPeerDigests compares the digests of every file with those of osslsigncode.
func TestPeerDigests(t *testing.T) {
	program := peer.Need(t, "osslsigncode")
	digest := regexp.MustCompile(`(?m)^(?:Current|Calculated) message digest +: ([0-9A-F]+)`)
	ofInstaller := regexp.MustCompile(`(?m)^(?:Current|Calculated) DigitalSignature +: ([0-9A-F]+)`)
	for _, name := range slices.Sorted(maps.Keys(samples)) {
		switch filepath.Base(name) {
		case "hyperv.cat", "App1_1.0.3.0_x64.appx": // no digest of a file, and several
			continue
		case "YourPhone.exe", "pegoat-authenticode_duplicated.exe": // osslsigncode refuses their tables
			continue
		}
		t.Run(name, func(t *testing.T) {
			file := sample(t, name)
			out, _ := exec.Command(program, "verify", "-ignore-cdp", "-in", file).CombinedOutput() // it fails for want of roots
			var want, got []string
			line := digest
			if strings.HasSuffix(name, ".msi") {
				line = ofInstaller
			}
			for _, m := range line.FindAllStringSubmatch(string(out), -1) {
				want = append(want, strings.ToLower(m[1]))
			}
			for _, s := range report(t, slurp(t, name)).Signatures {
				got = append(got, s.Signed, s.Computed)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("digests (-osslsigncode +ours):\n%s%s", diff, out)
			}
		})
	}
}

// TestPeerPaths compares every path, of signers and of time stamps, with `openssl verify -attime`.
func TestPeerPaths(t *testing.T) {
	program := peer.Need(t, "openssl")
	roots := filepath.Join(t.TempDir(), "roots.pem")
	var all []byte
	files, _ := filepath.Glob(filepath.Join(sample(t, "roots"), "*.crt"))
	for _, f := range files {
		c := certificate(t, f)
		if slices.ContainsFunc(Roots(), func(r Root) bool { return r.SHA256 == thumbprint(c) }) {
			all = append(all, encode(c)...)
		}
	}
	if err := os.WriteFile(roots, all, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(samples)) {
		t.Run(name, func(t *testing.T) {
			b := slurp(t, name)
			s, err := open(bytes.NewReader(b), int64(len(b)))
			if err != nil {
				t.Fatal(err)
			}
			for _, blob := range s.blobs {
				sd, err := pkcs7.Parse(blob.data)
				if err != nil {
					t.Fatal(err)
				}
				comparePaths(t, program, roots, sd, today, s.kind)
			}
		})
	}
}

// comparePaths compares the path of a signer and of all that hangs on it, at the time of the stamp and
// a century later.
func comparePaths(t *testing.T, program, roots string, sd *pkcs7.SignedData, at time.Time, k Kind) {
	t.Helper()
	u := &use{sd: sd, used: make([]bool, len(sd.Certificates))}
	signer := &sd.Signers[0]
	type user struct {
		cert    *x509.Certificate
		at      time.Time
		purpose string
	}
	own := user{u.signer(signer), at, forCode}
	if info, err := sd.TSTInfo(); err == nil {
		own.at, own.purpose = info.Time, forTime
	}
	var users []user
	for _, a := range signer.Unsigned {
		for _, v := range a.Values {
			if a.OID == pkcs7.OIDCounterSignature {
				c, err := pkcs7.ParseSigner(v)
				if err != nil {
					t.Fatal(err)
				}
				own.at, _ = c.SigningTime()
				users = append(users, user{u.signer(c), own.at, forTime})
				continue
			}
			inner, err := pkcs7.Parse(v.Raw)
			if err != nil {
				t.Fatal(err)
			}
			if info, err := inner.TSTInfo(); err == nil {
				own.at = info.Time
			}
			comparePaths(t, program, roots, inner, today, k)
		}
	}
	dir := t.TempDir()
	var pool []byte
	for _, c := range u.certs() {
		pool = append(pool, encode(c)...)
	}
	others := filepath.Join(dir, "others.pem")
	leaf := filepath.Join(dir, "leaf.pem")
	if err := os.WriteFile(others, pool, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, who := range append(users, own) {
		if err := os.WriteFile(leaf, encode(who.cert), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, when := range []time.Time{who.at, who.at.AddDate(100, 0, 0)} {
			out, err := exec.Command(program, "verify", "-auth_level", "0", "-attime", fmt.Sprint(when.Unix()),
				"-no-CAfile", "-no-CApath", "-no-CAstore", "-CAfile", roots, "-untrusted", others, leaf).CombinedOutput()
			j := newJudge(Options{})
			p, ours := j.find(who.cert, u.certs())
			var why []string
			if ours == nil {
				why = slices.DeleteFunc(j.problems(p, who.purpose, when, k), func(s string) bool { return strings.Contains(s, "SHA-1") })
			}
			if good := ours == nil && len(why) == 0; good != (err == nil) {
				t.Errorf("%q on %s: ours %v %q, openssl %v %s", who.cert.Subject.CommonName, when.Format(time.DateOnly), ours, why, err, out)
			}
		}
	}
}

func encode(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// TestPeerSpeed reads all signed files with both programs in the same run.
func TestPeerSpeed(t *testing.T) {
	program := peer.Need(t, "osslsigncode")
	var ours, theirs time.Duration
	best := func(d *time.Duration, f func()) {
		b := time.Hour
		for range 3 {
			start := time.Now()
			f()
			b = min(b, time.Since(start))
		}
		*d += b
	}
	for name, v := range samples {
		if v == Unsigned {
			continue
		}
		file := sample(t, name)
		best(&ours, func() {
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			size, err := f.Seek(0, io.SeekEnd)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Check(f, size, Options{Now: today}); err != nil {
				t.Fatal(err)
			}
		})
		best(&theirs, func() { _ = exec.Command(program, "verify", "-ignore-cdp", "-in", file).Run() })
	}
	t.Logf("all signed files: ours %v, osslsigncode %v with its start", ours, theirs)
	if ours > theirs {
		t.Errorf("slower than osslsigncode: %v, it takes %v", ours, theirs)
	}
}

// TestRealDigests pins a digest that was read from a real signature, without any other program.
func TestRealDigests(t *testing.T) {
	r := report(t, slurp(t, msu))
	want := []string{"9044dee11e233690b6bd2da5ef55a1a5d0ed5537", "4bdf9f5f6ef67acb4a54f793687221701824243770dba220437e238e8c89b8f7"}
	var got []string
	for _, s := range r.Signatures {
		if _, err := hex.DecodeString(s.Computed); err != nil {
			t.Error(err)
		}
		got = append(got, s.Computed)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("digests (-want +got):\n%s", diff)
	}
}

func BenchmarkCheck(b *testing.B) {
	data := slurp(b, msu)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		report(b, data)
	}
}
