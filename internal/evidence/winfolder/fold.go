package winfolder

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"
)

// Fold gives tree with names found without regard to case, as Windows finds them, whatever
// the file system it lies on now: System32 and system32 are one folder. Where two names
// differ in case only, the one that was asked for wins, else the first. Links are not
// followed: they lead elsewhere on the machine that the folder is from. Folders are listed
// once and kept, so the tree must not change. It may be used by several goroutines.
func Fold(tree fs.FS) fs.FS { return &folded{tree: tree, listed: map[string][]fs.DirEntry{}} }

type folded struct {
	tree   fs.FS
	mu     sync.Mutex
	listed map[string][]fs.DirEntry // by the folder's real path
}

// Open implements fs.FS. It opens files and folders, nothing that might block.
func (f *folded) Open(name string) (fs.File, error) {
	p, e, err := f.find(name)
	if err == nil && e != nil && !e.IsDir() && !e.Type().IsRegular() {
		err = errors.New("it is neither a file nor a folder")
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return f.tree.Open(p)
}

// Stat implements fs.StatFS. It opens nothing.
func (f *folded) Stat(name string) (fs.FileInfo, error) {
	p, e, err := f.find(name)
	switch {
	case err != nil:
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	case e == nil:
		return fs.Stat(f.tree, p)
	}
	return e.Info()
}

// ReadDir implements fs.ReadDirFS.
func (f *folded) ReadDir(name string) ([]fs.DirEntry, error) {
	p, _, err := f.find(name)
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	return f.list(p)
}

// find gives the real path of name, and its entry but for the root.
func (f *folded) find(name string) (at string, e fs.DirEntry, err error) {
	at = "."
	switch {
	case !fs.ValidPath(name):
		return "", nil, fs.ErrInvalid
	case name == ".":
		return at, nil, nil
	}
	for part := range strings.SplitSeq(name, "/") {
		if e != nil && !e.IsDir() {
			return "", nil, fs.ErrNotExist
		}
		entries, err := f.list(at)
		if err != nil {
			return "", nil, err
		}
		if e = match(entries, part); e == nil {
			return "", nil, fs.ErrNotExist
		}
		at = path.Join(at, e.Name())
		if e.Type()&fs.ModeSymlink != 0 {
			return "", nil, fmt.Errorf("%s is a symbolic link, which is not followed", at)
		}
	}
	return at, e, nil
}

func match(entries []fs.DirEntry, name string) (found fs.DirEntry) {
	for _, e := range entries {
		switch {
		case e.Name() == name:
			return e
		case found == nil && strings.EqualFold(e.Name(), name):
			found = e
		}
	}
	return found
}

func (f *folded) list(at string) ([]fs.DirEntry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if entries, ok := f.listed[at]; ok {
		return entries, nil
	}
	entries, err := fs.ReadDir(f.tree, at)
	if err == nil {
		f.listed[at] = entries
	}
	return entries, err
}
