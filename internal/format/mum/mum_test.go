package mum_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/format/mum"
)

const packageManifest = "\ufeff" + `<?xml version="1.0" encoding="utf-8" standalone="yes"?>
<assembly xmlns="urn:schemas-microsoft-com:asm.v3" description="Fix for KB4990001" supportInformation="https://support.example.com/" creationTimeStamp="2019-03-30T01:02:03Z">
  <assemblyIdentity name="Package_for_KB4990001" version="6.0.1.2" language="neutral" processorArchitecture="x86" publicKeyToken="31bf3856ad364e35"/>
  <package identifier="KB4990001" releaseType="Hotfix" restart="possible" permanence="removable">
    <parent integrate="separate" disposition="detect">
      <assemblyIdentity name="Microsoft-Windows-Foundation-Package" version="6.0.6001.18000" language="neutral" processorArchitecture="x86"/>
    </parent>
    <installerAssembly name="Microsoft-Windows-ServicingStack" version="6.0.6002.24564"/>
    <mum2:customInformation xmlns:mum2="urn:x"><mum2:a b="c"/></mum2:customInformation>
    <update name="u" restart="required">
      <applicable disposition="staged"><updateComponent elevate="install"><assemblyIdentity name="d" version="1.2.3.4"/></updateComponent></applicable>
      <component><assemblyIdentity name="c" version="6.0.6003.20489"/></component>
      <driver inf="x.inf"><assemblyIdentity name="x.inf" version="6.0.6003.1"/></driver>
      <package integrate="hidden"><assemblyIdentity name="p" version="6.0.1.2"/></package>
    </update>
  </package>
</assembly>`

