package store

import (
	"cmp"
	"context"
	"time"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/host"
)

// Recount counts the machines by statements of the database, past all that is kept.
func (d *DB) Recount(ctx context.Context, unseen time.Time) (o fleet.Overview, cves []fleet.CVECount, err error) {
	o = fleet.Overview{ByLevel: map[assess.Level]int{}, BySupport: map[assess.SupportState]int{}, ByCriticality: map[fleet.Criticality]int{}}
	number := func(n *int, where string, args ...any) {
		got, failed := d.read.NewSelect().Table("host").Where("NOT retired").Where(where, args...).Count(ctx)
		*n, err = int(got), cmp.Or(err, failed)
	}
	group := func(by string) (list []fleet.Count) {
		err = cmp.Or(err, d.read.NewRaw("SELECT CAST("+by+" AS TEXT) AS value, COUNT(*) AS hosts FROM host WHERE NOT retired GROUP BY 1 ORDER BY 2 DESC, 1").Scan(ctx, &list))
		return list
	}
	number(&o.Hosts, "1 = 1")
	number(&o.Exploited, "exploited > 0")
	number(&o.Ransomware, "ransomware > 0")
	number(&o.Restart, "restart = ?", int(host.Yes))
	number(&o.Unseen, "last_seen < ?", stamp(unseen))
	for v := range 10 {
		var level, criticality int
		number(&level, "level = ?", v)
		number(&criticality, "criticality = ?", v)
		if level > 0 {
			o.ByLevel[assess.Level(v)] = level
		}
		if criticality > 0 {
			o.ByCriticality[fleet.Criticality(v)] = criticality
		}
	}
	for _, c := range group("support") {
		o.BySupport[assess.SupportState(c.Value)] = c.Hosts
	}
	o.ByRelease, o.BySite, o.ByOwner = group("release"), group("site"), group("owner")
	err = cmp.Or(err, d.read.NewRaw("SELECT release, support, support_ends AS ends, COUNT(*) AS hosts FROM host WHERE NOT retired GROUP BY 1, 2, 3 ORDER BY 1, 2, 3").Scan(ctx, &o.ByStand))
	for _, b := range []struct{ name, where string }{{"0", "behind = 0"}, {"1-3", "behind BETWEEN 1 AND 3"}, {"4-12", "behind BETWEEN 4 AND 12"}, {"13+", "behind > 12"}, {"unknown", "behind < 0"}} {
		c := fleet.Count{Value: b.name}
		number(&c.Hosts, b.where)
		o.ByBehind = append(o.ByBehind, c)
	}
	for _, name := range []string{"6002", "6003"} {
		c := fleet.Count{Value: name}
		number(&c.Hosts, "build LIKE ?", "6.0."+name+"%")
		o.ByBuild = append(o.ByBuild, c)
	}
	conflicts, failed := d.read.NewSelect().Table("conflict").Where("resolved = 0").Count(ctx)
	uploads, broken := d.read.NewSelect().Table("upload").Where("state = 0").Count(ctx)
	o.Conflicts, o.Uploads = int(conflicts), int(uploads)
	if err = cmp.Or(err, failed, broken); err != nil {
		return o, nil, err
	}
	cves, err = d.countCVEs(ctx)
	return o, cves, err
}

// Reread has all machines read again after changes of more than a few.
func (d *DB) Reread(few int) { d.tally.touched.max = few }
