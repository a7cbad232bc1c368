package all_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/all"
	"github.com/oldguard/oldguard/internal/host"
)

// TestCutAnywhere cuts files at every byte. Whatever is left, nothing is read that the
// whole file does not say, and no list counts as whole that lacks an update.
func TestCutAnywhere(t *testing.T) {
	for _, file := range []string{
		"../../../examples/fs01/systeminfo.txt", "../../../examples/fs01/qfe.csv",
		"../../../examples/app03/systeminfo.txt", "../../../examples/app03/hotfix.txt",
		"../systeminfo/testdata/csv/systeminfo.csv", "../systeminfo/testdata/table/systeminfo.txt", "../systeminfo/testdata/german_cp850/systeminfo.txt",
		"../wmicqfe/testdata/table_utf16/qfe.txt", "../wmicqfe/testdata/list/qfe.txt", "../wmicqfe/testdata/column_only/ids.txt",
		"../hotfix/testdata/csv/hotfix.csv", "../hotfix/testdata/list_french/hotfix.txt", "../hotfix/testdata/json_powershell_5/hotfix.json",
		"../computerinfo/testdata/json_powershell_5_utf16/computerinfo.json", "../computerinfo/testdata/list_three_updates/computerinfo.txt",
		"../wmi/testdata/json_system_and_updates/machine.json", "../osquery/testdata/osqueryi_pasted/osquery.txt",
		"../regexport/testdata/packages_small/packages.reg", "../regexport/testdata/query_packages_whole/packages.txt",
		"../dism/testdata/list/packages.txt", "../dism/testdata/server_2016/packages.txt", "../kblist/testdata/complete/kbs.txt",
	} {
		t.Run(strings.ReplaceAll(strings.TrimPrefix(file, "../"), "/", "_"), func(t *testing.T) {
			b, err := os.ReadFile(filepath.FromSlash(file))
			if err != nil {
				t.Fatal(err)
			}
			read := func(n int) *host.Host {
				in := evidence.Input{Name: "cut", File: io.NewSectionReader(strings.NewReader(string(b[:n])), 0, int64(n))}
				merged := new(host.Host)
				for h, err := range evidence.Read(context.Background(), all.Readers(), []evidence.Input{in}, evidence.Options{}) {
					if err != nil {
						t.Fatal(err)
					}
					merged.Merge(h)
				}
				return merged
			}
			full := read(len(b))
			if _, whole := full.Updates.Whole(); !whole || full.Updates.Len() == 0 {
				t.Fatalf("the uncut file gives no whole list: %+v", full.Updates.Listings())
			}
			for n := range b {
				h := read(n)
				for _, kb := range h.Updates.All() {
					if full.Updates.Has(kb) != host.Yes {
						t.Errorf("cut at %d: %v is in no uncut list; the file ends %q", n, kb, b[max(0, n-40):n])
					}
				}
				if l, whole := h.Updates.Whole(); whole && h.Updates.Len() != full.Updates.Len() && !endsLine(b[:n]) {
					t.Errorf("cut at %d: %d of %d updates count as whole: %+v", n, h.Updates.Len(), full.Updates.Len(), l)
				}
			}
		})
	}
}

// endsLine: a list of wmic or Get-HotFix that ends with a line end looks like a shorter
// list; nothing in it announces a number.
func endsLine(b []byte) bool {
	text := evidence.Decode(b)
	return strings.HasSuffix(text, "\n") || strings.HasSuffix(text, "\r")
}
