package plan

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/collect/script"
	"github.com/oldguard/oldguard/internal/evidence/registry"
	"github.com/oldguard/oldguard/internal/golden"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/winreg"
	"github.com/oldguard/oldguard/winver"
)

func TestControlStates(t *testing.T) {
	var zero Hardening
	if zero.State != ControlUnknown || zero.State.String() != "unknown" || ControlState(200).String() != "unknown" {
		t.Errorf("a control of which nothing is known is %s", zero.State)
	}
	seen := map[string]bool{}
	for s := ControlUnknown; s <= ControlExternal; s++ {
		text, err := s.MarshalText()
		if err != nil || seen[string(text)] {
			t.Errorf("%d is %q, %v", s, text, err)
		}
		seen[string(text)] = true
	}
}

// hardenReleases are those that the tests go through: one of each kind in the tables.
var hardenReleases = []string{"2008-sp1", "2008-sp2", "2008-r2-sp1", "2012", "2012-r2", "2016", "2019", "2022", "2025"}

// hardening is a machine to look at: no settings, no list of services.
func hardening(t *testing.T, release string) *host.Host {
	t.Helper()
	c := testCatalog(t)
	h := server(t, c, release, "ServerStandard", winver.AMD64, host.Server)
	rel, err := c.Release("windows-server-" + release)
	if err != nil {
		t.Fatal(err)
	}
	h.Product.Say(rel.Name, 1, src) // 17763 is 1809 and 2019
	h.Build = host.Fact[winver.Build]{}
	h.Build.Say(rel.Builds[len(rel.Builds)-1], 1, src) // 6002 alone proves what is missing
	h.ServicesWhole = host.Fact[bool]{}
	return h
}

// harden gives the controls of a machine by their ids.
func harden(t *testing.T, h *host.Host) map[string]Hardening {
	t.Helper()
	return byID(Harden(h, assess.Assess(h, testCatalog(t), assess.Policy{}, on)))
}

func byID(list []Hardening) map[string]Hardening {
	out := map[string]Hardening{}
	for _, c := range list {
		out[c.ID] = c
	}
	return out
}

// set states settings, all by one source.
func set(h *host.Host, settings map[string]string) {
	for name, value := range settings {
		h.Set(name, value, 1, host.Source{Reader: "test", At: name})
	}
}

// unset states of every setting that it is not set.
func unset(h *host.Host) {
	for i := range controlValues() {
		v := &controlValues()[i]
		for _, name := range []string{v.setting, v.policy} {
			if name != "" {
				set(h, map[string]string{name: host.NotSet})
			}
		}
	}
	set(h, map[string]string{"policy-event-forwarding": host.NotSet})
}

func service(h *host.Host, name string, start host.Start) {
	h.Services = append(h.Services, host.Service{Name: name, Start: start, From: host.Source{Reader: "test", At: name}})
}

// TestHardeningTables: each row has what a reader of it needs, and nothing points nowhere.
func TestHardeningTables(t *testing.T) {
	ids := map[string]bool{}
	for i := range controlTable() {
		c := &controlTable()[i]
		if ids[c.ID] || c.ID == "" || c.Name == "" || c.Protects == "" || c.Confidence == "" || len(c.judged) == 0 {
			t.Errorf("%+v", c)
		}
		ids[c.ID] = true
		if strings.HasPrefix(c.Confidence, "documented") && c.Source == "" {
			t.Errorf("%s is documented nowhere", c.ID)
		}
		if (len(c.set) == 0) != (len(c.undo) == 0) {
			t.Errorf("%s: set by %q, undone by %q", c.ID, c.set, c.undo)
		}
		if strings.HasPrefix(c.Source, "https://") && c.read == "" && c.Confidence == "documented" {
			t.Errorf("%s: when was its source read?", c.ID)
		}
		known := len(c.Tell) > 0 || slices.Contains(c.judged, "external") || slices.Contains(c.judged, "exists")
		if !known {
			t.Errorf("%s: no command tells", c.ID)
		}
	}
	covered := map[string]bool{}
	for i := range controlValues() {
		v := &controlValues()[i]
		covered[v.control] = true
		if !ids[v.control] || v.setting == "" || v.label == "" || v.good == "" || v.Confidence == "" || !strings.HasPrefix(v.key, `HKLM\S`) {
			t.Errorf("%+v", v)
		}
		if v.fallback == "?" && v.Confidence == "documented" && v.Source == "" || v.fallback != "?" && v.Confidence == "unknown" {
			t.Errorf("%s %s: %q is %s", v.control, v.name, v.fallback, v.Confidence)
		}
		if v.fallback != "?" && strings.HasPrefix(v.Confidence, "documented") && v.Source == "" {
			t.Errorf("%s: the default of %s is documented nowhere", v.control, v.name)
		}
		if good, ok := v.satisfied(v.want, host.No); v.kind == "REG_DWORD" && (!good || !ok) {
			t.Errorf("%s: setting %s to %q is not good", v.control, v.name, v.want)
		}
		for j := range controlValues()[:i] {
			o := &controlValues()[j]
			if o.control == v.control && o.setting == v.setting && slices.Compare(o.releases.to[:], v.releases.from[:]) >= 0 && slices.Compare(v.releases.to[:], o.releases.from[:]) >= 0 {
				t.Errorf("%s: two rows for %s on one release", v.control, v.setting)
			}
		}
	}
	for _, c := range controlTable() {
		if slices.Contains(c.judged, "values") && !covered[c.ID] {
			t.Errorf("%s has no values", c.ID)
		}
	}
	for _, e := range controlsExist() {
		if !ids[e.control] || e.text == "" || e.Confidence == "" {
			t.Errorf("%+v", e)
		}
	}
	for i := range controlServices() {
		c := &controlServices()[i]
		if c.name == "" || c.display == "" || c.risk == "" || c.breaks == "" || c.Confidence == "" || c.always != "" && len(c.needs) > 0 {
			t.Errorf("%+v", c)
		}
		for _, p := range c.ports {
			if !regexp.MustCompile(`^(tcp|udp)/\d+$`).MatchString(p) {
				t.Errorf("%s: port %q", c.name, p)
			}
		}
	}
	for _, bad := range []string{"", "6.", "6.0-x", "6.0.1.2", "-6.0"} {
		if _, err := spanOf(bad); err == nil {
			t.Errorf("%q is a range of releases", bad)
		}
	}
	for _, tt := range []struct {
		span  string
		build winver.Build
		want  bool
	}{
		{"6.0", winver.Build{Major: 6, Number: 6003}, true},
		{"6.0", winver.Build{Major: 6, Minor: 1, Number: 7601}, false},
		{"6.0-6.2", winver.Build{Major: 6, Minor: 2, Number: 9200}, true},
		{"6.0-6.2", winver.Build{Major: 6, Minor: 3, Number: 9600}, false},
		{"6.3-", winver.Build{Major: 10, Number: 14393}, true},
		{"6.0-10.0.14393", winver.Build{Major: 10, Number: 14393}, true},
		{"6.0-10.0.14393", winver.Build{Major: 10, Number: 17763}, false},
		{"10.0.14394-", winver.Build{Major: 10, Number: 14393}, false},
	} {
		if got := mustSpan("test", tt.span).has(tt.build); got != tt.want {
			t.Errorf("%s has %v: %v", tt.span, tt.build, got)
		}
	}
}

