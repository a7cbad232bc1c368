package web

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/fleet/access"
	"github.com/oldguard/oldguard/internal/fleet/alert"
	"github.com/oldguard/oldguard/internal/notify"
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
		State    string `query:"state" enum:"open,acknowledged,closed" default:"open"`
		Rule     string `query:"rule" maxLength:"40" doc:"of this rule"`
		Severity string `query:"severity" enum:"note,warning,critical" default:"note" doc:"at least"`
		Cursor   int64  `query:"cursor" minimum:"0" doc:"next of the page before"`
		Limit    int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
	}
	type alertsOut struct {
		Body struct {
			Alerts []AlertBody `json:"alerts"`
			Next   *int64      `json:"next" doc:"cursor of the next page; null on the last"`
		}
	}
	add(a, "GET", "/alerts", access.See, "alerts, the newest first", func(ctx context.Context, in *alertsIn) (*alertsOut, error) {
		severity, err := notify.ParseSeverity(in.Severity)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", fleet.ErrInvalid, err)
		}
		list, err := a.s.Alerts.Store.Alerts(ctx, alert.Query{State: alert.Standing(in.State), Rule: in.Rule, Severity: severity, Now: a.s.Now(), Before: in.Cursor, Limit: in.Limit})
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
		return nil, a.s.acknowledge(ctx, []int64{in.ID}, in.Body.Days, in.Body.Note)
	}, also(http.StatusNotFound))
	a.messageRoutes()
}

// RouteBody is a route as the API gives and takes it. What is left out matches all.
type RouteBody struct {
	ID          int64    `json:"id,omitempty" readOnly:"true"`
	Channel     int64    `json:"channel" minimum:"1" doc:"where it leads; see the channels"`
	Severity    string   `json:"severity,omitempty" enum:"note,warning,critical" default:"note" doc:"at least"`
	Rules       []string `json:"rules,omitempty" maxItems:"100" doc:"of these rules"`
	Tags        []string `json:"tags,omitempty" maxItems:"100" doc:"of machines with one of these tags"`
	Sites       []string `json:"sites,omitempty" maxItems:"100" doc:"of machines at one of these sites"`
	Criticality string   `json:"criticality,omitempty" enum:",low,normal,high,critical" doc:"of machines, at least"`
	Group       string   `json:"group,omitempty" enum:"all,rule,site" default:"all" doc:"what goes into one message"`
	Wait        int      `json:"wait_minutes,omitempty" minimum:"0" maximum:"10080" doc:"for others"`
	Repeat      int      `json:"repeat_days,omitempty" minimum:"0" maximum:"366" doc:"after which an open alert is told again; 0 is never"`
	Ended       bool     `json:"ended,omitempty" doc:"tell also when it is over"`
}

func routeBody(r *alert.Route) RouteBody {
	return RouteBody{
		ID: r.ID, Channel: r.Channel, Severity: r.Severity.String(), Rules: r.Rules, Tags: r.Tags, Sites: r.Sites, Criticality: r.Criticality.String(),
		Group: string(cmp.Or(r.Group, alert.Together)), Wait: int(r.Wait.Minutes()), Repeat: int(r.Repeat.Hours() / 24), Ended: r.Ended,
	}
}

// route gives the form of package alert, or what is wrong.
func (b *RouteBody) route(id int64) (r alert.Route, err error) {
	r = alert.Route{
		ID: id, Channel: b.Channel, Rules: b.Rules, Tags: b.Tags, Sites: b.Sites, Group: alert.Group(b.Group),
		Wait: time.Duration(b.Wait) * time.Minute, Repeat: time.Duration(b.Repeat) * 24 * time.Hour, Ended: b.Ended,
	}
	if r.Severity, err = notify.ParseSeverity(b.Severity); err == nil {
		err = r.Criticality.UnmarshalText([]byte(b.Criticality))
	}
	if err != nil {
		return r, fmt.Errorf("%w: %w", fleet.ErrInvalid, err)
	}
	return r, nil
}

// messageRoutes adds the operations on routes. Channels hold secrets: programs see which
// there are, and people set them up.
func (a *api) messageRoutes() {
	type channelBody struct {
		ID   int64  `json:"id"`
		Name string `json:"name"`
		Kind string `json:"kind"`
	}
	type channelsOut struct {
		Body struct {
			Channels []channelBody `json:"channels"`
		}
	}
	add(a, "GET", "/channels", access.Manage, "the channels that messages go to, without their settings", func(ctx context.Context, _ *struct{}) (*channelsOut, error) {
		list, err := a.s.Alerts.Store.Channels(ctx)
		out := &channelsOut{}
		out.Body.Channels = make([]channelBody, 0, len(list))
		for _, c := range list {
			out.Body.Channels = append(out.Body.Channels, channelBody{c.ID, c.Name, c.Kind})
		}
		return out, err
	})
	type routesOut struct {
		Body struct {
			Routes []RouteBody `json:"routes"`
		}
	}
	add(a, "GET", "/routes", access.Manage, "which alerts go to which channel, and when", func(ctx context.Context, _ *struct{}) (*routesOut, error) {
		list, err := a.s.Alerts.Store.Routes(ctx)
		out := &routesOut{}
		out.Body.Routes = make([]RouteBody, 0, len(list))
		for i := range list {
			out.Body.Routes = append(out.Body.Routes, routeBody(&list[i]))
		}
		return out, err
	})
	type routeOut struct {
		Status int
		Body   RouteBody
	}
	put := func(ctx context.Context, id int64, b *RouteBody, status int) (*routeOut, error) {
		r, err := b.route(id)
		if err != nil {
			return nil, err
		}
		r.ID, err = a.s.putRoute(ctx, r)
		return &routeOut{status, routeBody(&r)}, err
	}
	type addIn struct{ Body RouteBody }
	add(a, "POST", "/routes", access.Manage, "add a route", func(ctx context.Context, in *addIn) (*routeOut, error) {
		return put(ctx, 0, &in.Body, http.StatusCreated)
	}, also(http.StatusNotFound), func(o *huma.Operation) { o.DefaultStatus = http.StatusCreated })
	type putIn struct {
		ID   int64 `path:"id" minimum:"1"`
		Body RouteBody
	}
	add(a, "PUT", "/routes/{id}", access.Manage, "put another route in place of one; what was told stays told", func(ctx context.Context, in *putIn) (*routeOut, error) {
		return put(ctx, in.ID, &in.Body, http.StatusOK)
	}, also(http.StatusNotFound))
	type idIn struct {
		ID int64 `path:"id" minimum:"1"`
	}
	add(a, "DELETE", "/routes/{id}", access.Manage, "remove a route", func(ctx context.Context, in *idIn) (*struct{}, error) {
		if err := a.s.Alerts.Store.RemoveRoute(ctx, in.ID); err != nil {
			return nil, err
		}
		v := visitOf(ctx)
		return nil, a.s.Guard.Did(ctx, v.who, v.address, "route-remove", "route "+strconv.FormatInt(in.ID, 10), "")
	}, also(http.StatusNotFound))
}
