package plan

import (
	"fmt"
	"strings"

	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// fixedFile is from which version on a file has a fix, on the files of one branch of a build. Where
// single fixes replaced each other, the list of updates does not tell whether one is in, and the
// file does.
type fixedFile struct {
	cve, file string
	build     winver.Build // without a revision
	from      uint32       // the revision with which the branch begins
	fixed     uint32
}

// fixedFiles are those that Microsoft itself names, of newer builds first.
//
// CVE-2017-0144: https://support.microsoft.com/help/4023262, "How to verify that MS17-010 is installed",
// method 2, read 2026-11-25. Files of 6.0.6003 are not in it: they are newer than those of 6.0.6002,
// after which the build is named, so any of them has the fix (inferred).
var fixedFiles = []fixedFile{
	{"CVE-2017-0144", srvSys, winver.Build{Major: 6, Minor: 3, Number: 9600}, 0, 18604},
	{"CVE-2017-0144", srvSys, winver.Build{Major: 6, Minor: 2, Number: 9200}, 0, 22099},
	{"CVE-2017-0144", srvSys, winver.Build{Major: 6, Minor: 1, Number: 7601}, 0, 23689},
	{"CVE-2017-0144", srvSys, winver.Build{Major: 6, Minor: 0, Number: 6003}, 0, 0},
	{"CVE-2017-0144", srvSys, winver.Build{Major: 6, Minor: 0, Number: 6002}, 20000, 24067},
	{"CVE-2017-0144", srvSys, winver.Build{Major: 6, Minor: 0, Number: 6002}, 0, 19743},
}

const srvSys = `System32\drivers\srv.sys`

// byFile judges a vulnerability by the version of the file in which it is; not ok where none is shown
// of the release that runs, or nobody says from which version on it is fixed. Of several the oldest
// counts; if they disagree, nothing tells which of them runs.
func (x *hardener) byFile(cve string) (p part, ok bool) {
	var fixed, affected *host.File // the oldest of each
	var sure, missing *fixedFile
	for i := range x.Files {
		f := &x.Files[i]
		t := fixFor(cve, f)
		switch {
		case t == nil || !f.Version.SameProduct(x.build):
		case f.Version.Revision < t.fixed:
			if affected == nil || f.Version.Compare(affected.Version) < 0 {
				affected, missing = f, t
			}
		case fixed == nil || f.Version.Compare(fixed.Version) < 0:
			fixed, sure = f, t
		}
	}
	if fixed != nil {
		p.state, p.now = ControlGood, cve+": fixed"
		text := fmt.Sprintf("%s is %s, and has the fix from %s.%d on", sure.file, fixed.Version, sure.build, sure.fixed)
		if sure.fixed == 0 {
			text = fmt.Sprintf("%s is %s, a build younger than the fix (inferred)", sure.file, fixed.Version)
		}
		p.because = append(p.because, host.Reason{Text: text, From: []host.Source{fixed.From}})
	}
	if affected != nil {
		p.state, p.now = ControlBad, cve+": affected"
		p.note = "The update is in the plan of oldguard plan patch."
		text := fmt.Sprintf("%s is %s, and has the fix only from %s.%d on", missing.file, affected.Version, missing.build, missing.fixed)
		p.because = append(p.because, host.Reason{Text: text, From: []host.Source{affected.From}})
	}
	if fixed != nil && affected != nil {
		p.state, p.now, p.note = ControlUnknown, cve+": unknown", ""
		p.because = append(p.because, host.Reason{Text: "nothing tells which of these files runs"})
	}
	return p, fixed != nil || affected != nil
}

// fixFor gives the row that says whether a file has a fix, or nil.
func fixFor(cve string, f *host.File) *fixedFile {
	for i := range fixedFiles {
		t := &fixedFiles[i]
		if t.cve == cve && strings.EqualFold(t.file, f.Name) && f.Version.HasRevision && f.Version.Base() == t.build.Base() && f.Version.Revision >= t.from {
			return t
		}
	}
	return nil
}
