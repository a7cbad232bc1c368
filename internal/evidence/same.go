package evidence

import "github.com/oldguard/oldguard/internal/host"

// Same tells whether two hosts may be one machine, as files of one machine are told: Yes if
// they state the same name, product id or machine id, No if they state anything that
// differs, Unknown if they have nothing in common.
func Same(a, b *host.Host) host.Tri {
	x, y := identityOf(a), identityOf(b)
	shared := func(v, w string) bool { return v != "" && v == w }
	switch {
	case !x.fits(y):
		return host.No
	case shared(x.name, y.name), shared(x.product, y.product), shared(x.machine, y.machine):
		return host.Yes
	}
	return host.Unknown
}
