package store

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/host"
)

// tally is what is counted of the machines that are not retired, kept as long as the store is
// open: to count 20,000 anew takes the database a tenth of a second, and after each change
// somebody looks. Whoever changes machines names them in tx.touch; they are read again before
// the next count. A machine takes some hundred bytes.
//
// The numbers are those that counting anew gives: a test compares them after changes of all
// kinds.
type tally struct {
	mu    sync.Mutex // held while it is brought up to date and counted
	rows  map[int64]standing
	words lexicon
	// Vulnerabilities, summed up over the verdicts of so many machines each. Nil is not yet.
	sums   map[uint64]cveSum
	summed map[int64]int // machines by verdicts

	touched changed
}

// standing is what is counted of a machine. Numbers of words are those of tally.words.
type standing struct {
	verdicts, lastSeen             int64
	behind, ends                   int32
	release, site, owner, support  uint32
	build                          uint32
	level, criticality             uint8
	exploited, ransomware, restart bool
}

// cveSum is how many machines have a vulnerability; listed are those for which it was said that
// it is exploited.
type cveSum struct{ affected, unfixable, unknown, listed int }

// changed are machines that may be counted otherwise now.
type changed struct {
	mu  sync.Mutex
	ids map[int64]struct{}
	all bool
	max int // 0 is maxTouched
}

// maxTouched is how many machines are read again one by one: beyond that all are.
const maxTouched = 4000

func (c *changed) add(ids []int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ids == nil {
		c.ids = map[int64]struct{}{}
	}
	for _, id := range ids {
		c.ids[id] = struct{}{}
	}
	if len(c.ids) > cmp.Or(c.max, maxTouched) {
		c.ids, c.all = nil, true
	}
}

// take gives what was added since the last time.
func (c *changed) take() (ids []int64, all bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids, all = slices.Sorted(maps.Keys(c.ids)), c.all
	c.ids, c.all = nil, false
	return ids, all
}

// lexicon gives words numbers, since most machines share theirs.
type lexicon struct {
	numbers map[string]uint32
	list    []string
}

func (w *lexicon) number(s string) uint32 {
	n, ok := w.numbers[s]
	if !ok {
		if w.numbers == nil {
			w.numbers = map[string]uint32{}
		}
		n = uint32(len(w.list)) // #nosec G115 -- fewer than machines
		s = strings.Clone(s)
		w.numbers[s] = n
		w.list = append(w.list, s)
	}
	return n
}

// counts gives what was counted by number, the most first.
func (w *lexicon) counts(by []int) (list []fleet.Count) {
	for n, hosts := range by {
		if hosts > 0 {
			list = append(list, fleet.Count{Value: w.list[n], Hosts: hosts})
		}
	}
	slices.SortFunc(list, func(a, b fleet.Count) int {
		return cmp.Or(cmp.Compare(b.Hosts, a.Hosts), cmp.Compare(a.Value, b.Value))
	})
	return list
}

// refresh brings the machines up to date. t.mu is held.
func (t *tally) refresh(ctx context.Context, d *DB) error {
	ids, all := t.touched.take()
	var err error
	switch {
	case all || t.rows == nil || len(t.words.list) > 4*len(t.rows)+1000: // words that nobody has any more
		t.rows, t.words = map[int64]standing{}, lexicon{}
		err = t.read(ctx, d, "retired = ?", false)
	default:
		for some := range slices.Chunk(ids, 500) {
			for _, id := range some {
				delete(t.rows, id)
			}
			if err == nil {
				err = t.read(ctx, d, "retired = ? AND id IN (?)", false, bun.List(some))
			}
		}
	}
	if err != nil {
		t.rows = nil // and all are read next time
	}
	return err
}

