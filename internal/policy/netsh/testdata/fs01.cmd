@echo off
rem oldguard isolation policy, for Windows Firewall on FS01.
rem
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
rem A rule that blocks wins over every rule that allows, wherever it stands.
rem Answers to what was allowed pass by themselves, and so does what the machine says to itself.
rem Services of Windows have rules of their own, which netsh does not show; they only restrict.
rem Rules of group policy stay as they are, and may allow more.
rem Whoever administers the machine, and malware that does, can change all this: the firewall in front of it remains the real one.
rem IPv6 needs rules for its neighbour discovery, ICMPv6 types 133 to 136: without them the machine has none.
rem Note: Seen for 3 days only.

rem A 32-bit prompt of a 64-bit Windows sees another registry and another System32.
if not defined PROCESSOR_ARCHITEW6432 goto :native
if not exist "%SystemRoot%\Sysnative\cmd.exe" goto :native
"%SystemRoot%\Sysnative\cmd.exe" /d /c call "%~f0" %*
exit /b

:native
setlocal EnableExtensions DisableDelayedExpansion
set "PATH=%SystemRoot%\System32;%SystemRoot%;%SystemRoot%\System32\Wbem"
set "OG_WANT_NAME=FS01"
set "OG_WANT_VERSION=6.0"
set "OG_WANT_PRODUCTID=92573-082-2500115-76101"
set "OG_WANT_GUID=11111111-2222-3333-4444-555555555555"
set "OG_RULES=oldguard 6e798a20"
set "OG_COUNT=11"
set "OG_MINUTES=15"
set "OG_TASK=oldguard-undo"
set "OG_DIR=%SystemRoot%\System32\LogFiles\Firewall"

pushd "%~dp0" 2>nul
if errorlevel 1 goto :nofolder
set "OG_LOG=%~n0.log"
set "OG_AFTER=%~n0-after.txt"

