package compile_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/catalog/compile"
	"github.com/oldguard/oldguard/winver"
)

// feeds is the folder of the real feeds, which is not part of the repository.
func feeds(t testing.TB) fs.FS {
	t.Helper()
	dir := os.Getenv("OLDGUARD_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "data")
	}
	dir = filepath.Join(dir, "msrc")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no feeds here (set OLDGUARD_DATA): %v", err)
	}
	return os.DirFS(dir)
}

func build(t testing.TB, dir fs.FS) (*catalog.Catalog, []byte) {
	t.Helper()
	var b bytes.Buffer
	if _, err := compile.Compile(&b, dir); err != nil {
		t.Fatal(err)
	}
	c, err := catalog.Open(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return c, b.Bytes()
}

// TestEmbeddedIsWhatTheFeedsGive also proves that equal input gives equal bytes.
func TestEmbeddedIsWhatTheFeedsGive(t *testing.T) {
	_, got := build(t, feeds(t))
	want, err := os.ReadFile(filepath.Join("..", "catalog.bin"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the embedded catalogue is not what the feeds and tables give: run make catalog")
	}
	const limit = 2_500_000
	t.Logf("catalogue: %d bytes of at most %d", len(want), limit)
	if len(want) > limit {
		t.Errorf("embedded catalogue has %d bytes, at most %d are allowed", len(want), limit)
	}
}

func update(t *testing.T, c *catalog.Catalog, release string, kb winver.KB) *catalog.Update {
	t.Helper()
	r, err := c.Records(release)
	if err != nil {
		t.Fatal(err)
	}
	u, ok := r.Update(kb)
	if !ok {
		return nil
	}
	return u
}

// TestRulesOnEmbedded holds the embedded catalogue against one example for each rule of
// dates and streams; each was wrong in a plain reading of the feeds.
func TestRulesOnEmbedded(t *testing.T) {
	c, err := catalog.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	const ws2008, r2, ws2012r2 = "windows-server-2008-sp2", "windows-server-2008-r2-sp1", "windows-server-2012-r2"
	for _, tt := range []struct {
		name, release string
		kb            winver.KB
		stream        catalog.Stream
		released      string
		build         string
	}{
		{"history_member", ws2008, 4493471, catalog.Cumulative, "2019-04-09", "6.0.6003.20489"},
		{"first_6003_is_a_preview", ws2008, 4489887, catalog.Cumulative, "2019-03-19", "6.0.6003"},
		{"undated_preview_is_not_before_its_neighbour", ws2008, 4493460, catalog.Cumulative, "2019-04-09", ""},
		{"chain_goes_on_after_the_history_ends", ws2008, 5073697, catalog.Cumulative, "2026-01-13", "6.0.6003.23717"},
		{"untyped_twin_of_a_rollup_is_security_only", ws2008, 5073700, catalog.SecurityOnly, "2026-01-13", "6.0.6003.23717"},
		{"earliest_row_lies_15_months_too_early", ws2008, 5062624, catalog.Cumulative, "2025-07-08", "6.0.6003.23418"},
		{"typed_security_only", ws2008, 4577070, catalog.SecurityOnly, "2020-09-08", ""},
		{"ie_by_product", ws2008, 5003165, catalog.IE, "2021-05-11", ""},
		{"ie_cumulative_with_a_plain_product", ws2008, 5028167, catalog.IE, "2023-07-11", ""},
		{"dotnet_hidden_in_the_component", r2, 3188730, catalog.DotNet, "2016-10-11", ""},
		{"out_of_band_is_not_the_chain", ws2008, 5061198, catalog.Other, "2025-06-10", ""},
		{"servicing_stack_from_the_table", ws2008, 5050682, catalog.ServicingStack, "2025-01-14", ""},
		{"servicing_stack_from_the_advisory", "windows-10-1803", 4485449, catalog.ServicingStack, "2019-02-12", ""},
		{"untyped_servicing_stack", "windows-10-1809", 4558997, catalog.ServicingStack, "2020-07-14", ""},
		{"sha2_support", ws2008, 4474419, catalog.SHA2, "2019-09-10", ""},
		{"flash", "windows-10-1803", 4487038, catalog.Flash, "2019-02-13", ""},
		{"security_only_before_2019", ws2012r2, 4012213, catalog.SecurityOnly, "2017-03-14", ""},
		{"sibling_history_before_its_own_begins", "windows-10-21h1", 5001330, catalog.Cumulative, "2021-04-13", "10.0.19043.928"},
		{"two_revisions_for_one_kb_the_lower_counts", "windows-10-1607", 3200970, catalog.Cumulative, "2016-11-08", "10.0.14393.447"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := update(t, c, tt.release, tt.kb)
			if u == nil {
				t.Fatalf("%s is not in %s", tt.kb, tt.release)
			}
			got := []string{u.Stream.String(), u.Released.String(), u.Build.String()}
			want := []string{tt.stream.String(), tt.released, tt.build}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s in %s: stream, date, build (-want +got):\n%s", tt.kb, tt.release, d)
			}
		})
	}
	for _, tt := range []struct {
		release string
		kb      winver.KB
	}{{ws2012r2, 4012214}, {ws2008, 4015219}, {"windows-server-2016", 4022725}} {
		if u := update(t, c, tt.release, tt.kb); u != nil {
			t.Errorf("%s is another release's and stands in %s as %s", tt.kb, tt.release, u.Stream)
		}
	}
	if u := update(t, c, "windows-10-20h2", 4598242); u == nil || !u.HasCVE || !u.Arches.Has(winver.AMD64) {
		t.Errorf("KB4598242 has CVEs on 20H2 for x64 whatever its rows there say, got %+v", u)
	}
}

