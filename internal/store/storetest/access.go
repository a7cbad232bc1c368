package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/oldguard/oldguard/internal/fleet/access"
)

// Access holds a store to what package access asks of it. Open gives an empty one, and a
// way to run a statement past it.
func Access(t *testing.T, open func(t *testing.T) (s access.Store, exec func(ctx context.Context, statement string) error)) {
	t.Helper()
	for _, c := range []struct {
		name string
		test func(t *testing.T, s access.Store)
	}{
		{"users", users},
		{"tokens", tokens},
		{"sessions", sessions},
		{"setup", setup},
		{"guard", guard},
		{"hostile", hostileAccess},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := open(t)
			c.test(t, s)
		})
	}
	t.Run("audit", func(t *testing.T) { audit(t, open) })
}

func person(name string, role access.Role) access.User {
	return access.User{Name: name, Full: "Somebody", Email: name + "@example.com", Role: role, Hash: "hash of " + name, Created: now}
}

func addUser(t *testing.T, s access.Store, u access.User) access.User {
	t.Helper()
	u, err := s.AddUser(t.Context(), u)
	must(t, err)
	if u.ID == 0 {
		t.Fatal("a user without an id")
	}
	return u
}

func users(t *testing.T, s access.Store) {
	ctx := t.Context()
	root := addUser(t, s, person("root", access.Administrator))
	other := person("anna", access.Viewer)
	other.Issuer, other.Subject, other.Hash = "https://login.example.com", "1234", ""
	other = addUser(t, s, other)
	_, err := s.AddUser(ctx, person("root", access.Viewer))
	wantError(t, "a name twice", access.ErrTaken, err)
	list, err := s.Users(ctx)
	must(t, err)
	want(t, "users", []access.User{other, root}, list)
	u, err := s.UserByName(ctx, "root")
	must(t, err)
	want(t, "by name", root, u)
	u, err = s.UserBySubject(ctx, "https://login.example.com", "1234")
	must(t, err)
	want(t, "by subject", other, u)
	_, err = s.UserBySubject(ctx, "", "")
	wantError(t, "local users have no subject", access.ErrNotFound, err)
	_, err = s.User(ctx, 99)
	wantError(t, "nobody", access.ErrNotFound, err)
	wantError(t, "change nobody", access.ErrNotFound, s.ChangeUser(ctx, access.User{ID: 99}))
	for _, change := range []func(u *access.User){func(u *access.User) { u.Disabled = true }, func(u *access.User) { u.Role = access.Operator }} {
		less := root
		change(&less)
		wantError(t, "the last administrator", access.ErrLastAdministrator, s.ChangeUser(ctx, less))
	}
	other.Role = access.Administrator
	must(t, s.ChangeUser(ctx, other))
	root.Disabled = true
	must(t, s.ChangeUser(ctx, root))
	u, err = s.User(ctx, root.ID)
	must(t, err)
	want(t, "changed", root, u)
}

func tokens(t *testing.T, s access.Store) {
	ctx := t.Context()
	addUser(t, s, person("root", access.Administrator))
	u := addUser(t, s, person("anna", access.Operator))
	tok := access.Token{User: u.ID, Name: "task", Digest: access.NewToken().Digest(), Scopes: access.Scopes{access.Send, access.See}, Created: now, Expires: now.Add(time.Hour)}
	tok, err := s.AddToken(ctx, tok)
	must(t, err)
	got, whose, err := s.TokenByDigest(ctx, tok.Digest)
	must(t, err)
	want(t, "token", tok, got)
	want(t, "its owner", u, whose)
	must(t, s.TokenUsed(ctx, tok.ID, now.Add(time.Minute)))
	_, _, err = s.TokenByDigest(ctx, "other")
	wantError(t, "no token", access.ErrNotFound, err)
	wantError(t, "revoke none", access.ErrNotFound, s.RevokeToken(ctx, 99))
	list, err := s.Tokens(ctx, u.ID)
	must(t, err)
	tok.LastUsed = now.Add(time.Minute)
	want(t, "tokens", []access.Token{tok}, list)
	none, err := s.Tokens(ctx, 99)
	must(t, err)
	want(t, "tokens of another", []access.Token(nil), none)
	if !list[0].Valid(now) || list[0].Valid(now.Add(time.Hour)) {
		t.Error("a token counts until it expires")
	}
	u.Hash = "another"
	must(t, s.ChangeUser(ctx, u))
	if list, err = s.Tokens(ctx, 0); err != nil || !list[0].Revoked {
		t.Errorf("a new password leaves tokens: %+v, %v", list, err)
	}
}

