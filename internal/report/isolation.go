package report

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/plan"
	"github.com/oldguard/oldguard/internal/policy"
	"github.com/oldguard/oldguard/internal/policy/dialect"
	"github.com/oldguard/oldguard/internal/policy/netsh"
)

// schemaIsolation is described in docs/schema/isolation-1.json.
const schemaIsolation = "oldguard/isolation/1"

// IsolationFormat is one way to write plans to fence machines in.
type IsolationFormat struct {
	Name, Doc string
	// Rules is true for the policy alone, in the words of a firewall: of one machine, and only
	// where there is a policy.
	Rules bool
	Write func(w io.Writer, s Isolations, o Options) error
}

// IsolationFormats lists the formats, the default first.
func IsolationFormats() []IsolationFormat {
	list := []IsolationFormat{
		{Name: "text", Doc: "for people: what is allowed and what is cut, with whom and why", Write: isolationText},
		{Name: "json", Doc: `one document "` + schemaIsolation + `", of one machine or many`, Write: isolationJSON},
		{Name: "html", Doc: "one page for who decides, with a picture of who talks to whom; needs no network", Write: isolationHTML},
	}
	for _, d := range dialect.All() {
		list = append(list, IsolationFormat{Name: d.Name, Doc: d.Doc + " (" + d.Load + ")", Rules: true, Write: rules(d)})
	}
	return list
}

// rules writes the policy of the one plan in a dialect.
func rules(d dialect.Dialect) func(w io.Writer, s Isolations, _ Options) error {
	return func(w io.Writer, s Isolations, _ Options) error {
		p := s.Plans[0]
		if d.Name != "netsh" {
			return d.Write(w, p.Policy)
		}
		o := netsh.Options{ProductID: p.ProductID, MachineID: p.MachineID}
		if p.Release != nil && len(p.Release.Builds) > 0 {
			o.Version = fmt.Sprintf("%d.%d", p.Release.Builds[0].Major, p.Release.Builds[0].Minor)
		}
		return netsh.WriteFor(w, p.Policy, o)
	}
}

// FindIsolation gives the format with that name.
func FindIsolation(name string) (IsolationFormat, bool) {
	list := IsolationFormats()
	i := slices.IndexFunc(list, func(f IsolationFormat) bool { return f.Name == name })
	if i < 0 {
		return IsolationFormat{}, false
	}
	return list[i], true
}

// Isolations is what a document is made of.
type Isolations struct {
	AsOf  catalog.Date
	Plans []*plan.Isolation
	// Check is what a firewall has now, compared with the policy of the one plan; nil if
	// nothing was compared.
	Check *RuleSet
}

// RuleSet is what a firewall has now, and what it decides otherwise than a plan.
type RuleSet struct {
	File, Dialect string
	Existing      *policy.Policy
	*policy.Comparison
}

// Told says whether a difference is certain, and whether there is something of which the rules do
// not tell: a part that was not understood, or a comparison that was cut short.
func (r *RuleSet) Told() (certain, open bool) {
	open = r.Cut != "" || len(r.Existing.Notes) > 0
	for i := range r.Differences {
		if r.Differences[i].Unsure == "" {
			certain = true
		} else {
			open = true
		}
	}
	return certain, open
}

// IsolationDocument is the plans as programs read them; text and HTML are written from it.
// Lists are never null; what is not known is.
type IsolationDocument struct {
	Schema string          `json:"schema"`
	AsOf   catalog.Date    `json:"as_of"`
	Hosts  []IsolationHost `json:"hosts"`
}

// IsolationHost is one machine and how to fence it in.
type IsolationHost struct {
	Name         *string               `json:"name"`
	Release      *string               `json:"release"`
	ReleaseName  *string               `json:"release_name"`
	Arch         *string               `json:"arch"`
	Role         *string               `json:"role"`
	Addresses    []IsolationAddress    `json:"addresses"`
	Guessed      bool                  `json:"addresses_guessed"`
	Watches      []IsolationWatch      `json:"watches"`
	First        *time.Time            `json:"seen_from"`
	Last         *time.Time            `json:"seen_until"`
	Totals       IsolationTotals       `json:"totals"`
	Dependencies []IsolationDependency `json:"dependencies"`
	Peers        []IsolationPeer       `json:"peers"`
	Unused       []IsolationOffer      `json:"unused"`
	Policy       *IsolationPolicy      `json:"policy"`
	Why          *string               `json:"no_policy_because"`
	Trial        *IsolationTrial       `json:"trial"`
	Check        *IsolationCheck       `json:"check"`
	Hardening    []IsolationControl    `json:"hardening"`
	Questions    []IsolationQuestion   `json:"not_known"`
	Notes        []string              `json:"notes"`
}

