' Is this Windows Server 2008 with Service Pack 2? Run it with cscript; exit status 0 for yes,
' 1 for no, 2 where Windows does not say.
'
' Its build number is 6002 or 6003. It changed with the updates of March and April 2019
' (KB4489887, KB4493471, KB4493458; Microsoft's word on it is KB4495374), so a test for
' Version = "6.0.6002" refuses every machine that has been patched since. Ask for version 6.0
' and a build of 6002 or more: the next product is 6.1 with 7600. Compare numbers, not texts:
' as text "10.0" is less than "6.0".
'
' WMI tells the truth to 32-bit scripts on 64-bit Windows too.
Option Explicit
Dim status, system, parts
status = 2
On Error Resume Next
For Each system In GetObject("winmgmts:\\.\root\cimv2").ExecQuery("SELECT Version, ProductType FROM Win32_OperatingSystem")
    parts = Split(system.Version, ".")
    If Err.Number = 0 And UBound(parts) >= 2 Then
        ' Product type 1 is a workstation: Windows Vista SP2 has the same numbers.
        If CLng(parts(0)) = 6 And CLng(parts(1)) = 0 And CLng(parts(2)) >= 6002 And CLng(parts(2)) < 7600 And system.ProductType <> 1 Then
            status = 0
            WScript.Echo "Windows Server 2008 SP2, build " & parts(2)
        Else
            status = 1
        End If
    End If
Next
If Err.Number <> 0 Then status = 2
WScript.Quit status
