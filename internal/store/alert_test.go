package store_test

import (
	"testing"

	"github.com/oldguard/oldguard/internal/fleet/alert"
	"github.com/oldguard/oldguard/internal/store"
	"github.com/oldguard/oldguard/internal/store/storetest"
)

// reopen opens a store at one place each time it is called.
func reopen(t *testing.T, database string) storetest.Reopen {
	c := store.Config{Dir: t.TempDir(), Database: database}
	return func() (storetest.Store, alert.Store, func()) {
		db, err := store.Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		return db, db.Alerts(), func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestAlertsSQLite(t *testing.T) {
	storetest.Alerts(t, func(t *testing.T) storetest.Reopen { return reopen(t, "") })
}

func TestPeerAlertsPostgreSQL(t *testing.T) {
	database := storetest.PostgreSQL(t)
	storetest.Alerts(t, func(t *testing.T) storetest.Reopen { return reopen(t, database(t)) })
}