// IsolationAddress is an address of the machine.
type IsolationAddress struct {
	Address netip.Addr `json:"address"`
	Prefix  *int       `json:"prefix_length"`
	Source  Source     `json:"source"`
}

// IsolationWatch is a source that saw flows, and when it looked.
type IsolationWatch struct {
	Kind    string     `json:"kind"`
	Source  Source     `json:"source"`
	First   *time.Time `json:"from"`
	Last    *time.Time `json:"until"`
	Records uint64     `json:"records"`
	Skipped uint64     `json:"records_not_understood"`
	Limits  []string   `json:"limits"`
}

// IsolationTotals are sums for who wants no lists.
type IsolationTotals struct {
	Allowed      int `json:"dependencies_allowed"`
	Cut          int `json:"dependencies_cut"`
	PeersAllowed int `json:"peers_allowed"`
	PeersCut     int `json:"peers_cut"`
	Internet     int `json:"peers_in_the_internet"`
	Foreign      int `json:"conversations_of_others"`
}

// IsolationPorts is a range, both ends included.
type IsolationPorts struct {
	From uint16 `json:"from"`
	To   uint16 `json:"to"`
}

// IsolationMessage is a type of message of ICMP or ICMPv6.
type IsolationMessage struct {
	Type uint8  `json:"type"`
	Code *uint8 `json:"code"`
}

// IsolationDependency is one service with all those about whom the same was decided.
type IsolationDependency struct {
	ID        string             `json:"id"`
	Direction string             `json:"direction"`
	Protocol  string             `json:"protocol"`
	Ports     []IsolationPorts   `json:"ports"`
	ICMP      []IsolationMessage `json:"icmp"`
	Service   *string            `json:"service"`
	Name      string             `json:"name"`
	Known     *IsolationProtocol `json:"known"`
	Program   *string            `json:"program"`
	Decision  plan.Decision      `json:"decision"`
	Rule      string             `json:"decided_by"`
	Because   []Reason           `json:"because"`
	Peers     []IsolationTalker  `json:"peers"`
	Times     int                `json:"times"`
	Refused   int                `json:"refused"`
	Packets   uint64             `json:"packets"`
	Bytes     uint64             `json:"bytes"`
	First     *time.Time         `json:"first"`
	Last      *time.Time         `json:"last"`
	Readers   []string           `json:"seen_by"`
	Once      bool               `json:"seen_once"`
	Guessed   bool               `json:"who_began_is_guessed"`
	Rules     []string           `json:"policy_rules"`
}

// IsolationProtocol is what most likely answers on a port.
type IsolationProtocol struct {
	Name   string   `json:"name"`
	Kind   string   `json:"kind"`
	Risks  []string `json:"risks"`
	Know   *string  `json:"to_know"`
	Source *string  `json:"source"`
}

// IsolationTalker is a peer in a dependency.
type IsolationTalker struct {
	Address netip.Addr `json:"address"`
	Times   int        `json:"times"`
	Refused int        `json:"refused"`
	Packets uint64     `json:"packets"`
	Bytes   uint64     `json:"bytes"`
	First   *time.Time `json:"first"`
	Last    *time.Time `json:"last"`
}

// IsolationPeer is another machine.
type IsolationPeer struct {
	Address netip.Addr      `json:"address"`
	Name    *string         `json:"name"`
	Place   plan.Place      `json:"place"`
	Roles   []IsolationRole `json:"roles"`
	Allowed int             `json:"dependencies_allowed"`
	Cut     int             `json:"dependencies_cut"`
}

// IsolationRole is what a peer is to the machine.
type IsolationRole struct {
	Role    string `json:"role"`
	Because string `json:"because"`
}

// IsolationOffer is a port that is open and that nobody was seen to use.
type IsolationOffer struct {
	Protocol string  `json:"protocol"`
	Port     uint16  `json:"port"`
	Name     string  `json:"name"`
	Program  *string `json:"program"`
	Loopback bool    `json:"for_itself_only"`
	Because  Reason  `json:"because"`
}

// IsolationPolicy is the firewall policy. What no rule accepts is dropped; answers pass.
type IsolationPolicy struct {
	In        string              `json:"default_in"`
	Out       string              `json:"default_out"`
	Interface *string             `json:"interface"`
	Own       []netip.Addr        `json:"addresses"`
	Rules     []IsolationRule     `json:"rules"`
	Widened   []IsolationWidening `json:"widened"`
	Notes     []string            `json:"notes"`
}

