package web

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/danielgtaylor/huma/v2"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/fleet/access"
)

// EditBody is what people say about machines; what is left out stays as it is.
type EditBody struct {
	Owner       *string  `json:"owner,omitempty" maxLength:"200"`
	Site        *string  `json:"site,omitempty" maxLength:"200"`
	Entitlement *string  `json:"entitlement,omitempty" maxLength:"40"`
	Criticality *string  `json:"criticality,omitempty" enum:",low,normal,high,critical"`
	Retired     *bool    `json:"retired,omitempty"`
	AddTags     []string `json:"add_tags,omitempty" maxItems:"50"`
	RemoveTags  []string `json:"remove_tags,omitempty" maxItems:"50"`
}

// edit gives the fleet's form of it, or what is wrong.
func (b *EditBody) edit() (fleet.OwnedEdit, error) {
	e := fleet.OwnedEdit{Owner: b.Owner, Site: b.Site, Entitlement: b.Entitlement, Retired: b.Retired}
	for _, f := range []**string{&e.Owner, &e.Site, &e.Entitlement} {
		if *f != nil {
			text := strings.ReplaceAll(typed(**f), "\n", " ")
			*f = &text
		}
	}
	if b.Criticality != nil {
		e.Criticality = new(fleet.Criticality)
		if err := e.Criticality.UnmarshalText([]byte(*b.Criticality)); err != nil {
			return e, fmt.Errorf("%w: %w", fleet.ErrInvalid, err)
		}
	}
	for _, list := range []struct {
		from []string
		to   *[]string
	}{{b.AddTags, &e.AddTags}, {b.RemoveTags, &e.RemoveTags}} {
		for _, tag := range list.from {
			tag = strings.TrimSpace(typed(tag))
			if tag == "" || len(tag) > maxTag || strings.ContainsAny(tag, ",\n\r\t") {
				return e, fmt.Errorf("%w: a tag has 1 to %d characters and no comma, not %.60q", fleet.ErrInvalid, maxTag, tag)
			}
			*list.to = append(*list.to, tag)
		}
	}
	return e, nil
}

// typed is what people wrote, without what acts on a terminal or turns the direction of
// writing: control characters but line ends, and format characters.
func typed(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
			return -1
		}
		return r
	}, text)
}

// maxTag bounds a tag, maxBulk how many machines are changed at once.
const (
	maxTag  = 60
	maxBulk = 20_000
)

// RiskBody is an accepted risk.
type RiskBody struct {
	ID     int64     `json:"id,omitempty" readOnly:"true"`
	Host   int64     `json:"host" minimum:"0" doc:"0 is every machine"`
	CVE    string    `json:"cve,omitempty" maxLength:"30" doc:"what is accepted: one vulnerability,"`
	Kind   string    `json:"kind,omitempty" maxLength:"40" doc:"or a kind of finding; one of the two"`
	Reason string    `json:"reason" minLength:"1" maxLength:"2000"`
	Until  string    `json:"until" doc:"the last day on which it counts"`
	By     string    `json:"by,omitempty" readOnly:"true"`
	At     time.Time `json:"at,omitzero" readOnly:"true"`
}

func riskBody(r *fleet.Risk) RiskBody {
	return RiskBody{r.ID, r.Host, r.CVE, r.Kind, r.Reason, r.Until.String(), r.By, r.At.UTC()}
}

