@echo off
rem Is this Windows Server 2008 with Service Pack 2? Exit status 0 for yes, 1 for no, 2 where
rem Windows does not say.
rem
rem Its build number is 6002 or 6003. It changed with the updates of March and April 2019
rem (KB4489887, KB4493471, KB4493458; Microsoft's word on it is KB4495374), so a test for
rem exactly 6002, or for the text "6.0.6002" in the output of ver, refuses every machine that
rem has been patched since. Ask for version 6.0 and a build of 6002 or more: the next product
rem is 6.1 with 7600. Windows Vista SP2 has the same numbers and the product type WinNT.
rem
rem The registry is read with the reg.exe of the system's own width (Sysnative is how a 32-bit
rem program reaches it), and no compatibility mode changes what it says.
setlocal
set "REG=%SystemRoot%\System32\reg.exe"
if exist "%SystemRoot%\Sysnative\reg.exe" set "REG=%SystemRoot%\Sysnative\reg.exe"
set "NT=HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion"
set "PO=HKLM\SYSTEM\CurrentControlSet\Control\ProductOptions"
set "VERSION="
set "BUILD="
set "TYPE="
for /f "tokens=1-3" %%a in ('%REG% query "%NT%" /v CurrentVersion') do if "%%b"=="REG_SZ" set "VERSION=%%c"
for /f "tokens=1-3" %%a in ('%REG% query "%NT%" /v CurrentBuildNumber') do if "%%b"=="REG_SZ" set "BUILD=%%c"
for /f "tokens=1-3" %%a in ('%REG% query "%PO%" /v ProductType') do if "%%b"=="REG_SZ" set "TYPE=%%c"
if "%VERSION%"=="" exit /b 2
if "%BUILD%"=="" exit /b 2
if "%TYPE%"=="" exit /b 2
if not "%VERSION%"=="6.0" exit /b 1
if %BUILD% LSS 6002 exit /b 1
if %BUILD% GEQ 7600 exit /b 1
if /i "%TYPE%"=="WinNT" exit /b 1
echo Windows Server 2008 SP2, build %BUILD%
exit /b 0
