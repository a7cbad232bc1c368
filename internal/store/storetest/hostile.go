package storetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/fleet/access"
)

// hostileTexts are texts that a statement, a pattern, JSON or an encoding may stumble over, and
// what is kept of them.
var hostileTexts = []struct{ name, text, kept string }{
	{"nul", "a\x00b", "a\uFFFDb"},
	{"only_nul", "\x00", "\uFFFD"},
	{"no_utf8", "a\xff\xfe\x80b", "a\uFFFD\uFFFD\uFFFDb"},
	{"half_a_character", "gr\xc3", "gr\uFFFD"},
	{"half_a_pair", "a\xed\xa0\x80b", "a\uFFFD\uFFFD\uFFFDb"},
	{"too_long_a_form", "a\xc0\x80b", "a\uFFFD\uFFFDb"},
	{"escaped_nul", `a\u0000b`, `a\u0000b`},
	{"quotes", `'; DROP TABLE host; -- " ''`, `'; DROP TABLE host; -- " ''`},
	{"backslashes", `\' \\ \x00 E'\000' \%`, `\' \\ \x00 E'\000' \%`},
	{"places", "? ?0 ?1 $1 :name @name ??", "? ?0 ?1 $1 :name @name ??"},
	{"pattern", "%_[a]*%", "%_[a]*%"},
	{"controls", "a\x01\x1b[2J\x7f\r\n\tb", "a\x01\x1b[2J\x7f\r\n\tb"},
	{"directions", "a\u202etxt.exe\u2066", "a\u202etxt.exe\u2066"},
	{"beyond_16_bits", "\U0001F3E5 \uFFFF \U0010FFFF", "\U0001F3E5 \uFFFF \U0010FFFF"},
	{"json", `{"a":["\"}`, `{"a":["\"}`},
	{"array", `{a,"b",NULL}`, `{a,"b",NULL}`},
	{"long", strings.Repeat("é'\\", 100), strings.Repeat("é'\\", 100)},
}

// hostile stores each text wherever one comes from evidence or from people, finds by it what
// it was stored for, and gets back what is to be kept.
func hostile(t *testing.T, s Store) {
	ctx := t.Context()
	part := 1000
	for i, c := range hostileTexts {
		t.Run(c.name, func(t *testing.T) {
			up := newUpload(i)
			up.Key, up.Name, up.By = fmt.Sprint(i, c.text), c.text, c.text
			u, added, err := s.AddUpload(ctx, up)
			must(t, err)
			again, twice, err := s.AddUpload(ctx, up)
			must(t, err)
			want(t, "the upload again", []any{true, false, u.ID, c.kept, c.kept, fmt.Sprint(i, c.kept)}, []any{added, twice, again.ID, again.Name, again.By, again.Key})

			a := machine("x", u.ID, part)
			part++
			id := fleet.Identity{Name: fmt.Sprint("m", i, c.text), Domain: c.text, ProductID: c.text, MachineID: fmt.Sprint("id", i, c.text)}
			h := &a.Host
			h.Identity, a.Parts[0].Identity = id, id
			h.Release, h.ReleaseName, h.Product, h.Edition, h.Arch, h.Headline = c.text, c.text, c.text, c.text, c.text, c.text
			h.Catalog = c.text
			a.Parts[0].Readers = []string{"systeminfo"}
			a.Parts[0].Body = []byte(c.text + "\x00\xff") // bytes are kept as they are
			a.Change.Headline, a.Change.Document = c.text, []byte(c.text+"\x00\xff")
			a.Change.Build, a.Change.Release = [2]string{c.text, ""}, [2]string{"", c.text}
			a.Conflicts = []fleet.Conflict{{Kind: fleet.ConflictCloned, Other: 1, Text: c.text}}
			must(t, s.Record(ctx, fleet.Result{Upload: u.ID, Machines: 1, Error: c.text, Assessed: []fleet.Assessed{a}, Now: now}))
			u, err = s.Upload(ctx, u.ID)
			must(t, err)
			want(t, "what could not be read", c.kept, u.Error)

			list, err := s.Candidates(ctx, fleet.Identity{Name: id.Name})
			must(t, err)
			if len(list) != 1 {
				t.Fatalf("%d machines are found by the name", len(list))
			}
			got := list[0].Host
			kept := fleet.Identity{Name: fmt.Sprint("m", i, c.kept), Domain: c.kept, ProductID: c.kept, MachineID: fmt.Sprint("id", i, c.kept)}
			want(t, "identity", kept, got.Identity)
			want(t, "standing", []string{c.kept, c.kept, c.kept, c.kept, c.kept, c.kept, c.kept},
				[]string{got.Release, got.ReleaseName, got.Product, got.Edition, got.Arch, got.Headline, got.Catalog})
			want(t, "what it says", c.text+"\x00\xff", string(list[0].Parts[0].Body))
			list, err = s.Candidates(ctx, fleet.Identity{Name: "other", MachineID: id.MachineID})
			must(t, err)
			want(t, "found by the machine id", 1, len(list))

			changes, err := s.Changes(ctx, fleet.ChangeQuery{Host: got.ID})
			must(t, err)
			change, err := s.Change(ctx, changes[0].ID)
			must(t, err)
			want(t, "the change", []string{c.kept, c.text + "\x00\xff", c.kept, c.kept}, []string{change.Headline, string(change.Document), change.Build[0], change.Release[1]})

			must(t, s.EditHosts(ctx, []int64{got.ID}, fleet.OwnedEdit{
				Owner: new(fmt.Sprint("o", i, c.text)), Site: new(fmt.Sprint("s", i, c.text)), Entitlement: new(c.text), AddTags: []string{fmt.Sprint("t", i, c.text)},
			}))
			for name, q := range map[string]fleet.HostQuery{
				"name": {Text: id.Name}, "owner": {Text: fmt.Sprint("o", i, c.text)}, "tag": {Tags: []string{"none", fmt.Sprint("t", i, c.text)}},
				"site": {Sites: []string{fmt.Sprint("s", i, c.text)}, Owners: []string{fmt.Sprint("o", i, c.text)}}, "kept_name": {Text: kept.Name},
			} {
				page, failed := s.Hosts(ctx, q)
				must(t, failed)
				if len(page.Hosts) != 1 || page.Hosts[0].ID != got.ID || page.Total != 1 {
					t.Errorf("by %s there are %q", name, names(page))
				}
			}
			for _, q := range []fleet.HostQuery{
				{Releases: []string{c.text}, Arches: []string{c.text}, Roles: []string{c.text}}, {CVE: c.text}, {Text: c.text, Sort: fleet.SortName, Limit: 1},
			} {
				_, failed := s.Hosts(ctx, q)
				must(t, failed)
			}
			h2, err := s.Host(ctx, got.ID)
			must(t, err)
			want(t, "what people said", fleet.Owned{Owner: fmt.Sprint("o", i, c.kept), Site: fmt.Sprint("s", i, c.kept), Entitlement: c.kept, Tags: []string{fmt.Sprint("t", i, c.kept)}}, h2.Owned)
			must(t, s.EditHosts(ctx, []int64{got.ID}, fleet.OwnedEdit{RemoveTags: []string{fmt.Sprint("t", i, c.text)}}))

			_, err = s.AddNote(ctx, fleet.Note{Host: got.ID, At: now, By: c.text, Text: c.text})
			must(t, err)
			notes, err := s.Notes(ctx, got.ID)
			must(t, err)
			want(t, "note", []string{c.kept, c.kept}, []string{notes[0].By, notes[0].Text})
			_, err = s.AddRisk(ctx, fleet.Risk{Host: got.ID, Kind: c.text, Reason: c.text, By: c.text, At: now, Until: day("2027-03-31")})
			must(t, err)
			risks, err := s.Risks(ctx, got.ID)
			must(t, err)
			want(t, "risk", []string{c.kept, c.kept, c.kept}, []string{risks[0].Kind, risks[0].Reason, risks[0].By})
			conflicts, err := s.Conflicts(ctx, got.ID)
			must(t, err)
			if len(conflicts) > 0 {
				want(t, "conflict", c.kept, conflicts[0].Text)
				must(t, s.ResolveConflict(ctx, conflicts[0].ID, c.text, now))
			}
		})
	}
	page, err := s.Hosts(ctx, fleet.HostQuery{Sort: fleet.SortName, Limit: 1})
	must(t, err)
	for n := 1; page.Next != ""; n++ { // names are in the places where pages begin
		page, err = s.Hosts(ctx, fleet.HostQuery{Sort: fleet.SortName, Limit: 1, After: page.Next})
		must(t, err)
		if page.Next == "" {
			want(t, "machines by pages", len(hostileTexts)-1, n)
		}
	}
	tags, err := s.Tags(ctx)
	must(t, err)
	want(t, "tags", 0, len(tags))
}

