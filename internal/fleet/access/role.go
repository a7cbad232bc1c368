package access

import (
	"fmt"
	"slices"
	"strings"
)

// Permission is one thing that somebody may do.
type Permission string

// The permissions.
const (
	See    Permission = "see"    // look at everything but settings, people and the audit log
	Send   Permission = "send"   // bring evidence
	Decide Permission = "decide" // tags, owners, accepted risks, conflicts, acknowledged alerts
	Manage Permission = "manage" // people, tokens of others, routes of messages, settings, the audit log
)

// Permissions lists them.
func Permissions() []Permission { return []Permission{See, Send, Decide, Manage} }

// Role is what a person is. The zero value may do nothing.
type Role uint8

// The roles; each may do all that those before it may.
const (
	Nobody Role = iota
	Viewer
	Operator
	Administrator
)

var roles = [...]struct {
	name string
	may  []Permission
}{
	Nobody:        {"nobody", nil},
	Viewer:        {"viewer", []Permission{See}},
	Operator:      {"operator", []Permission{See, Send, Decide}},
	Administrator: {"administrator", []Permission{See, Send, Decide, Manage}},
}

// Roles lists those that a person can have, the least first.
func Roles() []Role { return []Role{Viewer, Operator, Administrator} }

// String names the role.
func (r Role) String() string {
	if int(r) < len(roles) {
		return roles[r].name
	}
	return roles[Nobody].name
}

// Permissions lists what the role may do.
func (r Role) Permissions() []Permission {
	if int(r) < len(roles) {
		return roles[r].may
	}
	return nil
}

// May reports whether the role may do it.
func (r Role) May(p Permission) bool { return slices.Contains(r.Permissions(), p) }

// ParseRole reads what String gives.
func ParseRole(s string) (Role, error) {
	for _, r := range Roles() {
		if r.String() == s {
			return r, nil
		}
	}
	return Nobody, InputError{fmt.Sprintf("%q is no role; there are viewer, operator and administrator", s)}
}

// MarshalText writes what String gives.
func (r Role) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what String gives.
func (r *Role) UnmarshalText(text []byte) (err error) {
	*r, err = ParseRole(string(text))
	return err
}

// Scopes are what a token may do, of what its owner may.
type Scopes []Permission

// ParseScopes reads scopes that stand between commas or spaces. There must be one.
func ParseScopes(s string) (Scopes, error) {
	var out Scopes
	for _, word := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' }) {
		p := Permission(word)
		if !slices.Contains(Permissions(), p) {
			return nil, InputError{fmt.Sprintf("%q is no scope; there are see, send, decide and manage", word)}
		}
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		return nil, InputError{"a token needs a scope: see, send, decide or manage"}
	}
	return out, nil
}

// String gives the scopes with commas between them.
func (s Scopes) String() string {
	words := make([]string, len(s))
	for i, p := range s {
		words[i] = string(p)
	}
	return strings.Join(words, ",")
}

// Principal is who asks. The zero value is nobody.
type Principal struct {
	User   int64 // 0 for nobody
	Name   string
	Role   Role
	Token  int64  // the token that was shown; 0 for a session
	Scopes Scopes // of the token; nil for a session, which may all that the role may
	// Session is the digest of the session's id, in hexadecimal; empty for a token.
	Session string
}

// May reports whether the principal may do it: the role must, and the token's scopes, if
// there is one.
func (p Principal) May(what Permission) bool {
	return p.User != 0 && p.Role.May(what) && (p.Token == 0 || slices.Contains(p.Scopes, what))
}