// IsolationRule is a rule; empty lists mean any.
type IsolationRule struct {
	ID          string             `json:"id"`
	Direction   string             `json:"direction"`
	Action      string             `json:"action"`
	Protocol    string             `json:"protocol"`
	Local       []netip.Prefix     `json:"local"`
	Remote      []netip.Prefix     `json:"remote"`
	LocalPorts  []IsolationPorts   `json:"local_ports"`
	RemotePorts []IsolationPorts   `json:"remote_ports"`
	ICMP        []IsolationMessage `json:"icmp"`
	Comment     string             `json:"comment"`
}

// IsolationWidening says how many strangers a rule lets through.
type IsolationWidening struct {
	Rule      string  `json:"rule"`
	Seen      int     `json:"seen"`
	Networks  int     `json:"networks"`
	Strangers float64 `json:"others_let_through"`
}

// IsolationTrial is what came of putting what was seen to the rules.
type IsolationTrial struct {
	Allowed int                 `json:"allowed"`
	Passed  int                 `json:"passed"`
	Cut     int                 `json:"cut"`
	Stopped int                 `json:"stopped"`
	Stuck   []IsolationMismatch `json:"allowed_but_stopped"`
	Through []IsolationMismatch `json:"cut_but_passed"`
}

// IsolationMismatch is a dependency that the rules do not treat as was decided.
type IsolationMismatch struct {
	Dependency string     `json:"dependency"`
	Peers      int        `json:"peers"`
	First      netip.Addr `json:"first"`
	Rule       *string    `json:"policy_rule"`
}

// IsolationControl is a control, and how it stands.
type IsolationControl struct {
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	State      plan.ControlState `json:"state"`
	Now        *string           `json:"now"`
	Because    []Reason          `json:"because"`
	Exists     *string           `json:"exists"`
	Protects   string            `json:"protects"`
	Breaks     string            `json:"breaks"`
	Set        []string          `json:"set"`
	Undo       []string          `json:"undo"`
	UndoNote   *string           `json:"undo_note"`
	Restart    *string           `json:"restart"`
	Tell       []string          `json:"commands_that_tell"`
	Confidence string            `json:"confidence"`
	Source     *string           `json:"source"`
}

// IsolationQuestion is something the evidence could not tell, and what would.
type IsolationQuestion struct {
	What string `json:"what"`
	Why  string `json:"why"`
	Tell string `json:"what_tells"`
}

// NewIsolation makes the document of plans. It shares times with them.
func NewIsolation(s Isolations) *IsolationDocument {
	d := &IsolationDocument{Schema: schemaIsolation, AsOf: s.AsOf, Hosts: each(s.Plans, isolationHostOf)}
	if s.Check != nil && len(d.Hosts) == 1 {
		d.Hosts[0].Check = checkOf(s.Check, s.Plans[0])
	}
	return d
}

func isolationHostOf(p *plan.Isolation) IsolationHost {
	h := IsolationHost{
		Name: known(p.Host), Arch: known(p.Arch.String()), Role: known(string(p.Role)), Guessed: p.OwnGuessed, First: moment(p.First), Last: moment(p.Last),
		Addresses: each(p.Own, func(a host.Address) IsolationAddress {
			out := IsolationAddress{Address: a.Addr, Source: sourceOf(a.From)}
			if a.Bits >= 0 {
				out.Prefix = &a.Bits
			}
			return out
		}),
		Watches: each(p.Watches, func(w host.Watch) IsolationWatch {
			return IsolationWatch{w.Kind, sourceOf(w.From), moment(w.First), moment(w.Last), w.Records, w.Skipped, strings0(w.Limits)}
		}),
		Dependencies: each(p.Dependencies, dependencyOf),
		Peers: each(p.Peers, func(q plan.Peer) IsolationPeer {
			out := IsolationPeer{Address: q.Addr, Name: known(q.Name), Place: q.Place, Roles: []IsolationRole{}, Allowed: q.Allowed, Cut: q.Cut}
			for i, role := range q.Roles {
				out.Roles = append(out.Roles, IsolationRole{role, q.Because[i]})
			}
			return out
		}),
		Unused: each(p.Unused, func(o plan.Offer) IsolationOffer {
			return IsolationOffer{o.Proto.String(), o.Port, o.Name, known(o.Program), o.Loopback, reasons([]host.Reason{o.Because})[0]}
		}),
		Policy: policyOf(p), Why: known(p.Why), Trial: trialOf(p), Hardening: each(p.Hardening, controlOf),
		Questions: each(p.Questions, func(q plan.Question) IsolationQuestion { return IsolationQuestion(q) }),
		Notes:     strings0(p.Notes),
		Totals:    IsolationTotals{Foreign: p.Foreign},
	}
	if p.Release != nil {
		h.Release, h.ReleaseName = &p.Release.ID, &p.Release.Name
	}
	t := &h.Totals
	for i := range p.Dependencies {
		if p.Dependencies[i].Decision == plan.Allow {
			t.Allowed++
		} else {
			t.Cut++
		}
	}
	for i := range p.Peers {
		if p.Peers[i].Allowed > 0 {
			t.PeersAllowed++
		}
		if p.Peers[i].Cut > 0 {
			t.PeersCut++
		}
		if p.Peers[i].Place == plan.Internet {
			t.Internet++
		}
	}
	return h
}