// TestSettingsAreRead: the reader of registries gives each value of the table the setting's
// name that the table has for it.
func TestSettingsAreRead(t *testing.T) {
	for i := range controlValues() {
		v := &controlValues()[i]
		root := new(winreg.Memory)
		key := strings.TrimPrefix(v.key, `HKLM\`)
		if v.setting == "netbios-options" {
			key += `\Tcpip_{1}`
		}
		k, err := root.Create(key)
		if err != nil {
			t.Fatal(err)
		}
		switch v.kind {
		case "REG_DWORD":
			k.Set(winreg.DwordValue(v.name, 7))
		case "REG_SZ":
			k.Set(winreg.TextValue(v.name, winreg.String, "7"))
		case "REG_MULTI_SZ":
			k.Set(winreg.TextValue(v.name, winreg.Multi, "7"))
		default:
			t.Fatalf("%s is a %s", v.name, v.kind)
		}
		wholeMemory(root)
		var h host.Host
		registry.Say(&h, root, host.Source{Reader: "test"}, 1)
		if got := h.Settings[v.setting].Or(""); got != "7" {
			t.Errorf(`%s\%s is %q, not the setting %s`, v.key, v.name, got, v.setting)
		}
		if v.policy != "" && h.Settings[v.policy].Or("") != host.NotSet {
			t.Errorf("the reader does not know %s", v.policy)
		}
	}
}

// TestTheCollectorAsksForAll: what a control looks at is what the collector brings.
func TestTheCollectorAsksForAll(t *testing.T) {
	vars := strings.NewReplacer("%OG_CCS%", `HKLM\SYSTEM\CurrentControlSet`, "%OG_NT%", `HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion`,
		"%OG_CV%", `HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion`, "%OG_POL%", `HKLM\SOFTWARE\Policies\Microsoft`)
	values, exported := map[string]bool{}, []string{}
	line := regexp.MustCompile(`^call :(values|export|ifthere) \S+ "?([^"]+?)"?( [\w ]+)?$`)
	for l := range strings.SplitSeq(string(script.CMD), "\r\n") {
		m := line.FindStringSubmatch(vars.Replace(l))
		switch {
		case m == nil:
		case m[1] == "values":
			for name := range strings.FieldsSeq(m[3]) {
				values[m[2]+`\`+name] = true
			}
		default:
			exported = append(exported, m[2])
		}
	}
	for i := range controlValues() {
		v := &controlValues()[i]
		if !values[v.key+`\`+v.name] && !slices.ContainsFunc(exported, func(k string) bool { return v.key == k || strings.HasPrefix(v.key, k+`\`) }) {
			t.Errorf(`the collector does not ask for %s\%s`, v.key, v.name)
		}
	}
}

func wholeMemory(k *winreg.Memory) {
	k.Whole = true
	for _, c := range k.Children() {
		wholeMemory(c)
	}
}

// samples gives a value as the control wants it, and one that is otherwise.
func samples(v *controlValue) (good, bad string) {
	want, _, _ := strings.Cut(v.good, "|")
	switch {
	case want == "none":
		return "none", "COMNAP, browser"
	case strings.HasPrefix(want, ">="):
		n, _ := strconv.Atoi(want[2:])
		return want[2:], strconv.Itoa(n - 1)
	case strings.HasPrefix(want, "!"):
		return v.want, want[1:]
	case strings.HasPrefix(want, "&"):
		return want[1:], "0"
	}
	good, _, _ = strings.Cut(want, ",")
	for _, bad = range []string{"0", "1", "2"} {
		if !slices.Contains(strings.Split(want, ","), bad) {
			return good, bad
		}
	}
	return good, "9"
}

// TestEachValue goes through every row of values on every release: good, bad, not set,
// unknown, disputed, overridden by a group policy, and with a policy that nothing shows.
func TestEachValue(t *testing.T) {
	for _, release := range hardenReleases {
		base := hardening(t, release)
		a := assess.Assess(base, testCatalog(t), assess.Policy{}, on)
		rows := 0
		for i := range controlValues() {
			v := &controlValues()[i]
			if !v.releases.has(a.Identity.Release.Builds[0]) {
				continue
			}
			rows++
			good, bad := samples(v)
			look := func(settings map[string]string) part {
				h := *base
				h.Settings = nil
				set(&h, settings)
				x := hardener{Host: &h, a: a, build: a.Identity.Release.Builds[0], named: a.Identity.Release.Name, dc: host.No}
				return x.value(v)
			}
			check := func(name string, p part, want ControlState) {
				t.Helper()
				if p.state != want || len(p.because) == 0 || p.because[0].Text == "" {
					t.Errorf("%s, %s, %s: %s, want %s: %+v", release, v.setting, name, p.state, want, p)
				}
				if want == ControlGood && (len(p.set) > 0 || p.note != "") {
					t.Errorf("%s, %s, %s: good, and to be set: %+v", release, v.setting, name, p)
				}
			}
			with := func(local, policy string) map[string]string {
				m := map[string]string{v.setting: local}
				if v.policy != "" && policy != "" {
					m[v.policy] = policy
				}
				return m
			}
			check("good", look(with(good, host.NotSet)), ControlGood)
			p := look(with(bad, host.NotSet))
			check("bad", p, ControlBad)
			if len(p.set) != 1 || len(p.undo) != 1 || !strings.Contains(p.set[0], v.name) {
				t.Errorf("%s, %s: set by %q, undone by %q", release, v.setting, p.set, p.undo)
			}
			check("unknown", look(nil), ControlUnknown)
			check("words", look(with("on request", host.NotSet)), map[bool]ControlState{true: ControlUnknown, false: ControlBad}[v.kind != "REG_MULTI_SZ"])
			p = look(with(host.NotSet, host.NotSet))
			want := ControlUnknown
			if fallback, _, conditional := strings.Cut(v.fallback, "@"); fallback != "?" && !conditional {
				isGood, _ := v.satisfied(fallback, host.No)
				want = map[bool]ControlState{true: ControlGood, false: ControlBad}[isGood]
			}
			check("not set", p, want)
			if want == ControlBad && (len(p.undo) != 1 || !strings.HasPrefix(p.undo[0], "reg delete ")) {
				t.Errorf("%s, %s: what is not set is put back by %q", release, v.setting, p.undo)
			}
			disputed := *base
			disputed.Settings = nil
			set(&disputed, with(good, host.NotSet))
			disputed.Set(v.setting, bad, 1, host.Source{Reader: "another"})
			x := hardener{Host: &disputed, a: a, build: a.Identity.Release.Builds[0], named: a.Identity.Release.Name}
			check("disputed", x.value(v), ControlUnknown)
			if v.policy == "" {
				continue
			}
			check("policy good", look(with(bad, good)), ControlGood)
			p = look(with(good, bad))
			check("policy bad", p, ControlBad)
			if len(p.set) > 0 || !strings.Contains(p.note, "group policy") || !strings.Contains(p.now, "group policy") {
				t.Errorf("%s, %s: a command does not last where a policy sets it: %+v", release, v.setting, p)
			}
			check("policy not shown", look(with(good, "")), ControlUnknown)
			check("policy alone", look(map[string]string{v.policy: good}), ControlGood)
			check("policy alone not set", look(map[string]string{v.policy: host.NotSet}), ControlUnknown)
		}
		if rows < 55 {
			t.Errorf("%s has %d values", release, rows)
		}
	}
}

// TestDefaults: how machines stand on which nothing was ever set, written down a second time
// from the pages that the tables name.
func TestDefaults(t *testing.T) {
	for _, tt := range []struct{ release, want string }{
		{"2008-sp2", `
			net-segment=external net-egress=external jump=external ips=external backup=external local-admin=external std-unread=external
			net-allowlist=bad fw-on=unknown smb1-server=bad smb1-client=unknown smb2=good smb-sign=bad smb-sign-client=bad
			null-sessions=good anonymous=bad lmcompat=bad lm-hash=good ntlm-session=bad ntlm-restrict=not-available
			ldap-sign=not-concerned ldap-channel=not-concerned ldap-client=good
			rdp-off=good rdp-nla=good rdp-layer=good rdp-encryption=good
			tls-1.2=bad ssl=bad tls-old=bad wdigest=not-available lsa-protection=not-available cloud-absent=not-available
			uac-remote=good auto-logon=good llmnr=bad netbios=bad ip-routing=good ipv6-tunnels=bad roles=unknown spooler=unknown
			point-and-print=unknown autorun=bad log=unknown dc=good zerologon=not-concerned`},
		{"2008-sp1", `tls-1.2=not-available autorun=bad ntlm-restrict=not-available wdigest=not-available`},
		{"2008-r2-sp1", `ntlm-restrict=bad ntlm-session=bad tls-1.2=bad ssl=bad tls-old=bad wdigest=bad lsa-protection=not-available smb1-server=bad`},
		{"2012", `tls-1.2=good ssl=bad tls-old=bad wdigest=bad rdp-bluekeep=not-concerned`},
		{"2012-r2", `tls-1.2=good ssl=bad tls-old=bad wdigest=good lsa-protection=bad cloud-absent=not-concerned smb1-client=good`},
		{"2016", `smb1-server=bad ssl=good tls-old=bad wdigest=good ipv6-tunnels=bad`},
		{"2019", `smb1-server=unknown ssl=good ipv6-tunnels=unknown smb-sign=bad`},
		{"2025", `smb-sign=unknown smb-sign-client=unknown tls-old=unknown lsa-protection=unknown`},
	} {
		t.Run(tt.release, func(t *testing.T) {
			h := hardening(t, tt.release)
			unset(h)
			got := harden(t, h)
			for pair := range strings.FieldsSeq(tt.want) {
				id, want, _ := strings.Cut(pair, "=")
				c, ok := got[id]
				if !ok || c.State.String() != want {
					t.Errorf("%s is %s, want %s: %+v", id, c.State, want, c)
				}
				delete(got, id)
			}
			if tt.release == "2008-sp2" {
				for _, id := range []string{"smb-ms17-010", "rdp-bluekeep", "rdp-credssp"} {
					if got[id].State != ControlUnknown {
						t.Errorf("without a list of updates %s is %s: %+v", id, got[id].State, got[id])
					}
					delete(got, id)
				}
				if len(got) > 0 {
					t.Errorf("not said above: %v", slices.Sorted(maps.Keys(got)))
				}
			}
		})
	}
}

// TestNothingFollowsFromNothing: evidence that shows nothing makes no control good or bad.
func TestNothingFollowsFromNothing(t *testing.T) {
	for name, c := range harden(t, &host.Host{}) {
		if c.State != ControlUnknown && c.State != ControlExternal {
			t.Errorf("%s of a machine of which nothing is known is %s", name, c.State)
		}
		if c.State == ControlUnknown && len(c.Tell) == 0 {
			t.Errorf("%s: nothing tells", name)
		}
	}
	for _, release := range hardenReleases {
		h := hardening(t, release)
		h.Role = host.Fact[host.Role]{}
		for name, c := range harden(t, h) {
			if c.State == ControlGood || c.State == ControlBad {
				t.Errorf("%s: %s is %s, by its release alone: %+v", release, name, c.State, c)
			}
		}
	}
}

// TestLessEvidenceTellsLess: without one of the settings a control is what it was, or unknown.
func TestLessEvidenceTellsLess(t *testing.T) {
	for _, release := range []string{"2008-sp2", "2012-r2"} {
		base := hardening(t, release)
		a := assess.Assess(base, testCatalog(t), assess.Policy{}, on)
		rng := rand.New(rand.NewPCG(7, 8))
		for range 40 {
			h := *base
			h.Settings = nil
			unset(&h)
			for i := range controlValues() {
				v := &controlValues()[i]
				good, bad := samples(v)
				if rng.IntN(2) == 0 {
					h.Settings[v.setting] = host.Fact[string]{}
					set(&h, map[string]string{v.setting: []string{good, bad, host.NotSet}[rng.IntN(3)]})
				}
			}
			before := byID(Harden(&h, a))
			names := h.SettingNames()
			delete(h.Settings, names[rng.IntN(len(names))])
			for id, c := range byID(Harden(&h, a)) {
				if c.State != before[id].State && c.State != ControlUnknown {
					t.Fatalf("%s: %s was %s and is %s with less evidence", release, id, before[id].State, c.State)
				}
			}
		}
	}
}

// run carries out commands on the registry of a host: reg add and reg delete as they are
// written, and nothing else.
func run(t *testing.T, h *host.Host, commands []string) {
	t.Helper()
	add := regexp.MustCompile(`^reg add "([^"]+)" /v (\S+) /t (REG_\w+) /d (\S+) /f$`)
	remove := regexp.MustCompile(`^reg delete "([^"]+)" /v (\S+) /f$`)
	for _, command := range commands {
		var key, name, value string
		switch m, d := add.FindStringSubmatch(command), remove.FindStringSubmatch(command); {
		case m != nil:
			key, name, value = m[1], m[2], strings.ReplaceAll(m[4], `\0`, ", ")
			if value == `""` {
				value = "none"
			}
		case d != nil:
			key, name, value = d[1], d[2], host.NotSet
		default:
			t.Errorf("not understood: %s", command)
			continue
		}
		found := false
		for i := range controlValues() {
			if v := &controlValues()[i]; v.key == key && v.name == name {
				h.Settings[v.setting] = host.Fact[string]{}
				set(h, map[string]string{v.setting: value})
				found = true
			}
		}
		if !found {
			t.Errorf("it is about no value of the table: %s", command)
		}
	}
}

// TestCommandsDoAndUndo: after its commands a control is good, and after those that undo them
// everything is as it was.
func TestCommandsDoAndUndo(t *testing.T) {
	for _, release := range []string{"2008-sp2", "2008-r2-sp1", "2012-r2", "2025"} {
		for _, role := range []host.Role{host.Member, host.DomainController} {
			for _, how := range []string{"bad", "not set"} {
				h := hardening(t, release)
				h.Role = host.Fact[host.Role]{}
				h.Role.Say(role, 1, src)
				unset(h)
				if how == "bad" {
					for i := range controlValues() {
						v := &controlValues()[i]
						_, bad := samples(v)
						if v.setting == "rdp-denied" {
							bad = "0" // so that the controls of Remote Desktop count
						}
						h.Settings[v.setting] = host.Fact[string]{}
						set(h, map[string]string{v.setting: bad})
					}
				}
				a := assess.Assess(h, testCatalog(t), assess.Policy{}, on)
				values := func() map[string]string {
					out := map[string]string{}
					for _, n := range h.SettingNames() {
						out[n] = h.Settings[n].Or("")
					}
					return out
				}
				done := 0
				for id, c := range byID(Harden(h, a)) {
					i := slices.IndexFunc(controlTable(), func(c control) bool { return c.ID == id })
					if i < 0 || c.State != ControlBad || len(controlTable()[i].set) > 0 || !slices.Contains(controlTable()[i].judged, "values") || id == "rdp-credssp" || id == "zerologon" {
						continue
					}
					done++
					if c.UndoNote != "" || len(c.Set) == 0 || len(c.Set) != len(c.Undo) {
						t.Errorf("%s, %s: set by %q, undone by %q, %q", release, id, c.Set, c.Undo, c.UndoNote)
					}
					before := values()
					run(t, h, c.Set)
					// What the evidence leaves unknown (an update that brings it) stays unknown.
					if after := byID(Harden(h, a))[id]; after.State == ControlBad || len(after.Set) > 0 {
						t.Errorf("%s, %s: %q make it %s: %+v", release, id, c.Set, after.State, after)
					}
					run(t, h, c.Undo)
					if d := cmp.Diff(before, values()); d != "" {
						t.Errorf("%s, %s: undone by %q (-before +after):\n%s", release, id, c.Undo, d)
					}
				}
				if done < 5 {
					t.Errorf("%s, %s: %d controls", release, how, done)
				}
			}
		}
	}
}

// TestEvidenceIsNoCommand: what a registry holds does not get onto a command line.
func TestEvidenceIsNoCommand(t *testing.T) {
	h := hardening(t, "2008-sp2")
	unset(h)
	for _, id := range []string{"null-session-pipes", "null-session-shares", "smb1-server", "lm-compatibility-level"} {
		h.Settings[id] = host.Fact[string]{}
		set(h, map[string]string{id: "x & del /q *, \"y\" | z\x1b[2J%PATH%"})
	}
	for id, c := range harden(t, h) {
		for _, command := range slices.Concat(c.Set, c.Undo) {
			if strings.Contains(command, "del /q") || strings.ContainsAny(command, "\x1b&|<>^") {
				t.Errorf("%s: %q", id, command)
			}
		}
		if strings.ContainsRune(c.UndoNote, '\x1b') {
			t.Errorf("%s: %q", id, c.UndoNote)
		}
	}
	if c := harden(t, h)["null-sessions"]; c.State != ControlBad || !strings.Contains(c.UndoNote, "by hand") {
		t.Errorf("%+v", c)
	}
}

// TestCommandsOfTheRelease: 2008 has no cmdlets for this, and in PowerShell sc is another
// command.
func TestCommandsOfTheRelease(t *testing.T) {
	for _, release := range hardenReleases {
		h := hardening(t, release)
		unset(h)
		h.Role = host.Fact[host.Role]{}
		h.Role.Say(host.DomainController, 1, src)
		for i := range controlServices() {
			service(h, controlServices()[i].name, host.StartAuto)
		}
		service(h, "Spooler", host.StartAuto)
		h.ServicesWhole.Say(true, 1, src)
		for id, c := range harden(t, h) {
			for _, command := range slices.Concat(c.Set, c.Undo, c.Tell) {
				first, _, _ := strings.Cut(command, " ")
				if !slices.Contains([]string{
					"reg", "sc.exe", "netsh", "wmic", "wevtutil", "wbadmin", "nbtstat", "netstat", "ipconfig", "route", "net", "netdom", "dcpromo", "systeminfo",
					"servermanagercmd", "powershell",
				}, first) {
					t.Errorf("%s, %s: %s", release, id, command)
				}
				if first == "powershell" && strings.HasPrefix(release, "2008") {
					t.Errorf("%s, %s: %s", release, id, command)
				}
			}
			for _, text := range []string{c.Name, c.Now, c.Protects, c.Breaks, c.Exists, c.UndoNote} {
				if strings.Contains(strings.ToLower(text), "safe") {
					t.Errorf("%s: %s", id, text)
				}
			}
		}
	}
}

// TestFactsAreCovered: each row of the collection of facts is a control here.
func TestFactsAreCovered(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "facts", "containment.json"))
	if err != nil {
		t.Skipf("the collection of facts is not here: %v", err)
	}
	var facts struct {
		Rows []struct{ ID, Confidence string }
	}
	if err := json.Unmarshal(b, &facts); err != nil || len(facts.Rows) == 0 {
		t.Fatalf("%d rows, %v", len(facts.Rows), err)
	}
	controls := harden(t, hardening(t, "2008-sp2"))
	covers := map[string]string{}
	for _, c := range controlTable() {
		for _, f := range c.facts {
			covers[f] = c.ID
		}
	}
	for _, r := range facts.Rows {
		if _, ok := controls[covers[r.ID]]; !ok {
			t.Errorf("%s is no control", r.ID)
		}
	}
}

