package peer

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// fake records how a test ended. Fatal and Skip end the goroutine, as testing's do.
type fake struct {
	testing.TB
	failed, skipped bool
}

func (f *fake) Helper()               {}
func (f *fake) Fatal(...any)          { f.failed = true; runtime.Goexit() }
func (f *fake) Fatalf(string, ...any) { f.failed = true; runtime.Goexit() }
func (f *fake) Skip(...any)           { f.skipped = true; runtime.Goexit() }

// need runs Need against the list text in a goroutine that it may end.
func need(t *testing.T, text, name string) (path string, f *fake) {
	t.Helper()
	old := list
	list = text
	defer func() { list = old }()
	f = &fake{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		path = Need(f, name)
	}()
	<-done
	return path, f
}

func TestNeed(t *testing.T) {
	dir := t.TempDir()
	for _, v := range []string{"15", "16"} {
		if err := os.MkdirAll(filepath.Join(dir, v, "bin", "server"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	text := "nowhere-at-all none required\n" +
		"nowhere-perhaps none optional # may be missing\n" +
		filepath.ToSlash(dir) + "/*/bin/server a,b required\n"
	tests := []struct {
		name, ci, ask   string
		want            string
		failed, skipped bool
	}{
		{name: "missing_at_home_skips", ask: "nowhere-at-all", skipped: true},
		{name: "missing_in_ci_fails", ci: "true", ask: "nowhere-at-all", failed: true},
		{name: "optional_in_ci_skips", ci: "true", ask: "nowhere-perhaps", skipped: true},
		{name: "unlisted_fails", ask: "unlisted", failed: true},
		{name: "pattern_takes_the_newest", ask: "server", want: filepath.Join(dir, "16", "bin", "server")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.want != "" && runtime.GOOS == "windows" {
				t.Skip("patterns are for systems where paths start with /")
			}
			t.Setenv("CI", tt.ci)
			got, f := need(t, text, tt.ask)
			if got != tt.want || f.failed != tt.failed || f.skipped != tt.skipped {
				t.Errorf("Need(%q) = %q, failed %v, skipped %v; want %q, %v, %v",
					tt.ask, got, f.failed, f.skipped, tt.want, tt.failed, tt.skipped)
			}
		})
	}
}

func TestParseRefusesLooseLines(t *testing.T) {
	for _, text := range []string{"git\n", "git git\n", "git git sometimes\n", "git git required really\n"} {
		if got, err := parse(text); err == nil {
			t.Errorf("parse(%q) = %v, want an error", text, got)
		}
	}
}

func TestListIsSound(t *testing.T) {
	entries, err := parse(list)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, e := range entries {
		if seen[e.name] {
			t.Errorf("%s is listed twice", e.name)
		}
		seen[e.name] = true
	}
	if !seen["git"] {
		t.Error("git is not listed, though the repository test asks for it")
	}
}
