package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/plan"
	"github.com/oldguard/oldguard/internal/policy/dialect"
	"github.com/oldguard/oldguard/internal/report"
)

// isolator is one run of plan isolate.
type isolator struct {
	planning
	addresses, jumps, roles, inside []string
	once                            string
	device                          string // the firewall's interface
	check, checkAs                  string
	rules                           *ruleFile // of check; nil without it
}

func newPlanIsolate(e Env) *cobra.Command {
	x := isolator{planning: planning{run: run{env: e}}}
	var formats []string
	var help strings.Builder
	for _, f := range report.IsolationFormats() {
		formats = append(formats, f.Name)
		fmt.Fprintf(&help, "  %-9s %s\n", f.Name, f.Doc)
	}
	c := &cobra.Command{
		Use:   "isolate FILE|FOLDER...",
		Short: "plan to fence machines in: what they talk to stays, all else is cut",
		Long: `isolate reads the same evidence as assess, and above all what shows whom a machine talks to:
lists of connections, packet captures, logs of firewalls, records of flows. It says what of
that stays and what is cut, and why: no internet, management from a jump host only, what is
needed of domain controllers and the like by role. What stays becomes a firewall policy that
drops everything else, both ways. It also says how the machine itself is set, and what the
evidence could not tell. No firewall and no machine is touched.

What the owner knows helps: --jump, --role and --inside say who is who; --address says which
addresses are the machine's where no evidence does.

With --check FILE it reads the rules that a firewall has now and says what they leave open that
the plan does not need, and what they stop that it does. What FILE is shows in it:
` + checkHelp() + `
Formats:
` + help.String() + `
Exit status: 0 nothing is cut, no control is set otherwise, and nothing is left open, 1 could
not run, 2 wrong use, 3 something is cut, or a control is set otherwise than it should be,
4 there can be no policy, or the evidence leaves a question or a control open; 3 beats 4. With
--check it is about these rules alone: 0 they do what the plan does, 3 something is left open or
stopped, 4 not all of them could be understood, or there can be no policy to compare with.
`,
		Example: `  oldguard plan isolate --jump 192.0.2.40 fs01/                  what stays and what is cut
  oldguard plan isolate --format html -o fs01.html fs01.txt netstat.txt fs01.pcap
  oldguard plan isolate --role backup-server=192.0.2.50 --role domain-controller=192.0.2.5 fs01/
  oldguard plan isolate --address 192.0.2.10 --inside 198.51.100.0/24 --once cut flows.csv
  oldguard plan isolate --format nftables -o fs01.nft --jump 192.0.2.40 fs01/
  nft list ruleset > now.txt; oldguard plan isolate --check now.txt --jump 192.0.2.40 fs01/`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return x.isolate(cmd.Context(), args) },
	}
	x.flags(c, formats)
	f := c.Flags()
	f.StringArrayVar(&x.addresses, "address", nil, "an `address` of the machine, where no evidence states it; may be repeated")
	f.StringArrayVar(&x.jumps, "jump", nil, "the `address` or network from which the machine is managed; may be repeated")
	f.StringArrayVar(&x.roles, "role", nil, "who is what to the machine, as `role=address` or role=network: "+oneOf(plan.PeerRoles())+"; may be repeated")
	f.StringArrayVar(&x.inside, "inside", nil, "a `network` that is not the internet, beyond private ones and the machine's own; may be repeated")
	f.StringVar(&x.device, "interface", "", "the `interface` of the firewall towards the machine: the rules are then about all that passes it")
	f.StringVar(&x.once, "once", "", "what becomes of what was seen one single time: allow or cut, a `decision` (default allow)")
	f.StringVar(&x.check, "check", "", "compare with the rules in this `file`, which a firewall has now, or with the machine's own: own")
	f.StringVar(&x.checkAs, "check-as", "", "read the file of --check as this `form` (default by what is in it): "+strings.Join(checkForms(), ", "))
	complete(c, "check-as", checkForms())
	complete(c, "once", []string{string(plan.Allow), string(plan.Cut)})
	var roles []string
	for _, r := range plan.PeerRoles() {
		roles = append(roles, r+"=")
	}
	completeOpen(c, "role", roles)
	return c
}

