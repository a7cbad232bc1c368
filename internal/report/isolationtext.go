package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/oldguard/oldguard/internal/plan"
)

// How much of long lists text shows; JSON has all.
const (
	textPeers   = 5  // of a dependency
	textCut     = 8  // dependencies of a reason
	textOffers  = 20 // ports that nobody used
	textMachine = 50 // machines of many, in full
	textUnknown = 6  // controls of which nothing is known, each with what would tell
	textNames   = 12 // of these, by their names alone
)

// isolationText writes for somebody who has to answer for the rules: what was decided, about whom, on
// what it rests, and what is not known.
func isolationText(w io.Writer, s Isolations, o Options) error {
	d := NewIsolation(s)
	p := newPrinter(o)
	if len(d.Hosts) > 1 {
		p.isolationOverview(d)
	}
	for i := range d.Hosts[:min(textMachine, len(d.Hosts))] {
		if i > 0 || len(d.Hosts) > 1 {
			p.line()
		}
		if d.Hosts[i].Check != nil {
			p.check(d, &d.Hosts[i])
		} else {
			p.isolation(d, &d.Hosts[i])
		}
		if _, err := w.Write(p.bytes()); err != nil {
			return err
		}
		p.b.Reset()
	}
	if n := len(d.Hosts) - textMachine; n > 0 {
		p.line()
		p.para(faint, "", fmt.Sprintf("and %s: name the files of one alone, or --format json for all", many(n, "more machine")))
	}
	_, err := w.Write(p.bytes())
	return err
}

// isolationOverview lists machines, a line or two each.
func (t *printer) isolationOverview(d *IsolationDocument) {
	t.line(t.styled(bold, fmt.Sprintf("%s to fence in, as of %s", plural(len(d.Hosts), "machine"), d.AsOf)))
	none := 0
	for i := range d.Hosts {
		h := &d.Hosts[i]
		if h.Why != nil {
			none++
			t.para(amber, "  ", h.Title()+": no policy")
			continue
		}
		t.para(plain, "  ", fmt.Sprintf("%s: %s allowed with %s, %d cut; %s", h.Title(), plural(h.Totals.Allowed, "dependency"), plural(h.Totals.PeersAllowed, "peer"),
			h.Totals.Cut, controlWords(h)))
	}
	if none > 0 {
		t.para(amber, "", fmt.Sprintf("For %s there is no policy: the reasons stand below.", plural(none, "machine")))
	}
}

// controlWords says how the controls stand, in a few words.
func controlWords(h *IsolationHost) string {
	bad, unknown := len(h.controls(plan.ControlBad)), len(h.controls(plan.ControlUnknown))
	s := plural(bad, "control") + " set otherwise"
	if unknown > 0 {
		s += fmt.Sprintf(", %d not known", unknown)
	}
	return s
}

func (t *printer) isolation(d *IsolationDocument, h *IsolationHost) {
	t.line(t.styled(bold, h.Title()+": plan to fence it in, as of "+d.AsOf.String()))
	t.para(plain, "  ", h.What()+"; "+h.Where())
	s := red
	switch {
	case h.Why != nil:
		s = amber
	case h.Totals.Cut == 0:
		s = green
	}
	t.para(s, "  ", h.Aim())
	for _, line := range []string{h.Watched(), h.Tried()} {
		if line != "" {
			t.para(plain, "  ", strings.TrimSuffix(line, ".")+".")
		}
	}
	for _, m := range h.Mismatches() {
		t.para(amber, "  ! ", m)
	}
	if asks := h.Asks(); asks != "" {
		t.para(amber, "  ", asks)
	}
	t.isolationAllowed(h, "in", "Allowed in: others begin")
	t.isolationAllowed(h, "out", "Allowed out: the machine begins")
	t.isolationNamed(h)
	t.isolationCut(h)
	t.isolationUnused(h)
	if len(h.Questions) > 0 {
		t.title("What the evidence could not tell")
	}
	for _, q := range h.Questions {
		t.para(plain, "  - ", sentence(q.What)+": "+q.Why+".")
		t.para(faint, "    this would tell: ", q.Tell)
	}
	t.isolationHardening(h)
	if len(h.Notes) > 0 {
		t.title("To know")
	}
	for _, n := range h.Notes {
		t.para(plain, "  - ", n)
	}
	if h.Policy != nil {
		t.title("The rules")
		t.para(plain, "  ", rulesWords(h))
	}
}

