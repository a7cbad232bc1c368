package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oldguard/oldguard/internal/format/regf/regftest"
	"github.com/oldguard/oldguard/internal/winreg"
)

// TestCheckExported: what netsh advfirewall export writes, a hive, is compared like a rule set in
// text, recognised or named.
func TestCheckExported(t *testing.T) {
	root := &winreg.Memory{Whole: true}
	key := func(name string, values ...winreg.Value) {
		k, err := root.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		k.Whole = true
		for _, v := range values {
			k.Set(v)
		}
	}
	for _, profile := range []string{"DomainProfile", "StandardProfile", "PublicProfile"} {
		key(profile, winreg.DwordValue("EnableFirewall", 1), winreg.DwordValue("DefaultInboundAction", 1), winreg.DwordValue("DefaultOutboundAction", 0))
	}
	key("FirewallRules",
		winreg.TextValue("{1}", winreg.String, "v2.0|Action=Allow|Active=TRUE|Dir=In|Protocol=6|LPort=445|RA4=LocalSubnet|Name=Files|"),
		winreg.TextValue("{2}", winreg.String, "v2.0|Action=Allow|Active=TRUE|Dir=In|Protocol=6|LPort=4712|Name=Odd|"),
		winreg.TextValue("{3}", winreg.String, "v2.0|Action=Allow|Active=FALSE|Dir=In|Protocol=6|LPort=4713|Name=Off|"),
	)
	dir := t.TempDir()
	wfw, text := filepath.Join(dir, "policy.wfw"), filepath.Join(dir, "systeminfo.wfw")
	b, err := os.ReadFile("../../examples/fs01/systeminfo.txt")
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{wfw: regftest.Hive(root, regftest.Options{}), text: b} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) (status int, stdout, stderr string) {
		e := System()
		var out, errs bytes.Buffer
		e.Stdout, e.Stderr = &out, &errs
		args = append([]string{"plan", "isolate", "--as-of", "2026-02-01", "--inside", "192.0.2.0/24"}, args...)
		status = Run(t.Context(), append(args, "../../examples/fs01"), e)
		return status, out.String(), errs.String()
	}
	for _, as := range [][]string{nil, {"--check-as", "wfw"}} {
		status, got, stderr := run(append(as, "--check", wfw)...)
		if status != statusBad || stderr != "" {
			t.Errorf("%q: status %d, %s", as, status, stderr)
		}
		for _, want := range []string{"(netsh advfirewall export): ", "by default in drop, out accept", "- in tcp 4712 from any decided by ", `FirewallRules\{2}`} {
			if !strings.Contains(strings.Join(strings.Fields(got), " "), want) {
				t.Errorf("%q: no %q in\n%s", as, want, got)
			}
		}
		if strings.Contains(got, "4713") || strings.Contains(got, "Not understood") {
			t.Errorf("%q: a rule that is off counts", as)
		}
	}
	if status, _, stderr := run("--check", text, "--check-as", "wfw"); status != statusFailed || !strings.Contains(stderr, "systeminfo.wfw") {
		t.Errorf("systeminfo as an export: status %d, %s", status, stderr)
	}
}
