package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/plan"
	"github.com/oldguard/oldguard/internal/policy"
)

// IsolationCheck is what a firewall has now, and what it decides otherwise than the plan.
type IsolationCheck struct {
	File     string                `json:"file"`
	Dialect  string                `json:"dialect"`
	Rules    int                   `json:"rules"`
	In       string                `json:"default_in"`
	Out      string                `json:"default_out"`
	LeftOpen []IsolationDifference `json:"left_open"`
	Breaks   []IsolationDifference `json:"breaks"`
	// More says why there may be more differences.
	More *string `json:"may_be_more"`
	// NotUnderstood is what of the file could not be read, NotCompared what was left out.
	NotUnderstood []string `json:"not_understood"`
	NotCompared   []string `json:"not_compared"`
	// Remarks say how the file was read; they leave nothing open.
	Remarks []string `json:"remarks"`
}

// IsolationDifference is traffic about which the firewall and the plan do not agree.
type IsolationDifference struct {
	Traffic     string  `json:"traffic"` // in a line: "in tcp 3389 from any but 192.0.2.5"
	Direction   string  `json:"direction"`
	Protocol    string  `json:"protocol"`
	Service     *string `json:"service"` // ports of who answers, or messages of ICMP; null for any
	Local       *string `json:"local"`   // null for all addresses of the machine
	Remote      string  `json:"remote"`
	SourcePorts *string `json:"source_ports"`
	// Rule is the firewall's that decides; null where none does: its default.
	Rule *IsolationExisting `json:"existing_rule"`
	// Wanted is the plan's rule, and Dependencies what needs it; null and none for what is left open.
	Wanted       *string  `json:"policy_rule"`
	Dependencies []string `json:"dependencies"`
	Names        []string `json:"dependency_names"`
	// Unsure says why the firewall may do as the plan wants after all.
	Unsure *string `json:"unsure"`
}

// IsolationExisting is a rule that a firewall has.
type IsolationExisting struct {
	At      string  `json:"at"`
	Comment *string `json:"comment"`
}

func checkOf(c *RuleSet, p *plan.Isolation) *IsolationCheck {
	out := &IsolationCheck{
		File: c.File, Dialect: c.Dialect, Rules: len(c.Existing.Rules), In: c.Existing.In.String(), Out: c.Existing.Out.String(),
		LeftOpen: []IsolationDifference{}, Breaks: []IsolationDifference{}, More: known(c.Cut),
		NotUnderstood: strings0(c.Existing.Notes), NotCompared: strings0(c.Notes), Remarks: strings0(c.Existing.Remarks),
	}
	for i := range c.Differences {
		d := differenceOf(&c.Differences[i], c.Existing, p)
		if c.Differences[i].Kind == policy.Breaks {
			out.Breaks = append(out.Breaks, d)
		} else {
			out.LeftOpen = append(out.LeftOpen, d)
		}
	}
	return out
}

func differenceOf(d *policy.Difference, existing *policy.Policy, p *plan.Isolation) IsolationDifference {
	out := IsolationDifference{
		Traffic: d.String(), Direction: d.Dir.String(), Protocol: d.Protocol(), Service: known(d.Service()), Local: known(d.Local()),
		Remote: d.Remote(), SourcePorts: known(d.SourcePorts()), Dependencies: []string{}, Names: []string{}, Unsure: known(d.Unsure),
	}
	if d.By >= 0 {
		r := &existing.Rules[d.By]
		out.Rule = &IsolationExisting{r.At, known(r.Comment)}
	}
	if d.Kind == policy.LeftOpen || d.Wanted < 0 {
		return out
	}
	id := p.Policy.Rules[d.Wanted].ID
	out.Wanted = &id
	for i := range p.Dependencies {
		if q := &p.Dependencies[i]; slices.Contains(q.Rules, id) {
			out.Dependencies = append(out.Dependencies, q.ID)
			out.Names = append(out.Names, q.Name)
		}
	}
	return out
}

// Certain reports whether any difference is one for sure.
func (c *IsolationCheck) Certain() bool {
	return slices.ContainsFunc(slices.Concat(c.LeftOpen, c.Breaks), func(d IsolationDifference) bool { return d.Unsure == nil })
}

// Undecided reports whether there is something about which the file does not tell.
func (c *IsolationCheck) Undecided() bool {
	return c.More != nil || len(c.NotUnderstood) > 0 || slices.ContainsFunc(slices.Concat(c.LeftOpen, c.Breaks), func(d IsolationDifference) bool { return d.Unsure != nil })
}

