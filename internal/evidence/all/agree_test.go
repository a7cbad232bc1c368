package all_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/all"
	"github.com/oldguard/oldguard/internal/host"
)

// TestSourcesAgree: one machine through systeminfo and through exports of its registry is
// one host, with the same facts, and the same updates.
func TestSourcesAgree(t *testing.T) {
	info, err := os.ReadFile(filepath.Join("..", "..", "..", "examples", "fs01", "systeminfo.txt"))
	if err != nil {
		t.Fatal(err)
	}
	updates := []string{
		"KB955430", "KB968930", "KB982861", "KB2999226", "KB4474419", "KB4493471", "KB4493730", "KB4507452", "KB4525234", "KB4526478", "KB4530695", "KB4534303",
	}
	const servicing = `[HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing`
	var packages strings.Builder
	packages.WriteString(servicing + "\\Packages]\n\n")
	for _, kb := range updates {
		packages.WriteString(servicing + `\Packages\Package_for_` + kb + "~31bf3856ad364e35~amd64~~6.0.1.0]\n\"CurrentState\"=dword:00000070\n\n")
	}
	const reg = "Windows Registry Editor Version 5.00\n\n"
	const system = `[HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\`
	tree := fstest.MapFS{
		"systeminfo.txt": {Data: info},
		"version.reg": {Data: []byte(reg + `[HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion]
"CurrentVersion"="6.0"
"CurrentBuildNumber"="6003"
"BuildLabEx"="6003.20705.amd64fre.vistasp2_ldr_escrow.191212-1800"
"CSDVersion"="Service Pack 2"
"ProductName"="Windows Server (R) 2008 Standard"
"ProductId"="92573-082-2500115-76101"
"EditionID"="ServerStandard"
"InstallDate"=dword:4f6060e7

` + system + `Control\TimeZoneInformation]
"Bias"=dword:00000000

` + system + `Control\ComputerName\ComputerName]
"ComputerName"="FS01"

` + system + `Services\Tcpip\Parameters]
"Domain"="corp.example"

`)},
		"packages.reg": {Data: []byte(reg + packages.String())},
	}
	var hosts []*host.Host
	for h, err := range evidence.Read(context.Background(), all.Readers(), []evidence.Input{{Name: "m", Tree: tree}}, evidence.Options{}) {
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, h)
	}
	if len(hosts) != 1 || len(hosts[0].Gaps) > 0 {
		t.Fatalf("%d hosts, want one without gaps: %+v", len(hosts), hosts)
	}
	h := hosts[0]
	type fact struct {
		Sources  int
		Disputed bool
	}
	got := map[string]fact{
		"name": {len(h.Name.Claims()), h.Name.Disputed()}, "domain": {len(h.Domain.Claims()), h.Domain.Disputed()},
		"product": {len(h.Product.Claims()), h.Product.Disputed()}, "product id": {len(h.ProductID.Claims()), h.ProductID.Disputed()},
		"edition": {len(h.Edition.Claims()), h.Edition.Disputed()}, "installation": {len(h.Installation.Claims()), h.Installation.Disputed()},
		"arch": {len(h.Arch.Claims()), h.Arch.Disputed()}, "build": {len(h.Build.Claims()), h.Build.Disputed()},
		"service pack": {len(h.ServicePack.Claims()), h.ServicePack.Disputed()}, "installed": {len(h.Installed.Claims()), h.Installed.Disputed()},
	}
	want := map[string]fact{}
	for name := range got {
		want[name] = fact{2, false}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("facts (-want +got):\n%s\ninstalled: %+v", diff, h.Installed.Claims())
	}
	if h.Updates.Len() != len(updates) {
		t.Errorf("%d updates, want %d", h.Updates.Len(), len(updates))
	}
	for _, kb := range h.Updates.All() {
		if n := len(h.Updates.Sources(kb)); n != 2 {
			t.Errorf("%v has %d sources", kb, n)
		}
	}
	for _, l := range h.Updates.Listings() {
		if !l.Whole || l.Printed != len(updates) {
			t.Errorf("list %+v", l)
		}
	}
}