// talk has others use a port of the machine.
func talk(h *host.Host, port uint16, refused bool, clients ...string) {
	own := netip.MustParseAddr("192.0.2.11")
	h.Addresses = append(h.Addresses, host.Address{Addr: own, Bits: 24, From: src})
	for _, c := range clients {
		s := host.Sighting{From: host.Source{Reader: "pcap"}, Times: 2, Sure: true}
		if refused {
			s.Refused = 2
		}
		h.Traffic.Add(host.Talk{Client: netip.MustParseAddr(c), Server: own, Proto: host.TCP, Port: port}, s)
	}
	h.Watches = append(h.Watches, host.Watch{From: host.Source{Reader: "pcap"}, Kind: "capture", First: on, Last: on.Add(time.Hour)})
}

func TestServices(t *testing.T) {
	for _, tt := range []struct {
		name, service string
		make          func(h *host.Host)
		want          string // empty: the service is not told of
		now           string
	}{
		{"nothing_needs_it", "RemoteRegistry", func(h *host.Host) { service(h, "RemoteRegistry", host.StartAuto) }, "bad", "nothing seen needs it"},
		{"disabled", "RemoteRegistry", func(h *host.Host) { service(h, "remoteregistry", host.StartDisabled) }, "good", "disabled"},
		{"on_demand", "RemoteRegistry", func(h *host.Host) { service(h, "RemoteRegistry", host.StartManual) }, "", ""},
		{"on_demand_and_runs", "RemoteRegistry", func(h *host.Host) {
			service(h, "RemoteRegistry", host.StartManual)
			h.Processes = append(h.Processes, host.Process{Image: "svchost.exe", Services: []string{"RemoteRegistry"}, From: src})
		}, "bad", "on demand, and runs"},
		{"did_not_run", "RemoteRegistry", func(h *host.Host) {
			service(h, "RemoteRegistry", host.StartAuto)
			h.Processes = append(h.Processes, host.Process{Image: "svchost.exe", Services: []string{"Dhcp"}, From: src})
		}, "bad", "did not run"},
		{"only_a_list_of_processes", "RemoteRegistry", func(h *host.Host) {
			h.Processes = append(h.Processes, host.Process{Image: "svchost.exe", Services: []string{"RemoteRegistry"}, From: src})
		}, "bad", "runs"},
		{"sources_differ", "RemoteRegistry", func(h *host.Host) {
			service(h, "RemoteRegistry", host.StartAuto)
			service(h, "RemoteRegistry", host.StartDisabled)
		}, "unknown", "contradicts"},
		{"absent", "RemoteRegistry", func(h *host.Host) { h.ServicesWhole.Say(true, 1, src) }, "", ""},
		{"cleartext_even_if_used", "TlntSvr", func(h *host.Host) {
			service(h, "TlntSvr", host.StartAuto)
			talk(h, 23, false, "192.0.2.50")
		}, "bad", "passwords in clear"},
		{"nobody_watched", "W3SVC", func(h *host.Host) { service(h, "W3SVC", host.StartAuto) }, "unknown", "starts with Windows"},
		{"used", "W3SVC", func(h *host.Host) {
			service(h, "W3SVC", host.StartAuto)
			talk(h, 443, false, "192.0.2.50", "192.0.2.51")
		}, "not-concerned", "2 others were seen"},
		{"refused_is_not_used", "W3SVC", func(h *host.Host) {
			service(h, "W3SVC", host.StartAuto)
			talk(h, 443, true, "192.0.2.50")
		}, "bad", "nothing seen needs it"},
		{"nobody_seen", "W3SVC", func(h *host.Host) {
			service(h, "W3SVC", host.StartAuto)
			talk(h, 445, false, "192.0.2.50")
		}, "bad", "nothing seen needs it"},
		{"own_addresses_unknown", "W3SVC", func(h *host.Host) {
			service(h, "W3SVC", host.StartAuto)
			talk(h, 445, false, "192.0.2.50")
			h.Addresses = nil
		}, "unknown", ""},
		{"too_many_conversations", "W3SVC", func(h *host.Host) {
			service(h, "W3SVC", host.StartAuto)
			talk(h, 445, false, "192.0.2.50")
			h.Traffic.Lost = 1
		}, "unknown", ""},
		{"itself_is_nobody", "W3SVC", func(h *host.Host) {
			service(h, "W3SVC", host.StartAuto)
			talk(h, 80, false, "192.0.2.11")
		}, "bad", ""},
		{"role_needs_it", "W3SVC", func(h *host.Host) {
			service(h, "W3SVC", host.StartAuto)
			h.Roles.Add("update server", src)
		}, "not-concerned", "needed"},
		{"service_needs_it", "SSDPSRV", func(h *host.Host) {
			service(h, "SSDPSRV", host.StartAuto)
			service(h, "upnphost", host.StartAuto)
		}, "not-concerned", "needed"},
		{"setting_needs_it", "WinRM", func(h *host.Host) {
			service(h, "WinRM", host.StartAuto)
			set(h, map[string]string{"policy-event-forwarding": "Server=http://collector.example.com:5985"})
		}, "not-concerned", "needed"},
		{"policy_opens_it", "WinRM", func(h *host.Host) {
			service(h, "WinRM", host.StartAuto)
			set(h, map[string]string{"policy-winrm": "1"})
		}, "not-concerned", "needed"},
		{"policy_closes_it", "WinRM", func(h *host.Host) {
			service(h, "WinRM", host.StartAuto)
			set(h, map[string]string{"policy-winrm": "0"})
		}, "unknown", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := hardening(t, "2008-sp2")
			tt.make(h)
			c, ok := harden(t, h)["service-"+strings.ToLower(tt.service)]
			if !ok {
				if tt.want != "" {
					t.Fatal("it is not told of")
				}
				return
			}
			if c.State.String() != tt.want || !strings.Contains(c.Now, tt.now) {
				t.Errorf("%s, %q; want %s, %q: %+v", c.State, c.Now, tt.want, tt.now, c.Because)
			}
			if c.State == ControlBad && (len(c.Set) != 2 || !strings.HasPrefix(c.Set[0], "sc.exe config "+tt.service+" start= disabled") || len(c.Undo) != 2 && c.UndoNote == "") {
				t.Errorf("set by %q, undone by %q", c.Set, c.Undo)
			}
			if c.State == ControlUnknown && len(c.Tell) == 0 {
				t.Error("nothing tells")
			}
		})
	}
}

