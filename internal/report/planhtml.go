package report

import (
	"io"
	"slices"

	"github.com/oldguard/oldguard/internal/plan"
)

// planHTML writes the runbook: of each machine a page for who decides, then the steps with
// boxes to tick, then how a step fails. It is made for paper.
func planHTML(w io.Writer, plans []*plan.Patch, _ Options) error {
	p := runbook{Plans: each(plans, runPlanOf), Title: plural(len(plans), "patch plan")}
	if len(plans) == 1 {
		p.Title = "Patch plan of " + p.Plans[0].Name
	}
	b, err := render("plan", p)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

type runbook struct {
	Title string
	Plans []runPlan
}

// runPlan is the runbook of one machine.
type runPlan struct {
	*plan.Patch
	Name, Where, Aim, Entitled string
	Mark                       string // class of the aim
	Now, Then                  PlanCounts
	Prepare, Work              []runStep
	Bars                       []bar
	Fetch                      []string
	Failures                   []plan.Failure
	Risks                      []string
	Left                       []Update // the newest of Beyond
	LeftMore                   int
}

type runStep struct {
	plan.Step
	N            int
	File         string
	Good, Absent bool // the file is there and genuine; is not there
	Codes        []string
	Silent       []plan.Failure // failures without a code
}

// bar is a length of a picture: how many vulnerabilities, of the most there are.
type bar struct {
	Label             string
	Sum, Exploited    int
	Width, WidthOfKEV float64
}

const leftShown = 12

func runPlanOf(p *plan.Patch) runPlan {
	b := runPlan{
		Patch: p, Name: planName(p), Where: planWhere(p), Aim: planAim(p), Entitled: sentence(entitled(p)),
		Now: countsOf(&p.Before), Then: countsOf(&p.After), Mark: "clear", Risks: risks(p),
		Left: each(p.Beyond[max(0, len(p.Beyond)-leftShown):], updateOf), LeftMore: max(0, len(p.Beyond)-leftShown),
	}
	switch {
	case p.Why != "":
		b.Mark = "undecided"
	case len(p.Steps) == 0 && p.Before.Affected+p.Before.Unfixable > 0:
		b.Mark = "undecided"
	case len(p.Steps) > 0:
		b.Mark = "bad"
		most := float64(max(1, b.Now.Affected+b.Now.Unfixable, b.Then.Affected+b.Then.Unfixable))
		for _, c := range []struct {
			label string
			n     PlanCounts
		}{{"now", b.Now}, {"afterwards", b.Then}} {
			sum := c.n.Affected + c.n.Unfixable
			b.Bars = append(b.Bars, bar{c.label, sum, c.n.Exploited, 100 * float64(sum) / most, 100 * float64(c.n.Exploited) / most})
		}
	}
	for i, s := range p.Steps {
		step := runStep{Step: s, N: i + 1}
		if s.Kind == plan.StepUpdate {
			step.File, step.Absent = fetchWords(&s), s.Have == nil
			if s.Have != nil {
				step.File, step.Good = s.Have.Name+": "+verdictOf(*s.Have), s.Have.Genuine
			}
		}
		for _, f := range s.Failures {
			if f.Code == "" {
				step.Silent = append(step.Silent, f)
				continue
			}
			step.Codes = append(step.Codes, f.Code)
			if !slices.Contains(b.Failures, f) {
				b.Failures = append(b.Failures, f)
			}
		}
		if s.Kind == plan.StepPrepare {
			b.Prepare = append(b.Prepare, step)
		} else {
			b.Work = append(b.Work, step)
		}
	}
	for _, s := range toFetch(p) {
		b.Fetch = append(b.Fetch, fetchWords(s))
	}
	return b
}

// Hours is how long a step takes, in words.
func (s runStep) Hours() string {
	if s.Minutes == 0 {
		return ""
	}
	return "about " + hours(s.Minutes)
}

// Span is how long the work takes, in short.
func (b runPlan) Span() string { return hours(b.Minutes()) }

// risks says what who decides should weigh: what the plan itself knows, no more.
func risks(p *plan.Patch) (list []string) {
	if len(p.Steps) == 0 {
		return nil
	}
	list = append(list, "The machine is away for "+plural(p.Restarts(), "restart")+", and for longer if it has to be put back from the backup.")
	permanent := 0
	for i := range p.Steps {
		if p.Steps[i].Permanent {
			permanent++
		}
	}
	if permanent > 0 {
		list = append(list, plural(permanent, "step")+" cannot be undone but by putting the backup back.")
	}
	if p.Target != p.Release {
		list = append(list, "A service pack changes much: software that was never tested with it may fail.")
	}
	if p.After.Exploited > 0 {
		list = append(list, "Afterwards "+plural(p.After.Exploited, "vulnerability")+" known to be exploited stay open: patching is not enough, the machine has to be fenced in or moved away.")
	}
	if p.Before.SupportOver {
		list = append(list, "Support is over: what is found from now on will not be fixed.")
	}
	return list
}