func sessions(t *testing.T, s access.Store) {
	ctx := t.Context()
	addUser(t, s, person("root", access.Administrator))
	u := addUser(t, s, person("anna", access.Operator))
	var ids []string
	for i := range 3 {
		x := access.Session{Digest: access.NewSession().Digest(), User: u.ID, CSRF: "c", Created: now.Add(time.Duration(i) * time.Second), Expires: now.Add(time.Hour), Address: "192.0.2.1", Agent: "browser"}
		must(t, s.AddSession(ctx, x))
		ids = append(ids, x.Digest)
		got, whose, err := s.Session(ctx, x.Digest, now)
		must(t, err)
		want(t, "session", x, got)
		u.LastSeen = x.Created
		want(t, "whose", u, whose)
	}
	_, _, err := s.Session(ctx, ids[0], now.Add(time.Hour))
	wantError(t, "expired", access.ErrNotFound, err)
	must(t, s.ExtendSession(ctx, ids[0], now.Add(2*time.Hour)))
	_, _, err = s.Session(ctx, ids[0], now.Add(time.Hour))
	must(t, err)
	must(t, s.EndSession(ctx, ids[1]))
	list, err := s.Sessions(ctx, u.ID, now)
	must(t, err)
	if len(list) != 2 || list[0].Digest != ids[2] {
		t.Errorf("sessions %+v", list)
	}
	must(t, s.EndSessions(ctx, u.ID, ids[0]))
	must(t, s.DropExpired(ctx, now))
	if list, err = s.Sessions(ctx, u.ID, now); err != nil || len(list) != 1 || list[0].Digest != ids[0] {
		t.Errorf("sessions %+v, %v", list, err)
	}
	must(t, s.DropExpired(ctx, now.Add(3*time.Hour)))
	if list, err = s.Sessions(ctx, u.ID, now.Add(-time.Hour)); err != nil || len(list) != 0 {
		t.Errorf("expired sessions %+v, %v", list, err)
	}
	must(t, s.AddSession(ctx, access.Session{Digest: "d", User: u.ID, CSRF: "c", Created: now, Expires: now.Add(time.Hour)}))
	u.Disabled = true
	must(t, s.ChangeUser(ctx, u))
	_, _, err = s.Session(ctx, "d", now)
	wantError(t, "session of a disabled user", access.ErrNotFound, err)
}

func setup(t *testing.T, s access.Store) {
	ctx := t.Context()
	old, code := access.NewSetup().Digest(), access.NewSetup().Digest()
	for _, c := range []string{old, code} { // a second start makes the first link worthless
		ok, err := s.Setup(ctx, c, now.Add(time.Hour))
		must(t, err)
		want(t, "stored", true, ok)
	}
	root := person("root", access.Administrator)
	for name, take := range map[string]func() (access.User, error){
		"old":     func() (access.User, error) { return s.TakeSetup(ctx, old, now, root) },
		"wrong":   func() (access.User, error) { return s.TakeSetup(ctx, "wrong", now, root) },
		"expired": func() (access.User, error) { return s.TakeSetup(ctx, code, now.Add(time.Hour), root) },
	} {
		_, err := take()
		wantError(t, name, access.ErrNotFound, err)
	}
	u, err := s.TakeSetup(ctx, code, now, root)
	must(t, err)
	if u.ID == 0 {
		t.Error("an administrator without an id")
	}
	_, err = s.TakeSetup(ctx, code, now, person("second", access.Administrator))
	wantError(t, "twice", access.ErrNotFound, err)
	ok, err := s.Setup(ctx, old, now.Add(time.Hour))
	must(t, err)
	want(t, "stored although there is a user", false, ok)
}

func audit(t *testing.T, open func(t *testing.T) (access.Store, func(ctx context.Context, statement string) error)) {
	s, exec := open(t)
	ctx := t.Context()
	var all []access.Entry
	for i, by := range []string{"root", "nobody", "root"} {
		e := access.Entry{ID: int64(i + 1), At: now, By: by, Address: "192.0.2.1", Action: "login", Object: "root", Detail: "x", OK: i != 1}
		must(t, s.Audit(ctx, e))
		all = append([]access.Entry{e}, all...)
	}
	for _, tt := range []struct {
		name string
		q    access.EntryQuery
		want []access.Entry
	}{
		{"all", access.EntryQuery{}, all},
		{"by", access.EntryQuery{By: "nobody"}, all[1:2]},
		{"action", access.EntryQuery{Action: "logout"}, nil},
		{"page", access.EntryQuery{Limit: 1, Before: 3}, all[1:2]},
	} {
		got, err := s.AuditLog(ctx, tt.q)
		must(t, err)
		want(t, tt.name, tt.want, got)
	}
	for _, statement := range []string{"DELETE FROM audit", "UPDATE audit SET by_whom = 'somebody'"} {
		if err := exec(ctx, statement); err == nil {
			t.Errorf("%s: the log lets itself be changed", statement)
		}
	}
	got, err := s.AuditLog(ctx, access.EntryQuery{})
	must(t, err)
	want(t, "after attempts to change it", all, got)
}

