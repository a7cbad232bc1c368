// Package hive reads registry hives: the files in System32\config of a machine that is
// switched off, or what reg save made of a running one. It finds out which hive a file is,
// and its logs; what the keys mean is package registry's work.
package hive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/registry"
	"github.com/oldguard/oldguard/internal/format/regf"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/winreg"
)

// Reader reads registry hives.
var Reader = evidence.Reader{
	Name: "hive",
	Doc: `Registry hives: SOFTWARE, SYSTEM and COMPONENTS out of Windows\System32\config of a machine
that is switched off, with their logs (SOFTWARE.LOG1, SOFTWARE.LOG2) beside them, or what
reg save HKLM\SOFTWARE software.hiv makes on a running one, as an administrator. They name
the release, every package of Component Based Servicing with its state, settings, services,
firewall rules and programs, and prove what is absent as well. Name and time zone are in
SYSTEM, packages in SOFTWARE: files of one folder are taken for one machine's. A hive that
Windows had not finished writing is completed from its logs; without them it proves nothing
to be absent. What netsh advfirewall export policy.wfw writes is such a hive as well: it holds
the firewall's rules and settings, those of the machine itself without group policy's, and names no
machine. Other hives (SAM, SECURITY, users' own) say nothing about updates and are not
read further.`,
	Sniff: sniff,
	Read:  read,
}

// kinds are the hives, each with keys that all stand in no other.
var kinds = []struct {
	name string   // as below HKEY_LOCAL_MACHINE, and as the file's name
	keys []string // directly below its root
	read bool
}{
	{"SYSTEM", []string{"Select"}, true},
	{"SYSTEM", []string{"ControlSet001"}, true},
	{"SYSTEM", []string{"ControlSet002"}, true},
	{"COMPONENTS", []string{"CanonicalData"}, true},
	{"COMPONENTS", []string{"DerivedData"}, true},
	{"NTUSER.DAT", []string{"Control Panel", "Software"}, false},
	{"SAM", []string{"SAM"}, false},
	{"SECURITY", []string{"Policy"}, false},
	{"BCD", []string{"Objects", "Description"}, false},
	{"SOFTWARE", []string{"Microsoft", "Classes"}, true},
	{"SOFTWARE", []string{`Microsoft\Windows NT\CurrentVersion`}, true},
	{"SOFTWARE", []string{`Microsoft\Windows\CurrentVersion`}, true},
	{firewallPolicy, []string{"FirewallRules"}, true},
	{firewallPolicy, []string{"DomainProfile", "StandardProfile"}, true},
	{firewallPolicy, []string{`FirewallPolicy\FirewallRules`}, true},
}

// firewallPolicy is a hive that netsh advfirewall export writes. Its root has what a machine
// has below FirewallPolicy: so a program shows that mounts such files and compares their keys
// and values (EnableAuditMode stands in the root), seen 2026-11-25; Microsoft documents the
// format nowhere. reg save of the key itself makes the same, of the key above one with it below.
const firewallPolicy = "firewall policy"

// logs are what the names of a hive's logs end in.
var logs = []string{".LOG1", ".LOG2", ".LOG"}

func sniff(p evidence.Probe) bool {
	err := regf.Sniff(p.Head)
	return err == nil || errors.Is(err, regf.ErrLog) || len(p.Head) == 0 && isLog(p.Name)
}

// isLog reports whether a file is named like the log of a hive that is read. Many are empty.
func isLog(name string) bool {
	of, ok := hiveOf(base(name))
	if !ok {
		return false
	}
	for _, k := range kinds {
		if strings.EqualFold(of, k.name) {
			return true
		}
	}
	return false
}

// hiveOf gives the name of the hive whose log has this name.
func hiveOf(name string) (hive string, ok bool) {
	for _, l := range logs {
		if n := len(name) - len(l); n > 0 && strings.EqualFold(name[n:], l) {
			return name[:n], true
		}
	}
	return "", false
}

