package web

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/explain"
	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/fleet/access"
	"github.com/oldguard/oldguard/internal/report"
	"github.com/oldguard/oldguard/winver"
)

// pageRoutes are the pages about machines and evidence.
func (s *Server) pageRoutes() []Route {
	return []Route{
		{"GET", "/{$}", access.See, false, "the overview", s.overviewPage},
		{"GET", "/hosts", access.See, false, "machines, by filters in the address", s.hostsPage},
		{"POST", "/hosts/edit", access.Decide, false, "change what people say about the machines chosen", s.bulkEdit},
		{"GET", "/hosts.csv", access.See, false, "the same machines as a spreadsheet", s.hostsCSV},
		{"GET", "/hosts/{id}", access.See, false, "one machine", s.hostPage},
		{"POST", "/hosts/{id}/edit", access.Decide, false, "change what people say about a machine", s.hostEdit},
		{"POST", "/hosts/{id}/notes", access.Decide, false, "write a note about a machine", s.hostNote},
		{"POST", "/hosts/{id}/risks", access.Decide, false, "accept a risk of a machine", s.hostRisk},
		{"POST", "/risks/{id}/end", access.Decide, false, "accept a risk no longer", s.riskEnd},
		{"POST", "/conflicts/{id}/resolve", access.Decide, false, "a conflict about who is who is settled", s.conflictResolve},
		{"POST", "/conflicts/{id}/merge", access.Decide, false, "the two machines of a conflict are one", s.conflictMerge},
		{"POST", "/conflicts/{id}/assign", access.Decide, false, "evidence that was given to none is of a machine", s.conflictAssign},
		{"GET", "/hosts/{id}/report/{format}", access.See, false, "the report of a machine in one of the formats of assess", s.hostReport},
		{"GET", "/cves", access.See, false, "open vulnerabilities by machines", s.cvesPage},
		{"GET", "/cves/{cve}", access.See, false, "one vulnerability: what is known, and who has it", s.cvePage},
		{"GET", "/updates", access.See, false, "missing updates by machines", s.updatesPage},
		{"GET", "/updates/{kb}", access.See, false, "one update: what is known, and who lacks it", s.updatePage},
		{"GET", "/changes", access.See, false, "what changed, and why", s.changesPage},
		{"GET", "/changes/{id}", access.See, false, "one change of a machine: what came, what went", s.changePage},
		{"GET", "/uploads", access.See, false, "evidence that came, and a form to bring more", s.uploadsPage},
		{"POST", "/uploads", access.Send, false, "bring evidence with the browser", s.upload},
		{"GET", "/uploads/{id}", access.See, false, "one upload", s.uploadPage},
		{"GET", "/uploads/{id}/file", access.See, false, "an upload as it came", s.uploadFile},
	}
}

// missing answers for an error of the store: not found, invalid, or ours.
func (s *Server) missing(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, fleet.ErrNotFound):
		s.problem(w, r, http.StatusNotFound, "there is nothing of that name or number")
	case errors.Is(err, fleet.ErrInvalid):
		s.problem(w, r, http.StatusUnprocessableEntity, err.Error())
	default:
		s.fault(w, r, err)
	}
}

// foot says what the figures rest on.
func (s *Server) foot() string {
	var out []string
	for _, src := range s.Fleet.InUse().Sources() {
		out = append(out, src.Name+" until "+src.Last.String())
	}
	return "Judged by " + strings.Join(out, "; ") + ". Past these days the answer is not known. Nothing here says that a machine is safe."
}

// overviewData is what the overview shows.
type overviewData struct {
	fleet.Overview
	Releases []releaseRow
	Days     []fleet.Day
	Worst    []fleet.Host
	CVEs     []fleet.CVECount
	Changes  []fleet.Change
	Names    map[int64]string
	Today    catalog.Date
	First    catalog.Date // of the picture of lifecycles
	Last     catalog.Date
}

// releaseRow is one release of the fleet in the picture of lifecycles.
type releaseRow struct {
	ID, Name                string
	Hosts                   int
	Support                 assess.SupportState
	Several                 bool // other machines of it stand otherwise
	Start, Mainstream, Ends catalog.Date
	First                   catalog.Date // end of those whose support ends first, where editions differ
	Paid                    catalog.Date // end of the last programme
}

// path leads to the machines.
func (r *releaseRow) path() templ.SafeURL {
	v := url.Values{"release": {cmp.Or(r.ID, unknownRelease)}}
	if r.Several {
		v.Set("support", string(r.Support))
	}
	return templ.SafeURL("/hosts?" + v.Encode())
}

// trendDays is how far back the trend goes.
const trendDays = 90

