package store

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

type hostRow struct {
	bun.BaseModel `bun:"table:host,alias:h"`

	ID          int64 `bun:",pk,autoincrement"`
	Version     int64
	Name        string
	Domain      string
	ProductID   string
	MachineID   string
	NameKey     string
	Search      string
	SearchOwned string
	Release     string
	ReleaseName string
	Product     string
	Edition     string
	Arch        string
	Role        string
	Core        int
	Build       string
	Support     string
	SupportEnds int64
	Level       int
	Worst       int64
	Headline    string
	Affected    int
	Unfixable   int
	Unknown     int
	Exploited   int
	Ransomware  int
	Critical    int
	Missing     int
	Undecided   int
	Behind      int
	Newest      int64
	Latest      int64
	Restart     int
	Gaps        int
	AsOf        int64
	Catalog     string
	Assessed    int64
	VerdictsID  int64
	Owner       string
	Site        string
	Criticality int
	Entitlement string
	Retired     bool
	MergedInto  int64
	FirstSeen   int64
	LastSeen    int64
}

// ownedColumns are what people say, which no assessment writes.
var ownedColumns = []string{"search_owned", "owner", "site", "criticality", "entitlement", "retired", "merged_into"}

// hostRowOf gives a row without what people say.
func hostRowOf(h *fleet.Host, verdicts int64) hostRow {
	build := ""
	if h.Build != (winver.Build{}) {
		build = h.Build.String()
	}
	return hostRow{
		ID: h.ID, Version: h.Version,
		Name: h.Name, Domain: h.Domain, ProductID: h.ProductID, MachineID: h.MachineID,
		NameKey: h.Key(), Search: strings.ToLower(h.Name + " " + h.Domain),
		Release: h.Release, ReleaseName: h.ReleaseName, Product: h.Product, Edition: h.Edition, Arch: h.Arch,
		Role: string(h.Role), Core: int(h.Core), Build: build,
		Support: string(h.Support), SupportEnds: int64(h.SupportEnds), Level: int(h.Level), Worst: h.Worst(), Headline: h.Headline,
		Affected: h.Affected, Unfixable: h.Unfixable, Unknown: h.Unknown,
		Exploited: h.Exploited, Ransomware: h.Ransomware, Critical: h.Critical,
		Missing: h.Missing, Undecided: h.Undecided, Behind: h.MonthsBehind, Newest: int64(h.Newest), Latest: int64(h.Latest),
		Restart: int(h.Restart), Gaps: h.Gaps, AsOf: int64(h.AsOf), Catalog: h.Catalog, Assessed: stamp(h.Assessed), VerdictsID: verdicts,
		FirstSeen: stamp(h.FirstSeen), LastSeen: stamp(h.LastSeen),
	}
}

func (r *hostRow) host() fleet.Host { // #nosec G115 -- all was stored from the same types
	h := fleet.Host{
		ID: r.ID, Version: r.Version,
		Identity: fleet.Identity{Name: r.Name, Domain: r.Domain, ProductID: r.ProductID, MachineID: r.MachineID},
		Standing: fleet.Standing{
			Release: r.Release, ReleaseName: r.ReleaseName, Product: r.Product, Edition: r.Edition, Arch: r.Arch,
			Role: host.Role(r.Role), Core: host.Tri(r.Core),
			Support: assess.SupportState(r.Support), SupportEnds: catalog.Date(r.SupportEnds),
			Level: assess.Level(r.Level), Headline: r.Headline,
			Affected: r.Affected, Unfixable: r.Unfixable, Unknown: r.Unknown,
			Exploited: r.Exploited, Ransomware: r.Ransomware, Critical: r.Critical,
			Missing: r.Missing, Undecided: r.Undecided, MonthsBehind: r.Behind,
			Newest: winver.KB(r.Newest), Latest: winver.KB(r.Latest),
			Restart: host.Tri(r.Restart), Gaps: r.Gaps,
			AsOf: catalog.Date(r.AsOf), Catalog: r.Catalog, Assessed: timeOf(r.Assessed),
		},
		Owned: fleet.Owned{
			Owner: r.Owner, Site: r.Site, Criticality: fleet.Criticality(r.Criticality),
			Entitlement: r.Entitlement, Retired: r.Retired,
		},
		Merged: r.MergedInto, FirstSeen: timeOf(r.FirstSeen), LastSeen: timeOf(r.LastSeen),
	}
	if b, err := winver.Parse(r.Build); err == nil {
		h.Build = b.Build
	}
	return h
}

