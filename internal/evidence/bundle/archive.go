package bundle

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/oldguard/oldguard/internal/format/cab"
)

type zipArchive []*zip.File

func openZIP(f *io.SectionReader) (archive, error) {
	r, err := zip.NewReader(f, f.Size())
	if err != nil {
		return nil, fmt.Errorf("the ZIP archive cannot be read: %w", err)
	}
	var a zipArchive
	for _, f := range r.File {
		if !strings.HasSuffix(f.Name, "/") {
			a = append(a, f)
		}
	}
	return a, nil
}

func (a zipArchive) list() []packed {
	list := make([]packed, len(a))
	for i, f := range a {
		list[i] = packed{f.Name, int64(min(f.UncompressedSize64, 1<<62))}
	}
	return list
}

const zipEncrypted = 1 // general purpose flag, bit 0: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.4.4

func (a zipArchive) unpack(ctx context.Context, wanted func(int) bool, keep func(int, []byte, error)) error {
	for i, f := range a {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case !wanted(i):
		case f.Flags&zipEncrypted != 0:
			keep(i, nil, errors.New("it is encrypted; unpack the archive, and name the folder"))
		case !f.Mode().IsRegular():
			keep(i, nil, errors.New("it is a link or a device, which is not followed"))
		default:
			r, err := f.Open()
			if err != nil {
				keep(i, nil, fmt.Errorf("it cannot be unpacked: %w", err))
				continue
			}
			b, err := whole(r, int64(f.UncompressedSize64)) //nolint:gosec // at most maxUnpacked, see acceptable
			keep(i, b, errors.Join(err, r.Close()))
		}
	}
	return nil
}

type cabArchive struct{ *cab.Cabinet }

func openCabinet(f *io.SectionReader) (archive, error) {
	c, err := cab.Open(f, f.Size())
	if err != nil {
		return nil, err
	}
	if c.Unpacked() > maxUnpacked {
		return nil, fmt.Errorf("it holds more than %d MiB; unpack it, and name the folder", maxUnpacked>>20)
	}
	return cabArchive{c}, nil
}

func (a cabArchive) list() []packed {
	list := make([]packed, len(a.Files))
	for i, f := range a.Files {
		list[i] = packed{f.Name, f.Size}
	}
	return list
}

func (a cabArchive) unpack(ctx context.Context, wanted func(int) bool, keep func(int, []byte, error)) error {
	place := map[*cab.File]int{}
	for i, f := range a.Files {
		place[f] = i
	}
	return a.Walk(func(f *cab.File, r io.Reader) error {
		if i := place[f]; wanted(i) {
			b, err := whole(r, f.Size)
			if err != nil {
				return fmt.Errorf("%s cannot be unpacked: %w", shown(f.Name), err)
			}
			keep(i, b, nil)
		}
		return ctx.Err()
	})
}

// whole reads all of a file whose size is stated, and not more than that.
func whole(r io.Reader, size int64) ([]byte, error) {
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("it cannot be unpacked: %w", err)
	}
	switch n, err := io.ReadFull(r, make([]byte, 1)); {
	case n > 0:
		return nil, errors.New("it cannot be unpacked: it is longer than the archive states")
	case !errors.Is(err, io.EOF): // such as a wrong checksum
		return nil, fmt.Errorf("it cannot be unpacked: %w", err)
	}
	return b, nil
}
