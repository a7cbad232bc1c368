package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/hive"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/plan"
	"github.com/oldguard/oldguard/internal/policy"
	"github.com/oldguard/oldguard/internal/policy/dialect"
	"github.com/oldguard/oldguard/internal/report"
)

// What --check reads: the rules of a firewall as text in one of the dialects, what netsh
// advfirewall export writes, which is a registry hive, or, with the word own, what the evidence
// shows of the machine's own firewall.
const (
	checkOwn = "own"
	checkWFW = "wfw"
)

// maxRuleSet bounds a file with rules; the largest rule sets have some tens of megabytes.
const maxRuleSet = 64 << 20

// checkForms are the values of --check-as.
func checkForms() (names []string) {
	for _, d := range dialect.All() {
		names = append(names, d.Name)
	}
	return append(names, checkWFW)
}

// ruleFile is a file with rules, before it is known whose they are.
type ruleFile struct {
	name string
	as   string // one of checkForms; empty to recognise it
	raw  []byte
}

// openRules reads the file. Nothing is understood yet: that takes the machine's addresses.
func openRules(name, as string) (*ruleFile, error) {
	f := &ruleFile{name: name, as: as}
	if name == checkOwn {
		return f, nil
	}
	file, err := os.Open(name) // #nosec G304 -- the user names it
	if err != nil {
		return nil, withHint("--check takes the rules a firewall has now, such as the output of nft list ruleset, or the word own", "%w", err)
	}
	defer func() { _ = file.Close() }() // it was only read
	f.raw, err = io.ReadAll(io.LimitReader(file, maxRuleSet+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", name, err)
	case len(f.raw) > maxRuleSet:
		return nil, fmt.Errorf("%s is larger than %d MiB", name, maxRuleSet>>20)
	}
	return f, nil
}

// compare reads the rules from the side of the machine and compares them with its plan, which
// has a policy.
func (f *ruleFile) compare(ctx context.Context, p *plan.Isolation, h *host.Host) (*report.RuleSet, error) {
	existing, form, err := f.read(ctx, policy.View{File: f.name, Own: p.Policy.Own, Interface: p.Policy.Interface}, h)
	if err != nil {
		return nil, err
	}
	return &report.RuleSet{File: f.name, Dialect: form, Existing: existing, Comparison: policy.Compare(existing, p.Policy)}, nil
}

func (f *ruleFile) read(ctx context.Context, v policy.View, h *host.Host) (existing *policy.Policy, form string, err error) {
	switch {
	case f.name == checkOwn:
		if existing = plan.WindowsFirewall(h); existing == nil {
			return nil, "", withHint("netsh advfirewall firewall show rule name=all verbose > rules.txt & netsh advfirewall show allprofiles > profiles.txt, or a registry export or hive",
				"no evidence shows the rules of the machine's own firewall")
		}
		return existing, "Windows Firewall, by the evidence", nil
	case f.as == checkWFW, f.as == "" && bytes.HasPrefix(f.raw, []byte("regf")):
		if existing, err = f.exported(ctx, h); err != nil {
			return nil, "", err
		}
		return existing, "netsh advfirewall export", nil
	}
	text := evidence.Decode(f.raw)
	if f.as == "" {
		var d dialect.Dialect
		existing, d, err = dialect.Read(text, v)
		if errors.Is(err, dialect.ErrUnknown) {
			return nil, "", withHint("--check-as FORM, if it is one of these all the same", "%w", err)
		}
		return existing, d.Name, err
	}
	for _, d := range dialect.All() {
		if d.Name == f.as {
			existing, err = d.Read(text, v)
		}
	}
	return existing, f.as, err
}

// exported reads what netsh advfirewall export wrote: rules and profiles of a machine that it
// does not name. Whose they are is the caller's word.
func (f *ruleFile) exported(ctx context.Context, h *host.Host) (*policy.Policy, error) {
	in := evidence.Input{Name: f.name, File: io.NewSectionReader(bytes.NewReader(f.raw), 0, int64(len(f.raw)))}
	for read, err := range evidence.Read(ctx, []evidence.Reader{hive.Reader}, []evidence.Input{in}, evidence.Options{As: hive.Reader.Name}) {
		if err != nil {
			return nil, err
		}
		own := *h
		own.FirewallRules, own.FirewallWhole, own.Settings = read.FirewallRules, read.FirewallWhole, read.Settings
		p := plan.WindowsFirewall(&own)
		if p == nil {
			var why []string
			for _, g := range read.Gaps {
				why = append(why, g.Why)
			}
			return nil, fmt.Errorf("%s holds no rules of Windows Firewall: %s", f.name, strings.Join(why, "; "))
		}
		for _, g := range read.Gaps {
			if g.What != "machine" { // it names none, and need not
				p.Notes = append(p.Notes, fmt.Sprintf("%s: %s", g.What, g.Why))
			}
		}
		return p, nil
	}
	return nil, fmt.Errorf("%s holds nothing that could be read", f.name)
}
