package assess

import (
	"slices"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/infer"
	"github.com/oldguard/oldguard/winver"
)

// servicePacks adds, for a machine below its last service pack, the packs it lacks and what
// was published for the level it would reach. No update for that level can be installed
// here, so all of it is missing; but Microsoft stopped looking at the lower level, so no
// record says which of the vulnerabilities concern it: they are unknown.
func (x *assessor) servicePacks() {
	target := x.rec.Release
	var packs []Item
	for target.NextPack != nil && target.NextPack.Released <= x.AsOf {
		p := target.NextPack
		next, err := x.cat.Release(p.Becomes)
		if err != nil {
			break
		}
		packs = append(packs, Item{
			KB: p.KB, Kind: "service-pack", Released: p.Released, Sure: catalog.DayKnown,
			Because: []host.Reason{{Text: "the build shows " + target.Name + "; this makes it " + next.Name + " (" + p.Source + ")", From: sourcesOf(x.Host.Build)}},
		})
		target = next
	}
	if len(packs) == 0 {
		return
	}
	rec, err := x.cat.Records(target.ID)
	if err != nil {
		x.gap("what was published for "+target.Name, err.Error(), "oldguard catalog info")
		return
	}
	above := *x.Host
	above.Build = host.Fact[winver.Build]{}
	above.Build.Say(target.Builds[0], 0, host.Source{})
	above.Updates = host.Set[winver.KB]{}
	above.Updates.List(host.Listing{
		Whole: true, Announced: -1, From: first(sourcesOf(x.Host.Build)),
		Why: "the machine is " + x.rec.Release.Name + ", on which no update for " + target.Name + " installs",
	})
	y := *x
	y.Assessment = &Assessment{AsOf: x.AsOf, Host: &above, Support: x.Support, Build: target.Builds[0]}
	y.Identity.Release, y.rec, y.st = target, rec, infer.Stand(&above, rec)
	y.Updates.MonthsBehind = -1
	y.updates()
	for i := range y.Updates.Missing {
		it := &y.Updates.Missing[i]
		it.Needs = append([]Need{{Kind: NeedServicePack, KB: packs[len(packs)-1].KB, Text: "an update for " + target.Name}}, it.Needs...)
	}
	x.Updates.Missing = slices.Concat(packs, x.Updates.Missing, y.Updates.Missing)
	x.Updates.OfferedNow = nil
	x.Updates.Latest, x.Updates.LatestReleased, x.Updates.MonthsBehind = y.Updates.Latest, y.Updates.LatestReleased, y.Updates.MonthsBehind
	x.Summary.Missing = len(x.Updates.Missing)
	x.note(packs[len(packs)-1].KB.String() + " (" + target.Name + ") is missing: without it no update since " + x.Support.Ends.String() + " installs.")
	x.above(rec, target)
}

// above adds the vulnerabilities that are recorded for the level of the missing service
// pack and not for this one.
func (x *assessor) above(rec *catalog.Records, target *catalog.Release) {
	own := map[uint32]bool{}
	for _, f := range x.rec.Fixes {
		own[f.CVE] = true
	}
	last := uint32(1<<32 - 1)
	for i := range rec.Fixes {
		f := &rec.Fixes[i]
		u := &rec.Updates[f.Update]
		if f.CVE == last || own[f.CVE] || f.On&x.bit == 0 || f.Component != 0 || int(f.CVE) >= len(x.cves) || u.Released > x.AsOf || u.Released == 0 {
			continue
		}
		last = f.CVE
		x.count(Unknown)
		out := x.describe(&x.cves[f.CVE], Unknown)
		out.Severity, out.Impact, out.First = f.Severity, f.Impact, u.Released
		out.Because = []host.Reason{{Text: "recorded for " + target.Name + "; Microsoft does not say whether " + x.rec.Release.Name + " is affected, and no fix can be installed on it"}}
		x.add(&out)
	}
}

func first(from []host.Source) host.Source {
	if len(from) == 0 {
		return host.Source{}
	}
	return from[0]
}
