package fleet

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// Criticality is how much depends on a machine, in its owner's eyes.
type Criticality uint8

// The criticalities. The zero value is that nobody said.
const (
	CriticalityUnset Criticality = iota
	CriticalityLow
	CriticalityNormal
	CriticalityHigh
	CriticalityCritical
)

var criticalities = [...]string{"", "low", "normal", "high", "critical"}

// String gives low, normal, high or critical, and nothing for what is not set.
func (c Criticality) String() string {
	if int(c) < len(criticalities) {
		return criticalities[c]
	}
	return ""
}

// MarshalText writes what String gives.
func (c Criticality) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what String gives.
func (c *Criticality) UnmarshalText(text []byte) error {
	for i, name := range criticalities {
		if name == string(text) {
			*c = Criticality(i) // #nosec G115 -- an index of a short table
			return nil
		}
	}
	return fmt.Errorf("%q is no criticality", text)
}

// Identity is what tells one machine from another. What is not known is empty. Name and
// Domain are as the evidence gives them; they compare without regard to case.
type Identity struct {
	Name, Domain string
	ProductID    string
	MachineID    string // machine GUID, lower case
}

// Host is a machine as the fleet knows it: what its newest assessment comes to, in fields
// one can filter and sort by, and what people said about it.
type Host struct {
	ID int64
	// Version counts the changes of what the machine's evidence and assessment say; see
	// ErrStale. It is good for an ETag.
	Version int64
	Identity
	Standing
	Owned
	// Merged is the machine of which this one turned out to be a part; 0 for all others. It
	// is retired then, and has nothing of its own but its name.
	Merged    int64
	FirstSeen time.Time // when its first evidence was taken, as far as that is known
	LastSeen  time.Time // likewise its newest
	Conflicts int       // open ones that concern it
}

// Standing is what an assessment comes to.
type Standing struct {
	Release     string // id, empty if not known
	ReleaseName string
	Product     string
	Edition     string
	Arch        string
	Role        host.Role
	Core        host.Tri
	Build       winver.Build
	Support     assess.SupportState
	SupportEnds catalog.Date
	Level       assess.Level
	Headline    string

	Affected, Unfixable, Unknown    int
	Exploited, Ransomware, Critical int // of the affected and unfixable
	Missing, Undecided              int
	MonthsBehind                    int // -1 where it cannot be told
	Newest, Latest                  winver.KB
	Restart                         host.Tri // whether a restart is pending
	Gaps                            int

	AsOf     catalog.Date // the day it was judged for
	Catalog  string       // digest of the catalogue it was judged by
	Assessed time.Time
}

// Owned is what people say about a machine. No evidence changes it, and it changes no
// verdict.
type Owned struct {
	Owner       string
	Site        string
	Criticality Criticality
	Entitlement string   // as plan.Entitlement; empty is not said
	Tags        []string // sorted, each once
	Retired     bool     // it is gone: kept for its history, and counted nowhere
}

// OwnedEdit changes what is not nil.
type OwnedEdit struct {
	Owner, Site, Entitlement *string
	Criticality              *Criticality
	Retired                  *bool
	AddTags, RemoveTags      []string
}

// Note is what somebody wrote about a machine.
type Note struct {
	ID   int64
	Host int64
	At   time.Time
	By   string
	Text string
}

// Risk is a risk that somebody accepted: until a day, for a reason. It is shown beside the
// verdict and never changes it.
type Risk struct {
	ID     int64
	Host   int64  // 0 is every machine
	CVE    string // what is accepted: one vulnerability,
	Kind   string // or a kind of finding, such as "support-over"; one of the two is set
	Reason string
	By     string
	At     time.Time
	Until  catalog.Date // the last day on which it counts
}

// Conflict is something about who is who that people must decide. Nothing is merged
// before they have.
type Conflict struct {
	ID    int64
	Kind  ConflictKind
	Host  int64 // 0 where the evidence could be given to none
	Other int64 // the other machine, if there is one
	// Sighting is the evidence with which it came up.
	Sighting int64
	Text     string
	At       time.Time
	Resolved time.Time // zero while it is open
	By       string
}

