package oldguard_test

import (
	"bytes"
	"errors"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/oldguard/oldguard/internal/golden"
)

// outputBlock is an output that a document quotes: a comment with the command, which may end in
// "| head -N", and the block of text after it. It stands at the start of a line.
var outputBlock = regexp.MustCompile("(?m)^<!-- output: go run \\./cmd/oldguard (.+?)(?: \\| head -(\\d+))? -->\n```[a-z]*\n((?s:.*?))^```$")

// answered are the exit statuses with which the program has given an answer: nothing affected,
// something affected, undecided.
var answered = []int{0, 3, 4}

// TestQuotedOutput keeps the outputs quoted in the documents equal to the real ones; `make docs`
// mends them.
func TestQuotedOutput(t *testing.T) {
	var program string
	for _, doc := range documents(t) {
		text := readFile(t, doc)
		if got, want := len(outputBlock.FindAllString(text, -1)), strings.Count(text, "\n<!-- output:"); got != want {
			t.Errorf("%s: %d of %d quoted outputs are well formed", doc, got, want)
		}
		fresh := outputBlock.ReplaceAllStringFunc(text, func(block string) string {
			if program == "" {
				program = build(t)
			}
			m := outputBlock.FindStringSubmatch(block)
			return strings.TrimSuffix(block, m[3]+"```") + head(run(t, program, strings.Fields(m[1])), m[2]) + "```"
		})
		golden.Check(t, doc, []byte(fresh))
	}
}

// build compiles the program, since go run does not pass on its exit status.
func build(t *testing.T) string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "oldguard")
	if runtime.GOOS == "windows" {
		exe += ".exe"
	}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", exe, "./cmd/oldguard").CombinedOutput(); err != nil {
		t.Fatalf("go build ./cmd/oldguard: %v\n%s", err, out)
	}
	return exe
}

// run gives what the program prints on standard output.
func run(t *testing.T, program string, args []string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || !slices.Contains(answered, exit.ExitCode())) {
		t.Fatalf("oldguard %q: %v\n%s", args, err, stderr.String())
	}
	return strings.ReplaceAll(stdout.String(), "\r\n", "\n")
}

// head gives the first n lines of text, all if n is empty.
func head(text, n string) string {
	if n == "" {
		return text
	}
	limit, err := strconv.Atoi(n)
	if err != nil {
		return text
	}
	lines := strings.SplitAfter(text, "\n")
	return strings.Join(lines[:min(limit, len(lines))], "")
}
