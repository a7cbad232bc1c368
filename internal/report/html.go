package report

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"hash/fnv"
	"html/template"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// A page is one file that asks nobody for anything: style and script are in it, and its
// policy (Content-Security-Policy) lets a browser load nothing and run nothing else, should
// markup in evidence ever get past the escaping. It can be read without the script, which
// only adds a search.

//go:embed templates
var templates embed.FS

// pages are the templates of HTML and of the letter.
var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"style":  func(name string) template.CSS { return template.CSS(asset(name)) }, // #nosec G203 -- ours
	"script": func(name string) template.JS { return template.JS(asset(name)) },   // #nosec G203 -- ours
	"policy": contentPolicy, "plural": plural, "many": many, "number": thousands[int], "strip": strip, "where": where, "words": sentence, "clip": clip,
}).ParseFS(templates, "templates/*.html"))

func asset(name string) string {
	b, err := templates.ReadFile("templates/" + name)
	if err != nil {
		panic(err) // it is embedded
	}
	return strings.TrimSpace(string(b))
}

// contentPolicy lets a browser use the styles and the script named, and nothing else. Several
// styles are named with a space between.
func contentPolicy(style, script string) string {
	digest := func(name string) string {
		if name == "" {
			return "'none'"
		}
		var all []string
		for one := range strings.FieldsSeq(name) {
			sum := sha256.Sum256([]byte(asset(one)))
			all = append(all, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
		}
		return strings.Join(all, " ")
	}
	return "default-src 'none'; style-src " + digest(style) + "; script-src " + digest(script) + "; base-uri 'none'; form-action 'none'"
}

// clip gives the start of a text that has more than n characters.
func clip(n int, s string) string {
	for i := range s {
		if n--; n < 0 {
			return s[:i] + "…"
		}
	}
	return s
}

// sentence begins with a capital letter.
func sentence(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 || r >= utf8.RuneSelf {
		return s
	}
	return strings.ToUpper(s[:n]) + s[n:]
}

// render fills a template in. What cannot be seen in the result is shown as an escape,
// wherever it came from: the templates themselves hold no such character.
func render(name string, v any) ([]byte, error) {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, v); err != nil {
		return nil, err
	}
	return visible(b.Bytes()), nil
}

// visible shows control characters and marks that are not seen as escapes, but for the
// ends of lines and tabs.
func visible(b []byte) []byte {
	odd := func(r rune) bool { return r != '\n' && r != '\t' && unsafe(r) }
	if bytes.IndexFunc(b, odd) < 0 {
		return b
	}
	out := make([]byte, 0, len(b)+64)
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case !odd(r):
			out = append(out, b[:n]...)
		case r < 0x80:
			out = fmt.Appendf(out, `\x%02x`, r)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		b = b[n:]
	}
	return out
}

// How much of many machines a page holds: the worst ones in full, then a row each, then
// their number. It bounds the memory too: some hundred kilobytes for each in full, or one
// and a half megabytes with all findings, and a kilobyte for a row.
const (
	maxFull = 50
	maxRows = 10_000
)

// machine is one machine on a page.
type machine struct {
	ID, Name, What, Build string
	Level                 assess.Level
	Headline              string
	Support               string
	Open                  tally
	Exploited, Ransomware int
	Unknown, Gaps         int
	Months                int // behind; -1 where that is not known
	Missing               []winver.KB
	Inputs                []string
	bad                   uint64
	body                  []byte // nil where only the row is kept
}

// summed makes the row of an assessment.
func summed(a *assess.Assessment) *machine {
	s := &a.Summary
	m := &machine{
		Name: a.Host.Name.Or("a machine whose name is not known"), What: what(a), Build: build(a),
		Level: a.Level(), Headline: s.Headline, Support: supportWords[a.Support.State],
		Exploited: s.Exploited, Ransomware: s.Ransomware, Unknown: s.Unknown, Gaps: len(a.Gaps),
		Months: a.Updates.MonthsBehind, Inputs: inputs(a.Host),
	}
	for _, it := range a.Updates.Missing {
		m.Missing = append(m.Missing, it.KB)
	}
	for i := range a.Findings {
		if f := &a.Findings[i]; isOpen(f) {
			m.Open[severityIndex(f.Severity)]++
		}
	}
	const most = 1<<15 - 1
	for _, n := range []int{int(m.Level), s.Exploited, s.Ransomware, s.Affected + s.Unfixable} {
		m.bad = m.bad<<15 | uint64(min(n, most)) // #nosec G115 -- none is negative
	}
	id := fnv.New64a()
	_, _ = fmt.Fprintf(id, "%q %q", m.Name, m.Inputs) // a hash takes everything
	m.ID = fmt.Sprintf("m%x", id.Sum64())
	return m
}

// Sum is the number of vulnerabilities it lacks the fix of.
func (m *machine) Sum() int { return m.Open.sum() }

// Full reports whether the page holds all about it.
func (m *machine) Full() bool { return m.body != nil }

// Place is where its section goes once the page around it is rendered.
func (m *machine) Place() template.HTML { return template.HTML(m.place()) } // #nosec G203 -- ours

func (m *machine) place() string { return "<!--" + m.ID + "-->" }

// Mark is the class of its level.
func (m *machine) Mark() string { return levels[m.Level] }

