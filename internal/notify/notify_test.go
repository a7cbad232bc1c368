package notify_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/notify"
	"github.com/oldguard/oldguard/internal/peer"
)

var at = time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)

func message() *notify.Message {
	return &notify.Message{
		ID: "m1", Subject: "FS01\r\nBcc: evil@example.com <!channel> *b*", Why: "it is new", At: at.Add(-time.Hour), Sent: at,
		Items: []notify.Item{{Severity: notify.Critical, Rule: "exploited", Title: "FS01\x1b[31m\u202e", Text: "a [link](https://evil.example.com)\n.\nb"}},
	}
}

func open(t *testing.T, kind string, s notify.Settings, local bool) notify.Notifier {
	t.Helper()
	n, err := notify.Open(kind, s, notify.Options{Local: local})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

const secret = "sixteen letters or more"

func TestHTTPChannels(t *testing.T) {
	// An answer that never comes orders nothing between the server and the test: a lock does.
	var mu sync.Mutex
	var body []byte
	var header http.Header
	var status int
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		header = r.Header
		body, _ = io.ReadAll(r.Body)
		if status == 0 {
			panic(http.ErrAbortHandler) // it was read, and no answer comes
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
	}))
	defer srv.Close()
	answer := func(code int) {
		mu.Lock()
		defer mu.Unlock()
		status, body = code, nil
	}
	received := func() ([]byte, http.Header) {
		mu.Lock()
		defer mu.Unlock()
		return body, header
	}
	for _, k := range notify.Kinds() {
		kind := k.Name
		if kind == "smtp" {
			continue
		}
		s := notify.Settings{}
		for _, f := range k.Fields {
			s[f.Name] = secret
		}
		s["url"] = notify.Secret(srv.URL + "/hidden")
		n := open(t, kind, s, true)
		for code, want := range map[int]error{200: nil, 302: notify.ErrPermanent, 404: notify.ErrPermanent, 0: notify.ErrUnsure} {
			answer(code)
			err := n.Send(t.Context(), message())
			if !errors.Is(err, want) || err != nil && (strings.Contains(err.Error(), "hidden") || strings.Contains(err.Error(), secret)) {
				t.Errorf("%s, status %d: %v", kind, code, err)
			}
			body, _ := received()
			if len(body) == 0 || strings.ContainsAny(string(body), "\x1b\u202e") {
				t.Errorf("%s sends %q", kind, body)
			}
		}
		answer(http.StatusServiceUnavailable)
		if err := n.Send(t.Context(), message()); err == nil || errors.Is(err, notify.ErrPermanent) || errors.Is(err, notify.ErrUnsure) {
			t.Errorf("%s, status 503: %v", kind, err)
		}
		if kind == "webhook" {
			body, header := received()
			for name, tt := range map[string]struct {
				key  string
				body []byte
				now  time.Time
				want error
			}{
				"right": {secret, body, at, nil}, "other_key": {"another", body, at, notify.ErrSignature},
				"other_body": {secret, append([]byte(" "), body...), at, notify.ErrSignature}, "late": {secret, body, at.Add(time.Hour), notify.ErrSignature},
			} {
				if err := notify.Verify([]byte(tt.key), header, tt.body, tt.now, 5*time.Minute); !errors.Is(err, tt.want) {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		answer(http.StatusOK)
		err := open(t, kind, s, false).Send(t.Context(), message())
		if got, _ := received(); !errors.Is(err, notify.ErrPermanent) || got != nil {
			t.Errorf("%s to loopback: %v, received %q", kind, err, got)
		}
	}
}

// TestChats: what each chat is sent of a message that would call people and make links.
func TestChats(t *testing.T) {
	var path, auth string
	var body []byte
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		path, auth = r.URL.Path, r.Header.Get("Authorization")
		body, _ = io.ReadAll(r.Body)
	}))
	defer srv.Close()
	m := &notify.Message{
		ID: "m1", Subject: "oldguard: @everyone <!channel> *b*", Why: "it is new", Link: "https://o.example.com/alerts",
		Items: []notify.Item{{Severity: notify.Critical, Title: "FS01", Text: "<users/all> [x](y)", Link: "https://o.example.com/hosts/1"}, {Severity: notify.Warning, Title: "FS02", Ended: true}},
	}
	const marked = "oldguard: @\u200beveryone \\<!channel\\> \\*b\\*\n\n\\[critical\\] FS01: \\<users/all\\> \\[x\\](y) https://o.example.com/hosts/1\n\n\\[over\\] FS02\n\nWhy you get this: it is new. https://o.example.com/alerts"
	const plain = "oldguard: @everyone <!channel> *b*\n\n[critical] FS01: <users/all> [x](y) https://o.example.com/hosts/1\n\n[over] FS02\n\nWhy you get this: it is new. https://o.example.com/alerts"
	run := func(text string) map[string]any {
		return map[string]any{"type": "RichTextBlock", "inlines": []any{map[string]any{"type": "TextRun", "text": text}}}
	}
	section := func(text string) map[string]any {
		return map[string]any{"type": "section", "text": map[string]any{"type": "plain_text", "text": text, "emoji": false}}
	}
	for _, tt := range []struct {
		kind, path, auth string
		s                notify.Settings
		want             map[string]any
	}{
		{"slack", "/x", "", notify.Settings{"url": "/x"}, map[string]any{
			"text": "oldguard: @everyone &lt;!channel&gt; *b*",
			"blocks": []any{
				map[string]any{"type": "header", "text": map[string]any{"type": "plain_text", "text": "oldguard: @everyone <!channel> *b*", "emoji": false}},
				section("[critical] FS01: <users/all> [x](y) https://o.example.com/hosts/1"), section("[over] FS02"), section("Why you get this: it is new. https://o.example.com/alerts"),
			},
		}},
		{"teams", "/x", "", notify.Settings{"url": "/x"}, map[string]any{"type": "message", "attachments": []any{map[string]any{
			"contentType": "application/vnd.microsoft.card.adaptive",
			"content": map[string]any{"type": "AdaptiveCard", "$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "version": "1.4", "body": []any{
				map[string]any{"type": "RichTextBlock", "inlines": []any{map[string]any{"type": "TextRun", "text": "oldguard: @everyone <!channel> *b*", "weight": "bolder", "size": "medium"}}},
				run("[critical] FS01: <users/all> [x](y) https://o.example.com/hosts/1"), run("[over] FS02"), run("Why you get this: it is new. https://o.example.com/alerts"),
			}},
		}}}},
		{"mattermost", "/x", "", notify.Settings{"url": "/x"}, map[string]any{"text": marked}},
		{"googlechat", "/x", "", notify.Settings{"url": "/x"}, map[string]any{"text": strings.NewReplacer("<", "‹", ">", "›").Replace(plain)}},
		{"discord", "/x", "", notify.Settings{"url": "/x"}, map[string]any{"content": marked, "allowed_mentions": map[string]any{"parse": []any{}}}},
		{"ntfy", "/", "Bearer tk_1", notify.Settings{"url": "", "topic": "ops", "token": "tk_1"}, map[string]any{"topic": "ops", "title": "oldguard: @everyone <!channel> *b*", "message": strings.SplitN(plain, "\n\n", 2)[1], "priority": 5.0}},
		{"telegram", "/bot1:a/sendMessage", "", notify.Settings{"url": "/", "token": "1:a", "chat": "-100"}, map[string]any{"chat_id": "-100", "text": plain, "link_preview_options": map[string]any{"is_disabled": true}}},
		{"pagerduty", "/v2/enqueue", "", notify.Settings{"url": "", "key": "k"}, map[string]any{
			"routing_key": "k", "event_action": "trigger", "dedup_key": "m1", "client": "oldguard", "client_url": "https://o.example.com/alerts",
			"payload": map[string]any{"summary": "oldguard: @everyone <!channel> *b*", "source": "oldguard", "severity": "critical", "custom_details": map[string]any{"message": plain}},
		}},
	} {
		t.Run(tt.kind, func(t *testing.T) {
			tt.s["url"] = notify.Secret(srv.URL + tt.s["url"].Reveal())
			if err := open(t, tt.kind, tt.s, true).Send(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			var got map[string]any
			if err := json.Unmarshal(body, &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || path != tt.path || auth != tt.auth {
				t.Errorf("to %q with %q (-want +got):\n%s", path, auth, diff)
			}
		})
	}
}

// TestLongMessages: a message of many alerts is cut where a chat would refuse it, and says so.
func TestLongMessages(t *testing.T) {
	var body []byte
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { body, _ = io.ReadAll(r.Body) }))
	defer srv.Close()
	m := &notify.Message{ID: "m1", Subject: "s", Why: "w", More: 7}
	for range 50 {
		m.Items = append(m.Items, notify.Item{Title: strings.Repeat("*t ", 60), Text: strings.Repeat("_x ", 500)})
	}
	for kind, tt := range map[string]struct {
		s     notify.Settings
		field string
		most  int
	}{
		"discord": {notify.Settings{}, "content", 2000}, "telegram": {notify.Settings{"token": "t", "chat": "1"}, "text", 4096},
		"ntfy": {notify.Settings{"topic": "t"}, "message", 4096}, "mattermost": {notify.Settings{}, "text", 16383}, "googlechat": {notify.Settings{}, "text", 32000},
	} {
		tt.s["url"] = notify.Secret(srv.URL)
		if err := open(t, kind, tt.s, true).Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatal(err)
		}
		if text := got[tt.field].(string); len(text) > tt.most || len(text) < tt.most/4 || !strings.HasSuffix(text, " more lines") {
			t.Errorf("%s: %d bytes, %.300q", kind, len(text), text)
		}
	}
}

