package web

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/fleet"
)

// metrics are what Prometheus asks for at /metrics, with a token of scope "see". Labels
// have few values: routes, states and sources, never names of machines.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	took     *prometheus.HistogramVec
	logins   *prometheus.CounterVec
	handler  http.Handler
}

func newMetrics(s *Server) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "oldguard_http_requests_total", Help: "Requests by route and status."}, []string{"route", "status"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "oldguard_http_request_seconds", Help: "How long requests took, by route.", Buckets: []float64{.005, .02, .05, .1, .2, .5, 1, 5, 30},
		}, []string{"route"}),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "oldguard_logins_total", Help: "Logins with a password, by result."}, []string{"result"}),
	}
	m.registry.MustRegister(m.requests, m.took, m.logins, &fleetCollector{s: s}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.handler = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
	return m
}

// observe counts a request.
func (m *metrics) observe(pattern string, status int, took time.Duration) {
	if pattern == "" {
		pattern = "none"
	}
	m.requests.WithLabelValues(pattern, strconv.Itoa(status)).Inc()
	m.took.WithLabelValues(pattern).Observe(took.Seconds())
}

// fleetCollector counts the fleet when asked, at most once in a while: the counts are
// queries.
type fleetCollector struct {
	s    *Server
	mu   sync.Mutex
	at   time.Time
	last fleet.Overview
	err  error
}

const (
	countEvery   = 10 * time.Second
	countTimeout = 10 * time.Second
)

var (
	descHosts     = prometheus.NewDesc("oldguard_hosts", "Machines by state: bad, undecided or clear.", []string{"level"}, nil)
	descSupport   = prometheus.NewDesc("oldguard_hosts_support", "Machines by the state of their support.", []string{"support"}, nil)
	descExploited = prometheus.NewDesc("oldguard_hosts_exploited", "Machines with an open vulnerability that is exploited.", nil, nil)
	descRansom    = prometheus.NewDesc("oldguard_hosts_ransomware", "Machines with an open vulnerability that ransomware uses.", nil, nil)
	descUnseen    = prometheus.NewDesc("oldguard_hosts_unseen", "Machines not seen for 30 days.", nil, nil)
	descConflicts = prometheus.NewDesc("oldguard_conflicts", "Open conflicts about who is who.", nil, nil)
	descWaiting   = prometheus.NewDesc("oldguard_uploads_waiting", "Uploads that wait to be read.", nil, nil)
	descSource    = prometheus.NewDesc("oldguard_source_age_days", "Days since the last day that a source speaks about.", []string{"source"}, nil)
	descUp        = prometheus.NewDesc("oldguard_database_up", "Whether the database answers.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c *fleetCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descHosts, descSupport, descExploited, descRansom, descUnseen, descConflicts, descWaiting, descSource, descUp} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *fleetCollector) Collect(ch chan<- prometheus.Metric) {
	o, err := c.overview()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	today := catalog.DateOf(c.s.Now())
	for _, src := range c.s.Fleet.InUse().Sources() {
		gauge(descSource, float64(today-src.Last), src.ID)
	}
	if err != nil {
		gauge(descUp, 0)
		return
	}
	gauge(descUp, 1)
	for level, n := range o.ByLevel {
		gauge(descHosts, float64(n), level.String())
	}
	for support, n := range o.BySupport {
		gauge(descSupport, float64(n), string(support))
	}
	gauge(descExploited, float64(o.Exploited))
	gauge(descRansom, float64(o.Ransomware))
	gauge(descUnseen, float64(o.Unseen))
	gauge(descConflicts, float64(o.Conflicts))
	gauge(descWaiting, float64(o.Uploads))
}

func (c *fleetCollector) overview() (fleet.Overview, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.s.Now(); c.at.IsZero() || now.Sub(c.at) >= countEvery {
		ctx, cancel := context.WithTimeout(context.Background(), countTimeout)
		defer cancel()
		c.last, c.err = c.s.Store.Overview(ctx, unseenSince(now))
		c.at = now
	}
	return c.last, c.err
}

func (s *Server) metricsPage(w http.ResponseWriter, r *http.Request) {
	s.metrics.handler.ServeHTTP(w, r)
}

// loginResult is what a login came to, for its counter.
func loginResult(status int) string {
	switch status {
	case http.StatusSeeOther:
		return "in"
	case http.StatusTooManyRequests:
		return "throttled"
	}
	return "refused"
}
