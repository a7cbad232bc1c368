// Package catalog holds what Microsoft has published for Windows from 6.0 on: releases and
// their lifecycles, updates with the order in which they contain each other, the CVEs they
// fix, and where each of these facts comes from and how far it reaches.
//
// A Catalog is read-only and safe for concurrent use. Package compile makes one out of the
// feeds; nothing here downloads or guesses. What the catalogue does not cover it says so:
// Release gives ErrNotCovered, and a Source's Last date is where "none" becomes "not known".
package catalog

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/oldguard/oldguard/winver"
)

// ErrNotCovered is the answer for a release the catalogue knows nothing about.
var ErrNotCovered = errors.New("release not covered by the catalogue")

// Date is a calendar day: days since 1970-01-01. Zero is not known.
type Date int32

// DateOf gives the day of t in UTC, or zero for the zero time.
func DateOf(t time.Time) Date {
	if t.IsZero() {
		return 0
	}
	return Date(t.UTC().Unix() / 86400) // #nosec G115 -- a day number fits for five million years
}

// ParseDate reads 2019-04-09.
func ParseDate(s string) (Date, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return 0, fmt.Errorf("date %q is not of the form 2006-01-02", s)
	}
	return DateOf(t), nil
}

// Time is midnight UTC of the day; the zero time for zero.
func (d Date) Time() time.Time {
	if d == 0 {
		return time.Time{}
	}
	return time.Unix(int64(d)*86400, 0).UTC()
}

// String writes 2019-04-09, or the empty string.
func (d Date) String() string {
	if d == 0 {
		return ""
	}
	year, month, day := d.Time().Date()
	if year < 0 || year > 9999 {
		return d.Time().Format(time.DateOnly)
	}
	return string([]byte{
		byte('0' + year/1000), byte('0' + year/100%10), byte('0' + year/10%10), byte('0' + year%10), '-',
		byte('0' + month/10), byte('0' + month%10), '-', byte('0' + day/10), byte('0' + day%10),
	}) // #nosec G115 -- digits
}

// MarshalText writes what String gives.
func (d Date) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what String gives.
func (d *Date) UnmarshalText(text []byte) (err error) {
	*d = 0
	if len(text) > 0 {
		*d, err = ParseDate(string(text))
	}
	return err
}

// Month counts calendar months, so that Month differences are months. Updates are
// published by month: "contained in that month's rollup" is decided on it.
func (d Date) Month() int {
	t := d.Time()
	return t.Year()*12 + int(t.Month()) - 1
}

// Source is one of the things the catalogue was made from.
type Source struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Licence string `json:"licence,omitempty"`
	SHA256  string `json:"sha256"`
	// Last is the newest day the source speaks about. Past it the answer is "not known".
	Last Date `json:"last"`
}

// Release is one Windows release at one service pack level.
type Release struct {
	ID          string         `json:"id"`   // windows-server-2008-sp2
	Name        string         `json:"name"` // Windows Server 2008 SP2
	Server      bool           `json:"server"`
	Builds      []winver.Build `json:"-"`
	BuildText   []string       `json:"builds"`
	ServicePack int            `json:"sp"`
	Arches      []string       `json:"arches"`
	// RollupSince is the day from which a monthly rollup contains the month's other fixes.
	// Zero where there never was one. Always means that every update is cumulative.
	RollupSince Date         `json:"rollup_since,omitempty"`
	Always      bool         `json:"always,omitempty"`
	Lifecycles  []Lifecycle  `json:"lifecycles,omitempty"`
	Programmes  []Programme  `json:"programmes,omitempty"`
	Components  []Component  `json:"components,omitempty"`
	Activations []Activation `json:"activations,omitempty"`
	// NextPack is the service pack that the release lacks, nil for the last one.
	NextPack *ServicePack `json:"next_pack,omitempty"`
	// Licensing holds the ESU licensing preparation packages, in order.
	Licensing []LicensingPackage `json:"licensing,omitempty"`
	// LastByArch is the day of the last update published for an architecture.
	LastByArch map[string]Date `json:"last_by_arch,omitempty"`

	frame frame
}

// Lifecycle says when support starts and ends for the named editions; no words means all
// that no other row names.
type Lifecycle struct {
	Editions   []string `json:"editions,omitempty"`
	Start      Date     `json:"start,omitempty"`
	Mainstream Date     `json:"mainstream,omitempty"`
	Extended   Date     `json:"extended,omitempty"`
	Confidence string   `json:"confidence"`
	Source     string   `json:"source"`
}

// Programme is one under which updates came after extended support.
type Programme struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Editions    []string `json:"editions,omitempty"`
	Arches      []string `json:"arches"`
	From        Date     `json:"from,omitempty"`
	Until       Date     `json:"until,omitempty"`
	How         string   `json:"how"`
	Eligibility string   `json:"eligibility,omitempty"`
	Confidence  string   `json:"confidence"`
	Source      string   `json:"source"`
}

