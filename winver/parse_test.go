package winver_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/winver"
)

// build makes a Build; a negative revision is an unknown one.
func build(major, minor uint16, number uint32, revision int) winver.Build {
	b := winver.Build{Major: major, Minor: minor, Number: number}
	if revision >= 0 {
		b.Revision, b.HasRevision = uint32(revision), true
	}
	return b
}

func minute(y int, m time.Month, d, hour, minute int) time.Time {
	return time.Date(y, m, d, hour, minute, 0, 0, time.UTC)
}

func TestParse(t *testing.T) {
	type version = winver.Version
	const none = winver.NoServicePack
	ws2008 := build(6, 0, 6003, -1)
	escrow := version{
		Build: build(6, 0, 6003, 22015), Branch: winver.Escrow, BranchName: "vistasp2_ldr_escrow",
		Compiled: minute(2023, 3, 27, 19, 45),
	}
	escrowAMD64, escrowLab := escrow, escrow
	escrowAMD64.Arch = winver.AMD64
	escrowLab.Build = ws2008

	tests := []struct {
		name, text string
		want       version
	}{
		{"dotted", "6.0.6003", version{Build: ws2008}},
		{"dotted_with_revision", "6.0.6003.22015", version{Build: build(6, 0, 6003, 22015), Branch: winver.LDR}},
		{"surrounding_space_and_v", " v6.0.6003\r\n", version{Build: ws2008}},
		{"bare_6000", "6000", version{Build: build(6, 0, 6000, -1)}},
		{"bare_6003", "6003", version{Build: ws2008}},
		{"bare_7601", "7601", version{Build: build(6, 1, 7601, -1)}},
		{"bare_9200", "9200", version{Build: build(6, 2, 9200, -1)}},
		{"bare_9600", "9600", version{Build: build(6, 3, 9600, -1)}},
		{"bare_2600", "2600", version{Build: build(5, 1, 2600, -1)}},
		{"bare_3790", "3790", version{Build: build(5, 2, 3790, -1)}},
		{"bare_windows_10", "17763", version{Build: build(10, 0, 17763, -1)}},
		{"bare_insider", "27842", version{Build: build(10, 0, 27842, -1)}},
		{"bare_with_revision", "6003.22015", version{Build: build(6, 0, 6003, 22015), Branch: winver.LDR}},
		{"bare_with_revision_windows_11", "26100.4349", version{Build: build(10, 0, 26100, 4349)}},

		{"build_lab_ex", "6003.22015.amd64fre.vistasp2_ldr_escrow.230327-1945", escrowAMD64},
		{"build_lab", "6003.vistasp2_ldr_escrow.230327-1945", escrowLab},
		{"file_version", "6.0.6003.22015 (vistasp2_ldr_escrow.230327-1945)", escrow},
		{"build_lab_ex_rtm", "6002.18005.x86fre.lh_sp2rtm.090410-1830", version{
			Build: build(6, 0, 6002, 18005), Branch: winver.RTM, BranchName: "lh_sp2rtm",
			Arch: winver.X86, Compiled: minute(2009, 4, 10, 18, 30),
		}},
		{"build_lab_ex_gdr_itanium_checked", "6002.18881.ia64chk.vistasp2_gdr.130707-1535", version{
			Build: build(6, 0, 6002, 18881), Branch: winver.GDR, BranchName: "vistasp2_gdr",
			Arch: winver.IA64, Checked: true, Compiled: minute(2013, 7, 7, 15, 35),
		}},
		{"build_lab_ex_windows_7", "7601.24545.amd64fre.win7sp1_ldr_escrow.200102-1707", version{
			Build: build(6, 1, 7601, 24545), Branch: winver.Escrow, BranchName: "win7sp1_ldr_escrow",
			Arch: winver.AMD64, Compiled: minute(2020, 1, 2, 17, 7),
		}},
		{"build_lab_ex_windows_11_arm64", "22621.1.arm64fre.ni_release.220506-1250", version{
			Build: build(10, 0, 22621, 1), BranchName: "ni_release",
			Arch: winver.ARM64, Compiled: minute(2022, 5, 6, 12, 50),
		}},
		{"build_lab_xp", "2600.xpsp_sp3_qfe.130704-0421", version{
			Build: build(5, 1, 2600, -1), Branch: winver.LDR, BranchName: "xpsp_sp3_qfe",
			Compiled: minute(2013, 7, 4, 4, 21),
		}},
		{"file_version_server_2003", "5.2.3790.3959 (srv03_sp2_rtm.070216-1710)", version{
			Build: build(5, 2, 3790, 3959), Branch: winver.RTM, BranchName: "srv03_sp2_rtm",
			Compiled: minute(2007, 2, 16, 17, 10),
		}},
		{"file_version_windows_10_placeholder", "10.0.19041.1 (WinBuild.160101.0800)", version{Build: build(10, 0, 19041, 1)}},

		{"systeminfo", "6.0.6002 Service Pack 2 Build 6002", version{Build: build(6, 0, 6002, -1), ServicePack: 2}},
		{"systeminfo_none", "10.0.17134 N/A Build 17134", version{Build: build(10, 0, 17134, -1), ServicePack: none}},
		{"systeminfo_whole_line", "OS Version:                6.0.6003 Service Pack 2 Build 6003", version{Build: ws2008, ServicePack: 2}},
		{"systeminfo_french", "6.1.7601 Service Pack 1 version 7601", version{Build: build(6, 1, 7601, -1), ServicePack: 1}},
		{"systeminfo_spanish", "10.0.17763 N/D Compilación 17763", version{Build: build(10, 0, 17763, -1), ServicePack: none}},
		{"systeminfo_spanish_oem", "10.0.17763 N/D Compilaci\xa2n 17763", version{Build: build(10, 0, 17763, -1), ServicePack: none}},
		{"systeminfo_russian", "6.0.6003 Service Pack 2 сборка 6003", version{Build: ws2008, ServicePack: 2}},
		{"systeminfo_russian_none", "10.0.19045 Н/Д построение 19045", version{Build: build(10, 0, 19045, -1), ServicePack: none}},
		{"systeminfo_japanese", "6.0.6003 Service Pack 2 ビルド 6003", version{Build: ws2008, ServicePack: 2}},
		{"systeminfo_chinese_none", "10.0.19045 暂缺 Build 19045", version{Build: build(10, 0, 19045, -1), ServicePack: none}},
		{"systeminfo_hungarian", "6.0.6003 2. szervizcsomag Build 6003", version{Build: ws2008, ServicePack: 2}},
		{"systeminfo_windows_2000", "5.0.2195 Service Pack 4 Build 2195", version{Build: build(5, 0, 2195, -1), ServicePack: 4}},
		{"systeminfo_server_2003", "5.2.3790 Service Pack 2 Build 3790", version{Build: build(5, 2, 3790, -1), ServicePack: 2}},
		{"msinfo32_none", "10.0.19045 Build 19045", version{Build: build(10, 0, 19045, -1), ServicePack: none}},
		{"none_is_not_believed_of_a_service_pack_build", "6.0.6003 Build 6003", version{Build: ws2008}},

		{"ver", "Microsoft Windows [Version 6.0.6003]", version{Build: ws2008}},
		{"ver_spanish", "Microsoft Windows [Versión 10.0.19045.2965]", version{Build: build(10, 0, 19045, 2965)}},
		{"ver_xp", "Microsoft Windows XP [Version 5.1.2600]", version{Build: build(5, 1, 2600, -1)}},
		{"winver", "Version 6.0 (Build 6003: Service Pack 2)", version{Build: ws2008, ServicePack: 2}},
		{"winver_beta", "Version 6.0 (Build 5384)", version{Build: build(6, 0, 5384, -1)}},
		{"winver_windows_10", "Version 1809 (OS Build 17763.107)", version{Build: build(10, 0, 17763, 107)}},
		{"winver_windows_10_letters", "Version 22H2 (OS Build 19045.2965)", version{Build: build(10, 0, 19045, 2965)}},
		{"os_build", "OS Build 17763.107", version{Build: build(10, 0, 17763, 107)}},
		{"feed", "10.0 (Build 20348.2113)", version{Build: build(10, 0, 20348, 2113)}},
		{"marketing_year_before", "Microsoft Windows Server 2016 Standard 10.0.14393 x64", version{Build: build(10, 0, 14393, -1), Arch: winver.AMD64}},
		{"dotnet", "Microsoft Windows NT 6.0.6003 Service Pack 2", version{Build: ws2008, ServicePack: 2}},
		{"dotnet_zero_is_no_revision", "Microsoft Windows NT 10.0.19045.0", version{Build: build(10, 0, 19045, -1)}},
		{"dotnet_version", "6.0.6002.131072", version{Build: build(6, 0, 6002, -1), ServicePack: 2}},
		{"range_bound_zero", "6.0.6003.0", version{Build: build(6, 0, 6003, 0)}},
		{"csd_version", "Service Pack 2", version{ServicePack: 2}},
		{"service_pack_first", "Windows Server 2008 Service Pack 2 (6.0.6003)", version{Build: ws2008, ServicePack: 2}},
		{"service_pack_short", "6.0.6003 SP2", version{Build: ws2008, ServicePack: 2}},
		{"service_pack_prerelease", "6.0.6002 Service Pack 2, v.113 Build 6002", version{Build: build(6, 0, 6002, -1), ServicePack: 2}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := winver.Parse(test.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("Parse(%q) (-want +got):\n%s", test.text, diff)
			}
			if got != test.want {
				t.Errorf("Parse(%q) is not == to an equal Version", test.text)
			}

			text, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			var back version
			if err := json.Unmarshal(text, &back); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, back); diff != "" {
				t.Errorf("through %s (-want +got):\n%s", text, diff)
			}
		})
	}
}

