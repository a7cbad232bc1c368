package web

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/fleet/access"
)

// apiBase is where the API is. What is below it is described at apiBase/openapi.json.
const apiBase = "/api/v1"

// api builds the API on a mux, and gives its routes.
type api struct {
	huma.API
	s      *Server
	routes []Route
}

// newAPI makes the API with all its operations.
func (s *Server) newAPI(mux *http.ServeMux) []Route {
	c := huma.DefaultConfig("oldguard", "1")
	c.Info.Description = "What is known of Windows machines that must stay after support has ended. Errors are problem details (RFC 9457). " +
		"Lists are pages: pass next as cursor for the one that follows. What is not known is null or \"unknown\", never zero."
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "", "", "" // the document is an operation like others, and no page loads scripts from elsewhere
	c.CreateHooks = nil                                   // no $schema in answers
	c.Transformers = nil
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		// #nosec G101 -- a description, not a token
		"token": {Type: "http", Scheme: "bearer", BearerFormat: "oldguard_…", Description: "A token made under Account."},
	}
	a := &api{API: humago.New(mux, c), s: s}
	a.hosts()
	a.evidence()
	a.knowledge()
	a.decisions()
	a.alerts()
	a.document()
	return a.routes
}

// add adds an operation. The summary says what it does in one line.
func add[I, O any](a *api, method, path string, needs access.Permission, summary string, do func(ctx context.Context, in *I) (*O, error), more ...func(o *huma.Operation)) {
	o := huma.Operation{
		RejectUnknownQueryParameters: true, // a misspelt filter must not give all machines
		Method:                       method, Path: apiBase + path, Summary: summary, OperationID: operationID(method, path),
		Errors: []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusUnprocessableEntity, http.StatusTooManyRequests, http.StatusInternalServerError},
	}
	if method == http.MethodPost || method == http.MethodPatch || method == http.MethodPut { // of reading the body
		o.Errors = append(o.Errors, http.StatusBadRequest, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	if needs != Open {
		o.Security = []map[string][]string{{"token": {string(needs)}}}
	}
	for _, m := range more {
		m(&o)
	}
	huma.Register(a, o, func(ctx context.Context, in *I) (*O, error) {
		out, err := do(ctx, in)
		return out, a.s.apiError(ctx, err)
	})
	a.routes = append(a.routes, Route{Method: method, Path: apiBase + path, Needs: needs, Token: true, Doc: summary})
}

// operationID names an operation for programs that are made from the document: get-hosts-id.
func operationID(method, path string) string {
	words := strings.FieldsFunc(path, func(r rune) bool { return r == '/' || r == '{' || r == '}' || r == '.' })
	return strings.ToLower(method) + "-" + strings.Join(words, "-")
}

// apiError turns an error into the status it stands for; what is the server's own is said
// to nobody but the log.
func (s *Server) apiError(ctx context.Context, err error) error {
	var status huma.StatusError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &status):
		return err
	case errors.Is(err, fleet.ErrNotFound), errors.Is(err, access.ErrNotFound):
		return huma.Error404NotFound("there is nothing of that name or number")
	case errors.Is(err, fleet.ErrInvalid):
		return huma.Error422UnprocessableEntity(err.Error())
	case errors.Is(err, fleet.ErrStale):
		return huma.Error412PreconditionFailed(err.Error())
	case errors.Is(err, fleet.ErrKeyReused):
		return huma.Error409Conflict(err.Error())
	case errors.Is(err, fleet.ErrTooLarge):
		return huma.NewError(http.StatusRequestEntityTooLarge, err.Error())
	case errors.Is(err, errSlow):
		return huma.NewError(http.StatusRequestTimeout, errSlow.Error())
	case errors.Is(err, io.ErrUnexpectedEOF):
		return huma.Error400BadRequest("the body broke off")
	case ctx.Err() != nil:
		return huma.NewError(499, "the caller hung up")
	}
	s.Log.ErrorContext(ctx, "request failed", errorAttr(err))
	return huma.Error500InternalServerError("something went wrong here; the log says what")
}

// document serves the OpenAPI document itself.
func (a *api) document() {
	type out struct {
		ContentType string `header:"Content-Type"`
		Body        []byte
	}
	written := sync.OnceValues(a.OpenAPI().MarshalJSON) // at the first request all operations are there
	add(a, "GET", "/openapi.json", Open, "this document: OpenAPI 3.1", func(context.Context, *struct{}) (*out, error) {
		b, err := written()
		return &out{"application/openapi+json", b}, err
	}, gives("application/openapi+json"))
}
