package update

import (
	_ "embed"
	"strconv"
	"strings"
	"sync"
)

//go:embed known.txt
var knownText string

// KnownFile is a file that was seen elsewhere under the same name.
type KnownFile struct {
	SHA256 string // hexadecimal, lower case
	Size   int64
	Name   string // as Microsoft gives it
}

// Known are all files of the list known.txt, which says where they come from.
var Known = sync.OnceValue(func() (all []KnownFile) {
	for line := range strings.Lines(knownText) {
		f := strings.Fields(line)
		if len(f) != 3 || f[0] == "#" {
			continue
		}
		size, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			continue // the test of the list finds it
		}
		all = append(all, KnownFile{SHA256: f[0], Size: size, Name: f[2]})
	}
	return all
})

// KnownDigest finds a file by its SHA-256, hexadecimal.
func KnownDigest(sha256 string) (KnownFile, bool) {
	for _, f := range Known() {
		if strings.EqualFold(f.SHA256, sha256) {
			return f, true
		}
	}
	return KnownFile{}, false
}

// KnownName finds a file by its name; what a download has after an underscore is left out.
// A file of that name with another digest is another file.
func KnownName(name string) (KnownFile, bool) {
	if m := sha1Name.FindStringIndex(name); m != nil {
		name = name[:m[0]] + name[len(name)-len(".msu"):]
	}
	for _, f := range Known() {
		if strings.EqualFold(f.Name, name) {
			return f, true
		}
	}
	return KnownFile{}, false
}
