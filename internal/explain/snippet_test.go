package explain

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/oldguard/oldguard/internal/peer"
)

func snippet(t *testing.T, name string) string {
	t.Helper()
	for _, s := range Snippets() {
		if s.Name == name {
			text, err := s.Text()
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
	}
	t.Fatalf("no snippet %q", name)
	return ""
}

// machine is what a version check meets. Product types are those of the registry.
type machine struct {
	name                string
	major, minor, build int
	product             string
	want                bool
}

var machines = []machine{
	{"server_2008_sp1", 6, 0, 6001, "ServerNT", false},
	{"server_2008_sp2_6002", 6, 0, 6002, "ServerNT", true},
	{"server_2008_sp2_6003", 6, 0, 6003, "ServerNT", true},
	{"domain_controller_6003", 6, 0, 6003, "LanmanNT", true},
	{"vista_sp2_6002", 6, 0, 6002, "WinNT", false},
	{"vista_sp2_6003", 6, 0, 6003, "WinNT", false},
	{"windows_7", 6, 1, 7600, "WinNT", false},
	{"server_2008_r2_sp1", 6, 1, 7601, "ServerNT", false},
	{"server_2012_r2", 6, 3, 9600, "ServerNT", false},
	{"server_2019", 10, 0, 17763, "ServerNT", false},
}

// productTypes are the values of wProductType and WMI ProductType.
var productTypes = map[string]int{"WinNT": 1, "LanmanNT": 2, "ServerNT": 3}

// A check that compares for equality is what the snippets are there to replace; each says why.
func TestSnippets(t *testing.T) {
	equal := regexp.MustCompile(`(?i)(^|[^<>!])(=|-eq|equ)\s*"?6002\b`)
	for _, s := range Snippets() {
		text := snippet(t, s.Name)
		for _, want := range []string{"6002", "7600", "KB4495374", "Vista SP2 has the same"} {
			if !strings.Contains(flow(strings.NewReplacer("\n * ", "\n", "\nrem ", "\n").Replace(text)), want) {
				t.Errorf("%s does not speak of %s", s.Name, want)
			}
		}
		for line := range strings.Lines(text) {
			if code := strings.ReplaceAll(line, "&gt;", ">"); equal.MatchString(code) && !strings.Contains(line, "WindowsBuild = 6002") && !strings.Contains(line, `"build == 6002"`) {
				t.Errorf("%s compares for equality: %s", s.Name, line)
			}
			if len(line) > 220 || strings.TrimRight(line, " \t\n") != strings.TrimSuffix(line, "\n") {
				t.Errorf("%s: line %q", s.Name, line)
			}
		}
	}
}

// write puts a file into dir and gives its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// run runs a program in dir and gives its exit status.
func run(t *testing.T, dir string, env []string, program string, args ...string) (status int, output string) {
	t.Helper()
	// A file, not a pipe: what wine leaves running would keep a pipe open.
	out, err := os.CreateTemp(t.TempDir(), "output")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	if env != nil {
		cmd.Env = env
	}
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", program, err)
	}
	text, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(text)
}

// need is run for what must succeed.
func need(t *testing.T, dir string, env []string, program string, args ...string) string {
	t.Helper()
	status, out := run(t, dir, env, program, args...)
	if status != 0 {
		t.Fatalf("%s %q: status %d\n%s", program, args, status, out)
	}
	return out
}

