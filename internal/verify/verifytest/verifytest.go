// Package verifytest makes update files and Windows folders for tests, signed by authorities of
// package trusttest. Nothing in it is anybody's real update.
package verifytest

import (
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing/fstest"
	"time"

	"github.com/oldguard/oldguard/internal/format/cab"
	"github.com/oldguard/oldguard/internal/format/cab/cabtest"
	"github.com/oldguard/oldguard/internal/trust/trusttest"
)

// Stamped is when everything here was countersigned.
var Stamped = time.Date(2019, 4, 9, 12, 0, 0, 0, time.UTC)

// Cabinet makes a cabinet of the files with a signature; without an authority it has none.
func Cabinet(a *trusttest.Authority, h crypto.Hash, files ...cabtest.File) []byte {
	reserve := make([]byte, 20)
	reserve[2] = 0x10
	b := cabtest.Cabinet{Folders: []cabtest.Folder{{Method: cab.MSZIP, Files: files}}, Reserve: reserve}.Bytes()
	if a == nil {
		return b
	}
	binary.LittleEndian.PutUint32(b[44:], uint32(len(b))) //nolint:gosec // a test's own
	covered := slices.Concat(b[:4], b[8:34], b[56:])
	sig := a.Sign(trusttest.Digest(h, trusttest.Sum(h, covered)), trusttest.Signing{Hash: h, Stamped: Stamped, PKCS9: h == crypto.SHA1})
	sig = append(sig, make([]byte, (8-len(sig)%8)%8)...)
	binary.LittleEndian.PutUint32(b[48:], uint32(len(sig))) //nolint:gosec // a test's own
	return append(b, sig...)
}

const packageManifest = `<?xml version="1.0" encoding="utf-8"?>
<assembly xmlns="urn:schemas-microsoft-com:asm.v3" manifestVersion="1.0" description="Fix for %[1]s" creationTimeStamp="2019-04-01T10:00:00Z">
  <assemblyIdentity name="Package_for_%[1]s" version="6.0.1.0" language="neutral" processorArchitecture="%[2]s" publicKeyToken="31bf3856ad364e35" />
  <package identifier="%[1]s" releaseType="Security Update" restart="possible">
    <parent integrate="separate" disposition="detect">
      <assemblyIdentity name="Microsoft-Windows-Foundation-Package" version="6.0.6001.18000" processorArchitecture="%[2]s" language="neutral" publicKeyToken="31bf3856ad364e35" />
    </parent>
    <installerAssembly name="Microsoft-Windows-ServicingStack" version="6.0.6002.18005" language="neutral" processorArchitecture="%[2]s" versionScope="nonSxS" publicKeyToken="31bf3856ad364e35" />
    <update name="one">
      <component>
        <assemblyIdentity name="Example-Component" version="6.0.6003.20489" processorArchitecture="%[2]s" language="neutral" publicKeyToken="31bf3856ad364e35" />
      </component>
      <component>
        <assemblyIdentity name="Microsoft-Windows-SLC-Component-ExtendedSecurityUpdatesAI" version="6.0.6003.20489" processorArchitecture="%[2]s" language="neutral" publicKeyToken="31bf3856ad364e35" />
      </component>
    </update>
  </package>
</assembly>`

// Update makes a cabinet with a package manifest in it.
func Update(a *trusttest.Authority, h crypto.Hash, kb, arch string) []byte {
	return Cabinet(a, h, cabtest.File{Name: "update.mum", Data: fmt.Appendf(nil, packageManifest, kb, arch)})
}

// The package in Windows, and its components by the names of their folders.
const (
	token      = "31bf3856ad364e35" //nolint:gosec // of a public key
	Package    = "Package_for_KB4493471~" + token + "~amd64~~6.0.1.0"
	Component  = "amd64_example-component_" + token + "_6.0.6003.20489_none_0123456789abcdef"
	Dependency = "amd64_example-with-a-very-lo..e-to-be-shortened_" + token + "_6.0.6003.20489_none_0123456789abcdef"
)

// Manifest makes a manifest with files, and with a component that it depends on.
func Manifest(name, on string, files map[string][]byte) []byte {
	identity := func(name string) string {
		return `<assemblyIdentity name="` + name + `" version="6.0.6003.20489" processorArchitecture="amd64" language="neutral" publicKeyToken="` + token + `" />`
	}
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="utf-8"?><assembly xmlns="urn:schemas-microsoft-com:asm.v3" manifestVersion="1.0">` + identity(name))
	if on != "" {
		b.WriteString(`<dependency discoverable="false"><dependentAssembly dependencyType="install">` + identity(on) + `</dependentAssembly></dependency>`)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		sum := sha256.Sum256(files[name])
		fmt.Fprintf(&b, `<file name="%s" destinationPath="$(runtime.system32)\"><asmv2:hash xmlns:asmv2="urn:schemas-microsoft-com:asm.v2" xmlns:dsig="http://www.w3.org/2000/09/xmldsig#">`+
			`<dsig:Transforms><dsig:Transform Algorithm="urn:schemas-microsoft-com:HashTransforms.Identity" /></dsig:Transforms>`+
			`<dsig:DigestMethod Algorithm="http://www.w3.org/2000/09/xmldsig#sha256" /><dsig:DigestValue>%s</dsig:DigestValue></asmv2:hash></file>`,
			name, base64.StdEncoding.EncodeToString(sum[:]))
	}
	return []byte(b.String() + `</assembly>`)
}

// Windows makes a Windows folder with one package of two components, in which all is well. Case
// is as some disks have it.
func Windows(a *trusttest.Authority) fstest.MapFS {
	one, two := []byte("the first file"), []byte("the second file")
	manifests := map[string][]byte{
		Component:  Manifest("Example-Component", "Example-With-A-Very-Long-Name-To-Be-Shortened", map[string][]byte{"one.dll": one}),
		Dependency: Manifest("Example-With-A-Very-Long-Name-To-Be-Shortened", "", map[string][]byte{"two.dll": two, `sub\three.dll`: two}),
	}
	mum := fmt.Appendf(nil, packageManifest, "KB4493471", "amd64")
	members := []trusttest.Member{{Sum: trusttest.Sum(crypto.SHA1, mum), Name: "update.mum"}}
	tree := fstest.MapFS{
		"servicing/Packages/" + Package + ".mum":  {Data: mum},
		"winsxs/" + Component + "/one.dll":        {Data: one},
		"winsxs/" + Dependency + "/two.dll":       {Data: two},
		"winsxs/" + Dependency + "/Sub/three.dll": {Data: two},
	}
	for name, b := range manifests {
		members = append(members, trusttest.Member{Sum: trusttest.Sum(crypto.SHA1, b), Name: name})
		tree["winsxs/Manifests/"+name+".manifest"] = &fstest.MapFile{Data: b}
	}
	tree["servicing/Packages/"+Package+".cat"] = &fstest.MapFile{Data: catalogFile(a, members...)}
	tree["System32/CatRoot/{F750E6C3-38EE-11D1-85E5-00C04FC295EE}/"+Package+".cat"] = tree["servicing/Packages/"+Package+".cat"]
	return tree
}

func catalogFile(a *trusttest.Authority, members ...trusttest.Member) []byte {
	return a.Sign(trusttest.Catalog(crypto.SHA1, members...), trusttest.Signing{Type: trusttest.List, Stamped: Stamped})
}
