package cli

import (
	"errors"
	"net/url"

	"github.com/spf13/pflag"

	"github.com/oldguard/oldguard/internal/store"
)

// place is where a fleet server keeps everything.
type place struct {
	data, database, passwordFile string
}

func (p *place) flags(f *pflag.FlagSet, data string) {
	f.StringVar(&p.data, "data", "", data)
	f.StringVar(&p.database, "database", "", "a PostgreSQL database, postgres://USER@HOST/NAME as an `address` (default SQLite in --data)")
	f.StringVar(&p.passwordFile, "database-password-file", "", "a `file` with the password of the database")
}

// config gives the place with the password of the database, which is not for the command
// line.
func (p *place) config() (store.Config, error) {
	if p.data == "" {
		return store.Config{}, usageError{errors.New("--data says where everything is kept")}
	}
	c := store.Config{Dir: p.data, Database: p.database}
	if p.passwordFile == "" {
		return c, nil
	}
	secret, err := secretFile(p.passwordFile)
	if err != nil {
		return c, err
	}
	u, err := url.Parse(p.database)
	if err != nil || u.User == nil {
		return c, usageError{errors.New("--database is an address such as postgres://oldguard@db.example.com/oldguard")}
	}
	u.User = url.UserPassword(u.User.Username(), secret.Reveal())
	c.Database = u.String()
	return c, nil
}