// The C check, with a Windows whose RtlGetVersion says what each machine would say.
func TestPeerSnippetC(t *testing.T) {
	gcc := peer.Need(t, "gcc")
	dir := t.TempDir()
	stub, err := filepath.Abs("testdata/stub")
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "main.c", snippet(t, "c")+`
#include <stdlib.h>
RTL_OSVERSIONINFOEXW machine;
int has_rtl_get_version = 1;
int main(int argc, char **argv)
{
    if (argc < 5)
        has_rtl_get_version = 0;
    else {
        machine.dwMajorVersion = atoi(argv[1]);
        machine.dwMinorVersion = atoi(argv[2]);
        machine.dwBuildNumber = atoi(argv[3]);
        machine.wProductType = atoi(argv[4]);
    }
    return on_server_2008_sp2() + 10;
}
`)
	need(t, dir, nil, gcc, "-std=c99", "-Wall", "-Wextra", "-Werror", "-I", stub, "-o", "check", "main.c")
	check := filepath.Join(dir, "check")
	for _, m := range machines {
		want := 10
		if m.want {
			want = 11
		}
		got, _ := run(t, dir, nil, check, fmt.Sprint(m.major), fmt.Sprint(m.minor), fmt.Sprint(m.build), fmt.Sprint(productTypes[m.product]))
		if got != want {
			t.Errorf("%s: %d, want %d", m.name, got-10, want-10)
		}
	}
	if got, _ := run(t, dir, nil, check); got != 9 {
		t.Errorf("without RtlGetVersion: %d, want -1", got-10)
	}
}

// nsisScript is an installer that does nothing but exit by the check.
func nsisScript(t *testing.T, target string) string {
	t.Helper()
	return "Target " + target + "\nName check\nOutFile check.exe\nRequestExecutionLevel user\nSilentInstall silent\n" +
		snippet(t, "nsis") + `
Section
  Call IsServer2008SP2
  Pop $0
  SetErrorLevel 1
  StrCmp $0 1 0 +2
  SetErrorLevel 0
  StrCmp $0 "" 0 +2
  SetErrorLevel 2
SectionEnd
`
}

func TestPeerSnippetNSIS(t *testing.T) {
	makensis := peer.Need(t, "makensis")
	for _, target := range []string{"x86-ansi", "x86-unicode", "amd64-unicode"} {
		dir := t.TempDir()
		write(t, dir, "check.nsi", nsisScript(t, target))
		if out := need(t, dir, nil, makensis, "-V2", "check.nsi"); strings.Contains(out, "error") {
			t.Errorf("%s: %s", target, out)
		}
		if _, err := os.Stat(filepath.Join(dir, "check.exe")); err != nil {
			t.Error(err)
		}
	}
}

// wixSource is a package that holds nothing but the launch condition.
func wixSource(t *testing.T) string {
	t.Helper()
	return `<?xml version="1.0" encoding="utf-8"?>
<Wix xmlns="http://schemas.microsoft.com/wix/2006/wi">
<Product Id="*" Name="check" Language="1033" Version="1.0.0" Manufacturer="Example" UpgradeCode="6a3d1cf2-6002-4e5b-9f5e-3d1f0c6f6003">
<Package InstallerVersion="200" Compressed="yes"/>
` + snippet(t, "wix") + `<Media Id="1" Cabinet="a.cab" EmbedCab="yes"/>
<Directory Id="TARGETDIR" Name="SourceDir"/>
<Feature Id="All" Level="1"/>
</Product>
</Wix>
`
}

func TestPeerSnippetWiX(t *testing.T) {
	wixl, msiinfo := peer.Need(t, "wixl"), peer.Need(t, "msiinfo")
	dir := t.TempDir()
	write(t, dir, "check.wxs", wixSource(t))
	need(t, dir, nil, wixl, "-o", "check.msi", "check.wxs")
	got := need(t, dir, nil, msiinfo, "export", "check.msi", "LaunchCondition")
	const want = "Installed OR (VersionNT = 600 AND WindowsBuild >= 6002 AND WindowsBuild < 7600 AND MsiNTProductType <> 1)\tThis needs"
	if !strings.Contains(got, want) {
		t.Errorf("launch condition:\n%s\nwant %s", got, want)
	}
}

