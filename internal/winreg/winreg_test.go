package winreg_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/winreg"
)

func TestMemory(t *testing.T) {
	root := new(winreg.Memory)
	k, err := root.Create(`SOFTWARE\Microsoft\Windows NT\CurrentVersion`)
	if err != nil {
		t.Fatal(err)
	}
	k.Set(winreg.TextValue("ProductName", winreg.String, "Windows Server (R) 2008 Standard"))
	k.Set(winreg.DwordValue("InstallDate", 1))
	k.Set(winreg.DwordValue("installdate", 1230768000))

	got, err := root.Open(`software\MICROSOFT\windows nt\currentversion`)
	if err != nil || got.Name() != "CurrentVersion" {
		t.Fatalf("Open = %v, %v", got, err)
	}
	v, err := got.Value("PRODUCTNAME")
	if text, ok := v.Text(); err != nil || !ok || text != "Windows Server (R) 2008 Standard" {
		t.Errorf("ProductName = %q, %v", text, err)
	}
	v, err = got.Value("InstallDate")
	if n, ok := v.Number(); err != nil || !ok || n != 1230768000 {
		t.Errorf("InstallDate = %d, %v", n, err)
	}
	values, err := got.Values()
	if len(values) != 2 || !errors.Is(err, winreg.ErrNotShown) {
		t.Errorf("Values = %v, %v", values, err)
	}
}

func TestAbsence(t *testing.T) {
	root := new(winreg.Memory)
	k, err := root.Create(`a\whole`)
	if err != nil {
		t.Fatal(err)
	}
	k.Whole = true
	for _, tt := range []struct {
		name, path string
		want       error
	}{
		{"below_a_whole_key", `a\whole\b`, fs.ErrNotExist},
		{"deeper_below_a_whole_key", `a\whole\b\c`, fs.ErrNotExist},
		{"beside_it", `a\b`, winreg.ErrNotShown},
		{"elsewhere", `b`, winreg.ErrNotShown},
		{"the_key", `a\WHOLE`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := root.Open(tt.path); !errors.Is(err, tt.want) {
				t.Errorf("Open(%q): %v, want %v", tt.path, err, tt.want)
			}
		})
	}
	if _, err := k.Value("x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Value of a whole key: %v", err)
	}
}

// TestLack: that one value is not there says nothing about others, and a value that is
// there is there.
func TestLack(t *testing.T) {
	k := new(winreg.Memory)
	k.Lack("SMB1")
	k.Lack("Start")
	k.Set(winreg.DwordValue("Start", 4))
	if _, err := k.Value("smb1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a value known to be absent: %v", err)
	}
	if _, err := k.Value("SMB2"); !errors.Is(err, winreg.ErrNotShown) {
		t.Errorf("a value of which nothing is known: %v", err)
	}
	if v, err := k.Value("START"); err != nil || v.Plain() != "4" {
		t.Errorf("a value that is there: %v, %v", v, err)
	}
}

func TestCreateRefuses(t *testing.T) {
	for _, path := range []string{"", `a\\b`, `a\`, strings.Repeat(`a\`, 600) + "a", strings.Repeat("a", 256)} {
		if _, err := new(winreg.Memory).Create(path); err == nil {
			t.Errorf("Create(%.20q) gave no error", path)
		}
	}
}

func TestValues(t *testing.T) {
	multi := winreg.TextValue("m", winreg.Multi, `\??\C:\old.dll`, "ünï", "𝄞")
	got, ok := multi.Texts()
	if diff := cmp.Diff([]string{`\??\C:\old.dll`, "ünï", "𝄞"}, got); !ok || diff != "" {
		t.Errorf("Texts (-want +got):\n%s", diff)
	}
	for _, tt := range []struct {
		name  string
		value winreg.Value
		want  string
	}{
		{"text", winreg.TextValue("", winreg.Expand, `%SystemRoot%\x`), `%SystemRoot%\x`},
		{"text_after_nul", winreg.TextValue("", winreg.String, "a\x00b"), "a"},
		{"number", winreg.DwordValue("", 0xffffff90), "4294967184"},
		{"qword", winreg.Value{Type: winreg.Qword, Data: []byte{1, 0, 0, 0, 1, 0, 0, 0}}, "4294967297"},
		{"short_number", winreg.Value{Type: winreg.Dword, Data: []byte{1, 0}}, ""},
		{"odd_text", winreg.Value{Type: winreg.String, Data: []byte{'a', 0, 'b'}}, "a"},
		{"binary", winreg.Value{Type: winreg.Binary, Data: []byte("ab")}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.value.Plain(); got != tt.want {
				t.Errorf("Plain() = %q, want %q", got, tt.want)
			}
		})
	}
}
