package infer

import (
	"strings"

	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// Idle gives the packages of an update that are there and not in effect: absent, staged,
// waiting for a restart or broken. It gives none unless they prove that the update's own
// files are not in effect, whatever else may have brought the fix.
//
// That matters for what is older than the rollup model. A fix of that time that no list
// names may have been replaced by a later one, and the packages of what was replaced may
// have been cleaned away: absence proves nothing there, even from a whole list. A package
// that is still there, and says that it is not in effect, does.
func (s *Standing) Idle(kb winver.KB) []host.Package { return s.idle[kb] }

// idlePackages finds the updates whose packages are all known not to be in effect. One
// of several packages of an update may be idle since it is for another service pack or
// language, so without a whole list the update's own package must be among them:
// Package_for_KB949189, not Package_1_for_KB949189 or Package_for_KB949189_client.
func idlePackages(h *host.Host, whole bool) map[winver.KB][]host.Package {
	idle := map[winver.KB][]host.Package{}
	proven := map[winver.KB]bool{}
	refuted := map[winver.KB]bool{}
	for _, p := range h.Packages {
		switch {
		case p.KB == 0:
		case p.State == host.PackageUnknown || p.State.InEffect():
			refuted[p.KB] = true
		default:
			name, _, _ := strings.Cut(p.Name, "~")
			idle[p.KB] = append(idle[p.KB], p)
			proven[p.KB] = proven[p.KB] || whole || strings.EqualFold(name, "Package_for_"+p.KB.String())
		}
	}
	for kb := range idle {
		if refuted[kb] || !proven[kb] || h.Updates.Has(kb) == host.Yes {
			delete(idle, kb)
		}
	}
	return idle
}