// The checks that wine can run, on wine that believes to be each machine: without a version
// set for wine itself, it takes the one in its registry.
func TestPeerSnippetsOnWine(t *testing.T) {
	if os.Getenv("OLDGUARD_WINE") == "" {
		t.Skip("it takes minutes: set OLDGUARD_WINE to run it")
	}
	w := newWine(t)
	makensis, wixl := peer.Need(t, "makensis"), peer.Need(t, "wixl")
	write(t, w.dir, "check.cmd", strings.ReplaceAll(snippet(t, "cmd"), "\n", "\r\n"))
	write(t, w.dir, "check.vbs", snippet(t, "vbs"))
	// Wine's WMI calls every machine a workstation.
	const clause = " And system.ProductType <> 1"
	anyType := strings.Replace(snippet(t, "vbs"), clause, "", 1)
	if anyType == snippet(t, "vbs") {
		t.Fatalf("the script has no %q", clause)
	}
	write(t, w.dir, "anytype.vbs", anyType)
	write(t, w.dir, "check.nsi", nsisScript(t, "amd64-unicode"))
	need(t, w.dir, nil, makensis, "-V2", "check.nsi")
	write(t, w.dir, "check.wxs", wixSource(t))
	for _, m := range machines {
		t.Run(m.name, func(t *testing.T) {
			w.become(t, m)
			want := 1
			if m.want {
				want = 0
			}
			if got, out := w.run(t, "cmd", "/c", "check.cmd"); got != want {
				t.Errorf("cmd: status %d, want %d\n%s", got, want, out)
			}
			if got, out := w.run(t, "check.exe"); got != want {
				t.Errorf("nsis: status %d, want %d\n%s", got, want, out)
			}
			if got, out := w.run(t, "cscript", "//nologo", "check.vbs"); got != 1 {
				t.Errorf("vbs on a workstation: status %d, want 1\n%s", got, out)
			}
			sp2 := 1
			if m.major == 6 && m.minor == 0 && m.build >= 6002 {
				sp2 = 0
			}
			if got, out := w.run(t, "cscript", "//nologo", "anytype.vbs"); got != sp2 {
				t.Errorf("vbs: status %d, want %d\n%s", got, sp2, out)
			}
			need(t, w.dir, nil, wixl, "-o", "check.msi", "check.wxs") // anew: another product code
			const failed = 1603 & 0xff                                // ERROR_INSTALL_FAILURE, as a Unix sees it
			got, out := w.run(t, "msiexec", "/i", "check.msi", "/qn")
			if m.want && got != 0 || !m.want && got != failed {
				t.Errorf("wix: status %d, want %t\n%s", got, m.want, out)
			}
		})
	}
}

// wine is a Windows of its own in a folder.
type wine struct {
	program, dir string
	env          []string
}

func newWine(t *testing.T) *wine {
	t.Helper()
	server := peer.Need(t, "wineserver")
	w := &wine{program: peer.Need(t, "wine"), dir: t.TempDir()}
	w.env = append(os.Environ(), "WINEPREFIX="+filepath.Join(w.dir, "prefix"), "WINEDEBUG=-all", "DISPLAY=", "WINEDLLOVERRIDES=mscoree,mshtml=")
	t.Cleanup(func() {
		cmd := exec.Command(server, "-k", "-w") // that of this folder alone
		cmd.Env = w.env
		_ = cmd.Run() // it may have ended by itself
	})
	need(t, w.dir, w.env, w.program, "wineboot", "-i")
	return w
}

func (w *wine) run(t *testing.T, args ...string) (int, string) {
	t.Helper()
	return run(t, w.dir, w.env, w.program, args...)
}

// become writes the registry that m has.
func (w *wine) become(t *testing.T, m machine) {
	t.Helper()
	version, numbers := fmt.Sprintf("%d.%d", m.major, m.minor), `"CurrentMajorVersionNumber"=-
"CurrentMinorVersionNumber"=-
`
	if m.major >= 10 { // CurrentVersion has stayed behind since
		version, numbers = "6.3", fmt.Sprintf("\"CurrentMajorVersionNumber\"=dword:%08x\n\"CurrentMinorVersionNumber\"=dword:%08x\n", m.major, m.minor)
	}
	write(t, w.dir, "machine.reg", fmt.Sprintf(`REGEDIT4

[HKEY_LOCAL_MACHINE\Software\Microsoft\Windows NT\CurrentVersion]
"CurrentVersion"="%s"
"CurrentBuild"="%d"
"CurrentBuildNumber"="%[2]d"
%s
[HKEY_LOCAL_MACHINE\System\CurrentControlSet\Control\ProductOptions]
"ProductType"="%s"
`, version, m.build, numbers, m.product))
	need(t, w.dir, w.env, w.program, "regedit", "/S", "machine.reg")
}
