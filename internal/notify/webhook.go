package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of a webhook.
const (
	// SignatureHeader holds "t=SECONDS,v1=HEX": when it was signed, in seconds since 1970,
	// and the HMAC-SHA256 under the channel's secret of SECONDS, a full stop, and the body.
	SignatureHeader = "Oldguard-Signature"
	// IDHeader holds Message.ID, which is also in the body.
	IDHeader = "Oldguard-Message"
)

// minSecret is the least length of the secret that messages are signed with.
const minSecret = 16

func webhookKind() Kind {
	return Kind{
		Name: "webhook", Doc: "a POST with the message as JSON, signed with HMAC-SHA256, to a program of yours",
		Fields: []Field{
			{Name: "url", Label: "Address", Doc: "https://host/path; redirects are not followed", Secret: true, Required: true},
			{Name: "secret", Label: "Secret", Doc: "at least 16 characters, which the receiver knows too", Secret: true, Required: true},
		},
		Open: func(s Settings, o Options) (Notifier, error) {
			u, err := target(s.get("url"))
			if err != nil {
				return Notifier{}, err
			}
			key := []byte(s.get("secret"))
			if len(key) < minSecret {
				return Notifier{}, fmt.Errorf("the secret has at least %d characters", minSecret)
			}
			c := client(o)
			return Notifier{"webhook", func(ctx context.Context, m *Message) error {
				body, err := json.Marshal(webhookBody(m))
				if err != nil {
					return fmt.Errorf("%w: %w", ErrPermanent, err)
				}
				return post(ctx, c, u, body, map[string]string{IDHeader: m.ID, SignatureHeader: Sign(key, m.Sent, body)})
			}}, nil
		},
	}
}

// hook is the body of a webhook: oldguard/message/1. Fields are added, never re-meant.
type hook struct {
	Schema  string     `json:"schema"`
	ID      string     `json:"id"`
	At      time.Time  `json:"at"`
	Test    bool       `json:"test"`
	Subject string     `json:"subject"`
	Why     string     `json:"why"`
	Link    string     `json:"link,omitempty"`
	Items   []hookItem `json:"items"`
	More    int        `json:"more"`
}

type hookItem struct {
	Severity string `json:"severity"`
	Rule     string `json:"rule"`
	Title    string `json:"title"`
	Text     string `json:"text,omitempty"`
	Link     string `json:"link,omitempty"`
	Ended    bool   `json:"ended"`
}

func webhookBody(m *Message) hook {
	h := hook{
		Schema: "oldguard/message/1", ID: m.ID, At: m.At.UTC(), Test: m.Test, Subject: line(m.Subject, maxSubject), Why: line(m.Why, maxText),
		Link: m.Link, Items: make([]hookItem, 0, len(m.Items)), More: m.More,
	}
	for _, it := range m.Items {
		h.Items = append(h.Items, hookItem{it.Severity.String(), it.Rule, line(it.Title, maxSubject), line(it.Text, maxText), it.Link, it.Ended})
	}
	return h
}

// Sign gives the value of SignatureHeader.
func Sign(key []byte, at time.Time, body []byte) string {
	stamp := strconv.FormatInt(at.Unix(), 10)
	return "t=" + stamp + ",v1=" + hex.EncodeToString(mac(key, stamp, body))
}

func mac(key []byte, stamp string, body []byte) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = h.Write([]byte(stamp + ".")) // a hash takes everything
	_, _ = h.Write(body)
	return h.Sum(nil)
}

// ErrSignature is for a webhook that is not signed with the secret, or not lately.
var ErrSignature = errors.New("the signature does not hold")

// Verify is how a receiver checks a webhook: the signature must hold for the body as it
// came, and be made within the tolerance of now, so that one which was recorded is of no
// use later.
func Verify(key []byte, h http.Header, body []byte, now time.Time, tolerance time.Duration) error {
	stamp, sum, ok := strings.Cut(h.Get(SignatureHeader), ",")
	stamp, ok1 := strings.CutPrefix(stamp, "t=")
	sum, ok2 := strings.CutPrefix(sum, "v1=")
	got, err := hex.DecodeString(sum)
	if !ok || !ok1 || !ok2 || err != nil || !hmac.Equal(got, mac(key, stamp, body)) {
		return ErrSignature
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > tolerance {
		return ErrSignature
	}
	return nil
}
