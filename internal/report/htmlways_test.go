package report

import (
	"strings"
	"testing"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
)

// TestWaysFromHere: the page of one machine shows the plans in short, and says so where
// there is none.
func TestWaysFromHere(t *testing.T) {
	c, err := catalog.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	f, ok := Find(Formats(), "html")
	if !ok {
		t.Fatal("no html")
	}
	page := string(write(t, f, Options{Catalog: c}, assessed(t, "../../examples/fs02", "2026-02-01")))
	for _, want := range []string{"The ways from here", "4 updates, up to 2020-01-14, ending with KB4534303", "windows6.0-kb4474419-v4-x64.msu", "Off this release", "Windows Server 2025", "updates until 2034-11-14"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	h := fileServer("FS01", 50)
	h.Updates.List(host.Listing{Whole: true, Scope: "cbs"})
	for want, a := range map[string]*assess.Assessment{
		"no policy, no evidence shows whom the machine talks to":                                                        assessed(t, "../../examples/fs02", "2026-02-01"),
		" dependencies with 54 peers would stay; cut: the internet (3 peers), management from elsewhere (1), scans (1)": judged(t, h, "2026-11-25"),
		"<code>oldguard plan isolate</code> writes the plan, with":                                                      assessed(t, "../../examples/app03", "2026-02-01"),
	} {
		if page := string(write(t, f, Options{Catalog: c}, a)); !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if without := string(write(t, f, Options{}, assessed(t, "../../examples/fs02", "2026-02-01"))); strings.Contains(without, "The ways from here") {
		t.Error("a page without a catalogue has plans")
	}
}
