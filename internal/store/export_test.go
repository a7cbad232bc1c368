package store

import (
	"context"
	"strings"
)

// Saved are the tables of a backup.
var Saved = saved

// OpenAt opens a store as a version of the program did that had those migrations alone.
func OpenAt(ctx context.Context, c Config, only []int64) (*DB, error) {
	d := newDB(c)
	return d, d.open(ctx, c, only)
}

// Exec runs a statement past the store, as somebody with the database at hand would.
func (d *DB) Exec(ctx context.Context, statement string) error {
	_, err := d.write.DB.ExecContext(ctx, statement)
	return err
}

// Column is a column of a table: text, blob, bool, big or int.
type Column struct {
	Name, Kind string
	Lite       bool
}

// Tables gives the columns of all tables.
func (d *DB) Tables(ctx context.Context) (map[string][]Column, error) {
	query := "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = current_schema() ORDER BY ordinal_position"
	if d.pool == nil {
		query = "SELECT m.name, c.name, c.type FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' ORDER BY c.cid"
	}
	rows, err := d.read.DB.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[string][]Column{}
	for rows.Next() {
		c := Column{Lite: d.pool == nil}
		var table, kind string
		if err := rows.Scan(&table, &c.Name, &kind); err != nil {
			return nil, err
		}
		c.Kind = map[string]string{"text": "text", "blob": "blob", "bytea": "blob", "boolean": "bool", "bigint": "big"}[strings.ToLower(kind)]
		all[table] = append(all[table], c)
	}
	return all, rows.Err()
}
