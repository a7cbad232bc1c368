package web_test

import (
	"archive/zip"
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"io/fs"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/fleet/access"
)

// TestHostileNames: what evidence calls a machine is text on every page and in every
// download, whatever it looks like.
func TestHostileNames(t *testing.T) {
	s := newSite(t)
	root := s.setUp()
	s.moving()
	names := []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `=cmd|'/c calc'!A1`, `+1+1`, `-2+3`, `@SUM(A1)`, "\x1b[2J\x1b]0;owned\x07", `javascript:alert(1)`,
		`'; DROP TABLE host; --`, "\u202etxt.exe", `{{.}}`, `../../../etc/passwd`, "a\x00b",
	}
	text := example(t, "fs02/systeminfo.txt")
	for i, name := range names {
		// The name of the machine, of who owns it, and of a network card.
		s.feed(fmt.Sprintf("%d.txt", i), strings.NewReplacer("FS02", name, "Registered Owner:          IT", "Registered Owner:          "+name, "Intel", name).Replace(text))
	}
	bad := regexp.MustCompile(`(?i)<script>alert|<img src=x|\x1b|\x07|\x00|href="javascript:|onerror=alert\(1\)>`)
	hosts, err := s.db.Hosts(t.Context(), fleet.HostQuery{})
	if err != nil || len(hosts.Hosts) < 5 { // they share a product id, so that some are conflicts and not machines
		t.Fatalf("%d machines, %v", len(hosts.Hosts), err)
	}
	pages := []string{"/", "/hosts", "/hosts?q=%3Cscript%3Ealert(1)%3C/script%3E", "/hosts?tag=%22%3E%3Cimg+src=x+onerror=alert(1)%3E", "/cves", "/updates", "/changes", "/uploads", "/audit"}
	for i := range hosts.Hosts {
		id := hosts.Hosts[i].ID
		root.get("/hosts")
		root.post(fmt.Sprintf("/hosts/%d/edit", id), map[string][]string{"owner": {names[i%len(names)]}, "site": {names[(i+1)%len(names)]}, "add_tag": {names[(i+2)%len(names)]}})
		root.post(fmt.Sprintf("/hosts/%d/notes", id), map[string][]string{"text": {names[i%len(names)]}})
		pages = append(pages, fmt.Sprintf("/hosts/%d", id), fmt.Sprintf("/hosts/%d?all=1", id))
		if i < 4 {
			pages = append(pages, fmt.Sprintf("/hosts/%d/report/html", id))
		}
	}
	for i := range names {
		pages = append(pages, fmt.Sprintf("/uploads/%d", i+1))
	}
	if raceEnabled { // every kind of page once
		pages = append(pages[:12], "/uploads/7")
	}
	for _, page := range pages {
		if res := root.get(page); res.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", page, res.StatusCode)
		}
		if m := bad.FindString(root.body); m != "" {
			t.Errorf("%s has %q", page, m)
		}
	}
	sheets := []string{"/hosts.csv"}
	for i := range hosts.Hosts {
		if i < 2 || !raceEnabled {
			sheets = append(sheets, fmt.Sprintf("/hosts/%d/report/csv", hosts.Hosts[i].ID))
		}
	}
	for _, sheet := range sheets {
		res := root.get(sheet)
		if got := res.Header.Get("Content-Disposition"); res.StatusCode != http.StatusOK || !strings.HasPrefix(got, "attachment") || strings.ContainsAny(got, "<>\r\n\x1b\x00/\\") {
			t.Errorf("%s: %d, %q", sheet, res.StatusCode, got)
		}
		rows := csv.NewReader(strings.NewReader(strings.TrimPrefix(root.body, "\ufeff")))
		rows.FieldsPerRecord = -1
		all, err := rows.ReadAll()
		if err != nil || len(all) < 2 {
			t.Errorf("%s: %d rows, %v", sheet, len(all), err)
		}
		for _, row := range all {
			for _, cell := range row {
				if strings.HasPrefix(cell, "=") || strings.HasPrefix(cell, "@") || strings.HasPrefix(cell, "+1") || strings.HasPrefix(cell, "-2+") || strings.ContainsAny(cell, "\x1b\x00") {
					t.Errorf("%s has the cell %q", sheet, cell)
				}
			}
		}
	}
	if page, err := s.db.Hosts(t.Context(), fleet.HostQuery{}); err != nil || page.Total != hosts.Total {
		t.Errorf("%d machines afterwards, %v", page.Total, err)
	}
}

