package web

import (
	"context"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/fleet/access"
)

// UploadBody is an upload as programs see it.
type UploadBody struct {
	ID       int64      `json:"id"`
	Name     string     `json:"name"`
	Size     int64      `json:"size"`
	SHA256   string     `json:"sha256"`
	Via      string     `json:"via"`
	By       string     `json:"by"`
	Received time.Time  `json:"received"`
	State    string     `json:"state" enum:"received,done,failed"`
	Done     *time.Time `json:"done"`
	Error    *string    `json:"error"`
	Machines int        `json:"machines"`
	Hosts    []int64    `json:"hosts" doc:"the machines it was given to, once it is done"`
	Status   string     `json:"status" doc:"where to ask how far it is"`
}

func uploadBody(u *fleet.Upload, seen []fleet.Sighting) UploadBody {
	b := UploadBody{
		ID: u.ID, Name: u.Name, Size: u.Size, SHA256: u.Hash, Via: string(u.Via), By: u.By, Received: u.Received.UTC(), State: u.State.String(),
		Done: knownTime(u.Done), Error: known(u.Error), Machines: u.Machines, Hosts: []int64{}, Status: apiBase + "/evidence/" + strconv.FormatInt(u.ID, 10),
	}
	for _, s := range seen {
		if s.Host != 0 {
			b.Hosts = append(b.Hosts, s.Host)
		}
	}
	return b
}

// evidenceIn is evidence on its way in: its body is not read before the handler does.
type evidenceIn struct {
	Name string `query:"name" maxLength:"255" doc:"what the file is called"`
	Key  string `header:"Idempotency-Key" maxLength:"200" doc:"makes sending again harmless; without one the content is the key"`
	Host int64  `query:"host" minimum:"0" doc:"the machine that all of it is about; without it the evidence tells"`

	body io.Reader
}

// Resolve takes the body as it comes.
func (in *evidenceIn) Resolve(ctx huma.Context) []error {
	in.body = ctx.BodyReader()
	return nil
}

type uploadOut struct {
	Status   int
	Location string `header:"Location"`
	Body     UploadBody
}

// evidence adds the operations about evidence.
func (a *api) evidence() {
	add(a, "POST", "/evidence", access.Send, "bring evidence: one file as it is, or a ZIP archive of several", func(ctx context.Context, in *evidenceIn) (*uploadOut, error) {
		v := visitOf(ctx)
		u, added, err := a.s.Fleet.Receive(ctx, in.body, fleet.Meta{Name: in.Name, Key: in.Key, By: v.who.Name, Via: fleet.ViaAPI, Host: in.Host})
		if err != nil {
			return nil, err
		}
		out := &uploadOut{Status: http.StatusAccepted, Body: uploadBody(&u, nil)}
		out.Location = out.Body.Status
		if !added {
			out.Status = http.StatusOK
			return out, nil
		}
		return out, a.s.Guard.Did(ctx, v.who, v.address, "evidence", u.Name, "upload "+strconv.FormatInt(u.ID, 10))
	}, also(http.StatusConflict, http.StatusRequestEntityTooLarge), func(o *huma.Operation) {
		o.DefaultStatus = http.StatusAccepted
		body := map[string]*huma.MediaType{"application/json": {Schema: a.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[UploadBody](), true, "")}}
		o.Responses = map[string]*huma.Response{"200": {Description: "it came before", Content: body}}
		o.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
			"application/zip":          {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
		}}
		o.BodyReadTimeout = -1 // as long as the server lets it
	})
	type oneIn struct {
		ID int64 `path:"id" minimum:"1"`
	}
	add(a, "GET", "/evidence/{id}", access.See, "how far an upload is, and which machines were in it", func(ctx context.Context, in *oneIn) (*uploadOut, error) {
		u, err := a.s.Store.Upload(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		seen, err := a.s.Store.Sightings(ctx, in.ID)
		return &uploadOut{Status: http.StatusOK, Body: uploadBody(&u, seen)}, err
	}, also(http.StatusNotFound))
	type listIn struct {
		State  string `query:"state" enum:"received,done,failed"`
		Host   int64  `query:"host" minimum:"0"`
		Cursor int64  `query:"cursor" minimum:"0"`
		Limit  int    `query:"limit" minimum:"0" maximum:"500"`
	}
	type listOut struct {
		Body struct {
			Uploads []UploadBody `json:"uploads"`
			Next    *int64       `json:"next"`
		}
	}
	add(a, "GET", "/evidence", access.See, "uploads, the newest first", func(ctx context.Context, in *listIn) (*listOut, error) {
		q := fleet.UploadQuery{Host: in.Host, After: in.Cursor, Limit: in.Limit}
		if in.State != "" {
			q.State = new(fleet.UploadState)
			if err := q.State.UnmarshalText([]byte(in.State)); err != nil {
				return nil, huma.Error422UnprocessableEntity(err.Error())
			}
		}
		list, err := a.s.Store.Uploads(ctx, q)
		if err != nil {
			return nil, err
		}
		out := &listOut{}
		out.Body.Uploads = make([]UploadBody, 0, len(list))
		for i := range list {
			out.Body.Uploads = append(out.Body.Uploads, uploadBody(&list[i], nil))
		}
		if n := len(list); n > 0 && n == limitOf(in.Limit) {
			out.Body.Next = &list[n-1].ID
		}
		return out, nil
	})
}
