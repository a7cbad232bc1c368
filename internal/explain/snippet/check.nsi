; Is this Windows Server 2008 with Service Pack 2?
;
;   Call IsServer2008SP2
;   Pop $0 ; 1 for yes, 0 for no, "" where Windows does not say
;
; Its build number is 6002 or 6003. It changed with the updates of March and April 2019
; (KB4489887, KB4493471, KB4493458; Microsoft's word on it is KB4495374), so a test for
; exactly 6002 refuses every machine that has been patched since. Ask for version 6.0 and a
; build of 6002 or more: the next product is 6.1 with 7600. ${IsWin2008} of WinVer.nsh is
; right as well, but knows no build; ${AtMostBuild} 6002 is wrong.
;
; An installer of NSIS is a 32-bit program: SetRegView 64 makes it read the registry of the
; system and not the copy for 32-bit programs. No compatibility mode changes what stands there.
!include LogicLib.nsh
!include x64.nsh

Function IsServer2008SP2
  Push $0 ; the answer
  Push $1 ; the version
  Push $2 ; the build
  Push $3 ; the product type
  ${If} ${RunningX64}
    SetRegView 64
  ${EndIf}
  ReadRegStr $1 HKLM "SOFTWARE\Microsoft\Windows NT\CurrentVersion" "CurrentVersion"
  ReadRegStr $2 HKLM "SOFTWARE\Microsoft\Windows NT\CurrentVersion" "CurrentBuildNumber"
  ReadRegStr $3 HKLM "SYSTEM\CurrentControlSet\Control\ProductOptions" "ProductType"
  SetRegView lastused
  StrCpy $0 0
  ${If} $1 == ""
  ${OrIf} $2 == ""
  ${OrIf} $3 == ""
    StrCpy $0 ""
  ${ElseIf} $1 == "6.0"
  ${AndIf} $2 >= 6002
  ${AndIf} $2 < 7600
  ${AndIf} $3 != "WinNT" ; Windows Vista SP2 has the same numbers
    StrCpy $0 1
  ${EndIf}
  Pop $3
  Pop $2
  Pop $1
  Exch $0
FunctionEnd
