package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/store/backup"
)

// saved are the tables of a backup, in an order in which rows refer only to rows before
// them. Sessions and the link of the first start are not saved: who was logged in then is
// not now.
var saved = []string{
	"catalog", "upload", "verdicts", "verdicts_missing", "host", "host_tag", "loss", "sighting", "host_change", "conflict", "note", "risk", "run", "day",
	"account", "token", "audit",
	"channel", "route", "alert", "told", "delivery",
}

// BackupOptions says how a backup is made.
type BackupOptions struct {
	Now     time.Time
	Program string // the version that makes it
	// Progress is called with the bytes of evidence that were written, and those there are.
	// Nil is for nobody.
	Progress func(done, total int64)
}

// Backup writes all that a store remembers, with its evidence, while a server may have it
// open and go on: the rows are those of one moment, and evidence never changes. What of the
// evidence is missing or altered is in End.Damaged, and no error. fs.ErrNotExist is for data
// that is not there.
func Backup(ctx context.Context, c Config, o BackupOptions, w io.Writer) (h backup.Header, end backup.End, err error) {
	s, err := openSnapshot(ctx, c)
	if err != nil {
		return h, end, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if h, err = s.header(ctx); err != nil {
		return h, end, err
	}
	h.Schema, h.Made, h.Program = backup.Schema, o.Now.UTC().Truncate(time.Second), o.Program
	end, err = s.write(ctx, c, o, h, w)
	return h, end, err
}

func (s *snapshot) write(ctx context.Context, c Config, o BackupOptions, h backup.Header, w io.Writer) (backup.End, error) {
	b, err := backup.NewWriter(w, h)
	if err != nil {
		return backup.End{}, err
	}
	for i := range h.Tables {
		if err = s.rows(ctx, &h.Tables[i], b); err != nil {
			return backup.End{}, fmt.Errorf("table %s: %w", h.Tables[i].Name, err)
		}
	}
	if err = s.jobs(ctx, b); err != nil {
		return backup.End{}, fmt.Errorf("jobs: %w", err)
	}
	kept, err := s.evidence(ctx)
	if err != nil {
		return backup.End{}, fmt.Errorf("evidence: %w", err)
	}
	// Nothing holds the database back while the large part is written.
	if err = s.tx.Commit(); err != nil {
		return backup.End{}, err
	}
	if err = saveEvidence(ctx, fleet.FolderIn(c.Dir), kept, o.Progress, b); err != nil {
		return backup.End{}, err
	}
	return b.Close()
}

// content is evidence that a row names.
type content struct {
	hash string
	size int64
}

func saveEvidence(ctx context.Context, from fleet.Folder, kept []content, progress func(done, total int64), b *backup.Writer) error {
	var done, total int64
	for _, k := range kept {
		total += k.size
	}
	for _, k := range kept {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		f, err := from.Open(k.hash)
		if err != nil {
			if p, ok := errors.AsType[*fs.PathError](err); ok {
				err = p.Err // without the folder of this machine
			}
			b.Missing(k.hash, err)
			continue
		}
		err = b.Evidence(k.hash, k.size, f)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		if done += k.size; progress != nil {
			progress(done, total)
		}
	}
	return nil
}

// snapshot is a store as it was at one moment.
type snapshot struct {
	db   *sql.DB
	tx   *sql.Tx
	lite bool
}

func openSnapshot(ctx context.Context, c Config) (*snapshot, error) {
	s := &snapshot{lite: c.Database == ""}
	var err error
	options := &sql.TxOptions{ReadOnly: true}
	if s.lite {
		file := filepath.Join(c.Dir, sqliteFile)
		if _, err = os.Stat(file); err != nil { // SQLite would make it
			return nil, err
		}
		// A transaction reads what was committed before its first statement.
		s.db, err = sql.Open("sqlite", fileURL(file, "_pragma=busy_timeout(10000)&_pragma=query_only(1)"))
		options = nil
	} else {
		config, wrong := pgx.ParseConfig(c.Database)
		if wrong != nil {
			return nil, errAddress
		}
		s.db = stdlib.OpenDB(*config)
		options.Isolation = sql.LevelRepeatableRead
	}
	if err != nil {
		return nil, err
	}
	if s.tx, err = s.db.BeginTx(ctx, options); err != nil {
		return nil, errors.Join(fmt.Errorf("open the database: %w", err), s.db.Close())
	}
	return s, nil
}

func (s *snapshot) close() error {
	err := s.tx.Rollback()
	if errors.Is(err, sql.ErrTxDone) {
		err = nil
	}
	return errors.Join(err, s.db.Close())
}

// word gives the one for the database.
func (s *snapshot) word(lite, post string) string {
	if s.lite {
		return lite
	}
	return post
}

// list gives what a query of one column gives.
func list[T any](ctx context.Context, tx *sql.Tx, query string, args ...any) (all []T, err error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var v T
		if err = rows.Scan(&v); err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

func (s *snapshot) header(ctx context.Context) (h backup.Header, err error) {
	h.Database = s.word("SQLite", "PostgreSQL")
	there, err := list[string](ctx, s.tx, s.word("SELECT name FROM sqlite_master WHERE type = 'table'", "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"))
	if err != nil {
		return h, err
	}
	if !slices.Contains(there, migrationTable) {
		return h, fmt.Errorf("no fleet server keeps anything there: %w", fs.ErrNotExist)
	}
	h.Migrations, err = list[int64](ctx, s.tx, "SELECT version_id FROM "+migrationTable+" WHERE version_id > 0 ORDER BY id")
	if err != nil {
		return h, err
	}
	if err = known(h.Migrations); err != nil {
		return h, err
	}
	for _, name := range saved {
		if !slices.Contains(there, name) {
			continue // the server is older than this program
		}
		t := backup.Table{Name: name}
		if t.Columns, _, err = columns(ctx, s.tx, name); err != nil {
			return h, err
		}
		if slices.Contains(t.Columns, "id") {
			if t.Last, err = s.last(ctx, name); err != nil {
				return h, err
			}
		}
		h.Tables = append(h.Tables, t)
	}
	return h, nil
}

// columns gives those of a table, and whether it has rows.
func columns(ctx context.Context, tx *sql.Tx, table string) (names []string, some bool, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT * FROM "+table+" LIMIT 1") // #nosec G202 -- one of ours
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	names, err = rows.Columns()
	some = rows.Next()
	return names, some, errors.Join(err, rows.Err())
}

// last gives the highest id that was given in a table.
func (s *snapshot) last(ctx context.Context, table string) (id int64, err error) {
	if s.lite {
		err = s.tx.QueryRowContext(ctx, "SELECT seq FROM sqlite_sequence WHERE name = ?", table).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			err = nil
		}
		return id, err
	}
	var sequence string
	if err = s.tx.QueryRowContext(ctx, "SELECT pg_get_serial_sequence($1, 'id')", table).Scan(&sequence); err != nil {
		return 0, err
	}
	err = s.tx.QueryRowContext(ctx, "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM "+sequence).Scan(&id) // #nosec G202 -- quoted by the database
	return id, err
}

// rows writes the rows of a table, by what comes first in them.
func (s *snapshot) rows(ctx context.Context, t *backup.Table, b *backup.Writer) (err error) {
	rows, err := s.tx.QueryContext(ctx, "SELECT * FROM "+t.Name+" ORDER BY 1, 2") // #nosec G202 -- one of ours
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	types, err := rows.ColumnTypes()
	if err != nil {
		return err
	}
	values, targets := make([]any, len(types)), make([]any, len(types))
	for i := range values {
		targets[i] = &values[i]
	}
	for rows.Next() {
		if err = rows.Scan(targets...); err != nil {
			return err
		}
		for i, v := range values {
			// SQLite has no truth values, only columns that are called so.
			if n, ok := v.(int64); ok && strings.HasPrefix(types[i].DatabaseTypeName(), "BOOL") {
				values[i] = n != 0
			}
		}
		if err = b.Row(t.Name, values); err != nil {
			return err
		}
	}
	return rows.Err()
}

// jobs writes the jobs that are not done.
func (s *snapshot) jobs(ctx context.Context, b *backup.Writer) (err error) {
	rows, err := s.tx.QueryContext(ctx, "SELECT kind, "+s.word("json(args)", "args::text")+
		" FROM river_job WHERE state IN ('available', 'pending', 'retryable', 'running', 'scheduled') ORDER BY id") // #nosec G202 -- two words of ours
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var kind, args string
		if err = rows.Scan(&kind, &args); err != nil {
			return err
		}
		if err = b.Job(backup.Job{Kind: kind, Args: []byte(args)}); err != nil {
			return err
		}
	}
	return rows.Err()
}

// evidence gives what the uploads name.
func (s *snapshot) evidence(ctx context.Context) (kept []content, err error) {
	rows, err := s.tx.QueryContext(ctx, "SELECT hash, MAX(size) FROM upload GROUP BY hash ORDER BY hash")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var k content
		if err = rows.Scan(&k.hash, &k.size); err != nil {
			return nil, err
		}
		kept = append(kept, k)
	}
	return kept, rows.Err()
}

// known gives an error for a migration that this program does not have.
func known(list []int64) error {
	files, err := migrations.ReadDir("migration")
	if err != nil {
		return err
	}
	have := map[int64]bool{}
	for _, f := range files {
		number, _, _ := strings.Cut(f.Name(), "_")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return err
		}
		have[n] = true
	}
	for _, n := range list {
		if !have[n] {
			return fmt.Errorf("%w (migration %d)", backup.ErrNewer, n)
		}
	}
	return nil
}
