// Package batch holds what the command files (.cmd) that oldguard writes for old machines
// have in common: they are for cmd.exe as Server 2008 SP2 has it, run as a program of the
// machine's own width, refuse every machine but one, and log what they do.
//
// A file is put together of: lines that set OG_WANT_NAME and what else Guard compares,
// Native before them, Guard behind them with OG_LOG set, and at its end Refusals and
// Routines. No line is a block in parentheses, so that one in a text ends none.
package batch

import (
	"fmt"
	"slices"
	"strings"
)

// Native has the file start again as a 64-bit program where a 32-bit one runs it, and sets
// what it relies on.
const Native = `
rem A 32-bit prompt of a 64-bit Windows sees another registry and another System32.
if not defined PROCESSOR_ARCHITEW6432 goto :native
if not exist "%SystemRoot%\Sysnative\cmd.exe" goto :native
"%SystemRoot%\Sysnative\cmd.exe" /d /c call "%~f0" %*
exit /b

:native
setlocal EnableExtensions DisableDelayedExpansion
set "PATH=%SystemRoot%\System32;%SystemRoot%;%SystemRoot%\System32\Wbem"
`

// Trait is something of a machine that tells it from others.
type Trait string

// The traits. What is wanted of each is in a variable; where that is not set, it is not
// compared. Only the name must be.
const (
	Name      Trait = "name"         // OG_WANT_NAME
	Arch      Trait = "architecture" // OG_WANT_ARCH, as PROCESSOR_ARCHITECTURE has it
	Version   Trait = "version"      // OG_WANT_VERSION, such as 6.0
	Build     Trait = "build"        // OG_WANT_BUILDS, several with a space before and behind each
	ProductID Trait = "product id"   // OG_WANT_PRODUCTID
	GUID      Trait = "machine GUID" // OG_WANT_GUID
)

const nt = `HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion`

// traits are where they stand in the registry, in the order in which they are compared.
var traits = []struct {
	trait            Trait
	want, key, value string
}{
	{Name, "NAME", `HKLM\SYSTEM\CurrentControlSet\Control\ComputerName\ActiveComputerName`, "ComputerName"},
	{Arch, "ARCH", `HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Environment`, "PROCESSOR_ARCHITECTURE"},
	{Version, "VERSION", nt, "CurrentVersion"},
	{Build, "BUILDS", nt, "CurrentBuildNumber"},
	{ProductID, "PRODUCTID", nt, "ProductId"},
	{GUID, "GUID", `HKLM\SOFTWARE\Microsoft\Cryptography`, "MachineGuid"},
}

// Guard compares traits of the machine, and goes to :other where one is not as wanted; then
// to :noadmin unless an administrator runs the file.
func Guard(compare ...Trait) string {
	var b strings.Builder
	b.WriteString("rem --- Is this the machine?\n")
	for _, t := range traits {
		if !slices.Contains(compare, t.trait) {
			continue
		}
		after := "after" + strings.ToLower(t.want)
		fmt.Fprintf(&b, "call :value OG_IS \"%s\" %s\nset \"OG_WHAT=%s\"\nset \"OG_WANT=%%OG_WANT_%s%%\"\n", t.key, t.value, t.trait, t.want)
		switch t.trait {
		case Name:
			b.WriteString("if not defined OG_IS set \"OG_IS=%COMPUTERNAME%\"\n")
		case Arch, Version, Build, ProductID, GUID:
			fmt.Fprintf(&b, "if not defined OG_WANT goto :%s\n", after)
		}
		if t.trait == Build {
			b.WriteString("if not defined OG_IS goto :other\ncall set \"OG_REST=%%OG_WANT: %OG_IS% =%%\"\nif \"%OG_REST%\"==\"%OG_WANT%\" goto :other\n")
		} else {
			b.WriteString("if /i not \"%OG_IS%\"==\"%OG_WANT%\" goto :other\n")
		}
		if t.trait != Name {
			fmt.Fprintf(&b, ":%s\n", after)
		}
	}
	b.WriteString(`rem Only administrators may look into the registry of the account LOCAL SERVICE.
reg query HKU\S-1-5-19 >nul 2>nul
if errorlevel 1 goto :noadmin
`)
	return b.String()
}

// Refusals are where Guard goes. They leave the folder that pushd entered.
const Refusals = `:other
echo REFUSED: this is for another machine. Its %OG_WHAT% is "%OG_IS%", wanted is "%OG_WANT%".
popd
exit /b 2

:noadmin
echo REFUSED: run it as administrator.
popd
exit /b 2
`

// Routines read the registry, and write the log.
const Routines = `rem --- :value VARIABLE KEY NAME: a value of the registry; undefined if it is not there.
:value
set "%~1="
for /f "tokens=2,*" %%a in ('reg query "%~2" /v %~3 2^>nul ^| find "REG_"') do set "%~1=%%b"
exit /b 0

rem --- :log TEXT...
:log
>>"%OG_LOG%" echo %DATE% %TIME% %*
exit /b 0
`
