package store

import (
	"strings"
	"unicode/utf8"

	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
)

// The dialects write text into statements. Neither database keeps the character NUL in a
// text (PostgreSQL: "The character with the code zero cannot be in a string constant"), and
// PostgreSQL keeps no bytes that are no UTF-8; evidence or a caller may hold both: what is stored
// and asked for has U+FFFD in their place. All arguments of statements come this way, also
// those of types that are texts underneath and those in lists; what is of bytes is kept as it is.
type (
	sqliteDialect   struct{ *sqlitedialect.Dialect }
	postgresDialect struct{ *pgdialect.Dialect }
)

// AppendString appends a quoted text.
func (d sqliteDialect) AppendString(b []byte, s string) []byte {
	return d.Dialect.AppendString(b, storable(s))
}

// AppendString appends a quoted text.
func (d postgresDialect) AppendString(b []byte, s string) []byte {
	return d.Dialect.AppendString(b, storable(s))
}

// storable gives a text as both databases keep it.
func storable(s string) string {
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune { // it gives U+FFFD for each byte that is no UTF-8
		if r == 0 {
			return utf8.RuneError
		}
		return r
	}, s)
}
