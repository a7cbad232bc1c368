package store

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
)

// journal is SQLite's write-ahead log, to which a commit appends. With synchronous=NORMAL
// SQLite writes it to disk only before it moves what is in it to the database, so that a
// commit survives the end of the process at once, and a loss of power some time later:
// https://www.sqlite.org/pragma.html#pragma_synchronous, read 2026-11-25. Here it is
// written to disk for all who wait for that at the same time, while others commit.
type journal struct {
	name   string
	asked  atomic.Uint64
	mu     sync.Mutex
	synced uint64 // all that asked up to here have been served
}

// sync waits until all commits before it are on disk.
func (j *journal) sync() error {
	mine := j.asked.Add(1)
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.synced >= mine {
		return nil // by somebody who began after our commit
	}
	all := j.asked.Load()
	// SQLite locks the database and the index of the log, never the log itself: closing it
	// here takes no lock away.
	f, err := os.OpenFile(j.name, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // SQLite removed it, and wrote the database to disk before
	}
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	j.synced = all
	return nil
}
