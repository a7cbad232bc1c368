package store_test

import (
	"context"
	"errors"
	"testing"

	"github.com/oldguard/oldguard/internal/fleet/access"
	"github.com/oldguard/oldguard/internal/store"
	"github.com/oldguard/oldguard/internal/store/storetest"
)

func open(t *testing.T, c store.Config) *store.DB {
	t.Helper()
	c.Dir = t.TempDir()
	if c.Database == "" {
		storetest.SQLite(t, c.Dir)
	}
	db, err := store.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func TestSQLite(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Store { return open(t, store.Config{}) })
}

func TestPeerPostgreSQL(t *testing.T) {
	database := storetest.PostgreSQL(t)
	storetest.Run(t, func(t *testing.T) storetest.Store { return open(t, store.Config{Database: database(t)}) })
}

func TestTally(t *testing.T) {
	storetest.Tally(t, func(t *testing.T) (storetest.Store, storetest.Recount) {
		db := open(t, store.Config{})
		db.Reread(40)
		return db, db.Recount
	})
}

func TestPeerTallyPostgreSQL(t *testing.T) {
	database := storetest.PostgreSQL(t)
	storetest.Tally(t, func(t *testing.T) (storetest.Store, storetest.Recount) {
		db := open(t, store.Config{Database: database(t)})
		db.Reread(40)
		return db, db.Recount
	})
}

func TestAccessSQLite(t *testing.T) {
	storetest.Access(t, func(t *testing.T) (access.Store, func(ctx context.Context, statement string) error) {
		db := open(t, store.Config{})
		return db.Access(), db.Exec
	})
}

func TestPeerAccessPostgreSQL(t *testing.T) {
	database := storetest.PostgreSQL(t)
	storetest.Access(t, func(t *testing.T) (access.Store, func(ctx context.Context, statement string) error) {
		db := open(t, store.Config{Database: database(t)})
		return db.Access(), db.Exec
	})
}

func TestOneProcess(t *testing.T) {
	dir := t.TempDir()
	first, err := store.Open(t.Context(), store.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = store.Open(t.Context(), store.Config{Dir: dir}); !errors.Is(err, store.ErrBusy) {
		t.Errorf("opened twice: %v", err)
	}
	if err = first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := store.Open(t.Context(), store.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}