// Mark is the class of Says.
func (c *IsolationCheck) Mark() string {
	switch {
	case c.Certain():
		return "bad"
	case c.Undecided():
		return "undecided"
	}
	return "clear"
}

// Says says in a sentence what came of it.
func (c *IsolationCheck) Says() string {
	open, broken := len(c.LeftOpen), len(c.Breaks)
	if open+broken == 0 {
		if c.Undecided() {
			return "No difference to the plan is known, and not all of the file was understood."
		}
		return "It lets through what the plan lets through, and nothing else."
	}
	words := slices.DeleteFunc([]string{
		differWords(c.LeftOpen, "left open that the plan does not need"), differWords(c.Breaks, "stopped that the plan needs"),
	}, func(s string) bool { return s == "" })
	return sentence(strings.Join(words, "; ") + ".")
}

// differWords counts what differs for sure and what perhaps does; empty where nothing does.
func differWords(list []IsolationDifference, how string) string {
	sure, unsure := 0, 0
	for i := range list {
		if list[i].Unsure == nil {
			sure++
		} else {
			unsure++
		}
	}
	kinds := func(n int) string { return many(n, "kind") + " of traffic " + isAre(n) + " " + how }
	switch {
	case sure > 0 && unsure > 0:
		return kinds(sure) + fmt.Sprintf(", and perhaps %s more", thousands(unsure))
	case sure > 0:
		return kinds(sure)
	case unsure > 0:
		return "perhaps " + kinds(unsure)
	}
	return ""
}

func isAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// What says what was read.
func (c *IsolationCheck) What() string {
	return fmt.Sprintf("%s (%s): %s; by default in %s, out %s", c.File, c.Dialect, plural(c.Rules, "rule"), c.In, c.Out)
}

// By says which rule of the firewall decides.
func (d *IsolationDifference) By() string {
	if d.Rule == nil {
		return "the default: no rule is about it"
	}
	s := d.Rule.At
	if d.Rule.Comment != nil {
		s = strings.TrimPrefix(s+": "+*d.Rule.Comment, ": ")
	}
	return s
}

// For says what needs it; empty for what is left open.
func (d *IsolationDifference) For() string {
	if d.Wanted == nil {
		return ""
	}
	if len(d.Names) == 0 {
		return "rule " + *d.Wanted
	}
	return strings.Join(d.Names, ", ") + " (rule " + *d.Wanted + ")"
}

// textDifferences is how many of a kind text shows.
const textDifferences = 40

// check writes what a firewall has now against the plan.
func (t *printer) check(d *IsolationDocument, h *IsolationHost) {
	c := h.Check
	t.line(t.styled(bold, h.Title()+": what its firewall has now, against the plan, as of "+d.AsOf.String()))
	t.para(plain, "  ", c.What()+".")
	s := map[string]style{"bad": red, "undecided": amber, "clear": green}[c.Mark()]
	t.para(s, "  ", c.Says())
	for _, part := range []struct {
		title string
		list  []IsolationDifference
	}{{"Left open, and the plan does not need it", c.LeftOpen}, {"Stopped, and the plan needs it", c.Breaks}} {
		if len(part.list) == 0 {
			continue
		}
		t.title("%s", part.title)
		for i := range part.list[:min(textDifferences, len(part.list))] {
			v := &part.list[i]
			t.para(plain, "  - ", v.Traffic)
			if need := v.For(); need != "" {
				t.para(plain, "    needed for ", need)
			}
			t.para(faint, "    decided by ", v.By())
			if v.Unsure != nil {
				t.para(amber, "    not sure: ", *v.Unsure)
			}
		}
		if n := len(part.list) - textDifferences; n > 0 {
			t.para(faint, "  ", fmt.Sprintf("and %s more: --format json has all", thousands(n)))
		}
	}
	if c.More != nil {
		t.line()
		t.para(amber, "  ", "There may be more: "+*c.More+".")
	}
	for _, part := range []struct {
		title string
		list  []string
	}{{"Not understood", c.NotUnderstood}, {"Not compared", c.NotCompared}, {"How it was read", c.Remarks}} {
		if len(part.list) > 0 {
			t.title("%s", part.title)
		}
		for _, n := range part.list {
			t.para(plain, "  - ", n)
		}
	}
	t.title("The plan")
	t.para(plain, "  ", h.Aim())
	t.para(faint, "  ", "Without --check the same command writes it.")
}