func TestParse_says_what_is_wrong(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"empty", "", "no build number in it"},
		{"words", "Windows Server", "no build number in it"},
		{"too_long", strings.Repeat("6.0.6003 ", 57), "513 bytes is too long, at most 512"},
		{"no_build_number", "Version 6.0", "states 6.0, but no build number"},
		{"unknown_bare_number", "6004", "build number 6004 is of no known Windows"},
		{"release_name_alone", "Version 1809", "build number 1809 is of no known Windows"},
		{"unknown_with_revision", "5048.1", "build number 5048 is of no known Windows"},
		{"zero", "6.0.0", "build number 0 is of no known Windows"},
		{"address", "192.0.2.1", "no Windows has version 192.0"},
		{"date", "15.06.2016", "no Windows has version 15.6"},
		{"five_numbers", "6.0.6003.22015.1", "more than four numbers"},
		{"too_large", "6.0.99999999999999999999", "a number is above 65535"},
		{"two_builds", "6.0.6002 Service Pack 2 Build 6003", "states build 6002 as well as 6003"},
		{"two_versions", "6.0.6003 6.1.7601", "states version 6.0 as well as 6.1"},
		{"two_revisions", "6.0.6003.22015 6003.22016", "states revision 22015 as well as 22016"},
		{"two_service_packs", "6.0.6003 Service Pack 2 Service Pack 1", "states service pack 2 as well as 1"},
		{"two_architectures", "6003.22015.amd64fre.vistasp2_ldr.230327-1945 x86", "states architecture amd64 as well as x86"},
		{"two_branches", "vistasp2_ldr.230327-1945 vistasp2_gdr.230327-1945", "states branch vistasp2_ldr as well as vistasp2_gdr"},
		{"branch_alone", "vistasp2_ldr.230327-1945", "no build number in it"},
		{"joined_registry_values", "6.3.17763", "build number 17763 belongs to 10.0, not to 6.3"},
		{"wrong_version", "6.1.6003", "build number 6003 belongs to 6.0, not to 6.1"},
		{"wrong_service_pack", "6.0.6003 Service Pack 1", "states service pack 1, but 6.0.6003 is Windows Vista / Windows Server 2008, Service Pack 2"},
		{"windows_10_service_pack", "10.0.19045 Service Pack 1", "states service pack 1"},
		{"impossible_time", "6003.vistasp2_ldr.230231-1945", "230231-1945 is not a time of compilation"},
		{"lab_without_branch", "6003.22015.230327-1945", "names no branch"},
		{"lab_of_no_known_processor", "6003.22015.vaxfre.vistasp2_ldr.230327-1945", `"vax" is not an architecture`},
		{"lab_without_number", "x.vistasp2_ldr.230327-1945", "x does not begin with a build number"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := winver.Parse(test.text)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Parse(%q) = %+v, %v; want an error with %q", test.text, got, err, test.want)
			}
			if got != (winver.Version{}) {
				t.Errorf("Parse(%q) gives %+v beside an error", test.text, got)
			}
		})
	}
}

