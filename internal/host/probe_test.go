package host_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/winreg"
	"github.com/oldguard/oldguard/winver"
)

// software is a registry of two keys; one is known to exist and was not shown.
type software struct{ winreg.Key }

func (software) Open(path string) (winreg.Key, error) {
	switch path {
	case `Microsoft\Windows`:
		return windows{}, nil
	case `Policies`:
		return nil, winreg.ErrNotShown
	case `Broken`:
		return nil, errors.New("damaged cell")
	}
	return nil, fs.ErrNotExist
}

type windows struct{ winreg.Key }

func (windows) Value(name string) (winreg.Value, error) {
	if name == "Build" {
		return winreg.Value{Name: "Build", Type: winreg.Dword, Data: []byte{0x73, 0x17, 0, 0}}, nil
	}
	return winreg.Value{}, fs.ErrNotExist
}

func live() *host.Live {
	return &host.Live{
		Roots:   map[string]winreg.Key{`HKLM\SOFTWARE`: software{}},
		Windows: fstest.MapFS{"system32/ntoskrnl.exe": {Data: []byte("MZ")}, "system32/text.exe": {Data: []byte("no program")}},
		ReadVersion: func(f fs.File) (host.FileVersion, error) {
			head := make([]byte, 2)
			if _, err := f.Read(head); err != nil || string(head) != "MZ" {
				return host.FileVersion{}, errors.New("no program")
			}
			return host.FileVersion{Version: winver.Build{Major: 6, Number: 6003, Revision: 20489, HasRevision: true}, Arch: winver.IA64}, nil
		},
		Packages:      []host.Package{{Name: "Package_1_for_KB4493730~31bf3856ad364e35~ia64~~6.0.1.1", State: host.PackageInstalled}},
		PackagesWhole: true,
	}
}

// answers asks the same questions of any probe.
func answers(p host.Probe) map[string]string {
	out := map[string]string{}
	for _, q := range [][2]string{
		{`HKLM\Software\Microsoft\Windows`, "Build"},
		{`HKLM\SOFTWARE\Microsoft\Windows`, "Absent"},
		{`HKLM\SOFTWARE\Absent`, "x"},
		{`HKLM\SOFTWARE\Policies`, "x"},
		{`HKLM\SOFTWARE\Broken`, "x"},
		{`HKLM\SYSTEM\Select`, "Current"},
		{`HKLM\SOFTWAREX`, "x"},
	} {
		v, t := p.RegistryValue(q[0], q[1])
		out[q[0]+" "+q[1]] = t.String() + " " + v.Plain()
	}
	out["key"] = p.RegistryKey(`HKLM\SOFTWARE\Microsoft\Windows`).String() + " " + p.RegistryKey(`HKLM\SOFTWARE\Nothing`).String()
	for _, f := range []string{`system32\ntoskrnl.exe`, `system32\absent.dll`, `system32\text.exe`, `..\secret`} {
		v, t := p.FileVersion(f)
		out[f] = t.String() + " " + v.Version.String() + " " + v.Arch.String()
	}
	for _, n := range []string{"package_1_for_kb4493730~31bf3856ad364e35~ia64~~6.0.1.1", "Package_for_KB1~~~~"} {
		s, t := p.PackageState(n)
		out[n] = t.String() + " " + s.String()
	}
	return out
}

func TestProbe(t *testing.T) {
	want := map[string]string{
		`HKLM\Software\Microsoft\Windows Build`:  "yes 6003",
		`HKLM\SOFTWARE\Microsoft\Windows Absent`: "no ",
		`HKLM\SOFTWARE\Absent x`:                 "no ",
		`HKLM\SOFTWARE\Policies x`:               "unknown ",
		`HKLM\SOFTWARE\Broken x`:                 "unknown ",
		`HKLM\SYSTEM\Select Current`:             "unknown ",
		`HKLM\SOFTWAREX x`:                       "unknown ",
		"key":                                    "yes no",
		`system32\ntoskrnl.exe`:                  "yes 6.0.6003.20489 ia64",
		`system32\absent.dll`:                    "no  ",
		`system32\text.exe`:                      "unknown  ",
		`..\secret`:                              "unknown  ",
		"package_1_for_kb4493730~31bf3856ad364e35~ia64~~6.0.1.1": "yes installed",
		"Package_for_KB1~~~~": "no absent",
	}
	if d := cmp.Diff(want, answers(live())); d != "" {
		t.Errorf("live (-want +got):\n%s", d)
	}
	var s host.Snapshot
	if d := cmp.Diff(want, answers(s.Record(live()))); d != "" {
		t.Errorf("recording (-want +got):\n%s", d)
	}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var stored host.Snapshot
	if err := json.Unmarshal(b, &stored); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, answers(&stored)); d != "" {
		t.Errorf("stored and read back (-want +got):\n%s", d)
	}
	if _, t2 := stored.RegistryValue(`HKLM\SOFTWARE\Never\Asked`, "x"); t2 != host.Unknown {
		t.Errorf("what was never asked is %s, want unknown", t2)
	}
	var nothing host.Live
	for q, got := range answers(&nothing) {
		if q != "key" && got[:7] != "unknown" {
			t.Errorf("a probe of nothing answers %q to %q", got, q)
		}
	}
}
