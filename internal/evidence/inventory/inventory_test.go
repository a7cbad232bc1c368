package inventory_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/inventory"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

func TestReadTime(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.DateTime, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	tests := []struct {
		name, text, zone string
		wall, instant    time.Time
	}{
		{"cim", "20260113091500.500000+060", "", at("2026-01-13 09:15:00"), at("2026-01-13 08:15:00")},
		{"cim_west", "20260113091500.500000-300", "", at("2026-01-13 09:15:00"), at("2026-01-13 14:15:00")},
		{"cim_without_zone", "20260113091500.500000+***", "", time.Time{}, time.Time{}},
		{"powershell_5", "/Date(1768292100000)/", "60", at("2026-01-13 09:15:00"), at("2026-01-13 08:15:00")},
		{"powershell_5_no_zone", "/Date(1768292100000)/", "", time.Time{}, at("2026-01-13 08:15:00")},
		{"iso_with_zone", "2026-01-13T09:15:00.1234567+01:00", "", at("2026-01-13 09:15:00"), at("2026-01-13 08:15:00")},
		{"iso_utc_is_no_wall_clock", "2026-01-13T08:15:00Z", "", time.Time{}, at("2026-01-13 08:15:00")},
		{"iso_without_zone", "2026-01-13T09:15:00", "", at("2026-01-13 09:15:00"), time.Time{}},
		{"nothing", "yesterday", "60", time.Time{}, time.Time{}},
		{"absurd", "/Date(99999999999999999)/", "60", time.Time{}, time.Time{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := inventory.ReadTime(tt.text)
			if wall := got.In(tt.zone); !wall.Equal(tt.wall) || !got.Instant.Equal(tt.instant) {
				t.Errorf("ReadTime(%q) is %v on the wall and %v, want %v and %v", tt.text, wall, got.Instant, tt.wall, tt.instant)
			}
		})
	}
}

func TestMachine_Say(t *testing.T) {
	type said struct {
		Build, Product, Edition string
		Kind                    host.Installation
		Role                    host.Role
		Arch                    winver.Arch
		Pack, Gaps              int
	}
	tests := []struct {
		name string
		m    inventory.Machine
		want said
	}{
		{
			"server_2008",
			inventory.Machine{Product: "Microsoft® Windows Server® 2008 Standard ", Version: "6.0.6003", ServicePack: "Service Pack 2", Arch: "32-Bit", ProductType: "3", DomainRole: "2"},
			said{"6.0.6003", "Microsoft Windows Server 2008 Standard", "Standard", host.Server, host.Standalone, winver.X86, 2, 0},
		},
		{
			"domain_controller_core",
			inventory.Machine{Version: "6.1.7601", SKU: "14", ProductType: "2", Arch: "64 位"},
			said{"6.1.7601", "", "ServerEnterpriseCore", host.ServerCore, host.DomainController, winver.AMD64, 0, 0},
		},
		{
			"itanium_calls_itself_64_bit",
			inventory.Machine{Product: "Windows Server 2008 for Itanium-Based Systems", Arch: "64-bit"},
			said{Product: "Microsoft Windows Server 2008 for Itanium-Based Systems", Edition: "for Itanium-Based Systems", Kind: host.Server, Arch: winver.IA64},
		},
		{
			"revision_apart",
			inventory.Machine{Product: "Windows 10 Pro", Version: "10.0.19045", Revision: "3570", Arch: "ARM 64-bit Processor", ProductType: "WorkStation"},
			said{Build: "10.0.19045.3570", Product: "Microsoft Windows 10 Pro", Edition: "Pro", Kind: host.Client, Arch: winver.ARM64},
		},
		{"service_pack_in_the_name", inventory.Machine{Product: "Microsoft Windows Server 2008 Standard Service Pack 2"}, said{
			Product: "Microsoft Windows Server 2008 Standard", Edition: "Standard", Kind: host.Server, Pack: 2,
		}},
		{"no_version", inventory.Machine{Version: "banana", Product: "Ubuntu 22.04"}, said{Gaps: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := new(host.Host)
			tt.m.Say(h, 1, host.Source{Reader: "test"})
			got := said{
				Product: h.Product.Or(""), Edition: h.Edition.Or(""), Kind: h.Installation.Or(""),
				Role: h.Role.Or(""), Arch: h.Arch.Or(0), Pack: h.ServicePack.Or(0), Gaps: len(h.Gaps),
			}
			if b, ok := h.Build.Value(); ok {
				got.Build = b.String()
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("said (-want +got):\n%s", diff)
			}
		})
	}
}

