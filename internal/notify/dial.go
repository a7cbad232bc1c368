package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	dialTimeout = 10 * time.Second
	sendTimeout = 30 * time.Second
	maxAnswer   = 4 << 10 // bytes of an answer that are read
)

// Metadata services of cloud machines that are at no link-local address.
var metadata = []netip.Prefix{
	netip.MustParsePrefix("fd00:ec2::/32"),      // Amazon: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html, read 2026-11-25
	netip.MustParsePrefix("168.63.129.16/32"),   // Azure: https://learn.microsoft.com/en-us/azure/virtual-network/what-is-ip-address-168-63-129-16, read 2026-11-25
	netip.MustParsePrefix("100.100.100.200/32"), // Alibaba, inferred from its manual's examples
	netip.MustParsePrefix("192.0.0.192/32"),     // Oracle, likewise
}

// Prefixes whose addresses hold one of IPv4: RFC 6052 and RFC 3056.
var (
	nat64   = netip.MustParsePrefix("64:ff9b::/96")
	sixToIV = netip.MustParsePrefix("2002::/16")
)

// errForbidden is for an address that no message goes to.
var errForbidden = fmt.Errorf("the address is this machine's own, link-local or of a metadata service: the server must be started to allow it (%w)", ErrPermanent)

// allowed tells whether a message may go to an address.
func allowed(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	b := a.As16()
	switch {
	case nat64.Contains(a):
		return allowed(netip.AddrFrom4([4]byte(b[12:16])))
	case sixToIV.Contains(a):
		return allowed(netip.AddrFrom4([4]byte(b[2:6])))
	case !a.IsValid(), a.IsLoopback(), a.IsUnspecified(), a.IsLinkLocalUnicast(), a.IsMulticast(), a.Is4() && a.As4()[0] == 0:
		return false
	}
	for _, p := range metadata {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// dialer connects to allowed addresses only. The address is looked at after names were
// resolved, for each connection: a name that changes its address gains nothing.
func dialer(o Options) *net.Dialer {
	d := &net.Dialer{Timeout: dialTimeout}
	if !o.Local {
		d.Control = func(_, address string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(address)
			if err != nil || !allowed(ap.Addr()) {
				return errForbidden
			}
			return nil
		}
	}
	return d
}

// Dialer gives a dialer that connects to no address of this machine itself, link-local ones and those
// of metadata services, for others that go to addresses they were told of.
func Dialer() *net.Dialer { return dialer(Options{}) }

// client makes requests for channels: without a proxy, which would resolve names for
// itself, and without following redirects.
func client(o Options) *http.Client {
	return &http.Client{
		Timeout: sendTimeout,
		Transport: &http.Transport{
			DialContext: dialer(o).DialContext, TLSHandshakeTimeout: dialTimeout, DisableKeepAlives: true, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// target reads the address of a webhook.
func target(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, errors.New("the address is not of the form https://host/path") // it is a secret, so it is not repeated
	}
	return u, nil
}

// post sends a body. What went wrong is said without the address.
func post(ctx context.Context, c *http.Client, u *url.URL, body []byte, header map[string]string) error {
	var written atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { written.Store(true) }})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return ErrPermanent
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "oldguard")
	for name, v := range header {
		req.Header.Set(name, v)
	}
	res, err := c.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err
		}
		if written.Load() {
			return fmt.Errorf("%w: no answer came: %w", ErrUnsure, err)
		}
		return err
	}
	defer func() { _ = res.Body.Close() }()          // only its status counts
	_, _ = io.CopyN(io.Discard, res.Body, maxAnswer) // what is answered is not shown
	switch code := res.StatusCode; {
	case code/100 == 2:
		return nil
	case code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code/100 == 5:
		return fmt.Errorf("the other side answered %d", code)
	case code/100 == 3:
		return fmt.Errorf("%w: the other side answered %d, and redirects are not followed", ErrPermanent, code)
	default:
		return fmt.Errorf("%w: the other side answered %d", ErrPermanent, code)
	}
}
