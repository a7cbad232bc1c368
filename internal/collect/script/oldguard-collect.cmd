@echo off
rem oldguard-collect.cmd: collects what oldguard needs to know about this Windows machine.
rem
rem It runs on Windows Vista and Server 2008 and later as it is: no PowerShell, no .NET, no
rem installation, also on Server Core and in every display language. An ordinary user gets
rem most of it; run it as administrator for the rest. It changes nothing on the machine: it
rem reads, and writes below one new folder.
rem
rem   oldguard-collect.cmd [folder]
rem
rem makes folder\NAME-DATE with one text file for each question, status.txt with what
rem failed, and manifest.txt with the SHA-1 of each file, and packs it into one cabinet.
rem Bring the cabinet or the folder to another machine: oldguard assess NAME-DATE.cab
rem It takes no passwords, no user data and no keys.

setlocal EnableExtensions DisableDelayedExpansion
set "OG_VERSION=1"
set "OG_INTO=%~1"
if not defined OG_INTO set "OG_INTO=%CD%"
if not exist "%OG_INTO%\" mkdir "%OG_INTO%" 2>nul
if not exist "%OG_INTO%\" goto :nofolder

rem The date in an order of its own: %DATE% differs by language. WMI writes it the same way
rem everywhere; without WMI the folder has a random number.
set "OG_STAMP="
for /f "tokens=2 delims==." %%t in ('wmic os get LocalDateTime /value 2^>nul') do set "OG_STAMP=%%t"
if not defined OG_STAMP set "OG_STAMP=%RANDOM%%RANDOM%"
set "OG_NAME=%COMPUTERNAME%-%OG_STAMP:~0,14%"
set "OG_OUT=%OG_INTO%\%OG_NAME%"
mkdir "%OG_OUT%" 2>nul
if not exist "%OG_OUT%\" goto :nofolder
set "OG_STATUS=%OG_OUT%\status.txt"
>"%OG_STATUS%" echo oldguard-collect %OG_VERSION%
>>"%OG_STATUS%" echo computer %COMPUTERNAME%
>>"%OG_STATUS%" echo taken %OG_STAMP%
>>"%OG_STATUS%" echo architecture %PROCESSOR_ARCHITECTURE% %PROCESSOR_ARCHITEW6432%
set "OG_ADMIN=no"
net session >nul 2>&1 && set "OG_ADMIN=yes"
>>"%OG_STATUS%" echo administrator %OG_ADMIN%
set "OG_SYS=%SystemRoot%\System32"
if exist "%SystemRoot%\Sysnative\cmd.exe" set "OG_SYS=%SystemRoot%\Sysnative"
set "OG_NT=HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion"
set "OG_CV=HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion"
set "OG_CCS=HKLM\SYSTEM\CurrentControlSet"
echo Collecting into "%OG_OUT%". This takes a few minutes.

rem --- What it is
call :run ver.txt            "ver"
call :run systeminfo.txt     "systeminfo"
call :run os.txt             "wmic os get Caption,Version,BuildNumber,CSDVersion,CSName,OSArchitecture,OperatingSystemSKU,ProductType,InstallDate,LastBootUpTime,LocalDateTime,OSLanguage,SerialNumber /value"
call :run computersystem.txt "wmic computersystem get Name,Domain,DomainRole,PartOfDomain,SystemType /value"
call :run currentversion.txt "reg query ""%OG_NT%"""
call :run productoptions.txt "reg query ""%OG_CCS%\Control\ProductOptions"""
call :run computername.txt   "reg query ""%OG_CCS%\Control\ComputerName"" /s"
call :run machineguid.txt    "reg query HKLM\SOFTWARE\Microsoft\Cryptography /v MachineGuid"
call :run windows.txt        "reg query ""%OG_CCS%\Control\Windows"""
call :run timezone.txt       "reg query ""%OG_CCS%\Control\TimeZoneInformation"""

rem --- What is installed
call :run qfe.txt            "wmic qfe"
call :export cbs.reg         "%OG_CV%\Component Based Servicing\Packages"
call :run cbspending.txt     "reg query ""%OG_CV%\Component Based Servicing"""
call :run sessionmanager.txt "reg query ""%OG_CCS%\Control\Session Manager"""
call :run wureboot.txt       "reg query ""%OG_CV%\WindowsUpdate\Auto Update"" /s"
call :run uninstall.txt      "reg query ""%OG_CV%\Uninstall"" /s"
call :run uninstall32.txt    "reg query HKLM\SOFTWARE\Wow6432Node\Microsoft\Windows\CurrentVersion\Uninstall /s"
call :run netframework.txt   "reg query ""HKLM\SOFTWARE\Microsoft\NET Framework Setup\NDP"" /s"
call :run ie.txt             "reg query ""HKLM\SOFTWARE\Microsoft\Internet Explorer"""
if exist "%OG_SYS%\dism.exe" call :run packages.txt "dism /online /english /get-packages"
if exist "%OG_SYS%\ServerManagerCmd.exe" call :run roles.txt "ServerManagerCmd -query"
if exist "%OG_SYS%\oclist.exe" call :run roles.txt "oclist"
if exist "%OG_SYS%\slmgr.vbs" call :run slmgr.txt "cscript //nologo ""%OG_SYS%\slmgr.vbs"" /dlv all"
if exist "%SystemRoot%\Logs\CBS\CBS.log" call :run cbslog.txt "findstr /c:ESU: /c:HRESULT /c:0x8 ""%SystemRoot%\Logs\CBS\CBS.log"""

