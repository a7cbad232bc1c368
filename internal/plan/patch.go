package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/infer"
	"github.com/oldguard/oldguard/internal/update"
	"github.com/oldguard/oldguard/winver"
)

// builder puts the steps of a patch plan in order.
type builder struct {
	*Patch
	rec      *catalog.Records
	host     *host.Host
	then     *assess.Assessment // as of the end of the entitlement
	st       *infer.Standing    // to rec
	restarts int
	pending  []string // updates since the last restart
}

// build makes the steps from what is missing at the end of the entitlement. The missing
// updates stand in the order of installation already; what they need and is not among
// them (the first servicing stack that reads SHA-2) comes in front.
func (b *builder) build() {
	missing := b.then.Updates.Missing
	b.Reached = b.then.Updates.Newest
	b.ReachedBuild = b.From.Base()
	if b.Line == SecurityOnly {
		missing = slices.DeleteFunc(slices.Clone(missing), func(it assess.Item) bool { return b.cumulative(it.KB) })
		missing = append(missing, b.securityOnly(0, b.Until)...)
		missing = append(missing, b.explorer()...)
	}
	if len(missing) == 0 {
		if !wholeEnough(b.then) {
			b.Why = "the evidence does not tell which updates are installed: " + gapOf(b.then)
		}
		return
	}
	b.prepare()
	licence := false
	for _, it := range b.expand(missing) {
		if needsESU(it) && !licence {
			licence = true
			b.licence()
		}
		b.update(it)
		u, ok := b.rec.Update(it.KB)
		switch {
		case it.Kind == "service-pack":
			b.ReachedBuild = b.Target.Builds[0].Base()
		case ok && b.leadsTo(u).Compare(b.ReachedBuild) > 0:
			b.ReachedBuild = b.leadsTo(u)
		}
		if ok && u.Stream == catalog.Cumulative {
			b.Reached = it.KB
		}
	}
	b.restart("what was installed takes effect")
	b.check()
}

// leadsTo is the build an update leads to. That of a security-only update is the build of
// the rollups of its time: KB4493458 makes 6002 to 6003 as KB4493471 does (KB4495374).
func (b *builder) leadsTo(u *catalog.Update) (build winver.Build) {
	if u.Stream != catalog.SecurityOnly {
		return u.Build.Base()
	}
	for i := range b.rec.Updates {
		r := &b.rec.Updates[i]
		if r.Stream == catalog.Cumulative && r.Released <= u.Released && r.Build.Known() && r.Build.Base().Compare(build) > 0 {
			build = r.Build.Base()
		}
	}
	return build
}

// line settles the line: as wanted, else as found, and the rollup where there is no other.
func (b *builder) line() {
	h := b.host
	if b.Target != b.Release {
		// Nothing for the next service pack can be there.
		above := *h
		above.Build = host.Fact[winver.Build]{}
		above.Build.Say(b.Target.Builds[0], 0, host.Source{})
		above.Updates = host.Set[winver.KB]{}
		above.Updates.List(host.Listing{Whole: true, Announced: -1, Why: "no update for " + b.Target.Name + " installs on " + b.Release.Name})
		h = &above
	}
	b.st = infer.Stand(h, b.rec)
	there, found := false, false
	for i := range b.rec.Updates {
		if u := &b.rec.Updates[i]; u.Stream == catalog.SecurityOnly && u.Arches.Has(b.Arch) && u.Released >= b.Target.RollupSince {
			there = true
			found = found || b.st.State[i] == infer.Present && b.ofLine(u)
		}
	}
	switch {
	case !there && b.Line == SecurityOnly:
		b.Line = Rollup
		b.Notes = append(b.Notes, "There are no security-only updates for "+b.Target.Name+" on this architecture: the plan is for its cumulative updates.")
	case b.Line == "" && found:
		b.Line = SecurityOnly
	case b.Line == "":
		b.Line = Rollup
	}
}

// ofLine reports whether a security-only update counts: since the newest rollup in force.
func (b *builder) ofLine(u *catalog.Update) bool {
	if n := b.st.Newest; n >= 0 {
		return u.Released > b.rec.Updates[n].Released
	}
	return u.Released >= b.Target.RollupSince
}

