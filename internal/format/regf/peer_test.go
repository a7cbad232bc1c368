package regf_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/format/regf"
	"github.com/oldguard/oldguard/internal/peer"
	"github.com/oldguard/oldguard/internal/winreg"
)

// dataDir finds the collection of real hives, or skips the test.
func dataDir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("OLDGUARD_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "data") // beside the repository
	}
	dir = filepath.Join(dir, "hives")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no real hives here; set OLDGUARD_DATA: %v", err)
	}
	return dir
}

// unpack gives the files of the collection by their paths, unpacked.
func unpack(t testing.TB) map[string][]byte {
	t.Helper()
	dir := dataDir(t)
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		name := filepath.Base(p)
		if plain, packed := strings.CutSuffix(name, ".xz"); packed {
			name = plain
			if b, err = exec.Command(peer.Need(t, "xz"), "-dc", p).Output(); err != nil {
				return err
			}
		}
		if !strings.HasSuffix(name, ".tar") {
			files[name] = b
			return nil
		}
		for r := tar.NewReader(bytes.NewReader(b)); ; {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if files[path.Join("yarp", h.Name[min(len(h.Name), len("yarp/hives_for_tests")):])], err = io.ReadAll(r); err != nil {
				return err
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func section(b []byte) *io.SectionReader {
	return io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))
}

func open(b []byte, logs ...[]byte) (*regf.Hive, error) {
	var sections []*io.SectionReader
	for _, l := range logs {
		if bytes.Equal(l, missing) {
			sections = append(sections, nil)
			continue
		}
		sections = append(sections, section(l))
	}
	return regf.Open(bytes.NewReader(b), int64(len(b)), sections...)
}

// dump lists a key and all below it, a line for each key and value.
func dump(out []string, k winreg.Key, where string) []string {
	ticks := int64(0)
	if t := k.LastWrite(); !t.IsZero() {
		ticks = t.Unix()*1e7 + int64(t.Nanosecond())/100 + 116444736000000000
	}
	out = append(out, fmt.Sprintf("K %s %d", quote(where), ticks))
	values, _ := k.Values()
	for _, v := range values {
		out = append(out, fmt.Sprintf("V %s %s %d %d %s", quote(where), quote(v.Name), v.Type, len(v.Data), digest(v.Data)))
	}
	keys, _ := k.Subkeys()
	for _, c := range keys {
		out = dump(out, c, where+`\`+c.Name())
	}
	return out
}

func digest(b []byte) string {
	if len(b) <= 16 {
		return hex.EncodeToString(b)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func quote(s string) string { return hex.EncodeToString([]byte(s)) }

// hivexDump does in Python what dump does. What hivex refuses is a line E.
const hivexDump = `
import sys, hivex, hashlib
h = hivex.Hivex(sys.argv[1])
def q(s): return s.encode('utf-8', 'surrogateescape').hex()
def digest(b): return b.hex() if len(b) <= 16 else hashlib.sha256(b).hexdigest()
stack = [(h.root(), '')]
while stack:
    n, where = stack.pop()
    try: t = h.node_timestamp(n)
    except Exception: t = -1
    print('K', q(where), t)
    try: values = h.node_values(n)
    except Exception as e: values = []; print('E', q(where), 'values', e)
    for v in values:
        try: name = h.value_key(v); kind, data = h.value_value(v)
        except Exception as e: print('E', q(where), 'value', e); continue
        print('V', q(where), q(name), kind, len(data), digest(data))
    try: keys = h.node_children(n)
    except Exception as e: keys = []; print('E', q(where), 'keys', e)
    for c in reversed(keys):
        try: stack.append((c, where + '\\' + h.node_name(c)))
        except Exception as e: print('E', q(where), 'name', e)
`

// python is the interpreter of the system, which has the module that the package brings.
const python = "/usr/bin/python3"

// TestPeerHivex: whatever hivex reads of a hive, this package reads too, to the byte and in
// the same order.
func TestPeerHivex(t *testing.T) {
	peer.Need(t, "hivex")
	opened, exact := 0, 0
	files := unpack(t)
	for _, name := range slices.Sorted(mapKeys(files)) {
		if regf.Sniff(files[name]) != nil {
			continue
		}
		t.Run(strings.ReplaceAll(name, "/", "_"), func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "hive")
			if err := os.WriteFile(file, files[name], 0o600); err != nil {
				t.Fatal(err)
			}
			var complaint bytes.Buffer
			cmd := exec.Command(python, "-c", hivexDump, file)
			cmd.Stderr = &complaint
			out, err := cmd.Output()
			h, mine := open(files[name])
			if err != nil {
				t.Logf("hivex: %v; here: %v", lastLine(complaint.String()), mine)
				return
			}
			if mine != nil {
				t.Fatalf("hivex opens it; here: %v", mine)
			}
			opened++
			theirs := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
			ours := dump(nil, h.Root(), "")
			anomalies, n := h.Anomalies()
			if refused := slices.ContainsFunc(theirs, func(l string) bool { return l[0] == 'E' }); refused {
				t.Logf("hivex reads a part; %d lines there, %d here, anomalies: %v", len(theirs), len(ours), anomalies)
				have := map[string]bool{}
				for _, l := range ours {
					have[l] = true
				}
				for _, l := range theirs {
					if l[0] != 'E' && !have[l] {
						t.Errorf("only hivex: %s", l)
					}
				}
				return
			}
			exact++
			if diff := cmp.Diff(theirs, ours); diff != "" {
				t.Errorf("%d anomalies: %+v\n(-hivex +here):\n%.3000s", n, anomalies, diff)
			}
		})
	}
	t.Logf("hivex opens %d hives, %d without an error", opened, exact)
	if opened < 40 {
		t.Errorf("only %d hives were compared", opened)
	}
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

func mapKeys(m map[string][]byte) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// TestPeerSpeed: opening and walking the largest hive, every value of it, takes at most a
// fifth of the time of hivexml and of reglookup, and memory in proportion to the file.
func TestPeerSpeed(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes this slower, and not the others")
	}
	b := unpack(t)["SYSTEM"]
	file := filepath.Join(t.TempDir(), "SYSTEM")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	fastest := func(do func()) time.Duration {
		best := time.Hour
		for range 3 {
			start := time.Now()
			do()
			best = min(best, time.Since(start))
		}
		return best
	}
	keys, values, size := 0, 0, 0
	ours := fastest(func() {
		keys, values, size = 0, 0, 0
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		h, err := regf.Open(f, int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		var walk func(k winreg.Key)
		walk = func(k winreg.Key) {
			keys++
			size += len(k.Name())
			vs, err := k.Values()
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range vs {
				values++
				size += len(v.Name) + len(v.Data)
			}
			cs, err := k.Subkeys()
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range cs {
				walk(c)
			}
		}
		walk(h.Root())
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := open(b); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	t.Logf("here: %v for %d keys, %d values, %d bytes; Open allocates %.2f times the file", ours, keys, values, size,
		float64(after.TotalAlloc-before.TotalAlloc)/float64(len(b)))
	for _, tool := range []string{"hivexml", "reglookup"} {
		program := peer.Need(t, tool)
		theirs := fastest(func() {
			if err := exec.Command(program, file).Run(); err != nil {
				t.Fatal(err)
			}
		})
		t.Logf("%s: %v, %.1f times as long", tool, theirs, float64(theirs)/float64(ours))
		if theirs < 5*ours {
			t.Errorf("%s takes %v, less than five times %v", tool, theirs, ours)
		}
	}
}