func (s *Server) overviewPage(w http.ResponseWriter, r *http.Request) {
	ctx, now := r.Context(), s.Now()
	today := catalog.DateOf(now)
	d := overviewData{Today: today, Names: map[int64]string{}}
	var errs [5]error
	d.Overview, errs[0] = s.Store.Overview(ctx, unseenSince(now))
	d.Days, errs[1] = s.Store.Days(ctx, today-trendDays, today)
	var page fleet.HostPage
	page, errs[2] = s.Store.Hosts(ctx, fleet.HostQuery{Limit: 8})
	d.CVEs, errs[3] = s.Store.CVEs(ctx)
	d.Changes, errs[4] = s.Store.Changes(ctx, fleet.ChangeQuery{Limit: 5})
	if err := errors.Join(errs[:]...); err != nil {
		s.fault(w, r, err)
		return
	}
	d.Worst = page.Hosts
	d.CVEs = exploitedFirst(d.CVEs, 12)
	if err := s.names(r, d.Changes, d.Names); err != nil {
		s.fault(w, r, err)
		return
	}
	d.releases(s.Fleet.InUse())
	f := s.frame(r, "Overview", "/")
	f.Foot = s.foot()
	s.show(w, r, http.StatusOK, overviewView(f, d))
}

// unseenSince is since when machines that were not seen count as not seen: to the hour, so
// that the store need not count again for every page.
func unseenSince(now time.Time) time.Time { return now.Add(-unseenAfter).Truncate(time.Hour) }

// exploitedFirst gives at most n, those that are exploited first.
func exploitedFirst(list []fleet.CVECount, n int) []fleet.CVECount {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b fleet.CVECount) int {
		if a.Exploited != b.Exploited {
			if a.Exploited {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.Affected+b.Unfixable, a.Affected+a.Unfixable)
	})
	return list[:min(n, len(list))]
}

// releases puts together the machines of a release that stand alike to their support, in
// order of its end. What the picture shows beyond that is of the catalogue.
func (d *overviewData) releases(c *catalog.Catalog) {
	for _, st := range d.ByStand { // the same release and support follow each other
		if n := len(d.Releases); n > 0 && d.Releases[n-1].ID == st.Release && d.Releases[n-1].Support == st.Support {
			d.Releases[n-1].Hosts += st.Hosts
			d.Releases[n-1].Ends = max(d.Releases[n-1].Ends, st.Ends)
			continue
		}
		d.Releases = append(d.Releases, releaseRow{ID: st.Release, Name: st.Release, Support: st.Support, Hosts: st.Hosts, First: st.Ends, Ends: st.Ends})
	}
	of := map[string]int{}
	for i := range d.Releases {
		row := &d.Releases[i]
		of[row.ID]++
		rel, err := c.Release(row.ID)
		if err != nil {
			continue
		}
		row.Name = rel.Name
		for _, l := range rel.Lifecycles {
			if l.Extended == row.Ends {
				row.Start, row.Mainstream = l.Start, l.Mainstream
			}
		}
		for _, p := range rel.Programmes {
			row.Paid = max(row.Paid, p.Until)
		}
	}
	for i := range d.Releases {
		d.Releases[i].Several = of[d.Releases[i].ID] > 1
	}
	slices.SortStableFunc(d.Releases, func(a, b releaseRow) int { return cmp.Or(cmp.Compare(a.Ends, b.Ends), cmp.Compare(a.Name, b.Name)) })
	d.First, d.Last = d.Today-3650, d.Today+1460
	for _, row := range d.Releases {
		d.Last = max(d.Last, row.Ends, row.Paid)
	}
	d.Last = min(d.Last, d.Today+3650)
}

// lifeGroup are the releases of the picture of lifecycles that stand alike.
type lifeGroup struct {
	Name, Class string
	Hosts       int
	Rows, More  []releaseRow // More are folded
}

// maxLifeRows is how many releases of a group the picture shows before one asks for more.
const maxLifeRows = 6

const soon = 365 // days before its end in which support ends soon

// groups puts the releases into groups, the most urgent first, in each the most machines first.
func (d *overviewData) groups() (out []lifeGroup) {
	all := []lifeGroup{
		{Name: "support is over", Class: "bad"},
		{Name: "over, but a paid programme still runs", Class: "mid"},
		{Name: "ends within a year", Class: "mid"},
		{Name: "supported", Class: "good"},
		{Name: "end not known"},
	}
	for _, r := range d.Releases {
		g := &all[3]
		switch {
		case r.Support == assess.SupportUnknown || r.Ends == 0:
			g = &all[4]
		case r.Support == assess.Over:
			g = &all[0]
		case r.Support == assess.Programmes:
			g = &all[1]
		case r.First < d.Today+soon:
			g = &all[2]
		}
		g.Hosts += r.Hosts
		g.Rows = append(g.Rows, r)
	}
	for _, g := range all {
		if len(g.Rows) == 0 {
			continue
		}
		slices.SortStableFunc(g.Rows, func(a, b releaseRow) int { return cmp.Compare(b.Hosts, a.Hosts) })
		if len(g.Rows) > maxLifeRows+1 { // folding one away saves nothing
			g.Rows, g.More = g.Rows[:maxLifeRows], g.Rows[maxLifeRows:]
		}
		out = append(out, g)
	}
	return out
}

// names finds the names of the machines that changed.
func (s *Server) names(r *http.Request, list []fleet.Change, names map[int64]string) error {
	var ids []int64
	for _, c := range list {
		ids = append(ids, c.Host)
	}
	if len(ids) == 0 {
		return nil
	}
	for _, retired := range []bool{false, true} {
		page, err := s.Store.Hosts(r.Context(), fleet.HostQuery{IDs: ids, Retired: retired})
		if err != nil {
			return err
		}
		for _, h := range page.Hosts {
			names[h.ID] = nameOf(h.Identity)
		}
	}
	return nil
}

