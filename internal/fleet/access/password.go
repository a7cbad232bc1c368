package access

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

// The parameters of new hashes: the second recommendation of RFC 9106, section 4, with one
// lane, since the server has other work. A hash carries its own, so that they can grow.
const (
	hashTime   = 3
	hashMemory = 64 << 10 // KiB
	hashLanes  = 1
	saltSize   = 16
	keySize    = 32
)

// The bounds of what a stored hash may ask for: a damaged one must not take the memory.
const (
	maxHashTime   = 16
	maxHashMemory = 1 << 20
	maxHashLanes  = 16
)

// The lengths of passwords, in characters and bytes: NIST SP 800-63B-4, 3.1.1.2, asks for 15
// where it is the only factor, and no rules about which characters.
const (
	MinPassword = 15
	maxPassword = 1024
)

// Errors about passwords.
var (
	ErrPasswordShort = InputError{fmt.Sprintf("a password has at least %d characters: four words do", MinPassword)}
	ErrPasswordLong  = InputError{fmt.Sprintf("a password has at most %d bytes", maxPassword)}
	ErrPasswordPlain = InputError{"a password must not be one character repeated, or the name"}
	errHash          = errors.New("the stored hash is damaged")
)

// hashing bounds how many hashes are made at the same time: each takes 64 MiB.
var hashing = make(chan struct{}, 2)

func derive(ctx context.Context, password string, salt []byte, time, memory uint32, lanes uint8, size uint32) ([]byte, error) {
	select {
	case hashing <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-hashing }()
	return argon2.IDKey([]byte(password), salt, time, memory, lanes, size), nil
}

// CheckPassword says what is wrong with a new password, nil if nothing is.
func CheckPassword(name, password string) error {
	switch {
	case utf8.RuneCountInString(password) < MinPassword:
		return ErrPasswordShort
	case len(password) > maxPassword:
		return ErrPasswordLong
	case strings.EqualFold(password, name), strings.Count(password, password[:1]) == len(password):
		return ErrPasswordPlain
	}
	return nil
}

// HashPassword gives a hash in the PHC string format. It waits while others are being
// made, and gives the context's error if that ends first.
func HashPassword(ctx context.Context, password string) (string, error) {
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // it never fails: see crypto/rand
	key, err := derive(ctx, password, salt, hashTime, hashMemory, hashLanes, keySize)
	if err != nil {
		return "", err
	}
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, hashMemory, hashTime, hashLanes, enc.EncodeToString(salt), enc.EncodeToString(key)), nil
}

// nobody is the hash that is compared with where there is no such user, so that the time
// does not tell.
const nobody = "$argon2id$v=19$m=65536,t=3,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// VerifyPassword reports whether a hash is of the password. An empty hash, as of a user
// without one, takes as long and is of none.
func VerifyPassword(ctx context.Context, hash, password string) (bool, error) {
	if hash == "" {
		hash = nobody
	}
	var version, memory, time, lanes int
	part := strings.Split(hash, "$")
	if len(part) != 6 || part[1] != "argon2id" {
		return false, errHash
	}
	if _, err := fmt.Sscanf(part[2], "v=%d", &version); err != nil || version != argon2.Version {
		return false, errHash
	}
	if _, err := fmt.Sscanf(part[3], "m=%d,t=%d,p=%d", &memory, &time, &lanes); err != nil ||
		memory < 8 || memory > maxHashMemory || time < 1 || time > maxHashTime || lanes < 1 || lanes > maxHashLanes {
		return false, errHash
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(part[4])
	key, err2 := base64.RawStdEncoding.DecodeString(part[5])
	if err1 != nil || err2 != nil || len(salt) < 8 || len(key) < 16 || len(key) > 64 {
		return false, errHash
	}
	if len(password) > maxPassword {
		return false, nil
	}
	got, err := derive(ctx, password, salt, uint32(time), uint32(memory), uint8(lanes), uint32(len(key))) // #nosec G115 -- bounded above
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(got, key) == 1 && hash != nobody, nil
}
