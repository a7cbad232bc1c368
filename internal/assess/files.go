package assess

import "fmt"

// files says what the versions of program files add to what is known of the revision: a lower
// bound, from which no verdict follows. See infer.Standing.AtLeast.
func (x *assessor) files() {
	f := x.st.AtLeast
	x.AtLeast = f.Version
	const not = "Which update brought it is not proven by that: the security-only update of a month brings the same files as its rollup, and nothing of the months before."
	switch {
	case !f.Version.Known():
	case !x.Build.HasRevision:
		x.note(fmt.Sprintf("Program files show that it is at revision %s at least (%s). %s", f.Version, f.Name, not))
	case f.Version.Compare(x.Build) > 0:
		x.note(fmt.Sprintf("Its program files are newer than its updates account for: %s has %s, and what is known to be installed leads to %s. %s", f.Name, f.Version, x.Build, not))
	}
}