// TestHostileArchives: an archive that would fill the disk, or whose names lead elsewhere,
// writes nothing anywhere but the file that came, and does not hide what is beside it.
func TestHostileArchives(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	s := newSite(t)
	root := s.setUp()
	token := s.token("operator", access.Operator, access.See, access.Send)
	text := example(t, "fs02/systeminfo.txt")
	pack := func(files map[string]io.Reader, order ...string) string {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		for _, name := range order {
			f, err := w.Create(name)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(f, files[name]); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	nested := text
	for range 12 {
		nested = pack(map[string]io.Reader{"a.zip": strings.NewReader(nested)}, "a.zip")
	}
	named := func(name string) string {
		return pack(map[string]io.Reader{name: strings.NewReader(strings.ReplaceAll(text, "FS02", "TRICK"))}, name)
	}
	many, bomb := make([]string, 3000), int64(257<<20)
	if raceEnabled { // packing it takes a minute
		many, bomb = many[:100], 2<<20
	}
	for i := range many {
		many[i] = fmt.Sprintf("%d.txt", i)
	}
	none := map[string]io.Reader{}
	for _, name := range many {
		none[name] = strings.NewReader("")
	}
	for _, tt := range []struct{ name, body string }{
		{"bomb", pack(map[string]io.Reader{"zeros.txt": io.LimitReader(zeros{}, bomb), "fs02.txt": strings.NewReader(text)}, "zeros.txt", "fs02.txt")},
		{"nested", nested},
		{"many_files", pack(none, many...)},
		{"up", named("../../../../../../../../tmp/oldguard-escaped.txt")},
		{"root", named("/oldguard-escaped.txt")},
		{"drive", named(`C:\oldguard-escaped.txt`)},
		{"up_of_windows", named(`..\..\..\oldguard-escaped.txt`)},
		{"nul", named("a\x00b.txt")},
		{"odd_bytes", named("\xff\xfe\x1b[2J.txt")},
		{"long", named(strings.Repeat("a/", 5000) + "b.txt")},
		{"cut", nested[:len(nested)/2]},
		{"ends_only", "PK\x05\x06" + strings.Repeat("\xff", 18)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res, body := s.call("POST", "/api/v1/evidence?name="+tt.name+".zip", token, tt.body)
			if res.StatusCode != http.StatusAccepted {
				t.Fatalf("%d %s", res.StatusCode, body)
			}
			var id int64
			if _, err := fmt.Sscanf(res.Header.Get("Location"), "/api/v1/evidence/%d", &id); err != nil {
				t.Fatal(err)
			}
			u := s.wait(id)
			if u.State != fleet.UploadDone && u.Error == "" {
				t.Errorf("it is %s without a word", u.State)
			}
			if root.get(fmt.Sprintf("/uploads/%d", id)); strings.ContainsAny(root.body, "\x1b\x00") || !strings.Contains(root.body, "<h1>") {
				t.Errorf("its page: %s", root.body)
			}
			if tt.name == "bomb" {
				if u.State != fleet.UploadDone || u.Machines != 1 || !strings.Contains(u.Error, "bomb.zip (zeros.txt): it was not unpacked: ") || !strings.Contains(root.body, "zeros.txt") {
					t.Errorf("the bomb is %s with %d machines: %s", u.State, u.Machines, u.Error)
				}
				if root.get("/hosts?q=FS02"); !strings.Contains(root.body, ">FS02</a>") {
					t.Error("the machine beside the bomb is not there")
				}
			}
		})
	}
	err := filepath.WalkDir(temp, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && strings.Contains(path, "escaped") {
			t.Errorf("written: %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for _, path := range []string{"/tmp/oldguard-escaped.txt", "/oldguard-escaped.txt"} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("written: %s", path)
		}
	}
}

type zeros struct{}

// Read implements io.Reader.
func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestHostileForms: fields that are too large, broken bodies, and names and keys with bytes
// that would be headers are refused or kept as text.
func TestHostileForms(t *testing.T) {
	s := newSite(t)
	root := s.setUp()
	token := s.token("operator", access.Operator, access.See, access.Send)
	root.get("/uploads")
	send := func(header textproto.MIMEHeader, body io.Reader, end bool) answer {
		t.Helper()
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		part, err := w.CreatePart(header)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = io.Copy(part, body); err != nil {
			t.Fatal(err)
		}
		if end {
			if err = w.Close(); err != nil {
				t.Fatal(err)
			}
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/uploads?csrf="+root.csrf, &b)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", w.FormDataContentType())
		return root.do(req)
	}
	part := func(disposition string) textproto.MIMEHeader {
		return textproto.MIMEHeader{"Content-Disposition": {disposition}}
	}
	if res := send(part(`form-data; name="note"`), io.LimitReader(zeros{}, 32<<20), true); res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(root.body, "Choose a file first.") {
		t.Errorf("a large field that is none of ours: %d", res.StatusCode)
	}
	if res := send(part(`form-data; name="file"; filename="a.txt"`), strings.NewReader("cut off"), false); res.StatusCode < 400 || res.StatusCode >= 500 {
		t.Errorf("a body that breaks off: %d", res.StatusCode)
	}
	if res := send(part(`form-data; name="file"; filename="`+strings.Repeat("a", 1<<20)+`"`), strings.NewReader("x"), true); res.StatusCode >= 500 {
		t.Errorf("a very long name: %d", res.StatusCode)
	}
	if res := send(part(`form-data; name="file"; filename="a\"%0d%0aSet-Cookie: x=1`+"\t"+`.txt"`), strings.NewReader("named oddly"), true); res.StatusCode != http.StatusOK {
		t.Errorf("an odd name: %d", res.StatusCode)
	}
	for id := int64(1); id < 6; id++ {
		res, _ := s.call("GET", fmt.Sprintf("/uploads/%d/file", id), "", "", "Cookie", sessionOf(root))
		if res.StatusCode == http.StatusOK && (res.Header.Get("Set-Cookie") != "" || strings.ContainsAny(res.Header.Get("Content-Disposition"), "\r\n\t")) {
			t.Errorf("headers of upload %d: %v", id, res.Header)
		}
	}
	root.get("/account")
	for name, form := range map[string]string{
		"large":     "csrf=" + root.csrf + "&text=" + strings.Repeat("a", 4<<20),
		"broken":    "csrf=%zz",
		"many_keys": strings.Repeat("a=1&", 100_000) + "csrf=" + root.csrf,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/account/sessions/end", strings.NewReader(form))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if res := root.do(req); res.StatusCode >= 500 || name != "many_keys" && res.StatusCode < 400 {
			t.Errorf("%s: %d", name, res.StatusCode)
		}
	}
	for _, key := range []string{"a b", "\xff\xfe", "'; DROP TABLE upload; --", "%00", strings.Repeat("k", 200), "sha256:" + strings.Repeat("0", 64)} {
		body := "content of " + key
		first, text := s.call("POST", "/api/v1/evidence?name=k.txt", token, body, "Idempotency-Key", key)
		again, _ := s.call("POST", "/api/v1/evidence?name=k.txt", token, body, "Idempotency-Key", key)
		other, _ := s.call("POST", "/api/v1/evidence?name=k.txt", token, body+"!", "Idempotency-Key", key)
		if first.StatusCode != http.StatusAccepted || again.StatusCode != http.StatusOK || other.StatusCode != http.StatusConflict || first.Header.Get("Location") != again.Header.Get("Location") {
			t.Errorf("key %q: %d (%s), again %d, with other content %d", key, first.StatusCode, text, again.StatusCode, other.StatusCode)
		}
	}
	if res, _ := s.call("POST", "/api/v1/evidence", token, "x", "Idempotency-Key", strings.Repeat("k", 201)); res.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("a key that is too long: %d", res.StatusCode)
	}
}

// sessionOf gives the cookie of a browser as a header.
func sessionOf(b *browser) string {
	b.s.t.Helper()
	req, err := http.NewRequestWithContext(b.s.t.Context(), http.MethodGet, b.s.url, nil)
	if err != nil {
		b.s.t.Fatal(err)
	}
	for _, c := range b.client.Jar.Cookies(req.URL) {
		req.AddCookie(c)
	}
	return req.Header.Get("Cookie")
}
