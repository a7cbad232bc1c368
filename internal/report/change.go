package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/winver"
)

// The names of the documents of changes.
const (
	schemaChange  = "oldguard/change/1"
	schemaChanges = "oldguard/changes/1"
)

// Change is what is different since an earlier report, as programs read it. Lists are never
// null. Where nothing was compared, Since is null and Undecided says why.
type Change struct {
	Schema  string       `json:"schema"`
	Name    *string      `json:"name"`
	Since   date         `json:"since"`
	AsOf    catalog.Date `json:"as_of"`
	Level   string       `json:"level"` // bad for what is newly exploited, undecided, clear
	Release *Turn        `json:"release"`
	Build   *Turn        `json:"build"`
	// New came to affect the machine, Marked affected it before and came to be exploited,
	// Closed affects it no more.
	New    []Changed `json:"new"`
	Marked []Changed `json:"marked"`
	Closed []Changed `json:"closed"`
	// Missing is to be installed now and was not, Settled the other way round: installed,
	// or replaced by a newer one.
	Missing   []winver.KB `json:"missing"`
	Settled   []winver.KB `json:"settled"`
	Installed []winver.KB `json:"installed"`
	Removed   []winver.KB `json:"removed"`
	// Possible came to be exploited and may or may not concern the machine.
	Possible  []Possible `json:"possible"`
	Undecided []string   `json:"undecided"`
}

// Turn is a value that changed; null is not known.
type Turn struct {
	Before *string `json:"before"`
	Now    *string `json:"now"`
}

// Changed is a vulnerability that is not what it was. Before is unknown too where the
// earlier report did not list it.
type Changed struct {
	CVE            string      `json:"cve"`
	Before         string      `json:"before"`
	Verdict        string      `json:"verdict"`
	Severity       *string     `json:"severity"`
	Fixes          []winver.KB `json:"fixes"`
	KEVSince       date        `json:"kev_since"`
	Ransomware     bool        `json:"ransomware"`
	NewlyExploited bool        `json:"newly_exploited"`
	Why            string      `json:"why"`
}

// Possible is a vulnerability that came to be exploited, and of which nobody can tell
// whether it concerns the machine.
type Possible struct {
	CVE      string `json:"cve"`
	KEVSince date   `json:"kev_since"`
	Why      string `json:"why"`
}

// difference is a machine now with what is different.
type difference struct {
	now *assess.Assessment
	*assess.Change
	compared  bool
	possible  []Possible
	undecided []string
}

// differ compares a machine with its earlier state.
func (e *Earlier) differ(a *assess.Assessment, many bool) (*difference, error) {
	d := &difference{now: a, Change: &assess.Change{}}
	say := func(format string, args ...any) { d.undecided = append(d.undecided, fmt.Sprintf(format, args...)) }
	if Unread(a) {
		for _, g := range a.Host.Gaps {
			say("%s was not read: %s", g.From.Input, g.Why)
		}
		return d, nil
	}
	before, why, err := e.find(a.Host, !many)
	if err != nil {
		return nil, err
	}
	if d.compared = why == ""; d.compared {
		d.Change = assess.Diff(before, a)
		d.possibly(before)
	} else {
		say("%s", why)
	}
	d.doubts(before)
	return d, nil
}

// possibly lists what came to be exploited since and of which no record or evidence says
// whether it concerns the machine.
func (d *difference) possibly(before assess.Snapshot) {
	until := before.AsOf // what the earlier report could know
	if last, ok := before.Sources[catalog.SourceKEV]; ok {
		until = min(until, last)
	}
	for i := range d.now.Findings {
		f := &d.now.Findings[i]
		if f.Verdict == assess.Unknown && f.KEVSince > until {
			why := ""
			if len(f.Because) > 0 {
				why = f.Because[0].Text
			}
			d.possible = append(d.possible, Possible{f.CVE, date(f.KEVSince), why})
		}
	}
	for i := range d.now.Forever {
		if f := &d.now.Forever[i]; f.Confidence == "likely" && f.KEVSince > until {
			d.possible = append(d.possible, Possible{f.CVE, date(f.KEVSince), f.Because.Text})
		}
	}
}

