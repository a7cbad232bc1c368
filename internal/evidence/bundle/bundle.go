// Package bundle reads what belongs together: a collection that oldguard-collect.cmd made,
// as folder or cabinet, and any ZIP archive or cabinet of evidence. It unpacks, checks what
// the collector noted about its own work, and leaves the files to the other readers.
//
// An archive comes from anywhere. What is unpacked is chosen by what it states, within bounds, and
// into memory only, and an archive within an archive is not opened. What is left out is a gap, and
// hides nothing that is beside it.
package bundle

import (
	"bytes"
	"cmp"
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
a file on purpose can change its checksum too. Of an archive up to 5000 files and 256 MiB are read, the small ones
first; what is beyond that, has an unsafe name or is packed over 200 times is left out and named. An archive within
another is not opened.`,
	Sniff: func(p evidence.Probe) bool {
		return isZIP(p.Head) || cab.Is(p.Head) || strings.HasPrefix(p.Text, statusMagic) || strings.HasPrefix(p.Text, manifestMagic) || unread[strings.ToLower(base(p.Name))]
	},
	Read: read,
}

// Bounds of what is unpacked. A real collection has some 60 files and 100 MiB, most of it
// the export of Component Based Servicing, which packs 30 times.
const (
	maxUnpacked = 256 << 20
	maxPassed   = 1 << 30 // of a cabinet, also what is thrown away to come to a file behind it
	maxRatio    = 200
	ratioFrom   = 1 << 20 // a small file may be packed better
	maxFiles    = 5000
	maxName     = 500
)

// unread are files of a collection that no reader understands yet: they are for people, and
// for what comes. Where one does, it stands before this one in the list of readers.
var unread = map[string]bool{
	"features.txt": true, "firewall.txt": true, "mum.txt": true, "profiles.txt": true, "roles.txt": true,
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
	name   string // as stated
	size   int64  // as stated; unpacking gives no more
	stored int64  // packed, as stated; that of the whole archive where it cannot be told
	folder int    // of a cabinet
	reach  int64  // of a cabinet: its end in the folder
}

// archive is what the two kinds have in common.
type archive interface {
	// list gives the files in their order, folders left out.
	list() []packed
	// reach reports whether a file can be come to with those for which it did before. It is asked
	// in the order in which the files lie.
	reach(i int) bool
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
	if err = evident(list); err != nil {
		return nil, err
	}
	gap := func(name, why string) {
		h.Gap(host.Gap{What: "file", From: host.Source{Reader: readerName, Input: in.Name, At: shown(name)}, Why: why})
	}
	left := max(0, len(list)-maxFiles)
	if left > 0 {
		gap(list[maxFiles].name, fmt.Sprintf("it and what is behind it in the archive, %d files, were not unpacked: of an archive %d are", left, maxFiles))
		list = list[:maxFiles]
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
	for i, why := range choose(a, list, in.File.Size(), func(i int) bool { return paths[i] != "" }) {
		if why != "" {
			gap(list[i].name, "it was not unpacked: "+why)
			paths[i] = ""
		}
	}
	files := map[string][]byte{} // by their paths in lower case
	var nested []evidence.Input
	err = a.unpack(ctx, func(i int) bool { return i < len(paths) && paths[i] != "" }, func(i int, b []byte, err error) {
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

// evident refuses what is no evidence.
func evident(list []packed) error {
	for _, f := range list {
		for _, known := range foreign {
			if strings.EqualFold(f.name, known.name) {
				return errors.New(known.what)
			}
		}
	}
	return nil
}

// choose says of each file that is asked for why it is not unpacked, by what the archive states;
// empty if it is. Small ones come first, so that a large one does not hide them. size is that of
// the archive's file.
func choose(a archive, list []packed, size int64, asked func(int) bool) (why []string) {
	why = make([]string, len(list))
	order := make([]int, 0, len(list))
	for i, f := range list {
		switch {
		case !asked(i):
		case f.size < 0 || f.size > maxUnpacked:
			why[i] = fmt.Sprintf("it has more than %d MiB; unpack the archive, and name the folder", maxUnpacked>>20)
		case f.size > ratioFrom && f.size > maxRatio*max(f.stored, 1):
			why[i] = fmt.Sprintf("it would be %d times as large unpacked, which no evidence is; more than %d times is refused", f.size/max(f.stored, 1), maxRatio)
		default:
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(x, y int) int { return cmp.Compare(list[x].size, list[y].size) })
	total, stored := int64(0), int64(0)
	for n, i := range order {
		total += list[i].size
		if total > maxUnpacked {
			for _, i := range order[n:] {
				why[i] = fmt.Sprintf("with it the archive would have more than %d MiB; unpack the archive, and name the folder", maxUnpacked>>20)
			}
			order = order[:n]
			break
		}
	}
	slices.SortFunc(order, func(x, y int) int {
		return cmp.Or(cmp.Compare(list[x].folder, list[y].folder), cmp.Compare(list[x].reach, list[y].reach), cmp.Compare(x, y))
	})
	for _, i := range order {
		// Where it cannot be told what is whose, there is nothing to add up.
		if list[i].stored < size {
			stored += list[i].stored
		}
		switch {
		case stored > size:
			why[i] = "what is packed of the files in the archive is more than the archive: they overlap"
		case !a.reach(i):
			why[i] = fmt.Sprintf("more than %d MiB would be unpacked to come to it", maxPassed>>20)
		}
	}
	return why
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
