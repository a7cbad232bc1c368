package hive

import (
	"strings"
	"time"

	"github.com/oldguard/oldguard/internal/winreg"
)

// mount is HKEY_LOCAL_MACHINE with the hives that are there, by their names. Of the others
// nothing is known.
type mount map[string]winreg.Key

var _ winreg.Key = mount{}

// Name implements winreg.Key.
func (m mount) Name() string { return "" }

// LastWrite implements winreg.Key.
func (m mount) LastWrite() time.Time { return time.Time{} }

// Open implements winreg.Key.
func (m mount) Open(path string) (winreg.Key, error) {
	name, rest, deeper := strings.Cut(path, `\`)
	k, ok := m[strings.ToUpper(name)]
	switch {
	case !ok:
		return nil, winreg.ErrNotShown
	case !deeper:
		return k, nil
	}
	return k.Open(rest)
}

// Subkeys implements winreg.Key.
func (m mount) Subkeys() ([]winreg.Key, error) { return nil, winreg.ErrNotShown }

// Value implements winreg.Key.
func (m mount) Value(string) (winreg.Value, error) { return winreg.Value{}, winreg.ErrNotShown }

// Values implements winreg.Key.
func (m mount) Values() ([]winreg.Value, error) { return nil, winreg.ErrNotShown }
