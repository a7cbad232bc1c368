package verify

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/oldguard/oldguard/internal/update"
)

// Content is one thing that a file holds.
type Content struct {
	Name     string // as the file states it
	Path     string // where it may be written; "" if nowhere
	Unsafe   string // why nowhere
	Size     int64
	Modified time.Time
}

// Contents lists what a cabinet holds, cabinets inside it included, whose files go to a folder
// of their name with .d at its end. It is empty for everything else.
func (a *Answer) Contents() (list []Content) {
	if a.Package == nil {
		return nil
	}
	for _, m := range a.Package.Members {
		list = append(list, Content{m.Name, m.Path, m.Unsafe, m.Size, m.Modified})
	}
	return list
}

// MaxExtract bounds what is unpacked of one file. Genuine updates unpack to less than 4 GiB.
const MaxExtract = 16 << 30

// ErrNothing is the answer for a file with nothing to unpack in it.
var ErrNothing = errors.New("there is nothing to unpack in it")

// Walk unpacks what Contents lists and gives it to visit, whose reader is good until it returns.
// What has no path to go to is passed over.
func (a *Answer) Walk(visit func(c Content, r io.Reader) error) error {
	if a.Package == nil {
		return ErrNothing
	}
	total := int64(0)
	for _, c := range a.Contents() {
		if total += c.Size; total > MaxExtract {
			return fmt.Errorf("more than %d GiB would be unpacked", int64(MaxExtract)>>30)
		}
	}
	return a.Package.Walk(func(m update.Member, r io.Reader) error {
		if m.Path == "" {
			return nil
		}
		return visit(Content{m.Name, m.Path, m.Unsafe, m.Size, m.Modified}, r)
	})
}

// Release lets go of the bytes: afterwards Walk visits nothing. All else stays.
func (a *Answer) Release() {
	if a.Package != nil {
		a.Package.Release()
	}
}
