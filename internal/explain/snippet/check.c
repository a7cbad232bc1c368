/* Is this Windows Server 2008 with Service Pack 2?
 *
 * Its build number is 6002 or 6003. It changed with the updates of March and April 2019
 * (KB4489887, KB4493471, KB4493458; Microsoft's word on it is KB4495374), so "build == 6002"
 * refuses every machine that has been patched since, and so does a list that ends at 6002.
 * Ask for version 6.0 and a build of 6002 or more: the next product is 6.1 with 7600.
 *
 * Ask RtlGetVersion. GetVersionEx answers by the manifest of the program from Windows 8.1 on.
 * Do not ask for the service pack instead of the build where you compare builds anyway:
 * both numbers have Service Pack 2.
 */
#include <windows.h>
#include <string.h>

/* product_type is wProductType: 1 is a workstation, 2 a domain controller, 3 a server.
 * Windows Vista SP2 has the same version numbers and is a workstation. */
int is_server_2008_sp2(unsigned long major, unsigned long minor, unsigned long build,
                       unsigned int product_type)
{
    return major == 6 && minor == 0 && build >= 6002 && build < 7600 && product_type != 1;
}

/* 1 for yes, 0 for no, -1 where Windows does not say. */
int on_server_2008_sp2(void)
{
    typedef LONG(WINAPI * get_version)(RTL_OSVERSIONINFOEXW *);
    RTL_OSVERSIONINFOEXW v;
    get_version get = NULL;
    HMODULE ntdll = GetModuleHandleW(L"ntdll.dll");

    if (ntdll != NULL)
        get = (get_version)(void *)GetProcAddress(ntdll, "RtlGetVersion");
    memset(&v, 0, sizeof v);
    v.dwOSVersionInfoSize = sizeof v;
    if (get == NULL || get(&v) != 0)
        return -1;
    return is_server_2008_sp2(v.dwMajorVersion, v.dwMinorVersion, v.dwBuildNumber, v.wProductType);
}