// checkHelp says what --check reads.
func checkHelp() string {
	var b strings.Builder
	line := func(name, reads string) { fmt.Fprintf(&b, "  %-9s %s\n", name, reads) }
	for _, d := range dialect.All() {
		line(d.Name, d.Reads)
	}
	line(checkWFW, "what netsh advfirewall export writes")
	line(checkOwn, "this word in place of a file: what the evidence shows of the machine's own firewall")
	return b.String()
}

// settle checks the flags.
func (x *isolator) settle() (format report.IsolationFormat, o plan.IsolateOptions, err error) {
	format, ok := report.FindIsolation(x.format)
	if !ok {
		return format, o, usageError{fmt.Errorf("there is no format %q", x.format)}
	}
	o = plan.IsolateOptions{Roles: map[string][]netip.Prefix{}, Interface: x.device, Once: plan.Decision(x.once)}
	if x.once != "" && o.Once != plan.Allow && o.Once != plan.Cut {
		return format, o, usageError{fmt.Errorf("--once is allow or cut, not %q", x.once)}
	}
	switch {
	case x.check == "" && x.checkAs != "":
		return format, o, usageError{errors.New("--check-as is about the file of --check, and there is none")}
	case x.checkAs != "" && !slices.Contains(checkForms(), x.checkAs):
		return format, o, usageError{fmt.Errorf("--check-as is one of %s, not %q", oneOf(checkForms()), x.checkAs)}
	case x.check != "" && format.Rules:
		return format, o, usageError{fmt.Errorf("--check compares, and --format %s writes rules alone: it is one or the other", format.Name)}
	}
	for _, s := range x.addresses {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() {
			return format, o, usageError{fmt.Errorf("--address is an address of the machine such as 192.0.2.10, not %q", s)}
		}
		if a = a.Unmap(); !slices.Contains(o.Own, a) {
			o.Own = append(o.Own, a)
		}
	}
	for _, s := range x.inside {
		p, err := network(s)
		if err != nil {
			return format, o, usageError{fmt.Errorf("--inside is a network such as 198.51.100.0/24: %w", err)}
		}
		o.Inside = append(o.Inside, p)
	}
	for _, s := range x.jumps {
		p, err := network(s)
		if err != nil {
			return format, o, usageError{fmt.Errorf("--jump is an address or a network such as 192.0.2.40: %w", err)}
		}
		o.Roles["jump"] = append(o.Roles["jump"], p)
	}
	for _, s := range x.roles {
		role, who, _ := strings.Cut(s, "=")
		if !slices.Contains(plan.PeerRoles(), role) {
			return format, o, usageError{fmt.Errorf("--role is one of %s, then = and an address, not %q", oneOf(plan.PeerRoles()), s)}
		}
		p, err := network(who)
		if err != nil {
			return format, o, usageError{fmt.Errorf("--role %s=…: %w", role, err)}
		}
		o.Roles[role] = append(o.Roles[role], p)
	}
	return format, o, x.planning.settle()
}

// network reads a network, or an address as the network of it alone.
func network(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return p, fmt.Errorf("%q is neither an address nor a network", s)
	case p.Addr().Is4In6():
		return p, fmt.Errorf("%q is IPv4 in the form of IPv6", s)
	case p.Bits() == 0:
		return p, fmt.Errorf("%q is everything", s)
	case p != p.Masked():
		return p, fmt.Errorf("%q has bits behind its length: %s is the network", s, p.Masked())
	}
	return p, nil
}

