package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/oldguard/oldguard/internal/evidence/all"
	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/fleet/access"
	"github.com/oldguard/oldguard/internal/fleet/alert"
	"github.com/oldguard/oldguard/internal/store"
	"github.com/oldguard/oldguard/internal/web"
)

// server is one run of serve.
type server struct {
	env Env
	place
	listen                                  string
	watch, catalog, publicURL               string
	cert, key                               string
	proxies                                 []string
	insecure, localMessages                 bool
	oidcIssuer, oidcClient, oidcSecretFile  string
	oidcName, oidcClaim, logFormat, logName string
	oidcRoles                               []string
	maxUpload                               int64
}

// Times of the HTTP server. Uploads may take long, so that bodies have none here: web.Server
// sees to it that they go on.
const (
	headerTimeout   = 10 * time.Second
	idleTimeout     = 2 * time.Minute
	shutdownTimeout = 15 * time.Second
	watchEvery      = 5 * time.Second
	watchSettle     = 10 * time.Second
	maxHeader       = 64 << 10

	// serveMemory is from where on memory is collected sooner than gcPercent says, so that a
	// server of any size stays below 512 MiB unless it needs more.
	serveMemory = 384 << 20
)

func newServe(e Env) *cobra.Command {
	x := server{env: e}
	c := &cobra.Command{
		Use:   "serve",
		Short: "the fleet server: many machines over time, in a browser and over an API",
		Long: `serve receives evidence, reads and assesses it, remembers how each machine stood, and shows
it in a browser. Everything is in the folder --data: evidence as it came, and a SQLite
database unless --database names a PostgreSQL one. On the first start it prints a link with
which the first administrator makes his account.

It listens on loopback. To be reached from elsewhere it needs a certificate (--tls-cert,
--tls-key), or a proxy that has one (--public-url https://…, --proxy NETWORK), since
passwords and findings cross the network. --insecure leaves the login out, on loopback only.

Every flag can be given as a variable of the environment: --public-url is
OLDGUARD_PUBLIC_URL; what is given on the command line counts. Nothing is sent anywhere,
but by what an administrator sets up.

Exit status: 0 stopped by a signal, 1 could not run, 2 wrong use.
`,
		Example: `  oldguard serve --data /var/lib/oldguard
  oldguard serve --data data --listen 0.0.0.0:8443 --tls-cert cert.pem --tls-key key.pem
  oldguard serve --data data --public-url https://oldguard.example.com --proxy 10.0.0.2/32 --listen 10.0.0.3:8080
  oldguard serve --data data --database postgres://oldguard@db.example.com/oldguard --database-password-file secret`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fromEnvironment(cmd.Flags(), e.Getenv); err != nil {
				return err
			}
			return x.serve(cmd.Context())
		},
	}
	f := c.Flags()
	x.flags(f, "the `folder` with all that is kept; it is made if it is not there")
	f.StringVar(&x.listen, "listen", "127.0.0.1:8080", "the `address` to listen on")
	f.StringVar(&x.watch, "watch", "", "take in what is put into this `folder`")
	f.StringVar(&x.catalog, "catalog", "", "use this catalogue `file` instead of what is built in")
	f.StringVar(&x.publicURL, "public-url", "", "the `address` under which browsers reach the server (default from --listen)")
	f.StringVar(&x.cert, "tls-cert", "", "a `file` with the certificate, PEM")
	f.StringVar(&x.key, "tls-key", "", "a `file` with its key, PEM")
	f.StringSliceVar(&x.proxies, "proxy", nil, "a `network` of proxies whose X-Forwarded-For counts; may be repeated")
	f.BoolVar(&x.insecure, "insecure", false, "no login: whoever reaches it is an administrator; on loopback only")
	f.BoolVar(&x.localMessages, "local-messages", false, "let messages go to this machine itself and to link-local addresses, such as to a mail server on it")
	f.StringVar(&x.oidcIssuer, "oidc-issuer", "", "an OpenID Connect provider that lets people in too, as an `address`")
	f.StringVar(&x.oidcClient, "oidc-client", "", "the `id` of this server there")
	f.StringVar(&x.oidcSecretFile, "oidc-secret-file", "", "a `file` with the secret of this server there")
	f.StringVar(&x.oidcName, "oidc-name", "single sign-on", "what the login page calls it: a `name`")
	f.StringVar(&x.oidcClaim, "oidc-claim", "groups", "the `claim` with the groups of a person")
	f.StringSliceVar(&x.oidcRoles, "oidc-role", nil, "what a group makes of a person, as `group=role`: viewer, operator or administrator; may be repeated (default everybody is a viewer)")
	f.StringVar(&x.logFormat, "log-format", "text", "`text` or json, on standard error")
	f.StringVar(&x.logName, "log-level", "info", "debug, info, warn or error: what is logged from this `level` on")
	f.Int64Var(&x.maxUpload, "max-upload", fleet.DefaultMaxUpload, "the most `bytes` of one upload")
	complete(c, "log-format", []string{"text", "json"})
	complete(c, "log-level", []string{"debug", "info", "warn", "error"})
	return c
}

