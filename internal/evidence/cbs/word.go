package cbs

import (
	"strings"

	"github.com/oldguard/oldguard/internal/host"
)

// words for states as dism and CBS.log write them, in lower case and without spaces. CBS.log
// and PowerShell write English everywhere; dism takes them from its display language, of
// which only some are known here.
var words = map[string]host.PackageState{
	"absent": host.PackageAbsent, "notpresent": host.PackageAbsent, "resolved": host.PackageAbsent, "resolving": host.PackageAbsent, "removed": host.PackageAbsent,
	"staged": host.PackageStaged, "staging": host.PackageStaged,
	"superseded": host.PackageSuperseded,
	"installed":  host.PackageInstalled, "permanent": host.PackageInstalled,
	"partiallyinstalled": host.PackagePartly,
	"installpending":     host.PackagePending, "installrequested": host.PackagePending,
	"uninstallpending": host.PackageUninstalled, "uninstallrequested": host.PackageUninstalled,

	"installiert": host.PackageInstalled, "bereitgestellt": host.PackageStaged, "abgelöst": host.PackageSuperseded, "ersetzt": host.PackageSuperseded,
	"installationausstehend": host.PackagePending, "deinstallationausstehend": host.PackageUninstalled, "nichtvorhanden": host.PackageAbsent,
	"installé": host.PackageInstalled, "remplacé": host.PackageSuperseded, "installationenattente": host.PackagePending,
	"désinstallationenattente": host.PackageUninstalled, "nonprésent": host.PackageAbsent,
	"instalado": host.PackageInstalled, "reemplazado": host.PackageSuperseded, "instalaciónpendiente": host.PackagePending,
	"desinstalaciónpendiente": host.PackageUninstalled,
	"installato":              host.PackageInstalled, "sostituito": host.PackageSuperseded, "installazioneinsospeso": host.PackagePending,
	"インストール済み": host.PackageInstalled, "置き換え済み": host.PackageSuperseded,
	"已安装": host.PackageInstalled, "已取代": host.PackageSuperseded, "установлен": host.PackageInstalled, "установлено": host.PackageInstalled,
}

// StateWord reads a state written as a word, PackageUnknown for one that is not known.
// CBS.log marks a state that was reached and is broken: "Installed Invalid(-112)".
func StateWord(s string) host.PackageState {
	s = strings.ReplaceAll(strings.ToLower(strings.TrimSpace(s)), " ", "")
	if _, rest, ok := strings.Cut(s, "invalid"); ok && (rest == "" || rest[0] == '(') {
		return host.PackageBroken
	}
	return words[s]
}
