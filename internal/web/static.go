package web

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"path"
	"strings"
	"sync"
)

//go:embed static/*.css static/*.js static/*.svg
var static embed.FS

// versions are the digests of what pages load, so that browsers keep it for as long as it
// is the same.
var versions = sync.OnceValue(func() map[string]string {
	out := map[string]string{}
	entries, err := static.ReadDir("static")
	if err != nil {
		panic(err) // it is embedded
	}
	for _, e := range entries {
		b, err := static.ReadFile("static/" + e.Name())
		if err != nil {
			panic(err) // it is embedded
		}
		sum := sha256.Sum256(b)
		out[e.Name()] = hex.EncodeToString(sum[:8])
	}
	return out
})

// asset is where a page finds a file.
func asset(name string) string { return "/static/" + name + "?v=" + versions()[name] }

func (s *Server) staticFile(w http.ResponseWriter, r *http.Request) {
	name := path.Base(r.URL.Path)
	version, ok := versions()[name]
	if !ok {
		s.problem(w, r, http.StatusNotFound, "there is no such file")
		return
	}
	w.Header().Set("Cache-Control", "no-cache")
	if r.URL.Query().Get("v") == version {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	w.Header().Set("Etag", `"`+version+`"`)
	http.ServeFileFS(w, r, static, "static/"+name)
}

// csrfHeaders are those that htmx sends along.
func csrfHeaders(token string) string {
	b, err := json.Marshal(map[string]string{csrfHeader: token})
	if err != nil {
		return "{}" // a string is always marshalled
	}
	return string(b)
}

// localPath gives a path of this server as it came from a browser, "/" for anything that
// would lead elsewhere.
func localPath(p string) string {
	if !strings.HasPrefix(p, "/") || strings.HasPrefix(p, "//") || strings.ContainsAny(p, "\\\r\n\t") {
		return "/"
	}
	return p
}

// redirect sends the browser to a path of this server, after a form too.
func redirect(w http.ResponseWriter, r *http.Request, to string) {
	http.Redirect(w, r, localPath(to), http.StatusSeeOther) // #nosec G710 -- localPath gives a path of this server
}
