package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// Text for people follows the order in which an administrator asks: what is it, is it
// supported, how far behind is it, what do I install, what do I not know, and how old is
// what this rests on.

// blocks writes parts with an empty line between.
type blocks struct {
	w       io.Writer
	prepare func(*assess.Assessment) (Part, error)
	begun   bool
}

// Prepare makes the block of one machine.
func (t *blocks) Prepare(a *assess.Assessment) (Part, error) { return t.prepare(a) }

// Write writes one machine.
func (t *blocks) Write(p Part) error {
	if t.begun {
		if _, err := io.WriteString(t.w, "\n"); err != nil {
			return err
		}
	}
	t.begun = true
	_, err := t.w.Write(p.Body)
	return err
}

// Close has nothing to add.
func (t *blocks) Close() error { return nil }

// textWriter writes blocks and counts them.
type textWriter struct {
	blocks
	o          Options
	n, notRead int
	levels     [len(levels)]int
}

func openText(w io.Writer, o Options) Writer {
	o.Findings = cmp.Or(o.Findings, Top)
	t := &textWriter{o: o}
	t.blocks = blocks{w: w, prepare: func(a *assess.Assessment) (Part, error) {
		t := text{newPrinter(o), o.Findings}
		switch {
		case Unread(a):
			t.unread(a)
		case o.Many && !o.Verbose:
			t.brief(a)
		default:
			t.full(a)
		}
		return Part{Body: t.bytes(), Level: a.Level(), Unread: Unread(a)}, nil
	}}
	return t
}

// Write writes one machine.
func (t *textWriter) Write(p Part) error {
	if p.Unread {
		t.notRead++
	} else {
		t.n++
		t.levels[p.Level]++
	}
	return t.blocks.Write(p)
}

// Close writes the total of many machines.
func (t *textWriter) Close() error {
	if !t.o.Many {
		return nil
	}
	p := newPrinter(t.o)
	total := fmt.Sprintf("%s: %d affected or lacking updates, %d undecided or without support, %d with nothing missing of what was checked",
		plural(t.n, "machine"), t.levels[assess.Bad], t.levels[assess.Undecided], t.levels[assess.Clear])
	if t.notRead > 0 {
		total += "; not read: " + plural(t.notRead, "input")
	}
	p.line()
	p.para(bold, "", total+".")
	if !t.o.Verbose && t.n > 0 {
		p.para(faint, "", "All about one of them: name its files alone, or use --verbose.")
	}
	_, err := t.w.Write(p.bytes())
	return err
}

// Unread reports whether an assessment is of no machine: it only says which files nobody
// could read, and why.
func Unread(a *assess.Assessment) bool {
	h := a.Host
	return len(h.Gaps) > 0 && !h.Name.Known() && !h.Build.Known() && !h.Product.Known() &&
		h.Updates.Len() == 0 && len(h.Updates.Listings()) == 0 &&
		len(h.Packages)+len(h.Licences)+len(h.Programs)+len(h.Errors)+len(h.Restart) == 0 &&
		!h.Setup.Shown() && !h.Network.Shown()
}

// text prints one machine.
type text struct {
	*printer
	listed Findings
}

func (t *printer) unread(a *assess.Assessment) {
	t.line(t.styled(amber, "Not read"))
	for _, g := range a.Host.Gaps {
		t.gap(gapOf(g))
	}
}

func (t text) full(a *assess.Assessment) {
	t.identity(a)
	t.line()
	t.headline(a)
	for _, n := range a.Summary.Notes {
		t.para(plain, "  - ", n)
	}
	t.support(a)
	t.readiness(a)
	t.behind(a)
	t.findings(a)
	t.forever(a)
	t.missing(a)
	t.undecided(a)
	t.errors(a.Host.Errors)
	t.gaps(a)
	t.sources(a)
}

func (t text) headline(a *assess.Assessment) {
	t.para(levelStyle(a), "", a.Summary.Headline+" (as of "+a.AsOf.String()+").")
}