// rulesWords says how one gets the rules.
func rulesWords(h *IsolationHost) string {
	var formats []string
	for _, f := range IsolationFormats() {
		if f.Rules {
			formats = append(formats, f.Name)
		}
	}
	s := plural(len(h.Policy.Rules), "rule") + ", all of which accept; what none accepts is dropped, and answers pass."
	if len(formats) > 0 {
		s += " --format " + strings.Join(formats, ", ") + " writes them; --check FILE compares them with what a firewall has now."
	}
	return s
}

// columns of the tables, of a terminal's width.
func (t *printer) columns() []int {
	if t.width < 72 {
		return nil // too narrow for columns
	}
	inner := t.width - 2 - 2*2
	service := min(26, inner*3/10)
	seen := min(34, inner*34/100)
	return []int{service, inner - service - seen, seen}
}

func (t *printer) isolationAllowed(h *IsolationHost, direction, title string) {
	begun := false
	for i := range h.Dependencies {
		d := &h.Dependencies[i]
		if !d.Allowed() || d.Direction != direction {
			continue
		}
		if !begun {
			begun = true
			if h.Why != nil {
				title = "Needed by role, " + direction
			}
			t.title("%s", title)
			if t.columns() != nil {
				t.cells(faint, t.columns(), "service", "with whom", "how often, when, seen by")
			}
		}
		t.cells(plain, t.columns(), d.Called(), h.who(d, textPeers), d.Seen())
		var marks []string
		marks = append(marks, d.Marks()...)
		marks = append(marks, d.Risks()...)
		if len(marks) > 0 {
			t.para(amber, "    ! ", strings.Join(marks, "; "))
		}
		if d.Program != nil {
			t.para(faint, "    by ", *d.Program)
		}
		for _, r := range d.Because[min(1, len(d.Because)):] {
			t.para(faint, "    ", r.Text)
		}
	}
}

func (t *printer) isolationNamed(h *IsolationHost) {
	list := h.named()
	if len(list) > 0 {
		t.title("Allowed for networks that the owner named")
	}
	for _, r := range list {
		t.cells(plain, t.columns(), r.Direction+", "+r.On(), r.Networks(), r.Comment)
	}
}

func (t *printer) isolationCut(h *IsolationHost) {
	groups := h.cuts()
	if len(groups) == 0 {
		return
	}
	t.title("Cut")
	for _, g := range groups {
		t.para(bold, "  ", fmt.Sprintf("%s: %s, since %s", g.Title(), many(g.Peers, "peer"), g.Because))
		for _, d := range g.Dependencies[:min(textCut, len(g.Dependencies))] {
			dir := "from "
			if d.Direction == "out" {
				dir = "to "
			}
			t.cells(plain, t.columns(), "  "+d.Called(), dir+h.who(d, 3), d.Seen())
		}
		if n := len(g.Dependencies) - textCut; n > 0 {
			t.para(faint, "    ", "and "+many(n, "more service")+" like these")
		}
	}
}

func (t *printer) isolationUnused(h *IsolationHost) {
	open, itself := h.offers()
	if len(open)+itself == 0 {
		return
	}
	t.title("Open, and nobody was seen to use it: the policy closes it")
	for _, o := range open[:min(textOffers, len(open))] {
		program := ""
		if o.Program != nil {
			program = *o.Program
		}
		t.cells(plain, t.columns(), fmt.Sprintf("%s %d", o.Protocol, o.Port), o.Name, program)
	}
	if n := len(open) - textOffers; n > 0 {
		t.para(faint, "  ", fmt.Sprintf("and %d more", n))
	}
	if itself > 0 {
		t.para(faint, "  ", plural(itself, "more port")+" for the machine itself only")
	}
}

