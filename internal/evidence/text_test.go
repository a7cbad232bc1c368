package evidence_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/winver"
)

func TestDecode(t *testing.T) {
	wide := func(s string) string { // UTF-16LE of ASCII
		var b strings.Builder
		for i := range len(s) {
			b.WriteByte(s[i])
			b.WriteByte(0)
		}
		return b.String()
	}
	line := "Host Name:                 FS01\r\n"
	for _, tc := range []struct{ name, in, want string }{
		{"ascii", line, line},
		{"empty", "", ""},
		{"utf8_mark", "\xef\xbb\xbf" + line, line},
		{"utf8_cut_within_a_letter", "Domäne: b\xc3", "Domäne: b\xc3"},
		{"utf16_little", "\xff\xfe" + wide(line), line},
		{"utf16_little_no_mark", wide(line), line},
		{"utf16_little_no_mark_cut_within_a_unit", wide(line) + "x", line},
		{"utf16_big", "\xfe\xff\x00" + wide(line)[:2*len(line)-1], line},
		{"utf16_big_no_mark", "\x00" + wide(line)[:2*len(line)-1], line},
		{"utf16_behind_an_8_bit_message", "Please wait." + wide(line), "Please wait." + line},
		{"utf16_surrogates", "\xff\xfe\x3d\xd8\x00\xde", "😀"},
		{"utf16_lone_surrogate", "\xff\xfe\x3d\xd8A\x00", "\ufffdA"},
		{"oem_german", "Dom\x84ne: M\x81ller", "Domäne: Müller"},
		{"ansi_german", "Dom\xe4ne: M\xfcller", "Domäne: Müller"},
		{"oem_russian_by_locale", "ru;\x90\xe3\xe1\xe1\xaa\xa8\xa9 xx\r\n Locale: ru;\x90\xe3\xe1\xe1\xaa\xa8\xa9", "ru;Русский xx\r\n Locale: ru;Русский"},
		{"oem_russian_by_letters", "\x8e\xa1\xad\xae\xa2\xab\xa5\xad\xa8\xa5", "Обновление"},
		{"zeros_are_dropped", "a\x00b", "ab"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, evidence.Decode([]byte(tc.in))); diff != "" {
				t.Errorf("Decode(%q) (-want +got):\n%s", tc.in, diff)
			}
		})
	}
}

func TestLines(t *testing.T) {
	got := evidence.Lines("a  \r\nb\r\r\nc\rd\n\n e")
	if diff := cmp.Diff([]string{"a", "b", "c", "d", "", " e"}, got); diff != "" {
		t.Errorf("Lines (-want +got):\n%s", diff)
	}
}

func TestUpdateID(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want winver.KB
	}{
		{"KB4493730", 4493730},
		{"kb4493730", 4493730},
		{"KB2305420-v2", 2305420},
		{"KB893803v2", 893803},
		{"KB975558_WM8", 975558},
		{"KB954155_WM9 - Update", 954155},
		{"982861", 982861},
		{" 982861 ", 982861},
		{"Q147222", 0},
		{"File 1", 0},
		{"{7A068575-C5DB-43D9-BE20-3895D0C69B17}", 0},
		{"12345", 0},
		{"982861-v2", 0},
		{"KB", 0},
		{"KB123", 0},
		{"KB12345678901", 0},
		{"", 0},
	} {
		got, ok := evidence.UpdateID(tc.in)
		if got != tc.want && ok || ok != (tc.want != 0) {
			t.Errorf("UpdateID(%q) = %d, %v; want %d", tc.in, got, ok, tc.want)
		}
	}
}

func TestDate(t *testing.T) {
	day := func(y int, m time.Month, d, h, m2, s int) time.Time {
		return time.Date(y, m, d, h, m2, s, 0, time.UTC)
	}
	for _, tc := range []struct {
		in    string
		order evidence.DateOrder
		want  time.Time // zero: cannot be told
	}{
		{"4/25/2014, 11:48:11 PM", 0, day(2014, 4, 25, 23, 48, 11)},
		{"29/04/2019, 18:52:20", 0, day(2019, 4, 29, 18, 52, 20)},
		{"03/05/2018, 09:31:28", 0, time.Time{}},
		{"03/05/2018, 09:31:28", evidence.DayFirst, day(2018, 5, 3, 9, 31, 28)},
		{"03/05/2018, 12:31:28 AM", evidence.MonthFirst, day(2018, 3, 5, 0, 31, 28)},
		{"05/05/2018", 0, day(2018, 5, 5, 0, 0, 0)},
		{"15.06.2016, 18:34:33", 0, day(2016, 6, 15, 18, 34, 33)},
		{"02.03.2016 00:00:00", 0, day(2016, 3, 2, 0, 0, 0)},
		{"2019-03-01, 05:05:05", 0, day(2019, 3, 1, 5, 5, 5)},
		{"2022/04/13, 12:25:41", 0, day(2022, 4, 13, 12, 25, 41)},
		{"2019. 03. 01., 5:05:05", 0, day(2019, 3, 1, 5, 5, 5)},
		{"2019-03-01, 오후 5:05:05", 0, day(2019, 3, 1, 17, 5, 5)},
		{"26-1-2019, 08:27:55", 0, day(2019, 1, 26, 8, 27, 55)},
		{"31/04/2019", 0, time.Time{}},
		{"13/13/2019", 0, time.Time{}},
		{"6.0.6003", 0, time.Time{}},
		{"5 Days, 3 Hours", 0, time.Time{}},
		{"...", 0, time.Time{}},
		{"01ca04051f5ec3a8", 0, day(2009, 7, 13, 21, 58, 58)},
		{"20190410", 0, day(2019, 4, 10, 0, 0, 0)},
		{"ffffffffffffffff", 0, time.Time{}},
		{"0000000000000000", 0, time.Time{}},
	} {
		got, ok := evidence.InstallDate(tc.in, tc.order)
		if !ok {
			got = time.Time{}
		}
		if got = got.Truncate(time.Second); !got.Equal(tc.want) {
			t.Errorf("InstallDate(%q, %d) = %v, want %v", tc.in, tc.order, got, tc.want)
		}
	}
}
