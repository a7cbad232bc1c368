@echo off
rem oldguard-collect.cmd: collects what oldguard needs to know about this Windows machine.
rem
rem It runs on Windows Vista and Server 2008 and later as it is: no PowerShell, no .NET, no
rem installation, also on Server Core and in every display language. An ordinary user gets
rem most of it; run it as administrator for the rest. It changes nothing on the machine: it
rem reads, and writes one new folder and one new cabinet.
rem
rem   oldguard-collect.cmd [folder]
rem
rem makes NAME-DATE in that folder, or beside itself, with one file for each question,
rem status.txt with what failed, and manifest.txt with the SHA-1 of each file, and packs it
rem into NAME-DATE.cab. Bring either to another machine: oldguard assess NAME-DATE.cab
rem It takes no passwords, no documents and none of Windows' product keys.

rem A 32-bit prompt of a 64-bit Windows sees another registry and another System32.
if not defined PROCESSOR_ARCHITEW6432 goto :native
if not exist "%SystemRoot%\Sysnative\cmd.exe" goto :native
"%SystemRoot%\Sysnative\cmd.exe" /d /c call "%~f0" %*
exit /b

:native
setlocal EnableExtensions DisableDelayedExpansion
set "OG_INTO=%~1"
rem Not the current folder: that of a prompt run as administrator is System32.
if not defined OG_INTO set "OG_INTO=%~dp0"
if "%OG_INTO:~-1%"=="\" set "OG_INTO=%OG_INTO:~0,-1%"
if not exist "%OG_INTO%\" mkdir "%OG_INTO%" 2>nul
rem From here on names are relative, so that nothing in the folder's name does harm; pushd
rem lends a share a drive letter.
pushd "%OG_INTO%\" 2>nul
if errorlevel 1 goto :nofolder

rem The date in an order of its own: that of DATE differs by language, that of WMI does not.
rem Without WMI the folder has a random number.
set "OG_TAKEN="
for /f "tokens=2 delims==" %%t in ('wmic os get LocalDateTime /value 2^>nul ^<nul') do set "OG_TAKEN=%%t"
if defined OG_TAKEN set "OG_TAKEN=%OG_TAKEN:~0,25%"
set "OG_OUT=%COMPUTERNAME%-%RANDOM%%RANDOM%"
if defined OG_TAKEN set "OG_OUT=%COMPUTERNAME%-%OG_TAKEN:~0,14%"
if not defined OG_TAKEN set "OG_TAKEN=unknown"
if exist "%OG_OUT%\" goto :nofolder
mkdir "%OG_OUT%" 2>nul
if not exist "%OG_OUT%\" goto :nofolder

set "OG_STATUS=%OG_OUT%\status.txt"
set "OG_ERROR=%OG_OUT%\error.tmp"
set "OG_ADMIN=no"
rem Only administrators may look into the registry of the account LOCAL SERVICE.
reg query HKU\S-1-5-19 >nul 2>&1 && set "OG_ADMIN=yes"
set "OG_PENDING=no"
if exist "%SystemRoot%\winsxs\pending.xml" set "OG_PENDING=yes"
>"%OG_STATUS%" echo oldguard-collect 1
>>"%OG_STATUS%" echo computer %COMPUTERNAME%
>>"%OG_STATUS%" echo taken %OG_TAKEN%
>>"%OG_STATUS%" echo architecture %PROCESSOR_ARCHITECTURE%
>>"%OG_STATUS%" echo administrator %OG_ADMIN%
>>"%OG_STATUS%" echo pending.xml %OG_PENDING%
echo Collecting into "%OG_INTO%\%OG_OUT%". This takes some minutes.

set "OG_SYS=%SystemRoot%\System32"
set "OG_NT=HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion"
set "OG_CV=HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion"
set "OG_POL=HKLM\SOFTWARE\Policies\Microsoft"
set "OG_CCS=HKLM\SYSTEM\CurrentControlSet"

rem --- Who is connected now; once more at the end.
call :run netstat-first.txt "netstat -ano"