// nameOf is what people call a machine.
func nameOf(i fleet.Identity) string {
	return cmp.Or(i.Name, i.MachineID, i.ProductID, "a machine without a name")
}

// hostsData is what the list of machines shows.
type hostsData struct {
	fleet.HostPage
	Query  url.Values
	Sort   fleet.Sort
	Tags   []fleet.Count
	Counts fleet.Overview
	Done   string
	May    bool // edit
	Filter []chip
}

// chip is a filter that is on, and the address without it.
type chip struct{ Name, Without string }

// hostsPageSize is how many machines a page of the list has.
const hostsPageSize = 100

// hostQuery reads the filters of an address: the names are those of the API.
func hostQuery(v url.Values) (fleet.HostQuery, error) {
	in := hostQueryIn{
		Text: v.Get("q"), Tags: v["tag"], Releases: filled(v["release"]), Sites: filled(v["site"]), Owners: filled(v["owner"]), Criticality: filled(v["criticality"]),
		Support: filled(v["support"]), Levels: filled(v["level"]), Arches: filled(v["arch"]), Roles: filled(v["role"]), Exploited: on(v, "exploited"), Ransomware: on(v, "ransomware"),
		Restart: on(v, "restart"), Conflict: on(v, "conflict"), SeenBefore: v.Get("seen_before"), CVE: v.Get("cve"), Verdicts: filled(v["verdict"]),
		Missing: v.Get("missing"), Retired: on(v, "retired"), Sort: v.Get("sort"), Reverse: on(v, "reverse"), Cursor: v.Get("cursor"), Limit: hostsPageSize,
	}
	in.Tags = filled(in.Tags)
	var behind []fleet.Behind
	for _, word := range filled(v["behind"]) {
		if b := fleet.Behind(word); slices.Contains(fleet.Behinds(), b) {
			behind = append(behind, b)
			continue
		}
		n, err := strconv.Atoi(word)
		if err != nil || n < 0 {
			return fleet.HostQuery{}, fmt.Errorf("%w: behind is a number of months, or 1-3, 4-12, 13+, unknown", fleet.ErrInvalid)
		}
		in.MinBehind = n
	}
	if word := v.Get("build"); word != "" {
		n, err := strconv.ParseUint(word, 10, 32)
		if err != nil {
			return fleet.HostQuery{}, fmt.Errorf("%w: build is a number such as 6003", fleet.ErrInvalid)
		}
		in.Build = uint32(n)
	}
	q, err := in.query()
	q.Behind = behind
	return q, err
}

// filled leaves out what is empty: a choice in a form that was left open.
func filled(list []string) (out []string) {
	for _, v := range list {
		if v != "" {
			out = append(out, v)
		}
	}
	return out
}

func on(v url.Values, name string) bool {
	word := v.Get(name)
	return word != "" && word != "0" && word != "false"
}

// chipNames are the filters that are shown with a word before their value.
var chipNames = []struct{ key, word string }{
	{"q", "text"},
	{"release", "release"},
	{"build", "build"},
	{"level", "state"},
	{"support", "support"},
	{"behind", "months behind"},
	{"criticality", "criticality"},
	{"tag", "tag"},
	{"site", "site"},
	{"owner", "owner"},
	{"arch", "architecture"},
	{"role", "role"},
	{"cve", "open"},
	{"verdict", "verdict"},
	{"missing", "lacks"},
	{"exploited", "exploited"},
	{"ransomware", "ransomware"},
	{"restart", "restart pending"},
	{"conflict", "conflict"},
	{"seen_before", "not seen since"},
	{"retired", "retired"},
}

func chips(v url.Values) (out []chip) {
	for _, c := range chipNames {
		for _, value := range filled(v[c.key]) {
			less := url.Values{}
			for k, list := range v {
				for _, x := range list {
					if k != "cursor" && x != "" && (k != c.key || x != value) {
						less.Add(k, x)
					}
				}
			}
			name := c.word + ": " + value
			switch _, err := strconv.Atoi(value); {
			case c.key == "behind" && err == nil && value != string(fleet.BehindNone):
				name = c.word + ": " + value + " or more"
			case c.key != "behind" && value == "1":
				name = c.word
			}
			out = append(out, chip{name, "/hosts?" + less.Encode()})
		}
	}
	return out
}

// with gives the address of the list with a value changed; empty takes it away.
func with(v url.Values, key, value string) string {
	out := url.Values{}
	for k, list := range v {
		if k != key && k != "cursor" {
			out[k] = filled(list)
		}
	}
	if value != "" {
		out.Set(key, value)
	}
	return "/hosts?" + out.Encode()
}

// withQuery gives a copy of the filters with one changed; empty takes it away.
func withQuery(v url.Values, key, value string) url.Values {
	out := url.Values{}
	for k, list := range v {
		if k != key {
			out[k] = list
		}
	}
	if value != "" {
		out.Set(key, value)
	}
	return out
}

func (s *Server) hostsPage(w http.ResponseWriter, r *http.Request) {
	s.hostsList(w, r, http.StatusOK, "")
}

