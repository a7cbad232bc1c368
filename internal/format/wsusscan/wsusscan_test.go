package wsusscan_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/format/cab"
	"github.com/oldguard/oldguard/internal/format/cab/cabtest"
	"github.com/oldguard/oldguard/internal/format/wsusscan"
)

const list = `<OfflineSyncPackage><Updates><Update UpdateId="AA" RevisionId="2" IsLeaf="true" DeploymentAction="Bundle">` +
	`<PayloadFiles><File Id="AQID"/></PayloadFiles><Prerequisites><UpdateId Id="BB"/><Or><UpdateId Id="CC"/></Or></Prerequisites>` +
	`<BundledBy><Revision Id="3"/></BundledBy></Update><Update UpdateId="BB" RevisionId="3" IsBundle="true"/></Updates></OfflineSyncPackage>`

const extended = `<ExtendedProperties MsrcSeverity="Important" Handler="http://example.com/Cbs"><InstallationBehavior RebootBehavior="CanRequestReboot"/>` +
	`<KBArticleID>4990001</KBArticleID></ExtendedProperties><Files><File Digest="AQID" DigestAlgorithm="SHA1" FileName="a.cab" Size="9">` +
	`<AdditionalDigest Algorithm="SHA256">BAUG</AdditionalDigest></File></Files>`

func read(files ...cabtest.File) (*wsusscan.Metadata, error) {
	b := cabtest.Stored(files...)
	c, err := cab.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	return wsusscan.Read(c)
}

func TestRead(t *testing.T) {
	m, err := read(
		cabtest.File{Name: "package.xml", Data: []byte(list)},
		cabtest.File{Name: `core\2`, Data: []byte(`<UpdateIdentity UpdateID="aa"/><ApplicabilityRules><IsInstalled><b.RegDword Key="x"/></IsInstalled></ApplicabilityRules>`)},
		cabtest.File{Name: "extended/2", Data: []byte(extended)},
		cabtest.File{Name: "localized/de/2", Data: []byte("<a/>")},
		cabtest.File{Name: "other/2"}, cabtest.File{Name: "core/x"})
	if err != nil {
		t.Fatal(err)
	}
	want := []wsusscan.Update{
		{ID: "aa", Revision: 2, Leaf: true, Action: "Bundle", Prerequisites: []string{"bb", "cc"}, BundledBy: []int{3}, Files: []string{"010203"}},
		{ID: "bb", Revision: 3, Bundle: true},
	}
	if diff := cmp.Diff(want, m.Updates); diff != "" {
		t.Errorf("updates differ (-want +got):\n%s", diff)
	}
	if got := m.Fragments[wsusscan.Key{Revision: 2, Kind: "localized", Language: "de"}]; len(m.Fragments) != 3 || got != "<a/>" {
		t.Errorf("%d fragments, the German one is %q", len(m.Fragments), got)
	}
	rules, err := m.Rules(2)
	if err != nil || rules.Child("ApplicabilityRules").Child("IsInstalled").Child("b.RegDword").Get("Key") != "x" {
		t.Errorf("Rules gave %v, %v", rules, err)
	}
	e, err := m.Extended(2)
	wantExtended := &wsusscan.Extended{
		KB: "4990001", Severity: "Important", Handler: "http://example.com/Cbs", Restart: "CanRequestReboot",
		Files: []wsusscan.File{{Name: "a.cab", Size: 9, SHA1: "010203", SHA256: "040506"}},
	}
	if diff := cmp.Diff(wantExtended, e); err != nil || diff != "" {
		t.Errorf("Extended gave %v (-want +got):\n%s", err, diff)
	}
	if _, err := m.Rules(9); err == nil {
		t.Error("rules of an update that is not there are no error")
	}
}

func TestReadRefuses(t *testing.T) {
	if _, err := read(cabtest.File{Name: "core/1"}); !errors.Is(err, wsusscan.ErrNoPackage) {
		t.Errorf("without package.xml Read gave %v", err)
	}
	if _, err := read(cabtest.File{Name: "package.xml", Data: []byte(`<Update RevisionId="x"/>`)}); err == nil || !strings.Contains(err.Error(), "RevisionId") {
		t.Errorf("Read gave %v", err)
	}
	zeros := cabtest.Cabinet{Folders: []cabtest.Folder{{Method: cab.MSZIP, Files: []cabtest.File{{Name: "core/1", Data: make([]byte, 17<<20)}}}}}.Bytes()
	c, err := cab.Open(bytes.NewReader(zeros), int64(len(zeros)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wsusscan.Read(c); err == nil || !strings.Contains(err.Error(), "more than any update has") {
		t.Errorf("Read gave %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(list, extended)
	f.Fuzz(func(t *testing.T, list, extended string) {
		m, err := read(cabtest.File{Name: "package.xml", Data: []byte(list)}, cabtest.File{Name: "extended/2", Data: []byte(extended)})
		if err != nil {
			return
		}
		if e, err := m.Extended(2); (e == nil) == (err == nil) {
			t.Errorf("Extended gave %v, %v", e, err)
		}
	})
}
