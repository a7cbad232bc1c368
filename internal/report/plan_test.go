package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/peer"
	"github.com/oldguard/oldguard/internal/plan"
	"github.com/oldguard/oldguard/winver"
)

// planned plans a Server 2008 SP2 made here, with a whole list of updates.
func planned(tb testing.TB, o plan.Options, change func(*host.Host), kbs ...winver.KB) *plan.Patch {
	tb.Helper()
	c, err := catalog.Embedded()
	if err != nil {
		tb.Fatal(err)
	}
	h := made(tb, "OLD01", "2026-06-01", kbs...).Host
	h.ProductID.Say("92573-082-2500115-76102", 1, host.Source{})
	if change != nil {
		change(h)
	}
	return plan.PatchHost(h, c, o, time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC))
}

func writtenPlan(tb testing.TB, format string, plans ...*plan.Patch) string {
	tb.Helper()
	f, ok := FindPlan(PatchPlans(), format)
	if !ok {
		tb.Fatalf("no format %q", format)
	}
	var b bytes.Buffer
	if err := f.Write(&b, plans, Options{}); err != nil {
		tb.Fatal(err)
	}
	return b.String()
}

func TestPlanSchema(t *testing.T) {
	b, err := os.ReadFile("../../docs/schema/plan-1.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(b, &schema); err != nil {
		t.Fatal(err)
	}
	matched := planned(t, plan.Options{Entitlement: plan.ESUYear3}, nil)
	matched.Match([]plan.Have{
		{Name: "windows6.0-kb4493730-x64.msu", Genuine: true, Verdict: "genuine Microsoft update", SHA1: "aa", SHA256: "bb", Size: 3},
		{Name: "windows6.0-kb4474419-x64.msu", Verdict: "altered after signing", Because: []string{"odd"}},
	})
	for _, tt := range []struct {
		name string
		p    *plan.Patch
	}{
		{"steps", matched},
		{"security_only", planned(t, plan.Options{Line: plan.SecurityOnly}, nil)},
		{"nothing_to_do", planned(t, plan.Options{}, nil, 4493730, 4474419, 4526478, 4534303)},
		{"no_plan", planned(t, plan.Options{}, func(h *host.Host) { h.Build = host.Fact[winver.Build]{} })},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var v any
			if err := json.Unmarshal([]byte(writtenPlan(t, "json", tt.p)), &v); err != nil {
				t.Fatal(err)
			}
			c := checker{root: schema}
			c.whole("plan", schema, v)
			for _, e := range c.errors {
				t.Error(e)
			}
		})
	}
}

func TestPlanTextAndPage(t *testing.T) {
	p := planned(t, plan.Options{Entitlement: plan.ESUYear1}, func(h *host.Host) {
		h.Name = host.Fact[string]{}
		h.Name.Say("<b>\x1b[2Jx", 1, host.Source{})
	})
	p.Match([]plan.Have{{Name: "windows6.0-kb4493730-x64.msu", Genuine: true, Verdict: "genuine Microsoft update"}, {Name: "windows6.0-kb5016891-x64.msu"}})
	for format, wants := range map[string][]string{
		"text": {
			"wusa.exe windows6.0-kb4493730-x64.msu /quiet /norestart", "genuine Microsoft update", "not verified", "/dlv all", "0xC004F050", "0x80070661",
			"windows6.0-kb4474419-v4-x64.msu, no digest known", "can no longer be bought", "the route is offline", "nothing is downloaded", "beyond what the owner may install",
		},
		"html": {"KB4493730", "verified</span>", "not verified</span>", "to be fetched</span>", "0x80096010", "Decided by", "monthly-rollup of 2026-01-13", "default-src &#39;none&#39;"},
	} {
		text := writtenPlan(t, format, p)
		for _, want := range wants {
			if !strings.Contains(strings.Join(strings.Fields(text), " "), want) {
				t.Errorf("%s does not say %q", format, want)
			}
		}
		if strings.Contains(text, "\x1b") || format == "html" && strings.Contains(text, "<b>\\x1b") {
			t.Errorf("%s lets a name act", format)
		}
	}
	if page := writtenPlan(t, "html", p); regexp.MustCompile(`(src|href)=|<script`).MatchString(page) {
		t.Error("the page asks for something, or runs something")
	}
}

// TestNothingToInstallIsNoCleanBill: where the owner may install nothing more, what stays open is said
// beside it.
func TestNothingToInstallIsNoCleanBill(t *testing.T) {
	p := planned(t, plan.Options{Entitlement: plan.None}, nil, 4493730, 4474419, 4526478, 4534303)
	if len(p.Steps) != 0 {
		t.Fatalf("%d steps; want none", len(p.Steps))
	}
	for _, format := range []string{"text", "html"} {
		out := strings.Join(strings.Fields(writtenPlan(t, format, p)), " ")
		if want := fmt.Sprintf("It stays affected by %d vulnerabilities, %d of them known to be exploited.", p.Before.Affected+p.Before.Unfixable, p.Before.Exploited); !strings.Contains(out, want) {
			t.Errorf("%s lacks %q", format, want)
		}
		if strings.Contains(out, "aim clear") {
			t.Errorf("%s is marked as all clear", format)
		}
	}
}

