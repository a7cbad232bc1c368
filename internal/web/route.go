package web

import (
	"net/http"

	"github.com/oldguard/oldguard/internal/fleet/access"
)

// Open is the permission of routes that everybody may use, logged in or not.
const Open access.Permission = ""

// Route is one way into the server.
type Route struct {
	Method, Path string // as http.ServeMux has them: "GET", "/hosts/{id}"
	// Needs is what it takes; Open is nothing.
	Needs access.Permission
	// Token tells that programs may use it with a token. Others are for browsers: their
	// changes need the session's CSRF token.
	Token bool
	// Doc says what it is, in one line.
	Doc    string
	Handle http.HandlerFunc
}

// Pattern is what http.ServeMux takes.
func (r Route) Pattern() string { return r.Method + " " + r.Path }
