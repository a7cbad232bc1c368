package storetest

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// Recount counts the machines anew, from nothing but what is stored.
type Recount func(ctx context.Context, unseen time.Time) (fleet.Overview, []fleet.CVECount, error)

// Tally holds what a store counts, whatever it keeps for that, to what counting anew gives:
// after changes of all kinds, in an order of chance.
func Tally(t *testing.T, open func(t *testing.T) (Store, Recount)) {
	t.Helper()
	s, recount := open(t)
	ctx := t.Context()
	const seed = 20
	r := rand.New(rand.NewPCG(seed, seed)) // #nosec G404 -- to be the same each time
	u, _, err := s.AddUpload(ctx, newUpload(0))
	must(t, err)
	part := 0
	// fresh makes a machine with one of a few states and sets of verdicts.
	fresh := func(name string) fleet.Assessed {
		a := machine(name, u.ID, part)
		part++
		h := &a.Host
		h.Level, h.MonthsBehind, h.Exploited, h.Ransomware = assess.Level(r.IntN(3)), r.IntN(20)-1, r.IntN(2), r.IntN(2) // #nosec G115 -- below three
		h.Release = []string{"windows-server-2008-sp2", "windows-7-sp1", ""}[r.IntN(3)]
		h.Support = []assess.SupportState{assess.Over, assess.Programmes, ""}[r.IntN(3)]
		h.Restart = []host.Tri{host.Unknown, host.No, host.Yes}[r.IntN(3)]
		h.Build = winver.Build{Major: 6, Number: uint32(6001 + r.IntN(3))} // #nosec G115 -- a few
		h.LastSeen = now.AddDate(0, 0, -r.IntN(60))
		v := fleet.Verdicts{}
		for i := range 6 {
			if verdict := assess.Verdict(r.IntN(5)); r.IntN(2) == 0 { // #nosec G115 -- below five
				v.List = append(v.List, fleet.CVEVerdict{CVE: fmt.Sprintf("CVE-2020-%04d", 1000+i), Verdict: verdict, Exploited: r.IntN(3) == 0})
			}
		}
		a.Verdicts, a.Missing = v.Pack(), nil
		return a
	}
	var ids []int64
	find := func() {
		ids = nil
		for q := (fleet.HostQuery{Sort: fleet.SortName}); ; {
			page, err := s.Hosts(ctx, q)
			must(t, err)
			for _, h := range page.Hosts {
				ids = append(ids, h.ID)
			}
			if q.After = page.Next; q.After == "" {
				return
			}
		}
	}
	some := func(n int) (list []int64) {
		for range n {
			list = append(list, ids[r.IntN(len(ids))])
		}
		return list
	}
	again := func(id int64) fleet.Assessed {
		p, err := s.Placing(ctx, id)
		must(t, err)
		a := fresh("again")
		a.Host.ID, a.Host.Version, a.Host.Identity = id, p.Host.Version, p.Host.Identity
		a.Parts = nil
		return a
	}
	day := day("2026-11-25")
	steps := []struct {
		name string
		do   func(n int) error
	}{
		{"new", func(n int) error {
			res := fleet.Result{Now: now}
			for i := range 1 + r.IntN(4) {
				res.Assessed = append(res.Assessed, fresh(fmt.Sprintf("m%d-%d", n, i)))
			}
			return s.Record(ctx, res)
		}},
		{"again", func(int) error {
			return s.Record(ctx, fleet.Result{Now: now, Assessed: []fleet.Assessed{again(some(1)[0])}})
		}},
		{"nothing_new", func(int) error {
			return s.Record(ctx, fleet.Result{Now: now, Unchanged: some(2), AsOf: day, Catalog: "other"})
		}},
		{"stale", func(int) error {
			a := again(some(1)[0])
			a.Host.Version--
			wantError(t, "stale", fleet.ErrStale, s.Record(ctx, fleet.Result{Now: now, Assessed: []fleet.Assessed{fresh("never"), a}}))
			return nil
		}},
		{"edit", func(n int) error {
			return s.EditHosts(ctx, some(3), fleet.OwnedEdit{Site: new(fmt.Sprint("site ", r.IntN(3))), Owner: new(fmt.Sprint("owner ", n)), Criticality: new(fleet.Criticality(r.IntN(5)))}) // #nosec G115 -- below five
		}},
		{"retire", func(int) error { return s.EditHosts(ctx, some(1), fleet.OwnedEdit{Retired: new(true)}) }},
		{"back", func(int) error {
			a := again(some(1)[0])
			must(t, s.EditHosts(ctx, []int64{a.Host.ID}, fleet.OwnedEdit{Retired: new(true)}))
			a.Back = true
			return s.Record(ctx, fleet.Result{Now: now, Assessed: []fleet.Assessed{a}})
		}},
		{"absorb", func(int) error {
			a := again(ids[0])
			a.Absorbs, a.By = ids[len(ids)-1], "max"
			return s.Record(ctx, fleet.Result{Now: now, Assessed: []fleet.Assessed{a}})
		}},
		{"run", func(n int) error { // at its end verdicts go that no machine has
			_, err := s.BeginRun(ctx, fleet.Run{Cause: fleet.CauseCatalog, Catalog: fmt.Sprint("c", n), AsOf: day, Begun: now})
			must(t, err)
			runs, err := s.Runs(ctx, 1)
			must(t, err)
			return s.Record(ctx, fleet.Result{Now: now, Run: runs[0].ID, Ended: true})
		}},
		{"many", func(n int) error { // more than are read one by one
			for i := range 2 {
				res := fleet.Result{Now: now}
				for j := range 30 {
					res.Assessed = append(res.Assessed, fresh(fmt.Sprintf("many%d-%d-%d", n, i, j)))
				}
				must(t, s.Record(ctx, res))
			}
			return nil
		}},
	}
	order := func(list []fleet.CVECount) []fleet.CVECount {
		return slices.SortedFunc(slices.Values(list), func(a, b fleet.CVECount) int { return cmp.Compare(a.CVE, b.CVE) })
	}
	must(t, steps[0].do(-1))
	for n := range 70 {
		find()
		step := steps[r.IntN(len(steps))]
		if len(ids) < 4 {
			step = steps[0]
		}
		if err := step.do(n); err != nil {
			t.Fatalf("step %d, %s: %v", n, step.name, err)
		}
		if r.IntN(2) == 0 { // several changes between two looks
			continue
		}
		unseen := now.AddDate(0, 0, -r.IntN(60))
		o, err := s.Overview(ctx, unseen)
		must(t, err)
		list, err := s.CVEs(ctx)
		must(t, err)
		anew, anewCVEs, err := recount(ctx, unseen)
		must(t, err)
		want(t, fmt.Sprintf("overview after step %d, %s", n, step.name), anew, o)
		want(t, fmt.Sprintf("vulnerabilities after step %d, %s", n, step.name), order(anewCVEs), order(list))
		if t.Failed() {
			return
		}
		if n > 40 && (o.Hosts < 10 || len(list) < 4 || len(o.BySite) < 2) {
			t.Errorf("the test proves little: %+v, %d vulnerabilities", o, len(list))
		}
	}
}
