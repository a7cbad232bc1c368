package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/oldguard/oldguard/internal/assess"
)

// The exit statuses.
const (
	statusClear     = 0
	statusFailed    = 1
	statusUsage     = 2
	statusBad       = 3
	statusUndecided = 4
)

// statuses is the one table of exit statuses; help prints it.
var statuses = []struct {
	status  int
	meaning string
}{
	{statusClear, "nothing affected, nothing missing of what was checked"},
	{statusFailed, "could not run, or nothing could be read"},
	{statusUsage, "wrong use of the command line"},
	{statusBad, "something is affected or missing"},
	{statusUndecided, "undecided, or support is over, or a source is too old for the day; 3 beats 4"},
}

func statusHelp() string {
	var b strings.Builder
	b.WriteString("Exit status:\n")
	for _, s := range statuses {
		fmt.Fprintf(&b, "  %d  %s\n", s.status, s.meaning)
	}
	return b.String()
}

// answer is how an answer that was given ends the run. It is no failure; it only has a
// status.
type answer struct{ status int }

// Error is never shown.
func (a answer) Error() string { return fmt.Sprintf("answered with status %d", a.status) }

// levels gives the status for what an assessment comes to.
var levels = map[assess.Level]int{
	assess.Clear: statusClear, assess.Undecided: statusUndecided, assess.Bad: statusBad,
}

// worse gives the status of two machines together.
func worse(a, b int) int {
	for _, s := range []int{statusBad, statusUndecided} {
		if a == s || b == s {
			return s
		}
	}
	return statusClear
}

// usageError is wrong use of the command line.
type usageError struct{ error }

// Unwrap gives what was wrong.
func (u usageError) Unwrap() error { return u.error }

// statusOf gives the exit status for what a command returned. An error from before a
// command began to run is wrong use.
func statusOf(err error, ran bool) int {
	var a answer
	var u usageError
	switch {
	case err == nil:
		return statusClear
	case errors.As(err, &a):
		return a.status
	case errors.As(err, &u), !ran:
		return statusUsage
	}
	return statusFailed
}
