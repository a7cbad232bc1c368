package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/fleet/alert"
	"github.com/oldguard/oldguard/internal/store/backup"
)

// ErrNotEmpty is for a place that holds something already.
var ErrNotEmpty = errors.New("it is not empty")

// Restore puts what a backup holds into a folder that is empty or not there, and, if one is
// named, into a PostgreSQL database without anything of a fleet server in it: of either
// kind, whichever the backup came from. After an error nothing of it is there. Messages
// that waited to be sent are not sent: they may have gone after the backup was made.
func Restore(ctx context.Context, c Config, r io.Reader) (h backup.Header, end backup.End, err error) {
	b, err := backup.NewReader(r)
	if err != nil {
		return h, end, err
	}
	defer b.Close()
	h = b.Header
	if err = known(h.Migrations); err != nil {
		return h, end, err
	}
	entries, err := os.ReadDir(c.Dir)
	switch {
	case len(entries) > 0:
		return h, end, fmt.Errorf("the folder %s: %w", c.Dir, ErrNotEmpty)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return h, end, err
	}
	remove := c.Dir // where it was not there
	if err == nil {
		remove = ""
	}
	if end, err = restore(ctx, c, b); err == nil {
		// The tables are as they were then; now they are brought up to date.
		var db *DB
		if db, err = Open(ctx, c); err == nil {
			err = db.Close()
		}
		return h, end, err
	}
	for _, name := range []string{sqliteFile, sqliteFile + "-wal", sqliteFile + "-shm", lockFile, fleet.FolderIn(".").Name()} {
		err = errors.Join(err, os.RemoveAll(filepath.Join(c.Dir, name)))
	}
	if remove != "" {
		err = errors.Join(err, os.Remove(remove))
	}
	return h, end, err
}

func restore(ctx context.Context, c Config, b *backup.Reader) (end backup.End, err error) {
	db := newDB(c)
	defer func() { err = errors.Join(err, db.Close()) }()
	if err = db.open(ctx, c, b.Header.Migrations); err != nil {
		return end, err
	}
	kept, err := fleet.OpenFolder(c.Dir)
	if err != nil {
		return end, err
	}
	err = db.change(ctx, func(tx tx) error {
		x := restorer{ctx: ctx, tx: tx, numbered: db.pool != nil, kept: kept}
		if err = x.begin(b.Header.Tables); err != nil {
			return err
		}
		if end, err = b.Read(&x); err != nil {
			return err
		}
		return x.finish(b.Header.Tables)
	})
	return end, err
}

// restorer takes a backup into one transaction.
type restorer struct {
	ctx      context.Context //nolint:containedctx // of the one call that it lives for
	tx       tx
	numbered bool // the database calls its parameters $1, $2, …
	kept     fleet.Folder

	table  *backup.Table
	values []any // of rows that are gathered for one statement
	size   int   // bytes of them
	jobs   []fleet.Job
}

// begin looks whether the tables are those of the program, and empty.
func (x *restorer) begin(tables []backup.Table) error {
	for i := range tables {
		t := &tables[i]
		if !slices.Contains(saved, t.Name) {
			return fmt.Errorf("%w: it holds a table %q", backup.ErrDamaged, t.Name)
		}
		have, some, err := columns(x.ctx, x.tx.Tx.Tx, t.Name)
		if err != nil {
			return fmt.Errorf("%w: %w", backup.ErrDamaged, err)
		}
		if some {
			return fmt.Errorf("the database: %w", ErrNotEmpty)
		}
		for _, c := range t.Columns {
			if !slices.Contains(have, c) {
				return fmt.Errorf("%w: table %s has no column %q", backup.ErrDamaged, t.Name, c)
			}
		}
	}
	return nil
}

const (
	maxValues = 10_000   // of one statement; SQLite takes 32,766, PostgreSQL 65,535
	maxBytes  = 16 << 20 // of one statement, and then those of one row more
)

