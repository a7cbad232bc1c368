package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/fleet"
)

// EditHosts changes what people say about machines.
func (d *DB) EditHosts(ctx context.Context, ids []int64, e fleet.OwnedEdit) error {
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	if len(ids) == 0 {
		return nil
	}
	return d.change(ctx, func(tx tx) error {
		n, err := tx.NewSelect().Table("host").Where("id IN (?)", bun.List(ids)).Count(ctx)
		if err != nil {
			return err
		}
		if n != int64(len(ids)) {
			return fleet.ErrNotFound
		}
		tx.touch(ids...)
		u := tx.NewUpdate().Table("host").Set("id = id").Where("id IN (?)", bun.List(ids))
		for _, c := range []struct {
			column string
			value  *string
		}{{"owner", e.Owner}, {"site", e.Site}, {"entitlement", e.Entitlement}} {
			if c.value != nil {
				u.Set("? = ?", bun.Ident(c.column), *c.value)
			}
		}
		if e.Criticality != nil {
			u.Set("criticality = ?", int(*e.Criticality))
		}
		if e.Retired != nil {
			u.Set("retired = ?", *e.Retired)
		}
		if _, err := u.Exec(ctx); err != nil {
			return err
		}
		if e.Owner != nil || e.Site != nil {
			if err := searchOwned(ctx, tx, ids); err != nil {
				return err
			}
		}
		if len(e.RemoveTags) > 0 {
			_, err := tx.NewDelete().Table("host_tag").Where("host_id IN (?) AND tag IN (?)", bun.List(ids), bun.List(e.RemoveTags)).Exec(ctx)
			if err != nil {
				return err
			}
		}
		for _, tag := range e.AddTags {
			_, err := tx.NewRaw("INSERT INTO host_tag (host_id, tag) SELECT id, ? FROM host WHERE id IN (?) ON CONFLICT DO NOTHING", tag, bun.List(ids)).Exec(ctx)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// searchOwned renews what HostQuery.Text looks in. SQLite makes lower case of ASCII alone,
// so it is made here.
func searchOwned(ctx context.Context, tx tx, ids []int64) error {
	var pairs []struct{ Owner, Site string }
	err := tx.NewSelect().Table("host").Distinct().Column("owner", "site").Where("id IN (?)", bun.List(ids)).Scan(ctx, &pairs)
	for _, p := range pairs {
		if err == nil {
			_, err = tx.NewUpdate().Table("host").Set("search_owned = ?", strings.ToLower(p.Owner+" "+p.Site)).
				Where("id IN (?) AND owner = ? AND site = ?", bun.List(ids), p.Owner, p.Site).Exec(ctx)
		}
	}
	return err
}

type noteRow struct {
	bun.BaseModel `bun:"table:note"`

	ID     int64 `bun:",pk,autoincrement"`
	HostID int64
	At     int64
	ByWhom string
	Text   string
}

// AddNote stores what somebody wrote about a machine.
func (d *DB) AddNote(ctx context.Context, n fleet.Note) (fleet.Note, error) {
	row := noteRow{HostID: n.Host, At: stamp(n.At), ByWhom: n.By, Text: n.Text}
	err := d.change(ctx, func(tx tx) error {
		if err := mustExist(ctx, tx, n.Host); err != nil {
			return err
		}
		_, err := tx.NewInsert().Model(&row).Returning("id").Exec(ctx)
		return err
	})
	n.ID = row.ID
	return n, err
}

func mustExist(ctx context.Context, tx tx, host int64) error {
	there, err := tx.NewSelect().Table("host").Where("id = ?", host).Exists(ctx)
	if err == nil && !there {
		err = fleet.ErrNotFound
	}
	return err
}

// Notes gives what was written about a machine, the newest first.
func (d *DB) Notes(ctx context.Context, host int64) (list []fleet.Note, err error) {
	var rows []noteRow
	err = d.read.NewSelect().Model(&rows).Where("host_id = ?", host).OrderBy("id", bun.OrderDesc).Scan(ctx)
	for _, r := range rows {
		list = append(list, fleet.Note{ID: r.ID, Host: r.HostID, At: timeOf(r.At), By: r.ByWhom, Text: r.Text})
	}
	return list, err
}

type riskRow struct {
	bun.BaseModel `bun:"table:risk"`

	ID     int64 `bun:",pk,autoincrement"`
	HostID int64
	CVE    string `bun:"cve"`
	Kind   string
	Reason string
	ByWhom string
	At     int64
	Until  int64
}

// AddRisk stores an accepted risk.
func (d *DB) AddRisk(ctx context.Context, r fleet.Risk) (fleet.Risk, error) {
	r.CVE = strings.ToUpper(r.CVE)
	switch {
	case (r.CVE == "") == (r.Kind == ""):
		return r, fmt.Errorf("%w: a risk is either a vulnerability or a kind of finding", fleet.ErrInvalid)
	case strings.TrimSpace(r.Reason) == "":
		return r, fmt.Errorf("%w: a risk is accepted for a reason", fleet.ErrInvalid)
	case r.Until == 0:
		return r, fmt.Errorf("%w: a risk is accepted until a day", fleet.ErrInvalid)
	}
	row := riskRow{HostID: r.Host, CVE: r.CVE, Kind: r.Kind, Reason: r.Reason, ByWhom: r.By, At: stamp(r.At), Until: int64(r.Until)}
	err := d.change(ctx, func(tx tx) error {
		if r.Host != 0 {
			if err := mustExist(ctx, tx, r.Host); err != nil {
				return err
			}
		}
		_, err := tx.NewInsert().Model(&row).Returning("id").Exec(ctx)
		return err
	})
	r.ID = row.ID
	return r, err
}

// RemoveRisk takes an acceptance back.
func (d *DB) RemoveRisk(ctx context.Context, id int64) error {
	return d.change(ctx, func(tx tx) error {
		res, err := tx.NewDelete().Model((*riskRow)(nil)).Where("id = ?", id).Exec(ctx)
		if err != nil {
			return err
		}
		return touched(res)
	})
}

// touched gives fleet.ErrNotFound if no row was.
func touched(res interface{ RowsAffected() (int64, error) }) error {
	n, err := res.RowsAffected()
	if err == nil && n == 0 {
		err = fleet.ErrNotFound
	}
	return err
}

// Risks gives the accepted risks that concern a machine, or all.
func (d *DB) Risks(ctx context.Context, host int64) (list []fleet.Risk, err error) {
	var rows []riskRow
	s := d.read.NewSelect().Model(&rows).OrderBy("id", bun.OrderAsc)
	if host != 0 {
		s.Where("host_id IN (0, ?)", host)
	}
	err = s.Scan(ctx)
	for _, r := range rows {
		list = append(list, fleet.Risk{
			ID: r.ID, Host: r.HostID, CVE: r.CVE, Kind: r.Kind, Reason: r.Reason, By: r.ByWhom, At: timeOf(r.At),
			Until: catalog.Date(r.Until), // #nosec G115 -- stored from one
		})
	}
	return list, err
}

type conflictRow struct {
	bun.BaseModel `bun:"table:conflict"`

	ID         int64 `bun:",pk,autoincrement"`
	Kind       fleet.ConflictKind
	HostID     int64
	OtherID    int64
	SightingID int64
	Text       string
	At         int64
	Resolved   int64
	ByWhom     string
}

// Conflicts gives the open conflicts.
func (d *DB) Conflicts(ctx context.Context, host int64) (list []fleet.Conflict, err error) {
	var rows []conflictRow
	s := d.read.NewSelect().Model(&rows).Where("resolved = 0").OrderBy("id", bun.OrderDesc).Limit(fleet.MaxPage)
	if host != 0 {
		s.Where("host_id = ? OR other_id = ?", host, host)
	}
	err = s.Scan(ctx)
	for _, r := range rows {
		list = append(list, fleet.Conflict{
			ID: r.ID, Kind: r.Kind, Host: r.HostID, Other: r.OtherID, Sighting: r.SightingID, Text: r.Text, At: timeOf(r.At),
			Resolved: timeOf(r.Resolved), By: r.ByWhom,
		})
	}
	return list, err
}

// ResolveConflict closes a conflict.
func (d *DB) ResolveConflict(ctx context.Context, id int64, by string, at time.Time) error {
	return d.change(ctx, func(tx tx) error {
		res, err := tx.NewUpdate().Model((*conflictRow)(nil)).Set("resolved = ?", stamp(at)).Set("by_whom = ?", by).
			Where("id = ? AND resolved = 0", id).Exec(ctx)
		if err != nil {
			return err
		}
		return touched(res)
	})
}
