// Package evidencetest is what the tests of evidence readers share: goldens over a folder
// of cases, a fuzz target with its properties, and a look at a host as JSON. It is for
// tests only.
package evidencetest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/golden"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// Golden reads each folder of testdata as a folder of evidence with the reader alone, and
// compares the hosts with the folder's want.json. There must be at least one.
func Golden(t *testing.T, r evidence.Reader) {
	t.Helper()
	dirs, err := os.ReadDir("testdata")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("reader %s has no testdata: %v", r.Name, err)
	}
	for _, d := range dirs {
		if !d.IsDir() || d.Name() == "fuzz" {
			continue
		}
		t.Run(d.Name(), func(t *testing.T) {
			dir := filepath.Join("testdata", d.Name())
			golden.JSON(t, filepath.Join(dir, "want.json"), Read(t, []evidence.Reader{r}, without{os.DirFS(dir)}))
		})
	}
}

// without hides the golden file from the reader.
type without struct{ fs.FS }

// ReadDir lists the folder without want.json.
func (w without) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(w.FS, name)
	var rest []fs.DirEntry
	for _, e := range entries {
		if e.Name() != "want.json" {
			rest = append(rest, e)
		}
	}
	return rest, err
}

// Read reads a folder and gives the hosts in it as View shows them.
func Read(t testing.TB, readers []evidence.Reader, tree fs.FS) []map[string]any {
	t.Helper()
	views := []map[string]any{}
	for h, err := range evidence.Read(context.Background(), readers, []evidence.Input{{Name: "", Tree: tree}}, evidence.Options{}) {
		if err != nil {
			t.Fatal(err)
		}
		views = append(views, View(h))
	}
	return views
}

// View shows what is known of a host, without the sources; a disputed fact with all its
// values.
func View(h *host.Host) map[string]any {
	v := map[string]any{}
	show(v, "name", h.Name)
	show(v, "domain", h.Domain)
	show(v, "product_id", h.ProductID)
	show(v, "machine_id", h.MachineID)
	show(v, "product", h.Product)
	show(v, "edition", h.Edition)
	show(v, "installation", h.Installation)
	show(v, "role", h.Role)
	show(v, "arch", h.Arch)
	show(v, "build", h.Build)
	show(v, "build_lab", h.BuildLab)
	show(v, "service_pack", h.ServicePack)
	show(v, "language", h.Language)
	show(v, "installed", h.Installed)
	show(v, "booted", h.Booted)
	type update struct{ KB, From, On string }
	var updates []update
	for _, kb := range h.Updates.All() {
		u := update{KB: kb.String()}
		for i, s := range h.Updates.Sources(kb) {
			if i > 0 {
				u.From += "; "
			}
			u.From += s.Reader + " " + s.At
		}
		if on, ok := h.InstalledOn[kb]; ok {
			u.On = on.Format(time.RFC3339)
		}
		updates = append(updates, u)
	}
	if len(updates) > 0 {
		v["updates"] = updates
	}
	type listing struct {
		Whole              bool
		Scope, Why         string
		Announced, Printed int
	}
	var listings []listing
	for _, l := range h.Updates.Listings() {
		listings = append(listings, listing{l.Whole, l.Scope, l.Why, l.Announced, l.Printed})
	}
	if len(listings) > 0 {
		v["listings"] = listings
	}
	viewMore(v, h)
	var gaps []string
	for _, g := range h.Gaps {
		gaps = append(gaps, g.What+": "+g.Why)
	}
	if len(gaps) > 0 {
		v["gaps"] = gaps
	}
	return v
}

