package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// Sources of the steps, read 2026-11-22.
const (
	srcUpgrade = "MicrosoftDocs/windowsserverdocs:WindowsServerDocs/get-started/upgrade-overview.md"
	srcPaths   = "MicrosoftDocs/windowsserverdocs:WindowsServerDocs/get-started/Supported-Upgrade-Paths.md"
	srcSMS     = "MicrosoftDocs/windowsserverdocs:WindowsServerDocs/storage/storage-migration-service/overview.md"
	srcTools   = "MicrosoftDocs/windowsserverdocs:WindowsServerDocs/get-started/Migrate-Roles-and-Features.md"
	srcAzure   = "MicrosoftDocs/azure-docs:articles/migrate/prepare-windows-server-2003-migration.md"
	srcESU     = "MicrosoftDocs/windowsserverdocs:WindowsServerDocs/get-started/extended-security-updates-overview.md"
)

// ours are statements that rest on no page: they follow from the others, or are practice.
var ours = Known{Confidence: "inferred"}

func documented(source string) Known { return Known{"documented", source} }

func (a *Alternative) step(k Known, title, because string) {
	a.Steps = append(a.Steps, MoveStep{title, because, k})
}

// to starts an alternative that ends on the first target.
func (x *mover) to(id, name string) Alternative {
	t := x.Targets[0]
	a := Alternative{ID: id, Name: name, Ends: t.Ends, EndsWhy: "end of support of " + t.Release.Name, Known: t.Known}
	if t.Ends == 0 {
		a.EndsWhy = "the end of support of " + t.Release.Name + " is not known"
	}
	return a
}

func (x *mover) prepared(a *Alternative) {
	a.step(ours, "Answer the open questions, then take a backup and restore it once somewhere else", "what cannot be restored cannot be undone")
}

// upgrade is the upgrade of the installation itself.
func (x *mover) upgrade() Alternative {
	t := &x.Targets[0]
	a := x.to("in-place", "Upgrade in place to "+t.Release.Name)
	a.Feasible, a.Blockers = t.InPlace, t.Blockers
	if len(t.Paths) == 0 || a.Feasible == host.No {
		return a
	}
	x.prepared(&a)
	a.step(documented(srcUpgrade), "Dissolve teams of network adapters, and see that the machine does not start from a VHD", "either stops an upgrade or makes it fail")
	language := "the installed language"
	if x.Language != "" {
		language += " (" + x.Language + ")"
	}
	x.path(&a, t.Paths[0], language)
	a.step(ours, "Install the updates of "+t.Release.Name+" and assess the machine again", "media are as old as their print")
	return a
}

func (x *mover) path(a *Alternative, p Path, language string) {
	for i, h := range p {
		name := x.name(h.To)
		if h.Kind == Pack {
			a.step(h.Known, "Install the service pack: "+name, "no upgrade starts from an older one")
			continue
		}
		because := fmt.Sprintf("the table knows this way from %s %s; media in %s, the same installation option", x.name(h.From), h.FromEdition, language)
		if i < len(p)-1 {
			because += "; a stop on the way, which needs a licence and updates of its own for as long as it lasts"
		}
		a.step(h.Known, "Upgrade to "+name+" "+h.Edition, because)
		a.step(ours, "Start every role and program, read the event logs, take a backup", "what broke here is found here and not two releases later")
	}
}

// name gives a release's name for its id.
func (x *mover) name(id string) string {
	if rel, err := x.cat.Release(id); err == nil {
		return rel.Name
	}
	return id
}

// rolling is for clusters.
func (x *mover) rolling() Alternative {
	t := &x.Targets[0]
	a := x.to("rolling", "Cluster OS Rolling Upgrade to "+t.Release.Name)
	paths := shortest(x.cat, Rolling, x.Release.ID, x.Edition, t.Release.ID, nil)
	switch {
	case x.Edition == "":
		return a
	case x.Arch != upgradeArch && x.Arch != winver.ArchUnknown, len(paths) == 0:
		a.Feasible = host.No
		a.Blockers = []Blocker{blocker("no-path")}
		return a
	}
	a.Feasible = host.Yes
	x.prepared(&a)
	for _, h := range paths[0] {
		a.step(h.Known, "Take each node out, install "+x.name(h.To)+" on it, and take it in again; then raise the functional level of the cluster", "one version at a time")
	}
	return a
}

// beside is a new server, and what runs here moved there.
func (x *mover) beside() Alternative {
	t := &x.Targets[0]
	a := x.to("side-by-side", "New server with "+t.Release.Name+" beside it")
	a.Feasible = host.Yes
	if !x.wholeRoles() {
		a.Feasible = host.Unknown // there may be what nobody can move
	}
	x.prepared(&a)
	a.step(ours, "Install "+t.Release.Name+" on an x64 machine, with all updates, under another name", "the old one goes on working until the new one is proven")
	for _, r := range x.Roles {
		if r.Move != "" {
			a.step(r.Known, r.Name+": "+r.Move, "it was found on the machine")
		}
	}
	if x.Arch != winver.IA64 && (x.has("file") || !x.wholeRoles()) {
		a.step(documented(srcSMS), "Shares and files: Storage Migration Service, with an orchestrator on 2019 or later", "it copies from 2003 and later; WMI, DCOM, SMB and Netlogon must be open inbound on the source, and it cannot cut over a domain controller")
	}
	known := documented(srcTools)
	why := "they move roles between servers of different hardware, from 2003 to 2012 R2"
	if !slices.Contains([]string{"windows-server-2012", "windows-server-2012-r2"}, t.Release.ID) {
		known.Confidence = "documented for 2012 and 2012 R2 as the new server; inferred for later ones"
	}
	if x.Release.Builds[0].Compare(winver.Build{Major: 10}) < 0 {
		a.step(known, "Other roles: Windows Server Migration Tools, the service packs of both sides installed", why)
	}
	a.step(ours, "Programs: ask each maker which version runs on "+t.Release.Name, "a list of programs does not say what they need")
	a.step(ours, "Move name and address or tell the clients, then keep the old one switched off until nobody misses it", "what still asks for it shows now")
	return a
}

