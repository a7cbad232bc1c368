package bundle

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/oldguard/oldguard/internal/format/cab"
)

type zipArchive []*zip.File

func openZIP(f *io.SectionReader) (archive, error) {
	listing := &bounded{r: f, left: maxListing}
	r, err := zip.NewReader(listing, f.Size())
	if err != nil {
		return nil, fmt.Errorf("the ZIP archive cannot be read: %w", err)
	}
	listing.left = math.MaxInt64
	var a zipArchive
	for _, f := range r.File {
		if !strings.HasSuffix(f.Name, "/") {
			a = append(a, f)
		}
	}
	return a, nil
}

// maxListing bounds the list of files in an archive. 5000 files with long names have 3 MiB.
const maxListing = 16 << 20

// bounded gives no more than so many bytes.
type bounded struct {
	r    io.ReaderAt
	left int64
}

// ReadAt reads what is left.
func (b *bounded) ReadAt(p []byte, off int64) (int, error) {
	if b.left < int64(len(p)) {
		return 0, fmt.Errorf("its list of files has more than %d MiB", maxListing>>20)
	}
	b.left -= int64(len(p))
	return b.r.ReadAt(p, off)
}

func (a zipArchive) list() []packed {
	list := make([]packed, len(a))
	for i, f := range a {
		list[i] = packed{name: f.Name, size: int64(min(f.UncompressedSize64, 1<<62)), stored: int64(min(f.CompressedSize64, 1<<62))}
	}
	return list
}

// reach gives true: each file is unpacked for itself.
func (zipArchive) reach(int) bool { return true }

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
			b, err := whole(r, int64(f.UncompressedSize64)) //nolint:gosec // at most maxUnpacked, see choose
			keep(i, b, errors.Join(err, r.Close()))
		}
	}
	return nil
}

type cabArchive struct {
	*cab.Cabinet

	stored int64 // bytes of the cabinet
	passed passed
}

// passed is how much of a cabinet is unpacked to come to files of it, which is thrown away where
// nobody wants it. Files are asked for by folder and place.
type passed struct {
	folder    int   // the one that is asked about
	base, far int64 // of those before it, and of it
}

func (p *passed) reach(folder int, end int64) bool {
	if folder != p.folder {
		*p = passed{folder: folder, base: p.base + p.far}
	}
	if p.base+end > maxPassed {
		return false
	}
	p.far = max(p.far, end)
	return true
}

func openCabinet(f *io.SectionReader) (archive, error) {
	c, err := cab.Open(f, f.Size())
	if err != nil {
		return nil, err
	}
	return &cabArchive{Cabinet: c, stored: f.Size()}, nil
}

func (a *cabArchive) list() []packed {
	list := make([]packed, len(a.Files))
	for i, f := range a.Files {
		list[i] = packed{name: f.Name, size: f.Size, stored: a.stored, folder: f.Folder, reach: f.Reach()}
	}
	return list
}

// reach reports whether a file can be come to.
func (a *cabArchive) reach(i int) bool { return a.passed.reach(a.Files[i].Folder, a.Files[i].Reach()) }

func (a *cabArchive) unpack(ctx context.Context, wanted func(int) bool, keep func(int, []byte, error)) error {
	place := map[*cab.File]int{}
	for i, f := range a.Files {
		place[f] = i
	}
	return a.WalkSome(func(f *cab.File) bool { return wanted(place[f]) }, func(f *cab.File, r io.Reader) error {
		b, err := whole(r, f.Size)
		if err != nil {
			return fmt.Errorf("%s cannot be unpacked: %w", shown(f.Name), err)
		}
		keep(place[f], b, nil)
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
