package cab

import (
	"bytes"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// FS shows the files that have a path as a tree. Reading many files goes by Walk; FS is for a
// few, and for small cabinets: of folders of up to 32 MiB, it keeps the one it read last
// unpacked, of larger ones it unpacks for each file what lies before it. It may be used from
// several goroutines at once.
func (c *Cabinet) FS() fs.FS {
	t := &tree{nodes: map[string]*node{".": {name: ".", dir: true}}, folder: -1}
	for _, f := range c.Files {
		if f.path != "" {
			t.add(f)
		}
	}
	for _, n := range t.nodes {
		slices.SortFunc(n.entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	}
	return t
}

const maxKept = 32 << 20 // bytes of an unpacked folder that FS keeps

type tree struct {
	nodes map[string]*node

	mu     sync.Mutex
	folder int    // the one kept
	kept   []byte // it, unpacked
}

// node is a file or a directory; it serves as its own entry and information.
type node struct {
	name    string
	dir     bool
	file    *File
	entries []fs.DirEntry
}

func (t *tree) add(f *File) {
	n := &node{name: path.Base(f.path), file: f}
	t.nodes[f.path] = n
	for p := path.Dir(f.path); ; p = path.Dir(p) {
		if dir, ok := t.nodes[p]; ok { // the root, if no other
			dir.entries = append(dir.entries, n)
			return
		}
		n = &node{name: path.Base(p), dir: true, entries: []fs.DirEntry{n}}
		t.nodes[p] = n
	}
}

// Open gives the file or directory.
func (t *tree) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	n, ok := t.nodes[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if n.dir {
		return &openDir{node: n}, nil
	}
	r, err := t.read(n.file)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return openFile{Reader: r, node: n}, nil
}

func (t *tree) read(f *File) (io.Reader, error) {
	size := f.cab.Folders[f.Folder].Size
	if size > maxKept {
		return f.Open()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.folder != f.Folder {
		u, err := f.cab.unpack(f.Folder)
		if err != nil {
			return nil, err
		}
		b := bytes.NewBuffer(make([]byte, 0, size))
		if _, err := io.CopyN(b, u, size); err != nil {
			return nil, noEOF(err)
		}
		t.folder, t.kept = f.Folder, b.Bytes()
	}
	return bytes.NewReader(t.kept[f.at : f.at+f.Size]), nil
}

func (n *node) Name() string               { return n.name }
func (n *node) IsDir() bool                { return n.dir }
func (n *node) Type() fs.FileMode          { return n.Mode().Type() }
func (n *node) Info() (fs.FileInfo, error) { return n, nil }
func (n *node) Sys() any                   { return n.file }

func (n *node) Mode() fs.FileMode {
	if n.dir {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

func (n *node) Size() int64 {
	if n.dir {
		return 0
	}
	return n.file.Size
}

func (n *node) ModTime() time.Time {
	if n.dir {
		return time.Time{}
	}
	return n.file.Modified
}

type openFile struct {
	io.Reader
	node *node
}

func (f openFile) Stat() (fs.FileInfo, error) { return f.node, nil }
func (f openFile) Close() error               { return nil }

type openDir struct {
	node *node
	at   int
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.node, nil }
func (d *openDir) Close() error               { return nil }

func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.node.name, Err: fs.ErrInvalid}
}

// ReadDir lists the directory as fs.ReadDirFile has it.
func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	rest := d.node.entries[d.at:]
	if n > 0 {
		if len(rest) == 0 {
			return nil, io.EOF
		}
		rest = rest[:min(n, len(rest))]
	}
	d.at += len(rest)
	return slices.Clone(rest), nil
}
