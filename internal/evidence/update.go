package evidence

import (
	"strings"

	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// UpdateID reads the name of an update as Win32_QuickFixEngineering gives it, which
// systeminfo, wmic qfe and Get-HotFix all show. A KB number may carry a version
// ("KB2305420-v2", "KB893803v2", "KB975558_WM8") and may lack its letters ("982861", as IE 9
// is listed). What else occurs is no KB: "File 1" and "Q147222" of XP, a GUID of an MSI.
func UpdateID(s string) (winver.KB, bool) {
	s = strings.TrimSpace(s)
	digits := s
	if len(s) > 2 && strings.EqualFold(s[:2], "KB") {
		digits = s[2:]
	}
	end := 0
	for end < len(digits) && digits[end] >= '0' && digits[end] <= '9' {
		end++
	}
	if rest := digits[end:]; rest != "" && !strings.ContainsAny(rest[:1], "-_vV (,") {
		return 0, false
	}
	if len(digits) == len(s) && (end != len(s) || end < 6) {
		return 0, false // without the letters only a plain number of today's length
	}
	kb, err := winver.ParseKB(digits[:end])
	return kb, err == nil
}

// ScopeCBS is what the update lists of Windows Vista and later are complete for: what is
// delivered as packages of component-based servicing. They show no .NET on Windows 6.x,
// no Office and nothing that an MSI installed.
const ScopeCBS = "cbs"

// UpdatesHint says what would give a complete list where one is cut or absent.
const UpdatesHint = `run: wmic qfe list /format:csv > qfe.csv; or: reg export "HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\Packages" packages.reg`

// Oddities collects entries of an update list that name no KB, for host.Listing.Why.
type Oddities struct {
	first string
	n     int
}

// Add records an entry.
func (o *Oddities) Add(entry string) {
	if o.n == 0 {
		o.first = entry
		if r := []rune(entry); len(r) > 40 {
			o.first = string(r[:40]) + "…"
		}
	}
	o.n++
}

// Count writes a number of things: "1 update", "5 updates".
func Count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return itoa(n) + " " + many
}

// String is empty if there are none, else a half sentence with the first one.
func (o Oddities) String() string {
	switch o.n {
	case 0:
		return ""
	case 1:
		return "; one entry is no KB number: " + strings.ToValidUTF8(o.first, "\ufffd")
	}
	return "; " + itoa(o.n) + " entries are no KB numbers, the first is " + strings.ToValidUTF8(o.first, "\ufffd")
}

// Cut records a list of updates that is not complete: as a listing, and as a gap.
func Cut(h *host.Host, l host.Listing) {
	l.Whole, l.Scope = false, ScopeCBS
	h.Updates.List(l)
	h.Gap(host.Gap{What: "updates", From: l.From, Why: l.Why, Hint: UpdatesHint})
}
