// Package peer finds the programs that tests compare this one with: registry tools, archivers,
// servers. It is for tests only; what it may find, and the Debian packages that bring it, are
// listed in peers.txt.
package peer

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

//go:embed peers.txt
var list string

// entry is one line of the list.
type entry struct {
	name     string   // what a test asks for
	look     string   // a command for PATH, or a pattern that starts with /
	packages []string // Debian packages that bring it
	optional bool     // may be missing even with CI=true
}

// Need returns the path of a program listed in peers.txt. Where the program is missing the test
// is skipped with the reason, or fails if the environment has CI=true and the peer is required:
// a build that proves nothing must not look green. A name that is not listed always fails.
// Tests against a peer are named TestPeer…, so that `make e2e` finds them.
func Need(t testing.TB, name string) string {
	t.Helper()
	entries, err := parse(list)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.name != name {
			continue
		}
		if p := e.find(); p != "" {
			return p
		}
		why := fmt.Sprintf("%s is missing; scripts/test-deps installs it on Debian (%s)", name, strings.Join(e.packages, " "))
		if os.Getenv("CI") == "true" && !e.optional {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	t.Fatalf("%s is not listed in internal/peer/peers.txt", name)
	return ""
}

// find returns where the peer is, or "".
func (e entry) find() string {
	if !path.IsAbs(e.look) {
		p, err := exec.LookPath(e.look)
		if err != nil {
			return ""
		}
		return p
	}
	found, err := filepath.Glob(e.look)
	if err != nil || len(found) == 0 {
		return ""
	}
	return found[len(found)-1] // the newest, where versions are in the path
}

// parse reads the list. Lines are strict, so that scripts/test-deps can read them as simply.
func parse(text string) (entries []entry, err error) {
	n := 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if len(f) != 3 || f[2] != "required" && f[2] != "optional" {
			return nil, fmt.Errorf("peers.txt:%d: want COMMAND PACKAGE[,PACKAGE...] required|optional", n)
		}
		entries = append(entries, entry{
			name:     path.Base(f[0]),
			look:     f[0],
			packages: strings.Split(f[1], ","),
			optional: f[2] == "optional",
		})
	}
	return entries, nil
}
