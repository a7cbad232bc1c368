package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"strings"
	"time"
)

// The folders in a watched folder where things end up.
const (
	watchDone   = "done"
	watchFailed = "failed"
)

// watched is something in a watched folder.
type watched struct {
	state  string // what it looks like; a change of it means that it is still being written
	since  time.Time
	upload int64 // once it was received
	stuck  bool  // it could not be moved
}

// Watch takes in what is put into a folder, until the context ends: each file, and each
// folder with all in it as one upload, once it has not changed for a while. What was read
// is moved into the folder done, what could not be into failed, with a text beside it that
// says why. Names that begin with a dot, or end with .tmp or .part, are let be, and links
// are not followed. What was received before a crash is not received twice.
func (s *Server) Watch(ctx context.Context, dir string, every, settle time.Duration) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("watched folder: %w", err)
	}
	defer func() { _ = root.Close() }() // it is only read through
	for _, d := range []string{watchDone, watchFailed} {
		if err := root.MkdirAll(d, 0o700); err != nil {
			return fmt.Errorf("watched folder: %w", err)
		}
	}
	w := watcher{server: s, root: root, settle: settle, known: map[string]*watched{}}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := w.look(ctx); err != nil && ctx.Err() == nil {
			s.Log.ErrorContext(ctx, "the watched folder cannot be read", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

type watcher struct {
	server *Server
	root   *os.Root
	settle time.Duration
	known  map[string]*watched
}

func (w *watcher) look(ctx context.Context) error {
	entries, err := fs.ReadDir(w.root.FS(), ".")
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, e := range entries {
		name := e.Name()
		if name == watchDone || name == watchFailed || strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".tmp") || strings.HasSuffix(name, ".part") {
			continue
		}
		if !e.Type().IsRegular() && !e.IsDir() {
			continue
		}
		there[name] = true
		if w.known[name] == nil {
			w.known[name] = &watched{}
		}
		if err := w.one(ctx, name, e.IsDir(), w.known[name]); err != nil && ctx.Err() == nil {
			w.server.Log.ErrorContext(ctx, "what is in the watched folder cannot be taken in yet", slog.Any("error", err))
		}
	}
	for name := range w.known {
		if !there[name] {
			delete(w.known, name)
		}
	}
	return nil
}

func (w *watcher) one(ctx context.Context, name string, isDir bool, k *watched) error {
	now := w.server.Now()
	if k.stuck {
		return nil
	}
	if k.upload == 0 {
		state, err := w.state(name)
		if err != nil {
			return err
		}
		if state != k.state {
			k.state, k.since = state, now
		}
		if now.Sub(k.since) < w.settle {
			return nil
		}
		u, err := w.receive(ctx, name, isDir)
		switch {
		case errors.Is(err, ErrTooLarge), errors.Is(err, ErrInvalid):
			return w.move(name, watchFailed, err.Error(), k)
		case err != nil:
			return err
		}
		k.upload = u.ID
	}
	u, err := w.server.Store.Upload(ctx, k.upload)
	if err != nil {
		return err
	}
	switch u.State {
	case UploadReceived:
	case UploadFailed:
		return w.move(name, watchFailed, u.Error, k)
	case UploadDone:
		return w.move(name, watchDone, u.Error, k)
	}
	return nil
}

// state sums up what a file, or a folder with all below it, looks like.
func (w *watcher) state(name string) (string, error) {
	var files, size, newest int64
	err := fs.WalkDir(w.root.FS(), name, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		files++
		newest = max(newest, info.ModTime().UnixNano())
		if e.Type().IsRegular() {
			size += info.Size()
		}
		return nil
	})
	return fmt.Sprint(files, size, newest), err
}

func (w *watcher) receive(ctx context.Context, name string, isDir bool) (Upload, error) {
	var r io.ReadCloser
	called := name
	if isDir {
		tree, err := fs.Sub(w.root.FS(), name)
		if err != nil {
			return Upload{}, err
		}
		r, called = Archived(Files(tree)), name+".zip"
	} else {
		f, err := w.root.Open(name)
		if err != nil {
			return Upload{}, err
		}
		r = f
	}
	u, _, err := w.server.Receive(ctx, r, Meta{Name: called, Via: ViaWatch, By: "watched folder"})
	return u, errors.Join(err, r.Close())
}

// move puts something where it ends up, with a text beside it if there is something to say.
func (w *watcher) move(name, to, why string, k *watched) error {
	target := path.Join(to, name)
	if _, err := w.root.Lstat(target); err == nil { // another of that name was there before
		target = path.Join(to, w.server.Now().UTC().Format("20060102-150405.000-")+name)
	}
	if why != "" {
		if err := w.root.WriteFile(target+".reason.txt", []byte(why+"\n"), 0o600); err != nil {
			k.stuck = true
			return err
		}
	}
	if err := w.root.Rename(name, target); err != nil {
		k.stuck = true
		return fmt.Errorf("it was taken in and cannot be moved: %w", err)
	}
	return nil
}
