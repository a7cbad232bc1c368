package winver_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/winver"
)

func TestFromRegistry(t *testing.T) {
	type values = map[string]string
	tests := []struct {
		name   string
		values values
		want   winver.Version
		err    string
	}{
		{
			name: "server_2008_sp2_6003",
			values: values{
				"CurrentVersion": "6.0", "CurrentBuild": "6003", "CurrentBuildNumber": "6003", "CSDVersion": "Service Pack 2",
				"BuildLab": "6003.vistasp2_ldr_escrow.230327-1945", "BuildLabEx": "6003.22015.amd64fre.vistasp2_ldr_escrow.230327-1945",
			},
			want: winver.Version{
				Build: build(6, 0, 6003, 22015), ServicePack: 2, Branch: winver.Escrow, BranchName: "vistasp2_ldr_escrow",
				Arch: winver.AMD64, Compiled: minute(2023, 3, 27, 19, 45),
			},
		},
		{
			name: "number_of_an_older_kernel_gives_no_revision",
			values: values{
				"CurrentBuildNumber": "6003", "CSDVersion": "2. szervizcsomag",
				"BuildLabEx": "6002.18005.x86fre.lh_sp2rtm.090410-1830",
			},
			want: winver.Version{
				Build: build(6, 0, 6003, -1), ServicePack: 2, Branch: winver.RTM, BranchName: "lh_sp2rtm",
				Arch: winver.X86, Compiled: minute(2009, 4, 10, 18, 30),
			},
		},
		{
			name: "xp_obsolete_current_build",
			values: values{
				"CurrentVersion": "5.1", "CurrentBuild": "1.511.1 () (Obsolete data - do not use)", "CurrentBuildNumber": "2600",
				"BuildLab": "2600.xpsp_sp3_qfe.130704-0421", "CSDVersion": "Service Pack 3",
			},
			want: winver.Version{
				Build: build(5, 1, 2600, -1), ServicePack: 3, Branch: winver.LDR, BranchName: "xpsp_sp3_qfe",
				Compiled: minute(2013, 7, 4, 4, 21),
			},
		},
		{
			name: "xp_with_obsolete_current_build_only",
			values: values{
				"CurrentVersion": "5.1", "CurrentBuild": "1.511.1 () (Obsolete data - do not use)",
				"BuildLab": "2600.xpclient.010817-1148",
			},
			want: winver.Version{Build: build(5, 1, 2600, -1), BranchName: "xpclient", Compiled: minute(2001, 8, 17, 11, 48)},
		},
		{
			name: "windows_10_revision_is_ubr_and_current_version_lies",
			values: values{
				"CurrentVersion": "6.3", "CurrentMajorVersionNumber": "10", "CurrentMinorVersionNumber": "0",
				"CurrentBuild": "19045", "CurrentBuildNumber": "19045", "UBR": "2965",
				"BuildLabEx": "19041.1.amd64fre.vb_release.191206-1406", "BuildLab": "19041.vb_release.191206-1406",
			},
			want: winver.Version{
				Build: build(10, 0, 19045, 2965), BranchName: "vb_release", Arch: winver.AMD64,
				Compiled: minute(2019, 12, 6, 14, 6),
			},
		},
		{
			name:   "windows_10_without_ubr_has_no_revision",
			values: values{"CurrentVersion": "6.3", "CurrentBuild": "26100", "BuildLabEx": "26100.1.amd64fre.ge_release.240331-1435"},
			want: winver.Version{
				Build: build(10, 0, 26100, -1), BranchName: "ge_release", Arch: winver.AMD64,
				Compiled: minute(2024, 3, 31, 14, 35),
			},
		},
		{
			name: "stale_ubr_before_windows_10",
			values: values{
				"CurrentVersion": "6.1", "CurrentBuildNumber": "7601", "UBR": "23403",
				"BuildLabEx": "7601.24545.amd64fre.win7sp1_ldr_escrow.200102-1707", "CSDVersion": "Service Pack 1",
			},
			want: winver.Version{
				Build: build(6, 1, 7601, 24545), ServicePack: 1, Branch: winver.Escrow, BranchName: "win7sp1_ldr_escrow",
				Arch: winver.AMD64, Compiled: minute(2020, 1, 2, 17, 7),
			},
		},
		{
			name:   "beta_by_current_version",
			values: values{"CurrentVersion": "6.0", "CurrentBuildNumber": "5384"},
			want:   winver.Version{Build: build(6, 0, 5384, -1)},
		},
		{
			name:   "nothing_but_a_number",
			values: values{"CurrentBuildNumber": "6002"},
			want:   winver.Version{Build: build(6, 0, 6002, -1)},
		},
		{name: "empty", err: "no build number in CurrentBuildNumber"},
		{name: "garbage", values: values{"CurrentBuildNumber": "6003\x00", "BuildLab": "x", "UBR": "-1"}, err: "no build number in"},
		{name: "unknown_number", values: values{"CurrentBuildNumber": "6004", "CurrentVersion": "six"}, err: `build number 6004 is of no known Windows, and CurrentVersion is "six"`},
		{
			name:   "contradiction",
			values: values{"CurrentBuildNumber": "6003", "CurrentMajorVersionNumber": "10", "CurrentMinorVersionNumber": "0"},
			err:    "build number 6003 belongs to 6.0, not to 10.0",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := winver.FromRegistry(func(name string) string { return test.values[name] })
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("got %+v, %v; want an error with %q", got, err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzFromRegistry(f *testing.F) {
	f.Add("6.0", "", "", "6003", "6003", "", "6003.22015.amd64fre.vistasp2_ldr_escrow.230327-1945", "", "Service Pack 2")
	f.Add("6.3", "10", "0", "19045", "19045", "2965", "19041.1.amd64fre.vb_release.191206-1406", "", "")
	f.Add("5.1", "", "", "1.511.1 () (Obsolete data - do not use)", "", "", "", "2600.xpclient.010817-1148", "")
	f.Fuzz(func(t *testing.T, version, major, minor, build, number, ubr, labEx, lab, csd string) {
		values := map[string]string{
			"CurrentVersion": version, "CurrentMajorVersionNumber": major, "CurrentMinorVersionNumber": minor,
			"CurrentBuild": build, "CurrentBuildNumber": number, "UBR": ubr, "BuildLabEx": labEx, "BuildLab": lab, "CSDVersion": csd,
		}
		v, err := winver.FromRegistry(func(name string) string { return values[name] })
		if err != nil {
			if v != (winver.Version{}) {
				t.Errorf("%q gives %+v beside %v", values, v, err)
			}
			return
		}
		if v.Build.Number == 0 || v.Build.Major == 0 {
			t.Errorf("%q gives build %v", values, v.Build)
		}
	})
}
