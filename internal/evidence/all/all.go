// Package all lists the evidence readers.
package all

import (
	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/advfirewall"
	"github.com/oldguard/oldguard/internal/evidence/bundle"
	"github.com/oldguard/oldguard/internal/evidence/capture"
	"github.com/oldguard/oldguard/internal/evidence/cbslog"
	"github.com/oldguard/oldguard/internal/evidence/computerinfo"
	"github.com/oldguard/oldguard/internal/evidence/dism"
	"github.com/oldguard/oldguard/internal/evidence/firewalllog"
	"github.com/oldguard/oldguard/internal/evidence/fleet"
	"github.com/oldguard/oldguard/internal/evidence/flowrecords"
	"github.com/oldguard/oldguard/internal/evidence/hive"
	"github.com/oldguard/oldguard/internal/evidence/hotfix"
	"github.com/oldguard/oldguard/internal/evidence/ipconfig"
	"github.com/oldguard/oldguard/internal/evidence/kblist"
	"github.com/oldguard/oldguard/internal/evidence/lansweeper"
	"github.com/oldguard/oldguard/internal/evidence/nbtstat"
	"github.com/oldguard/oldguard/internal/evidence/nessus"
	"github.com/oldguard/oldguard/internal/evidence/netcmd"
	"github.com/oldguard/oldguard/internal/evidence/netstat"
	"github.com/oldguard/oldguard/internal/evidence/osquery"
	"github.com/oldguard/oldguard/internal/evidence/regexport"
	"github.com/oldguard/oldguard/internal/evidence/routeprint"
	"github.com/oldguard/oldguard/internal/evidence/sc"
	"github.com/oldguard/oldguard/internal/evidence/slmgr"
	"github.com/oldguard/oldguard/internal/evidence/systeminfo"
	"github.com/oldguard/oldguard/internal/evidence/tasklist"
	"github.com/oldguard/oldguard/internal/evidence/ver"
	"github.com/oldguard/oldguard/internal/evidence/wazuh"
	"github.com/oldguard/oldguard/internal/evidence/winfolder"
	"github.com/oldguard/oldguard/internal/evidence/wmi"
	"github.com/oldguard/oldguard/internal/evidence/wmicqfe"
)

// Readers returns every reader, the most trusted first. Where two sources disagree, the
// one that stands earlier is shown as the value, and both as the dispute.
//
// systeminfo leads because it alone states version, product and name together; the two
// update lists come from the same WMI class, wmic without a conversion in between.
//
// A Windows folder's files say less than its hives and come after them. A packet capture says nothing
// that others say; it is known by its first bytes and stands before all text, since any text may have
// gone by in it. Then what the
// machine says of itself through one program, then what an inventory keeps
// of it at second hand. What the machine's own programs say of its network and its services
// disagrees with nothing that stands elsewhere; ipconfig leads there, since it alone names the
// machine, and nbtstat is the last, since it knows the first fifteen letters of a name. Those stand before the lists of updates, which state nothing but a
// name, since the updates in them would look like such a list. Last come those that say
// little: a log, licences, whom it talks to, a bare version, and what a person wrote down. flowrecords
// goes by names of columns that another table may have, and so stands behind those that know theirs.
//
// bundle is the last: it says little itself, and of the files in a collection it takes those
// that no other reader understands.
func Readers() []evidence.Reader {
	return []evidence.Reader{
		systeminfo.Reader,
		computerinfo.Reader,
		hive.Reader,
		winfolder.Reader,
		capture.Reader,
		regexport.Reader,
		dism.Reader,
		wmi.Reader,
		ipconfig.Reader,
		netstat.Reader,
		tasklist.Reader,
		routeprint.Reader,
		sc.Reader,
		netcmd.Reader,
		nbtstat.Reader,
		osquery.Reader,
		fleet.Reader,
		wazuh.Reader,
		nessus.Reader,
		lansweeper.Reader,
		wmicqfe.Reader,
		hotfix.Reader,
		cbslog.Reader,
		slmgr.Reader,
		firewalllog.Reader,
		advfirewall.Reader,
		flowrecords.Reader,
		ver.Reader,
		kblist.Reader,
		bundle.Reader,
	}
}
