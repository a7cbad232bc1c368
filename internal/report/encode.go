package report

import (
	"encoding/json"
	"slices"
	"strconv"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// The document of a machine that lacks much has megabytes, nearly all of them findings and
// undecided updates. These are written by hand, three times as fast as encoding/json does
// it; everything else, which is small, is left to encoding/json. A test holds that the
// result is the encoding of Document.

// appendDocument appends the encoding of New(a, f) to b. The layout is what stands before
// each member of a document and each item of a long list: nothing, or a line end for people
// who look at it.
func appendDocument(b []byte, a *assess.Assessment, f Findings, layout string) ([]byte, error) {
	e := encoder{b: b, layout: layout}
	list := f.of(a)
	e.b = slices.Grow(e.b, 1<<14+600*len(list)+500*len(a.Updates.Undecided))
	e.raw("{")
	e.raw(`"schema":"` + schemaAssessment + `",`)
	e.member("as_of", a.AsOf)
	e.member("sources", sourcesOf(a))
	e.member("host", hostOf(a))
	e.member("support", supportOf(&a.Support))
	e.member("esu_readiness", each(a.ESU, readyOf))
	e.member("forever_days", foreverOf(a))
	e.raw(layout + `"updates":`)
	e.updates(&a.Updates)
	e.raw("," + layout)
	array(&e, "findings", list, e.finding)
	e.raw(",")
	e.member("programs", each(a.Programs, programOf))
	e.member("log_errors", each(a.Errors, knownErrorOf))
	e.member("gaps", each(a.Gaps, gapOf))
	e.member("summary", summaryOf(a))
	e.b[len(e.b)-1] = '}' // in the place of the last comma
	return e.b, e.err
}

// encoder appends JSON to b.
type encoder struct {
	b      []byte
	layout string
	err    error
	// Thousands of findings share a few hundred reasons, needs and lists of sources, each
	// the same slice: its bytes are written once and copied from where they stand.
	reason map[*host.Reason]stretch
	need   map[*assess.Need]stretch
	source map[*host.Source]stretch
}

// stretch is where the bytes of a list of n members stand.
type stretch struct{ n, from, to int }

// once appends what write appends for a list, which it calls once for each list.
func once[T any](e *encoder, memo *map[*T]stretch, list []T, write func([]T)) {
	if len(list) == 0 {
		e.raw("[]")
		return
	}
	if s, ok := (*memo)[&list[0]]; ok && s.n == len(list) {
		e.b = append(e.b, e.b[s.from:s.to]...)
		return
	}
	from := len(e.b)
	write(list)
	if *memo == nil {
		*memo = map[*T]stretch{}
	}
	(*memo)[&list[0]] = stretch{len(list), from, len(e.b)}
}

func (e *encoder) raw(s string) { e.b = append(e.b, s...) }

// member appends a member of the document and a comma, with encoding/json.
func (e *encoder) member(key string, v any) {
	b, err := json.Marshal(v)
	if err != nil && e.err == nil {
		e.err = err
	}
	e.raw(e.layout + `"` + key + `":`)
	e.b = append(append(e.b, b...), ',')
}

// array appends a member that is a list, each item in a line if there is a layout.
func array[T any](e *encoder, key string, list []T, item func(*T)) {
	e.raw(`"` + key + `":[`)
	for i := range list {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		e.raw(e.layout)
		item(&list[i])
	}
	if len(list) > 0 {
		e.raw(e.layout)
	}
	e.b = append(e.b, ']')
}

// string appends a string. It is JSON already if nothing in it needs an escape.
func (e *encoder) string(s string) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			b, _ := json.Marshal(s) // a string has an encoding
			e.b = append(e.b, b...)
			return
		}
	}
	e.b = append(e.b, '"')
	e.raw(s)
	e.b = append(e.b, '"')
}

// orNull appends s, null if it is empty.
func (e *encoder) orNull(s string) {
	if s == "" {
		e.raw("null")
		return
	}
	e.string(s)
}

func (e *encoder) date(d catalog.Date) { e.orNull(d.String()) }

func (e *encoder) kb(kb winver.KB) {
	e.raw(`"KB`)
	e.b = strconv.AppendUint(e.b, uint64(kb), 10)
	e.b = append(e.b, '"')
}

func (e *encoder) kbOrNull(kb winver.KB) {
	if kb == 0 {
		e.raw("null")
		return
	}
	e.kb(kb)
}

