package assess

import (
	"fmt"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// build6003 is what Server 2008 SP2 calls itself since KB4489887 (2019-03-19 preview),
// KB4493471 and KB4493458 (2019-04-09): KB4495374. It says nothing about ESU, which began
// ten months later.
const build6003 = 6003

// summarise writes the headline and the notes.
func (x *assessor) summarise() {
	s := &x.Summary
	s.NoBuild = x.Identity.Release == nil
	for _, src := range x.Sources {
		if src.Stale && (src.ID == catalog.SourceUpdates || src.ID == catalog.SourceKEV) && x.reaches(src) {
			s.SourceStale = true
		}
	}
	if s.NoBuild {
		s.Headline = x.Identity.Why
		if !x.Identity.Covered {
			s.Headline += ": nothing is said about it"
		}
		return
	}
	rel := x.Identity.Release
	notes := s.Notes
	s.Notes = nil
	x.story6003()
	switch u := x.Updates; {
	case u.Latest == 0 && x.rec != nil:
		x.note("There never was a rollup for " + rel.Name + ": what single fixes are there cannot be told from a list of updates.")
	case u.MonthsBehind == 0 && u.Newest != 0:
		text := "It has the newest cumulative update published by " + x.AsOf.String() + " (" + u.Newest.String() + ")."
		if x.last() {
			text = "It is at the last update there will ever be: " + u.Newest.String() + " of " + u.NewestReleased.String() + ". No further update will come for " + rel.Name + "."
		}
		x.note(text)
	case u.MonthsBehind > 0 && u.Newest != 0:
		x.note(fmt.Sprintf("It is %d months behind: %s of %s is in force, %s of %s was published.",
			u.MonthsBehind, u.Newest, u.NewestReleased, u.Latest, u.LatestReleased))
	case u.MonthsBehind > 0 && !x.securityOnly:
		x.note(fmt.Sprintf("Not one cumulative update is in force: %s of %s was published.", u.Latest, u.LatestReleased))
	}
	if x.st != nil && x.st.PendingRestart != 0 {
		b, _ := x.Host.Build.Value()
		x.note(fmt.Sprintf("%s is listed, but the build still shows %s: a restart is probably pending. Until then its fixes are not in effect.", x.st.PendingRestart, b.Base()))
	}
	if r, ok := x.Host.Role.Value(); ok && r == host.DomainController && x.Summary.SupportOver {
		x.note("It is a domain controller without support. Zerologon (CVE-2020-1472) and its like have no record for " + rel.Name + "; a missing record is not \"not affected\".")
	}
	s.Notes = append(s.Notes, notes...)
	if x.st != nil && x.st.IsWhole && x.st.Whole.Scope == "cbs" {
		x.note("The list of updates counts as whole for what comes as CBS packages (rollups, security-only updates, servicing stacks, Internet Explorer on old systems), and for nothing else: " + x.st.Whole.Why + ".")
	}
	for _, src := range x.Sources {
		if src.ID == catalog.SourceKEV && src.Stale && s.Affected+s.Unfixable > 0 {
			x.note("Which vulnerabilities are exploited is known until " + src.Last.String() + ": more may be by now.")
		}
	}
	s.Headline = x.headline()
}

// story6003 says for Server 2008 SP2 plainly where it stands between its two build numbers.
func (x *assessor) story6003() {
	rel := x.Identity.Release
	if rel.ID != "windows-server-2008-sp2" && rel.ID != "windows-vista-sp2" {
		return
	}
	b, _ := x.Host.Build.Value()
	switch {
	case rel.ID == "windows-vista-sp2" && b.Number == build6003:
		x.note("Build 6003 on Windows Vista means that packages of Server 2008 were installed on it; Microsoft published none for Vista after 2017-04-11.")
	case rel.ID == "windows-vista-sp2":
	case b.Number == build6003:
		x.note("Build 6003 is Server 2008 SP2 with an update of 2019-03-19 or later. It does not mean ESU, and alone it does not tell how current the machine is: from 0 to about 2,000 fixes can be missing.")
	default:
		x.note("Still build 6002: no update of 2019-03-19 (KB4489887) or later is in effect, so everything fixed since then is open, whatever else is installed.")
	}
}

// last reports whether nothing can follow the newest update: every programme has ended,
// and the sources reach past that end.
func (x *assessor) last() bool {
	if x.Support.State != Over {
		return false
	}
	end := x.Support.Ends
	for _, p := range x.Support.Programmes {
		end = max(end, p.Until)
	}
	src, ok := x.cat.Source(catalog.SourceUpdates)
	return ok && src.Last > end && x.AsOf > end && x.Updates.MonthsBehind == 0
}

// reaches reports whether a stale source matters: not where nothing can follow any more.
func (x *assessor) reaches(src SourceState) bool {
	if src.ID != catalog.SourceUpdates || x.Support.State != Over {
		return true
	}
	end := x.Support.Ends
	for _, p := range x.Support.Programmes {
		end = max(end, p.Until)
	}
	return src.Last <= end
}

func vulnerabilities(n int) string {
	if n == 1 {
		return "1 vulnerability"
	}
	return fmt.Sprintf("%d vulnerabilities", n)
}

func (x *assessor) headline() string {
	s, rel := &x.Summary, x.Identity.Release
	name := rel.Name
	if a := x.arch; a != winver.ArchUnknown {
		name += " " + a.String()
	}
	switch {
	case x.rec == nil:
		return name + ": the catalogue could not be read"
	case s.Affected+s.Unfixable > 0 && s.Exploited > 0:
		return fmt.Sprintf("%s: affected by %s, %d of them known to be exploited", name, vulnerabilities(s.Affected+s.Unfixable), s.Exploited)
	case s.Affected+s.Unfixable > 0:
		return name + ": affected by " + vulnerabilities(s.Affected+s.Unfixable)
	case s.Missing > 0:
		return fmt.Sprintf("%s: %s missing; %s cannot be decided", name, kbNames(x.Updates.Missing), vulnerabilities(s.Unknown))
	case !x.st.IsWhole && !x.st.ByRevision:
		return name + ": the evidence does not tell whether updates are missing"
	}
	text := name + ": nothing missing of what was checked"
	if s.Unknown > 0 {
		text += fmt.Sprintf("; %s cannot be decided", vulnerabilities(s.Unknown))
	}
	if s.SourceStale {
		text += fmt.Sprintf("; not known after %s", x.staleFrom())
	}
	if x.Support.State == Over {
		text += "; support is over"
	}
	return text
}

func (x *assessor) staleFrom() catalog.Date {
	src, _ := x.cat.Source(catalog.SourceUpdates)
	return src.Last
}

// Level is what the assessment comes to, for an exit status.
type Level uint8

// The levels, from good to bad.
const (
	Clear     Level = iota
	Undecided       // something cannot be told, support is over, or a source ends before the day
	Bad             // something is affected or missing
)

// String gives clear, undecided or bad.
func (l Level) String() string {
	switch l {
	case Clear:
		return "clear"
	case Bad:
		return "bad"
	case Undecided:
	}
	return "undecided"
}

// Level sums the assessment up.
func (a *Assessment) Level() Level {
	s := &a.Summary
	switch {
	case s.Affected+s.Unfixable+s.Missing > 0:
		return Bad
	case s.Unknown+s.Undecided > 0, s.SupportOver, s.SourceStale, s.NoBuild, len(a.Gaps) > 0,
		a.Support.State == SupportUnknown:
		return Undecided
	}
	return Clear
}