// TestWhereAServiceWaits: the list of open ports says more of a service that runs.
func TestWhereAServiceWaits(t *testing.T) {
	any4, loopback := netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("127.0.0.1")
	for _, tt := range []struct {
		name      string
		listeners []host.Listener
		want      string
	}{
		{"for_all", []host.Listener{{Proto: host.TCP, Addr: any4, Port: 21}, {Proto: host.TCP, Addr: loopback, Port: 21}}, "; it waits on tcp/21"},
		{"for_itself", []host.Listener{{Proto: host.TCP, Addr: loopback, Port: 21}}, "for the machine itself only"},
		{"not_open", []host.Listener{{Proto: host.UDP, Addr: any4, Port: 21}}, "none of its ports was open"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := hardening(t, "2008-sp2")
			service(h, "ftpsvc", host.StartAuto)
			h.Listeners = tt.listeners
			if c := harden(t, h)["service-ftpsvc"]; !strings.Contains(c.Because[0].Text, tt.want) {
				t.Errorf("%+v", c.Because)
			}
		})
	}
}

func TestRolesSumUpTheServices(t *testing.T) {
	for _, tt := range []struct {
		name  string
		whole bool
		auto  []string
		want  ControlState
		now   string
	}{
		{"nothing_known", false, nil, ControlUnknown, ""},
		{"whole_and_nothing_runs", true, []string{"Dhcp"}, ControlGood, "none runs without need"},
		{"one_too_many", false, []string{"Browser", "W3SVC"}, ControlBad, "nothing seen needs browser; not known who uses w3svc"},
		{"one_open", true, []string{"W3SVC"}, ControlUnknown, "not known who uses w3svc"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := hardening(t, "2008-sp2")
			if tt.whole {
				h.ServicesWhole.Say(true, 1, src)
			}
			for _, s := range tt.auto {
				service(h, s, host.StartAuto)
			}
			if c := harden(t, h)["roles"]; c.State != tt.want || !strings.Contains(c.Now, tt.now) {
				t.Errorf("%s, %q", c.State, c.Now)
			}
		})
	}
}

