package netsh_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oldguard/oldguard/internal/peer"
	"github.com/oldguard/oldguard/internal/policy/netsh"
	"github.com/oldguard/oldguard/internal/policy/policytest"
)

// TestPeerCommandFile runs the file in wine, which is no Windows of any age but reads the same
// language: on another machine, to the end with and without a confirmation, back, and through
// failures. netsh and schtasks are replaced by commands that answer; netsh's are written to the log
// as cmd.exe would hand them over, so that hostile reasons show what they do: nothing.
func TestPeerCommandFile(t *testing.T) {
	server := peer.Need(t, "wineserver")
	w := wineBox{t, peer.Need(t, "wine"), t.TempDir(), nil}
	w.env = append(os.Environ(), "WINEPREFIX="+filepath.Join(w.dir, "prefix"), "WINEDEBUG=-all", "DISPLAY=", "WINEDLLOVERRIDES=mscoree,mshtml=")
	t.Cleanup(func() {
		cmd := exec.Command(server, "-k", "-w") // that of this folder alone
		cmd.Env = w.env
		_ = cmd.Run() // it may have ended by itself
	})
	w.run("wineboot", "-i")

	p := aPolicy()
	for _, s := range append(policytest.Hostile(), "100% & %PATH% ^ \" !x! > y | z", "C:\\") {
		r := p.Rules[0]
		r.ID, r.Comment, r.Program = fmt.Sprintf("in-hostile-%d", len(p.Rules)), s, ""
		p.Rules = append(p.Rules, r)
	}
	text := write(t, p, netsh.Options{Version: "6.0"})
	w.write("p.cmd", w.fake(text))

	w.machine("OTHER", "6.0")
	w.want("another_name", 2, `REFUSED: this is for another machine. Its name is "OTHER", wanted is "FS01".`, "/yes")
	w.machine("FS01", "6.1")
	w.want("another_version", 2, `Its version is "6.1"`, "/yes")
	w.machine("FS01", "6.0")
	w.want("wrong_use", 2, "it takes /yes, /confirm or /undo", "/now")
	w.want("nothing_to_confirm", 1, "There is nothing to confirm", "/confirm")
	w.want("nothing_to_undo", 1, "There is no policy of before", "/undo")
	w.want("applied", 3, "APPLIED. It is undone in 10 minutes", "/yes")
	log := w.log()
	for line := range strings.SplitSeq(text, "\r\n") {
		if command, ok := strings.CutSuffix(line, ` >>"%OG_LOG%" 2>&1`); ok && strings.HasPrefix(command, "netsh advfirewall firewall add") && !strings.Contains(log, strings.ReplaceAll(command, "%%", "%")) {
			t.Errorf("cmd.exe made something else of %s", line)
		}
	}
	for _, want := range []string{"begin, 29 rules", "saved C:", "the task oldguard-undo undoes it in 10 minutes", "firewallpolicy blockinbound,blockoutbound", "applied", "waits for a confirmation"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %q:\n%s", want, log)
		}
	}
	w.want("pending", 2, "REFUSED: what was applied before waits", "/yes")
	w.want("undone", 0, "UNDONE: the policy of before is in force", "/undo")
	w.want("applied_again", 3, "APPLIED", "/yes")
	w.want("confirmed", 0, "CONFIRMED: it stays", "/confirm")
	w.want("confirmed_twice", 1, "There is nothing to confirm", "/confirm")
	w.env = append(w.env, "OG_FAIL=allprofiles state")
	w.want("fails_late", 1, "FAILED. The policy of before is in force again", "/yes")
	w.env = append(w.env, "OG_FAIL=dir=out")
	w.want("fails_early", 1, "FAILED while making the rules", "/yes")
	w.env = append(w.env, "OG_FAIL=export")
	w.want("cannot_save", 1, "could not be saved, so nothing was changed", "/yes")
	w.want("not_pending", 1, "There is nothing to confirm", "/confirm")
}