func levelStyle(a *assess.Assessment) style {
	return [...]style{assess.Clear: green, assess.Undecided: amber, assess.Bad: red}[a.Level()]
}

func (t text) identity(a *assess.Assessment) {
	h := a.Host
	t.line(t.styled(bold, h.Name.Or("a machine whose name is not known")))
	t.para(plain, "  ", what(a))
	t.para(plain, "  build ", build(a))
	var more []string
	if v, ok := h.Domain.Value(); ok {
		more = append(more, "domain or workgroup "+v)
	}
	if v, ok := h.Role.Value(); ok {
		more = append(more, strings.ReplaceAll(string(v), "-", " "))
	}
	if v, ok := h.Installed.Value(); ok {
		more = append(more, "installed "+v.Format("2006-01-02"))
	}
	if v, ok := h.Booted.Value(); ok {
		more = append(more, "last started "+v.Format("2006-01-02"))
	}
	if len(more) > 0 {
		t.para(plain, "  ", strings.Join(more, ", "))
	}
	t.readFrom(h)
	t.disputes(h)
}

// what says in words what a machine is.
func what(a *assess.Assessment) string {
	h := a.Host
	name := h.Product.Or("Windows")
	if r := a.Identity.Release; r != nil {
		name = r.Name
		if e, ok := h.Edition.Value(); ok {
			name += ", " + e
		}
	}
	if v, ok := h.Installation.Value(); ok && v == host.ServerCore {
		name += ", Server Core"
	}
	if v, ok := h.Arch.Value(); ok {
		return name + ", " + v.String()
	}
	return name + ", architecture not known"
}

func build(a *assess.Assessment) string {
	switch {
	case !a.Build.Known():
		return "not known"
	case a.BuildInferred:
		return fmt.Sprintf("%s (the revision is inferred from %s)", a.Build, a.Updates.Newest)
	case !a.Build.HasRevision:
		return a.Build.String() + ", revision not known"
	}
	return a.Build.String()
}

func (t text) readFrom(h *host.Host) {
	if names := inputs(h); len(names) > 0 {
		t.para(faint, "  read from ", strings.Join(names, ", "))
	}
}