// Component is a part of a release that has updates of its own.
type Component struct {
	Name    string    `json:"name"`
	Package winver.KB `json:"package,omitempty"` // brings it; zero where it is always there
	Source  string    `json:"source"`
}

// ServicePack is an update that makes one release another.
type ServicePack struct {
	KB       winver.KB `json:"kb"`
	Released Date      `json:"released"`
	Becomes  string    `json:"becomes"` // release id
	Source   string    `json:"source"`
}

// Activation is the id by which an activated key of a programme shows.
type Activation struct {
	Programme  string `json:"programme"`
	ID         string `json:"id"` // lower case, without braces
	Confidence string `json:"confidence"`
	Source     string `json:"source"`
}

// LicensingPackage is an update without which no ESU key can be installed.
type LicensingPackage struct {
	KB         winver.KB `json:"kb"`
	Released   string    `json:"released"` // a day, or a month
	Confidence string    `json:"confidence"`
	Source     string    `json:"source"`
}

// Program is a product beside Windows and when its support ends.
type Program struct {
	Name string `json:"name"` // SQL Server 2008 R2
	// Match holds the names of the product in lists of programs, in lower case, where a
	// star stands for any text; Version is what its version begins with, empty for any.
	Match   []string `json:"match"`
	Version string   `json:"version,omitempty"`
	Ends    Date     `json:"ends"`
	// Paid is the last day of updates that are paid for; zero where there are none.
	Paid       Date   `json:"paid,omitempty"`
	Confidence string `json:"confidence"`
	Source     string `json:"source"`
}

// Stream groups updates by how they contain each other.
type Stream uint8

// The streams. Within Cumulative, IE, Flash and ServicingStack a member contains every
// earlier one; a security-only update contains itself alone.
const (
	Other Stream = iota
	Cumulative
	SecurityOnly
	IE
	DotNet
	Flash
	ServicingStack
	SHA2
)

var streamNames = [...]string{"other", "cumulative", "security-only", "ie", "dotnet", "flash", "servicing-stack", "sha2"}

// String names the stream.
func (s Stream) String() string {
	if int(s) < len(streamNames) {
		return streamNames[s]
	}
	return "other"
}

// Sureness says how well an update's release date is known.
type Sureness uint8

// How well a date is known.
const (
	Undated  Sureness = iota // not known: Released is the day it cannot have come before, or zero
	Bounded                  // pulled back to a later member's day: not after Released
	MonthOf                  // the month is known; Released is its Patch Tuesday
	DayKnown                 // the feeds agree on the day
)

var sureNames = [...]string{"not before", "bounded", "month", "day"}

// String names the sureness.
func (s Sureness) String() string {
	if int(s) < len(sureNames) {
		return sureNames[s]
	}
	return "not before"
}

// Update is one update as published for one release.
type Update struct {
	KB       winver.KB
	Stream   Stream
	Released Date
	Sure     Sureness
	// Pos orders the members of a stream; meaningful in Cumulative, IE, Flash and ServicingStack.
	Pos uint16
	// Arches is the set of architectures it was published for.
	Arches ArchSet
	// HasCVE is true if any row of any product ties a CVE to it.
	HasCVE bool
	// NotInRollup: no rollup contains it. NextRollup: the same month's rollup does not.
	NotInRollup, NextRollup bool
	// Build is the version it leads to, zero where not known.
	Build winver.Build
	// Supersedes lists what the feeds say it supersedes, ascending.
	Supersedes []winver.KB
	// Feeds says which sources name it: bits of FeedWesng, FeedMonthly, FeedHistory, FeedFacts.
	Feeds uint8
}

// The feeds that can name an update.
const (
	FeedWesng uint8 = 1 << iota
	FeedMonthly
	FeedHistory
	FeedFacts
)

// ArchSet is a set of architectures, and of the two kinds of server installation.
type ArchSet uint8

// The members of an ArchSet.
const (
	OnX86 ArchSet = 1 << iota
	OnAMD64
	OnIA64
	OnARM
	OnARM64
	OnFull // a row for the full installation
	OnCore // a row for Server Core
)

var archBits = map[winver.Arch]ArchSet{
	winver.X86: OnX86, winver.AMD64: OnAMD64, winver.IA64: OnIA64, winver.ARM: OnARM, winver.ARM64: OnARM64,
}

// ArchBit gives a's bit, zero for the unknown architecture.
func ArchBit(a winver.Arch) ArchSet { return archBits[a] }

// Has reports whether s holds a.
func (s ArchSet) Has(a winver.Arch) bool { return s&archBits[a] != 0 }

// Fix ties a CVE to an update that fixes it, in a component, on some architectures.
type Fix struct {
	CVE       uint32 // index: see Catalog.CVE
	Update    uint16 // index into Records.Updates
	Component uint16 // index: see Catalog.Component; 0 is Windows itself
	On        ArchSet
	Severity  Severity
	Impact    Impact
}