func TestParsePackage(t *testing.T) {
	got, err := mum.Parse(strings.NewReader(packageManifest))
	if err != nil {
		t.Fatal(err)
	}
	if got.Package == nil || len(got.Package.Custom) != 1 || got.Package.Custom[0].Child("a").Get("b") != "c" {
		t.Fatalf("custom information is not kept: %+v", got.Package)
	}
	got.Package.Custom = nil
	want := &mum.Assembly{
		Identity:    mum.Identity{Name: "Package_for_KB4990001", Version: "6.0.1.2", Arch: "x86", Language: "neutral", PublicKeyToken: "31bf3856ad364e35"},
		Description: "Fix for KB4990001", Support: "https://support.example.com/",
		Created: time.Date(2019, 3, 30, 1, 2, 3, 0, time.UTC),
		Package: &mum.Package{
			Identifier: "KB4990001", ReleaseType: "Hotfix", Restart: "possible", Permanence: "removable",
			Parents: []mum.Parent{{Integrate: "separate", Disposition: "detect", Packages: []mum.Identity{
				{Name: "Microsoft-Windows-Foundation-Package", Version: "6.0.6001.18000", Arch: "x86", Language: "neutral"},
			}}},
			Stack: []mum.Identity{{Name: "Microsoft-Windows-ServicingStack", Version: "6.0.6002.24564"}},
			Updates: []mum.Update{{
				Name: "u", Restart: "required",
				Detects:    []mum.Identity{{Name: "d", Version: "1.2.3.4"}},
				Components: []mum.Identity{{Name: "c", Version: "6.0.6003.20489"}},
				Drivers:    []mum.Identity{{Name: "x.inf", Version: "6.0.6003.1"}},
				Packages:   []mum.Identity{{Name: "p", Version: "6.0.1.2"}},
			}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("manifest differs (-want +got):\n%s", diff)
	}
	if name := got.Identity.String(); name != "Package_for_KB4990001~31bf3856ad364e35~x86~~6.0.1.2" {
		t.Errorf("its name is %q", name)
	}
}

func TestParseComponentManifest(t *testing.T) {
	got, err := mum.Parse(strings.NewReader(`<assembly><assemblyIdentity name="Example" version="6.0.6003.20489"/>
		<dependency><dependentAssembly><assemblyIdentity name="Other" version="6.0.6003.20489"/></dependentAssembly></dependency>
		<file name="a.dll" destinationPath="$(runtime.system32)\"><asmv2:hash xmlns:asmv2="urn:schemas-microsoft-com:asm.v2">
		<dsig:DigestMethod xmlns:dsig="http://www.w3.org/2000/09/xmldsig#" Algorithm="http://www.w3.org/2000/09/xmldsig#sha256"/>
		<dsig:DigestValue xmlns:dsig="http://www.w3.org/2000/09/xmldsig#">AQID</dsig:DigestValue></asmv2:hash></file><file name="b.dll"/></assembly>`))
	if err != nil {
		t.Fatal(err)
	}
	want := &mum.Assembly{
		Identity:     mum.Identity{Name: "Example", Version: "6.0.6003.20489"},
		Dependencies: []mum.Identity{{Name: "Other", Version: "6.0.6003.20489"}},
		Files:        []mum.File{{Name: "a.dll", Destination: `$(runtime.system32)\`, Algorithm: "sha256", Hash: "010203"}, {Name: "b.dll"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("manifest differs (-want +got):\n%s", diff)
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]error{"DCM\x01PA30": mum.ErrCompressed, "PA30xxxx": mum.ErrCompressed, "<a/>": mum.ErrNoAssembly, "": mum.ErrNoAssembly} {
		if _, err := mum.Parse(strings.NewReader(text)); !errors.Is(err, want) {
			t.Errorf("Parse(%q) gave %v, want %v", text, err, want)
		}
	}
	if _, err := mum.Parse(strings.NewReader("<assembly>")); err == nil {
		t.Error("an open element is no error")
	}
}

func TestParseProperties(t *testing.T) {
	want := []mum.Property{{Name: "Applies to", Value: "Windows 6.0"}, {Name: "Language", Value: "ALL"}}
	utf16 := "\xff\xfe"
	for _, c := range "Applies to=\"Windows 6.0\"\r\nLanguage=\"ALL\"" {
		utf16 += string([]byte{byte(c), 0})
	}
	for _, text := range []string{"Applies to=\"Windows 6.0\"\r\nno property\r\nLanguage=\"ALL\"\r\n", utf16} {
		got, err := mum.ParseProperties(strings.NewReader(text))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("ParseProperties gave %v (-want +got):\n%s", err, diff)
		}
	}
}

func TestParseUnattend(t *testing.T) {
	got, err := mum.ParseUnattend(strings.NewReader(`<unattend xmlns="urn:schemas-microsoft-com:unattend"><servicing><package action="install">
		<assemblyIdentity name="n" version="1.2.3.4"/><source location="%configsetroot%\x.CAB"/></package></servicing></unattend>`))
	want := []mum.Answer{{Action: "install", Identity: mum.Identity{Name: "n", Version: "1.2.3.4"}, Source: `%configsetroot%\x.CAB`}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("ParseUnattend gave %v (-want +got):\n%s", err, diff)
	}
}

func TestParseContainer(t *testing.T) {
	const index = `<Container><Files>
		<File id="1" name="a\b.dll" length="10"><Hash alg="SHA1" value="AB"/><Delta><Source type="PA30" name="8"><Hash alg="SHA1" value="CD"/></Source></Delta></File>
		<File id="2" name="update.mum" length="20"><Hash alg="SHA1" value="ef"/><Delta><Basis file="1"/></Delta></File></Files></Container>`
	var got []mum.Entry
	err := mum.ParseContainer(strings.NewReader(index), func(e mum.Entry) { got = append(got, e) })
	want := []mum.Entry{{Name: `a\b.dll`, Size: 10, SHA1: "ab", Source: "8", Delta: "PA30"}, {Name: "update.mum", Size: 20, SHA1: "ef"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("ParseContainer gave %v (-want +got):\n%s", err, diff)
	}
	if err := mum.ParseContainer(strings.NewReader(`<File length="-1"/>`), func(mum.Entry) {}); err == nil {
		t.Error("a negative length is no error")
	}
}

func TestParseComponent(t *testing.T) {
	tests := []struct {
		name string
		want mum.Component
		ok   bool
	}{
		{
			"amd64_microsoft-windows-u..salcrt-apifwd-vista_31bf3856ad364e35_6.0.6002.19405_none_4068bb5dd608ccb9.manifest",
			mum.Component{Arch: "amd64", Name: "microsoft-windows-u..salcrt-apifwd-vista", Token: "31bf3856ad364e35", Version: "6.0.6002.19405", Language: "none"},
			true,
		},
		{
			"x86_under_score_31bf3856ad364e35_6.0.6003.1_de-de_0123456789abcdef",
			mum.Component{Arch: "x86", Name: "under_score", Token: "31bf3856ad364e35", Version: "6.0.6003.1", Language: "de-de"},
			true,
		},
		{"amd64_x_31bf3856ad364e35_6.0.6003_none_0123456789abcdef", mum.Component{}, false},
		{"update.mum", mum.Component{}, false},
	}
	for _, tt := range tests {
		if got, ok := mum.ParseComponent(tt.name); got != tt.want || ok != tt.ok {
			t.Errorf("ParseComponent(%q) = %+v, %v", tt.name, got, ok)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(packageManifest)
	f.Add("Applies to=\"x\"")
	f.Add(`<File name="a" length="1"><Source name="x"/></File>`)
	f.Fuzz(func(t *testing.T, text string) {
		if a, err := mum.Parse(strings.NewReader(text)); (a == nil) == (err == nil) {
			t.Errorf("Parse gave %v, %v", a, err)
		}
		if _, err := mum.ParseProperties(strings.NewReader(text)); err != nil {
			t.Errorf("ParseProperties: %v", err)
		}
		_, _ = mum.ParseUnattend(strings.NewReader(text))
		_ = mum.ParseContainer(strings.NewReader(text), func(e mum.Entry) {
			if e.Name == "" || e.Size < 0 {
				t.Errorf("an entry without name or with size %d", e.Size)
			}
		})
		mum.ParseComponent(text)
	})
}
