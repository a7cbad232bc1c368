package plan

import (
	"net/netip"
	"time"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/policy"
	"github.com/oldguard/oldguard/winver"
)

// Isolation is how to fence a machine in: whom it talks to, which of that stays allowed and
// why, the firewall policy that follows, how the machine itself is set, and what could not
// be known. It says what was seen and what was decided, never that a machine is safe.
type Isolation struct {
	AsOf catalog.Date
	Host string // empty where not known
	// ProductID and MachineID tell the machine from others of its name; empty where not known.
	ProductID, MachineID string

	Release *catalog.Release // nil where not known
	Arch    winver.Arch
	Role    host.Role // empty where not known

	// Own are the machine's addresses. OwnGuessed tells that no source states them and that
	// they were taken from the traffic.
	Own        []host.Address
	OwnGuessed bool

	// Watches are the sources of the flows, the longest first.
	Watches []host.Watch
	// First and Last are the span that all watches with a clock cover; zero without any.
	First, Last time.Time

	// Dependencies are what the machine does with whom, those allowed first, then by
	// direction and service.
	Dependencies []Dependency
	// Peers are all others the machine was seen with or is told to need, by address.
	Peers []Peer
	// Unused is what the machine offers and nobody was seen to use: the policy closes it.
	Unused []Offer
	// Foreign is the number of conversations that are none of the machine's own.
	Foreign int

	// Policy is what to load. It is nil where there is no plan. All of its rules accept.
	Policy *policy.Policy
	// Widened are the rules that let more addresses through than were seen, since the list of
	// those would be too long for a firewall.
	Widened []Widening

	Hardening []Hardening

	// Questions are what the evidence could not tell, and what would.
	Questions []Question
	// Why says why there is no policy, where there is none.
	Why   string
	Notes []string
}

// Offer is a port on which the machine waits, or a service that a share or a role implies.
type Offer struct {
	Proto   policy.Proto
	Port    uint16
	Name    string // as Dependency.Name
	Program string // image and services, where a source shows them
	// Loopback tells that it waits for the machine itself only.
	Loopback bool
	Because  host.Reason
}

// IsolateOptions is what the owner says beyond the evidence.
type IsolateOptions struct {
	Own []netip.Addr // addresses of the machine
	// Roles says who is what: jump, domain-controller, name-server, time-server, backup-server,
	// monitoring-server, update-server (see PeerRoles). Networks have no bits behind their length.
	Roles map[string][]netip.Prefix
	// Inside are networks that count as inside beyond private ones, the machine's own, and those
	// to which it has a route.
	Inside []netip.Prefix
	// Interface is the firewall's towards the machine: the policy then is about all that passes
	// it.
	Interface string
	// Once is what becomes of what was seen one single time; empty is Allow.
	Once Decision
}

// Decision is what becomes of a dependency.
type Decision string

// The decisions.
const (
	Allow Decision = "allow"
	Cut   Decision = "cut"
)

// Dependency is one service that the machine uses or offers, with all those on the other side
// about whom the same was decided for the same reason.
type Dependency struct {
	ID       string // "in-smb", "out-dns", "in-tcp-4711"; a number is added where several have it
	Dir      policy.Direction
	Proto    policy.Proto
	Ports    []policy.Ports // of the server; none for protocols without ports
	ICMP     []policy.ICMPType
	Service  string    // id of the known protocol; empty where the port is not known
	Name     string    // for people: "SMB", "tcp 4711"
	Protocol *Protocol // nil where the port is not known
	Program  string    // the machine's own process, where a source shows it
	Decision Decision
	// Rule is the id of the rule of thumb that decided: "internet", "management", "once".
	Rule    string
	Because []host.Reason
	Peers   []Talker // by address
	// Times, Packets and Bytes are sums over the peers.
	Times          int
	Refused        int
	Packets, Bytes uint64
	First, Last    time.Time // zero where no source has a clock
	Readers        []string  // the evidence readers that saw it; none where nobody did: it is needed by role
	// Once tells that it was seen one single time.
	Once bool
	// Guessed tells that no source shows who began: it was taken from the port numbers.
	Guessed bool
	// Rules are the ids of the policy's rules that came of it.
	Rules []string
}

// Talker is one peer in a dependency.
type Talker struct {
	Addr           netip.Addr
	Times, Refused int
	Packets, Bytes uint64
	First, Last    time.Time
}

// Place is where a peer is.
type Place string

// The places.
const (
	Inside   Place = "inside"
	Internet Place = "internet"
	OnLink   Place = "link" // multicast, broadcast and link-local addresses: they pass no router
)

// Peer is one other machine.
type Peer struct {
	Addr  netip.Addr
	Name  string // empty where no source names it
	Place Place
	// Roles are what it is to the machine: "domain-controller", "name-server", "jump".
	Roles []string
	// Because says, in order of Roles, why.
	Because []string
	// Allowed and Cut are the numbers of dependencies that it is in.
	Allowed, Cut int
}

// Widening says how much more a rule lets through than was seen.
type Widening struct {
	Rule      string // id of the policy's rule
	Seen      int    // addresses that were seen
	Networks  int    // networks in the rule
	Addresses float64
}
