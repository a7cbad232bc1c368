// Package slmgr reads what slmgr.vbs prints about the products of Software Licensing, in
// any language, and the same class SoftwareLicensingProduct as wmic and PowerShell list it.
package slmgr

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/console"
	"github.com/oldguard/oldguard/internal/host"
)

const readerName = "slmgr"

// Reader reads the output of slmgr /dlv.
var Reader = evidence.Reader{
	Name: readerName,
	Doc: `What slmgr.vbs /dlv or /dlv all prints, in any language, and lists of the class SoftwareLicensingProduct.
Obtain it with: cscript //nologo %windir%\System32\slmgr.vbs /dlv all > licences.txt
or, independent of the language: wmic path SoftwareLicensingProduct get ID,LicenseStatus,Name,PartialProductKey /format:list > licences.txt
It proves which products have a key and their status by activation id, among them the extended security updates. That
one has none is proven by /dlv all only. Of an unknown language the word for the status is not understood, and said so.`,
	Sniff: func(p evidence.Probe) bool {
		first := strings.TrimLeft(p.Text, " \t\r\n")
		if first == "" || strings.IndexByte("{[<", first[0]) >= 0 || strings.Contains(p.Text, "HKEY_") {
			return false
		}
		records := split(evidence.Lines(p.Text))
		for _, r := range records {
			if r.isProduct() {
				return true
			}
		}
		return false
	},
	Read: read,
}

// field is one line "label: value", whose label is in the user's language.
type field struct {
	label, value string
	line         int
}

// record is a block of lines without an empty one between.
type record []field

// maxFields bounds a record; real ones have about 25.
const maxFields = 200

// split cuts a text into records. slmgr has an empty line between products, and so have
// lists of WMI; a list that has none begins each product with the same property.
func split(lines []string) (records []record) {
	var r record
	end := func() {
		if len(r) > 0 {
			records = append(records, r)
		}
		r = nil
	}
	for i, line := range lines {
		if strings.TrimSpace(line) == "" {
			// wmic prints three empty lines between, slmgr none within a product but one
			// behind its service's version.
			end()
			continue
		}
		if len(r) >= maxFields {
			continue
		}
		r = append(r, fieldOf(line, i+1))
	}
	end()
	return records
}

// fieldOf cuts at the first colon, also a wide one, or equals sign.
func fieldOf(line string, n int) field {
	at := strings.IndexAny(line, ":：=")
	if at < 0 {
		return field{label: strings.TrimSpace(line), line: n}
	}
	label := strings.TrimSpace(line[:at])
	value := strings.TrimSpace(strings.TrimLeft(line[at:], ":：="))
	return field{label, value, n}
}

// property gives a field of WMI, whose names are the same in every language.
func (r record) property(name string) (string, bool) {
	for _, f := range r {
		if f.label == name {
			return f.value, true
		}
	}
	return "", false
}

// isProduct: slmgr prints the activation id, and in the line below the application id.
func (r record) isProduct() bool {
	if _, ok := r.property("LicenseStatus"); ok {
		_, id := r.property("ID")
		return id
	}
	_, ok := r.activation()
	return ok
}

// activation gives the place of the activation id.
func (r record) activation() (int, bool) {
	for i := 0; i+1 < len(r); i++ {
		if isGUID(r[i].value) && isGUID(r[i+1].value) {
			return i, true
		}
	}
	return 0, false
}

func isGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (s[i] == '-') || !dash && strings.IndexByte("0123456789abcdefABCDEF", s[i]) < 0 {
			return false
		}
	}
	return true
}

func read(_ context.Context, in evidence.Input, h *host.Host) ([]evidence.Input, error) {
	text, err := in.Text()
	if err != nil {
		return nil, err
	}
	if parts := console.Parts(in, text); parts != nil {
		return parts, nil
	}
	lines := evidence.Lines(text)
	cut := !evidence.Ended(text)
	if cut && len(lines) > 0 {
		lines = lines[:len(lines)-1]
	}
	n, unused := 0, false
	var unread []string // words for a status
	at := host.Source{Reader: readerName, Input: in.Name}
	for _, r := range split(lines) {
		if !r.isProduct() {
			continue
		}
		l, word := r.licence()
		l.From = at
		l.From.At = "line " + strconv.Itoa(r[0].line)
		h.Licences = append(h.Licences, l)
		n++
		unused = unused || l.PartialKey == "" && l.Status == host.Unlicensed
		if word != "" && len(unread) < 3 {
			unread = append(unread, fmt.Sprintf("%.60q (line %d)", word, r[0].line))
		}
	}
	if n == 0 {
		return nil, fmt.Errorf("%s shows no product as slmgr /dlv prints it", in.Name)
	}
	if len(unread) > 0 {
		h.Gap(host.Gap{
			What: "licences", From: at, Why: "these words for a status are of no language known here: " + strings.Join(unread, ", "),
			Hint: "run: wmic path SoftwareLicensingProduct get ID,LicenseStatus,Name,PartialProductKey /format:list",
		})
	}
	// Only a list of all has products without a key.
	if unused && n > 1 && !cut {
		h.LicencesWhole.Say(true, in.Rank, at)
	}
	return nil, nil
}

