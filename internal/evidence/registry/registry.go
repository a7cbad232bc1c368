// Package registry says what a registry means for a host, wherever the registry comes from:
// an export or hives. It reads keys and no files, and it is no evidence reader itself.
//
// What the source does not show stays unknown; only what a source proves to be absent
// counts as absent. Names of people (RegisteredOwner) and product keys are never read.
package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/cbs"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/winreg"
	"github.com/oldguard/oldguard/winver"
)

// The keys that are read, below HKEY_LOCAL_MACHINE. keySystem stands for the control set
// in use.
const (
	keyVersion    = `SOFTWARE\Microsoft\Windows NT\CurrentVersion`
	keyCBS        = `SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing`
	keyAutoUpdate = `SOFTWARE\Microsoft\Windows\CurrentVersion\WindowsUpdate\Auto Update`
	keyCrypto     = `SOFTWARE\Microsoft\Cryptography`
	keyIE         = `SOFTWARE\Microsoft\Internet Explorer`
	keyNET        = `SOFTWARE\Microsoft\NET Framework Setup\NDP`
	keyActivation = `SOFTWARE\Microsoft\Windows NT\CurrentVersion\SoftwareProtectionPlatform`
	keyUninstall  = `SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall`
	keyUninstall2 = `SOFTWARE\Wow6432Node\Microsoft\Windows\CurrentVersion\Uninstall`

	keyActiveName = `Control\ComputerName\ActiveComputerName`
	keyName       = `Control\ComputerName\ComputerName`
	keyTCPIP      = `Services\Tcpip\Parameters`
	keyProduct    = `Control\ProductOptions`
	keySession    = `Control\Session Manager`
	keyEnv        = `Control\Session Manager\Environment`
	keyZone       = `Control\TimeZoneInformation`
)