// doubts says what could not be decided.
func (d *difference) doubts(before assess.Snapshot) {
	a := d.now
	say := func(format string, args ...any) { d.undecided = append(d.undecided, fmt.Sprintf(format, args...)) }
	if a.Identity.Release == nil {
		say("which Windows this is: %s", a.Identity.Why)
	}
	if d.compared && a.AsOf < before.AsOf {
		say("the earlier report is of a later day, %s", before.AsOf)
	}
	if a.Summary.SourceStale {
		for _, s := range a.Sources {
			if s.Stale && (s.ID == catalog.SourceUpdates || s.ID == catalog.SourceKEV) {
				say("nothing is known after %s from %s", s.Last, s.Name)
			}
		}
	}
	if n := len(d.possible); n > 0 {
		say("it cannot be told whether %s that came to be exploited since concern it", plural(n, "vulnerability"))
	}
}

// Compare writes down what is different since an earlier state, as assess.Diff found it,
// for those who keep states themselves.
func Compare(before assess.Snapshot, now *assess.Assessment, c *assess.Change) Change {
	d := &difference{now: now, Change: c, compared: true}
	d.possibly(before)
	d.doubts(before)
	return d.document()
}

func (d *difference) level() assess.Level {
	switch {
	case len(d.NewExploited()) > 0:
		return assess.Bad
	case len(d.undecided) > 0:
		return assess.Undecided
	}
	return assess.Clear
}

func (d *difference) document() Change {
	return Change{
		Schema: schemaChange, Name: known(d.now.Host.Name.Or("")), Since: date(d.Since), AsOf: d.now.AsOf, Level: levels[d.level()],
		Release: turn(d.Release), Build: turn(d.Build),
		New: each(d.New, changedOf), Marked: each(d.Marked, changedOf), Closed: each(d.Closed, changedOf),
		Missing: notNil(d.Missing), Settled: notNil(d.Settled), Installed: notNil(d.Installed), Removed: notNil(d.Removed),
		Possible: notNil(d.possible), Undecided: notNil(d.undecided),
	}
}

// notNil is a list that is empty rather than nil.
func notNil[T any](list []T) []T { return append([]T{}, list...) }

func turn(v [2]string) *Turn {
	if v[0] == v[1] {
		return nil
	}
	return &Turn{known(v[0]), known(v[1])}
}

func changedOf(c assess.Changed) Changed {
	f := &c.Finding
	return Changed{
		CVE: f.CVE, Before: c.Before.String(), Verdict: f.Verdict.String(), Severity: known(f.Severity.String()), Fixes: notNil(f.Fixes),
		KEVSince: date(f.KEVSince), Ransomware: f.Ransomware, NewlyExploited: c.NewExploited, Why: c.Why,
	}
}

// Changes lists the formats of a comparison, the default first. They need Options.Since.
func Changes() []Format {
	return []Format{
		{
			Name: "text", Ext: ".txt", MIME: "text/plain; charset=utf-8", Findings: All, Open: openChangeText,
			Doc: "for people and mail: what is newly exploited first; of several machines only what changed",
		},
		{
			Name: "json", Ext: ".json", MIME: "application/json", Findings: All, Open: openChangeJSON,
			Doc: `one document "` + schemaChange + `", or of several machines "` + schemaChanges + `" with a list of them`,
		},
	}
}

// changeJSON writes changes as JSON; many of them with the names of those that are gone.
type changeJSON struct {
	*jsonWriter
	o Options
}

func openChangeJSON(w io.Writer, o Options) Writer {
	return &changeJSON{enclose(w, o, schemaChanges, "changes", nil), o}
}

