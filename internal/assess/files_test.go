package assess_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// TestFiles: versions of files are said, and change nothing else.
func TestFiles(t *testing.T) {
	file := func(name, version string) host.File {
		v, err := winver.Parse(version)
		if err != nil {
			t.Fatal(err)
		}
		return host.File{Name: name, FileVersion: host.FileVersion{Version: v.Build, Arch: winver.AMD64}}
	}
	kernel := file(`System32\ntoskrnl.exe`, "6.0.6003.20489")
	later := file(`System32\win32k.sys`, "6.0.6003.20705")
	others := []host.File{file(`System32\ntdll.dll`, "6.0.6002.24601"), file(`System32\mshtml.dll`, "9.0.8112.21567")}
	for _, tt := range []struct {
		name    string
		kbs     []winver.KB
		files   []host.File
		atLeast string
		note    string // a part of the note; empty for none
	}{
		{"no_files", nil, nil, "", ""},
		{"of_other_builds_alone", nil, others, "", ""},
		{"the_highest_counts", nil, append(others, later, kernel), "6.0.6003.20705", `at revision 6.0.6003.20705 at least (System32\win32k.sys). Which update brought it is not proven`},
		{"newer_than_the_list", []winver.KB{4493471}, []host.File{file(`System32\win32k.sys`, "6.0.6003.23000")}, "6.0.6003.23000", "are newer than its updates account for"},
		{"accounted_for", []winver.KB{5073697}, []host.File{kernel, later}, "6.0.6003.20705", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := server2008(winver.AMD64, 6003, tt.kbs...)
			bare := assess.Assess(h, embedded(t), assess.Policy{}, day(t, "2026-02-01"))
			h.Files = tt.files
			a := assess.Assess(h, embedded(t), assess.Policy{}, day(t, "2026-02-01"))
			if got := a.AtLeast; got.Known() != (tt.atLeast != "") || got.Known() && got.String() != tt.atLeast {
				t.Errorf("at least %s, want %q", got, tt.atLeast)
			}
			var notes []string
			for _, n := range a.Summary.Notes {
				if strings.Contains(strings.ToLower(n), "program files") {
					notes = append(notes, n)
				}
			}
			if tt.note == "" && len(notes) > 0 || tt.note != "" && (len(notes) != 1 || !strings.Contains(notes[0], tt.note)) {
				t.Errorf("notes %q, want %q", notes, tt.note)
			}
			if diff := cmp.Diff(kbsOf(bare.Updates.Missing), kbsOf(a.Updates.Missing)); diff != "" || a.Summary.Affected != bare.Summary.Affected || a.Build != bare.Build {
				t.Errorf("files changed what is missing or affected, or the build:\n%s", diff)
			}
		})
	}
}