// licence reads a product. word is the status, if it is a word that is not known.
func (r record) licence() (l host.Licence, word string) {
	if status, ok := r.property("LicenseStatus"); ok {
		id, _ := r.property("ID")
		name, _ := r.property("Name")
		key, _ := r.property("PartialProductKey")
		l = host.Licence{ActivationID: strings.ToLower(strings.Trim(id, "{}")), Name: clean(name), PartialKey: partialKey(key)}
		if n, err := strconv.Atoi(status); err == nil && n >= 0 && n <= 6 {
			l.Status = host.Unlicensed + host.LicenceStatus(n) // WMI counts from 0
			return l, ""
		}
		return l, status
	}
	i, _ := r.activation()
	l.ActivationID = strings.ToLower(r[i].value)
	// Name and description come before the ids, perhaps with a line of the service above.
	if i >= 2 {
		l.Name = clean(r[i-2].value)
	}
	// The status is in the line below the partial key. A product without a key has no such
	// lines, but a sentence that says that the licence is not in use; without that either,
	// the text was cut.
	for j := i + 2; j+1 < len(r); j++ {
		if key := partialKey(r[j].value); key != "" {
			l.PartialKey = key
			l.Status = statusOf(r[j+1].value, r[j+2:])
			if l.Status == host.LicenceUnknown {
				return l, r[j+1].value
			}
			return l, ""
		}
	}
	if r[len(r)-1].value == "" && len(r) > i+3 {
		l.Status = host.Unlicensed
	}
	return l, ""
}

// partialKey reads the last five characters of a product key, which has no vowels and
// nothing that looks like another letter, but N since Windows 8.
func partialKey(s string) string {
	if len(s) != 5 || strings.Trim(s, "BCDFGHJKMNPQRTVWXY2346789") != "" {
		return ""
	}
	return s
}

// words for the status, in lower case, by their beginnings. slmgr.vbs takes them from
// slmgr.ini of the display language.
var words = []struct {
	word   string
	status host.LicenceStatus
}{
	{"licensed", host.Licensed},
	{"lizenziert", host.Licensed},
	{"avec licence", host.Licensed},
	{"sous licence", host.Licensed},
	{"con licencia", host.Licensed},
	{"con licenza", host.Licensed},
	{"licenciado", host.Licensed},
	{"ライセンスされています", host.Licensed},
	{"ライセンス済み", host.Licensed},
	{"已授权", host.Licensed},
	{"已获得许可", host.Licensed},
	{"имеет лицензию", host.Licensed},
	{"gelicentieerd", host.Licensed},
	{"unlicensed", host.Unlicensed},
	{"nicht lizenziert", host.Unlicensed},
	{"sans licence", host.Unlicensed},
	{"sin licencia", host.Unlicensed},
	{"senza licenza", host.Unlicensed},
	{"não licenciado", host.Unlicensed},
	{"ライセンスなし", host.Unlicensed},
	{"未授权", host.Unlicensed},
	{"без лицензии", host.Unlicensed},
	{"notification", host.Notification},
	{"benachrichtigung", host.Notification},
	{"notificación", host.Notification},
	{"notifica", host.Notification},
	{"通知", host.Notification},
	{"уведомление", host.Notification},
	{"initial grace period", host.OutOfBoxGrace},
	{"additional grace period", host.OutOfToleranceGrace},
	{"non-genuine grace period", host.NonGenuineGrace},
	{"extended grace period", host.ExtendedGrace},
}

// statusOf knows the word, or tells by what follows: only a notification is followed by its
// reason, an error code of Software Licensing.
func statusOf(word string, rest record) host.LicenceStatus {
	lower := strings.ToLower(word)
	for _, w := range words {
		if strings.HasPrefix(lower, w.word) {
			return w.status
		}
	}
	if len(rest) > 0 && strings.HasPrefix(strings.ToUpper(rest[0].value), "0XC004F") {
		return host.Notification
	}
	return host.LicenceUnknown
}

func clean(s string) string {
	if len(s) > 256 || strings.ContainsFunc(s, unicode.IsControl) {
		return ""
	}
	return s
}
