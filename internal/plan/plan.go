// Package plan says in which order to do what: back to a patched state, and later fenced in
// or moved away. A plan is a pure function of a host, the catalogue, what the owner may
// install, and a day. What was published decides an assessment; what the owner may install
// decides a plan.
package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// Entitlement is what the owner may install beyond the end of support.
type Entitlement string

// The entitlements. Which programme of a release each stands for is in programmeOf.
const (
	None             Entitlement = "none"
	ESUYear1         Entitlement = "esu-y1"
	ESUYear2         Entitlement = "esu-y2"
	ESUYear3         Entitlement = "esu-y3"
	Azure            Entitlement = "azure"
	PremiumAssurance Entitlement = "premium-assurance"
)

// Entitlements lists them, the least first.
func Entitlements() []Entitlement {
	return []Entitlement{None, ESUYear1, ESUYear2, ESUYear3, Azure, PremiumAssurance}
}

// programmeOf says which programmes of a release an entitlement opens, by their ids. A year
// of ESU includes the years before it (they had to be bought). Azure had all of them.
var programmeOf = map[Entitlement][]string{
	ESUYear1:         {"esu-y1", "esu-7-y1", "esu-2012-y1", "esu-10-y1"},
	ESUYear2:         {"esu-y1", "esu-y2", "esu-7-y1", "esu-7-y2", "esu-2012-y1", "esu-2012-y2", "esu-10-y1", "esu-10-y2"},
	ESUYear3:         {"esu-y1", "esu-y2", "esu-y3", "esu-7-y1", "esu-7-y2", "esu-7-y3", "esu-2012-y1", "esu-2012-y2", "esu-2012-y3", "esu-10-y1", "esu-10-y2", "esu-10-y3"},
	Azure:            {"esu-y1", "esu-y2", "esu-y3", "esu-y4-azure", "esu-7-y1", "esu-7-y2", "esu-7-y3", "esu-2012-y1", "esu-2012-y2", "esu-2012-y3", "esu-10-y1", "esu-10-y2", "esu-10-y3"},
	PremiumAssurance: {"premium-assurance"},
}

// Line is how a machine is kept: on the monthly rollups, each of which contains all before
// it, or on the security-only updates, each of which holds its own month alone.
type Line string

// The lines.
const (
	Rollup       Line = "rollup"
	SecurityOnly Line = "security-only"
)

// Lines lists them.
func Lines() []Line { return []Line{Rollup, SecurityOnly} }

// StepKind is what a step is.
type StepKind string

// The kinds of steps.
const (
	StepPrepare StepKind = "prepare" // by hand, before anything is changed
	StepUpdate  StepKind = "update"
	StepRestart StepKind = "restart"
	StepLicence StepKind = "licence"
	StepCheck   StepKind = "check"
)

// Failure is a way a step is known to fail.
type Failure struct{ Code, Cause, Cure string }

// Step is one thing to do. After all steps of Needs it can be done.
type Step struct {
	ID       string // "kb4493730", "restart-1"
	Kind     StepKind
	Title    string
	KB       winver.KB // for StepUpdate
	File     string    // name of the package file, as far as it is known
	FileSure bool      // false: the name follows Microsoft's rule and was not seen
	SHA256   string    // of the file seen under that name; empty where none was
	Size     int64     // likewise; 0 where not known
	Changes  string    // what it changes
	// Permanent is true for what cannot be removed again, but by the backup.
	Permanent bool
	// Minutes is how long it takes on a slow machine: an estimate of ours, from no source.
	Minutes  int
	Commands []string // what to run, in order; empty for what is done by hand
	Check    []string // how one knows that it worked
	Failures []Failure
	Needs    []string // ids of earlier steps
	Because  []host.Reason
	Have     *Have  // the owner's file, if Match found one to use
	Refused  []Have // files of that update that are not to be used, with the reason
}

// Have is a file that the owner has, and what was found about it.
type Have struct {
	Name    string
	SHA1    string // hexadecimal; empty where the file was not read
	SHA256  string
	Size    int64
	Genuine bool     // Microsoft's, unmodified, and what its name says
	Verdict string   // in words
	Because []string // of the verdict
}

// Patch is the way from where a machine is to the newest state it may lawfully reach.
type Patch struct {
	AsOf catalog.Date
	Host string
	// ProductID and MachineID tell the machine from others of its name; empty where not known.
	ProductID, MachineID string
	Release              *catalog.Release // what the machine runs; nil if not known
	Target               *catalog.Release // what it runs afterwards: another one after a service pack
	Arch                 winver.Arch
	From                 winver.Build
	Entitlement          Entitlement
	Line                 Line
	// Until is the day up to which what was published may be installed.
	Until catalog.Date
	Steps []Step
	// Reached is the newest cumulative update in force at the end, zero if not known.
	Reached winver.KB
	// ReachedBuild is the build at the end, zero if not known.
	ReachedBuild winver.Build
	// Before and After are how the machine stands as of AsOf, now and after all steps; After
	// is zero where there is no plan.
	Before, After assess.Summary
	// Beyond are updates published after Until, which need an entitlement the owner has not.
	Beyond []assess.Item
	// Why says why there is no plan, where there is none: Steps is then empty.
	Why   string
	Notes []string
}

