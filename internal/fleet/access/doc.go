// Package access says who may do what in a fleet: people and their roles, tokens of
// programs and their scopes, sessions, and the log of what was done. It decides; web asks it,
// and store keeps what it knows.
//
// Passwords are kept as argon2id hashes, tokens and session ids as SHA-256 digests: who
// reads the database can log in as nobody.
package access
