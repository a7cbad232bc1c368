; Is this Windows Server 2008 with Service Pack 2?
;
; Its build number is 6002 or 6003. It changed with the updates of March and April 2019
; (KB4489887, KB4493471, KB4493458; Microsoft's word on it is KB4495374), so a test for
; exactly 6002 refuses every machine that has been patched since. Ask for version 6.0 and a
; build of 6002 or more: the next product is 6.1 with 7600.
;
; For "Service Pack 2 or later" no code is needed: MinVersion=6.0.6002 in [Setup] lets both in.

[Code]
function IsServer2008SP2: Boolean;
var
  V: TWindowsVersion;
begin
  GetWindowsVersionEx(V);
  // Windows Vista SP2 has the same numbers and is a workstation.
  Result := (V.Major = 6) and (V.Minor = 0) and (V.Build >= 6002) and (V.Build < 7600)
    and (V.ProductType <> VER_NT_WORKSTATION);
end;

function InitializeSetup: Boolean;
begin
  Result := IsServer2008SP2;
  if not Result then
    MsgBox('This needs Windows Server 2008 with Service Pack 2.', mbError, MB_OK);
end;
