package bundle

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestChoose: what is unpacked depends on what an archive states and on nothing else, the small
// files come first, and what is left out is told why.
func TestChoose(t *testing.T) {
	const mib = 1 << 20
	for _, tt := range []struct {
		name    string
		cabinet bool
		size    int64
		list    []packed
		want    string // why not, by file; "-" for those that are unpacked
	}{
		{"all", false, 100 * mib, []packed{{name: "a", size: 200 * mib, stored: 10 * mib}, {name: "b", size: 56 * mib, stored: 10 * mib}}, "- -"},
		{"one_byte_too_many", false, 100 * mib, []packed{{name: "a", size: 200 * mib, stored: 10 * mib}, {name: "b", size: 56*mib + 1, stored: 10 * mib}}, "would -"},
		{"small_ones_first", false, 100 * mib, []packed{{name: "a", size: 250 * mib, stored: 20 * mib}, {name: "b", size: 10 * mib, stored: mib}, {name: "c", size: 4000, stored: 900}}, "would - -"},
		{"of_one_size_the_first", false, 100 * mib, []packed{{name: "a", size: 100 * mib, stored: mib}, {name: "b", size: 100 * mib, stored: mib}, {name: "c", size: 100 * mib, stored: mib}}, "- - would"},
		{"too_large_for_itself", false, 1000 * mib, []packed{{name: "a", size: 257 * mib, stored: 250 * mib}, {name: "b", size: 1, stored: 1}, {name: "c", size: 1 << 62, stored: 1}}, "has - has"},
		{"packed_too_well", false, 100 * mib, []packed{{name: "a", size: 201 * mib, stored: mib}, {name: "b", size: 200 * mib, stored: mib}, {name: "c", size: 2 * mib}}, "times - times"},
		{"small_and_packed_well", false, 1000, []packed{{name: "a", size: mib, stored: 1}, {name: "b", size: 10}}, "- -"},
		{"overlap", false, 10 * mib, []packed{{name: "a", size: 5 * mib, stored: 9 * mib}, {name: "b", size: 6 * mib, stored: 9 * mib}, {name: "c", size: 1, stored: 1}}, "- overlap overlap"},
		{"cabinet", true, mib, []packed{{name: "a", size: 100 * mib, reach: 100 * mib}, {name: "b", size: 10, reach: 100*mib + 10}, {name: "c", size: 201 * mib, reach: 301 * mib}}, "- - times"},
		{"behind_very_much", true, 100 * mib, []packed{{name: "a", size: 2000 * mib, reach: 2000 * mib}, {name: "b", size: 10, reach: 2000*mib + 10}, {name: "c", size: 10, folder: 1, reach: 10}}, "has come -"},
		{"behind_much_in_several", true, 100 * mib, []packed{
			{name: "a", size: 10, reach: 600 * mib}, {name: "b", size: 10, folder: 1, reach: 600 * mib}, {name: "c", size: 10, folder: 1, reach: 10}, {name: "d", size: 10, folder: 2, reach: 10},
		}, "- come - -"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var a archive = zipArchive(nil)
			if tt.cabinet {
				a = &reaches{files: tt.list}
				for i := range tt.list {
					tt.list[i].stored = tt.size
				}
			}
			var got []string
			for _, why := range choose(a, tt.list, tt.size, func(int) bool { return true }) {
				word := "-"
				for _, w := range []string{"would have", "has more", "times", "overlap", "come"} {
					if strings.Contains(why, w) {
						word = strings.Fields(w)[0]
					}
				}
				if why != "" && word == "-" {
					word = why
				}
				got = append(got, word)
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	why := choose(zipArchive(nil), []packed{{name: "a", size: 1 << 40}}, 1, func(int) bool { return false })
	if fmt.Sprint(why) != "[]" {
		t.Errorf("of what was not asked for: %q", why)
	}
}

// reaches is a cabinet of which nothing is unpacked.
type reaches struct {
	archive

	files []packed
	cost  passed
}

func (r *reaches) reach(i int) bool { return r.cost.reach(r.files[i].folder, r.files[i].reach) }
