package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/winver"
)

// Candidates gives the machines that evidence may be about.
func (d *DB) Candidates(ctx context.Context, id fleet.Identity) ([]fleet.Placing, error) {
	var conditions []string
	var values []any
	for _, c := range []struct {
		column, value string
		use           bool
	}{
		{"name_key", id.Key(), true},
		{"machine_id", id.MachineID, true},
		{"product_id", id.ProductID, id.Name == ""}, // many machines share one
	} {
		if c.use && c.value != "" {
			conditions = append(conditions, c.column+" = ?")
			values = append(values, c.value)
		}
	}
	if len(values) == 0 {
		return nil, nil
	}
	var rows []hostRow
	err := d.read.NewSelect().Model(&rows).Where("("+strings.Join(conditions, " OR ")+")", values...).Where("merged_into = 0").
		OrderBy("id", bun.OrderAsc).Scan(ctx)
	if err != nil {
		return nil, err
	}
	return d.placings(ctx, rows)
}

// Unplaced gives evidence that is given to no machine.
func (d *DB) Unplaced(ctx context.Context, sighting int64) (fleet.Part, error) {
	var row sightingRow
	err := d.read.NewSelect().Model(&row).Where("id = ? AND host_id = 0", sighting).Scan(ctx)
	return fleet.Part{Sighting: row.sighting(), Body: row.Body}, one(err)
}

// Placing gives one machine.
func (d *DB) Placing(ctx context.Context, host int64) (fleet.Placing, error) {
	var rows []hostRow
	if err := d.read.NewSelect().Model(&rows).Where("id = ?", host).Scan(ctx); err != nil {
		return fleet.Placing{}, err
	}
	list, err := d.placings(ctx, rows)
	if err == nil && len(list) == 0 {
		err = fleet.ErrNotFound
	}
	if err != nil {
		return fleet.Placing{}, err
	}
	return list[0], nil
}

// Placings gives machines by id.
func (d *DB) Placings(ctx context.Context, behind int64, n int, catalog string, day catalog.Date) ([]fleet.Placing, error) {
	var rows []hostRow
	err := d.read.NewSelect().Model(&rows).Where("id > ? AND retired = FALSE AND (catalog <> ? OR as_of <> ?)", behind, catalog, int64(day)).OrderBy("id", bun.OrderAsc).Limit(limit(n)).Scan(ctx)
	if err != nil {
		return nil, err
	}
	return d.placings(ctx, rows)
}

