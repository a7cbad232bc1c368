package fleet

import (
	"math"
	"time"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/winver"
)

// Sort is what a list of machines is sorted by.
type Sort string

// The orders. All of them end with the id, so that each is one order and no other.
const (
	SortWorst    Sort = "worst" // see Worst; the worst first
	SortName     Sort = "name"
	SortRelease  Sort = "release"
	SortBehind   Sort = "behind" // months behind, the furthest first
	SortAffected Sort = "affected"
	SortMissing  Sort = "missing"
	SortSeen     Sort = "seen" // the longest not seen first
	SortCritical Sort = "criticality"
)

// Sorts lists the orders, the default first.
func Sorts() []Sort {
	return []Sort{SortWorst, SortName, SortRelease, SortBehind, SortAffected, SortMissing, SortSeen, SortCritical}
}

// HostQuery chooses machines. The zero value is all that are not retired, the worst first.
// Lists are alternatives; different fields must all hold.
type HostQuery struct {
	Text        string // in the name, domain, owner or site, without regard to case
	Tags        []string
	Releases    []string
	Sites       []string
	Owners      []string
	Criticality []Criticality
	Support     []assess.SupportState
	Levels      []assess.Level
	Arches      []string
	Build       uint32 // the third number, such as 6003; 0 is any
	Roles       []string
	Exploited   bool      // with an open vulnerability that is exploited
	Ransomware  bool      // likewise by ransomware
	Restart     bool      // waits for a restart
	Conflict    bool      // with an open conflict
	SeenBefore  time.Time // not seen since
	MinBehind   int       // months behind at least
	Behind      []Behind  // or one of these
	CVE         string    // open, or not known: see Verdicts
	Verdicts    []assess.Verdict
	Missing     winver.KB // this update is missing
	Retired     bool      // those that are gone instead of those that are there
	IDs         []int64

	Sort    Sort
	Reverse bool
	After   string // HostPage.Next of the page before; empty is the first page
	Limit   int    // at most MaxPage, which 0 is too
}

// Behind is how far behind a machine is, in the classes that Overview counts.
type Behind string

// The classes.
const (
	BehindNone    Behind = "0"
	BehindLittle  Behind = "1-3" // months
	BehindSome    Behind = "4-12"
	BehindFar     Behind = "13+"
	BehindUnknown Behind = "unknown"
)

// Behinds lists the classes, the best first.
func Behinds() []Behind {
	return []Behind{BehindNone, BehindLittle, BehindSome, BehindFar, BehindUnknown}
}

// Months are the first and the last number of months of a class; those of BehindUnknown are
// below 0.
func (b Behind) Months() (first, last int) {
	switch b {
	case BehindNone:
		return 0, 0
	case BehindLittle:
		return 1, 3
	case BehindSome:
		return 4, 12
	case BehindFar:
		return 13, math.MaxInt32
	case BehindUnknown:
	}
	return math.MinInt32, -1
}

// HostPage is a page of machines.
type HostPage struct {
	Hosts []Host
	Next  string // for HostQuery.After; empty on the last page
	Total int    // on all pages
}

// Count is how many machines share a value.
type Count struct {
	Value string
	Hosts int
}

// Overview is the fleet in numbers: those that are not retired.
type Overview struct {
	Hosts                                  int
	ByLevel                                map[assess.Level]int
	BySupport                              map[assess.SupportState]int
	ByRelease                              []Count // most first
	ByStand                                []Stand // by release, support and its end
	BySite, ByOwner                        []Count
	ByCriticality                          map[Criticality]int
	ByBuild                                []Count // of Server 2008 SP2 and Vista SP2, which have two: "6002", "6003"
	ByBehind                               []Count // as Behinds lists them
	Exploited, Ransomware, Restart, Unseen int     // machines
	Conflicts                              int
	Uploads                                int // not read yet
}

// Stand is how many machines of a release stand alike to their support. Editions of one
// release may differ.
type Stand struct {
	Release string
	Support assess.SupportState
	Ends    catalog.Date // zero if not known
	Hosts   int
}

// CVECount is how a vulnerability stands in the fleet.
type CVECount struct {
	CVE                          string
	Affected, Unfixable, Unknown int // machines
	Exploited                    bool
}

// KBCount is how many machines lack an update.
type KBCount struct {
	KB    winver.KB
	Hosts int
}

// Day is how one release of the fleet stood on a day.
type Day struct {
	Day                       catalog.Date
	Release                   string // empty for machines whose release is not known
	Hosts                     int
	Clear, Undecided, Bad     int // machines by level
	Exploited, Ransomware     int // machines with such a vulnerability
	Over                      int // machines without support
	Affected, Missing, Unseen int // vulnerabilities and updates over all machines; machines not seen for 30 days
}

// CatalogInfo is a catalogue that machines were judged by.
type CatalogInfo struct {
	Digest  string // SHA-256 in hexadecimal
	Sources []catalog.Source
	At      time.Time // when it was first used
}

// Run is one pass over all machines.
type Run struct {
	ID      int64
	Cause   Cause
	Catalog string
	AsOf    catalog.Date
	Begun   time.Time
	Done    time.Time // zero while it goes on
	// Last is the highest machine that is done: a run that was cut off goes on behind it.
	Last           int64
	Hosts, Changed int
}