func (s *Server) hostsList(w http.ResponseWriter, r *http.Request, status int, done string) {
	q, err := hostQuery(r.URL.Query())
	if err != nil {
		s.missing(w, r, err)
		return
	}
	d := hostsData{Query: r.URL.Query(), Sort: cmp.Or(q.Sort, fleet.SortWorst), Done: done, May: visitOf(r.Context()).who.May(access.Decide), Filter: chips(r.URL.Query())}
	var errs [3]error
	d.HostPage, errs[0] = s.Store.Hosts(r.Context(), q)
	d.Tags, errs[1] = s.Store.Tags(r.Context())
	d.Counts, errs[2] = s.Store.Overview(r.Context(), unseenSince(s.Now()))
	if err := errors.Join(errs[:]...); err != nil {
		s.missing(w, r, err)
		return
	}
	f := s.frame(r, "Machines", "/hosts")
	f.Foot = s.foot()
	s.show(w, r, status, hostsView(f, d))
}

// bulkEdit changes the machines that were ticked, and shows the list again.
func (s *Server) bulkEdit(w http.ResponseWriter, r *http.Request) {
	if !s.bigForm(w, r) {
		return
	}
	var ids []int64
	for _, word := range r.PostForm["id"] {
		id, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			s.problem(w, r, http.StatusUnprocessableEntity, "a machine has a number")
			return
		}
		ids = append(ids, id)
	}
	back := localPath(r.PostFormValue("back"))
	if len(ids) == 0 {
		redirect(w, r, back)
		return
	}
	if err := s.edit(r.Context(), ids, editForm(r.PostForm)); err != nil {
		s.missing(w, r, err)
		return
	}
	redirect(w, r, back)
}

// editForm reads what people say about machines; empty fields leave it as it is.
func editForm(v url.Values) *EditBody {
	b := &EditBody{}
	for _, f := range []struct {
		name string
		to   **string
	}{{"owner", &b.Owner}, {"site", &b.Site}, {"criticality", &b.Criticality}, {"entitlement", &b.Entitlement}} {
		if word := strings.TrimSpace(v.Get(f.name)); word != "" {
			if word == "-" {
				word = ""
			}
			*f.to = &word
		}
	}
	for _, f := range []struct {
		name string
		to   *[]string
	}{{"add_tag", &b.AddTags}, {"remove_tag", &b.RemoveTags}} {
		for tag := range strings.SplitSeq(v.Get(f.name), ",") {
			if tag = strings.TrimSpace(tag); tag != "" {
				*f.to = append(*f.to, tag)
			}
		}
	}
	if word := v.Get("retired"); word != "" {
		yes := word == "yes"
		b.Retired = &yes
	}
	return b
}

// bigForm reads a form with as many ticks as a bulk edit may have.
func (s *Server) bigForm(w http.ResponseWriter, r *http.Request) bool {
	r.Body = http.MaxBytesReader(w, r.Body, maxBigForm)
	if err := r.ParseForm(); err != nil {
		s.problem(w, r, http.StatusBadRequest, "the form cannot be read")
		return false
	}
	return true
}

// hostsCSV writes all machines of the filter as a spreadsheet.
func (s *Server) hostsCSV(w http.ResponseWriter, r *http.Request) {
	q, err := hostQuery(r.URL.Query())
	if err != nil {
		s.missing(w, r, err)
		return
	}
	q.Limit, q.After = fleet.MaxPage, ""
	var b bytes.Buffer
	out := csv.NewWriter(&b)
	cells := func(words ...string) error {
		for i := range words {
			words[i] = cell(words[i])
		}
		return out.Write(words)
	}
	err = cells("name", "domain", "release", "build", "architecture", "role", "state", "support", "support ends", "affected", "exploited", "ransomware", "unfixable", "unknown", "missing", "months behind", "owner", "site", "criticality", "tags", "last seen", "as of")
	for err == nil {
		var page fleet.HostPage
		if page, err = s.Store.Hosts(r.Context(), q); err != nil {
			break
		}
		for i := range page.Hosts {
			h := hostBody(&page.Hosts[i])
			behind := ""
			if h.Behind != nil {
				behind = strconv.Itoa(*h.Behind)
			}
			seen := ""
			if h.LastSeen != nil {
				seen = h.LastSeen.Format(time.DateOnly)
			}
			if err = cells(or(h.Name), or(h.Domain), or(h.ReleaseName), or(h.Build), or(h.Arch), or(h.Role), h.Level, h.Support, or(h.SupportEnds), strconv.Itoa(h.Affected), strconv.Itoa(h.Exploited),
				strconv.Itoa(h.Ransomware), strconv.Itoa(h.Unfixable), strconv.Itoa(h.Unknown), strconv.Itoa(h.Missing), behind, h.Owner, h.Site, or(h.Criticality), strings.Join(h.Tags, " "), seen, or(h.AsOf)); err != nil {
				break
			}
		}
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	out.Flush()
	if err = errors.Join(err, out.Error()); err != nil {
		s.missing(w, r, err)
		return
	}
	download(w, "machines.csv", "text/csv; charset=utf-8")
	_, _ = w.Write(b.Bytes()) // who asked may be gone
}

// cell keeps a spreadsheet from taking a value for a formula, as package report does.
func cell(s string) string {
	s = typed(s) // what evidence calls a machine may hold more than people may type
	if s != "" && strings.ContainsRune("=+-@\t\r|%", rune(s[0])) {
		return "'" + s
	}
	return s
}

func or(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// download makes the answer a file. The name is ours or was cleaned.
func download(w http.ResponseWriter, name, mime string) {
	h := w.Header()
	h.Set("Content-Type", mime)
	h.Set("Content-Disposition", `attachment; filename="`+plainName(name)+`"`)
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'; style-src 'unsafe-inline'")
}

// plainName leaves of a file name what every system takes.
func plainName(name string) string {
	out := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("._-", r):
			return r
		}
		return '_'
	}, name)
	return cmp.Or(strings.Trim(out[:min(len(out), 100)], "."), "file")
}

