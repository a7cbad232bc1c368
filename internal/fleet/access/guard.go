package access

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
)

// How long things last.
const (
	SessionIdle  = 12 * time.Hour     // a session that is not used ends
	sessionMost  = 7 * 24 * time.Hour // and one that is used as well
	SetupLasts   = 24 * time.Hour     // the link of the first start
	MaxTokenLife = 366 * 24 * time.Hour
	maxName      = 64
	maxAgent     = 200
)

// Errors of Guard. What was wrong with a login is not said.
var (
	ErrLogin = errors.New("name or password is wrong")
	ErrSetup = errors.New("the set-up link is wrong, used or expired: start the server again for a new one")
)

// InputError is about something that somebody filled in; its words are for him.
type InputError struct{ Text string }

// Error gives the words.
func (e InputError) Error() string { return e.Text }

// Expected reports whether an error is the caller's to mend, and its words are for him:
// anything else is the server's matter.
func Expected(err error) bool {
	var input InputError
	var wait WaitError
	return errors.As(err, &input) || errors.As(err, &wait) || errors.Is(err, ErrLogin) || errors.Is(err, ErrSetup) ||
		errors.Is(err, ErrTaken) || errors.Is(err, ErrLastAdministrator)
}

// WaitError is for whoever failed too often.
type WaitError struct{ For time.Duration }

// Error says how long to wait.
func (e WaitError) Error() string {
	return fmt.Sprintf("too many failures: try again in %s", e.For.Round(time.Second))
}

// Guard lets people and programs in, and writes down that it did.
type Guard struct {
	Store Store
	Now   func() time.Time

	names, addresses Throttle
}

// CleanName gives a login name in the form in which it is kept, and says what is wrong with
// one that cannot be.
func CleanName(name string) (string, error) {
	name = strings.ToLower(strings.TrimSpace(name))
	if name == "" || len(name) > maxName {
		return "", InputError{fmt.Sprintf("a login name has 1 to %d characters", maxName)}
	}
	for _, r := range name {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-@", r) {
			return "", InputError{fmt.Sprintf("a login name has letters, digits and . _ - @, not %q", r)}
		}
	}
	return name, nil
}

// Login gives a new session for a name and its password. Failures are counted by name and
// by address; from the sixth on each must wait, and gets a WaitError.
func (g *Guard) Login(ctx context.Context, name, password, address, agent string) (Secret, Session, User, error) {
	now := g.Now()
	clean, err := CleanName(name)
	if err != nil {
		clean = "" // there is no such user; the time must not tell
	}
	if wait := max(g.names.Wait(clean, now), g.addresses.Wait(Neighbourhood(address), now)); wait > 0 {
		return "", Session{}, User{}, errors.Join(WaitError{wait}, g.audit(ctx, Entry{By: "nobody", Address: address, Action: "login-throttled", Object: clean}))
	}
	u, err := g.Store.UserByName(ctx, clean)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return "", Session{}, User{}, err
	}
	ok, err := VerifyPassword(ctx, u.Hash, password)
	if err != nil {
		return "", Session{}, User{}, err
	}
	if !ok || u.Disabled || u.ID == 0 {
		g.names.Failed(clean, now)
		g.addresses.Failed(Neighbourhood(address), now)
		return "", Session{}, User{}, errors.Join(ErrLogin, g.audit(ctx, Entry{By: "nobody", Address: address, Action: "login", Object: clean}))
	}
	g.names.Succeeded(clean)
	return g.begin(ctx, u, address, agent, "login")
}

// Enter begins a session for somebody whom another authority has let in.
func (g *Guard) Enter(ctx context.Context, u User, address, agent string) (Secret, Session, User, error) {
	if u.Disabled || u.ID == 0 {
		return "", Session{}, User{}, errors.Join(ErrLogin, g.audit(ctx, Entry{By: "nobody", Address: address, Action: "login-oidc", Object: u.Name}))
	}
	return g.begin(ctx, u, address, agent, "login-oidc")
}

