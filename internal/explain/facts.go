package explain

import (
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"sync"

	catalogdata "github.com/oldguard/oldguard/internal/catalog/data"
	"github.com/oldguard/oldguard/winver"
)

// The tables of this package, and those of the catalogue whose sources it quotes.
//
//go:embed data/*.txt
var ownTables embed.FS

type errorRow struct {
	code             uint32 // an HRESULT; 0 where only the words are known
	name, says       string
	cause, cure      string
	confidence, from string
}

type article struct {
	what, confidence, source string
}

type file struct {
	arch, name, sha256, size, confidence, source string
}

type buildFact struct {
	builds []string
	line   Line
}

// credit is the source of a row of the catalogue's tables.
type credit struct {
	release, confidence, source string
}

type trap struct {
	rule, releases, why string
}

type facts struct {
	errors    []errorRow
	articles  map[winver.KB]article
	files     map[winver.KB][]file
	notes     map[winver.KB][]Line
	builds    []buildFact
	revisions map[winver.KB]credit // of the build an update leads to
	servicing map[winver.KB]credit // of servicing stacks and SHA-2 support
	traps     map[winver.KB][]trap
}

// tables reads the tables, once. They are part of the program: an error is a mistake in
// them, which the tests find.
var tables = sync.OnceValues(func() (*facts, error) {
	f := &facts{
		articles: map[winver.KB]article{}, files: map[winver.KB][]file{}, notes: map[winver.KB][]Line{},
		revisions: map[winver.KB]credit{}, servicing: map[winver.KB]credit{}, traps: map[winver.KB][]trap{},
	}
	kb := func(s string, use func(winver.KB)) error {
		k, err := winver.ParseKB(s)
		if err == nil {
			use(k)
		}
		return err
	}
	own, err := fs.Sub(ownTables, "data")
	if err != nil {
		return nil, err
	}
	for _, t := range []struct {
		files   fs.FS
		name    string
		columns int
		row     func(c []string) error
	}{
		{own, "errors.txt", 7, func(c []string) error {
			code := uint64(0)
			if c[0] != "-" {
				var err error
				if code, err = strconv.ParseUint(c[0], 0, 32); err != nil {
					return err
				}
			}
			f.errors = append(f.errors, errorRow{uint32(code), dash(c[1]), c[2], c[3], c[4], c[5], c[6]}) // #nosec G115 -- parsed as 32 bits
			return nil
		}},
		{own, "articles.txt", 4, func(c []string) error {
			return kb(c[0], func(k winver.KB) { f.articles[k] = article{c[1], c[2], c[3]} })
		}},
		{own, "files.txt", 7, func(c []string) error {
			return kb(c[0], func(k winver.KB) {
				f.files[k] = append(f.files[k], file{c[1], c[2], dash(c[3]), dash(c[4]), c[5], c[6]})
			})
		}},
		{own, "notes.txt", 5, func(c []string) error {
			return kb(c[0], func(k winver.KB) {
				f.notes[k] = append(f.notes[k], Line{Text: c[2], Confidence: c[3], Source: c[4], Conflict: c[1] == "conflict"})
			})
		}},
		{own, "builds.txt", 5, func(c []string) error {
			f.builds = append(f.builds, buildFact{
				strings.Split(c[0], ","),
				Line{Text: c[2], Confidence: c[3], Source: c[4], Conflict: c[1] == "conflict"},
			})
			return nil
		}},
		{catalogdata.Files, "revisions.txt", 7, func(c []string) error {
			for _, s := range c[2:4] {
				if s == "-" {
					continue
				}
				if err := kb(s, func(k winver.KB) { f.revisions[k] = credit{c[0], c[5], c[6]} }); err != nil {
					return err
				}
			}
			return nil
		}},
		{catalogdata.Files, "servicing.txt", 7, func(c []string) error {
			return kb(c[1], func(k winver.KB) { f.servicing[k] = credit{c[0], c[5], c[6]} })
		}},
		{catalogdata.Files, "traps.txt", 4, func(c []string) error {
			return kb(c[0], func(k winver.KB) { f.traps[k] = append(f.traps[k], trap{c[1], c[2], c[3]}) })
		}},
	} {
		if err := rows(t.files, t.name, t.columns, t.row); err != nil {
			return nil, err
		}
	}
	return f, nil
})

// rows gives the rows of a table: tab-separated, "#" begins a comment.
func rows(files fs.FS, name string, columns int, row func([]string) error) error {
	b, err := fs.ReadFile(files, name)
	if err != nil {
		return err
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		c := strings.Split(line, "\t")
		if len(c) < columns {
			return fmt.Errorf("%s:%d: %d columns, want %d", name, n, len(c), columns)
		}
		if err := row(c); err != nil {
			return fmt.Errorf("%s:%d: %w", name, n, err)
		}
	}
	return nil
}

func dash(s string) string {
	if s == "-" {
		return ""
	}
	return s
}