func (t *tally) read(ctx context.Context, d *DB, where string, args ...any) (err error) {
	rows, err := d.read.NewSelect().Table("host").
		Column("id", "verdicts_id", "last_seen", "behind", "level", "criticality", "exploited", "ransomware", "restart", "release", "site", "owner", "support", "support_ends", "build").
		Where(where, args...).Rows(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var id int64
		var s standing
		var exploited, ransomware, restart, ends int64
		var release, site, owner, support, build string
		if err := rows.Scan(&id, &s.verdicts, &s.lastSeen, &s.behind, &s.level, &s.criticality, &exploited, &ransomware, &restart, &release, &site, &owner, &support, &ends, &build); err != nil {
			return err
		}
		s.exploited, s.ransomware, s.restart = exploited > 0, ransomware > 0, restart == int64(host.Yes)
		s.release, s.site, s.owner, s.support = t.words.number(release), t.words.number(site), t.words.number(owner), t.words.number(support)
		s.build, s.ends = t.words.number(build), int32(ends) // #nosec G115 -- stored from a day
		t.rows[id] = s
	}
	return rows.Err()
}

// overview counts the machines.
func (t *tally) overview(ctx context.Context, d *DB, unseen time.Time) (fleet.Overview, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := fleet.Overview{ByLevel: map[assess.Level]int{}, BySupport: map[assess.SupportState]int{}, ByCriticality: map[fleet.Criticality]int{}}
	if err := t.refresh(ctx, d); err != nil {
		return o, err
	}
	n := len(t.words.list)
	release, site, owner, support, build := make([]int, n), make([]int, n), make([]int, n), make([]int, n), make([]int, n)
	stands := map[stand]int{}
	var level, criticality [256]int
	var behind [len(behindNames)]int
	before := stamp(unseen)
	for _, s := range t.rows {
		release[s.release]++
		site[s.site]++
		owner[s.owner]++
		support[s.support]++
		stands[stand{s.release, s.support, s.ends}]++
		build[s.build]++
		level[s.level]++
		criticality[s.criticality]++
		behind[behindGroup(s.behind)]++
		for _, c := range []struct {
			n  *int
			is bool
		}{{&o.Exploited, s.exploited}, {&o.Ransomware, s.ransomware}, {&o.Restart, s.restart}, {&o.Unseen, s.lastSeen < before}} {
			if c.is {
				*c.n++
			}
		}
	}
	o.Hosts = len(t.rows)
	o.ByRelease, o.BySite, o.ByOwner = t.words.counts(release), t.words.counts(site), t.words.counts(owner)
	for _, c := range t.words.counts(support) {
		o.BySupport[assess.SupportState(c.Value)] = c.Hosts
	}
	o.ByStand = t.stands(stands)
	for v := range 256 {
		if level[v] > 0 {
			o.ByLevel[assess.Level(v)] = level[v] // #nosec G115 -- below 256
		}
		if criticality[v] > 0 {
			o.ByCriticality[fleet.Criticality(v)] = criticality[v] // #nosec G115 -- below 256
		}
	}
	for i, name := range behindNames {
		o.ByBehind = append(o.ByBehind, fleet.Count{Value: name, Hosts: behind[i]})
	}
	o.ByBuild = []fleet.Count{{Value: "6002"}, {Value: "6003"}}
	for _, c := range t.words.counts(build) {
		for i := range o.ByBuild {
			if strings.HasPrefix(c.Value, "6.0."+o.ByBuild[i].Value) {
				o.ByBuild[i].Hosts += c.Hosts
			}
		}
	}
	return o, nil
}

// stand is how machines of a release stand to their support.
type stand struct {
	release, support uint32
	ends             int32
}

// stands gives what was counted, by release, support and its end.
func (t *tally) stands(by map[stand]int) (list []fleet.Stand) {
	for s, hosts := range by {
		list = append(list, fleet.Stand{Release: t.words.list[s.release], Support: assess.SupportState(t.words.list[s.support]), Ends: catalog.Date(s.ends), Hosts: hosts})
	}
	slices.SortFunc(list, func(a, b fleet.Stand) int {
		return cmp.Or(cmp.Compare(a.Release, b.Release), cmp.Compare(a.Support, b.Support), cmp.Compare(a.Ends, b.Ends))
	})
	return list
}

