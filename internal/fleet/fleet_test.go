package fleet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/all"
	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/store"
	"github.com/oldguard/oldguard/internal/store/storetest"
)

// rig is a server on a store of its own, with a clock that the test sets.
type rig struct {
	*fleet.Server
	t     testing.TB
	db    *store.DB
	dir   string
	clock atomic.Pointer[time.Time]
}

var start = time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir()}
	r.at(start)
	storetest.SQLite(t, r.dir)
	var err error
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	if r.db, err = store.Open(t.Context(), store.Config{Dir: r.dir, Log: log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if failed := r.db.Close(); failed != nil {
			t.Error(failed)
		}
	})
	cat, err := catalog.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	r.Server, err = fleet.New(t.Context(), fleet.Config{
		Store: r.db, Dir: r.dir, Readers: all.Readers(), Catalog: cat, Program: "test", Log: log,
		Now: func() time.Time { return *r.clock.Load() },
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) at(now time.Time) { r.clock.Store(&now) }

// work has jobs done until the test ends.
func (r *rig) work() {
	r.t.Helper()
	stop, err := r.db.Work(r.t.Context(), r.Works())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if err := stop(); err != nil {
			r.t.Error(err)
		}
	})
}

// do does a job here and now.
func (r *rig) do(kind, args string) {
	r.t.Helper()
	for _, w := range r.Works() {
		if w.Kind == kind {
			if err := w.Do(r.t.Context(), fleet.Task{Args: []byte(args), Attempt: 1}); err != nil {
				r.t.Fatal(err)
			}
			return
		}
	}
	r.t.Fatalf("there is no job %q", kind)
}

// upload receives a text and reads it.
func (r *rig) upload(name, text string) fleet.Upload {
	r.t.Helper()
	return r.uploadAs(fleet.Meta{Name: name, By: "test", Via: fleet.ViaAPI}, text)
}

func (r *rig) uploadAs(m fleet.Meta, text string) fleet.Upload {
	r.t.Helper()
	u, _, err := r.Receive(r.t.Context(), strings.NewReader(text), m)
	if err != nil {
		r.t.Fatal(err)
	}
	r.do("read-upload", fmt.Sprintf(`{"upload":%d}`, u.ID))
	if u, err = r.db.Upload(r.t.Context(), u.ID); err != nil {
		r.t.Fatal(err)
	}
	return u
}

func (r *rig) hosts() []fleet.Host {
	r.t.Helper()
	page, err := r.db.Hosts(r.t.Context(), fleet.HostQuery{Sort: fleet.SortName})
	if err != nil {
		r.t.Fatal(err)
	}
	return page.Hosts
}

func (r *rig) host(name string) fleet.Host {
	r.t.Helper()
	for _, h := range r.hosts() {
		if h.Name == name {
			return h
		}
	}
	r.t.Fatalf("there is no machine %q", name)
	return fleet.Host{}
}