func (b *builder) cumulative(kb winver.KB) bool {
	u, ok := b.rec.Update(kb)
	return ok && u.Stream == catalog.Cumulative
}

// securityOnly lists the security-only updates from one day to another that are proven
// absent, oldest first.
func (b *builder) securityOnly(from, to catalog.Date) (items []assess.Item) {
	for i := range b.rec.Updates {
		u := &b.rec.Updates[i]
		if u.Stream == catalog.SecurityOnly && u.Arches.Has(b.Arch) && u.Released >= max(from, 1) && u.Released <= to && b.ofLine(u) && b.st.State[i] == infer.Absent {
			items = append(items, b.item(u, "each security-only update holds its own month alone, and this one is not there"))
		}
	}
	slices.SortStableFunc(items, func(x, y assess.Item) int {
		return cmp.Or(cmp.Compare(x.Released, y.Released), cmp.Compare(x.KB, y.KB))
	})
	return items
}

// explorer gives the newest cumulative update of Internet Explorer, if it is proven absent.
// Server Core of 6.0 and 6.1 has no Internet Explorer.
func (b *builder) explorer() []assess.Item {
	newest := -1
	for i := range b.rec.Updates {
		u := &b.rec.Updates[i]
		if u.Stream == catalog.IE && u.Arches.Has(b.Arch) && u.Released > 0 && u.Released <= b.Until && (newest < 0 || u.Pos > b.rec.Updates[newest].Pos) {
			newest = i
		}
	}
	if newest < 0 || b.st.State[newest] != infer.Absent || b.host.Installation.Or("") == host.ServerCore {
		return nil
	}
	return []assess.Item{b.item(&b.rec.Updates[newest], "no security-only update contains the updates of Internet Explorer, and this one contains those before it")}
}

// sha2Only is the day from which updates for 6.0 and 6.1 are signed with SHA-2 alone:
// "July 2019 or later", KB4472027.
var sha2Only = catalog.DateOf(time.Date(2019, 7, 9, 0, 0, 0, 0, time.UTC))

// item makes the entry of an update that the assessment does not list.
func (b *builder) item(u *catalog.Update, why string) assess.Item {
	it := assess.Item{
		KB: u.KB, Kind: assess.Kind(b.Target, u), Released: u.Released, Sure: u.Sure,
		Because: []host.Reason{{Text: "published on " + u.Released.String() + " for " + b.Target.Name}, {Text: why}},
	}
	if u.Released >= sha2Only {
		for _, m := range b.then.Updates.Missing {
			if m.Kind == "sha2-support" || m.Kind == "servicing-stack" {
				it.Needs = append(it.Needs, assess.Need{Kind: assess.NeedUpdate, KB: m.KB, Text: "updates since 2019-07 are signed with SHA-2 alone (KB4472027)"})
			}
		}
	}
	if end := supportEnd(b.Target); end != 0 && u.Released > end {
		n := assess.Need{Kind: assess.NeedESU, Text: "published after support ended on " + end.String()}
		for _, p := range b.Target.Programmes {
			if (p.From == 0 || u.Released >= p.From) && (p.Until == 0 || u.Released <= p.Until) {
				n.Programmes = append(n.Programmes, p.ID)
			}
		}
		if len(n.Programmes) > 0 {
			it.Needs = append(it.Needs, n)
		}
	}
	return it
}

// wholeEnough reports whether "nothing missing" is proven and not merely not shown.
func wholeEnough(a *assess.Assessment) bool {
	if _, ok := a.Host.Updates.Whole(); ok {
		return true
	}
	return a.Updates.Latest != 0 && a.Updates.MonthsBehind == 0
}

func gapOf(a *assess.Assessment) string {
	for _, g := range a.Gaps {
		if g.Hint != "" {
			return g.Why + "; run: " + g.Hint
		}
	}
	return "no list of them is known to be complete"
}