// cvesPage lists open vulnerabilities.
func (s *Server) cvesPage(w http.ResponseWriter, r *http.Request) {
	list, err := s.Store.CVEs(r.Context())
	if err != nil {
		s.fault(w, r, err)
		return
	}
	known, err := s.Fleet.InUse().CVEs()
	if err != nil {
		s.fault(w, r, err)
		return
	}
	only := on(r.URL.Query(), "exploited")
	text := strings.ToUpper(strings.TrimSpace(r.URL.Query().Get("q")))
	list = slices.DeleteFunc(slices.Clone(list), func(c fleet.CVECount) bool {
		return c.Affected+c.Unfixable == 0 || only && !c.Exploited || text != "" && !strings.Contains(c.CVE, text) && !strings.Contains(strings.ToUpper(cveOf(known, c.CVE).Area), text)
	})
	d := cvesData{Total: len(list), Exploited: only, Text: r.URL.Query().Get("q")}
	for _, c := range exploitedFirst(list, listSize) {
		d.List = append(d.List, cveRow{c, cveOf(known, c.CVE)})
	}
	f := s.frame(r, "Vulnerabilities", "/cves")
	f.Foot = s.foot()
	s.show(w, r, http.StatusOK, cvesView(f, d))
}

// cveRow is a vulnerability with what is known of it whatever the release.
type cveRow struct {
	fleet.CVECount
	Known catalog.CVE
}

// cveOf finds a vulnerability; the zero one if nothing is known of it.
func cveOf(known []catalog.CVE, id string) catalog.CVE {
	i, ok := slices.BinarySearchFunc(known, id, func(c catalog.CVE, id string) int { return cmp.Compare(c.ID, id) })
	if !ok {
		return catalog.CVE{}
	}
	return known[i]
}

// listSize is how many rows a list without pages has.
const listSize = 500

type cvesData struct {
	List      []cveRow
	Total     int
	Exploited bool
	Text      string
}

// knowledge is what is known of a vulnerability or an update, with the machines concerned.
type knowledgeData struct {
	Title    string
	Answer   *explain.Answer
	Page     fleet.HostPage
	Concern  string // what the machines have to do with it
	ListPath string
	// Unsure are those of which it is not known.
	Unsure     fleet.HostPage
	UnsurePath string
}

func (s *Server) cvePage(w http.ResponseWriter, r *http.Request) {
	cve := strings.ToUpper(r.PathValue("cve"))
	if _, ok := fleet.CVENumber(cve); !ok {
		s.problem(w, r, http.StatusNotFound, "that is no CVE")
		return
	}
	unsure, err := s.Store.Hosts(r.Context(), fleet.HostQuery{CVE: cve, Verdicts: []assess.Verdict{assess.Unknown}, Limit: shownChips})
	if err != nil {
		s.missing(w, r, err)
		return
	}
	s.knowledgePage(w, r, "/cves", fleet.HostQuery{CVE: cve, Limit: shownChips}, knowledgeData{
		Title: cve, Concern: "have it open", ListPath: string(verdictHosts(cve, "affected", "unfixable")), Unsure: unsure, UnsurePath: string(verdictHosts(cve, "unknown")),
	})
}

func (s *Server) updatePage(w http.ResponseWriter, r *http.Request) {
	kb, err := winver.ParseKB(r.PathValue("kb"))
	if err != nil {
		s.problem(w, r, http.StatusNotFound, "that is no KB")
		return
	}
	s.knowledgePage(w, r, "/updates", fleet.HostQuery{Missing: kb, Limit: shownChips}, knowledgeData{Title: kb.String(), Concern: "lack it", ListPath: "/hosts?missing=" + kb.String()})
}

func (s *Server) knowledgePage(w http.ResponseWriter, r *http.Request, here string, q fleet.HostQuery, d knowledgeData) {
	var err error
	d.Answer, err = explain.Explain(d.Title, s.Fleet.InUse(), s.Now())
	var question *explain.QuestionError
	if err != nil && !errors.As(err, &question) {
		s.fault(w, r, err)
		return
	}
	if d.Page, err = s.Store.Hosts(r.Context(), q); err != nil {
		s.missing(w, r, err)
		return
	}
	f := s.frame(r, d.Title, here)
	f.Foot = s.foot()
	s.show(w, r, http.StatusOK, knowledgeView(f, d))
}

// updatesData is what the page of missing updates shows.
type updatesData struct {
	List  []kbRow
	Total int
	Today catalog.Date
}

