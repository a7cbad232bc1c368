// Package explain answers what a person asks about one thing of the field: an update, a
// vulnerability, a build, a release, an ESU activation id, the name of a package or a file,
// an error code. It says what is known, from which source and how sure that is, where
// sources disagree, and until which day they speak.
//
// It is about what Microsoft has published, not about any machine: package assess judges
// machines. It is pure; the tables in data are its own, each row with its source.
package explain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/winver"
)

// Schema names the JSON form of an Answer, SchemaMany that of a list of them. Fields are
// added to them, never given another meaning.
const (
	Schema     = "oldguard/explanation/1"
	SchemaMany = "oldguard/explanations/1"
)

// Kind is what a question is about.
type Kind string

// The kinds.
const (
	KindUpdate     Kind = "update"
	KindCVE        Kind = "cve"
	KindBuild      Kind = "build"
	KindRelease    Kind = "release"
	KindPackage    Kind = "package"
	KindActivation Kind = "activation-id"
	KindError      Kind = "error"
)

// Answer is what is known of one thing.
type Answer struct {
	Schema string       `json:"schema"`
	Query  string       `json:"query"`
	AsOf   catalog.Date `json:"as_of"`
	Kind   Kind         `json:"kind"`
	Title  string       `json:"title"`
	// Known is false where the question is understood and no source speaks of the thing.
	// Such an answer says until which day the sources reach: it is never "there is none".
	Known    bool      `json:"known"`
	Sections []Section `json:"sections"`
	// Near lists what may have been meant, best first.
	Near []string `json:"near,omitempty"`
	// Sources are the feeds that the answer rests on, with the last day each speaks about.
	Sources []Source `json:"sources"`

	snippet bool // it is about Server 2008 SP2
}

// Source is a feed with the last day it speaks about.
type Source struct {
	ID   string       `json:"id"`
	Name string       `json:"name"`
	Last catalog.Date `json:"last"`
}

// Section is a part of an answer.
type Section struct {
	Heading string `json:"heading"`
	Lines   []Line `json:"lines"`
}

// Line is one statement.
type Line struct {
	Label string `json:"label,omitempty"`
	Text  string `json:"text"`
	// Confidence is how sure the statement is, in the words of the tables: documented,
	// documented (secondary), inferred, conflicting. Empty is what the feeds of the
	// catalogue state.
	Confidence string `json:"confidence,omitempty"`
	// Source is where the statement comes from; empty for the feeds of the catalogue.
	Source string `json:"source,omitempty"`
	// Conflict marks a statement that another source, or the facts, contradict.
	Conflict bool `json:"conflict,omitempty"`
}

// QuestionError says that a question is none that Explain understands.
type QuestionError struct {
	Query string
	Why   string
	Near  []string // what may have been meant
}

// Error names the question, shortened and with control characters escaped.
func (e *QuestionError) Error() string {
	return fmt.Sprintf("%s is %s", quoted(e.Query), e.Why)
}

// quoted bounds and escapes what comes from the command line.
func quoted(s string) string {
	const most = 80
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return fmt.Sprintf("%q", s)
}

// maxQuery bounds a question; the longest real one, a BuildLabEx or a package name, has
// about a hundred characters.
const maxQuery = 512

// asker works out one answer.
type asker struct {
	*Answer
	cat *catalog.Catalog
	on  catalog.Date
}

// recogniser tries to understand a question as one kind of thing. It gives false for what
// is no such thing.
type recogniser struct {
	kind Kind
	ask  func(a *asker, query string) (bool, error)
}

// recognisers lists them, the most particular form first. A number of eight digits that
// begins with 8 is an error code before it is a KB, one that is the build of a released
// Windows is a build before it is an error, and any other small number an error before it
// is a build: see the tests for each.
func recognisers() []recogniser {
	return []recogniser{
		{KindCVE, (*asker).cve},
		{KindActivation, (*asker).activation},
		{KindPackage, (*asker).packageName},
		{KindError, (*asker).errorCode},
		{KindBuild, (*asker).releasedBuild},
		{KindError, (*asker).win32},
		{KindBuild, (*asker).build},
		{KindRelease, (*asker).release},
		{KindUpdate, (*asker).update},
		{KindError, (*asker).message},
	}
}

// Explain answers query by what was published until the day on. A question it does not
// understand gives a *QuestionError; one it understands and knows no answer to gives an
// Answer that is not Known. Other errors are those of reading the catalogue.
func Explain(query string, c *catalog.Catalog, on time.Time) (*Answer, error) {
	q := strings.TrimSpace(query)
	if q == "" || len(q) > maxQuery {
		return nil, &QuestionError{Query: query, Why: fmt.Sprintf("no question: it is empty, or longer than %d bytes", maxQuery)}
	}
	for _, r := range recognisers() {
		a := &asker{cat: c, on: catalog.DateOf(on), Answer: &Answer{Schema: Schema, Query: q, AsOf: catalog.DateOf(on), Kind: r.kind, Known: true}}
		switch ok, err := r.ask(a, q); {
		case err != nil:
			return nil, err
		case ok:
			return a.Answer, nil
		}
	}
	return nil, &QuestionError{
		Query: q, Why: "neither KB, CVE, version, release, package name, activation id nor error code",
		Near: nearReleases(c, q),
	}
}

// section begins a section; what is added goes into the last one begun.
func (a *asker) section(format string, args ...any) {
	a.Sections = append(a.Sections, Section{Heading: fmt.Sprintf(format, args...)})
}

// say adds a statement of the catalogue's feeds.
func (a *asker) say(label, format string, args ...any) {
	a.add(Line{Label: label, Text: fmt.Sprintf(format, args...)})
}

func (a *asker) add(lines ...Line) {
	s := &a.Sections[len(a.Sections)-1]
	s.Lines = append(s.Lines, lines...)
}

// uses names the feeds that the answer rests on.
func (a *asker) uses(ids ...string) {
	for _, id := range ids {
		s, ok := a.cat.Source(id)
		if ok && !slices.ContainsFunc(a.Sources, func(x Source) bool { return x.ID == id }) {
			a.Sources = append(a.Sources, Source{s.ID, s.Name, s.Last})
		}
	}
}

// until gives the last day of a feed, for sentences.
func (a *asker) until(id string) string {
	if s, ok := a.cat.Source(id); ok && s.Last != 0 {
		return s.Last.String()
	}
	return "an unknown day"
}

// unknown makes the answer one that knows nothing but how far its sources reach.
func (a *asker) unknown(format string, args ...any) {
	a.Known = false
	a.uses(catalog.SourceUpdates, catalog.SourceFacts)
	a.section("Not in the catalogue")
	a.say("", format, args...)
	a.say("known until", "%s for updates and vulnerabilities, %s for releases and programmes; what came later, or is not about Windows itself from Vista and Server 2008 on, is not in it",
		a.until(catalog.SourceUpdates), a.until(catalog.SourceFacts))
}

// names joins KB numbers for a sentence, the first few of them.
func names(kbs []winver.KB, most int) string {
	var out []string
	for i, kb := range kbs {
		if i == most {
			out = append(out, fmt.Sprintf("and %d more", len(kbs)-most))
			break
		}
		out = append(out, kb.String())
	}
	return strings.Join(out, ", ")
}

// plural writes "1 update", "2 updates".
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
