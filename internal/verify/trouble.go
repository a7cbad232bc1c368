package verify

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oldguard/oldguard/internal/trust"
	"github.com/oldguard/oldguard/winver"
)

// Trouble is a reason why a genuine file may fail on the machine it is for, and the cure.
// `oldguard explain CODE` says more of each code.
type Trouble struct {
	Codes []string
	Why   string
	Needs []winver.KB // to be installed before, in this order
	Cure  string
}

// sha2 is what a machine of that version needs before it can read signatures of SHA-2: the first
// servicing stack that does, and the support itself. Later servicing stacks contain the first.
// https://support.microsoft.com/help/4472027 and /4474419, read 2026-11-22.
var sha2 = map[string][]winver.KB{
	"6.0": {4493730, 4474419},
	"6.1": {4490628, 4474419},
}

// laterRoots are roots that came after 6.0 and 6.1 were made: offline machines lack them. The
// first is of 1997 and the second of 2001, which all have.
// https://support.microsoft.com/help/931125 (root certificate program updates).
var laterRoots = []string{
	"Microsoft Root Certificate Authority 2010",
	"Microsoft Root Certificate Authority 2011",
}

// troubles lists what stands between a genuine file and an old machine.
func troubles(a *Answer) (list []Trouble) {
	add := func(codes, why, cure string, needs ...winver.KB) {
		list = append(list, Trouble{Codes: strings.Fields(codes), Why: why, Needs: needs, Cure: cure})
	}
	p := a.Package
	old := ""
	if p != nil {
		for _, x := range p.Products {
			if _, ok := sha2[x.Version]; ok {
				old = x.Version
			}
		}
	}
	if needs := sha2[old]; old != "" && onlySHA2(a.Trust) {
		why := "it is signed with SHA-2 alone, which Windows " + old + " cannot read as it was shipped"
		if slices.Contains(needs, p.KB) {
			needs = slices.DeleteFunc(slices.Clone(needs), func(kb winver.KB) bool { return kb == p.KB })
		}
		add("0x80096010 0x80092004", why, "install "+kbs(needs)+", restart, try again", needs...)
	}
	if root := rootOf(a.Trust); old != "" && slices.Contains(laterRoots, root) {
		add("0x800B0109", fmt.Sprintf("its signature ends in %q, which a Windows %s that never reached Windows Update may not have", root, old),
			"import that root into the store of the computer: certutil -addstore Root FILE.crt")
	}
	if at := signedAt(a.Trust); !at.IsZero() {
		add("0x800B0101", "a clock that stands before "+at.Format(time.DateOnly)+", when it was signed, makes the signature invalid",
			"set the clock")
	}
	if p == nil {
		return list
	}
	if p.Stack.Known() && p.Stack.Number > 0 {
		add("0x800F0823", "it asks for a servicing stack of version "+p.Stack.String()+" or later", "install the newest servicing stack update first")
	}
	if p.ESU != "" {
		add("0x80070661 0x80070643", "it asks for an ESU licence (component "+p.ESU+")",
			"activate Windows, install the licensing preparation package, install the ESU key (slmgr /ipk) and activate it (slmgr /ato with its activation id)")
	}
	if len(p.Products) > 0 {
		why := "it is for " + productNames(p)
		if p.Arch != winver.ArchUnknown {
			why += " on " + p.Arch.String()
		}
		if sp := servicePack(a); sp > 0 {
			why += fmt.Sprintf(" with Service Pack %d", sp)
		}
		add("0x80240017 0x800F081E", why+", and installs nowhere else, nor where something newer is installed", "take the file for the machine; oldguard assess says which")
	}
	return list
}

func servicePack(a *Answer) int {
	sp := 0
	for i, x := range a.Package.Products {
		if i > 0 && x.ServicePack != sp {
			return 0
		}
		sp = x.ServicePack
	}
	return sp
}

// onlySHA2 reports whether no signature that counts has a SHA-1 digest.
func onlySHA2(r *trust.Report) bool {
	seen := false
	for _, s := range r.Signatures {
		if s.Algorithm == "SHA-1" {
			return false
		}
		seen = seen || s.Algorithm != ""
	}
	return seen
}

// rootOf gives the name of the root where the first signature that counts ends.
func rootOf(r *trust.Report) string {
	for _, s := range r.Signatures {
		if s.Verdict == trust.Genuine && len(s.Chain) > 0 {
			return commonName(s.Chain[len(s.Chain)-1].Subject)
		}
	}
	return ""
}

func signedAt(r *trust.Report) time.Time {
	for _, s := range r.Signatures {
		if s.Verdict == trust.Genuine && len(s.Timestamps) > 0 {
			return s.At
		}
	}
	return time.Time{}
}

// commonName takes the name out of a distinguished one.
func commonName(subject string) string {
	for part := range strings.SplitSeq(subject, ",") {
		if name, ok := strings.CutPrefix(strings.TrimSpace(part), "CN="); ok {
			return name
		}
	}
	return subject
}

func kbs(list []winver.KB) string {
	var names []string
	for _, kb := range list {
		names = append(names, kb.String())
	}
	return strings.Join(names, " and ")
}
