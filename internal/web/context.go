package web

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/oldguard/oldguard/internal/fleet/access"
)

// visit is what is known of a request before its handler runs.
type visit struct {
	who     access.Principal
	session access.Session // of a browser that is logged in
	address string         // of the other side
}

type visitKey struct{}

// visitOf gives what guard found out about a request; the zero visit where there was none.
func visitOf(ctx context.Context) visit {
	v, _ := ctx.Value(visitKey{}).(visit)
	return v
}

func withVisit(ctx context.Context, v visit) context.Context {
	return context.WithValue(ctx, visitKey{}, v)
}

// forwarded splits the values of X-Forwarded-For, the nearest last.
func forwarded(values []string) (out []string) {
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			if part = strings.TrimSpace(part); part != "" {
				out = append(out, part)
			}
		}
	}
	return out[max(0, len(out)-maxProxies):]
}

// maxProxies bounds how many proxies stand behind each other.
const maxProxies = 16

// Who gives who asks.
func Who(ctx context.Context) access.Principal { return visitOf(ctx).who }

// addressOf gives the address of the other side. Behind a proxy that the operator named it is
// the last one in X-Forwarded-For that is not such a proxy; anybody can write the others.
func addressOf(r *http.Request, proxies []netip.Prefix) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	at, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	at = at.Unmap().WithZone("")
	list := forwarded(r.Header.Values("X-Forwarded-For"))
	for trusted(at, proxies) && len(list) > 0 {
		next, err := netip.ParseAddr(list[len(list)-1])
		if err != nil {
			break
		}
		at, list = next.Unmap().WithZone(""), list[:len(list)-1]
	}
	return at.String()
}

func trusted(a netip.Addr, proxies []netip.Prefix) bool {
	for _, p := range proxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
