package compile

import (
	"maps"
	"slices"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/winver"
)

// dateAll finds each KB's release date. The feeds do not give it: a wesng row's day is the
// last revision of the CVE (of 2,925 KBs in both feeds the earliest is in another month for
// 405), a monthly row has a month only. So: M and W are the months that hold most of the
// KB's rows in the monthly and the wesng feed. Equal: that month. W later than M: M. W
// earlier: M if the monthly feed has a document for W's month (and so would have shown it
// there), else W. The day is the earliest row's in the chosen month, else Patch Tuesday.
func (c *compiler) dateAll() {
	for _, k := range c.kbs {
		m, haveM := mostMonth(k.monthly)
		w, haveW := mostMonth(k.wesng)
		month := w
		switch {
		case !haveM && !haveW:
			continue
		case !haveW, haveM && w >= m, haveM && c.months[w]:
			month = m
		}
		k.date, k.sure = patchTuesday(month), catalog.MonthOf
		if d, ok := k.earliest[month]; ok {
			k.date, k.sure = d, catalog.DayKnown
		}
	}
}

// dateStacks gives the servicing stacks of a release, in the table's order, and dates them
// and SHA-2 support: one KB can have come out on different days for different releases.
func (c *compiler) dateStacks(release string, date map[winver.KB]catalog.Date, sure map[winver.KB]catalog.Sureness) (stacks []winver.KB) {
	for _, x := range c.facts.servicing {
		if !slices.Contains(x.releases, release) {
			continue
		}
		if d, err := catalog.ParseDate(x.date); err == nil {
			date[x.kb], sure[x.kb] = d, catalog.DayKnown
		} else if d, err := catalog.ParseDate(x.date + "-01"); err == nil {
			date[x.kb], sure[x.kb] = patchTuesday(d.Month()), catalog.MonthOf
		}
		if !x.sha2 {
			stacks = append(stacks, x.kb)
		}
	}
	// An undated stack stands between its neighbours: it was out when the next one was, and
	// before that nobody can be said to lack it.
	next := catalog.Date(0)
	for _, kb := range slices.Backward(stacks) {
		if date[kb] == 0 && c.kbs[kb] != nil {
			date[kb], sure[kb] = c.kbs[kb].date, c.kbs[kb].sure
		}
		if date[kb] == 0 && next != 0 {
			date[kb], sure[kb] = next, catalog.Bounded
		}
		next = date[kb]
	}
	c.dateList(stacks, date, sure)
	return stacks
}

// mostMonth gives the month with most rows, the earliest among equals.
func mostMonth(m map[int]int) (best int, ok bool) {
	for _, month := range slices.Sorted(maps.Keys(m)) {
		if !ok || m[month] > m[best] {
			best, ok = month, true
		}
	}
	return best, ok
}

// dateList dates the members of an ordered list: no member is later than the next dated
// one (it is pulled back and marked bounded), and an undated one is not before the one
// in front of it.
func (c *compiler) dateList(order []winver.KB, date map[winver.KB]catalog.Date, sure map[winver.KB]catalog.Sureness) {
	next := catalog.Date(0)
	for _, kb := range slices.Backward(order) {
		if k := c.kbs[kb]; date[kb] == 0 && k != nil {
			date[kb], sure[kb] = k.date, k.sure
		}
		d := date[kb]
		if d != 0 && next != 0 && d > next {
			d = next
			date[kb], sure[kb] = d, catalog.Bounded
		}
		if d != 0 {
			next = d
		}
	}
	before := catalog.Date(0)
	for _, kb := range order {
		if date[kb] == 0 {
			date[kb], sure[kb] = before, catalog.Undated
		}
		before = date[kb]
	}
}

// lastDated is the latest day on which a member of any history list came out, among those
// the feeds date: as far as the history is known to reach.
func (c *compiler) lastDated(rows []historyRow) (last catalog.Date) {
	for _, h := range rows {
		if k := c.kbs[h.kb]; k != nil {
			last = max(last, k.date)
		}
	}
	return last
}
