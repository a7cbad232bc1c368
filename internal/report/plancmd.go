package report

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/format/batch"
	"github.com/oldguard/oldguard/internal/plan"
	"github.com/oldguard/oldguard/winver"
)

// The script is for cmd.exe as Server 2008 SP2 has it: no PowerShell, and no command whose
// output depends on the display language is read. What comes from evidence or from the
// names of files is a literal of letters, digits and a few marks, or there is no script.
// It has no blocks in parentheses, so that a parenthesis in a text ends none.
//
// It restarts nothing by itself and leaves nothing behind but its log and its state, both
// beside it: an entry that starts it again after the restart would be one more change.

// errNoScript is why there is no script for a plan.
var errNoScript = errors.New("no script")

// planCmd writes the script of the one plan there is.
func planCmd(w io.Writer, plans []*plan.Patch, _ Options) error {
	if len(plans) != 1 {
		return fmt.Errorf("%w: it is for one machine, and there are %d", errNoScript, len(plans))
	}
	p := plans[0]
	name, _, _ := strings.Cut(strings.ToUpper(p.Host), ".")
	name = name[:min(len(name), 15)] // the NetBIOS name
	switch {
	case p.Why != "":
		return fmt.Errorf("%w: there is no plan: %s", errNoScript, p.Why)
	case name == "":
		return fmt.Errorf("%w: the evidence does not name the machine, so the script could not refuse another", errNoScript)
	}
	for _, s := range append([]string{name, p.ProductID, p.MachineID}, files(p)...) {
		if !literal(s) {
			return fmt.Errorf("%w: %q holds characters that cmd.exe would not take literally", errNoScript, s)
		}
	}
	c := &cmdWriter{}
	c.head(p, name)
	for i := range p.Steps {
		if p.Steps[i].Kind == plan.StepPrepare {
			c.printf("echo  [ ] %s", echo(p.Steps[i].Title))
		}
	}
	c.lines(cmdAsk)
	c.steps(p)
	c.lines(cmdFoot)
	_, err := w.Write(c.b.Bytes())
	return err
}