// kbRow is an update with what is known of it.
type kbRow struct {
	fleet.KBCount
	Kind     string
	For      []string // releases of the fleet
	Released catalog.Date
}

// age says how many months ago it was published.
func (k *kbRow) age(today catalog.Date) string {
	if k.Released == 0 || k.Released > today {
		return "?"
	}
	a, b := k.Released.Time(), today.Time()
	months := 12*(b.Year()-a.Year()) + int(b.Month()) - int(a.Month())
	if b.Day() < a.Day() {
		months--
	}
	return strconv.Itoa(months)
}

// updatesPage lists missing updates.
func (s *Server) updatesPage(w http.ResponseWriter, r *http.Request) {
	list, err1 := s.Store.KBs(r.Context())
	counts, err2 := s.Store.Overview(r.Context(), unseenSince(s.Now()))
	if err := errors.Join(err1, err2); err != nil {
		s.fault(w, r, err)
		return
	}
	d := updatesData{Total: len(list), Today: catalog.DateOf(s.Now())}
	for _, k := range list[:min(len(list), listSize)] {
		d.List = append(d.List, kbRow{KBCount: k})
	}
	for _, release := range counts.ByRelease {
		if err := d.describe(s.Fleet.InUse(), release.Value); err != nil {
			s.fault(w, r, err)
			return
		}
	}
	f := s.frame(r, "Updates", "/updates")
	f.Foot = s.foot()
	s.show(w, r, http.StatusOK, updatesView(f, d))
}

// describe adds what was published for a release; one that is not known has nothing.
func (d *updatesData) describe(c *catalog.Catalog, release string) error {
	if _, err := c.Release(release); err != nil {
		return nil //nolint:nilerr // machines of an unknown release lack nothing that is known
	}
	records, err := c.Records(release)
	if err != nil {
		return err
	}
	for i := range d.List {
		k := &d.List[i]
		if u, ok := records.Update(k.KB); ok {
			k.Kind, k.Released = explain.KindOf(records.Release, u), u.Released
			k.For = append(k.For, strings.TrimPrefix(records.Release.Name, "Windows "))
		}
	}
	return nil
}

// changesData is what the page of changes shows.
type changesData struct {
	List      []fleet.Change
	Names     map[int64]string
	Older     int64
	Exploited bool
	Day       catalog.Date // only those of this day; 0 is every day
}

// address gives the page of changes with other filters.
func (d *changesData) address(day catalog.Date, exploited bool, before int64) templ.SafeURL {
	v := url.Values{}
	if day != 0 {
		v.Set("day", day.String())
	}
	if exploited {
		v.Set("exploited", "1")
	}
	if before != 0 {
		v.Set("before", strconv.FormatInt(before, 10))
	}
	return templ.SafeURL(strings.TrimSuffix("/changes?"+v.Encode(), "?"))
}

func (s *Server) changesPage(w http.ResponseWriter, r *http.Request) {
	q := fleet.ChangeQuery{Limit: hostsPageSize, Exploited: on(r.URL.Query(), "exploited")}
	var day catalog.Date
	if word := r.URL.Query().Get("day"); word != "" {
		var err error
		if day, err = catalog.ParseDate(word); err != nil {
			s.problem(w, r, http.StatusUnprocessableEntity, "day is a day such as 2026-11-25")
			return
		}
		q.Since, q.Until = day.Time(), day.Time().AddDate(0, 0, 1)
	}
	if before, err := strconv.ParseInt(r.URL.Query().Get("before"), 10, 64); err == nil {
		q.After = before
	}
	list, err := s.Store.Changes(r.Context(), q)
	d := changesData{List: list, Names: map[int64]string{}, Exploited: q.Exploited, Day: day}
	if err == nil {
		err = s.names(r, list, d.Names)
	}
	if err != nil {
		s.missing(w, r, err)
		return
	}
	if len(list) == q.Limit {
		d.Older = list[len(list)-1].ID
	}
	s.show(w, r, http.StatusOK, changesView(s.frame(r, "Changes", "/changes"), d))
}

// changeData is what the page of one change shows.
type changeData struct {
	fleet.Change
	Doc  *report.Change // nil where nothing was compared
	Name string
	All  bool // shows every vulnerability
}

// newly are the vulnerabilities that came to be exploited, and others those that came to be
// open and are not.
func (d *changeData) newly() (newly, others []report.Changed) {
	for _, list := range [][]report.Changed{d.Doc.New, d.Doc.Marked} {
		for _, c := range list {
			if c.NewlyExploited {
				newly = append(newly, c)
			} else {
				others = append(others, c)
			}
		}
	}
	return newly, others
}

func (s *Server) changePage(w http.ResponseWriter, r *http.Request) {
	id, ok := s.id(w, r)
	if !ok {
		return
	}
	c, err := s.Store.Change(r.Context(), id)
	if err != nil {
		s.missing(w, r, err)
		return
	}
	h, err := s.Store.Host(r.Context(), c.Host)
	if err != nil {
		s.missing(w, r, err)
		return
	}
	d := changeData{Change: c, Name: nameOf(h.Identity), All: on(r.URL.Query(), "all")}
	if c.Document != nil {
		d.Doc = new(report.Change)
		if err := json.Unmarshal(c.Document, d.Doc); err != nil {
			s.fault(w, r, fmt.Errorf("change %d: %w", id, err))
			return
		}
	}
	s.show(w, r, http.StatusOK, changeView(s.frame(r, "Change of "+d.Name, "/changes"), d))
}

