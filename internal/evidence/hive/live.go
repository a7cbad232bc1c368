package hive

import (
	"fmt"
	"io"
	"strings"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/winreg"
)

// Root opens the hive in in, with the logs beside it, for look-ups such as host.Live makes.
// It gives the name under which the hive hangs below HKEY_LOCAL_MACHINE, and its root. In
// SYSTEM that has CurrentControlSet, as in a live registry, where it is a link to the set in
// use. It fails for a file that is none of the hives the reader reads.
func Root(in evidence.Input) (name string, root winreg.Key, err error) {
	if in.Beside == nil {
		in.Beside = func(string) *io.SectionReader { return nil }
	}
	h, err := open(in, in.File, base(in.Name))
	if err != nil {
		return "", nil, err
	}
	name, wanted := kindOf(h.Root())
	switch {
	case !wanted:
		return "", nil, fmt.Errorf("%s is neither SOFTWARE nor SYSTEM nor COMPONENTS", in.Name)
	case name == "SYSTEM":
		return name, linked{h.Root()}, nil
	}
	return name, h.Root(), nil
}

// linked is the root of SYSTEM with the link that Windows makes when it starts.
type linked struct{ winreg.Key }

// Open implements winreg.Key. Without a usable Select nothing is known of the set in use.
func (l linked) Open(path string) (winreg.Key, error) {
	first, rest, deeper := strings.Cut(path, `\`)
	if !strings.EqualFold(first, "CurrentControlSet") {
		return l.Key.Open(path)
	}
	k, err := l.Key.Open("Select")
	if err != nil {
		return nil, winreg.ErrNotShown
	}
	v, err := k.Value("Current")
	n, ok := v.Number()
	if err != nil || !ok || n > 999 {
		return nil, winreg.ErrNotShown
	}
	set := fmt.Sprintf("ControlSet%03d", n)
	if deeper {
		set += `\` + rest
	}
	return l.Key.Open(set)
}
