package compile

import (
	"archive/tar"
	"archive/zip"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ulikunitz/xz"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/winver"
)

// row is one line of a CVE feed, whichever feed it is from.
type row struct {
	date       catalog.Date // day of the line (wesng), or the 1st of its month (monthly)
	cve        string       // CVE-2019-0708; empty for an advisory
	advisory   string       // ADV990001; empty for a CVE
	kb         winver.KB
	product    string
	area       string // affected part, wesng only
	severity   catalog.Severity
	impact     catalog.Impact
	supersedes []winver.KB
	kind       string // KB type, monthly only
	score      float64
	vector     string
	fixed      string
}

// historyRow is one line of the release history.
type historyRow struct {
	list, kind string // "Windows 7|SP1", "rollup"
	revision   uint32
	kb         winver.KB
}

type kevEntry struct {
	added      catalog.Date
	ransomware bool
}

// feed names one input file of a folder of feeds: the newest file that matches a pattern,
// by name.
type feed struct {
	pattern, what string
	optional      bool
}

// The feeds, by the names their publishers and this project give them.
var (
	feedWesng   = feed{"*definitions*.zip", "CVE definitions of wesng (definitions.zip)", false}
	feedMonthly = feed{"msrc-monthly*.csv*", "rows of the MSRC monthly releases (msrc-monthly-*.csv.xz)", false}
	feedHistory = feed{"release-history*.csv", "update-history pages (release-history.csv)", false}
	feedKEV     = feed{"*kev*.json", "known exploited vulnerabilities (cisa-kev-*.json)", false}
	feedRecords = feed{"cve5-*.tar.xz", "CVE records (cve5-*.tar.xz)", true}
)

// Feeds describes the files that Compile looks for in its folder, for help texts.
func Feeds() []string {
	var out []string
	for _, f := range []feed{feedWesng, feedMonthly, feedHistory, feedKEV, feedRecords} {
		out = append(out, fmt.Sprintf("%s: %s", f.pattern, f.what))
	}
	return out
}

func (f feed) find(dir fs.FS) (name string, err error) {
	names, err := fs.Glob(dir, f.pattern)
	if err != nil {
		return "", err
	}
	if len(names) == 0 {
		if f.optional {
			return "", nil
		}
		return "", fmt.Errorf("no file %s: %s", f.pattern, f.what)
	}
	return slices.Max(names), nil
}

// maxFeed bounds an inflated feed: the largest is 136 MB today.
const maxFeed = 2 << 30

// hashed opens a file and hashes it whole.
func hashed(dir fs.FS, name string) (f fs.File, sum string, err error) {
	f, err = dir.Open(name)
	if err != nil {
		return nil, "", err
	}
	h := sha256.New()
	if _, err = io.Copy(h, f); err == nil {
		if s, ok := f.(io.Seeker); ok {
			_, err = s.Seek(0, io.SeekStart)
		} else {
			_ = f.Close()
			f, err = dir.Open(name)
		}
	}
	if err != nil {
		return nil, "", fmt.Errorf("read %s: %w", name, err)
	}
	return f, hex.EncodeToString(h.Sum(nil)), nil
}

// readWesng calls each for every row with a KB number of the definitions zip's CVE file.
func readWesng(dir fs.FS, each func(row)) (src catalog.Source, err error) {
	name, err := feedWesng.find(dir)
	if err != nil {
		return src, err
	}
	f, sum, err := hashed(dir, name)
	if err != nil {
		return src, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return src, err
	}
	ra, ok := f.(io.ReaderAt)
	if !ok {
		return src, fmt.Errorf("read %s: file system gives no random access", name)
	}
	z, err := zip.NewReader(ra, st.Size())
	if err != nil {
		return src, fmt.Errorf("read %s: %w", name, err)
	}
	src = catalog.Source{ID: catalog.SourceUpdates, Name: "MSRC CVE definitions collected by bitsadmin/wesng", Licence: "BSD-3-Clause", SHA256: sum}
	for _, m := range z.File {
		base := path.Base(m.Name)
		if ok, _ := path.Match("CVEs_*.csv", base); !ok {
			continue
		}
		in, err := m.Open()
		if err != nil {
			return src, fmt.Errorf("read %s: %s: %w", name, base, err)
		}
		err = readCSV(in, []string{"DatePosted", "CVE", "BulletinKB", "AffectedProduct", "AffectedComponent", "Severity", "Impact", "Supersedes"}, func(c []string) {
			if d := parseDay(c[0]); d > src.Last {
				src.Last = d
			}
			kb := feedKB(c[2])
			if kb == 0 {
				return
			}
			r := row{
				date: parseDay(c[0]), kb: kb, product: c[3], area: c[4],
				severity: severities[c[5]], impact: impacts[strings.ToLower(c[6])], supersedes: kbList(c[7]),
			}
			r.cve, r.advisory = splitID(c[1])
			each(r)
		})
		if err != nil {
			return src, fmt.Errorf("read %s: %s: %w", name, base, err)
		}
		// The file's name is the day it was collected, which is as far as it speaks.
		if d := parseDay(strings.TrimSuffix(strings.TrimPrefix(base, "CVEs_"), ".csv")); d > src.Last {
			src.Last = d
		}
		_ = in.Close()
	}
	if src.Last == 0 {
		return src, fmt.Errorf("read %s: no CVEs_*.csv with dated rows in it", name)
	}
	return src, nil
}

