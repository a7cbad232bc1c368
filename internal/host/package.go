package host

import (
	"fmt"
	"time"

	"github.com/oldguard/oldguard/winver"
)

// PackageState is the state of a package of Component Based Servicing (CBS).
type PackageState uint8

// The states that matter, by what they mean for the fix in the package. The numbers that
// CBS writes, and their source, stand in the readers.
const (
	PackageUnknown     PackageState = iota
	PackageAbsent                   // not installed, or being removed
	PackageStaged                   // in the store, not active
	PackagePending                  // installed at the next restart: not in effect yet
	PackageInstalled                // in effect
	PackageSuperseded               // in effect through a newer package
	PackagePartly                   // some of its children do not apply; the others are in effect
	PackageBroken                   // reached a state and failed
	PackageUninstalled              // waits for a restart to be removed: still in effect
)

var packageStates = [...]string{
	"unknown", "absent", "staged", "install-pending", "installed", "superseded", "partially-installed", "broken", "uninstall-pending",
}

// String names the state.
func (s PackageState) String() string {
	if int(s) < len(packageStates) {
		return packageStates[s]
	}
	return "unknown"
}

// MarshalText writes what String gives.
func (s PackageState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what String gives.
func (s *PackageState) UnmarshalText(text []byte) error {
	for i, name := range packageStates {
		if name == string(text) {
			*s = PackageState(i) // #nosec G115 -- an index of a short table
			return nil
		}
	}
	return fmt.Errorf("%q is no package state", text)
}

// InEffect reports whether the package's files are the ones the system runs.
func (s PackageState) InEffect() bool {
	switch s {
	case PackageInstalled, PackageSuperseded, PackagePartly, PackageUninstalled:
		return true
	case PackageUnknown, PackageAbsent, PackageStaged, PackagePending, PackageBroken:
	}
	return false
}

// Package is one package of Component Based Servicing.
type Package struct {
	Name      string    // Package_for_KB4493730~31bf3856ad364e35~amd64~~6.0.1.0
	KB        winver.KB // from the name; zero if it names none
	State     PackageState
	Installed time.Time // zero if not known
	Client    string    // who installed it: WindowsUpdateAgent, wusa, …; empty if not known
	From      Source
}

// LicenceStatus is what Software Licensing says of a product key.
type LicenceStatus uint8

// The statuses, as LicenseStatus of SoftwareLicensingProduct numbers them, plus one:
// https://learn.microsoft.com/previous-versions/windows/desktop/sppwmi/softwarelicensingproduct
const (
	LicenceUnknown LicenceStatus = iota
	Unlicensed
	Licensed
	OutOfBoxGrace
	OutOfToleranceGrace
	NonGenuineGrace
	Notification
	ExtendedGrace
)

var licenceStatuses = [...]string{
	"unknown", "unlicensed", "licensed", "grace", "grace-out-of-tolerance", "grace-non-genuine", "notification", "grace-extended",
}

// String names the status.
func (s LicenceStatus) String() string {
	if int(s) < len(licenceStatuses) {
		return licenceStatuses[s]
	}
	return "unknown"
}

// MarshalText writes what String gives.
func (s LicenceStatus) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Licence is one product of Software Licensing, as slmgr /dlv all lists them.
type Licence struct {
	ActivationID string // lower case, without braces; empty if not known
	Name         string
	PartialKey   string // last five characters; empty if no key is installed or none shown
	Status       LicenceStatus
	From         Source
}

// Program is an installed program.
type Program struct {
	Name, Version, Publisher string
	From                     Source
}

// LogError is an error that a log shows: a code, or a sentence that is known.
type LogError struct {
	Code string // 0x80070661; empty where the log gives words alone
	Text string // the log's line, shortened
	On   time.Time
	From Source
}