// Host gives one machine.
func (d *DB) Host(ctx context.Context, id int64) (fleet.Host, error) {
	var row hostRow
	if err := d.read.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx); err != nil {
		return fleet.Host{}, one(err)
	}
	list := []fleet.Host{row.host()}
	err := decorate(ctx, d.read, list)
	return list[0], err
}

// decorate adds tags and the number of conflicts.
func decorate(ctx context.Context, db bun.IDB, list []fleet.Host) error {
	if len(list) == 0 {
		return nil
	}
	at, ids := map[int64]*fleet.Host{}, make([]int64, len(list))
	for i := range list {
		at[list[i].ID], ids[i] = &list[i], list[i].ID
	}
	var tags []struct {
		HostID int64
		Tag    string
	}
	err := db.NewSelect().Table("host_tag").Column("host_id", "tag").Where("host_id IN (?)", bun.List(ids)).Order("tag").Scan(ctx, &tags)
	if err != nil {
		return err
	}
	for _, t := range tags {
		at[t.HostID].Tags = append(at[t.HostID].Tags, t.Tag)
	}
	var conflicts []struct{ HostID, OtherID int64 }
	err = db.NewSelect().Table("conflict").Column("host_id", "other_id").
		Where("resolved = 0 AND (host_id IN (?) OR other_id IN (?))", bun.List(ids), bun.List(ids)).Scan(ctx, &conflicts)
	if err != nil {
		return err
	}
	for _, c := range conflicts {
		for _, id := range []int64{c.HostID, c.OtherID} {
			if h := at[id]; h != nil {
				h.Conflicts++
			}
		}
	}
	return nil
}

// order is how a list is sorted: a column, and whether its greatest value comes first.
type order struct {
	column string
	down   bool
	text   bool
	value  func(*hostRow) any
}

var orders = map[fleet.Sort]order{
	fleet.SortWorst:    {"worst", true, false, func(r *hostRow) any { return r.Worst }},
	fleet.SortName:     {"name_key", false, true, func(r *hostRow) any { return r.NameKey }},
	fleet.SortRelease:  {"release", false, true, func(r *hostRow) any { return r.Release }},
	fleet.SortBehind:   {"behind", true, false, func(r *hostRow) any { return r.Behind }},
	fleet.SortAffected: {"affected", true, false, func(r *hostRow) any { return r.Affected }},
	fleet.SortMissing:  {"missing", true, false, func(r *hostRow) any { return r.Missing }},
	fleet.SortSeen:     {"last_seen", false, false, func(r *hostRow) any { return r.LastSeen }},
	fleet.SortCritical: {"criticality", true, false, func(r *hostRow) any { return r.Criticality }},
}

// place is where a page begins: behind a value of the column of its order, and an id.
type place struct {
	Text  string `json:"t,omitempty"`
	Value int64  `json:"v,omitempty"`
	ID    int64  `json:"i"`
}

func (p place) String() string {
	b, _ := json.Marshal(p) // it has an encoding
	return base64.RawURLEncoding.EncodeToString(b)
}

func parsePlace(s string) (p place, err error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err != nil {
		return p, fmt.Errorf("%w: the place where the page begins is none that was given before", fleet.ErrInvalid)
	}
	return p, nil
}

