package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/fleet/alert"
	"github.com/oldguard/oldguard/internal/notify"
)

var _ alert.Store = (*Alerts)(nil)

// Alerts keeps what people are told of, in the tables of the same database.
type Alerts struct{ db *DB }

// Alerts gives the store of package alert. It is good for as long as d is open.
func (d *DB) Alerts() *Alerts { return &Alerts{d} }

type alertRow struct {
	bun.BaseModel `bun:"table:alert"`

	ID       int64 `bun:",pk,autoincrement"`
	Rule     string
	Key      string
	Severity int
	HostID   int64
	Path     string
	Title    string
	Text     string
	Opened   int64
	Closed   int64
	AckBy    string
	AckNote  string
	AckAt    int64
	AckUntil int64
}

func (r *alertRow) alert() alert.Alert {
	return alert.Alert{
		ID: r.ID, Condition: alert.Condition{
			Rule: r.Rule, Key: r.Key, Severity: notify.Severity(r.Severity), Host: r.HostID, Path: r.Path, Title: r.Title, Text: r.Text, // #nosec G115 -- stored from one
		},
		Opened: timeOf(r.Opened), Closed: timeOf(r.Closed), Ack: alert.Ack{By: r.AckBy, Note: r.AckNote, At: timeOf(r.AckAt), Until: timeOf(r.AckUntil)},
	}
}

func alertRowOf(a *alert.Alert) alertRow {
	return alertRow{
		ID: a.ID, Rule: a.Rule, Key: a.Key, Severity: int(a.Severity), HostID: a.Host, Path: a.Path, Title: a.Title, Text: a.Text,
		Opened: stamp(a.Opened), Closed: stamp(a.Closed), AckBy: a.Ack.By, AckNote: a.Ack.Note, AckAt: stamp(a.Ack.At), AckUntil: stamp(a.Ack.Until),
	}
}

func alertsOf(rows []alertRow) (list []alert.Alert) {
	for i := range rows {
		list = append(list, rows[i].alert())
	}
	return list
}

// Open gives the open alerts, and those closed since a time.
func (a *Alerts) Open(ctx context.Context, closedSince time.Time) ([]alert.Alert, error) {
	var rows []alertRow
	err := a.db.read.NewSelect().Model(&rows).Where("closed = 0 OR closed > ?", stamp(closedSince)).OrderBy("id", bun.OrderAsc).Scan(ctx)
	return alertsOf(rows), err
}

// Alerts gives alerts, the newest first.
func (a *Alerts) Alerts(ctx context.Context, q alert.Query) ([]alert.Alert, error) {
	var rows []alertRow
	s := a.db.read.NewSelect().Model(&rows).OrderBy("id", bun.OrderDesc).Limit(limit(q.Limit))
	switch q.State {
	case alert.StateOpen:
		s.Where("closed = 0 AND ack_until <= ?", stamp(q.Now))
	case alert.StateAcknowledged:
		s.Where("closed = 0 AND ack_until > ?", stamp(q.Now))
	case alert.StateClosed:
		s.Where("closed > 0")
	}
	if q.Rule != "" {
		s.Where("rule = ?", q.Rule)
	}
	if q.Severity > notify.Note {
		s.Where("severity >= ?", int(q.Severity))
	}
	if q.Before > 0 {
		s.Where("id < ?", q.Before)
	}
	err := s.Scan(ctx)
	return alertsOf(rows), err
}

// Count gives how many are open and not acknowledged.
func (a *Alerts) Count(ctx context.Context, now time.Time) (int, error) {
	n, err := a.db.read.NewSelect().Model((*alertRow)(nil)).Where("closed = 0 AND ack_until <= ?", stamp(now)).Count(ctx)
	return int(n), err
}

// insertBatch is how many rows one statement inserts: databases bound its parameters.
const insertBatch = 500