rem --- What it is. Values of CurrentVersion one by one: the product key is among the others.
call :run ver.txt "ver"
call :run systeminfo.txt "systeminfo"
call :run os.txt "wmic os get Caption,Version,BuildNumber,BuildType,CSDVersion,CSName,OSArchitecture,OperatingSystemSKU,ProductType,ServicePackMajorVersion,InstallDate,LastBootUpTime,LocalDateTime,OSLanguage /value"
call :run computersystem.txt "wmic computersystem get Name,Domain,DomainRole,PartOfDomain,SystemType /value"
call :values version.txt "%OG_NT%" ProductName CurrentVersion CurrentMajorVersionNumber CurrentMinorVersionNumber CurrentBuild CurrentBuildNumber UBR BuildLab BuildLabEx CSDVersion EditionID InstallationType InstallDate ProductId
call :values version.txt HKLM\SOFTWARE\Microsoft\Cryptography MachineGuid
call :values version.txt "%OG_CCS%\Control\Session Manager\Environment" PROCESSOR_ARCHITECTURE
call :values version.txt "%OG_CCS%\Control\ProductOptions" ProductType
call :values version.txt "%OG_CCS%\Services\Tcpip\Parameters" Hostname Domain
call :kept version.txt
call :export machine.reg "%OG_CCS%\Control\ComputerName"
call :export machine.reg "%OG_CCS%\Control\TimeZoneInformation"

rem --- What is installed, and what waits for a restart
call :run qfe.txt "wmic qfe"
call :export cbs.reg "%OG_CV%\Component Based Servicing"
set "OG_SIZE=0"
if exist "%OG_OUT%\cbs.reg" for %%f in ("%OG_OUT%\cbs.reg") do set "OG_SIZE=%%~zf"
if %OG_SIZE% GTR 60000000 call :lesscbs
call :values restart.txt "%OG_CCS%\Control\Session Manager" PendingFileRenameOperations
call :kept restart.txt
call :ifthere updatepending.reg "%OG_CV%\WindowsUpdate\Auto Update\RebootRequired"
call :run mum.txt "dir /b ""%SystemRoot%\servicing\Packages\*.mum"""
call :export programs.reg "%OG_CV%\Uninstall"
call :ifthere programs.reg "HKLM\SOFTWARE\Wow6432Node\Microsoft\Windows\CurrentVersion\Uninstall"
call :ifthere settings.reg "HKLM\SOFTWARE\Microsoft\NET Framework Setup\NDP"
call :ifthere settings.reg "HKLM\SOFTWARE\Microsoft\ServerManager\ServicingStorage\ServerComponentCache"
if exist "%OG_SYS%\ServerManagerCmd.exe" call :run roles.txt """%OG_SYS%\ServerManagerCmd.exe"" -query"
if exist "%OG_SYS%\oclist.exe" call :run features.txt """%OG_SYS%\oclist.exe"""
if exist "%OG_SYS%\slmgr.vbs" call :run slmgr.txt "cscript //nologo ""%OG_SYS%\slmgr.vbs"" /dlv all"
if exist "%SystemRoot%\Logs\CBS\CBS.log" call :search cbslog.txt "findstr /c:""ESU:"" /c:"", Error"" /c:""current: "" ""%SystemRoot%\Logs\CBS\CBS.log"""

rem --- File versions: a lower bound of the revision. WMI wants each backslash twice.
set "OG_WMI=%OG_SYS:\=\\%"
call :run files.txt "wmic datafile where ""name='%OG_WMI%\\ntoskrnl.exe' or name='%OG_WMI%\\ntdll.dll' or name='%OG_WMI%\\crypt32.dll' or name='%OG_WMI%\\wintrust.dll' or name='%OG_WMI%\\win32k.sys' or name='%OG_WMI%\\mshtml.dll' or name='%OG_WMI%\\drivers\\srv.sys' or name='%OG_WMI%\\drivers\\termdd.sys'"" get Name,Version /value"