// TestChainIsInOrder: a stream's positions and dates agree.
func TestChainIsInOrder(t *testing.T) {
	c, err := catalog.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	for _, rel := range c.Releases() {
		r, err := c.Records(rel.ID)
		if err != nil {
			t.Fatal(err)
		}
		var chain []catalog.Update
		for _, u := range r.Updates {
			if u.Stream == catalog.Cumulative {
				chain = append(chain, u)
			}
		}
		slices.SortFunc(chain, func(a, b catalog.Update) int { return int(a.Pos) - int(b.Pos) })
		for i := 1; i < len(chain); i++ {
			if a, b := chain[i-1], chain[i]; a.Released > b.Released || a.Pos == b.Pos {
				t.Errorf("%s: %s (%s, %d) stands before %s (%s, %d)", rel.ID, a.KB, a.Released, a.Pos, b.KB, b.Released, b.Pos)
			}
		}
	}
}

// small is a folder of feeds made here: a handful of true rows around Server 2008 SP2.
func small(t testing.TB) fstest.MapFS {
	t.Helper()
	const product = "Windows Server 2008 for x64-based Systems Service Pack 2"
	var rows strings.Builder
	rows.WriteString("\"DatePosted\",\"CVE\",\"BulletinKB\",\"Title\",\"AffectedProduct\",\"AffectedComponent\",\"Severity\",\"Impact\",\"Supersedes\",\"Exploits\"\n")
	row := func(date, cve, kb, product, area, supersedes string) {
		fmt.Fprintf(&rows, "%q,%q,%q,\"\",%q,%q,\"Important\",\"Elevation of Privilege\",%q,\"\"\n", date, cve, kb, product, area, supersedes)
	}
	for i := range 6 {
		row("20251209", fmt.Sprintf("CVE-2025-6247%d", i), "5071504", product, "Windows Kernel", "5034173")
		row("20260113", fmt.Sprintf("CVE-2026-2082%d", i), "5073697", product, "Windows Kernel", "5071504")
		row("20260113", fmt.Sprintf("CVE-2026-2082%d", i), "5073700", product, "Windows Kernel", "")
	}
	row("20240409", "CVE-2026-20820", "5073697", product, "Windows Kernel", "") // the day of an older revision
	row("20160614", "CVE20163219", "3161664", product, "Windows Kernel", "")
	row("20260113", "", "5079999", product, "Windows Kernel", "") // an advisory
	row("20260113", "CVE-2026-1", "Release Notes", "CBL Mariner 2.0 x64", "", "")
	row("20260113", "CVE-2026-20999", "5073700", "Windows Server 2027", "", "")
	var zipped bytes.Buffer
	z := zip.NewWriter(&zipped)
	w, err := z.Create("CVEs_20260201.csv")
	if err == nil {
		_, err = w.Write([]byte(rows.String()))
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return fstest.MapFS{
		"definitions.zip": {Data: zipped.Bytes()},
		"msrc-monthly-2026.csv": {Data: []byte("month,cve,product,kb,kb_type,severity,impact,supersedes,cvss_base,cvss_vector,fixed_build,restart\n" +
			"2026-01,CVE-2026-20820," + product + ",5073697,Monthly Rollup,Critical,Elevation of Privilege,5071504,7.80,CVSS:3.1/AV:L,6.0.6003.23717,Yes\n")},
		"release-history.csv": {Data: []byte("family,release,kind,revision,kb,source_page\n" +
			"Windows Server 2008,SP2,rollup,,5033422,\nWindows Server 2008,SP2,rollup,,5034173,\nWindows Server 2008,SP2,rollup,,,\n")},
		"cisa-kev-20260202.json": {Data: []byte(`{"dateReleased":"2026-02-02T00:00:00Z","vulnerabilities":[{"cveID":"CVE-2026-20821","dateAdded":"2026-01-20","knownRansomwareCampaignUse":"Known"}]}`)},
	}
}

func TestSmallFeeds(t *testing.T) {
	c, _ := build(t, small(t))
	const rel = "windows-server-2008-sp2"
	for _, tt := range []struct {
		kb       winver.KB
		stream   catalog.Stream
		released string
		build    string
	}{
		{5034173, catalog.Cumulative, "2024-01-09", "6.0.6003.22464"},
		{5071504, catalog.Cumulative, "2025-12-09", "6.0.6003.23666"},
		{5073697, catalog.Cumulative, "2026-01-13", "6.0.6003.23717"},
		{5073700, catalog.SecurityOnly, "2026-01-13", "6.0.6003.23717"},
		{3161664, catalog.Other, "2016-06-14", ""},
	} {
		u := update(t, c, rel, tt.kb)
		if u == nil {
			t.Fatalf("no %s", tt.kb)
		}
		if d := cmp.Diff([]string{tt.stream.String(), tt.released, tt.build}, []string{u.Stream.String(), u.Released.String(), u.Build.String()}); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.kb, d)
		}
	}
	if u := update(t, c, rel, 5079999); u == nil || u.HasCVE {
		t.Errorf("an advisory makes no CVE: %+v", u)
	}
	cves, err := c.CVEs()
	if err != nil {
		t.Fatal(err)
	}
	byID := map[string]catalog.CVE{}
	for _, v := range cves {
		byID[v.ID] = v
	}
	if _, ok := byID["CVE-2016-3219"]; !ok {
		t.Error(`"CVE20163219" is not mended`)
	}
	want := catalog.CVE{ID: "CVE-2026-20820", Area: "Windows Kernel", Score: 7.8, Vector: "CVSS:3.1/AV:L", First: byID["CVE-2026-20820"].First}
	if d := cmp.Diff(want, byID["CVE-2026-20820"]); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if v := byID["CVE-2026-20821"]; v.KEV.String() != "2026-01-20" || !v.Ransomware {
		t.Errorf("exploited: %+v", v)
	}
	for id, last := range map[string]string{catalog.SourceUpdates: "2026-02-01", catalog.SourceKEV: "2026-02-02", catalog.SourceMonthly: "2026-01-13"} {
		if s, ok := c.Source(id); !ok || s.Last.String() != last || len(s.SHA256) != 64 {
			t.Errorf("source %s: %+v, want last %s", id, s, last)
		}
	}
}

func TestEqualFeedsGiveEqualBytes(t *testing.T) {
	dir := small(t)
	_, a := build(t, dir)
	for range 5 {
		if _, b := build(t, dir); !bytes.Equal(a, b) {
			t.Fatal("equal input gives different bytes")
		}
	}
}

func TestMissingAndDamagedFeeds(t *testing.T) {
	for name, want := range map[string]string{
		"definitions.zip": "definitions", "msrc-monthly-2026.csv": "msrc-monthly", "release-history.csv": "release-history", "cisa-kev-20260202.json": "kev",
	} {
		dir := small(t)
		delete(dir, name)
		if _, err := compile.Compile(&bytes.Buffer{}, dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("without %s: error %v does not name it", name, err)
		}
		dir[name] = &fstest.MapFile{Data: []byte("no such thing")}
		if _, err := compile.Compile(&bytes.Buffer{}, dir); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("with a damaged %s: error %v does not name it", name, err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	dir := feeds(b)
	for b.Loop() {
		if _, err := compile.Compile(&bytes.Buffer{}, dir); err != nil {
			b.Fatal(err)
		}
	}
}
