package assess_test

import (
	"testing"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/winver"
)

func BenchmarkAssess(b *testing.B) {
	c := embedded(b)
	on := day(b, "2026-02-01")
	for name, h := range map[string]struct {
		number uint32
		kbs    []winver.KB
	}{
		"bare6002":   {6002, nil},
		"lastRollup": {6003, []winver.KB{4474419, 5050682, 5073697}},
	} {
		host := server2008(winver.AMD64, h.number, h.kbs...)
		for _, p := range []struct {
			name   string
			policy assess.Policy
		}{{"all", assess.Policy{}}, {"open", assess.Policy{OnlyOpen: true}}} {
			b.Run(name+"/"+p.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					assess.Assess(host, c, p.policy, on)
				}
			})
		}
	}
}
