package netsh

import "github.com/oldguard/oldguard/internal/format/batch"

// The script is for cmd.exe as Server 2008 SP2 has it, with no PowerShell and no output in
// the display language read, but for words that are the same in each. It has no blocks in
// parentheses, so that one in a text ends none. Text from evidence is in the reasons of rules
// and in remarks only, and comes through plain and remark.
//
// The order is what keeps people from locking themselves out: the rules are made while they
// are disabled; then a task is set up that brings the old policy back; then all other
// rules are disabled and these enabled, with one command between. The task runs as the system
// from where only administrators can write, and goes on until the import has worked:
// https://learn.microsoft.com/windows-server/administration/windows-commands/schtasks-create ("starts 20
// minutes after the command completes"), read 2026-11-25.

// title begins the second line of a file, before the machine's name.
const title = "rem oldguard isolation policy, for Windows Firewall on"

// noteLine begins a line with a note of the policy.
const noteLine = "rem Note: "

const scriptHead = `rem
rem It fences this machine in, and refuses every other one. Run it as administrator:
rem
rem   this.cmd            ask, apply, and ask again whether to keep it
rem   this.cmd /yes       apply without asking; it is to be confirmed all the same
rem   this.cmd /confirm   keep what was applied
rem   this.cmd /undo      the policy of before, at once
rem
rem What nobody confirms is undone by itself. All rules that were there are disabled and none is
rem deleted; the policy of before is saved in System32\LogFiles\Firewall and
rem stays there. The log lies beside this file; of dropped and allowed connections Windows keeps one in
rem the same folder.
rem Exit status: 0 kept, or undone as wanted; 1 failed, and undone; 2 refused; 3 waits for /confirm.
rem
`

const scriptBegin = `set "OG_TASK=oldguard-undo"
set "OG_DIR=%SystemRoot%\System32\LogFiles\Firewall"

pushd "%~dp0" 2>nul
if errorlevel 1 goto :nofolder
set "OG_LOG=%~n0.log"
set "OG_AFTER=%~n0-after.txt"

`

const scriptAsk = `>>"%OG_LOG%" echo.
if errorlevel 1 goto :nofolder
if /i "%~1"=="/confirm" goto :confirm
if /i "%~1"=="/undo" goto :undo
if "%~1"=="" goto :begin
if /i not "%~1"=="/yes" goto :usage

:begin
schtasks /query /tn "%OG_TASK%" >nul 2>nul
if not errorlevel 1 goto :pending
reg query "HKLM\SOFTWARE\Policies\Microsoft\WindowsFirewall" /s 2>nul | find /i "AllowLocalPolicyMerge" | find "0x0" >nul
if not errorlevel 1 goto :nomerge
reg query "HKLM\SOFTWARE\Policies\Microsoft\WindowsFirewall" >nul 2>nul
if not errorlevel 1 echo WARNING: group policy sets this firewall, too. Its rules and settings stay in force.
if /i "%~1"=="/yes" goto :apply
echo This disables all firewall rules of %OG_WANT_NAME% and puts %OG_COUNT% in their place.
echo Connections that no rule allows end. After %OG_MINUTES% minutes all is as before unless you confirm.
set "OG_ANSWER="
set /p "OG_ANSWER=Have a console at hand that does not need the network. Type YES: "
if /i "%OG_ANSWER%"=="YES" goto :apply
echo Nothing was done.
popd
exit /b 1

:apply
call :log begin, %OG_COUNT% rules named %OG_RULES%
if not exist "%OG_DIR%\" mkdir "%OG_DIR%" 2>nul
set "OG_N=0"
:free
set /a OG_N+=1
set "OG_OLD=%OG_DIR%\oldguard-before-%OG_N%.wfw"
if exist "%OG_OLD%" goto :free
netsh advfirewall export "%OG_OLD%" >>"%OG_LOG%" 2>&1
if errorlevel 1 goto :nosave
if not exist "%OG_OLD%" goto :nosave
call :log saved %OG_OLD%
echo The policy of before is in %OG_OLD%
rem Rules of the same name are left from a file like this one.
netsh advfirewall firewall delete rule name="%OG_RULES%" >>"%OG_LOG%" 2>&1
echo Making %OG_COUNT% rules. They count when all are there.
`