// fromEnvironment sets the flags that the command line leaves out and the environment has.
func fromEnvironment(flags *pflag.FlagSet, getenv func(string) string) (err error) {
	flags.VisitAll(func(f *pflag.Flag) {
		name := "OLDGUARD_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if v := getenv(name); v != "" && !f.Changed && f.Name != "help" && err == nil {
			if set := flags.Set(f.Name, v); set != nil {
				err = usageError{fmt.Errorf("%s: %w", name, set)}
			}
		}
	})
	return err
}

// settle checks what was asked for, before anything is opened.
func (x *server) settle() (log *slog.Logger, proxies []netip.Prefix, err error) {
	wrong := func(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }
	if _, err = x.config(); err != nil {
		return nil, nil, err
	}
	host, _, err := net.SplitHostPort(x.listen)
	if err != nil {
		return nil, nil, wrong("--listen is an address with a port, such as 127.0.0.1:8080: %w", err)
	}
	local := host == "localhost"
	if a, err := netip.ParseAddr(host); err == nil {
		local = a.IsLoopback()
	}
	secure := x.cert != "" || strings.HasPrefix(x.publicURL, "https://")
	switch {
	case (x.cert == "") != (x.key == ""):
		return nil, nil, wrong("--tls-cert and --tls-key belong together")
	case x.insecure && !local:
		return nil, nil, wrong("--insecure is for loopback only, not for %s", x.listen)
	case !local && !secure:
		return nil, nil, usageError{withHint("--tls-cert and --tls-key, or --public-url https://… with a proxy before it", "passwords would cross the network in the clear on %s", x.listen)}
	}
	if u, err := url.Parse(x.publicURL); x.publicURL != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.HasSuffix(x.publicURL, "/")) {
		return nil, nil, wrong("--public-url is an address such as https://oldguard.example.com, without a slash at the end")
	}
	for _, p := range x.proxies {
		n, err := netip.ParsePrefix(p)
		if err != nil {
			return nil, nil, wrong("--proxy is a network such as 10.0.0.2/32: %w", err)
		}
		proxies = append(proxies, n)
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(x.logName)); err != nil {
		return nil, nil, wrong("--log-level is debug, info, warn or error, not %q", x.logName)
	}
	options := &slog.HandlerOptions{Level: level}
	switch x.logFormat {
	case "text":
		log = slog.New(slog.NewTextHandler(x.env.Stderr, options))
	case "json":
		log = slog.New(slog.NewJSONHandler(x.env.Stderr, options))
	default:
		return nil, nil, wrong("--log-format is text or json, not %q", x.logFormat)
	}
	return log, proxies, nil
}

// secretFile reads a secret: the first line of a file.
func secretFile(name string) (access.Secret, error) {
	b, err := os.ReadFile(name) // #nosec G304 -- the operator names it
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if line = strings.TrimSpace(line); line == "" {
		return "", fmt.Errorf("%s is empty", name)
	}
	return access.Secret(line), nil
}

