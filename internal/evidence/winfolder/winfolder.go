// Package winfolder reads the Windows folder of a machine that is switched off, or the whole
// system drive: which versions its program files have, whether files wait to be replaced,
// and where the hives and logs are that other readers read. Of the hundred thousand files
// in such a folder it opens some thirty.
package winfolder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/cbs"
	"github.com/oldguard/oldguard/internal/host"
)

const readerName = "winfolder"

// Reader reads Windows folders.
var Reader = evidence.Reader{
	Name: readerName,
	Doc: `The Windows folder of a machine that is switched off, or its system drive: name the folder itself or one
above it, such as /mnt/evidence/Windows. Names are found without regard to case. Of a Windows folder the hives in
System32\config with their logs, Logs\CBS\CBS.log, winsxs\pending.xml and the version resources of some twenty program
files are read, and nothing else; of a system drive its Windows folder and nothing else.
The versions of files prove at which revision the machine is at least, and by the kernel which build and architecture.
They do not prove a rollup installed: the security-only update of the same month brings the same kernel. What is in effect
is in the hives; without them the manifests in servicing\Packages show which packages are there, not their state.
A program file of Windows or a pending.xml is read by itself too.`,
	Sniff: func(p evidence.Probe) bool {
		_, known := programNamed(p.Name)
		return known && bytes.HasPrefix(p.Head, []byte("MZ")) || strings.Contains(p.Text, "<"+rootPending)
	},
	Folder: func(tree fs.FS) bool {
		_, ok := locate(Fold(tree))
		return ok
	},
	Read: read,
}

// Paths in a Windows folder.
const (
	config   = "System32/config"
	software = config + "/SOFTWARE"
	kernel   = "System32/ntoskrnl.exe"
	pending  = "winsxs/pending.xml"
	packages = "servicing/Packages"
)

// nested are the files that other readers read.
var nested = []string{software, config + "/SYSTEM", config + "/COMPONENTS", "Logs/CBS/CBS.log"}

// programs are the files whose versions are read: the kernel, and of each part of Windows
// that updates replace often one file. No release has all of them, and Server Core fewer.
var programs = []string{
	kernel,
	"System32/hal.dll",
	"System32/ntdll.dll",
	"System32/kernel32.dll",
	"System32/win32k.sys",
	"System32/crypt32.dll",
	"System32/wintrust.dll",
	"System32/schannel.dll",
	"System32/lsasrv.dll",
	"System32/kerberos.dll",
	"System32/netlogon.dll",
	"System32/rpcrt4.dll",
	"System32/ole32.dll",
	"System32/oleaut32.dll",
	"System32/gdi32.dll",
	"System32/shell32.dll",
	"System32/spoolsv.exe",
	"System32/win32spl.dll",
	"System32/mshtml.dll",
	"System32/jscript.dll",
	"System32/vbscript.dll",
	"System32/drivers/tcpip.sys",
	"System32/drivers/srv.sys",
	"System32/drivers/srv2.sys",
	"System32/drivers/http.sys",
	"System32/drivers/termdd.sys",
	"System32/clfs.sys",
	"System32/drivers/clfs.sys",
}

// A folder with hives is a Windows folder if it also has one of these; one without them
// holds little else and is walked like any other.
var marksOfWindows = []string{kernel, "System32/drivers", "winsxs", "servicing"}

// A folder with a Windows folder in it is a system drive if it also has one of these; else
// there may be other evidence beside the Windows folder.
var marksOfDrive = []string{
	"Program Files", "Users", "Documents and Settings", "ProgramData", "System Volume Information", "$Recycle.Bin", "pagefile.sys", "bootmgr",
}

// locate finds the Windows folder in a tree: the tree itself, or in a system drive.
func locate(tree fs.FS) (dir string, ok bool) {
	if isWindows(tree, ".") {
		return ".", true
	}
	return "Windows", isWindows(tree, "Windows") && hasAny(tree, ".", marksOfDrive)
}

func isWindows(tree fs.FS, dir string) bool {
	return hasAny(tree, dir, []string{config}) && hasAny(tree, dir, marksOfWindows)
}

