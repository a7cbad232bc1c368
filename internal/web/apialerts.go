package web

import (
	"context"
	"net/http"
	"time"

	"github.com/oldguard/oldguard/internal/fleet/access"
	"github.com/oldguard/oldguard/internal/fleet/alert"
)

// AlertBody is an alert as the API gives it.
type AlertBody struct {
	ID       int64      `json:"id"`
	Rule     string     `json:"rule"`
	Severity string     `json:"severity" enum:"note,warning,critical"`
	Host     *int64     `json:"host" doc:"the machine; null for none in particular"`
	Title    string     `json:"title"`
	Text     string     `json:"text"`
	Path     string     `json:"path" doc:"the page that shows it"`
	Opened   time.Time  `json:"opened"`
	Closed   *time.Time `json:"closed"`
	KnownBy  *string    `json:"acknowledged_by"`
	KnownTo  *time.Time `json:"acknowledged_until"`
	Note     *string    `json:"note"`
}

func alertBody(a *alert.Alert) AlertBody {
	b := AlertBody{ID: a.ID, Rule: a.Rule, Severity: a.Severity.String(), Title: a.Title, Text: a.Text, Path: a.Path, Opened: a.Opened.UTC()}
	if a.Host != 0 {
		b.Host = &a.Host
	}
	if !a.Closed.IsZero() {
		b.Closed = &a.Closed
	}
	if a.Ack.By != "" {
		b.KnownBy, b.KnownTo, b.Note = &a.Ack.By, &a.Ack.Until, &a.Ack.Note
	}
	return b
}

// alerts adds the operations on alerts; none where the server has none.
func (a *api) alerts() {
	if a.s.Alerts == nil {
		return
	}
	type alertsIn struct {
		State  string `query:"state" enum:"open,acknowledged,closed" default:"open"`
		Cursor int64  `query:"cursor" minimum:"0" doc:"next of the page before"`
		Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
	}
	type alertsOut struct {
		Body struct {
			Alerts []AlertBody `json:"alerts"`
			Next   *int64      `json:"next" doc:"cursor of the next page; null on the last"`
		}
	}
	add(a, "GET", "/alerts", access.See, "alerts, the newest first", func(ctx context.Context, in *alertsIn) (*alertsOut, error) {
		list, err := a.s.Alerts.Store.Alerts(ctx, alert.Query{State: alert.Standing(in.State), Now: a.s.Now(), Before: in.Cursor, Limit: in.Limit})
		out := &alertsOut{}
		out.Body.Alerts = make([]AlertBody, 0, len(list))
		for i := range list {
			out.Body.Alerts = append(out.Body.Alerts, alertBody(&list[i]))
		}
		if len(list) == in.Limit {
			out.Body.Next = &list[len(list)-1].ID
		}
		return out, err
	})
	type acknowledgeIn struct {
		ID   int64 `path:"id" minimum:"1"`
		Body struct {
			Days int    `json:"days" minimum:"1" maximum:"366" doc:"for how long it is not repeated"`
			Note string `json:"note,omitempty" maxLength:"1000"`
		}
	}
	add(a, "POST", "/alerts/{id}/acknowledge", access.Decide, "say that somebody knows of an open alert, so that it is not repeated", func(ctx context.Context, in *acknowledgeIn) (*struct{}, error) {
		return nil, a.s.acknowledge(ctx, in.ID, in.Body.Days, in.Body.Note)
	}, also(http.StatusNotFound))
}