func TestPlanCmdIsForCmd(t *testing.T) {
	for _, o := range []plan.Options{{}, {Entitlement: plan.ESUYear3}, {Entitlement: plan.Azure}, {Line: plan.SecurityOnly}} {
		p := planned(t, o, nil)
		text := writtenPlan(t, "cmd", p)
		labels := map[string]int{"eof": 1}
		for i, line := range strings.Split(strings.TrimSuffix(text, "\r\n"), "\r\n") {
			if strings.ContainsAny(line, "\r\n") || strings.IndexFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 {
				t.Errorf("line %d is no line of ASCII: %q", i+1, line)
			}
			if len(line) > 500 {
				t.Errorf("line %d has %d characters", i+1, len(line))
			}
			if strings.HasPrefix(line, ":") {
				labels[strings.Fields(line[1:])[0]]++
			}
		}
		for name, n := range labels {
			if n > 1 {
				t.Errorf("label %s %d times", name, n)
			}
		}
		for _, m := range regexp.MustCompile(`(?:goto|call) :(\w+)`).FindAllStringSubmatch(text, -1) {
			if labels[m[1]] == 0 {
				t.Errorf("there is no label %s", m[1])
			}
		}
		for _, s := range p.Steps {
			if s.Kind != plan.StepPrepare && !strings.Contains(text, `set "OG_STEP=`+s.ID+`"`) {
				t.Errorf("step %s is not in it", s.ID)
			}
		}
	}
}

