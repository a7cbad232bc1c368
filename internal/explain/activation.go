package explain

import (
	"regexp"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/catalog"
)

var guidForm = regexp.MustCompile(`^\{?([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})\}?$`)

// activation answers about an ESU activation id.
func (a *asker) activation(q string) (bool, error) {
	m := guidForm.FindStringSubmatch(q)
	if m == nil {
		return false, nil
	}
	id := strings.ToLower(m[1])
	for _, rel := range a.cat.Releases() {
		for _, x := range rel.Activations {
			if x.ID != id {
				continue
			}
			if len(a.Sections) == 0 {
				a.section("What it is")
			}
			said := x.Programme
			if i := slices.IndexFunc(rel.Programmes, func(p catalog.Programme) bool { return p.ID == x.Programme }); i >= 0 {
				p := rel.Programmes[i]
				said = p.Name + ", " + orUnknown(p.From) + " to " + orOpen(p.Until)
				a.Title = "activation id of " + p.Name
			}
			a.add(Line{Label: "programme", Text: rel.Name + ": " + said, Confidence: x.Confidence, Source: x.Source})
		}
	}
	if len(a.Sections) == 0 {
		a.Title = id + " is not in the catalogue"
		a.unknown("It has the form of an activation id, and is none of those known for Extended Security Updates")
		return true, nil
	}
	a.section("How it shows")
	a.add(
		Line{Label: "status", Text: "slmgr /dlv " + id + " (Server 2008 SP2: slmgr /dlv all)", Confidence: "documented", Source: "KB4547184"},
		Line{
			Label: "WMI", Text: "SoftwareLicensingProduct with this ID: LicenseStatus 1 is licensed, a PartialProductKey means that a key is installed",
			Confidence: "documented (secondary)", Source: "public MECM baseline script citing the Windows IT Pro Blog",
		},
		Line{Text: "It is a public name of a licence, not a key: it serves to detect what is there"},
	)
	a.uses(catalog.SourceFacts)
	return true, nil
}
