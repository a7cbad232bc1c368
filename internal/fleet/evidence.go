package fleet

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// Folder keeps evidence as it came, each content once, in a file that its SHA-256 names:
// evidence/ab/cdef…. What people call a file is never part of a path.
type Folder string

// FolderIn names the folder of evidence in a server's data, and makes nothing.
func FolderIn(dir string) Folder { return Folder(filepath.Join(dir, evidenceFolder)) }

const (
	evidenceFolder = "evidence"
	comingFolder   = "coming" // files that are still being received
)

// Name gives the last element of its path.
func (f Folder) Name() string { return filepath.Base(string(f)) }

// OpenFolder makes what is not there, and removes what was cut off while it came. The data
// is in use by this process alone.
func OpenFolder(dir string) (Folder, error) {
	f := FolderIn(dir)
	if err := os.RemoveAll(f.coming()); err != nil {
		return "", err
	}
	return f, os.MkdirAll(f.coming(), 0o700)
}

func (f Folder) coming() string { return filepath.Join(string(f), comingFolder) }

func (f Folder) path(hash string) string { return filepath.Join(string(f), hash[:2], hash[2:]) }

// Add keeps what r gives, up to limit bytes, and gives its hash and size. When it returns,
// the content is on disk, and so is its name.
func (f Folder) Add(ctx context.Context, r io.Reader, limit int64) (hash string, size int64, err error) {
	t, err := os.CreateTemp(f.coming(), "")
	if err != nil {
		return "", 0, err
	}
	defer func() { err = errors.Join(err, ignoring(os.Remove(t.Name()), fs.ErrNotExist)) }()
	sum := sha256.New()
	size, err = io.Copy(io.MultiWriter(t, sum), io.LimitReader(readerOf(ctx, r), limit+1))
	if err == nil && size > limit {
		err = fmt.Errorf("%w: at most %d MiB", ErrTooLarge, limit>>20)
	}
	if err == nil {
		err = t.Sync()
	}
	if err = errors.Join(err, t.Close()); err != nil {
		return "", 0, err
	}
	hash = hex.EncodeToString(sum.Sum(nil))
	p := f.path(hash)
	if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
		return "", 0, err
	}
	// Where the same content is there already, it is replaced by itself.
	if err := os.Rename(t.Name(), p); err != nil {
		return "", 0, err
	}
	return hash, size, errors.Join(syncFolder(filepath.Dir(p)), syncFolder(string(f)))
}

// syncFolder writes the names in a folder to disk, where the system can be asked to.
func syncFolder(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // NTFS writes them in its journal
	}
	d, err := os.Open(dir) // #nosec G304 -- a folder of ours
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Open opens what has a hash. Close it after use.
func (f Folder) Open(hash string) (*os.File, error) {
	if b, err := hex.DecodeString(hash); err != nil || len(b) != sha256.Size {
		return nil, fmt.Errorf("%q is no hash", hash)
	}
	return os.Open(f.path(hash)) // #nosec G304 -- made of the hash alone
}

func ignoring(err, ignored error) error {
	if errors.Is(err, ignored) {
		return nil
	}
	return err
}

// readerOf gives a reader that ends with the context.
func readerOf(ctx context.Context, r io.Reader) io.Reader { return contextReader{ctx, r} }

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

// Read reads, unless the context has ended.
func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