// Row takes a row.
func (x *restorer) Row(t *backup.Table, values []any) error {
	if x.table != t || len(x.values)+len(values) > maxValues || x.size > maxBytes {
		if err := x.flush(); err != nil {
			return err
		}
		x.table = t
	}
	x.values = append(x.values, values...)
	for _, v := range values {
		switch v := v.(type) {
		case string:
			x.size += len(v)
		case []byte:
			x.size += len(v)
		}
	}
	return nil
}

// flush inserts the rows that were gathered.
func (x *restorer) flush() error {
	if len(x.values) == 0 {
		return nil
	}
	var q strings.Builder
	fmt.Fprintf(&q, "INSERT INTO %s (%s) VALUES ", x.table.Name, strings.Join(x.table.Columns, ", "))
	for i := range x.values {
		switch {
		case i%len(x.table.Columns) != 0:
			q.WriteString(", ")
		case i == 0:
			q.WriteString("(")
		default:
			q.WriteString("), (")
		}
		if x.numbered {
			fmt.Fprintf(&q, "$%d", i+1)
		} else {
			q.WriteString("?")
		}
	}
	q.WriteString(")")
	_, err := x.tx.Tx.Tx.ExecContext(x.ctx, q.String(), x.values...)
	x.values, x.size = x.values[:0], 0
	if err != nil {
		return fmt.Errorf("table %s: %w", x.table.Name, err)
	}
	return nil
}

// Job takes a job.
func (x *restorer) Job(j backup.Job) error {
	x.jobs = append(x.jobs, job{j.Kind, j.Args})
	if len(x.jobs) < 1000 {
		return nil
	}
	return x.enqueue()
}

func (x *restorer) enqueue() error {
	if len(x.jobs) == 0 {
		return nil
	}
	err := x.tx.enqueue(x.ctx, x.jobs...)
	x.jobs = nil
	return err
}

// Evidence takes evidence.
func (x *restorer) Evidence(hash string, r io.Reader) error {
	got, _, err := x.kept.Add(x.ctx, r, maxEvidence)
	if err == nil && got != hash {
		return fmt.Errorf("%w: evidence %s was kept as %s", backup.ErrDamaged, hash, got)
	}
	return err
}

// maxEvidence is more than any server takes: the backup says how large evidence is.
const maxEvidence = 1 << 50

func (x *restorer) finish(tables []backup.Table) error {
	if err := errors.Join(x.flush(), x.enqueue()); err != nil {
		return err
	}
	for i := range tables {
		if t := &tables[i]; slices.Contains(t.Columns, "id") {
			if err := x.number(t); err != nil {
				return fmt.Errorf("table %s: %w", t.Name, err)
			}
		}
	}
	if !slices.ContainsFunc(tables, func(t backup.Table) bool { return t.Name == "delivery" }) {
		return nil
	}
	_, err := x.tx.ExecContext(x.ctx, "UPDATE delivery SET state = ?, error = ? WHERE state IN (?, ?)",
		int(alert.Unsure), "it waited when a backup was made, and may have gone since", int(alert.Waiting), int(alert.Claimed))
	return err
}

// number has a table go on with its ids behind the last that it gave.
func (x *restorer) number(t *backup.Table) error {
	var highest int64
	if err := x.tx.QueryRowContext(x.ctx, "SELECT COALESCE(MAX(id), 0) FROM "+t.Name).Scan(&highest); err != nil { // #nosec G202 -- one of ours
		return err
	}
	if highest = max(highest, t.Last); highest == 0 {
		return nil
	}
	if x.numbered {
		_, err := x.tx.ExecContext(x.ctx, "SELECT setval(pg_get_serial_sequence(?, 'id'), ?)", t.Name, highest)
		return err
	}
	if _, err := x.tx.ExecContext(x.ctx, "DELETE FROM sqlite_sequence WHERE name = ?", t.Name); err != nil {
		return err
	}
	_, err := x.tx.ExecContext(x.ctx, "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", t.Name, highest)
	return err
}
