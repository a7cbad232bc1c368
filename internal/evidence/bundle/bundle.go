// Package bundle reads what belongs together: a collection that oldguard-collect.cmd made,
// as folder or cabinet, and any ZIP archive or cabinet of evidence. It unpacks, checks what
// the collector noted about its own work, and leaves the files to the other readers.
//
// An archive comes from anywhere. What it states is bounded before anything is unpacked, it
// is unpacked into memory only, and an archive within an archive is not opened.
package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/format/cab"
	"github.com/oldguard/oldguard/internal/host"
)

const readerName = "bundle"

// Reader reads bundles of evidence.
var Reader = evidence.Reader{
	Name: readerName,
	Doc: `A collection made on the machine itself by the script of oldguard collect --script: its cabinet, its folder, or
the folder as a ZIP archive; also any ZIP archive or cabinet of evidence. The files in it are read as in a folder, and
what the collector noted with them: what it could not collect, whether it came to its end, and the SHA-1 of each file,
so that a file that was changed since is shown. The checksums detect accidents and careless changes; whoever changes
a file on purpose can change its checksum too. An archive with unsafe names, of more than 256 MiB, with more than 5000
files or packed over 200 times, or one within another, is refused.`,
	Sniff: func(p evidence.Probe) bool {
		return isZIP(p.Head) || cab.Is(p.Head) || strings.HasPrefix(p.Text, statusMagic) || strings.HasPrefix(p.Text, manifestMagic) || unread[strings.ToLower(base(p.Name))]
	},
	Read: read,
}

// Bounds of what is unpacked. A real collection has some 60 files and 100 MiB, most of it
// the export of Component Based Servicing, which packs 30 times.
const (
	maxUnpacked = 256 << 20
	maxRatio    = 200
	maxFiles    = 5000
	maxName     = 500
)

// unread are files of a collection that no reader understands yet: they are for people, and
// for what comes. Where one does, it stands before this one in the list of readers.
var unread = map[string]bool{
	"features.txt": true, "files.txt": true, "firewall.txt": true, "mum.txt": true, "profiles.txt": true, "roles.txt": true,
}

