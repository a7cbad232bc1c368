package report

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/oldguard/oldguard/internal/host"
)

// SetUp is how a machine is set up and whom it was seen with, as far as evidence shows.
type SetUp struct {
	Settings      []Setting `json:"settings"`
	Services      int       `json:"services"`
	ServicesWhole bool      `json:"services_whole"` // a source listed every one
	FirewallRules int       `json:"firewall_rules"`
	Shares        []string  `json:"shares"`
	Roles         []string  `json:"roles"`
	Addresses     []Own     `json:"addresses"`
	Listeners     int       `json:"listeners"`
	Processes     int       `json:"processes"`
	Routes        int       `json:"routes"`
	Conversations int       `json:"conversations"`
	Others        int       `json:"other_addresses"` // those in conversations that are not the machine's
	Watches       []Watched `json:"watches"`
}

// Setting is how one setting is set.
type Setting struct {
	Name  string       `json:"name"`
	Value Fact[string] `json:"value"`
}

// Own is an address of the machine.
type Own struct {
	Address string `json:"address"`
	Bits    *int   `json:"bits"` // of its network; null where not known
	Source  Source `json:"source"`
}

// Watched is a source of conversations: how long it looked, and what it could not see.
type Watched struct {
	Kind    string     `json:"kind"`
	First   *localTime `json:"first"`
	Last    *localTime `json:"last"`
	Records uint64     `json:"records"`
	Skipped uint64     `json:"skipped"`
	Limits  []string   `json:"limits"`
	Source  Source     `json:"source"`
}

func setUpOf(h *host.Host) SetUp {
	out := SetUp{
		Settings: each(h.SettingNames(), func(name string) Setting { return Setting{name, same(h.Settings[name])} }),
		Services: len(h.Services), ServicesWhole: h.ServicesWhole.Or(false), FirewallRules: len(h.FirewallRules),
		Shares: each(h.Shares, func(s host.Share) string { return s.Name }), Roles: each(h.Roles.All(), func(r string) string { return r }),
		Listeners: len(h.Listeners), Processes: len(h.Processes), Routes: len(h.Routes), Conversations: h.Traffic.Len(),
		Addresses: each(h.Own(), func(a host.Address) Own {
			o := Own{Address: a.Addr.String(), Source: sourceOf(a.From)}
			if a.Bits >= 0 {
				o.Bits = &a.Bits
			}
			return o
		}),
		Watches: each(h.Watches, func(w host.Watch) Watched {
			return Watched{w.Kind, localOrNull(w.First), localOrNull(w.Last), w.Records, w.Skipped, each(w.Limits, func(s string) string { return s }), sourceOf(w.From)}
		}),
	}
	own, others := map[netip.Addr]bool{}, map[netip.Addr]bool{}
	for _, a := range h.Own() {
		own[a.Addr] = true
	}
	for c := range h.Traffic.Each() {
		for _, a := range []netip.Addr{c.Client, c.Server} {
			if !own[a] {
				others[a] = true
			}
		}
	}
	out.Others = len(others)
	return out
}

// setUp says how the machine is set up and whom it was seen with.
func (t *printer) setUp(h *host.Host) {
	if !h.Setup.Shown() && !h.Network.Shown() {
		return
	}
	s := setUpOf(h)
	t.title("How it is set up")
	count := func(n int, one, more string) {
		if n > 0 {
			t.para(plain, "  - ", plural(n, one)+more)
		}
	}
	for _, a := range s.Addresses {
		text := a.Address
		if a.Bits != nil {
			text += fmt.Sprintf("/%d", *a.Bits)
		}
		t.para(plain, "  - ", "address "+text)
		t.para(faint, "    ", where(a.Source))
	}
	whole := ""
	if s.ServicesWhole {
		whole = ", all of them"
	}
	count(s.Services, "service", whole)
	count(s.FirewallRules, "firewall rule", "")
	count(s.Listeners, "port", " on which it waits")
	count(s.Processes, "process", "")
	count(s.Routes, "route", "")
	if len(s.Shares) > 0 {
		t.para(plain, "  - ", "shares "+strings.Join(s.Shares, ", "))
	}
	if len(s.Roles) > 0 {
		t.para(plain, "  - ", "roles "+strings.Join(s.Roles, ", "))
	}
	if len(s.Settings) > 0 {
		t.title("Settings: %d", len(s.Settings))
	}
	for _, x := range s.Settings {
		look, value := plain, ""
		if x.Value.Value != nil {
			value = *x.Value.Value
		}
		if x.Value.Disputed {
			look, value = amber, value+"  the sources disagree"
		}
		t.line("  ", fmt.Sprintf("%-32s", x.Name), t.styled(look, value))
	}
	if len(s.Watches) == 0 && s.Conversations == 0 {
		return
	}
	t.title("Seen with others: %s, %s", plural(s.Conversations, "conversation"), plural(s.Others, "address"))
	for _, w := range s.Watches {
		text := strings.ReplaceAll(w.Kind, "-", " ") + ", " + plural(int(min(w.Records, 1<<31)), "record") // #nosec G115 -- bounded
		if w.First != nil && w.Last != nil {
			text += ", " + string(*w.First) + " to " + string(*w.Last)
		}
		t.para(plain, "  - ", text)
		t.para(faint, "    ", where(w.Source))
		for _, l := range w.Limits {
			t.para(faint, "    ", l)
		}
	}
	t.para(faint, "  ", "plan isolate says with whom, and what of it may stay")
}
