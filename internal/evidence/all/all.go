// Package all lists the evidence readers.
package all

import (
	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/hotfix"
	"github.com/oldguard/oldguard/internal/evidence/systeminfo"
	"github.com/oldguard/oldguard/internal/evidence/wmicqfe"
)

// Readers returns every reader, the most trusted first. Where two sources disagree, the
// one that stands earlier is shown as the value, and both as the dispute.
//
// systeminfo leads because it alone states version, product and name together; the two
// update lists come from the same WMI class, wmic without a conversion in between.
func Readers() []evidence.Reader {
	return []evidence.Reader{
		systeminfo.Reader,
		wmicqfe.Reader,
		hotfix.Reader,
	}
}
