package store

import "context"

// Exec runs a statement past the store, as somebody with the database at hand would.
func (d *DB) Exec(ctx context.Context, statement string) error {
	_, err := d.write.ExecContext(ctx, statement)
	return err
}