func (g *Guard) begin(ctx context.Context, u User, address, agent, action string) (Secret, Session, User, error) {
	now := g.Now()
	id := NewSession()
	s := Session{
		Digest: id.Digest(), User: u.ID, CSRF: NewSession().Digest(), Created: now, Expires: now.Add(SessionIdle),
		Address: address, Agent: agent[:min(len(agent), maxAgent)],
	}
	u.LastSeen = now
	if err := g.Store.AddSession(ctx, s); err != nil {
		return "", Session{}, User{}, err
	}
	return id, s, u, g.audit(ctx, Entry{By: u.Name, Address: address, Action: action, Object: u.Name, OK: true})
}

// BySession gives who a session is of; ErrNotFound where there is none that counts.
func (g *Guard) BySession(ctx context.Context, id Secret) (Principal, Session, error) {
	now := g.Now()
	s, u, err := g.Store.Session(ctx, id.Digest(), now)
	if err != nil {
		return Principal{}, Session{}, err
	}
	if u.Disabled || !now.Before(s.Created.Add(sessionMost)) {
		return Principal{}, Session{}, ErrNotFound
	}
	if until := now.Add(SessionIdle); until.Sub(s.Expires) > 10*time.Minute { // not a write for each request
		if err := g.Store.ExtendSession(ctx, s.Digest, until); err != nil {
			return Principal{}, Session{}, err
		}
	}
	return Principal{User: u.ID, Name: u.Name, Role: u.Role, Session: s.Digest}, s, nil
}

// Logout ends the session of a principal.
func (g *Guard) Logout(ctx context.Context, p Principal, address string) error {
	if err := g.Store.EndSession(ctx, p.Session); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	return g.audit(ctx, Entry{By: p.Name, Address: address, Action: "logout", Object: p.Name, OK: true})
}

// ByToken gives who a token is of; ErrNotFound where it does not count.
func (g *Guard) ByToken(ctx context.Context, secret Secret) (Principal, error) {
	now := g.Now()
	t, u, err := g.Store.TokenByDigest(ctx, secret.Digest())
	if err != nil {
		return Principal{}, err
	}
	if u.Disabled || !t.Valid(now) {
		return Principal{}, ErrNotFound
	}
	if now.Sub(t.LastUsed) > time.Minute { // not a write for each request
		if err := g.Store.TokenUsed(ctx, t.ID, now); err != nil {
			return Principal{}, err
		}
	}
	return Principal{User: u.ID, Name: u.Name, Role: u.Role, Token: t.ID, Scopes: t.Scopes}, nil
}

// NewToken makes a token for a principal, who cannot give it more than he has. The secret
// is shown this once.
func (g *Guard) NewToken(ctx context.Context, p Principal, name string, scopes Scopes, lasts time.Duration, address string) (Secret, Token, error) {
	now := g.Now()
	switch name = strings.TrimSpace(name); {
	case name == "" || len(name) > maxName:
		return "", Token{}, InputError{fmt.Sprintf("the name of a token has 1 to %d characters and says what it is for", maxName)}
	case lasts <= 0 || lasts > MaxTokenLife:
		return "", Token{}, InputError{"a token lasts from a day to a year"}
	case len(scopes) == 0:
		return "", Token{}, InputError{"a token needs a scope"}
	}
	for _, s := range scopes {
		if !p.May(s) {
			return "", Token{}, InputError{fmt.Sprintf("who makes a token cannot give it the scope %q, which he does not have", s)}
		}
	}
	secret := NewToken()
	t, err := g.Store.AddToken(ctx, Token{User: p.User, Name: name, Digest: secret.Digest(), Scopes: scopes, Created: now, Expires: now.Add(lasts)})
	if err != nil {
		return "", Token{}, err
	}
	return secret, t, g.audit(ctx, Entry{By: p.Name, Token: p.Token, Address: address, Action: "token-create", Object: name, Detail: scopes.String() + " until " + t.Expires.Format(time.DateOnly), OK: true})
}