const scriptFoot = `
call :log applied
netsh advfirewall firewall show rule name=all verbose >"%OG_AFTER%" 2>nul
echo.
echo APPLIED. It is undone in %OG_MINUTES% minutes unless you confirm it.
if /i "%~1"=="/yes" goto :wait
echo Try now what must work: from the jump host, and from the clients.
set "OG_ANSWER="
set /p "OG_ANSWER=Type KEEP to keep it: "
if /i "%OG_ANSWER%"=="KEEP" goto :confirm
:wait
call :log waits for a confirmation
echo To keep it: "%~nx0" /confirm   To undo it now: "%~nx0" /undo
popd
exit /b 3

:confirm
schtasks /query /tn "%OG_TASK%" >nul 2>nul
if errorlevel 1 goto :late
netsh advfirewall firewall show rule name="%OG_RULES%" >nul 2>nul
if errorlevel 1 if not "%OG_COUNT%"=="0" goto :late
schtasks /delete /f /tn "%OG_TASK%" >>"%OG_LOG%" 2>&1
if errorlevel 1 goto :stuck
call :log confirmed
echo CONFIRMED: it stays. "%~nx0" /undo brings back the policy of before.
popd
exit /b 0

:undo
call :last
if not defined OG_OLD goto :nothing
netsh advfirewall import "%OG_OLD%" >>"%OG_LOG%" 2>&1
if errorlevel 1 goto :notback
schtasks /delete /f /tn "%OG_TASK%" >nul 2>nul
call :log undone with %OG_OLD%
echo UNDONE: the policy of before is in force, from %OG_OLD%
popd
exit /b 0

:failed
call :log failed while making the rules
netsh advfirewall firewall delete rule name="%OG_RULES%" >>"%OG_LOG%" 2>&1
schtasks /delete /f /tn "%OG_TASK%" >nul 2>nul
echo FAILED while making the rules. None of them was in force, and they are deleted. The log is %OG_LOG%
popd
exit /b 1

:undone
call :log failed while applying
netsh advfirewall import "%OG_OLD%" >>"%OG_LOG%" 2>&1
if errorlevel 1 goto :notback
schtasks /delete /f /tn "%OG_TASK%" >nul 2>nul
echo FAILED. The policy of before is in force again. The log is %OG_LOG%
popd
exit /b 1

:notback
call :log the import failed
echo FAILED: the policy of before could not be brought back. Try: netsh advfirewall import "%OG_OLD%"
popd
exit /b 1

:nosave
echo FAILED: the policy of before could not be saved, so nothing was changed. The log is %OG_LOG%
popd
exit /b 1

:late
echo There is nothing to confirm: it was undone, or confirmed before.
popd
exit /b 1

:stuck
echo FAILED: the task %OG_TASK% could not be deleted, and will undo it. The log is %OG_LOG%
popd
exit /b 1

:nothing
echo There is no policy of before in %OG_DIR%
popd
exit /b 1

:pending
echo REFUSED: what was applied before waits for "%~nx0" /confirm or /undo.
popd
exit /b 2

:nomerge
echo REFUSED: group policy does not let rules of the machine itself count (AllowLocalPolicyMerge).
popd
exit /b 2

:usage
echo REFUSED: it takes /yes, /confirm or /undo.
popd
exit /b 2

:nofolder
echo REFUSED: the folder of this file cannot be entered, or not be written to.
exit /b 2

` + batch.Refusals + "\n" + batch.Routines + `
rem --- :arm: the way back that needs nobody. /mo counts minutes from now.
:arm
schtasks /create /f /ru SYSTEM /sc minute /mo %OG_MINUTES% /tn "%OG_TASK%" /tr "%SystemRoot%\System32\cmd.exe /d /c %SystemRoot%\System32\netsh.exe advfirewall import %OG_OLD% && %SystemRoot%\System32\schtasks.exe /delete /f /tn %OG_TASK%" >>"%OG_LOG%" 2>&1
if errorlevel 1 exit /b 1
schtasks /query /tn "%OG_TASK%" >nul 2>nul
if errorlevel 1 exit /b 1
call :log the task %OG_TASK% undoes it in %OG_MINUTES% minutes
exit /b 0

rem --- :last: the policy saved last, OG_OLD; undefined if there is none.
:last
set "OG_OLD="
set "OG_N=0"
:next
set /a OG_N+=1
if not exist "%OG_DIR%\oldguard-before-%OG_N%.wfw" exit /b 0
set "OG_OLD=%OG_DIR%\oldguard-before-%OG_N%.wfw"
goto :next
`