// extended fills in what updates the release itself still gets: none is zero and says so.
func (x *mover) extended(a *Alternative) {
	a.Known = ours
	if x.Support.Ends != 0 && x.AsOf <= x.Support.Ends {
		a.Ends, a.EndsWhy = x.Support.Ends, "end of support of "+x.Release.Name
		for _, l := range x.Release.Lifecycles {
			if l.Extended == a.Ends {
				a.Known = Known{l.Confidence, l.Source}
			}
		}
		return
	}
	a.EndsWhy = "none: no programme is known for " + x.Release.Name + " on this architecture"
	var last catalog.Programme
	open := false
	for _, p := range x.Support.Programmes {
		// Premium Assurance was sold to owners before support ended, and to nobody since.
		if p.ID == "premium-assurance" {
			continue
		}
		open = open || p.State == "open"
		if p.Until >= last.Until || p.State == "open" && p.Until == 0 {
			last = p.Programme
		}
	}
	if last.ID == "" {
		return
	}
	a.Known = Known{last.Confidence, last.Source}
	switch {
	case !open:
		a.EndsWhy = fmt.Sprintf("none: the last programme, %s, ended on %s", last.Name, last.Until)
	case last.Until == 0:
		a.EndsWhy = last.Name + ", whose end is not known"
	default:
		a.Ends, a.EndsWhy = last.Until, "under a programme, in the end "+last.Name
	}
}

// rehost is the same machine on Azure.
func (x *mover) rehost() Alternative {
	a := Alternative{ID: "azure", Name: "The same machine on Azure"}
	x.extended(&a)
	x.lift(&a, "Azure")
	a.step(Known{"documented for 2003; inferred for later releases", srcAzure}, "Move the machine with Azure Migrate, after trying it on a copy; before that, give it the integration services of Hyper-V", "without them it has no network and no clock there")
	x.still(&a)
	return a
}

// local is Azure Local as the host of the old guest.
func (x *mover) local() Alternative {
	a := Alternative{ID: "azure-local", Name: "The same machine as a guest on Azure Local"}
	x.extended(&a)
	x.lift(&a, "Azure Local")
	a.step(Known{"documented (the name); inferred (that it is a host only)", srcSMS}, "Move it onto Azure Local (once Azure Stack HCI) as a virtual machine", "Azure Local is a host: the guest stays the release it is, and no upgrade leads to it")
	a.step(Known{"inferred", srcESU}, "Ask the maker of the host whether it still supports "+x.Release.Name+" as a guest", "lists of supported guests change, and none is here")
	x.still(&a)
	return a
}

// lift is what stops the move of a whole machine, and what comes before it.
func (x *mover) lift(a *Alternative, where string) {
	switch {
	case x.Arch == winver.IA64:
		a.Feasible = host.No
		a.Blockers = []Blocker{{
			ID: "itanium-guest", Text: "A guest for Itanium runs on no x64 host.", Cure: blocker("itanium").Cure,
			From: sourcesOf(x.host.Arch), Known: ours,
		}}
	case x.has("cluster"):
		a.Feasible = host.Unknown
		a.Blockers = []Blocker{{
			ID: "cluster-guest", Text: "A node of a cluster cannot be moved without its shared disks.", Cure: "Build a cluster there.",
			From: x.role("cluster").From, Known: ours,
		}}
	}
	if a.Feasible == host.No {
		return
	}
	x.prepared(a)
	a.step(ours, "Find what the machine needs where it is: cards, dongles, printers, low delay to others", "none of it comes along to "+where)
}

// still says what a moved machine gets afterwards.
func (x *mover) still(a *Alternative) {
	switch {
	case a.Feasible == host.No:
		a.Steps = nil
	case strings.HasPrefix(a.EndsWhy, "none"):
		a.step(ours, "Fence it off there too, and set a day for its end", "moving brings no updates any more")
	default:
		a.step(Known{"documented", srcESU}, "Install the updates that there still are, and enrol it where a programme asks for that", "moving buys time and nothing else: "+a.EndsWhy)
	}
}

// retire is the end.
func (x *mover) retire() Alternative {
	a := Alternative{ID: "retire", Name: "Switch it off for good", EndsWhy: "it needs none any more", Known: ours}
	a.step(ours, "Find who still uses it: sessions, connections, log files of at least one whole month and one year's end", "what runs once a month is found once a month")
	if x.has("ad-ds") {
		a.step(x.role("ad-ds").Known, x.role("ad-ds").Move, "a domain controller that just vanishes leaves its traces in the directory")
	}
	a.step(ours, "Copy out what must be kept, readable without this machine", "the law may ask for it longer than the machine lives")
	a.step(ours, "Switch it off, wait, then remove its account, its names, its rules in firewalls and its backups when their time is over", "accounts and rules left behind are ways in")
	return a
}