// root is how sources write HKEY_LOCAL_MACHINE.
const root = `HKLM\`

// rankRevision is what a revision that Windows keeps itself is worth: more than any
// version without one.
const rankRevision = 1000

// Say says to h what the registry says. machine is HKEY_LOCAL_MACHINE, from names the
// reader and the input, and rank is the trust in them.
func Say(h *host.Host, machine winreg.Key, from host.Source, rank int) {
	r := &reading{h: h, machine: machine, source: from, rank: rank, root: root}
	r.set, r.setPath = r.controlSet()
	build := r.version()
	r.identity()
	r.servicing(build)
	r.programs()
	r.licences()
	r.setup()
	r.winners()
}

type reading struct {
	h       *host.Host
	machine winreg.Key
	set     winreg.Key // the control set in use; nil if none is shown
	setPath string
	source  host.Source
	rank    int
	root    string // how sources write what stands above every path
}

// at is the source of what stands at path below HKEY_LOCAL_MACHINE, or below the one policy.
func (r *reading) at(path string) host.Source {
	s := r.source
	s.At = r.root + path
	return s
}

// open opens a key below k, which may be nil. Damage becomes a gap.
func (r *reading) open(k winreg.Key, path, whole string) (winreg.Key, error) {
	if k == nil {
		return nil, winreg.ErrNotShown
	}
	key, err := k.Open(path)
	r.damage(err, whole)
	return key, err
}

func (r *reading) damage(err error, path string) {
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, winreg.ErrNotShown) {
		r.h.Gap(host.Gap{What: "registry", From: r.at(path), Why: err.Error()})
	}
}

// controlSet gives the control set that the machine runs with: CurrentControlSet, which is
// a link in a live registry and in no hive, or the one that Select names.
func (r *reading) controlSet() (winreg.Key, string) {
	const live = `SYSTEM\CurrentControlSet`
	if k, err := r.open(r.machine, live, live); err == nil {
		return k, live
	}
	const selected = `SYSTEM\Select`
	path := `SYSTEM\ControlSet001`
	if k, err := r.open(r.machine, selected, selected); err == nil {
		v, err := k.Value("Current")
		if n, ok := v.Number(); err == nil && ok && n < 1000 {
			path = fmt.Sprintf(`SYSTEM\ControlSet%03d`, n)
		}
	}
	k, err := r.open(r.machine, path, path)
	if err != nil {
		return nil, path
	}
	return k, path
}

// system opens a key of the control set and gives its path.
func (r *reading) system(path string) (winreg.Key, string) {
	whole := r.setPath + `\` + path
	k, err := r.open(r.set, path, whole)
	if err != nil {
		return nil, whole
	}
	return k, whole
}

// text gives a value that is text or a number, cleaned; empty for what is not there, and
// for a nil key.
func text(k winreg.Key, name string) string {
	if k == nil {
		return ""
	}
	v, err := k.Value(name)
	if err != nil {
		return ""
	}
	return clean(v.Plain())
}

const maxText = 256 // bytes of a name or version

// clean makes one line of what may hold anything, also escapes for a terminal.
func clean(s string) string {
	s = strings.TrimSpace(strings.ToValidUTF8(s, "\ufffd"))
	if len(s) > maxText || strings.ContainsFunc(s, unicode.IsControl) {
		return ""
	}
	return s
}

func number(k winreg.Key, name string) (uint64, bool) {
	if k == nil {
		return 0, false
	}
	v, err := k.Value(name)
	if err != nil {
		return 0, false
	}
	return v.Number()
}

// version says what stands in CurrentVersion, and gives the build.
func (r *reading) version() winver.Build {
	k, err := r.open(r.machine, keyVersion, keyVersion)
	if err != nil {
		return winver.Build{}
	}
	say := func(f *host.Fact[string], value, name string) {
		f.Say(value, r.rank, r.at(keyVersion+`\`+name))
	}
	v, err := winver.FromRegistry(func(name string) string { return text(k, name) })
	build := v.Build
	switch {
	case err == nil:
		rank, name := r.rank, "CurrentBuildNumber"
		if build.Major < 10 {
			// Before Windows 10 the revision is the running kernel's, which updates that
			// leave the kernel alone do not raise: it is in BuildLabEx for people to see.
			build = build.Base()
		} else if build.HasRevision {
			rank, name = rankRevision, "UBR"
		}
		r.h.Build.Say(build, rank, r.at(keyVersion+`\`+name))
		r.h.Arch.Say(v.Arch, r.rank, r.at(keyVersion+`\BuildLabEx`))
		pack := v.ServicePack
		if _, csd := k.Value("CSDVersion"); errors.Is(csd, fs.ErrNotExist) && build.Line().ServicePack <= 0 {
			pack = host.NoServicePack
		}
		r.h.ServicePack.Say(pack, r.rank, r.at(keyVersion+`\CSDVersion`))
	case text(k, "CurrentBuildNumber")+text(k, "CurrentBuild")+text(k, "BuildLab") != "":
		r.h.Gap(host.Gap{What: "version", From: r.at(keyVersion), Why: err.Error()})
	}
	for _, name := range []string{"BuildLabEx", "BuildLab"} {
		if s := text(k, name); s != "" {
			say(&r.h.BuildLab, s, name)
			break
		}
	}
	product := productOf(text(k, "ProductName"), build)
	say(&r.h.Product, product, "ProductName")
	edition := text(k, "EditionID")
	// As the other sources have it, which know the product's name and no EditionID; that
	// one is "Professional" of "Windows 10 Pro".
	if m := editionName.FindStringSubmatch(product); m != nil {
		say(&r.h.Edition, m[1], "ProductName")
	} else {
		say(&r.h.Edition, edition, "EditionID")
	}
	kind, name := text(k, "InstallationType"), "InstallationType"
	if kind == "" {
		name = "EditionID"
	}
	r.h.Installation.Say(installationOf(kind, edition, product), r.rank, r.at(keyVersion+`\`+name))
	say(&r.h.ProductID, text(k, "ProductId"), "ProductId")
	if n, ok := number(k, "InstallDate"); ok && n > 0 && n < 1<<32 {
		if local, ok := r.local(time.Unix(int64(n), 0).UTC()); ok {
			r.h.Installed.Say(local, r.rank, r.at(keyVersion+`\InstallDate`))
		}
	}
	return build
}

var marks = strings.NewReplacer("(R)", "", "(TM)", "", "®", "", "™", "")

// editionName finds what stands behind the release in a product's name.
var editionName = regexp.MustCompile(`^Microsoft Windows (?:Vista|XP|7|8|8\.1|10|11|Server 20\d\d(?: R2)?) (\S.*)$`)

// productOf writes the product's name as systeminfo does: with the maker, without marks.
func productOf(name string, b winver.Build) string {
	name = strings.Join(strings.Fields(marks.Replace(name)), " ")
	if name == "" {
		return ""
	}
	if rest, ok := strings.CutPrefix(name, "Windows 10 "); ok && b.Number >= 22000 && b.Major == 10 {
		name = "Windows 11 " + rest // ProductName was left at "Windows 10 Pro"
	}
	if !strings.HasPrefix(name, "Microsoft ") {
		name = "Microsoft " + name
	}
	return name
}

// installationOf goes by InstallationType, which Windows 7 and Server 2008 R2 brought, and
// before them by the edition: ServerStandardCore.
func installationOf(kind, edition, product string) host.Installation {
	switch kind {
	case "Client":
		return host.Client
	case "Server":
		return host.Server
	case "Server Core":
		return host.ServerCore
	case "Nano Server":
		return host.NanoServer
	}
	server := strings.HasPrefix(edition, "Server") || strings.Contains(product, "Server")
	switch {
	case server && strings.HasPrefix(edition, "Server") && (strings.HasSuffix(edition, "Core") || strings.HasSuffix(edition, "CoreV")):
		return host.ServerCore
	case server && edition != "":
		return host.Server
	case edition != "":
		return host.Client
	}
	return ""
}

// identity says which machine it is.
func (r *reading) identity() {
	for _, path := range []string{keyActiveName, keyName} {
		k, whole := r.system(path)
		if name := computerName(text(k, "ComputerName")); name != "" {
			r.h.Name.Say(name, r.rank, r.at(whole+`\ComputerName`))
			break
		}
	}
	k, whole := r.system(keyTCPIP)
	if !r.h.Name.Known() {
		r.h.Name.Say(computerName(text(k, "Hostname")), r.rank, r.at(whole+`\Hostname`))
	}
	// The primary DNS suffix, which joining a domain sets to the domain's name.
	r.h.Domain.Say(computerName(text(k, "Domain")), r.rank, r.at(whole+`\Domain`))

	k, whole = r.system(keyProduct)
	if strings.EqualFold(text(k, "ProductType"), "LanmanNT") {
		r.h.Role.Say(host.DomainController, r.rank, r.at(whole+`\ProductType`))
	}
	k, whole = r.system(keyEnv)
	if arch, err := winver.ParseArch(text(k, "PROCESSOR_ARCHITECTURE")); err == nil {
		r.h.Arch.Say(arch, r.rank, r.at(whole+`\PROCESSOR_ARCHITECTURE`))
	}
	if k, err := r.open(r.machine, keyCrypto, keyCrypto); err == nil {
		r.h.MachineID.Say(strings.ToLower(text(k, "MachineGuid")), r.rank, r.at(keyCrypto+`\MachineGuid`))
	}
}

func computerName(s string) string {
	if strings.ContainsAny(s, " \t\\/:*?\"<>|") {
		return ""
	}
	return s
}

// servicing says what Component Based Servicing knows, and whether a restart is pending.
func (r *reading) servicing(build winver.Build) {
	k, cbsErr := r.open(r.machine, keyCBS, keyCBS)
	if cbsErr == nil {
		r.packages(k, build)
		for _, mark := range [...]struct{ name, why string }{
			{"RebootPending", "servicing waits for a restart"},
			{"RebootInProgress", "servicing is in the middle of a restart"},
		} {
			if _, err := r.open(k, mark.name, keyCBS+`\`+mark.name); err == nil {
				r.restart(mark.why, keyCBS+`\`+mark.name)
			}
		}
		if n := r.children(k, "PackagesPending", keyCBS); n > 0 {
			r.restart(evidence.Count(n, "package waits", "packages wait")+" for servicing to go on", keyCBS+`\PackagesPending`)
		}
		if p, err := r.open(k, "SessionsPending", keyCBS+`\SessionsPending`); err == nil {
			// Exclusive holds the number of the session that has servicing for itself; it stays, as 0.
			if n, ok := number(p, "Exclusive"); ok && n != 0 {
				r.restart("a servicing session is not finished", keyCBS+`\SessionsPending\Exclusive`)
			}
		}
		if n, ok := number(k, "Unserviceable"); ok && n != 0 {
			r.h.Gap(host.Gap{
				What: "servicing", From: r.at(keyCBS + `\Unserviceable`), Why: "servicing has met critical errors and refuses to install or remove anything",
				Hint: "see %windir%\\Logs\\CBS\\CBS.log",
			})
		}
		// A whole key shows that none of these is there.
		if _, err := k.Open("RebootPending"); !errors.Is(err, winreg.ErrNotShown) {
			r.h.RestartChecked.Say(true, r.rank, r.at(keyCBS))
		}
	}
	if _, err := r.open(r.machine, keyAutoUpdate+`\RebootRequired`, keyAutoUpdate); err == nil {
		r.restart("Windows Update waits for a restart", keyAutoUpdate+`\RebootRequired`)
	}
	s, whole := r.system(keySession)
	if s == nil {
		return
	}
	if v, err := s.Value("PendingFileRenameOperations"); err == nil {
		if names, ok := v.Texts(); ok && len(names) > 0 {
			// Pairs of source and target; an empty target, which Texts leaves out, deletes.
			r.restart("files wait to be replaced or deleted at the next restart; programs do that as well as updates", whole+`\PendingFileRenameOperations`)
		}
	}
}

func (r *reading) restart(why, path string) {
	r.h.Restart = append(r.h.Restart, host.Reason{Text: why, From: []host.Source{r.at(path)}})
}

func (r *reading) children(k winreg.Key, name, path string) int {
	p, err := r.open(k, name, path+`\`+name)
	if err != nil {
		return 0
	}
	keys, err := p.Subkeys()
	r.damage(err, path+`\`+name)
	return len(keys)
}

// packages reads the list of CBS packages.
func (r *reading) packages(k winreg.Key, build winver.Build) {
	const path = keyCBS + `\Packages`
	p, err := r.open(k, "Packages", path)
	if err != nil {
		return
	}
	keys, err := p.Subkeys()
	r.damage(err, path)
	l := cbs.List{Build: build, From: r.at(path), Rank: rankRevision}
	if err != nil {
		l.Cut = "not every package is shown: the key Packages is not shown whole"
	}
	odd := 0
	for _, key := range keys {
		id, ok := cbs.Parse(key.Name())
		if !ok {
			odd++
			continue
		}
		pkg := host.Package{Name: key.Name(), KB: id.KB, Client: text(key, "InstallClient"), From: r.at(path + `\` + key.Name())}
		if n, ok := number(key, "CurrentState"); ok && n < 1<<32 {
			pkg.State = cbs.StateOf(uint32(n))
		}
		high, ok1 := number(key, "InstallTimeHigh")
		low, ok2 := number(key, "InstallTimeLow")
		if ok1 && ok2 {
			pkg.Installed, _ = evidence.InstallDate(fmt.Sprintf("%08x%08x", high, low), evidence.OrderUnknown)
		}
		l.Packages = append(l.Packages, pkg)
	}
	if odd > 0 && l.Cut == "" {
		l.Cut = evidence.Count(odd, "key is", "keys are") + " not named like a package"
	}
	l.Say(r.h)
}
