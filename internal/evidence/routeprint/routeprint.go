// Package routeprint reads what route print and netstat -r of Windows print: the table of
// routes, in any display language.
//
// It goes by the addresses in a row. Where a word stands in place of the gateway, in
// whatever language, the network is on the link.
package routeprint

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/console"
	"github.com/oldguard/oldguard/internal/host"
)

const readerName = "routeprint"

// Reader reads tables of routes.
var Reader = evidence.Reader{
	Name: readerName,
	Doc: `The table of routes as route print and netstat -rn print it, in any language.
Obtain it with: route print > route.txt
It proves the routes and the gateways, also those that are set for the next start, and the machine's own addresses
with the networks they are in.`,
	Sniff: sniff,
	Read:  read,
}

// Bounds of what is kept. A server has some thirty routes.
const (
	maxRoutes = 50_000
	maxOwn    = 1000
	maxLine   = 400
)

// minRule is the length of a row of equals signs; real ones have 75.
const minRule = 40

func isRule(line string) bool { return len(line) >= minRule && strings.Trim(line, "=") == "" }

func sniff(p evidence.Probe) bool {
	ruled, routes := false, 0
	for rest := p.Text; rest != ""; {
		var line string
		line, rest = evidence.NextLine(rest)
		ruled = ruled || isRule(line)
		if _, ok := rowOf(line, false); ok {
			routes++
		}
	}
	return ruled && routes > 0
}

// row is a line of one of the tables.
type row struct {
	host.Route
	own     netip.Addr // of the interface; not valid where not shown
	pending bool       // the gateway is on the next line, since the network is long
}

// rowOf reads a line:
//
//	        0.0.0.0          0.0.0.0        192.0.2.1      192.0.2.11    266
//	      192.0.2.0    255.255.255.0         On-link       192.0.2.11    266
//	        0.0.0.0          0.0.0.0        192.0.2.1  Default
//	11    266 2001:db8::/64            On-link
//
// The first two are of IPv4, the third is one set for the next start, the last is of IPv6.
// long tells that a line before it asks for a gateway alone.
func rowOf(line string, long bool) (r row, ok bool) {
	if len(line) > maxLine || line == "" || line[0] != ' ' {
		return r, false
	}
	words := strings.Fields(line)
	if long {
		if len(words) > 3 {
			return r, false
		}
		r.Via, _ = netip.ParseAddr(words[0])
		r.Via = r.Via.WithZone("")
		return r, r.Via.IsValid() || !strings.ContainsAny(line, ":/=.")
	}
	if len(words) < 3 {
		return r, false
	}
	if strings.Contains(words[0], ".") {
		return row4(words)
	}
	return row6(words)
}

func row4(words []string) (r row, ok bool) {
	to, err := netip.ParseAddr(words[0])
	if err != nil || !to.Is4() {
		return r, false
	}
	_, bits, ok := host.AdapterAddress(words[0] + "/" + words[1])
	if !ok || bits < 0 || !strings.Contains(words[1], ".") {
		return r, false
	}
	r.To = netip.PrefixFrom(to, bits)
	var addrs []netip.Addr // behind the network
	for _, w := range words[2:] {
		if a, notAddr := netip.ParseAddr(w); notAddr == nil && a.Is4() {
			addrs = append(addrs, a)
		}
	}
	last := words[len(words)-1]
	metric, err := strconv.ParseUint(last, 10, 32)
	r.Metric = int(metric) // 0 for the word that stands for the metric of the interface
	_, viaErr := netip.ParseAddr(words[2])
	switch {
	case len(addrs) == 2 && len(words) == 5 && err == nil: // gateway, interface, metric
		r.Via, r.own = addrs[0], addrs[1]
	case len(addrs) == 1 && viaErr != nil && err == nil && words[len(words)-2] == addrs[0].String(): // a word, interface, metric
		r.own = addrs[0]
	case len(addrs) == 1 && viaErr == nil && len(words) <= 6: // set for the next start
		r.Via = addrs[0]
	default:
		return r, false
	}
	if r.Via == r.own || r.Via.IsUnspecified() { // before Windows Vista, the interface stands for the link
		r.Via = netip.Addr{}
	}
	return r, true
}

