package web_test

import (
	"html"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/fleet/access"
)

// TestJobsPage: an upload that cannot be read is on the page of jobs with the reason, and may
// be read again by whoever may bring evidence.
func TestJobsPage(t *testing.T) {
	s := newSite(t)
	root := s.setUp()
	s.feed("<b>notes.txt", "nothing that anybody reads")
	root.get("/jobs")
	for _, want := range []string{"&lt;b&gt;notes.txt", "no reader understands", "read-upload", "reads an upload, and assesses the machines in it", "look-for-alerts"} {
		if !strings.Contains(root.body, want) {
			t.Errorf("the page of jobs does not hold %q", want)
		}
	}
	viewer := s.person("vera", access.Viewer)
	if res := viewer.get("/jobs"); res.StatusCode != http.StatusOK {
		t.Errorf("a viewer sees the jobs: %d", res.StatusCode)
	}
	if viewer.get("/uploads/1"); strings.Contains(viewer.body, "Read it again") {
		t.Error("a viewer is offered to have an upload read again")
	}
	if root.get("/uploads/1"); !strings.Contains(root.body, "Read it again") {
		t.Error("who may bring evidence is not offered to have it read again")
	}
	if root.post("/uploads/1/retry", url.Values{}); root.at != "/uploads/1" {
		t.Errorf("reading again leads to %s", root.at)
	}
	if u := s.wait(1); u.State != fleet.UploadFailed {
		t.Errorf("read again, it is %s", u.State)
	}
}

// TestChangePages: a change leads to what came, what went and why, and a day to its changes.
func TestChangePages(t *testing.T) {
	s := newSite(t)
	root := s.setUp()
	s.feed("before.txt", example(t, "fs01/systeminfo.txt"))
	s.feed("after.txt", strings.Replace(example(t, "fs01/systeminfo.txt"), "KB4534303", "KB5073697", 1))
	root.get("/changes?day=2026-11-25")
	links := regexp.MustCompile(`/changes/\d+`).FindAllString(root.body, -1)
	if len(links) != 2 {
		t.Fatalf("the day has the changes %q", links)
	}
	root.get(links[0])
	for _, want := range []string{"What changed on FS01", ">Closed ", `href="/cves/CVE-2021-34527"`, `href="/updates/KB5073697"`, "6.0.6003.20705 → 6.0.6003.23717", "/uploads/2"} {
		if !strings.Contains(root.body, want) {
			t.Errorf("the change does not hold %q", want)
		}
	}
	short := strings.Count(root.body, "<tr>")
	if root.get(links[0] + "?all=1"); strings.Count(root.body, "<tr>") <= short {
		t.Error("all is no more than the beginning")
	}
	if root.get(links[1]); !strings.Contains(root.body, "for the first time") {
		t.Error("the first change says nothing of it")
	}
	if root.get("/changes?day=2026-11-24"); !strings.Contains(root.body, "Nothing changed") {
		t.Error("the day before has changes")
	}
	if res := root.get("/changes?day=yesterday"); res.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("a day that is none: %d", res.StatusCode)
	}
	if res := root.get("/changes/99"); res.StatusCode != http.StatusNotFound {
		t.Errorf("a change that is not there: %d", res.StatusCode)
	}
}

