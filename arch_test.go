// Package oldguard_test checks what holds for the repository as a whole: the layers, what each
// package may touch, and that the documents speak of things that exist.
package oldguard_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/oldguard/oldguard/internal/peer"
)

const (
	module      = "github.com/oldguard/oldguard"
	maxFileSize = 3 << 20 // what a clone costs everyone, for ever
)

// worldly are the packages of the standard library that a pure package does not import.
var worldly = []string{
	"database/sql", "log", "log/slog", "net", "net/http", "net/rpc", "net/smtp",
	"os", "os/exec", "os/signal", "os/user", "syscall",
}

// pkg is what `go list` says about a package. Its imports leave out those of its tests.
type pkg struct {
	ImportPath, Dir, Doc string
	GoFiles, Imports     []string
}

func packages(t *testing.T) (ps []pkg) {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Doc,GoFiles,Imports", "./...")
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		switch err := dec.Decode(&p); {
		case errors.Is(err, io.EOF):
			return ps
		case err != nil:
			t.Fatal(err)
		}
		if len(p.GoFiles) > 0 { // a folder of tests, such as this one, is nobody's import
			ps = append(ps, p)
		}
	}
}

// local gives an import path's place in the module without "internal/", or "" for what is
// not ours.
func local(importPath string) string {
	p, ok := strings.CutPrefix(importPath, module+"/")
	if !ok {
		return ""
	}
	return strings.TrimPrefix(p, "internal/")
}

func family(p string) string {
	f, _, _ := strings.Cut(p, "/")
	return f
}

// forTests reports whether a package is there for tests alone.
func forTests(p string) bool {
	return p == "golden" || p == "peer" || strings.HasSuffix(path.Base(p), "test")
}

// rules are those that ARCHITECTURE.md states.
type rules struct {
	layer                map[string]int // by family
	pure, stdOnly, https []string
}

func readRules(t *testing.T) (r rules) {
	t.Helper()
	doc := readFile(t, "ARCHITECTURE.md")
	_, block, _ := strings.Cut(doc, "```layers\n")
	block, _, _ = strings.Cut(block, "```")
	r.layer = map[string]int{}
	lines := strings.Split(strings.TrimSpace(block), "\n")
	for i, line := range lines {
		for _, name := range strings.Fields(line)[1:] {
			if _, twice := r.layer[name]; twice {
				t.Errorf("ARCHITECTURE.md: %s is in two layers", name)
			}
			r.layer[name] = len(lines) - i
		}
	}
	row := func(rule string) []string {
		t.Helper()
		_, after, ok := strings.Cut(doc, "\n| "+rule)
		_, after, _ = strings.Cut(after, "|")
		after, _, _ = strings.Cut(after, "|")
		names := strings.Fields(strings.ReplaceAll(after, "`", ""))
		if !ok || len(names) == 0 {
			t.Fatalf("ARCHITECTURE.md has no rule %q", rule)
		}
		return names
	}
	r.pure, r.stdOnly, r.https = row("pure:"), row("only the standard library"), row("may speak HTTP")
	if len(r.layer) < 10 {
		t.Fatalf("ARCHITECTURE.md names only %d packages in its layers", len(r.layer))
	}
	return r
}

