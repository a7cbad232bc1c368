package regf_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/format/regf"
)

// TestRealLogs: hives that were being written, with their logs. Where the collection has
// the hive as Windows itself recovered it, ours holds the same.
func TestRealLogs(t *testing.T) {
	files := unpack(t)
	yarp := func(s string) string { return "yarp/" + s }
	for _, tt := range []struct {
		name, hive string
		logs       []string
		state      regf.State
		same       string // as Windows recovered it
		lines      int    // keys and values
		sound      bool   // nothing is wrong with what results
	}{
		{"old", yarp("OldDirtyHive/OldDirtyHive"), []string{yarp("OldDirtyHive/OldDirtyHive.LOG1"), yarp("OldDirtyHive/OldDirtyHive.LOG2")}, regf.Recovered, yarp("OldDirtyHive/RecoveredHive_Windows7"), 0, true},
		{"new", yarp("NewDirtyHive1/NewDirtyHive"), []string{yarp("NewDirtyHive1/NewDirtyHive.LOG1"), yarp("NewDirtyHive1/NewDirtyHive.LOG2")}, regf.Recovered, yarp("NewDirtyHive1/RecoveredHive_Windows10"), 0, true},
		{"new_logs_swapped", yarp("NewDirtyHive1/NewDirtyHive"), []string{yarp("NewDirtyHive1/NewDirtyHive.LOG2"), yarp("NewDirtyHive1/NewDirtyHive.LOG1")}, regf.Recovered, yarp("NewDirtyHive1/RecoveredHive_Windows10"), 0, true},
		{"new_first_log_applied_before", yarp("NewDirtyHive2/NewDirtyHive"), []string{yarp("NewDirtyHive2/NewDirtyHive.LOG1"), yarp("NewDirtyHive2/NewDirtyHive.LOG2")}, regf.Recovered, yarp("NewDirtyHive1/RecoveredHive_Windows10"), 0, true},
		{"no_log", yarp("NewDirtyHive1/NewDirtyHive"), nil, regf.Dirty, "", 0, true},
		{"base_block_damaged", yarp("BadBaseBlockHive/BadBaseBlockHive"), []string{yarp("BadBaseBlockHive/BadBaseBlockHive.LOG1")}, regf.Recovered, yarp("OldDirtyHive/RecoveredHive_Windows7"), 0, false},
		{"old_log_with_wrong_checksum", yarp("BadLogHive1/BadLogHive"), []string{yarp("BadLogHive1/BadLogHive.LOG1")}, regf.Dirty, "", 0, false},
		{"old_log_without_pages", yarp("BadLogHive2/BadLogHive"), []string{yarp("BadLogHive2/BadLogHive.LOG1")}, regf.Dirty, "", 0, false},
		{"new_logs_with_wrong_checksums", yarp("BadLogHive3/BadLogHive"), []string{yarp("BadLogHive3/BadLogHive.LOG1"), yarp("BadLogHive3/BadLogHive.LOG2")}, regf.Dirty, "", 0, false},
		{"foreign_log", yarp("OldDirtyHive/OldDirtyHive"), []string{yarp("NewDirtyHive1/NewDirtyHive.LOG1")}, regf.Dirty, "", 0, false},
		{"clean_hive_ignores_logs", yarp("OldDirtyHive/RecoveredHive_Windows7"), []string{yarp("OldDirtyHive/OldDirtyHive.LOG1")}, regf.Clean, yarp("OldDirtyHive/RecoveredHive_Windows7"), 0, true},
		{"system_of_windows_10", "SYSTEM_B", []string{"SYSTEM_B.LOG1", "SYSTEM_B.LOG2"}, regf.Recovered, "", 0, true},
		{"system_of_windows_10_without_logs", "SYSTEM_B", nil, regf.Dirty, "", 0, true},
		{"user_of_windows_10", "transactions_NTUSER.DAT", []string{"transactions_ntuser.dat.log1", "transactions_ntuser.dat.log2"}, regf.Recovered, "", 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var logs [][]byte
			for _, l := range tt.logs {
				logs = append(logs, files[l])
			}
			h, err := open(files[tt.hive], logs...)
			if err != nil {
				t.Fatal(err)
			}
			anomalies, n := h.Anomalies()
			if h.State() != tt.state || tt.sound && n > 0 || !tt.sound && n == 0 {
				t.Errorf("state %v, want %v; %d anomalies: %+v", h.State(), tt.state, n, anomalies)
			}
			got := dump(nil, h.Root(), "")
			t.Log(len(got), anomalies)
			if tt.same == "" {
				return
			}
			want, err := open(files[tt.same])
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(dump(nil, want.Root(), ""), got); diff != "" {
				t.Errorf("(-Windows +here):\n%.2000s", diff)
			}
		})
	}
}
