package assess_test

import (
	"slices"
	"testing"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/winver"
)

// TestSecurityOnlyLine: every month's security-only update counts, and a hole in the line
// shows.
func TestSecurityOnlyLine(t *testing.T) {
	rec, err := embedded(t).Records("windows-server-2008-sp2")
	if err != nil {
		t.Fatal(err)
	}
	kbs := []winver.KB{4474419, 5050682, 982861}
	for _, u := range rec.Updates {
		if u.Stream == catalog.SecurityOnly || u.Stream == catalog.IE && u.Released >= rec.Release.RollupSince {
			kbs = append(kbs, u.KB)
		}
	}
	a := assess.Assess(server2008(winver.AMD64, 6003, kbs...), embedded(t), assess.Policy{}, day(t, "2026-02-01"))
	if a.Updates.MonthsBehind != 0 {
		t.Errorf("%d months behind with every security-only update", a.Updates.MonthsBehind)
	}
	if n := a.Summary.Affected; n == 0 || n > 20 {
		t.Errorf("affected by %d, want the few that only a rollup or another update fixes", n)
	}
	if !slices.Equal(kbsOf(a.Updates.Missing), []winver.KB{5073697}) {
		t.Errorf("missing %v, want the rollup that fixes those few", kbsOf(a.Updates.Missing))
	}
	gap := assess.Assess(remove(server2008(winver.AMD64, 6003, kbs...), 5031411), embedded(t), assess.Policy{}, day(t, "2026-02-01"))
	if gap.Summary.Affected < a.Summary.Affected+10 || gap.Updates.MonthsBehind == 0 {
		t.Errorf("without KB5031411 of 2023-10: %d affected, %d months behind", gap.Summary.Affected, gap.Updates.MonthsBehind)
	}
}