func portsOf(list []policy.Ports) []IsolationPorts {
	return each(list, func(p policy.Ports) IsolationPorts { return IsolationPorts(p) })
}

func messagesOf(list []policy.ICMPType) []IsolationMessage {
	return each(list, func(m policy.ICMPType) IsolationMessage {
		out := IsolationMessage{Type: m.Type}
		if m.Code >= 0 {
			code := uint8(m.Code) // #nosec G115 -- a code is a byte
			out.Code = &code
		}
		return out
	})
}

func dependencyOf(d plan.Dependency) IsolationDependency {
	out := IsolationDependency{
		ID: d.ID, Direction: d.Dir.String(), Protocol: d.Proto.String(), Ports: portsOf(d.Ports), ICMP: messagesOf(d.ICMP),
		Service: known(d.Service), Name: d.Name, Program: known(d.Program), Decision: d.Decision, Rule: d.Rule, Because: reasons(d.Because),
		Times: d.Times, Refused: d.Refused, Packets: d.Packets, Bytes: d.Bytes, First: moment(d.First), Last: moment(d.Last),
		Readers: strings0(d.Readers), Once: d.Once, Guessed: d.Guessed, Rules: strings0(d.Rules),
		Peers: make([]IsolationTalker, len(d.Peers)),
	}
	at := func(t *time.Time) *time.Time { // no copy of the times of thousands
		if t.IsZero() {
			return nil
		}
		return t
	}
	for i := range d.Peers {
		t := &d.Peers[i]
		out.Peers[i] = IsolationTalker{t.Addr, t.Times, t.Refused, t.Packets, t.Bytes, at(&t.First), at(&t.Last)}
	}
	if k := d.Protocol; k != nil {
		out.Known = &IsolationProtocol{k.Name, k.Kind, strings0(k.Risks), known(k.Know), known(k.Source)}
	}
	return out
}

func policyOf(p *plan.Isolation) *IsolationPolicy {
	q := p.Policy
	if q == nil {
		return nil
	}
	return &IsolationPolicy{
		In: q.In.String(), Out: q.Out.String(), Interface: known(q.Interface), Own: each(q.Own, id[netip.Addr]), Notes: strings0(q.Notes),
		Rules: each(q.Rules, ruleOf),
		Widened: each(p.Widened, func(w plan.Widening) IsolationWidening {
			return IsolationWidening{w.Rule, w.Seen, w.Networks, w.Addresses}
		}),
	}
}

func ruleOf(r policy.Rule) IsolationRule {
	return IsolationRule{
		r.ID, r.Dir.String(), r.Action.String(), r.Proto.String(), each(r.Local, id[netip.Prefix]), each(r.Remote, id[netip.Prefix]),
		portsOf(r.LocalPorts), portsOf(r.RemotePorts), messagesOf(r.ICMP), r.Comment,
	}
}

func trialOf(p *plan.Isolation) *IsolationTrial {
	if p.Policy == nil {
		return nil
	}
	mismatch := func(m plan.Mismatch) IsolationMismatch {
		return IsolationMismatch{m.Dependency, m.Peers, m.First, known(m.Rule)}
	}
	t := p.Try()
	return &IsolationTrial{t.Allowed, t.Passed, t.Cut, t.Stopped, each(t.Stuck, mismatch), each(t.Through, mismatch)}
}

func controlOf(c plan.Hardening) IsolationControl {
	return IsolationControl{
		c.ID, c.Name, c.State, known(c.Now), reasons(c.Because), known(c.Exists), c.Protects, c.Breaks, strings0(c.Set), strings0(c.Undo),
		known(c.UndoNote), known(c.Restart), strings0(c.Tell), c.Confidence, known(c.Source),
	}
}

// Words that text and HTML share.

// Title names the machine for people.
func (h *IsolationHost) Title() string { return titleOf(h.Name) }

// What says what it is, for people.
func (h *IsolationHost) What() string {
	words := []string{"release not known"}
	if h.ReleaseName != nil {
		words[0] = *h.ReleaseName
	}
	if h.Arch != nil && h.ReleaseName != nil {
		words = append(words, *h.Arch)
	}
	if h.Role != nil {
		words = append(words, roleWords(*h.Role))
	}
	return strings.Join(words, ", ")
}

