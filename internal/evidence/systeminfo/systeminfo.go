// Package systeminfo reads what systeminfo.exe of Windows XP and later prints, in any
// display language and in its three forms.
//
// It goes by structure and values and by no label: the program prints the same fields in
// the same order everywhere, the version ends with the build number it begins with, and
// members of a list are numbered "[01]:".
package systeminfo

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/console"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

const readerName = "systeminfo"

// Reader reads the output of systeminfo.
var Reader = evidence.Reader{
	Name: readerName,
	Doc: `The text that systeminfo prints, as a list, a table (/FO TABLE) or CSV (/FO CSV), in any language.
Obtain it with: systeminfo > systeminfo.txt
It proves name, domain, product, version, service pack and architecture. Its list of updates is complete for
CBS packages if it prints as many as it announces; it cuts long lists. It bears no date: the machine was as it says
at some time after the boot time it shows. A pending restart can still show the old version.`,
	Sniff: sniff,
	Read:  read,
}

func sniff(p evidence.Probe) bool {
	for line := range strings.Lines(p.Text) {
		if _, _, ok := findVersion(line); ok {
			return true
		}
	}
	return false
}

func read(_ context.Context, in evidence.Input, h *host.Host) ([]evidence.Input, error) {
	text, err := in.Text()
	if err != nil {
		return nil, err
	}
	if parts := console.Parts(in, text); parts != nil {
		return parts, nil
	}
	records := parse(text)
	switch len(records) {
	case 0:
		return nil, fmt.Errorf("no line of %s holds a Windows version such as \"6.0.6002 Service Pack 2 Build 6002\"", in.Name)
	case 1:
		r := reading{in: in, h: h, record: records[0]}
		r.say()
		return nil, nil
	}
	nested := make([]evidence.Input, len(records))
	for i, r := range records {
		name := in.Name + "#" + strconv.Itoa(i+1)
		nested[i] = evidence.TextInput(name, r.raw)
	}
	return nested, nil
}

// reading is the reading of one machine's record.
type reading struct {
	record
	in evidence.Input
	h  *host.Host
}

func (r *reading) from(line int) host.Source {
	return host.Source{Reader: readerName, Input: r.in.Name, At: "line " + strconv.Itoa(line)}
}

func tell[T comparable](r *reading, f *host.Fact[T], v T, line int) {
	f.Say(v, r.in.Rank, r.from(line))
}

// say interprets the record. Fields known by their place relative to the version come
// first, then those known by their value.
func (r *reading) say() {
	v := r.version
	if v >= 2 || v == 1 && !strings.Contains(r.fields[0].value, "Windows") {
		r.sayName(r.fields[0])
	}
	if v >= 1 {
		if f := r.fields[v-1]; strings.Contains(f.value, "Windows") || v >= 2 {
			r.sayProduct(f)
		}
	}
	r.sayVersion(r.fields[v])
	if f, ok := r.at(v + 2); ok { // manufacturer, then configuration
		tell(r, &r.h.Role, roleOf(f.value), f.line)
	}
	r.sayIdentity()
	r.sayArch()
	r.sayDomain()
	r.sayUpdates()
	r.sayAdapters()
}

func (r *reading) at(i int) (field, bool) {
	if i < 0 || i >= len(r.fields) {
		return field{}, false
	}
	return r.fields[i], true
}

// sayName takes a computer name. What cannot be one, such as escapes for a terminal, is a
// gap and goes no further.
func (r *reading) sayName(f field) {
	s := name(f.value)
	tell(r, &r.h.Name, s, f.line)
	if s == "" && f.value != "" {
		r.h.Gap(host.Gap{What: "name", From: r.from(f.line), Why: fmt.Sprintf("%.80q is no computer name", f.value)})
	}
}

// name drops what stands for a redacted or unknown name, and what no name may hold:
// Microsoft's "Naming conventions in Active Directory for computers, domains, sites, and
// OUs" lists the characters.
func name(s string) string {
	if strings.Trim(s, ".-_*xX ?") == "" || notAvailable[strings.ToLower(s)] || len(s) > 255 ||
		strings.ContainsAny(s, " \t\\/:*?\"<>|") || strings.ContainsFunc(s, unicode.IsControl) {
		return ""
	}
	return s
}

