package store

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/uptrace/bun"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/fleet"
)

type changeRow struct {
	bun.BaseModel `bun:"table:host_change"`

	ID            int64 `bun:",pk,autoincrement"`
	HostID        int64
	At            int64
	AsOf          int64
	Cause         fleet.Cause
	UploadID      int64
	First         bool
	New           int
	Closed        int
	Exploited     int
	BuildBefore   string
	BuildNow      string
	ReleaseBefore string
	ReleaseNow    string
	LevelBefore   int
	LevelNow      int
	SupportBefore string
	SupportNow    string
	Headline      string
	Body          []byte
}

// packer packs the documents of changes, several at a time.
var packer = sync.OnceValues(func() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1<<20))
})

func changeRowOf(c *fleet.Change) (changeRow, error) {
	r := changeRow{
		HostID: c.Host, At: stamp(c.At), AsOf: int64(c.AsOf), Cause: c.Cause, UploadID: c.Upload, First: c.First,
		New: c.New, Closed: c.Closed, Exploited: c.Exploited, BuildBefore: c.Build[0], BuildNow: c.Build[1],
		ReleaseBefore: c.Release[0], ReleaseNow: c.Release[1], LevelBefore: int(c.Level[0]), LevelNow: int(c.Level[1]), SupportBefore: string(c.Support[0]), SupportNow: string(c.Support[1]), Headline: c.Headline,
	}
	if c.Document != nil {
		w, err := packer()
		if err != nil {
			return r, err
		}
		r.Body = w.EncodeAll(c.Document, nil)
	}
	return r, nil
}

func (r *changeRow) change() fleet.Change {
	return fleet.Change{
		ID: r.ID, Host: r.HostID, At: timeOf(r.At), AsOf: catalog.Date(r.AsOf), Cause: r.Cause, Upload: r.UploadID, First: r.First, // #nosec G115 -- stored from one
		New: r.New, Closed: r.Closed, Exploited: r.Exploited, Build: [2]string{r.BuildBefore, r.BuildNow},
		Release:  [2]string{r.ReleaseBefore, r.ReleaseNow},
		Level:    [2]assess.Level{assess.Level(r.LevelBefore), assess.Level(r.LevelNow)}, // #nosec G115 -- stored from one
		Support:  [2]assess.SupportState{assess.SupportState(r.SupportBefore), assess.SupportState(r.SupportNow)},
		Headline: r.Headline,
	}
}

// Changes gives changes, the newest first, without their documents.
func (d *DB) Changes(ctx context.Context, q fleet.ChangeQuery) (list []fleet.Change, err error) {
	var rows []changeRow
	s := d.read.NewSelect().Model(&rows).ExcludeColumn("body").OrderBy("id", bun.OrderDesc).Limit(limit(q.Limit))
	if q.Host != 0 {
		s.Where("host_id = ?", q.Host)
	}
	if !q.Since.IsZero() {
		s.Where("at >= ?", stamp(q.Since))
	}
	if !q.Until.IsZero() {
		s.Where("at < ?", stamp(q.Until))
	}
	if q.Exploited {
		s.Where("exploited > 0")
	}
	if q.After != 0 {
		s.Where("id < ?", q.After)
	}
	err = s.Scan(ctx)
	for i := range rows {
		list = append(list, rows[i].change())
	}
	return list, err
}

// maxChange bounds a change's document; the largest have some hundred kilobytes.
const maxChange = 64 << 20

// Change gives a change with its document.
func (d *DB) Change(ctx context.Context, id int64) (c fleet.Change, err error) {
	var row changeRow
	if err = d.read.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx); err != nil {
		return c, one(err)
	}
	c = row.change()
	if row.Body == nil {
		return c, nil
	}
	r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxChange))
	if err != nil {
		return c, err
	}
	defer r.Close()
	c.Document, err = r.DecodeAll(row.Body, nil)
	return c, err
}

type dayRow struct {
	bun.BaseModel `bun:"table:day"`

	Day        int64 `bun:",pk"`
	Release    string
	Hosts      int
	Clear      int
	Undecided  int
	Bad        int
	Exploited  int
	Ransomware int
	Over       int
	Affected   int
	Missing    int
	Unseen     int
}

// Days gives how the fleet stood, by day and release.
func (d *DB) Days(ctx context.Context, from, until catalog.Date) (list []fleet.Day, err error) {
	var rows []dayRow
	err = d.read.NewSelect().Model(&rows).Where("day BETWEEN ? AND ?", int64(from), int64(until)).
		OrderBy("day", bun.OrderAsc).OrderBy("release", bun.OrderAsc).Scan(ctx)
	for _, r := range rows {
		list = append(list, fleet.Day{
			Day: catalog.Date(r.Day), Release: r.Release, Hosts: r.Hosts, Clear: r.Clear, Undecided: r.Undecided, Bad: r.Bad, // #nosec G115 -- stored from one
			Exploited: r.Exploited, Ransomware: r.Ransomware, Over: r.Over, Affected: r.Affected, Missing: r.Missing, Unseen: r.Unseen,
		})
	}
	return list, err
}

type catalogRow struct {
	bun.BaseModel `bun:"table:catalog"`

	Digest  string `bun:",pk"`
	Sources string
	At      int64
}

// Catalogs gives the catalogues that were used, the newest first.
func (d *DB) Catalogs(ctx context.Context) (list []fleet.CatalogInfo, err error) {
	var rows []catalogRow
	if err := d.read.NewSelect().Model(&rows).OrderBy("at", bun.OrderDesc).Scan(ctx); err != nil {
		return nil, err
	}
	for _, r := range rows {
		c := fleet.CatalogInfo{Digest: r.Digest, At: timeOf(r.At)}
		if err := json.Unmarshal([]byte(r.Sources), &c.Sources); err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

type runRow struct {
	bun.BaseModel `bun:"table:run"`

	ID      int64 `bun:",pk,autoincrement"`
	Cause   fleet.Cause
	Catalog string
	AsOf    int64
	Begun   int64
	Done    int64
	Last    int64
	Hosts   int
	Changed int
}

func (r *runRow) run() fleet.Run {
	return fleet.Run{
		ID: r.ID, Cause: r.Cause, Catalog: r.Catalog, AsOf: catalog.Date(r.AsOf), Begun: timeOf(r.Begun), Done: timeOf(r.Done), // #nosec G115 -- stored from one
		Last: r.Last, Hosts: r.Hosts, Changed: r.Changed,
	}
}

// Runs gives the passes over all machines, the newest first.
func (d *DB) Runs(ctx context.Context, n int) (list []fleet.Run, err error) {
	var rows []runRow
	err = d.read.NewSelect().Model(&rows).OrderBy("id", bun.OrderDesc).Limit(limit(n)).Scan(ctx)
	for i := range rows {
		list = append(list, rows[i].run())
	}
	return list, err
}

// Run gives one pass over all machines.
func (d *DB) Run(ctx context.Context, id int64) (fleet.Run, error) {
	var row runRow
	err := d.read.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx)
	return row.run(), one(err)
}
