package verify

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/oldguard/oldguard/internal/trust"
	"github.com/oldguard/oldguard/internal/update"
	"github.com/oldguard/oldguard/winver"
)

// Lacking is what an assessment says that a machine lacks.
type Lacking struct {
	Host    string
	Release string
	Arch    winver.Arch
	Build   winver.Build
	Updates []Lack
}

// Lack is one missing update.
type Lack struct {
	KB   winver.KB
	Kind string
}

// maxAssessment bounds one assessment; the largest has 8 MiB.
const maxAssessment = 256 << 20

// ErrNoAssessment is the answer for what is no assessment.
var ErrNoAssessment = errors.New("no assessment: oldguard assess --format json writes one")

// ReadLacking reads assessments as assess writes them in JSON: one, a list of them, or one a line.
func ReadLacking(r io.Reader) (list []Lacking, err error) {
	type assessment struct {
		Host struct {
			Name    struct{ Value *string }
			Release struct{ Value *string }
			Arch    struct{ Value *string }
			Build   struct{ Value *string }
		}
		Updates struct {
			Missing []struct {
				KB   winver.KB
				Kind string
			}
		}
	}
	limited := &io.LimitedReader{R: r, N: maxAssessment}
	d := json.NewDecoder(limited)
	for {
		var doc struct {
			Schema      string
			Assessments []assessment
			assessment
		}
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) && len(list) > 0 && limited.N > 0 {
			return list, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w (%w)", ErrNoAssessment, err)
		}
		switch doc.Schema {
		case "oldguard/assessment/1":
			doc.Assessments = []assessment{doc.assessment}
		case "oldguard/assessments/1":
		default:
			return nil, fmt.Errorf("%w (its schema is %.40q)", ErrNoAssessment, doc.Schema)
		}
		for _, a := range doc.Assessments {
			l := Lacking{Host: or(a.Host.Name.Value, "a machine whose name is not known"), Release: or(a.Host.Release.Value, "")}
			l.Arch, _ = winver.ParseArch(or(a.Host.Arch.Value, "")) // unknown is a value
			if v, err := winver.Parse(or(a.Host.Build.Value, "")); err == nil {
				l.Build = v.Build
			}
			for _, m := range a.Updates.Missing {
				l.Updates = append(l.Updates, Lack{m.KB, m.Kind})
			}
			list = append(list, l)
		}
	}
}

func or(s *string, other string) string {
	if s == nil {
		return other
	}
	return *s
}

// State is how a missing update stands to the files.
type State int

// The states.
const (
	ToFetch   State = iota // no file is it, or none for this machine
	Here                   // a genuine file for this machine
	Refused                // a file says that it is it, and is not genuine
	Undecided              // a genuine file may be it: architecture or version of the machine or the file are not known
)

// String names the state.
func (s State) String() string {
	if s < ToFetch || s > Undecided {
		s = ToFetch
	}
	return [...]string{"to fetch", "here", "refused", "undecided"}[s]
}

// Match is what the files do for one machine.
type Match struct {
	Lacking Lacking
	Wants   []Want
	Others  []Other // files that this machine does not lack
}

// Want is a missing update and what the files have of it.
type Want struct {
	Lack
	State State
	Files []string
	Why   string
}

// Other is a file that is no use for a machine.
type Other struct {
	File, Why string
}

// Against compares files with what machines lack.
func Against(answers []*Answer, machines []Lacking) (list []Match) {
	for _, l := range machines {
		m := Match{Lacking: l}
		used := map[*Answer]bool{}
		for _, lack := range l.Updates {
			w := Want{Lack: lack, Why: "no file here is it"}
			for _, a := range answers {
				if a.Package == nil || a.Package.KB != lack.KB {
					continue
				}
				state, why := fits(a, l)
				used[a] = used[a] || state != ToFetch
				if precedence[state] > precedence[w.State] || len(w.Files) == 0 {
					w.State, w.Why, w.Files = state, why, nil
				}
				if w.State == state {
					w.Files = append(w.Files, a.File)
				}
			}
			m.Wants = append(m.Wants, w)
		}
		for _, a := range answers {
			if !used[a] {
				m.Others = append(m.Others, Other{a.File, useless(a, l)})
			}
		}
		list = append(list, m)
	}
	return list
}

// precedence says which of several files for one update counts.
var precedence = map[State]int{ToFetch: 0, Refused: 1, Undecided: 2, Here: 3}

// fits compares a file that is of a missing KB with the machine.
func fits(a *Answer, l Lacking) (State, string) {
	p := a.Package
	arch, product := sameArch(p, l), sameProduct(p, l)
	switch {
	case arch == no:
		return ToFetch, fmt.Sprintf("what is here is for %s, the machine is %s", p.Arch, l.Arch)
	case product == no:
		return ToFetch, fmt.Sprintf("what is here is for %s", productNames(p))
	case a.Verdict != trust.Genuine:
		return Refused, a.Verdict.String()
	case len(a.Contradictions) > 0:
		return Undecided, "genuine, but not what it is called: " + a.Contradictions[0]
	case arch == maybe:
		return Undecided, "genuine; whether it is for the architecture of the machine is not known"
	case product == maybe:
		return Undecided, "genuine; whether it is for the Windows of the machine is not known"
	}
	return Here, "genuine, and for this machine"
}

type answer3 int

const (
	maybe answer3 = iota
	no
	yes
)

func sameArch(p *update.Package, l Lacking) answer3 {
	switch {
	case p.Arch == winver.ArchUnknown || l.Arch == winver.ArchUnknown:
		return maybe
	case p.Arch == l.Arch:
		return yes
	}
	return no
}

func sameProduct(p *update.Package, l Lacking) answer3 {
	switch {
	case len(p.Products) == 0 || !l.Build.Known():
		return maybe
	case isFor(p, l.Build):
		return yes
	}
	return no
}

// useless says why a file is no use for a machine.
func useless(a *Answer, l Lacking) string {
	p := a.Package
	switch {
	case p == nil || p.KB == 0:
		return "no update: " + a.Kind()
	case a.Verdict != trust.Genuine:
		return a.Verdict.String()
	case sameArch(p, l) == no:
		return fmt.Sprintf("%s for %s", p.KB, p.Arch)
	case sameProduct(p, l) == no:
		return fmt.Sprintf("%s for %s", p.KB, productNames(p))
	case slices.ContainsFunc(l.Updates, func(x Lack) bool { return x.KB == p.KB }):
		return p.KB.String()
	}
	return p.KB.String() + ", which the machine is not known to lack"
}