rem --- How it is set
call :values settings.txt "HKLM\SOFTWARE\Microsoft\Internet Explorer" Version svcVersion
call :values settings.txt "%OG_CCS%\Control\Windows" ShutdownTime
call :values settings.txt "%OG_CCS%\Services\LanmanServer\Parameters" SMB1 SMB2 RequireSecuritySignature EnableSecuritySignature RestrictNullSessAccess NullSessionPipes NullSessionShares
call :values settings.txt "%OG_CCS%\Services\LanmanWorkstation\Parameters" RequireSecuritySignature EnableSecuritySignature
call :values settings.txt "%OG_CCS%\Services\LanmanWorkstation" DependOnService
call :values settings.txt "%OG_CCS%\Services\mrxsmb10" Start
call :values settings.txt "%OG_CCS%\Control\Lsa" RestrictAnonymous RestrictAnonymousSAM EveryoneIncludesAnonymous LmCompatibilityLevel NoLMHash RunAsPPL
call :values settings.txt "%OG_CCS%\Control\Lsa\MSV1_0" RestrictSendingNTLMTraffic RestrictReceivingNTLMTraffic NtlmMinClientSec NtlmMinServerSec
call :values settings.txt "%OG_CCS%\Control\SecurityProviders\WDigest" UseLogonCredential
call :values settings.txt "%OG_CCS%\Services\NTDS\Parameters" LDAPServerIntegrity LdapEnforceChannelBinding
call :values settings.txt "%OG_CCS%\Services\LDAP" LDAPClientIntegrity
call :values settings.txt "%OG_CCS%\Services\Netlogon\Parameters" FullSecureChannelProtection
call :values settings.txt "%OG_CCS%\Control\Terminal Server" fDenyTSConnections
call :values settings.txt "%OG_CCS%\Control\Terminal Server\WinStations\RDP-Tcp" UserAuthentication SecurityLayer MinEncryptionLevel PortNumber
call :values settings.txt "%OG_CCS%\Services\Tcpip\Parameters" IPEnableRouter
call :values settings.txt "%OG_CCS%\Services\Tcpip6\Parameters" DisabledComponents
call :values settings.txt "%OG_CV%\Policies\System" EnableLUA LocalAccountTokenFilterPolicy
call :values settings.txt "%OG_CV%\Policies\System\CredSSP\Parameters" AllowEncryptionOracle
call :values settings.txt "%OG_CV%\Policies\Explorer" NoDriveTypeAutoRun
rem Only whether somebody is logged on by itself; the password lies beside it and stays here.
call :values settings.txt "%OG_NT%\Winlogon" AutoAdminLogon
call :values settings.txt HKLM\SOFTWARE\Microsoft\Rpc\Internet Ports
call :values settings.txt "%OG_POL%\Windows NT\Terminal Services" fDenyTSConnections UserAuthentication SecurityLayer MinEncryptionLevel
call :values settings.txt "%OG_POL%\Windows NT\DNSClient" EnableMulticast
call :values settings.txt "%OG_POL%\Windows NT\Printers\PointAndPrint" NoWarningNoElevationOnInstall UpdatePromptSettings RestrictDriverInstallationToAdministrators
call :values settings.txt "%OG_POL%\Windows\WinRM\Service" AllowAutoConfig
call :values settings.txt "%OG_POL%\Windows\EventLog\EventForwarding\SubscriptionManager" 1
call :values settings.txt "%OG_POL%\WindowsFirewall\DomainProfile" EnableFirewall DefaultInboundAction DefaultOutboundAction
call :values settings.txt "%OG_POL%\WindowsFirewall\StandardProfile" EnableFirewall DefaultInboundAction DefaultOutboundAction
call :values settings.txt "%OG_POL%\WindowsFirewall\PublicProfile" EnableFirewall DefaultInboundAction DefaultOutboundAction
call :values settings.txt "%OG_POL%\Windows\WindowsUpdate" WUServer
call :values settings.txt "%OG_POL%\Windows\WindowsUpdate\AU" NoAutoUpdate
call :kept settings.txt
call :ifthere settings.reg "%OG_CCS%\Control\SecurityProviders\SCHANNEL\Protocols"
call :export settings.reg "%OG_CCS%\Services\SharedAccess\Parameters\FirewallPolicy"
call :ifthere settings.reg "%OG_POL%\WindowsFirewall"
call :ifthere settings.reg "%OG_CCS%\Services\LanmanServer\Shares"
call :export settings.reg "%OG_CCS%\Services\Tcpip\Parameters\Interfaces"
call :ifthere settings.reg "%OG_CCS%\Services\NetBT\Parameters\Interfaces"
call :export settings.reg "%OG_CCS%\Control\Network\{4D36E972-E325-11CE-BFC1-08002BE10318}"

