package fleet

import (
	"errors"
	"fmt"
	"time"
)

// Errors on which callers branch.
var (
	// ErrNotFound is for what is not stored.
	ErrNotFound = errors.New("not found")
	// ErrTooLarge is for an upload over Limits.Upload.
	ErrTooLarge = errors.New("the upload is too large")
	// ErrKeyReused is for an idempotency key that came with other content before.
	ErrKeyReused = errors.New("this idempotency key came with other content before")
	// ErrStale is for a change to what somebody else changed since it was looked at.
	ErrStale = errors.New("changed by somebody else since")
	// ErrInvalid is for a value that cannot be stored; it is wrapped with what is wrong.
	ErrInvalid = errors.New("invalid")
)

// Via is the way an upload came.
type Via string

// The ways.
const (
	ViaAPI   Via = "api"
	ViaPage  Via = "page"
	ViaWatch Via = "watch"
)

// UploadState is how far an upload is. The zero value is received.
type UploadState uint8

// The states. An upload that was received is on disk, and will be read whatever happens.
const (
	UploadReceived UploadState = iota
	UploadDone                 // read and assessed; the machines are stored
	UploadFailed               // nothing in it could be read: Upload.Error says why
)

var uploadStates = [...]string{"received", "done", "failed"}

// String gives received, done or failed.
func (s UploadState) String() string {
	if int(s) < len(uploadStates) {
		return uploadStates[s]
	}
	return "received"
}

// MarshalText writes what String gives.
func (s UploadState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what String gives.
func (s *UploadState) UnmarshalText(text []byte) error {
	for i, name := range uploadStates {
		if name == string(text) {
			*s = UploadState(i) // #nosec G115 -- an index of a short table
			return nil
		}
	}
	return fmt.Errorf("%q is no state of an upload", text)
}

// Meta is what comes with an upload.
type Meta struct {
	// Name is what the sender calls the file. It is shown and tells readers what the file
	// may be; it never becomes a path. Only its last element counts.
	Name string
	// Key makes sending again harmless: the second upload with the same key is the first.
	// Empty is the hash of the content, so that the same file sent twice is one upload.
	Key string
	By  string // who sent it, as the login knows him
	Via Via
	// Host is the machine that all of it is about, if the sender says so; else 0, and the
	// evidence tells.
	Host int64
}

// Upload is a file that was received. It may hold the evidence of several machines, or of
// none.
type Upload struct {
	ID       int64
	Key      string
	Hash     string // SHA-256 of the content in hexadecimal; names the file in Evidence
	Name     string
	Size     int64
	Via      Via
	By       string
	Host     int64 // see Meta.Host
	Received time.Time
	State    UploadState
	Done     time.Time // zero until it is done or failed
	Error    string    // why it failed, or what in it could not be read
	Machines int       // how many were found in it
}

// UploadQuery chooses uploads, the newest first.
type UploadQuery struct {
	State *UploadState
	Host  int64 // only those with evidence of this machine; 0 is all
	After int64 // those with a lower id; 0 is from the newest on
	Limit int   // at most MaxPage, which 0 is too
}

// MaxPage is the most that one query gives.
const MaxPage = 500
