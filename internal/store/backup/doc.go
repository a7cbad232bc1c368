// Package backup is the file that a fleet server's memory is saved in: all rows, the jobs
// that are not done, and the evidence, as one tar archive packed with zstd, which is the
// same from either database. What is written here can be looked into with tar and zstd, and
// is read back years later: see Header.Migrations.
//
// The entries, in this order:
//
//	backup.json            the header
//	rows/TABLE/000001      rows of a table, one JSON array to a line; bytes are {"b": base64}
//	jobs                   jobs, one JSON object to a line
//	evidence/HASH          evidence as it came, named by its SHA-256
//	end.json               what was written: a backup without it is cut off
package backup

import (
	"encoding/json"
	"errors"
	"time"
)

// Schema is the name and version of the format.
const Schema = "oldguard/backup/1"

// Header says what a backup is of.
type Header struct {
	Schema   string    `json:"schema"`
	Made     time.Time `json:"made"`
	Program  string    `json:"program"`  // the version that made it
	Database string    `json:"database"` // "SQLite" or "PostgreSQL"
	// Migrations are those that the tables have, in the order of their being applied: what
	// reads the backup makes tables like these, puts the rows in, and applies the rest.
	Migrations []int64 `json:"migrations"`
	// Tables are in an order in which rows refer only to rows before them.
	Tables []Table `json:"tables"`
}

// Table is one table.
type Table struct {
	Name    string   `json:"name"`
	Columns []string `json:"columns"`
	// Last is the highest id that was ever given in it, so that none is given again; 0 where
	// it gives none.
	Last int64 `json:"last,omitempty"`
}

// Job is work that is not done.
type Job struct {
	Kind string          `json:"kind"`
	Args json.RawMessage `json:"args"`
}

// End is what a backup holds.
type End struct {
	Rows     map[string]int64 `json:"rows"` // by table
	Jobs     int64            `json:"jobs"`
	Evidence int64            `json:"evidence"` // files
	Bytes    int64            `json:"bytes"`    // of them
	// Damaged is evidence that could not be saved as it came.
	Damaged []Damaged `json:"damaged,omitempty"`
}

// Damaged is evidence that is missing or altered.
type Damaged struct {
	Hash string `json:"hash"`
	Why  string `json:"why"`
}

var (
	// ErrFormat is for what is no backup.
	ErrFormat = errors.New("not a backup of oldguard")
	// ErrDamaged is for a backup that was altered or cut off.
	ErrDamaged = errors.New("the backup is damaged")
	// ErrNewer is for a backup of a later version of the program.
	ErrNewer = errors.New("the backup was made by a newer version of oldguard")
)

const (
	headerName     = "backup.json"
	jobsName       = "jobs"
	endName        = "end.json"
	rowsFolder     = "rows/"
	evidenceFolder = "evidence/"

	chunk = 1 << 20 // bytes of rows in an entry, and then those of one row more

	maxSmall = 64 << 20  // bytes of the header and the end: 400,000 damaged files
	maxRows  = 256 << 20 // bytes of an entry with rows: one row may hold what a large machine says
)