// Hosts gives a page of machines.
func (d *DB) Hosts(ctx context.Context, q fleet.HostQuery) (page fleet.HostPage, err error) {
	o, ok := orders[cmp.Or(q.Sort, fleet.SortWorst)]
	if !ok {
		return page, fmt.Errorf("%w: machines are not sorted by %q", fleet.ErrInvalid, q.Sort)
	}
	where, err := d.hostsWhere(ctx, &q)
	if err != nil {
		return page, err
	}
	total, err := where(d.read.NewSelect().Model((*hostRow)(nil))).Count(ctx)
	if err != nil {
		return page, err
	}
	if page.Total = int(total); total == 0 {
		return page, nil
	}
	var rows []hostRow
	s := where(d.read.NewSelect().Model(&rows))
	direction, behind := bun.OrderAsc, ">"
	if o.down != q.Reverse {
		direction, behind = bun.OrderDesc, "<"
	}
	if q.After != "" {
		p, err := parsePlace(q.After)
		if err != nil {
			return page, err
		}
		v := any(p.Value)
		if o.text {
			v = p.Text
		}
		s.Where("(?, h.id) "+behind+" (?, ?)", bun.Ident("h."+o.column), v, p.ID)
	}
	n := limit(q.Limit)
	s.OrderBy("h."+o.column, direction).OrderBy("h.id", direction).Limit(n + 1)
	if err := s.Scan(ctx); err != nil {
		return page, err
	}
	if int64(len(rows)) > n {
		rows = rows[:n]
		last := &rows[n-1]
		p := place{ID: last.ID}
		switch v := o.value(last).(type) {
		case string:
			p.Text = v
		case int64:
			p.Value = v
		case int:
			p.Value = int64(v)
		}
		page.Next = p.String()
	}
	for i := range rows {
		page.Hosts = append(page.Hosts, rows[i].host())
	}
	return page, decorate(ctx, d.read, page.Hosts)
}

// hostsWhere gives what adds the conditions of q to a query of hosts.
func (d *DB) hostsWhere(ctx context.Context, q *fleet.HostQuery) (func(*bun.SelectQuery) *bun.SelectQuery, error) {
	type condition struct {
		sql  string
		args []any
	}
	var list []condition
	add := func(sql string, args ...any) { list = append(list, condition{sql, args}) }
	in := func(column string, n int, values any) {
		if n > 0 {
			add("h."+column+" IN (?)", values)
		}
	}
	add("h.retired = ? AND h.merged_into = 0", q.Retired)
	if q.Text != "" {
		pattern := "%" + likeEscape.Replace(strings.ToLower(q.Text)) + "%"
		add(`(h.search LIKE ? ESCAPE '\' OR h.search_owned LIKE ? ESCAPE '\')`, pattern, pattern)
	}
	if len(q.Tags) > 0 {
		add("h.id IN (SELECT host_id FROM host_tag WHERE tag IN (?))", bun.List(q.Tags))
	}
	in("release", len(q.Releases), bun.List(q.Releases))
	in("site", len(q.Sites), bun.List(q.Sites))
	in("owner", len(q.Owners), bun.List(q.Owners))
	switch {
	case q.Build != 0 && !q.Retired: // patterns take long
		builds, err := d.tally.builds(ctx, d, q.Build)
		if err != nil {
			return nil, err
		}
		in("build", 1, bun.List(append(builds, "none")))
	case q.Build != 0:
		add("(h.build LIKE ? OR h.build LIKE ?)", fmt.Sprintf("%%.%%.%d", q.Build), fmt.Sprintf("%%.%%.%d.%%", q.Build))
	}
	in("arch", len(q.Arches), bun.List(q.Arches))
	in("role", len(q.Roles), bun.List(q.Roles))
	in("support", len(q.Support), bun.List(q.Support))
	in("criticality", len(q.Criticality), bun.List(ints(q.Criticality)))
	in("level", len(q.Levels), bun.List(ints(q.Levels)))
	in("id", len(q.IDs), bun.List(q.IDs))
	for _, c := range []struct {
		on  bool
		sql string
	}{
		{q.Exploited, "h.exploited > 0"},
		{q.Ransomware, "h.ransomware > 0"},
		{q.Restart, fmt.Sprintf("h.restart = %d", host.Yes)},
		{q.Conflict, "h.id IN (SELECT host_id FROM conflict WHERE resolved = 0 UNION SELECT other_id FROM conflict WHERE resolved = 0)"},
	} {
		if c.on {
			add(c.sql)
		}
	}
	if !q.SeenBefore.IsZero() {
		add("h.last_seen < ?", stamp(q.SeenBefore))
	}
	if q.MinBehind > 0 {
		add("h.behind >= ?", q.MinBehind)
	}
	if len(q.Behind) > 0 {
		var ranges []string
		var months []any
		for _, b := range q.Behind {
			first, last := b.Months()
			ranges, months = append(ranges, "h.behind BETWEEN ? AND ?"), append(months, first, last)
		}
		add("("+strings.Join(ranges, " OR ")+")", months...)
	}
	if q.Missing != 0 {
		add("h.verdicts_id IN (SELECT verdicts_id FROM verdicts_missing WHERE kb = ?)", int64(q.Missing))
	}
	if q.CVE != "" {
		verdicts := q.Verdicts
		if len(verdicts) == 0 {
			verdicts = []assess.Verdict{assess.Affected, assess.Unfixable}
		}
		ids, err := d.verdictsWith(ctx, q.CVE, verdicts)
		if err != nil {
			return nil, err
		}
		if len(ids) == 0 {
			ids = []int64{0}
		}
		add("h.verdicts_id IN (?)", bun.List(ids))
	}
	return func(s *bun.SelectQuery) *bun.SelectQuery {
		for _, c := range list {
			s.Where(c.sql, c.args...)
		}
		return s
	}, nil
}

