package cli

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/oldguard/oldguard/internal/format/cab/cabtest"
	"github.com/oldguard/oldguard/internal/trust/trusttest"
	"github.com/oldguard/oldguard/internal/verify/verifytest"
)

// TestVerifyScript runs the transcripts of verify. Its files are signed by an authority made for
// each run, root.pem, so that digests differ from run to run.
func TestVerifyScript(t *testing.T) {
	a := trusttest.New(t, x509.SHA256WithRSA)
	files := map[string][]byte{
		"root.pem":                           pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Root.Raw}),
		"down/Windows6.0-KB4493730-x64.cab":  verifytest.Update(a, crypto.SHA256, "KB4493730", "amd64"),
		"down/Windows6.0-KB4493730-x86.cab":  verifytest.Update(a, crypto.SHA256, "KB4493730", "x86"),
		"down/Windows6.0-KB4474419-x64.cab":  verifytest.Update(nil, crypto.SHA256, "KB4474419", "amd64"),
		"named/Windows6.0-KB4474419-x64.cab": verifytest.Update(a, crypto.SHA256, "KB4493730", "amd64"),
		"evil.cab": verifytest.Cabinet(a, crypto.SHA256, cabtest.File{Name: `..\evil.txt`, Data: []byte("E")},
			cabtest.File{Name: "C:evil.txt", Data: []byte("E")}, cabtest.File{Name: `d\good.txt`, Data: []byte("good\n")}),
	}
	for name, f := range verifytest.Windows(a) {
		files["disk/Windows/"+name] = f.Data
	}
	crl := a.Revoke(a.Code, verifytest.Stamped)
	files["list.crl"] = crl.Raw
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/verify",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       flag.Lookup("update").Value.String() == "true",
		Setup: func(e *testscript.Env) error {
			for name, b := range files {
				at := filepath.Join(e.WorkDir, filepath.FromSlash(name))
				if err := os.MkdirAll(filepath.Dir(at), 0o750); err != nil {
					return err
				}
				if err := os.WriteFile(at, b, 0o600); err != nil {
					return err
				}
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"status": wantStatus, "write": writeBytes, "edit": edit},
	})
}