// expand puts in front of each item the updates it needs and that no item brings.
func (b *builder) expand(missing []assess.Item) (order []assess.Item) {
	have := map[winver.KB]bool{}
	for _, it := range missing {
		have[it.KB] = true
	}
	for _, it := range missing {
		for _, n := range it.Needs {
			if n.Kind == assess.NeedUpdate && !have[n.KB] {
				have[n.KB] = true
				needed := assess.Item{KB: n.KB, Kind: "servicing-stack", Because: []host.Reason{{Text: "needed by " + it.KB.String() + ": " + n.Text}}}
				if u, ok := b.rec.Update(n.KB); ok {
					needed.Kind, needed.Released, needed.Sure = assess.Kind(b.Target, u), u.Released, u.Sure
				}
				order = append(order, needed)
			}
		}
		order = append(order, it)
	}
	return order
}

func needsESU(it assess.Item) bool {
	return slices.ContainsFunc(it.Needs, func(n assess.Need) bool { return n.Kind == assess.NeedESU })
}

func (b *builder) add(s Step) { b.Steps = append(b.Steps, s) }

// freeDisk is how much room is asked for: a service pack or a first rollup unpacks some
// gigabytes beside what it replaces (an estimate of ours, on the safe side).
const freeDisk = "8 GB"