var likeEscape = strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`)

func ints[T ~uint8](list []T) []int {
	out := make([]int, len(list))
	for i, v := range list {
		out[i] = int(v)
	}
	return out
}

// Tags counts the machines of each tag.
func (d *DB) Tags(ctx context.Context) ([]fleet.Count, error) {
	list, err := d.tags.of(ctx, d, struct{}{}, d.countTags)
	return slices.Clone(list), err
}

func (d *DB) countTags(ctx context.Context, _ struct{}) ([]fleet.Count, error) {
	return d.counts(ctx, `SELECT t.tag AS value, COUNT(*) AS hosts FROM host_tag t JOIN host h ON h.id = t.host_id WHERE h.retired = FALSE GROUP BY t.tag ORDER BY 2 DESC, 1`)
}

func (d *DB) counts(ctx context.Context, query string, args ...any) (list []fleet.Count, err error) {
	err = d.read.NewRaw(query, args...).Scan(ctx, &list)
	return list, err
}

// Overview counts the machines that are not retired.
func (d *DB) Overview(ctx context.Context, unseen time.Time) (fleet.Overview, error) {
	o, err := d.overview.of(ctx, d, unseen, d.countAll)
	o.ByLevel, o.BySupport, o.ByCriticality = maps.Clone(o.ByLevel), maps.Clone(o.BySupport), maps.Clone(o.ByCriticality)
	o.ByRelease, o.BySite, o.ByOwner = slices.Clone(o.ByRelease), slices.Clone(o.BySite), slices.Clone(o.ByOwner)
	o.ByBuild, o.ByBehind, o.ByStand = slices.Clone(o.ByBuild), slices.Clone(o.ByBehind), slices.Clone(o.ByStand)
	return o, err
}

func (d *DB) countAll(ctx context.Context, unseen time.Time) (fleet.Overview, error) {
	o, err := d.tally.overview(ctx, d, unseen)
	if err != nil {
		return o, err
	}
	conflicts, err := d.read.NewSelect().Table("conflict").Where("resolved = 0").Count(ctx)
	if err != nil {
		return o, err
	}
	uploads, err := d.read.NewSelect().Table("upload").Where("state = ?", int(fleet.UploadReceived)).Count(ctx)
	o.Conflicts, o.Uploads = int(conflicts), int(uploads)
	return o, err
}
