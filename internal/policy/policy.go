// Package policy is a model of the firewall rules around one machine, and of what a packet
// meets there. It knows no firewall product: the packages below it, the dialects, write a
// policy for one and read one back.
//
// It is pure, and knows nothing of evidence: which rules a machine needs is package plan's work.
package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Direction is seen from the machine.
type Direction uint8

// The directions.
const (
	In  Direction = iota // others begin
	Out                  // the machine begins
)

func (d Direction) String() string {
	if d == Out {
		return "out"
	}
	return "in"
}

// Action is what happens to what a rule matches. The zero value drops.
type Action uint8

// The actions.
const (
	Drop Action = iota
	Accept
)

func (a Action) String() string {
	if a == Accept {
		return "accept"
	}
	return "drop"
}

// Proto is a protocol over IP, by its number:
// https://www.iana.org/assignments/protocol-numbers, read 2026-11-24.
type Proto uint8

// The protocols that have more than a number here. Any matches all of them.
const (
	Any    Proto = 0
	ICMP   Proto = 1
	TCP    Proto = 6
	UDP    Proto = 17
	ICMPv6 Proto = 58
)

func (p Proto) String() string {
	switch p {
	case Any:
		return "any"
	case ICMP:
		return "icmp"
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case ICMPv6:
		return "icmpv6"
	}
	return fmt.Sprint(uint8(p))
}

// of reports whether packets of the protocol may have such an address.
func (p Proto) of(a netip.Addr) bool {
	return (p != ICMP || a.Is4()) && (p != ICMPv6 || !a.Is4())
}

// HasPorts reports whether packets of the protocol have ports that rules can name.
func (p Proto) HasPorts() bool { return p == TCP || p == UDP }

// Ports is a range of ports, both ends included. From is at most To.
type Ports struct{ From, To uint16 }

func (p Ports) String() string {
	if p.From == p.To {
		return fmt.Sprint(p.From)
	}
	return fmt.Sprintf("%d-%d", p.From, p.To)
}

// Has reports whether the range holds the port.
func (p Ports) Has(port uint16) bool { return p.From <= port && port <= p.To }

// ICMPType is a type of message of ICMP or ICMPv6, and its code, -1 for any.
type ICMPType struct {
	Type uint8
	Code int16
}

// Rule is one rule. It is about packets that begin a conversation: answers to what was
// accepted pass without one. ICMP is IPv4's and ICMPv6 is IPv6's, whatever the addresses say.
type Rule struct {
	// ID tells the rule from the others of its policy: letters, digits and hyphens only.
	ID     string
	Dir    Direction
	Action Action
	Proto  Proto
	// Except are protocols that a rule with any protocol is not about.
	Except []Proto
	// Local are addresses of the machine, Remote those of the others; none means any, of
	// both families.
	Local, Remote []netip.Prefix
	// LocalPorts and RemotePorts are for TCP and UDP; none means any. With any protocol
	// they are none.
	LocalPorts, RemotePorts []Ports
	// ICMP is for ICMP and ICMPv6; none means any message.
	ICMP []ICMPType
	// Program and Service narrow the rule to a process of the machine. Only a firewall on the machine
	// itself knows them; Decide takes a rule with one as if it had none, for the worst case.
	Program, Service string
	// Unsure says what of the rule could not be read, in a few words: the rule matches at most
	// what it states, and perhaps less. Decide takes it as it is stated.
	Unsure string
	// Comment is the reason, in one line. It may hold what evidence says: a dialect escapes it.
	Comment string
	// At is where the rule was read; empty for one that was made here.
	At string
}

// Order says which of the rules that match a packet counts.
type Order uint8

// The orders.
const (
	FirstMatch Order = iota // nftables, iptables: the first
	DropWins                // Windows Firewall: one that drops, wherever it stands
)

// What names of interfaces are made of. Linux takes all but slashes, colons and spaces, and 15
// bytes (https://git.zx2c4.com/linux-dev/commit/?id=a4176a9391868bfa87705bcd2e3b49e9b9dd2996, read
// 2026-11-25); but + and * mean something to firewalls, and quotes would end a name.
const (
	maxInterface   = 15
	interfaceRunes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.@"
)

// Policy is the rules around one machine. The zero value accepts nothing.
type Policy struct {
	Host string // name of the machine; it may hold what evidence says
	// Own are the machine's addresses: traffic of others is not the policy's matter. With
	// Interface it is all traffic through that interface of the firewall instead, so that
	// the machine cannot get round the policy by taking another address.
	Own       []netip.Addr
	Interface string
	// In and Out are what happens to what no rule matches.
	In, Out Action
	Order   Order
	Rules   []Rule
	// Notes say, one sentence each, what the model or a dialect cannot express, or what of
	// a file that was read could not be understood.
	Notes []string
	// Remarks say how a file was read. Unlike Notes they leave nothing open.
	Remarks []string
}

