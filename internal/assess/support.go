package assess

import (
	"fmt"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
)

// support says how the release stands to its support on the day. Dates are the last day on
// which updates come; the day itself still counts as supported.
func (x *assessor) support() {
	s := &x.Support
	s.State = SupportUnknown
	rel := x.Identity.Release
	if rel == nil {
		return
	}
	l, ok := lifecycleOf(rel, x.Host)
	if !ok {
		s.Because = append(s.Because, host.Reason{Text: "the catalogue holds no lifecycle for " + rel.Name})
		return
	}
	on := x.AsOf
	s.Ends = l.Extended
	for _, p := range rel.Programmes {
		if !editionMatches(p.Editions, x.Host) {
			continue
		}
		if a, known := x.Host.Arch.Value(); known && !slices.Contains(p.Arches, a.String()) {
			continue
		}
		state := "open"
		switch {
		case p.From != 0 && on < p.From, on <= l.Extended:
			state = "not-started"
		case p.Until != 0 && on > p.Until:
			state = "ended"
		}
		s.Programmes = append(s.Programmes, Programme{p, state})
	}
	open := slices.ContainsFunc(s.Programmes, func(p Programme) bool { return p.State == "open" })
	because := func(format string, args ...any) {
		s.Because = append(s.Because, host.Reason{Text: fmt.Sprintf(format, args...) + " (" + l.Source + "; " + l.Confidence + ")"})
	}
	switch {
	case l.Start != 0 && on < l.Start:
		s.State = NotYet
		because("support of %s starts on %s", rel.Name, l.Start)
	case l.Extended == 0:
		because("the end of support of %s is not known", rel.Name)
	case on <= l.Extended && l.Mainstream != 0 && on > l.Mainstream:
		s.State = Extended
		because("mainstream support of %s ended on %s, extended support ends on %s", rel.Name, l.Mainstream, l.Extended)
	case on <= l.Extended:
		s.State = Mainstream
		because("support of %s ends on %s", rel.Name, l.Extended)
	case open:
		s.State = Programmes
		because("support of %s ended on %s; a programme for further updates still runs", rel.Name, l.Extended)
	default:
		s.State = Over
		because("support of %s ended on %s", rel.Name, l.Extended)
	}
	x.Summary.SupportOver = s.State == Over || s.State == Programmes
	for _, f := range x.Sources {
		if f.ID == catalog.SourceFacts && f.Stale && s.State != Over {
			s.Because = append(s.Because, host.Reason{Text: "lifecycle dates are known as of " + f.Last.String() + " only"})
		}
	}
}

// lifecycleOf picks the row for the host's edition: one that names a word of its product
// name before one that names none.
func lifecycleOf(rel *catalog.Release, h *host.Host) (best catalog.Lifecycle, ok bool) {
	for _, l := range rel.Lifecycles {
		if !editionMatches(l.Editions, h) {
			continue
		}
		if !ok || len(l.Editions) > 0 {
			best, ok = l, true
		}
	}
	return best, ok
}

func editionMatches(words []string, h *host.Host) bool {
	if len(words) == 0 {
		return true
	}
	name := strings.ToUpper(h.Product.Or("") + " " + h.Edition.Or(""))
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(name, w) })
}