// ConflictKind is a kind of conflict.
type ConflictKind string

// The kinds of conflicts.
const (
	// ConflictCloned: two machines of different names state one machine id. Either one was
	// cloned without sysprep, or one machine was renamed.
	ConflictCloned ConflictKind = "same-machine-id"
	// ConflictTwins: two machines of one name and domain state different ids. Either one
	// was installed again, or there are two.
	ConflictTwins ConflictKind = "same-name"
	// ConflictAmbiguous: evidence that fits several machines.
	ConflictAmbiguous ConflictKind = "ambiguous"
	// ConflictNameless: evidence of a machine that nothing in it names.
	ConflictNameless ConflictKind = "nameless"
)

// Sighting is what one upload says of one machine.
type Sighting struct {
	ID     int64
	Upload int64
	Part   int   // which machine of the upload, from 0
	Host   int64 // 0 while it is given to none
	Identity
	// Seen is when the evidence was taken, by its own word if Stated, else when it came.
	Seen    time.Time
	Stated  bool
	Readers []string // who read it, sorted
	// Base: it states which Windows this is, so that it can stand alone.
	Base bool
	// Current: the machine's assessment rests on it, among others.
	Current bool
	Gaps    int
}

// Cause is why a machine was assessed anew.
type Cause string

// The causes.
const (
	CauseEvidence Cause = "evidence"
	CauseCatalog  Cause = "catalogue"
	CauseDay      Cause = "day" // a day passed
	CauseEdit     Cause = "edit"
)

// Change is what is different between two assessments of a machine.
type Change struct {
	ID     int64
	Host   int64
	At     time.Time
	AsOf   catalog.Date
	Cause  Cause
	Upload int64 // the evidence, if that is the cause
	// First: there was no assessment before.
	First bool
	// The vulnerabilities that came and went, and those newly exploited among the open
	// ones.
	New, Closed, Exploited int
	Build                  [2]string // before and now, where they differ
	Release                [2]string
	Level                  [2]assess.Level
	Support                [2]assess.SupportState
	Headline               string // of the assessment after it
	// Document is all of it as oldguard/change/1; nil in lists, and for First.
	Document []byte
}

// ChangeQuery chooses changes, the newest first.
type ChangeQuery struct {
	Host      int64     // 0 is of all machines
	Since     time.Time // zero is from the beginning
	Until     time.Time // before it; zero is until now
	Exploited bool      // only those with something newly exploited
	After     int64     // those with a lower id; 0 is from the newest on
	Limit     int       // at most MaxPage, which 0 is too
}

// Worst orders machines, the worst highest: first by level, then by open vulnerabilities
// that ransomware uses, that are exploited, that are critical, and all of them, then by
// missing updates. It is made of what Standing holds, and of nothing that is not shown.
func (s *Standing) Worst() int64 {
	v := int64(s.Level)
	for _, f := range []struct{ n, bits int }{
		{s.Ransomware, 10}, {s.Exploited, 12}, {s.Critical, 12}, {s.Affected + s.Unfixable, 14}, {s.Missing, 8},
	} {
		v = v<<f.bits | int64(min(f.n, 1<<f.bits-1))
	}
	return v
}

// maxCalled bounds, in characters, what a machine is called: a name in the DNS has 253.
const maxCalled = 255

// called gives what evidence calls a machine as it is stored, so that the same evidence finds it
// again: with U+FFFD for what no database keeps, and no longer than an index takes.
func called(s string) string {
	n := 0
	return strings.Map(func(r rune) rune { // it gives U+FFFD for what is no UTF-8
		if n++; n > maxCalled {
			return -1
		}
		if r == 0 {
			return utf8.RuneError
		}
		return r
	}, s)
}

// Key is what names are compared by: lower case, without the domain.
func (i Identity) Key() string {
	short, _, _ := strings.Cut(strings.ToLower(i.Name), ".")
	if short == "" {
		return strings.ToLower(i.Name)
	}
	return short
}
