package verify

import (
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/trust"
	"github.com/oldguard/oldguard/internal/trust/trusttest"
	"github.com/oldguard/oldguard/internal/verify/verifytest"
)

// Names in verifytest.Windows.
const (
	pkg        = verifytest.Package
	component  = verifytest.Component
	dependency = verifytest.Dependency
	orphan     = "amd64_example-orphan_31bf3856ad364e35_6.0.6003.20489_none_0123456789abcdef"
)

func TestWindows(t *testing.T) {
	a := trusttest.New(t, x509.SHA256WithRSA)
	set := func(name, text string) func(fstest.MapFS) {
		return func(tree fstest.MapFS) { tree[name] = &fstest.MapFile{Data: []byte(text)} }
	}
	change := func(name string) func(fstest.MapFS) {
		return func(tree fstest.MapFS) {
			b := slices.Clone(tree[name].Data)
			b[len(b)/2] ^= 1
			tree[name] = &fstest.MapFile{Data: b}
		}
	}
	remove := func(names ...string) func(fstest.MapFS) {
		return func(tree fstest.MapFS) {
			for _, name := range names {
				if _, ok := tree[name]; !ok {
					panic(name)
				}
				delete(tree, name)
			}
		}
	}
	const (
		mum    = "servicing/Packages/" + pkg + ".mum"
		cat    = "servicing/Packages/" + pkg + ".cat"
		second = "System32/CatRoot/{F750E6C3-38EE-11D1-85E5-00C04FC295EE}/" + pkg + ".cat"
		store  = "winsxs/"
	)
	for _, tc := range []struct {
		name      string
		do        func(fstest.MapFS)
		damaged   []string // path: package
		unchecked []string // what: why, in part
		files     Tally
	}{
		{"all_well", func(fstest.MapFS) {}, nil, nil, Tally{Good: 3}},
		{"file_altered", change(store + component + "/one.dll"), []string{store + component + "/one.dll: KB4493471"}, nil, Tally{Good: 2, Damaged: 1}},
		{"file_missing", remove(store + dependency + "/two.dll"), []string{store + dependency + "/two.dll: KB4493471"}, nil, Tally{Good: 2, Damaged: 1}},
		{"folder_missing", remove(store + component + "/one.dll"), nil, []string{"file: its component has no folder"}, Tally{Good: 2, Unchecked: 1}},
		{
			"manifest_altered", change(store + "Manifests/" + dependency + ".manifest"),
			[]string{store + "Manifests/" + dependency + ".manifest: KB4493471"},
			nil,
			Tally{Good: 1},
		},
		{"manifest_of_nobody", set(store+"Manifests/"+orphan+".manifest", "<assembly/>"), nil, []string{"component manifest: no genuine catalog here lists it, and no package"}, Tally{Good: 3}},
		{"manifest_compressed", set(store+"Manifests/"+orphan+".manifest", "DCM\x01PA30"), nil, []string{"component manifest: a compressed manifest"}, Tally{Good: 3}},
		{"package_altered", change(mum), []string{mum + ": KB4493471"}, nil, Tally{Good: 3}},
		{"catalog_altered_but_there_twice", change(cat), []string{cat + ": KB4493471"}, nil, Tally{Good: 3}},
		{
			"catalogs_altered", func(tree fstest.MapFS) { change(cat)(tree); remove(second)(tree) },
			[]string{cat + ": KB4493471"},
			[]string{"package manifest: its catalog vouches for nothing", "component manifest: no genuine catalog"},
			Tally{},
		},
		{
			"no_catalogs", remove(cat, second),
			[]string{mum + ": KB4493471"},
			[]string{"component manifest: no genuine catalog"},
			Tally{},
		},
		{
			"catalog_of_somebody_else", func(tree fstest.MapFS) {
				other := a.Issue(a.Code, trusttest.Cert{Name: "Example Drivers", For: []asn1.ObjectIdentifier{trusttest.ForCode}, Algorithm: x509.SHA256WithRSA})
				list := trusttest.Catalog(crypto.SHA1, trusttest.Member{Sum: make([]byte, 20), Name: "x"})
				tree["System32/CatRoot/{F750E6C3-38EE-11D1-85E5-00C04FC295EE}/oem1.cat"] = &fstest.MapFile{
					Data: a.Sign(list, trusttest.Signing{Type: trusttest.List, Stamped: verifytest.Stamped, Signer: other}),
				}
			},
			nil,
			[]string{"catalog: " + trust.OtherPublisher.String()},
			Tally{Good: 3},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tree := verifytest.Windows(a)
			tc.do(tree)
			s, err := Windows("disk", tree, options(t, a))
			if err != nil {
				t.Fatal(err)
			}
			var damaged []string
			for _, d := range s.Damaged {
				damaged = append(damaged, d.Path+": "+d.KB.String())
				if !strings.Contains(d.Cure(), "KB4493471") || d.Why == "" {
					t.Errorf("%s: why %q, cure %q", d.Path, d.Why, d.Cure())
				}
			}
			if diff := cmp.Diff(tc.damaged, damaged); diff != "" {
				t.Errorf("damaged (-want +got):\n%s", diff)
			}
			if len(s.Unchecked) != len(tc.unchecked) {
				t.Fatalf("unchecked %+v, want %q", s.Unchecked, tc.unchecked)
			}
			for _, want := range tc.unchecked {
				if !slices.ContainsFunc(s.Unchecked, func(u Unchecked) bool { return strings.HasPrefix(u.What+": "+u.Why, want) }) {
					t.Errorf("unchecked %+v, want %q", s.Unchecked, want)
				}
			}
			if s.Files != tc.files {
				t.Errorf("files %+v, want %+v", s.Files, tc.files)
			}
		})
	}
}