// roleWords says a role without its hyphens.
func roleWords(role string) string { return strings.ReplaceAll(role, "-", " ") }

// Where lists the machine's addresses, for people.
func (h *IsolationHost) Where() string {
	list := each(h.Addresses, func(a IsolationAddress) string { return a.Address.String() })
	if len(list) == 0 {
		return "no address known"
	}
	if h.Guessed {
		return strings.Join(list, ", ") + " (taken from the traffic)"
	}
	return strings.Join(list, ", ")
}

// Aim says in a sentence or two what was decided.
func (h *IsolationHost) Aim() string {
	if h.Why != nil {
		return "There is no policy: " + *h.Why + "."
	}
	t := &h.Totals
	aim := "Nothing goes in and nothing goes out"
	var but []string
	if t.Allowed > 0 {
		but = append(but, fmt.Sprintf("%s with %s", many(t.Allowed, "dependency"), many(t.PeersAllowed, "peer")))
	}
	networks := map[string]bool{}
	for _, r := range h.named() {
		networks[r.Networks()] = true
	}
	if n := len(networks); n > 0 {
		but = append(but, plural(n, "network")+" that the owner named")
	}
	if len(but) > 0 {
		aim += " but " + strings.Join(but, " and ")
	}
	if cut := h.CutWords(); cut != "" {
		aim += ". Cut: " + cut
	}
	return aim + "."
}

// CutWords names what is cut: "the internet (3 peers), scans (1)"; empty where nothing is.
func (h *IsolationHost) CutWords() string {
	var words []string
	for i, g := range h.cuts() {
		n := thousands(g.Peers)
		if i == 0 {
			n = many(g.Peers, "peer")
		}
		title := g.Title()
		words = append(words, strings.ToLower(title[:1])+title[1:]+" ("+n+")")
	}
	return strings.Join(words, ", ")
}

// many is plural without a number too large to be read.
func many(n int, word string) string {
	return strings.Replace(plural(n, word), fmt.Sprint(n), thousands(n), 1)
}

// thousands writes a number with a comma before each three digits.
func thousands[T int | uint64](n T) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Watched says who looked and for how long; empty where nobody did.
func (h *IsolationHost) Watched() string {
	if len(h.Watches) == 0 {
		return ""
	}
	var kinds []string
	for _, w := range h.Watches {
		if k := watchWords[w.Kind]; !slices.Contains(kinds, cmp.Or(k, w.Kind)) {
			kinds = append(kinds, cmp.Or(k, w.Kind))
		}
	}
	who := "Seen by " + plural(len(h.Watches), "source") + " (" + strings.Join(kinds, ", ") + ")"
	if h.First == nil || h.Last == nil {
		return who + ", none of which says when it looked"
	}
	return fmt.Sprintf("%s between %s and %s, %s", who, h.First.Format(stamp), h.Last.Format(stamp), lasting(h.Last.Sub(*h.First)))
}

const stamp = "2006-01-02 15:04"

var watchWords = map[string]string{"capture": "packets", "netstat": "lists of connections", "firewall-log": "a firewall's log", "flow-records": "records of flows"}

// lasting says a time in the largest unit that fits.
func lasting(d time.Duration) string {
	round := func(unit time.Duration, word string) string { return plural(int(d.Round(unit)/unit), word) }
	switch {
	case d < time.Second:
		return "less than a second"
	case d < 2*time.Minute:
		return round(time.Second, "second")
	case d < 2*time.Hour:
		return round(time.Minute, "minute")
	case d < 48*time.Hour:
		return round(time.Hour, "hour")
	}
	return round(24*time.Hour, "day")
}

// Asks says what is open, in short; empty where nothing is.
func (h *IsolationHost) Asks() string {
	if len(h.Questions) == 0 {
		return ""
	}
	return "The evidence leaves open: " + strings.Join(each(h.Questions, func(q IsolationQuestion) string { return q.What }), "; ") + "."
}

// Tried says what came of putting what was seen to the rules, and what cannot be tried.
func (h *IsolationHost) Tried() string {
	t := h.Trial
	if t == nil || t.Allowed+t.Cut == 0 {
		return ""
	}
	var words []string
	part := func(n, of int, what string) {
		if of > 0 {
			words = append(words, thousands(n)+" of "+thousands(of)+" "+what)
		}
	}
	part(t.Passed, t.Allowed, "conversations that were allowed pass the rules")
	part(t.Stopped, t.Cut, "that were cut are stopped")
	return "Tried here: " + strings.Join(words, ", ") + ". What nobody saw, and the firewall that will hold the rules, cannot be tried from here."
}