// Prepare compares one machine.
func (c *changeJSON) Prepare(a *assess.Assessment) (Part, error) {
	d, err := c.o.Since.differ(a, c.o.Many)
	if err != nil {
		return Part{}, err
	}
	b, err := marshal(nil, d.document(), !c.o.Many)
	return Part{Body: append(b, '\n'), Level: d.level(), Unread: Unread(a)}, err
}

// Close ends the document.
func (c *changeJSON) Close() error {
	if c.o.Many {
		gone, err := marshal(nil, c.o.Since.Gone(), false)
		if err != nil {
			return err
		}
		c.foot = `],"gone":` + string(gone) + "}\n"
	}
	return c.jsonWriter.Close()
}

// changeText writes changes for people.
type changeText struct {
	blocks
	o     Options
	quiet int
}

func openChangeText(w io.Writer, o Options) Writer {
	c := &changeText{o: o}
	c.blocks = blocks{w: w, prepare: func(a *assess.Assessment) (Part, error) {
		d, err := o.Since.differ(a, o.Many)
		if err != nil {
			return Part{}, err
		}
		t := text{newPrinter(o), All}
		p := Part{Level: d.level(), Unread: Unread(a)}
		if o.Many && !o.Verbose && d.compared && d.Empty() && len(d.possible) == 0 {
			return p, nil
		}
		t.change(d, o.Many && !o.Verbose)
		p.Body = t.bytes()
		return p, nil
	}}
	return c
}

// Write writes one machine, if there is something to say about it.
func (c *changeText) Write(p Part) error {
	if p.Body == nil {
		c.quiet++
		return nil
	}
	return c.blocks.Write(p)
}

// Close says of how many machines there is nothing to say, and which are gone.
func (c *changeText) Close() error {
	if !c.o.Many {
		return nil
	}
	t := newPrinter(c.o)
	if c.begun {
		t.line()
	}
	if c.quiet > 0 {
		t.para(plain, "", "Nothing changed: "+plural(c.quiet, "machine")+".")
	}
	if gone := c.o.Since.Gone(); len(gone) > 0 {
		t.para(amber, "", "In the earlier report, and not looked at now: "+clipped(gone, 20)+".")
	}
	_, err := c.w.Write(t.bytes())
	return err
}

// clipped joins the first names of a list.
func clipped(names []string, most int) string {
	if n := len(names) - most; n > 0 {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", n)
	}
	return strings.Join(names, ", ")
}

// The most vulnerabilities that text names of one kind.
const (
	topChanged   = 25
	topManyMoved = 5
	topPossible  = 10
)

// change writes what changed on one machine; brief leaves out what nobody is woken for.
func (t text) change(d *difference, brief bool) {
	a := d.now
	if Unread(a) {
		t.unread(a)
		return
	}
	t.line(t.styled(bold, a.Host.Name.Or("a machine whose name is not known")), "  ", clean(what(a)))
	if !d.compared {
		t.para(amber, "  ", "Not compared: "+d.undecided[0]+".")
		d.undecided = d.undecided[1:]
	} else {
		t.para(plain, "  ", fmt.Sprintf("as of %s, compared with %s", a.AsOf, cmp.Or(d.Since.String(), "a report without a day")))
		look := green
		switch d.level() {
		case assess.Bad:
			look = red
		case assess.Undecided:
			look = amber
		case assess.Clear:
		}
		t.para(look, "  ", d.headline()+".")
	}
	most := topChanged
	if brief {
		most = topManyMoved
	}
	loud := d.NewExploited()
	t.changed("Newly known to be exploited", loud, most)
	t.possible(d, most)
	if !brief {
		quiet := slices.DeleteFunc(slices.Clone(d.New), func(c assess.Changed) bool { return c.NewExploited })
		t.changed("Newly affected, not known to be exploited", quiet, most)
		t.changed("No longer affected", d.Closed, most)
	}
	t.moved(d)
	if len(d.undecided) > 0 {
		t.title("What could not be decided")
		for _, u := range d.undecided {
			t.para(plain, "  - ", u)
		}
	}
}

