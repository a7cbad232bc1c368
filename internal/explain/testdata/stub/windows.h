/* What check.c takes from Windows, for a test on another system: RtlGetVersion says what the
 * test sets. */
#include <stddef.h>
#include <string.h>
#include <wchar.h>

#define WINAPI
typedef int LONG;
typedef void *HMODULE;
typedef struct {
    unsigned int dwOSVersionInfoSize, dwMajorVersion, dwMinorVersion, dwBuildNumber, dwPlatformId;
    unsigned short szCSDVersion[128];
    unsigned short wServicePackMajor, wServicePackMinor, wSuiteMask;
    unsigned char wProductType, wReserved;
} RTL_OSVERSIONINFOEXW;

extern RTL_OSVERSIONINFOEXW machine;
extern int has_rtl_get_version;

static LONG stub_rtl_get_version(RTL_OSVERSIONINFOEXW *v)
{
    if (v->dwOSVersionInfoSize != 284)
        return -1;
    *v = machine;
    return 0;
}

static HMODULE GetModuleHandleW(const wchar_t *name)
{
    return wcscmp(name, L"ntdll.dll") == 0 ? (HMODULE)&machine : NULL;
}

static void *GetProcAddress(HMODULE module, const char *name)
{
    return module != NULL && has_rtl_get_version && strcmp(name, "RtlGetVersion") == 0 ? (void *)stub_rtl_get_version : NULL;
}
