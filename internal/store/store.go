// Package store keeps what the fleet remembers in SQLite or PostgreSQL, with the same
// statements on both, and has River do its jobs there. It decides nothing: what is stored,
// and what follows from what is stored, is package fleet's matter.
//
// On SQLite one connection writes, for us and for River, so that nobody waits for a lock
// that is held by somebody who waits for him; reads have connections of their own. It does
// not wait for the disk at each commit: whoever must know that something will survive a
// loss of power does so after it, together with others (see journal). On
// PostgreSQL a job is enqueued on the very connection of the transaction that asks for it.
//
// One process at a time may have a store open.
package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/oldguard/oldguard/internal/fleet"
)

// Config says where a store is.
type Config struct {
	// Dir is the folder of the server's data; it is made if it is not there. It holds the
	// SQLite database, and a lock that keeps other processes out.
	Dir string
	// Database is the address of a PostgreSQL database, postgres://…; empty is SQLite.
	Database string
	Log      *slog.Logger // nil is none
}

// DB is an open store. All methods may be called at the same time. Errors for what is not
// there are fleet.ErrNotFound.
type DB struct {
	write, read *bun.DB
	pool        *pgxpool.Pool // nil on SQLite
	log         *slog.Logger
	closers     []func() error
	journal     *journal // of SQLite

	changes  atomic.Int64 // counts the calls of change that are over
	overview memo[time.Time, fleet.Overview]
	cves     memo[struct{}, []fleet.CVECount]
	kbs      memo[struct{}, []fleet.KBCount]
	tags     memo[struct{}, []fleet.Count]
	tally    tally

	lite *queue[*sql.Tx] // one of the two is set
	post *queue[pgx.Tx]
}

var _ fleet.Store = (*DB)(nil)

// ErrBusy is for a store that another process has open.
var ErrBusy = errors.New("another process has it open")

const readers = 8 // connections that read at the same time

// Open opens a store, and brings its tables up to date. Close it after use.
func Open(ctx context.Context, c Config) (*DB, error) {
	d := newDB(c)
	if err := d.open(ctx, c, nil); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func newDB(c Config) *DB {
	d := &DB{log: c.Log}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	return d
}

// The files in the folder.
const (
	sqliteFile = "oldguard.sqlite"
	lockFile   = "lock"
)

// open opens it with those migrations alone, or, if they are nil, with all.
func (d *DB) open(ctx context.Context, c Config, only []int64) error {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return err
	}
	if err := d.lockFolder(ctx, c.Dir); err != nil {
		return err
	}
	if c.Database == "" {
		return d.openSQLite(ctx, filepath.Join(c.Dir, sqliteFile), only)
	}
	return d.openPostgreSQL(ctx, c.Database, only)
}

// lockFolder keeps other processes out of the folder for as long as this one lives, even
// if it is killed. SQLite locks files on every system.
func (d *DB) lockFolder(ctx context.Context, dir string) error {
	db, err := sql.Open("sqlite", fileURL(filepath.Join(dir, lockFile), "_txlock=exclusive"))
	if err != nil {
		return err
	}
	d.closers = append(d.closers, db.Close)
	tx, err := db.BeginTx(context.WithoutCancel(ctx), nil)
	if err != nil {
		if strings.Contains(err.Error(), "SQLITE_BUSY") {
			return fmt.Errorf("the folder %s cannot be used: %w", dir, ErrBusy)
		}
		return fmt.Errorf("lock the folder %s: %w", dir, err)
	}
	d.closers = append(d.closers, tx.Rollback)
	return nil
}

// fileURL names a file in a way that its name cannot add options.
func fileURL(name, options string) string {
	return "file:" + (&url.URL{Path: filepath.ToSlash(name)}).EscapedPath() + "?" + options
}

func (d *DB) openSQLite(ctx context.Context, file string, only []int64) error {
	const options = "_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=foreign_keys(1)"
	w, err := sql.Open("sqlite", fileURL(file, options+"&_pragma=synchronous(NORMAL)&_txlock=immediate"))
	if err != nil {
		return err
	}
	w.SetMaxOpenConns(1)
	d.closers = append(d.closers, w.Close)
	d.write = bun.NewDB(w, sqliteDialect{sqlitedialect.New()})
	if err = w.PingContext(ctx); err != nil {
		return fmt.Errorf("open %s: %w", file, err)
	}
	r, err := sql.Open("sqlite", fileURL(file, options+"&_pragma=query_only(1)"))
	if err != nil {
		return err
	}
	r.SetMaxOpenConns(readers)
	r.SetMaxIdleConns(readers)
	d.closers = append(d.closers, r.Close)
	d.journal = &journal{name: file + "-wal"}
	d.read = bun.NewDB(r, sqliteDialect{sqlitedialect.New()})
	driver := riversqlite.New(w)
	if err = migrate(ctx, w, driver, sqliteWords, only); err != nil {
		return err
	}
	d.lite, err = newQueue(driver, d.log)
	return err
}