// TestWindowsPlace holds that the folder is found below a disk's root too, and nothing else is one.
func TestWindowsPlace(t *testing.T) {
	a := trusttest.New(t, x509.SHA256WithRSA)
	disk := fstest.MapFS{}
	for name, f := range verifytest.Windows(a) {
		disk["WINDOWS/"+name] = f
	}
	s, err := Windows("disk", disk, options(t, a))
	if err != nil || s.Packages.Good != 1 || s.Manifests.Good != 2 || s.Files.Good != 3 || s.Catalogs.Good != 2 || len(s.Damaged) > 0 {
		t.Errorf("got %+v, %v", s, err)
	}
	downloads := fstest.MapFS{"a.msu": {}, "servicing": {}}
	if _, err := Windows("x", downloads, options(t, a)); IsWindows(downloads) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder of downloads is a Windows folder: %v", err)
	}
}

// FuzzWindows holds that no manifest makes it read outside, or panic.
func FuzzWindows(f *testing.F) {
	f.Add(component, verifytest.Manifest("Example-Component", "", map[string][]byte{`..\..\x`: nil, "": nil, "/": nil}))
	f.Add("x", []byte("<assembly"))
	f.Fuzz(func(t *testing.T, name string, manifest []byte) {
		tree := fstest.MapFS{
			"servicing/Packages/p.mum":   {Data: manifest},
			"WinSxS/" + component + "/x": {},
		}
		if fs.ValidPath("WinSxS/Manifests/" + name + ".manifest") {
			tree["WinSxS/Manifests/"+name+".manifest"] = &fstest.MapFile{Data: manifest}
		}
		s := newStore("w", tree, ".", Options{})
		s.listed[string(trusttest.Sum(crypto.SHA1, manifest))] = true
		s.packages()
		s.components()
		for _, d := range s.Damaged {
			if strings.Contains(d.Path, "..") && !strings.Contains(name, "..") {
				t.Errorf("looked at %q", d.Path)
			}
		}
	})
}

// TestRealStore lays the files of a package that Microsoft made out as servicing does, and finds
// its catalog, manifest and files to agree; one byte changed in a file is found.
func TestRealStore(t *testing.T) {
	const stem = "Microsoft-Hyper-V-Integration-Services-Package~31bf3856ad364e35~amd64~~6.3.9600.19456"
	b := realFile(t, "msu/Windows6.1-KB4072650-x64.cab")
	o := options(t, nil)
	tree := fstest.MapFS{}
	err := answerOf(t, "x.cab", b, o).Walk(func(c Content, r io.Reader) error {
		data, err := io.ReadAll(r)
		at := "WinSxS/" + c.Path
		switch path.Ext(c.Path) {
		case ".mum", ".cat":
			at = "servicing/Packages/" + stem + path.Ext(c.Path)
		case ".manifest":
			at = "WinSxS/Manifests/" + c.Path
		}
		tree[at] = &fstest.MapFile{Data: data}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := Windows("real", tree, o)
	if err != nil || len(s.Damaged)+len(s.Unchecked) > 0 || s.Packages.Good != 1 || s.Manifests.Good < 10 || s.Files.Good < 40 {
		t.Fatalf("%+v, %v", s, err)
	}
	for name, f := range tree {
		if strings.HasSuffix(name, ".sys") {
			// The manifest's spelling is told, and the two differ by case in some of them.
			f.Data[0] ^= 1
			s, err := Windows("real", tree, o)
			if err != nil || len(s.Damaged) != 1 || !strings.EqualFold(s.Damaged[0].Path, name) || s.Damaged[0].Package != stem {
				t.Errorf("%s: %+v, %v", name, s, err)
			}
			return
		}
	}
	t.Error("no driver in it")
}