func TestSpooler(t *testing.T) {
	printer := func(h *host.Host) {
		h.Shares = append(h.Shares, host.Share{Name: "HP", Path: "HP LaserJet,LocalsplOnly", From: src})
	}
	updates := func(kbs ...winver.KB) func(h *host.Host) {
		return func(h *host.Host) {
			h.Updates.List(host.Listing{From: src, Whole: true, Scope: "cbs", Why: "made so", Announced: -1})
			for _, kb := range kbs {
				h.Updates.Add(kb, src)
			}
		}
	}
	for _, tt := range []struct {
		name string
		make []func(h *host.Host)
		want ControlState
		now  string
	}{
		{"nothing_known", nil, ControlUnknown, ""},
		{"disabled", []func(h *host.Host){func(h *host.Host) { service(h, "Spooler", host.StartDisabled) }}, ControlGood, "disabled"},
		{"not_there", []func(h *host.Host){func(h *host.Host) { h.ServicesWhole.Say(true, 1, src) }}, ControlGood, "not there"},
		{"runs_and_shares_unknown", []func(h *host.Host){func(h *host.Host) { service(h, "Spooler", host.StartAuto) }}, ControlUnknown, "starts with Windows"},
		{"runs_for_nothing", []func(h *host.Host){func(h *host.Host) {
			service(h, "Spooler", host.StartAuto)
			h.ServicesWhole.Say(true, 1, src)
		}}, ControlBad, "nothing seen prints"},
		{"print_server_without_the_update", []func(h *host.Host){func(h *host.Host) { service(h, "Spooler", host.StartAuto) }, printer, updates()}, ControlBad, "it stays"},
		{"print_server_with_the_update", []func(h *host.Host){func(h *host.Host) { service(h, "Spooler", host.StartAuto) }, printer, updates(5034173)}, ControlGood, "it stays"},
		{"print_server_updates_unknown", []func(h *host.Host){func(h *host.Host) { service(h, "Spooler", host.StartAuto) }, printer}, ControlUnknown, "it stays"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := hardening(t, "2008-sp2")
			for _, f := range tt.make {
				f(h)
			}
			c := harden(t, h)["spooler"]
			if c.State != tt.want || !strings.Contains(c.Now, tt.now) {
				t.Errorf("%s, %q: %+v", c.State, c.Now, c.Because)
			}
			if strings.Contains(c.Now, "it stays") && len(c.Set)+len(c.Undo) > 0 {
				t.Errorf("a print server is told to %q", c.Set)
			}
		})
	}
}

