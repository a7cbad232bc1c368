package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/oldguard/oldguard/internal/fleet"
)

// stamp is a time as it is stored: microseconds since 1970, 0 for the zero time.
func stamp(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func timeOf(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

func limit(n int) int64 {
	if n <= 0 || n > fleet.MaxPage {
		return fleet.MaxPage
	}
	return int64(n)
}

type uploadRow struct {
	bun.BaseModel `bun:"table:upload"`

	ID       int64 `bun:",pk,autoincrement"`
	Key      string
	Hash     string
	Name     string
	Size     int64
	Via      fleet.Via
	ByWhom   string
	HostID   int64
	Received int64
	State    int
	Done     int64
	Error    string
	Machines int
}

func (r *uploadRow) upload() fleet.Upload {
	return fleet.Upload{
		ID: r.ID, Key: r.Key, Hash: r.Hash, Name: r.Name, Size: r.Size, Via: r.Via, By: r.ByWhom, Host: r.HostID,
		Received: timeOf(r.Received), State: fleet.UploadState(r.State), Done: timeOf(r.Done), Error: r.Error, Machines: r.Machines, // #nosec G115 -- stored from one
	}
}

// AddUpload stores an upload and a job that reads it.
func (d *DB) AddUpload(ctx context.Context, u fleet.Upload) (stored fleet.Upload, added bool, err error) {
	row := uploadRow{
		Key: u.Key, Hash: u.Hash, Name: u.Name, Size: u.Size, Via: u.Via, ByWhom: u.By, HostID: u.Host, Received: stamp(u.Received),
	}
	err = d.change(ctx, func(tx tx) error {
		_, failed := tx.NewInsert().Model(&row).On("CONFLICT (key) DO NOTHING").Returning("id").Exec(ctx)
		switch {
		case failed == nil && row.ID != 0:
			added = true
			return tx.enqueue(ctx, fleet.ReadUpload{Upload: row.ID})
		case failed != nil && !errors.Is(failed, sql.ErrNoRows):
			return failed
		}
		if failed = tx.NewSelect().Model(&row).Where("key = ?", u.Key).Scan(ctx); failed != nil {
			return failed
		}
		if row.Hash != u.Hash {
			return fleet.ErrKeyReused
		}
		return nil
	})
	if err != nil {
		return fleet.Upload{}, false, err
	}
	return row.upload(), added, nil
}

// Upload gives one upload.
func (d *DB) Upload(ctx context.Context, id int64) (fleet.Upload, error) {
	var row uploadRow
	err := d.read.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx)
	return row.upload(), one(err)
}

// Uploads gives uploads, the newest first.
func (d *DB) Uploads(ctx context.Context, q fleet.UploadQuery) (list []fleet.Upload, err error) {
	var rows []uploadRow
	s := d.read.NewSelect().Model(&rows).OrderBy("id", bun.OrderDesc).Limit(limit(q.Limit))
	if q.State != nil {
		s.Where("state = ?", int(*q.State))
	}
	if q.Host != 0 {
		s.Where("id IN (SELECT upload_id FROM sighting WHERE host_id = ?)", q.Host)
	}
	if q.After != 0 {
		s.Where("id < ?", q.After)
	}
	err = s.Scan(ctx)
	for i := range rows {
		list = append(list, rows[i].upload())
	}
	return list, err
}

// RetryUpload asks for an upload that failed to be read again.
func (d *DB) RetryUpload(ctx context.Context, id int64) error {
	return d.change(ctx, func(tx tx) error {
		res, err := tx.NewUpdate().Model((*uploadRow)(nil)).Set("state = ?", int(fleet.UploadReceived)).Set("error = ''").Set("done = 0").
			Where("id = ? AND state = ?", id, int(fleet.UploadFailed)).Exec(ctx)
		if err == nil {
			err = touched(res)
		}
		if err != nil {
			return err
		}
		return tx.enqueue(ctx, fleet.ReadUpload{Upload: id})
	})
}

type sightingRow struct {
	bun.BaseModel `bun:"table:sighting"`

	ID        int64 `bun:",pk,autoincrement"`
	UploadID  int64
	Part      int
	HostID    int64
	Name      string
	Domain    string
	ProductID string
	MachineID string
	Seen      int64
	Stated    bool
	Readers   string
	Base      bool
	Current   bool
	Gaps      int
	Body      []byte
}

// sightingColumns are all but the body, which is large.
var sightingColumns = []string{
	"id", "upload_id", "part", "host_id", "name", "domain", "product_id", "machine_id", "seen", "stated", "readers", "base", "current", "gaps",
}

func (r *sightingRow) sighting() fleet.Sighting {
	return fleet.Sighting{
		ID: r.ID, Upload: r.UploadID, Part: r.Part, Host: r.HostID,
		Identity: fleet.Identity{Name: r.Name, Domain: r.Domain, ProductID: r.ProductID, MachineID: r.MachineID},
		Seen:     timeOf(r.Seen), Stated: r.Stated, Readers: strings.Fields(r.Readers), Base: r.Base, Current: r.Current, Gaps: r.Gaps,
	}
}

func sightingRowOf(s *fleet.Sighting, body []byte) sightingRow {
	return sightingRow{
		ID: s.ID, UploadID: s.Upload, Part: s.Part, HostID: s.Host,
		Name: s.Name, Domain: s.Domain, ProductID: s.ProductID, MachineID: s.MachineID,
		Seen: stamp(s.Seen), Stated: s.Stated, Readers: strings.Join(s.Readers, " "), Base: s.Base, Current: s.Current, Gaps: s.Gaps,
		Body: body,
	}
}

func sightings(rows []sightingRow) (list []fleet.Sighting) {
	for i := range rows {
		list = append(list, rows[i].sighting())
	}
	return list
}

// Sightings gives what an upload says of machines, by part.
func (d *DB) Sightings(ctx context.Context, upload int64) ([]fleet.Sighting, error) {
	var rows []sightingRow
	err := d.read.NewSelect().Model(&rows).Column(sightingColumns...).Where("upload_id = ?", upload).OrderBy("part", bun.OrderAsc).Scan(ctx)
	return sightings(rows), err
}

// HostSightings gives the evidence of a machine, the newest first.
func (d *DB) HostSightings(ctx context.Context, id int64) ([]fleet.Sighting, error) {
	var rows []sightingRow
	err := d.read.NewSelect().Model(&rows).Column(sightingColumns...).Where("host_id = ?", id).
		OrderBy("seen", bun.OrderDesc).OrderBy("id", bun.OrderDesc).Limit(fleet.MaxPage).Scan(ctx)
	return sightings(rows), err
}