func (e *encoder) updates(u *assess.Updates) {
	e.raw("{")
	array(e, "installed", u.Installed, e.update)
	e.raw(",")
	array(e, "missing", u.Missing, func(it *assess.Item) {
		e.update(it)
		e.b = e.b[:len(e.b)-1]
		e.raw(`,"offered_now":` + strconv.FormatBool(offered(u, it.KB)) + "}")
	})
	e.raw(",")
	array(e, "undecided", u.Undecided, e.update)
	e.raw(",")
	array(e, "offered_now", u.OfferedNow, e.update)
	e.raw(`,"newest":`)
	e.kbOrNull(u.Newest)
	e.raw(`,"latest":`)
	e.kbOrNull(u.Latest)
	e.raw(`,"months_behind":`)
	if n := months(u); n != nil {
		e.b = strconv.AppendInt(e.b, int64(*n), 10)
	} else {
		e.raw("null")
	}
	e.raw("}")
}

func (e *encoder) update(it *assess.Item) {
	e.raw(`{"kb":`)
	e.kb(it.KB)
	e.raw(`,"kind":`)
	e.string(it.Kind)
	e.raw(`,"released":`)
	e.date(it.Released)
	e.raw(`,"released_sure":`)
	e.string(sureOf(it))
	if it.Group != "" {
		e.raw(`,"group":`)
		e.string(it.Group)
	}
	e.raw(`,"needs":`)
	e.needs(it.Needs)
	e.raw(`,"because":`)
	e.reasons(it.Because)
	e.raw("}")
}

func (e *encoder) finding(f *assess.Finding) {
	e.raw(`{"cve":`)
	e.string(f.CVE)
	e.raw(`,"verdict":`)
	e.string(f.Verdict.String())
	e.raw(`,"fixes":[`)
	for i, kb := range f.Fixes {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		e.kb(kb)
	}
	e.raw(`],"needs":`)
	e.needs(f.Needs)
	e.raw(`,"severity":`)
	e.orNull(f.Severity.String())
	e.raw(`,"impact":`)
	e.orNull(f.Impact.String())
	e.raw(`,"cvss":`)
	if f.Score == 0 {
		e.raw("null")
	} else {
		e.b = strconv.AppendFloat(e.b, f.Score, 'f', -1, 64)
	}
	e.raw(`,"cvss_vector":`)
	e.orNull(f.Vector)
	e.raw(`,"kev":`)
	e.raw([...]string{host.Unknown: "null", host.Yes: "true", host.No: "false"}[f.KEV])
	e.raw(`,"kev_since":`)
	e.date(f.KEVSince)
	e.raw(`,"ransomware":`)
	e.b = strconv.AppendBool(e.b, f.Ransomware)
	e.raw(`,"component":`)
	e.string(f.Component)
	e.raw(`,"because":`)
	e.reasons(f.Because)
	e.raw("}")
}

func (e *encoder) needs(list []assess.Need) { once(e, &e.need, list, e.writeNeeds) }

func (e *encoder) writeNeeds(list []assess.Need) {
	e.raw("[")
	for i := range list {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		n := &list[i]
		e.raw(`{"kind":`)
		e.string(string(n.Kind))
		e.raw(`,"kb":`)
		e.kbOrNull(n.KB)
		e.raw(`,"programmes":[`)
		for j, p := range n.Programmes {
			if j > 0 {
				e.b = append(e.b, ',')
			}
			e.string(p)
		}
		e.raw(`],"text":`)
		e.string(n.Text)
		e.raw("}")
	}
	e.raw("]")
}

func (e *encoder) reasons(list []host.Reason) { once(e, &e.reason, list, e.writeReasons) }

func (e *encoder) writeReasons(list []host.Reason) {
	e.raw("[")
	for i := range list {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		e.raw(`{"text":`)
		e.string(list[i].Text)
		e.raw(`,"sources":`)
		once(e, &e.source, list[i].From, e.writeSources)
		e.raw("}")
	}
	e.raw("]")
}

func (e *encoder) writeSources(list []host.Source) {
	e.raw("[")
	for i := range list {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		s := sourceOf(list[i])
		e.raw(`{"reader":`)
		e.string(s.Reader)
		e.raw(`,"input":`)
		e.string(s.Input)
		e.raw(`,"at":`)
		e.string(s.At)
		if s.Taken != "" {
			e.raw(`,"taken":`)
			e.string(s.Taken)
		}
		e.raw("}")
	}
	e.raw("]")
}