rem --- Is this the machine?
call :value OG_IS "HKLM\SYSTEM\CurrentControlSet\Control\ComputerName\ActiveComputerName" ComputerName
set "OG_WHAT=name"
set "OG_WANT=%OG_WANT_NAME%"
if not defined OG_IS set "OG_IS=%COMPUTERNAME%"
if /i not "%OG_IS%"=="%OG_WANT%" goto :other
call :value OG_IS "HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion" CurrentVersion
set "OG_WHAT=version"
set "OG_WANT=%OG_WANT_VERSION%"
if not defined OG_WANT goto :afterversion
if /i not "%OG_IS%"=="%OG_WANT%" goto :other
:afterversion
call :value OG_IS "HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion" ProductId
set "OG_WHAT=product id"
set "OG_WANT=%OG_WANT_PRODUCTID%"
if not defined OG_WANT goto :afterproductid
if /i not "%OG_IS%"=="%OG_WANT%" goto :other
:afterproductid
call :value OG_IS "HKLM\SOFTWARE\Microsoft\Cryptography" MachineGuid
set "OG_WHAT=machine GUID"
set "OG_WANT=%OG_WANT_GUID%"
if not defined OG_WANT goto :afterguid
if /i not "%OG_IS%"=="%OG_WANT%" goto :other
:afterguid
rem Only administrators may look into the registry of the account LOCAL SERVICE.
reg query HKU\S-1-5-19 >nul 2>nul
if errorlevel 1 goto :noadmin
>>"%OG_LOG%" echo.
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
rem --- commands begin
netsh advfirewall firewall add rule name="oldguard 6e798a20" dir=in action=allow enable=no profile=any protocol=tcp remoteip=192.0.2.200 localport=3389 description="[in-rdp] management from the jump host only" >>"%OG_LOG%" 2>&1
if errorlevel 1 goto :failed
netsh advfirewall firewall add rule name="oldguard 6e798a20" dir=in action=allow enable=no profile=any protocol=tcp remoteip=198.51.100.0/24,203.0.113.7 localport=139,445 program="System" description="[in-smb] file shares, 41 clients & 100%% of the traffic" >>"%OG_LOG%" 2>&1
if errorlevel 1 goto :failed
netsh advfirewall firewall add rule name="oldguard 6e798a20" dir=in action=allow enable=no profile=any protocol=tcp remoteip=198.51.100.5 localport=10000 program="%%ProgramFiles%%\Backup\agent.exe" service="BackupAgent" description="[in-backup]" >>"%OG_LOG%" 2>&1
if errorlevel 1 goto :failed
netsh advfirewall firewall add rule name="oldguard 6e798a20" dir=in action=allow enable=no profile=any protocol=icmpv4:8,any description="[in-ping]" >>"%OG_LOG%" 2>&1
if errorlevel 1 goto :failed
netsh advfirewall firewall add rule name="oldguard 6e798a20" dir=in action=allow enable=no profile=any protocol=icmpv4:3,4 description="[in-ping-2]" >>"%OG_LOG%" 2>&1
if errorlevel 1 goto :failed
netsh advfirewall firewall add rule name="oldguard 6e798a20" dir=in action=allow enable=no profile=any protocol=icmpv6:135,any description="[in-nd] without it there is no IPv6" >>"%OG_LOG%" 2>&1
if errorlevel 1 goto :failed
netsh advfirewall firewall add rule name="oldguard 6e798a20" dir=in action=allow enable=no profile=any protocol=icmpv6:136,any description="[in-nd-2] without it there is no IPv6" >>"%OG_LOG%" 2>&1
if errorlevel 1 goto :failed
netsh advfirewall firewall add rule name="oldguard 6e798a20" dir=out action=allow enable=no profile=any protocol=udp remoteip=192.0.2.53 remoteport=53 description="[out-dns]" >>"%OG_LOG%" 2>&1
if errorlevel 1 goto :failed
netsh advfirewall firewall add rule name="oldguard 6e798a20" dir=out action=allow enable=no profile=any protocol=udp remoteip=2001:db8::53 remoteport=53 description="[out-dns6]" >>"%OG_LOG%" 2>&1
if errorlevel 1 goto :failed
netsh advfirewall firewall add rule name="oldguard 6e798a20" dir=out action=allow enable=no profile=any protocol=tcp remoteip=192.0.2.2/31 remoteport=135,49152,49153,49154,49155,49156,49157,49158,49159,49160,49161,49162 description="[out-rpc] domain controllers" >>"%OG_LOG%" 2>&1
if errorlevel 1 goto :failed
netsh advfirewall firewall add rule name="oldguard 6e798a20" dir=out action=allow enable=no profile=any protocol=47 remoteip=203.0.113.9 description="[out-gre]" >>"%OG_LOG%" 2>&1
if errorlevel 1 goto :failed
call :arm
if errorlevel 1 goto :failed
netsh advfirewall set allprofiles logging maxfilesize 32767 >>"%OG_LOG%" 2>&1
if errorlevel 1 goto :undone
netsh advfirewall set allprofiles logging droppedconnections enable >>"%OG_LOG%" 2>&1
if errorlevel 1 goto :undone
netsh advfirewall set allprofiles logging allowedconnections enable >>"%OG_LOG%" 2>&1
if errorlevel 1 goto :undone
netsh advfirewall firewall set rule name=all new enable=no >>"%OG_LOG%" 2>&1
if errorlevel 1 goto :undone
netsh advfirewall firewall set rule name="oldguard 6e798a20" new enable=yes >>"%OG_LOG%" 2>&1
if errorlevel 1 goto :undone
netsh advfirewall set allprofiles firewallpolicy blockinbound,blockoutbound >>"%OG_LOG%" 2>&1
if errorlevel 1 goto :undone
netsh advfirewall set allprofiles state on >>"%OG_LOG%" 2>&1
if errorlevel 1 goto :undone
rem --- commands end

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

:other
echo REFUSED: this is for another machine. Its %OG_WHAT% is "%OG_IS%", wanted is "%OG_WANT%".
popd
exit /b 2

:noadmin
echo REFUSED: run it as administrator.
popd
exit /b 2

rem --- :value VARIABLE KEY NAME: a value of the registry; undefined if it is not there.
:value
set "%~1="
for /f "tokens=2,*" %%a in ('reg query "%~2" /v %~3 2^>nul ^| find "REG_"') do set "%~1=%%b"
exit /b 0

rem --- :log TEXT...
:log
>>"%OG_LOG%" echo %DATE% %TIME% %*
exit /b 0

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