// TestLayers checks who imports whom.
func TestLayers(t *testing.T) {
	r := readRules(t)
	for _, p := range packages(t) {
		if strings.TrimSpace(p.Doc) == "" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
		name := local(p.ImportPath)
		own := family(name)
		command := own == "cmd"
		if r.layer[own] == 0 && !command && !forTests(name) {
			t.Errorf("%s is in no layer of ARCHITECTURE.md", p.ImportPath)
			continue
		}
		for _, imp := range p.Imports {
			q := local(imp)
			other := family(q)
			foreign := strings.Contains(family(imp), ".")
			pure := slices.Contains(r.pure, own) && !forTests(name)
			switch {
			case pure && slices.Contains(worldly, imp):
				t.Errorf("%s imports %s, but is pure", p.ImportPath, imp)
			case slices.Contains(r.stdOnly, own) && foreign && other != own && !forTests(name):
				t.Errorf("%s imports %s, but keeps to the standard library", p.ImportPath, imp)
			case imp == "net/http" && !within(name, r.https) && !forTests(name):
				t.Errorf("%s imports %s, but may not speak HTTP", p.ImportPath, imp)
			case q == "" || forTests(name) || other == own && !forTests(q):
			case forTests(q):
				t.Errorf("%s imports %s, which is for tests", p.ImportPath, imp)
			case command && q != "cli":
				t.Errorf("%s imports %s; a command imports cli and nothing else", p.ImportPath, imp)
			case own == "evidence" && other == "catalog":
				t.Errorf("%s imports %s: evidence says what was seen, not what it means", p.ImportPath, imp)
			case !command && r.layer[other] >= r.layer[own]:
				t.Errorf("%s imports %s: nothing flows back", p.ImportPath, imp)
			}
		}
	}
}

// within reports whether name is one of the places or below one.
func within(name string, places []string) bool {
	return slices.ContainsFunc(places, func(p string) bool {
		return name == p || strings.HasPrefix(name, p+"/")
	})
}

// TestReaders checks that each evidence reader is listed, has samples with the expected result,
// and a fuzz target.
func TestReaders(t *testing.T) {
	const root = "internal/evidence/"
	var listed, readers []string
	for _, p := range packages(t) {
		name, ok := strings.CutPrefix(p.ImportPath, module+"/"+root)
		if !ok {
			continue
		}
		if name == "all" {
			for _, imp := range p.Imports {
				if r, ok := strings.CutPrefix(imp, module+"/"+root); ok {
					listed = append(listed, r)
				}
			}
			continue
		}
		if declaresReader(t, p) {
			readers = append(readers, name)
		}
	}
	for _, name := range readers {
		if !slices.Contains(listed, name) {
			t.Errorf("%s%s is not listed in %sall", root, name, root)
		}
	}
	for _, name := range listed {
		dir := root + name
		var golden, fuzz bool
		err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case strings.HasSuffix(p, "_test.go"):
				fuzz = fuzz || strings.Contains(readFile(t, p), "\nfunc Fuzz")
			case strings.Contains(filepath.ToSlash(p), "/testdata/"):
				base := filepath.Base(p)
				golden = golden || strings.HasPrefix(base, "want") || strings.HasSuffix(base, ".want.json") || filepath.Ext(base) == ".golden"
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if !golden {
			t.Errorf("%s has no expected result in testdata", dir)
		}
		if !fuzz {
			t.Errorf("%s has no fuzz target", dir)
		}
	}
}

// declaresReader reports whether a package below evidence makes an evidence.Reader.
func declaresReader(t *testing.T, p pkg) bool {
	t.Helper()
	if forTests(p.ImportPath) {
		return false
	}
	for _, f := range p.GoFiles {
		if strings.Contains(readFile(t, filepath.Join(p.Dir, f)), "evidence.Reader{") {
			return true
		}
	}
	return false
}

// TestFilesAreSmall keeps large files out of the history.
func TestFilesAreSmall(t *testing.T) {
	if _, err := os.Stat(".git"); err != nil {
		t.Skip("not a git checkout")
	}
	out, err := exec.Command(peer.Need(t, "git"), "ls-files", "-z").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		info, err := os.Lstat(name)
		if err != nil {
			continue // removed, not yet committed
		}
		if info.Size() > maxFileSize {
			t.Errorf("%s has %d bytes; at most %d", name, info.Size(), maxFileSize)
		}
	}
}

var (
	quoted    = regexp.MustCompile("`([^`\n]+)`")
	pathLike  = regexp.MustCompile(`^[A-Za-z.][\w.-]*(/[\w.-]+)+$|^[\w-]+\.(go|md|yml|mod)$|^Makefile$`)
	makeWords = regexp.MustCompile(`\bmake ([a-z][a-z0-9-]*)`)
	goRun     = regexp.MustCompile(`go run (\./.*)`)
)

