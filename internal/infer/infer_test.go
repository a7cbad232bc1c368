package infer_test

import (
	"testing"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/infer"
	"github.com/oldguard/oldguard/winver"
)

func open(t *testing.T) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestIdentify(t *testing.T) {
	c := open(t)
	ten := func(number uint32) winver.Build { return winver.Build{Major: 10, Number: number} }
	for _, tt := range []struct {
		name    string
		build   winver.Build
		product string
		arch    winver.Arch
		want    string // release, or the start of why not
	}{
		{"6002_server", winver.Build{Major: 6, Number: 6002}, "Microsoftr Windows Serverr 2008 Standard ", 0, "windows-server-2008-sp2"},
		{"6003_server", winver.Build{Major: 6, Number: 6003}, "Microsoft® Windows Server® 2008 Enterprise", 0, "windows-server-2008-sp2"},
		{"6002_client", winver.Build{Major: 6, Number: 6002}, "Microsoft® Windows Vista™ Business", 0, "windows-vista-sp2"},
		{"6001_server", winver.Build{Major: 6, Number: 6001}, "Microsoftr Windows Serverr 2008 Standard", 0, "windows-server-2008-sp1"},
		{"6002_of_unknown_kind", winver.Build{Major: 6, Number: 6002}, "", 0, "build 6.0.6002 is Windows Server 2008 SP2 or Windows Vista SP2"},
		{"6002_itanium_needs_no_name", winver.Build{Major: 6, Number: 6002}, "", winver.IA64, "windows-server-2008-sp2"},
		{"with_revision", winver.Build{Major: 6, Number: 6003, Revision: 22015, HasRevision: true}, "Windows Server 2008", 0, "windows-server-2008-sp2"},
		{"2012_r2", winver.Build{Major: 6, Minor: 3, Number: 9600}, "Microsoft Windows Server 2012 R2 Standard", 0, "windows-server-2012-r2"},
		{"rt", winver.Build{Major: 6, Minor: 3, Number: 9600}, "Microsoft Windows RT 8.1", winver.ARM, "windows-rt-8.1"},
		{"8.1", winver.Build{Major: 6, Minor: 3, Number: 9600}, "Microsoft Windows 8.1 Pro", winver.AMD64, "windows-8.1"},
		{"server_2019", ten(17763), "Microsoft Windows Server 2019 Standard", 0, "windows-server-2019"},
		{"server_1809_has_no_year", ten(17763), "Microsoft Windows Server Datacenter", 0, "windows-server-1809"},
		{"windows_10_1809", ten(17763), "Microsoft Windows 10 Pro", winver.AMD64, "windows-10-1809"},
		{"server_2025", ten(26100), "Microsoft Windows Server 2025 Datacenter", 0, "windows-server-2025"},
		{"windows_11", ten(26100), "Microsoft Windows 11 Enterprise", 0, "windows-11-24h2"},
		{"insider_is_not_covered", ten(22454), "Microsoft Windows 11 Pro Insider Preview", 0, "Windows 10.0.22454 is not covered"},
		{"xp_is_not_covered", winver.Build{Major: 5, Minor: 1, Number: 2600}, "Microsoft Windows XP Professional", 0, "Windows 5.1.2600 is not covered"},
		{"nothing_known", winver.Build{}, "", 0, "no evidence states the Windows version"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := &host.Host{}
			h.Build.Say(tt.build, 1, host.Source{})
			h.Product.Say(tt.product, 1, host.Source{})
			h.Arch.Say(tt.arch, 1, host.Source{})
			id := infer.Identify(h, c)
			got := id.Why
			if id.Release != nil {
				got = id.Release.ID
			}
			if len(got) < len(tt.want) || got[:len(tt.want)] != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// stand gives the state of one update on a machine with a whole list.
func stand(t *testing.T, release string, build winver.Build, about winver.KB, listed ...winver.KB) infer.State {
	t.Helper()
	rec, err := open(t).Records(release)
	if err != nil {
		t.Fatal(err)
	}
	h := &host.Host{}
	h.Build.Say(build, 1, host.Source{})
	for _, kb := range listed {
		h.Updates.Add(kb, host.Source{})
	}
	h.Updates.List(host.Listing{Whole: true, Announced: -1})
	s := infer.Stand(h, rec)
	for i := range rec.Updates {
		if rec.Updates[i].KB == about {
			return s.State[i]
		}
	}
	t.Fatalf("%s is not in %s", about, release)
	return 0
}

// TestContainment has one true example for each rule of what contains what.
func TestContainment(t *testing.T) {
	const ws2008, win7 = "windows-server-2008-sp2", "windows-7-sp1"
	b6003 := winver.Build{Major: 6, Number: 6003}
	b7601 := winver.Build{Major: 6, Minor: 1, Number: 7601}
	for _, tt := range []struct {
		name, release string
		build         winver.Build
		about         winver.KB
		listed        winver.KB
		want          infer.State
	}{
		{"rollup_contains_earlier_rollup", ws2008, b6003, 4493471, 5073697, infer.Contained},
		{"rollup_not_later_rollup", ws2008, b6003, 5073697, 5071504, infer.Absent},
		{"rollup_contains_security_only_of_its_month", ws2008, b6003, 5073700, 5073697, infer.Contained},
		{"rollup_contains_earlier_security_only", ws2008, b6003, 4493458, 5073697, infer.Contained},
		{"rollup_not_later_security_only", ws2008, b6003, 5073700, 5071504, infer.Absent},
		{"security_only_contains_itself_alone", ws2008, b6003, 5071507, 5073700, infer.Absent},
		{"security_only_contains_no_rollup", ws2008, b6003, 4489880, 4493458, infer.Absent},
		{"rollup_contains_ie_cumulative", ws2008, b6003, 5003165, 5073697, infer.Contained},
		{"rollup_contains_no_sha2_support", ws2008, b6003, 4474419, 5073697, infer.Absent},
		{"rollup_contains_no_servicing_stack", ws2008, b6003, 4493730, 5073697, infer.Absent},
		{"servicing_stack_contains_earlier", ws2008, b6003, 4493730, 5050682, infer.Contained},
		{"out_of_band_fix_is_not_in_the_rollup_of_the_month_before", ws2008, b6003, 5061198, 5058449, infer.Absent},
		{"security_only_that_its_month_s_rollup_lacks", ws2008, b6003, 4503287, 4503273, infer.Absent},
		{"the_next_rollup_has_it", ws2008, b6003, 4503287, 4507452, infer.Contained},
		{"fix_older_than_the_model_is_not_contained_by_date", ws2008, b6003, 4012598, 4458010, infer.Absent},
		{"windows_7_rollup_contains_security_only", win7, b7601, 4012212, 4534310, infer.Contained},
		{"stand_alone_on_10_is_not_contained", "windows-10-1607", winver.Build{Major: 10, Number: 14393}, 5012170, 5087537, infer.Absent},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := stand(t, tt.release, tt.build, tt.about, tt.listed); got != tt.want {
				t.Errorf("%s with %s installed: state %d, want %d", tt.about, tt.listed, got, tt.want)
			}
		})
	}
}

func TestRevision(t *testing.T) {
	rec, err := open(t).Records("windows-10-1809")
	if err != nil {
		t.Fatal(err)
	}
	h := &host.Host{}
	h.Build.Say(winver.Build{Major: 10, Number: 17763, Revision: 720, HasRevision: true}, 1, host.Source{})
	s := infer.Stand(h, rec)
	if s.Newest < 0 || !s.ByRevision || rec.Updates[s.Newest].Build.Revision > 720 {
		t.Fatalf("revision 720 proves no cumulative update: %+v", s.Newest)
	}
	later := 0
	for i, u := range rec.Updates {
		if u.Stream == catalog.Cumulative && u.Build.Revision > 720 && s.State[i] != infer.Absent {
			t.Errorf("%s leads to %s and is not absent at revision 720", u.KB, u.Build)
		}
		if s.State[i] == infer.Absent {
			later++
		}
	}
	if later == 0 {
		t.Error("nothing is absent at revision 720")
	}
}