// readMonthly calls each for every row with a KB number of the monthly releases, and
// reports which months the feed has a document for.
func readMonthly(dir fs.FS, each func(row)) (src catalog.Source, months map[int]bool, err error) {
	name, err := feedMonthly.find(dir)
	if err != nil {
		return src, nil, err
	}
	f, sum, err := hashed(dir, name)
	if err != nil {
		return src, nil, err
	}
	defer f.Close()
	var in io.Reader = f
	if strings.HasSuffix(name, ".xz") {
		if in, err = xz.NewReader(f); err != nil {
			return src, nil, fmt.Errorf("read %s: %w", name, err)
		}
	}
	months = map[int]bool{}
	src = catalog.Source{ID: catalog.SourceMonthly, Name: "MSRC monthly security updates", Licence: "facts", SHA256: sum}
	err = readCSV(in, []string{"month", "cve", "product", "kb", "kb_type", "severity", "impact", "supersedes", "cvss_base", "cvss_vector", "fixed_build"}, func(c []string) {
		first, bad := catalog.ParseDate(c[0] + "-01")
		if bad != nil {
			return
		}
		months[first.Month()] = true
		if day := patchTuesday(first.Month()); day > src.Last {
			src.Last = day
		}
		kb := feedKB(c[3])
		if kb == 0 {
			return
		}
		r := row{
			date: first, kb: kb, product: c[2], kind: c[4], severity: severities[c[5]], impact: impacts[strings.ToLower(c[6])],
			supersedes: kbList(c[7]), vector: c[9], fixed: c[10],
		}
		r.score, _ = strconv.ParseFloat(c[8], 64) // empty is not known
		r.cve, r.advisory = splitID(c[1])
		each(r)
	})
	if err == nil && src.Last == 0 {
		err = errors.New("no dated rows")
	}
	if err != nil {
		return src, nil, fmt.Errorf("read %s: %w", name, err)
	}
	return src, months, nil
}

func readHistory(dir fs.FS) (src catalog.Source, rows []historyRow, err error) {
	name, err := feedHistory.find(dir)
	if err != nil {
		return src, nil, err
	}
	f, sum, err := hashed(dir, name)
	if err != nil {
		return src, nil, err
	}
	defer f.Close()
	src = catalog.Source{ID: catalog.SourceHistory, Name: "Microsoft's update-history pages", Licence: "facts", SHA256: sum}
	err = readCSV(f, []string{"family", "release", "kind", "revision", "kb"}, func(c []string) {
		kb := feedKB(c[4])
		if kb == 0 {
			return // 16 rows have none
		}
		rev, _ := strconv.ParseUint(c[3], 10, 32) // empty before Windows 10
		rows = append(rows, historyRow{c[0] + "|" + c[1], c[2], uint32(rev), kb})
	})
	if err != nil {
		return src, nil, fmt.Errorf("read %s: %w", name, err)
	}
	return src, rows, nil
}

func readKEV(dir fs.FS) (src catalog.Source, kev map[string]kevEntry, err error) {
	name, err := feedKEV.find(dir)
	if err != nil {
		return src, nil, err
	}
	f, sum, err := hashed(dir, name)
	if err != nil {
		return src, nil, err
	}
	defer f.Close()
	var doc struct {
		DateReleased    time.Time
		Vulnerabilities []struct{ CveID, DateAdded, KnownRansomwareCampaignUse string }
	}
	if err = json.NewDecoder(io.LimitReader(f, maxFeed)).Decode(&doc); err != nil {
		return src, nil, fmt.Errorf("read %s: %w", name, err)
	}
	kev = map[string]kevEntry{}
	for _, v := range doc.Vulnerabilities {
		d, err := catalog.ParseDate(v.DateAdded)
		if err != nil {
			return src, nil, fmt.Errorf("read %s: %s: %w", name, v.CveID, err)
		}
		kev[v.CveID] = kevEntry{d, v.KnownRansomwareCampaignUse == "Known"}
	}
	src = catalog.Source{
		ID: catalog.SourceKEV, Name: "CISA Known Exploited Vulnerabilities", Licence: "CC0-1.0",
		SHA256: sum, Last: catalog.DateOf(doc.DateReleased),
	}
	if src.Last == 0 {
		return src, nil, fmt.Errorf("read %s: no dateReleased", name)
	}
	return src, kev, nil
}

// record is what a CVE JSON 5 record adds.
type record struct {
	score  float64
	vector string
}