// TestVulnerabilities: what updates fix is as the assessment has it, and no record is no
// verdict.
func TestVulnerabilities(t *testing.T) {
	for _, tt := range []struct {
		name, release, control string
		role                   host.Role
		updates                []winver.KB
		settings               map[string]string
		want                   ControlState
		now                    string
	}{
		{"eternalblue_open", "2008-r2-sp1", "smb-ms17-010", host.Member, nil, nil, ControlBad, "affected"},
		{"eternalblue_may_be_in_a_later_single_fix", "2008-sp2", "smb-ms17-010", host.Member, nil, nil, ControlUnknown, "unknown"},
		{"eternalblue_fixed", "2008-sp2", "smb-ms17-010", host.Member, []winver.KB{4012598}, nil, ControlGood, "fixed"},
		{"bluekeep_open", "2008-sp2", "rdp-bluekeep", host.Member, nil, nil, ControlBad, "affected"},
		{"bluekeep_fixed_by_the_last_rollup", "2008-sp2", "rdp-bluekeep", host.Member, []winver.KB{5034173}, nil, ControlGood, "fixed"},
		{"credssp_fixed_and_default", "2008-sp2", "rdp-credssp", host.Member, []winver.KB{4056564, 5034173}, map[string]string{"credssp-oracle": host.NotSet}, ControlGood, "refused as servers"},
		{"credssp_fixed_and_default_not_known", "2008-sp2", "rdp-credssp", host.Member, []winver.KB{4056564}, map[string]string{"credssp-oracle": host.NotSet}, ControlUnknown, "not set"},
		{"credssp_fixed_and_undone", "2008-sp2", "rdp-credssp", host.Member, []winver.KB{4056564, 5034173}, map[string]string{"credssp-oracle": "2"}, ControlBad, "taken"},
		{"credssp_fixed_and_setting_unknown", "2008-sp2", "rdp-credssp", host.Member, []winver.KB{4056564, 5034173}, nil, ControlUnknown, "fixed"},
		{"credssp_open", "2008-r2-sp1", "rdp-credssp", host.Member, nil, map[string]string{"credssp-oracle": host.NotSet}, ControlBad, "affected"},
		{"zerologon_has_no_record_for_2008", "2008-sp2", "zerologon", host.DomainController, []winver.KB{5034173}, map[string]string{"netlogon-full-protection": "1"}, ControlUnknown, "CVE-2020-1472: unknown"},
		{"zerologon_open_on_r2", "2008-r2-sp1", "zerologon", host.DomainController, nil, nil, ControlBad, "affected"},
		{"channel_binding_without_its_update", "2008-r2-sp1", "ldap-channel", host.DomainController, nil, map[string]string{"ldap-channel-binding": "2"}, ControlNotAvailable, ""},
		{"channel_binding_and_its_update_unknown", "2008-sp2", "ldap-channel", host.DomainController, nil, map[string]string{"ldap-channel-binding": "2"}, ControlUnknown, "always"},
		{"channel_binding", "2008-sp2", "ldap-channel", host.DomainController, []winver.KB{4025409}, map[string]string{"ldap-channel-binding": "2"}, ControlGood, "always"},
		{"channel_binding_not_set", "2008-sp2", "ldap-channel", host.DomainController, []winver.KB{4025409}, map[string]string{"ldap-channel-binding": host.NotSet}, ControlBad, "never"},
		{"ldap_signing", "2008-sp2", "ldap-sign", host.DomainController, nil, map[string]string{"ldap-server-signing": "2"}, ControlGood, "required"},
		{"ldap_signing_of_a_member", "2008-sp2", "ldap-sign", host.Member, nil, map[string]string{"ldap-server-signing": "2"}, ControlNotConcerned, ""},
		{"dc_without_support", "2008-sp2", "dc", host.DomainController, nil, nil, ControlBad, "demote"},
		{"dc_with_support", "2022", "dc", host.DomainController, nil, nil, ControlGood, "support until"},
		{"tls_without_its_update", "2008-sp2", "tls-1.2", host.Member, nil, map[string]string{"tls-1.2-client": "1"}, ControlNotAvailable, ""},
		{"wdigest_without_its_update", "2008-r2-sp1", "wdigest", host.Member, nil, map[string]string{"wdigest-clear-text": "0"}, ControlNotAvailable, ""},
		{"wdigest_with_its_update", "2008-r2-sp1", "wdigest", host.Member, []winver.KB{2871997}, map[string]string{"wdigest-clear-text": "0"}, ControlGood, "not kept"},
		{"driver_off_and_workstation_broken", "2008-sp2", "smb1-client", host.Member, nil, map[string]string{"smb1-client-start": "4", "smb-client-depends": "Bowser, MRxSmb10, NSI"}, ControlBad, "cannot start"},
		{"driver_off", "2008-sp2", "smb1-client", host.Member, nil, map[string]string{"smb1-client-start": "4", "smb-client-depends": "Bowser, MRxSmb20, NSI"}, ControlGood, "disabled"},
		{"driver_on", "2008-sp2", "smb1-client", host.Member, nil, map[string]string{"smb1-client-start": "3"}, ControlBad, "on demand"},
		{"pipes_of_a_domain_controller", "2008-sp2", "null-sessions", host.DomainController, nil, map[string]string{"null-session-restricted": "1", "null-session-pipes": "netlogon, SAMR, lsarpc", "null-session-shares": "none"}, ControlGood, "netlogon"},
		{"other_pipes_of_a_domain_controller", "2008-sp2", "null-sessions", host.DomainController, nil, map[string]string{"null-session-restricted": "1", "null-session-pipes": "netlogon, browser", "null-session-shares": "none"}, ControlBad, "browser"},
		{"pipes_of_a_member", "2008-sp2", "null-sessions", host.Member, nil, map[string]string{"null-session-restricted": "1", "null-session-pipes": "netlogon", "null-session-shares": "none"}, ControlBad, "netlogon"},
		{"rdp_on_and_its_state_unknown", "2008-sp2", "rdp-nla", host.Member, nil, map[string]string{"rdp-nla": "0", "policy-rdp-nla": host.NotSet}, ControlUnknown, "not required"},
		{"rdp_on", "2008-sp2", "rdp-nla", host.Member, nil, map[string]string{"rdp-denied": "0", "policy-rdp-denied": host.NotSet, "rdp-nla": "0", "policy-rdp-nla": host.NotSet}, ControlBad, "not required"},
		{"netbios_of_two_adapters", "2008-sp2", "netbios", host.Member, nil, map[string]string{"netbios-options": "0, 2"}, ControlBad, "off"},
		{"netbios_off", "2008-sp2", "netbios", host.Member, nil, map[string]string{"netbios-options": "2"}, ControlGood, "off"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := hardening(t, tt.release)
			h.Role = host.Fact[host.Role]{}
			h.Role.Say(tt.role, 1, src)
			h.Updates.List(host.Listing{From: src, Whole: true, Scope: "cbs", Why: "made so", Announced: -1})
			for _, kb := range tt.updates {
				h.Updates.Add(kb, src)
			}
			set(h, tt.settings)
			if c := harden(t, h)[tt.control]; c.State != tt.want || !strings.Contains(c.Now, tt.now) {
				t.Errorf("%s, %q; want %s, %q: %+v", c.State, c.Now, tt.want, tt.now, c.Because)
			}
		})
	}
}