// uploadsData is what the page of evidence shows.
type uploadsData struct {
	List      []fleet.Upload
	Conflicts []fleet.Conflict
	Older     int64
	May       bool // bring more
	Decide    bool
	Now       time.Time
	Wrong     string
	Unplaced  map[int64]fleet.Sighting // evidence that is given to no machine, by the conflict about it
}

// maxUnplaced is of how many conflicts the page of evidence says what they are about.
const maxUnplaced = 100

func (s *Server) uploadsPage(w http.ResponseWriter, r *http.Request) {
	s.uploads(w, r, http.StatusOK, "")
}

func (s *Server) uploads(w http.ResponseWriter, r *http.Request, status int, wrong string) {
	q := fleet.UploadQuery{Limit: hostsPageSize}
	if before, err := strconv.ParseInt(r.URL.Query().Get("before"), 10, 64); err == nil {
		q.After = before
	}
	who := visitOf(r.Context()).who
	d := uploadsData{May: who.May(access.Send), Decide: who.May(access.Decide), Now: s.Now(), Wrong: wrong}
	var err1, err2 error
	d.List, err1 = s.Store.Uploads(r.Context(), q)
	d.Conflicts, err2 = s.Store.Conflicts(r.Context(), 0)
	if err := errors.Join(err1, err2); err != nil {
		s.missing(w, r, err)
		return
	}
	if len(d.List) == q.Limit {
		d.Older = d.List[len(d.List)-1].ID
	}
	d.Unplaced = map[int64]fleet.Sighting{}
	for _, c := range d.Conflicts[:min(maxUnplaced, len(d.Conflicts))] {
		if c.Host != 0 {
			continue
		}
		switch p, err := s.Store.Unplaced(r.Context(), c.Sighting); {
		case err == nil:
			d.Unplaced[c.ID] = p.Sighting
		case !errors.Is(err, fleet.ErrNotFound):
			s.fault(w, r, err)
			return
		}
	}
	s.show(w, r, status, uploadsView(s.frame(r, "Evidence", "/uploads"), d))
}

// upload takes files from the browser, each as an upload of its own, as they stream in. The
// CSRF token is in the address's query, since the body is not a small form.
func (s *Server) upload(w http.ResponseWriter, r *http.Request) {
	parts, err := r.MultipartReader()
	if err != nil {
		s.uploads(w, r, http.StatusBadRequest, "The form cannot be read.")
		return
	}
	v := visitOf(r.Context())
	n, last := 0, int64(0)
	for {
		p, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			s.brokeOff(w, r, err)
			return
		}
		if p.FormName() != "file" || p.FileName() == "" {
			continue
		}
		if n++; n > maxUploadFiles {
			s.uploads(w, r, http.StatusRequestEntityTooLarge, fmt.Sprintf("At most %d files at once: pack them into a ZIP archive.", maxUploadFiles))
			return
		}
		u, added, err := s.Fleet.Receive(r.Context(), p, fleet.Meta{Name: p.FileName(), By: v.who.Name, Via: fleet.ViaPage})
		switch {
		case errors.Is(err, fleet.ErrTooLarge):
			s.uploads(w, r, http.StatusRequestEntityTooLarge, "The file is too large: "+plainName(p.FileName())+".")
			return
		case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, errSlow):
			s.brokeOff(w, r, err)
			return
		case err != nil:
			s.missing(w, r, err)
			return
		}
		last = u.ID
		if added {
			if err := s.Guard.Did(r.Context(), v.who, v.address, "evidence", u.Name, "upload "+strconv.FormatInt(u.ID, 10)); err != nil {
				s.fault(w, r, err)
				return
			}
		}
	}
	switch n {
	case 0:
		s.uploads(w, r, http.StatusUnprocessableEntity, "Choose a file first.")
	case 1:
		redirect(w, r, "/uploads/"+strconv.FormatInt(last, 10))
	default:
		redirect(w, r, "/uploads")
	}
}

const maxUploadFiles = 1000

// brokeOff answers for a body that ended before its end.
func (s *Server) brokeOff(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, errSlow) {
		s.uploads(w, r, http.StatusRequestTimeout, "The upload came too slowly: send it again.")
		return
	}
	s.uploads(w, r, http.StatusBadRequest, "The upload broke off: send it again.")
}

// uploadData is what the page of one upload shows.
type uploadData struct {
	fleet.Upload
	Seen []fleet.Sighting
	May  bool // have it read again
}

func (s *Server) uploadPage(w http.ResponseWriter, r *http.Request) {
	id, ok := s.id(w, r)
	if !ok {
		return
	}
	u, err := s.Store.Upload(r.Context(), id)
	if err != nil {
		s.missing(w, r, err)
		return
	}
	seen, err := s.Store.Sightings(r.Context(), id)
	if err != nil {
		s.missing(w, r, err)
		return
	}
	s.show(w, r, http.StatusOK, uploadView(s.frame(r, u.Name, "/uploads"), uploadData{u, seen, visitOf(r.Context()).who.May(access.Send)}))
}

