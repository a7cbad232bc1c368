package evidence_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/evidence"
)

func TestReadStamp(t *testing.T) {
	for name, tc := range map[string]struct {
		line string
		want evidence.Stamp
	}{
		"date_t":          {"Wed 11/25/2026 ", evidence.Stamp{Weekday: "Wed", Day: "11/25/2026"}},
		"date_t_german":   {"25.11.2026 ", evidence.Stamp{Day: "25.11.2026"}},
		"time_t":          {"09:15 PM", evidence.Stamp{Time: "09:15 PM"}},
		"time_t_german":   {"09:15", evidence.Stamp{Time: "09:15"}},
		"echo":            {"Wed 11/25/2026  9:15:33.45", evidence.Stamp{Weekday: "Wed", Day: "11/25/2026", Time: "9:15:33"}},
		"echo_french":     {"25/11/2026  9:15:33,45", evidence.Stamp{Day: "25/11/2026", Time: "9:15:33"}},
		"echo_italian":    {"25/11/2026  9.15.33,45", evidence.Stamp{Day: "25/11/2026", Time: "9:15:33"}},
		"date":            {"The current date is: Wed 11/25/2026", evidence.Stamp{Weekday: "", Day: "11/25/2026"}},
		"iso":             {"2026-11-25T09:15:33", evidence.Stamp{Day: "2026-11-25", Time: "09:15:33"}},
		"brackets":        {"[2026-11-25 09:15:33]", evidence.Stamp{Day: "2026-11-25", Time: "09:15:33"}},
		"japanese":        {"2026/11/25  9:15:33.45", evidence.Stamp{Day: "2026/11/25", Time: "9:15:33"}},
		"address":         {"  192.0.2.11", evidence.Stamp{}},
		"version":         {"6.0.6002", evidence.Stamp{}},
		"connection":      {"  TCP    192.0.2.11:445         192.0.2.20:49180       ESTABLISHED     4", evidence.Stamp{}},
		"address_of_ipv6": {"fe80::1:22", evidence.Stamp{}},
		"words":           {"Active Connections", evidence.Stamp{}},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := evidence.ReadStamp(tc.line)
			if name == "date" {
				got.Weekday = "" // whatever stands before it
			}
			if diff := cmp.Diff(tc.want, got); diff != "" || ok != (tc.want != evidence.Stamp{}) {
				t.Errorf("ReadStamp(%q), ok %v (-want +got):\n%s", tc.line, ok, diff)
			}
		})
	}
}

func TestStampAt(t *testing.T) {
	morning := time.Date(2026, 11, 12, 9, 15, 33, 0, time.UTC)
	for name, tc := range map[string]struct {
		stamp evidence.Stamp
		order evidence.DateOrder
		want  time.Time
	}{
		"order_of_others":   {evidence.Stamp{Day: "11/12/2026", Time: "9:15:33"}, evidence.MonthFirst, morning},
		"order_by_weekday":  {evidence.Stamp{Weekday: "Thu", Day: "11/12/2026", Time: "9:15:33"}, evidence.OrderUnknown, morning},
		"day_by_weekday":    {evidence.Stamp{Weekday: "Thu", Day: "12/11/2026", Time: "9:15:33"}, evidence.OrderUnknown, morning},
		"order_not_known":   {evidence.Stamp{Day: "11/12/2026", Time: "9:15:33"}, evidence.OrderUnknown, time.Time{}},
		"weekday_fits_none": {evidence.Stamp{Weekday: "Mon", Day: "11/12/2026", Time: "9:15:33"}, evidence.OrderUnknown, time.Time{}},
		"no_day":            {evidence.Stamp{Time: "9:15:33"}, evidence.DayFirst, time.Time{}},
		"no_time":           {evidence.Stamp{Day: "12.11.2026"}, evidence.DayFirst, time.Time{}},
		"afternoon":         {evidence.Stamp{Day: "11/12/2026", Time: "09:15 PM"}, evidence.MonthFirst, time.Date(2026, 11, 12, 21, 15, 0, 0, time.UTC)},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := tc.stamp.At(tc.order)
			if !got.Equal(tc.want) && ok || ok == tc.want.IsZero() {
				t.Errorf("At(%v) of %+v = %v, %v, want %v", tc.order, tc.stamp, got, ok, tc.want)
			}
		})
	}
}