// Mismatches lists what was cut and passes all the same, and what was allowed and does not.
func (h *IsolationHost) Mismatches() (out []string) {
	if h.Trial == nil {
		return nil
	}
	for _, m := range h.Trial.Stuck {
		out = append(out, fmt.Sprintf("%s is allowed, and no rule lets it through for %s (%s)", m.Dependency, many(m.Peers, "peer"), m.First))
	}
	for _, m := range h.Trial.Through {
		rule := ""
		if m.Rule != nil {
			rule = *m.Rule
		}
		out = append(out, fmt.Sprintf("%s is cut, and rule %s, which is for something else, lets it through for %s (%s)", m.Dependency, rule, many(m.Peers, "peer"), m.First))
	}
	return out
}

// On says which protocol and ports a dependency is on: "tcp 445".
func (d *IsolationDependency) On() string {
	if len(d.ICMP) > 0 {
		var types []string
		for _, m := range d.ICMP {
			types = append(types, fmt.Sprint(m.Type))
		}
		return d.Protocol + " type " + strings.Join(types, ", ")
	}
	if len(d.Ports) == 0 {
		return "ip protocol " + d.Protocol
	}
	return d.Protocol + " " + portWords(d.Ports)
}

// maxPortWords is how many ranges are named before the rest is counted.
const maxPortWords = 8

func portWords(list []IsolationPorts) string {
	words := each(list[:min(maxPortWords, len(list))], func(p IsolationPorts) string { return policy.Ports(p).String() })
	if n := len(list) - maxPortWords; n > 0 {
		words = append(words, fmt.Sprintf("%d more", n))
	}
	return strings.Join(words, ", ")
}

// Called is the name with protocol and port, unless the name is these.
func (d *IsolationDependency) Called() string {
	if on := d.On(); on != d.Name {
		return d.Name + ", " + on
	}
	return d.Name
}

// Allowed reports whether it stays.
func (d *IsolationDependency) Allowed() bool { return d.Decision == plan.Allow }

// Seen says how often it was seen, when and by whom.
func (d *IsolationDependency) Seen() string {
	if d.Times == 0 && len(d.Readers) == 0 {
		return "not seen; needed by role"
	}
	s := "once"
	if d.Times != 1 {
		s = many(d.Times, "time")
	}
	switch {
	case d.Refused > 0 && d.Refused >= d.Times:
		s += ", refused"
	case d.Refused > 0:
		s += fmt.Sprintf(", %s refused", thousands(d.Refused))
	}
	switch {
	case d.Last == nil:
	case d.Times == 1:
		s += ", on " + d.Last.Format(time.DateOnly)
	default:
		s += ", last on " + d.Last.Format(time.DateOnly)
	}
	if d.Bytes > 0 {
		s += ", " + amount(d.Bytes)
	}
	return s + "; " + strings.Join(d.Readers, ", ")
}

// Marks says how sure it is, each in a word or two.
func (d *IsolationDependency) Marks() (out []string) {
	if d.Once {
		out = append(out, "seen once")
	}
	if d.Guessed {
		out = append(out, "who began is guessed")
	}
	return out
}

// Risks says what the protocol is known for.
func (d *IsolationDependency) Risks() (out []string) {
	if d.Known == nil {
		return nil
	}
	for _, r := range d.Known.Risks {
		out = append(out, cmp.Or(map[string]string{"cleartext": "not encrypted", "remote-management": "remote management", "worm": "used by worms"}[r], r))
	}
	return out
}

// amount writes bytes for people.
func amount(n uint64) string {
	if n < 1000 {
		return fmt.Sprintf("%d bytes", n)
	}
	f, unit := float64(n)/1000, "kB"
	for _, u := range []string{"MB", "GB", "TB"} {
		if f < 1000 {
			break
		}
		f, unit = f/1000, u
	}
	if f < 10 {
		return fmt.Sprintf("%.1f %s", f, unit)
	}
	return fmt.Sprintf("%.0f %s", f, unit)
}

// index finds a peer by its address.
func (h *IsolationHost) peer(a netip.Addr) *IsolationPeer {
	i, ok := slices.BinarySearchFunc(h.Peers, a, func(p IsolationPeer, a netip.Addr) int { return p.Address.Compare(a) })
	if !ok {
		return nil
	}
	return &h.Peers[i]
}

// label names a peer: "DC01 (10.1.0.5, domain controller)".
func (h *IsolationHost) label(a netip.Addr) string {
	p := h.peer(a)
	if p == nil {
		return a.String()
	}
	roles := each(p.Roles, func(r IsolationRole) string { return roleWords(r.Role) })
	switch {
	case p.Name != nil:
		return *p.Name + " (" + strings.Join(append([]string{a.String()}, roles...), ", ") + ")"
	case len(roles) > 0:
		return a.String() + " (" + strings.Join(roles, ", ") + ")"
	}
	return a.String()
}