// wineBox is a Windows of its own in a folder.
type wineBox struct {
	t       *testing.T
	program string
	dir     string
	env     []string
}

// fake puts commands that answer in the place of netsh and schtasks. One that OG_FAIL is part of
// fails; a task is a file.
func (w *wineBox) fake(text string) string {
	w.t.Helper()
	text = strings.ReplaceAll(text, "\r\nnetsh advfirewall export \"%OG_OLD%\" >>\"%OG_LOG%\" 2>&1\r\n", "\r\nif not \"%OG_FAIL%\"==\"export\" echo policy>\"%OG_OLD%\"\r\ncmd /c if \"%OG_FAIL%\"==\"export\" exit 1\r\n")
	var out []string
	for line := range strings.SplitSeq(text, "\r\n") {
		if strings.HasPrefix(line, "netsh ") {
			// echo writes what is left of the line once cmd.exe has read it, and leaves the exit status.
			status := "cmd /c exit 0"
			for _, part := range []string{"allprofiles state", "dir=out"} {
				if strings.Contains(line, part) {
					status = "cmd /c if \"%OG_FAIL%\"==\"" + part + "\" exit 1"
				}
			}
			if len(out) > 0 && !strings.Contains(line, "add rule") || strings.Contains(status, "OG_FAIL") {
				out = append(out, status)
			}
			line = strings.Replace(line, "netsh ", "echo netsh ", 1)
		}
		for _, c := range [][2]string{
			{`schtasks /query /tn "%OG_TASK%"`, `cmd /c if not exist task exit 1`},
			{`schtasks /delete /f /tn "%OG_TASK%"`, `cmd /c if exist task (del task) else (exit 1)`},
		} {
			line = strings.Replace(line, c[0], c[1], 1)
		}
		if strings.HasPrefix(line, "schtasks /create") {
			line = "echo task>task"
		}
		out = append(out, line)
	}
	text = strings.Join(out, "\r\n")
	if strings.Contains(text, "\r\nschtasks ") || strings.Contains(text, "\r\nnetsh ") {
		w.t.Fatal("not everything is replaced")
	}
	return text
}

func (w *wineBox) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wineBox) log() string {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join(w.dir, "p.log"))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

// run runs a program and gives its exit status, of 8 bits, and what it said.
func (w *wineBox) run(args ...string) (int, string) {
	w.t.Helper()
	// A file, not a pipe: what wine leaves running would keep a pipe open.
	out, err := os.CreateTemp(w.t.TempDir(), "output")
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	cmd := exec.CommandContext(w.t.Context(), w.program, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = w.dir, w.env, out, out
	if exit := (*exec.ExitError)(nil); !errors.As(cmd.Run(), &exit) && cmd.ProcessState == nil {
		w.t.Fatal("wine did not run")
	}
	text, err := os.ReadFile(out.Name())
	if err != nil {
		w.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(text)
}

func (w *wineBox) want(name string, status int, says, arg string) {
	w.t.Helper()
	got, text := w.run("cmd", "/c", "p.cmd", arg)
	if got != status || !strings.Contains(text, says) {
		w.t.Errorf("%s: status %d, want %d; wanted %q in:\n%s", name, got, status, says, text)
	}
}

// machine writes the registry of the machine the file may find.
func (w *wineBox) machine(name, version string) {
	w.t.Helper()
	w.write("machine.reg", strings.NewReplacer("NAME", name, "VERSION", version).Replace(`REGEDIT4

[HKEY_LOCAL_MACHINE\System\CurrentControlSet\Control\ComputerName\ActiveComputerName]
"ComputerName"="NAME"

[HKEY_LOCAL_MACHINE\Software\Microsoft\Windows NT\CurrentVersion]
"CurrentVersion"="VERSION"

[HKEY_USERS\S-1-5-19]
`))
	w.run("regedit", "/S", "machine.reg")
}
