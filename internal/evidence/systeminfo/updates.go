package systeminfo

import (
	"fmt"
	"strings"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/host"
)

// notAvailable is how the languages say "N/A". The one of a machine without service pack
// stands in its version too, so an unknown one is recognised there.
var notAvailable = map[string]bool{
	"n/a": true, "n/d": true, "n.d.": true, "k.a.": true, "n.v.t.": true, "nvt": true, "s/o": true, "i/a": true, "i/t": true, "e/d": true,
	"nicht zutreffend": true, "nicht verfügbar": true, "niet van toepassing": true, "non applicable": true, "no aplicable": true, "no disponible": true,
	"non disponibile": true, "não aplicável": true, "ej tillämpligt": true, "nie dotyczy": true, "nincs adat": true,
	"н/д": true, "yok": true, "該当なし": true, "해당 없음": true, "暂缺": true, "不適用": true, "δ/υ": true,
}

func (r *reading) notAvailable(value string) bool {
	low := strings.ToLower(value)
	if notAvailable[low] {
		return true
	}
	_, rest, _ := strings.Cut(r.fields[r.version].value, " ")
	none, _, _ := strings.Cut(rest, " ")
	return value != "" && value == none && !strings.ContainsAny(rest[:min(len(rest), len(value)+2)], "0123456789") &&
		!strings.HasPrefix(rest, "Service Pack")
}

// pageFile is the last field that names a page file, or -1. The order behind it is the
// same everywhere: domain, logon server, updates, network cards.
func (r *reading) pageFile() int {
	for i := len(r.fields) - 1; i > r.version; i-- {
		if v := strings.ToLower(r.fields[i].value); strings.Contains(v, `:\`) && strings.HasSuffix(v, ".sys") {
			return i
		}
	}
	return -1
}

// isUpdate knows what the members of the list of updates look like, KB numbers or not.
func isUpdate(s string) bool {
	if _, ok := evidence.UpdateID(s); ok {
		return true
	}
	return strings.HasPrefix(s, "{") || strings.HasPrefix(s, "File ") || len(s) > 4 && (s[0] == 'Q' || s[:2] == "KB") && isDigit(s[2])
}

// updatesField finds the list of updates: the first list with a member that looks
// like an update. Where there is none, it is the third field behind the page
// file, between the logon server and the network cards.
func (r *reading) updatesField() (int, bool) {
	for i := r.version + 1; i < len(r.fields); i++ {
		for _, k := range r.fields[i].kids {
			if k.numbered && isUpdate(k.text) {
				return i, true
			}
		}
	}
	page := r.pageFile()
	if page < 0 || page+3 >= len(r.fields) {
		return 0, false
	}
	f := r.fields[page+3]
	_, counted := count(f.value)
	if strings.HasPrefix(f.value, `\\`) || !counted && !r.notAvailable(f.value) {
		return 0, false
	}
	if numbered(f) > 0 { // network cards: a field was taken out
		return 0, false
	}
	return page + 3, true
}

func numbered(f field) (n int) {
	for _, k := range f.kids {
		if k.numbered {
			n++
		}
	}
	return n
}

// count reads the number of members that a list announces, which stands somewhere in a
// sentence: "5 Hotfix(s) Installed."
func count(s string) (int, bool) {
	i := strings.IndexAny(s, "0123456789")
	if i < 0 || digits(s[i:]) > 6 {
		return -1, false
	}
	return atoi(s[i:]), true
}

func (r *reading) sayDomain() {
	page := r.pageFile()
	updates, ok := r.updatesField()
	f, there := r.at(page + 1)
	if page < 0 || !there || ok && updates <= page+1 || strings.HasPrefix(f.value, `\\`) || numbered(f) > 0 {
		return
	}
	tell(r, &r.h.Domain, name(f.value), f.line)
}

// sayUpdates reads the list of updates and judges whether it is the whole one.
func (r *reading) sayUpdates() {
	i, ok := r.updatesField()
	if !ok {
		r.h.Gap(host.Gap{
			What: "updates", From: host.Source{Reader: readerName, Input: r.in.Name},
			Why: "the text holds no list of updates; it was cut or edited", Hint: evidence.UpdatesHint,
		})
		return
	}
	f := r.fields[i]
	followed := i+1 < len(r.fields)
	kids := f.kids
	if !followed && !r.whole && len(kids) > 0 {
		kids = kids[:len(kids)-1] // the file ends within this line
	}
	l := host.Listing{From: r.from(f.line), Scope: evidence.ScopeCBS}
	l.Announced, _ = count(f.value)
	if l.Announced < 0 && r.notAvailable(f.value) {
		l.Announced = 0
	}
	stub := false
	for _, k := range kids {
		if k.numbered {
			l.Printed++
		} else {
			stub = true
		}
	}
	var odd evidence.Oddities
	seen := 0
	for _, k := range kids {
		if !k.numbered {
			continue
		}
		seen++
		kb, ok := evidence.UpdateID(k.text)
		if seen == l.Printed && l.Printed < l.Announced && !stub && kb < 1_000_000 {
			break // systeminfo cuts its list at any character; this may be the half of a number
		}
		if !ok {
			odd.Add(k.text)
			continue
		}
		r.h.Updates.Add(kb, r.from(k.line))
	}
	// As many as announced is the whole list, also where what follows it was left away; not
	// where the file ends within a line, whose number may be half of one.
	complete := followed || r.whole
	l.Why = r.judge(l, complete) + odd.String()
	if l.Announced >= 0 && l.Printed >= l.Announced && complete && !stub {
		l.Whole = true
		r.h.Updates.List(l)
		return
	}
	evidence.Cut(r.h, l)
}

// judge says why the list is the whole one or not.
func (r *reading) judge(l host.Listing, complete bool) string {
	switch {
	case l.Announced < 0:
		return "systeminfo announces no number of updates that we understand"
	case l.Printed < l.Announced:
		return fmt.Sprintf("systeminfo announces %s and shows %d", evidence.Count(l.Announced, "update", "updates"), l.Printed)
	case !complete:
		return fmt.Sprintf("the text ends within a line, after %s", evidence.Count(l.Printed, "update", "updates"))
	case l.Announced == 0:
		return "systeminfo says that no update is installed"
	}
	return "systeminfo shows as many as it announces: " + evidence.Count(l.Announced, "update", "updates")
}
