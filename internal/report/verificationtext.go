package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/oldguard/oldguard/internal/trust"
	"github.com/oldguard/oldguard/internal/verify"
)

// What is said of a file goes in the order in which one asks: is it genuine, what is it, for which
// machine, what speaks against it, why might it fail, and what does all this rest on.

// listedText bounds the damages, contents and files that text names; the other formats have all.
const listedText = 200

func verificationText(w io.Writer, v *Verified, o Options) error {
	t := newPrinter(o)
	begun := false
	block := func() {
		if begun {
			t.line()
		}
		begun = true
	}
	for _, a := range v.Files {
		block()
		t.verification(a)
		if v.Contents {
			t.contents(a.Contents())
		}
	}
	for _, s := range v.Stores {
		block()
		t.store(s)
	}
	for _, m := range v.Matches {
		block()
		t.match(m)
	}
	for _, u := range v.Unread {
		block()
		t.line(t.styled(bold, u.File))
		t.para(amber, "  ", "could not be read: "+u.Why)
	}
	if len(v.Files) > 1 {
		block()
		t.para(plain, "", tallyOf(v.Files))
	}
	_, err := w.Write(t.bytes())
	return err
}

// tallyOf counts the verdicts.
func tallyOf(answers []*verify.Answer) string {
	counts := map[trust.Verdict]int{}
	for _, a := range answers {
		counts[a.Verdict]++
	}
	var parts []string
	for _, v := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[v], v))
	}
	return plural(len(answers), "file") + ": " + strings.Join(parts, ", ")
}

func (t *printer) verification(a *verify.Answer) {
	look := red
	switch {
	case a.Certain():
		look = green
	case a.Verdict == trust.Genuine, a.Verdict == trust.NotUnderstood:
		look = amber
	}
	t.line(t.styled(bold, a.File))
	t.para(look, "  ", verdictText(a))
	for _, c := range a.Contradictions {
		t.para(red, "  but ", c)
	}
	for _, b := range a.Because {
		t.para(plain, "  because ", b)
	}
	t.row("size", fmt.Sprintf("%d bytes, %s", a.Trust.Size, a.Kind()))
	t.row("SHA-1", a.Trust.SHA1)
	t.row("SHA-256", a.Trust.SHA256)
	v := verificationOf(a, false)
	t.whatItIs(&v)
	t.program(v.Program)
	t.catalogue(v.Catalogue)
	t.signatures(a.Trust.Signatures)
	if len(a.Troubles) > 0 {
		t.title("Why it may fail on the old machine, and what helps")
	}
	for _, x := range a.Troubles {
		t.para(plain, "  - ", x.Why)
		t.para(faint, "    ", strings.Join(x.Codes, ", ")+": "+x.Cure)
	}
	if len(a.Notes) > 0 {
		t.title("To know")
	}
	for _, n := range a.Notes {
		t.para(plain, "  - ", n)
	}
}

// row prints a name with its value, and nothing where there is none.
func (t *printer) row(name, value string) {
	if value != "" {
		t.para(plain, fmt.Sprintf("  %-16s", name), value)
	}
}

func (t *printer) whatItIs(v *Verification) {
	p := v.Package
	if p == nil || p.Name == "" && p.KB == nil {
		return
	}
	t.title("What it is, by its own word")
	if p.KB != nil {
		t.row("update", p.KB.String())
	}
	t.row("package", strings.TrimSpace(p.Name+" "+p.Version))
	t.row("type", p.ReleaseType)
	t.row("architecture", p.Arch.String())
	var products []string
	for _, x := range p.Products {
		name := x.Name
		if x.ServicePack != nil {
			name += fmt.Sprintf(" SP%d", *x.ServicePack)
		}
		products = append(products, name+" ("+x.Version+")")
	}
	t.row("for", strings.Join(products, ", "))
	language := "all"
	if len(p.Languages) > 0 {
		language = strings.Join(p.Languages, ", ")
	}
	t.row("language", language)
	if p.Created != nil {
		t.row("made", p.Created.Format(time.DateOnly))
	}
	t.row("installs", plural(p.Files, "file"))
	t.row("versions", strings.Join(p.Versions, ", "))
	if p.LeadsTo != nil {
		t.row("leads to build", *p.LeadsTo+leadsTo(*p.LeadsTo))
	}
	if p.Stack != nil {
		t.row("servicing stack", *p.Stack+" or later")
	}
	if p.ESU {
		t.row("ESU", "asks for an extended security updates licence")
	}
	t.row("restart", p.Restart)
	t.row("removal", p.Permanence)
}

// leadsTo warns of the change of number that surprises people.
func leadsTo(build string) string {
	if strings.HasPrefix(build, "6.0.6003.") {
		return " (a machine of build 6002 becomes 6003)"
	}
	return ""
}

func (t *printer) program(p *VerifiedProgram) {
	if p == nil {
		return
	}
	t.title("What it is, by its own word")
	t.row("program for", p.Arch)
	t.row("file version", p.FileVersion)
	t.row("product version", p.ProductVersion)
	t.row("description", p.Description)
	t.row("company", p.Company)
	t.row("original name", p.OriginalName)
}

