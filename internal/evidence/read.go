package evidence

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/oldguard/oldguard/internal/host"
)

// Options of Read. The zero value is what one usually wants.
type Options struct {
	// As names the reader that must read every file, whatever the files look like, but for
	// those in a folder that is of its kind as a whole.
	As string
	// Workers is the number of files read at the same time; 0 is one for each processor.
	Workers int
	// MaxFiles and MaxDepth bound the walk through a tree; 0 is a million and 32.
	MaxFiles, MaxDepth int
	// Progress, if not nil, is called after each file and after each machine, and while a large
	// file is read, from whatever goroutine reads it; but never twice at a time, and not after
	// the end of Read.
	Progress func(Progress)
}

// Progress says how far Read has come. Machines and its total are 0 until every file has
// been looked at.
type Progress struct {
	File string // the last one done; with Size, one that is being read
	// Done and Size are the bytes read and all bytes of a large file that is being read, else
	// 0. What is read twice counts twice, but Done is never more than Size.
	Done, Size              int64
	Files, FilesTotal       int
	Machines, MachinesTotal int
}

const (
	defaultMaxFiles = 1_000_000
	defaultMaxDepth = 32
	// maxNested bounds how deep things in things are read; a hive in an image in a
	// bundle is three deep.
	maxNested = 6
	// maxParts bounds what one file may turn out to hold.
	maxParts = 20_000
	// keepFiles is for how many files what was read in the first pass is kept for the
	// second, so that a few files are read only once. Of files with many conversations only so many
	// are kept as one machine may have: dozens of captures would fill the memory.
	keepFiles = 256
)