// hostileAccess does so with what comes of logins.
func hostileAccess(t *testing.T, s access.Store) {
	ctx := t.Context()
	for i, c := range hostileTexts {
		t.Run(c.name, func(t *testing.T) {
			p := person(fmt.Sprint("p", i), access.Viewer)
			p.Full, p.Email, p.Issuer, p.Subject = c.text, c.text, "https://login.example.com", fmt.Sprint(i, c.text)
			u := addUser(t, s, p)
			got, err := s.UserBySubject(ctx, p.Issuer, p.Subject)
			must(t, err)
			want(t, "user", []any{u.ID, c.kept, c.kept, fmt.Sprint(i, c.kept)}, []any{got.ID, got.Full, got.Email, got.Subject})
			if _, err = s.UserByName(ctx, c.text); err == nil {
				t.Error("there is a user of that name")
			}
			wantError(t, "a name that nobody has", access.ErrNotFound, err)
			must(t, s.AddSession(ctx, access.Session{Digest: fmt.Sprint("d", i), User: u.ID, CSRF: "c", Created: now, Expires: now.Add(time.Hour), Address: c.text, Agent: c.text}))
			session, _, err := s.Session(ctx, fmt.Sprint("d", i), now)
			must(t, err)
			want(t, "session", []string{c.kept, c.kept}, []string{session.Address, session.Agent})
			_, _, err = s.Session(ctx, c.text, now)
			wantError(t, "a session that there is not", access.ErrNotFound, err)
			_, err = s.AddToken(ctx, access.Token{User: u.ID, Name: c.text, Digest: fmt.Sprint("t", i), Scopes: access.Scopes{access.See}, Created: now, Expires: now.Add(time.Hour)})
			must(t, err)
			must(t, s.Audit(ctx, access.Entry{At: now, By: c.text, Address: c.text, Action: "a", Object: c.text, Detail: c.text}))
			list, err := s.AuditLog(ctx, access.EntryQuery{})
			must(t, err)
			want(t, "audit", []string{c.kept, c.kept, c.kept, c.kept}, []string{list[0].By, list[0].Address, list[0].Object, list[0].Detail})
		})
	}
}
