package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// Store is what is tested.
type Store interface {
	fleet.Store
	fleet.Queue
	Work(ctx context.Context, works []fleet.Work) (stop func() error, err error)
}

// Run holds a store to what package fleet asks of it. Open gives an empty one each time,
// and closes it at the end of its test.
func Run(t *testing.T, open func(t *testing.T) Store) {
	t.Helper()
	for _, c := range []struct {
		name string
		test func(t *testing.T, s Store)
	}{
		{"uploads", uploads},
		{"hosts", hosts},
		{"decisions", decisions},
		{"record", record},
		{"history", history},
		{"jobs", jobs},
		{"hostile", hostile},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

var now = time.Date(2026, 11, 25, 9, 30, 0, 0, time.UTC)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func wantError(t *testing.T, what string, want, got error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: error %v, want %v", what, got, want)
	}
}

func newUpload(n int) fleet.Upload {
	return fleet.Upload{
		Key: fmt.Sprintf("key-%d", n), Hash: fmt.Sprintf("%064d", n), Name: "fs01.txt", Size: 12345, Via: fleet.ViaAPI, By: "token of inventory",
		Received: now.Add(time.Duration(n) * time.Second),
	}
}

func uploads(t *testing.T, s Store) {
	ctx := t.Context()
	var all []fleet.Upload
	for n := range 5 {
		u, added, err := s.AddUpload(ctx, newUpload(n))
		must(t, err)
		if !added || u.ID == 0 {
			t.Fatalf("upload %d: added %v, id %d", n, added, u.ID)
		}
		all = append([]fleet.Upload{u}, all...)
	}
	again := newUpload(2)
	again.Name, again.Received = "other name", now.Add(time.Hour)
	u, added, err := s.AddUpload(ctx, again)
	must(t, err)
	want(t, "the same key again", all[2], u)
	if added {
		t.Error("the same key was added twice")
	}
	again.Hash = "another"
	_, _, err = s.AddUpload(ctx, again)
	wantError(t, "a key with other content", fleet.ErrKeyReused, err)
	list, err := s.Uploads(ctx, fleet.UploadQuery{})
	must(t, err)
	want(t, "all", all, list)
	list, err = s.Uploads(ctx, fleet.UploadQuery{After: all[1].ID, Limit: 2})
	must(t, err)
	want(t, "a page", all[2:4], list)
	must(t, s.Record(ctx, fleet.Result{Upload: all[0].ID, Error: "nobody understood it", Now: now}))
	failed := all[0]
	failed.State, failed.Error, failed.Done = fleet.UploadFailed, "nobody understood it", now
	got, err := s.Upload(ctx, failed.ID)
	must(t, err)
	want(t, "a failed one", failed, got)
	state := fleet.UploadReceived
	list, err = s.Uploads(ctx, fleet.UploadQuery{State: &state})
	must(t, err)
	want(t, "those not read", all[1:], list)
	_, err = s.Upload(ctx, 12345)
	wantError(t, "an upload that is not there", fleet.ErrNotFound, err)
	wantError(t, "recorded twice", fleet.ErrStale, s.Record(ctx, fleet.Result{Upload: failed.ID, Now: now}))
}

// machine makes an assessed machine with one piece of evidence of an upload.
func machine(name string, upload int64, part int) fleet.Assessed {
	v := fleet.Verdicts{
		List: []fleet.CVEVerdict{
			{CVE: "CVE-2017-0144", Verdict: assess.Affected, Exploited: true},
			{CVE: "CVE-2019-0708", Verdict: assess.Unknown, Exploited: true},
			{CVE: "CVE-2020-0601", Verdict: assess.NotAffected},
		},
		Missing: []winver.KB{4499149, 4012598},
	}
	id := fleet.Identity{Name: name, Domain: "corp.example.com", ProductID: "92573-082-2500115-76417", MachineID: "id-of-" + name}
	return fleet.Assessed{
		Host: fleet.Host{
			Identity: id,
			Standing: fleet.Standing{
				Release: "windows-server-2008-sp2", ReleaseName: "Windows Server 2008 SP2", Product: "Windows Server 2008 Standard", Edition: "Standard",
				Arch: "x64", Role: host.Member, Core: host.No, Build: winver.Build{Major: 6, Number: 6003, Revision: 20489, HasRevision: true},
				Support: assess.Over, SupportEnds: day("2020-01-14"), Level: assess.Bad, Headline: "affected",
				Affected: 1, Unknown: 1, Exploited: 1, Missing: 2, MonthsBehind: 31, Newest: 4487023, Latest: 5073697,
				Restart: host.No, Gaps: 1, AsOf: day("2026-11-25"), Catalog: "digest", Assessed: now,
			},
			FirstSeen: now.Add(-time.Hour), LastSeen: now,
		},
		Parts: []fleet.Part{{
			Sighting: fleet.Sighting{
				Upload: upload, Part: part, Identity: id, Seen: now, Stated: true, Readers: []string{"hive", "systeminfo"}, Base: true, Current: true, Gaps: 1,
			},
			Body: []byte("what " + name + " says"),
		}},
		Verdicts: v.Pack(), Missing: v.Missing,
		Change: &fleet.Change{
			At: now, AsOf: day("2026-11-25"), Cause: fleet.CauseEvidence, Upload: upload, First: true,
			New: 1, Exploited: 1, Build: [2]string{"", "6.0.6003.20489"}, Release: [2]string{"", "windows-server-2008-sp2"},
			Level: [2]assess.Level{assess.Clear, assess.Bad}, Headline: "affected",
		},
	}
}

func day(s string) catalog.Date {
	d, err := catalog.ParseDate(s)
	if err != nil {
		panic(err)
	}
	return d
}

// add stores an upload with machines, and gives their ids by name.
func add(t *testing.T, s Store, change func(i int, a *fleet.Assessed), names ...string) map[string]int64 {
	t.Helper()
	u, _, err := s.AddUpload(t.Context(), newUpload(0))
	must(t, err)
	r := fleet.Result{Upload: u.ID, Machines: len(names), Now: now}
	for i, name := range names {
		a := machine(name, u.ID, i)
		if change != nil {
			change(i, &a)
		}
		r.Assessed = append(r.Assessed, a)
	}
	must(t, s.Record(t.Context(), r))
	ids := map[string]int64{}
	for q := (fleet.HostQuery{}); ; {
		page, err := s.Hosts(t.Context(), q)
		must(t, err)
		for _, h := range page.Hosts {
			ids[h.Name] = h.ID
		}
		if q.After = page.Next; q.After == "" {
			return ids
		}
	}
}

func names(page fleet.HostPage) (list []string) {
	for _, h := range page.Hosts {
		list = append(list, h.Name)
	}
	return list
}

func hosts(t *testing.T, s Store) {
	ctx := t.Context()
	ids := add(t, s, func(i int, a *fleet.Assessed) {
		a.Host.Exploited, a.Host.MonthsBehind = i, 10*i-1
		a.Host.LastSeen = now.AddDate(0, 0, -i)
		switch i {
		case 1:
			a.Host.Release, a.Host.Level, a.Host.Support, a.Host.Restart = "windows-7-sp1", assess.Clear, assess.Programmes, host.Yes
			v := fleet.Verdicts{List: []fleet.CVEVerdict{{CVE: "CVE-2017-0144", Verdict: assess.Fixed}, {CVE: "CVE-2020-0601", Verdict: assess.Unfixable}}}
			a.Verdicts, a.Missing = v.Pack(), nil
		case 2:
			a.Host.Arch, a.Host.Role = "x86", host.DomainController
		}
	}, "alpha", "Beta_1", "gamma%2")
	want(t, "three machines", 3, len(ids))
	h, err := s.Host(ctx, ids["alpha"])
	must(t, err)
	expect := machine("alpha", 0, 0).Host
	expect.ID, expect.Version, expect.Exploited, expect.MonthsBehind = ids["alpha"], 1, 0, -1
	want(t, "a machine", expect, h)
	_, err = s.Host(ctx, 12345)
	wantError(t, "a machine that is not there", fleet.ErrNotFound, err)

	must(t, s.EditHosts(ctx, []int64{ids["alpha"], ids["Beta_1"]}, fleet.OwnedEdit{
		Owner: new("Zoë Ümlaut"), Site: new("KÖLN"), Criticality: new(fleet.CriticalityHigh), AddTags: []string{"dmz", "print"},
	}))
	must(t, s.EditHosts(ctx, []int64{ids["Beta_1"]}, fleet.OwnedEdit{RemoveTags: []string{"dmz"}, AddTags: []string{"print", "lab"}}))
	must(t, s.EditHosts(ctx, []int64{ids["alpha"]}, fleet.OwnedEdit{Owner: new("Max")}))
	wantError(t, "an edit of what is not there", fleet.ErrNotFound, s.EditHosts(ctx, []int64{ids["alpha"], 12345}, fleet.OwnedEdit{Site: new("gone")}))
	h, err = s.Host(ctx, ids["Beta_1"])
	must(t, err)
	want(t, "what people said", fleet.Owned{Owner: "Zoë Ümlaut", Site: "KÖLN", Criticality: fleet.CriticalityHigh, Tags: []string{"lab", "print"}}, h.Owned)

	for _, c := range []struct {
		name string
		q    fleet.HostQuery
		want []string
	}{
		{"worst_first", fleet.HostQuery{}, []string{"gamma%2", "alpha", "Beta_1"}},
		{"best_first", fleet.HostQuery{Reverse: true}, []string{"Beta_1", "alpha", "gamma%2"}},
		{"by_name", fleet.HostQuery{Sort: fleet.SortName}, []string{"alpha", "Beta_1", "gamma%2"}},
		{"by_behind", fleet.HostQuery{Sort: fleet.SortBehind}, []string{"gamma%2", "Beta_1", "alpha"}},
		{"by_seen", fleet.HostQuery{Sort: fleet.SortSeen}, []string{"gamma%2", "Beta_1", "alpha"}},
		{"text_in_name", fleet.HostQuery{Text: "ALPH"}, []string{"alpha"}},
		{"text_in_domain", fleet.HostQuery{Text: "Corp.", Sort: fleet.SortName}, []string{"alpha", "Beta_1", "gamma%2"}},
		{"text_in_site", fleet.HostQuery{Text: "köln", Sort: fleet.SortName}, []string{"alpha", "Beta_1"}},
		{"text_in_owner", fleet.HostQuery{Text: "ümlaut"}, []string{"Beta_1"}},
		{"percent_is_a_character", fleet.HostQuery{Text: "%"}, []string{"gamma%2"}},
		{"underscore_is_a_character", fleet.HostQuery{Text: "a_"}, []string{"Beta_1"}},
		{"hostile_text", fleet.HostQuery{Text: `' OR 1=1 -- \`}, nil},
		{"tag", fleet.HostQuery{Tags: []string{"dmz", "lab"}, Sort: fleet.SortName}, []string{"alpha", "Beta_1"}},
		{"release", fleet.HostQuery{Releases: []string{"windows-7-sp1"}}, []string{"Beta_1"}},
		{"level", fleet.HostQuery{Levels: []assess.Level{assess.Clear, assess.Undecided}}, []string{"Beta_1"}},
		{"support", fleet.HostQuery{Support: []assess.SupportState{assess.Programmes}}, []string{"Beta_1"}},
		{"criticality", fleet.HostQuery{Criticality: []fleet.Criticality{fleet.CriticalityUnset}}, []string{"gamma%2"}},
		{"site", fleet.HostQuery{Sites: []string{"KÖLN"}, Owners: []string{"Max"}}, []string{"alpha"}},
		{"arch_and_role", fleet.HostQuery{Arches: []string{"x86"}, Roles: []string{"domain-controller"}}, []string{"gamma%2"}},
		{"exploited", fleet.HostQuery{Exploited: true, Sort: fleet.SortName}, []string{"Beta_1", "gamma%2"}},
		{"restart", fleet.HostQuery{Restart: true}, []string{"Beta_1"}},
		{"seen_before", fleet.HostQuery{SeenBefore: now.AddDate(0, 0, -1)}, []string{"gamma%2"}},
		{"behind", fleet.HostQuery{MinBehind: 9, Sort: fleet.SortName}, []string{"Beta_1", "gamma%2"}},
		{"behind_class", fleet.HostQuery{Behind: []fleet.Behind{fleet.BehindSome}}, []string{"Beta_1"}},
		{"behind_classes", fleet.HostQuery{Behind: []fleet.Behind{fleet.BehindFar, fleet.BehindUnknown}, Sort: fleet.SortName}, []string{"alpha", "gamma%2"}},
		{"behind_none", fleet.HostQuery{Behind: []fleet.Behind{fleet.BehindNone, fleet.BehindLittle}}, nil},
		{"cve", fleet.HostQuery{CVE: "cve-2017-0144", Sort: fleet.SortName}, []string{"alpha", "gamma%2"}},
		{"cve_unfixable", fleet.HostQuery{CVE: "CVE-2020-0601"}, []string{"Beta_1"}},
		{"cve_unknown", fleet.HostQuery{CVE: "CVE-2019-0708", Verdicts: []assess.Verdict{assess.Unknown}, Sort: fleet.SortName}, []string{"alpha", "gamma%2"}},
		{"cve_of_nobody", fleet.HostQuery{CVE: "CVE-1999-9999"}, nil},
		{"no_cve", fleet.HostQuery{CVE: "%"}, nil},
		{"build", fleet.HostQuery{Build: 6003, Sort: fleet.SortName}, []string{"alpha", "Beta_1", "gamma%2"}},
		{"build_of_nobody", fleet.HostQuery{Build: 600}, nil},
		{"missing", fleet.HostQuery{Missing: 4012598, Sort: fleet.SortName}, []string{"alpha", "gamma%2"}},
		{"ids", fleet.HostQuery{IDs: []int64{ids["alpha"]}}, []string{"alpha"}},
		{"retired", fleet.HostQuery{Retired: true}, nil},
		{"all_at_once", fleet.HostQuery{Text: "a", Tags: []string{"print"}, Sites: []string{"KÖLN"}, CVE: "CVE-2017-0144", Missing: 4012598, MinBehind: 0}, []string{"alpha"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, failed := s.Hosts(ctx, c.q)
			must(t, failed)
			want(t, "machines", c.want, names(got))
			want(t, "total", len(c.want), got.Total)
		})
	}
	for _, sort := range fleet.Sorts() {
		all, failed := s.Hosts(ctx, fleet.HostQuery{Sort: sort})
		must(t, failed)
		var paged []string
		for q := (fleet.HostQuery{Sort: sort, Limit: 1}); ; {
			page, failed := s.Hosts(ctx, q)
			must(t, failed)
			paged = append(paged, names(page)...)
			if q.After = page.Next; q.After == "" {
				break
			}
		}
		want(t, "pages by "+string(sort), names(all), paged)
	}
	_, err = s.Hosts(ctx, fleet.HostQuery{After: "nonsense"})
	wantError(t, "a place that was not given", fleet.ErrInvalid, err)
	_, err = s.Hosts(ctx, fleet.HostQuery{Sort: "colour"})
	wantError(t, "an order that is none", fleet.ErrInvalid, err)

	cves, err := s.CVEs(ctx)
	must(t, err)
	want(t, "vulnerabilities", []fleet.CVECount{
		{CVE: "CVE-2017-0144", Affected: 2, Exploited: true}, {CVE: "CVE-2020-0601", Unfixable: 1}, {CVE: "CVE-2019-0708", Unknown: 2, Exploited: true},
	}, cves)
	kbs, err := s.KBs(ctx)
	must(t, err)
	want(t, "missing updates", []fleet.KBCount{{KB: 4499149, Hosts: 2}, {KB: 4012598, Hosts: 2}}, kbs)
	tags, err := s.Tags(ctx)
	must(t, err)
	want(t, "tags", []fleet.Count{{Value: "print", Hosts: 2}, {Value: "dmz", Hosts: 1}, {Value: "lab", Hosts: 1}}, tags)
	o, err := s.Overview(ctx, now.AddDate(0, 0, -1))
	must(t, err)
	want(t, "overview", fleet.Overview{
		Hosts: 3, ByLevel: map[assess.Level]int{assess.Clear: 1, assess.Bad: 2},
		BySupport: map[assess.SupportState]int{assess.Over: 2, assess.Programmes: 1},
		ByRelease: []fleet.Count{{Value: "windows-server-2008-sp2", Hosts: 2}, {Value: "windows-7-sp1", Hosts: 1}},
		ByStand: []fleet.Stand{
			{Release: "windows-7-sp1", Support: assess.Programmes, Ends: day("2020-01-14"), Hosts: 1},
			{Release: "windows-server-2008-sp2", Support: assess.Over, Ends: day("2020-01-14"), Hosts: 2},
		},
		BySite:        []fleet.Count{{Value: "KÖLN", Hosts: 2}, {Value: "", Hosts: 1}},
		ByOwner:       []fleet.Count{{Value: "", Hosts: 1}, {Value: "Max", Hosts: 1}, {Value: "Zoë Ümlaut", Hosts: 1}},
		ByCriticality: map[fleet.Criticality]int{fleet.CriticalityUnset: 1, fleet.CriticalityHigh: 2},
		ByBuild:       []fleet.Count{{Value: "6002"}, {Value: "6003", Hosts: 3}},
		ByBehind:      []fleet.Count{{Value: "0"}, {Value: "1-3"}, {Value: "4-12", Hosts: 1}, {Value: "13+", Hosts: 1}, {Value: "unknown", Hosts: 1}},
		Exploited:     2, Restart: 1, Unseen: 1,
	}, o)

	must(t, s.EditHosts(ctx, []int64{ids["alpha"]}, fleet.OwnedEdit{Retired: new(true)}))
	page, err := s.Hosts(ctx, fleet.HostQuery{Retired: true})
	must(t, err)
	want(t, "retired", []string{"alpha"}, names(page))
	page, err = s.Hosts(ctx, fleet.HostQuery{Retired: true, Build: 6003})
	must(t, err)
	want(t, "retired, by build", []string{"alpha"}, names(page))
	o, err = s.Overview(ctx, now)
	must(t, err)
	want(t, "counted", 2, o.Hosts)
}

func decisions(t *testing.T, s Store) {
	ctx := t.Context()
	id := add(t, s, nil, "alpha")["alpha"]
	n, err := s.AddNote(ctx, fleet.Note{Host: id, At: now, By: "max", Text: "the rack on the left"})
	must(t, err)
	_, err = s.AddNote(ctx, fleet.Note{Host: 12345, At: now, By: "max", Text: "?"})
	wantError(t, "a note on what is not there", fleet.ErrNotFound, err)
	notes, err := s.Notes(ctx, id)
	must(t, err)
	want(t, "notes", []fleet.Note{n}, notes)

	of, err := s.AddRisk(ctx, fleet.Risk{Host: id, CVE: "cve-2017-0144", Reason: "port 445 is closed", By: "max", At: now, Until: day("2027-03-31")})
	must(t, err)
	all, err := s.AddRisk(ctx, fleet.Risk{Kind: "support-over", Reason: "migration until summer", By: "max", At: now, Until: day("2027-06-30")})
	must(t, err)
	for what, r := range map[string]fleet.Risk{
		"without a reason": {Host: id, CVE: "CVE-2017-0144", Until: 1},
		"without an end":   {Host: id, CVE: "CVE-2017-0144", Reason: "r"},
		"of nothing":       {Host: id, Reason: "r", Until: 1},
		"of two things":    {Host: id, CVE: "CVE-2017-0144", Kind: "support-over", Reason: "r", Until: 1},
	} {
		_, err = s.AddRisk(ctx, r)
		wantError(t, "a risk "+what, fleet.ErrInvalid, err)
	}
	risks, err := s.Risks(ctx, id)
	must(t, err)
	of.CVE = "CVE-2017-0144"
	want(t, "risks of the machine", []fleet.Risk{of, all}, risks)
	must(t, s.RemoveRisk(ctx, of.ID))
	wantError(t, "removed twice", fleet.ErrNotFound, s.RemoveRisk(ctx, of.ID))
	risks, err = s.Risks(ctx, 0)
	must(t, err)
	want(t, "all risks", []fleet.Risk{all}, risks)
}

func record(t *testing.T, s Store) {
	ctx := t.Context()
	ids := add(t, s, nil, "alpha", "beta")
	list, err := s.Candidates(ctx, fleet.Identity{Name: "ALPHA.corp.example.com", MachineID: "id-of-beta"})
	must(t, err)
	if len(list) != 2 || list[0].Host.ID != ids["alpha"] || list[1].Host.ID != ids["beta"] {
		t.Fatalf("candidates by name and machine id: %+v", list)
	}
	a := machine("alpha", 0, 0)
	want(t, "its evidence", "what alpha says", string(list[0].Parts[0].Body))
	want(t, "its verdicts", a.Verdicts, list[0].Verdicts)
	list, err = s.Candidates(ctx, fleet.Identity{ProductID: "92573-082-2500115-76417"})
	must(t, err)
	want(t, "candidates by product id", 2, len(list))
	list, err = s.Candidates(ctx, fleet.Identity{Name: "gamma", ProductID: "92573-082-2500115-76417"})
	must(t, err)
	want(t, "candidates by a product id that has a name", 0, len(list))
	list, err = s.Candidates(ctx, fleet.Identity{})
	must(t, err)
	want(t, "candidates of nothing", 0, len(list))

	// New evidence takes the place of old evidence.
	u, _, err := s.AddUpload(ctx, newUpload(1))
	must(t, err)
	list, err = s.Candidates(ctx, fleet.Identity{Name: "alpha"})
	must(t, err)
	next := machine("alpha", u.ID, 0)
	next.Host.ID, next.Host.Version, next.Host.Headline = list[0].Host.ID, list[0].Host.Version, "better"
	next.Host.Owner = "nobody: what people say is not stored with an assessment"
	next.Parts[0].Body = []byte("new")
	next.Conflicts = []fleet.Conflict{{Kind: fleet.ConflictCloned, Other: ids["beta"], Text: "both state the same machine id"}}
	nameless := fleet.Unplaced{
		Part:     fleet.Part{Sighting: fleet.Sighting{Upload: u.ID, Part: 1, Seen: now, Readers: []string{"wmicqfe"}}, Body: []byte("whose?")},
		Conflict: fleet.Conflict{Kind: fleet.ConflictNameless, Text: "it names no machine"},
	}
	r := fleet.Result{Upload: u.ID, Machines: 2, Assessed: []fleet.Assessed{next}, Unplaced: []fleet.Unplaced{nameless}, Now: now}
	must(t, s.Record(ctx, r))
	wantError(t, "the same result twice", fleet.ErrStale, s.Record(ctx, r))
	r.Upload = 0
	wantError(t, "an older version", fleet.ErrStale, s.Record(ctx, r))
	h, err := s.Host(ctx, ids["alpha"])
	must(t, err)
	want(t, "version, headline, owner, conflicts", []any{int64(2), "better", "", 1}, []any{h.Version, h.Headline, h.Owner, h.Conflicts})
	seen, err := s.HostSightings(ctx, ids["alpha"])
	must(t, err)
	if len(seen) != 2 || !seen[0].Current || seen[1].Current || seen[0].Upload != u.ID {
		t.Errorf("sightings of the machine: %+v", seen)
	}
	list, err = s.Candidates(ctx, fleet.Identity{Name: "alpha"})
	must(t, err)
	want(t, "current evidence", 1, len(list[0].Parts))
	want(t, "its body", "new", string(list[0].Parts[0].Body))
	ofUpload, err := s.Sightings(ctx, u.ID)
	must(t, err)
	if len(ofUpload) != 2 || ofUpload[0].Host != ids["alpha"] || ofUpload[1].Host != 0 {
		t.Errorf("sightings of the upload: %+v", ofUpload)
	}
	ups, err := s.Uploads(ctx, fleet.UploadQuery{Host: ids["alpha"]})
	must(t, err)
	want(t, "uploads of the machine", 2, len(ups))

	conflicts, err := s.Conflicts(ctx, 0)
	must(t, err)
	if len(conflicts) != 2 || conflicts[1].Sighting != ofUpload[0].ID || conflicts[0].Sighting != ofUpload[1].ID {
		t.Fatalf("conflicts: %+v", conflicts)
	}
	page, err := s.Hosts(ctx, fleet.HostQuery{Conflict: true, Sort: fleet.SortName})
	must(t, err)
	want(t, "machines with conflicts", []string{"alpha", "beta"}, names(page))
	must(t, s.ResolveConflict(ctx, conflicts[1].ID, "max", now))
	wantError(t, "resolved twice", fleet.ErrNotFound, s.ResolveConflict(ctx, conflicts[1].ID, "max", now))
	conflicts, err = s.Conflicts(ctx, ids["beta"])
	must(t, err)
	want(t, "conflicts that are open", 0, len(conflicts))

	// A result that cannot be stored is not stored in part.
	u, _, err = s.AddUpload(ctx, newUpload(2))
	must(t, err)
	fresh, stale := machine("gamma", u.ID, 0), machine("alpha", u.ID, 1)
	stale.Host.ID, stale.Host.Version = ids["alpha"], 1
	wantError(t, "stale", fleet.ErrStale, s.Record(ctx, fleet.Result{Upload: u.ID, Assessed: []fleet.Assessed{fresh, stale}, Now: now}))
	list, err = s.Candidates(ctx, fleet.Identity{Name: "gamma"})
	must(t, err)
	want(t, "what a result stored that could not be stored", 0, len(list))
	u, err = s.Upload(ctx, u.ID)
	must(t, err)
	want(t, "its upload", fleet.UploadReceived, u.State)
}

func history(t *testing.T, s Store) {
	ctx := t.Context()
	ids := add(t, s, func(i int, a *fleet.Assessed) {
		if i == 1 {
			a.Change.First, a.Change.Exploited, a.Change.Document = false, 0, []byte(`{"schema":"oldguard/change/1"}`)
		}
	}, "alpha", "beta")
	list, err := s.Changes(ctx, fleet.ChangeQuery{})
	must(t, err)
	if len(list) != 2 || list[0].Host != ids["beta"] {
		t.Fatalf("changes: %+v", list)
	}
	expect := *machine("beta", list[0].Upload, 1).Change
	expect.ID, expect.Host, expect.First, expect.Exploited = list[0].ID, ids["beta"], false, 0
	want(t, "a change", expect, list[0])
	c, err := s.Change(ctx, list[0].ID)
	must(t, err)
	want(t, "its document", `{"schema":"oldguard/change/1"}`, string(c.Document))
	_, err = s.Change(ctx, 12345)
	wantError(t, "a change that is not there", fleet.ErrNotFound, err)
	for name, c := range map[string]struct {
		q    fleet.ChangeQuery
		want int
	}{
		"of_a_machine": {fleet.ChangeQuery{Host: ids["alpha"]}, 1}, "exploited": {fleet.ChangeQuery{Exploited: true}, 1},
		"since": {fleet.ChangeQuery{Since: now.Add(time.Second)}, 0}, "until": {fleet.ChangeQuery{Until: now}, 0}, "between": {fleet.ChangeQuery{Since: now, Until: now.Add(time.Second)}, 2}, "behind": {fleet.ChangeQuery{After: list[0].ID}, 1},
	} {
		got, failed := s.Changes(ctx, c.q)
		must(t, failed)
		want(t, name, c.want, len(got))
	}

	must(t, s.NoteDay(ctx, day("2026-11-24"), now))
	must(t, s.NoteDay(ctx, day("2026-11-25"), now))
	must(t, s.NoteDay(ctx, day("2026-11-25"), now.Add(time.Second)))
	days, err := s.Days(ctx, day("2026-11-25"), day("2026-11-30"))
	must(t, err)
	want(t, "days", []fleet.Day{{
		Day: day("2026-11-25"), Release: "windows-server-2008-sp2", Hosts: 2, Bad: 2, Exploited: 2, Over: 2, Affected: 2, Missing: 4, Unseen: 2,
	}}, days)

	for i, digest := range []string{"a", "b", "a"} {
		must(t, s.UseCatalog(ctx, fleet.CatalogInfo{Digest: digest, Sources: []catalog.Source{{ID: "msrc", Last: day("2026-06-28")}}, At: now.Add(time.Duration(i) * time.Hour)}))
	}
	cats, err := s.Catalogs(ctx)
	must(t, err)
	if len(cats) != 2 || cats[0].Digest != "a" || cats[0].Sources[0].Last != day("2026-06-28") {
		t.Errorf("catalogues: %+v", cats)
	}

	run := fleet.Run{Cause: fleet.CauseCatalog, Catalog: "a", AsOf: day("2026-11-25"), Begun: now}
	for i, expect := range []bool{true, false} {
		begun, failed := s.BeginRun(ctx, run)
		must(t, failed)
		want(t, fmt.Sprintf("begun %d", i), expect, begun)
	}
	runs, err := s.Runs(ctx, 10)
	must(t, err)
	run.ID = runs[0].ID
	want(t, "runs", []fleet.Run{run}, runs)
	some, err := s.Placings(ctx, 0, 1, "a", day("2026-11-25"))
	must(t, err)
	want(t, "the first machine", ids["alpha"], some[0].Host.ID)
	some, err = s.Placings(ctx, ids["alpha"], 10, "digest", day("2026-11-26"))
	must(t, err)
	want(t, "those behind it on another day", 1, len(some))
	some, err = s.Placings(ctx, 0, 10, "digest", day("2026-11-25"))
	must(t, err)
	want(t, "those judged otherwise than they are", 0, len(some))
	part := fleet.Result{
		Now: now.Add(time.Hour), Run: run.ID, Last: ids["alpha"], Seen: 1, Unchanged: []int64{ids["alpha"]}, AsOf: day("2026-11-26"), Catalog: "new",
	}
	must(t, s.Record(ctx, part))
	wantError(t, "the same part twice", fleet.ErrStale, s.Record(ctx, part))
	h, err := s.Host(ctx, ids["alpha"])
	must(t, err)
	want(t, "judged again", []any{day("2026-11-26"), "new", now.Add(time.Hour)}, []any{h.AsOf, h.Catalog, h.Assessed})
	must(t, s.Record(ctx, fleet.Result{Now: now.Add(2 * time.Hour), Run: run.ID, Ended: true}))
	run.Done, run.Last, run.Hosts = now.Add(2*time.Hour), ids["alpha"], 1
	got, err := s.Run(ctx, run.ID)
	must(t, err)
	want(t, "the run", run, got)
	_, err = s.Run(ctx, 12345)
	wantError(t, "a run that is not there", fleet.ErrNotFound, err)
}

type ping struct {
	N int `json:"n"`
}

func (ping) Kind() string { return "ping" }

type hopeless struct{}

func (hopeless) Kind() string { return "hopeless" }

func jobs(t *testing.T, s Store) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	u, _, err := s.AddUpload(ctx, newUpload(0))
	must(t, err)
	must(t, s.Enqueue(ctx, ping{1}, ping{2}))
	got := make(chan any, 10)
	tries := make(chan bool, 1)
	tries <- true
	works := []fleet.Work{
		fleet.WorkOn("notes that it ran", func(_ context.Context, p ping) error {
			if p.N == 2 {
				select {
				case <-tries:
					return errors.New("not this \x00 time \xff")
				default:
				}
			}
			got <- p
			return nil
		}),
		fleet.WorkOn("notes that it ran", func(_ context.Context, r fleet.ReadUpload) error {
			got <- r
			return nil
		}),
		{Kind: hopeless{}.Kind(), Attempts: 1, Do: func(context.Context, fleet.Task) error {
			got <- "hopeless"
			return errors.New("never")
		}},
		{Kind: "beat", Every: time.Hour, Do: func(context.Context, fleet.Task) error { got <- "beat"; return nil }},
	}
	stop, err := s.Work(ctx, works)
	must(t, err)
	seen := map[any]int{}
	receive := func(n int) {
		t.Helper()
		for range n {
			select {
			case v := <-got:
				seen[v]++
			case <-ctx.Done():
				t.Fatalf("only these jobs were done: %v", seen)
			}
		}
	}
	receive(4)
	must(t, s.Enqueue(ctx, ping{3}))
	receive(1)
	must(t, s.Enqueue(ctx, hopeless{}))
	receive(1)
	for {
		state, err := s.Jobs(ctx)
		must(t, err)
		done := 0
		for _, c := range state.Counts {
			if c.State == fleet.JobDone && !c.Last.IsZero() {
				done += c.Jobs
			}
		}
		if done >= 5 && len(state.Failed) == 1 {
			f := state.Failed[0]
			want(t, "the job that fails", []any{"hopeless", fleet.JobGivenUp, 1, true, true}, []any{f.Kind, f.State, f.Attempt, strings.Contains(f.Error, "never"), f.Next.IsZero() && !f.At.IsZero()})
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("jobs: %+v", state)
		}
		time.Sleep(20 * time.Millisecond)
	}
	must(t, stop())
	want(t, "jobs done", map[any]int{ping{1}: 1, ping{2}: 1, ping{3}: 1, fleet.ReadUpload{Upload: u.ID}: 1, "beat": 1, "hopeless": 1}, seen)
}