func TestForbiddenAddresses(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "169.254.169.254", "[fe80::1]", "[fd00:ec2::254]", "168.63.129.16", "[64:ff9b::a9fe:a9fe]", "[2002:7f00:1::1]"} {
		err := open(t, "slack", notify.Settings{"url": notify.Secret("http://" + host + ":9/x")}, false).Send(t.Context(), message())
		if !errors.Is(err, notify.ErrPermanent) {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestSettingsAreChecked(t *testing.T) {
	for name, tt := range map[string]struct {
		kind string
		s    notify.Settings
	}{
		"kind":        {"pigeon", nil},
		"missing":     {"slack", nil},
		"unknown":     {"slack", notify.Settings{"url": "https://example.com", "x": "y"}},
		"scheme":      {"slack", notify.Settings{"url": "file:///etc/passwd"}},
		"short":       {"webhook", notify.Settings{"url": "https://example.com", "secret": "short"}},
		"header":      {"smtp", notify.Settings{"host": "mail.example.com", "from": "a@example.com\r\nBcc: b@example.com", "to": "c@example.com"}},
		"clear":       {"smtp", notify.Settings{"host": "mail.example.com", "from": "a@example.com", "to": "c@example.com", "encryption": "none", "password": "p"}},
		"no_address":  {"smtp", notify.Settings{"host": "mail.example.com", "from": "a", "to": "c@example.com"}},
		"host_as_url": {"smtp", notify.Settings{"host": "https://x/", "from": "a@example.com", "to": "c@example.com"}},
	} {
		if _, err := notify.Open(tt.kind, tt.s, notify.Options{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	s := notify.Settings{"password": "hush"}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", slog.Any("settings", s), slog.Any("one", s["password"]))
	if out := fmt.Sprintf("%v %+v %#v %s %q", s, s, s, s["password"], s["password"]) + log.String(); strings.Contains(out, "hush") {
		t.Error(out)
	}
}

// TestPeerSMTP sends to a mail server that prints what it gets.
func TestPeerSMTP(t *testing.T) {
	program := peer.Need(t, "aiosmtpd")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	if err = l.Close(); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), program, "-n", "-u", "-l", address, "-c", "aiosmtpd.handlers.Debugging", "stdout")
	c.Env = append(c.Environ(), "PYTHONUNBUFFERED=1")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err = c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	n := open(t, "smtp", notify.Settings{
		"host": "127.0.0.1", "port": notify.Secret(port), "encryption": "none", "from": "Old Guard <oldguard@example.com>", "to": "ops@example.com, b@example.com",
	}, true)
	for range 200 {
		if err = n.Send(t.Context(), message()); err == nil {
			break
		}
		if errors.Is(err, notify.ErrPermanent) || errors.Is(err, notify.ErrUnsure) {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond) // it does not listen yet
	}
	if err != nil {
		t.Fatal(err)
	}
	var mail strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan() && !strings.Contains(lines.Text(), "END MESSAGE"); {
		mail.WriteString(lines.Text() + "\n")
	}
	for _, want := range []string{"Subject: FS01 Bcc: evil@example.com", "Message-ID: <m1@example.com>", "Auto-Submitted: auto-generated", "[critical] FS01[31m", "a [link](https://evil.example.com) . b", "Why you get this: it is new"} {
		if !strings.Contains(mail.String(), want) {
			t.Errorf("the mail lacks %q:\n%s", want, mail.String())
		}
	}
	if strings.Contains(mail.String(), "\nBcc:") {
		t.Errorf("a header was injected:\n%s", mail.String())
	}
}

// certificate makes one that is good for 127.0.0.1, and has it trusted.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail.example.com"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	for name, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// rootsEnv is where Go takes the authorities from that it trusts, once for each process.
const rootsEnv = "SSL_CERT_FILE"

// TestPeerSMTPEncrypted sends over STARTTLS and over TLS, with a login, to a server that
// takes no mail without either. It does so in a process of its own, which trusts the
// server's certificate.
func TestPeerSMTPEncrypted(t *testing.T) {
	program := peer.Need(t, "aiosmtpd")
	if os.Getenv(childEnv) == "" {
		cert, key := certificate(t)
		c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPeerSMTPEncrypted$", "-test.v")
		c.Env = append(os.Environ(), childEnv+"="+cert+" "+key, rootsEnv+"="+cert)
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	python := interpreter(t, program)
	cert, key, _ := strings.Cut(os.Getenv(childEnv), " ")
	for _, mode := range []string{"starttls", "tls"} {
		t.Run(mode, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			_, port, _ := net.SplitHostPort(l.Addr().String())
			if err = l.Close(); err != nil {
				t.Fatal(err)
			}
			c := exec.CommandContext(t.Context(), python, "testdata/smtpd.py", port, mode, cert, key)
			in, err1 := c.StdinPipe()
			out, err2 := c.StdoutPipe()
			if err = errors.Join(err1, err2, c.Start()); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { // it ends by itself
				_ = in.Close()
				_ = c.Wait()
			})
			with := func(change notify.Settings) notify.Notifier {
				s := notify.Settings{
					"host": "127.0.0.1", "port": notify.Secret(port), "encryption": notify.Secret(mode), "from": "oldguard@example.com", "to": "ops@example.com", "user": "watch", "password": "four words",
				}
				maps.Copy(s, change)
				return open(t, "smtp", s, true)
			}
			for range 200 {
				if err = with(nil).Send(t.Context(), message()); err == nil || errors.Is(err, notify.ErrPermanent) || errors.Is(err, notify.ErrUnsure) {
					break
				}
				time.Sleep(50 * time.Millisecond) // it does not listen yet
			}
			if err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			if !lines.Scan() || lines.Text() != "watch <m1@example.com> ops@example.com" {
				t.Errorf("the server took %q", lines.Text())
			}
			for name, tt := range map[string]struct {
				change    notify.Settings
				permanent bool
			}{
				"wrong_password": {notify.Settings{"password": "guess"}, true},
				"no_login":       {notify.Settings{"user": "", "password": ""}, true},
				"another_name":   {notify.Settings{"host": "localhost"}, false},
				"in_clear":       {notify.Settings{"encryption": "none", "user": "", "password": ""}, true},
			} {
				if name == "in_clear" && mode == "tls" {
					continue // both would wait for the other to begin
				}
				failed := with(tt.change).Send(t.Context(), message())
				if failed == nil || errors.Is(failed, notify.ErrUnsure) || errors.Is(failed, notify.ErrPermanent) != tt.permanent || strings.Contains(failed.Error(), "four words") {
					t.Errorf("%s: %v", name, failed)
				}
			}
			m := message()
			m.ID = "last"
			if err = with(nil).Send(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			if !lines.Scan() || !strings.Contains(lines.Text(), "<last@") {
				t.Errorf("the server took %q of what should not have gone", lines.Text())
			}
		})
	}
}

// childEnv tells a test's process that it is the child: certificate and key.
const childEnv = "OLDGUARD_TEST_MAIL"

// interpreter gives what runs a script: the peer's own Python has its modules.
func interpreter(t *testing.T, script string) string {
	t.Helper()
	f, err := os.Open(script)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	first, err := bufio.NewReader(f).ReadString('\n')
	if name, ok := strings.CutPrefix(strings.TrimSpace(first), "#!"); err == nil && ok {
		return strings.Fields(name)[0]
	}
	t.Fatalf("%s is no script", script)
	return ""
}