// BeginSetup gives the code of the one-time link if there is no user yet; else none.
func (g *Guard) BeginSetup(ctx context.Context) (Secret, bool, error) {
	code := NewSetup()
	ok, err := g.Store.Setup(ctx, code.Digest(), g.Now().Add(SetupLasts))
	if err != nil || !ok {
		return "", false, err
	}
	return code, true, nil
}

// FinishSetup makes the first administrator.
func (g *Guard) FinishSetup(ctx context.Context, code Secret, name, full, password, address string) (User, error) {
	now := g.Now()
	if wait := g.addresses.Wait(Neighbourhood(address), now); wait > 0 {
		return User{}, WaitError{wait}
	}
	u, err := g.newUser(ctx, name, full, password, Administrator)
	if err != nil {
		return User{}, err
	}
	u, err = g.Store.TakeSetup(ctx, code.Digest(), now, u)
	if errors.Is(err, ErrNotFound) {
		g.addresses.Failed(Neighbourhood(address), now)
		return User{}, errors.Join(ErrSetup, g.audit(ctx, Entry{By: "nobody", Address: address, Action: "setup"}))
	}
	if err != nil {
		return User{}, err
	}
	return u, g.audit(ctx, Entry{By: u.Name, Address: address, Action: "setup", Object: u.Name, OK: true})
}

// NewUser adds a local user.
func (g *Guard) NewUser(ctx context.Context, by Principal, name, full, password string, role Role, address string) (User, error) {
	u, err := g.newUser(ctx, name, full, password, role)
	if err != nil {
		return User{}, err
	}
	if u, err = g.Store.AddUser(ctx, u); err != nil {
		return User{}, err
	}
	return u, g.audit(ctx, Entry{By: by.Name, Token: by.Token, Address: address, Action: "user-create", Object: u.Name, Detail: role.String(), OK: true})
}

func (g *Guard) newUser(ctx context.Context, name, full, password string, role Role) (User, error) {
	clean, err := CleanName(name)
	if err != nil {
		return User{}, err
	}
	if err = CheckPassword(clean, password); err != nil {
		return User{}, err
	}
	hash, err := HashPassword(ctx, password)
	if err != nil {
		return User{}, err
	}
	return User{Name: clean, Full: strings.TrimSpace(full), Role: role, Hash: hash, Created: g.Now()}, nil
}

// ChangePassword sets a new password for somebody who knows the old one, and ends his
// other sessions.
func (g *Guard) ChangePassword(ctx context.Context, p Principal, old, password, address string) error {
	u, err := g.Store.User(ctx, p.User)
	if err != nil {
		return err
	}
	now := g.Now()
	if wait := g.names.Wait(u.Name, now); wait > 0 {
		return WaitError{wait}
	}
	ok, err := VerifyPassword(ctx, u.Hash, old)
	if err != nil {
		return err
	}
	if !ok {
		g.names.Failed(u.Name, now)
		return errors.Join(ErrLogin, g.audit(ctx, Entry{By: p.Name, Address: address, Action: "password", Object: u.Name}))
	}
	if err = CheckPassword(u.Name, password); err != nil {
		return err
	}
	if u.Hash, err = HashPassword(ctx, password); err != nil {
		return err
	}
	if err := g.Store.ChangeUser(ctx, u); err != nil {
		return err
	}
	return g.audit(ctx, Entry{By: p.Name, Address: address, Action: "password", Object: u.Name, OK: true})
}

// Did writes down that a principal did something.
func (g *Guard) Did(ctx context.Context, p Principal, address, action, object, detail string) error {
	by := p.Name
	if by == "" {
		by = "nobody"
	}
	return g.audit(ctx, Entry{By: by, Token: p.Token, Address: address, Action: action, Object: object, Detail: detail, OK: true})
}

func (g *Guard) audit(ctx context.Context, e Entry) error {
	e.At = g.Now()
	return g.Store.Audit(context.WithoutCancel(ctx), e) // who hangs up does not stop it
}

// UserEdit changes what is not nil.
type UserEdit struct {
	Full, Email *string
	Role        *Role
	Disabled    *bool
	Password    *string // ends the sessions and tokens that were made with the old one
}

