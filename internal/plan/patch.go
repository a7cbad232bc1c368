package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// builder puts the steps of a patch plan in order.
type builder struct {
	*Patch
	rec      *catalog.Records
	host     *host.Host
	restarts int
	pending  []string // updates since the last restart
}

// build makes the steps from what is missing at the end of the entitlement. The missing
// updates stand in the order of installation already; what they need and is not among
// them (the first servicing stack that reads SHA-2) comes in front.
func (b *builder) build(then *assess.Assessment) {
	missing := then.Updates.Missing
	b.Reached = then.Updates.Newest
	if len(missing) == 0 {
		if !wholeEnough(then) {
			b.Why = "the evidence does not tell which updates are installed: " + gapOf(then)
		}
		return
	}
	order := expand(missing)
	b.prepare()
	licence := false
	for _, it := range order {
		if needsESU(it) && !licence {
			licence = true
			b.licence()
		}
		b.update(it)
		if u, ok := b.rec.Update(it.KB); ok && u.Stream == catalog.Cumulative {
			b.Reached = it.KB
		}
	}
	b.restart("what was installed takes effect")
	b.check()
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
func expand(missing []assess.Item) (order []assess.Item) {
	have := map[winver.KB]bool{}
	for _, it := range missing {
		have[it.KB] = true
	}
	added := map[winver.KB]bool{}
	for _, it := range missing {
		for _, n := range it.Needs {
			if n.Kind == assess.NeedUpdate && !have[n.KB] && !added[n.KB] {
				added[n.KB] = true
				order = append(order, assess.Item{KB: n.KB, Kind: "servicing-stack", Because: []host.Reason{{Text: "needed by " + it.KB.String() + ": " + n.Text}}})
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

// prepare is what comes before anything is changed.
func (b *builder) prepare() {
	for _, s := range []Step{
		{ID: "backup", Title: "Make a full backup or a snapshot, and try to restore it", Changes: "nothing on the machine"},
		{ID: "vendor", Title: "Ask the vendor of what runs on it, in writing: medical and industrial devices may be updated by their makers alone", Changes: "nothing"},
		{ID: "disk", Title: "See that the system disk has at least 8 GB free", Changes: "nothing", Check: []string{`dir %SystemDrive%\`}},
		{ID: "antivirus", Title: "Stop the real-time scan of the antivirus for the time of the work, if its maker says so", Changes: "until it is started again"},
		{ID: "way-back", Title: "Write down the way back: which backup, who decides, until when", Changes: "nothing"},
	} {
		s.Kind = StepPrepare
		b.add(s)
	}
}

// update adds the step for one update, and the restarts that must come before it.
func (b *builder) update(it assess.Item) {
	if b.mustRestart(it) {
		b.restart("an update that was installed before needs it first")
	}
	s := Step{
		ID: strings.ToLower(it.KB.String()), Kind: StepUpdate, KB: it.KB, Because: it.Because, Failures: failuresOf(it.Kind),
		Title: fmt.Sprintf("Install %s, %s", it.KB, title(it)),
	}
	s.File, s.FileSure = fileName(b.Target, b.Arch, it.KB)
	s.Commands = []string{install(b.Target, s.File)}
	s.Changes = changes(b.rec, it)
	s.Check = []string{`wmic qfe where "HotFixID='` + it.KB.String() + `'" get HotFixID,InstalledOn`}
	for _, n := range it.Needs {
		if n.KB != 0 {
			s.Needs = append(s.Needs, strings.ToLower(n.KB.String()))
		}
	}
	for _, before := range b.Steps {
		if before.Kind == StepRestart {
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
		ID: fmt.Sprintf("restart-%d", b.restarts), Kind: StepRestart, Title: "Restart", Changes: why,
		Commands: []string{"shutdown /r /t 0"}, Check: []string{`reg query "HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\RebootPending" (must not be there)`},
	})
}

// licence adds what an extended update needs before it installs: the licensing package,
// a restart, the key, and its activation, as Microsoft documents them (KB4522133).
func (b *builder) licence() {
	if n := len(b.Target.Licensing); n > 0 {
		pkg := b.Target.Licensing[n-1]
		if b.host.Updates.Has(pkg.KB) != host.Yes {
			b.update(assess.Item{KB: pkg.KB, Kind: "licensing-package", Because: []host.Reason{{Text: "without it no ESU key can be installed (" + pkg.Source + ")"}}})
			b.restart("the licensing package takes effect; Server 2008 SP2 sometimes needs one more")
		}
	}
	if b.Entitlement == Azure {
		b.add(Step{ID: "entitlement", Kind: StepCheck, Title: "On Azure no key is used: the machine asks the instance metadata service", Changes: "nothing",
			Check: []string{"http://169.254.169.254 must be reachable from the machine"}, Failures: failuresOf("licence")})
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
			ID: "key-" + programme, Kind: StepLicence, Title: "Install and activate the key of " + programme + ", which the owner has",
			Changes:  "the licence of the machine",
			Commands: []string{`cscript //nologo %SystemRoot%\System32\slmgr.vbs /ipk <the owner's key>`, `cscript //nologo %SystemRoot%\System32\slmgr.vbs /ato ` + id},
			Check:    []string{`cscript //nologo %SystemRoot%\System32\slmgr.vbs /dlv all`}, Failures: failuresOf("licence"),
			Because: []host.Reason{{Text: "updates after the end of support install only with an activated key"}},
		})
	}
	if b.Entitlement == PremiumAssurance {
		b.add(Step{ID: "entitlement", Kind: StepLicence, Title: "Activate Premium Assurance as its contract says", Changes: "the licence of the machine",
			Because: []host.Reason{{Text: "no public document tells how; no activation id is known"}}})
	}
}

// check ends the plan: what the machine must show.
func (b *builder) check() {
	want := b.Target.Name
	if u, ok := b.rec.Update(b.Reached); ok && u.Build.Known() {
		want = u.Build.Base().String()
	}
	b.add(Step{
		ID: "check", Kind: StepCheck, Title: "Check: ver shows " + want + ", and oldguard finds nothing more to install", Changes: "nothing",
		Commands: []string{"ver", "systeminfo > after.txt", "wmic qfe > after-qfe.txt"},
		Check:    []string{"oldguard assess after.txt after-qfe.txt --as-of " + b.Until.String()},
	})
}

func title(it assess.Item) string {
	name := strings.ReplaceAll(it.Kind, "-", " ")
	if it.Released != 0 {
		name += " of " + it.Released.String()
	}
	return name
}

func changes(rec *catalog.Records, it assess.Item) string {
	switch it.Kind {
	case "service-pack":
		return "the service pack level; takes an hour and several restarts"
	case "servicing-stack":
		return "the servicing stack; it cannot be removed"
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

func fileName(rel *catalog.Release, arch winver.Arch, kb winver.KB) (name string, sure bool) {
	if len(rel.Builds) == 0 {
		return "", false
	}
	os := filePrefix[fmt.Sprintf("%d.%d", rel.Builds[0].Major, rel.Builds[0].Minor)]
	if other, ok := fileOther[os+" "+kb.String()+" "+fileArch[arch]]; ok {
		return other, true
	}
	version, sure := fileVersion[os+" "+kb.String()]
	return os + "-" + strings.ToLower(kb.String()) + version + "-" + fileArch[arch] + ".msu", sure
}

// install is the command that installs a package file: wusa on every Windows that has it,
// the service pack's own installer otherwise.
func install(_ *catalog.Release, file string) string {
	if strings.HasSuffix(file, ".exe") {
		return file + " /quiet /norestart"
	}
	return "wusa.exe " + file + " /quiet /norestart"
}

// failuresOf lists how a kind of step is known to fail; oldguard explain tells more.
func failuresOf(kind string) []Failure {
	sha2 := []Failure{
		{"0x80096010", "the package is signed with SHA-2 alone and the system cannot read that", "install the first servicing stack that reads SHA-2, KB4474419, and restart"},
		{"0x80092004", "the signature cannot be read: SHA-2 support is missing", "as for 0x80096010"},
	}
	switch kind {
	case "monthly-rollup", "cumulative-update", "security-only":
		return append(sha2,
			Failure{"0x80070661", "an extended update without an activated licence (CBS.log: ESU: not eligible, 1633)", "activate the licence, restart, try again"},
			Failure{"0x80070643", "an installer failed (CBS.log with 1605: not eligible for ESU)", "read CBS.log at that minute"},
			Failure{"0x800f0816", "not a failure by itself", "read CBS.log"})
	case "licence":
		return []Failure{
			{"0xC004F050", "the licensing package is not there, or no restart came since", "install it, restart (Server 2008 SP2 sometimes twice)"},
			{"0xC004C020", "the key was activated too often", "ask Microsoft's licensing service"},
			{"0x80072EE7", "the activation server cannot be reached", "activate through the VAMT proxy or by telephone"},
		}
	}
	return sha2
}

// Apply gives the host as it is after the plan: every update of it listed, and the build
// that they lead to. It is for proving a plan, in memory.
func (p *Patch) Apply(h *host.Host, c *catalog.Catalog) *host.Host {
	out := *h
	src := host.Source{Reader: "plan", Input: "applied in memory"}
	out.Updates = host.Set[winver.KB]{}
	out.Updates.Merge(h.Updates)
	build := h.Build.Or(winver.Build{}).Base()
	if p.Target != nil && p.Target != p.Release && len(p.Target.Builds) > 0 {
		build = p.Target.Builds[0]
	}
	rec, err := c.Records(p.Target.ID)
	for _, s := range p.Steps {
		if s.KB == 0 {
			continue
		}
		out.Updates.Add(s.KB, src)
		if err == nil {
			if u, ok := rec.Update(s.KB); ok && u.Build.Known() && u.Build.Base().Compare(build) > 0 {
				build = u.Build.Base()
			}
		}
	}
	out.Build = host.Fact[winver.Build]{}
	out.Build.Say(build, 1<<20, src)
	return &out
}