// View is from where a dialect reads rules: whose they are, and from which side a firewall in
// between sees the machine. What is not known is empty.
type View struct {
	File string // name of what is read, for Rule.At and Notes
	// Own are the machine's addresses. With them, rules about other machines are left out.
	Own []netip.Addr
	// Interface is the firewall's towards the machine. Without it a rule that asks for an
	// interface may match, and is unsure.
	Interface string
}

// Packet is a packet that begins a conversation of the machine.
type Packet struct {
	Dir                   Direction
	Proto                 Proto // never Any
	Local, Remote         netip.Addr
	LocalPort, RemotePort uint16 // for TCP and UDP
	Type, Code            uint8  // for ICMP and ICMPv6
}

// Decide says what happens to a packet, and by which rule: its index, or -1 where none
// matches.
func (p *Policy) Decide(k Packet) (Action, int) {
	found := -1
	for i := range p.Rules {
		if !p.Rules[i].Matches(k) {
			continue
		}
		if p.Order == FirstMatch || p.Rules[i].Action == Drop {
			return p.Rules[i].Action, i
		}
		if found < 0 {
			found = i
		}
	}
	switch {
	case found >= 0:
		return p.Rules[found].Action, found
	case k.Dir == Out:
		return p.Out, -1
	}
	return p.In, -1
}

// Matches reports whether the rule is about the packet.
func (r *Rule) Matches(k Packet) bool {
	return r.Dir == k.Dir &&
		(r.Proto == Any && !slices.Contains(r.Except, k.Proto) || r.Proto == k.Proto && k.Proto.of(k.Remote)) &&
		within(r.Local, k.Local) && within(r.Remote, k.Remote) &&
		(!k.Proto.HasPorts() && len(r.LocalPorts)+len(r.RemotePorts) == 0 ||
			k.Proto.HasPorts() && holds(r.LocalPorts, k.LocalPort) && holds(r.RemotePorts, k.RemotePort)) &&
		(len(r.ICMP) == 0 || slices.ContainsFunc(r.ICMP, func(t ICMPType) bool {
			return t.Type == k.Type && (t.Code < 0 || uint8(t.Code) == k.Code) //nolint:gosec // a code is a byte
		}))
}

func within(list []netip.Prefix, a netip.Addr) bool {
	return len(list) == 0 || slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

func holds(list []Ports, port uint16) bool {
	return len(list) == 0 || slices.ContainsFunc(list, func(p Ports) bool { return p.Has(port) })
}

// Check reports what is wrong with the policy, nil if nothing is: a rule without an id or
// with one twice, ports for a protocol without, a range that ends before it begins, addresses of two
// families in one rule or of one that the protocol is not of, a name that no interface has. Dialects
// may rely on a policy that was checked.
func (p *Policy) Check() error {
	if len(p.Interface) > maxInterface || strings.Trim(p.Interface, interfaceRunes) != "" {
		return fmt.Errorf("%q is no name of an interface", p.Interface)
	}
	for _, a := range p.Own {
		if !a.IsValid() || a.Is4In6() || a.Zone() != "" {
			return fmt.Errorf("%v is no address of the machine", a)
		}
	}
	ids := map[string]bool{}
	for i := range p.Rules {
		r := &p.Rules[i]
		switch {
		case r.ID == "" || strings.Trim(r.ID, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "":
			return fmt.Errorf("rule %d: %q is no id", i, r.ID)
		case ids[r.ID]:
			return fmt.Errorf("rule %s is there twice", r.ID)
		case !r.Proto.HasPorts() && len(r.LocalPorts)+len(r.RemotePorts) > 0:
			return fmt.Errorf("rule %s: %s has no ports", r.ID, r.Proto)
		case r.Proto != ICMP && r.Proto != ICMPv6 && len(r.ICMP) > 0:
			return fmt.Errorf("rule %s: %s has no types of messages", r.ID, r.Proto)
		case r.Proto != Any && len(r.Except) > 0 || slices.Contains(r.Except, Any):
			return fmt.Errorf("rule %s: %s is about no protocol but its own", r.ID, r.Proto)
		}
		ids[r.ID] = true
		for _, q := range slices.Concat(r.LocalPorts, r.RemotePorts) {
			if q.From > q.To {
				return fmt.Errorf("rule %s: ports from %d to %d", r.ID, q.From, q.To)
			}
		}
		list := slices.Concat(r.Local, r.Remote)
		for _, a := range list {
			if !a.IsValid() || a.Addr().Is4In6() || a != a.Masked() {
				return fmt.Errorf("rule %s: %v is no network", r.ID, a)
			}
			if list[0].Addr().Is4() != a.Addr().Is4() {
				return fmt.Errorf("rule %s: addresses of both families", r.ID)
			}
			if !r.Proto.of(a.Addr()) {
				return fmt.Errorf("rule %s: %s has no such address as %v", r.ID, r.Proto, a)
			}
		}
	}
	return nil
}
