package evidence

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"

	"github.com/oldguard/oldguard/internal/host"
)

// Input is one piece of evidence. Either File or Tree is set.
type Input struct {
	// Name is the input as the user named it; for a file in a tree, the path below it.
	Name string
	// File is a file. Whoever made the input closes what is behind it, after reading.
	File *io.SectionReader
	// Tree is a folder. A link in it is never followed, so it cannot lead out of it.
	Tree fs.FS
	// Path, for an input nested in another, is the file in Tree that is meant. It is opened
	// and closed by Read; what lies beside it is looked for in Tree, which should find names
	// without regard to case.
	Path string
	// Beside gives a file that lies in the same folder, by its name without regard to case;
	// nil if there is none, or none that can be read. Read sets it, and closes what it
	// gave. It is nil for what is nested in a file, unless whoever made the input sets it.
	Beside func(name string) *io.SectionReader
	// Folder gives the files of the folder in which the input lies, the input among them, in
	// the order in which they are read: for a kind that is written as a series of files.
	// It is nil where Beside is.
	Folder func() []Neighbour
	// Rank is the trust in the reader, for host.Fact.Say. Read sets it.
	Rank int
	// Depth is how many inputs this one is nested in. Read sets it.
	Depth int
}

// Neighbour is a file in the folder of an input.
type Neighbour struct {
	Name string // as Input.Name
	Self bool   // it is the input itself
	// Visit opens the file for as long as use takes. An error means that it could not be
	// opened, and use was not called.
	Visit func(use func(*io.SectionReader)) error
}

// ErrPart is what Reader.Read gives for a file that is a part of another one, with which it
// is read, such as the log of a hive. Nothing is said of it.
var ErrPart = errors.New("a part of another file")

// Reader is one kind of evidence that the program understands: code and its documentation
// together.
type Reader struct {
	// Name is what --as and reports call it: "systeminfo".
	Name string
	// Doc says what it is, how to obtain it, and what it proves.
	Doc string
	// Sniff reports whether the input looks like this kind. It sees the head only.
	Sniff func(Probe) bool
	// Folder reports whether a folder as a whole is of this kind; nil for kinds of which none
	// is. Such a folder is not walked, since most of what is in it is no evidence: Read gets
	// it as Input.Tree and gives as nested inputs the files in it that are for others to
	// read. They are all of one machine.
	Folder func(fs.FS) bool
	// Read says to h what the input says. What it cannot read it records as a gap of h;
	// an error means that nothing, or nothing more, could be read. An input that holds
	// several things, or the evidence of several machines, gives them as nested inputs
	// and says nothing about them itself; each is then read for itself. If their names go
	// on from in.Name with a slash, they are files of an archive, and joined by machine as
	// those of a folder are. Read keeps neither the input nor h, and may be called for
	// several inputs at the same time.
	Read func(ctx context.Context, in Input, h *host.Host) (nested []Input, err error)
}

// Probe is what a reader sees of an input to tell whether it is its kind.
type Probe struct {
	Name string // as in Input
	Head []byte // the first bytes, at most 32 KiB
	Text string // the head as text, whatever its encoding; see Decode
}

// probeSize is enough for the header and the first columns of systeminfo /FO TABLE, the
// longest header that any reader looks for, in UTF-16.
const probeSize = 32 << 10

// TextInput makes an input of text, for what is nested in a file.
func TextInput(name, text string) Input {
	return Input{Name: name, File: io.NewSectionReader(strings.NewReader(text), 0, int64(len(text)))}
}
