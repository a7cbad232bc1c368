package script_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/collect/script"
	"github.com/oldguard/oldguard/internal/peer"
)

func lines() []string {
	return strings.Split(strings.TrimSuffix(string(script.CMD), "\r\n"), "\r\n")
}

// TestForm: cmd.exe reads the file in the code page of the machine, loses labels where lines
// end in LF alone, and reads no line of more than 8191 characters.
func TestForm(t *testing.T) {
	if !bytes.HasSuffix(script.CMD, []byte("\r\n")) {
		t.Error("the last line does not end")
	}
	for i, line := range lines() {
		for _, c := range []byte(line) {
			if c > '~' || c < ' ' && c != '\t' {
				t.Errorf("line %d has the byte %#x", i+1, c)
			}
		}
		if len(line) > 1000 {
			t.Errorf("line %d has %d characters", i+1, len(line))
		}
		if strings.Count(line, `"`)%2 != 0 && !strings.Contains(line, `""="`) && !strings.HasPrefix(line, "rem ") {
			t.Errorf("line %d has an odd number of quotes: %s", i+1, line)
		}
	}
}

// TestLabels: every label that is gone to is there, and nothing else is.
func TestLabels(t *testing.T) {
	var used, there []string
	for _, line := range lines() {
		if name, ok := strings.CutPrefix(line, ":"); ok {
			there = append(there, name)
		}
		if strings.HasPrefix(line, "rem ") {
			continue
		}
		for _, m := range regexp.MustCompile(`(?:goto|call) :(\w+)`).FindAllStringSubmatch(line, -1) {
			used = append(used, m[1])
		}
	}
	slices.Sort(there)
	slices.Sort(used)
	// :noted and :kept are reached by goto as well as from above.
	if used = slices.Compact(used); !slices.Equal(used, slices.DeleteFunc(there, func(s string) bool { return !slices.Contains(used, s) })) {
		t.Errorf("used %q, there %q", used, there)
	}
}

// TestErrorLevel: within parentheses %ERRORLEVEL% is what it was before the first of them.
func TestErrorLevel(t *testing.T) {
	depth := 0
	for i, line := range lines() {
		if depth > 0 && strings.Contains(line, "%ERRORLEVEL%") {
			t.Errorf("line %d reads ERRORLEVEL within parentheses", i+1)
		}
		if strings.HasPrefix(line, ")") {
			depth--
		}
		if strings.HasSuffix(line, "(") {
			depth++
		}
	}
	if depth != 0 {
		t.Errorf("%d parentheses are open at the end", depth)
	}
}

// TestChangesNothing: whatever is asked of the machine is asked with a word that reads, and
// whatever is written is written into the new folder or beside it.
func TestChangesNothing(t *testing.T) {
	reads := regexp.MustCompile(`^(ver|systeminfo|wmic \w+ (get|where .* get) [\w,]+ /value|wmic qfe|dir /b .*|""%OG_SYS%\\ServerManagerCmd.exe"" -query|""%OG_SYS%\\oclist.exe""|` +
		`cscript //nologo ""%OG_SYS%\\slmgr.vbs"" /dlv all|findstr .*|netsh advfirewall (firewall )?show .*|net share|netstat -ano|tasklist /svc|ipconfig /all|route print|nbtstat -c|type ""%~2"")$`)
	writes := regexp.MustCompile(`(?:^|[^2])>+ ?("[^"]*"|[\w.]+)`)
	asked := 0
	for i, line := range lines() {
		if strings.HasPrefix(line, "rem ") {
			continue
		}
		if m := regexp.MustCompile(`call :(?:run|search) \S+ "(.*)"$`).FindStringSubmatch(line); m != nil {
			asked++
			if !reads.MatchString(m[1]) {
				t.Errorf("line %d runs what is not known to read only: %s", i+1, m[1])
			}
		}
		for _, m := range writes.FindAllStringSubmatch(line, -1) {
			switch to := strings.Trim(m[1], `"`); to {
			case "nul", "%OG_STATUS%", "%OG_DDF%", `..\%OG_DDF%`, "manifest.txt", `%OG_OUT%\manifest.txt`, `%OG_OUT%\%~1`, `%OG_OUT%\%OG_FILE%`:
			default:
				t.Errorf("line %d writes to %s", i+1, to)
			}
		}
		if m := regexp.MustCompile(`\breg (\w+)`).FindStringSubmatch(line); m != nil && m[1] != "query" && m[1] != "export" {
			t.Errorf("line %d does more to the registry than read: %s", i+1, line)
		}
	}
	if asked < 15 {
		t.Errorf("found %d commands only", asked)
	}
}

// secret are values that must not leave the machine, whole keys with them.
var secret = []string{"DigitalProductId", "DefaultPassword", `CurrentVersion" /s`, "ValidCommunities", "ProfileList", "/dlv all /", `call :export currentversion`}