func base(name string) string { return path.Base(strings.ReplaceAll(name, `\`, "/")) }

func read(_ context.Context, in evidence.Input, h *host.Host) ([]evidence.Input, error) {
	if in.Beside == nil {
		in.Beside = func(string) *io.SectionReader { return nil }
	}
	hive, err := open(in, in.File, base(in.Name))
	if of, ok := hiveOf(base(in.Name)); ok && (errors.Is(err, regf.ErrLog) || in.File.Size() == 0) {
		if in.Beside(of) != nil || in.File.Size() == 0 {
			return nil, evidence.ErrPart
		}
		return nil, fmt.Errorf("it is %w; the hive %s is not beside it", regf.ErrLog, of)
	}
	if err != nil {
		return nil, err
	}
	root := hive.Root()
	name, wanted := kindOf(root)
	from := host.Source{Reader: "hive", Input: in.Name, Taken: hive.Written()}
	if !wanted {
		for _, k := range kinds {
			if k.read && name != "" && in.Beside(k.name) != nil {
				return nil, evidence.ErrPart // of a folder with hives that do tell
			}
		}
		if a, n := hive.Anomalies(); name == "" && n > 0 {
			return nil, fmt.Errorf("the hive is so damaged that nothing tells which it is; first: %s", a[0].What)
		}
		if name == "" {
			return nil, fmt.Errorf("it is a registry hive, but neither SOFTWARE nor SYSTEM nor COMPONENTS nor a firewall's policy; Windows had it as %q", hive.FileName())
		}
		return nil, fmt.Errorf("it is the registry hive %s, which says nothing about updates; SOFTWARE and SYSTEM do", name)
	}
	gaps(h, hive, from, name, in.Name)
	if name == firewallPolicy {
		if below, err := root.Open("FirewallPolicy"); err == nil {
			registry.Firewall(h, below, from, in.Rank)
		} else {
			registry.Firewall(h, root, from, in.Rank)
		}
		return nil, nil
	}
	machine := mount{name: root}
	if name == "SOFTWARE" {
		if system := zoneFrom(in); system != nil {
			machine["SYSTEM"] = system
		}
	}
	registry.Say(h, machine, from, in.Rank)
	return nil, nil
}

// open opens the hive in f, whose name is name, with its logs.
func open(in evidence.Input, f *io.SectionReader, name string) (*regf.Hive, error) {
	var with []*io.SectionReader
	for _, l := range logs {
		if log := in.Beside(name + l); log != nil {
			with = append(with, log)
		}
	}
	if (in.Beside(name+".LOG1") == nil) != (in.Beside(name+".LOG2") == nil) {
		with = append(with, nil) // Windows has either both or none
	}
	return regf.Open(f, f.Size(), with...)
}

// kindOf finds out which hive it is by its keys: the name of the file is the user's.
func kindOf(root *regf.Key) (name string, wanted bool) {
next:
	for _, k := range kinds {
		for _, key := range k.keys {
			if _, err := root.Open(key); err != nil {
				continue next
			}
		}
		return k.name, k.read
	}
	return "", false
}

// gaps says what could not be read.
func gaps(h *host.Host, hive *regf.Hive, from host.Source, name, file string) {
	from.At = `HKLM\` + name
	if name == firewallPolicy {
		from.At = "policy"
	}
	anomalies, _ := hive.Anomalies()
	if hive.State() == regf.Dirty {
		why := "Windows had not finished writing it, and no log beside it completes it: what it says may be out of date, and it proves nothing to be absent"
		if i := slices.IndexFunc(anomalies, func(a regf.Anomaly) bool { return a.Log > 0 }); i >= 0 {
			why += "; of a log: " + anomalies[i].What
		}
		h.Gap(host.Gap{What: "hive " + name, From: from, Why: why, Hint: fmt.Sprintf("give %[1]s.LOG1 and %[1]s.LOG2 together with it", base(file))})
	}
	for _, a := range anomalies {
		if !a.Lost {
			continue
		}
		where := ""
		if a.Key != "" {
			where = " (in the key " + clip(a.Key) + ")"
		}
		h.Gap(host.Gap{
			What: "hive " + name, From: from,
			Why:  fmt.Sprintf("the hive is damaged, in %s; what is damaged was left out. First: at offset %d%s, %s", evidence.Count(hive.Lost(), "place", "places"), a.Offset, where, a.What),
			Hint: "copy the file again from the machine that is switched off, or save it with reg save",
		})
		return
	}
}

const maxShown = 120

// clip makes a key's path fit for a line.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '.'
		}
		return r
	}, s)
	if len(s) > maxShown {
		s = "…" + strings.ToValidUTF8(s[len(s)-maxShown:], "")
	}
	return s
}

// zoneFrom gives of the SYSTEM hive beside a SOFTWARE hive what turns the times in this into
// local ones, and nothing else: the rest is said when SYSTEM itself is read.
func zoneFrom(in evidence.Input) winreg.Key {
	name := base(in.Name)
	i := strings.Index(strings.ToLower(name), "software")
	if i < 0 {
		return nil
	}
	name = name[:i] + "SYSTEM" + name[i+len("software"):]
	f := in.Beside(name)
	if f == nil {
		return nil
	}
	hive, err := open(in, f, name)
	if err != nil {
		return nil // SYSTEM itself will say so
	}
	return zone{hive.Root()}
}

// zone shows the time zone of a SYSTEM hive, and how to get there.
type zone struct{ winreg.Key }

// Open implements winreg.Key.
func (z zone) Open(path string) (winreg.Key, error) {
	lower := strings.ToLower(path)
	switch {
	case lower == "select", strings.HasSuffix(lower, `control\timezoneinformation`):
		return z.Key.Open(path)
	case strings.HasPrefix(lower, "controlset") && !strings.Contains(lower, `\`):
		k, err := z.Key.Open(path)
		if err != nil {
			return nil, err
		}
		return zone{k}, nil
	}
	return nil, winreg.ErrNotShown
}
