package host

import (
	"time"

	"github.com/oldguard/oldguard/winver"
)

// Gap is something that could not be read, and why.
type Gap struct {
	What string
	From Source
	Why  string
	Hint string // what would tell: a command to run, a file to bring; may be empty
}

// Installation is the kind of installation.
type Installation string

// The kinds of installation.
const (
	Client     Installation = "client"
	Server     Installation = "server"
	ServerCore Installation = "server-core"
	NanoServer Installation = "nano-server"
)

// Role is what a machine is to its domain.
type Role string

// The roles. A domain controller on an old release is a finding of its own.
const (
	Standalone       Role = "standalone"
	Member           Role = "member"
	DomainController Role = "domain-controller"
)

// Host is what the evidence says about one machine. The zero value knows nothing.
type Host struct {
	Name      Fact[string] // computer name, NetBIOS or DNS as the source gives it
	Domain    Fact[string] // domain or workgroup as the source gives it
	ProductID Fact[string] // 92573-082-2500115-76417
	MachineID Fact[string] // machine GUID

	Product      Fact[string] // the product name as displayed: "Microsoft Windows Server 2008 Standard"
	Edition      Fact[string] // as registry EditionID where known ("ServerStandard"), else from the product name ("Standard")
	Installation Fact[Installation]
	Role         Fact[Role]
	Arch         Fact[winver.Arch]
	Build        Fact[winver.Build] // with revision only where a source states it
	BuildLab     Fact[string]
	ServicePack  Fact[int] // 1 and up; known to be none is NoServicePack
	Language     Fact[string]

	Installed Fact[time.Time] // original install date, in the machine's own time zone, as UTC fields
	Booted    Fact[time.Time] // last boot, likewise

	Updates Set[winver.KB]
	// InstalledOn holds when a source says an update was installed; a zero time is never stored.
	InstalledOn map[winver.KB]time.Time

	// Packages are the CBS packages that sources show with a state. A KB is in Updates only
	// if a package of it is in effect.
	Packages []Package
	// Restart holds what shows that a restart is pending; RestartChecked whether a source
	// was read that would have shown it.
	Restart        []Reason
	RestartChecked Fact[bool]

	// Licences are the products Software Licensing lists; LicencesWhole is stated by a
	// source that listed every one.
	Licences      []Licence
	LicencesWhole Fact[bool]

	// Programs are installed programs; ProgramsWhole is stated by a source that lists
	// every one.
	Programs      []Program
	ProgramsWhole Fact[bool]

	Errors []LogError

	// Files are program files of Windows, each once for each source.
	Files []File

	Setup
	Network

	Gaps []Gap
}

// NoServicePack is the value of Host.ServicePack where a source shows that there is none.
const NoServicePack = -1

// Gap records that something could not be read.
func (h *Host) Gap(g Gap) { h.Gaps = append(h.Gaps, g) }

// Merge adds everything o says to h. Claims keep their ranks, so the order of merging
// does not decide between sources of different rank. o must not be used afterwards: h takes over its traffic.
func (h *Host) Merge(o *Host) {
	h.Name.Merge(o.Name)
	h.Domain.Merge(o.Domain)
	h.ProductID.Merge(o.ProductID)
	h.MachineID.Merge(o.MachineID)
	h.Product.Merge(o.Product)
	h.Edition.Merge(o.Edition)
	h.Installation.Merge(o.Installation)
	h.Role.Merge(o.Role)
	h.Arch.Merge(o.Arch)
	h.Build.Merge(o.Build)
	h.BuildLab.Merge(o.BuildLab)
	h.ServicePack.Merge(o.ServicePack)
	h.Language.Merge(o.Language)
	h.Installed.Merge(o.Installed)
	h.Booted.Merge(o.Booted)
	h.Updates.Merge(o.Updates)
	for kb, on := range o.InstalledOn {
		h.SetInstalledOn(kb, on)
	}
	h.Packages = append(h.Packages, o.Packages...)
	h.Restart = append(h.Restart, o.Restart...)
	h.RestartChecked.Merge(o.RestartChecked)
	h.Licences = append(h.Licences, o.Licences...)
	h.LicencesWhole.Merge(o.LicencesWhole)
	h.Programs = append(h.Programs, o.Programs...)
	h.ProgramsWhole.Merge(o.ProgramsWhole)
	h.Errors = append(h.Errors, o.Errors...)
	h.Files = append(h.Files, o.Files...)
	h.Setup.merge(&o.Setup)
	h.Network.merge(&o.Network)
	h.Gaps = append(h.Gaps, o.Gaps...)
}

// SetInstalledOn records when an update was installed. The earliest date wins; a zero
// time is ignored.
func (h *Host) SetInstalledOn(kb winver.KB, on time.Time) {
	if on.IsZero() {
		return
	}
	if h.InstalledOn == nil {
		h.InstalledOn = map[winver.KB]time.Time{}
	}
	if old, ok := h.InstalledOn[kb]; !ok || on.Before(old) {
		h.InstalledOn[kb] = on
	}
}