func (x *isolator) isolate(ctx context.Context, args []string) error {
	format, options, err := x.settle()
	if err != nil {
		return err
	}
	if x.check != "" {
		if x.rules, err = openRules(x.check, x.checkAs); err != nil {
			return err
		}
	}
	var cat *catalog.Catalog
	var first, held *host.Host
	s := report.Isolations{AsOf: catalog.DateOf(x.on)}
	isolate := func() {
		if held == nil {
			return
		}
		s.Plans = append(s.Plans, plan.Isolate(held, cat, options, x.on))
		if first == nil {
			first = held
			held.Traffic = host.Traffic{} // the rest is for --check; this may be large
		}
		held = nil
	}
	return x.plan(ctx, args, func(c *catalog.Catalog) error {
		cat = c
		return nil
	}, func(h *host.Host) {
		if held != nil && len(s.Plans) == 0 && nameless(h) && (!nameless(held) || len(options.Own) > 0) {
			held.Merge(h)
			return
		}
		isolate()
		held = h
	}, func() error {
		if held != nil && len(s.Plans) == 0 {
			held.Gaps = append(held.Gaps, x.unread...)
		}
		isolate()
		if err = x.alone(format, len(s.Plans)); err != nil {
			return err
		}
		if x.rules != nil && s.Plans[0].Policy != nil {
			if s.Check, err = x.rules.compare(ctx, s.Plans[0], first); err != nil {
				return err
			}
		}
		return x.finish(format, s)
	})
}

// nameless reports whether a host is nothing but flows in files that name no machine, such as a capture
// from another folder. Of one machine that is named beside it, they are that one's: whose else would they
// be? Those without a name come last.
func nameless(h *host.Host) bool {
	return !h.Name.Known() && !h.ProductID.Known() && !h.MachineID.Known() && !h.Build.Known() && len(h.Watches) > 0
}

// alone refuses what is about one machine where there are several.
func (x *isolator) alone(format report.IsolationFormat, machines int) error {
	if machines == 1 {
		return nil
	}
	refuse := func(what string) error {
		return usageError{withHint("name the files of one machine", "%s one machine, and there are %d", what, machines)}
	}
	switch {
	case format.Rules:
		return forOne(format.Name, machines)
	case len(x.addresses) > 0:
		return refuse("--address is of")
	case x.device != "":
		return refuse("--interface is towards")
	case x.check != "":
		return refuse("--check is about")
	}
	return nil
}

// finish writes the plans.
func (x *isolator) finish(format report.IsolationFormat, s report.Isolations) error {
	if format.Rules || x.check != "" {
		if why := s.Plans[0].Why; why != "" {
			printError(x.env.Stderr, errors.New("there is no policy: "+why), "oldguard plan isolate without --format and --check says what would tell")
			return answer{statusUndecided}
		}
	}
	status := statusClear
	for _, p := range s.Plans {
		status = worse(status, isolationStatus(p))
	}
	if s.Check != nil {
		status = checkStatus(s.Check)
	}
	return x.answer(status, func(w io.Writer) error { return format.Write(w, s, x.options) })
}

// isolationStatus gives the status for a plan.
func isolationStatus(p *plan.Isolation) int {
	status := statusClear
	if p.Why != "" || len(p.Questions) > 0 {
		status = statusUndecided
	}
	for i := range p.Dependencies {
		if p.Dependencies[i].Decision == plan.Cut {
			status = statusBad
		}
	}
	for i := range p.Hardening {
		switch p.Hardening[i].State {
		case plan.ControlBad:
			status = statusBad
		case plan.ControlUnknown:
			status = worse(status, statusUndecided)
		case plan.ControlGood, plan.ControlNotAvailable, plan.ControlNotConcerned, plan.ControlExternal:
		}
	}
	return status
}

// checkStatus gives the status for rules that were compared.
func checkStatus(c *report.RuleSet) int {
	switch certain, open := c.Told(); {
	case certain:
		return statusBad
	case open:
		return statusUndecided
	}
	return statusClear
}
