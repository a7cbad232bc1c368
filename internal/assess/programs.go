package assess

import (
	"fmt"
	"path"
	"strings"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
)

// ProgramNote is a product on the machine whose end of support is known. It changes no
// verdict: the catalogue holds no updates of it.
type ProgramNote struct {
	Product string // SQL Server 2008 R2
	Name    string // as the machine lists it
	Version string // may be empty
	Ends    catalog.Date
	Paid    catalog.Date // last day of updates that are paid for; zero where there are none
	Over    bool         // the day asked about is past Ends
	Because []host.Reason
}

// programs holds the machine's programs against the table of ends, in its order. Each
// product is noted once, whatever of it is installed.
func (x *assessor) programs() {
	var over []string
	noted := map[string]bool{}
	for _, known := range x.cat.Programs() {
		if noted[known.Name] {
			continue
		}
		n := ProgramNote{Product: known.Name, Ends: known.Ends, Paid: known.Paid, Over: x.AsOf > known.Ends}
		var from []host.Source
		for _, p := range x.Host.Programs {
			if !matches(known, p) {
				continue
			}
			if len(from) == 0 {
				n.Name, n.Version = p.Name, p.Version
			}
			from = append(from, p.From)
		}
		if len(from) == 0 {
			continue
		}
		noted[known.Name] = true
		verb, paid := "ends", "end"
		if n.Over {
			verb = "ended"
			open := ""
			if x.AsOf <= known.Paid {
				open = fmt.Sprintf(", paid updates until %s", known.Paid)
			}
			over = append(over, fmt.Sprintf("%s (%s%s)", known.Name, known.Ends, open))
		}
		if x.AsOf > known.Paid {
			paid = "ended"
		}
		text := fmt.Sprintf("support of %s %s on %s", known.Name, verb, known.Ends)
		if known.Paid != 0 {
			text += fmt.Sprintf(", updates that are paid for %s on %s", paid, known.Paid)
		}
		n.Because = []host.Reason{{Text: text + " (" + known.Source + "; " + known.Confidence + ")", From: from}}
		x.Programs = append(x.Programs, n)
	}
	if len(over) > 0 {
		x.note("Not Windows, but past its support too: " + strings.Join(over, ", ") + ".")
	}
}

func matches(known catalog.Program, p host.Program) bool {
	if !strings.HasPrefix(p.Version, known.Version) {
		return false
	}
	name := strings.ToLower(strings.Join(strings.Fields(strings.ReplaceAll(p.Name, "®", "")), " "))
	for _, m := range known.Match {
		if ok, err := path.Match(m, name); ok && err == nil { // compile has checked the patterns
			return true
		}
	}
	return false
}