// Empty reports whether there is nothing to install, which is known.
func (p *Patch) Empty() bool { return p.Why == "" && len(p.Steps) == 0 }

// Restarts counts the restarts.
func (p *Patch) Restarts() (n int) {
	for i := range p.Steps {
		if p.Steps[i].Kind == StepRestart {
			n++
		}
	}
	return n
}

// Minutes is about how long all steps take that change the machine.
func (p *Patch) Minutes() (n int) {
	for i := range p.Steps {
		if p.Steps[i].Kind != StepPrepare {
			n += p.Steps[i].Minutes
		}
	}
	return n
}

// Updates gives the steps that install something, in order. They may be changed.
func (p *Patch) Updates() (list []*Step) {
	for i := range p.Steps {
		if p.Steps[i].Kind == StepUpdate {
			list = append(list, &p.Steps[i])
		}
	}
	return list
}

// Match gives each step the file of the owner's that is meant for it, by name: a genuine
// one before one that was not verified. Others of the same update are refused, as are old
// revisions of a package that was issued anew.
func (p *Patch) Match(files []Have) {
	for _, s := range p.Updates() {
		s.Have, s.Refused = nil, nil
		for _, f := range files {
			if !named(f.Name, s, p.Arch) {
				continue
			}
			switch {
			case f.Verdict != "" && !f.Genuine:
				s.Refused = append(s.Refused, f)
			case !strings.Contains(strings.ToLower(f.Name), strings.ToLower(stem(s.File))):
				f.Because = append(slices.Clone(f.Because), "the plan is for "+s.File+": this is another revision or for another Windows")
				s.Refused = append(s.Refused, f)
			case s.Have == nil, f.Genuine && !s.Have.Genuine:
				s.Have = &f
			}
		}
		if s.Have != nil {
			s.Commands = []string{install(p.Target, s.Have.Name)}
		}
	}
}

// named reports whether a file bears the number of a step's update and no other architecture.
func named(file string, s *Step, arch winver.Arch) bool {
	file = strings.ToLower(file)
	_, after, ok := strings.Cut(file, strings.ToLower(s.KB.String()))
	if !ok || after != "" && after[0] >= '0' && after[0] <= '9' {
		return false
	}
	for a, name := range fileArch {
		if a != arch && strings.Contains(after, "-"+name) {
			return false
		}
	}
	return true
}

// stem is a file name without its ending.
func stem(file string) string {
	if i := strings.LastIndexByte(file, '.'); i >= 0 {
		return file[:i]
	}
	return file
}

// Options is what the owner wants.
type Options struct {
	Entitlement Entitlement // empty: from the evidence, else None
	Line        Line        // empty: as found on the machine, else Rollup
}

// PatchHost makes the plan for a machine as of a day. It never fails: without a known
// release, or without a list of updates that proves what is missing, it says in Why what
// is lacking.
func PatchHost(h *host.Host, c *catalog.Catalog, o Options, on time.Time) *Patch {
	now := assess.Assess(h, c, assess.Policy{OnlyOpen: true}, on)
	p := &Patch{
		AsOf: now.AsOf, Host: h.Name.Or(""), Release: now.Identity.Release, From: now.Build,
		Arch: h.Arch.Or(winver.ArchUnknown), Entitlement: o.Entitlement, Before: now.Summary,
		ProductID: h.ProductID.Or(""), MachineID: h.MachineID.Or(""), Line: o.Line,
	}
	if p.Release == nil {
		p.Why = now.Identity.Why
		return p
	}
	if p.Why, p.Notes = contradiction(h); p.Why != "" {
		return p
	}
	p.Target = p.Release
	for p.Target.NextPack != nil {
		next, err := c.Release(p.Target.NextPack.Becomes)
		if err != nil {
			break
		}
		p.Target = next
	}
	if p.Arch == winver.ArchUnknown {
		if len(p.Release.Arches) != 1 {
			p.Why = "no evidence states the processor architecture, and packages differ by it"
			return p
		}
		p.Arch, _ = winver.ParseArch(p.Release.Arches[0])
	}
	if p.Entitlement == "" {
		p.Entitlement = evidenced(now)
	}
	p.Until = min(now.AsOf, p.until())
	then := assess.Assess(h, c, assess.Policy{OnlyOpen: true}, p.Until.Time())
	rec, err := c.Records(p.Target.ID)
	if err != nil {
		p.Why = err.Error()
		return p
	}
	b := builder{Patch: p, rec: rec, host: h, then: then}
	b.line()
	b.build()
	p.beyond(now, &b)
	p.notes(now, rec)
	if p.Why == "" {
		p.After = assess.Assess(p.Apply(h, c), c, assess.Policy{OnlyOpen: true}, on).Summary
	}
	return p
}