// prepare is what comes before anything is changed.
func (b *builder) prepare() {
	backup := Step{
		ID: "backup", Title: "Make a full backup or a snapshot, and try to restore it", Changes: "nothing on the machine", Minutes: 120,
		Check: []string{"the copy was started once on another host, without a network"},
	}
	if b.host.Role.Or("") == host.DomainController {
		backup.Title = "Make a backup of the system state as well (wbadmin start systemstatebackup): this is a domain controller"
		// USN rollback: https://support.microsoft.com/help/875495.
		backup.Because = []host.Reason{{Text: "a domain controller of this age must not be put back from a snapshot: the others would no longer replicate with it (USN rollback, KB875495)"}}
	}
	for _, s := range []Step{
		backup,
		{ID: "vendor", Title: "Ask the vendor of what runs on it, in writing: medical and industrial devices may be updated by their makers alone", Changes: "nothing", Check: []string{"the answer is filed with this plan"}},
		{ID: "disk", Title: "See that the system disk has at least " + freeDisk + " free", Changes: "nothing", Minutes: 5, Check: []string{`dir %SystemDrive%\`}},
		{
			ID: "antivirus", Title: "Ask the maker of the antivirus whether it bears these updates; stop its real-time scan for the time of the work if he says so",
			Changes: "until it is started again", Minutes: 10,
			// Some products held back or broke updates signed with SHA-2: KB4474419 and the rollups of 2019-08.
			Because: []host.Reason{{Text: "a scanner that blocks files of the servicing stack makes updates fail half way (0x80070020, 0x80240022)"}},
		},
		{ID: "way-back", Title: "Write down the way back: which backup, who decides, until what hour", Changes: "nothing", Minutes: 10, Check: []string{"name and hour stand on this page"}},
	} {
		s.Kind = StepPrepare
		b.add(s)
	}
	if len(b.host.Restart) > 0 {
		b.pending = []string{"pending"}
		b.restart("a restart is pending: " + b.host.Restart[0].Text)
	}
}

// minutes are estimates of ours for slow machines, by kind.
var minutes = map[string]int{
	"service-pack": 90, "monthly-rollup": 45, "cumulative-update": 45, "security-only": 15, "ie-cumulative": 15,
	"servicing-stack": 10, "sha2-support": 10, "licensing-package": 5,
}

// update adds the step for one update, and the restarts that must come before it.
func (b *builder) update(it assess.Item) {
	if b.mustRestart(it) {
		b.restart("an update that was installed before needs it first")
	}
	s := Step{
		ID: strings.ToLower(it.KB.String()), Kind: StepUpdate, KB: it.KB, Because: it.Because, Failures: failuresOf(it.Kind),
		Title: fmt.Sprintf("Install %s, %s", it.KB, title(it)), Minutes: minutes[it.Kind],
		Permanent: it.Kind == "servicing-stack" || it.Kind == "sha2-support",
	}
	s.File, s.FileSure = fileName(b.Target, b.Arch, it)
	if k, ok := update.KnownName(s.File); ok {
		s.FileSure, s.SHA256, s.Size = true, k.SHA256, k.Size
	}
	s.Commands = []string{install(b.Target, s.File)}
	s.Changes = changes(b.rec, it)
	s.Check = []string{
		`wmic qfe where "HotFixID='` + it.KB.String() + `'" get HotFixID,InstalledOn`,
		`reg query "HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\Packages" /s /k /f ` + it.KB.String(),
	}
	if it.Kind == "service-pack" {
		s.Check = []string{`reg query "HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion" /v CSDVersion`}
	}
	for _, n := range it.Needs {
		if n.KB != 0 {
			s.Needs = append(s.Needs, strings.ToLower(n.KB.String()))
		}
	}
	for _, before := range b.Steps {
		if before.Kind == StepRestart || before.Kind == StepLicence && needsESU(it) {
			s.Needs = append(s.Needs, before.ID)
		}
	}
	b.add(s)
	b.pending = append(b.pending, it.Kind)
}

// mustRestart: SHA-2 support, service packs and licensing packages take effect after a
// restart, and what comes next relies on them (KB4472027; order in public guidance,
// inferred).
func (b *builder) mustRestart(assess.Item) bool {
	return slices.ContainsFunc(b.pending, func(kind string) bool {
		return kind == "sha2-support" || kind == "service-pack" || kind == "licensing-package"
	})
}

func (b *builder) restart(why string) {
	if len(b.pending) == 0 {
		return
	}
	b.pending = nil
	b.restarts++
	b.add(Step{
		ID: fmt.Sprintf("restart-%d", b.restarts), Kind: StepRestart, Title: "Restart", Changes: why, Minutes: 15,
		Commands: []string{"shutdown /r /t 0"},
		Check:    []string{`reg query "HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\RebootPending" (must not be there)`},
		Failures: []Failure{{"", "the screen stays at \"Configuring updates\", or the machine starts again and again", "wait an hour; then start it with the last known good configuration, else take the way back"}},
	})
}

// licence adds what an extended update needs before it installs: the licensing package,
// a restart, the key, and its activation, as Microsoft documents them (KB4522133).
func (b *builder) licence() {
	if n := len(b.Target.Licensing); n > 0 {
		pkg := b.Target.Licensing[n-1]
		if b.host.Updates.Has(pkg.KB) != host.Yes {
			b.update(assess.Item{KB: pkg.KB, Kind: "licensing-package", Because: []host.Reason{{Text: "without it no ESU key can be installed (KB4522133)"}}})
			b.restart("the licensing package takes effect; Server 2008 SP2 sometimes needs one more")
		}
	}
	if b.Entitlement == Azure {
		b.add(Step{
			ID: "entitlement", Kind: StepCheck, Title: "On Azure no key is used: the machine asks the instance metadata service", Changes: "nothing", Minutes: 5,
			Check: []string{"http://169.254.169.254 must be reachable from the machine"}, Failures: failuresOf("licence"),
		})
		return
	}
	ids := map[string]string{}
	for _, a := range b.Target.Activations {
		ids[a.Programme] = a.ID
	}
	for _, programme := range programmeOf[b.Entitlement] {
		id, ok := ids[programme]
		if !ok {
			continue
		}
		b.add(Step{
			ID: "key-" + programme, Kind: StepLicence, Title: "Install and activate the key of " + b.programme(programme) + ", which the owner has",
			Changes:  "the licence of the machine",
			Minutes:  10,
			Commands: []string{`cscript //nologo %SystemRoot%\System32\slmgr.vbs /ipk <the owner's key>`, `cscript //nologo %SystemRoot%\System32\slmgr.vbs /ato ` + id},
			Check:    []string{`cscript //nologo %SystemRoot%\System32\slmgr.vbs /dlv all`}, Failures: failuresOf("licence"),
			Because: []host.Reason{{Text: "updates after the end of support install only with an activated key"}},
		})
	}
	if b.Entitlement == PremiumAssurance {
		b.add(Step{
			ID: "entitlement", Kind: StepLicence, Title: "Activate Premium Assurance as its contract says", Changes: "the licence of the machine", Minutes: 10,
			Because: []host.Reason{{Text: "no public document tells how; no activation id is known"}},
		})
	}
}

// programme gives the name of a programme of updates.
func (b *builder) programme(id string) string {
	for _, p := range b.Target.Programmes {
		if p.ID == id {
			return p.Name
		}
	}
	return id
}

