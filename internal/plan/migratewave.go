package plan

import (
	"cmp"
	"slices"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
)

// Wave is machines that are moved in the same stretch of time.
type Wave struct {
	ID, Name string
	Because  string
	Moves    bool // whether its machines are to be moved
	// From and To are its days, both inclusive; zero without a day by which all is to be done,
	// and for what needs no move.
	From, To catalog.Date
	Members  []*Migration // the most pressing first
}

// waveRule says what a wave is; only in some are machines moved.
type waveRule struct {
	id, name, because string
	moves             bool
	fits              func(m *Migration) bool
}

// waveRules sort machines into waves: the first that fits. The last fits all.
var waveRules = []waveRule{
	{
		"controllers", "Domain controllers without support", "whoever takes one of them has the domain, and others wait for what replaces it", true,
		func(m *Migration) bool { return m.Summary.SupportOver && m.Domain == host.DomainController },
	},
	{
		"exploited", "Exploited, without support", "vulnerabilities that are open on them are used by attackers, and no update will come without a programme", true,
		func(m *Migration) bool { return m.Summary.SupportOver && m.Summary.Exploited > 0 },
	},
	{
		"over", "Without support", "what is found next stays open", true,
		func(m *Migration) bool { return m.Summary.SupportOver },
	},
	{
		"ending", "Support ends before the day", "it is over before all of this is done", true,
		func(m *Migration) bool { return m.ending() },
	},
	{
		"unknown", "Not known", "the evidence does not tell what they are: bring more of it first, since they may belong to the first wave", false,
		func(m *Migration) bool { return m.Release == nil || m.Support.State == assess.SupportUnknown },
	},
	{"stay", "To stay for now", "support does not end before the day", false, func(m *Migration) bool { return m.Release.Server }},
	{"no-server", "No servers", "these plans are for servers: nothing is said about them here", false, func(*Migration) bool { return true }},
}

func (m *Migration) ending() bool {
	day := m.By
	if day == 0 {
		day = catalog.DateOf(m.AsOf.Time().AddDate(1, 0, 0))
	}
	return m.Why == "" && m.Support.Ends != 0 && m.Support.Ends < day
}

// Waves sorts machines into waves, by how they stand; clients are not moved by these
// plans. Within a wave those with the most exploited vulnerabilities come first. Who talks
// to whom does not change the order: see Ties. Until the day by, each wave gets time by its
// number of machines.
func Waves(list []*Migration, on, by catalog.Date) (out []Wave) {
	members := make([][]*Migration, len(waveRules))
	moving := 0
	for _, m := range list {
		i := slices.IndexFunc(waveRules, func(r waveRule) bool { return r.fits(m) })
		if m.Release != nil && !m.Release.Server {
			i = len(waveRules) - 1 // however they stand
		}
		members[i] = append(members[i], m)
		if waveRules[i].moves {
			moving++
		}
	}
	done := 0
	for i, r := range waveRules {
		if len(members[i]) == 0 {
			continue
		}
		slices.SortStableFunc(members[i], func(a, b *Migration) int {
			return cmp.Or(cmp.Compare(b.Summary.Exploited, a.Summary.Exploited),
				cmp.Compare(a.Support.Ends, b.Support.Ends), cmp.Compare(a.Host, b.Host))
		})
		w := Wave{ID: r.id, Name: r.name, Because: r.because, Moves: r.moves, Members: members[i]}
		if r.moves && by > on {
			share := func() catalog.Date { return on + catalog.Date(int(by-on)*done/moving) } // #nosec G115 -- between on and by
			w.From = share()
			done += len(members[i])
			w.To = share()
			if done < moving {
				w.To = max(w.To-1, w.From)
			}
		}
		out = append(out, w)
	}
	return out
}
