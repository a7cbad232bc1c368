// Package assess says how a machine stands on a day: to its support, to the updates that
// were published for it, and to the vulnerabilities they fix.
//
// It is a pure function of a host, a catalogue, a policy and a day. What was published
// decides the verdict; what the owner may install (ESU and its like) is said beside it in
// Needs and changes no verdict. Unknown is a verdict: a list that is not known to be
// complete proves nothing missing, and a source that ends before the day asked about says
// "not known after", never "none".
package assess

import (
	"slices"
	"time"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/infer"
	"github.com/oldguard/oldguard/winver"
)

// Verdict is what is known about one vulnerability on one machine. The zero value is Unknown.
type Verdict uint8

// The verdicts.
const (
	Unknown     Verdict = iota // the evidence or the data cannot tell
	NotAffected                // by a published record or a proven absence
	Fixed                      // a fix, or something that contains it, is proven present
	Affected                   // no fix is present; Fixes names them
	Unfixable                  // affected, and no update was ever published for this product and architecture
)

var verdictNames = [...]string{"unknown", "not-affected", "fixed", "affected", "unfixable"}

// String gives unknown, not-affected, fixed, affected or unfixable.
func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return "unknown"
}

// MarshalText writes what String gives.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// NeedKind is the kind of thing an update requires.
type NeedKind string

// What an update can require.
const (
	NeedESU         NeedKind = "esu"    // one of the programmes named
	NeedUpdate      NeedKind = "update" // another update first
	NeedServicePack NeedKind = "service-pack"
	NeedEdition     NeedKind = "edition" // an edition that still had updates
)

// Need is something that must be there before an update installs.
type Need struct {
	Kind       NeedKind
	KB         winver.KB // for NeedUpdate
	Programmes []string  // for NeedESU: ids, any of which will do
	Text       string
}

// Item is one update in one of the lists of Updates.
type Item struct {
	KB       winver.KB
	Kind     string // see Kind
	Released catalog.Date
	Sure     catalog.Sureness
	// Group is the component under which text sums undecided updates up; empty elsewhere.
	Group   string
	Needs   []Need
	Because []host.Reason
}

// Updates is how the machine stands to what was published by the day.
type Updates struct {
	Installed []Item // what the evidence names, ascending by KB
	// Missing is the smallest set one would install, whatever the entitlement, in the order
	// of installation. OfferedNow is the part that Windows Update would show a machine in
	// this state.
	Missing, OfferedNow []Item
	// Undecided is what may or may not be missing, by group, then by KB.
	Undecided []Item
	// Newest is the newest cumulative update in force, Latest the newest published by the
	// day with a CVE in it; zero where there is none or none is proven.
	Newest, Latest winver.KB
	NewestReleased catalog.Date
	LatestReleased catalog.Date
	// MonthsBehind counts from Newest to Latest; -1 where it cannot be told.
	MonthsBehind int
}

// Finding is the verdict on one vulnerability.
type Finding struct {
	CVE        string
	Verdict    Verdict
	Component  string // what of Windows is concerned; may be empty
	Fixes      []winver.KB
	First      catalog.Date // when the first of Fixes came, see Item.Sure; zero where that is not known
	Needs      []Need
	Severity   catalog.Severity
	Impact     catalog.Impact
	Score      float64
	Vector     string
	KEV        host.Tri     // on the list of exploited vulnerabilities; Unknown for what is newer than the list
	KEVSince   catalog.Date // zero unless KEV is Yes
	Ransomware bool
	// Because is shared between findings: do not change it.
	Because []host.Reason

	order uint64 // sorts findings, greatest first
}

// SupportState is how a release stands to its support on the day.
type SupportState string

// The states of support.
const (
	SupportUnknown SupportState = "unknown"
	NotYet         SupportState = "not-yet"
	Mainstream     SupportState = "mainstream"
	Extended       SupportState = "extended"
	Programmes     SupportState = "programmes" // over, but a paid programme still runs
	Over           SupportState = "ended"
)

// Programme is one way to updates after support, and how it stands on the day.
type Programme struct {
	catalog.Programme
	State string // "not-started", "open" or "ended"
}

// Support is how the release stands to its support on the day.
type Support struct {
	State      SupportState
	Ends       catalog.Date // last day of support without a programme; zero if not known
	Programmes []Programme
	Because    []host.Reason
}

// SourceState is one source of the catalogue and whether it reaches the day.
type SourceState struct {
	catalog.Source
	Stale bool // the day asked about is past Last
}

// Summary is the assessment in numbers and a few sentences.
type Summary struct {
	Headline string
	// Notes say plainly what matters about this machine, most important first.
	Notes                             []string
	Affected, Unfixable, Unknown      int
	Fixed, NotAffected                int
	Exploited, Ransomware             int // of the affected and unfixable
	CriticalAffected                  int
	Missing, Undecided                int
	SupportOver, SourceStale, NoBuild bool
}

