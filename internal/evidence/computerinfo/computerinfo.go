// Package computerinfo reads what PowerShell's Get-ComputerInfo gives, as the list it
// prints and through ConvertTo-Json. The names of properties are the same in every
// language; the dates of the list are in the user's.
package computerinfo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/inventory"
	"github.com/oldguard/oldguard/internal/host"
)

const readerName = "computerinfo"

// Reader reads the output of Get-ComputerInfo.
var Reader = evidence.Reader{
	Name: readerName,
	Doc: `What PowerShell's Get-ComputerInfo gives, as text or as JSON. There is none on Windows 6.0 (Vista, Server 2008): it needs
PowerShell 5.1, which begins with Windows 7 SP1 and Server 2008 R2 SP1.
Obtain it with: Get-ComputerInfo | ConvertTo-Json > computerinfo.json
It proves name, domain, role, product, version and architecture. As JSON it proves which CBS packages are installed and
that no other is (OsHotFixes is the list that Get-HotFix gives); as text it shows four of them and says no more.`,
	Sniff: sniff,
	Read:  read,
}

// fields are the properties that are read. Two of them, or one of the first two, make a
// file one of this kind.
var fields = []string{
	"WindowsBuildLabEx", "OsHotFixes", "OsBuildNumber", "OsVersion", "OsName", "OsProductType", "OsOperatingSystemSKU", "OsCSDVersion",
	"OsArchitecture", "OsLastBootUpTime", "OsInstallDate", "OsLocalDateTime", "OsCurrentTimeZone", "OsSerialNumber", "WindowsUBR",
	"WindowsProductId", "WindowsProductName", "CsName", "CsDNSHostName", "CsCaption", "CsDomain", "CsWorkgroup", "CsDomainRole", "CsSystemType",
}

func sniff(p evidence.Probe) bool {
	n := 0
	if inventory.LooksJSON(p.Text) {
		for _, f := range fields {
			if inventory.HasKey(p.Text, f) {
				n++
			}
		}
	} else {
		seen := map[string]bool{}
		for line := range strings.Lines(p.Text) {
			if name, _, ok := strings.Cut(line, ":"); ok {
				if name = strings.TrimSpace(name); !seen[name] && slices.Contains(fields, name) {
					seen[name] = true
					n++
				}
			}
		}
	}
	return n >= 2
}

func read(_ context.Context, in evidence.Input, h *host.Host) ([]evidence.Input, error) {
	text, err := in.Text()
	if err != nil {
		return nil, err
	}
	var found []inventory.Record
	cut := ""
	isJSON := inventory.LooksJSON(text)
	if isJSON {
		found, cut = inventory.JSON(text)
	} else {
		found = inventory.Properties(text, ':')
		if !evidence.Ended(text) {
			cut = "the file ends within a line"
		}
	}
	var records []inventory.Record
	for _, r := range found {
		if p := r.Pick(fields...); !p.Empty() {
			records = append(records, p)
		}
	}
	if len(records) == 0 {
		if cut != "" {
			return nil, errors.New(cut)
		}
		return nil, fmt.Errorf("%s has no property that Get-ComputerInfo gives", in.Name)
	}
	nested, err := inventory.Split(in, records, cut != "", func(r inventory.Record) string { return r.First("CsName", "CsDNSHostName") })
	if nested != nil || err != nil {
		return nested, err
	}
	for _, r := range records {
		say(in, h, r, cut)
	}
	return nil, nil
}

func say(in evidence.Input, h *host.Host, r inventory.Record, cut string) {
	from := host.Source{Reader: readerName, Input: in.Name, At: r.At, Taken: r.Time("OsLocalDateTime").Instant}
	m := inventory.Machine{
		Name: r.First("CsName", "CsDNSHostName", "CsCaption"), Domain: r.First("CsDomain", "CsWorkgroup"),
		Product: r.Str("OsName"), Version: r.Str("OsVersion"), Revision: r.Str("WindowsUBR"), ServicePack: r.Str("OsCSDVersion"),
		Arch: r.First("CsSystemType", "OsArchitecture"), ProductType: r.Str("OsProductType"), DomainRole: r.Str("CsDomainRole"),
		SKU: r.Str("OsOperatingSystemSKU"), ProductID: r.First("WindowsProductId", "OsSerialNumber"), BuildLab: r.Str("WindowsBuildLabEx"),
	}
	if m.Product == "" {
		// Windows 11 still calls itself Windows 10 there, so it is the second choice.
		m.Product = r.Str("WindowsProductName")
	}
	m.Booted, m.Installed = dates(r)
	m.Say(h, in.Rank, from)
	sayUpdates(in, h, r, cut)
}

// dates reads the two dates: as moments in JSON, in the user's format in the list.
func dates(r inventory.Record) (booted, installed time.Time) {
	booted, installed = r.Time("OsLastBootUpTime").In(r.Str("OsCurrentTimeZone")), r.Time("OsInstallDate").Wall
	texts := []string{r.Str("OsLastBootUpTime"), r.Str("OsInstallDate"), r.Str("OsLocalDateTime")}
	order := evidence.OrderOf(texts...)
	if order == evidence.OrderUnknown && evidence.TwelveHours(texts[0]) {
		order = evidence.MonthFirst
	}
	if t, ok := evidence.Date(texts[0], order); ok && booted.IsZero() {
		booted = t
	}
	if t, ok := evidence.Date(texts[1], order); ok && installed.IsZero() {
		installed = t
	}
	return booted, installed
}

// sayUpdates reads OsHotFixes, which Get-ComputerInfo fills from the class
// Win32_QuickFixEngineering (PowerShell, GetComputerInfoCommand.cs, ClassNames.HotFix).
func sayUpdates(in evidence.Input, h *host.Host, r inventory.Record, cut string) {
	l := evidence.UpdateList{Node: "Source", Usual: evidence.MonthFirst, Cut: cut}
	if list, there := r.List("OsHotFixes"); there {
		for _, e := range list {
			l.Rows = append(l.Rows, evidence.UpdateRow{ID: e.Str("HotFixID"), On: e.Str("InstalledOn"), At: e.At})
		}
	} else {
		text := r.Str("OsHotFixes")
		braced := strings.HasPrefix(text, "{")
		if !braced {
			h.Gap(host.Gap{
				What: "updates", From: host.Source{Reader: readerName, Input: in.Name, At: r.At},
				Why: "it holds no list of updates", Hint: evidence.UpdatesHint,
			})
			return
		}
		ids := strings.Split(strings.Trim(text, "{}"), ",")
		if !strings.HasSuffix(text, "}") { // cut; the last may be half a number
			ids = ids[:len(ids)-1]
			l.Cut = "the list of updates ends before its end"
		}
		for i, id := range ids {
			id = strings.TrimSpace(id)
			whole := strings.TrimSuffix(strings.TrimSuffix(id, "..."), "…")
			if whole != id {
				// $FormatEnumerationLimit is 4: about_Preference_Variables
				l.Cut = "as text, Get-ComputerInfo shows the first updates only"
			}
			if whole != "" {
				l.Rows = append(l.Rows, evidence.UpdateRow{ID: whole, At: r.At + ", OsHotFixes " + strconv.Itoa(i+1)})
			}
		}
	}
	_, _ = l.Say(h, in, readerName) // one machine: nothing nested, no error
}