func TestRemoteDesktopInUse(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(h *host.Host)
		want ControlState
	}{
		{"used", func(h *host.Host) { talk(h, 3389, false, "192.0.2.50") }, ControlNotConcerned},
		{"not_used", func(h *host.Host) { talk(h, 445, false, "192.0.2.50") }, ControlBad},
		{"nobody_watched", func(*host.Host) {}, ControlUnknown},
		{"on_another_port", func(h *host.Host) {
			talk(h, 3390, false, "192.0.2.50")
			set(h, map[string]string{"rdp-port": "3390"})
		}, ControlNotConcerned},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := hardening(t, "2008-sp2")
			set(h, map[string]string{"rdp-denied": "0", "policy-rdp-denied": host.NotSet})
			tt.make(h)
			if c := harden(t, h)["rdp-off"]; c.State != tt.want {
				t.Errorf("%s, %q: %+v", c.State, c.Now, c.Because)
			}
		})
	}
}

func TestFirewallAndLogs(t *testing.T) {
	profiles := map[string]string{}
	for _, p := range []string{"domain", "private", "public"} {
		profiles["firewall-"+p], profiles["policy-firewall-"+p] = "1", host.NotSet
	}
	for _, tt := range []struct {
		name, control string
		make          func(h *host.Host)
		want          ControlState
	}{
		{"firewall_on", "fw-on", func(h *host.Host) { service(h, "MpsSvc", host.StartAuto) }, ControlGood},
		{"service_unknown", "fw-on", func(*host.Host) {}, ControlUnknown},
		{"service_runs", "fw-on", func(h *host.Host) {
			h.Processes = append(h.Processes, host.Process{Services: []string{"MpsSvc"}, From: src})
		}, ControlGood},
		{"service_disabled", "fw-on", func(h *host.Host) { service(h, "MpsSvc", host.StartDisabled) }, ControlBad},
		{"one_profile_off", "fw-on", func(h *host.Host) {
			service(h, "MpsSvc", host.StartAuto)
			h.Settings["firewall-public"] = host.Fact[string]{}
			set(h, map[string]string{"firewall-public": "0"})
		}, ControlBad},
		{"agent", "log", func(h *host.Host) { service(h, "nxlog", host.StartAuto) }, ControlGood},
		{"policy", "log", func(h *host.Host) {
			set(h, map[string]string{"policy-event-forwarding": "Server=http://collector.example.com:5985/wsman/SubscriptionManager/WEC"})
		}, ControlGood},
		{"a_collector_may_fetch", "log", func(h *host.Host) {
			set(h, map[string]string{"policy-event-forwarding": host.NotSet})
			service(h, "WinRM", host.StartAuto)
			h.ServicesWhole.Say(true, 1, src)
		}, ControlUnknown},
		{"nothing_can", "log", func(h *host.Host) {
			set(h, map[string]string{"policy-event-forwarding": host.NotSet})
			service(h, "WinRM", host.StartDisabled)
			h.ServicesWhole.Say(true, 1, src)
		}, ControlBad},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := hardening(t, "2008-sp2")
			set(h, profiles)
			tt.make(h)
			if c := harden(t, h)[tt.control]; c.State != tt.want {
				t.Errorf("%s, %q: %+v", c.State, c.Now, c.Because)
			}
		})
	}
}

