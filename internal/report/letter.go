package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
)

// The letter is a form: what the program knows is filled in, and what only the owner knows,
// such as which controls are in place, is left open. It claims no control and calls
// nothing safe. It fits a page of A4 whatever the evidence holds, so everything in it has a
// bound.

// letterDays is how long a letter is valid unless something ends before.
const letterDays = 90

// maxLines bounds the lists in a letter.
const maxLines = 4

// control is a measure that lowers the risk of a machine that gets no updates.
type control struct{ What, Evidence string }

// controls are those recommended for every such machine. That no combination of them
// removes the risk is the NCSC's word (Obsolete platforms security guidance).
//
// Sources: https://www.ncsc.gov.uk/guidance/obsolete-platforms-security-guidance,
// https://www.cert.govt.nz/it-specialists/critical-controls/legacy-systems/mitigating-legacy-systems/,
// https://www.cyber.gov.au/business-government/protecting-devices-systems/legacy-technology-management.
// The ones on SMB, NTLM and Print Spooler are what these come to on Windows 6.0 (inferred).
var controls = []control{
	{"Own network zone; its firewall denies both ways", "firewall rules"},
	{"Only listed peers and ports; host firewall on", "netsh advfirewall"},
	{"No internet, no mail, no browsing", "proxy, firewall rules"},
	{"Administered from a jump host with MFA only", "firewall rules, logons"},
	{"SMB 1 off both ways; SMB signing required", "LanmanServer, mrxsmb10"},
	{"NTLMv2 only; Remote Desktop only with NLA", "Lsa and RDP-Tcp keys"},
	{"Print Spooler and every needless role off", "services, start types"},
	{"Local administrator's password used only here", "how it is managed"},
	{"Logs forwarded and watched; IPS in front", "a recent event, IPS rules"},
	{"Backup kept offline; restore tried", "date of last restore"},
}

// letter is what its template shows.
type letter struct {
	Name, What, Build, Domain string
	Inputs                    string
	AsOf, Until               catalog.Date
	UntilWhy                  string
	Headline                  string
	Numbers                   string
	Why                       []string
	Missing                   []string
	MoreMissing               int
	DomainController          bool
	Controls                  []control
	Unknown                   []string
	MoreUnknown               int
	Sources                   string
}

// letterWriter writes a letter for each machine, a page each.
type letterWriter struct {
	w     io.Writer
	begun bool
}

func openLetter(w io.Writer, _ Options) Writer { return &letterWriter{w: w} }

// Prepare makes the letter of one machine.
func (l *letterWriter) Prepare(a *assess.Assessment) (Part, error) {
	p := Part{Level: a.Level(), Unread: Unread(a)}
	if p.Unread {
		return p, nil
	}
	var err error
	p.Body, err = render("letter", letterOf(a))
	return p, err
}

// Write writes one letter.
func (l *letterWriter) Write(p Part) error {
	if err := l.head(); err != nil {
		return err
	}
	_, err := l.w.Write(p.Body)
	return err
}

func (l *letterWriter) head() error {
	if l.begun {
		return nil
	}
	l.begun = true
	return l.piece("letterhead")
}

func (l *letterWriter) piece(name string) error {
	b, err := render(name, nil)
	if err != nil {
		return err
	}
	_, err = l.w.Write(b)
	return err
}

// Close ends the document.
func (l *letterWriter) Close() error {
	if err := l.head(); err != nil {
		return err
	}
	return l.piece("letterfoot")
}

func letterOf(a *assess.Assessment) *letter {
	s := &a.Summary
	role, _ := a.Host.Role.Value()
	l := &letter{
		Name: a.Host.Name.Or("a machine whose name is not known"), What: what(a), Build: build(a),
		Domain: a.Host.Domain.Or("not known"), Inputs: strings.Join(inputs(a.Host), ", "),
		AsOf: a.AsOf, Headline: s.Headline, Why: whyException(a), Controls: controls,
		DomainController: role == host.DomainController,
		Numbers: fmt.Sprintf("Rated critical: %d; exploited by ransomware: %d; no update ever published: %d; not decided: %d.",
			s.CriticalAffected, s.Ransomware, s.Unfixable, s.Unknown),
	}
	l.Until, l.UntilWhy = validUntil(a)
	for _, it := range a.Updates.Missing {
		text := []string{fmt.Sprintf("%s, %s of %s", it.KB, KindWords(it.Kind), released(it))}
		for _, n := range it.Needs {
			if n.Kind == assess.NeedESU {
				text = append(text, n.Text)
			}
		}
		l.Missing = append(l.Missing, joined(text))
	}
	l.MoreMissing = max(len(l.Missing)-maxLines, 0)
	l.Missing = l.Missing[:min(len(l.Missing), maxLines)]
	for _, g := range a.Gaps {
		l.Unknown = append(l.Unknown, g.What+": "+g.Why)
	}
	l.MoreUnknown = max(len(l.Unknown)-maxLines, 0)
	l.Unknown = l.Unknown[:min(len(l.Unknown), maxLines)]
	var stale []string
	for _, src := range a.Sources {
		if src.Stale {
			stale = append(stale, src.Name+" "+src.Last.String())
		}
	}
	l.Sources = strings.Join(stale, "; ")
	return l
}

// whyException says why the machine cannot simply be updated, or that it can.
func whyException(a *assess.Assessment) (out []string) {
	s := &a.Support
	var open []string
	var last catalog.Date
	for _, p := range s.Programmes {
		last = max(last, p.Until)
		if p.State == "open" {
			open = append(open, p.Name+" until "+p.Until.String())
		}
	}
	switch s.State {
	case assess.SupportUnknown:
		out = append(out, "How it stands to support is not known: "+because(s.Because)+".")
	case assess.NotYet, assess.Mainstream, assess.Extended:
		out = append(out, "Support runs until "+s.Ends.String()+": what is missing can be installed, and the lack of updates is no reason for an exception.")
	case assess.Programmes:
		out = append(out, "Support ended on "+s.Ends.String()+". Updates come only under "+strings.Join(open, ", ")+"; the evidence does not prove an entitlement.")
	case assess.Over:
		text := "Support ended on " + s.Ends.String()
		if last != 0 {
			text += ", the last programme for further updates on " + last.String()
		}
		out = append(out, text+". What is found from then on is not fixed for anybody.")
	}
	if n := a.Summary.Unfixable; n > 0 {
		out = append(out, fmt.Sprintf("For %d of the vulnerabilities no update was ever published for this product and architecture.", n))
	}
	if len(a.Updates.Missing) == 0 && a.Identity.Release != nil {
		out = append(out, "No published update is known to be missing of what was checked.")
	}
	return out
}

// validUntil is the day on which a letter ends: letterDays after the day judged, or when
// support or a programme ends before that.
func validUntil(a *assess.Assessment) (until catalog.Date, why string) {
	until, why = a.AsOf+letterDays, fmt.Sprintf("%d days after the day judged", letterDays)
	sooner := func(d catalog.Date, what string) {
		if d > a.AsOf && d < until {
			until, why = d, what+" ends"
		}
	}
	sooner(a.Support.Ends, "support")
	for _, p := range a.Support.Programmes {
		sooner(p.Until, p.Name)
	}
	for _, s := range a.Sources {
		sooner(s.Last, s.Name)
	}
	return until, why
}
