package host_test

import (
	"testing"

	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

func TestFactTellsTheMostExact(t *testing.T) {
	var f host.Fact[winver.Build]
	base := winver.Build{Major: 10, Number: 17763}
	exact := winver.Build{Major: 10, Number: 17763, Revision: 107, HasRevision: true}
	f.Say(base, 9, host.Source{Reader: "systeminfo"})
	f.Say(exact, 1, host.Source{Reader: "ver"})
	if v, ok := f.Value(); !ok || v != exact || f.Disputed() {
		t.Errorf("%v, disputed %v", v, f.Disputed())
	}
	f.Say(winver.Build{Major: 10, Number: 17134}, 0, host.Source{Reader: "other"})
	if !f.Disputed() {
		t.Error("another build is no dispute")
	}
	var i host.Fact[host.Installation]
	i.Say(host.Server, 9, host.Source{})
	i.Say(host.ServerCore, 1, host.Source{})
	if v, _ := i.Value(); v != host.ServerCore || i.Disputed() {
		t.Errorf("%v, disputed %v", v, i.Disputed())
	}
	i.Say(host.Client, 0, host.Source{})
	if !i.Disputed() {
		t.Error("client and server are no dispute")
	}
}

func TestZeroValuesKnowNothing(t *testing.T) {
	var f host.Fact[string]
	f.Say("", 1, host.Source{Reader: "x"})
	if _, ok := f.Value(); ok || f.Known() || f.Disputed() {
		t.Error("an empty claim says something")
	}
	var s host.Set[winver.KB]
	if s.Has(4493730) != host.Unknown {
		t.Error("a set of nothing proves an absence")
	}
	s.List(host.Listing{Whole: false, Why: "cut"})
	if s.Has(4493730) != host.Unknown {
		t.Error("a cut list proves an absence")
	}
	s.List(host.Listing{Whole: true})
	if s.Has(4493730) != host.No {
		t.Error("a whole list proves nothing")
	}
	s.Add(4493730, host.Source{})
	if s.Has(4493730) != host.Yes {
		t.Error("what is named is not there")
	}
}