func TestJSON(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string // values of "a"
		cut        bool
	}{
		{"object", `{"a":"1"}`, []string{"1"}, false},
		{"list", `[{"a":1},{"a":true},3,[{"a":9}],{"a":null}]`, []string{"1", "true", ""}, false},
		{"pasted", "C:\\>tool --json\n[{\"a\":\"1\"}]\n\nPS C:\\> again\n{\"a\":\"2\"}\n", []string{"1", "2"}, false},
		{"cut_in_second", `[{"a":"1"},{"a":"2"`, []string{"1"}, true},
		{"cut_between", `[{"a":"1"},`, []string{"1"}, true},
		{"cut_at_the_end", `[{"a":"1"}`, []string{"1"}, true},
		{"not_json", `{"a":"1"} and so on`, []string{"1"}, true},
		{"deep", strings.Repeat("[", 100_000), nil, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			records, cut := inventory.JSON(tt.text)
			var got []string
			for _, r := range records {
				got = append(got, r.Str("a"))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || (cut != "") != tt.cut {
				t.Errorf("cut %q, records (-want +got):\n%s", cut, diff)
			}
		})
	}
}

// TestSplit: nested inputs keep the place in the outer one, and no list of a cut file is
// whole in them.
func TestSplit(t *testing.T) {
	records, cut := inventory.JSON(`[{"m":"A","x":"1"},{"m":"b","x":"2"},{"m":"a","x":"3"},`)
	nested, err := inventory.Split(evidence.Input{Name: "f"}, records, cut != "", func(r inventory.Record) string { return r.Str("m") })
	if err != nil || len(nested) != 2 || nested[0].Name != "f#A" {
		t.Fatalf("gave %d inputs, %v", len(nested), err)
	}
	text, err := nested[0].Text()
	if err != nil {
		t.Fatal(err)
	}
	again, cut := inventory.JSON(text)
	if len(again) != 2 || again[1].At != "entry 3" || again[1].Str("x") != "3" || cut == "" {
		t.Errorf("read again: %+v, cut %q", again, cut)
	}
}

func TestProperties(t *testing.T) {
	text := "\r\r\nA=1\r\r\nB=x=y\r\r\n\r\r\nA=2\r\r\n"
	got := inventory.Properties(text, '=')
	if len(got) != 2 || got[0].Str("B") != "x=y" || got[1].Str("A") != "2" || got[1].Has("B") {
		t.Errorf("wmic's list is %+v", got)
	}
	got = inventory.Properties("A : {1,\n      2,\n      3}\nB : C:\\x\n", ':')
	if len(got) != 1 || got[0].Str("A") != "{1, 2, 3}" || got[0].Str("B") != `C:\x` {
		t.Errorf("Format-List's list is %+v", got)
	}
}

// TestNothingIsSlow reads two megabytes of each form, made so that a careless parser
// takes quadratic time.
func TestNothingIsSlow(t *testing.T) {
	const size = 2 << 20
	fill := func(s string) string { return strings.Repeat(s, size/len(s)) }
	began := time.Now()
	inventory.Properties("A : 1\n"+fill("   x\n"), ':')
	inventory.Properties(fill("A=1\n"), '=')
	inventory.JSON(fill(`{"a":1}`))
	inventory.JSON("[" + fill(`"x",`))
	inventory.CSV("a,b\n"+fill("1,2\n"), func([]string) bool { return true })
	inventory.CSV("a,b\n"+fill("\"1\n"), func([]string) bool { return true })
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it took %v", took)
	} else {
		t.Logf("it took %v", took)
	}
}