// Apply stores what is different about the alerts. An acknowledgement that came in between
// stays.
func (a *Alerts) Apply(ctx context.Context, t alert.Turn) error {
	if len(t.Opened)+len(t.Changed)+len(t.Closed) == 0 {
		return nil
	}
	return a.db.change(ctx, func(tx tx) error {
		rows := make([]alertRow, 0, len(t.Opened))
		for i := range t.Opened {
			rows = append(rows, alertRowOf(&t.Opened[i]))
		}
		for len(rows) > 0 {
			some := rows[:min(insertBatch, len(rows))]
			rows = rows[len(some):]
			if _, err := tx.NewInsert().Model(&some).Exec(ctx); err != nil {
				return err
			}
		}
		for i := range t.Changed {
			row := alertRowOf(&t.Changed[i])
			if _, err := tx.NewUpdate().Model(&row).Column("severity", "path", "title", "text", "host_id").WherePK().Exec(ctx); err != nil {
				return err
			}
		}
		for some := range slices.Chunk(t.Closed, insertBatch) { // all at one moment: see alert.Reconcile
			ids := make([]int64, len(some))
			for i := range some {
				ids[i] = some[i].ID
			}
			if _, err := tx.NewUpdate().Model((*alertRow)(nil)).Set("closed = ?", stamp(some[0].Closed)).Where("id IN (?)", bun.List(ids)).Exec(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// Acknowledge notes that somebody knows of an open alert.
func (a *Alerts) Acknowledge(ctx context.Context, id int64, k alert.Ack) error {
	return a.db.change(ctx, func(tx tx) error {
		res, err := tx.NewUpdate().Model((*alertRow)(nil)).Set("ack_by = ?", k.By).Set("ack_note = ?", k.Note).Set("ack_at = ?", stamp(k.At)).
			Set("ack_until = ?", stamp(k.Until)).Where("id = ? AND closed = 0", id).Exec(ctx)
		if err != nil {
			return err
		}
		return touched(res)
	})
}

// maxMachines bounds the machines that are looked at for alerts.
const maxMachines = 1 << 20

// Machines gives what rules look at: a few columns of each machine, since it is asked for
// every few minutes.
func (a *Alerts) Machines(ctx context.Context) (list []alert.Machine, err error) {
	var rows []struct {
		ID          int64
		Name        string
		Release     string
		SupportEnds int32
		Site        string
		Criticality int
		Exploited   int
		LastSeen    int64
	}
	err = a.db.read.NewSelect().Table("host").Column("id", "name", "release", "support_ends", "site", "criticality", "exploited", "last_seen").
		Where("NOT retired AND merged_into = 0").OrderBy("id", bun.OrderAsc).Limit(maxMachines).Scan(ctx, &rows)
	if err != nil {
		return nil, err
	}
	var tags []struct {
		HostID int64
		Tag    string
	}
	if err = a.db.read.NewSelect().Table("host_tag").Column("host_id", "tag").OrderBy("tag", bun.OrderAsc).Scan(ctx, &tags); err != nil {
		return nil, err
	}
	of := map[int64][]string{}
	for _, t := range tags {
		of[t.HostID] = append(of[t.HostID], t.Tag)
	}
	list = make([]alert.Machine, len(rows))
	for i := range rows {
		r := &rows[i]
		list[i] = alert.Machine{
			ID: r.ID, Name: r.Name, Release: r.Release, Ends: catalog.Date(r.SupportEnds), Site: r.Site, Tags: of[r.ID],
			Criticality: fleet.Criticality(r.Criticality), Exploited: r.Exploited, Seen: timeOf(r.LastSeen), // #nosec G115 -- stored from one
		}
	}
	return list, nil
}

// Recent gives the changes that rules look at.
func (a *Alerts) Recent(ctx context.Context, since time.Time) (list []fleet.Change, err error) {
	var rows []changeRow
	newest := a.db.read.NewSelect().Model((*changeRow)(nil)).ColumnExpr("MAX(id)").Where("exploited > 0 AND NOT first AND at >= ?", stamp(since)).Group("host_id")
	err = a.db.read.NewSelect().Model(&rows).Column("id", "host_id", "at", "as_of", "cause", "exploited", "headline").Where("id IN (?)", newest).
		OrderBy("id", bun.OrderAsc).Limit(maxMachines).Scan(ctx)
	for i := range rows {
		list = append(list, rows[i].change())
	}
	return list, err
}

// Losses gives what machines lost.
func (a *Alerts) Losses(ctx context.Context, since time.Time) (list []alert.Loss, err error) {
	var rows []lossRow
	err = a.db.read.NewSelect().Model(&rows).ExcludeColumn("body").Where("at >= ?", stamp(since)).OrderBy("host_id", bun.OrderAsc).Limit(maxMachines).Scan(ctx)
	for i := range rows {
		r := &rows[i]
		list = append(list, alert.Loss{Host: r.HostID, At: timeOf(r.At), Build: buildOf(r.Build), CVEs: r.CVEs, KBs: r.KBs, Text: r.Text})
	}
	return list, err
}

// Forget removes what is old.
func (a *Alerts) Forget(ctx context.Context, before time.Time, most int) (alerts, messages int, err error) {
	err = a.db.change(ctx, func(tx tx) error {
		old := tx.NewSelect().Model((*alertRow)(nil)).Column("id").Where("closed > 0 AND closed < ?", stamp(before)).OrderBy("closed", bun.OrderAsc).Limit(int64(most))
		var ids []int64
		if failed := old.Scan(ctx, &ids); failed != nil {
			return failed
		}
		for some := range slices.Chunk(ids, insertBatch) {
			if _, failed := tx.NewDelete().Model((*toldRow)(nil)).Where("alert_id IN (?)", bun.List(some)).Exec(ctx); failed != nil {
				return failed
			}
			if _, failed := tx.NewDelete().Model((*alertRow)(nil)).Where("id IN (?)", bun.List(some)).Exec(ctx); failed != nil {
				return failed
			}
		}
		alerts = len(ids)
		oldest := tx.NewSelect().Model((*deliveryRow)(nil)).Column("id").Where("made < ? AND state NOT IN (?)", stamp(before), bun.List([]int{int(alert.Waiting), int(alert.Claimed)})).
			OrderBy("made", bun.OrderAsc).Limit(int64(most))
		res, failed := tx.NewDelete().Model((*deliveryRow)(nil)).Where("id IN (?)", oldest).Exec(ctx)
		if failed != nil {
			return failed
		}
		n, failed := res.RowsAffected()
		messages = int(n)
		return failed
	})
	return alerts, messages, err
}

type channelRow struct {
	bun.BaseModel `bun:"table:channel"`

	ID       int64 `bun:",pk,autoincrement"`
	Name     string
	Kind     string
	Settings map[string]string
}

// Channels gives the channels by id.
func (a *Alerts) Channels(ctx context.Context) (list []alert.Channel, err error) {
	var rows []channelRow
	err = a.db.read.NewSelect().Model(&rows).OrderBy("id", bun.OrderAsc).Scan(ctx)
	for _, r := range rows {
		c := alert.Channel{ID: r.ID, Name: r.Name, Kind: r.Kind, Settings: notify.Settings{}}
		for k, v := range r.Settings {
			c.Settings[k] = notify.Secret(v)
		}
		list = append(list, c)
	}
	return list, err
}

// PutChannel adds or changes a channel.
func (a *Alerts) PutChannel(ctx context.Context, c alert.Channel) (int64, error) {
	row := channelRow{ID: c.ID, Name: c.Name, Kind: c.Kind, Settings: map[string]string{}}
	for k, v := range c.Settings {
		row.Settings[k] = v.Reveal()
	}
	err := a.db.change(ctx, func(tx tx) error {
		if c.ID == 0 {
			_, err := tx.NewInsert().Model(&row).Returning("id").Exec(ctx)
			return err
		}
		res, err := tx.NewUpdate().Model(&row).WherePK().Exec(ctx)
		if err != nil {
			return err
		}
		return touched(res)
	})
	return row.ID, err
}

// RemoveChannel removes a channel with its routes.
func (a *Alerts) RemoveChannel(ctx context.Context, id int64) error {
	return a.db.change(ctx, func(tx tx) error {
		routes := tx.NewSelect().Model((*routeRow)(nil)).Column("id").Where("channel_id = ?", id)
		if _, err := tx.NewDelete().Model((*toldRow)(nil)).Where("route_id IN (?)", routes).Exec(ctx); err != nil {
			return err
		}
		if _, err := tx.NewDelete().Model((*routeRow)(nil)).Where("channel_id = ?", id).Exec(ctx); err != nil {
			return err
		}
		res, err := tx.NewDelete().Model((*channelRow)(nil)).Where("id = ?", id).Exec(ctx)
		if err != nil {
			return err
		}
		return touched(res)
	})
}

type routeRow struct {
	bun.BaseModel `bun:"table:route"`

	ID        int64 `bun:",pk,autoincrement"`
	ChannelID int64
	Body      string
}

// Routes gives the routes by id.
func (a *Alerts) Routes(ctx context.Context) (list []alert.Route, err error) {
	var rows []routeRow
	if err = a.db.read.NewSelect().Model(&rows).OrderBy("id", bun.OrderAsc).Scan(ctx); err != nil {
		return nil, err
	}
	for _, r := range rows {
		var route alert.Route
		if err := json.Unmarshal([]byte(r.Body), &route); err != nil {
			return nil, fmt.Errorf("route %d: %w", r.ID, err)
		}
		route.ID, route.Channel = r.ID, r.ChannelID
		list = append(list, route)
	}
	return list, nil
}

// PutRoute adds or changes a route.
func (a *Alerts) PutRoute(ctx context.Context, r alert.Route) (int64, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return 0, err
	}
	row := routeRow{ID: r.ID, ChannelID: r.Channel, Body: string(body)}
	err = a.db.change(ctx, func(tx tx) error {
		there, failed := tx.NewSelect().Model((*channelRow)(nil)).Where("id = ?", r.Channel).Exists(ctx)
		if failed != nil {
			return failed
		}
		if !there {
			return fleet.ErrNotFound
		}
		if r.ID == 0 {
			_, failed = tx.NewInsert().Model(&row).Returning("id").Exec(ctx)
			return failed
		}
		res, failed := tx.NewUpdate().Model(&row).WherePK().Exec(ctx)
		if failed != nil {
			return failed
		}
		return touched(res)
	})
	return row.ID, err
}

// RemoveRoute removes a route, and what it told: its number is not given again.
func (a *Alerts) RemoveRoute(ctx context.Context, id int64) error {
	return a.db.change(ctx, func(tx tx) error {
		if _, err := tx.NewDelete().Model((*toldRow)(nil)).Where("route_id = ?", id).Exec(ctx); err != nil {
			return err
		}
		res, err := tx.NewDelete().Model((*routeRow)(nil)).Where("id = ?", id).Exec(ctx)
		if err != nil {
			return err
		}
		return touched(res)
	})
}

type toldRow struct {
	bun.BaseModel `bun:"table:told"`

	RouteID  int64 `bun:",pk"`
	AlertID  int64 `bun:",pk"`
	At       int64
	Severity int
	Ended    bool
}

type deliveryRow struct {
	bun.BaseModel `bun:"table:delivery"`

	ID        int64 `bun:",pk,autoincrement"`
	ChannelID int64
	RouteID   int64
	Name      string
	Made      int64
	Message   string
	State     int
	Attempts  int
	Process   string
	Changed   int64
	Error     string
}

func (r *deliveryRow) delivery() (alert.Delivery, error) {
	d := alert.Delivery{
		ID: r.ID, Channel: r.ChannelID, Route: r.RouteID, Name: r.Name, Made: timeOf(r.Made), State: alert.DeliveryState(r.State), // #nosec G115 -- stored from one
		Attempts: r.Attempts, Process: r.Process, Changed: timeOf(r.Changed), Error: r.Error,
	}
	if err := json.Unmarshal([]byte(r.Message), &d.Message); err != nil {
		return d, fmt.Errorf("message %d: %w", r.ID, err)
	}
	return d, nil
}

// Queue stores deliveries, and has them sent.
func (a *Alerts) Queue(ctx context.Context, list []alert.Delivery, told []alert.Told) error {
	return a.db.change(ctx, func(tx tx) error {
		for i := range list {
			d := &list[i]
			var c channelRow
			if err := tx.NewSelect().Model(&c).Where("id = ?", d.Channel).Scan(ctx); err != nil {
				return one(err)
			}
			message, err := json.Marshal(d.Message)
			if err != nil {
				return err
			}
			row := deliveryRow{ChannelID: d.Channel, RouteID: d.Route, Name: c.Name, Made: stamp(d.Made), Message: string(message), State: int(d.State), Changed: stamp(d.Changed)}
			if _, err = tx.NewInsert().Model(&row).Returning("id").Exec(ctx); err != nil {
				return err
			}
			if err = tx.enqueue(ctx, alert.Send{Delivery: row.ID}); err != nil {
				return err
			}
		}
		rows := make([]toldRow, 0, len(told))
		for _, t := range told {
			rows = append(rows, toldRow{RouteID: t.Route, AlertID: t.Alert, At: stamp(t.At), Severity: int(t.Severity), Ended: t.Ended})
		}
		for len(rows) > 0 {
			some := rows[:min(insertBatch, len(rows))]
			rows = rows[len(some):]
			if _, err := tx.NewInsert().Model(&some).On("CONFLICT (route_id, alert_id) DO UPDATE").
				Set("at = EXCLUDED.at").Set("severity = EXCLUDED.severity").Set("ended = EXCLUDED.ended").Exec(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// Told gives the last messages of alerts.
func (a *Alerts) Told(ctx context.Context, closedSince time.Time) (list []alert.Told, err error) {
	var rows []toldRow
	err = a.db.read.NewSelect().Model(&rows).Where("alert_id IN (SELECT id FROM alert WHERE closed = 0 OR closed > ?)", stamp(closedSince)).
		OrderBy("route_id", bun.OrderAsc).OrderBy("alert_id", bun.OrderAsc).Scan(ctx)
	for _, r := range rows {
		list = append(list, alert.Told{Route: r.RouteID, Alert: r.AlertID, At: timeOf(r.At), Severity: notify.Severity(r.Severity), Ended: r.Ended}) // #nosec G115 -- stored from one
	}
	return list, err
}

// Claim takes a waiting delivery.
func (a *Alerts) Claim(ctx context.Context, id int64, process string, now time.Time) (d alert.Delivery, ok bool, err error) {
	err = a.db.change(ctx, func(tx tx) error {
		res, failed := tx.NewUpdate().Model((*deliveryRow)(nil)).Set("state = ?", int(alert.Claimed)).Set("process = ?", process).Set("changed = ?", stamp(now)).
			Set("attempts = attempts + 1").Where("id = ? AND state = ?", id, int(alert.Waiting)).Exec(ctx)
		if failed != nil {
			return failed
		}
		ok = touched(res) == nil
		var row deliveryRow
		if failed = tx.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx); failed != nil {
			return one(failed)
		}
		d, err = row.delivery()
		return err
	})
	return d, ok, err
}

// Settle says what became of a claimed delivery.
func (a *Alerts) Settle(ctx context.Context, id int64, s alert.DeliveryState, now time.Time, why string) error {
	return a.db.change(ctx, func(tx tx) error {
		res, err := tx.NewUpdate().Model((*deliveryRow)(nil)).Set("state = ?", int(s)).Set("changed = ?", stamp(now)).Set("error = ?", why).
			Where("id = ? AND state = ?", id, int(alert.Claimed)).Exec(ctx)
		if err != nil {
			return err
		}
		return touched(res)
	})
}

// Orphans marks what processes that are gone had claimed.
func (a *Alerts) Orphans(ctx context.Context, process string, now time.Time) (n int, err error) {
	err = a.db.change(ctx, func(tx tx) error {
		res, failed := tx.NewUpdate().Model((*deliveryRow)(nil)).Set("state = ?", int(alert.Unsure)).Set("changed = ?", stamp(now)).
			Set("error = ?", "the server ended while it was being sent").Where("state = ? AND process <> ?", int(alert.Claimed), process).Exec(ctx)
		if failed != nil {
			return failed
		}
		rows, failed := res.RowsAffected()
		n = int(rows)
		return failed
	})
	return n, err
}

// Deliveries gives the log of messages, the newest first.
func (a *Alerts) Deliveries(ctx context.Context, before int64, most int) (list []alert.Delivery, err error) {
	var rows []deliveryRow
	s := a.db.read.NewSelect().Model(&rows).OrderBy("id", bun.OrderDesc).Limit(limit(most))
	if before > 0 {
		s.Where("id < ?", before)
	}
	if err = s.Scan(ctx); err != nil {
		return nil, err
	}
	for i := range rows {
		d, err := rows[i].delivery()
		if err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	return list, nil
}
