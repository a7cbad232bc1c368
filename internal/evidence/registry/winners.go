package registry

import (
	"strings"

	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// keyWinners holds, for each component of the side-by-side store, the version that runs:
// Winners\ARCH_NAME_TOKEN_LANGUAGE_HASH\MAJOR.MINOR, whose default value is the version.
// https://learn.microsoft.com/windows/win32/sbscs/side-by-side-assemblies describes the
// store; that the key's default value names the winner is seen on machines and documented
// nowhere: inferred.
const keyWinners = `SOFTWARE\Microsoft\Windows\CurrentVersion\SideBySide\Winners`

// components are those that nearly every rollup brings anew: their versions bound the
// revision from below, as file versions do. A machine has some ten thousand others.
var components = map[string]string{
	"microsoft-windows-os-kernel":            "kernel",
	"microsoft-windows-ntdll":                "ntdll",
	"microsoft-windows-win32k":               "win32k",
	"microsoft-windows-crypt32-dll":          "crypt32",
	"microsoft-windows-smbserver":            "SMB server",
	"microsoft-windows-smbserver-v1":         "SMB 1 server",
	"microsoft-windows-smbserver-v2":         "SMB 2 server",
	"microsoft-windows-tcpip":                "TCP/IP",
	"microsoft-windows-servicingstack":       "servicing stack",
	"microsoft-windows-terminalservices-drv": "Remote Desktop driver",
}

// winners says which versions of the components above run.
func (r *reading) winners() {
	k, err := r.open(r.machine, keyWinners, keyWinners)
	if err != nil {
		return
	}
	all, err := k.Subkeys()
	r.damage(err, keyWinners)
	for _, c := range all {
		parts := strings.Split(strings.ToLower(c.Name()), "_")
		if len(parts) < 4 || components[parts[1]] == "" {
			continue
		}
		lines, err := c.Subkeys()
		r.damage(err, keyWinners+`\`+c.Name())
		for _, line := range lines {
			v, err := line.Value("")
			text, ok := v.Text()
			if err != nil || !ok {
				continue
			}
			version, err := winver.Parse(text)
			if err != nil || !version.Build.HasRevision {
				continue
			}
			arch, _ := winver.ParseArch(parts[0])
			r.h.Files = append(r.h.Files, host.File{
				Name:        "component " + parts[1],
				FileVersion: host.FileVersion{Version: version.Build, Arch: arch},
				From:        r.at(keyWinners + `\` + c.Name() + `\` + line.Name()),
			})
		}
	}
}
