package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/oldguard/oldguard/internal/assess"
	_ "github.com/oldguard/oldguard/internal/golden" // the flag -update
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"oldguard": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
			status := Run(ctx, os.Args[1:], System())
			stop()
			os.Exit(status)
		},
	})
}

// TestScript runs the transcripts: what people type and what they then see.
func TestScript(t *testing.T) {
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       flag.Lookup("update").Value.String() == "true",
		Setup: func(e *testscript.Env) error {
			return os.CopyFS(filepath.Join(e.WorkDir, "examples"), os.DirFS(examples))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": wantStatus,
			"write":  writeBytes,
			"edit":   edit,
		},
	})
}

// wantStatus is the command `status N oldguard ARG...`: it runs the program and checks its
// exit status, which exec cannot tell from another failure.
func wantStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N command arg...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit interface{ ExitCode() int }
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit status %d, want %s", got, args[0])
	}
}

// writeBytes is the command `write FILE TEXT [SIZE]`: it writes a Go string without quotes,
// for what a transcript cannot hold, and zeros behind it up to the size.
func writeBytes(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: write file text [size]")
	}
	text, err := strconv.Unquote(`"` + args[1] + `"`)
	ts.Check(err)
	name := ts.MkAbs(args[0])
	ts.Check(os.WriteFile(name, []byte(text), 0o600))
	if len(args) > 2 {
		size, err := strconv.ParseInt(args[2], 10, 64)
		ts.Check(err)
		ts.Check(os.Truncate(name, size))
	}
}

// edit is the command `edit FILE OLD NEW`: it replaces the first OLD, a Go string without
// quotes like NEW.
func edit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: edit file old new")
	}
	name := ts.MkAbs(args[0])
	b, err := os.ReadFile(name)
	ts.Check(err)
	var of, by string
	for i, p := range []*string{&of, &by} {
		*p, err = strconv.Unquote(`"` + args[i+1] + `"`)
		ts.Check(err)
	}
	if !bytes.Contains(b, []byte(of)) {
		ts.Fatalf("%s does not hold %q", args[0], of)
	}
	ts.Check(os.WriteFile(name, bytes.Replace(b, []byte(of), []byte(by), 1), 0o600))
}

func TestStatus(t *testing.T) {
	failed := errors.New("disk full")
	for _, tc := range []struct {
		name string
		err  error
		ran  bool
		want int
	}{
		{"nothing_wrong", nil, true, statusClear},
		{"bad", answer{statusBad}, true, statusBad},
		{"undecided", fmt.Errorf("assess: %w", answer{statusUndecided}), true, statusUndecided},
		{"failed", failed, true, statusFailed},
		{"failed_with_hint", withHint("try again", "x: %w", failed), true, statusFailed},
		{"wrong_flag", failed, false, statusUsage},
		{"wrong_value", usageError{withHint("see", "there is no format %q", "x")}, true, statusUsage},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := statusOf(tc.err, tc.ran); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
	for _, l := range []assess.Level{assess.Clear, assess.Undecided, assess.Bad} {
		if _, ok := levels[l]; !ok {
			t.Errorf("level %d has no status", l)
		}
	}
	for _, a := range statuses {
		for _, b := range statuses {
			if got, turned := worse(a.status, b.status), worse(b.status, a.status); got != turned {
				t.Errorf("worse(%d, %d) is %d one way and %d the other", a.status, b.status, got, turned)
			}
		}
	}
	if got := worse(statusUndecided, statusBad); got != statusBad {
		t.Errorf("undecided and bad are %d, want %d: 3 beats 4", got, statusBad)
	}
}

// TestCommands holds that each command has examples in its help, which show it, and a
// transcript that runs it.
func TestCommands(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("%d transcripts, %v", len(scripts), err)
	}
	var all strings.Builder
	for _, name := range scripts {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	n := 0
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			visit(sub)
		}
		n++
		if !strings.Contains(c.Example, c.CommandPath()) {
			t.Errorf("%s: the examples do not show it", c.CommandPath())
		}
		if !c.HasSubCommands() && !strings.Contains(all.String(), c.CommandPath()) {
			t.Errorf("%s: no transcript runs it", c.CommandPath())
		}
	}
	visit(newRoot(Env{}))
	if n < 8 {
		t.Errorf("looked at %d commands only", n)
	}
}

func TestInOrder(t *testing.T) {
	numbers := func(yield func(int, error) bool) {
		for i := range 100 {
			if !yield(i, nil) {
				return
			}
		}
	}
	for _, workers := range []int{1, 2, 7} {
		next := 0
		for v, err := range inOrder(workers, numbers, func(i int) int { return i * i }) {
			if err != nil || v != next*next {
				t.Fatalf("workers %d: got %d, %v; want %d", workers, v, err, next*next)
			}
			if next++; next == 60 {
				break
			}
		}
		if next != 60 {
			t.Errorf("workers %d: %d values, want 60", workers, next)
		}
	}
}

func TestVisible(t *testing.T) {
	if got := visible("a\x1b[2Jb\u202ec"); strings.ContainsAny(got, "\x1b\u202e") {
		t.Errorf("got %q", got)
	}
}
