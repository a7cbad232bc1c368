package all_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/all"
	"github.com/oldguard/oldguard/internal/host"
)

// TestCutNetworkAnywhere cuts what a machine prints about its network and services at every
// byte. Whatever is left, nothing is said that the whole file does not say: no address that is
// half of another, no port, no number of a process.
func TestCutNetworkAnywhere(t *testing.T) {
	for _, file := range []string{
		"netstat/testdata/english_ano/netstat.txt", "netstat/testdata/english_anob/netstat.txt", "netstat/testdata/names/netstat.txt",
		"netstat/testdata/powershell_csv/connections.csv", "netstat/testdata/powershell_table/connections.txt",
		"ipconfig/testdata/english_all/ipconfig.txt", "ipconfig/testdata/spanish_all/ipconfig.txt", "ipconfig/testdata/french_short/ipconfig.txt", "ipconfig/testdata/xp_german_all/ipconfig.txt", "ipconfig/testdata/displaydns/dns.txt",
		"routeprint/testdata/english/route.txt", "routeprint/testdata/xp_german/route.txt",
		"tasklist/testdata/svc_english/tasklist.txt", "tasklist/testdata/svc_csv/tasklist.csv", "tasklist/testdata/svc_list_french/tasklist.txt",
		"sc/testdata/queryex_english/services.txt", "sc/testdata/qc_and_query_pasted/console.txt",
		"netcmd/testdata/share_english/shares.txt", "netcmd/testdata/start_german/started.txt", "nbtstat/testdata/english/names.txt",
		"systeminfo/testdata/network_cards/systeminfo.txt", "systeminfo/testdata/csv/systeminfo.csv",
		"wmi/testdata/services_csv/services.csv", "wmi/testdata/processes_list/processes.txt",
	} {
		reader, _, _ := strings.Cut(file, "/")
		t.Run(strings.ReplaceAll(file, "/", "_"), func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(file)))
			if err != nil {
				t.Fatal(err)
			}
			full := map[string]bool{}
			for _, s := range said(t, reader, b) {
				full[s] = true
			}
			if len(full) == 0 {
				t.Fatal("the uncut file says nothing")
			}
			for n := range b {
				if n > 2 && strings.IndexByte(" -=.", b[n-1]) >= 0 && b[n-1] == b[n-2] && b[n-2] == b[n-3] {
					continue // in a row of blanks every place is the same
				}
				for _, s := range said(t, reader, b[:n]) {
					if !full[s] {
						t.Errorf("cut at %d: %s; the file ends %q", n, s, b[max(0, n-60):n])
					}
				}
			}
		})
	}
}

// said lists what a reader says of the network and the services, less what grows with the
// file: how often, and which services and addresses more.
func said(t *testing.T, reader string, b []byte) (out []string) {
	t.Helper()
	h := new(host.Host)
	for _, r := range all.Readers() {
		if r.Name != reader {
			continue
		}
		// An error is that nothing could be read.
		nested, _ := r.Read(t.Context(), evidence.TextInput("cut", evidence.Decode(b)), h)
		if len(nested) > 0 {
			t.Fatal("it is taken apart")
		}
	}
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, c := range h.Traffic.All() {
		for _, s := range c.Seen {
			say("%v by %d, sure %v", c.Talk, s.PID, s.Sure)
		}
	}
	for _, a := range h.Addresses {
		say("own address %v", a.Addr)
	}
	for _, l := range h.Listeners {
		say("listens on %d %v %d by %d", l.Proto, l.Addr, l.Port, l.PID)
	}
	for _, p := range h.Processes {
		say("process %d %s", p.PID, p.Image)
		for _, s := range p.Services {
			say("process %d hosts %s", p.PID, s)
		}
	}
	for _, r := range h.Routes {
		say("route %v via %v metric %d", r.To, r.Via, r.Metric)
	}
	for _, n := range h.Names {
		say("%v is %s", n.Addr, n.Name)
	}
	for _, s := range h.Services {
		say("service %s", s.Name)
		for _, more := range []any{s.Display, s.Start, s.Image, s.PID, s.Running} {
			if more != "" && more != host.Start("") && more != uint32(0) && more != host.Unknown {
				say("service %s: %v", s.Name, more)
			}
		}
	}
	for _, s := range h.Shares {
		say("share %s of %s", s.Name, s.Path)
	}
	for _, a := range h.Adapters {
		for _, s := range a.Addresses {
			addr, mask, _ := strings.Cut(s, "/")
			say("adapter address %s", addr)
			if mask != "" {
				say("adapter address %s in %s", addr, mask)
			}
		}
		for _, s := range a.Gateways {
			say("gateway %s", s)
		}
		for _, s := range a.NameServers {
			say("name server %s", s)
		}
	}
	return out
}
