package explain

import (
	"regexp"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/winver"
)

// packageForm is the name of a CBS package: name, token of the key it is signed with,
// architecture, language, version. fileForm is a file of the update catalogue.
var (
	packageForm = regexp.MustCompile(`(?i)^([a-z0-9_.-]+)~([0-9a-f]{16})~([a-z0-9_]*)~([a-z-]*)~([0-9.]+)$`)
	fileForm    = regexp.MustCompile(`(?i)^(?:.*[\\/])?(windows[0-9.]+)-kb(\d{5,8})(?:-v(\d+))?-([a-z0-9]+)(?:[_-][a-z0-9_.-]+)?\.(?:msu|cab|exe)$`)
	kbInName    = regexp.MustCompile(`(?i)KB(\d{5,8})`)
)

// ofWindows is the public key token that every package of Windows bears; so it proves nothing.
const ofWindows = "31bf3856ad364e35"

// packageName answers about the name of a CBS package or of an update's file.
func (a *asker) packageName(q string) (bool, error) {
	var kb string
	if m := packageForm.FindStringSubmatch(q); m != nil {
		a.section("What the name says")
		a.say("package", "%s", m[1])
		if m[2] == ofWindows {
			a.say("signed for", "key token %s, that of every package of Windows: it proves nothing", m[2])
		} else {
			a.say("signed for", "key token %s, which is not that of Windows packages", m[2])
		}
		a.say("architecture", "%s", m[3])
		a.say("language", "%s", orNeutral(m[4]))
		a.say("version", "%s, of the package: it is no build of Windows", m[5])
		if n := kbInName.FindStringSubmatch(m[1]); n != nil {
			kb = n[1]
		}
	} else if m := fileForm.FindStringSubmatch(q); m != nil {
		a.section("What the name says")
		a.say("for", "%s", m[1])
		a.say("architecture", "%s", m[4])
		if m[3] != "" {
			a.say("revision", "%s of the package", m[3])
		}
		a.say("", "A name proves nothing: oldguard verify says whether the file is Microsoft's and unmodified")
		kb = m[2]
	} else {
		return false, nil
	}
	if kb == "" {
		a.Title = quoted(q) + " is a package that names no update"
		a.say("", "It is a part of Windows or a feature, not an update with a number")
		a.uses(catalog.SourceFacts)
		return true, nil
	}
	n, err := winver.ParseKB(kb)
	if err != nil {
		return false, nil //nolint:nilerr // a name with a number of nothing is no name of an update
	}
	return true, a.kb(n)
}

func orNeutral(language string) string {
	if language == "" {
		return "neutral"
	}
	return language
}