// TestRoleThatIsNotClear: whether it is a domain controller decides, and contradictions are
// not decided.
func TestRoleThatIsNotClear(t *testing.T) {
	h := hardening(t, "2008-sp2") // says "member"
	h.Roles.Add("domain controller", src)
	got := harden(t, h)
	for _, id := range []string{"dc", "zerologon", "ldap-sign", "anonymous", "uac-remote"} {
		if c := got[id]; c.State != ControlUnknown || len(c.Tell) == 0 {
			t.Errorf("%s is %s: %+v", id, c.State, c)
		}
	}
}

// TestHardeningOfOneMachine is one machine with some of everything, as a whole.
func TestHardeningOfOneMachine(t *testing.T) {
	h := hardening(t, "2008-sp2")
	unset(h)
	for name, value := range map[string]string{
		"smb1-server": "1", "smb1-client-start": "3", "smb-client-depends": "Bowser, MRxSmb10, MRxSmb20, NSI", "smb-server-signing-required": "0",
		"null-session-pipes": "COMNAP, browser", "lm-compatibility-level": "2", "rdp-denied": "0", "rdp-nla": "0", "policy-rdp-nla": "1",
		"rdp-security-layer": "1", "rdp-encryption-level": "2", "firewall-domain": "0", "firewall-private": "1", "firewall-public": "1",
		"policy-llmnr": "0", "netbios-options": "0, 2", "ipv6-disabled-components": "32", "credssp-oracle": "2", "autorun-off-for": "255",
	} {
		h.Settings[name] = host.Fact[string]{}
		h.Set(name, value, 1, host.Source{Reader: "hive", Input: "SYSTEM", At: name})
	}
	h.Set("uac", "0", 1, host.Source{Reader: "another", Input: "uac.txt", At: "line 3"})
	h.Updates.List(host.Listing{From: src, Whole: true, Scope: "cbs", Why: "every package is listed", Announced: -1})
	h.Updates.Add(4012598, src)
	h.ServicesWhole.Say(true, 1, src)
	for _, s := range []string{"MpsSvc", "Spooler", "RemoteRegistry", "W3SVC", "SNMP", "TlntSvr"} {
		service(h, s, host.StartAuto)
	}
	service(h, "WinRM", host.StartManual)
	service(h, "WebClient", host.StartDisabled)
	h.Shares = append(h.Shares, host.Share{Name: "HP", Path: "HP LaserJet,LocalsplOnly", From: src})
	talk(h, 80, false, "192.0.2.50", "192.0.2.51")
	talk(h, 3389, false, "192.0.2.9")
	golden.JSON(t, filepath.Join("testdata", "hardening.json"), Harden(h, assess.Assess(h, testCatalog(t), assess.Policy{}, on)))
}
