package store

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/fleet/access"
)

var _ access.Store = (*Access)(nil)

// Access keeps who may do what, in the tables of the same database.
type Access struct{ db *DB }

// Access gives the store of package access. It is good for as long as d is open.
func (d *DB) Access() *Access { return &Access{d} }

type accountRow struct {
	bun.BaseModel `bun:"table:account"`

	ID              int64 `bun:",pk,autoincrement"`
	Name            string
	FullName        string
	Email           string
	Role            int
	Hash            string
	Issuer, Subject string
	Disabled        bool
	Created         int64
	LastSeen        int64
}

func (r *accountRow) user() access.User {
	return access.User{
		ID: r.ID, Name: r.Name, Full: r.FullName, Email: r.Email, Role: access.Role(r.Role), // #nosec G115 -- as it was stored; an unknown one may nothing
		Hash: r.Hash, Issuer: r.Issuer, Subject: r.Subject, Disabled: r.Disabled, Created: timeOf(r.Created), LastSeen: timeOf(r.LastSeen),
	}
}

func accountOf(u access.User) *accountRow {
	return &accountRow{
		ID: u.ID, Name: u.Name, FullName: u.Full, Email: u.Email, Role: int(u.Role), Hash: u.Hash, Issuer: u.Issuer, Subject: u.Subject,
		Disabled: u.Disabled, Created: stamp(u.Created), LastSeen: stamp(u.LastSeen),
	}
}

// none gives access.ErrNotFound for a row that is not there.
func none(err error) error {
	if err = one(err); errors.Is(err, fleet.ErrNotFound) {
		return access.ErrNotFound
	}
	return err
}

// AddUser adds a user.
func (a *Access) AddUser(ctx context.Context, u access.User) (access.User, error) {
	err := a.db.change(ctx, func(tx tx) error { return addAccount(ctx, tx, &u) })
	return u, err
}

func addAccount(ctx context.Context, tx tx, u *access.User) error {
	taken, err := tx.NewSelect().Table("account").Where("name = ?", u.Name).Exists(ctx)
	if err != nil {
		return err
	}
	if taken {
		return access.ErrTaken
	}
	row := accountOf(*u)
	if _, err := tx.NewInsert().Model(row).Returning("id").Exec(ctx); err != nil {
		return err
	}
	u.ID = row.ID
	return nil
}

// User gives a user by his id.
func (a *Access) User(ctx context.Context, id int64) (access.User, error) {
	return a.account(ctx, func(q *bun.SelectQuery) { q.Where("id = ?", id) })
}

// UserByName gives a user by his login name.
func (a *Access) UserByName(ctx context.Context, name string) (access.User, error) {
	return a.account(ctx, func(q *bun.SelectQuery) { q.Where("name = ?", name) })
}

// UserBySubject gives a user by what another authority calls him.
func (a *Access) UserBySubject(ctx context.Context, issuer, subject string) (access.User, error) {
	return a.account(ctx, func(q *bun.SelectQuery) { q.Where("issuer = ? AND subject = ? AND issuer <> ''", issuer, subject) })
}

func (a *Access) account(ctx context.Context, where func(q *bun.SelectQuery)) (access.User, error) {
	var row accountRow
	q := a.db.read.NewSelect().Model(&row).Limit(1)
	where(q)
	if err := q.Scan(ctx); err != nil {
		return access.User{}, none(err)
	}
	return row.user(), nil
}

// Users lists all users by name.
func (a *Access) Users(ctx context.Context) (list []access.User, err error) {
	var rows []accountRow
	err = a.db.read.NewSelect().Model(&rows).OrderBy("name", bun.OrderAsc).Scan(ctx)
	for i := range rows {
		list = append(list, rows[i].user())
	}
	return list, err
}