// beyond lists what was published after what the owner may install.
func (p *Patch) beyond(now *assess.Assessment, b *builder) {
	for _, it := range now.Updates.Missing {
		if it.Released > p.Until && (p.Line != SecurityOnly || it.KB == 0 || !b.cumulative(it.KB)) {
			p.Beyond = append(p.Beyond, it)
		}
	}
	if p.Line == SecurityOnly {
		p.Beyond = append(p.Beyond, b.securityOnly(p.Until+1, p.AsOf)...)
	}
}

// evidenced is the entitlement that an activated key proves, else None.
func evidenced(a *assess.Assessment) Entitlement {
	for _, r := range a.ESU {
		if r.ID != "entitlement" || r.State != host.Yes {
			continue
		}
		for _, e := range slices.Backward(Entitlements()) {
			for _, id := range programmeOf[e] {
				for _, p := range a.Support.Programmes {
					if p.ID == id && e != Azure && contains(r.Because.Text, p.Name) {
						return e
					}
				}
			}
		}
	}
	return None
}

func contains(s, part string) bool {
	return len(part) > 0 && len(s) >= len(part) && s[:len(part)] == part
}

// until is the last day of what the owner may install: the end of support, or of the
// programmes the entitlement opens.
func (p *Patch) until() catalog.Date {
	end := supportEnd(p.Target)
	for _, prog := range p.Target.Programmes {
		if slices.Contains(programmeOf[p.Entitlement], prog.ID) && slices.Contains(prog.Arches, p.Arch.String()) {
			end = max(end, prog.Until)
		}
	}
	if end == 0 {
		return p.AsOf
	}
	return end
}

// supportEnd is the last day of support without a programme, for whatever edition had it
// longest; zero if not known.
func supportEnd(rel *catalog.Release) (end catalog.Date) {
	for _, l := range rel.Lifecycles {
		end = max(end, l.Extended)
	}
	return end
}

// notes says what one has to know beside the steps.
func (p *Patch) notes(now *assess.Assessment, rec *catalog.Records) {
	note := func(format string, args ...any) { p.Notes = append(p.Notes, fmt.Sprintf(format, args...)) }
	rel := p.Target
	if len(p.Beyond) > 0 {
		note("Updates published after %s are left out: they need more than the entitlement %q.", p.Until, p.Entitlement)
	}
	if len(p.Steps) > 0 && slices.ContainsFunc(rec.Updates, func(u catalog.Update) bool { return u.Stream == catalog.SHA2 }) {
		// Since 2020-08-03: https://support.microsoft.com/help/4569557.
		note("Windows Update no longer serves clients that know SHA-1 alone: the route is offline, with files fetched on another machine and checked there (oldguard verify).")
	}
	var open []string
	for _, g := range now.Support.Programmes {
		if g.State == "open" {
			open = append(open, g.Name+" until "+g.Until.String())
		}
	}
	switch {
	case len(rel.Programmes) == 0:
	case len(open) > 0:
		note("For %s a programme is open on %s: %s. Whether the owner may use it this plan takes from --entitlement.", rel.Name, p.AsOf, strings.Join(open, ", "))
	case rel.Programmes[0].From <= p.AsOf:
		note("Extended Security Updates for %s can no longer be bought: the last programme ended on %s. Who bought one may install what came under it.", rel.Name, lastOf(rel.Programmes))
	}
	if p.Entitlement == PremiumAssurance {
		note("Premium Assurance had to be bought before the end of extended support.")
	}
	switch p.Arch {
	case winver.IA64:
		note("Nothing was published for Itanium after %s, under no programme: a vulnerability found later stays.", rel.LastByArch[p.Arch.String()])
	case winver.X86:
		if rel.Server {
			// The last server for x86: https://learn.microsoft.com/lifecycle/products/windows-server-2008
			note("No later Windows Server runs on x86, and no upgrade in place crosses to x64: patching is all that can be done to this installation.")
		}
	case winver.ArchUnknown, winver.AMD64, winver.ARM, winver.ARM64:
	}
	if p.Line == SecurityOnly && len(p.Steps) > 0 {
		note("The line is security-only: each update holds its own month alone, so all that are missing are in the plan, and the newest cumulative update of Internet Explorer, which they do not contain.")
	}
	if len(now.Updates.Undecided) > 0 {
		note("Updates that the evidence cannot decide (.NET Framework, older single fixes) are not in this plan; see oldguard assess.")
	}
	for _, s := range now.Sources {
		if s.Stale && s.ID == catalog.SourceUpdates {
			note("What was published after %s is not known here: a newer catalogue may ask for more.", s.Last)
		}
	}
}

func lastOf(list []catalog.Programme) (last catalog.Date) {
	for _, p := range list {
		last = max(last, p.Until)
	}
	return last
}