// Word says its level.
func (m *machine) Word() string {
	return [...]string{assess.Clear: "nothing missing", assess.Undecided: "undecided", assess.Bad: "affected"}[m.Level]
}

// htmlWriter writes one machine at once, and keeps of many what it needs to show the worst
// first.
type htmlWriter struct {
	w    io.Writer
	o    Options
	keep []*machine // the worst in full, no more than maxFull
	rows []*machine
	// floor is the badness below which nothing is kept in full, for Prepare.
	floor   atomic.Uint64
	counts  [len(levels)]int
	unread  []host.Gap
	missed  int // inputs that nobody could read
	sources []assess.SourceState
	asOf    catalog.Date
}

func openHTML(w io.Writer, o Options) Writer {
	usual := Open
	if o.Many && !o.Verbose {
		usual = Top // no browser is fond of a page of 70 megabytes
	}
	o.Findings = cmp.Or(o.Findings, usual)
	return &htmlWriter{w: w, o: o}
}

// Prepare makes the section of one machine.
func (h *htmlWriter) Prepare(a *assess.Assessment) (Part, error) {
	p := Part{Level: a.Level(), Unread: Unread(a)}
	m := summed(a)
	p.more = &prepared{m, a.AsOf, a.Sources, a.Host.Gaps}
	if p.Unread || h.o.Many && m.bad < h.floor.Load() {
		return p, nil
	}
	var err error
	m.body, err = render("machine", sheetOf(a, m, h.o))
	return p, err
}

// prepared is what the HTML of one machine comes with.
type prepared struct {
	*machine
	asOf    catalog.Date
	sources []assess.SourceState
	gaps    []host.Gap
}

// maxUnread bounds how many unread inputs are named.
const maxUnread = 1000

// Write writes a single machine, or keeps one of many.
func (h *htmlWriter) Write(part Part) error {
	p := part.more.(*prepared)
	h.asOf, h.sources = p.asOf, p.sources
	if part.Unread {
		h.missed++
		if len(h.unread) < maxUnread {
			h.unread = append(h.unread, p.gaps...)
		}
		return nil
	}
	m := p.machine
	h.counts[m.Level]++
	if !h.o.Many {
		return h.print(page{Title: m.Name, Machines: []*machine{m}, AsOf: h.asOf})
	}
	h.rows = append(h.rows, m)
	if len(h.rows) > 2*maxRows {
		h.sort()
	}
	if m.body == nil {
		return nil
	}
	if h.keep = append(h.keep, m); len(h.keep) <= maxFull {
		return nil
	}
	least := 0
	for i, k := range h.keep {
		if k.bad <= h.keep[least].bad {
			least = i
		}
	}
	h.keep[least].body = nil
	h.keep = slices.Delete(h.keep, least, least+1)
	// One as bad as the least comes too late as well.
	h.floor.Store(slices.MinFunc(h.keep, func(a, b *machine) int { return cmp.Compare(a.bad, b.bad) }).bad + 1)
	return nil
}

// sort puts the worst first and drops what there is no room for.
func (h *htmlWriter) sort() {
	slices.SortStableFunc(h.rows, func(a, b *machine) int {
		return cmp.Or(cmp.Compare(b.bad, a.bad), strings.Compare(a.Name, b.Name))
	})
	for _, m := range h.rows[min(maxRows, len(h.rows)):] {
		h.keep = slices.DeleteFunc(h.keep, func(k *machine) bool { return k == m })
	}
	h.rows = h.rows[:min(maxRows, len(h.rows))]
}

// Close writes the page of many machines.
func (h *htmlWriter) Close() error {
	if !h.o.Many {
		return nil
	}
	h.sort()
	p := page{
		Title: plural(h.total(), "machine"), Many: true, Machines: h.rows, AsOf: h.asOf, Missed: h.missed,
		Bad: h.counts[assess.Bad], Undecided: h.counts[assess.Undecided], Clear: h.counts[assess.Clear],
		More: h.total() - len(h.rows), Full: min(maxFull, len(h.rows)), Sources: h.sources, Unread: each(h.unread, gapOf),
	}
	for _, m := range h.rows {
		p.Most = max(p.Most, m.Sum())
		if m.Exploited > 0 {
			p.Exploited++
		}
	}
	return h.print(p)
}

func (h *htmlWriter) total() (n int) {
	for _, v := range h.counts {
		n += v
	}
	return n
}

// print writes a page, the machines of which are rendered already.
func (h *htmlWriter) print(p page) error {
	b, err := render("page", p)
	if err != nil {
		return err
	}
	for _, m := range p.Machines { // each where the template left its place
		if m.body == nil {
			continue
		}
		before, after, ok := bytes.Cut(b, []byte(m.place()))
		if !ok {
			continue
		}
		for _, piece := range [][]byte{before, m.body} {
			if _, err = h.w.Write(piece); err != nil {
				return err
			}
		}
		b = after
	}
	_, err = h.w.Write(b)
	return err
}

// page is what the template of a page shows.
type page struct {
	Title                 string
	Many                  bool
	Machines              []*machine
	AsOf                  catalog.Date
	Bad, Undecided, Clear int
	Exploited             int // machines with an exploited vulnerability
	Most                  int // vulnerabilities of the worst machine
	More, Full, Missed    int
	Sources               []assess.SourceState
	Unread                []Gap
}