// Assessment is the answer for one machine. It is sorted throughout.
type Assessment struct {
	AsOf     catalog.Date
	Sources  []SourceState
	Host     *host.Host
	Identity infer.Identity
	// Build is the version with the revision that its updates lead to, where that is known.
	Build         winver.Build
	BuildInferred bool
	// AtLeast is the highest revision that program files show, a lower bound of the machine's;
	// zero where no file tells.
	AtLeast winver.Build
	Support Support
	Updates Updates
	// Findings holds every vulnerability with a record for this release and architecture
	// published by the day: exploited ones first, then by severity and CVE.
	Findings []Finding
	// ESU says what an extended update would need, for releases that have such a programme.
	ESU []Ready
	// Forever holds what has been exploited on successors since the last update of this
	// product, on ForeverSince; the list of exploited vulnerabilities goes until ForeverUntil.
	Forever                    []ForeverDay
	ForeverSince, ForeverUntil catalog.Date
	// Programs are the products beside Windows whose end of support is known.
	Programs []ProgramNote
	// Errors are what logs show, oldest first.
	Errors  []KnownError
	Gaps    []host.Gap
	Summary Summary
}

// Policy is what the owner wants to see. The zero value shows everything.
type Policy struct {
	// OnlyOpen leaves fixed and not-affected findings out of Findings; the Summary counts
	// them all the same.
	OnlyOpen bool
}

// Assess says how h stands on the day on. It reads the catalogue only, never fails, and
// gives the same answer for the same arguments. A damaged catalogue shows as a gap.
func Assess(h *host.Host, c *catalog.Catalog, p Policy, on time.Time) *Assessment {
	a := &Assessment{AsOf: catalog.DateOf(on), Host: h, Identity: infer.Identify(h, c), Gaps: slices.Clone(h.Gaps)}
	a.Build, _ = h.Build.Value()
	a.Updates.MonthsBehind = -1
	for _, s := range c.Sources() {
		a.Sources = append(a.Sources, SourceState{s, a.AsOf > s.Last})
	}
	x := assessor{Assessment: a, cat: c, policy: p}
	x.support()
	x.records()
	x.programs()
	x.summarise()
	return a
}

// assessor carries an assessment in the making.
type assessor struct {
	*Assessment
	cat    *catalog.Catalog
	policy Policy
	rec    *catalog.Records
	cves   []catalog.CVE
	st     *infer.Standing
	arch   winver.Arch
	bit    catalog.ArchSet
	core   host.Tri
	kevTo  catalog.Date
	why    []why // by update
	// components holds whether each component is there, by index.
	components []presence
	latest     int         // index of the newest cumulative update with a CVE published by the day, -1
	absent     host.Reason // why what a whole list lacks is absent: the same for all
	// securityOnly is true on a machine kept on security-only updates.
	securityOnly bool
}

// records assesses updates and vulnerabilities, if the release is known.
func (x *assessor) records() {
	rel := x.Identity.Release
	if rel == nil {
		x.gap("which Windows this is", x.Identity.Why, hintVersion)
		return
	}
	var err error
	if x.rec, err = x.cat.Records(rel.ID); err == nil {
		x.cves, err = x.cat.CVEs()
	}
	if err != nil {
		x.gap("what was published for "+rel.Name, err.Error(), "oldguard catalog info")
		return
	}
	x.arch = x.Host.Arch.Or(winver.ArchUnknown)
	x.bit = catalog.ArchBit(x.arch)
	if x.bit == 0 {
		if len(rel.Arches) == 1 {
			x.bit = archOf(rel.Arches[0])
		} else {
			x.gap("processor architecture", "no evidence states it; every architecture of the release is counted", "systeminfo, line \"System Type\"")
			for _, n := range rel.Arches {
				x.bit |= archOf(n)
			}
		}
	}
	x.core = installedCore(x.Host)
	if k, ok := x.cat.Source(catalog.SourceKEV); ok {
		x.kevTo = k.Last
	}
	x.st = infer.Stand(x.Host, x.rec)
	x.Build, x.BuildInferred = x.st.Revision(x.Build)
	x.BuildInferred = x.BuildInferred && x.Build.HasRevision && !x.Host.Build.Or(winver.Build{}).HasRevision
	if l, ok := x.st.Records.Release.LastByArch[x.arch.String()]; ok && l < lastOf(rel) && x.AsOf > l {
		x.note("Nothing was published for " + x.arch.String() + " after " + l.String() + ", while other architectures of " + rel.Name + " went on until " + lastOf(rel).String() + ".")
	}
	x.files()
	x.restart()
	x.updates()
	x.findings()
	x.roles()
	x.servicePacks()
	x.sortFindings()
	x.readiness()
	x.forever()
	x.errors()
	x.openQuestions()
}

func lastOf(rel *catalog.Release) (last catalog.Date) {
	for _, d := range rel.LastByArch {
		last = max(last, d)
	}
	return last
}

func archOf(name string) catalog.ArchSet {
	for _, a := range []winver.Arch{winver.X86, winver.AMD64, winver.IA64, winver.ARM, winver.ARM64} {
		if a.String() == name {
			return catalog.ArchBit(a)
		}
	}
	return 0
}

func installedCore(h *host.Host) host.Tri {
	switch i, ok := h.Installation.Value(); {
	case ok && i == host.ServerCore:
		return host.Yes
	case ok && (i == host.Client || i == host.NanoServer):
		return host.No
	}
	return host.Unknown // systeminfo says "server" of both kinds
}

const (
	hintVersion = "systeminfo, or: reg query \"HKLM\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\""
	hintList    = "wmic qfe list full /format:csv"
)

func (x *assessor) gap(what, why, hint string) {
	x.Gaps = append(x.Gaps, host.Gap{What: what, Why: why, Hint: hint})
}

func (x *assessor) note(text string) { x.Summary.Notes = append(x.Summary.Notes, text) }
