package winver

import (
	"fmt"
	"strings"
	"time"
)

// Version is everything that one way of writing a Windows version states. What the text
// does not state is zero; what follows from the build number is Build.Line's business.
// Versions are comparable with ==, since Compiled is always UTC.
type Version struct {
	// Build is zero only for a text that names nothing but a service pack.
	Build Build `json:"build,omitzero"`
	// ServicePack is 1 and up, NoServicePack where the text shows that there is none,
	// 0 where it says nothing.
	ServicePack int    `json:"service_pack,omitempty"`
	Branch      Branch `json:"branch,omitzero"`
	// BranchName is the source branch that was compiled: vistasp2_ldr_escrow.
	BranchName string `json:"branch_name,omitempty"`
	Arch       Arch   `json:"arch,omitzero"`
	// Checked is set where the text names a checked (debug) build, chk instead of fre.
	Checked bool `json:"checked,omitempty"`
	// Compiled is when the build began, to the minute, by the clock of the build lab. The
	// text names no time zone, so the fields are held as UTC: good for a date, and for
	// ordering builds, not for an instant.
	Compiled time.Time `json:"compiled,omitzero"`
}

// NoServicePack is the value of ServicePack where it is known that there is none.
const NoServicePack = -1

// Branch is the line of development that a binary was compiled from.
//
// Until the rollup model (September 2018 for Server 2008) every file of an update came
// twice: GDR with security fixes only, LDR (before Vista: QFE) with all fixes. Revisions
// of the two cannot be compared: LDR is higher and not for that reason newer.
type Branch uint8

// The branches. The zero value is not known: Windows 8 and later do not write it.
const (
	BranchUnknown Branch = iota
	RTM                  // as released, or as released with a service pack
	GDR                  // general distribution
	LDR                  // limited distribution; QFE before Vista
	// Escrow is LDR, frozen for release. Rollups of Server 2008 SP2 come from
	// vistasp2_ldr_escrow, at least since the last kernel of 6002
	// (6.0.6002.24566, vistasp2_ldr_escrow.190311-1800:
	// https://betawiki.net/wiki/Windows_Server_2008_build_6003, read 2026-11-22).
	// Only a branch name tells it; by revision such a build is LDR.
	Escrow
)

var branchNames = [...]string{"", "rtm", "gdr", "ldr", "escrow"}

// String gives rtm, gdr, ldr, escrow, or the empty string.
func (b Branch) String() string {
	if int(b) < len(branchNames) {
		return branchNames[b]
	}
	return ""
}

// MarshalText writes what String gives.
func (b Branch) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads what String gives.
func (b *Branch) UnmarshalText(text []byte) error {
	for i, name := range branchNames {
		if string(text) == name {
			*b = Branch(i)
			return nil
		}
	}
	return fmt.Errorf("%q is not a branch: want rtm, gdr, ldr or escrow", text)
}

// branchOf reads the branch from a branch name: Windows branch, service pack branch and
// GDR, LDR or RTM, joined by underscores, as in srv03_sp2_gdr, lh_sp2rtm, win7sp1_ldr.
// https://learn.microsoft.com/archive/blogs/mrsnrub/gdr-ldr-the-next-generation, read 2026-11-22.
func branchOf(name string) Branch {
	branch := BranchUnknown
	for part := range strings.SplitSeq(name, "_") {
		switch {
		case part == "escrow" && branch == LDR:
			branch = Escrow
		case part == "ldr" || part == "qfe":
			branch = LDR
		case part == "gdr":
			branch = GDR
		case strings.HasSuffix(part, "rtm"):
			branch = RTM
		}
	}
	return branch
}

// The ranges of revisions on 6.0, which 6.1 began with too: 0x4000-0x4fff for GDR,
// 0x5000-0x5fff for LDR. https://betawiki.net/wiki/Windows_Server_2008_build_6003, read
// 2026-11-22. In March 2019 the kernel of 6.0.6002 stood at 24566, nine below the end of
// the range; that is why 6003 exists, and its revisions begin again at the range's start.
const (
	firstGDR = 0x4000 // 16384
	firstLDR = 0x5000 // 20480
	endLDR   = 0x6000 // 24576
)

// Branch tells the branch from the revision alone. That is possible on Windows 6.0 and
// 6.1 only, and never gives Escrow.
func (b Build) Branch() Branch {
	if !b.HasRevision || b.Major != 6 || b.Minor > 1 {
		return BranchUnknown
	}
	switch l := b.Line(); {
	case l.rtm != 0 && b.Number == l.First && b.Revision == l.rtm:
		return RTM
	case b.Revision < firstGDR:
		return BranchUnknown // betas
	case b.Revision < firstLDR:
		return GDR
	case b.Revision < endLDR || b.Minor == 1:
		// 6.1.7601 left the range without a new build number: 26366 in February 2023
		// (CVE-2023-21800), 28117 in January 2026 (CVE-2026-0386).
		return LDR
	}
	return BranchUnknown
}
