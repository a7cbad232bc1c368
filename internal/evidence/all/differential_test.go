package all_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/all"
	"github.com/oldguard/oldguard/internal/format/regf/regftest"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/winreg"
	"github.com/oldguard/oldguard/winver"
)

// generated is a Server 2008 SP2 that does not exist, to be written in every form.
type generated struct {
	name    string
	build   int
	states  map[winver.KB]uint32 // CurrentState of each package
	restart bool
}

// The values of CurrentState: package cbs has their source.
const (
	stateStaged, stateSuperseded, statePending, stateInstalled uint32 = 0x40, 0x50, 0x60, 0x70
)

func (m generated) kbs() (inEffect []winver.KB) {
	for kb, state := range m.states {
		if state == stateInstalled || state == stateSuperseded {
			inEffect = append(inEffect, kb)
		}
	}
	slices.Sort(inEffect)
	return inEffect
}

const generatedID = "92573-082-2500115-76417"

// systeminfo is the text of the example machine with this one's facts, of whose list the first
// lines are kept; -1 is all.
func (m generated) systeminfo(t *testing.T, list int) string {
	t.Helper()
	example, err := os.ReadFile(filepath.Join("..", "..", "..", "examples", "fs01", "systeminfo.txt"))
	if err != nil {
		t.Fatal(err)
	}
	head, _, ok := strings.Cut(string(example), "Hotfix(s):")
	_, tail, _ := strings.Cut(string(example), "KB4534303\r\n")
	if !ok || tail == "" {
		t.Fatal("the example has no list of updates, or not the usual one")
	}
	kbs := m.kbs()
	var b strings.Builder
	b.WriteString(strings.NewReplacer("FS01", m.name, "6003", strconv.Itoa(m.build), "92573-082-2500115-76101", generatedID).Replace(head))
	fmt.Fprintf(&b, "Hotfix(s):                 %d Hotfix(s) Installed.\r\n", len(kbs))
	for i, kb := range kbs {
		if i == list {
			return b.String()
		}
		fmt.Fprintf(&b, "                           [%02d]: %v\r\n", i+1, kb)
	}
	return b.String() + tail
}

// qfe is wmic qfe get …, as a table in UTF-16.
func (m generated) qfe() string {
	text := "CSName  HotFixID   InstalledOn  \r\r\n"
	for _, kb := range m.kbs() {
		text += fmt.Sprintf("%-6s  %-9v  01d4ef2c51a00000  \r\r\n", m.name, kb)
	}
	out := "\xff\xfe"
	for _, c := range []byte(text + "\r\r\n") {
		out += string([]byte{c, 0})
	}
	return out
}

// registry is HKEY_LOCAL_MACHINE as far as these forms show it.
func (m generated) registry(t *testing.T) *winreg.Memory {
	t.Helper()
	root := new(winreg.Memory)
	key := func(path string, values ...winreg.Value) {
		k, err := root.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range values {
			k.Set(v)
		}
	}
	text := func(name, s string) winreg.Value { return winreg.TextValue(name, winreg.String, s) }
	build := strconv.Itoa(m.build)
	key(`SOFTWARE\Classes`)
	key(`SOFTWARE\Microsoft\Windows NT\CurrentVersion`,
		text("ProductName", "Windows Server (R) 2008 Standard"), text("CurrentVersion", "6.0"), text("CurrentBuild", build), text("CurrentBuildNumber", build),
		text("BuildLabEx", build+".20489.amd64fre.vistasp2_ldr_escrow.190404-1620"), text("CSDVersion", "Service Pack 2"), text("EditionID", "ServerStandard"),
		text("ProductId", generatedID))
	const servicing = `SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing`
	key(servicing + `\Packages`)
	for _, kb := range slices.Sorted(maps.Keys(m.states)) { // as in a registry
		state := m.states[kb]
		key(fmt.Sprintf(`%s\Packages\Package_for_%v~31bf3856ad364e35~amd64~~6.0.1.0`, servicing, kb), winreg.DwordValue("CurrentState", state),
			winreg.DwordValue("InstallTimeHigh", 0x01d4ef2c), winreg.DwordValue("InstallTimeLow", 0x51a00000))
	}
	if m.restart {
		key(servicing + `\RebootPending`)
	}
	key(`SYSTEM\Select`, winreg.DwordValue("Current", 1))
	key(`SYSTEM\ControlSet001\Control\ComputerName\ComputerName`, text("ComputerName", m.name))
	key(`SYSTEM\ControlSet001\Services\Tcpip\Parameters`, text("Domain", "corp.example"))
	return root
}

