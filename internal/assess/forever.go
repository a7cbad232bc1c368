package assess

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
)

// ForeverDay is a vulnerability that has been exploited on a successor since the last
// update of this product: no fix will come, and no record says whether it is affected.
type ForeverDay struct {
	CVE        string
	Area       string
	KEVSince   catalog.Date
	Ransomware bool
	Fixed      catalog.Date // first fixed on a successor
	On         []string     // names of the releases that have a record, ascending
	// Confidence is "likely" where this product had fixes in the same part of Windows,
	// "possible" where nothing shows that it has that part.
	Confidence string
	Because    host.Reason
}

// forever lists what has been exploited on other releases since this product's last
// update. It speaks as far as the list of exploited vulnerabilities goes.
func (x *assessor) forever() {
	rel := x.rec.Release
	last := rel.LastByArch[x.arch.String()]
	if last == 0 {
		last = lastOf(rel)
	}
	if x.Support.State != Over && x.Support.State != Programmes || last == 0 || last >= x.AsOf {
		return
	}
	x.ForeverSince, x.ForeverUntil = last, min(x.AsOf, x.kevTo)
	var mine map[string]bool
	releases := x.cat.Releases()
	for i := range x.cves {
		v := &x.cves[i]
		if v.KEV == 0 || v.KEV > x.AsOf {
			continue
		}
		d := ForeverDay{CVE: v.ID, Area: v.Area, KEVSince: v.KEV, Ransomware: v.Ransomware}
		here := false
		for _, r := range v.On {
			if int(r.Release) >= len(releases) {
				continue
			}
			other := releases[r.Release]
			if other.ID == rel.ID {
				here = true
			}
			d.On = append(d.On, other.Name)
			if d.Fixed == 0 || r.Fixed < d.Fixed {
				d.Fixed = r.Fixed
			}
		}
		if d.Fixed <= last || len(d.On) == 0 || here && !x.onlyElsewhere(v) {
			continue
		}
		if mine == nil {
			mine = x.areas()
		}
		d.Confidence = "possible"
		why := "nothing shows whether this product has that part"
		if v.Area != "" && v.Area != "Microsoft Windows" && mine[v.Area] {
			d.Confidence = "likely"
			why = "this product had fixes in the same part before"
		}
		d.Because.Text = fmt.Sprintf("exploited since %s at the latest; fixed on %s from %s on, after the last update of this product on %s; %s", v.KEV, several(d.On), d.Fixed, last, why)
		x.Forever = append(x.Forever, d)
	}
	slices.SortStableFunc(x.Forever, func(a, b ForeverDay) int {
		return cmp.Or(strings.Compare(a.Confidence, b.Confidence), cmp.Compare(b.KEVSince, a.KEVSince), strings.Compare(a.CVE, b.CVE))
	})
}

// areas are the parts of Windows in which this product had fixes.
func (x *assessor) areas() map[string]bool {
	mine := map[string]bool{}
	for _, f := range x.rec.Fixes {
		if f.On&x.bit != 0 && f.Component == 0 && int(f.CVE) < len(x.cves) {
			mine[x.cves[f.CVE].Area] = true
		}
	}
	return mine
}

// onlyElsewhere reports whether a CVE is recorded for this release on other architectures
// alone.
func (x *assessor) onlyElsewhere(v *catalog.CVE) bool {
	for _, f := range x.rec.Fixes {
		if int(f.CVE) < len(x.cves) && x.cves[f.CVE].ID == v.ID && f.On&x.bit != 0 {
			return false
		}
	}
	return true
}

func several(names []string) string {
	slices.Sort(names)
	if len(names) > 3 {
		return fmt.Sprintf("%s and %d other releases", strings.Join(names[:3], ", "), len(names)-3)
	}
	return strings.Join(names, ", ")
}

// roleFindings are vulnerabilities of a role that have no record for a release although
// the role is there: a missing record is not "not affected". Zerologon was fixed for
// Server 2008 R2 and later only; Microsoft has published nothing on Server 2008.
// https://msrc.microsoft.com/update-guide/vulnerability/CVE-2020-1472
var roleFindings = []struct {
	role     host.Role
	cve      string
	releases []string
}{
	{host.DomainController, "CVE-2020-1472", []string{"windows-server-2008-sp1", "windows-server-2008-sp2"}},
}

func (x *assessor) roles() {
	role, ok := x.Host.Role.Value()
	if !ok {
		return
	}
	for _, f := range roleFindings {
		if f.role != role || !slices.Contains(f.releases, x.rec.Release.ID) ||
			slices.ContainsFunc(x.Findings, func(g Finding) bool { return g.CVE == f.cve }) {
			continue
		}
		i := slices.IndexFunc(x.cves, func(v catalog.CVE) bool { return v.ID == f.cve })
		if i < 0 || x.cves[i].First > x.AsOf {
			continue
		}
		x.count(Unknown)
		out := x.describe(&x.cves[i], Unknown)
		out.Because = []host.Reason{{
			Text: "this is a domain controller, and Microsoft has published nothing about this vulnerability for " + x.rec.Release.Name + ": that is not \"not affected\"",
			From: sourcesOf(x.Host.Role),
		}}
		x.add(&out)
	}
}