// prominent gives the peers of a dependency in the order in which people want them: those
// with a role or a name first, then by how often.
func (h *IsolationHost) prominent(list []IsolationTalker) []IsolationTalker {
	type weighed struct {
		*IsolationTalker
		weight int
	}
	all := make([]weighed, len(list))
	for i := range list {
		all[i].IsolationTalker = &list[i]
		switch p := h.peer(list[i].Address); {
		case p == nil:
		case len(p.Roles) > 0:
			all[i].weight = 2
		case p.Name != nil:
			all[i].weight = 1
		}
	}
	slices.SortFunc(all, func(a, b weighed) int {
		return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(b.Times, a.Times), a.Address.Compare(b.Address))
	})
	return each(all, func(w weighed) IsolationTalker { return *w.IsolationTalker })
}

// who names the peers of a dependency, no more than most, and how many more there are and where.
func (h *IsolationHost) who(d *IsolationDependency, most int) string {
	list := h.prominent(d.Peers)
	if len(list) == most+1 {
		most++ // one more takes no more room than its number
	}
	words := each(list[:min(most, len(list))], func(t IsolationTalker) string { return h.label(t.Address) })
	s := strings.Join(words, ", ")
	if rest := list[min(most, len(list)):]; len(rest) > 0 {
		s += fmt.Sprintf(" and %s more in %s", thousands(len(rest)), networkWords(each(rest, func(t IsolationTalker) netip.Addr { return t.Address })))
	}
	return s
}

// networkWords says in which networks addresses lie: the smallest that hold them, of each
// family, or how many there are where these would say nothing.
func networkWords(list []netip.Addr) string {
	var words []string
	for _, four := range []bool{true, false} {
		var of []netip.Addr
		for _, a := range list {
			if a.Is4() == four {
				of = append(of, a)
			}
		}
		if len(of) == 0 {
			continue
		}
		least := 8 // 10.0.0.0/8 still says something
		if !four {
			least = 16
		}
		p := commonNetwork(of)
		switch {
		case p.IsSingleIP():
			words = append(words, p.Addr().String())
		case p.Bits() >= least:
			words = append(words, p.String())
		default:
			seen := map[netip.Prefix]bool{}
			for _, a := range of {
				if q, err := a.Prefix(least * 2); err == nil {
					seen[q] = true
				}
			}
			words = append(words, fmt.Sprintf("%s of /%d", plural(len(seen), "network"), least*2))
		}
	}
	return strings.Join(words, " and ")
}

// commonNetwork is the smallest network that holds all of the addresses, which are of one family.
func commonNetwork(list []netip.Addr) netip.Prefix {
	p := netip.PrefixFrom(list[0], list[0].BitLen())
	for _, a := range list[1:] {
		for !p.Contains(a) {
			p = netip.PrefixFrom(p.Addr(), p.Bits()-1).Masked()
		}
	}
	return p
}

// named lists the rules that come of no dependency: those for networks to which the owner gave a
// role.
func (h *IsolationHost) named() (out []*IsolationRule) {
	if h.Policy == nil {
		return nil
	}
	of := map[string]bool{}
	for i := range h.Dependencies {
		for _, id := range h.Dependencies[i].Rules {
			of[id] = true
		}
	}
	for i := range h.Policy.Rules {
		if r := &h.Policy.Rules[i]; !of[r.ID] {
			out = append(out, r)
		}
	}
	return out
}

// On says which protocol and ports a rule is on.
func (r *IsolationRule) On() string {
	ports := r.LocalPorts
	if r.Direction == "out" {
		ports = r.RemotePorts
	}
	return (&IsolationDependency{Protocol: r.Protocol, Ports: ports, ICMP: r.ICMP}).On()
}

// Networks names whom a rule is about.
func (r *IsolationRule) Networks() string {
	return strings.Join(each(r.Remote, func(p netip.Prefix) string { return p.String() }), ", ")
}

// cutGroup is what was cut for one reason.
type cutGroup struct {
	Rule, Because string
	Dependencies  []*IsolationDependency // the most frequent first
	Peers         int
}

