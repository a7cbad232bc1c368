package fleet_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/winver"
)

func TestVerdicts(t *testing.T) {
	cat, err := catalog.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	cves, err := cat.CVEs()
	if err != nil {
		t.Fatal(err)
	}
	var v fleet.Verdicts
	by := map[string]fleet.CVEVerdict{}
	for i, c := range cves {
		f := fleet.CVEVerdict{CVE: c.ID, Verdict: assess.Verdict(i % 5), Exploited: i%7 == 0}
		v.List = append(v.List, f)
		by[c.ID] = f
	}
	v.Missing = []winver.KB{5073697, 4493730, 1<<32 - 1}
	b := v.Pack()
	t.Logf("%d verdicts take %d bytes", len(v.List), len(b))
	got, err := fleet.UnpackVerdicts(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(v.Missing, got.Missing); d != "" {
		t.Errorf("missing (-want +got):\n%s", d)
	}
	if len(got.List) != len(by) {
		t.Errorf("%d verdicts came back of %d", len(got.List), len(by))
	}
	for _, f := range got.List {
		if by[f.CVE] != f {
			t.Errorf("%+v came back as %+v", by[f.CVE], f)
		}
	}
	v.List = v.List[:50]
	b = v.Pack()
	for n := range b {
		if _, err := fleet.UnpackVerdicts(b[:n]); err == nil {
			t.Fatalf("%d bytes of %d are taken for verdicts", n, len(b))
		}
	}
}

func TestCVENumber(t *testing.T) {
	last := uint64(0)
	for _, id := range []string{"ADV170001", "ADV200011", "CVE-1999-0001", "CVE-2017-0016", "CVE-2017-00016", "CVE-2017-0144", "CVE-2017-11882", "CVE-2020-0601", "CVE-2024-1000000"} {
		n, ok := fleet.CVENumber(id)
		if !ok || fleet.CVEID(n) != id {
			t.Errorf("%s came back as %s (%v)", id, fleet.CVEID(n), ok)
		}
		if n <= last {
			t.Errorf("%s is not ordered", id)
		}
		last = n
	}
	for _, id := range []string{"", "CVE-", "CVE-2017-", "CVE-20170144", "CVE-2017-x", "CVE-2017-12345678901", "KB4493730", "cve-2017-0144", "ADV17"} {
		if _, ok := fleet.CVENumber(id); ok {
			t.Errorf("%q is taken for a vulnerability", id)
		}
	}
}

func FuzzUnpackVerdicts(f *testing.F) {
	v := fleet.Verdicts{List: []fleet.CVEVerdict{{CVE: "CVE-2017-0144", Verdict: assess.Affected}}, Missing: []winver.KB{1}}
	f.Add(v.Pack())
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := fleet.UnpackVerdicts(b)
		if err != nil {
			return
		}
		if _, err := fleet.UnpackVerdicts(v.Pack()); err != nil {
			t.Error(err)
		}
	})
}
