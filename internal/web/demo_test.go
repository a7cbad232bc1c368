package web_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/fleet/access"
	"github.com/oldguard/oldguard/internal/fleet/alert"
	"github.com/oldguard/oldguard/internal/notify"
)

// model is a kind of machine as systeminfo prints it. Steps are its lists of updates, from
// long ago to now: each machine is somewhere on the way.
type model struct {
	names, system, version, role string
	steps                        []string
}

// models are the machines of the demo. The updates were published for these releases.
func models() []model {
	const (
		before = "KB955430 KB968930"
		sp2    = before + " KB982861 KB2999226 KB4474419 KB4493730 KB4493471 KB4507452 KB4526478 KB4525234 KB4530695 KB4534303"
		paid   = sp2 + " KB5016891 KB5022340 KB5050682 KB5073697"
		r2     = "KB976902 KB2999226 KB4012215"
		r2end  = r2 + " KB4490628 KB4474419 KB4536952 KB4534310"
		blue   = "KB2919355 KB2999226 KB4012216"
		blueNd = blue + " KB4504418 KB4512938 KB5001403 KB5031419"
	)
	return []model{
		{"PRINT", "Microsoft Windows Server 2008 Standard", "6.0.6003 Service Pack 2 Build 6003", "Member Server", []string{sp2, sp2, paid}},
		{"LAB", "Microsoft Windows Server 2008 Enterprise", "6.0.6002 Service Pack 2 Build 6002", "Standalone Server", []string{before, before}},
		{"MRI", "Microsoft Windows Server 2008 Standard", "6.0.6003 Service Pack 2 Build 6003", "Member Server", []string{sp2, paid, paid}},
		{"APP", "Microsoft Windows Server 2008 R2 Standard", "6.1.7601 Service Pack 1 Build 7601", "Member Server", []string{r2, r2end, r2end}},
		{"SQL", "Microsoft Windows Server 2012 R2 Standard", "6.3.9600 N/A Build 9600", "Member Server", []string{blue, blueNd}},
		{"WEB", "Microsoft Windows Server 2016 Standard", "10.0.14393 N/A Build 14393", "Member Server", []string{"KB5021235", "KB5062560", "KB5062560"}},
		{"DC", "Microsoft Windows Server 2019 Standard", "10.0.17763 N/A Build 17763", "Primary Domain Controller", []string{"KB5022286", "KB5062557", "KB5062557"}},
		{"HMI", "Microsoft Windows 7 Professional", "6.1.7601 Service Pack 1 Build 7601", "Member Workstation", []string{r2, r2end}},
	}
}

// systeminfo prints a machine.
func (m *model) systeminfo(name, kbs string, boot time.Time) string {
	list := strings.Fields(kbs)
	var b strings.Builder
	line := func(label, value string) { fmt.Fprintf(&b, "%-26s %s\r\n", label+":", value) }
	b.WriteString("\r\n")
	line("Host Name", name)
	line("OS Name", m.system)
	line("OS Version", m.version)
	line("OS Manufacturer", "Microsoft Corporation")
	line("OS Configuration", m.role)
	line("OS Build Type", "Multiprocessor Free")
	line("Registered Organization", "Example Ltd")
	line("Original Install Date", "3/14/2012, 9:12:07 AM")
	line("System Boot Time", boot.Format("1/2/2006, 3:04:05 PM"))
	line("System Type", "x64-based PC")
	line("Windows Directory", `C:\Windows`)
	line("System Locale", "en-us;English (United States)")
	line("Domain", "corp.example")
	line("Hotfix(s)", fmt.Sprintf("%d Hotfix(s) Installed.", len(list)))
	for i, kb := range list {
		fmt.Fprintf(&b, "%27s[%02d]: %s\r\n", "", i+1, kb)
	}
	line("Network Card(s)", "N/A")
	return b.String()
}

// demoDays is over how many days the evidence of the demo came.
const demoDays = 44