// uploadFile gives an upload as it came: never as something a browser would run.
func (s *Server) uploadFile(w http.ResponseWriter, r *http.Request) {
	id, ok := s.id(w, r)
	if !ok {
		return
	}
	file, u, err := s.Fleet.Evidence(r.Context(), id)
	if err != nil {
		s.missing(w, r, err)
		return
	}
	defer func() { _ = file.Close() }() // it was only read
	download(w, u.Name, "application/octet-stream")
	http.ServeContent(w, r, "", u.Received, file)
}

// conflictResolve settles a conflict.
func (s *Server) conflictResolve(w http.ResponseWriter, r *http.Request) {
	id, ok := s.id(w, r)
	if !ok {
		return
	}
	v := visitOf(r.Context())
	if err := s.Store.ResolveConflict(r.Context(), id, v.who.Name, s.Now()); err != nil {
		s.missing(w, r, err)
		return
	}
	if err := s.Guard.Did(r.Context(), v.who, v.address, "conflict-resolve", strconv.FormatInt(id, 10), ""); err != nil {
		s.fault(w, r, err)
		return
	}
	redirect(w, r, localPath(r.FormValue("back")))
}

// conflict finds an open conflict; it answers and gives false where there is none.
func (s *Server) conflict(w http.ResponseWriter, r *http.Request) (fleet.Conflict, bool) {
	id, ok := s.id(w, r)
	if !ok || !s.form(w, r) {
		return fleet.Conflict{}, false
	}
	list, err := s.Store.Conflicts(r.Context(), 0)
	i := slices.IndexFunc(list, func(c fleet.Conflict) bool { return c.ID == id })
	if err == nil && i < 0 {
		err = fleet.ErrNotFound
	}
	if err != nil {
		s.missing(w, r, err)
		return fleet.Conflict{}, false
	}
	return list[i], true
}

// conflictMerge makes the two machines of a conflict one.
func (s *Server) conflictMerge(w http.ResponseWriter, r *http.Request) {
	c, ok := s.conflict(w, r)
	if !ok {
		return
	}
	if c.Host == 0 || c.Other == 0 {
		s.problem(w, r, http.StatusUnprocessableEntity, "this conflict is not between two machines")
		return
	}
	v := visitOf(r.Context())
	if err := s.Fleet.Merge(r.Context(), c.Host, c.Other, v.who.Name); err != nil {
		s.missing(w, r, err)
		return
	}
	if err := s.Guard.Did(r.Context(), v.who, v.address, "machines-merge", fmt.Sprintf("machine %d", c.Host), fmt.Sprintf("with machine %d", c.Other)); err != nil {
		s.fault(w, r, err)
		return
	}
	redirect(w, r, fmt.Sprintf("/hosts/%d", c.Host))
}

// conflictAssign gives evidence that is of no machine to one, by its name, or makes one of it.
func (s *Server) conflictAssign(w http.ResponseWriter, r *http.Request) {
	c, ok := s.conflict(w, r)
	if !ok {
		return
	}
	if c.Host != 0 {
		s.problem(w, r, http.StatusUnprocessableEntity, "this evidence is of a machine already")
		return
	}
	var to int64
	if name := strings.TrimSpace(r.PostFormValue("machine")); name != "" {
		page, err := s.Store.Hosts(r.Context(), fleet.HostQuery{Text: name})
		if err != nil {
			s.missing(w, r, err)
			return
		}
		var same []fleet.Host
		for _, h := range page.Hosts {
			if strings.EqualFold(h.Name, name) {
				same = append(same, h)
			}
		}
		if len(same) != 1 {
			s.problem(w, r, http.StatusUnprocessableEntity, plural(len(same), "", "%d machines are called that: the name of exactly one is needed"))
			return
		}
		to = same[0].ID
	}
	v := visitOf(r.Context())
	if err := s.Fleet.Assign(r.Context(), c.Sighting, to, v.who.Name); err != nil {
		s.missing(w, r, err)
		return
	}
	if err := s.Guard.Did(r.Context(), v.who, v.address, "evidence-assign", fmt.Sprintf("evidence %d", c.Sighting), fmt.Sprintf("machine %d", to)); err != nil {
		s.fault(w, r, err)
		return
	}
	redirect(w, r, localPath(r.PostFormValue("back")))
}

// hostReport gives the report of a machine as assess writes it.
func (s *Server) hostReport(w http.ResponseWriter, r *http.Request) {
	id, ok := s.id(w, r)
	if !ok {
		return
	}
	format, found := report.Find(report.Formats(), r.PathValue("format"))
	if !found {
		s.problem(w, r, http.StatusNotFound, "there is no such format")
		return
	}
	a, h, err := s.Fleet.Assessment(r.Context(), id)
	if err != nil {
		s.missing(w, r, err)
		return
	}
	var b bytes.Buffer
	out := format.Open(&b, report.Options{Findings: format.Listed(false), Catalog: s.Fleet.InUse()})
	if err := errors.Join(report.Write(out, a), out.Close()); err != nil {
		s.fault(w, r, err)
		return
	}
	download(w, plainName(nameOf(h.Identity))+format.Ext, format.MIME)
	_, _ = w.Write(b.Bytes()) // who asked may be gone
}