// viewMore shows what not every kind of evidence has. Words for people come last in a line.
func viewMore(v map[string]any, h *host.Host) {
	lines := func(name string, n int, line func(i int) []string) {
		var out []string
		for i := range n {
			out = append(out, strings.Join(slices.DeleteFunc(line(i), func(s string) bool { return s == "" }), " | "))
		}
		if n > 0 {
			v[name] = out
		}
	}
	day := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.Format(time.RFC3339)
	}
	lines("packages", len(h.Packages), func(i int) []string {
		p := h.Packages[i]
		kb := ""
		if p.KB != 0 {
			kb = p.KB.String()
		}
		return []string{p.Name, kb, p.State.String(), day(p.Installed), p.Client, p.From.At}
	})
	lines("restart", len(h.Restart), func(i int) []string {
		r := h.Restart[i]
		out := []string{r.Text}
		for _, s := range r.From {
			out = append(out, s.At)
		}
		return out
	})
	show(v, "restart_checked", h.RestartChecked)
	lines("licences", len(h.Licences), func(i int) []string {
		l := h.Licences[i]
		return []string{l.ActivationID, l.PartialKey, l.Status.String(), l.Name, l.From.At}
	})
	show(v, "licences_whole", h.LicencesWhole)
	lines("programs", len(h.Programs), func(i int) []string {
		p := h.Programs[i]
		return []string{p.Name, p.Version, p.Publisher, p.From.At}
	})
	show(v, "programs_whole", h.ProgramsWhole)
	names := h.SettingNames()
	lines("settings", len(names), func(i int) []string {
		var said []string
		for _, c := range h.Settings[names[i]].Claims() {
			said = append(said, c.Value)
		}
		return []string{names[i] + " = " + strings.Join(slices.Compact(said), " or ")}
	})
	lines("services", len(h.Services), func(i int) []string {
		s := h.Services[i]
		runs := map[host.Tri]string{host.Yes: "running", host.No: "not running"}[s.Running]
		if s.PID != 0 {
			runs += fmt.Sprint(" pid ", s.PID)
		}
		return []string{s.Name, string(s.Start), runs, s.Image, s.Display}
	})
	show(v, "services_whole", h.ServicesWhole)
	lines("firewall_rules", len(h.FirewallRules), func(i int) []string {
		r := h.FirewallRules[i]
		return []string{
			r.ID, fmt.Sprintf("active %v, allow %v, out %v", r.Active, r.Allow, r.Out), r.Protocol, r.Profiles,
			r.ICMP, r.Local, r.LocalPort, "peer " + r.Peer, r.PeerPort, r.App, r.Service, r.Interfaces, r.Secure, r.Name,
		}
	})
	show(v, "firewall_whole", h.FirewallWhole)
	lines("shares", len(h.Shares), func(i int) []string { return []string{h.Shares[i].Name, h.Shares[i].Path} })
	lines("adapters", len(h.Adapters), func(i int) []string {
		a := h.Adapters[i]
		return []string{a.ID, a.Name, fmt.Sprintf("dhcp %v", a.DHCP), strings.Join(a.Addresses, " "), "via " + strings.Join(a.Gateways, " "), "dns " + strings.Join(a.NameServers, " ")}
	})
	roles := h.Roles.All()
	lines("roles", len(roles), func(i int) []string { return []string{roles[i]} })
	show(v, "servicing_stack", h.ServicingStack)
	show(v, "shutdown", h.Shutdown)
	lines("files", len(h.Files), func(i int) []string {
		f := h.Files[i]
		return []string{f.Name, f.Version.String(), f.Arch.String()}
	})
	viewNetwork(v, h, lines, day)
	lines("errors", len(h.Errors), func(i int) []string {
		e := h.Errors[i]
		return []string{e.Code, day(e.On), e.From.At, e.Text}
	})
}