// behindNames are the groups of months behind.
var behindNames = [...]string{"0", "1-3", "4-12", "13+", "unknown"}

func behindGroup(months int32) int {
	switch {
	case months < 0:
		return 4
	case months == 0:
		return 0
	case months <= 3:
		return 1
	case months <= 12:
		return 2
	}
	return 3
}

// builds gives the builds of machines, as they are stored, whose third number is that; such as
// 6.0.6003.20705.
func (t *tally) builds(ctx context.Context, d *DB, number uint32) (list []string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.refresh(ctx, d); err != nil {
		return nil, err
	}
	want := strconv.FormatUint(uint64(number), 10)
	for _, word := range t.words.list { // others are among them
		if parts := strings.Split(word, "."); len(parts) > 2 && parts[2] == want {
			list = append(list, word)
		}
	}
	return list, nil
}

// cves counts the machines by vulnerability, in no order. Verdicts are many, and a change is of
// few of them: only those of which another number of machines is now are looked through.
func (t *tally) cves(ctx context.Context, d *DB) (list []fleet.CVECount, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err = t.refresh(ctx, d); err != nil {
		return nil, err
	}
	use := map[int64]int{}
	for _, s := range t.rows {
		use[s.verdicts]++
	}
	if t.sums == nil {
		t.sums, t.summed = map[uint64]cveSum{}, map[int64]int{}
	}
	other := map[int64]int{} // by how many machines more, or fewer
	for id, n := range use {
		if n != t.summed[id] {
			other[id] = n - t.summed[id]
		}
	}
	for id, n := range t.summed {
		if use[id] == 0 {
			other[id] = -n
		}
	}
	whole := true
	for some := range slices.Chunk(slices.Sorted(maps.Keys(other)), 500) {
		found := 0
		err = d.bodies(ctx, some, func(id int64, body []byte) error {
			found++
			return t.sum(body, other[id])
		})
		if whole = whole && err == nil && found == len(some); !whole {
			break
		}
	}
	if !whole { // of verdicts that nobody has any more the body is gone: the rest is summed up anew
		t.sums, t.summed = nil, nil
		if err != nil {
			return nil, err
		}
		return d.countCVEs(ctx)
	}
	t.summed = use
	return t.cveCounts(), nil
}

func (t *tally) cveCounts() (list []fleet.CVECount) {
	for number, s := range t.sums {
		list = append(list, fleet.CVECount{CVE: fleet.CVEID(number), Affected: s.affected, Unfixable: s.unfixable, Unknown: s.unknown, Exploited: s.listed > 0})
	}
	return list
}

// sum adds verdicts of so many machines to the sums, or takes them away.
func (t *tally) sum(body []byte, hosts int) error {
	return fleet.EachVerdict(body, func(number uint64, v assess.Verdict, exploited bool) bool {
		if v == assess.NotAffected || v == assess.Fixed {
			return true
		}
		s := t.sums[number]
		switch v {
		case assess.Affected:
			s.affected += hosts
		case assess.Unfixable:
			s.unfixable += hosts
		case assess.Unknown:
			s.unknown += hosts
		case assess.NotAffected, assess.Fixed:
		}
		if exploited {
			s.listed += hosts
		}
		if s == (cveSum{}) {
			delete(t.sums, number)
		} else {
			t.sums[number] = s
		}
		return true
	})
}

// bodies gives packed verdicts by their ids; those that are not there are left out.
func (d *DB) bodies(ctx context.Context, ids []int64, use func(id int64, body []byte) error) (err error) {
	rows, err := d.read.NewSelect().Table("verdicts").Column("id", "body").Where("id IN (?)", bun.List(ids)).Rows(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var id int64
		var body []byte
		if err := rows.Scan(&id, &body); err != nil {
			return err
		}
		if err := use(id, body); err != nil {
			return err
		}
	}
	return rows.Err()
}