// cuts groups what is cut by the reason, in the order of the reasons as people weigh them.
func (h *IsolationHost) cuts() (out []*cutGroup) {
	at := map[string]*cutGroup{}
	peers := map[string]map[netip.Addr]bool{}
	for i := range h.Dependencies {
		d := &h.Dependencies[i]
		if d.Allowed() {
			continue
		}
		g := at[d.Rule]
		if g == nil {
			g = &cutGroup{Rule: d.Rule}
			if len(d.Because) > 0 {
				g.Because = d.Because[0].Text
			}
			at[d.Rule], peers[d.Rule] = g, map[netip.Addr]bool{}
			out = append(out, g)
		}
		g.Dependencies = append(g.Dependencies, d)
		for j := range d.Peers {
			peers[d.Rule][d.Peers[j].Address] = true
		}
	}
	for _, g := range out {
		g.Peers = len(peers[g.Rule])
		g.Dependencies = gathered(g.Dependencies)
		slices.SortStableFunc(g.Dependencies, func(a, b *IsolationDependency) int { return cmp.Compare(b.Times, a.Times) })
	}
	order := []string{"internet", "management", "management-out", "once", "scan", "refused", "link"}
	place := func(g *cutGroup) int {
		if i := slices.Index(order, g.Rule); i >= 0 {
			return i
		}
		return len(order)
	}
	slices.SortStableFunc(out, func(a, b *cutGroup) int { return cmp.Compare(place(a), place(b)) })
	return out
}

// gathered joins dependencies that the same peers tried on many ports, such as those of a scan: the
// ports stand in one.
func gathered(list []*IsolationDependency) (out []*IsolationDependency) {
	const ports = 4 // fewer stand by themselves
	type key struct {
		dir, proto string
		peers      [sha256.Size]byte
	}
	keys, same := make([]key, len(list)), map[key]int{}
	for i, d := range list {
		sum := sha256.New()
		for j := range d.Peers {
			a := d.Peers[j].Address.As16()
			_, _ = sum.Write(a[:]) // it gives no error
		}
		keys[i] = key{d.Direction, d.Protocol, [sha256.Size]byte(sum.Sum(nil))}
		same[keys[i]]++
	}
	at := map[key]*IsolationDependency{}
	for i, d := range list {
		k := keys[i]
		if same[k] < ports || len(d.Ports) == 0 {
			out = append(out, d)
			continue
		}
		g := at[k]
		if g == nil {
			one := *d
			g = &one
			g.Name, g.Program, g.Known = fmt.Sprintf("%d ports", same[k]), nil, nil
			g.Peers, g.Ports, g.Readers = slices.Clone(d.Peers), slices.Clone(d.Ports), slices.Clone(d.Readers)
			at[k] = g
			out = append(out, g)
			continue
		}
		g.Ports = append(g.Ports, d.Ports...)
		g.Times += d.Times
		g.Refused += d.Refused
		g.Packets += d.Packets
		g.Bytes += d.Bytes
		for i := range g.Peers {
			g.Peers[i].Times += d.Peers[i].Times
		}
		if d.Last != nil && (g.Last == nil || d.Last.After(*g.Last)) {
			g.Last = d.Last
		}
		for _, r := range d.Readers {
			if !slices.Contains(g.Readers, r) {
				g.Readers = append(g.Readers, r)
			}
		}
	}
	for _, g := range at {
		g.Ports = joinPorts(g.Ports)
	}
	return out
}

// joinPorts orders ranges and joins those that touch.
func joinPorts(list []IsolationPorts) (out []IsolationPorts) {
	slices.SortFunc(list, func(a, b IsolationPorts) int { return cmp.Compare(a.From, b.From) })
	for _, p := range list {
		if n := len(out); n > 0 && int(p.From) <= int(out[n-1].To)+1 {
			out[n-1].To = max(out[n-1].To, p.To)
			continue
		}
		out = append(out, p)
	}
	return out
}

// cutTitles name the reasons in a few words; one that is not there is named by its id.
var cutTitles = map[string]string{
	"internet": "The internet", "management": "Management from elsewhere", "management-out": "Managing others", "once": "Seen one single time",
	"scan": "Scans", "refused": "Attempts that came to nothing", "link": "Broadcasts and the like",
}

// Title names the reason.
func (g *cutGroup) Title() string { return cmp.Or(cutTitles[g.Rule], sentence(roleWords(g.Rule))) }

// controls gives those in one of the states, in their order.
func (h *IsolationHost) controls(states ...plan.ControlState) (out []*IsolationControl) {
	for i := range h.Hardening {
		if slices.Contains(states, h.Hardening[i].State) {
			out = append(out, &h.Hardening[i])
		}
	}
	return out
}

// offers gives the ports that others could reach, and how many are for the machine itself.
func (h *IsolationHost) offers() (open []*IsolationOffer, itself int) {
	for i := range h.Unused {
		if h.Unused[i].Loopback {
			itself++
			continue
		}
		open = append(open, &h.Unused[i])
	}
	return open, itself
}
