package space_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/policy/space"
)

// TestSets holds the sets against plain lists of what is in them.
func TestSets(t *testing.T) {
	const numbers = 12 // few, so that spans touch
	r := rand.New(rand.NewPCG(1, 2))
	random := func() (space.Nums, [numbers]bool) {
		var spans []space.Span[space.Num]
		var has [numbers]bool
		for range r.IntN(5) {
			from, to := r.IntN(numbers), r.IntN(numbers)
			spans = append(spans, space.Span[space.Num]{From: space.Num(from), To: space.Num(to)})
			for n := from; n <= to; n++ {
				has[n] = true
			}
		}
		return space.SetOf(spans...), has
	}
	for range 5000 {
		a, inA := random()
		b, inB := random()
		or, and, minus := a.Or(b), a.And(b), a.Minus(b)
		for n := range numbers {
			v := space.Num(n)
			if a.Has(v) != inA[n] || or.Has(v) != (inA[n] || inB[n]) || and.Has(v) != (inA[n] && inB[n]) || minus.Has(v) != (inA[n] && !inB[n]) {
				t.Fatalf("%v and %v at %d: or %v, and %v, minus %v", a, b, n, or, and, minus)
			}
		}
		if a.Meets(b) != (len(and) > 0) {
			t.Fatalf("%v.Meets(%v) = %v", a, b, a.Meets(b))
		}
		for _, s := range []space.Nums{a, or, and, minus} { // one set has one form
			if !s.Equal(space.SetOf(s...)) {
				t.Fatalf("%v is not in order", s)
			}
		}
	}
}

func TestToPrefixes(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  space.Addrs
		want []string
	}{
		{"none", nil, nil},
		{"all", space.AllAddrs, []string{"0.0.0.0/0", "::/0"}},
		{"one", space.Prefixes(netip.MustParsePrefix("192.0.2.1/32")), []string{"192.0.2.1/32"}},
		{"neighbours_join", space.Prefixes(netip.MustParsePrefix("192.0.2.0/25"), netip.MustParsePrefix("192.0.2.128/25")), []string{"192.0.2.0/24"}},
		{
			"across_a_border",
			space.SetOf(space.Span[netip.Addr]{From: netip.MustParseAddr("192.0.2.255"), To: netip.MustParseAddr("192.0.3.1")}),
			[]string{"192.0.2.255/32", "192.0.3.0/31"},
		},
		{
			"to_the_end",
			space.SetOf(space.Span[netip.Addr]{From: netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffd"), To: netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")}),
			[]string{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffd/128", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := space.ToPrefixes(tt.set)
			var text []string
			for _, p := range got {
				text = append(text, p.String())
			}
			if diff := cmp.Diff(tt.want, text); diff != "" || !space.Prefixes(got...).Equal(tt.set) {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestBoxesHoldNoPacketThatIsNone looks at what parts could say and packets cannot.
func TestBoxesHoldNoPacketThatIsNone(t *testing.T) {
	all := space.Everything()
	mixed := all
	mixed.Src, mixed.Dst = space.AllIPv4, space.AllIPv6
	ping := all
	ping.Proto, ping.Src = space.One(1), space.AllIPv6
	messages := all
	messages.Proto, messages.DPort = space.One(1), space.Nums{{From: 256, To: 65535}}
	for name, b := range map[string]space.Box{"two_families": mixed, "icmp_over_ipv6": ping, "message_without_octet": messages} {
		if got, ok := b.And(&all); ok {
			t.Errorf("%s: %+v", name, got)
		}
	}
	ping = all
	ping.Proto = space.One(1)
	for n := range space.Num(256) {
		one := ping
		one.DPort = space.One(n)
		left, _ := space.Minus([]space.Box{ping}, &one, 10)
		if n < 255 && len(left) == 0 || n == 255 && len(left) > 0 {
			t.Fatalf("after %d: %+v", n, left)
		}
		ping.DPort = ping.DPort.Minus(one.DPort)
	}
}