// decisions adds the operations by which people decide.
func (a *api) decisions() {
	store := a.s.Store
	type editIn struct {
		ID   int64 `path:"id" minimum:"1"`
		Body EditBody
	}
	add(a, "PATCH", "/hosts/{id}", access.Decide, "change what people say about a machine: owner, site, criticality, tags", func(ctx context.Context, in *editIn) (*hostOut, error) {
		if err := a.s.edit(ctx, []int64{in.ID}, &in.Body); err != nil {
			return nil, err
		}
		h, err := store.Host(ctx, in.ID)
		return &hostOut{etag(&h), hostBody(&h)}, err
	}, also(http.StatusNotFound))
	type bulkIn struct {
		Body struct {
			IDs  []int64  `json:"ids" minItems:"1" maxItems:"20000"`
			Edit EditBody `json:"edit"`
		}
	}
	type bulkOut struct {
		Body struct {
			Hosts int `json:"hosts"`
		}
	}
	add(a, "POST", "/hosts/edit", access.Decide, "change what people say about many machines, all or none", func(ctx context.Context, in *bulkIn) (*bulkOut, error) {
		out := &bulkOut{}
		out.Body.Hosts = len(in.Body.IDs)
		return out, a.s.edit(ctx, in.Body.IDs, &in.Body.Edit)
	}, also(http.StatusNotFound))

	type risksIn struct {
		Host int64 `query:"host" minimum:"0" doc:"those of a machine and of all; 0 is every one"`
	}
	type risksOut struct {
		Body struct {
			Risks []RiskBody `json:"risks"`
		}
	}
	add(a, "GET", "/risks", access.See, "accepted risks", func(ctx context.Context, in *risksIn) (*risksOut, error) {
		list, err := store.Risks(ctx, in.Host)
		out := &risksOut{}
		out.Body.Risks = make([]RiskBody, 0, len(list))
		for i := range list {
			out.Body.Risks = append(out.Body.Risks, riskBody(&list[i]))
		}
		return out, err
	})
	type riskIn struct{ Body RiskBody }
	type riskOut struct {
		Status int
		Body   RiskBody
	}
	add(a, "POST", "/risks", access.Decide, "accept a risk, for a reason and until a day; it changes no verdict", func(ctx context.Context, in *riskIn) (*riskOut, error) {
		r, err := a.s.accept(ctx, fleet.Risk{Host: in.Body.Host, CVE: in.Body.CVE, Kind: in.Body.Kind, Reason: in.Body.Reason}, in.Body.Until)
		return &riskOut{http.StatusCreated, riskBody(&r)}, err
	}, also(http.StatusNotFound), func(o *huma.Operation) { o.DefaultStatus = http.StatusCreated })
	type idIn struct {
		ID int64 `path:"id" minimum:"1"`
	}
	add(a, "DELETE", "/risks/{id}", access.Decide, "accept a risk no longer", func(ctx context.Context, in *idIn) (*struct{}, error) {
		if err := store.RemoveRisk(ctx, in.ID); err != nil {
			return nil, err
		}
		v := visitOf(ctx)
		return nil, a.s.Guard.Did(ctx, v.who, v.address, "risk-end", strconv.FormatInt(in.ID, 10), "")
	}, also(http.StatusNotFound))
	type noteBody struct {
		ID   int64     `json:"id"`
		At   time.Time `json:"at"`
		By   string    `json:"by"`
		Text string    `json:"text"`
	}
	type noteIn struct {
		ID   int64 `path:"id" minimum:"1"`
		Body struct {
			Text string `json:"text" minLength:"1" maxLength:"10000"`
		}
	}
	type noteOut struct {
		Status int
		Body   noteBody
	}
	add(a, "POST", "/hosts/{id}/notes", access.Decide, "write a note about a machine", func(ctx context.Context, in *noteIn) (*noteOut, error) {
		v := visitOf(ctx)
		n, err := store.AddNote(ctx, fleet.Note{Host: in.ID, At: a.s.Now(), By: v.who.Name, Text: typed(in.Body.Text)})
		if err != nil {
			return nil, err
		}
		return &noteOut{http.StatusCreated, noteBody{n.ID, n.At.UTC(), n.By, n.Text}}, a.s.Guard.Did(ctx, v.who, v.address, "note", strconv.FormatInt(in.ID, 10), "")
	}, also(http.StatusNotFound), func(o *huma.Operation) { o.DefaultStatus = http.StatusCreated })
	type notesOut struct {
		Body struct {
			Notes []noteBody `json:"notes"`
		}
	}
	add(a, "GET", "/hosts/{id}/notes", access.See, "what was written about a machine, the newest first", func(ctx context.Context, in *idIn) (*notesOut, error) {
		if _, err := store.Host(ctx, in.ID); err != nil {
			return nil, err
		}
		list, err := store.Notes(ctx, in.ID)
		out := &notesOut{}
		out.Body.Notes = make([]noteBody, 0, len(list))
		for _, n := range list {
			out.Body.Notes = append(out.Body.Notes, noteBody{n.ID, n.At.UTC(), n.By, n.Text})
		}
		return out, err
	}, also(http.StatusNotFound))
}

// edit changes what people say about machines, and writes down who did.
func (s *Server) edit(ctx context.Context, ids []int64, b *EditBody) error {
	if len(ids) > maxBulk {
		return fmt.Errorf("%w: at most %d machines at once", fleet.ErrInvalid, maxBulk)
	}
	e, err := b.edit()
	if err != nil {
		return err
	}
	if err := s.Store.EditHosts(ctx, ids, e); err != nil {
		return err
	}
	v := visitOf(ctx)
	object := fmt.Sprintf("%d machines", len(ids))
	if len(ids) == 1 {
		object = "machine " + strconv.FormatInt(ids[0], 10)
	}
	return s.Guard.Did(ctx, v.who, v.address, "host-edit", object, b.String())
}

// String says in a few words what changes.
func (b *EditBody) String() string {
	var out []string
	for name, v := range map[string]*string{"owner": b.Owner, "site": b.Site, "entitlement": b.Entitlement, "criticality": b.Criticality} {
		if v != nil {
			out = append(out, name+" "+strconv.Quote(*v))
		}
	}
	if b.Retired != nil {
		out = append(out, "retired "+strconv.FormatBool(*b.Retired))
	}
	for _, t := range b.AddTags {
		out = append(out, "+"+typed(t))
	}
	for _, t := range b.RemoveTags {
		out = append(out, "-"+typed(t))
	}
	return strings.Join(out, ", ")
}

// accept stores an accepted risk, and writes down who did.
func (s *Server) accept(ctx context.Context, r fleet.Risk, until string) (fleet.Risk, error) {
	d, err := catalog.ParseDate(until)
	switch {
	case err != nil:
		return r, fmt.Errorf("%w: until: %w", fleet.ErrInvalid, err)
	case d < catalog.DateOf(s.Now()):
		return r, fmt.Errorf("%w: until is a day to come", fleet.ErrInvalid)
	case (r.CVE == "") == (r.Kind == ""):
		return r, fmt.Errorf("%w: accept one vulnerability, or one kind of finding", fleet.ErrInvalid)
	}
	v := visitOf(ctx)
	r.Reason, r.Kind = typed(r.Reason), typed(r.Kind)
	r.Until, r.By, r.At = d, v.who.Name, s.Now()
	if r, err = s.Store.AddRisk(ctx, r); err != nil {
		return r, err
	}
	return r, s.Guard.Did(ctx, v.who, v.address, "risk-accept", r.CVE+r.Kind, "until "+d.String())
}