// Read finds out what the inputs say and yields one host for each machine, ordered by
// name and domain, those without a name last. The order of inputs and readers being
// equal, so is the result. The readers are in order of trust, the most trusted first.
// What could not be read is a gap of the machine it belongs to, or of a host without a
// name. The only errors are a reader named by Options.As that does not exist, and the
// end of parent; the error comes last, with a nil host.
//
// Memory does not grow with the number of machines beyond about 300 bytes for each file:
// a first pass finds out whose each file is and keeps no more than that, a second one
// reads again, machine by machine. So files of one machine are found wherever they lie,
// also in one folder with ten thousand others, at the price of reading many files twice;
// the second time they come from the system's cache. The first 256 files, and files that
// hold several machines, are kept and read once.
func Read(parent context.Context, readers []Reader, inputs []Input, o Options) iter.Seq2[*host.Host, error] {
	return func(yield func(*host.Host, error) bool) {
		ctx, cancel := context.WithCancel(parent)
		defer cancel()
		d := driver{Options: o, readers: readers, all: readers, told: &told{tell: o.Progress}}
		if err := d.choose(); err != nil {
			yield(nil, err)
			return
		}
		d.walk(ctx, inputs)
		d.told.last.FilesTotal = len(d.files)
		machines, kept := d.first(ctx)
		done := Progress{Files: len(d.files), FilesTotal: len(d.files), MachinesTotal: len(machines)}
		for i, h := range inOrder(ctx, d.Workers, len(machines), func(i int) *host.Host {
			return d.second(ctx, machines[i], kept)
		}) {
			if ctx.Err() != nil {
				break // what the last ones say may be half of it
			}
			done.Machines = i + 1
			d.told.all(done)
			if !yield(h, nil) {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(nil, err)
		}
	}
}

type driver struct {
	Options
	readers []Reader
	all     []Reader // also those that Options.As excludes
	files   []file
	// places finds a file by its folder and name, both as placeOf joins them. It is made when
	// a reader first asks for a file beside its own, since few do.
	places map[string]int
	// folders are the files of each folder, in order; made with places.
	folders  map[string][]int
	placeAll sync.Once
	told     *told
}

// told tells progress, once at a time.
type told struct {
	tell func(Progress) // may be nil
	mu   sync.Mutex
	last Progress
}

// all says how far all files are.
func (t *told) all(p Progress) {
	if t.tell == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = p
	t.tell(p)
}

// file says how far one of them is.
func (t *told) file(name string, done, size int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.last
	p.File, p.Done, p.Size = name, min(done, size), size
	t.tell(p)
}

const (
	// largeFile is the size from which a file has progress of its own: less is read in no time.
	largeFile = 16 << 20
	// stepSize is how much of it is read from one word to the next.
	stepSize = 1 << 20
)

// counted tells how much of a large file was read.
type counted struct {
	r    io.ReaderAt
	name string
	size int64
	done atomic.Int64
	told *told
}

// ReadAt reads, and tells if that was another step.
func (c *counted) ReadAt(b []byte, off int64) (int, error) {
	n, err := c.r.ReadAt(b, off)
	if done := c.done.Add(int64(n)); done/stepSize != (done-int64(n))/stepSize {
		c.told.file(c.name, done, c.size)
	}
	return n, err
}

// counted gives in with its progress told, if it is large enough.
func (t *told) counted(in Input) Input {
	if t.tell != nil && in.File != nil && in.File.Size() >= largeFile {
		size := in.File.Size()
		in.File = io.NewSectionReader(&counted{r: in.File, name: in.Name, size: size, told: t}, 0, size)
	}
	return in
}

// file is a file to be read, or something that cannot be.
type file struct {
	name   string // as shown
	folder string // by which files of one machine find each other
	given  *io.SectionReader
	tree   fs.FS // where path is, if not given
	path   string
	whole  bool   // path is a folder of a kind that one reader reads as a whole
	broken string // why it cannot be read at all
}

func (d *driver) choose() error {
	if d.Workers <= 0 {
		d.Workers = runtime.GOMAXPROCS(0)
	}
	if d.MaxFiles <= 0 {
		d.MaxFiles = defaultMaxFiles
	}
	if d.MaxDepth <= 0 {
		d.MaxDepth = defaultMaxDepth
	}
	if d.As == "" {
		return nil
	}
	var names []string
	for _, r := range d.readers {
		if r.Name == d.As {
			r.Sniff = func(Probe) bool { return true }
			d.readers = []Reader{r}
			return nil
		}
		names = append(names, r.Name)
	}
	return fmt.Errorf("there is no reader %q; there are %s", d.As, strings.Join(names, ", "))
}

// walk lists the files, in the order of inputs and within a tree by name.
func (d *driver) walk(ctx context.Context, inputs []Input) {
	for _, in := range inputs {
		name := strings.ReplaceAll(in.Name, `\`, "/")
		if in.Tree == nil {
			f := file{name: in.Name, folder: strings.Trim(path.Dir(path.Clean(name)), "./"), given: in.File}
			if in.File == nil {
				f.broken = "the input is neither a file nor a folder"
			}
			d.files = append(d.files, f)
			continue
		}
		d.walkTree(ctx, in.Tree, strings.TrimSuffix(name, "/"))
	}
}

func (d *driver) walkTree(ctx context.Context, tree fs.FS, root string) {
	errFull := errors.New("full")
	// The callback returns no error but errFull and that of ctx; a folder that cannot be
	// read is an entry of its own.
	err := fs.WalkDir(tree, ".", func(p string, e fs.DirEntry, err error) error {
		f := file{name: path.Join(root, p), folder: strings.Trim(path.Join(root, path.Dir(p)), "./"), tree: tree, path: p}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			f.broken = err.Error()
		case e.IsDir() && strings.Count(p, "/") >= d.MaxDepth:
			f.broken = fmt.Sprintf("folders are nested more than %d deep here", d.MaxDepth)
			d.files = append(d.files, f)
			return fs.SkipDir
		case e.IsDir() && d.whole(tree, p):
			f.folder, f.whole = strings.Trim(f.name, "./"), true
			d.files = append(d.files, f)
			return fs.SkipDir
		case e.IsDir():
			return nil
		case e.Type()&fs.ModeSymlink != 0:
			f.broken = "it is a symbolic link, which is not followed"
		case !e.Type().IsRegular():
			f.broken = "it is not a regular file"
		case len(d.files) >= d.MaxFiles:
			f.broken = fmt.Sprintf("there are more than %d files; this one and all behind it were not read", d.MaxFiles)
			d.files = append(d.files, f)
			return errFull
		}
		d.files = append(d.files, f)
		return nil
	})
	if err != nil && !errors.Is(err, errFull) && ctx.Err() == nil {
		d.files = append(d.files, file{name: root, folder: root, broken: err.Error()})
	}
}

// whole reports whether one reader reads the folder at p as a whole.
func (d *driver) whole(tree fs.FS, p string) bool {
	sub, err := fs.Sub(tree, p)
	return err == nil && slices.ContainsFunc(d.readers, func(r Reader) bool { return r.Folder != nil && r.Folder(sub) })
}

// first reads every file to find out whose it is.
func (d *driver) first(ctx context.Context) (machines []*machine, kept map[int][]*host.Host) {
	kept = map[int][]*host.Host{}
	talks := 0 // that are kept
	var items []item
	type seen struct {
		ids   []identity
		blank []bool
		hosts []*host.Host
	}
	for i, s := range inOrder(ctx, d.Workers, len(d.files), func(i int) seen {
		hosts := d.read(ctx, i)
		s := seen{hosts: hosts}
		for _, h := range hosts {
			s.ids = append(s.ids, identityOf(h))
			s.blank = append(s.blank, blank(h))
		}
		if i >= keepFiles && len(hosts) == 1 {
			s.hosts = nil
		}
		return s
	}) {
		n := 0
		for _, h := range s.hosts {
			n += h.Traffic.Len()
		}
		if talks+n > host.MaxTalks && len(s.hosts) == 1 {
			s.hosts = nil
		} else {
			talks += n
		}
		for part, id := range s.ids {
			items = append(items, item{id: id, folder: d.files[i].folder, blank: s.blank[part], file: i, part: part})
		}
		if s.hosts != nil {
			kept[i] = s.hosts
		}
		d.told.all(Progress{File: d.files[i].name, Files: i + 1, FilesTotal: len(d.files)})
	}
	return group(items), kept
}

// blank reports whether nothing is known of h but gaps.
func blank(h *host.Host) bool {
	return !h.Name.Known() && !h.Build.Known() && !h.Product.Known() && h.Updates.Len() == 0 && len(h.Updates.Listings()) == 0 &&
		len(h.Packages) == 0 && len(h.Licences) == 0 && len(h.Programs) == 0 && len(h.Errors) == 0 && !h.RestartChecked.Known() && len(h.Restart) == 0 && len(h.Files) == 0 && !h.Setup.Shown() && !h.Network.Shown()
}

// second puts together what the files of one machine say.
func (d *driver) second(ctx context.Context, m *machine, kept map[int][]*host.Host) *host.Host {
	h := new(host.Host)
	for _, it := range m.items {
		hosts, ok := kept[it.file]
		if !ok {
			hosts = d.read(ctx, it.file)
		}
		if it.part < len(hosts) { // a file may change between the passes
			h.Merge(hosts[it.part])
		}
	}
	if m.gap != "" {
		h.Gap(host.Gap{
			What: "machine", From: host.Source{Input: d.files[m.items[0].file].name}, Why: m.gap,
			Hint: "put the file into a folder together with the systeminfo text of its machine",
		})
	}
	return h
}

// read reads one file and gives a host for each machine, or part of one, that it holds;
// at least one, but none for a part of another file.
func (d *driver) read(ctx context.Context, i int) []*host.Host {
	f := d.files[i]
	if f.broken != "" {
		return []*host.Host{unread(f.name, f.broken)}
	}
	if f.whole {
		sub, err := fs.Sub(f.tree, f.path)
		if err != nil {
			return []*host.Host{unread(f.name, err.Error())}
		}
		return d.descend(ctx, Input{Name: f.name, Tree: sub}, 0, nil)
	}
	hosts := []*host.Host(nil)
	err := f.opened(func(name string) (file, bool) { return d.beside(f, name) }, func(in Input) {
		in.Folder = func() []Neighbour { return d.neighbours(i, in) }
		hosts = d.descend(ctx, d.told.counted(in), 0, nil)
	})
	if err != nil {
		return []*host.Host{unread(f.name, err.Error())}
	}
	return hosts
}

// neighbours are the files in the folder of file i, which is open as in.
func (d *driver) neighbours(i int, in Input) (list []Neighbour) {
	d.place()
	for _, at := range d.folders[d.files[i].folder] {
		f := d.files[at]
		n := Neighbour{Name: f.name, Self: at == i}
		n.Visit = func(use func(*io.SectionReader)) error {
			other, closeOther := in, func() {}
			if at != i {
				var err error
				if other, closeOther, err = f.open(); err != nil {
					return err
				}
			}
			defer closeOther()
			use(d.told.counted(other).File)
			return nil
		}
		list = append(list, n)
	}
	return list
}

// opened opens the file for as long as use takes, and with it the files beside it that use
// asks for.
func (f file) opened(beside func(name string) (file, bool), use func(Input)) error {
	in, closeFile, err := f.open()
	if err != nil {
		return err
	}
	defer func() { closeFile() }() // it grows
	in.Beside = func(name string) *io.SectionReader {
		n, ok := beside(name)
		if !ok {
			return nil
		}
		other, closeOther, err := n.open()
		if err != nil {
			return nil
		}
		closeThis := closeFile
		closeFile = func() { closeOther(); closeThis() }
		return other.File
	}
	use(in)
	return nil
}

// inTree reads a file in a folder that one reader read as a whole, and by whatever reader
// understands it: Options.As was about the folder.
func (d *driver) inTree(ctx context.Context, n Input, depth int) (hosts []*host.Host) {
	beside := func(name string) (file, bool) {
		p := path.Join(path.Dir(n.Path), name)
		return file{name: name, tree: n.Tree, path: p}, fs.ValidPath(p)
	}
	every := driver{Options: d.Options, readers: d.all, all: d.all, told: d.told}
	err := file{name: n.Name, tree: n.Tree, path: n.Path}.opened(beside, func(in Input) {
		hosts = every.descend(ctx, d.told.counted(in), depth, nil)
	})
	if err != nil {
		return []*host.Host{unread(n.Name, err.Error())}
	}
	return hosts
}

// beside finds a file in the folder of f.
func (d *driver) beside(f file, name string) (file, bool) {
	d.place()
	i, ok := d.places[placeOf(f.folder, name)]
	if !ok {
		return file{}, false
	}
	return d.files[i], true
}

// place finds out where the files lie.
func (d *driver) place() {
	d.placeAll.Do(func() {
		d.places, d.folders = map[string]int{}, map[string][]int{}
		for i, f := range d.files {
			if f.broken != "" {
				continue
			}
			p := placeOf(f.folder, path.Base(strings.ReplaceAll(f.name, `\`, "/")))
			if _, taken := d.places[p]; !taken {
				d.places[p] = i
			}
			if !f.whole {
				d.folders[f.folder] = append(d.folders[f.folder], i)
			}
		}
	})
}

func placeOf(folder, name string) string { return folder + "\x00" + strings.ToLower(name) }

func (d *driver) descend(ctx context.Context, in Input, depth int, hosts []*host.Host) []*host.Host {
	h := new(host.Host)
	r, why := d.recognise(&in)
	if why != "" {
		return append(hosts, unread(in.Name, why))
	}
	in.Depth = depth
	nested, err := r.Read(ctx, in, h)
	if errors.Is(err, ErrPart) {
		return hosts
	}
	if err != nil {
		h.Gap(host.Gap{What: "file", From: host.Source{Reader: r.Name, Input: in.Name}, Why: err.Error()})
	}
	if in.Tree != nil {
		for _, n := range nested {
			for _, part := range d.inTree(ctx, n, depth+1) {
				h.Merge(part)
			}
		}
		return append(hosts, h)
	}
	if len(nested) == 0 || len(h.Gaps) > 0 || !blank(h) {
		hosts = append(hosts, h)
	}
	if len(nested) > 0 && strings.HasPrefix(nested[0].Name, in.Name+"/") {
		return d.together(ctx, in, nested, depth, hosts)
	}
	for _, n := range nested {
		if depth >= maxNested || len(hosts) >= maxParts {
			return append(hosts, unread(n.Name, "too much is nested in this file; the rest of it was not read"))
		}
		hosts = d.descend(ctx, n, depth+1, hosts)
	}
	return hosts
}

// together reads the files of an archive and joins them by machine, as those of a folder. Here
// what names no machine is of the only one that something in the archive names, wherever in
// it that lies. hosts ends with what is known of the archive itself, if anything.
func (d *driver) together(ctx context.Context, in Input, nested []Input, depth int, hosts []*host.Host) []*host.Host {
	var parts []*host.Host
	var items []item
	add := func(h *host.Host, name string) {
		dir := path.Dir(strings.ReplaceAll(name, `\`, "/"))
		items = append(items, item{id: identityOf(h), folder: strings.Trim(dir, "./"), blank: blank(h), file: 0, part: len(parts)})
		parts = append(parts, h)
	}
	for _, h := range hosts {
		add(h, in.Name+"/")
	}
	for _, n := range nested {
		if depth >= maxNested || len(parts) >= maxParts {
			add(unread(n.Name, "too much is nested in this file; the rest of it was not read"), n.Name)
			break
		}
		for _, h := range d.descend(ctx, n, depth+1, nil) {
			add(h, n.Name)
		}
	}
	machines := group(items)
	several := len(machines) > 1 && machines[1].id.name != "" // those with a name come first
	hosts = nil
	for i, m := range machines {
		if i == 0 || several || !machines[0].id.fits(m.id) {
			hosts = append(hosts, new(host.Host))
		}
		h := hosts[len(hosts)-1]
		if !several && machines[0].id.fits(m.id) {
			h = hosts[0]
		}
		for _, it := range m.items {
			h.Merge(parts[it.part])
		}
	}
	return hosts
}

// recognise finds the reader for in and gives in its rank, or says why there is none.
func (d *driver) recognise(in *Input) (r Reader, why string) {
	if in.Tree != nil {
		for i, r := range d.readers {
			if r.Folder != nil && r.Folder(in.Tree) {
				in.Rank = len(d.readers) - i
				return r, ""
			}
		}
	}
	if in.File == nil {
		return r, "there is a folder where a file is expected"
	}
	head := make([]byte, min(in.File.Size(), probeSize))
	n, err := in.File.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return r, err.Error()
	}
	head = head[:n]
	p := Probe{Name: in.Name, Head: head, Text: Decode(head)}
	for i, r := range d.readers {
		if r.Sniff(p) {
			in.Rank = len(d.readers) - i
			return r, ""
		}
	}
	return r, "no reader understands this file: " + look(head, p.Text)
}

func unread(name, why string) *host.Host {
	h := new(host.Host)
	h.Gap(host.Gap{
		What: "file", From: host.Source{Input: name}, Why: why,
		Hint: "evidence is the text of systeminfo, wmic qfe or Get-HotFix; --as NAME chooses the reader",
	})
	return h
}

// known are beginnings of files that people put beside evidence.
var known = []struct{ magic, what string }{
	{"\xff\xd8\xff", "it is a JPEG picture"},
	{"\x89PNG", "it is a PNG picture"},
	{"GIF8", "it is a GIF picture"},
	{"BM", "it looks like a bitmap"},
	{"%PDF", "it is a PDF document"},
	{"\x1f\x8b", "it is compressed with gzip; unpack it"},
	{"7z\xbc\xaf", "it is a 7-Zip archive; unpack it"},
	{"Rar!", "it is a RAR archive; unpack it"},
	{"MZ", "it is a program"},
	{"\x0c\xa5", "it is a file of nfcapd; print it: nfdump -r FILE -o json > flows.json"}, // https://github.com/phaag/nfdump, nffile.h, read 2026-11-25
	{"<!DOCTYPE", "it is HTML"},
	{"<html", "it is HTML"},
}

func look(head []byte, text string) string {
	switch {
	case len(head) == 0:
		return "it is empty"
	case len(bytes.Trim(head, "\x00")) == 0:
		return "it begins with nothing but zero bytes"
	case strings.TrimSpace(text) == "":
		return "it holds nothing but white space"
	}
	for _, k := range known {
		if bytes.HasPrefix(head, []byte(k.magic)) {
			return k.what
		}
	}
	return "it looks like none of the kinds known"
}

// open opens the file; closing it is for the caller, after reading.
func (f file) open() (in Input, closeFile func(), err error) {
	if f.given != nil {
		return Input{Name: f.name, File: f.given}, func() {}, nil
	}
	opened, err := f.tree.Open(f.path)
	if err != nil {
		return in, nil, err
	}
	closeFile = func() { _ = opened.Close() } // it was only read
	info, err := opened.Stat()
	if err != nil {
		closeFile()
		return in, nil, err
	}
	at, ok := opened.(io.ReaderAt)
	if !ok { // such as a file in a ZIP archive
		b, err := io.ReadAll(io.LimitReader(opened, MaxText+1))
		if err == nil && len(b) > MaxText {
			err = fmt.Errorf("it is larger than %d MiB, and is read only from an ordinary folder", MaxText>>20)
		}
		if err != nil {
			closeFile()
			return in, nil, err
		}
		return Input{Name: f.name, File: io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))}, closeFile, nil
	}
	return Input{Name: f.name, File: io.NewSectionReader(at, 0, info.Size())}, closeFile, nil
}

// inOrder calls do for 0 to n-1, up to workers at a time, and yields the results in order.
// No more than workers results wait. It stops early when
// parent ends.
func inOrder[T any](parent context.Context, workers, n int, do func(int) T) iter.Seq2[int, T] {
	return func(yield func(int, T) bool) {
		ctx, cancel := context.WithCancel(parent)
		defer cancel()
		waiting := make(chan chan T, workers-1)
		go func() {
			defer close(waiting)
			for i := range n {
				c := make(chan T, 1)
				select {
				case waiting <- c:
				case <-ctx.Done():
					return
				}
				go func() { c <- do(i) }()
			}
		}()
		i := 0
		for c := range waiting {
			v := <-c
			if ctx.Err() == nil && !yield(i, v) {
				cancel() // and wait for those begun: they may use what the caller closes
			}
			i++
		}
	}
}
