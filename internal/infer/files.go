package infer

import (
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// atLeast gives the program file with the highest revision of those that are of the build
// itself: Windows has files of many versions, since an update replaces only what it changes,
// and Internet Explorer and other parts number theirs in their own way. It gives the zero
// value where no file tells.
//
// The revision is a lower bound, and nothing more follows from it. A rollup and the
// security-only update of its month bring the same kernel, and the second one contains
// nothing of the months before; a hotfix brings a single file. On Windows 6.0.6002 and 6.1
// files of the branch that hotfixes are built from have the higher numbers, whatever their
// age: see winver.Build.Branch.
func atLeast(h *host.Host, build winver.Build) (best host.File) {
	for _, f := range h.Files {
		if build.Known() && f.Version.HasRevision && f.Version.Base() == build.Base() && f.Version.Compare(best.Version) > 0 {
			best = f
		}
	}
	return best
}