func TestTakesNoSecrets(t *testing.T) {
	for _, s := range secret {
		if bytes.Contains(script.CMD, []byte(s)) {
			t.Errorf("it takes %s", s)
		}
	}
	for _, line := range lines() {
		if strings.Contains(line, `\Winlogon`) && line != `call :values settings.txt "%OG_NT%\Winlogon" AutoAdminLogon` {
			t.Errorf("the password for automatic logon is there: %s", line)
		}
	}
}

// TestLogSum: a log that is left out takes no room from the next one, and no size is too large to be
// compared: set /a fails from 2 GiB on and changes nothing, and what is compared then is the old sum.
func TestLogSum(t *testing.T) {
	_, text, ok := strings.Cut(string(script.CMD), "\r\n:logfile\r\n")
	text, _, ended := strings.Cut(text, "\r\n:")
	if !ok || !ended {
		t.Fatal("it has no :logfile")
	}
	steps := []string{
		`set "OG_SIZE="`,
		`for %%s in ("%~2") do if "%%~s"=="%~2" set "OG_SIZE=%%~zs"`,
		`if not defined OG_SIZE goto :toolarge`,
		`if not "%OG_SIZE:~9%"=="" goto :toolarge`,
		`set /a OG_SUM=OG_LOGSUM+OG_SIZE`,
		`if %OG_SUM% GTR 100000000 goto :toolarge`,
		`set "OG_LOGSUM=%OG_SUM%"`,
		`call :run %~1 "type ""%~2"""`,
		`exit /b 0`,
	}
	if diff := cmp.Diff(steps, strings.Split(text, "\r\n")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// Nothing else adds to the sum, or reads a size into arithmetic that nobody measured.
	for i, line := range lines() {
		if strings.Contains(line, "OG_LOGSUM") && !slices.Contains(append(steps, `set "OG_LOGSUM=0"`), line) {
			t.Errorf("line %d: %s", i+1, line)
		}
		if strings.Contains(line, "set /a") && strings.Contains(line, "~z") {
			t.Errorf("line %d reckons with a size of any length: %s", i+1, line)
		}
	}
}

// TestPeerWine runs the collector on Wine, whose tools know little: it must go through to the
// end, in a folder whose name has all that cmd.exe stumbles over, and say of each file what
// became of it.
func TestPeerWine(t *testing.T) {
	if os.Getenv("OLDGUARD_WINE") == "" {
		t.Skip("it takes half a minute: set OLDGUARD_WINE to run it")
	}
	server, program := peer.Need(t, "wineserver"), peer.Need(t, "wine")
	dir := t.TempDir()
	into := filepath.Join(dir, "a (b) & c")
	if err := os.Mkdir(into, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(into, "oldguard-collect.cmd"), script.CMD, 0o600); err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "WINEPREFIX="+filepath.Join(dir, "prefix"), "WINEDEBUG=-all", "DISPLAY=", "WINEDLLOVERRIDES=mscoree,mshtml=")
	out, err := os.Create(filepath.Join(dir, "output")) // a pipe would be kept open by what wine leaves running
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	run := func(args ...string) {
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = into, env, out, out
		if failed := cmd.Run(); failed != nil {
			t.Fatalf("wine %q: %v", args, failed)
		}
	}
	t.Cleanup(func() {
		cmd := exec.Command(server, "-k", "-w") // that of this folder alone
		cmd.Env = env
		_ = cmd.Run() // it may have ended by itself
	})
	run("wineboot", "-i")
	run("cmd", "/c", "oldguard-collect.cmd")
	found, err := filepath.Glob(filepath.Join(into, "*", "status.txt"))
	if err != nil || len(found) != 1 {
		said, _ := os.ReadFile(out.Name())
		t.Fatalf("found %q, %v; it said\n%s", found, err, said)
	}
	status, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(status), "\r", "")
	if !strings.HasPrefix(text, "oldguard-collect 1\n") || !strings.HasSuffix(text, "\nend\n") {
		t.Errorf("the status has no beginning or no end:\n%s", text)
	}
	manifest, err := os.ReadFile(filepath.Join(filepath.Dir(found[0]), "manifest.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"ver.txt", "version.txt", "settings.txt"} {
		if !strings.Contains(text, "\nok "+file+"\n") {
			t.Errorf("%s is not there", file)
		}
		if !strings.Contains(string(manifest), "  "+file) {
			t.Errorf("the manifest lacks %s", file)
		}
	}
	for _, m := range regexp.MustCompile(`call :(?:run|search|export|ifthere) (\S+)`).FindAllStringSubmatch(string(script.CMD), -1) {
		optional := slices.Contains([]string{"roles.txt", "features.txt", "slmgr.txt", "cbslog.txt", "rebootpending.reg"}, m[1])
		if !optional && !regexp.MustCompile(`\n(ok|failed|absent|nothing) `+regexp.QuoteMeta(m[1])+`\b`).MatchString(text) {
			t.Errorf("nothing is said of %s", m[1])
		}
	}
}
