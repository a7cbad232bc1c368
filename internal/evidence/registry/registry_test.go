package registry_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/oldguard/oldguard/internal/evidence/registry"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/winreg"
)

// build makes a registry of lines "KEY" and "KEY!NAME=TEXT" or "KEY!NAME=#NUMBER".
func build(t *testing.T, whole bool, lines ...string) *winreg.Memory {
	t.Helper()
	root := new(winreg.Memory)
	root.Whole = whole
	for _, line := range lines {
		path, value, has := strings.Cut(line, "!")
		k, err := root.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if !has {
			continue
		}
		name, data, _ := strings.Cut(value, "=")
		var n uint32
		switch {
		case strings.HasPrefix(data, "%"):
			b, err := hex.DecodeString(data[1:])
			if err != nil {
				t.Fatal(err)
			}
			k.Set(winreg.Value{Name: name, Type: winreg.Binary, Data: b})
		case strings.HasPrefix(data, "#"):
			if _, err := fmt.Sscanf(data, "#%d", &n); err != nil {
				t.Fatal(err)
			}
			k.Set(winreg.DwordValue(name, n))
		default:
			k.Set(winreg.TextValue(name, winreg.String, data))
		}
	}
	if whole {
		var spread func(k *winreg.Memory)
		spread = func(k *winreg.Memory) {
			k.Whole = true
			for _, c := range k.Children() {
				spread(c)
			}
		}
		spread(root)
	}
	return root
}

// TestControlSet: a hive has no CurrentControlSet; Select names the one in use.
func TestControlSet(t *testing.T) {
	const name = `\Control\ComputerName\ComputerName!ComputerName=`
	for _, tt := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"live", []string{`SYSTEM\CurrentControlSet` + name + "LIVE", `SYSTEM\ControlSet001` + name + "ONE"}, "LIVE"},
		{"selected", []string{`SYSTEM\Select!Current=#2`, `SYSTEM\ControlSet001` + name + "ONE", `SYSTEM\ControlSet002` + name + "TWO"}, "TWO"},
		{"first", []string{`SYSTEM\ControlSet001` + name + "ONE"}, "ONE"},
		{"selected_is_not_there", []string{`SYSTEM\Select!Current=#3`, `SYSTEM\ControlSet001` + name + "ONE"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var h host.Host
			registry.Say(&h, build(t, true, tt.lines...), host.Source{}, 1)
			if got := h.Name.Or(""); got != tt.want {
				t.Errorf("name = %q, want %q", got, tt.want)
			}
		})
	}
}

// TestInstallDate: the registry has UTC, and people see the machine's own time, with the
// rules of daylight saving time of its zone.
func TestInstallDate(t *testing.T) {
	date := func(s string) uint32 {
		d, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return uint32(d.Unix())
	}
	const zone = `SYSTEM\ControlSet001\Control\TimeZoneInformation!`
	berlin := []string{
		zone + "Bias=#4294967236", zone + "StandardBias=#0", zone + "DaylightBias=#4294967236",
		zone + "StandardStart=%00000a00050003000000000000000000", zone + "DaylightStart=%00000300050002000000000000000000",
	}
	sydney := []string{ // from the first Sunday of October to the first of April
		zone + "Bias=#4294966696", zone + "StandardBias=#0", zone + "DaylightBias=#4294967236",
		zone + "StandardStart=%00000400010003000000000000000000", zone + "DaylightStart=%00000a00010002000000000000000000",
	}
	for _, tt := range []struct {
		name, utc string
		zone      []string
		want      string
	}{
		{"no_zone", "2009-07-01T12:00:00Z", nil, ""},
		{"winter", "2009-01-15T12:00:00Z", berlin, "2009-01-15T13:00:00Z"},
		{"summer", "2009-07-01T12:00:00Z", berlin, "2009-07-01T14:00:00Z"},
		{"before_the_change", "2009-03-29T00:59:00Z", berlin, "2009-03-29T01:59:00Z"},
		{"after_the_change", "2009-03-29T01:00:00Z", berlin, "2009-03-29T03:00:00Z"},
		{"after_the_change_back", "2009-10-25T01:00:00Z", berlin, "2009-10-25T02:00:00Z"},
		{"southern_summer", "2009-01-15T12:00:00Z", sydney, "2009-01-15T23:00:00Z"},
		{"southern_winter", "2009-07-01T12:00:00Z", sydney, "2009-07-01T22:00:00Z"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lines := append([]string{fmt.Sprintf(`SOFTWARE\Microsoft\Windows NT\CurrentVersion!InstallDate=#%d`, date(tt.utc))}, tt.zone...)
			var h host.Host
			registry.Say(&h, build(t, true, lines...), host.Source{}, 1)
			got := ""
			if on, ok := h.Installed.Value(); ok {
				got = on.Format(time.RFC3339)
			}
			if got != tt.want {
				t.Errorf("installed %q, want %q", got, tt.want)
			}
		})
	}
}