rem --- File versions: a lower bound of the revision
set "OG_WMI=%OG_SYS:\=\\%"
call :run files.txt "wmic datafile where ""name='%OG_WMI%\\ntoskrnl.exe' or name='%OG_WMI%\\ntdll.dll' or name='%OG_WMI%\\crypt32.dll' or name='%OG_WMI%\\wintrust.dll' or name='%OG_WMI%\\win32k.sys' or name='%OG_WMI%\\mshtml.dll' or name='%OG_WMI%\\drivers\\srv.sys' or name='%OG_WMI%\\drivers\\termdd.sys'"" get Name,Version /value"

rem --- How it is set and what it talks to
call :run smb.txt            "reg query ""%OG_CCS%\Services\LanmanServer\Parameters"""
call :run lsa.txt            "reg query ""%OG_CCS%\Control\Lsa"""
call :run rdp.txt            "reg query ""%OG_CCS%\Control\Terminal Server"" /s"
call :run ntds.txt           "reg query ""%OG_CCS%\Services\NTDS\Parameters"""
call :run schannel.txt       "reg query ""%OG_CCS%\Control\SecurityProviders\SCHANNEL"" /s"
call :run firewall.txt       "netsh advfirewall firewall show rule name=all verbose"
call :run profiles.txt       "netsh advfirewall show allprofiles"
call :run services.txt       "wmic service get Name,State,StartMode,StartName,PathName /value"
call :run shares.txt         "net share"
call :run netstat.txt        "netstat -ano"
call :run tasklist.txt       "tasklist /svc"
call :run ipconfig.txt       "ipconfig /all"
call :run route.txt          "route print"

rem --- Manifest and cabinet
>"%OG_OUT%\manifest.txt" echo oldguard-manifest 1 sha1
pushd "%OG_OUT%"
for %%f in (*.*) do call :hash "%%f"
set "OG_DDF=%OG_OUT%.ddf"
>"%OG_DDF%" echo .Set CabinetNameTemplate=%OG_NAME%.cab
>>"%OG_DDF%" echo .Set DiskDirectoryTemplate=%OG_INTO%
>>"%OG_DDF%" echo .Set MaxDiskSize=0
>>"%OG_DDF%" echo .Set Cabinet=on
>>"%OG_DDF%" echo .Set Compress=on
>>"%OG_DDF%" echo .Set RptFileName=nul
>>"%OG_DDF%" echo .Set InfFileName=nul
for %%f in (*.*) do >>"%OG_DDF%" echo "%OG_OUT%\%%f"
popd
makecab /f "%OG_DDF%" >nul 2>&1
if errorlevel 1 echo The cabinet could not be made; bring the folder.
del "%OG_DDF%" 2>nul
echo Done: "%OG_OUT%"
if exist "%OG_INTO%\%OG_NAME%.cab" echo Done: "%OG_INTO%\%OG_NAME%.cab"
endlocal
exit /b 0

:nofolder
echo Cannot write below "%OG_INTO%". Name another folder: oldguard-collect.cmd D:\
endlocal
exit /b 1

rem :run FILE "COMMAND" runs a command and keeps what it says. Doubled quotes in it stand
rem for single ones. What fails is written down, and nothing stops because of it.
:run
set "OG_CMD=%~2"
set "OG_CMD=%OG_CMD:""="%"
<nul set /p "=."
%OG_CMD% >>"%OG_OUT%\%~1" 2>"%OG_OUT%\error.tmp"
if errorlevel 1 (
	>>"%OG_STATUS%" echo failed %~1 %ERRORLEVEL%
	type "%OG_OUT%\error.tmp" >>"%OG_STATUS%"
) else (
	>>"%OG_STATUS%" echo ok %~1
)
del "%OG_OUT%\error.tmp" 2>nul
exit /b 0

rem :export FILE "KEY" exports a registry key whole: quicker than a query for large ones.
:export
<nul set /p "=."
reg export "%~2" "%OG_OUT%\%~1" /y >nul 2>"%OG_OUT%\error.tmp"
if errorlevel 1 (
	>>"%OG_STATUS%" echo failed %~1 %ERRORLEVEL%
	type "%OG_OUT%\error.tmp" >>"%OG_STATUS%"
) else (
	>>"%OG_STATUS%" echo ok %~1
)
del "%OG_OUT%\error.tmp" 2>nul
exit /b 0

rem :hash FILE adds a file's SHA-1 to the manifest. certutil writes it with or without
rem spaces, as its version likes, on the second line.
:hash
if /i "%~1"=="manifest.txt" exit /b 0
set "OG_SHA="
for /f "skip=1 delims=" %%h in ('certutil -hashfile "%~1" SHA1 2^>nul') do if not defined OG_SHA set "OG_SHA=%%h"
if not defined OG_SHA set "OG_SHA=unknown"
>>"%OG_OUT%\manifest.txt" echo %OG_SHA: =%  %~1
exit /b 0