func (t *printer) isolationHardening(h *IsolationHost) {
	if bad := h.controls(plan.ControlBad); len(bad) > 0 {
		t.title("To set on the machine itself")
		for _, c := range bad {
			t.control(c)
		}
	}
	unknown := h.controls(plan.ControlUnknown)
	if len(unknown) > 0 {
		t.title("How it is set is not known")
	}
	if len(unknown) > textUnknown {
		names := each(unknown, func(c *IsolationControl) string { return c.Name })
		if n := len(names) - textNames; n > 1 {
			names = append(names[:textNames], fmt.Sprintf("and %d more", n))
		}
		t.para(plain, "  ", strings.Join(names, "; "))
		t.para(faint, "  this would tell most of it: ", "oldguard collect --script, run on the machine as administrator; --format html and json name commands for each")
		unknown = nil
	}
	for _, c := range unknown {
		t.para(plain, "  - ", strings.TrimSuffix(c.Name+": "+c.Line(), ": "))
		for _, tell := range c.Tell {
			t.para(faint, "    this would tell: ", tell)
		}
	}
	for _, r := range controlStates {
		list := h.controls(r.state)
		if len(list) > 0 {
			t.title("%s", r.title)
		}
		for _, c := range list {
			t.para(plain, "  - ", strings.TrimSuffix(c.Name+": "+c.Line(), ": "))
		}
	}
}

// controlStates are the states of which a line for each control is enough, as people weigh them.
var controlStates = []struct {
	title string
	state plan.ControlState
}{
	{"Set as it should be", plan.ControlGood},
	{"For other places than the machine", plan.ControlExternal},
	{"Not there on this release", plan.ControlNotAvailable},
	{"Not for this kind of machine", plan.ControlNotConcerned},
}

// Line says how a control stands or what it is, in a line; it may be empty.
func (c *IsolationControl) Line() string {
	switch {
	case c.Now != nil:
		return *c.Now
	case c.State == plan.ControlExternal:
		return c.Protects
	case len(c.Because) > 0:
		return c.Because[0].Text
	case c.Exists != nil:
		return *c.Exists
	}
	return ""
}

// control writes one that is set otherwise than it should be.
func (t *printer) control(c *IsolationControl) {
	now := ""
	if c.Now != nil {
		now = ": " + *c.Now
	}
	t.para(red, "  - ", c.Name+now)
	if c.Exists != nil {
		t.para(faint, "      here      ", *c.Exists)
	}
	for _, v := range []struct{ lead, text string }{{"good for  ", c.Protects}, {"breaks    ", c.Breaks}} {
		if v.text != "" {
			t.para(plain, "      "+v.lead, v.text)
		}
	}
	for _, s := range c.Set {
		t.para(plain, "      set       ", s)
	}
	for _, s := range c.Undo {
		t.para(plain, "      undo      ", s)
	}
	if c.UndoNote != nil {
		t.para(faint, "      undo      ", *c.UndoNote)
	}
	if c.Restart != nil {
		t.para(plain, "      restart   ", *c.Restart)
	}
	t.para(faint, "      source    ", origin(c.Confidence, c.Source))
}

// cells prints cells side by side, each wrapped to the width of its column; without columns
// one below the other.
func (t *printer) cells(s style, columns []int, texts ...string) {
	if columns == nil {
		for i, c := range texts {
			if c != "" {
				t.para(s, "  "+strings.Repeat("  ", min(i, 1)), c)
			}
		}
		return
	}
	var wrapped [][]string
	for i, c := range texts {
		lead := c[:len(c)-len(strings.TrimLeft(c, " "))]
		wrapped = append(wrapped, wrap(clean(c), lead, columns[i]))
	}
	for line := range slices.MaxFunc(wrapped, func(a, b []string) int { return len(a) - len(b) }) {
		pieces := []string{"  "}
		for i, w := range wrapped {
			text := ""
			if line < len(w) {
				text = w[line]
			}
			pieces = append(pieces, t.styled(s, text))
			if i < len(wrapped)-1 {
				pieces = append(pieces, strings.Repeat(" ", columns[i]-utf8.RuneCountInString(text)+2))
			}
		}
		t.line(pieces...)
	}
}

// wrap breaks text, which is clean, into lines of a width, each behind lead; words that are wider are
// cut.
func wrap(text, lead string, width int) (out []string) {
	width -= len(lead)
	var line []rune
	end := func() {
		if len(line) > 0 {
			out = append(out, lead+string(line))
			line = nil
		}
	}
	for word := range strings.FieldsSeq(text) {
		w := []rune(word)
		if len(line) > 0 && len(line)+1+len(w) > width {
			end()
		}
		for len(w) > width { // it stands alone: what was before it ended
			out = append(out, lead+string(w[:width]))
			w = w[width:]
		}
		if len(line) > 0 {
			line = append(line, ' ')
		}
		line = append(line, w...)
	}
	end()
	return out
}
