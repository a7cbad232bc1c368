package access

import (
	"context"
	"errors"
	"time"
)

// Errors that callers branch on.
var (
	ErrNotFound = errors.New("not found")
	ErrTaken    = errors.New("the name is taken")
	// ErrLastAdministrator is for what would leave nobody who may manage.
	ErrLastAdministrator = errors.New("there must be one administrator who can log in")
)

// User is a person.
type User struct {
	ID       int64
	Name     string // to log in with: lower case, at most 64 characters
	Full     string // as people call them; may be empty
	Email    string // may be empty
	Role     Role
	Hash     string // of the password, see HashPassword; empty for those who log in elsewhere
	Issuer   string // of OpenID Connect, with Subject; empty for local ones
	Subject  string
	Disabled bool
	Created  time.Time
	LastSeen time.Time // zero for never
}

// Token is what a program shows instead of a password.
type Token struct {
	ID       int64
	User     int64
	Name     string // what it is for
	Digest   string // see Secret.Digest
	Scopes   Scopes
	Created  time.Time
	Expires  time.Time // never zero
	LastUsed time.Time
	Revoked  bool
}

// Valid reports whether the token still counts.
func (t Token) Valid(now time.Time) bool { return !t.Revoked && now.Before(t.Expires) }

// Session is a browser that is logged in.
type Session struct {
	Digest  string // of its id, see Secret.Digest
	User    int64
	CSRF    string // what forms must carry
	Created time.Time
	Expires time.Time
	Address string // from where it was begun
	Agent   string // the browser's own word, at most 200 bytes
}

// Entry is one line of the audit log. It is never changed nor removed.
type Entry struct {
	ID      int64
	At      time.Time
	By      string // name of the user, "nobody" or "server"
	Token   int64  // with which token; 0 for none
	Address string
	Action  string // "login", "login-failed", "token-create", "host-edit", …: constant words
	Object  string // what it was done to
	Detail  string // never a secret
	OK      bool
}

// EntryQuery chooses entries, the newest first.
type EntryQuery struct {
	By, Action string // empty for all
	Before     int64  // those with a lower id; 0 is from the newest on
	Limit      int    // at most 200, which 0 is too
}

// Store keeps who may do what. Every method is one transaction. ErrNotFound is given for
// what is not there.
type Store interface {
	AddUser(ctx context.Context, u User) (User, error) // ErrTaken
	User(ctx context.Context, id int64) (User, error)
	UserByName(ctx context.Context, name string) (User, error)
	UserBySubject(ctx context.Context, issuer, subject string) (User, error)
	Users(ctx context.Context) ([]User, error) // by name
	// ChangeUser stores all fields but the id; sessions and tokens of one who is disabled, or whose
	// password changed, end with it. ErrLastAdministrator.
	ChangeUser(ctx context.Context, u User) error

	AddToken(ctx context.Context, t Token) (Token, error)
	TokenByDigest(ctx context.Context, digest string) (Token, User, error)
	Tokens(ctx context.Context, user int64) ([]Token, error) // 0 is of everybody
	RevokeToken(ctx context.Context, id int64) error
	TokenUsed(ctx context.Context, id int64, at time.Time) error

	AddSession(ctx context.Context, s Session) error
	Session(ctx context.Context, digest string, now time.Time) (Session, User, error)
	Sessions(ctx context.Context, user int64, now time.Time) ([]Session, error)
	ExtendSession(ctx context.Context, digest string, expires time.Time) error
	EndSession(ctx context.Context, digest string) error
	EndSessions(ctx context.Context, user int64, but string) error
	DropExpired(ctx context.Context, now time.Time) error

	// Setup stores the digest of the set-up code unless there is a user; then false.
	Setup(ctx context.Context, digest string, expires time.Time) (bool, error)
	// TakeSetup adds the first administrator if the code is right, unused and not expired.
	TakeSetup(ctx context.Context, digest string, now time.Time, u User) (User, error)

	Audit(ctx context.Context, e Entry) error
	AuditLog(ctx context.Context, q EntryQuery) ([]Entry, error)
}