func (d *DB) placings(ctx context.Context, rows []hostRow) ([]fleet.Placing, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	list, at := make([]fleet.Placing, len(rows)), map[int64]*fleet.Placing{}
	var ids, verdicts []int64
	for i := range rows {
		list[i].Host = rows[i].host()
		at[rows[i].ID] = &list[i]
		ids, verdicts = append(ids, rows[i].ID), append(verdicts, rows[i].VerdictsID)
	}
	var parts []sightingRow
	err := d.read.NewSelect().Model(&parts).Where("host_id IN (?) AND current", bun.List(ids)).
		OrderBy("seen", bun.OrderAsc).OrderBy("id", bun.OrderAsc).Scan(ctx)
	if err != nil {
		return nil, err
	}
	for i := range parts {
		p := at[parts[i].HostID]
		p.Parts = append(p.Parts, fleet.Part{Sighting: parts[i].sighting(), Body: parts[i].Body})
	}
	var packed []struct {
		ID   int64
		Body []byte
	}
	if err = d.read.NewSelect().Table("verdicts").Column("id", "body").Where("id IN (?)", bun.List(verdicts)).Scan(ctx, &packed); err != nil {
		return nil, err
	}
	bodies := map[int64][]byte{}
	for _, p := range packed {
		bodies[p.ID] = p.Body
	}
	for i := range rows {
		list[i].Verdicts = bodies[rows[i].VerdictsID]
	}
	var losses []lossRow
	if err = d.read.NewSelect().Model(&losses).Where("host_id IN (?)", bun.List(ids)).Scan(ctx); err != nil {
		return nil, err
	}
	for i := range losses {
		if at[losses[i].HostID].Loss, err = losses[i].loss(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Record stores what became of evidence.
func (d *DB) Record(ctx context.Context, r fleet.Result) error {
	return d.redo(ctx, func(tx tx) error {
		if r.Upload != 0 {
			if err := uploadDone(ctx, tx, &r); err != nil {
				return err
			}
		}
		for i := range r.Assessed {
			if err := assessed(ctx, tx, &r.Assessed[i], r.Now); err != nil {
				return err
			}
		}
		for i := range r.Unplaced {
			u := &r.Unplaced[i]
			id, err := addPart(ctx, tx, &u.Part, 0)
			if err != nil {
				return err
			}
			c := u.Conflict
			c.Sighting = id
			if err := addConflict(ctx, tx, &c, r.Now); err != nil {
				return err
			}
		}
		if len(r.Placed) > 0 {
			_, err := tx.NewUpdate().Model((*conflictRow)(nil)).Set("resolved = ?", stamp(r.Now)).Set("by_whom = ?", r.By).
				Where("resolved = 0 AND host_id = 0 AND sighting_id IN (?)", bun.List(r.Placed)).Exec(ctx)
			if err != nil {
				return err
			}
		}
		if len(r.Unchanged) > 0 {
			_, err := tx.NewUpdate().Table("host").Set("as_of = ?, catalog = ?, assessed = ?", int64(r.AsOf), r.Catalog, stamp(r.Now)).
				Where("id IN (?)", bun.List(r.Unchanged)).Exec(ctx)
			if err != nil {
				return err
			}
		}
		if r.Run != 0 {
			return runDone(ctx, tx, &r)
		}
		return nil
	})
}

// uploadDone ends an upload. It comes first, so that of two that store the same one waits.
func uploadDone(ctx context.Context, tx tx, r *fleet.Result) error {
	state := fleet.UploadDone
	if r.Machines == 0 {
		state = fleet.UploadFailed
	}
	res, err := tx.NewUpdate().Model((*uploadRow)(nil)).
		Set("state = ?", int(state)).Set("done = ?", stamp(r.Now)).Set("error = ?", r.Error).Set("machines = ?", r.Machines).
		Where("id = ? AND state = ?", r.Upload, int(fleet.UploadReceived)).Exec(ctx)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, fleet.ErrStale)
	}
	return nil
}

func runDone(ctx context.Context, tx tx, r *fleet.Result) error {
	u := tx.NewUpdate().Model((*runRow)(nil)).Set("last = ?", r.Last).
		Set("hosts = hosts + ?", r.Seen).Set("changed = changed + ?", len(r.Assessed)).
		Where("id = ? AND done = 0 AND last < ?", r.Run, r.Last)
	if r.Ended {
		u = tx.NewUpdate().Model((*runRow)(nil)).Set("done = ?", stamp(r.Now)).Where("id = ? AND done = 0", r.Run)
	}
	res, err := u.Exec(ctx)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, fleet.ErrStale)
	}
	if !r.Ended {
		return nil
	}
	// What no machine stands like any more. If one comes to at this moment, the database
	// refuses one of the two.
	for _, q := range []string{
		"DELETE FROM verdicts_missing WHERE NOT EXISTS (SELECT 1 FROM host h WHERE h.verdicts_id = verdicts_missing.verdicts_id)",
		"DELETE FROM verdicts WHERE NOT EXISTS (SELECT 1 FROM host h WHERE h.verdicts_id = verdicts.id)",
	} {
		if _, err := tx.NewRaw(q).Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

// assessed stores one machine.
func assessed(ctx context.Context, tx tx, a *fleet.Assessed, now time.Time) error {
	verdicts, err := addVerdicts(ctx, tx, a.Verdicts, a.Missing)
	if err != nil {
		return err
	}
	row := hostRowOf(&a.Host, verdicts)
	row.Version++
	if row.ID == 0 {
		_, err = tx.NewInsert().Model(&row).Returning("id").Exec(ctx)
	} else {
		var res sql.Result
		res, err = tx.NewUpdate().Model(&row).ExcludeColumn(append(ownedColumns, "id")...).
			Where("id = ? AND version = ?", a.Host.ID, a.Host.Version).Exec(ctx)
		if err == nil {
			var n int64
			if n, err = res.RowsAffected(); err == nil && n == 0 {
				err = fleet.ErrStale
			}
		}
	}
	if err != nil {
		return err
	}
	tx.touch(row.ID)
	if a.Back {
		if _, err = tx.NewUpdate().Table("host").Set("retired = ?", false).Where("id = ?", row.ID).Exec(ctx); err != nil {
			return err
		}
	}
	if a.Absorbs != 0 {
		if err = absorb(ctx, tx, row.ID, a, now); err != nil {
			return err
		}
	}
	if a.Loss != nil {
		if err = setLoss(ctx, tx, row.ID, a.Loss); err != nil {
			return err
		}
	}
	evidence, err := addParts(ctx, tx, a.Parts, row.ID, a.Host.ID != 0)
	if err != nil {
		return err
	}
	if a.Change != nil {
		c, err := changeRowOf(a.Change)
		if err != nil {
			return err
		}
		c.HostID = row.ID
		if _, err := tx.NewInsert().Model(&c).Exec(ctx); err != nil {
			return err
		}
	}
	for i := range a.Conflicts {
		c := a.Conflicts[i]
		if c.Host == 0 {
			c.Host = row.ID
		}
		if c.Sighting == 0 {
			c.Sighting = evidence
		}
		if err := addConflict(ctx, tx, &c, now); err != nil {
			return err
		}
	}
	return nil
}

// absorb makes one machine a part of another.
func absorb(ctx context.Context, tx tx, into int64, a *fleet.Assessed, now time.Time) error {
	from := a.Absorbs
	tx.touch(into, from)
	for _, q := range []struct {
		sql  string
		args []any
	}{
		{"UPDATE sighting SET host_id = ? WHERE host_id = ?", []any{into, from}},
		{"UPDATE host_change SET host_id = ? WHERE host_id = ?", []any{into, from}},
		{"UPDATE note SET host_id = ? WHERE host_id = ?", []any{into, from}},
		{"UPDATE risk SET host_id = ? WHERE host_id = ?", []any{into, from}},
		{"INSERT INTO host_tag (host_id, tag) SELECT ?, tag FROM host_tag WHERE host_id = ? ON CONFLICT DO NOTHING", []any{into, from}},
		{"DELETE FROM host_tag WHERE host_id = ?", []any{from}},
		{"DELETE FROM loss WHERE host_id = ?", []any{from}},
		{
			"UPDATE conflict SET resolved = ?, by_whom = ? WHERE resolved = 0 AND (host_id = ? AND other_id = ? OR host_id = ? AND other_id = ?)",
			[]any{stamp(now), a.By, into, from, from, into},
		},
		{"UPDATE conflict SET host_id = ? WHERE host_id = ?", []any{into, from}},
		{"UPDATE conflict SET other_id = ? WHERE other_id = ?", []any{into, from}},
		{"UPDATE host SET merged_into = ? WHERE merged_into = ?", []any{into, from}},
	} {
		if _, err := tx.NewRaw(q.sql, q.args...).Exec(ctx); err != nil {
			return err
		}
	}
	res, err := tx.NewRaw("UPDATE host SET merged_into = ?, retired = ?, version = version + 1 WHERE id = ? AND merged_into = 0", into, true, from).Exec(ctx)
	if err != nil {
		return err
	}
	return touched(res)
}

// addParts stores the current evidence of a machine that was known before or not, and gives the first that is new.
func addParts(ctx context.Context, tx tx, parts []fleet.Part, host int64, known bool) (first int64, err error) {
	if parts == nil {
		return 0, nil
	}
	keep := []int64{0}
	for i := range parts {
		p := &parts[i]
		id := p.ID
		if p.Renewed && id != 0 {
			if _, err = tx.NewUpdate().Model((*sightingRow)(nil)).Set("body = ?", p.Body).Where("id = ?", id).Exec(ctx); err != nil {
				return 0, err
			}
		}
		if id != 0 && p.Host == 0 { // given to none before
			res, failed := tx.NewUpdate().Model((*sightingRow)(nil)).Set("host_id = ?", host).Set("current = ?", p.Current).
				Where("id = ? AND host_id = 0", id).Exec(ctx)
			if failed != nil {
				return 0, failed
			}
			if n, failed := res.RowsAffected(); failed != nil || n == 0 {
				return 0, errors.Join(failed, fleet.ErrStale)
			}
		}
		if id == 0 {
			if id, err = addPart(ctx, tx, p, host); err != nil {
				return 0, err
			}
			if first == 0 {
				first = id
			}
		}
		if p.Current {
			keep = append(keep, id)
		}
	}
	if known {
		_, err = tx.NewUpdate().Model((*sightingRow)(nil)).Set("current = ?", false).Set("body = NULL").
			Where("host_id = ? AND (current OR body IS NOT NULL) AND id NOT IN (?)", host, bun.List(keep)).Exec(ctx)
	}
	return first, err
}

// addPart stores new evidence; fleet.ErrStale if it was stored before.
func addPart(ctx context.Context, tx tx, p *fleet.Part, host int64) (id int64, err error) {
	row := sightingRowOf(&p.Sighting, p.Body)
	row.HostID = host
	if host != 0 && !p.Current {
		row.Body = nil
	}
	_, err = tx.NewInsert().Model(&row).On("CONFLICT (upload_id, part) DO NOTHING").Returning("id").Exec(ctx)
	if errors.Is(err, sql.ErrNoRows) || err == nil && row.ID == 0 {
		return 0, fleet.ErrStale
	}
	return row.ID, err
}

// addVerdicts gives the id of verdicts, which are stored if no machine had them before.
func addVerdicts(ctx context.Context, tx tx, packed []byte, missing []winver.KB) (id int64, err error) {
	sum := sha256.Sum256(packed)
	row := struct {
		bun.BaseModel `bun:"table:verdicts"`

		ID   int64 `bun:",pk,autoincrement"`
		Hash string
		Body []byte
	}{Hash: hex.EncodeToString(sum[:]), Body: packed}
	err = tx.NewSelect().Model(&row).Column("id").Where("hash = ?", row.Hash).Scan(ctx)
	if err == nil || !errors.Is(err, sql.ErrNoRows) {
		return row.ID, err
	}
	_, err = tx.NewInsert().Model(&row).On("CONFLICT (hash) DO NOTHING").Returning("id").Exec(ctx)
	switch {
	case errors.Is(err, sql.ErrNoRows) || err == nil && row.ID == 0: // another was first
		err = tx.NewSelect().Model(&row).Column("id").Where("hash = ?", row.Hash).Scan(ctx)
		return row.ID, err
	case err != nil || len(missing) == 0:
		return row.ID, err
	}
	type missingRow struct {
		bun.BaseModel `bun:"table:verdicts_missing"`

		VerdictsID int64
		KB         int64 `bun:"kb"`
	}
	rows := make([]missingRow, len(missing))
	for i, kb := range missing {
		rows[i] = missingRow{VerdictsID: row.ID, KB: int64(kb)}
	}
	_, err = tx.NewInsert().Model(&rows).On("CONFLICT DO NOTHING").Exec(ctx)
	return row.ID, err
}

// addConflict stores a conflict, unless the same is open.
func addConflict(ctx context.Context, tx tx, c *fleet.Conflict, now time.Time) error {
	open, err := tx.NewSelect().Model((*conflictRow)(nil)).
		Where("resolved = 0 AND kind = ? AND (host_id = ? AND other_id = ? OR host_id = ? AND other_id = ?)", c.Kind, c.Host, c.Other, c.Other, c.Host).
		Where("host_id <> 0 OR sighting_id = ?", c.Sighting).Exists(ctx)
	if err != nil || open {
		return err
	}
	row := conflictRow{Kind: c.Kind, HostID: c.Host, OtherID: c.Other, SightingID: c.Sighting, Text: c.Text, At: stamp(now)}
	_, err = tx.NewInsert().Model(&row).Exec(ctx)
	return err
}

// UseCatalog notes that a catalogue is in use.
func (d *DB) UseCatalog(ctx context.Context, c fleet.CatalogInfo) error {
	sources, err := json.Marshal(c.Sources)
	if err != nil {
		return fmt.Errorf("sources of the catalogue: %w", err)
	}
	row := catalogRow{Digest: c.Digest, Sources: string(sources), At: stamp(c.At)}
	return d.redo(ctx, func(tx tx) error {
		_, err := tx.NewInsert().Model(&row).On("CONFLICT (digest) DO UPDATE").Set("at = EXCLUDED.at").Exec(ctx)
		return err
	})
}

// BeginRun begins a pass over all machines.
func (d *DB) BeginRun(ctx context.Context, r fleet.Run) (begun bool, err error) {
	row := runRow{Cause: r.Cause, Catalog: r.Catalog, AsOf: int64(r.AsOf), Begun: stamp(r.Begun)}
	err = d.change(ctx, func(tx tx) error {
		there, failed := tx.NewSelect().Model((*runRow)(nil)).Where("catalog = ? AND as_of = ?", r.Catalog, row.AsOf).Exists(ctx)
		if failed != nil || there {
			return failed
		}
		if _, failed = tx.NewUpdate().Model((*runRow)(nil)).Set("done = ?", row.Begun).Where("done = 0").Exec(ctx); failed != nil {
			return failed
		}
		if _, failed = tx.NewInsert().Model(&row).Returning("id").Exec(ctx); failed != nil {
			return failed
		}
		begun = true
		return tx.enqueue(ctx, fleet.Reassess{Run: row.ID})
	})
	return begun, err
}

// NoteDay notes how the fleet stands on a day.
func (d *DB) NoteDay(ctx context.Context, day catalog.Date, unseen time.Time) error {
	return d.redo(ctx, func(tx tx) error {
		if _, err := tx.NewDelete().Model((*dayRow)(nil)).Where("day = ?", int64(day)).Exec(ctx); err != nil {
			return err
		}
		_, err := tx.NewRaw(`INSERT INTO day (day, release, hosts, clear, undecided, bad, exploited, ransomware, over, affected, missing, unseen)
			SELECT ?, release, COUNT(*),
				SUM(CASE WHEN level = ? THEN 1 ELSE 0 END), SUM(CASE WHEN level = ? THEN 1 ELSE 0 END), SUM(CASE WHEN level = ? THEN 1 ELSE 0 END),
				SUM(CASE WHEN exploited > 0 THEN 1 ELSE 0 END), SUM(CASE WHEN ransomware > 0 THEN 1 ELSE 0 END),
				SUM(CASE WHEN support = ? THEN 1 ELSE 0 END), SUM(affected + unfixable), SUM(missing),
				SUM(CASE WHEN last_seen < ? THEN 1 ELSE 0 END)
			FROM host WHERE NOT retired GROUP BY release`,
			int64(day), int(assess.Clear), int(assess.Undecided), int(assess.Bad), assess.Over, stamp(unseen)).Exec(ctx)
		return err
	})
}
