package host

import (
	"errors"
	"io/fs"
	"path"
	"strings"

	"github.com/oldguard/oldguard/internal/winreg"
	"github.com/oldguard/oldguard/winver"
)

// Probe answers three-valued questions about a machine: Yes with what was found, No where
// it is proven not to be there, Unknown where the evidence does not tell. What asks (the
// rules of an update package, a plan) does not care whether a live hive or a stored
// snapshot answers.
type Probe interface {
	// RegistryValue looks a value up. key starts with the root, HKLM\SOFTWARE\….
	RegistryValue(key, name string) (winreg.Value, Tri)
	// RegistryKey reports whether there is such a key.
	RegistryKey(key string) Tri
	// FileVersion gives the version resource of a file, named from the Windows folder:
	// system32\ntoskrnl.exe.
	FileVersion(file string) (FileVersion, Tri)
	// PackageState gives the state of a CBS package by its identity.
	PackageState(name string) (PackageState, Tri)
}

// FileVersion is what a program file says of itself.
type FileVersion struct {
	Version winver.Build // as 6.0.6003.20489
	Arch    winver.Arch
}

// Live answers from hives and a Windows folder. What it was not given is Unknown.
type Live struct {
	// Roots are registry keys by the path at which they hang: HKLM\SOFTWARE.
	Roots map[string]winreg.Key
	// Windows is the Windows folder, nil if there is none. Its file system must find names
	// without regard to case, or hold them in the case of the questions.
	Windows fs.FS
	// ReadVersion reads a program file's version; an error is Unknown.
	ReadVersion func(fs.File) (FileVersion, error)
	// Packages are the CBS packages; PackagesWhole tells that there are no others.
	Packages      []Package
	PackagesWhole bool
}

var _ Probe = (*Live)(nil)

// RegistryValue implements Probe.
func (l *Live) RegistryValue(key, name string) (winreg.Value, Tri) {
	k, t := l.key(key)
	if t != Yes {
		return winreg.Value{}, t
	}
	v, err := k.Value(name)
	return v, triOf(err)
}

// RegistryKey implements Probe.
func (l *Live) RegistryKey(key string) Tri {
	_, t := l.key(key)
	return t
}

func (l *Live) key(at string) (winreg.Key, Tri) {
	for root, k := range l.Roots {
		if len(at) == len(root) && strings.EqualFold(at, root) {
			return k, Yes
		}
		if len(at) > len(root) && at[len(root)] == '\\' && strings.EqualFold(at[:len(root)], root) {
			found, err := k.Open(at[len(root)+1:])
			return found, triOf(err)
		}
	}
	return nil, Unknown
}

// triOf: absence is proven by fs.ErrNotExist alone; what was not shown, or is damaged, is
// not known.
func triOf(err error) Tri {
	switch {
	case err == nil:
		return Yes
	case errors.Is(err, fs.ErrNotExist):
		return No
	}
	return Unknown
}

// FileVersion implements Probe.
func (l *Live) FileVersion(file string) (FileVersion, Tri) {
	name := path.Clean(strings.ReplaceAll(file, `\`, "/"))
	if l.Windows == nil || l.ReadVersion == nil || !fs.ValidPath(name) {
		return FileVersion{}, Unknown
	}
	f, err := l.Windows.Open(name)
	if err != nil {
		return FileVersion{}, triOf(err)
	}
	defer f.Close()
	v, err := l.ReadVersion(f)
	if err != nil {
		return FileVersion{}, Unknown
	}
	return v, Yes
}

// PackageState implements Probe.
func (l *Live) PackageState(name string) (PackageState, Tri) {
	for _, p := range l.Packages {
		if strings.EqualFold(p.Name, name) {
			return p.State, Yes
		}
	}
	if l.PackagesWhole {
		return PackageAbsent, No
	}
	return PackageUnknown, Unknown
}

// Snapshot holds the answers to the questions that were asked of another probe, and no
// others: a stored host keeps what was needed and not its hives. The zero value knows
// nothing.
type Snapshot struct {
	Values   map[string]SnapshotValue `json:"values,omitempty"`   // by key, a NUL and name, in lower case
	Keys     map[string]Tri           `json:"keys,omitempty"`     // by key
	Files    map[string]SnapshotFile  `json:"files,omitempty"`    // by name
	Packages map[string]SnapshotState `json:"packages,omitempty"` // by identity
}

// SnapshotValue is a stored answer about a registry value.
type SnapshotValue struct {
	Found Tri          `json:"found"`
	Value winreg.Value `json:"value"`
}

// SnapshotFile is a stored answer about a file.
type SnapshotFile struct {
	Found   Tri         `json:"found"`
	Version FileVersion `json:"version"`
}

// SnapshotState is a stored answer about a package.
type SnapshotState struct {
	Found Tri          `json:"found"`
	State PackageState `json:"state"`
}

var _ Probe = (*Snapshot)(nil)

func ask(parts ...string) string { return strings.ToLower(strings.Join(parts, "\x00")) }

// RegistryValue implements Probe.
func (s *Snapshot) RegistryValue(key, name string) (winreg.Value, Tri) {
	a := s.Values[ask(key, name)]
	return a.Value, a.Found
}

// RegistryKey implements Probe.
func (s *Snapshot) RegistryKey(key string) Tri { return s.Keys[ask(key)] }

// FileVersion implements Probe.
func (s *Snapshot) FileVersion(file string) (FileVersion, Tri) {
	a := s.Files[ask(file)]
	return a.Version, a.Found
}

// PackageState implements Probe.
func (s *Snapshot) PackageState(name string) (PackageState, Tri) {
	a := s.Packages[ask(name)]
	return a.State, a.Found
}

// Record gives a probe that asks p and keeps every answer in s. It is for one goroutine.
func (s *Snapshot) Record(p Probe) Probe {
	if s.Values == nil {
		s.Values, s.Keys = map[string]SnapshotValue{}, map[string]Tri{}
		s.Files, s.Packages = map[string]SnapshotFile{}, map[string]SnapshotState{}
	}
	return &recorder{p, s}
}

type recorder struct {
	from Probe
	into *Snapshot
}

func (r *recorder) RegistryValue(key, name string) (winreg.Value, Tri) {
	v, t := r.from.RegistryValue(key, name)
	r.into.Values[ask(key, name)] = SnapshotValue{t, v}
	return v, t
}

func (r *recorder) RegistryKey(key string) Tri {
	t := r.from.RegistryKey(key)
	r.into.Keys[ask(key)] = t
	return t
}

func (r *recorder) FileVersion(file string) (FileVersion, Tri) {
	v, t := r.from.FileVersion(file)
	r.into.Files[ask(file)] = SnapshotFile{t, v}
	return v, t
}

func (r *recorder) PackageState(name string) (PackageState, Tri) {
	v, t := r.from.PackageState(name)
	r.into.Packages[ask(name)] = SnapshotState{t, v}
	return v, t
}