// lockKey is the key of the advisory lock that keeps other processes out of a database.
const lockKey = 0x6f6c6467 // "oldg"

// errAddress does not quote what is wrong: it may hold a password.
var errAddress = errors.New("the address of the database is not of the form postgres://user@host/name")

func (d *DB) openPostgreSQL(ctx context.Context, address string, only []int64) error {
	config, err := pgxpool.ParseConfig(address)
	if err != nil {
		return errAddress
	}
	d.pool, err = pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	d.closers = append(d.closers, func() error { d.pool.Close(); return nil })
	if err = d.lockDatabase(ctx); err != nil {
		return err
	}
	db := stdlib.OpenDBFromPool(d.pool)
	d.closers = append(d.closers, db.Close)
	d.write = bun.NewDB(db, postgresDialect{pgdialect.New()})
	d.read = d.write
	driver := riverpgxv5.New(d.pool)
	if err = migrate(ctx, db, driver, postgresWords, only); err != nil {
		return err
	}
	d.post, err = newQueue(driver, d.log)
	return err
}

// lockWait is how long to wait for the lock of a process that was killed: the server must
// notice first that it is gone.
const lockWait = 10 * time.Second

// lockDatabase keeps other processes out of the database for as long as a connection lives
// that is used for nothing else.
func (d *DB) lockDatabase(ctx context.Context) error {
	c, err := d.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	lock := c.Hijack()
	d.closers = append(d.closers, func() error { return lock.Close(context.Background()) })
	// If the computer of another process is gone, the server notices in a minute.
	if _, err := lock.Exec(ctx, "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3"); err != nil {
		return fmt.Errorf("lock the database: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, lockWait, ErrBusy)
	defer cancel()
	for {
		var got bool
		if err := lock.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", lockKey).Scan(&got); err != nil {
			return fmt.Errorf("lock the database: %w", cmp.Or(context.Cause(ctx), err))
		}
		if got {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the database cannot be used: %w", context.Cause(ctx))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Close closes the store; jobs must have been stopped.
func (d *DB) Close() error {
	var errs []error
	for len(d.closers) > 0 {
		last := len(d.closers) - 1
		errs = append(errs, d.closers[last]())
		d.closers = d.closers[:last]
	}
	return errors.Join(errs...)
}

// tx is a transaction that writes.
type tx struct {
	bun.Tx
	// enqueue stores jobs, which are done only after the transaction is committed.
	enqueue func(ctx context.Context, jobs ...fleet.Job) error
	// touch names machines that may be counted otherwise after the transaction: see tally.
	touch func(ids ...int64)
}

// change runs do in a transaction, which is committed if it gives no error, and is on disk
// then. All that memo keeps rests on what is written here and in redo, and nowhere else.
func (d *DB) change(ctx context.Context, do func(tx tx) error) error {
	if err := d.redo(ctx, do); err != nil || d.journal == nil {
		return err
	}
	return d.journal.sync()
}

// redo is change for what is done again if power is lost, such as the work of a job: the
// job's end is lost with it.
func (d *DB) redo(ctx context.Context, do func(tx tx) error) (err error) {
	var touched []int64
	touch := func(ids ...int64) { touched = append(touched, ids...) }
	defer func() { // after an error too: a commit may have failed for us only
		d.tally.touched.add(touched)
		d.changes.Add(1)
	}()
	if d.pool == nil {
		t, failed := d.write.BeginTx(ctx, nil)
		if failed != nil {
			return failed
		}
		return finish(t, do(tx{t, func(ctx context.Context, jobs ...fleet.Job) error {
			return d.lite.insert(ctx, t.Tx, jobs)
		}, touch}))
	}
	conn, err := d.write.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	t, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	return finish(t, do(tx{t, func(ctx context.Context, jobs ...fleet.Job) error {
		return conn.Raw(func(c any) error {
			return d.post.insert(ctx, within{c.(*stdlib.Conn).Conn()}, jobs)
		})
	}, touch}))
}

func finish(t bun.Tx, err error) error {
	if err != nil {
		return errors.Join(err, t.Rollback())
	}
	return t.Commit()
}

// one gives fleet.ErrNotFound for a row that is not there.
func one(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return fleet.ErrNotFound
	}
	return err
}

// Ping reports whether the database answers.
func (d *DB) Ping(ctx context.Context) error { return d.read.PingContext(ctx) }