// TestArchitectureNamesWhatExists checks the paths that ARCHITECTURE.md names. A package written
// without internal/, like a name in the layers, may be yet to come.
func TestArchitectureNamesWhatExists(t *testing.T) {
	r := readRules(t)
	doc := readFile(t, "ARCHITECTURE.md")
	if n := strings.Count(doc, "\n"); n > 150 {
		t.Errorf("ARCHITECTURE.md has %d lines; nobody reads more than 150", n)
	}
	n := 0
	for _, m := range quoted.FindAllStringSubmatch(doc, -1) {
		p := m[1]
		if !pathLike.MatchString(p) || p == "want.json" {
			continue
		}
		n++
		if !exists(p) && r.layer[family(p)] == 0 {
			t.Errorf("ARCHITECTURE.md names %s, which does not exist", p)
		}
	}
	if n < 5 {
		t.Errorf("found only %d paths in ARCHITECTURE.md", n)
	}
}

// TestDocumentedCommandsExist checks the make targets, packages and examples that the documents
// tell people to run.
func TestDocumentedCommandsExist(t *testing.T) {
	makefile := readFile(t, "Makefile")
	n := 0
	for _, doc := range documents(t) {
		text := readFile(t, doc)
		var code strings.Builder
		for i, part := range strings.Split(text, "```") {
			if i%2 == 1 {
				code.WriteString(part)
				continue
			}
			for _, m := range quoted.FindAllStringSubmatch(part, -1) {
				code.WriteString(m[1] + "\n")
			}
		}
		for _, m := range makeWords.FindAllStringSubmatch(code.String(), -1) {
			n++
			if !strings.Contains(makefile, "\n"+m[1]+": ## ") {
				t.Errorf("%s: make has no target %s", doc, m[1])
			}
		}
		for _, m := range goRun.FindAllStringSubmatch(code.String(), -1) {
			n++
			command, _, _ := strings.Cut(m[1], "#")
			for word := range strings.FieldsSeq(command) {
				if (strings.HasPrefix(word, "./") || strings.HasPrefix(word, "examples/")) && !exists(word) {
					t.Errorf("%s: go run %s: there is no %s", doc, command, word)
				}
			}
		}
	}
	if n < 5 {
		t.Errorf("found only %d commands in the documents", n)
	}
}

// documents are the Markdown files that people read.
func documents(t *testing.T) []string {
	t.Helper()
	docs, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir("docs", func(p string, _ fs.DirEntry, err error) error {
		if filepath.Ext(p) == ".md" {
			docs = append(docs, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

func exists(p string) bool {
	_, err := os.Stat(filepath.FromSlash(p))
	return err == nil
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(b), "\r\n", "\n")
}

// TestDependenciesSayWhy: each module that we require ourselves carries its reason.
func TestDependenciesSayWhy(t *testing.T) {
	b, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		module, rest, ok := strings.Cut(line, " v")
		if !ok || !strings.Contains(module, ".") || strings.Contains(module, "//") {
			continue
		}
		if _, why, ok := strings.Cut(rest, "// "); !ok || why == "" {
			t.Errorf("go.mod: %s does not say what it is for", module)
		}
	}
}

// TestFragments: what a user would notice is told in the form that a release joins.
func TestFragments(t *testing.T) {
	files, err := filepath.Glob("changelog/unreleased/*.md")
	if err != nil || len(files) < 2 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	form := regexp.MustCompile(`^kind: (added|changed|fixed|removed)\n\S`)
	for _, name := range files {
		text, failed := os.ReadFile(name)
		if failed != nil {
			t.Fatal(failed)
		}
		if filepath.Base(name) != "README.md" && !form.Match(text) {
			t.Errorf("%s does not begin with its kind, as the README there says", name)
		}
	}
}
