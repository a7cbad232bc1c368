module github.com/oldguard/oldguard

go 1.26.0

require (
	github.com/a-h/templ v0.3.1100 // pages of the server, with escaping and types
	github.com/chromedp/chromedp v0.23.0 // tests: the pages in a real browser
	github.com/coreos/go-oidc/v3 v3.21.0 // login at another authority
	github.com/danielgtaylor/huma/v2 v2.37.2 // the HTTP API: checks, OpenAPI 3.1 and problem details from Go types
	github.com/google/go-cmp v0.7.0 // tests: differences one can read
	github.com/jackc/pgx/v5 v5.12.0 // PostgreSQL
	github.com/klauspost/compress v1.20.3 // zstd, the frames of the catalogue: the standard library has none
	github.com/pressly/goose/v3 v3.29.0 // migrations of the database, numbered files run once
	github.com/prometheus/client_golang v1.25.0 // figures of the server at /metrics
	github.com/riverqueue/river v0.49.0 // jobs that survive a crash, in the same database as what they are about
	github.com/riverqueue/river/riverdriver v0.49.0 // the type of its drivers
	github.com/riverqueue/river/riverdriver/riverpgxv5 v0.49.0 // jobs on PostgreSQL
	github.com/riverqueue/river/riverdriver/riversqlite v0.49.0 // jobs on SQLite
	github.com/riverqueue/river/rivertype v0.49.0 // the states of jobs
	github.com/rogpeppe/go-internal v1.16.0 // tests: transcripts of the command line (testscript)
	github.com/spf13/cobra v1.10.2 // commands, flags, help, completion, man pages
	github.com/spf13/pflag v1.0.10 // flags of commands, walked for the manual
	github.com/ulikunitz/xz v0.5.17 // feeds come packed with xz: the standard library has none
	github.com/uptrace/bun v1.3.0 // the same statements for SQLite and PostgreSQL
	github.com/uptrace/bun/dialect/pgdialect v1.3.0 // its PostgreSQL
	github.com/uptrace/bun/dialect/sqlitedialect v1.3.0 // its SQLite
	github.com/wneessen/go-mail v0.8.1 // messages by SMTP: encoding, TLS, authentication
	github.com/xuri/excelize/v2 v2.11.1 // spreadsheet reports
	github.com/zitadel/oidc/v3 v3.51.17 // tests: a real provider to log in at
	golang.org/x/crypto v0.58.0 // argon2id, the hashes of passwords
	golang.org/x/oauth2 v0.38.0 // likewise: the code flow with PKCE
	golang.org/x/sys v0.49.0 // tests: packets on the wire, in the proofs of firewall policies
	golang.org/x/term v0.47.0 // whether there is a terminal, and how wide
	golang.org/x/text v0.43.0 // code pages of old consoles
	modernc.org/sqlite v1.62.0 // SQLite without cgo
)

require (
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/bmatcuk/doublestar/v4 v4.10.4 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/chromedp/cdproto v0.159.0 // indirect
	github.com/dustin/go-humanize v1.1.0 // indirect
	github.com/go-chi/chi/v5 v5.5.0 // indirect
	github.com/go-jose/go-jose/v4 v4.1.6 // indirect
	github.com/go-json-experiment/json v0.0.0-20260213210345-44df1a37e875 // indirect
	github.com/go-logr/logr v1.4.4 // indirect
	github.com/go-logr/stdr v1.2.2 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/gorilla/securecookie v1.1.2 // indirect
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/jackc/puddle/v2 v2.2.3 // indirect
	github.com/jinzhu/inflection v1.0.0 // indirect
	github.com/mattn/go-isatty v0.0.24 // indirect
	github.com/mfridman/interpolate v0.0.2 // indirect
	github.com/muhlemmer/gu v0.3.1 // indirect
	github.com/muhlemmer/httpforwarded v0.1.0 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/ncruces/go-strftime v1.1.0 // indirect
	github.com/prometheus/client_model v0.6.3 // indirect
	github.com/prometheus/common v0.72.0 // indirect
	github.com/prometheus/procfs v0.22.0 // indirect
	github.com/puzpuzpuz/xsync/v3 v3.5.1 // indirect
	github.com/remyoudompheng/bigfft v0.0.0-20230129092748-24d4a6f8daec // indirect
	github.com/richardlehane/mscfb v1.0.9 // indirect
	github.com/richardlehane/msoleps v1.0.6 // indirect
	github.com/riverqueue/river/rivershared v0.49.0 // indirect
	github.com/rs/cors v1.11.1 // indirect
	github.com/sethvargo/go-retry v0.5.0 // indirect
	github.com/tidwall/gjson v1.19.0 // indirect
	github.com/tidwall/match v1.2.0 // indirect
	github.com/tidwall/pretty v1.2.1 // indirect
	github.com/tidwall/sjson v1.2.5 // indirect
	github.com/tiendc/go-deepcopy v1.7.2 // indirect
	github.com/tmthrgd/go-hex v0.0.0-20190904060850-447a3041c3bc // indirect
	github.com/vmihailenco/msgpack/v5 v5.4.1 // indirect
	github.com/vmihailenco/tagparser/v2 v2.0.0 // indirect
	github.com/xuri/efp v0.0.3-0.20260924042702-217b81952dec // indirect
	github.com/xuri/nfp v0.0.2-0.20250530014748-2ddeb826f9a9 // indirect
	github.com/zitadel/schema v1.3.2 // indirect
	go.opentelemetry.io/auto/sdk v1.2.1 // indirect
	go.opentelemetry.io/otel v1.47.0 // indirect
	go.opentelemetry.io/otel/log v1.47.0 // indirect
	go.opentelemetry.io/otel/metric v1.47.0 // indirect
	go.opentelemetry.io/otel/trace v1.47.0 // indirect
	go.uber.org/multierr v1.11.0 // indirect
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/tools v0.52.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
	modernc.org/libc v1.80.1 // indirect
	modernc.org/mathutil v1.7.1 // indirect
	modernc.org/memory v1.12.1 // indirect
)
