package web

import (
	"fmt"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/fleet"
)

// percent is how much a is of b, for widths.
func percent(a, b int) float64 {
	if b == 0 {
		return 0
	}
	return 100 * float64(a) / float64(b)
}

// num writes a length with two decimals at most.
func num(v float64) string {
	return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.2f", v), "0"), ".")
}

// span places days between first and last on a line of a hundred units.
type span struct{ first, last catalog.Date }

// x is where a day is, within the line.
func (s span) x(d catalog.Date) float64 {
	if s.last <= s.first {
		return 0
	}
	return 100 * min(1, max(0, float64(d-s.first)/float64(s.last-s.first)))
}

// wide is how long it is from a day to another; nothing where one of them is not known.
func (s span) wide(from, to catalog.Date) float64 {
	if from == 0 || to == 0 {
		return 0
	}
	return max(0, s.x(to)-s.x(from))
}

// years are the first days of the years in between.
func (s span) years() (out []catalog.Date) {
	for y := s.first.Time().Year() + 1; y <= s.last.Time().Year(); y++ {
		d, err := catalog.ParseDate(fmt.Sprintf("%04d-01-01", y))
		if err == nil && d < s.last {
			out = append(out, d)
		}
	}
	return out
}

// The size of the trend, in its own units.
const (
	trendWidth  = 600
	trendHeight = 140
)

// trendDay is the fleet on one day, over all releases.
type trendDay struct {
	day                             catalog.Date
	hosts, bad, undecided, exploits int
}

// trendOf adds up the releases of each day, in order.
func trendOf(days []fleet.Day) (out []trendDay) {
	for _, d := range days {
		if len(out) == 0 || out[len(out)-1].day != d.Day {
			out = append(out, trendDay{day: d.Day})
		}
		t := &out[len(out)-1]
		t.hosts += d.Hosts
		t.bad += d.Bad
		t.undecided += d.Undecided
		t.exploits += d.Exploited
	}
	return out
}

// band is a part of the machines in the trend, drawn above those before it.
type band struct {
	name, class, href string
	of, below         func(trendDay) int
}

// trendBands are the parts, from the bottom.
var trendBands = []band{
	{"exploited", "s-exploited", "/hosts?exploited=1", func(t trendDay) int { return t.exploits }, func(trendDay) int { return 0 }},
	{"affected otherwise", "s-bad", "/hosts?level=bad", func(t trendDay) int { return max(0, t.bad-t.exploits) }, func(t trendDay) int { return t.exploits }},
	{"undecided", "s-undecided", "/hosts?level=undecided", func(t trendDay) int { return t.undecided }, func(t trendDay) int { return max(t.bad, t.exploits) }},
	{"nothing open", "s-clear", "/hosts?level=clear", func(t trendDay) int { return max(0, t.hosts-t.bad-t.undecided) }, func(t trendDay) int { return max(t.bad, t.exploits) + t.undecided }},
}

// most is the most machines of a day.
func most(days []trendDay) int {
	n := 1
	for _, d := range days {
		n = max(n, d.hosts)
	}
	return n
}

// dayX is where a day is in the trend.
func dayX(days []trendDay, i int) float64 {
	first, last := days[0].day, days[len(days)-1].day
	if last == first {
		return trendWidth
	}
	return trendWidth * float64(days[i].day-first) / float64(last-first)
}

// dayFrom is where the part of a day begins that one can point at: half way to the day
// before. Behind the last day it is the end.
func dayFrom(days []trendDay, i int) float64 {
	switch i {
	case 0:
		return 0
	case len(days):
		return trendWidth
	}
	return (dayX(days, i-1) + dayX(days, i)) / 2
}

// area gives the corners of a band through the days: along its upper edge, and back along
// its lower one.
func area(days []trendDay, below, of func(trendDay) int) string {
	top := float64(most(days))
	y := func(n int) float64 { return trendHeight - trendHeight*float64(n)/top }
	var b strings.Builder
	for i, d := range days {
		fmt.Fprintf(&b, "%s,%s ", num(dayX(days, i)), num(y(below(d)+of(d))))
	}
	for i, d := range slices.Backward(days) {
		fmt.Fprintf(&b, "%s,%s ", num(dayX(days, i)), num(y(below(d))))
	}
	return b.String()
}

// moved says how many there are now, and how that differs from the first day.
func moved(days []trendDay, of func(trendDay) int) string {
	first, last := of(days[0]), of(days[len(days)-1])
	if first == last {
		return fmt.Sprint(last)
	}
	return fmt.Sprintf("%d (%+d)", last, last-first)
}

// dayWords says how the fleet stood on a day.
func dayWords(t trendDay) string {
	return fmt.Sprintf("%s: %s, %d affected, %d with exploited vulnerabilities, %d undecided", t.day, plural(t.hosts, "1 machine", "%d machines"), t.bad, t.exploits, t.undecided)
}

// trendWords says what the trend shows.
func trendWords(days []trendDay) string {
	a, b := days[0], days[len(days)-1]
	return fmt.Sprintf("%s to %s: machines %d to %d, affected %d to %d, with exploited vulnerabilities %d to %d", a.day, b.day, a.hosts, b.hosts, a.bad, b.bad, a.exploits, b.exploits)
}
