package winfolder

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/oldguard/oldguard/internal/format/pe"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// maxProgram bounds what is read of a program where only the whole can be read.
const maxProgram = 64 << 20

// ReadVersion reads what a program file says of itself. It gives fs.ErrNotExist for a
// program without a version resource. It does not close f.
//
// Of the machine types, ia64 was tested with made and patched headers alone: no Itanium
// build of Windows was at hand.
func ReadVersion(f fs.File) (host.FileVersion, error) {
	info, err := f.Stat()
	switch {
	case err != nil:
		return host.FileVersion{}, err
	case !info.Mode().IsRegular():
		return host.FileVersion{}, errors.New("it is not a regular file")
	}
	if r, ok := f.(io.ReaderAt); ok {
		return versionOf(r, info.Size())
	}
	b, err := io.ReadAll(io.LimitReader(f, maxProgram+1)) // such as a file in a ZIP archive
	switch {
	case err != nil:
		return host.FileVersion{}, err
	case len(b) > maxProgram:
		return host.FileVersion{}, fmt.Errorf("it has more than %d MiB", maxProgram>>20)
	}
	return versionOf(bytes.NewReader(b), int64(len(b)))
}

func versionOf(r io.ReaderAt, size int64) (v host.FileVersion, err error) {
	p, err := pe.Open(r, size)
	if err != nil {
		return v, err
	}
	res, err := p.Version()
	if err != nil {
		return v, err
	}
	if res.File == [4]uint16{} {
		return v, errors.New("its version resource states no version")
	}
	v.Version = winver.Build{
		Major: res.File[0], Minor: res.File[1], Number: uint32(res.File[2]), Revision: uint32(res.File[3]), HasRevision: true,
	}
	v.Arch, _ = winver.ParseArch(p.Machine.String()) // of another processor: not known
	return v, nil
}