// TestRestartChecked: only a source that would have shown a pending restart says that there
// is none.
func TestRestartChecked(t *testing.T) {
	const servicing = `SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing`
	for _, tt := range []struct {
		name    string
		whole   bool
		lines   []string
		checked bool
		reasons int
	}{
		{"whole", true, []string{servicing + `\Packages`}, true, 0},
		{"part", false, []string{servicing + `\Packages`}, false, 0},
		{"pending", true, []string{servicing + `\RebootPending`}, true, 1},
		{"session", true, []string{servicing + `\SessionsPending!Exclusive=#1`}, true, 1},
		{"no_session", true, []string{servicing + `\SessionsPending!Exclusive=#0`}, true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var h host.Host
			registry.Say(&h, build(t, tt.whole, tt.lines...), host.Source{}, 1)
			if got := h.RestartChecked.Or(false); got != tt.checked || len(h.Restart) != tt.reasons {
				t.Errorf("checked %v with %d reasons, want %v with %d: %+v", got, len(h.Restart), tt.checked, tt.reasons, h.Restart)
			}
		})
	}
}

// damaged is a key that cannot be read, as in a broken hive.
type damaged struct{ *winreg.Memory }

var errDamaged = errors.New("cell 0x20 is no key")

func (damaged) Open(string) (winreg.Key, error) { return nil, errDamaged }

// TestDamage: what is damaged is a gap, and neither absent nor silent.
func TestDamage(t *testing.T) {
	var h host.Host
	registry.Say(&h, damaged{new(winreg.Memory)}, host.Source{Reader: "hive"}, 1)
	if len(h.Gaps) == 0 || !strings.Contains(h.Gaps[0].Why, "cell 0x20") || h.RestartChecked.Known() {
		t.Errorf("gaps are %+v", h.Gaps)
	}
}

// TestNetBIOS: adapters that differ are all told, and one adapter that no source shows whole
// leaves the setting unknown.
func TestNetBIOS(t *testing.T) {
	const adapter = `SYSTEM\CurrentControlSet\Services\NetBT\Parameters\Interfaces\Tcpip_`
	for _, tt := range []struct {
		name  string
		whole bool
		lines []string
		want  string
	}{
		{"all_off", true, []string{adapter + "{1}!NetbiosOptions=#2", adapter + "{2}!NetbiosOptions=#2"}, "2"},
		{"they_differ", true, []string{adapter + "{1}!NetbiosOptions=#2", adapter + "{2}!NetbiosOptions=#0"}, "0, 2"},
		{"one_sets_nothing", true, []string{adapter + "{1}!NetbiosOptions=#2", adapter + "{2}"}, "0, 2"},
		{"one_not_shown", false, []string{adapter + "{1}!NetbiosOptions=#2", adapter + "{2}"}, ""},
		{"no_adapter", true, []string{`SYSTEM\CurrentControlSet\Services\NetBT\Parameters\Interfaces`}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var h host.Host
			registry.Say(&h, build(t, tt.whole, tt.lines...), host.Source{}, 1)
			if got := h.Settings["netbios-options"].Or(""); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}
