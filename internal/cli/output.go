package cli

// What goes where:
//
//   - Standard output carries the answer and nothing else: the report, or with --output
//     nothing. It is text in colours only if it is a terminal, NO_COLOR is not set and
//     --no-color is not given; otherwise it is the same text, plain and 100 columns wide.
//     JSON looks the same everywhere.
//   - Standard error carries what is said about the run: errors, each in lower case and
//     followed by a "hint:" line where there is a next step, and progress, if standard error
//     is a terminal and the run takes longer than a second. An answer that holds gaps is an
//     answer: they stand in it, not on standard error.
//   - What comes from evidence or from the command line is cleaned before it goes to a
//     terminal; package report does so for the answer, printError for errors.

import (
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"
	"unicode"

	"golang.org/x/term"

	"github.com/oldguard/oldguard/internal/evidence"
)

// Env is what a run takes from the world.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Now            func() time.Time
	Getenv         func(string) string
}

// System is the world of the process.
func System() Env {
	return Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Now: time.Now, Getenv: os.Getenv}
}

// terminal gives the width of the terminal that w is, 0 if it is none.
func terminal(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	switch {
	case err != nil:
		return 0
	case width <= 0:
		return unsizedWidth
	}
	return width
}

// unsizedWidth is the width of a terminal that does not tell its own.
const unsizedWidth = 80

// hinted is an error with the next step.
type hinted struct {
	error
	hint string
}

// Unwrap gives the error without the hint.
func (h hinted) Unwrap() error { return h.error }

func withHint(hint, format string, args ...any) error {
	return hinted{fmt.Errorf(format, args...), hint}
}

// printError writes an error and its hint.
func printError(w io.Writer, err error, hint string) {
	text := "oldguard: " + visible(err.Error()) + "\n"
	if hint != "" {
		text += "hint: " + visible(hint) + "\n"
	}
	_, _ = io.WriteString(w, text) // there is nowhere left to complain
}

// visible keeps what is quoted in an error from acting on a terminal.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
			return '\uFFFD'
		}
		return r
	}, s)
}

// meter shows progress in one line of a terminal.
type meter struct {
	w    io.Writer
	now  func() time.Time
	next time.Time
	// stdout is true if the report goes to the same screen: then it is its own progress.
	stdout, shown bool
}

const (
	meterDelay = time.Second // what is over by then needs no progress
	meterPause = 100 * time.Millisecond
)

// newMeter gives a meter for e's standard error, nil if that is no terminal.
func newMeter(e Env, stdout bool) *meter {
	if terminal(e.Stderr) == 0 {
		return nil
	}
	return &meter{w: e.Stderr, now: e.Now, next: e.Now().Add(meterDelay), stdout: stdout}
}

func (m *meter) show(p evidence.Progress) {
	if p.MachinesTotal > 0 && m.stdout {
		m.clear()
		return
	}
	now := m.now()
	if now.Before(m.next) {
		return
	}
	m.next, m.shown = now.Add(meterPause), true
	text := fmt.Sprintf("reading %d of %d files", p.Files, p.FilesTotal)
	if p.MachinesTotal > 0 {
		text = fmt.Sprintf("machine %d of %d", p.Machines, p.MachinesTotal)
	}
	if p.Size > 0 {
		text += fmt.Sprintf(": %d %% of %s, %d MiB", p.Done*100/p.Size, shortName(p.File), p.Size>>20)
	}
	_, _ = fmt.Fprintf(m.w, "\r\x1b[K%s", text)
}

// part shows how much of something is done. A nil meter shows nothing.
func (m *meter) part(what string, done, total int64) {
	if m == nil || m.now().Before(m.next) || total == 0 {
		return
	}
	m.next, m.shown = m.now().Add(meterPause), true
	_, _ = fmt.Fprintf(m.w, "\r\x1b[K%s: %d %% of %d MiB", shortName(what), done*100/total, total>>20)
}

// maxMeterName keeps the line of progress within a line.
const maxMeterName = 36

// shortName is the last part of a file's name, as it can be shown on a terminal.
func shortName(name string) string {
	r := []rune(visible(path.Base(strings.ReplaceAll(name, `\`, "/"))))
	if len(r) > maxMeterName {
		r = append(r[:maxMeterName-1], '…')
	}
	return strings.ReplaceAll(string(r), "\n", "\uFFFD")
}

// clear removes the line.
func (m *meter) clear() {
	if m != nil && m.shown {
		_, _ = io.WriteString(m.w, "\r\x1b[K")
		m.shown = false
	}
}
