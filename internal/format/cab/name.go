package cab

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// decode reads a name. Without the mark for UTF-8 it is in the code page of the system that
// made the cabinet, which nothing states; 1252 is the most likely one. What is no UTF-8 under
// the mark comes out with U+FFFD, and has no path.
func decode(b []byte, utf bool) string {
	for _, c := range b {
		if c < utf8.RuneSelf {
			continue
		}
		if utf {
			return strings.ToValidUTF8(string(b), "\ufffd")
		}
		s, err := charmap.Windows1252.NewDecoder().Bytes(b)
		if err != nil {
			break
		}
		return string(s)
	}
	return string(b)
}

// Path is the name as a path that fs.ValidPath accepts, with slashes, and that is safe to make
// on any system. Where a name is not, the path is empty and why says so; no name is mended, so
// that two programs cannot disagree about what a file is called.
func (f *File) Path() (path, why string) { return f.path, f.why }

// ports are what follows COM and LPT; Windows takes the superscripts for digits.
var ports = map[string]bool{
	"0": true, "1": true, "2": true, "3": true, "4": true, "5": true, "6": true, "7": true, "8": true, "9": true,
	"¹": true, "²": true, "³": true,
}

const maxDepth = 16 // folders in a path

// devices are names that Windows takes for devices, in every folder and with every extension.
// https://learn.microsoft.com/windows/win32/fileio/naming-a-file, read 2026-11-22.
var devices = map[string]bool{
	"con": true, "prn": true, "aux": true, "nul": true, "conin$": true, "conout$": true, "clock$": true,
}

// SafePath is Path for a name from elsewhere. Backslashes separate, as slashes do.
func SafePath(name string) (path, why string) {
	path = strings.ReplaceAll(name, `\`, "/")
	switch {
	case path == "":
		return "", "the name is empty"
	case path[0] == '/':
		return "", "the name is an absolute path"
	case strings.Count(path, "/") >= maxDepth:
		return "", "the path is too deep"
	}
	for part := range strings.SplitSeq(path, "/") {
		if why = unsafePart(part); why != "" {
			return "", why
		}
	}
	return path, ""
}

func unsafePart(part string) string {
	if part == "" || part == "." {
		return "the path has an empty part"
	}
	if part == ".." {
		return "the path leads out of its folder"
	}
	for _, r := range part {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9', 'A' <= r && r <= 'Z': // nearly all
		case r == ':':
			return "the name has a colon: a drive, or a stream of another file"
		case r == utf8.RuneError, unicode.IsControl(r), unicode.In(r, unicode.Bidi_Control):
			return "the name has characters that are none or that hide others"
		case strings.ContainsRune(`<>"|?*`, r):
			return "the name has characters that Windows does not allow"
		}
	}
	if strings.HasSuffix(part, ".") || strings.HasSuffix(part, " ") {
		return "the name ends in a dot or a blank, which Windows drops"
	}
	base, _, _ := strings.Cut(part, ".")
	base = strings.TrimRight(base, " ")
	if len(base) > len("conout$") {
		return ""
	}
	base = strings.ToLower(base)
	port, ok := strings.CutPrefix(base, "com")
	if !ok {
		port, ok = strings.CutPrefix(base, "lpt")
	}
	if ok && ports[port] || devices[base] {
		return "the name is that of a device"
	}
	return ""
}

// places knows which paths are taken, as Windows compares them.
type places struct{ files, folders map[string]bool }

func newPlaces() places {
	return places{files: map[string]bool{}, folders: map[string]bool{}}
}

// take says why a path cannot be had; the first to come gets it.
func (p places) take(path string) (why string) {
	key := strings.ToLower(path)
	if p.files[key] || p.folders[key] {
		return "another file has this name"
	}
	for i, c := range key {
		if c == '/' && p.files[key[:i]] {
			return "a file has the name of its folder"
		}
	}
	for i, c := range key {
		if c == '/' {
			p.folders[key[:i]] = true
		}
	}
	p.files[key] = true
	return ""
}
