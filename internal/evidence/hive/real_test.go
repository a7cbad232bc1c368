package hive_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/hive"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/peer"
	"github.com/oldguard/oldguard/winver"
)

// unpack unpacks a file of the collection of real hives, or skips the test.
func unpack(t *testing.T, name string) *fstest.MapFile {
	t.Helper()
	dir := os.Getenv("OLDGUARD_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "data") // beside the repository
	}
	file := filepath.Join(dir, "hives", "regipy", name+".xz")
	if _, err := os.Stat(file); err != nil {
		t.Skipf("no real hives here; set OLDGUARD_DATA: %v", err)
	}
	b, err := exec.Command(peer.Need(t, "xz"), "-dc", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	return &fstest.MapFile{Data: b}
}

func readTree(t *testing.T, tree fstest.MapFS) *host.Host {
	t.Helper()
	var hosts []*host.Host
	for h, err := range evidence.Read(context.Background(), []evidence.Reader{hive.Reader}, []evidence.Input{{Tree: tree}}, evidence.Options{}) {
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, h)
	}
	if len(hosts) != 1 {
		t.Fatalf("%d machines, want 1", len(hosts))
	}
	return hosts[0]
}

// TestRealSystem: SYSTEM hives of real machines. What is expected was read with hivex.
func TestRealSystem(t *testing.T) {
	for _, tt := range []struct {
		name     string
		files    map[string]string // name in the folder, name in the collection
		machine  string
		arch     winver.Arch
		settings map[string]string
		shutdown string
		address  string
		services int // at least
		gaps     int
	}{
		{
			"windows_7",
			map[string]string{"SYSTEM": "SYSTEM"},
			"WKS-WIN732BITA", winver.X86,
			map[string]string{
				"smb1-server": host.NotSet, "smb-server-signing-required": "0", "rdp-denied": "0", "firewall-private": "1", "null-session-pipes": "none",
				"anonymous-sam-restricted": "1", "lm-compatibility-level": host.NotSet, "product-type": "WinNT", "time-zone": "Eastern Standard Time",
			},
			"2012-04-03", "10.3.58.5/255.255.255.0", 100, 0,
		},
		{
			"windows_10_with_logs",
			map[string]string{"SYSTEM": "SYSTEM_B", "SYSTEM.LOG1": "SYSTEM_B.LOG1", "SYSTEM.LOG2": "SYSTEM_B.LOG2"},
			"DESKTOP-PM6C56D", winver.AMD64,
			map[string]string{"product-type": "WinNT"},
			"", "", 150, 0,
		},
		{"windows_10_without_logs", map[string]string{"SYSTEM": "SYSTEM_B"}, "DESKTOP-PM6C56D", winver.AMD64, map[string]string{"product-type": "WinNT"}, "", "", 150, 1},
		{"corrupted", map[string]string{"SYSTEM": "corrupted_system_hive"}, "GINEVRA", winver.X86, map[string]string{"product-type": "WinNT"}, "", "", 10, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tree := fstest.MapFS{}
			for name, from := range tt.files {
				tree[name] = unpack(t, from)
			}
			h := readTree(t, tree)
			if h.Name.Or("") != tt.machine || h.Arch.Or(0) != tt.arch || len(h.Gaps) != tt.gaps {
				t.Errorf("name %q, architecture %v, gaps %+v", h.Name.Or(""), h.Arch.Or(0), h.Gaps)
			}
			for name, want := range tt.settings {
				if f := h.Settings[name]; f.Or("unknown") != want {
					t.Errorf("%s = %q, want %q", name, f.Or("unknown"), want)
				}
			}
			if got := h.Shutdown.Or(time.Time{}).Format(time.DateOnly); tt.shutdown != "" && got != tt.shutdown {
				t.Errorf("shut down %s, want %s", got, tt.shutdown)
			}
			if tt.address != "" && !slices.ContainsFunc(h.Adapters, func(a host.Adapter) bool { return slices.Contains(a.Addresses, tt.address) }) {
				t.Errorf("no adapter has %s: %+v", tt.address, h.Adapters)
			}
			if len(h.Services) < tt.services {
				t.Errorf("%d services, want at least %d", len(h.Services), tt.services)
			}
			t.Logf("%d services, %d rules, %d shares, %d adapters, shut down %v", len(h.Services), len(h.FirewallRules), len(h.Shares), len(h.Adapters), h.Shutdown.Or(time.Time{}))
		})
	}
}
