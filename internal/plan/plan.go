// Package plan says in which order to do what: back to a patched state, and later fenced in
// or moved away. A plan is a pure function of a host, the catalogue, what the owner may
// install, and a day. What was published decides an assessment; what the owner may install
// decides a plan.
package plan

import (
	"fmt"
	"slices"
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
	Changes  string    // what it changes
	Commands []string  // what to run, in order; empty for what is done by hand
	Check    []string  // how one knows that it worked
	Failures []Failure
	Needs    []string // ids of earlier steps
	Because  []host.Reason
}

// Patch is the way from where a machine is to the newest state it may lawfully reach.
type Patch struct {
	AsOf        catalog.Date
	Host        string
	Release     *catalog.Release // what the machine runs; nil if not known
	Target      *catalog.Release // what it runs afterwards: another one after a service pack
	Arch        winver.Arch
	From        winver.Build
	Entitlement Entitlement
	// Until is the day up to which what was published may be installed.
	Until catalog.Date
	Steps []Step
	// Reached is the newest cumulative update in force at the end, zero if not known.
	Reached winver.KB
	// Beyond are updates published after Until, which need an entitlement the owner has not.
	Beyond []assess.Item
	// Why says why there is no plan, where there is none: Steps is then empty.
	Why   string
	Notes []string
}

// Options is what the owner wants.
type Options struct {
	Entitlement Entitlement // empty: from the evidence, else None
}

// PatchHost makes the plan for a machine as of a day. It never fails: without a known
// release, or without a list of updates that proves what is missing, it says in Why what
// is lacking.
func PatchHost(h *host.Host, c *catalog.Catalog, o Options, on time.Time) *Patch {
	now := assess.Assess(h, c, assess.Policy{OnlyOpen: true}, on)
	p := &Patch{
		AsOf: now.AsOf, Host: h.Name.Or(""), Release: now.Identity.Release, From: now.Build,
		Arch: h.Arch.Or(winver.ArchUnknown), Entitlement: o.Entitlement,
	}
	if p.Release == nil {
		p.Why = now.Identity.Why
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
	b := builder{Patch: p, rec: rec, host: h}
	b.build(then)
	for _, it := range now.Updates.Missing {
		if it.Released > p.Until {
			p.Beyond = append(p.Beyond, it)
		}
	}
	p.notes(now)
	return p
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
	var end catalog.Date
	for _, l := range p.Target.Lifecycles {
		end = max(end, l.Extended)
	}
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

func (p *Patch) notes(now *assess.Assessment) {
	if len(p.Beyond) > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("Updates published after %s are left out: they need an entitlement beyond %q.", p.Until, p.Entitlement))
	}
	if p.Target.ID == "windows-server-2008-sp2" || p.Target.ID == "windows-server-2008-r2-sp1" || p.Target.ID == "windows-7-sp1" {
		p.Notes = append(p.Notes, "ESU for this release can no longer be bought; Premium Assurance had to be bought before the end of support.")
		p.Notes = append(p.Notes, "Windows Update no longer serves clients that know SHA-1 alone: the way is offline, with files fetched on another machine and checked there (oldguard verify).")
	}
	if last, ok := p.Target.LastByArch[p.Arch.String()]; ok && p.Arch == winver.IA64 {
		p.Notes = append(p.Notes, "Nothing was published for Itanium after "+last.String()+".")
	}
	if len(now.Updates.Undecided) > 0 {
		p.Notes = append(p.Notes, "Updates that the evidence cannot decide (.NET Framework, older single fixes) are not in this plan; see oldguard assess.")
	}
}
