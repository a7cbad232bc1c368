package host_test

import (
	"testing"

	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

func TestDisputedBuild(t *testing.T) {
	rev := func(number, revision uint32) winver.Build {
		return winver.Build{Major: 10, Number: number, Revision: revision, HasRevision: revision != 0}
	}
	for _, tt := range []struct {
		name string
		say  []winver.Build
		want bool
	}{
		{"one_source", []winver.Build{rev(14393, 0)}, false},
		{"one_knows_the_revision", []winver.Build{rev(14393, 0), rev(14393, 2273)}, false},
		{"revisions_differ", []winver.Build{rev(14393, 2248), rev(14393, 2273)}, true},
		{"revisions_differ_below_one_without", []winver.Build{rev(14393, 2248), rev(14393, 2273), rev(14393, 0)}, true},
		{"builds_differ", []winver.Build{rev(14393, 0), rev(17763, 1)}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var f host.Fact[winver.Build]
			for i, b := range tt.say {
				f.Say(b, i, host.Source{Reader: "test"})
			}
			if got := f.Disputed(); got != tt.want {
				t.Errorf("Disputed() = %v, want %v", got, tt.want)
			}
		})
	}
}