func (t *printer) catalogue(list []Published) {
	if len(list) == 0 {
		return
	}
	t.title("What the catalogue has")
	for _, p := range list {
		text := p.Kind
		if p.Released != 0 {
			text += ", released " + p.Released.Day()
			if p.ReleasedSure != "day" {
				text += " (" + p.ReleasedSure + ")"
			}
		}
		if p.Build != nil {
			text += ", build " + *p.Build
		}
		if !p.Security {
			text += ", no vulnerability is tied to it"
		}
		look := plain
		if !p.Concerns {
			look = faint
		}
		t.para(look, "  - ", p.Name+": "+text)
	}
}

func (t *printer) signatures(list []trust.Signature) {
	for _, s := range list {
		t.title("Signature: %s", s.Place)
		t.row("verdict", s.Verdict.String())
		t.row("signer", s.Signer)
		t.row("description", strings.TrimSpace(s.Description+" "+s.URL))
		t.row("digest", strings.TrimSpace(s.Algorithm+" "+s.Signed))
		if s.Computed != s.Signed {
			t.row("digest now", s.Computed)
		}
		for i, l := range s.Chain {
			t.row(cmpFirst(i, "chain"), fmt.Sprintf("%s, %s to %s", l.Subject, l.NotBefore.Format(time.DateOnly), l.NotAfter.Format(time.DateOnly)))
		}
		for _, stamp := range s.Timestamps {
			t.row("countersigned", fmt.Sprintf("%s, %s, by %s", stamp.Time.UTC().Format(time.RFC3339), stamp.Kind, stamp.Authority))
			for _, p := range stamp.Problems {
				t.para(amber, "    does not count: ", p)
			}
		}
		for _, p := range s.Problems {
			t.para(amber, "    not genuine: ", p)
		}
		for _, p := range s.Odd {
			t.para(amber, "    nothing covers: ", p)
		}
	}
}

// cmpFirst is the name for the first of several rows.
func cmpFirst(i int, name string) string {
	if i == 0 {
		return name
	}
	return ""
}

func (t *printer) contents(list []verify.Content) {
	if len(list) == 0 {
		t.title("Nothing can be unpacked")
		return
	}
	t.title("What is in it: %s", plural(len(list), "file"))
	for _, c := range list {
		name := c.Path
		if name == "" {
			name = c.Name + "  (not unpacked: " + c.Unsafe + ")"
		}
		when := "                "
		if !c.Modified.IsZero() {
			when = minute(c.Modified)
		}
		t.line(fmt.Sprintf("  %11d  %s  ", c.Size, when), t.styled(plain, name))
	}
}

func (t *printer) store(s *verify.Store) {
	t.line(t.styled(bold, s.Name))
	if len(s.Damaged) == 0 {
		t.para(plain, "  ", "no damage was found in what could be checked")
	} else {
		n := s.Catalogs.Damaged + s.Packages.Damaged + s.Manifests.Damaged + s.Files.Damaged
		t.para(red, "  ", "damaged: "+plural(n, "part")+" of the installed packages")
	}
	for _, row := range storeOf(s).Rows() {
		t.line(fmt.Sprintf("  %-20s %7d good %7d damaged %7d not checked", row.Name, row.Good, row.Damaged, row.Unchecked))
	}
	if len(s.Damaged) > 0 {
		t.title("Damaged")
	}
	for i, d := range s.Damaged {
		if i == listedText {
			t.para(faint, "  ", fmt.Sprintf("and %d more: --format json has all", len(s.Damaged)-i))
			break
		}
		t.para(red, "  - ", d.Path)
		t.para(plain, "    ", d.What+": "+d.Why)
		t.para(faint, "    ", d.Cure())
	}
	if len(s.Unchecked) > 0 {
		t.title("Not checked")
	}
	for i, u := range s.Unchecked {
		if i == listedText {
			t.para(faint, "  ", fmt.Sprintf("and %d more: --format json has all", len(s.Unchecked)-i))
			break
		}
		t.para(amber, "  - ", fmt.Sprintf("%s: %s", plural(u.Count, u.What), u.Why))
		t.para(faint, "    ", "such as "+u.Example)
	}
	t.title("To know")
	for _, n := range s.Notes {
		t.para(plain, "  - ", n)
	}
}

func (t *printer) match(m verify.Match) {
	what := strings.TrimSpace(m.Lacking.Release + " " + m.Lacking.Arch.String())
	t.line(t.styled(bold, "For "+m.Lacking.Host), "  ", t.styled(faint, what))
	if len(m.Wants) == 0 {
		t.para(plain, "  ", "the assessment lacks no update")
	}
	for _, state := range []struct {
		verify.State
		style
		title string
	}{
		{verify.Here, green, "Here, genuine, and for this machine"},
		{verify.Undecided, amber, "Here, but undecided"},
		{verify.Refused, red, "Here, but not genuine: to be fetched"},
		{verify.ToFetch, amber, "Still to be fetched"},
	} {
		begun := false
		for _, w := range m.Wants {
			if w.State != state.State {
				continue
			}
			if !begun {
				t.title("%s", state.title)
				begun = true
			}
			t.para(state.style, "  - ", fmt.Sprintf("%s, %s", w.KB, w.Kind))
			if len(w.Files) > 0 {
				t.para(faint, "    ", strings.Join(w.Files, ", ")+": "+w.Why)
			}
		}
	}
	if len(m.Others) > 0 {
		t.title("No use for this machine")
	}
	for i, o := range m.Others {
		if i == listedText {
			t.para(faint, "  ", fmt.Sprintf("and %d more: --format json has all", len(m.Others)-i))
			break
		}
		t.para(faint, "  - ", o.File+": "+o.Why)
	}
}
