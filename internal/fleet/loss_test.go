package fleet_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/fleet"
)

// loss gives what a machine lost, without when.
func (r *rig) loss(name string) string {
	r.t.Helper()
	p, err := r.db.Placing(r.t.Context(), r.host(name).ID)
	if err != nil {
		r.t.Fatal(err)
	}
	return p.Loss.String()
}

// TestLoss follows one machine through updates that come and go.
func TestLoss(t *testing.T) {
	r := newRig(t)
	whole := example(t)
	newer := with(t, "12 Hotfix(s)", "13 Hotfix(s)", "[12]: KB4534303", "[12]: KB4534303\n                           [13]: KB5073697")
	without := with(t, "12 Hotfix(s)", "11 Hotfix(s)", "\r\n                           [12]: KB4534303", "")
	for i, step := range []struct {
		name, text string
		want       string // of what was lost
	}{
		{"first_seen", whole, ""},
		{"the_same_again", whole, ""},
		{"an_update_more", newer, ""},
		{"and_gone", whole, "the build was 6.0.6003.23717; not there any more: KB5073697; open again: CVE-2026-20940, CVE-2026-20936, CVE-2026-20931, CVE-2026-20929, CVE-2026-20927 and 1819 more"},
		{"still_gone", whole, "the build was 6.0.6003.23717; not there any more: KB5073697; open again: CVE-2026-20940, CVE-2026-20936, CVE-2026-20931, CVE-2026-20929, CVE-2026-20927 and 1819 more"},
		{"back", newer, ""},
		{"less_than_ever", without, "not there any more: KB4534303, KB5073697; open again: CVE-2026-20940, CVE-2026-20936, CVE-2026-20931, CVE-2026-20929, CVE-2026-20927 and 1836 more"},
		{"half_of_it_back", whole, "not there any more: KB5073697; open again: CVE-2026-20940, CVE-2026-20936, CVE-2026-20931, CVE-2026-20929, CVE-2026-20927 and 1819 more"},
	} {
		r.at(start.AddDate(0, 0, i))
		// Two reports of one machine never are the same in everything.
		r.upload("fs01.txt", strings.Replace(step.text, "Memory: 8,190 MB\r\nPage", fmt.Sprintf("Memory: %d MB\r\nPage", 1000+i), 1))
		if got := r.loss("FS01"); got != step.want {
			t.Errorf("%s: lost %q, want %q", step.name, got, step.want)
		}
	}
}

// TestLossIsTheMachines: a vulnerability that was fixed before, and is open by the same
// evidence now, was lost by the machine only if it was judged in the same way before.
func TestLossIsTheMachines(t *testing.T) {
	for _, tt := range []struct {
		name   string
		judged string // by which catalogue, before; empty is the one in use
		again  func(r *rig)
		want   string
	}{
		{"by_the_machine", "", more, "open again: CVE-2026-20940"},
		{"by_the_catalogue_with_new_evidence", "another", more, ""},
		{"by_the_catalogue", "another", func(r *rig) {
			r.do("daily", "{}")
			runs, err := r.db.Runs(r.t.Context(), 1)
			if err != nil || len(runs) != 1 {
				r.t.Fatal(runs, err)
			}
			r.do("reassess", fmt.Sprintf(`{"run":%d}`, runs[0].ID))
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.upload("fs01.txt", example(t))
			p, err := r.db.Placing(t.Context(), r.host("FS01").ID)
			if err != nil {
				t.Fatal(err)
			}
			v, err := fleet.UnpackVerdicts(p.Verdicts)
			if err != nil {
				t.Fatal(err)
			}
			for i := range v.List {
				if c := &v.List[i]; c.CVE == "CVE-2026-20940" {
					if c.Verdict != assess.Affected {
						t.Fatalf("%s is %s", c.CVE, c.Verdict)
					}
					c.Verdict = assess.Fixed
				}
			}
			if tt.judged != "" {
				p.Host.Catalog = tt.judged
			}
			if err = r.db.Record(t.Context(), fleet.Result{Now: start, Assessed: []fleet.Assessed{{Host: p.Host, Verdicts: v.Pack(), Missing: v.Missing}}}); err != nil {
				t.Fatal(err)
			}
			tt.again(r)
			changes, err := r.db.Changes(t.Context(), fleet.ChangeQuery{})
			if err != nil || len(changes) != 2 || changes[0].New != 1 {
				t.Fatalf("changes: %+v, %v", changes, err)
			}
			if got := r.loss("FS01"); got != tt.want {
				t.Errorf("lost %q, want %q", got, tt.want)
			}
		})
	}
}

// more brings evidence that says nothing new.
func more(r *rig) {
	r.t.Helper()
	r.upload("fs01.txt", with(r.t, "Total Physical Memory:     8,190 MB", "Total Physical Memory:     4,096 MB"))
}

// TestLossEndsWithTheRelease: a machine that was upgraded has lost nothing.
func TestLossEndsWithTheRelease(t *testing.T) {
	r := newRig(t)
	r.upload("fs01.txt", with(t, "12 Hotfix(s)", "13 Hotfix(s)", "[12]: KB4534303", "[12]: KB4534303\n                           [13]: KB5073697"))
	r.upload("fs01.txt", example(t))
	if r.loss("FS01") == "" {
		t.Fatal("nothing was lost")
	}
	before := r.host("FS01")
	r.upload("fs01.txt", with(t, "6.0.6003 Service Pack 2 Build 6003", "6.1.7601 Service Pack 1 Build 7601", "Serverr 2008 Standard", "Serverr 2008 R2 Standard"))
	if h := r.host("FS01"); h.ID != before.ID || h.Release == before.Release {
		t.Fatalf("machine %d of release %s", h.ID, h.Release)
	}
	if got := r.loss("FS01"); got != "" {
		t.Errorf("lost %q", got)
	}
}
