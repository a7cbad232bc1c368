package plan

import (
	"slices"
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

// TestFixByFiles: what another Windows has beside this one proves nothing of it, and files that disagree
// prove nothing at all, whichever comes first.
func TestFixByFiles(t *testing.T) {
	for _, tt := range []struct {
		name    string
		release string
		files   []string // versions of srv.sys
		want    string
		says    []string
		silent  string
	}{
		{"foreign_fixed_beside_own_affected", "2008-sp2", []string{"6.3.9600.20000", "6.0.6002.18005"}, "bad", []string{"6.0.6002.18005"}, "9600"},
		{"foreign_affected_beside_own_fixed", "2008-sp2", []string{"6.1.7601.17514", "6.0.6003.20489"}, "good", []string{"6.0.6003.20489"}, "7601"},
		{"foreign_alone", "2008-sp2", []string{"6.3.9600.20000"}, "unknown", []string{"is not listed"}, "9600"},
		{"foreign_service_pack", "2008-sp1", []string{"6.0.6002.24067"}, "unknown", nil, "6002.24067"},
		{"disagree", "2008-sp2", []string{"6.0.6002.18005", "6.0.6002.24067"}, "unknown", []string{"is 6.0.6002.18005", "is 6.0.6002.24067"}, ""},
		{"disagree_across_builds", "2008-sp2", []string{"6.0.6003.20489", "6.0.6002.19659"}, "unknown", []string{"is 6.0.6003.20489", "is 6.0.6002.19659"}, ""},
		{"disagree_beside_foreign", "2008-sp2", []string{"6.3.9600.20000", "6.0.6003.20489", "6.0.6002.19659"}, "unknown", []string{"is 6.0.6003.20489", "is 6.0.6002.19659"}, "9600"},
		{"both_affected", "2008-sp2", []string{"6.0.6002.19659", "6.0.6002.18005"}, "bad", []string{"is 6.0.6002.18005"}, "19659"},
		{"both_fixed", "2008-sp2", []string{"6.0.6003.20489", "6.0.6002.24067"}, "good", []string{"is 6.0.6002.24067"}, "20489"},
	} {
		for _, order := range []string{"", "_backwards"} {
			t.Run(tt.name+order, func(t *testing.T) {
				h := hardening(t, tt.release)
				for _, version := range tt.files {
					v, err := winver.Parse(version)
					if err != nil {
						t.Fatal(err)
					}
					h.Files = append(h.Files, host.File{Name: srvSys, FileVersion: host.FileVersion{Version: v.Build}, From: src})
				}
				if order != "" {
					slices.Reverse(h.Files)
				}
				c := harden(t, h)["smb-ms17-010"]
				var all []string
				for _, b := range c.Because {
					all = append(all, b.Text)
				}
				text := strings.Join(all, "; ")
				if c.State.String() != tt.want || tt.silent != "" && strings.Contains(text, tt.silent) {
					t.Errorf("%s, %q; want %s without %q", c.State, text, tt.want, tt.silent)
				}
				for _, want := range tt.says {
					if !strings.Contains(text, want) {
						t.Errorf("%q lacks %q", text, want)
					}
				}
			})
		}
	}
}