// ChangeUser stores all of a user but his id.
func (a *Access) ChangeUser(ctx context.Context, u access.User) error {
	return a.db.change(ctx, func(tx tx) error {
		var was accountRow
		if err := tx.NewSelect().Model(&was).Where("id = ?", u.ID).Scan(ctx); err != nil {
			return none(err)
		}
		row := accountOf(u)
		row.LastSeen = max(row.LastSeen, was.LastSeen)
		if _, err := tx.NewUpdate().Model(row).WherePK().Exec(ctx); err != nil {
			return err
		}
		left, err := tx.NewSelect().Table("account").Where("role = ? AND NOT disabled", int(access.Administrator)).Exists(ctx)
		if err != nil {
			return err
		}
		if !left {
			return access.ErrLastAdministrator
		}
		if u.Disabled && !was.Disabled || u.Hash != was.Hash {
			if _, err := tx.NewDelete().Table("session").Where("account_id = ?", u.ID).Exec(ctx); err != nil {
				return err
			}
			if _, err := tx.NewUpdate().Table("token").Set("revoked = ?", true).Where("account_id = ?", u.ID).Exec(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

type tokenRow struct {
	bun.BaseModel `bun:"table:token"`

	ID                         int64 `bun:",pk,autoincrement"`
	AccountID                  int64
	Name, Digest, Scopes       string
	Created, Expires, LastUsed int64
	Revoked                    bool
}

func (r *tokenRow) token() access.Token {
	t := access.Token{
		ID: r.ID, User: r.AccountID, Name: r.Name, Digest: r.Digest, Created: timeOf(r.Created), Expires: timeOf(r.Expires),
		LastUsed: timeOf(r.LastUsed), Revoked: r.Revoked,
	}
	for word := range strings.SplitSeq(r.Scopes, ",") {
		t.Scopes = append(t.Scopes, access.Permission(word))
	}
	return t
}

// AddToken adds a token.
func (a *Access) AddToken(ctx context.Context, t access.Token) (access.Token, error) {
	row := tokenRow{
		AccountID: t.User, Name: t.Name, Digest: t.Digest, Scopes: t.Scopes.String(), Created: stamp(t.Created), Expires: stamp(t.Expires),
		LastUsed: stamp(t.LastUsed), Revoked: t.Revoked,
	}
	err := a.db.change(ctx, func(tx tx) error {
		_, err := tx.NewInsert().Model(&row).Returning("id").Exec(ctx)
		return err
	})
	t.ID = row.ID
	return t, err
}

// TokenByDigest gives a token and whose it is.
func (a *Access) TokenByDigest(ctx context.Context, digest string) (access.Token, access.User, error) {
	var row tokenRow
	if err := a.db.read.NewSelect().Model(&row).Where("digest = ?", digest).Scan(ctx); err != nil {
		return access.Token{}, access.User{}, none(err)
	}
	u, err := a.User(ctx, row.AccountID)
	return row.token(), u, err
}

// Tokens lists tokens, the newest first.
func (a *Access) Tokens(ctx context.Context, user int64) (list []access.Token, err error) {
	var rows []tokenRow
	q := a.db.read.NewSelect().Model(&rows).OrderBy("id", bun.OrderDesc)
	if user != 0 {
		q.Where("account_id = ?", user)
	}
	err = q.Scan(ctx)
	for i := range rows {
		list = append(list, rows[i].token())
	}
	return list, err
}

// RevokeToken ends a token.
func (a *Access) RevokeToken(ctx context.Context, id int64) error {
	return a.touch(ctx, func(tx tx) *bun.UpdateQuery {
		return tx.NewUpdate().Table("token").Set("revoked = ?", true).Where("id = ?", id)
	})
}

// TokenUsed remembers when a token was last used.
func (a *Access) TokenUsed(ctx context.Context, id int64, at time.Time) error {
	return a.touch(ctx, func(tx tx) *bun.UpdateQuery {
		return tx.NewUpdate().Table("token").Set("last_used = ?", stamp(at)).Where("id = ?", id)
	})
}

// touch changes one row.
func (a *Access) touch(ctx context.Context, query func(tx tx) *bun.UpdateQuery) error {
	return a.db.change(ctx, func(tx tx) error {
		res, err := query(tx).Exec(ctx)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			if err == nil {
				err = access.ErrNotFound
			}
			return err
		}
		return nil
	})
}

type sessionRow struct {
	bun.BaseModel `bun:"table:session"`

	Digest           string `bun:",pk"`
	AccountID        int64
	CSRF             string `bun:"csrf"`
	Created, Expires int64
	Address, Agent   string
}

func (r *sessionRow) session() access.Session {
	return access.Session{
		Digest: r.Digest, User: r.AccountID, CSRF: r.CSRF, Created: timeOf(r.Created), Expires: timeOf(r.Expires), Address: r.Address, Agent: r.Agent,
	}
}

// AddSession adds a session, and remembers that its user was there.
func (a *Access) AddSession(ctx context.Context, s access.Session) error {
	row := sessionRow{
		Digest: s.Digest, AccountID: s.User, CSRF: s.CSRF, Created: stamp(s.Created), Expires: stamp(s.Expires), Address: s.Address, Agent: s.Agent,
	}
	return a.db.change(ctx, func(tx tx) error {
		if _, err := tx.NewInsert().Model(&row).Exec(ctx); err != nil {
			return err
		}
		_, err := tx.NewUpdate().Table("account").Set("last_seen = ?", stamp(s.Created)).Where("id = ?", s.User).Exec(ctx)
		return err
	})
}

// Session gives a session that has not expired, and whose it is.
func (a *Access) Session(ctx context.Context, digest string, now time.Time) (access.Session, access.User, error) {
	var row sessionRow
	if err := a.db.read.NewSelect().Model(&row).Where("digest = ? AND expires > ?", digest, stamp(now)).Scan(ctx); err != nil {
		return access.Session{}, access.User{}, none(err)
	}
	u, err := a.User(ctx, row.AccountID)
	return row.session(), u, err
}

// Sessions lists the sessions of a user that have not expired, the newest first.
func (a *Access) Sessions(ctx context.Context, user int64, now time.Time) (list []access.Session, err error) {
	var rows []sessionRow
	err = a.db.read.NewSelect().Model(&rows).Where("account_id = ? AND expires > ?", user, stamp(now)).OrderBy("created", bun.OrderDesc).OrderBy("digest", bun.OrderAsc).Scan(ctx)
	for i := range rows {
		list = append(list, rows[i].session())
	}
	return list, err
}

// ExtendSession lets a session go on until then.
func (a *Access) ExtendSession(ctx context.Context, digest string, expires time.Time) error {
	return a.touch(ctx, func(tx tx) *bun.UpdateQuery {
		return tx.NewUpdate().Table("session").Set("expires = ?", stamp(expires)).Where("digest = ?", digest)
	})
}

// EndSession ends a session.
func (a *Access) EndSession(ctx context.Context, digest string) error {
	return a.db.change(ctx, func(tx tx) error {
		_, err := tx.NewDelete().Table("session").Where("digest = ?", digest).Exec(ctx)
		return err
	})
}

// EndSessions ends all sessions of a user but one.
func (a *Access) EndSessions(ctx context.Context, user int64, but string) error {
	return a.db.change(ctx, func(tx tx) error {
		_, err := tx.NewDelete().Table("session").Where("account_id = ? AND digest <> ?", user, but).Exec(ctx)
		return err
	})
}

// DropExpired forgets sessions that have expired.
func (a *Access) DropExpired(ctx context.Context, now time.Time) error {
	return a.db.change(ctx, func(tx tx) error {
		_, err := tx.NewDelete().Table("session").Where("expires <= ?", stamp(now)).Exec(ctx)
		return err
	})
}

type setupRow struct {
	bun.BaseModel `bun:"table:setup"`

	Slot    int `bun:",pk"`
	Digest  string
	Expires int64
}

// Setup stores the code of the first start in place of an older one, unless there is a
// user.
func (a *Access) Setup(ctx context.Context, digest string, expires time.Time) (bool, error) {
	stored := false
	err := a.db.change(ctx, func(tx tx) error {
		if there, err := tx.NewSelect().Table("account").Exists(ctx); err != nil || there {
			return err
		}
		row := setupRow{Slot: 1, Digest: digest, Expires: stamp(expires)}
		if _, err := tx.NewDelete().Table("setup").Where("slot = 1").Exec(ctx); err != nil {
			return err
		}
		if _, err := tx.NewInsert().Model(&row).Exec(ctx); err != nil {
			return err
		}
		stored = true
		return nil
	})
	return stored && err == nil, err
}

// TakeSetup adds the first administrator, and uses the code up.
func (a *Access) TakeSetup(ctx context.Context, digest string, now time.Time, u access.User) (access.User, error) {
	err := a.db.change(ctx, func(tx tx) error {
		there, err := tx.NewSelect().Table("account").Exists(ctx)
		if err != nil {
			return err
		}
		res, err := tx.NewDelete().Table("setup").Where("digest = ? AND expires > ?", digest, stamp(now)).Exec(ctx)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		switch {
		case err != nil:
			return err
		case n == 0, there:
			return access.ErrNotFound
		}
		return addAccount(ctx, tx, &u)
	})
	return u, err
}

type auditRow struct {
	bun.BaseModel `bun:"table:audit"`

	ID                              int64 `bun:",pk,autoincrement"`
	At                              int64
	ByWhom                          string
	TokenID                         int64
	Address, Action, Object, Detail string
	OK                              bool `bun:"ok"`
}

// Audit adds a line to the log.
func (a *Access) Audit(ctx context.Context, e access.Entry) error {
	row := auditRow{At: stamp(e.At), ByWhom: e.By, TokenID: e.Token, Address: e.Address, Action: e.Action, Object: e.Object, Detail: e.Detail, OK: e.OK}
	return a.db.change(ctx, func(tx tx) error {
		_, err := tx.NewInsert().Model(&row).Exec(ctx)
		return err
	})
}

// maxEntries is how many lines of the log are given at once.
const maxEntries = 200

// AuditLog gives lines of the log, the newest first.
func (a *Access) AuditLog(ctx context.Context, q access.EntryQuery) (list []access.Entry, err error) {
	var rows []auditRow
	query := a.db.read.NewSelect().Model(&rows).OrderBy("id", bun.OrderDesc).Limit(maxEntries)
	if q.Limit > 0 && q.Limit < maxEntries {
		query.Limit(int64(q.Limit))
	}
	if q.By != "" {
		query.Where("by_whom = ?", q.By)
	}
	if q.Action != "" {
		query.Where("action = ?", q.Action)
	}
	if q.Before > 0 {
		query.Where("id < ?", q.Before)
	}
	err = query.Scan(ctx)
	for _, r := range rows {
		list = append(list, access.Entry{
			ID: r.ID, At: timeOf(r.At), By: r.ByWhom, Token: r.TokenID, Address: r.Address, Action: r.Action, Object: r.Object, Detail: r.Detail, OK: r.OK,
		})
	}
	return list, err
}
