package host

import (
	"maps"
	"slices"
	"time"

	"github.com/oldguard/oldguard/winver"
)

// NotSet is the value of a setting that a source proves not to be set. What holds then
// depends on the release and is not said here.
const NotSet = "not set"

// Setup is how a machine is set up, as far as it bears on what can reach it and what it
// reaches. The zero value knows nothing.
type Setup struct {
	// Settings are by their names, such as "smb1-server"; package registry lists them. A
	// value is written as the source has it, a number in decimal, or NotSet. A setting
	// without a fact is unknown.
	Settings map[string]Fact[string]

	// Services are what Windows runs in the background, without drivers.
	Services      []Service
	ServicesWhole Fact[bool] // stated by a source that lists every one

	FirewallRules []FirewallRule
	FirewallWhole Fact[bool]

	Shares   []Share
	Adapters []Adapter
	// Roles are what the machine does for others, such as "DNS server": those that sources
	// show, never all.
	Roles Set[string]

	ServicingStack Fact[winver.Build]
	// Shutdown is when the machine was last shut down in order, in its own time zone, as
	// UTC fields.
	Shutdown Fact[time.Time]
}

// Start is when a service starts.
type Start string

// The ways to start.
const (
	StartBoot     Start = "boot"
	StartSystem   Start = "system"
	StartAuto     Start = "automatic"
	StartManual   Start = "manual"
	StartDisabled Start = "disabled"
)

// Service is a service.
type Service struct {
	Name    string // the short name, which no language changes; empty in lists of Display alone
	Display string // empty where it is only a reference to a text elsewhere
	Start   Start
	Image   string // the command that runs it
	// Running tells whether it ran when the source was made; the registry, for one, does not
	// show that.
	Running Tri
	PID     uint32 // of the process it runs in; 0 where not shown
	From    Source
}

// FirewallRule is a rule of Windows Firewall. However a source writes them, lists are in one
// form and order, joined by commas, and empty for any; package firewall of evidence sees to
// that.
type FirewallRule struct {
	ID        string // empty where the source has none
	Name      string // may be a reference to a text elsewhere: @FirewallAPI.dll,-28753
	Active    bool
	Allow     bool // else it blocks
	Out       bool // else it is about what comes in
	Protocol  string
	ICMP      string // types of messages with their codes, * for any: 3:4,8:*
	Profiles  string // Domain, Private, Public; empty for all
	Local     string // addresses of the machine: 192.0.2.1, 192.0.2.0/24, 192.0.2.1-192.0.2.9
	LocalPort string // 80, 5000-5010, RPC
	Peer      string // addresses of the others, or LocalSubnet and the like
	PeerPort  string
	App       string
	Service   string // short name; * for any service
	// Interfaces are the types of adapters it is for, LAN, Wireless or RAS, or the GUIDs of some.
	Interfaces string
	// Secure is what IPsec must do before the rule matches: Authenticate, AuthEnc, AuthDynEnc
	// or AuthNoEncap. Bypass before it means that the rule overrides those that block.
	Secure string
	From   Source
}

// Share is a folder or printer that the machine shares.
type Share struct {
	Name, Path string
	From       Source
}

// Adapter is a network adapter with its addresses. Windows keeps those of adapters that
// are no longer there.
type Adapter struct {
	ID, Name    string
	DHCP        bool     // the addresses are those last leased
	Addresses   []string // 192.0.2.11/255.255.255.0
	Gateways    []string
	NameServers []string
	From        Source
}

// Set records what a setting is set to.
func (s *Setup) Set(name, value string, rank int, from Source) {
	if s.Settings == nil {
		s.Settings = map[string]Fact[string]{}
	}
	f := s.Settings[name]
	f.Say(value, rank, from)
	s.Settings[name] = f
}

// SettingNames gives the names of the settings known, in order.
func (s *Setup) SettingNames() []string { return slices.Sorted(maps.Keys(s.Settings)) }

// Shown reports whether anything of the setup is known.
func (s *Setup) Shown() bool {
	return len(s.Settings)+len(s.Services)+len(s.FirewallRules)+len(s.Shares)+len(s.Adapters)+s.Roles.Len() > 0 ||
		s.ServicingStack.Known() || s.Shutdown.Known()
}

func (s *Setup) merge(o *Setup) {
	for name, f := range o.Settings {
		for _, c := range f.Claims() {
			s.Set(name, c.Value, c.Rank, c.From)
		}
	}
	s.Services = append(s.Services, o.Services...)
	s.ServicesWhole.Merge(o.ServicesWhole)
	s.FirewallRules = append(s.FirewallRules, o.FirewallRules...)
	s.FirewallWhole.Merge(o.FirewallWhole)
	s.Shares = append(s.Shares, o.Shares...)
	s.Adapters = append(s.Adapters, o.Adapters...)
	s.Roles.Merge(o.Roles)
	s.ServicingStack.Merge(o.ServicingStack)
	s.Shutdown.Merge(o.Shutdown)
}