func (x *server) serve(parent context.Context) (err error) {
	log, proxies, err := x.settle()
	if err != nil {
		return err
	}
	if x.env.Getenv("GOGC") == "" {
		defer debug.SetGCPercent(debug.SetGCPercent(gcPercent))
	}
	if x.env.Getenv("GOMEMLIMIT") == "" {
		defer debug.SetMemoryLimit(debug.SetMemoryLimit(serveMemory))
	}
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	cat, closeCatalog, err := openCatalog(x.catalog)
	if err != nil {
		return err
	}
	defer closeCatalog()
	where, err := x.config()
	if err != nil {
		return err
	}
	where.Log = log
	db, err := store.Open(ctx, where)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	fl, err := fleet.New(ctx, fleet.Config{
		Store: db, Dir: x.data, Readers: all.Readers(), Catalog: cat, Program: version(), Now: x.env.Now, Log: log, MaxUpload: x.maxUpload,
	})
	if err != nil {
		return err
	}
	guard := &access.Guard{Store: db.Access(), Now: x.env.Now}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", x.listen)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }() // Shutdown may have closed it
	if x.publicURL == "" {
		scheme := "http"
		if x.cert != "" {
			scheme = "https"
		}
		x.publicURL = scheme + "://" + listener.Addr().String()
	}
	site := &web.Server{
		Guard: guard, Log: log, Now: x.env.Now, Fleet: fl, Store: db, Secure: strings.HasPrefix(x.publicURL, "https://"), Insecure: x.insecure,
		Proxies: proxies, Ready: db.Ping,
	}
	site.Alerts, err = alert.New(ctx, alert.Config{Store: db.Alerts(), Fleet: db, InUse: fl.InUse, Now: x.env.Now, Log: log, URL: x.publicURL, Local: x.localMessages})
	if err != nil {
		return err
	}
	if site.Authority, err = x.authority(ctx); err != nil {
		return err
	}
	site.Works = slices.Concat(fl.Works(), site.Alerts.Works(), []fleet.Work{sweep(guard)})
	stop, err := db.Work(context.WithoutCancel(ctx), site.Works)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := x.greet(ctx, guard); err != nil {
		return err
	}
	return x.answer(ctx, cancel, web.Bounded(listener, proxies), site, fl, log)
}

// sweep forgets sessions that have expired.
func sweep(g *access.Guard) fleet.Work {
	return fleet.Work{Kind: "sessions", Doc: "forgets sessions that have expired", Every: time.Hour, Do: func(ctx context.Context, _ fleet.Task) error {
		return g.Store.DropExpired(ctx, g.Now())
	}}
}

// greet says where the server is, and on the first start how to begin.
func (x *server) greet(ctx context.Context, g *access.Guard) error {
	if x.insecure {
		_, err := fmt.Fprintf(x.env.Stdout, "oldguard is at %s, without login\n", x.publicURL)
		return err
	}
	code, first, err := g.BeginSetup(ctx)
	if err != nil {
		return err
	}
	if !first {
		_, err = fmt.Fprintf(x.env.Stdout, "oldguard is at %s\n", x.publicURL)
		return err
	}
	_, err = fmt.Fprintf(x.env.Stdout, "oldguard is at %s\nThe first administrator begins here, once, within a day:\n  %s/setup?code=%s\n", x.publicURL, x.publicURL, code.Reveal())
	return err
}

func (x *server) authority(ctx context.Context) (*web.Authority, error) {
	if x.oidcIssuer == "" {
		return nil, nil
	}
	if x.oidcClient == "" || x.oidcSecretFile == "" {
		return nil, usageError{errors.New("--oidc-issuer needs --oidc-client and --oidc-secret-file")}
	}
	secret, err := secretFile(x.oidcSecretFile)
	if err != nil {
		return nil, err
	}
	roles := map[string]access.Role{}
	for _, pair := range x.oidcRoles {
		group, word, _ := strings.Cut(pair, "=")
		role, wrong := access.ParseRole(word)
		if wrong != nil {
			return nil, usageError{fmt.Errorf("--oidc-role %s: %w", pair, wrong)}
		}
		roles[group] = role
	}
	a, err := web.NewAuthority(ctx, x.oidcName, x.oidcIssuer, x.oidcClient, secret, x.publicURL)
	if err != nil {
		return nil, err
	}
	a.Claim, a.Roles = x.oidcClaim, roles
	return a, nil
}

// answer answers requests, and takes in what is put into the watched folder, until the
// context ends; then it lets those that are being answered go on for a while.
func (x *server) answer(ctx context.Context, cancel func(), listener net.Listener, site *web.Server, fl *fleet.Server, log *slog.Logger) error {
	srv := &http.Server{
		Handler: site.Handler(), ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug), TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	ended := make(chan error, 2)
	tasks := 1
	go func() {
		defer cancel()
		var err error
		if x.cert != "" {
			err = srv.ServeTLS(listener, x.cert, x.key)
		} else {
			err = srv.Serve(listener)
		}
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
		ended <- err
	}()
	if x.watch != "" {
		tasks++
		go func() {
			defer cancel()
			ended <- fl.Watch(ctx, x.watch, watchEvery, watchSettle)
		}()
	}
	<-ctx.Done()
	log.LogAttrs(ctx, slog.LevelInfo, "stopping")
	late, done := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer done()
	errs := []error{srv.Shutdown(late)}
	for range tasks {
		errs = append(errs, <-ended)
	}
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil || errors.Is(err, io.EOF) })
	return errors.Join(errs...)
}