func hasAny(tree fs.FS, dir string, names []string) bool {
	for _, name := range names {
		if _, err := fs.Stat(tree, path.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

func read(ctx context.Context, in evidence.Input, h *host.Host) ([]evidence.Input, error) {
	if in.Tree == nil {
		return nil, alone(in, h)
	}
	tree := Fold(in.Tree)
	dir, ok := locate(tree)
	if !ok {
		return nil, errors.New("it is neither a Windows folder nor a system drive with one")
	}
	r := reading{h: h, tree: tree, dir: dir, name: in.Name, rank: in.Rank}
	for _, name := range programs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r.program(name)
	}
	r.pending()
	var inputs []evidence.Input
	for _, name := range nested {
		if r.there(name) {
			inputs = append(inputs, evidence.Input{Name: r.shown(name), Tree: tree, Path: path.Join(dir, name)})
		}
	}
	if len(inputs) == 0 || inputs[0].Path != path.Join(dir, software) {
		r.packages()
	}
	return inputs, nil
}

// reading is a Windows folder being read.
type reading struct {
	h    *host.Host
	tree fs.FS
	dir  string
	name string
	rank int
}

func (r *reading) shown(name string) string { return path.Join(r.name, r.dir, name) }

func (r *reading) source(name, at string) host.Source {
	return host.Source{Reader: readerName, Input: r.shown(name), At: at}
}

func (r *reading) gap(what, name string, err error, hint string) {
	r.h.Gap(host.Gap{What: what, From: r.source(name, ""), Why: err.Error(), Hint: hint})
}

// there reports whether there is such a file. What cannot be looked for is a gap.
func (r *reading) there(name string) bool {
	info, err := fs.Stat(r.tree, path.Join(r.dir, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.gap("file", name, err, "")
	}
	return err == nil && info.Mode().IsRegular()
}

// open opens a file, or gives nil and says why not unless it is not there.
func (r *reading) open(name string) fs.File {
	if !r.there(name) {
		return nil
	}
	f, err := r.tree.Open(path.Join(r.dir, name))
	if err != nil {
		r.gap("file", name, err, "")
		return nil
	}
	return f
}

func (r *reading) program(name string) {
	f := r.open(name)
	if f == nil {
		return
	}
	defer f.Close()
	v, err := ReadVersion(f)
	if err != nil {
		r.gap("file version", name, err, "")
		return
	}
	sayProgram(r.h, name, v, r.rank, r.source(name, atVersion))
}

const atVersion = "version resource"

// sayProgram: the version and architecture of the kernel are those of Windows. From Windows
// 10 on several releases share a kernel (19041 is in 2004 to 22H2), and only the registry
// tells which one it is. The revision is that of the file: see infer.Standing.AtLeast.
func sayProgram(h *host.Host, name string, v host.FileVersion, rank int, from host.Source) {
	h.Files = append(h.Files, host.File{Name: strings.ReplaceAll(name, "/", `\`), FileVersion: v, From: from})
	if name != kernel {
		return
	}
	h.Arch.Say(v.Arch, rank, from)
	if v.Version.Major < 10 {
		h.Build.Say(v.Version.Base(), rank, from)
	}
}

func (r *reading) pending() {
	f := r.open(pending)
	if f == nil {
		return
	}
	defer f.Close()
	sayPending(r.h, f, r.source(pending, ""))
}

// sayPending: that the file is there is what tells; how much is in it is for people.
func sayPending(h *host.Host, f io.Reader, from host.Source) {
	n, err := pendingFiles(f)
	text := "pending.xml is there: servicing finishes its work at the next restart"
	if n > 0 {
		text = fmt.Sprintf("pending.xml holds %s for servicing to carry out at the next restart", evidence.Count(n, "operation on a file", "operations on files"))
	}
	h.Restart = append(h.Restart, host.Reason{Text: text, From: []host.Source{from}})
	if err != nil {
		h.Gap(host.Gap{What: "pending operations", From: from, Why: err.Error()})
	}
}

const (
	maxPackages  = 100_000 // long-serviced machines have some thousands
	whyManifests = "manifests show which packages are there, not which are in effect: the hive SOFTWARE is not in the folder"
	hintHive     = `bring Windows\System32\config\SOFTWARE, with SOFTWARE.LOG1 and SOFTWARE.LOG2`
)

// packages lists the packages whose manifests are there, where no hive tells more. Manifests
// stay when a package is not in effect, so nothing is known of their state.
func (r *reading) packages() {
	from := r.source(packages, "")
	entries, err := fs.ReadDir(r.tree, path.Join(r.dir, packages))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.gap("updates", packages, err, hintHive)
		return
	}
	l := cbs.List{Cut: whyManifests, From: from, Rank: r.rank, Hint: hintHive}
	for _, e := range entries {
		name, isManifest := cutSuffixFold(e.Name(), ".mum")
		id, ok := cbs.Parse(name)
		if isManifest && ok && len(l.Packages) < maxPackages {
			l.Packages = append(l.Packages, host.Package{Name: name, KB: id.KB, From: r.source(packages+"/"+e.Name(), "")})
		}
	}
	if len(l.Packages) == 0 {
		r.gap("updates", software, errors.New("the folder has neither the hive SOFTWARE nor manifests of packages"), hintHive)
		return
	}
	l.Say(r.h)
}

func cutSuffixFold(s, suffix string) (string, bool) {
	n := len(s) - len(suffix)
	if n < 0 || !strings.EqualFold(s[n:], suffix) {
		return s, false
	}
	return s[:n], true
}

// alone reads a program file or a pending.xml that came without its folder. Whose program it
// is nobody tells but its name: only those that are part of Windows are taken.
func alone(in evidence.Input, h *host.Host) error {
	from := host.Source{Reader: readerName, Input: in.Name, At: atVersion}
	var head [2]byte
	if n, _ := in.File.ReadAt(head[:], 0); n < 2 || string(head[:]) != "MZ" {
		from.At = ""
		sayPending(h, io.NewSectionReader(in.File, 0, in.File.Size()), from)
		return nil
	}
	name, known := programNamed(in.Name)
	if !known {
		return errors.New("it is a program, and none of Windows whose version tells anything")
	}
	v, err := versionOf(in.File, in.File.Size())
	if err != nil {
		return err
	}
	sayProgram(h, name, v, in.Rank, from)
	return nil
}

func programNamed(file string) (name string, known bool) {
	base := path.Base(strings.ReplaceAll(file, `\`, "/"))
	i := slices.IndexFunc(programs, func(name string) bool { return strings.EqualFold(path.Base(name), base) })
	if i < 0 {
		return "", false
	}
	return programs[i], true
}