func base(name string) string { return path.Base(strings.ReplaceAll(name, `\`, "/")) }

func isZIP(head []byte) bool {
	return strings.HasPrefix(string(head[:min(len(head), 4)]), "PK\x03\x04") || strings.HasPrefix(string(head[:min(len(head), 4)]), "PK\x05\x06")
}

func read(ctx context.Context, in evidence.Input, h *host.Host) ([]evidence.Input, error) {
	head := make([]byte, min(in.File.Size(), 64))
	if n, err := in.File.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read %s: %w", in.Name, err)
	} else if n < len(head) {
		head = head[:n]
	}
	switch text := evidence.Decode(head); {
	case isZIP(head), cab.Is(head):
		return unpack(ctx, in, h, cab.Is(head))
	case strings.HasPrefix(text, statusMagic):
		return nil, status(in, h)
	case strings.HasPrefix(text, manifestMagic):
		return nil, manifest(in, h)
	}
	if collected(in) {
		return nil, evidence.ErrPart
	}
	return nil, errors.New("no reader understands this file: a file of this name is part of a collection, but no status.txt of one lies beside it")
}

// collected reports whether the collector's status lies beside a file.
func collected(in evidence.Input) bool {
	if in.Beside == nil {
		return false
	}
	f := in.Beside("status.txt")
	if f == nil {
		return false
	}
	head := make([]byte, len(statusMagic))
	_, err := f.ReadAt(head, 0)
	return (err == nil || errors.Is(err, io.EOF)) && string(head) == statusMagic
}

// packed is a file in an archive, before it is unpacked.
type packed struct {
	name string // as stated
	size int64  // as stated; unpacking gives no more
}

// archive is what the two kinds have in common.
type archive interface {
	// list gives the files in their order, folders left out.
	list() []packed
	// unpack gives to keep the content of those files for which it asks, by their place in
	// the list, or why there is none.
	unpack(ctx context.Context, wanted func(i int) bool, keep func(i int, b []byte, err error)) error
}

// foreign are names in archives that are no evidence, and what has them.
var foreign = []struct{ name, what string }{
	{"[Content_Types].xml", "it is an Office document or another package of XML, no evidence"},
	{"WSUSSCAN.cab", "it is an update package, no evidence of a machine"},
	{"update.mum", "it is an update package, no evidence of a machine"},
	{"META-INF/MANIFEST.MF", "it is a Java archive, no evidence"},
}

func unpack(ctx context.Context, in evidence.Input, h *host.Host, cabinet bool) ([]evidence.Input, error) {
	if in.Depth > 0 {
		return nil, errors.New("it is an archive within an archive, which is not opened; unpack the outer one")
	}
	open := openZIP
	if cabinet {
		open = openCabinet
	}
	a, err := open(in.File)
	if err != nil {
		return nil, err
	}
	list := a.list()
	if err = acceptable(list, in.File.Size()); err != nil {
		return nil, err
	}
	gap := func(name, why string) {
		h.Gap(host.Gap{What: "file", From: host.Source{Reader: readerName, Input: in.Name, At: shown(name)}, Why: why})
	}
	paths := make([]string, len(list))
	taken := map[string]bool{}
	for i, f := range list {
		p, why := cab.SafePath(f.name)
		switch key := strings.ToLower(p); {
		case why != "":
			gap(f.name, "it was not unpacked: "+why)
		case len(p) > maxName:
			gap(f.name, "it was not unpacked: its name is too long")
		case taken[key]:
			gap(f.name, "it was not unpacked: another file in the archive has the same name")
		default:
			paths[i], taken[key] = p, true
		}
	}
	files := map[string][]byte{} // by their paths in lower case
	var nested []evidence.Input
	err = a.unpack(ctx, func(i int) bool { return paths[i] != "" }, func(i int, b []byte, err error) {
		if err != nil {
			gap(list[i].name, err.Error())
			return
		}
		files[strings.ToLower(paths[i])] = b
		nested = append(nested, evidence.Input{
			Name: in.Name + "/" + paths[i], File: section(b),
			Beside: func(name string) *io.SectionReader {
				if b, ok := files[strings.ToLower(path.Join(path.Dir(paths[i]), name))]; ok && name == path.Base(name) {
					return section(b)
				}
				return nil
			},
			Folder: func() []evidence.Neighbour { return folder(nested, in.Name+"/"+paths[i]) },
		})
	})
	slices.SortStableFunc(nested, func(a, b evidence.Input) int { return strings.Compare(a.Name, b.Name) })
	if err == nil && len(list) == 0 {
		err = errors.New("the archive is empty")
	}
	return nested, err
}

// folder are the files of an archive that lie in one folder with the one of that name.
func folder(files []evidence.Input, name string) (list []evidence.Neighbour) {
	for _, f := range files {
		if path.Dir(f.Name) == path.Dir(name) {
			list = append(list, evidence.Neighbour{Name: f.Name, Self: f.Name == name, Visit: func(use func(*io.SectionReader)) error {
				use(f.File)
				return nil
			}})
		}
	}
	return list
}

// acceptable refuses an archive by what it states, before anything is unpacked. size is that
// of its file.
func acceptable(list []packed, size int64) error {
	if len(list) > maxFiles {
		return fmt.Errorf("it holds %d files; an archive with more than %d is not unpacked", len(list), maxFiles)
	}
	var total int64
	for _, f := range list {
		for _, known := range foreign {
			if strings.EqualFold(f.name, known.name) {
				return errors.New(known.what)
			}
		}
		if f.size < 0 || f.size > maxUnpacked || total+f.size > maxUnpacked {
			return fmt.Errorf("it holds more than %d MiB; unpack it, and name the folder", maxUnpacked>>20)
		}
		total += f.size
	}
	if total > maxRatio*max(size, 1) {
		return fmt.Errorf("it would be %d times as large unpacked, which no evidence is; more than %d times is refused", total/max(size, 1), maxRatio)
	}
	return nil
}

func section(b []byte) *io.SectionReader {
	return io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))
}

const maxShown = 80

// shown makes a name from an archive fit for a line.
func shown(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '.'
		}
		return r
	}, strings.ToValidUTF8(name, "\ufffd"))
	if len(name) > maxShown {
		name = strings.ToValidUTF8(name[:maxShown], "") + "…"
	}
	return name
}
