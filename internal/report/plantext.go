package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/plan"
)

// planText writes for somebody who sits before the machine on a Saturday night: what comes
// before, then the steps in order, then what he should know and what stays open.
func planText(w io.Writer, plans []*plan.Patch, o Options) error {
	for i, p := range plans {
		t := newPrinter(o)
		if i > 0 {
			t.line()
		}
		t.plan(p)
		if _, err := w.Write(t.bytes()); err != nil {
			return err
		}
	}
	return nil
}

func (t *printer) plan(p *plan.Patch) {
	t.line(t.styled(bold, planName(p)+": plan to patch it, as of "+p.AsOf.String()))
	t.para(plain, "  ", planWhere(p))
	s := green
	if p.Why != "" {
		s = amber
	} else if len(p.Steps) > 0 {
		s = red
	}
	t.para(s, "  ", planAim(p))
	if p.Line != "" {
		t.para(plain, "  ", fmt.Sprintf("%s; %s line.", sentence(entitled(p)), p.Line))
	}
	if p.Why != "" {
		t.planNotes(p)
		return
	}
	if len(p.Steps) > 0 {
		t.para(plain, "  ", planEffort(p)+".")
		t.para(plain, "  now    ", sumOf(&p.Before))
		t.para(plain, "  after  ", sumOf(&p.After))
	}
	t.planSteps(p)
	t.planFetch(p)
	t.planNotes(p)
	t.planBeyond(p)
}

func (t *printer) planSteps(p *plan.Patch) {
	part := ""
	for i := range p.Steps {
		s := &p.Steps[i]
		title := "On the machine"
		if s.Kind == plan.StepPrepare {
			title = "Before it"
		}
		if title != part {
			part = title
			t.title("%s", title)
		}
		t.para(bold, fmt.Sprintf("%3d. ", i+1), s.Title)
		for _, r := range s.Because {
			t.para(faint, "     why     ", r.Text)
		}
		if s.Kind == plan.StepUpdate {
			t.planFile(s)
		}
		for _, c := range s.Commands {
			t.para(plain, "     run     ", c)
		}
		if s.Changes != "nothing" && s.Changes != "nothing on the machine" {
			changes := s.Changes
			if s.Permanent {
				changes += "; it cannot be removed again"
			}
			t.para(plain, "     changes ", changes)
		}
		for _, c := range s.Check {
			t.para(plain, "     check   ", c)
		}
		t.planFailures(p.Steps[:i], s)
	}
}

func (t *printer) planFile(s *plan.Step) {
	switch {
	case s.Have != nil:
		verdict := style(amber)
		if s.Have.Genuine {
			verdict = green
		}
		t.para(verdict, "     file    ", s.Have.Name+": "+verdictOf(*s.Have))
	default:
		t.para(plain, "     file    ", fetchWords(s))
	}
	for _, f := range s.Refused {
		t.para(red, "     not     ", f.Name+": "+strings.Join(append([]string{verdictOf(f)}, f.Because...), "; "))
	}
}

// planFailures writes how a step fails; where an earlier one fails the same ways, it says
// which.
func (t *printer) planFailures(before []plan.Step, s *plan.Step) {
	if len(s.Failures) == 0 {
		return
	}
	for i := range before {
		if slices.Equal(before[i].Failures, s.Failures) {
			t.para(faint, "     fails   ", fmt.Sprintf("as step %d", i+1))
			return
		}
	}
	for _, f := range s.Failures {
		text := f.Cause + ": " + f.Cure
		if f.Code != "" {
			text = f.Code + "  " + text
		}
		t.para(faint, "     fails   ", text)
	}
}

func (t *printer) planFetch(p *plan.Patch) {
	list := toFetch(p)
	if len(list) == 0 {
		return
	}
	t.title("Still to be fetched, by hand: nothing is downloaded")
	for _, s := range list {
		t.para(plain, "  - ", fetchWords(s))
	}
	t.para(faint, "  ", "Microsoft's Update Catalog has them by the KB. Check each with oldguard verify before it goes to the machine.")
}

func (t *printer) planNotes(p *plan.Patch) {
	if len(p.Notes) == 0 {
		return
	}
	t.title("To know")
	for _, n := range p.Notes {
		t.para(plain, "  - ", n)
	}
}

func (t *printer) planBeyond(p *plan.Patch) {
	if len(p.Beyond) == 0 {
		return
	}
	t.title("Published, and beyond what the owner may install")
	const most = 12
	for _, it := range p.Beyond[max(0, len(p.Beyond)-most):] {
		u := updateOf(it)
		text := []string{fmt.Sprintf("%s, %s of %s", it.KB, strings.ReplaceAll(u.Kind, "-", " "), it.Released)}
		for _, n := range it.Needs {
			if len(n.Programmes) > 0 {
				text = append(text, n.Text)
			}
		}
		t.para(plain, "  - ", strings.Join(text, "; "))
	}
	if n := len(p.Beyond) - most; n > 0 {
		t.para(faint, "  ", fmt.Sprintf("and %d before these", n))
	}
}
