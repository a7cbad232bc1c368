package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// contradiction says in which way the evidence contradicts itself so that no plan can be made
// of it, and what else is disputed; each is empty where nothing is.
//
// 6002 and 6003 are one release: such sources may be of different days.
func contradiction(h *host.Host) (why string, notes []string) {
	if h.Arch.Disputed() {
		return "the evidence contradicts itself about the processor architecture, and packages differ by it: " + claimed(h.Arch) +
			"; name the files of one machine only, or leave the wrong one out", nil
	}
	if h.Build.Disputed() {
		same := func(a, b winver.Build) bool {
			old := func(n uint32) bool { return n == 6002 || n == 6003 }
			return a.Major == b.Major && a.Minor == b.Minor && (a.Number == b.Number || old(a.Number) && old(b.Number))
		}
		claims := h.Build.Claims()
		if slices.ContainsFunc(claims, func(c host.Claim[winver.Build]) bool { return !same(c.Value, claims[0].Value) }) {
			return "the evidence contradicts itself about the Windows that runs there: " + claimed(h.Build) +
				"; name the files of one machine and one day only", nil
		}
		notes = append(notes, fmt.Sprintf("The sources state different builds, as those of different days do: %s. The plan goes by %s.", claimed(h.Build), h.Build.Or(winver.Build{})))
	}
	if h.Installation.Disputed() {
		notes = append(notes, "The sources contradict each other about the kind of installation: "+claimed(h.Installation)+".")
	}
	if h.Edition.Disputed() {
		notes = append(notes, "The sources contradict each other about the edition: "+claimed(h.Edition)+".")
	}
	return "", notes
}

// claimed lists who says what, the most trusted first.
func claimed[T comparable](f host.Fact[T]) string {
	var out []string
	for _, c := range f.Claims() {
		out = append(out, fmt.Sprintf("%v (%s)", c.Value, c.From.Input))
	}
	return strings.Join(out, ", ")
}