func TestPlanCmdRefuses(t *testing.T) {
	named := func(name string) *plan.Patch {
		return planned(t, plan.Options{}, func(h *host.Host) {
			h.Name = host.Fact[string]{}
			if name != "" {
				h.Name.Say(name, 1, host.Source{})
			}
		})
	}
	spaced := planned(t, plan.Options{}, nil)
	spaced.Match([]plan.Have{{Name: "windows6.0-kb4493730-x64 & del.msu"}})
	for name, plans := range map[string][]*plan.Patch{
		"no_name": {named("")}, "name_with_a_command": {named("A&calc")}, "name_with_a_variable": {named("%PATH%")}, "two": {named("A"), named("B")},
		"file_with_a_command": {spaced}, "no_plan": {planned(t, plan.Options{}, func(h *host.Host) { h.Arch = host.Fact[winver.Arch]{} })},
	} {
		if err := planCmd(&bytes.Buffer{}, plans, Options{}); !errors.Is(err, errNoScript) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if text := writtenPlan(t, "cmd", named("Old01.Example.Com")); !strings.Contains(text, `set "OG_WANT_NAME=OLD01"`) {
		t.Error("the name is not that of NetBIOS")
	}
}

// TestPeerPlanCmd runs the script in wine, which is no Windows of any age but reads the same
// language: on another machine, with a file missing, through failures, exit codes and
// restarts to the end. What wine has not (wusa, wmic) is replaced by commands that answer.
func TestPeerPlanCmd(t *testing.T) {
	server := peer.Need(t, "wineserver")
	w := wineBox{t, peer.Need(t, "wine"), t.TempDir(), nil}
	w.env = append(os.Environ(), "WINEPREFIX="+filepath.Join(w.dir, "prefix"), "WINEDEBUG=-all", "DISPLAY=", "WINEDLLOVERRIDES=mscoree,mshtml=")
	t.Cleanup(func() {
		cmd := exec.Command(server, "-k", "-w") // that of this folder alone
		cmd.Env = w.env
		_ = cmd.Run() // it may have ended by itself
	})
	w.run("wineboot", "-i")

	p := planned(t, plan.Options{Entitlement: plan.ESUYear1}, nil)
	p.Match([]plan.Have{{Name: "windows6.0-kb5016891-x64.msu", Genuine: true, Verdict: "genuine Microsoft update", SHA1: strings.Repeat("a", 40)}})
	script := writtenPlan(t, "cmd", p)
	for old, by := range map[string]string{
		`start "" /wait wusa.exe "%CD%\%OG_FILE%" /quiet /norestart`:                              `cmd /c exit %OG_FAKE%`,
		`wmic os get LastBootUpTime /value 2^>nul ^<nul`:                                          `type boot.txt`,
		`certutil -hashfile "%OG_FILE%" 2^>nul`:                                                   `type sum.txt`,
		`wmic path SoftwareLicensingProduct where "ID='%~1'" get LicenseStatus /value 2>nul <nul`: `type licence.txt`,
	} {
		if !strings.Contains(script, old) {
			t.Fatalf("the script does not hold %s", old)
		}
		script = strings.Replace(script, old, by, 1)
	}
	w.write("p.cmd", script)
	w.write("boot.txt", "\r\nLastBootUpTime=20260601080000.000000+000\r\n")
	w.write("licence.txt", "LicenseStatus=0\r\n")
	w.write("sum.txt", "SHA1 hash:\r\n"+strings.Repeat("aa ", 19)+"aa\r\nCertUtil: done\r\n")

	w.machine("OTHER", 6002)
	w.want("another_name", 2, `REFUSED: this is for another machine. Its name is "OTHER", wanted is "OLD01".`, "0")
	w.machine("OLD01", 7601)
	w.want("another_build", 2, `Its build is "7601"`, "0")
	w.machine("OLD01", 6002)
	w.write("p.cmd", strings.Replace(script, `"OG_WANT_PRODUCTID=92573-082`, `"OG_WANT_PRODUCTID=00000-082`, 1))
	w.want("another_product_id", 2, "Its product id is", "0")
	w.write("p.cmd", strings.Replace(script, `"OG_WANT_GUID=`, `"OG_WANT_GUID=00000000-0000-0000-0000-000000000000`, 1))
	w.want("another_guid", 2, "Its machine GUID is", "0")
	w.write("p.cmd", script)
	w.want("file_missing", 1, "There is no file windows6.0-kb4493730-x64.msu here", "0")
	for _, s := range p.Updates() {
		name := s.File
		if s.KB == 4474419 {
			name = "windows6.0-kb4474419-v4-x64_0123456789012345678901234567890123456789.msu"
		}
		w.write(name, "x")
	}
	w.want("not_applicable", 1, "oldguard explain 0x80240017", "-2145124329")
	w.want("failed", 1, "STOPPED at kb4493730", "-2146885628")
	w.want("first_restart", 3010, "RESTART the machine now", "3010")
	w.want("not_restarted", 3010, "was not restarted", "0")
	w.write("boot.txt", "\r\nLastBootUpTime=20260601090000.000000+000\r\n")
	w.write("sum.txt", "SHA1 hash:\r\nbb\r\n")
	w.want("another_file", 1, "is not the file that was verified", "0")
	w.write("sum.txt", "SHA1 hash:\r\n"+strings.Repeat("aa ", 19)+"aa\r\nCertUtil: done\r\n")
	w.want("already_there", 3010, "It is there already", "2359302")
	w.write("boot.txt", "\r\nLastBootUpTime=20260601100000.000000+000\r\n")
	w.want("licence_by_hand", 1, `When it is done: "p.cmd" /done key-esu-y1`, "0")
	w.write("licence.txt", "LicenseStatus=1\r\n")
	w.machine("OLD01", 6003)
	w.want("licence_is_there", 3010, "RESTART the machine now", "0")
	w.write("boot.txt", "\r\nLastBootUpTime=20260601110000.000000+000\r\n")
	w.want("finished", 0, "All steps are done", "0")
	log, err := os.ReadFile(filepath.Join(w.dir, "p.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"exit code -2145124329 (0x80240017)", "exit code -2146885628 (0x80092004)", "exit code 2359302 (0x00240006)", "done restart-3", "all steps done"} {
		if !strings.Contains(string(log), want) {
			t.Errorf("the log does not say %q:\n%s", want, log)
		}
	}
}

// wineBox is a Windows of its own in a folder.
type wineBox struct {
	t       *testing.T
	program string
	dir     string
	env     []string
}

func (w *wineBox) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
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

// want runs the script, in which every installation ends with the code fake.
func (w *wineBox) want(name string, status int, says, fake string, args ...string) {
	w.t.Helper()
	cmd := slices.Concat([]string{"cmd", "/c", "p.cmd", "/yes"}, args)
	w.env = append(w.env, "OG_FAKE="+fake)
	got, text := w.run(cmd...)
	if got != status&0xff || !strings.Contains(text, says) {
		w.t.Errorf("%s: status %d, want %d; wanted %q in:\n%s", name, got, status&0xff, says, text)
	}
}

// machine writes the registry of the machine the script may find.
func (w *wineBox) machine(name string, build int) {
	w.t.Helper()
	w.write("machine.reg", strings.NewReplacer("NAME", name, "BUILD", winver.Build{Number: uint32(build)}.String()[len("0.0."):]).Replace(`REGEDIT4

[HKEY_LOCAL_MACHINE\System\CurrentControlSet\Control\ComputerName\ActiveComputerName]
"ComputerName"="NAME"

[HKEY_LOCAL_MACHINE\System\CurrentControlSet\Control\Session Manager\Environment]
"PROCESSOR_ARCHITECTURE"="AMD64"

[HKEY_LOCAL_MACHINE\Software\Microsoft\Windows NT\CurrentVersion]
"CurrentVersion"="6.0"
"CurrentBuild"="BUILD"
"CurrentBuildNumber"="BUILD"
"ProductId"="92573-082-2500115-76102"

[HKEY_USERS\S-1-5-19]
`))
	if status, out := w.run("regedit", "/S", "machine.reg"); status != 0 {
		w.t.Fatalf("regedit: %d\n%s", status, out)
	}
}
