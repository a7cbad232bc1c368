// Package dialect lists the forms that a firewall policy is written in and read from.
package dialect

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/oldguard/oldguard/internal/policy"
	"github.com/oldguard/oldguard/internal/policy/iptables"
	"github.com/oldguard/oldguard/internal/policy/netsh"
	"github.com/oldguard/oldguard/internal/policy/nftables"
	"github.com/oldguard/oldguard/internal/policy/rulescsv"
)

// Dialect is one form.
type Dialect struct {
	Name, Ext string
	Doc       string // what it is for
	Load      string // how a file of it is put to use
	Reads     string // what of it can be read
	// Sniff reports whether a text, or its beginning, is of the form.
	Sniff func(text []byte) bool
	// Write writes a policy that passes its Check.
	Write func(w io.Writer, p *policy.Policy) error
	// Read reads one. What was not understood is in the policy's notes, and on the rules concerned.
	Read func(text string, v policy.View) (*policy.Policy, error)
}

// All lists the dialects, in the order in which they are tried.
func All() []Dialect {
	return []Dialect{
		{
			"nftables", "nft", "rule set for nft, on a Linux router or bridge in front of the machine", "nft -f FILE",
			"the output of nft list ruleset, and files for nft -f", nftables.Sniff, nftables.Write, nftables.Read,
		},
		{
			"iptables", "sh", "script with the rules for iptables-restore and ip6tables-restore, on a Linux router in front of the machine", "sh FILE",
			"the output of iptables-save, of ip6tables-save, or of both in one file", iptables.Sniff, iptables.Write, iptables.Read,
		},
		{
			"csv", "csv", "table for the people who keep another firewall", "a spreadsheet",
			"a table as it is written here, also back from a spreadsheet", rulescsv.Sniff, rulescsv.Write, rulescsv.Read,
		},
		{
			"netsh", "cmd", "command file for Windows Firewall on the machine itself", "FILE, as an administrator on the machine",
			"the output of netsh advfirewall firewall show rule and show allprofiles, in any language", netsh.Sniff, netsh.Write, netsh.Read,
		},
	}
}

// ErrUnknown is what Read gives for a text of no dialect.
var ErrUnknown = errors.New("no rules of a known firewall")

// Read reads a text of any dialect, and says of which it was.
func Read(text string, v policy.View) (*policy.Policy, Dialect, error) {
	for _, d := range All() {
		if d.Sniff([]byte(text)) {
			p, err := d.Read(text, v)
			return p, d, err
		}
	}
	var reads []string
	for _, d := range All() {
		reads = append(reads, d.Reads)
	}
	return nil, Dialect{}, fmt.Errorf("%s: %w; what is read: %s", v.File, ErrUnknown, strings.Join(reads, "; "))
}
