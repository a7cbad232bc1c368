package cli

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestServeAndPush goes the way of a new user: start, link, account, token, evidence.
func TestServeAndPush(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	in, out := io.Pipe()
	ended := make(chan int, 1)
	var log bytes.Buffer
	go func() {
		ended <- Run(ctx, []string{"serve", "--data", filepath.Join(t.TempDir(), "data"), "--listen", "127.0.0.1:0", "--log-level", "warn"},
			Env{Stdin: strings.NewReader(""), Stdout: out, Stderr: &log, Now: time.Now, Getenv: func(string) string { return "" }})
		_ = out.Close()
	}()
	link := regexp.MustCompile(`(http://[0-9.:]+)/setup\?code=(\S+)`)
	var server, code string
	for lines := bufio.NewScanner(in); code == "" && lines.Scan(); {
		if m := link.FindStringSubmatch(lines.Text()); m != nil {
			server, code = m[1], m[2]
		}
	}
	if code == "" {
		t.Fatalf("no link; it ended with %d: %s", <-ended, log.String())
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, Timeout: 30 * time.Second}
	page := func(path string, form url.Values) string {
		t.Helper()
		method, body := http.MethodGet, ""
		if form != nil {
			method, body = http.MethodPost, form.Encode()
		}
		req, err := http.NewRequestWithContext(ctx, method, server+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Accept", "text/html")
		res, err := browser.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %v\n%s", path, res.StatusCode, err, b)
		}
		return string(b)
	}
	page("/setup", url.Values{"code": {code}, "name": {"root"}, "password": {"four words are enough"}})
	csrf := regexp.MustCompile(`name="csrf" value="([0-9a-f]+)"`).FindStringSubmatch(page("/account", nil))[1]
	token := regexp.MustCompile(`oldguard_[\w-]{43}`).FindString(page("/account/tokens", url.Values{"csrf": {csrf}, "name": {"test"}, "days": {"1"}, "scope": {"send", "see"}}))
	if token == "" {
		t.Fatal("no token")
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	push := func(want int, args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		status := Run(ctx, append([]string{"push", "--server", server}, args...),
			Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Now: time.Now, Getenv: func(string) string { return "" }})
		if status != want || strings.Contains(out.String()+errs.String(), token) {
			t.Fatalf("push %q gives %d; want %d\n%s%s", args, status, want, out.String(), errs.String())
		}
		return out.String() + errs.String()
	}
	if got := push(0, "--token-file", file, "--wait", "../../examples/fs01", "../../examples/fs02/systeminfo.txt"); !strings.Contains(got, "fs01: received as upload 1, machines in it: 1") || !strings.Contains(got, "upload 2, machines in it: 1") {
		t.Errorf("push says %s", got)
	}
	if got := push(0, "--token-file", file, "../../examples/fs01"); !strings.Contains(got, "as upload 1\n") {
		t.Errorf("sent again: %s", got)
	}
	unread := filepath.Join(t.TempDir(), "x.jpg")
	if err := os.WriteFile(unread, []byte("\xff\xd8\xff picture"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := push(3, "--token-file", file, "--wait", unread); !strings.Contains(got, "nothing could be read") {
		t.Errorf("a picture: %s", got)
	}
	mixed := filepath.Join(t.TempDir(), "mixed")
	if err := os.CopyFS(mixed, os.DirFS("../../examples/fs01")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(mixed, "x.jpg"), []byte("\xff\xd8\xff another picture"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := push(0, "--token-file", file, "--wait", mixed); !strings.Contains(got, "machines in it: 1\n  not read: mixed.zip/x.jpg: ") || !strings.Contains(got, "it is a JPEG picture") {
		t.Errorf("a picture beside evidence: %s", got)
	}
	if got := push(1, "--token", "oldguard_"+strings.Repeat("a", 43), unread); !strings.Contains(got, "401") {
		t.Errorf("a wrong token: %s", got)
	}
	if list := page("/hosts", nil); !strings.Contains(list, ">FS01</a>") || !strings.Contains(list, ">FS02</a>") {
		t.Error("the machines are not in the list")
	}
	cancel()
	if status := <-ended; status != 0 {
		t.Errorf("it ended with %d: %s", status, log.String())
	}
	if strings.Contains(log.String(), token) || strings.Contains(log.String(), code) {
		t.Error("a secret is in the log")
	}
}

func TestServeRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"no_folder", nil, "--data"},
		{"open_to_all", []string{"--data", "x", "--listen", "0.0.0.0:8080"}, "passwords would cross the network"},
		{"insecure_open_to_all", []string{"--data", "x", "--listen", "[::]:8080", "--insecure"}, "--insecure is for loopback only"},
		{"half_a_certificate", []string{"--data", "x", "--tls-cert", "c"}, "belong together"},
		{"address", []string{"--data", "x", "--listen", "8080"}, "--listen is an address"},
		{"proxy", []string{"--data", "x", "--proxy", "10.0.0.2"}, "--proxy is a network"},
		{"public_url", []string{"--data", "x", "--public-url", "oldguard.example.com"}, "--public-url is an address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var errs bytes.Buffer
			status := Run(t.Context(), append([]string{"serve"}, tt.args...), Env{Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: &errs, Now: time.Now, Getenv: func(string) string { return "" }})
			if status != statusUsage || !strings.Contains(errs.String(), tt.want) {
				t.Errorf("status %d: %s; want %q", status, errs.String(), tt.want)
			}
		})
	}
}

func TestFlagsFromTheEnvironment(t *testing.T) {
	var errs bytes.Buffer
	env := map[string]string{"OLDGUARD_DATA": "x", "OLDGUARD_LISTEN": "0.0.0.0:1"}
	e := Env{Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: &errs, Now: time.Now, Getenv: func(name string) string { return env[name] }}
	if status := Run(t.Context(), []string{"serve"}, e); status != statusUsage || !strings.Contains(errs.String(), "on 0.0.0.0:1") {
		t.Errorf("status %d: %s", status, errs.String())
	}
}
