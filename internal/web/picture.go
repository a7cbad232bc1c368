package web

import (
	"fmt"
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

// line gives the points of a line through the days.
func line(days []trendDay, of func(trendDay) int) string {
	most := 1
	for _, d := range days {
		most = max(most, d.hosts)
	}
	var b strings.Builder
	for _, d := range days {
		first, last := days[0].day, days[len(days)-1].day
		x := float64(trendWidth)
		if last > first {
			x = trendWidth * float64(d.day-first) / float64(last-first)
		}
		fmt.Fprintf(&b, "%s,%s ", num(x), num(trendHeight-trendHeight*float64(of(d))/float64(most)))
	}
	return b.String()
}

// behindFrom is the filter for a bucket of months behind; empty where there is none.
func behindFrom(bucket string) string {
	switch bucket {
	case "1-3":
		return "1"
	case "4-12":
		return "4"
	case "13+":
		return "13"
	}
	return ""
}
