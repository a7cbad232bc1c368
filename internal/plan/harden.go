package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// ControlState is how a control stands on a machine. The zero value is ControlUnknown: no
// evidence, or evidence that contradicts itself, is neither good nor bad.
type ControlState uint8

// The states of a control.
const (
	ControlUnknown      ControlState = iota // the evidence cannot tell; Hardening.Tell would
	ControlGood                             // set as the control wants it: not more than that
	ControlBad                              // set otherwise
	ControlNotAvailable                     // this release has no such thing
	ControlNotConcerned                     // it is for another kind of machine, such as a domain controller
	ControlExternal                         // no evidence from the machine itself can show it
)

var controlStates = [...]string{"unknown", "good", "bad", "not-available", "not-concerned", "external"}

// String gives unknown, good, bad, not-available, not-concerned or external.
func (s ControlState) String() string {
	if int(s) < len(controlStates) {
		return controlStates[s]
	}
	return "unknown"
}

// MarshalText writes what String gives.
func (s ControlState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Hardening is one control, and how it stands on one machine. A control that is good
// takes one way of attack away; none makes an old machine secure, nor do all together.
type Hardening struct {
	ID, Name string
	State    ControlState
	// Now is how it is set, in words; empty where nothing is known.
	Now string
	// Because says why State is what it is.
	Because []host.Reason
	// Exists is what this release has of it, since when or by which update; empty where it
	// simply has it.
	Exists string
	// Protects is what it is good for, Breaks what stops working when it is set.
	Protects, Breaks string
	// Set are the commands that set it on this release, in order, and Undo those that put
	// back what the evidence shows. Both are empty where there is nothing to run: external
	// controls, those that are good already, and those that a group policy sets.
	Set, Undo []string
	// UndoNote is what Set and Undo cannot know, such as a value that no evidence shows, or that
	// a group policy sets it; may be empty.
	UndoNote string
	// Restart is what must start anew before it counts: "the machine", a service; empty for
	// nothing.
	Restart string
	// Tell are the commands whose output would tell, where State is unknown or external.
	Tell []string
	// Known is where the control itself comes from, not how it stands.
	Known
}

// span is a range of releases by their version: 6.0, 6.0-6.3, 10.0.14393- and the like.
type span struct{ from, to [3]uint64 }

func spanOf(s string) (span, error) {
	from, to, open := strings.Cut(s, "-")
	out := span{to: [3]uint64{1 << 32, 1 << 32, 1 << 32}}
	for i, f := range strings.Split(from, ".") {
		n, err := strconv.ParseUint(f, 10, 32)
		if err != nil || i > 2 {
			return out, fmt.Errorf("no range of releases: %q", s)
		}
		out.from[i] = n
	}
	if !open {
		to = from
	}
	if to == "" {
		return out, nil
	}
	for i, f := range strings.Split(to, ".") {
		n, err := strconv.ParseUint(f, 10, 32)
		if err != nil || i > 2 {
			return out, fmt.Errorf("no range of releases: %q", s)
		}
		out.to[i] = n
	}
	return out, nil
}

func (s span) has(b winver.Build) bool {
	v := [3]uint64{uint64(b.Major), uint64(b.Minor), uint64(b.Number)}
	return slices.Compare(s.from[:], v[:]) <= 0 && slices.Compare(v[:], s.to[:]) <= 0
}

// control is a row of hardening.txt.
type control struct {
	Hardening
	judged        []string
	facts, notFor []string
	set, undo     []string
	note, read    string
}

// controlValue is a row of hardening-values.txt.
type controlValue struct {
	control         string
	releases        span
	setting, policy string
	key, name, kind string // of the registry
	label           string
	good, want      string
	fallback        string // what holds where nothing is set
	words           map[string]string
	Known           // of fallback
}

// controlExists is a row of hardening-exists.txt.
type controlExists struct {
	control    string
	releases   span
	what, text string
	Known
}

// controlService is a row of hardening-services.txt.
type controlService struct {
	name, display string
	releases      span
	needs         []string
	ports         []string
	always        string
	risk, breaks  string
	Known
}

func mustSpan(file, s string) span {
	out, err := spanOf(s)
	if err != nil {
		panic(file + ": " + err.Error()) // it is embedded
	}
	return out
}

var controlTable = sync.OnceValue(func() (out []control) {
	for _, f := range rows("hardening.txt", 15) {
		out = append(out, control{
			Hardening{ID: f[0], Name: f[1], Protects: f[5], Breaks: f[6], Restart: f[7], Tell: list(f[11], "|"), Known: Known{f[12], f[13]}},
			list(f[2], "+"), list(f[3], ","), list(f[4], "|"), list(f[8], "|"), list(f[9], "|"), f[10], f[14],
		})
	}
	return out
})

var controlValues = sync.OnceValue(func() (out []controlValue) {
	const file = "hardening-values.txt"
	for _, f := range rows(file, 15) {
		v := controlValue{
			control: f[0], releases: mustSpan(file, f[1]), setting: f[2], policy: f[3], key: f[4], name: f[5], kind: f[6], label: f[7],
			good: f[8], want: f[9], fallback: f[10], words: map[string]string{}, Known: Known{f[12], f[13]},
		}
		for _, w := range list(f[11], ",") {
			value, word, _ := strings.Cut(w, "=")
			v.words[value] = word
		}
		out = append(out, v)
	}
	return out
})

var controlsExist = sync.OnceValue(func() (out []controlExists) {
	const file = "hardening-exists.txt"
	for _, f := range rows(file, 7) {
		out = append(out, controlExists{f[0], mustSpan(file, f[1]), f[2], f[3], Known{f[4], f[5]}})
	}
	return out
})

var controlServices = sync.OnceValue(func() (out []controlService) {
	const file = "hardening-services.txt"
	for _, f := range rows(file, 11) {
		out = append(out, controlService{
			name: f[0], display: f[1], releases: mustSpan(file, f[2]), needs: list(f[3], "|"), ports: list(f[4], ","), always: f[5],
			risk: f[6], breaks: f[7], Known: Known{f[8], f[9]},
		})
	}
	return out
})

// Harden says how each control stands on a machine: what its release has of it, how it is
// set, what it is good for and what it breaks, and the commands. a is an assessment of h
// that shows every finding, closed ones too; it names the release and the day. The controls
// come in the order of the table, and behind "roles" one for each service that could go.
//
// What no evidence shows is unknown, never good or bad. What is not set is what the release
// does then, by a table with its sources. A setting that a group policy may override is unknown
// where no evidence shows the policy.
func Harden(h *host.Host, a *assess.Assessment) (out []Hardening) {
	x := hardener{Host: h, a: a}
	if rel := a.Identity.Release; rel != nil && len(rel.Builds) > 0 {
		x.build, x.named = rel.Builds[0], rel.Name
	}
	x.dc = x.controller()
	services := x.services()
	for i := range controlTable() {
		c := &controlTable()[i]
		out = append(out, x.harden(c, services))
		if slices.Contains(c.judged, "services") {
			out = append(out, services...)
		}
	}
	return out
}

// hardener looks at one machine.
type hardener struct {
	*host.Host
	a     *assess.Assessment
	build winver.Build // of the release; zero if that is not known
	named string
	dc    host.Tri // whether it is a domain controller

	own     map[netip.Addr]bool // the machine's addresses; see look
	clients map[string]users    // who used a port such as tcp/80, by whose word
}

// known reports whether the release is.
func (x *hardener) known() bool { return x.named != "" }

// part is what one look at a machine found.
type part struct {
	state     ControlState
	none      bool // it says nothing
	now       string
	because   []host.Reason
	set, undo []string
	note      string
	keep      bool // it is not to be set all the same
}

// weight orders states: that of the heaviest part is that of the control.
var weight = [...]int{ControlUnknown: 4, ControlGood: 1, ControlBad: 5, ControlNotAvailable: 3, ControlNotConcerned: 2, ControlExternal: 0}

func (x *hardener) harden(c *control, services []Hardening) Hardening {
	out := c.Hardening
	if slices.Contains(c.judged, "external") {
		out.State = ControlExternal
		out.Because = []host.Reason{{Text: "nothing that the machine itself can show proves it"}}
		return out
	}
	if !x.known() {
		out.Because = []host.Reason{{Text: "the release is not known: " + x.a.Identity.Why}}
		out.Tell = []string{"systeminfo"}
		return out
	}
	gate := host.Yes
	for _, e := range controlsExist() {
		if e.control != c.ID || !e.releases.has(x.build) {
			continue
		}
		out.Exists = e.text
		because := host.Reason{Text: e.text + " (" + e.Confidence + ")"}
		switch e.what {
		case "no", "none", "external":
			out.State = map[string]ControlState{"no": ControlNotAvailable, "none": ControlNotConcerned, "external": ControlExternal}[e.what]
			out.Because, out.Tell = []host.Reason{because}, nil
			return out
		case "yes":
		default:
			gate, because = x.there(e.what)
			out.Because = append(out.Because, because)
		}
	}
	if state, because, ok := x.concerned(c); !ok {
		out.State, out.Because = state, []host.Reason{because}
		if state != ControlUnknown {
			out.Tell = nil
		}
		return out
	}
	x.judge(c, &out, services)
	switch {
	case gate == host.No:
		out.State, out.Set, out.Undo = ControlNotAvailable, nil, nil
	case gate == host.Unknown && out.State == ControlGood:
		out.State = ControlUnknown
	}
	if out.State != ControlUnknown {
		out.Tell = nil
	}
	return out
}

// judge runs the parts of a control and puts them together.
func (x *hardener) judge(c *control, out *Hardening, services []Hardening) {
	var now, notes []string
	first, keep := true, false
	for _, name := range c.judged {
		parts, last := x.check(c, name, services)
		for _, p := range parts {
			if p.none {
				continue
			}
			if first || weight[p.state] > weight[out.State] {
				out.State, first = p.state, false
			}
			keep = keep || p.keep
			if p.now != "" {
				now = append(now, p.now)
			}
			out.Because = append(out.Because, p.because...)
			out.Set, out.Undo = append(out.Set, p.set...), append(out.Undo, p.undo...)
			if p.note != "" && !slices.Contains(notes, p.note) {
				notes = append(notes, p.note)
			}
		}
		if last {
			break
		}
	}
	out.Now = strings.Join(now, "; ")
	if out.State != ControlBad && out.State != ControlUnknown {
		out.Set, out.Undo = nil, nil
		return
	}
	if len(c.set) > 0 && !keep {
		undo := slices.Clone(c.undo)
		if i := slices.Index(undo, "values"); i >= 0 {
			undo = slices.Replace(undo, i, i+1, out.Undo...)
		}
		out.Set, out.Undo = c.set, undo
		if c.note != "" {
			notes = append(notes, c.note)
		}
	}
	out.UndoNote = strings.Join(notes, " ")
}

// concerned says whether a control is for this kind of machine, and what it is if not.
func (x *hardener) concerned(c *control) (ControlState, host.Reason, bool) {
	for _, of := range c.notFor {
		role, without := strings.CutPrefix(of, "!")
		is, from := x.Roles.Has(role), x.Roles.Sources(role)
		if role == "domain controller" {
			is, from = x.dc, sourcesOf(x.Role)
			if is == host.Unknown {
				return ControlUnknown, host.Reason{Text: "no evidence tells whether it is a domain controller, and that decides"}, false
			}
		}
		switch {
		case !without && is == host.Yes:
			return ControlNotConcerned, host.Reason{Text: "it is a " + role, From: from}, false
		case without && is == host.No:
			return ControlNotConcerned, host.Reason{Text: "it is no " + role, From: from}, false
		}
	}
	return ControlUnknown, host.Reason{}, true
}

// controller says whether the machine is a domain controller.
func (x *hardener) controller() host.Tri {
	role, ok := x.Role.Value()
	named := x.Roles.Has("domain controller") == host.Yes || x.Roles.Has("AD-Domain-Services") == host.Yes
	switch {
	case x.Role.Disputed(), ok && named && role != host.DomainController:
		return host.Unknown
	case named, role == host.DomainController:
		return host.Yes
	case ok:
		return host.No
	}
	return host.Unknown
}

// there says whether an update is in force, or one that fixes a vulnerability.
func (x *hardener) there(what string) (host.Tri, host.Reason) {
	if strings.HasPrefix(what, "CVE-") {
		f := x.finding(what)
		switch {
		case f == nil:
		case f.Verdict == assess.Fixed || f.Verdict == assess.NotAffected:
			return host.Yes, host.Reason{Text: what + " is fixed, and with that it is there", From: sources(f.Because)}
		case f.Verdict == assess.Affected || f.Verdict == assess.Unfixable:
			return host.No, host.Reason{Text: what + " is not fixed, so it is not there yet", From: sources(f.Because)}
		}
		return host.Unknown, host.Reason{Text: "whether the update for " + what + " is there cannot be told"}
	}
	kb, err := winver.ParseKB(what)
	if err != nil {
		panic("hardening-exists.txt: " + err.Error()) // a test names them all
	}
	switch has := x.Updates.Has(kb); {
	case has == host.Yes:
		return host.Yes, host.Reason{Text: what + " is installed", From: x.Updates.Sources(kb)}
	case has == host.No && x.a.Updates.Newest == 0:
		l, _ := x.Updates.Whole()
		return host.No, host.Reason{Text: what + " is not in the list of updates, which is whole, and no rollup is in force", From: []host.Source{l.From}}
	case has == host.No:
		return host.Unknown, host.Reason{Text: what + " is not listed; whether the rollup in force (" + x.a.Updates.Newest.String() + ") contains it is not known here"}
	}
	return host.Unknown, host.Reason{Text: "no whole list of updates tells whether " + what + " is there"}
}

// finding gives the assessment's finding on a vulnerability, nil if it has none.
func (x *hardener) finding(cve string) *assess.Finding {
	for i := range x.a.Findings {
		if x.a.Findings[i].CVE == cve {
			return &x.a.Findings[i]
		}
	}
	return nil
}

func sources(because []host.Reason) (out []host.Source) {
	for _, b := range because {
		for _, s := range b.From {
			if !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	return out
}
