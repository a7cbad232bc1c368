package notify_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

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
	for _, kind := range []string{"webhook", "slack", "teams"} {
		s := notify.Settings{"url": notify.Secret(srv.URL + "/hidden")}
		if kind == "webhook" {
			s["secret"] = secret
		}
		n := open(t, kind, s, true)
		for code, want := range map[int]error{200: nil, 302: notify.ErrPermanent, 404: notify.ErrPermanent, 0: notify.ErrUnsure} {
			answer(code)
			err := n.Send(t.Context(), message())
			if !errors.Is(err, want) || err != nil && strings.Contains(err.Error(), "hidden") {
				t.Errorf("%s, status %d: %v", kind, code, err)
			}
			body, _ := received()
			if len(body) == 0 || strings.ContainsAny(string(body), "\x1b\u202e") || strings.Contains(string(body), "<!channel>") {
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