// check ends the plan: what the machine must show.
func (b *builder) check() {
	b.add(Step{
		ID: "check", Kind: StepCheck, Title: "Check: ver shows " + b.ReachedBuild.String() + ", and oldguard finds nothing more to install", Changes: "nothing", Minutes: 10,
		Commands: []string{"ver", "systeminfo > after.txt", "wmic qfe list full /format:csv > after-qfe.csv"},
		Check:    []string{"oldguard assess after.txt after-qfe.csv --as-of " + b.Until.String() + " (on another machine)", "what runs on the machine does its work: its owner looks"},
	})
}

// kindWords are the kinds of updates whose names are no words.
var kindWords = map[string]string{
	"sha2-support": "SHA-2 support", "ie-cumulative": "cumulative update of Internet Explorer", "security-only": "security-only update",
}

func title(it assess.Item) string {
	name := cmp.Or(kindWords[it.Kind], strings.ReplaceAll(it.Kind, "-", " "))
	if it.Released != 0 {
		name += " of " + it.Released.String()
	}
	return name
}

func changes(rec *catalog.Records, it assess.Item) string {
	switch it.Kind {
	case "service-pack":
		return "the service pack level; the machine restarts more than once"
	case "servicing-stack":
		return "the servicing stack"
	case "sha2-support":
		return "the system reads SHA-2 signatures"
	case "licensing-package":
		return "an ESU key can be installed"
	}
	if u, ok := rec.Update(it.KB); ok && u.Build.Known() {
		return "the system files; the build becomes " + u.Build.String()
	}
	return "the system files"
}

// Package files are called OS-kbNUMBER[-vN]-ARCH[_HASH].msu; the hash is Microsoft's and
// not known here.
var (
	filePrefix = map[string]string{"6.0": "windows6.0", "6.1": "windows6.1", "6.2": "windows8-rt", "6.3": "windows8.1", "10.0": "windows10.0"}
	fileArch   = map[winver.Arch]string{winver.X86: "x86", winver.AMD64: "x64", winver.IA64: "ia64", winver.ARM: "arm", winver.ARM64: "arm64"}
	// fileVersion holds the -vN of packages that were issued anew under their number, by
	// system: public lists of Microsoft's catalogue addresses name them.
	fileVersion = map[string]string{"windows6.0 KB4474419": "-v4", "windows6.1 KB4474419": "-v3"}
	// fileOther holds names that follow no rule.
	fileOther = map[string]string{
		"windows6.0 KB948465 x64": "Windows6.0-KB948465-X64.exe", "windows6.0 KB948465 x86": "Windows6.0-KB948465-X86.exe",
		"windows6.0 KB948465 ia64": "Windows6.0-KB948465-IA64.exe",
		"windows6.1 KB976932 x64":  "windows6.1-KB976932-X64.exe", "windows6.1 KB976932 x86": "windows6.1-KB976932-X86.exe",
		"windows6.1 KB976932 ia64": "windows6.1-KB976932-IA64.exe",
	}
)

// explorerPrefix stands before the names of cumulative updates of Internet Explorer: from
// 2016-01 on only the newest one a system can have was served (lifecycle FAQ for it).
var explorerPrefix = map[string]string{"windows6.0": "ie9-", "windows6.1": "ie11-"}

func fileName(rel *catalog.Release, arch winver.Arch, it assess.Item) (name string, sure bool) {
	if len(rel.Builds) == 0 {
		return "", false
	}
	os := filePrefix[fmt.Sprintf("%d.%d", rel.Builds[0].Major, rel.Builds[0].Minor)]
	if other, ok := fileOther[os+" "+it.KB.String()+" "+fileArch[arch]]; ok {
		return other, true
	}
	version, sure := fileVersion[os+" "+it.KB.String()]
	name = os + "-" + strings.ToLower(it.KB.String()) + version + "-" + fileArch[arch] + ".msu"
	if it.Kind == "ie-cumulative" {
		name = explorerPrefix[os] + name
	}
	return name, sure
}

