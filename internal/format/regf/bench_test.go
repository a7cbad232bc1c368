package regf_test

import "testing"

// BenchmarkWalk opens the largest real hive and reads every value of it.
func BenchmarkWalk(b *testing.B) {
	hive := unpack(b)["SYSTEM"]
	b.SetBytes(int64(len(hive)))
	b.ReportAllocs()
	for b.Loop() {
		h, err := open(hive)
		if err != nil {
			b.Fatal(err)
		}
		walk(h.Root())
	}
}
