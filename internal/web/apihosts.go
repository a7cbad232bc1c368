package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/fleet/access"
	"github.com/oldguard/oldguard/internal/report"
	"github.com/oldguard/oldguard/winver"
)

// HostBody is a machine as programs see it. What is not known is null or "unknown".
type HostBody struct {
	ID          int64      `json:"id"`
	Version     int64      `json:"version" doc:"counts the changes of what its evidence says"`
	Name        *string    `json:"name"`
	Domain      *string    `json:"domain"`
	ProductID   *string    `json:"product_id"`
	MachineID   *string    `json:"machine_id"`
	Release     *string    `json:"release" doc:"id, such as windows-server-2008-sp2"`
	ReleaseName *string    `json:"release_name"`
	Product     *string    `json:"product"`
	Edition     *string    `json:"edition"`
	Arch        *string    `json:"arch"`
	Role        *string    `json:"role"`
	Core        string     `json:"core" enum:"yes,no,unknown"`
	Build       *string    `json:"build"`
	Support     string     `json:"support"`
	SupportEnds *string    `json:"support_ends"`
	Level       string     `json:"level" doc:"how it stands: clear, undecided or bad"`
	Headline    string     `json:"headline"`
	Affected    int        `json:"affected"`
	Unfixable   int        `json:"unfixable"`
	Unknown     int        `json:"unknown" doc:"vulnerabilities about which the evidence or the data cannot tell"`
	Exploited   int        `json:"exploited" doc:"of the affected and unfixable, those known to be exploited"`
	Ransomware  int        `json:"ransomware"`
	Critical    int        `json:"critical"`
	Missing     int        `json:"missing" doc:"updates that are missing"`
	Behind      *int       `json:"months_behind"`
	Newest      *string    `json:"newest_update"`
	Latest      *string    `json:"latest_update" doc:"the newest that was published for it"`
	Restart     string     `json:"restart_pending" enum:"yes,no,unknown"`
	Gaps        int        `json:"gaps"`
	AsOf        *string    `json:"as_of"`
	Owner       string     `json:"owner"`
	Site        string     `json:"site"`
	Criticality *string    `json:"criticality"`
	Entitlement *string    `json:"entitlement"`
	Tags        []string   `json:"tags"`
	Retired     bool       `json:"retired"`
	FirstSeen   *time.Time `json:"first_seen"`
	LastSeen    *time.Time `json:"last_seen"`
	Conflicts   int        `json:"conflicts"`
}

