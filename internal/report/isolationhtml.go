package report

import (
	"cmp"
	"fmt"
	"html/template"
	"io"
	"time"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/plan"
)

// How much of long lists a page holds; JSON has all. Without the bounds a page of a server with
// twenty thousand clients, or one that was scanned, would have tens of megabytes.
const (
	pagePeers   = 100 // of a dependency
	pageShort   = 4   // of these, those that are not folded away
	pageCut     = 50  // dependencies of a reason
	pageOffers  = 200 // ports that nobody used
	pageAllowed = 500 // dependencies that are allowed
)

// isolationHTML writes one page: for each machine first what who decides has to see, with the picture,
// then the detail. Of many machines an overview comes first.
func isolationHTML(w io.Writer, s Isolations, _ Options) error {
	d := NewIsolation(s)
	p := isolationPage{AsOf: d.AsOf, Many: len(d.Hosts) > 1, Title: plural(len(d.Hosts), "machine") + " to fence in"}
	if len(d.Hosts) == 1 {
		p.Title = d.Hosts[0].Title() + ": plan to fence it in"
	}
	for i := range d.Hosts {
		row := isolationRow{IsolationHost: &d.Hosts[i], ID: fmt.Sprintf("h%d", i+1), Full: i < maxFull}
		row.Bad, row.Unknown = len(row.controls(plan.ControlBad)), len(row.controls(plan.ControlUnknown))
		p.Allowed += row.Totals.Allowed
		p.Cut += row.Totals.Cut
		if row.Why != nil {
			p.Without++
		}
		if i < maxRows {
			p.Rows = append(p.Rows, row)
		} else {
			p.More++
		}
		if row.Full {
			p.Sheets = append(p.Sheets, isolationSheetOf(&d.Hosts[i], row.ID, d.AsOf))
		}
	}
	b, err := render("isolation", p)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// isolationPage is what the template shows.
type isolationPage struct {
	Title                 string
	AsOf                  catalog.Date
	Many                  bool
	Rows                  []isolationRow
	Sheets                []*isolationSheet
	Allowed, Cut, Without int
	More                  int // machines without a row
}

// isolationRow is a machine among many.
type isolationRow struct {
	*IsolationHost
	ID           string
	Full         bool
	Bad, Unknown int
}

// isolationSheet is all about one machine.
type isolationSheet struct {
	*IsolationHost
	ID      string
	AsOf    catalog.Date
	Mark    string // class of the verdict
	Picture template.HTML
	Parties []*party
	In, Out []isolationService
	Named   []*IsolationRule
	// MoreAllowed are dependencies that there is no room for.
	MoreAllowed int
	Cuts        []isolationCuts
	Open        []*IsolationOffer
	MoreOpen    int
	Itself      int
	Controls    []isolationControls
	Bad         []*IsolationControl
	Unknown     []*IsolationControl
	Weigh       []string
	Formats     []string
}

// isolationService is a dependency as the page shows it.
type isolationService struct {
	*IsolationDependency
	Who   string // in short
	Peers []string
	More  int
}

// isolationCuts is what is cut for one reason.
type isolationCuts struct {
	*cutGroup
	Services []isolationService
	More     int
}

// isolationControls are controls in one state of which a line each is enough.
type isolationControls struct {
	Title string
	List  []*IsolationControl
}

func isolationSheetOf(h *IsolationHost, id string, on catalog.Date) *isolationSheet {
	s := &isolationSheet{IsolationHost: h, ID: id, AsOf: on, Mark: "plan", Picture: h.picture(id), Parties: h.partyTable(), Weigh: h.weigh(), Named: h.named()}
	if h.Why != nil {
		s.Mark = "undecided"
	}
	for i := range h.Dependencies {
		d := &h.Dependencies[i]
		switch {
		case !d.Allowed():
		case len(s.In)+len(s.Out) >= pageAllowed:
			s.MoreAllowed++
		case d.Direction == "in":
			s.In = append(s.In, h.service(d))
		default:
			s.Out = append(s.Out, h.service(d))
		}
	}
	for _, g := range h.cuts() {
		c := isolationCuts{cutGroup: g, More: max(0, len(g.Dependencies)-pageCut)}
		for _, d := range g.Dependencies[:min(pageCut, len(g.Dependencies))] {
			c.Services = append(c.Services, h.service(d))
		}
		s.Cuts = append(s.Cuts, c)
	}
	s.Open, s.Itself = h.offers()
	s.MoreOpen = max(0, len(s.Open)-pageOffers)
	s.Open = s.Open[:len(s.Open)-s.MoreOpen]
	s.Bad, s.Unknown = h.controls(plan.ControlBad), h.controls(plan.ControlUnknown)
	for _, r := range controlStates {
		if list := h.controls(r.state); len(list) > 0 {
			s.Controls = append(s.Controls, isolationControls{r.title, list})
		}
	}
	for _, f := range IsolationFormats() {
		if f.Rules {
			s.Formats = append(s.Formats, f.Name)
		}
	}
	return s
}

func (h *IsolationHost) service(d *IsolationDependency) isolationService {
	out := isolationService{IsolationDependency: d, Who: h.who(d, pageShort)}
	if len(d.Peers) <= pageShort+1 {
		return out
	}
	list := h.prominent(d.Peers)
	out.More = max(0, len(list)-pagePeers)
	for _, t := range list[:len(list)-out.More] {
		text := h.label(t.Address)
		if t.Times > 0 {
			text += ": " + many(t.Times, "time")
		}
		out.Peers = append(out.Peers, text)
	}
	return out
}

// Origin says where a control comes from.
func (c *IsolationControl) Origin() string { return origin(c.Confidence, c.Source) }

// weigh says what who decides should weigh before the rules are loaded: what follows from
// the plan itself, no more.
func (h *IsolationHost) weigh() (list []string) {
	if h.Policy == nil {
		return nil
	}
	once, guessed, risky := 0, 0, 0
	for i := range h.Dependencies {
		d := &h.Dependencies[i]
		if !d.Allowed() {
			continue
		}
		once += boolInt(d.Once)
		guessed += boolInt(d.Guessed)
		risky += boolInt(len(d.Risks()) > 0)
	}
	list = append(list, "What nobody saw stops working. Load the rules with a timed way back, on a day on which those who use the machine can be reached.")
	if h.Last != nil && h.First != nil {
		list = append(list, fmt.Sprintf("What was seen inside and got through stays allowed, an attacker's own among it: read the table below with who runs the machine. It rests on %s.", lasting(h.Last.Sub(*h.First))))
	} else {
		list = append(list, "What was seen inside and got through stays allowed, an attacker's own among it: read the table below with who runs the machine.")
	}
	if once > 0 {
		list = append(list, plural(once, "dependency")+" seen one single time: a job of once a month, or somebody's try? --once cut stops them.")
	}
	if guessed > 0 {
		list = append(list, "Who began is guessed from the port numbers for "+plural(guessed, "dependency")+".")
	}
	if risky > 0 {
		list = append(list, "Of what stays allowed, "+plural(risky, "dependency")+" use a protocol that is not encrypted, manages machines, or was used by worms: the firewall lets these through to the machine as they are.")
	}
	strangers := 0.0
	for _, w := range h.Policy.Widened {
		strangers += w.Strangers
	}
	if strangers > 0 {
		list = append(list, "Some rules are for networks, since the list of peers is too long: they let "+large(strangers)+" addresses through that were never seen.")
	}
	return list
}

// Others is how many addresses a rule lets through that were not seen, for people.
func (w *IsolationWidening) Others() string { return large(w.Strangers) }

// large writes a number that may have the size of IPv6.
func large(f float64) string {
	if f >= 1e15 {
		return fmt.Sprintf("about %.0e", f)
	}
	return thousands(uint64(f))
}

// Words says what kind of source it is.
func (w *IsolationWatch) Words() string { return cmp.Or(watchWords[w.Kind], w.Kind) }

// FirstDay says when it began to look; empty where that is not known.
func (w *IsolationWatch) FirstDay() string { return stamped(w.First) }

// LastDay says when it ended; empty where that is not known.
func (w *IsolationWatch) LastDay() string { return stamped(w.Last) }

func stamped(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.Format(stamp)
}