// demo fills the server with machines of several releases, sites and owners, whose evidence
// came over some weeks and was read as any other: for pictures, and for looking at pages with
// something on them. It gives the machine of which most is known.
func (s *site) demo(machines int) (first int64) {
	s.t.Helper()
	ctx := s.t.Context()
	kinds := models()
	places := []struct{ site, owner string }{{"Bremen", "Production"}, {"Leeds", "Imaging"}, {"Lyon", "Finance"}, {"Head office", "Platform team"}}
	passes := s.fleet.Works()
	for ago := demoDays; ago >= 0; ago-- {
		now := today.AddDate(0, 0, -ago)
		s.clock.Store(now.Unix())
		archives := make([]map[string]string, len(places))
		for i := range machines {
			m := &kinds[i%len(kinds)]
			// Each machine comes first in one of the first ten days, and again each fortnight;
			// a few are silent after that. Some are brought forward meanwhile.
			since := demoDays - ago - i%5*2
			round := since / 14
			if since < 0 || since%14 != 0 || i%29 == 5 && round > 0 {
				continue
			}
			step := i / len(kinds) % len(m.steps)
			switch {
			case i%41 == 11 && round == 2:
				step = 0 // a backup was restored
			case i%3 == 0 && round > i/3%3:
				step = min(step+1, len(m.steps)-1)
			}
			at := i / 3 % len(places)
			if archives[at] == nil {
				archives[at] = map[string]string{}
			}
			name := fmt.Sprintf("%s%02d", m.names, 1+i/len(kinds))
			archives[at][name+".txt"] = m.systeminfo(name, m.steps[step], now.AddDate(0, 0, -3))
		}
		var came []int64
		for at, files := range archives {
			if files == nil {
				continue
			}
			u, _, err := s.fleet.Receive(ctx, bytes.NewReader(zipped(s.t, files)), fleet.Meta{
				Name: fmt.Sprintf("%s-%s.zip", strings.ToLower(strings.Fields(places[at].site)[0]), now.Format(time.DateOnly)), By: "collector", Via: fleet.ViaAPI,
			})
			if err != nil {
				s.t.Fatal(err)
			}
			came = append(came, u.ID)
		}
		for _, id := range came {
			s.wait(id)
		}
		if ago == 3 {
			folder := map[string]string{}
			for _, name := range []string{"systeminfo.txt", "qfe.csv", "netstat.txt", "pfirewall.log"} {
				folder["fs01/"+name] = example(s.t, "fs01/"+name)
			}
			s.feed("fs01.zip", string(zipped(s.t, folder)))
			s.feed("netstat.txt", example(s.t, "fs01/netstat.txt"))
			s.feed("notes.txt", "Ask Karl about the old scanner.\n")
			s.feed("unknown.txt", strings.ReplaceAll(example(s.t, "fs02/systeminfo.txt"), "FS02", strings.Repeat("VERY-LONG-NAME-", 4)))
		}
		for _, w := range passes {
			if w.Kind == (fleet.Daily{}).Kind() && ago%11 == 0 {
				if err := w.Do(ctx, fleet.Task{}); err != nil {
					s.t.Fatal(err)
				}
				s.passed()
			}
		}
		if err := s.db.NoteDay(ctx, day(now), s.fleet.Unseen()); err != nil {
			s.t.Fatal(err)
		}
	}
	s.decide(places)
	page, err := s.db.Hosts(ctx, fleet.HostQuery{Text: "FS01"})
	if err != nil || len(page.Hosts) != 1 {
		s.t.Fatalf("%d machines of that name, %v", len(page.Hosts), err)
	}
	return page.Hosts[0].ID
}

// passed waits for the pass over all machines.
func (s *site) passed() {
	s.t.Helper()
	for range 600 {
		runs, err := s.db.Runs(s.t.Context(), 1)
		if err != nil {
			s.t.Fatal(err)
		}
		if len(runs) == 0 || !runs[0].Done.IsZero() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.t.Fatal("the pass does not end")
}

// decide says what people say about machines, and looks for alerts.
func (s *site) decide(places []struct{ site, owner string }) {
	s.t.Helper()
	ctx := s.t.Context()
	must := func(err error) {
		s.t.Helper()
		if err != nil {
			s.t.Fatal(err)
		}
	}
	page, err := s.db.Hosts(ctx, fleet.HostQuery{Sort: fleet.SortName})
	must(err)
	for i, h := range page.Hosts {
		p := places[i%len(places)]
		e := fleet.OwnedEdit{Site: &p.site, Owner: &p.owner}
		switch {
		case strings.HasPrefix(h.Name, "MRI"):
			e.AddTags, e.Criticality = []string{"imaging", "vendor-locked"}, new(fleet.CriticalityCritical)
		case strings.HasPrefix(h.Name, "HMI"), strings.HasPrefix(h.Name, "LAB"):
			e.AddTags = []string{"isolated"}
		case strings.HasPrefix(h.Name, "WEB"):
			e.AddTags, e.Criticality = []string{"dmz"}, new(fleet.CriticalityHigh)
		}
		must(s.db.EditHosts(ctx, []int64{h.ID}, e))
		if h.Name == "FS01" {
			_, err = s.db.AddNote(ctx, fleet.Note{Host: h.ID, At: today, By: "root", Text: "The scanner on floor 2 writes here by SMB 1. Ask before it is fenced in."})
			must(err)
			_, err = s.db.AddRisk(ctx, fleet.Risk{Host: h.ID, CVE: "CVE-2021-34527", Reason: "The spooler is disabled; the vendor replaces the machine in January.", By: "root", At: today, Until: day(today) + 20})
			must(err)
		}
	}
	for _, name := range []string{"ada", "olaf"} {
		_, err = s.guard.NewUser(ctx, access.Principal{Name: "root"}, name, strings.ToUpper(name[:1])+name[1:], password, access.Operator, "192.0.2.7")
		must(err)
	}
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.t.Cleanup(receiver.Close)
	c, err := s.web.Alerts.PutChannel(ctx, alert.Channel{Name: "operations", Kind: "webhook", Settings: notify.Settings{"url": notify.Secret(receiver.URL), "secret": "a secret of some length"}})
	must(err)
	_, err = s.db.Alerts().PutRoute(ctx, alert.Route{Channel: c, Severity: notify.Warning, Group: alert.ByRule, Repeat: 7 * 24 * time.Hour})
	must(err)
	must(s.web.Alerts.Look(ctx))
}

// zipped packs files.
func zipped(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, text := range files {
		f, err := w.Create(name)
		if err == nil {
			_, err = f.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func day(t time.Time) catalog.Date { return catalog.DateOf(t) }
