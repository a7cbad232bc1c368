package plan

import (
	"strings"
	"testing"

	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// TestFixByFile: where the updates do not tell whether a fix of before the rollups is in, the version of
// the file does, on each branch for itself.
func TestFixByFile(t *testing.T) {
	for _, tt := range []struct {
		name, file, version string
		want, says          string
	}{
		{"nothing_shown", "", "", "unknown", "is not listed"},
		{"old", `System32\drivers\srv.sys`, "6.0.6002.19659", "bad", "6.0.6002.19743"},
		{"fixed", `system32\DRIVERS\srv.sys`, "6.0.6002.19743", "good", "6.0.6002.19743"},
		{"old_branch_of_hotfixes", `System32\drivers\srv.sys`, "6.0.6002.23980", "bad", "6.0.6002.24067"},
		{"fixed_branch_of_hotfixes", `System32\drivers\srv.sys`, "6.0.6002.24067", "good", "6.0.6002.24067"},
		{"build_6003", `System32\drivers\srv.sys`, "6.0.6003.20489", "good", "younger than the fix"},
		{"other_file", `System32\ntoskrnl.exe`, "6.0.6003.20489", "unknown", "is not listed"},
		{"build_of_others", `System32\drivers\srv.sys`, "5.2.3790.6021", "unknown", "is not listed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := hardening(t, "2008-sp2")
			if tt.file != "" {
				v, err := winver.Parse(tt.version)
				if err != nil {
					t.Fatal(err)
				}
				h.Files = []host.File{{Name: tt.file, FileVersion: host.FileVersion{Version: v.Build}, From: src}}
			}
			c := harden(t, h)["smb-ms17-010"]
			var text []string
			for _, b := range c.Because {
				text = append(text, b.Text)
			}
			if c.State.String() != tt.want || !strings.Contains(strings.Join(text, "; "), tt.says) {
				t.Errorf("%s, %q: %q; want %s, %q", c.State, c.Now, text, tt.want, tt.says)
			}
		})
	}
}