func (d *difference) headline() string {
	var parts []string
	count := func(n int, text string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, text))
		}
	}
	count(len(d.NewExploited()), "newly known to be exploited")
	count(len(d.New), "newly affecting it")
	count(len(d.Closed), "no longer affecting it")
	switch {
	case len(parts) > 0:
		return "Vulnerabilities: " + strings.Join(parts, ", ")
	case d.Empty():
		return "Nothing changed"
	}
	return "No vulnerability came or went"
}

// changed lists vulnerabilities, those with the same reason together.
func (t text) changed(title string, list []assess.Changed, most int) {
	if len(list) == 0 {
		return
	}
	t.title("%s: %d", title, len(list))
	var order []string
	groups := map[string][]assess.Changed{}
	for _, c := range list {
		if _, ok := groups[c.Why]; !ok {
			order = append(order, c.Why)
		}
		groups[c.Why] = append(groups[c.Why], c)
	}
	for _, why := range order {
		group := groups[why]
		for _, c := range group[:min(most, len(group))] {
			f := &c.Finding
			text := fmt.Sprintf("%-14s  %-9s", f.CVE, cmp.Or(f.Severity.String(), "?"))
			look := plain
			if f.KEVSince != 0 {
				if isOpen(f) {
					look = red
				}
				text += "  exploited since " + f.KEVSince.String()
				if f.Ransomware {
					text += ", by ransomware"
				}
			}
			switch {
			case len(f.Fixes) > 0:
				text += "  " + fixes(f)
			case f.Verdict == assess.Unfixable:
				text += "  no update was ever published"
			}
			t.line("  ", t.styled(look, strings.TrimRight(text, " ")))
		}
		if n := len(group) - most; n > 0 {
			t.para(faint, "  ", fmt.Sprintf("and %d more: --format json lists all", n))
		}
		t.para(faint, "    why: ", why)
	}
}

func (t text) possible(d *difference, most int) {
	if len(d.possible) == 0 {
		return
	}
	t.title("Newly known to be exploited, and it cannot be told whether it is affected: %d", len(d.possible))
	most = min(most, topPossible)
	for _, p := range d.possible[:min(most, len(d.possible))] {
		t.para(amber, "  ", fmt.Sprintf("%-14s  exploited since %s", p.CVE, catalog.Date(p.KEVSince)))
		t.para(faint, "    why: ", p.Why)
	}
	if n := len(d.possible) - most; n > 0 {
		t.para(faint, "  ", fmt.Sprintf("and %d more: --format json lists all", n))
	}
}

// moved says what else is different: the version and the updates.
func (t text) moved(d *difference) {
	type line struct{ lead, text string }
	var lines []line
	add := func(lead string, list []winver.KB) {
		if len(list) > 0 {
			lines = append(lines, line{lead, clipped(each(list, winver.KB.String), topChanged)})
		}
	}
	for _, v := range []struct {
		name string
		of   [2]string
	}{{"release", d.Release}, {"build", d.Build}} {
		if v.of[0] != v.of[1] {
			lines = append(lines, line{v.name, cmp.Or(v.of[0], "not known") + " before, " + cmp.Or(v.of[1], "not known") + " now"})
		}
	}
	add("installed since", d.Installed)
	add("no longer listed", d.Removed)
	add("now to install", d.Missing)
	add("no longer to install", d.Settled)
	if len(lines) == 0 {
		return
	}
	t.title("Version and updates")
	for _, l := range lines {
		t.para(plain, fmt.Sprintf("  %-22s", l.lead), l.text)
	}
	if len(d.Settled) > 0 {
		t.para(faint, "  ", "What is no longer to install was installed, or a newer update takes its place.")
	}
}