// install is the command that installs a package file. wusa takes packages (.msu) on every
// Windows; a cabinet goes to pkgmgr on 6.0, which has no dism, and to dism later; a service
// pack is its own installer.
func install(rel *catalog.Release, file string) string {
	switch {
	case strings.HasSuffix(strings.ToLower(file), ".exe"):
		return file + " /quiet /norestart"
	case !strings.HasSuffix(strings.ToLower(file), ".cab"):
		return "wusa.exe " + file + " /quiet /norestart"
	case len(rel.Builds) > 0 && rel.Builds[0].Major == 6 && rel.Builds[0].Minor == 0:
		return "pkgmgr.exe /ip /m:" + file + " /quiet /norestart"
	}
	return "dism.exe /online /add-package /packagepath:" + file + " /quiet /norestart"
}

// How a step is known to fail: oldguard explain CODE tells more, and from which source.
var (
	failSHA2 = []Failure{
		{"0x80096010", "the package is signed with SHA-2 alone and the system cannot read that; or the file is damaged", "install the first servicing stack that reads SHA-2, then KB4474419, restart, try again; else verify the file"},
		{"0x80092004", "the signature cannot be read: SHA-2 support is missing", "as for 0x80096010"},
	}
	failAny = []Failure{
		{"0x80240017", "not applicable: for another Windows, service pack or architecture, or something newer is there, or what it needs is not", "compare the file's name with this plan; do the steps before it"},
		{"0x80070422", "the service Windows Update is disabled; wusa needs it, even for a file", "sc config wuauserv start= demand, then try again"},
		{"0x80073712", "the component store is damaged", "run the System Update Readiness Tool (KB947821) on 6.0 and 6.1, DISM /RestoreHealth later; read CheckSUR.log"},
	}
	failStack = Failure{"0x800F0823", "the servicing stack is older than the package requires", "install the servicing stack of this plan first"}
	failESU   = []Failure{
		{"0x80070661", "1633: an extended update without an activated licence (CBS.log: ESU: not eligible, or Windows is not activated)", "activate Windows, then the key; check with slmgr /dlv all; try again"},
		{"0x80070643", "1603: an installer failed; CBS.log with 1605 (ESU: Pre IMDS checks failed) is a machine not known to be eligible", "read CBS.log at that minute; install the newest servicing stack and the licensing package first"},
	}
	failKey = []Failure{
		{"0xC004F050", "the licensing package is not there, or no restart came since, or the key is of another product", "install it, restart (Server 2008 SP2 sometimes twice), slmgr /ipk again"},
		{"0xC004C020", "the key was activated too often", "ask Microsoft's licensing service for more activations"},
		{"0x80072EE7", "the activation server cannot be reached", "open the way, or activate through the VAMT proxy or by telephone (slmgr /dti, then slmgr /atp)"},
		{"0x80072F8F", "the activation server asks for TLS 1.2", "install KB3140245 and set WinHttp DefaultSecureProtocols"},
	}
)

func failuresOf(kind string) []Failure {
	switch kind {
	case "monthly-rollup", "cumulative-update", "security-only", "ie-cumulative":
		return slices.Concat(failSHA2, failESU, []Failure{failStack}, failAny)
	case "licence":
		return slices.Concat(failKey, failESU[:1])
	case "service-pack":
		return failAny[2:]
	}
	return slices.Concat(failSHA2, failAny)
}

// Apply gives the host as it is after the plan: every update of it listed, and the build
// that they lead to. It is for proving a plan, in memory.
func (p *Patch) Apply(h *host.Host, c *catalog.Catalog) *host.Host {
	out := *h
	if len(p.Updates()) == 0 {
		return &out
	}
	src := host.Source{Reader: "plan", Input: "applied in memory"}
	out.Updates = host.Set[winver.KB]{}
	out.Updates.Merge(h.Updates)
	build := p.ReachedBuild
	for _, s := range p.Updates() {
		out.Updates.Add(s.KB, src)
		if rec, err := c.Records(p.Target.ID); err == nil && h.Build.Or(winver.Build{}).HasRevision {
			// Where a revision is known, it must show what the update leads to.
			if u, ok := rec.Update(s.KB); ok && u.Build.HasRevision {
				build = u.Build
			}
		}
	}
	out.Build = host.Fact[winver.Build]{}
	out.Build.Say(build, 1<<20, src)
	return &out
}
