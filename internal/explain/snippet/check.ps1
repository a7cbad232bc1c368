# Is this Windows Server 2008 with Service Pack 2? Exit status 0 for yes, 1 for no, 2 where
# Windows does not say. PowerShell 1.0 and later; on Server 2008 it is a feature that may be
# absent.
#
# Its build number is 6002 or 6003. It changed with the updates of March and April 2019
# (KB4489887, KB4493471, KB4493458; Microsoft's word on it is KB4495374), so a test for
# Version -eq '6.0.6002' refuses every machine that has been patched since. Ask for version
# 6.0 and a build of 6002 or more: the next product is 6.1 with 7600. Compare as [version],
# not as text: as text '10.0' is less than '6.0'.
#
# WMI is asked, since [Environment]::OSVersion answers by the manifest of the host program.
$system = Get-WmiObject -Class Win32_OperatingSystem -ErrorAction SilentlyContinue
if (-not $system) { exit 2 }
$version = [version]$system.Version
# Product type 1 is a workstation: Windows Vista SP2 has the same numbers.
if ($version.Major -eq 6 -and $version.Minor -eq 0 -and $version.Build -ge 6002 -and $version.Build -lt 7600 -and $system.ProductType -ne 1) {
    "Windows Server 2008 SP2, build $($version.Build)"
    exit 0
}
exit 1