rem --- What runs on it and whom it talks to
call :run firewall.txt "netsh advfirewall firewall show rule name=all verbose"
call :run profiles.txt "netsh advfirewall show allprofiles"
call :run services.txt "wmic service get Name,DisplayName,State,StartMode,StartName,PathName,ProcessId /value"
call :run shares.txt "net share"
call :run netstat.txt "netstat -ano"
call :run tasklist.txt "tasklist /svc"
call :run ipconfig.txt "ipconfig /all"
call :run route.txt "route print"
call :run names.txt "nbtstat -c"
rem The log of Windows Firewall, if it keeps one, wherever the policy or the machine says.
set "OG_LOGS=0"
set "OG_LOGSUM=0"
for %%p in (DomainProfile StandardProfile PublicProfile) do call :logof "%OG_POL%\WindowsFirewall\%%p\Logging"
for %%p in (DomainProfile StandardProfile PublicProfile) do call :logof "%OG_CCS%\Services\SharedAccess\Parameters\FirewallPolicy\%%p\Logging"
call :log "%OG_SYS%\LogFiles\Firewall\pfirewall.log"
>>"%OG_STATUS%" echo end

rem --- Manifest and cabinet
set "OG_DDF=%OG_OUT%.ddf"
>"%OG_DDF%" echo .Set CabinetNameTemplate=%OG_OUT%.cab
>>"%OG_DDF%" echo .Set DiskDirectoryTemplate=.
>>"%OG_DDF%" echo .Set MaxDiskSize=0
>>"%OG_DDF%" echo .Set Cabinet=on
>>"%OG_DDF%" echo .Set Compress=on
>>"%OG_DDF%" echo .Set RptFileName=nul
>>"%OG_DDF%" echo .Set InfFileName=nul
>"%OG_OUT%\manifest.txt" echo oldguard-manifest 1 sha1
pushd "%OG_OUT%"
for %%f in (*.*) do call :hash "%%~f"
popd
makecab /f "%OG_DDF%" >nul 2>&1
del "%OG_DDF%" 2>nul
echo.
echo Done: "%OG_INTO%\%OG_OUT%"
if exist "%OG_OUT%.cab" echo Done: "%OG_INTO%\%OG_OUT%.cab"
if not exist "%OG_OUT%.cab" echo The cabinet could not be made. Bring the folder.
if "%OG_ADMIN%"=="no" echo Run as administrator, it collects more; status.txt says what is missing.
popd
endlocal
exit /b 0

:nofolder
popd 2>nul
echo Cannot make a folder in "%OG_INTO%". Name another one: oldguard-collect.cmd D:\evidence
endlocal
exit /b 1

rem :run FILE "COMMAND" runs a command and keeps what it says. Doubled quotes in it stand
rem for single ones. What fails is written down, and nothing stops because of it.
:run
set "OG_ELSE=failed"
:command
set "OG_WHAT="
set "OG_CMD=%~2"
set "OG_CMD=%OG_CMD:""="%"
<nul set /p "=."
%OG_CMD% >"%OG_OUT%\%~1" 2>"%OG_ERROR%" <nul
set "OG_RC=%ERRORLEVEL%"
goto :noted

rem :search FILE "COMMAND" is :run for a command that fails if it finds nothing.
:search
set "OG_ELSE=nothing"
goto :command

rem :export FILE "KEY" exports a key of the registry with all below it, behind what the
rem file holds already. reg export writes UTF-16, which only a binary copy joins.
:export
set "OG_ELSE=failed"
:key
<nul set /p "=."
reg export "%~2" "%OG_OUT%\part.tmp" /y >nul 2>"%OG_ERROR%"
set "OG_RC=%ERRORLEVEL%"
set "OG_WHAT= %~2"
if not "%OG_RC%"=="0" goto :noted
if exist "%OG_OUT%\%~1" goto :behind
move "%OG_OUT%\part.tmp" "%OG_OUT%\%~1" >nul 2>&1
goto :noted
:behind
copy /b /y "%OG_OUT%\%~1"+"%OG_OUT%\part.tmp" "%OG_OUT%\%~1" >nul 2>&1
if errorlevel 1 set "OG_RC=copy"
goto :noted

rem :ifthere FILE "KEY" is :export for a key that not every machine has.
:ifthere
set "OG_ELSE=absent"
goto :key

rem :kept FILE ends a file that :values wrote. That it is empty is no failure.
:kept
set "OG_ELSE=nothing"
set "OG_RC=0"
set "OG_WHAT="
goto :noted

