package evidence

import (
	"strings"
	"time"
)

// Stamp is what a line between the outputs of commands says of when they ran, as date /t,
// time /t and echo %date% %time% print it. Either of Day and Time may be empty.
type Stamp struct {
	Weekday string // as printed, in the language of the machine
	Day     string // 11/25/2026, 25.11.2026
	Time    string // 9:15:33, 09:15 PM; without a fraction
}

// Bounds of a line that is taken for a stamp.
const (
	maxStamp      = 80
	maxStampWords = 8
)

// ReadStamp reads a line that holds a date or a time of day, and few words beside it:
// "Wed 11/25/2026", "The current time is: 9:15:33.45".
func ReadStamp(line string) (s Stamp, ok bool) {
	if len(line) > maxStamp || !strings.ContainsAny(line, ":/.-") {
		return s, false
	}
	words := strings.Fields(line)
	if len(words) > maxStampWords {
		return s, false
	}
	for i, w := range words {
		w = strings.Trim(w, "[](),;|")
		day, clock, joined := strings.Cut(w, "T") // 2026-11-25T09:15:33
		if !joined {
			day, clock = w, w
		}
		if s.Day == "" {
			if isDay(day) {
				s.Day = day
				if i > 0 && !strings.ContainsAny(words[i-1], "0123456789:") {
					s.Weekday = words[i-1]
				}
				if !joined {
					continue
				}
			}
		}
		if found, is := scanClock(clock); is && s.Time == "" {
			s.Time = found
			if i+1 < len(words) && TwelveHours(strings.ReplaceAll(words[i+1], ".", "")) {
				s.Time += " " + words[i+1]
			}
		}
	}
	return s, s.Day != "" || s.Time != ""
}

// IsStamp reports whether a line is a stamp.
func IsStamp(line string) bool {
	_, ok := ReadStamp(line)
	return ok
}

// isDay reports whether s is a date alone, in either order.
func isDay(s string) bool {
	t, ok := Date(s, DayFirst)
	if !ok {
		t, ok = Date(s, MonthFirst)
	}
	return ok && t.Equal(t.Truncate(24*time.Hour))
}

// scanClock knows 9:15, 09:15:33, 9:15:33.45 and 9.15.33,45, and leaves the fraction off.
func scanClock(s string) (clock string, ok bool) {
	if len(s) > 16 || len(s) < 4 {
		return "", false
	}
	parts := strings.FieldsFunc(s, func(r rune) bool { return r == ':' || r == '.' || r == ',' })
	colons := strings.Count(s, ":")
	if len(parts) < 2 || len(parts) > 4 || colons == 0 && len(parts) < 4 || colons == 1 && len(parts) > 2 {
		return "", false
	}
	for i, p := range parts {
		n, digits := 0, 0
		for ; digits < len(p) && p[digits] >= '0' && p[digits] <= '9'; digits++ {
			n = n*10 + int(p[digits]-'0')
		}
		switch {
		case digits != len(p), i < 3 && digits > 2, i == 0 && n > 23, i > 0 && i < 3 && (n > 59 || digits != 2):
			return "", false
		}
	}
	return strings.Join(parts[:min(len(parts), 3)], ":"), true
}

// At gives the moment, in the machine's own wall-clock time as UTC fields; it is not ok
// without a day and a time, and where day and month cannot be told apart.
func (s Stamp) At(order DateOrder) (time.Time, bool) {
	if s.Day == "" || s.Time == "" {
		return time.Time{}, false
	}
	if order == OrderUnknown {
		order = s.order()
	}
	return Date(s.Day+" "+s.Time, order)
}

// order tells the order from the day of the week in English, which fits one of the two.
func (s Stamp) order() DateOrder {
	fits := OrderUnknown
	for _, o := range []DateOrder{DayFirst, MonthFirst} {
		t, ok := Date(s.Day, o)
		if !ok || len(s.Weekday) < 3 || !strings.EqualFold(s.Weekday[:3], t.Weekday().String()[:3]) {
			continue
		}
		if fits != OrderUnknown {
			return OrderUnknown
		}
		fits = o
	}
	return fits
}
