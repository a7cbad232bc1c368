// Package regexport reads a registry that was written as text: what regedit and reg export
// write, and what reg query prints. What it means is package registry's work.
package regexport

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/console"
	"github.com/oldguard/oldguard/internal/evidence/registry"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/winreg"
)

const readerName = "regexport"

// Reader reads text exports of a registry.
var Reader = evidence.Reader{
	Name: readerName,
	Doc: `Keys of a registry as text: a .reg file of regedit or reg export (both formats), or what reg query KEY /s prints.
Obtain it with: reg export "HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing" cbs.reg
and the same for "HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion" and HKLM\SYSTEM\CurrentControlSet\Control.
CurrentVersion proves version and product. The key Packages below Component Based Servicing, exported whole, proves
which CBS packages are in effect, which wait for a restart and that no other is there; it says what cuts it short. On
Windows 6.x the revision in BuildLabEx is the kernel's and proves no rollup. What was not exported is not known.`,
	Sniff: func(p evidence.Probe) bool { return formOf(p.Text) != none },
	Read:  read,
}

type form uint8

const (
	none form = iota
	regedit4
	regedit5
	query
)

// absent begins a line of the collector for a value that reg query, run by an administrator,
// did not find: ! absent "HKLM\SYSTEM\CurrentControlSet\Control\Lsa" RunAsPPL
const absent = `! absent "`

const headRegedit5 = "Windows Registry Editor Version 5"

// formOf goes by the first line of a .reg file, and by the first line of reg query that is
// neither empty nor a prompt.
func formOf(text string) form {
	n := 0
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
			continue
		case n == 0 && line == "REGEDIT4":
			return regedit4
		case n == 0 && strings.HasPrefix(line, headRegedit5):
			return regedit5
		case keyOf(line) != "", strings.HasPrefix(line, absent):
			return query
		}
		// A console may begin with its banner, prompts and words of an error.
		if n++; n > 12 {
			break
		}
	}
	return none
}

// roots are the names of hives that reg query prints and that people write.
var roots = map[string]bool{
	"HKEY_LOCAL_MACHINE": true, "HKLM": true, "HKEY_USERS": false, "HKU": false, "HKEY_CURRENT_USER": false, "HKCU": false,
	"HKEY_CLASSES_ROOT": false, "HKCR": false, "HKEY_CURRENT_CONFIG": false, "HKCC": false,
}

// keyOf gives the path that a line of reg query is, from the hive on; empty if it is none.
// A remote one has the machine's name in front: \\FS01\HKEY_LOCAL_MACHINE\….
func keyOf(line string) string {
	if rest, ok := strings.CutPrefix(line, `\\`); ok {
		_, line, _ = strings.Cut(rest, `\`)
	}
	hive, rest, ok := strings.Cut(line, `\`)
	if _, known := roots[strings.ToUpper(hive)]; !known || !ok || rest == "" {
		return ""
	}
	return line
}

func read(_ context.Context, in evidence.Input, h *host.Host) ([]evidence.Input, error) {
	text, err := in.Text()
	if err != nil {
		return nil, err
	}
	p := parser{machine: new(winreg.Memory)}
	f := formOf(text)
	if f == query { // what the commands of a batch file printed
		if parts := console.Parts(in, text); parts != nil {
			return parts, nil
		}
	}
	switch f {
	case regedit4, regedit5:
		p.reg(text, f == regedit4)
	case query:
		p.query(text)
	case none:
		return nil, fmt.Errorf("%s is neither a .reg file nor what reg query prints", in.Name)
	}
	from := host.Source{Reader: readerName, Input: in.Name}
	if p.partial != "" {
		h.Gap(host.Gap{What: "registry", From: from, Why: p.partial + ": nothing counts as absent from it", Hint: "run: reg export KEY FILE, and bring the file as it is"})
	}
	if p.keys == 0 {
		return nil, errors.New("it shows no key of HKEY_LOCAL_MACHINE")
	}
	before := len(h.Gaps)
	registry.Say(h, p.machine, from, in.Rank)
	if nothing(h) && len(h.Gaps) == before {
		h.Gap(host.Gap{
			What: "registry", From: from, Why: "it shows none of the keys that tell about Windows and its updates",
			Hint: `run: reg export "HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion" version.reg`,
		})
	}
	return nil, nil
}

// nothing reports whether no fact came out.
func nothing(h *host.Host) bool {
	return !h.Name.Known() && !h.Build.Known() && !h.Product.Known() && !h.BuildLab.Known() && len(h.Updates.Listings()) == 0 && !h.RestartChecked.Known() &&
		len(h.Restart) == 0 && len(h.Programs) == 0 && len(h.Licences) == 0 && !h.MachineID.Known() && !h.Arch.Known() && !h.Role.Known() && !h.Domain.Known() && !h.Setup.Shown()
}
