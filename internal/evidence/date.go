package evidence

import (
	"strconv"
	"strings"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

// DateOrder is the order of day, month and year in dates that are written with the year
// last. The zero value is not known.
type DateOrder uint8

// The orders.
const (
	OrderUnknown DateOrder = iota
	DayFirst
	MonthFirst
)

// OrderOf tells the order from dates of one text, which are all written the same way: a
// number over 12 decides, and dots always separate day from month. It is unknown if
// nothing decides, or if the dates contradict each other.
func OrderOf(dates ...string) DateOrder {
	order := OrderUnknown
	for _, s := range dates {
		d, ok := scanDate(s)
		if !ok || d.yearFirst {
			continue
		}
		var o DateOrder
		switch {
		case d.sep == '.' || d.a > 12:
			o = DayFirst
		case d.b > 12:
			o = MonthFirst
		default:
			continue
		}
		if order != OrderUnknown && order != o {
			return OrderUnknown
		}
		order = o
	}
	return order
}

// Date reads a date, alone or with a time of day behind it, in any order that Windows
// writes. Where day and month cannot be told apart it is not ok. The result has the
// machine's own wall-clock time in UTC fields.
func Date(s string, order DateOrder) (t time.Time, ok bool) {
	d, ok := scanDate(s)
	if !ok {
		return t, false
	}
	year, month, day := d.c, d.a, d.b
	switch {
	case d.yearFirst:
		year, month, day = d.a, d.b, d.c
	case d.a == d.b:
	case order == DayFirst, order == OrderUnknown && (d.sep == '.' || d.a > 12):
		month, day = d.b, d.a
	case order == OrderUnknown && d.b <= 12:
		return t, false
	}
	if year < 1980 || year > 9999 || month < 1 || month > 12 || day < 1 || day > 31 {
		return t, false
	}
	t = time.Date(year, time.Month(month), day, d.hour, d.minute, d.second, 0, time.UTC)
	return t, t.Day() == day // 31 April is no date
}

// TwelveHours reports whether the time in s is followed by AM or PM.
func TwelveHours(s string) bool {
	s = strings.ToUpper(s)
	return strings.HasSuffix(s, "AM") || strings.HasSuffix(s, "PM")
}

type scanned struct {
	a, b, c              int
	sep                  byte
	yearFirst            bool
	hour, minute, second int
}

// scanDate takes s apart: three numbers with the same separator, then perhaps a time with
// perhaps a word for the half of the day before or behind it.
func scanDate(s string) (d scanned, ok bool) {
	s = strings.TrimSpace(s)
	if len(s) > 64 {
		return d, false
	}
	number := func(maxDigits int) (n, digits int) {
		for len(s) > 0 && s[0] >= '0' && s[0] <= '9' && digits < maxDigits {
			n, s, digits = n*10+int(s[0]-'0'), s[1:], digits+1
		}
		return n, digits
	}
	separator := func() byte {
		if s == "" || strings.IndexByte("/.-", s[0]) < 0 {
			return 0
		}
		c := s[0]
		s = strings.TrimLeft(s[1:], " ") // "15. 6. 2016"
		return c
	}
	var n1, n2, n3 int
	d.a, n1 = number(4)
	d.sep = separator()
	d.b, n2 = number(2)
	sep2 := separator()
	d.c, n3 = number(4)
	d.yearFirst = n1 == 4
	if d.sep == 0 || sep2 != d.sep || n2 == 0 || d.yearFirst && (n3 == 0 || n3 > 2) || !d.yearFirst && (n1 == 0 || n1 > 2 || n3 != 4) {
		return d, false
	}
	s = strings.TrimLeft(s, ".,\u00a0 ") // "2019. 03. 01.", "3/4/2019, "
	if s == "" {
		return d, true
	}
	before := strings.IndexAny(s, "0123456789")
	if before < 0 || before > 16 {
		return d, false
	}
	half := strings.TrimSpace(s[:before])
	s = s[before:]
	var parts [3]int
	for i := range parts {
		n, digits := number(2)
		if digits == 0 {
			return d, false
		}
		parts[i] = n
		if s == "" || s[0] != ':' && s[0] != '.' {
			break
		}
		s = s[1:]
	}
	if half == "" {
		half = strings.TrimSpace(s)
	}
	if len(half) > 16 || strings.ContainsAny(half, "0123456789") {
		return d, false
	}
	d.hour, d.minute, d.second = parts[0], parts[1], parts[2]
	switch strings.ToUpper(strings.ReplaceAll(half, ".", "")) {
	case "PM", "오후", "午後", "下午":
		if d.hour < 12 {
			d.hour += 12
		}
	case "AM", "오전", "午前", "上午":
		if d.hour == 12 {
			d.hour = 0
		}
	}
	return d, d.hour < 24 && d.minute < 60 && d.second < 60
}

// fileTimeEpoch is the number of 100 ns steps from 1601, where a FILETIME begins, to 1970.
const fileTimeEpoch = 116444736000000000

// InstallDate reads Win32_QuickFixEngineering.InstalledOn: M/D/YYYY whatever the language,
// YYYYMMDD, or sixteen hexadecimal digits of a FILETIME, which 64-bit Windows Vista and
// Server 2008 give: "01ca04051f5ec3a8". A text that turns out to be written day first is
// read so; order tells what other dates of the text show.
func InstallDate(s string, order DateOrder) (time.Time, bool) {
	s = strings.TrimSpace(s)
	switch {
	case len(s) == 16 && !strings.ContainsAny(s, "/.- "):
		n, err := strconv.ParseUint(s, 16, 63)
		if err != nil || n < fileTimeEpoch {
			return time.Time{}, false
		}
		steps := int64(n - fileTimeEpoch)
		t := time.Unix(steps/1e7, steps%1e7*100).UTC()
		return t, t.Year() < 2200
	case len(s) == 8 && !strings.ContainsAny(s, "/.- "):
		t, err := time.ParseInLocation("20060102", s, time.UTC)
		return t, err == nil && t.Year() >= 1980
	}
	return Date(s, order)
}