// TestNumbersLead: each number of the overview, and of the lists of vulnerabilities and
// updates, is that of the list of machines it leads to.
func TestNumbersLead(t *testing.T) {
	s := newSite(t)
	root := s.setUp()
	s.populate(60)
	// Support of the same release ends at another time for other editions.
	pc := model{system: "Microsoft Windows 10 Pro", version: "10.0.17763 N/A Build 17763", role: "Standalone Workstation"}
	s.feed("pro.txt", pc.systeminfo("PC1", "KB5007206", today))
	pc.system = "Microsoft Windows 10 Enterprise LTSC"
	s.feed("ltsc.txt", pc.systeminfo("PC2", "KB5007206", today))
	s.feed("odd.txt", strings.Replace(pc.systeminfo("PC3", "KB5007206", today), "17763", "19999", 2))
	number := regexp.MustCompile(`href="(/hosts(?:\?[^"]*)?)"[^>]*>(?:[^<]*<b>)?\s*(\d+)\s*<`)
	total := regexp.MustCompile(`role="status">(\d+) machines?<`)
	lists := map[string]string{}
	for _, page := range []string{"/", "/cves", "/updates"} {
		root.get(page)
		found := number.FindAllStringSubmatch(root.body, -1)
		if len(found) < 3 {
			t.Errorf("%s has the numbers %q", page, found)
		}
		for i, m := range found {
			if i > 60 && page == "/cves" {
				break // one is as good as another
			}
			href := html.UnescapeString(m[1])
			if lists[href] == "" {
				root.get(href)
				if got := total.FindStringSubmatch(root.body); got != nil {
					lists[href] = got[1]
				}
			}
			if lists[href] != m[2] {
				t.Errorf("%s says %s of %s, which lists %q", page, m[2], href, lists[href])
			}
		}
	}
	for _, want := range []string{"/hosts?release=unknown", "/hosts?release=windows-10-1809&support=ended", "/hosts?behind=unknown", "/hosts?build=6003", "/hosts?exploited=1"} {
		if lists[want] == "" {
			t.Errorf("no number leads to %s, but to %q", want, slices.Sorted(maps.Keys(lists)))
		}
	}
}

// TestWhoIsWho: evidence without a name is given to a machine by its name, two machines that
// are one become one.
func TestWhoIsWho(t *testing.T) {
	s := newSite(t)
	root := s.setUp()
	s.feed("fs01.txt", example(t, "fs01/systeminfo.txt"))
	s.feed("netstat.txt", example(t, "fs01/netstat.txt"))
	root.get("/uploads")
	if !strings.Contains(root.body, "Say whose it is") || !strings.Contains(root.body, "read as netstat") {
		t.Fatal("the page does not ask whose the evidence is")
	}
	if res := root.post("/conflicts/1/assign", url.Values{"machine": {"FS09"}}); res.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("a machine that is not there: %d", res.StatusCode)
	}
	if res := root.post("/conflicts/1/merge", url.Values{}); res.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("a conflict that is not between machines: %d", res.StatusCode)
	}
	root.post("/conflicts/1/assign", url.Values{"machine": {" fs01 "}, "back": {"/uploads"}})
	if root.at != "/uploads" || strings.Contains(root.body, "Say whose it is") {
		t.Errorf("at %s it is still asked", root.at)
	}
	if root.get("/hosts/1"); !strings.Contains(root.body, ">netstat<") {
		t.Error("the machine does not have the evidence")
	}

	other := strings.Replace(example(t, "fs01/systeminfo.txt"), "92573-082-2500115-76101", "92573-082-2500115-76999", 1)
	s.feed("other.txt", other)
	list, err := s.db.Conflicts(t.Context(), 0)
	if err != nil || len(list) != 1 || list[0].Host == 0 || list[0].Other == 0 {
		t.Fatalf("conflicts: %+v, %v", list, err)
	}
	root.get("/hosts/" + strconv.Itoa(int(list[0].Host)))
	if !strings.Contains(root.body, "They are one machine") {
		t.Error("the page of the machine does not offer to make them one")
	}
	root.post("/conflicts/"+strconv.Itoa(int(list[0].ID))+"/merge", url.Values{})
	page, err := s.db.Hosts(t.Context(), fleet.HostQuery{})
	if err != nil || page.Total != 1 || root.at != "/hosts/"+strconv.Itoa(int(page.Hosts[0].ID)) {
		t.Errorf("at %s there are %d machines, %v", root.at, page.Total, err)
	}
	root.get("/audit")
	for _, want := range []string{"evidence-assign", "machines-merge"} {
		if !strings.Contains(root.body, want) {
			t.Errorf("the audit log does not hold %s", want)
		}
	}
}

// TestTheme: a browser without scripts has its pages light or dark too.
func TestTheme(t *testing.T) {
	s := newSite(t)
	b := s.setUp()
	b.get("/hosts")
	if b.post("/theme", url.Values{"theme": {"dark"}}); !strings.Contains(b.body, `data-theme="dark"`) {
		t.Error("the page is not dark")
	}
	if res := b.post("/theme", url.Values{"theme": {"<script>"}}); res.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("a theme that is none: %d", res.StatusCode)
	}
}