// Severity is Microsoft's rating. The zero value is none given.
type Severity uint8

// The ratings.
const (
	SeverityNone Severity = iota
	Low
	Moderate
	Important
	Critical
)

var severityNames = [...]string{"", "Low", "Moderate", "Important", "Critical"}

// String gives Microsoft's word.
func (s Severity) String() string {
	if int(s) < len(severityNames) {
		return severityNames[s]
	}
	return ""
}

// Impact is what an attacker gains, in Microsoft's words. The zero value is none given.
type Impact uint8

var impactNames = [...]string{
	"", "Remote Code Execution", "Elevation of Privilege", "Information Disclosure",
	"Denial of Service", "Security Feature Bypass", "Spoofing", "Tampering", "Defense in Depth",
}

// String gives Microsoft's words.
func (i Impact) String() string {
	if int(i) < len(impactNames) {
		return impactNames[i]
	}
	return ""
}

// CVE is what is known of a vulnerability whatever the release.
type CVE struct {
	ID   string
	Area string // Microsoft's name of the affected part, such as "Windows Kernel"; may be empty
	// Score is the CVSS base score, 0 if not known; Vector its vector.
	Score  float64
	Vector string
	// First is the earliest day any feed shows for it: it was published by then.
	First Date
	// KEV is the day it entered the list of exploited vulnerabilities, zero if it is not on it.
	KEV        Date
	Ransomware bool // known use in ransomware campaigns
	// On tells for an exploited vulnerability (KEV is not zero) which releases have a
	// record of it in Windows itself, by index into Releases, and when it was first fixed
	// there. It is empty for all others.
	On []Recorded
}

// Recorded is a release that has a record of a vulnerability.
type Recorded struct {
	Release uint16
	Fixed   Date
}

// Records is everything published for one release. It is shared: do not change it.
type Records struct {
	Release *Release
	Updates []Update // ascending by KB
	Fixes   []Fix    // by CVE, then by update
}

// Update finds an update by its number.
func (r *Records) Update(kb winver.KB) (*Update, bool) {
	i, ok := slices.BinarySearchFunc(r.Updates, kb, func(u Update, kb winver.KB) int { return int(int64(u.KB) - int64(kb)) })
	if !ok {
		return nil, false
	}
	return &r.Updates[i], true
}

// Catalog is an open catalogue.
type Catalog struct {
	meta  meta
	data  reader
	cves  func() ([]CVE, error)
	recMu sync.Mutex
	recs  map[string]func() (*Records, error)
}

// Sources lists what the catalogue was made from.
func (c *Catalog) Sources() []Source { return c.meta.Sources }

// Source finds a source by its id.
func (c *Catalog) Source(id string) (Source, bool) {
	for _, s := range c.meta.Sources {
		if s.ID == id {
			return s, true
		}
	}
	return Source{}, false
}

// The ids of the sources whose last dates matter to a verdict.
const (
	SourceUpdates = "msrc"    // CVE to update, the newer of the two feeds
	SourceMonthly = "monthly" // types, vectors and fixed builds
	SourceHistory = "history" // the update-history pages
	SourceKEV     = "kev"     // exploited vulnerabilities
	SourceFacts   = "facts"   // lifecycle, programmes, servicing stacks: the tables of this project
)

// Programs lists the products beside Windows whose end of support is known.
func (c *Catalog) Programs() []Program { return c.meta.Programs }

// Releases lists the releases, ascending by id.
func (c *Catalog) Releases() []*Release { return c.meta.Releases }

// Release finds a release by its id; ErrNotCovered if it is not there.
func (c *Catalog) Release(id string) (*Release, error) {
	i := sort.Search(len(c.meta.Releases), func(i int) bool { return c.meta.Releases[i].ID >= id })
	if i == len(c.meta.Releases) || c.meta.Releases[i].ID != id {
		return nil, fmt.Errorf("%q: %w", id, ErrNotCovered)
	}
	return c.meta.Releases[i], nil
}

// Component gives a component's name; the empty string is Windows itself.
func (c *Catalog) Component(i uint16) string {
	if int(i) < len(c.meta.ComponentNames) {
		return c.meta.ComponentNames[i]
	}
	return ""
}

// Components is the number of component names: an index below it is good for Component.
func (c *Catalog) Components() int { return len(c.meta.ComponentNames) }

// CVEs gives the table of vulnerabilities, ascending by year and number. It is read once.
func (c *Catalog) CVEs() ([]CVE, error) { return c.cves() }

// Records reads what was published for a release. It is read once and shared.
func (c *Catalog) Records(id string) (*Records, error) {
	rel, err := c.Release(id)
	if err != nil {
		return nil, err
	}
	c.recMu.Lock()
	f, ok := c.recs[id]
	if !ok {
		f = sync.OnceValues(func() (*Records, error) { return c.readRecords(rel) })
		c.recs[id] = f
	}
	c.recMu.Unlock()
	return f()
}
