package registry

import (
	"encoding/binary"
	"time"

	"github.com/oldguard/oldguard/internal/winreg"
)

// local turns a time into the machine's own wall-clock time, in UTC fields, by the rules in
// TimeZoneInformation. It is not ok if the source does not show the zone.
//
// The meaning is that of TIME_ZONE_INFORMATION:
// https://learn.microsoft.com/windows/win32/api/timezoneapi/ns-timezoneapi-time_zone_information
func (r *reading) local(t time.Time) (time.Time, bool) {
	k, _ := r.system(keyZone)
	bias, ok := minutes(k, "Bias")
	if !ok {
		return t, false
	}
	standardBias, ok1 := minutes(k, "StandardBias")
	daylightBias, ok2 := minutes(k, "DaylightBias")
	off, _ := number(k, "DynamicDaylightTimeDisabled")
	begins, ok3 := change(k, "DaylightStart", t.Year())
	ends, ok4 := change(k, "StandardStart", t.Year())
	offset := bias + standardBias
	if ok1 && ok2 && ok3 && ok4 && off == 0 {
		// The rules are in local time: that of before each change.
		from := begins.Add(bias + standardBias)
		until := ends.Add(bias + daylightBias)
		summer := !t.Before(from) && t.Before(until)
		if until.Before(from) { // south of the equator
			summer = !t.Before(from) || t.Before(until)
		}
		if summer {
			offset = bias + daylightBias
		}
	}
	return t.Add(-offset), true
}

// minutes reads a bias: a signed number of minutes, at most a day.
func minutes(k winreg.Key, name string) (time.Duration, bool) {
	n, ok := number(k, name)
	m := int32(uint32(n)) //nolint:gosec // a signed number, which the registry holds as unsigned
	return time.Duration(m) * time.Minute, ok && m >= -24*60 && m <= 24*60
}

// change gives when a rule changes the time in a year: the month, the day of the week, and in
// the place of the day which one of the month, 5 being the last.
func change(k winreg.Key, name string, year int) (t time.Time, ok bool) {
	if k == nil {
		return t, false
	}
	v, err := k.Value(name)
	if err != nil || len(v.Data) != 16 {
		return t, false
	}
	// The order is not that of SYSTEMTIME: year, month, week, hour, minute, second, ms, weekday.
	f := func(i int) int { return int(binary.LittleEndian.Uint16(v.Data[2*i:])) }
	month, week, weekday := f(1), f(2), f(7)
	if month < 1 || month > 12 || week < 1 || week > 5 || weekday > 6 || f(3) > 23 || f(4) > 59 {
		return t, false
	}
	t = time.Date(year, time.Month(month), 1, f(3), f(4), 0, 0, time.UTC)
	t = t.AddDate(0, 0, (weekday-int(t.Weekday())+7)%7+7*(week-1))
	for t.Month() != time.Month(month) {
		t = t.AddDate(0, 0, -7)
	}
	return t, true
}