func known(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func knownTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func knownDay(d catalog.Date) *string {
	if d == 0 {
		return nil
	}
	return known(d.String())
}

func knownKB(kb winver.KB) *string {
	if kb == 0 {
		return nil
	}
	return known(kb.String())
}

func hostBody(h *fleet.Host) HostBody {
	b := HostBody{
		ID: h.ID, Version: h.Version, Name: known(h.Name), Domain: known(h.Domain), ProductID: known(h.ProductID), MachineID: known(h.MachineID),
		Release: known(h.Release), ReleaseName: known(h.ReleaseName), Product: known(h.Product), Edition: known(h.Edition), Arch: known(h.Arch),
		Role: known(string(h.Role)), Core: h.Core.String(), Support: string(h.Support), SupportEnds: knownDay(h.SupportEnds), Level: h.Level.String(),
		Headline: h.Headline, Affected: h.Affected, Unfixable: h.Unfixable, Unknown: h.Unknown, Exploited: h.Exploited, Ransomware: h.Ransomware,
		Critical: h.Critical, Missing: h.Missing, Newest: knownKB(h.Newest), Latest: knownKB(h.Latest), Restart: h.Restart.String(), Gaps: h.Gaps,
		AsOf: knownDay(h.AsOf), Owner: h.Owner, Site: h.Site, Criticality: known(h.Criticality.String()), Entitlement: known(h.Entitlement),
		Tags: h.Tags, Retired: h.Retired, FirstSeen: knownTime(h.FirstSeen), LastSeen: knownTime(h.LastSeen), Conflicts: h.Conflicts,
	}
	if h.Build.Known() {
		b.Build = known(h.Build.String())
	}
	if h.MonthsBehind >= 0 {
		b.Behind = &h.MonthsBehind
	}
	if b.Tags == nil {
		b.Tags = []string{}
	}
	return b
}

// hostQueryIn are the filters of a list of machines: those of the page, under the same
// names.
type hostQueryIn struct {
	Text        string   `query:"q" maxLength:"200" doc:"in the name, domain, owner or site"`
	Tags        []string `query:"tag"`
	Releases    []string `query:"release" doc:"id, or unknown"`
	Sites       []string `query:"site"`
	Owners      []string `query:"owner"`
	Criticality []string `query:"criticality"`
	Support     []string `query:"support"`
	Levels      []string `query:"level"`
	Arches      []string `query:"arch"`
	Build       uint32   `query:"build" doc:"the third number of the version: 6003"`
	Roles       []string `query:"role"`
	Exploited   bool     `query:"exploited"`
	Ransomware  bool     `query:"ransomware"`
	Restart     bool     `query:"restart"`
	Conflict    bool     `query:"conflict"`
	SeenBefore  string   `query:"seen_before" doc:"a day: not seen since"`
	MinBehind   int      `query:"behind" minimum:"0" maximum:"10000" doc:"months behind at least"`
	CVE         string   `query:"cve" maxLength:"30" doc:"open on the machine, or not known"`
	Verdicts    []string `query:"verdict" doc:"with cve: only these verdicts"`
	Missing     string   `query:"missing" maxLength:"20" doc:"an update that is missing: KB5073697"`
	Retired     bool     `query:"retired"`
	Sort        string   `query:"sort" doc:"worst, name, release, behind, affected, missing, seen or criticality"`
	Reverse     bool     `query:"reverse"`
	Cursor      string   `query:"cursor" maxLength:"500" doc:"next of the page before"`
	Limit       int      `query:"limit" minimum:"0" maximum:"500" doc:"0 is 500"`
	Match       string   `header:"If-None-Match" maxLength:"100"`
}

// unknownRelease asks for the machines whose release is not known.
const unknownRelease = "unknown"

// query gives the fleet's form of the filters, or what is wrong with them.
func (in *hostQueryIn) query() (fleet.HostQuery, error) {
	q := fleet.HostQuery{
		Text: in.Text, Tags: in.Tags, Releases: in.Releases, Sites: in.Sites, Owners: in.Owners, Arches: in.Arches, Build: in.Build, Roles: in.Roles,
		Exploited: in.Exploited, Ransomware: in.Ransomware, Restart: in.Restart, Conflict: in.Conflict, MinBehind: in.MinBehind,
		CVE: strings.ToUpper(in.CVE), Retired: in.Retired, Sort: fleet.Sort(in.Sort), Reverse: in.Reverse, After: in.Cursor, Limit: in.Limit,
	}
	for i, word := range q.Releases {
		if word == unknownRelease {
			q.Releases = slices.Clone(q.Releases)
			q.Releases[i] = ""
		}
	}
	for _, word := range in.Criticality {
		var c fleet.Criticality
		if err := c.UnmarshalText([]byte(word)); err != nil {
			return q, fmt.Errorf("%w: %w", fleet.ErrInvalid, err)
		}
		q.Criticality = append(q.Criticality, c)
	}
	for _, word := range in.Support {
		q.Support = append(q.Support, assess.SupportState(word))
	}
	for _, word := range in.Levels {
		level, ok := levelOf(word)
		if !ok {
			return q, fmt.Errorf("%w: level is clear, undecided or bad, not %q", fleet.ErrInvalid, word)
		}
		q.Levels = append(q.Levels, level)
	}
	for _, word := range in.Verdicts {
		v, ok := verdictOf(word)
		if !ok {
			return q, fmt.Errorf("%w: there is no verdict %q", fleet.ErrInvalid, word)
		}
		q.Verdicts = append(q.Verdicts, v)
	}
	if in.Missing != "" {
		kb, err := winver.ParseKB(in.Missing)
		if err != nil {
			return q, fmt.Errorf("%w: %w", fleet.ErrInvalid, err)
		}
		q.Missing = kb
	}
	if in.SeenBefore != "" {
		d, err := catalog.ParseDate(in.SeenBefore)
		if err != nil {
			return q, fmt.Errorf("%w: %w", fleet.ErrInvalid, err)
		}
		q.SeenBefore = d.Time()
	}
	return q, nil
}

func levelOf(word string) (assess.Level, bool) {
	for _, l := range []assess.Level{assess.Clear, assess.Undecided, assess.Bad} {
		if l.String() == word {
			return l, true
		}
	}
	return 0, false
}

func verdictOf(word string) (assess.Verdict, bool) {
	for _, v := range []assess.Verdict{assess.Unknown, assess.NotAffected, assess.Fixed, assess.Affected, assess.Unfixable} {
		if v.String() == word {
			return v, true
		}
	}
	return 0, false
}

type hostsOut struct {
	ETag string `header:"ETag"`
	Body struct {
		Hosts []HostBody `json:"hosts"`
		Next  *string    `json:"next" doc:"cursor of the next page; null on the last"`
		Total int        `json:"total"`
	}
}

type hostIn struct {
	ID    int64  `path:"id" minimum:"1"`
	Match string `header:"If-None-Match" maxLength:"100"`
}

type hostOut struct {
	ETag string `header:"ETag"`
	Body HostBody
}

type documentOut struct {
	ETag        string `header:"ETag"`
	ContentType string `header:"Content-Type"`
	Body        []byte
}

// etag tells one state of a machine from another, what people say about it included.
func etag(h *fleet.Host) string {
	b, _ := json.Marshal(hostBody(h)) // it has an encoding
	sum := sha256.Sum256(b)
	return fmt.Sprintf(`"%d-%s-%x"`, h.Version, strconv.FormatInt(h.Assessed.UnixMicro(), 36), sum[:8])
}

// bodyTag tells one answer from another.
func bodyTag(body any) string {
	b, _ := json.Marshal(body) // it has an encoding
	sum := sha256.Sum256(b)
	return fmt.Sprintf(`"%x"`, sum[:12])
}

// unchanged reports whether the caller has this state already.
func unchanged(match, tag string) bool {
	for part := range strings.SplitSeq(match, ",") {
		if part = strings.TrimPrefix(strings.TrimSpace(part), "W/"); part == tag || part == "*" {
			return true
		}
	}
	return false
}

// hosts adds the operations about machines.
func (a *api) hosts() {
	store := a.s.Store
	add(a, "GET", "/hosts", access.See, "machines, the worst first, by filters", func(ctx context.Context, in *hostQueryIn) (*hostsOut, error) {
		q, err := in.query()
		if err != nil {
			return nil, err
		}
		page, err := store.Hosts(ctx, q)
		if err != nil {
			return nil, err
		}
		out := &hostsOut{}
		out.Body.Hosts = make([]HostBody, 0, len(page.Hosts))
		for i := range page.Hosts {
			out.Body.Hosts = append(out.Body.Hosts, hostBody(&page.Hosts[i]))
		}
		out.Body.Next, out.Body.Total = known(page.Next), page.Total
		if out.ETag = bodyTag(out.Body); unchanged(in.Match, out.ETag) {
			return nil, huma.Status304NotModified()
		}
		return out, nil
	})
	add(a, "GET", "/hosts/{id}", access.See, "one machine", func(ctx context.Context, in *hostIn) (*hostOut, error) {
		h, err := store.Host(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		if tag := etag(&h); unchanged(in.Match, tag) {
			return nil, huma.Status304NotModified()
		}
		return &hostOut{etag(&h), hostBody(&h)}, nil
	}, also(http.StatusNotFound))
	add(a, "GET", "/hosts/{id}/assessment", access.See, "the newest assessment of a machine: oldguard/assessment/1", func(ctx context.Context, in *hostIn) (*documentOut, error) {
		as, h, err := a.s.Fleet.Assessment(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		tag := etag(&h)
		if unchanged(in.Match, tag) {
			return nil, huma.Status304NotModified()
		}
		var b bytes.Buffer
		if err := json.NewEncoder(&b).Encode(report.New(as, report.All)); err != nil {
			return nil, err
		}
		return &documentOut{tag, "application/json", b.Bytes()}, nil
	}, also(http.StatusNotFound), gives("application/json"))
	type changesIn struct {
		ID     int64 `path:"id" minimum:"1"`
		Cursor int64 `query:"cursor" minimum:"0"`
		Limit  int   `query:"limit" minimum:"0" maximum:"500"`
	}
	add(a, "GET", "/hosts/{id}/changes", access.See, "how a machine's assessments changed, the newest first", func(ctx context.Context, in *changesIn) (*changesOut, error) {
		if _, err := store.Host(ctx, in.ID); err != nil {
			return nil, err
		}
		return a.changes(ctx, fleet.ChangeQuery{Host: in.ID, After: in.Cursor, Limit: in.Limit})
	}, also(http.StatusNotFound))
	type allChangesIn struct {
		Since     time.Time `query:"since"`
		Exploited bool      `query:"exploited" doc:"only where something came to be exploited"`
		Cursor    int64     `query:"cursor" minimum:"0"`
		Limit     int       `query:"limit" minimum:"0" maximum:"500"`
	}
	add(a, "GET", "/changes", access.See, "what changed on all machines, the newest first", func(ctx context.Context, in *allChangesIn) (*changesOut, error) {
		return a.changes(ctx, fleet.ChangeQuery{Since: in.Since, Exploited: in.Exploited, After: in.Cursor, Limit: in.Limit})
	})
}

// ChangeBody is a change of a machine as programs see it.
type ChangeBody struct {
	ID        int64     `json:"id"`
	Host      int64     `json:"host"`
	At        time.Time `json:"at"`
	AsOf      string    `json:"as_of"`
	Cause     string    `json:"cause" doc:"evidence, catalogue, day or edit"`
	Upload    *int64    `json:"upload"`
	First     bool      `json:"first"`
	New       int       `json:"new"`
	Closed    int       `json:"closed"`
	Exploited int       `json:"exploited"`
	Build     []string  `json:"build" doc:"before and now where they differ, else empty"`
	Release   []string  `json:"release"`
	Headline  string    `json:"headline"`
}

type changesOut struct {
	Body struct {
		Changes []ChangeBody `json:"changes"`
		Next    *int64       `json:"next"`
	}
}

func (a *api) changes(ctx context.Context, q fleet.ChangeQuery) (*changesOut, error) {
	list, err := a.s.Store.Changes(ctx, q)
	if err != nil {
		return nil, err
	}
	out := &changesOut{}
	out.Body.Changes = make([]ChangeBody, 0, len(list))
	for i := range list {
		c := &list[i]
		b := ChangeBody{
			ID: c.ID, Host: c.Host, At: c.At.UTC(), AsOf: c.AsOf.String(), Cause: string(c.Cause), First: c.First, New: c.New, Closed: c.Closed,
			Exploited: c.Exploited, Headline: c.Headline, Build: pair(c.Build), Release: pair(c.Release),
		}
		if c.Upload != 0 {
			b.Upload = &c.Upload
		}
		out.Body.Changes = append(out.Body.Changes, b)
	}
	if n := len(list); n > 0 && n == limitOf(q.Limit) {
		out.Body.Next = &list[n-1].ID
	}
	return out, nil
}

func pair(p [2]string) []string {
	if p[0] == p[1] {
		return []string{}
	}
	return p[:]
}

func limitOf(n int) int {
	if n <= 0 || n > fleet.MaxPage {
		return fleet.MaxPage
	}
	return n
}

// gives describes an operation whose answer is a document of its own, described elsewhere.
func gives(mime string) func(o *huma.Operation) {
	return func(o *huma.Operation) {
		o.Responses = map[string]*huma.Response{"200": {Content: map[string]*huma.MediaType{mime: {Schema: &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}}}}}
	}
}

// also adds statuses that an operation may answer with.
func also(list ...int) func(o *huma.Operation) {
	return func(o *huma.Operation) { o.Errors = append(o.Errors, list...) }
}