// files are the names of files that the script takes.
func files(p *plan.Patch) (list []string) {
	for _, s := range p.Updates() {
		list = append(list, s.File)
		if s.Have != nil {
			list = append(list, path.Base(strings.ReplaceAll(s.Have.Name, `\`, "/")))
		}
	}
	return list
}

// literal reports whether cmd.exe takes a text between quotation marks as it stands.
func literal(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool {
		return r >= 0x80 || !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.{}", r)
	}) < 0
}

// echo is a text as echo prints it.
func echo(s string) string {
	s = strings.NewReplacer("&", "and", "<", "[", ">", "]", "|", "/", "^", "", "%", "%%", `"`, "'", "!", ".", "\n", " ").Replace(s)
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

type cmdWriter struct{ b bytes.Buffer }

// printf writes a line as cmd.exe wants it ended.
func (c *cmdWriter) printf(format string, args ...any) {
	fmt.Fprintf(&c.b, format, args...)
	c.b.WriteString("\r\n")
}

// lines writes text of ours.
func (c *cmdWriter) lines(text string) {
	for line := range strings.Lines(text) {
		c.printf("%s", strings.TrimRight(line, "\n"))
	}
}

// head writes who it is for and what refuses another.
func (c *cmdWriter) head(p *plan.Patch, name string) {
	c.printf("@echo off")
	c.printf("rem oldguard plan patch: %s, as of %s, %s, %s line.", name, p.AsOf, p.Entitlement, p.Line)
	c.lines(cmdHead + batch.Native)
	var builds []string
	for _, b := range append(append([]winver.Build{p.From, p.ReachedBuild}, p.Release.Builds...), p.Target.Builds...) {
		if n := fmt.Sprint(b.Number); b.Known() && b.Number >= p.From.Number && !slices.Contains(builds, n) {
			builds = append(builds, n)
		}
	}
	version := ""
	if p.From.Major == 6 {
		version = fmt.Sprintf("%d.%d", p.From.Major, p.From.Minor)
	}
	arch := map[winver.Arch]string{winver.X86: "x86", winver.AMD64: "AMD64", winver.IA64: "IA64", winver.ARM: "ARM", winver.ARM64: "ARM64"}[p.Arch]
	for _, v := range [][2]string{
		{"NAME", name},
		{"VERSION", version},
		{"BUILDS", " " + strings.Join(builds, " ") + " "},
		{"ARCH", arch},
		{"PRODUCTID", p.ProductID},
		{"GUID", strings.Trim(p.MachineID, "{}")},
		{"STEPS", fmt.Sprint(len(p.Steps))},
		{"PLAN", fingerprint(p)},
	} {
		c.printf(`set "OG_WANT_%s=%s"`, v[0], v[1])
	}
	c.lines(cmdBegin + batch.Guard(batch.Name, batch.Arch, batch.Version, batch.Build, batch.ProductID, batch.GUID) + cmdArguments)
}

// steps writes each step as a part that is passed over if it is done.
func (c *cmdWriter) steps(p *plan.Patch) {
	var batch []string // updates since the last restart
	for i := range p.Steps {
		s := &p.Steps[i]
		if s.Kind == plan.StepPrepare {
			continue
		}
		c.printf("")
		c.printf("rem --- %d: %s", i+1, echo(s.Title))
		c.printf(`set "OG_STEP=%s"`, s.ID)
		c.printf("call :isdone")
		c.printf("if not errorlevel 1 goto :after%d", i+1)
		c.printf("echo.")
		c.printf("echo %d of %d: %s", i+1, len(p.Steps), echo(s.Title))
		switch s.Kind {
		case plan.StepUpdate:
			batch = append(batch, s.KB.String())
			file, sum := s.File, ""
			if s.Have != nil {
				file, sum = path.Base(strings.ReplaceAll(s.Have.Name, `\`, "/")), s.Have.SHA1
			}
			ext := path.Ext(file)
			c.printf(`call :%s "%s" "%s" "%s"`, installer(p, ext), strings.TrimSuffix(file, ext), ext, sum)
			c.printf("if errorlevel 1 goto :failed")
		case plan.StepRestart:
			c.printf("call :restarted")
			c.printf("if errorlevel 1 goto :pause")
			for _, kb := range batch {
				c.printf("call :listed %s", kb)
			}
			batch = nil
		case plan.StepLicence, plan.StepCheck:
			if s.ID == "check" {
				c.printf("call :finish %s", strings.ReplaceAll(p.ReachedBuild.String(), " ", ""))
				break
			}
			if id := activation(s); id != "" {
				c.printf("call :licensed %s", id)
				c.printf("if not errorlevel 1 goto :did%d", i+1)
			}
			for _, text := range append(slices.Clone(s.Commands), s.Check...) {
				c.printf("echo   %s", echo(text))
			}
			c.printf("goto :byhand")
		case plan.StepPrepare:
		}
		c.printf(":did%d", i+1)
		c.printf("call :done")
		c.printf(":after%d", i+1)
	}
	c.printf("goto :end")
}

// fingerprint tells a plan from another one of the same machine, which must not go on where
// this one stopped: restart-1 of one is not that of the other.
func fingerprint(p *plan.Patch) string {
	h := fnv.New32a()
	for i := range p.Steps {
		_, _ = fmt.Fprintln(h, p.Steps[i].ID) // a hash takes everything
	}
	return fmt.Sprintf("%08x", h.Sum32())
}

// installer is the part of the script that installs a file of that kind.
func installer(p *plan.Patch, ext string) string {
	switch strings.ToLower(ext) {
	case ".exe":
		return "run"
	case ".cab":
		if p.Target.Builds[0].Major == 6 && p.Target.Builds[0].Minor == 0 {
			return "pkgmgr"
		}
		return "dism"
	}
	return "wusa"
}

// activation is the id that a step activates, empty if it activates none.
func activation(s *plan.Step) string {
	for _, c := range s.Commands {
		if _, id, ok := strings.Cut(c, " /ato "); ok && literal(id) {
			return id
		}
	}
	return ""
}

const cmdHead = `rem
rem It installs what oldguard planned for one machine, in order, from files that lie beside it,
rem and refuses every other machine. Run it as administrator:
rem
rem   this.cmd            go on where it stopped
rem   this.cmd /yes       do not ask whether what comes before it is done
rem   this.cmd /done STEP count a step as done that was done by hand
rem
rem It stops at the first failure, and at each restart, which it leaves to you: restart the
rem machine and run it again. Its log and its state lie beside it; it changes nothing else but
rem what the packages change. It downloads nothing and holds no keys.
rem Exit status: 0 all done, 3010 restart and run it again, 2 refused, 1 failed or to be done by hand.
`

const cmdBegin = `
pushd "%~dp0" 2>nul
if errorlevel 1 goto :nofolder
set "OG_LOG=%~n0.log"
set "OG_STATE=%~n0-%OG_WANT_PLAN%.state"
set "OG_CV=HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion"

`

const cmdArguments = `if /i not "%~1"=="/done" goto :begin
if "%~2"=="" goto :usage
set "OG_STEP=%~2"
call :done
goto :leave

:begin
>>"%OG_LOG%" echo.
call :log begin, %OG_WANT_STEPS% steps
if exist "%OG_STATE%" goto :start
if /i "%~1"=="/yes" goto :start
echo This patches %OG_WANT_NAME%. Before it:
`

const cmdAsk = `set "OG_ANSWER="
set /p "OG_ANSWER=Is all this done? Type YES: "
if /i "%OG_ANSWER%"=="YES" goto :start
echo Nothing was done.
popd
exit /b 1

:start
`

const cmdFoot = `
:end
call :log all steps done
echo.
echo All steps are done. Restarting or not, take the evidence to oldguard assess.
:leave
popd
exit /b 0

:failed
call :log stopped at %OG_STEP%
echo.
echo STOPPED at %OG_STEP%. Nothing after it was done. The log is %OG_LOG%.
echo When its cause is gone, run this again; if it was done by hand: "%~nx0" /done %OG_STEP%
popd
exit /b 1

:byhand
call :log by hand: %OG_STEP%
echo.
echo This step is yours. When it is done: "%~nx0" /done %OG_STEP%   and run this again.
popd
exit /b 1

:pause
call :log restart wanted
echo.
echo RESTART the machine now (shutdown /r /t 0), wait until it is up, and run this again.
popd
exit /b 3010

:usage
echo REFUSED: /done wants the id of a step, as the log has it.
popd
exit /b 2

:nofolder
echo REFUSED: the folder of this script cannot be entered.
exit /b 2

` + batch.Refusals + "\n" + batch.Routines + `
rem --- :isdone: 0 if the step is done.
:isdone
set "OG_HIT="
if not exist "%OG_STATE%" exit /b 1
for /f "usebackq tokens=1,2" %%a in ("%OG_STATE%") do if /i "%%a %%b"=="done %OG_STEP%" set "OG_HIT=yes"
if defined OG_HIT exit /b 0
exit /b 1

:done
>>"%OG_STATE%" echo done %OG_STEP%
call :log done %OG_STEP%
exit /b 0

rem --- :find STEM ENDING SHA1: the one file, OG_FILE. The catalogue adds _ and a digest to names.
:find
set "OG_FILE="
set "OG_TWO="
if exist "%~1%~2" set "OG_FILE=%~1%~2"
if defined OG_FILE goto :found
for /f "delims=" %%f in ('dir /b /a-d "%~1_*%~2" 2^>nul') do call :candidate "%%f"
if defined OG_TWO goto :two
if not defined OG_FILE goto :missing
:found
call :log file %OG_FILE%
if "%~3"=="" exit /b 0
set "OG_SUM="
for /f "skip=1 delims=" %%h in ('certutil -hashfile "%OG_FILE%" 2^>nul') do if not defined OG_SUM set "OG_SUM=%%h"
if not defined OG_SUM goto :nosum
set "OG_SUM=%OG_SUM: =%"
if /i "%OG_SUM%"=="%~3" exit /b 0
echo   %OG_FILE% is not the file that was verified: its SHA-1 is %OG_SUM%, wanted is %~3
call :log wrong SHA-1 %OG_SUM%
exit /b 1
:nosum
echo   The digest of %OG_FILE% cannot be taken here (certutil): only its signature is checked.
call :log no digest
exit /b 0
:two
echo   There are several files %~1_*%~2 here: leave the right one.
exit /b 1
:missing
echo   There is no file %~1%~2 here: bring it, checked with oldguard verify.
call :log no file %~1%~2
exit /b 1

:candidate
if defined OG_FILE set "OG_TWO=yes"
set "OG_FILE=%~1"
exit /b 0

rem --- The installers. start /wait gives the exit code of a program with windows, too.
:wusa
call :find %*
if errorlevel 1 exit /b 1
call :value OG_IS "HKLM\SYSTEM\CurrentControlSet\Services\wuauserv" Start
if /i "%OG_IS%"=="0x4" goto :nowuauserv
echo   wusa is at work; it may take an hour.
start "" /wait wusa.exe "%CD%\%OG_FILE%" /quiet /norestart
set "OG_CODE=%ERRORLEVEL%"
goto :outcome
:nowuauserv
echo   The service Windows Update is disabled, and wusa needs it: sc config wuauserv start= demand
call :log wuauserv is disabled
exit /b 1

:pkgmgr
call :find %*
if errorlevel 1 exit /b 1
echo   pkgmgr is at work; it may take an hour.
start "" /wait pkgmgr.exe /ip /m:"%CD%\%OG_FILE%" /quiet /norestart
set "OG_CODE=%ERRORLEVEL%"
goto :outcome

:dism
call :find %*
if errorlevel 1 exit /b 1
echo   dism is at work; it may take an hour.
dism.exe /online /add-package /packagepath:"%CD%\%OG_FILE%" /quiet /norestart
set "OG_CODE=%ERRORLEVEL%"
goto :outcome

:run
call :find %*
if errorlevel 1 exit /b 1
echo   The installer is at work; it may take two hours.
start "" /wait "%CD%\%OG_FILE%" /quiet /norestart
set "OG_CODE=%ERRORLEVEL%"

rem --- :outcome: what the exit code OG_CODE means. 3010 and 2359301 (0x240005): a restart is
rem needed, 1641: it has begun, 2359302 (0x240006): it is there already.
:outcome
call :hex
call :log exit code %OG_CODE% (%OG_HEX%)
if "%OG_CODE%"=="0" exit /b 0
if "%OG_CODE%"=="3010" exit /b 0
if "%OG_CODE%"=="1641" exit /b 0
if "%OG_CODE%"=="2359301" exit /b 0
if "%OG_CODE%"=="2359302" goto :already
if "%OG_CODE%"=="-2145124329" echo   It is not applicable: for another Windows, or something newer is there, or a step before is not done.
if "%OG_CODE%"=="1618" echo   Another installation is running: wait for its end.
echo   It failed with %OG_CODE% (%OG_HEX%). On another machine: oldguard explain %OG_HEX%
echo   More stands in %SystemRoot%\Logs\CBS\CBS.log.
exit /b 1
:already
echo   It is there already.
exit /b 0

rem --- :hex: OG_CODE in hexadecimal, OG_HEX.
:hex
set "OG_HEX="
set "OG_DIGITS=0123456789ABCDEF"
set /a "OG_N=%OG_CODE%"
for /l %%i in (1,1,8) do call :digit
set "OG_HEX=0x%OG_HEX%"
exit /b 0
:digit
set /a "OG_D=OG_N & 15"
set /a "OG_N=(OG_N >> 4) & 268435455"
call set "OG_HEX=%%OG_DIGITS:~%OG_D%,1%%%OG_HEX%"
exit /b 0

rem --- :restarted: 0 if the machine was started since this step was first reached, and no
rem other restart is pending.
:restarted
set "OG_BOOT="
for /f "tokens=2 delims==" %%t in ('wmic os get LastBootUpTime /value 2^>nul ^<nul') do set "OG_BOOT=%%t"
if defined OG_BOOT set "OG_BOOT=%OG_BOOT:~0,12%"
if not defined OG_BOOT set "OG_BOOT=unknown"
set "OG_ASKED="
if not exist "%OG_STATE%" goto :ask
for /f "usebackq tokens=1,2,3" %%a in ("%OG_STATE%") do if /i "%%a %%b"=="before %OG_STEP%" set "OG_ASKED=%%c"
if defined OG_ASKED goto :asked
:ask
>>"%OG_STATE%" echo before %OG_STEP% %OG_BOOT%
exit /b 1
:asked
if "%OG_ASKED%"=="%OG_BOOT%" if not "%OG_BOOT%"=="unknown" goto :notyet
reg query "%OG_CV%\Component Based Servicing\RebootPending" >nul 2>nul
if not errorlevel 1 goto :stillpending
exit /b 0
:notyet
echo   The machine was not restarted since.
exit /b 1
:stillpending
echo   Windows still waits for a restart: one more is needed.
exit /b 1

rem --- :listed KB: says if an update does not show after the restart.
:listed
wmic qfe get HotFixID 2>nul <nul | find /i "%~1" >nul
if not errorlevel 1 exit /b 0
reg query "%OG_CV%\Component Based Servicing\Packages" 2>nul | find /i "_%~1~" >nul
if not errorlevel 1 exit /b 0
echo   WARNING: %~1 does not show in the lists of updates.
call :log %~1 does not show
exit /b 0

rem --- :licensed ID: 0 if the licence with that activation id is activated.
:licensed
wmic path SoftwareLicensingProduct where "ID='%~1'" get LicenseStatus /value 2>nul <nul | find "LicenseStatus=1" >nul
exit /b %ERRORLEVEL%

rem --- :finish BUILD: the evidence of how it is now.
:finish
ver
echo   It should show %~1.
systeminfo >"%~n0-after.txt" 2>nul
wmic qfe list full /format:csv >"%~n0-after-qfe.csv" 2>nul <nul
exit /b 0
`
