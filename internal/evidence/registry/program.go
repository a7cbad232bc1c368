package registry

import (
	"strings"

	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// Names of parts of Windows that are listed as programs, since they have versions and an
// end of support of their own.
const (
	NameIE  = "Internet Explorer"
	NameNET = ".NET Framework"
)

// programs lists what is installed for all users, and IE and .NET.
func (r *reading) programs() {
	native := r.uninstall(keyUninstall)
	other := r.uninstall(keyUninstall2)
	arch := r.h.Arch.Or(winver.ArchUnknown)
	if native && (other || arch == winver.X86) {
		r.h.ProgramsWhole.Say(true, r.rank, r.at(keyUninstall))
	}
	if k, err := r.open(r.machine, keyIE, keyIE); err == nil {
		// Version stayed at 9.x when IE 10 came, which writes svcVersion.
		for _, name := range []string{"svcVersion", "Version"} {
			if v := text(k, name); v != "" {
				r.program(NameIE, v, "Microsoft Corporation", keyIE+`\`+name)
				break
			}
		}
	}
	r.dotNET()
}

func (r *reading) program(name, version, publisher, path string) {
	r.h.Programs = append(r.h.Programs, host.Program{Name: name, Version: version, Publisher: publisher, From: r.at(path)})
}

// uninstall lists the programs of one key, and reports whether it showed every one.
func (r *reading) uninstall(path string) bool {
	k, err := r.open(r.machine, path, path)
	if err != nil {
		return false
	}
	keys, err := k.Subkeys()
	r.damage(err, path)
	for _, p := range keys {
		name := text(p, "DisplayName")
		if name == "" || text(p, "ParentKeyName") != "" { // an update of another program
			continue
		}
		r.program(name, text(p, "DisplayVersion"), text(p, "Publisher"), path+`\`+p.Name())
	}
	return err == nil && len(keys) > 0
}

// dotNET lists each .NET Framework: v2.0.50727, v3.0, v3.5 below NDP, and v4 by its
// profile Full; Client is a part of it.
// https://learn.microsoft.com/dotnet/framework/install/how-to-determine-which-versions-are-installed
func (r *reading) dotNET() {
	k, err := r.open(r.machine, keyNET, keyNET)
	if err != nil {
		return
	}
	keys, err := k.Subkeys()
	r.damage(err, keyNET)
	for _, v := range keys {
		if len(v.Name()) < 2 || (v.Name()[0] != 'v' && v.Name()[0] != 'V') {
			continue
		}
		path := keyNET + `\` + v.Name()
		at := v
		for _, profile := range []string{"Full", "Client"} {
			if p, err := r.open(v, profile, path+`\`+profile); err == nil && text(p, "Version") != "" {
				at, path = p, path+`\`+profile
				break
			}
		}
		if n, ok := number(at, "Install"); !ok || n == 0 {
			continue
		}
		version := text(at, "Version")
		if version == "" {
			version = strings.TrimLeft(v.Name(), "vV")
		}
		r.program(NameNET, version, "Microsoft Corporation", path)
	}
}

// licences reads what the registry shows of activation. Status and product keys are in the
// store of Software Licensing, which no registry shows: only that a KMS host is named, and
// activation ids that have a key of their own there.
func (r *reading) licences() {
	k, err := r.open(r.machine, keyActivation, keyActivation)
	if err != nil {
		return
	}
	// SoftwareProtectionPlatform\<application id>\<activation id>: there once a volume
	// licence of that product was activated by KMS. It says nothing of its status now.
	apps, err := k.Subkeys()
	r.damage(err, keyActivation)
	for _, app := range apps {
		if !isGUID(app.Name()) {
			continue
		}
		ids, err := app.Subkeys()
		r.damage(err, keyActivation+`\`+app.Name())
		for _, id := range ids {
			if isGUID(id.Name()) {
				r.h.Licences = append(r.h.Licences, host.Licence{
					ActivationID: strings.ToLower(id.Name()), From: r.at(keyActivation + `\` + app.Name() + `\` + id.Name()),
				})
			}
		}
	}
}

// isGUID reports whether s is a GUID without braces.
func isGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if s[i] != '-' {
				return false
			}
		case strings.IndexByte("0123456789abcdefABCDEF", s[i]) < 0:
			return false
		}
	}
	return true
}