// viewNetwork shows whom a machine talks to.
func viewNetwork(v map[string]any, h *host.Host, lines func(string, int, func(int) []string), day func(time.Time) string) {
	talks := h.Traffic.All()
	lines("traffic", len(talks), func(i int) []string {
		t := talks[i]
		out := []string{fmt.Sprintf("%s -> %s proto %d port %d", t.Client, t.Server, t.Proto, t.Port)}
		for _, s := range t.Seen {
			out = append(out, fmt.Sprintf("%s %s: %d times, %d refused, %d packets, %d bytes, %s to %s, sure %v, pid %d %s",
				s.From.Reader, s.From.At, s.Times, s.Refused, s.Packets, s.Bytes, day(s.First), day(s.Last), s.Sure, s.PID, s.Program))
		}
		return out
	})
	if h.Traffic.Lost > 0 {
		v["traffic_lost"] = h.Traffic.Lost
	}
	lines("watches", len(h.Watches), func(i int) []string {
		w := h.Watches[i]
		return append([]string{w.Kind, day(w.First), day(w.Last), fmt.Sprintf("%d records, %d skipped", w.Records, w.Skipped)}, w.Limits...)
	})
	lines("addresses", len(h.Addresses), func(i int) []string {
		a := h.Addresses[i]
		return []string{fmt.Sprintf("%s/%d", a.Addr, a.Bits), a.From.At}
	})
	lines("peer_names", len(h.Names), func(i int) []string {
		n := h.Names[i]
		return []string{fmt.Sprintf("%s is %s", n.Addr, n.Name), n.From.At}
	})
	lines("listeners", len(h.Listeners), func(i int) []string {
		l := h.Listeners[i]
		return []string{fmt.Sprintf("proto %d %s port %d pid %d", l.Proto, l.Addr, l.Port, l.PID), l.Program, l.From.At}
	})
	lines("processes", len(h.Processes), func(i int) []string {
		p := h.Processes[i]
		return []string{fmt.Sprintf("%d %s", p.PID, p.Image), strings.Join(p.Services, " "), p.From.At}
	})
	lines("routes", len(h.Routes), func(i int) []string {
		r := h.Routes[i]
		via := "link"
		if r.Via.IsValid() {
			via = r.Via.String()
		}
		return []string{r.To.String() + " via " + via, fmt.Sprint("metric ", r.Metric), r.From.At}
	})
}

func show[T comparable](v map[string]any, name string, f host.Fact[T]) {
	switch value, known := f.Value(); {
	case f.Disputed():
		var all []T
		for _, c := range f.Claims() {
			all = append(all, c.Value)
		}
		v[name] = map[string]any{"disputed": all}
	case known:
		v[name] = value
	}
}

// Fuzz feeds a reader what the fuzzer makes of its testdata. Whatever comes, the reader
// must not panic, must give the same for the same bytes, and must not allocate more than
// in proportion to them.
func Fuzz(f *testing.F, r evidence.Reader) {
	f.Helper()
	tree := os.DirFS("testdata")
	err := fs.WalkDir(tree, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "want.json" || strings.HasPrefix(path, "fuzz/") {
			return err
		}
		b, err := fs.ReadFile(tree, path)
		f.Add(b)
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<20 {
			t.Skip("longer than what tells anything")
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		first := readAll(t, r, b)
		runtime.ReadMemStats(&after)
		// A member of a list is kept with its source, some 300 bytes for an entry of a few.
		const perByte, fixed = 400, 1 << 20
		if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(perByte*len(b)+fixed); got > limit {
			t.Errorf("%d bytes made the reader allocate %d, more than %d", len(b), got, limit)
		}
		if second := readAll(t, r, b); !bytes.Equal(first, second) {
			t.Errorf("the same bytes gave\n%s\nand then\n%s", first, second)
		}
	})
}

// readAll reads b and gives what is known of each machine in a comparable form.
func readAll(t *testing.T, r evidence.Reader, b []byte) []byte {
	var out bytes.Buffer
	in := evidence.Input{Name: "input", File: io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))}
	for h, err := range evidence.Read(context.Background(), []evidence.Reader{r}, []evidence.Input{in}, evidence.Options{As: r.Name, Workers: 1}) {
		if err != nil {
			t.Fatal(err)
		}
		out.WriteString(h.Name.Or("") + " " + h.Build.Or(winver.Build{}).String())
		for _, kb := range h.Updates.All() {
			out.WriteString(" " + kb.String())
		}
		out.WriteByte('\n')
	}
	return out.Bytes()
}