// readRecords reads the base metrics of CVE JSON 5 records; none if there is no such file.
func readRecords(dir fs.FS) (src catalog.Source, recs map[string]record, err error) {
	name, err := feedRecords.find(dir)
	if name == "" {
		return src, nil, err
	}
	f, sum, err := hashed(dir, name)
	if err != nil {
		return src, nil, err
	}
	defer f.Close()
	x, err := xz.NewReader(f)
	if err != nil {
		return src, nil, fmt.Errorf("read %s: %w", name, err)
	}
	src = catalog.Source{ID: "cve-records", Name: "CVE records, enriched by cisagov/vulnrichment", Licence: "CC0-1.0", SHA256: sum}
	recs = map[string]record{}
	t := tar.NewReader(io.LimitReader(x, maxFeed))
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return src, recs, nil
		}
		if err != nil {
			return src, nil, fmt.Errorf("read %s: %w", name, err)
		}
		if !strings.HasSuffix(h.Name, ".json") {
			continue
		}
		type metric struct {
			CvssV3_1 *struct {
				BaseScore    float64
				VectorString string
			} `json:"cvssV3_1"`
		}
		var doc struct {
			CveMetadata struct {
				CveID       string
				DateUpdated string
			}
			Containers struct {
				CNA struct{ Metrics []metric }
			}
		}
		if err := json.NewDecoder(t).Decode(&doc); err != nil {
			return src, nil, fmt.Errorf("read %s: %s: %w", name, h.Name, err)
		}
		if d, err := catalog.ParseDate(first(doc.CveMetadata.DateUpdated, 10)); err == nil && d > src.Last {
			src.Last = d
		}
		for _, m := range doc.Containers.CNA.Metrics {
			if m.CvssV3_1 != nil {
				recs[doc.CveMetadata.CveID] = record{m.CvssV3_1.BaseScore, m.CvssV3_1.VectorString}
			}
		}
	}
}

func first(s string, n int) string { return s[:min(n, len(s))] }

// readCSV calls each with the named columns of every line, in that order.
func readCSV(in io.Reader, columns []string, each func([]string)) error {
	r := csv.NewReader(io.LimitReader(in, maxFeed))
	r.ReuseRecord, r.LazyQuotes, r.FieldsPerRecord = true, true, -1
	head, err := r.Read()
	if err != nil {
		return err
	}
	at := make([]int, len(columns))
	for i, c := range columns {
		at[i] = slices.IndexFunc(head, func(h string) bool { return strings.TrimPrefix(h, "\ufeff") == c })
		if at[i] < 0 {
			return fmt.Errorf("no column %q", c)
		}
	}
	out := make([]string, len(columns))
	for {
		rec, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for i, a := range at {
			out[i] = ""
			if a < len(rec) {
				out[i] = rec[a]
			}
		}
		each(out)
	}
}

var severities = map[string]catalog.Severity{
	"Low": catalog.Low, "Moderate": catalog.Moderate, "Important": catalog.Important, "Critical": catalog.Critical,
}

// impacts is keyed in lower case: the feeds write "Remote code execution" too.
var impacts = func() map[string]catalog.Impact {
	m := map[string]catalog.Impact{}
	for i := catalog.Impact(1); i.String() != ""; i++ {
		m[strings.ToLower(i.String())] = i
	}
	return m
}()

// feedKB reads a KB column: digits, or nothing of use ("Release Notes", "Click to Run").
func feedKB(s string) winver.KB {
	kb, err := winver.ParseKB(s)
	if err != nil {
		return 0
	}
	return kb
}

// kbList reads every number of five to eight digits in a Supersedes column, whatever
// separates them.
func kbList(s string) (kbs []winver.KB) {
	for _, f := range strings.FieldsFunc(s, func(r rune) bool { return r < '0' || r > '9' }) {
		if kb := feedKB(f); kb != 0 {
			kbs = append(kbs, kb)
		}
	}
	return kbs
}

// splitID tells a CVE from an advisory, mending "CVE20163370".
func splitID(s string) (cve, advisory string) {
	s = strings.TrimSpace(s)
	if rest, ok := strings.CutPrefix(s, "CVE"); ok {
		rest = strings.TrimPrefix(rest, "-")
		year, num := first(rest, 4), strings.TrimPrefix(rest[min(4, len(rest)):], "-")
		if digits(year) && len(year) == 4 && digits(num) && len(num) >= 4 {
			return "CVE-" + year + "-" + num, ""
		}
	}
	return "", s
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

func parseDay(s string) catalog.Date {
	t, err := time.Parse("20060102", s)
	if err != nil {
		return 0
	}
	return catalog.DateOf(t)
}

// patchTuesday is the second Tuesday of a month counted as Date.Month does.
func patchTuesday(month int) catalog.Date {
	t := time.Date(month/12, time.Month(month%12+1), 1, 0, 0, 0, 0, time.UTC)
	for t.Weekday() != time.Tuesday {
		t = t.AddDate(0, 0, 1)
	}
	return catalog.DateOf(t.AddDate(0, 0, 7))
}
