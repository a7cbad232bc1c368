package plan_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/plan"
	"github.com/oldguard/oldguard/winver"
)

// TestTies: machines that use each other are found from either side, by the addresses that
// evidence states, and what is not known of whom is said.
func TestTies(t *testing.T) {
	named := func(name string, addrs ...string) *host.Host {
		h := machine(release(t, "windows-server-2008-sp2"), winver.AMD64)
		h.Name = host.Fact[string]{}
		h.Name.Say(name, 1, host.Source{})
		for _, a := range addrs {
			h.Addresses = append(h.Addresses, host.Address{Addr: addr(a), Bits: 24})
		}
		return h
	}
	fs := named("FS01", "10.1.0.10", "2001:db8::10")
	app := named("APP03", "10.1.0.20")
	sql := named("SQL01", "10.1.0.30")
	silent := named("OLD09") // no source states its address
	twin1, twin2 := named("T1", "10.1.0.40"), named("T2", "10.1.0.40")

	talked(app, "10.1.0.20", "10.1.0.10", host.TCP, 445, 5, 0)
	talked(fs, "10.1.0.20", "10.1.0.10", host.TCP, 445, 40, 1) // the same, seen longer
	talked(app, "10.1.0.20", "10.1.0.30", host.TCP, 1433, 700, 0)
	talked(app, "10.1.0.20", "10.1.0.30", host.TCP, 50_123, 1, 0)
	talked(app, "10.1.0.20", "10.1.0.30", host.ICMP, 8, 900, 0)
	talked(sql, "10.1.0.30", "2001:db8::10", host.TCP, 445, 3, 3) // refused
	talked(sql, "10.1.0.30", "10.1.0.40", host.TCP, 445, 3, 0)    // whose?
	talked(sql, "10.9.9.9", "10.1.0.10", host.TCP, 445, 3, 0)     // others, at a mirror port
	talked(fs, "10.1.0.10", "10.1.0.255", host.UDP, 138, 900, 0)
	talked(silent, "10.1.0.50", "10.1.0.10", host.TCP, 445, 3, 0)

	var list []*plan.Migration
	for _, h := range []*host.Host{sql, twin1, fs, app, silent, twin2} {
		list = append(list, plan.Migrate(h, open(t), plan.MigrateOptions{}, day(t, "2026-11-25")))
	}
	ties, unclear := plan.Ties(list)
	var got []string
	for _, v := range ties {
		got = append(got, v.Client.Host+" uses "+v.Server.Host+": "+strings.Join(v.Services, ", "))
		if v.Server.Host == "FS01" && v.Times != 39 {
			t.Errorf("FS01 was used %d times; want 39, as its own evidence has it", v.Times)
		}
	}
	if diff := cmp.Diff([]string{"APP03 uses FS01: SMB", "APP03 uses SQL01: SQL Server, tcp 50123"}, got); diff != "" {
		t.Errorf("ties differ (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"10.1.0.40 is an address of T1 and T2: who of them is meant is not told"}, unclear); diff != "" {
		t.Errorf("unclear differs (-want +got):\n%s", diff)
	}
}
