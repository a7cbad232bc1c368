package web_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/fleet/access"
)

// TestAlertsAndMessages goes the way of an administrator: a channel, its test, a route, an
// alert, its acknowledgement.
func TestAlertsAndMessages(t *testing.T) {
	var received atomic.Int64
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { received.Add(1) }))
	defer receiver.Close()
	s := newSite(t)
	root := s.setUp()
	ctx := context.WithoutCancel(t.Context())
	root.get("/settings/messages")
	if res := root.post("/settings/messages/channels", url.Values{"kind": {"slack"}, "name": {"ops"}, "url": {"ftp://x"}}); res.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("a wrong address: %d", res.StatusCode)
	}
	secret := receiver.URL + "/very-secret"
	if res := root.post("/settings/messages/channels", url.Values{"kind": {"slack"}, "name": {"<i>ops"}, "url": {secret}}); res.StatusCode != http.StatusOK {
		t.Fatalf("a channel: %d %s", res.StatusCode, root.body)
	}
	if root.get("/settings/messages"); strings.Contains(root.body, "very-secret") || strings.Contains(root.body, "<i>ops") || !strings.Contains(root.body, "&lt;i&gt;ops") {
		t.Error("the page shows the secret, or does not escape the name")
	}
	root.post("/settings/messages/channels/1/test", url.Values{})
	if res := root.post("/settings/messages/routes", url.Values{"channel": {"1"}, "severity": {"note"}, "group": {"rule"}, "wait": {"0"}, "repeat": {"7"}, "ended": {"1"}}); res.StatusCode != http.StatusOK || !strings.Contains(root.body, "grouped by rule") {
		t.Errorf("a route: %d %s", res.StatusCode, root.body)
	}
	if res := root.post("/settings/messages/routes", url.Values{"channel": {"1"}, "severity": {"dire"}}); res.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("a wrong severity: %d", res.StatusCode)
	}
	if _, err := s.db.AddRisk(ctx, fleet.Risk{CVE: "CVE-2020-0787", Reason: "<script>", By: "anna", At: today, Until: catalog.DateOf(today)}); err != nil {
		t.Fatal(err)
	}
	if err := s.web.Alerts.Look(ctx); err != nil {
		t.Fatal(err)
	}
	log, err := s.db.Alerts().Deliveries(ctx, 0, 0)
	if err != nil || len(log) < 2 {
		t.Fatalf("%d messages, %v", len(log), err)
	}
	for range 400 {
		if int(received.Load()) == len(log) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if int(received.Load()) != len(log) {
		t.Errorf("received %d of %d", received.Load(), len(log))
	}
	root.get("/alerts")
	if !strings.Contains(root.body, "CVE-2020-0787") || strings.Contains(root.body, "<script>r") || !strings.Contains(root.body, `class="pip"`) {
		t.Errorf("the page of alerts: %s", root.body)
	}
	list, err := s.db.Alerts().Open(ctx, today)
	if err != nil || len(list) == 0 {
		t.Fatal(list, err)
	}
	token := s.token("operator", access.Operator, access.See, access.Decide)
	if res, body := s.call("POST", "/api/v1/alerts/1/acknowledge", token, `{"days":3,"note":"seen"}`); res.StatusCode != http.StatusNoContent {
		t.Errorf("acknowledge: %d %s", res.StatusCode, body)
	}
	if res, body := s.call("POST", "/api/v1/alerts/999/acknowledge", token, `{"days":3}`); res.StatusCode != http.StatusNotFound {
		t.Errorf("acknowledge none: %d %s", res.StatusCode, body)
	}
	if res, body := s.call("GET", "/api/v1/alerts?state=acknowledged", token, ""); res.StatusCode != http.StatusOK || !strings.Contains(body, `"acknowledged_by":"operator"`) {
		t.Errorf("acknowledged: %d %s", res.StatusCode, body)
	}
	if len(list) > 1 {
		root.post("/alerts/2/acknowledge", url.Values{"days": {"1"}})
	}
	if root.get("/alerts?state=acknowledged"); !strings.Contains(root.body, "operator knows of it") {
		t.Errorf("acknowledged: %s", root.body)
	}
	root.get("/audit")
	for _, want := range []string{"channel-test", "alert-acknowledge", "route"} {
		if !strings.Contains(root.body, want) {
			t.Errorf("the audit log lacks %q", want)
		}
	}
	root.post("/settings/messages/channels/1/remove", url.Values{})
	if root.get("/settings/messages"); !strings.Contains(root.body, "nothing is sent") {
		t.Error("the route of a removed channel is there")
	}
}