// EditUser changes a user for somebody who may manage.
func (g *Guard) EditUser(ctx context.Context, by Principal, id int64, e UserEdit, address string) (User, error) {
	u, err := g.Store.User(ctx, id)
	if err != nil {
		return User{}, err
	}
	var what []string
	if e.Full != nil {
		u.Full = strings.TrimSpace(*e.Full)
		what = append(what, "name")
	}
	if e.Email != nil {
		u.Email = strings.TrimSpace(*e.Email)
		what = append(what, "email")
	}
	if e.Role != nil && *e.Role != u.Role {
		what = append(what, u.Role.String()+" to "+e.Role.String())
		u.Role = *e.Role
	}
	if e.Disabled != nil && *e.Disabled != u.Disabled {
		u.Disabled = *e.Disabled
		what = append(what, map[bool]string{true: "disabled", false: "enabled"}[u.Disabled])
	}
	if e.Password != nil {
		if err = CheckPassword(u.Name, *e.Password); err != nil {
			return User{}, err
		}
		if u.Hash, err = HashPassword(ctx, *e.Password); err != nil {
			return User{}, err
		}
		what = append(what, "password")
	}
	if err := g.Store.ChangeUser(ctx, u); err != nil {
		return User{}, err
	}
	return u, g.audit(ctx, Entry{By: by.Name, Token: by.Token, Address: address, Action: "user-edit", Object: u.Name, Detail: strings.Join(what, ", "), OK: true})
}

// RevokeToken ends a token: one's own, or for somebody who may manage any.
func (g *Guard) RevokeToken(ctx context.Context, p Principal, id int64, address string) error {
	whose := p.User
	if p.May(Manage) {
		whose = 0
	}
	list, err := g.Store.Tokens(ctx, whose)
	if err != nil {
		return err
	}
	for _, t := range list {
		if t.ID == id {
			if err := g.Store.RevokeToken(ctx, id); err != nil {
				return err
			}
			return g.audit(ctx, Entry{By: p.Name, Token: p.Token, Address: address, Action: "token-revoke", Object: t.Name, OK: true})
		}
	}
	return ErrNotFound
}

// EndOthers ends all sessions of a principal but the one in use.
func (g *Guard) EndOthers(ctx context.Context, p Principal, address string) error {
	if err := g.Store.EndSessions(ctx, p.User, p.Session); err != nil {
		return err
	}
	return g.audit(ctx, Entry{By: p.Name, Address: address, Action: "sessions-end", Object: p.Name, OK: true})
}

// Known gives the user of another authority, who is added as a viewer when he comes for the
// first time. role is what that authority says he is; Nobody leaves it as it is.
func (g *Guard) Known(ctx context.Context, issuer, subject, name, full, email string, role Role, address string) (User, error) {
	u, err := g.Store.UserBySubject(ctx, issuer, subject)
	if errors.Is(err, ErrNotFound) {
		var clean string
		if clean, err = CleanName(name); err != nil {
			return User{}, err
		}
		if role == Nobody {
			role = Viewer
		}
		// A local account of that name is another person: it is not taken over.
		u, err = g.Store.AddUser(ctx, User{Name: clean, Full: full, Email: email, Role: role, Issuer: issuer, Subject: subject, Created: g.Now()})
		if err != nil {
			return User{}, err
		}
		return u, g.audit(ctx, Entry{By: "server", Address: address, Action: "user-create", Object: u.Name, Detail: role.String() + " by " + issuer, OK: true})
	}
	if err != nil {
		return User{}, err
	}
	if role != Nobody && role != u.Role || full != u.Full || email != u.Email {
		was := u.Role
		u.Full, u.Email = full, email
		if role != Nobody {
			u.Role = role
		}
		if err := g.Store.ChangeUser(ctx, u); err != nil {
			return User{}, err
		}
		if u.Role != was {
			return u, g.audit(ctx, Entry{By: "server", Address: address, Action: "user-edit", Object: u.Name, Detail: was.String() + " to " + u.Role.String() + " by " + issuer, OK: true})
		}
	}
	return u, nil
}
