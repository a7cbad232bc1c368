package assess_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
)

// TestPrograms: a product is known by what lists of programs call it and by its version,
// and by nothing that only sounds like it; its last day is still supported.
func TestPrograms(t *testing.T) {
	cat, err := catalog.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	type note struct {
		Product string
		Over    bool
	}
	tests := []struct {
		name     string
		on       string
		programs []host.Program
		want     []note
		says     string // in the last note of the summary
	}{
		{
			name: "nothing_known", on: "2026-01-13",
			programs: []host.Program{
				{Name: "Microsoft SQL Server 2008 R2 Native Client"},
				{Name: "Microsoft SQL Server 2012 Management Objects  (x64)"},
				{Name: "Microsoft .NET Framework 4.8"},
				{Name: "Microsoft Office Word MUI (English) 2010"},
				{Name: "Exchange Server 2010 Backup Agent"},
				{Name: ""},
			},
		},
		{
			name: "engine_and_parts_are_one", on: "2026-01-13",
			programs: []host.Program{
				{Name: "Microsoft SQL Server 2008 R2 (64-bit)"},
				{Name: "SQL Server 2008 R2 Database Engine Services", Version: "10.50.1600.1"},
			},
			want: []note{{"SQL Server 2008 R2", true}},
			says: "SQL Server 2008 R2 (2019-07-09)",
		},
		{
			name: "r2_is_not_the_one_before", on: "2019-07-09",
			programs: []host.Program{{Name: "Microsoft® SQL Server 2008"}},
			want:     []note{{"SQL Server 2008", false}},
		},
		{
			name: "the_day_after", on: "2019-07-10",
			programs: []host.Program{{Name: "Microsoft SQL Server 2008"}},
			want:     []note{{"SQL Server 2008", true}},
			says:     "SQL Server 2008 (2019-07-09, paid updates until 2023-07-11)",
		},
		{
			name: "exchange_by_version", on: "2024-01-13",
			programs: []host.Program{{Name: "Microsoft Exchange Server", Version: "8.3.83.6"}, {Name: "Microsoft Exchange Server", Version: "15.2.1748.10"}},
			want:     []note{{"Exchange Server 2007", true}, {"Exchange Server 2019", false}},
			says:     "Exchange Server 2007 (2017-04-11).",
		},
		{
			name: "others", on: "2026-01-13",
			programs: []host.Program{
				{Name: "Java(TM) 6 Update 45 (64-bit)", Version: "6.0.450"},
				{Name: "Microsoft .NET Framework 4.5.1"},
				{Name: "Microsoft Office Professional Plus 2010", Version: "14.0.7015.1000"},
				{Name: "Microsoft Office Professional Plus 2019 - en-us"},
			},
			want: []note{{"Office 2010", true}, {"Office 2019", true}, {".NET Framework 4.5.1", true}, {"Java 6", true}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			on, err := time.Parse(time.DateOnly, tt.on)
			if err != nil {
				t.Fatal(err)
			}
			a := assess.Assess(&host.Host{Programs: tt.programs}, cat, assess.Policy{}, on)
			var got []note
			for _, n := range a.Programs {
				got = append(got, note{n.Product, n.Over})
				if len(n.Because) == 0 || len(n.Because[0].From) == 0 || n.Ends == 0 {
					t.Errorf("%s has no reason with a source, or no end: %+v", n.Product, n)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("programs (-want +got):\n%s", diff)
			}
			if notes := strings.Join(a.Summary.Notes, "\n"); !strings.Contains(notes, tt.says) {
				t.Errorf("notes are %q, want %q in them", notes, tt.says)
			}
		})
	}
}

// TestProgramsHaveSources: no row of the table goes without.
func TestProgramsHaveSources(t *testing.T) {
	cat, err := catalog.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	if len(cat.Programs()) < 40 {
		t.Errorf("the catalogue knows only %d programs", len(cat.Programs()))
	}
	for _, p := range cat.Programs() {
		if p.Source == "" || p.Confidence == "" || p.Ends == 0 || p.Paid != 0 && p.Paid <= p.Ends {
			t.Errorf("%+v lacks a source or a date, or its paid updates end before its support", p)
		}
	}
}