func (r *reading) sayVersion(f field) {
	n, _ := versionLen(f.value)
	v, err := winver.Parse(f.value[:n])
	if err != nil {
		r.h.Gap(host.Gap{What: "version", From: r.from(f.line), Why: err.Error()})
		return
	}
	tell(r, &r.h.Build, v.Build, f.line)
	tell(r, &r.h.ServicePack, v.ServicePack, f.line)
}

// marks are the trademark signs in product names of Windows Vista and Server 2008, and
// what is left of them in an OEM code page.
var marks = strings.NewReplacer(
	"(R)", "", "(r)", "", "®", "", "(TM)", "", "(tm)", "", "™", "", "\ufffd", "", "©", "",
	"Microsoftr ", "Microsoft ", "Serverr ", "Server ", "Windowsr ", "Windows ", "VistaT ", "Vista ", "VistaTM ", "Vista ",
)

func (r *reading) sayProduct(f field) {
	if strings.Trim(f.value, ".-*xX ?") == "" {
		return
	}
	product := strings.Join(strings.Fields(marks.Replace(f.value)), " ")
	tell(r, &r.h.Product, product, f.line)
	tell(r, &r.h.Edition, editionOf(product), f.line)
	switch {
	case strings.Contains(product, "Hyper-V Server"): // never had a desktop
		tell(r, &r.h.Installation, host.ServerCore, f.line)
	case strings.Contains(product, "Server"):
		tell(r, &r.h.Installation, host.Server, f.line)
	case strings.Contains(product, "Windows"):
		tell(r, &r.h.Installation, host.Client, f.line)
	}
}

// releases are the words between "Windows" and the edition, the longer ones first.
var releases = []string{
	"Server 2008 R2", "Server 2012 R2", "Server 2003 R2", "Server 2003", "Server 2008", "Server 2012", "Server 2016", "Server 2019", "Server 2022", "Server 2025",
	"Vista", "8.1", "10", "11", "7", "8", "XP",
}

// editionOf gives what follows the release in a product name: "Standard", "Pro N".
func editionOf(product string) string {
	for _, release := range releases {
		if _, edition, ok := strings.Cut(product, "Windows "+release+" "); ok {
			return strings.TrimSpace(edition)
		}
	}
	return ""
}

// sayIdentity finds the product id by its pattern, the two dates below it, and the locale.
func (r *reading) sayIdentity() {
	var dates []string
	id, locale := -1, ""
	for i, f := range r.fields {
		switch {
		case id < 0 && i > r.version && isProductID(f.value):
			id = i
			tell(r, &r.h.ProductID, f.value, f.line)
		case locale == "" && isLocale(f.value):
			locale, _, _ = strings.Cut(f.value, ";")
			tell(r, &r.h.Language, locale, f.line)
		case i > r.version && i < r.version+12: // those two, and the one behind the BIOS version
			date := f.value[strings.LastIndexByte(f.value[:max(0, strings.LastIndexAny(f.value, "/.-"))], ',')+1:]
			dates = append(dates, f.value, date)
		}
	}
	order := evidence.OrderOf(dates...)
	installed, booted := id+1, id+2
	if id < 0 { // the id was made illegible; the two dates are in a place of their own still
		installed, booted = r.version+7, r.version+8
	}
	for i, fact := range map[int]*host.Fact[time.Time]{installed: &r.h.Installed, booted: &r.h.Booted} {
		f, ok := r.at(i)
		if !ok {
			continue
		}
		o := order
		if o == evidence.OrderUnknown {
			o = usualOrder(f.value, locale)
		}
		if t, ok := evidence.Date(f.value, o); ok {
			tell(r, fact, t, f.line)
		}
	}
}

