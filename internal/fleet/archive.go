package fleet

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"strings"
)

// File is one of several files that come together.
type File struct {
	Name string // with slashes, below what they have in common
	Open func() (io.ReadCloser, error)
}

// Archive writes files as one ZIP archive, which is what an upload of several is. The same
// files in the same order give the same bytes. It gives the first error of files.
func Archive(w io.Writer, files iter.Seq2[File, error]) error {
	z := zip.NewWriter(w)
	for f, err := range files {
		if err != nil {
			return err
		}
		if err := archive(z, f); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return z.Close()
}

func archive(z *zip.Writer, f File) error {
	name := strings.TrimPrefix(path.Clean("/"+strings.ReplaceAll(f.Name, `\`, "/")), "/")
	if name == "" {
		return fmt.Errorf("%w: a file without a name", ErrInvalid)
	}
	r, err := f.Open()
	if err != nil {
		return err
	}
	w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate})
	if err == nil {
		_, err = io.Copy(w, r)
	}
	return errors.Join(err, r.Close())
}

// Archived gives what Archive writes, as it is read. Close it after use, also before its end.
func Archived(files iter.Seq2[File, error]) io.ReadCloser {
	r, w := io.Pipe()
	go func() { w.CloseWithError(Archive(w, files)) }()
	return r
}

// Files gives the regular files of a folder with all below it, in order. Links are not
// followed.
func Files(tree fs.FS) iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		errEnough := errors.New("enough")
		err := fs.WalkDir(tree, ".", func(p string, e fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case !e.Type().IsRegular():
				return nil
			case !yield(File{Name: p, Open: func() (io.ReadCloser, error) { return tree.Open(p) }}, nil):
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(File{}, err)
		}
	}
}