func example(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile("../../examples/fs01/systeminfo.txt")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// with replaces in the example.
func with(t testing.TB, pairs ...string) string {
	t.Helper()
	text := example(t)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("the example has no %q", pairs[i])
		}
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

func TestReceive(t *testing.T) {
	r := newRig(t)
	text := example(t)
	u, added, err := r.Receive(t.Context(), strings.NewReader(text), fleet.Meta{Name: `C:\temp\..\fs01` + "\x1b[31m\u202e" + `.txt`, By: "max", Via: fleet.ViaPage})
	if err != nil || !added {
		t.Fatal(added, err)
	}
	if u.Name != "fs01[31m.txt" || u.Size != int64(len(text)) || u.State != fleet.UploadReceived {
		t.Errorf("received as %+v", u)
	}
	again, added, err := r.Receive(t.Context(), strings.NewReader(text), fleet.Meta{Name: "other"})
	if err != nil || added || again.ID != u.ID {
		t.Errorf("the same content again: %v %v %v", again.ID, added, err)
	}
	if _, _, err = r.Receive(t.Context(), strings.NewReader("other"), fleet.Meta{Key: u.Key}); !errors.Is(err, fleet.ErrKeyReused) {
		t.Errorf("the same key for other content: %v", err)
	}
	if _, _, err = r.Receive(t.Context(), strings.NewReader(""), fleet.Meta{}); !errors.Is(err, fleet.ErrInvalid) {
		t.Errorf("nothing: %v", err)
	}
	r.MaxUpload = 100
	if _, _, err = r.Receive(t.Context(), strings.NewReader(text), fleet.Meta{}); !errors.Is(err, fleet.ErrTooLarge) {
		t.Errorf("too much: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err = r.Receive(ctx, strings.NewReader("x"), fleet.Meta{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a sender who is gone: %v", err)
	}
	f, _, err := r.Evidence(t.Context(), u.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b bytes.Buffer
	if _, err = b.ReadFrom(f); err != nil || b.String() != text {
		t.Errorf("evidence is not as it came: %v", err)
	}
	coming, err := os.ReadDir(r.dir + "/evidence/coming")
	if err != nil || len(coming) > 0 {
		t.Errorf("left over: %v %v", coming, err)
	}
}

func TestFileNames(t *testing.T) {
	r := newRig(t)
	for i, c := range []struct{ name, want string }{
		{"", "evidence"},
		{"..", "evidence"},
		{"../../etc/passwd", "passwd"},
		{"/", "evidence"},
		{`..\..\boot.ini`, "boot.ini"},
		{"a\x00b\nc", "abc"},
		{"\xff\xfe", "evidence"},
		{strings.Repeat("ü", 300), strings.Repeat("ü", 100)},
	} {
		u, _, err := r.Receive(t.Context(), strings.NewReader(fmt.Sprint(i)), fleet.Meta{Name: c.name})
		if err != nil || u.Name != c.want {
			t.Errorf("%q is called %q, want %q (%v)", c.name, u.Name, c.want, err)
		}
	}
}

func TestOneMachine(t *testing.T) {
	r := newRig(t)
	u := r.upload("fs01.txt", example(t))
	if u.State != fleet.UploadDone || u.Machines != 1 || u.Error != "" {
		t.Fatalf("upload: %+v", u)
	}
	h := r.host("FS01")
	a, _, err := r.Assessment(t.Context(), h.ID)
	if err != nil {
		t.Fatal(err)
	}
	if h.Release != "windows-server-2008-sp2" || h.Level != assess.Bad || h.Affected != a.Summary.Affected || h.Exploited == 0 ||
		h.Build != a.Build || h.MonthsBehind != a.Updates.MonthsBehind || h.Missing != len(a.Updates.Missing) || h.Domain != "corp.example" {
		t.Errorf("machine: %+v", h)
	}
	if h.AsOf != catalog.DateOf(start) || !h.LastSeen.Equal(start) || h.Catalog == "" {
		t.Errorf("judged %v, seen %v, by %q", h.AsOf, h.LastSeen, h.Catalog)
	}
	cves, err := r.db.CVEs(t.Context())
	if err != nil || len(cves) != a.Summary.Affected+a.Summary.Unfixable+a.Summary.Unknown {
		t.Errorf("%d vulnerabilities stored, %d assessed (%v)", len(cves), a.Summary.Affected+a.Summary.Unfixable+a.Summary.Unknown, err)
	}
	changes, err := r.db.Changes(t.Context(), fleet.ChangeQuery{})
	if err != nil || len(changes) != 1 || !changes[0].First || changes[0].New != h.Affected+h.Unfixable || changes[0].Upload != u.ID {
		t.Errorf("changes: %+v %v", changes, err)
	}
	r.do("read-upload", fmt.Sprintf(`{"upload":%d}`, u.ID))
	if again := r.host("FS01"); again.Version != h.Version {
		t.Error("read twice, it was stored twice")
	}
}

func TestNewerEvidence(t *testing.T) {
	r := newRig(t)
	r.upload("fs01.txt", example(t))
	before := r.host("FS01")
	r.at(start.AddDate(0, 0, 7))
	u := r.upload("fs01.txt", with(t, "12 Hotfix(s)", "13 Hotfix(s)", "[12]: KB4534303", "[12]: KB4534303\n                           [13]: KB5073697"))
	h := r.host("FS01")
	if h.ID != before.ID || h.Version != before.Version+1 {
		t.Fatalf("machine %d version %d, was %d version %d", h.ID, h.Version, before.ID, before.Version)
	}
	if h.Affected >= before.Affected || h.Build.Revision != 23717 {
		t.Errorf("affected by %d, before by %d; build %v", h.Affected, before.Affected, h.Build)
	}
	if !h.FirstSeen.Equal(start) || !h.LastSeen.Equal(start.AddDate(0, 0, 7)) {
		t.Errorf("seen from %v to %v", h.FirstSeen, h.LastSeen)
	}
	changes, err := r.db.Changes(t.Context(), fleet.ChangeQuery{Host: h.ID})
	if err != nil || len(changes) != 2 {
		t.Fatal(changes, err)
	}
	c, err := r.db.Change(t.Context(), changes[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if c.Closed == 0 || c.New != 0 || c.Cause != fleet.CauseEvidence || c.Upload != u.ID || c.Build[1] != "6.0.6003.23717" {
		t.Errorf("change: %+v", c)
	}
	for _, want := range []string{`"schema":"oldguard/change/1"`, `"installed":["KB5073697"]`, "installed since: KB5073697"} {
		if !bytes.Contains(c.Document, []byte(want)) {
			t.Errorf("what changed does not say %s", want)
		}
	}
	seen, err := r.db.HostSightings(t.Context(), h.ID)
	if err != nil || len(seen) != 2 || !seen[0].Current || seen[1].Current {
		t.Errorf("evidence: %+v %v", seen, err)
	}
}

func TestOlderEvidence(t *testing.T) {
	texts := []string{example(t), with(t, "12 Hotfix(s)", "13 Hotfix(s)", "[12]: KB4534303", "[12]: KB4534303\n                           [13]: KB5073697")}
	var got []fleet.Host
	for _, order := range [][]int{{0, 1}, {1, 0}} {
		r := newRig(t)
		for _, i := range order {
			r.at(start.AddDate(0, 0, 7*i))
			u, _, err := r.Receive(t.Context(), strings.NewReader(texts[i]), fleet.Meta{Name: "fs01.txt"})
			if err != nil {
				t.Fatal(err)
			}
			r.at(start.AddDate(0, 0, 30)) // read later
			r.do("read-upload", fmt.Sprintf(`{"upload":%d}`, u.ID))
		}
		h := r.host("FS01")
		h.Version = 0
		got = append(got, h)
	}
	if d := cmp.Diff(got[0], got[1]); d != "" {
		t.Errorf("the order in which evidence is read decides (-first +second):\n%s", d)
	}
	if got[0].Build.Revision != 23717 {
		t.Errorf("build %v is not that of the newest evidence", got[0].Build)
	}
}

func TestEvidenceOfOneVisit(t *testing.T) {
	r := newRig(t)
	r.upload("fs01.txt", example(t))
	qfe, err := os.ReadFile("../../examples/fs01/qfe.csv")
	if err != nil {
		t.Fatal(err)
	}
	r.at(start.Add(time.Hour))
	u := r.uploadAs(fleet.Meta{Name: "qfe.csv", Host: r.host("FS01").ID}, string(qfe))
	h := r.host("FS01")
	seen, err := r.db.HostSightings(t.Context(), h.ID)
	if err != nil || len(seen) != 2 || !seen[0].Current || !seen[1].Current || seen[0].Upload != u.ID {
		t.Fatalf("evidence: %+v %v", seen, err)
	}
	m, err := r.Machine(t.Context(), h.ID)
	if err != nil {
		t.Fatal(err)
	}
	var readers []string
	for _, o := range m.Origins() {
		readers = append(readers, o.Reader)
	}
	if d := cmp.Diff([]string{"systeminfo", "wmicqfe"}, readers); d != "" {
		t.Errorf("what is known rests on (-want +got):\n%s", d)
	}
}

func TestUnreadable(t *testing.T) {
	r := newRig(t)
	u := r.upload("x.bin", "\x00\x01 what is this")
	if u.State != fleet.UploadFailed || u.Error == "" || len(r.hosts()) > 0 {
		t.Errorf("upload: %+v", u)
	}
	var b bytes.Buffer
	err := fleet.Archive(&b, fleet.Files(os.DirFS("../../examples")))
	if err != nil {
		t.Fatal(err)
	}
	u = r.upload("all.zip", b.String())
	if u.State != fleet.UploadDone || u.Machines != 3 || u.Error != "" {
		t.Errorf("an archive of three machines: %+v", u)
	}
	var names []string
	for _, h := range r.hosts() {
		names = append(names, h.Name)
	}
	if d := cmp.Diff([]string{"APP03", "FS01", "FS02"}, names); d != "" {
		t.Errorf("machines (-want +got):\n%s", d)
	}
}

func TestGivesUp(t *testing.T) {
	r := newRig(t)
	u, _, err := r.Receive(t.Context(), strings.NewReader(example(t)), fleet.Meta{Name: "fs01.txt"})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range r.Works() {
		if w.Kind == "read-upload" {
			if err = w.Do(t.Context(), fleet.Task{Args: fmt.Appendf(nil, `{"upload":%d}`, u.ID), Attempt: 100}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if u, err = r.db.Upload(t.Context(), u.ID); err != nil || u.State != fleet.UploadFailed || !strings.Contains(u.Error, "99 times") {
		t.Errorf("upload: %+v %v", u, err)
	}
}

func TestGuardedReader(t *testing.T) {
	r := newRig(t)
	for i := range r.Readers {
		if r.Readers[i].Name == "systeminfo" {
			r.Readers[i].Read = func(context.Context, evidence.Input, *host.Host) ([]evidence.Input, error) { panic("oops") }
		}
	}
	s, err := fleet.New(t.Context(), r.Config)
	if err != nil {
		t.Fatal(err)
	}
	r.Server = s
	if u := r.upload("fs01.txt", example(t)); u.State != fleet.UploadFailed || !strings.Contains(u.Error, "oops") {
		t.Errorf("upload: %+v", u)
	}
}

// TestRetry: what failed can be tried again, such as by a newer program.
func TestRetry(t *testing.T) {
	r := newRig(t)
	u := r.upload("x.bin", "\x00\x01 what is this")
	if err := r.db.RetryUpload(t.Context(), u.ID); err != nil {
		t.Fatal(err)
	}
	if again, err := r.db.Upload(t.Context(), u.ID); err != nil || again.State != fleet.UploadReceived || again.Error != "" {
		t.Errorf("upload: %+v %v", u, err)
	}
	if err := r.db.RetryUpload(t.Context(), u.ID); !errors.Is(err, fleet.ErrNotFound) {
		t.Errorf("tried again before it failed: %v", err)
	}
}

func TestBack(t *testing.T) {
	r := newRig(t)
	r.upload("fs01.txt", example(t))
	h := r.host("FS01")
	if err := r.db.EditHosts(t.Context(), []int64{h.ID}, fleet.OwnedEdit{Retired: new(true)}); err != nil {
		t.Fatal(err)
	}
	r.do("daily", "{}")
	r.do("reassess", `{"run":1}`)
	if len(r.hosts()) > 0 {
		t.Fatal("it is still there")
	}
	r.upload("fs01.txt", example(t)+"\n")
	if again := r.host("FS01"); again.ID != h.ID {
		t.Errorf("it is machine %d now, and was %d", again.ID, h.ID)
	}
}

// ids makes the text of a registry export that states the ids of a machine.
func ids(name, guid string) string {
	return "Windows Registry Editor Version 5.00\r\n\r\n" +
		"[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Control\\ComputerName\\ComputerName]\r\n\"ComputerName\"=\"" + name + "\"\r\n\r\n" +
		"[HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Cryptography]\r\n\"MachineGuid\"=\"" + guid + "\"\r\n\r\n" +
		"[HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion]\r\n\"CurrentVersion\"=\"6.0\"\r\n\"CurrentBuildNumber\"=\"6002\"\r\n\"ProductName\"=\"Windows Server (R) 2008 Standard\"\r\n"
}

const (
	guid1 = "11111111-2222-3333-4444-555555555555"
	guid2 = "99999999-2222-3333-4444-555555555555"
)

// TestConflicts: what cannot be told by the evidence is shown, and for people to decide.
func TestConflicts(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	r.upload("a.reg", ids("CLONE1", guid1))
	r.upload("b.reg", ids("CLONE2", guid1)) // a clone, or renamed
	r.upload("c.reg", ids("CLONE1", guid2)) // installed again, or another
	r.upload("v.txt", "Microsoft Windows [Version 6.0.6002]\r\n")
	hosts := r.hosts()
	if len(hosts) != 3 {
		t.Fatalf("machines: %+v", hosts)
	}
	conflicts, err := r.db.Conflicts(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []fleet.ConflictKind
	for _, c := range conflicts {
		kinds = append(kinds, c.Kind)
	}
	if d := cmp.Diff([]fleet.ConflictKind{fleet.ConflictNameless, fleet.ConflictTwins, fleet.ConflictCloned}, kinds); d != "" {
		t.Fatalf("conflicts (-want +got):\n%s", d)
	}
	if hosts[0].Conflicts != 2 || hosts[1].Conflicts != 1 || hosts[2].Conflicts != 1 {
		t.Errorf("conflicts by machine: %d %d %d", hosts[0].Conflicts, hosts[1].Conflicts, hosts[2].Conflicts)
	}

	// Evidence of a name that two have, without an id, is given to none.
	u := r.upload("s.txt", with(t, "FS01", "CLONE1", "92573-082-2500115-76101", "", "corp.example", "WORKGROUP"))
	seen, err := r.db.Sightings(ctx, u.ID)
	if err != nil || len(seen) != 1 || seen[0].Host != 0 {
		t.Errorf("ambiguous evidence: %+v %v", seen, err)
	}

	// A person says what is what.
	if err = r.db.EditHosts(ctx, []int64{hosts[1].ID}, fleet.OwnedEdit{AddTags: []string{"dmz"}}); err != nil {
		t.Fatal(err)
	}
	if err = r.Merge(ctx, hosts[0].ID, hosts[1].ID, "max"); err != nil {
		t.Fatal(err)
	}
	if err = r.Merge(ctx, hosts[0].ID, hosts[1].ID, "max"); !errors.Is(err, fleet.ErrInvalid) {
		t.Errorf("merged twice: %v", err)
	}
	h, err := r.db.Host(ctx, hosts[0].ID)
	if err != nil || h.MachineID != guid2 || h.Version != 2 || h.Conflicts != 2 {
		t.Errorf("what was merged: %+v %v", h, err)
	}
	if d := cmp.Diff([]string{"dmz"}, h.Tags); d != "" {
		t.Errorf("tags (-want +got):\n%s", d)
	}
	gone, err := r.db.Host(ctx, hosts[1].ID)
	if err != nil || gone.Merged != h.ID || !gone.Retired {
		t.Errorf("what it was merged from: %+v %v", gone, err)
	}
	if seen, err := r.db.HostSightings(ctx, h.ID); err != nil || len(seen) != 2 {
		t.Errorf("evidence: %+v %v", seen, err)
	}
	if err := r.Assign(ctx, conflicts[0].Sighting, hosts[2].ID, "max"); err != nil {
		t.Fatal(err)
	}
	if err := r.Assign(ctx, conflicts[0].Sighting, hosts[2].ID, "max"); !errors.Is(err, fleet.ErrNotFound) {
		t.Errorf("assigned twice: %v", err)
	}
	if seen, err := r.db.HostSightings(ctx, hosts[2].ID); err != nil || len(seen) != 2 {
		t.Errorf("evidence: %+v %v", seen, err)
	}
	if left, err := r.db.Conflicts(ctx, 0); err != nil || len(left) != 2 { // the ambiguous one, and the clone
		t.Errorf("conflicts that are left: %+v %v", left, err)
	}
	// New evidence goes to what was merged.
	r.upload("d.reg", ids("CLONE1", guid2)+"\r\n")
	if h, err := r.db.Host(ctx, hosts[0].ID); err != nil || h.ID != hosts[0].ID || h.Version != 3 {
		t.Errorf("after new evidence: %+v %v", h, err)
	}
}

func TestReassess(t *testing.T) {
	r := newRig(t)
	n := 70 // more than are stored at once
	if raceEnabled {
		n = 10
	}
	for i := range n {
		r.upload(fmt.Sprintf("h%03d.txt", i), with(t, "FS01", fmt.Sprintf("H%03d", i)))
	}
	r.do("daily", "{}")
	runs, err := r.db.Runs(t.Context(), 10)
	if err != nil || len(runs) != 1 || runs[0].Cause != fleet.CauseCatalog {
		t.Fatal(runs, err)
	}
	r.do("reassess", fmt.Sprintf(`{"run":%d}`, runs[0].ID))
	run, err := r.db.Run(t.Context(), runs[0].ID)
	if err != nil || run.Done.IsZero() || run.Hosts != 0 { // all were assessed today
		t.Fatalf("run: %+v %v", run, err)
	}
	r.do("daily", "{}")
	if runs, err = r.db.Runs(t.Context(), 10); err != nil || len(runs) != 1 {
		t.Fatalf("a second run on the same day: %+v %v", runs, err)
	}

	// As it was at Christmas 2018: fewer vulnerabilities are published.
	r.at(time.Date(2018, 12, 24, 0, 0, 0, 0, time.UTC))
	r.do("daily", "{}")
	if runs, err = r.db.Runs(t.Context(), 10); err != nil || len(runs) != 2 || runs[0].Cause != fleet.CauseDay {
		t.Fatalf("the run of another day: %+v %v", runs, err)
	}
	r.do("reassess", fmt.Sprintf(`{"run":%d}`, runs[0].ID))
	if run, err = r.db.Run(t.Context(), runs[0].ID); err != nil || run.Done.IsZero() || run.Hosts != n || run.Changed != n {
		t.Fatalf("run: %+v %v", run, err)
	}
	h := r.host("H007")
	if h.AsOf != catalog.DateOf(*r.clock.Load()) || h.Version != 2 || h.Support != assess.Extended {
		t.Errorf("machine: %+v", h)
	}
	changes, err := r.db.Changes(t.Context(), fleet.ChangeQuery{Host: h.ID})
	if err != nil || len(changes) != 2 || changes[0].Cause != fleet.CauseDay || changes[0].Closed == 0 {
		t.Errorf("changes: %+v %v", changes, err)
	}
	days, err := r.db.Days(t.Context(), 0, 1<<20)
	if err != nil || len(days) != 2 || days[0].Hosts != n || days[0].Affected >= days[1].Affected {
		t.Errorf("days: %+v %v", days, err)
	}
}

func TestWatch(t *testing.T) {
	r := newRig(t)
	r.work()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(dir+"/"+name[:strings.LastIndexByte("/"+name, '/')], 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one.txt", with(t, "FS01", "ONE"))
	write("two/systeminfo.txt", with(t, "FS01", "TWO"))
	write("bad.bin", "\x00\x01 what is this")
	write("still.part", "half")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Watch(ctx, dir, 10*time.Millisecond, 0) }()
	left := []string{"done/one.txt", "done/two/systeminfo.txt", "failed/bad.bin", "failed/bad.bin.reason.txt", "still.part"}
	for begin := time.Now(); len(left) > 0; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(dir + "/" + left[0]); err == nil {
			left = left[1:]
		}
		if time.Since(begin) > 20*time.Second {
			t.Fatalf("not there: %v", left)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if hosts := r.hosts(); len(hosts) != 2 || hosts[0].Name != "ONE" || hosts[1].Name != "TWO" {
		t.Errorf("machines: %+v", hosts)
	}
	reason, err := os.ReadFile(dir + "/failed/bad.bin.reason.txt")
	if err != nil || len(reason) < 10 {
		t.Errorf("the reason is %q (%v)", reason, err)
	}
}

// TestOddNames: a machine that a reader gives a name which no database keeps as it is, or a very
// long one, is the same machine the next time.
func TestOddNames(t *testing.T) {
	for _, tt := range []struct{ name, said, want string }{
		{"nul", "A\x00B", "A\uFFFDB"},
		{"no_utf8", "A\xffB\xe2\x82", "A\uFFFDB\uFFFD\uFFFD"},
		{"long", strings.Repeat("x9", 3000), strings.Repeat("x9", 127) + "x"},
		{"wide", strings.Repeat("ö", 300), strings.Repeat("ö", 255)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			for i := range r.Readers {
				one := &r.Readers[i]
				if read := one.Read; one.Name == "systeminfo" {
					one.Read = func(ctx context.Context, in evidence.Input, h *host.Host) ([]evidence.Input, error) {
						nested, err := read(ctx, in, h)
						h.Name, h.MachineID, h.ProductID = host.Fact[string]{}, host.Fact[string]{}, host.Fact[string]{}
						for _, f := range []*host.Fact[string]{&h.Name, &h.MachineID, &h.ProductID} {
							f.Say(tt.said, in.Rank, host.Source{Reader: one.Name, Input: in.Name})
						}
						return nested, err
					}
				}
			}
			s, err := fleet.New(t.Context(), r.Config)
			if err != nil {
				t.Fatal(err)
			}
			r.Server = s
			for n, owner := range []string{"first", "second"} { // another file each time
				if u := r.upload("s.txt", with(t, "Registered Owner:          IT", "Registered Owner:          "+owner)); u.State != fleet.UploadDone {
					t.Fatalf("upload %d: %+v", n, u)
				}
			}
			list := r.hosts()
			if len(list) != 1 || list[0].Name != tt.want || list[0].ProductID != tt.want || list[0].Version != 2 || list[0].Conflicts != 0 {
				t.Errorf("%d machines, the first %+v", len(list), list[0])
			}
		})
	}
}
