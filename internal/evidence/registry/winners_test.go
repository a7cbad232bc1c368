package registry_test

import (
	"testing"

	"github.com/oldguard/oldguard/internal/evidence/registry"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/winreg"
)

func TestWinners(t *testing.T) {
	var m winreg.Memory
	const winners = `SOFTWARE\Microsoft\Windows\CurrentVersion\SideBySide\Winners\`
	for key, version := range map[string]string{
		`amd64_microsoft-windows-os-kernel_31bf3856ad364e35_none_ca56b6a8ee8f6b1f\6.0`: "6.0.6003.20489",
		`amd64_microsoft-windows-notepad_31bf3856ad364e35_none_0000000000000000\6.0`:   "6.0.6003.20489",
		`amd64_microsoft-windows-smbserver-v1_31bf3856ad364e35_none_1111111111111\6.0`: "no version",
		`amd64_microsoft-windows-tcpip_31bf3856ad364e35_none_2222222222222222\6.0`:     "",
	} {
		k, err := m.Create(winners + key)
		if err != nil {
			t.Fatal(err)
		}
		k.Set(winreg.TextValue("", winreg.String, version))
	}
	if _, err := m.Create(winners + "odd"); err != nil {
		t.Fatal(err)
	}
	h := &host.Host{}
	registry.Say(h, &m, host.Source{Reader: "test"}, 1)
	if len(h.Files) != 1 {
		t.Fatalf("%d components, want the kernel's alone: %+v", len(h.Files), h.Files)
	}
	f := h.Files[0]
	if f.Name != "component microsoft-windows-os-kernel" || f.Version.String() != "6.0.6003.20489" || f.Arch.String() != "amd64" || f.From.At == "" {
		t.Errorf("%+v", f)
	}
}
