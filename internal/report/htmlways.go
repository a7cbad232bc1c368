package report

import (
	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/plan"
)

// ways are the plans of a machine, in short: the page of one machine shows them, and the
// plan commands write each in full.
type ways struct {
	Patch   *plan.Patch // nil where there is nothing to do, or no plan
	WhyNone string      // why there is no patch plan
	Updates int
	Out     []wayOut
	WhyStay string // why no way off the release is known
}

// wayOut is a way off the release.
type wayOut struct {
	Name, Feasible, Mark string
	Ends                 string
	Blockers             []string
	Steps                []string
}

var feasible = map[host.Tri][2]string{host.Yes: {"possible", "good"}, host.No: {"not possible", "bad"}, host.Unknown: {"not known yet", "warn"}}

// waysOf makes the plans as of the day of the assessment, for an owner without any
// entitlement: what he can do at once.
func waysOf(a *assess.Assessment, c *catalog.Catalog) *ways {
	w := &ways{}
	p := plan.PatchHost(a.Host, c, plan.Options{}, a.AsOf.Time())
	switch {
	case p.Why != "":
		w.WhyNone = p.Why
	case len(p.Steps) > 0:
		w.Patch = p
		for _, s := range p.Steps {
			if s.KB != 0 {
				w.Updates++
			}
		}
	}
	m := plan.Migrate(a.Host, c, plan.MigrateOptions{}, a.AsOf.Time())
	w.WhyStay = m.Why
	for _, alt := range m.Alternatives {
		out := wayOut{Name: alt.Name, Feasible: feasible[alt.Feasible][0], Mark: feasible[alt.Feasible][1], Ends: alt.EndsWhy}
		if alt.Ends != 0 {
			out.Ends = "updates until " + alt.Ends.String()
		}
		for _, b := range alt.Blockers {
			out.Blockers = append(out.Blockers, b.Text)
		}
		for _, s := range alt.Steps {
			out.Steps = append(out.Steps, s.Title)
		}
		w.Out = append(w.Out, out)
	}
	return w
}