// usualOrder is for dates that do not show their order. The format is the user's and the
// locale the system's, so the two must agree: a twelve-hour clock under en-us is the
// American format, a 24-hour clock elsewhere the day first.
func usualOrder(date, locale string) evidence.DateOrder {
	switch twelve := evidence.TwelveHours(date); {
	case locale == "en-us" && twelve:
		return evidence.MonthFirst
	case locale != "" && locale != "en-us" && !twelve:
		return evidence.DayFirst
	}
	return evidence.OrderUnknown
}

// isProductID knows 92573-082-2500115-76417 and 00330-80000-00000-AA603.
func isProductID(s string) bool {
	if len(s) != 23 {
		return false
	}
	groups := strings.Split(s, "-")
	if len(groups) != 4 || len(groups[0]) != 5 || len(groups[3]) != 5 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c != '-' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

// isLocale knows "de;Deutsch (Deutschland)" and "en-us;English (United States)".
func isLocale(s string) bool {
	tag, name, ok := strings.Cut(s, ";")
	if !ok || name == "" || len(tag) < 2 || len(tag) > 12 {
		return false
	}
	for i := range len(tag) {
		if c := tag[i]; c != '-' && (c < 'a' || c > 'z') && (i < 2 || c < '0' || c > '9') && (i < 2 || c < 'A' || c > 'Z') {
			return false
		}
	}
	return len(tag) < 4 || strings.IndexByte(tag, '-') >= 2
}

// sayArch takes the field before the processors: "x64-based PC", or the words of another
// language around x64. Descriptions of processors name x64 also on a 32-bit system.
func (r *reading) sayArch() {
	for i := r.version + 1; i < len(r.fields); i++ {
		f := r.fields[i]
		if f.value == "" || i+1 < len(r.fields) && len(r.fields[i+1].kids) == 0 {
			continue
		}
		low := strings.ToLower(f.value)
		for _, a := range archWords {
			if hasWord(low, a.word) {
				tell(r, &r.h.Arch, a.arch, f.line)
				return
			}
		}
		break // the field before the first list is the type of the system, or it was taken out
	}
	// In a shortened text the type may stand elsewhere. In English, and in languages that
	// keep the English words, it cannot be taken for anything else.
	for _, f := range r.fields[min(r.version+1, len(r.fields)):] {
		low := strings.ToLower(strings.TrimSpace(f.value))
		for _, a := range archWords {
			if low == a.word+"-based pc" || low == a.word+"-based system" {
				tell(r, &r.h.Arch, a.arch, f.line)
				return
			}
		}
	}
}

var archWords = []struct {
	word string
	arch winver.Arch
}{
	{"arm64", winver.ARM64},
	{"x64", winver.AMD64},
	{"em64t", winver.AMD64},
	{"amd64", winver.AMD64},
	{"itanium", winver.IA64},
	{"ia64", winver.IA64},
	{"x86", winver.X86},
	{"arm", winver.ARM},
}

// hasWord finds word in s where no ASCII letter or digit touches it.
func hasWord(s, word string) bool {
	alnum := func(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' }
	for at := 0; ; {
		i := strings.Index(s[at:], word)
		if i < 0 {
			return false
		}
		i += at
		end := i + len(word)
		if (i == 0 || !alnum(s[i-1])) && (end == len(s) || !alnum(s[end])) {
			return true
		}
		at = end
	}
}

// roles are parts of what stands for the role in the languages we are sure of; the first
// that occurs decides.
var roles = []struct {
	part string
	role host.Role
}{
	{"domain controller", host.DomainController},
	{"domänencontroller", host.DomainController},
	{"contrôleur de domaine", host.DomainController},
	{"controlador de dominio", host.DomainController},
	{"controller di dominio", host.DomainController},
	{"domeincontroller", host.DomainController},
	{"standalone", host.Standalone},
	{"eigenständig", host.Standalone},
	{"autonom", host.Standalone},
	{"independiente", host.Standalone},
	{"zelfstandig", host.Standalone},
	{"member", host.Member},
	{"mitglied", host.Member},
	{"membre", host.Member},
	{"miembro", host.Member},
	{"membro", host.Member},
}

func roleOf(configuration string) host.Role {
	low := strings.ToLower(configuration)
	for _, r := range roles {
		if strings.Contains(low, r.part) {
			return r.role
		}
	}
	return ""
}