// exported writes a key as reg export does.
func exported(k *winreg.Memory, path string, b *strings.Builder) {
	fmt.Fprintf(b, "[%s]\r\n", path)
	values, _ := k.Values()
	for _, v := range values {
		digits := make([]string, len(v.Data))
		for i, c := range v.Data {
			digits[i] = hex.EncodeToString([]byte{c})
		}
		fmt.Fprintf(b, "\"%s\"=hex(%x):%s\r\n", v.Name, uint32(v.Type), strings.Join(digits, ","))
	}
	b.WriteString("\r\n")
	for _, c := range k.Children() {
		exported(c, path+`\`+c.Name(), b)
	}
}

func (m generated) export(t *testing.T) string {
	var b strings.Builder
	b.WriteString("Windows Registry Editor Version 5.00\r\n\r\n")
	for _, hive := range m.registry(t).Children() {
		exported(hive, `HKEY_LOCAL_MACHINE\`+hive.Name(), &b)
	}
	return b.String()
}

// forms are the machine in each form, as folders of evidence.
func (m generated) forms(t *testing.T) map[string]map[string]string {
	hives := map[string]string{}
	for _, hive := range m.registry(t).Children() {
		hives[hive.Name()] = string(regftest.Hive(hive, regftest.Options{FileName: `\SystemRoot\System32\Config\` + hive.Name()}))
	}
	return map[string]map[string]string{
		"systeminfo": {"systeminfo.txt": m.systeminfo(t, -1)}, "qfe": {"qfe.txt": m.qfe()}, "export": {"machine.reg": m.export(t)}, "hives": hives,
	}
}

// readFiles reads files as one folder, which must give one machine.
func readFiles(t *testing.T, files ...map[string]string) *host.Host {
	t.Helper()
	tree := fstest.MapFS{}
	for _, some := range files {
		for name, text := range some {
			tree[name] = &fstest.MapFile{Data: []byte(text)}
		}
	}
	var hosts []*host.Host
	for h, err := range evidence.Read(context.Background(), all.Readers(), []evidence.Input{{Name: "m", Tree: tree}}, evidence.Options{}) {
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, h)
	}
	if len(hosts) != 1 {
		t.Fatalf("gave %d machines, want one", len(hosts))
	}
	return hosts[0]
}

// facts are what every form may tell; "" and 0 where it does not.
type facts struct {
	Name, Domain, Product, ProductID, Edition string
	Build                                     winver.Build
	ServicePack                               int
	Arch                                      winver.Arch
	Updates                                   []winver.KB
	Whole                                     bool
}

func factsOf(h *host.Host) facts {
	_, whole := h.Updates.Whole()
	return facts{
		h.Name.Or(""), h.Domain.Or(""), h.Product.Or(""), h.ProductID.Or(""), h.Edition.Or(""), h.Build.Or(winver.Build{}),
		h.ServicePack.Or(0), h.Arch.Or(0), h.Updates.All(), whole,
	}
}

func disputes(h *host.Host) (names []string) {
	for name, disputed := range map[string]bool{
		"name": h.Name.Disputed(), "domain": h.Domain.Disputed(), "product": h.Product.Disputed(), "product id": h.ProductID.Disputed(), "edition": h.Edition.Disputed(),
		"build": h.Build.Disputed(), "service pack": h.ServicePack.Disputed(), "arch": h.Arch.Disputed(), "installation": h.Installation.Disputed(), "installed": h.Installed.Disputed(),
	} {
		if disputed {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// machines are some by hand and some by chance, the same each time.
func machines() map[string]generated {
	const rollup, stack, sha2, stacked = 4493471, 4493730, 4474419, 4489887
	all := map[string]generated{
		"plain":             {"FS01", 6003, map[winver.KB]uint32{rollup: stateInstalled, stack: stateInstalled, sha2: stateInstalled}, false},
		"restart_pending":   {"FS01", 6002, map[winver.KB]uint32{stack: stateInstalled, rollup: statePending}, true},
		"superseded":        {"FS01", 6003, map[winver.KB]uint32{4507452: stateInstalled, rollup: stateSuperseded, stack: stateSuperseded, sha2: stateInstalled}, false},
		"staged":            {"FS01", 6003, map[winver.KB]uint32{rollup: stateInstalled, stacked: stateStaged}, false},
		"as_service_pack_2": {"FS01", 6002, map[winver.KB]uint32{955430: stateInstalled}, false},
	}
	r := rand.New(rand.NewPCG(6, 6003))
	for i := range 20 {
		m := generated{fmt.Sprintf("GEN%02d", i), 6002 + r.IntN(2), map[winver.KB]uint32{rollup: stateInstalled}, r.IntN(2) == 0}
		for range 1 + r.IntN(300) {
			m.states[winver.KB(2_000_000+r.IntN(3_000_000))] = []uint32{stateStaged, statePending, stateSuperseded, stateInstalled, stateInstalled}[r.IntN(5)]
		}
		all[strings.ToLower(m.name)] = m
	}
	return all
}

// TestDifferential: one machine tells the same in every form. What a form does not tell it
// leaves open, and together they dispute nothing.
func TestDifferential(t *testing.T) {
	for name, m := range machines() {
		t.Run(name, func(t *testing.T) {
			want := facts{
				m.name, "corp.example", "Microsoft Windows Server 2008 Standard", generatedID, "Standard",
				winver.Build{Major: 6, Number: uint32(m.build)},
				2, winver.AMD64, m.kbs(), true,
			}
			forms := m.forms(t)
			for form, files := range forms {
				h := readFiles(t, files)
				wanted := want
				if form == "qfe" {
					wanted = facts{Name: m.name, Updates: want.Updates, Whole: true}
				}
				if diff := cmp.Diff(wanted, factsOf(h)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", form, diff)
				}
				if len(h.Gaps) > 0 || len(disputes(h)) > 0 {
					t.Errorf("%s has gaps %v, disputes %q", form, h.Gaps, disputes(h))
				}
				registry := form == "export" || form == "hives"
				restart := m.restart || slices.Contains(slices.Collect(maps.Values(m.states)), statePending)
				if checked := h.RestartChecked.Or(false); checked != registry || len(h.Restart) > 0 != (registry && restart) {
					t.Errorf("%s: restart looked for: %v, found %v, want %v", form, checked, h.Restart, restart)
				}
				for kb, state := range m.states {
					inEffect := host.No // a whole list has what is in effect, and nothing else
					if state == stateInstalled || state == stateSuperseded {
						inEffect = host.Yes
					}
					if got := h.Updates.Has(kb); got != inEffect {
						t.Errorf("%s: %v in state %#x: %v, want %v", form, kb, state, got, inEffect)
					}
				}
			}
			together := readFiles(t, forms["systeminfo"], forms["qfe"], forms["export"], forms["hives"])
			if diff := cmp.Diff(want, factsOf(together)); diff != "" {
				t.Errorf("together (-want +got):\n%s", diff)
			}
			if got := disputes(together); len(got) > 0 {
				t.Errorf("together they dispute %q", got)
			}
			for _, kb := range m.kbs() {
				if n := len(together.Updates.Sources(kb)); n != len(forms) {
					t.Errorf("%v has %d sources", kb, n)
				}
			}
		})
	}
}

// TestDifferentialCut: a list that was cut names some of the same updates, proves nothing
// missing, says so, and is made whole by any other form.
func TestDifferentialCut(t *testing.T) {
	for name, m := range machines() {
		t.Run(name, func(t *testing.T) {
			if len(m.kbs()) < 2 {
				t.Skip("nothing to cut")
			}
			cut := map[string]string{"systeminfo.txt": m.systeminfo(t, len(m.kbs())/2)}
			h := readFiles(t, cut)
			if _, whole := h.Updates.Whole(); whole || len(h.Gaps) == 0 || h.Updates.Len() != len(m.kbs())/2 {
				t.Errorf("%d of %d updates, gaps %v, listings %+v", h.Updates.Len(), len(m.kbs()), h.Gaps, h.Updates.Listings())
			}
			for form, files := range m.forms(t) {
				if form == "systeminfo" {
					continue
				}
				h := readFiles(t, cut, files)
				if _, whole := h.Updates.Whole(); !whole || !slices.Equal(h.Updates.All(), m.kbs()) || len(disputes(h)) > 0 {
					t.Errorf("with %s: whole %v, %d updates of %d, disputes %q", form, whole, h.Updates.Len(), len(m.kbs()), disputes(h))
				}
			}
		})
	}
}

// TestDifferentialDispute: what is of another day shows as a dispute, and only that.
func TestDifferentialDispute(t *testing.T) {
	before := generated{"FS01", 6002, map[winver.KB]uint32{4493730: stateInstalled}, true}
	after := generated{"FS01", 6003, map[winver.KB]uint32{4493730: stateInstalled, 4493471: stateInstalled}, false}
	for form, files := range after.forms(t) {
		if form == "systeminfo" || form == "qfe" {
			continue
		}
		h := readFiles(t, map[string]string{"systeminfo.txt": before.systeminfo(t, -1)}, files)
		if diff := cmp.Diff([]string{"build"}, disputes(h)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", form, diff)
		}
		if n := len(h.Updates.Sources(4493471)); n != 1 {
			t.Errorf("%s: the newer update has %d sources", form, n)
		}
	}
}
