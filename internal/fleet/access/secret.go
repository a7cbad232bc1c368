package access

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"log/slog"
	"strings"
)

// Secret is a token, a session id or a set-up code: shown once to whom it is for, and
// "redacted" wherever else it is printed.
type Secret string

const redacted = "redacted"

// String gives "redacted".
func (Secret) String() string { return redacted }

// GoString gives "redacted".
func (Secret) GoString() string { return redacted }

// MarshalText gives "redacted".
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue gives "redacted".
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// Reveal gives the secret itself.
func (s Secret) Reveal() string { return string(s) }

// Digest is what is stored of it: the SHA-256 in hexadecimal. A secret has 256 bits of
// chance, so that nothing slower is needed.
func (s Secret) Digest() string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// The prefixes tell what a secret is, to people and to scanners for leaked secrets.
const (
	tokenPrefix   = "oldguard_"
	sessionPrefix = "ogs_"
	setupPrefix   = "ogx_"
)

// NewToken makes the secret of a token.
func NewToken() Secret { return fresh(tokenPrefix) }

// NewSession makes the id of a session.
func NewSession() Secret { return fresh(sessionPrefix) }

// NewSetup makes the code of the one-time link of the first start.
func NewSetup() Secret { return fresh(setupPrefix) }

func fresh(prefix string) Secret {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // it never fails: see crypto/rand
	return Secret(prefix + base64.RawURLEncoding.EncodeToString(b))
}

// Bearer takes the token out of an Authorization header; ok is false where there is none.
func Bearer(header string) (s Secret, ok bool) {
	scheme, rest, _ := strings.Cut(header, " ")
	rest = strings.TrimSpace(rest)
	if !strings.EqualFold(scheme, "bearer") || !strings.HasPrefix(rest, tokenPrefix) || len(rest) > 128 {
		return "", false
	}
	return Secret(rest), true
}