func row6(words []string) (r row, ok bool) {
	if _, err := strconv.ParseUint(words[0], 10, 32); err != nil {
		return r, false
	}
	metric, err := strconv.ParseUint(words[1], 10, 32)
	if err != nil {
		return r, false
	}
	to, err := netip.ParsePrefix(words[2])
	if err != nil || !to.Addr().Is6() {
		return r, false
	}
	r.To, r.Metric, r.pending = to, int(metric), len(words) == 3
	if len(words) > 3 {
		r.Via, _ = netip.ParseAddr(words[3])
		r.Via = r.Via.WithZone("")
	}
	if to.IsSingleIP() && !r.Via.IsValid() {
		r.own = to.Addr()
	}
	return r, true
}

func read(_ context.Context, in evidence.Input, h *host.Host) ([]evidence.Input, error) {
	text, err := in.Text()
	if err != nil {
		return nil, err
	}
	if parts := console.Parts(in, text); parts != nil {
		return parts, nil
	}
	t := table{h: h, routes: map[route]bool{}, own: map[netip.Addr]int{}}
	ended := evidence.Ended(text)
	var open *row
	from := host.Source{Reader: readerName, Input: in.Name}
	n := 1
	for rest := text; rest != ""; n++ {
		var line string
		line, rest = evidence.NextLine(rest)
		from.At = "line " + strconv.Itoa(n)
		if rest == "" && !ended {
			h.Gap(host.Gap{What: "routes", From: from, Why: "the file ends within a line, which was left out; lines behind it are missing"})
			break
		}
		if open != nil {
			r, ok := rowOf(line, true)
			if ok && r.Via.IsValid() {
				open.Via, open.own = r.Via, netip.Addr{}
			}
			t.add(*open)
			open = nil
			if ok {
				continue
			}
		}
		r, ok := rowOf(line, false)
		if !ok {
			continue
		}
		r.From = from
		if r.pending {
			open = &r
			continue
		}
		t.add(r)
	}
	if len(h.Routes) == 0 {
		return nil, fmt.Errorf("%s has no row of a table of routes", in.Name)
	}
	if t.lost > 0 {
		h.Gap(host.Gap{What: "routes", From: host.Source{Reader: readerName, Input: in.Name}, Why: fmt.Sprintf("%d routes were left out, because there are more than are kept", t.lost)})
	}
	return nil, nil
}

// route is what makes a route another one. Those set for the next start are mostly in
// effect too.
type route struct {
	to  netip.Prefix
	via netip.Addr
}

type table struct {
	h      *host.Host
	routes map[route]bool
	own    map[netip.Addr]int // to its place in h.Addresses
	lost   int
}

func (t *table) add(r row) {
	key := route{r.To, r.Via}
	switch {
	case len(t.routes) >= maxRoutes:
		t.lost++
	case !t.routes[key]:
		t.routes[key] = true
		t.h.Routes = append(t.h.Routes, r.Route)
	}
	a := r.own
	if !a.IsValid() || a.IsLoopback() || a.IsUnspecified() || a.IsLinkLocalUnicast() || a.IsMulticast() || a == broadcast {
		return
	}
	i, known := t.own[a]
	if !known {
		if len(t.own) >= maxOwn {
			return
		}
		i = len(t.h.Addresses)
		t.own[a] = i
		t.h.Addresses = append(t.h.Addresses, host.Address{Addr: a, Bits: -1, From: r.From})
	}
	// The network of an address is the one on its link that it is in.
	if !r.Via.IsValid() && !r.To.IsSingleIP() && r.To.Bits() > 0 && !r.To.Addr().IsMulticast() && r.To.Contains(a) {
		t.h.Addresses[i].Bits, t.h.Addresses[i].From = r.To.Bits(), r.From
	}
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})
