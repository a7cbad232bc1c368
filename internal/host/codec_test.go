package host_test

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// everything compares hosts with all that others do not see.
var everything = cmp.Exporter(func(reflect.Type) bool { return true })

// full makes a host in which nothing is empty, whatever fields a Host gets.
func full(t testing.TB) *host.Host {
	t.Helper()
	h := new(host.Host)
	n := 0
	fill(t, reflect.ValueOf(h).Elem(), &n)
	return h
}

func fill(t testing.TB, v reflect.Value, n *int) {
	t.Helper()
	*n++
	src := host.Source{Reader: fmt.Sprintf("reader%d", *n%3), Input: "input", At: fmt.Sprintf("line %d", *n), Taken: time.Date(2026, 11, *n%28+1, 9, 30, 0, *n, time.FixedZone("", 3600))}
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = src.Taken.UTC()
		return
	case *host.Source:
		*x = src
		return
	case *netip.Addr:
		*x = netip.AddrFrom4([4]byte{192, 0, 2, byte(*n)})
		return
	case *netip.Prefix:
		*x = netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, 0}), 24)
		return
	case *host.Traffic:
		for i := range 3 {
			var k host.Talk
			var s host.Sighting
			fill(t, reflect.ValueOf(&k).Elem(), n)
			fill(t, reflect.ValueOf(&s).Elem(), n)
			k.Port = uint16(i)
			x.Add(k, s)
		}
		x.Lost = *n
		return
	case *host.Set[winver.KB]:
		x.Add(winver.KB(4000000+*n), src)
		x.Add(4493730, src)
		x.Add(4493730, host.Source{Reader: "other"})
		x.List(host.Listing{From: src, Whole: true, Scope: "cbs", Why: "why", Announced: -1, Printed: *n})
		return
	case *host.Set[string]:
		x.Add(fmt.Sprint("member", *n), src)
		return
	}
	if say := v.Addr().MethodByName("Say"); say.IsValid() { // a Fact
		for range 2 {
			value := reflect.New(say.Type().In(0)).Elem()
			fill(t, value, n)
			say.Call([]reflect.Value{value, reflect.ValueOf(*n), reflect.ValueOf(src)})
		}
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprint("text", *n%7))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(-*n))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(*n%5 + 1))
	case reflect.Struct:
		for _, f := range v.Fields() {
			fill(t, f, n)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(t, v.Index(i), n)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 2 {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(t, key, n)
			fill(t, value, n)
			v.SetMapIndex(key, value)
		}
	default:
		t.Fatalf("a host holds a %s, of which this test knows nothing", v.Type())
	}
}

func TestEncode(t *testing.T) {
	for name, h := range map[string]*host.Host{"empty": {}, "full": full(t)} {
		t.Run(name, func(t *testing.T) {
			b := h.Encode()
			got, err := host.Decode(b)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(h, got, everything, cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" {
				t.Errorf("decoded (-want +got):\n%s", d)
			}
			if again := got.Encode(); string(again) != string(b) {
				t.Error("what was decoded is encoded in another way")
			}
			for n := range b {
				if _, err := host.Decode(b[:n]); err == nil {
					t.Errorf("the first %d of %d bytes are taken for a host", n, len(b))
				}
			}
			b[0] ^= 1
			if _, err := host.Decode(b); !errors.Is(err, host.ErrLayout) {
				t.Errorf("another layout: %v", err)
			}
		})
	}
}

// TestFull holds that the test above leaves nothing out.
func TestFull(t *testing.T) {
	v := reflect.ValueOf(full(t)).Elem()
	for f, value := range v.Fields() {
		if value.IsZero() {
			t.Errorf("%s is empty", f.Name)
		}
	}
}

func TestOrigins(t *testing.T) {
	h := &host.Host{}
	at := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	h.Name.Say("FS01", 1, host.Source{Reader: "systeminfo", Input: "s.txt", At: "line 1"})
	h.Domain.Say("corp", 1, host.Source{Reader: "systeminfo", Input: "s.txt", At: "line 2"})
	h.Updates.Add(4493730, host.Source{Reader: "hive", Input: "SOFTWARE", At: "key", Taken: at})
	h.Gap(host.Gap{What: "x", From: host.Source{Reader: "dism", Input: "d.txt"}})
	want := []host.Source{{Reader: "hive", Input: "SOFTWARE", Taken: at}, {Reader: "systeminfo", Input: "s.txt"}}
	if d := cmp.Diff(want, h.Origins()); d != "" {
		t.Errorf("origins (-want +got):\n%s", d)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(full(f).Encode())
	f.Add(new(host.Host).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := host.Decode(b)
		if err != nil {
			return
		}
		if _, err := host.Decode(h.Encode()); err != nil {
			t.Errorf("encoded again: %v", err)
		}
	})
}