// inputs lists the inputs that say something about h, with their readers.
func inputs(h *host.Host) (out []string) {
	add := func(s host.Source) {
		if name := s.Input + " (" + s.Reader + ")"; s.Input != "" && s.Reader != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	for _, c := range h.Name.Claims() {
		add(c.From)
	}
	for _, c := range h.Build.Claims() {
		add(c.From)
	}
	for _, l := range h.Updates.Listings() {
		add(l.From)
	}
	for i := range h.Packages {
		add(h.Packages[i].From)
	}
	for i := range h.Licences {
		add(h.Licences[i].From)
	}
	for i := range h.Programs {
		add(h.Programs[i].From)
	}
	for i := range h.Errors {
		add(h.Errors[i].From)
	}
	for i := range h.Watches {
		add(h.Watches[i].From)
	}
	if len(out) == 0 {
		for _, kb := range h.Updates.All() {
			for _, s := range h.Updates.Sources(kb) {
				add(s)
			}
		}
	}
	return out
}

// disputes names what the sources do not agree about.
func (t text) disputes(h *host.Host) {
	forEachFact(h, func(name string, f shown) {
		if !f.disputed {
			return
		}
		t.para(amber, "  ", "the sources disagree about "+name+"; the first is taken:")
		for _, c := range f.claims {
			t.para(amber, "    - ", fmt.Sprintf("%s (%s)", c.Value, where(c.Source)))
		}
	})
}

// shown is a fact with its values as text.
type shown struct {
	value    string
	disputed bool
	claims   []Claim[string]
}

// forEachFact visits the facts of h that somebody states, in the order people read them.
func forEachFact(h *host.Host, f func(name string, s shown)) {
	visit(f, "name", h.Name, id[string])
	visit(f, "domain or workgroup", h.Domain, id[string])
	visit(f, "product", h.Product, id[string])
	visit(f, "edition", h.Edition, id[string])
	visit(f, "installation", h.Installation, func(v host.Installation) string { return string(v) })
	visit(f, "role", h.Role, func(v host.Role) string { return string(v) })
	visit(f, "architecture", h.Arch, winver.Arch.String)
	visit(f, "build", h.Build, winver.Build.String)
	visit(f, "build lab", h.BuildLab, id[string])
	visit(f, "service pack", h.ServicePack, func(n int) string {
		if n == host.NoServicePack {
			return "none"
		}
		return strconv.Itoa(n)
	})
	visit(f, "language", h.Language, id[string])
	visit(f, "product id", h.ProductID, id[string])
	visit(f, "machine id", h.MachineID, id[string])
	visit(f, "installed", h.Installed, minute)
	visit(f, "started", h.Booted, minute)
}

func id[T any](v T) T { return v }

func visit[T comparable](f func(string, shown), name string, fact host.Fact[T], as func(T) string) {
	v, ok := fact.Value()
	if !ok {
		return
	}
	f(name, shown{as(v), fact.Disputed(), each(fact.Claims(), func(c host.Claim[T]) Claim[string] {
		return Claim[string]{sourceOf(c.From), as(c.Value)}
	})})
}

func where(s Source) string {
	text := s.Input
	if s.At != "" {
		text += ", " + s.At
	}
	if s.Reader != "" {
		text += ", " + s.Reader
	}
	return strings.TrimPrefix(text, ", ")
}

var supportWords = map[assess.SupportState]string{
	assess.SupportUnknown: "not known", assess.NotYet: "has not begun", assess.Mainstream: "mainstream support",
	assess.Extended: "extended support", assess.Programmes: "over; a paid programme still runs", assess.Over: "over",
}

func (t text) support(a *assess.Assessment) {
	s := &a.Support
	t.title("Support on %s: %s", a.AsOf, supportWords[s.State])
	for _, r := range s.Because {
		t.para(faint, "  ", r.Text)
	}
	w := 0
	for _, p := range s.Programmes {
		w = max(w, len(p.Name))
	}
	for _, p := range s.Programmes {
		until := cmp.Or(p.Until.String(), "not known ")
		t.line("  ", clean(fmt.Sprintf("%-*s  %s to %s, %s", w, p.Name, p.From, until, strings.ReplaceAll(p.State, "-", " "))))
	}
}

func (t text) behind(a *assess.Assessment) {
	if a.Identity.Release == nil {
		return
	}
	s := &a.Summary
	months := "by how many months is not known"
	if n := a.Updates.MonthsBehind; n >= 0 {
		months = plural(n, "month")
	}
	t.title("How far behind: %s", months)
	t.para(plain, "  ", fmt.Sprintf("CVEs: %d affected, %d unfixable, %d unknown, %d fixed, %d not affected.",
		s.Affected, s.Unfixable, s.Unknown, s.Fixed, s.NotAffected))
	if s.Affected+s.Unfixable > 0 {
		t.para(plain, "  ", fmt.Sprintf("Of the affected, %d are known to be exploited, %d of them by ransomware; %d are rated critical.",
			s.Exploited, s.Ransomware, s.CriticalAffected))
	}
}

// readiness says what an extended update would need, each for itself, where support is over.
func (t text) readiness(a *assess.Assessment) {
	if len(a.ESU) == 0 || a.Support.State != assess.Over && a.Support.State != assess.Programmes {
		return
	}
	t.title("ESU readiness")
	for _, r := range a.ESU {
		look, word := plain, "Unknown"
		switch r.State {
		case host.Yes:
			word = "Yes"
		case host.No:
			look, word = amber, "No"
		case host.Unknown:
		}
		t.para(look, fmt.Sprintf("  %-23s%-9s", r.Name, word), r.Because.Text)
		if r.Hint != "" {
			t.para(faint, "    ", "this would tell: "+r.Hint)
		}
	}
}

// topForever is how many vulnerabilities without a fix to come are named.
const topForever = 10

// forever names what has been exploited on successors since the last update.
func (t text) forever(a *assess.Assessment) {
	since, until := a.ForeverSince, a.ForeverUntil
	if since == 0 {
		return
	}
	t.title("Exploited on successors since its last update")
	if until <= since {
		t.para(plain, "  ", fmt.Sprintf("Not known: the list of exploited vulnerabilities ends on %s, its last update came on %s.", until, since))
		return
	}
	span := fmt.Sprintf("between its last update, of %s, and %s, where the list of exploited vulnerabilities ends", since, until)
	if len(a.Forever) == 0 {
		t.para(plain, "  ", "The list names none "+span+".")
		return
	}
	likely, ransom := 0, 0
	for i := range a.Forever {
		if a.Forever[i].Confidence == "likely" {
			likely++
		}
		if a.Forever[i].Ransomware {
			ransom++
		}
	}
	t.para(plain, "  ", fmt.Sprintf("%s %s. No fix will come, and no record says whether it is affected: %d likely, since it had fixes in the same part of Windows before, %d possibly. %d of them are used by ransomware (r).",
		plural(len(a.Forever), "vulnerability"), span, likely, len(a.Forever)-likely, ransom))
	t.line()
	t.line(t.styled(faint, "  CVE             affected   exploited since  part of Windows"))
	for _, d := range a.Forever[:min(topForever, len(a.Forever))] {
		part, mark := cmp.Or(d.Area, "not known"), d.KEVSince.String()
		if d.Ransomware {
			mark += " (r)"
		}
		t.line("  ", clean(fmt.Sprintf("%-14s  %-9s  %-15s  %s", d.CVE, d.Confidence, mark, part)))
	}
	if n := len(a.Forever) - topForever; n > 0 {
		t.para(faint, "  ", fmt.Sprintf("and %d more: --format json lists all", n))
	}
}

// maxErrors is how many errors of logs are shown, the newest.
const maxErrors = 10

// errors shows what logs say went wrong, each error once with its last time.
func (t *printer) errors(list []host.LogError) {
	if len(list) == 0 {
		return
	}
	type seen struct {
		host.LogError
		n int
	}
	var once []seen
	for _, e := range slices.SortedStableFunc(slices.Values(list), func(a, b host.LogError) int { return b.On.Compare(a.On) }) {
		i := slices.IndexFunc(once, func(s seen) bool { return s.Code == e.Code && (e.Code != "" || s.Text == e.Text) })
		if i < 0 {
			once = append(once, seen{e, 1})
			continue
		}
		once[i].n++
	}
	t.title("Seen in logs")
	for _, e := range once[:min(maxErrors, len(once))] {
		text := e.Text
		if e.Code != "" && !strings.Contains(text, e.Code) {
			text = strings.TrimSpace(e.Code + " " + text)
		}
		switch {
		case !e.On.IsZero() && e.n > 1:
			text = fmt.Sprintf("%s, and %s before: %s", minute(e.On), plural(e.n-1, "time"), text)
		case !e.On.IsZero():
			text = minute(e.On) + ": " + text
		case e.n > 1:
			text = plural(e.n, "time") + ": " + text
		}
		t.para(plain, "  - ", text)
		t.para(faint, "    ", where(sourceOf(e.From)))
		if e.Code != "" {
			t.para(faint, "    ", "what it means: oldguard explain "+e.Code)
		}
	}
	if n := len(once) - maxErrors; n > 0 {
		t.para(faint, "  ", fmt.Sprintf("and %d others before; oldguard inspect --format json lists all", n))
	}
}

func (t text) findings(a *assess.Assessment) {
	list := t.listed.of(a)
	if t.listed == Top { // what is only unknown does not belong among the most urgent
		list = Affected.of(a)
		list = list[:min(topFindings, len(list))]
	}
	if len(list) == 0 {
		return
	}
	t.line()
	t.line(t.styled(faint, "  CVE             verdict       severity   CVSS  exploited    fixed by"))
	for i := range list {
		f := &list[i]
		score := "   ?"
		if f.Score > 0 {
			score = fmt.Sprintf("%4.1f", f.Score)
		}
		row := fmt.Sprintf("%-14s  %-12s  %-9s  %s  ", f.CVE, f.Verdict, cmp.Or(f.Severity.String(), "?"), score)
		s, mark := exploited(f)
		t.line("  ", clean(row), t.styled(s, fmt.Sprintf("%-11s", mark)), "  ", clean(fixes(f)))
	}
	rest := a.Summary.Affected + a.Summary.Unfixable - len(list)
	if t.listed == Top && rest > 0 {
		t.para(faint, "  ", fmt.Sprintf("and %d more: --findings open lists all that is open, with --format json the reasons too", rest))
	}
}

func exploited(f *assess.Finding) (style, string) {
	switch {
	case f.Ransomware:
		return red, "ransomware"
	case f.KEV == host.Yes:
		return red, "yes"
	case f.KEV == host.Unknown:
		return plain, "not known"
	}
	return plain, ""
}

// maxFixes is how many fixes of one vulnerability stand in a line.
const maxFixes = 2

func fixes(f *assess.Finding) string {
	if len(f.Fixes) == 0 {
		return "no update was ever published"
	}
	text := kbs(f.Fixes[:min(maxFixes, len(f.Fixes))])
	if n := len(f.Fixes) - maxFixes; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

func kbs(list []winver.KB) string {
	return strings.Join(each(list, winver.KB.String), ", ")
}

func (t text) missing(a *assess.Assessment) {
	if len(a.Updates.Missing) == 0 {
		return
	}
	t.title("To install, in this order, whatever you are entitled to")
	offered := map[winver.KB]bool{}
	for _, it := range a.Updates.OfferedNow {
		offered[it.KB] = true
	}
	for i, it := range a.Updates.Missing {
		text := fmt.Sprintf("%s  %s, %s", it.KB, KindWords(it.Kind), released(it))
		if offered[it.KB] {
			text += "; Windows Update would offer it"
		}
		t.para(plain, fmt.Sprintf("  %d. ", i+1), text)
		for _, n := range it.Needs {
			need := n.Text
			if n.KB != 0 {
				need = n.KB.String() + ": " + need
			}
			t.para(faint, "       - ", need)
		}
	}
}

func released(it assess.Item) string {
	switch {
	case it.Released == 0:
		return "day not known"
	case it.Sure == catalog.DayKnown:
		return it.Released.String()
	case it.Sure == catalog.MonthOf:
		return it.Released.String()[:len("2006-01")]
	case it.Sure == catalog.Bounded:
		return "by " + it.Released.String()
	}
	return it.Released.String() + " or later"
}

var kinds = map[string]string{
	"cumulative-update": "cumulative update", "monthly-rollup": "monthly rollup", "preview-rollup": "preview of a rollup",
	"security-only": "security-only update", "ie-cumulative": "cumulative update of Internet Explorer",
	"dotnet": "update of .NET Framework", "flash": "update of Flash Player",
	"servicing-stack": "servicing stack", "sha2-support": "SHA-2 support",
}

// KindWords says in words what a kind of update is.
func KindWords(kind string) string { return cmp.Or(kinds[kind], kind) }

// maxGroup is how many updates of a group are named in text.
const maxGroup = 4

func (t text) undecided(a *assess.Assessment) {
	if len(a.Updates.Undecided) == 0 {
		return
	}
	t.title("May or may not be missing")
	for list := a.Updates.Undecided; len(list) > 0; { // sorted by group
		n := 1
		for n < len(list) && list[n].Group == list[0].Group {
			n++
		}
		newest := slices.SortedStableFunc(slices.Values(list[:n]), func(a, b assess.Item) int { return cmp.Compare(b.Released, a.Released) })
		names := make([]winver.KB, 0, maxGroup)
		for _, it := range newest[:min(n, maxGroup)] {
			names = append(names, it.KB)
		}
		text := fmt.Sprintf("%s: %s", cmp.Or(list[0].Group, "others"), plural(n, "update"))
		if n > maxGroup {
			text += ", the newest " + kbs(names)
		} else {
			text += ", " + kbs(names)
		}
		t.para(plain, "  - ", text)
		list = list[n:]
	}
}

func (t text) gaps(a *assess.Assessment) {
	if len(a.Gaps) == 0 {
		return
	}
	t.title("What could not be known")
	for _, g := range a.Gaps {
		t.gap(gapOf(g))
	}
}

func (t *printer) gap(g Gap) {
	text := g.What
	if w := where(g.Source); w != "" {
		text += " (" + w + ")"
	}
	t.para(plain, "  - ", text+": "+g.Why)
	if g.Hint != "" {
		t.para(faint, "    ", "this would tell: "+g.Hint)
	}
}

func (t text) sources(a *assess.Assessment) {
	t.title("What this rests on, and the last day it speaks about")
	if on := evidenceDay(a.Host); on != "" {
		t.para(plain, "  "+on+"  ", "the evidence, or later: it bears no date of its own, and this is the last day it mentions")
	}
	for _, s := range a.Sources {
		look, note := plain, ""
		if s.Stale {
			look, note = amber, " (not known after)"
		}
		t.para(look, "  "+s.Last.String()+"  ", s.Name+note)
	}
}

// evidenceDay is the day before which the evidence cannot have been taken: the last start
// or installation that it shows. It is empty where there is none.
func evidenceDay(h *host.Host) string {
	last := h.Booted.Or(time.Time{})
	for _, on := range h.InstalledOn {
		if on.After(last) {
			last = on
		}
	}
	if last.IsZero() {
		return ""
	}
	return last.Format(time.DateOnly)
}

// brief is the short form, for many machines.
func (t text) brief(a *assess.Assessment) {
	t.line(t.styled(bold, a.Host.Name.Or("a machine whose name is not known")), "  ", clean(what(a)+", build "+build(a)))
	t.para(levelStyle(a), "  ", a.Summary.Headline+".")
	if a.Identity.Release == nil {
		t.readFrom(a.Host)
	} else {
		text := "support: " + supportWords[a.Support.State]
		if a.Support.Ends != 0 {
			text += " (" + a.Support.Ends.String() + ")"
		}
		if n := a.Updates.MonthsBehind; n >= 0 {
			text += "; " + plural(n, "month") + " behind"
		}
		t.para(plain, "  ", text)
	}
	if len(a.Updates.Missing) > 0 {
		t.para(plain, "  to install: ", kbs(each(a.Updates.Missing, func(it assess.Item) winver.KB { return it.KB })))
	}
	unknown := each(a.Gaps, func(g host.Gap) string { return g.What })
	if n := a.Summary.Unknown; n > 0 {
		unknown = append([]string{"whether it is affected by " + plural(n, "vulnerability")}, unknown...)
	}
	if len(unknown) > 0 {
		t.para(faint, "  not known: ", strings.Join(unknown, ", "))
	}
}

// Size says how large something is, for people: 1.5 MiB.
func Size(n int64) string {
	units := [...]string{"B", "KiB", "MiB", "GiB"}
	f, u := float64(n), 0
	for ; f >= 1<<10 && u < len(units)-1; u++ {
		f /= 1 << 10
	}
	if u == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", f, units[u])
}

func plural(n int, word string) string {
	switch {
	case n == 1:
		return "1 " + word
	case strings.HasSuffix(word, "y") && !strings.HasSuffix(word, "ay"):
		return fmt.Sprintf("%d %sies", n, strings.TrimSuffix(word, "y"))
	case strings.HasSuffix(word, "ss"):
		return fmt.Sprintf("%d %ses", n, word)
	}
	return fmt.Sprintf("%d %ss", n, word)
}