rem :noted writes down how it went. An empty file says nothing and is not kept.
:noted
for %%s in ("%OG_OUT%\%~1") do if "%%~zs"=="0" del "%OG_OUT%\%~1"
if "%OG_RC%"=="0" if not exist "%OG_OUT%\%~1" set "OG_RC=empty"
if "%OG_RC%"=="0" (
	>>"%OG_STATUS%" echo ok %~1%OG_WHAT%
) else (
	>>"%OG_STATUS%" echo %OG_ELSE% %~1 %OG_RC%%OG_WHAT%
	for /f "delims=" %%e in ('type "%OG_ERROR%" 2^>nul') do >>"%OG_STATUS%" echo   %%e
)
del "%OG_ERROR%" "%OG_OUT%\part.tmp" 2>nul
exit /b 0

rem :values FILE "KEY" NAME... adds those values of a key that it has. What an administrator
rem does not find is not there: that too is noted, of settings.
:values
set "OG_FILE=%~1"
set "OG_KEY=%~2"
<nul set /p "=."
:value
if "%~3"=="" exit /b 0
set "OG_RC=0"
reg query "%OG_KEY%" /v %3 >>"%OG_OUT%\%OG_FILE%" 2>nul
if errorlevel 1 set "OG_RC=1"
if not "%OG_FILE%"=="settings.txt" set "OG_RC=0"
if "%OG_ADMIN%%OG_RC%"=="yes1" >>"%OG_OUT%\%OG_FILE%" echo ! absent "%OG_KEY%" %~3
shift /3
goto :value

rem :logof "KEY" takes the log that a profile of Windows Firewall names there. Variables in its
rem path are put in by call.
:logof
for /f "tokens=1,2,*" %%a in ('reg query "%~1" /v LogFilePath 2^>nul ^<nul') do if /i "%%a"=="LogFilePath" call :log "%%c"
exit /b 0

rem :log "PATH" takes a log, and the one before it. Profiles share one as a rule: it is taken once.
:log
set "OG_LOG=%~1"
if not exist "%OG_LOG%" exit /b 0
for %%s in ("%OG_LOG%") do if "%%~zs"=="0" exit /b 0
for /f "tokens=1,* delims==" %%a in ('set OG_LOGAT 2^>nul') do if /i "%%b"=="%OG_LOG%" exit /b 0
set /a OG_LOGS+=1
set "OG_LOGAT%OG_LOGS%=%OG_LOG%"
call :logfile firewalllog-%OG_LOGS%.txt "%OG_LOG%"
if exist "%OG_LOG%.old" call :logfile firewalllog-%OG_LOGS%-old.txt "%OG_LOG%.old"
exit /b 0

rem :logfile FILE "PATH" takes one of them, unless all together become too large for an archive:
rem each can have 32 MB. One that is left out leaves its room to others. Numbers of more than 9
rem digits are too large for set /a; of a name that stands for many files the size is not known.
:logfile
set "OG_SIZE="
for %%s in ("%~2") do if "%%~s"=="%~2" set "OG_SIZE=%%~zs"
if not defined OG_SIZE goto :toolarge
if not "%OG_SIZE:~9%"=="" goto :toolarge
set /a OG_SUM=OG_LOGSUM+OG_SIZE
if %OG_SUM% GTR 100000000 goto :toolarge
set "OG_LOGSUM=%OG_SUM%"
call :run %~1 "type ""%~2"""
exit /b 0
:toolarge
set "OG_ELSE=failed"
set "OG_RC=size"
set "OG_WHAT= %~2"
goto :noted

rem :lesscbs is for a key that is too large as a whole: the packages, and only if there is
rem one, what waits for a restart.
:lesscbs
del "%OG_OUT%\cbs.reg"
call :export cbs.reg "%OG_CV%\Component Based Servicing\Packages"
call :ifthere rebootpending.reg "%OG_CV%\Component Based Servicing\RebootPending"
exit /b 0

rem :hash FILE lists a file for the cabinet, and its SHA-1 in the manifest. certutil writes
rem that on the second line, with or without spaces as its version likes.
:hash
>>"..\%OG_DDF%" echo "%OG_OUT%\%~1" "%~1"
if /i "%~1"=="manifest.txt" exit /b 0
set "OG_SHA="
for /f "skip=1 delims=" %%h in ('certutil -hashfile "%~1" SHA1 2^>nul') do if not defined OG_SHA set "OG_SHA=%%h"
if not defined OG_SHA set "OG_SHA=unknown"
set "OG_SHA=%OG_SHA: =%"
if "%OG_SHA:~39,1%"=="" set "OG_SHA=unknown"
if not "%OG_SHA:~40%"=="" set "OG_SHA=unknown"
>>manifest.txt echo %OG_SHA%  %~1
exit /b 0
