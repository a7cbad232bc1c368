package report

import (
	"strings"

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
	Fence   fence
}

// fence is how to fence the machine in, in short.
type fence struct {
	Why            string // why there is no policy
	Allowed, Peers int    // dependencies that stay, and with how many peers
	Cut            string // what is cut, in words; empty where nothing is
	Bad            []string
	MoreBad        int // controls that are set otherwise, beyond those named
	Unknown        int // controls of which the evidence does not tell
	Questions      int
}

// fenceBad is how many controls that are set otherwise the page names.
const fenceBad = 6

func fenceOf(p *plan.Isolation) fence {
	h := isolationHostOf(p)
	f := fence{
		Why: p.Why, Allowed: h.Totals.Allowed, Peers: h.Totals.PeersAllowed, Cut: h.CutWords(),
		Unknown: len(h.controls(plan.ControlUnknown)), Questions: len(h.Questions),
	}
	for _, c := range h.controls(plan.ControlBad) {
		if len(f.Bad) == fenceBad {
			f.MoreBad++
			continue
		}
		f.Bad = append(f.Bad, strings.TrimSuffix(c.Name+": "+c.Line(), ": "))
	}
	return f
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
	w.Fence = fenceOf(plan.Isolate(a.Host, c, plan.IsolateOptions{}, a.AsOf.Time()))
	return w
}