// guard goes the whole way: set-up, login, throttling, tokens, passwords.
func guard(t *testing.T, s access.Store) {
	ctx := t.Context()
	day := now
	g := access.Guard{Store: s, Now: func() time.Time { return day }}
	const password = "four words are enough"
	code, ok, err := g.BeginSetup(ctx)
	must(t, err)
	want(t, "there is a set-up", true, ok)
	_, err = g.FinishSetup(ctx, code, "Root", "Somebody", "short", "192.0.2.1")
	wantError(t, "short password", access.ErrPasswordShort, err)
	_, err = g.FinishSetup(ctx, access.NewSetup(), "Root", "Somebody", password, "192.0.2.1")
	wantError(t, "other code", access.ErrSetup, err)
	root, err := g.FinishSetup(ctx, code, "Root", "Somebody", password, "192.0.2.1")
	must(t, err)
	_, err = g.FinishSetup(ctx, code, "second", "", password, "192.0.2.1")
	wantError(t, "code twice", access.ErrSetup, err)

	_, _, _, err = g.Login(ctx, "root", "wrong", "192.0.2.2", "")
	wantError(t, "wrong password", access.ErrLogin, err)
	_, _, _, err = g.Login(ctx, "nobody at all", password, "192.0.2.2", "")
	wantError(t, "no such user", access.ErrLogin, err)
	id, session, _, err := g.Login(ctx, " ROOT ", password, "192.0.2.2", "browser")
	must(t, err)
	p, _, err := g.BySession(ctx, id)
	must(t, err)
	want(t, "who", access.Principal{User: root.ID, Name: "root", Role: access.Administrator, Session: session.Digest}, p)
	day = day.Add(11 * time.Hour)
	_, _, err = g.BySession(ctx, id)
	must(t, err)
	day = day.Add(11 * time.Hour) // used in between, so it goes on
	_, _, err = g.BySession(ctx, id)
	must(t, err)
	day = day.Add(13 * time.Hour)
	_, _, err = g.BySession(ctx, id)
	wantError(t, "idle for too long", access.ErrNotFound, err)

	anna, err := g.NewUser(ctx, p, "anna", "Anna", password, access.Operator, "")
	must(t, err)
	who := access.Principal{User: anna.ID, Name: "anna", Role: access.Operator}
	secret, tok, err := g.NewToken(ctx, who, "task", access.Scopes{access.Send}, time.Hour, "")
	must(t, err)
	if _, _, err = g.NewToken(ctx, who, "more", access.Scopes{access.Manage}, time.Hour, ""); err == nil {
		t.Error("an operator gave a token the right to manage")
	}
	by, err := g.ByToken(ctx, secret)
	must(t, err)
	want(t, "by token", access.Principal{User: anna.ID, Name: "anna", Role: access.Operator, Token: tok.ID, Scopes: access.Scopes{access.Send}}, by)
	wantError(t, "a viewer ends another's token", access.ErrNotFound, g.RevokeToken(ctx, access.Principal{User: 99, Role: access.Viewer}, tok.ID, ""))
	must(t, g.RevokeToken(ctx, who, tok.ID, ""))
	_, err = g.ByToken(ctx, secret)
	wantError(t, "revoked", access.ErrNotFound, err)

	must(t, g.ChangePassword(ctx, who, password, password+" more", ""))
	_, _, _, err = g.Login(ctx, "anna", password, "192.0.2.3", "")
	wantError(t, "old password", access.ErrLogin, err)
	var wait access.WaitError
	for range 6 {
		_, _, _, err = g.Login(ctx, "anna", "wrong", "192.0.2.9", "")
	}
	if !errors.As(err, &wait) {
		t.Errorf("after many failures: %v", err)
	}
	_, _, _, err = g.Login(ctx, "anna", password+" more", "192.0.2.10", "")
	if !errors.As(err, &wait) {
		t.Errorf("the right password in between: %v", err)
	}
	day = day.Add(time.Hour)
	_, _, _, err = g.Login(ctx, "anna", password+" more", "192.0.2.10", "")
	must(t, err)

	u, err := g.Known(ctx, "https://login.example.com", "77", "berta", "Berta", "", access.Nobody, "")
	must(t, err)
	want(t, "a new one is a viewer", access.Viewer, u.Role)
	again, err := g.Known(ctx, "https://login.example.com", "77", "other", "Berta", "", access.Operator, "")
	must(t, err)
	want(t, "the same", u.ID, again.ID)
	want(t, "his role", access.Operator, again.Role)
	_, err = g.Known(ctx, "https://login.example.com", "78", "root", "", "", access.Administrator, "")
	wantError(t, "a local account is not taken over", access.ErrTaken, err)
	log, err := s.AuditLog(ctx, access.EntryQuery{Action: "login"})
	must(t, err)
	if len(log) < 8 || !log[0].OK || log[1].OK {
		t.Errorf("the log of logins: %+v", log)
	}
}