// The line that states the version, whatever its label and language. The label must be a
// word: a BIOS or an address does not end in the number it has in third place.
var versionLine = regexp.MustCompile(`(?m)^([^\n]*?:\s+)?((\d+)\.(\d+)\.(\d+) [^\n]*? (\d+))\r?$`)

// In no language of these files is it translated.
var servicePackWord = regexp.MustCompile(`Service Pack (\d)`)

func TestParse_real_systeminfo(t *testing.T) {
	root := os.Getenv("OLDGUARD_DATA")
	if root == "" {
		root = filepath.Join("..", "..", "shared", "data")
	}
	root = filepath.Join(root, "systeminfo")
	if _, err := os.Stat(root); err != nil {
		t.Skip("no real systeminfo files: set OLDGUARD_DATA to their parent folder")
	}
	files := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(d.Name(), "_qfe.txt") {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		lines := 0
		for _, m := range versionLine.FindAllStringSubmatch(decodeUTF16(string(data)), -1) {
			if m[5] != m[6] {
				continue
			}
			lines++
			var nums [3]int
			for i := range nums {
				nums[i], _ = strconv.Atoi(m[3+i])
			}
			want := build(uint16(nums[0]), uint16(nums[1]), uint32(nums[2]), -1)
			pack := winver.NoServicePack
			if n := servicePackWord.FindStringSubmatch(m[2]); n != nil {
				pack, _ = strconv.Atoi(n[1])
			}
			for _, text := range []string{m[2], strings.TrimSpace(m[0])} {
				got, err := winver.Parse(text)
				if err != nil {
					t.Errorf("%s: %v", d.Name(), err)
				} else if got.Build != want || got.ServicePack != pack {
					t.Errorf("%s: Parse(%q) = %v, service pack %d", d.Name(), text, got.Build, got.ServicePack)
				}
			}
		}
		if lines != 1 {
			t.Errorf("%s: %d version lines, want 1", d.Name(), lines)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if t.Logf("%d files", files); files < 144 {
		t.Errorf("%d files, want at least 144", files)
	}
}

// decodeUTF16 decodes little-endian text with or without a byte order mark, and leaves any
// other alone: the numbers are ASCII in all the rest.
func decodeUTF16(s string) string {
	if s = strings.TrimPrefix(s, "\xff\xfe"); len(s) < 4 || s[1] != 0 && s[3] != 0 {
		return s
	}
	units := make([]uint16, len(s)/2)
	for i := range units {
		units[i] = uint16(s[2*i]) | uint16(s[2*i+1])<<8
	}
	return string(utf16.Decode(units))
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"6003.22015.amd64fre.vistasp2_ldr_escrow.230327-1945", "6.0.6003.22015 (vistasp2_ldr_escrow.230327-1945)",
		"6.0.6002 Service Pack 2 Build 6002", "10.0.17763 N/D Compilaci\xa2n 17763", "Version 1809 (OS Build 17763.107)",
		"Microsoft Windows NT 6.0.6003 Service Pack 2", "6.0.6002.131072", "Version 6.0 (Build 5384)", "Service Pack 2",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := winver.Parse(s)
		if err != nil {
			if v != (winver.Version{}) || len(err.Error()) > 5000 {
				t.Errorf("Parse(%q) = %+v, %v", s, v, err)
			}
			return
		}
		if !v.Build.Known() {
			if v.ServicePack < 1 {
				t.Errorf("Parse(%q) = %+v states nothing", s, v)
			}
			return
		}
		if again, err := winver.Parse(v.Build.String()); err != nil || again.Build != v.Build {
			t.Errorf("Parse(%q).Build = %v, which reads as %v, %v", s, v.Build, again.Build, err)
		}
		if text, err := json.Marshal(v); err != nil {
			t.Errorf("Parse(%q): %v", s, err)
		} else if back := (winver.Version{}); json.Unmarshal(text, &back) != nil || back.Build != v.Build {
			t.Errorf("Parse(%q) becomes %s and %+v", s, text, back)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for name, text := range map[string]string{
		"BuildLabEx": "6003.22015.amd64fre.vistasp2_ldr_escrow.230327-1945",
		"systeminfo": "OS Version:                6.0.6002 Service Pack 2 Build 6002",
		"dotted":     "6.0.6003.22015",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := winver.Parse(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
