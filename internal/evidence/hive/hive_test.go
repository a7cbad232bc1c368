package hive_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/evidencetest"
	"github.com/oldguard/oldguard/internal/evidence/hive"
	"github.com/oldguard/oldguard/internal/evidence/regexport"
	"github.com/oldguard/oldguard/internal/format/regf/regftest"
	"github.com/oldguard/oldguard/internal/golden"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/winreg"
	"github.com/oldguard/oldguard/winver"
)

var (
	text  = func(name, s string) winreg.Value { return winreg.TextValue(name, winreg.String, s) }
	dword = winreg.DwordValue
	multi = func(name string, s ...string) winreg.Value { return winreg.TextValue(name, winreg.Multi, s...) }
)

// keys makes a registry of paths and their values. A nil path of a key makes it empty.
func keys(t testing.TB, all map[string][]winreg.Value) *winreg.Memory {
	t.Helper()
	root := &winreg.Memory{Whole: true}
	for _, path := range slices.Sorted(maps.Keys(all)) {
		k, err := root.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range all[path] {
			k.Set(v)
		}
	}
	whole(root)
	return root
}

func whole(k *winreg.Memory) {
	k.Whole = true
	for _, c := range k.Children() {
		whole(c)
	}
}

// software is the SOFTWARE hive of a Windows Server 2008.
func software(t testing.TB, build string) *winreg.Memory {
	const current = `Microsoft\Windows\CurrentVersion`
	pkg := func(state uint32) []winreg.Value {
		return []winreg.Value{
			dword("CurrentState", state), dword("InstallTimeHigh", 0x01d4ef2c), dword("InstallTimeLow", 0x51a00000),
			text("InstallClient", "WindowsUpdateAgent"), text("InstallName", "package.mum"), dword("Visibility", 1),
		}
	}
	all := map[string][]winreg.Value{
		`Classes`: nil,
		`Microsoft\Windows NT\CurrentVersion`: {
			text("ProductName", "Windows Server (R) 2008 Standard"), text("CurrentVersion", "6.0"), text("CurrentBuild", build), text("CurrentBuildNumber", build),
			text("BuildLab", build+".vistasp2_ldr_escrow.190404-1620"), text("BuildLabEx", build+".20489.amd64fre.vistasp2_ldr_escrow.190404-1620"),
			text("CSDVersion", "Service Pack 2"), text("EditionID", "ServerStandard"), dword("InstallDate", 1262346245), text("ProductId", "92573-082-2500115-76417"),
		},
		`Microsoft\Cryptography`:                        {text("MachineGuid", "5f0d2a6c-0a4b-4c1e-9d1e-3b7a6a0c9f10")},
		`Microsoft\Internet Explorer`:                   {text("Version", "9.0.8112.16421"), text("svcVersion", "9.0.8112.16421")},
		`Microsoft\NET Framework Setup\NDP\v4\Full`:     {dword("Install", 1), text("Version", "4.5.50938")},
		current + `\Uninstall\{0A1B}`:                   {text("DisplayName", "Example Backup Agent"), text("DisplayVersion", "7.1"), text("Publisher", "Example Ltd")},
		`Wow6432Node\` + current + `\Uninstall\Old`:     {text("DisplayName", "Example Viewer"), text("DisplayVersion", "2.0")},
		current + `\Component Based Servicing\Version`:  {text("6.0.6002.24601", `%SystemRoot%\winsxs\amd64_microsoft-windows-servicingstack_31bf3856ad364e35_6.0.6002.24601_none`)},
		current + `\Component Based Servicing\Packages`: nil,
		current + `\Policies\System`:                    {dword("EnableLUA", 1), dword("LocalAccountTokenFilterPolicy", 1)},
	}
	for name, state := range map[string]uint32{
		"Microsoft-Windows-ServerStandardEdition~31bf3856ad364e35~amd64~~6.0.6002.18005": 112,
		"Package_1_for_KB4493730~31bf3856ad364e35~amd64~~6.0.1.0":                        112,
		"Package_for_KB4493730~31bf3856ad364e35~amd64~~6.0.1.0":                          112,
		"Package_for_KB4474419~31bf3856ad364e35~amd64~~6.0.4.0":                          112,
		"Package_for_KB4489887~31bf3856ad364e35~amd64~~6.0.1.6":                          80,
	} {
		all[current+`\Component Based Servicing\Packages\`+name] = pkg(state)
	}
	return keys(t, all)
}

// system is the SYSTEM hive of the same machine. ControlSet001 is one that it no longer uses.
func system(t testing.TB, name string) *winreg.Memory {
	const set = `ControlSet002\`
	return keys(t, map[string][]winreg.Value{
		`Select`: {dword("Current", 2), dword("Default", 2), dword("Failed", 1), dword("LastKnownGood", 2)},
		`ControlSet001\Control\ComputerName\ComputerName`: {text("ComputerName", "WIN-OLDNAME")},
		set + `Control\ComputerName\ComputerName`:         {text("ComputerName", name)},
		set + `Control\ProductOptions`:                    {text("ProductType", "ServerNT")},
		set + `Control\Session Manager`:                   {multi("PendingFileRenameOperations", `\??\C:\Windows\Temp\old.dll`, "")},
		set + `Control\Session Manager\Environment`:       {text("PROCESSOR_ARCHITECTURE", "AMD64")},
		set + `Control\TimeZoneInformation`: {
			dword("Bias", 0xffffffc4), dword("StandardBias", 0), dword("DaylightBias", 0xffffffc4), dword("ActiveTimeBias", 0xffffffc4), text("TimeZoneKeyName", "W. Europe Standard Time"),
			{Name: "StandardStart", Type: winreg.Binary, Data: []byte{0, 0, 10, 0, 5, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
			{Name: "DaylightStart", Type: winreg.Binary, Data: []byte{0, 0, 3, 0, 5, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
		},
		set + `Control\Windows`:                                                 {{Name: "ShutdownTime", Type: winreg.Binary, Data: []byte{0, 0x80, 0x3e, 0xd5, 0xde, 0xb1, 0xdc, 1}}},
		set + `Control\Lsa`:                                                     {dword("LmCompatibilityLevel", 2), dword("RestrictAnonymous", 0)},
		set + `Control\Terminal Server`:                                         {dword("fDenyTSConnections", 0)},
		set + `Control\Terminal Server\WinStations\RDP-Tcp`:                     {dword("UserAuthentication", 0), dword("SecurityLayer", 1), dword("PortNumber", 3389)},
		set + `Services\Tcpip\Parameters`:                                       {text("Hostname", strings.ToLower(name)), text("Domain", "corp.example.com")},
		set + `Services\Tcpip\Parameters\Interfaces\{11111111}`:                 {dword("EnableDHCP", 0), multi("IPAddress", "192.0.2.11"), multi("SubnetMask", "255.255.255.0"), multi("DefaultGateway", "192.0.2.1"), text("NameServer", "192.0.2.2,192.0.2.3")},
		set + `Services\LanmanServer`:                                           {dword("Start", 2), dword("Type", 0x20), text("ImagePath", `%SystemRoot%\system32\svchost.exe -k netsvcs`), text("DisplayName", "@%systemroot%\\system32\\srvsvc.dll,-100")},
		set + `Services\LanmanServer\Parameters`:                                {dword("RequireSecuritySignature", 0)},
		set + `Services\LanmanServer\Shares`:                                    {multi("data", "CSCFlags=0", "MaxUses=4294967295", `Path=D:\data`, "Permissions=0", "Type=0")},
		set + `Services\Spooler`:                                                {dword("Start", 2), dword("Type", 0x110), text("ImagePath", `%SystemRoot%\System32\spoolsv.exe`)},
		set + `Services\RemoteRegistry`:                                         {dword("Start", 4), dword("Type", 0x20)},
		set + `Services\mrxsmb10`:                                               {dword("Start", 3), dword("Type", 2)},
		set + `Services\SharedAccess\Parameters\FirewallPolicy\DomainProfile`:   {dword("EnableFirewall", 1)},
		set + `Services\SharedAccess\Parameters\FirewallPolicy\StandardProfile`: {dword("EnableFirewall", 0)},
		set + `Services\SharedAccess\Parameters\FirewallPolicy\FirewallRules`: {
			text("RemoteDesktop-In-TCP", "v2.0|Action=Allow|Active=TRUE|Dir=In|Protocol=6|LPort=3389|App=System|Name=@FirewallAPI.dll,-28753|"),
		},
	})
}

func components(t testing.TB) *winreg.Memory {
	return keys(t, map[string][]winreg.Value{`CanonicalData\Deployments`: nil, `DerivedData\Components`: nil})
}

// exported is what netsh advfirewall export makes of the firewall's policy.
func exported(t testing.TB, below string) *winreg.Memory {
	return keys(t, map[string][]winreg.Value{
		below + `DomainProfile\Logging`: {dword("LogDroppedPackets", 1)},
		below + `DomainProfile`:         {dword("EnableFirewall", 1), dword("DefaultInboundAction", 1), dword("DefaultOutboundAction", 1), dword("DoNotAllowExceptions", 0)},
		below + `StandardProfile`:       {dword("EnableFirewall", 0)},
		below + `PublicProfile`:         {dword("EnableFirewall", 1), dword("DoNotAllowExceptions", 1)},
		below + `FirewallRules`: {
			text("{11111111-0000-0000-0000-000000000001}", "v2.10|Action=Allow|Active=TRUE|Dir=In|Protocol=6|Profile=Public|Profile=Domain|LPort=443|LPort=80|LPort2_10=5000-5010|RA4=192.0.2.0/255.255.255.0|RA4=192.0.2.200|RA6=2001:db8::/64|App=C:\\Web\\httpd.exe|Name=Web|"),
			text("{11111111-0000-0000-0000-000000000002}", "v2.10|Action=Allow|Active=TRUE|Dir=In|Protocol=1|ICMP4=8:*|ICMP4=3:4|RA4=LocalSubnet|RA6=LocalSubnet|Name=Ping|IFType=RemoteAccess|IFType=Lan|"),
			text("{11111111-0000-0000-0000-000000000003}", "v2.10|Action=ByPass|Active=TRUE|Dir=In|Protocol=17|Profile=Domain|Profile=Private|Profile=Public|Security=Authenticate|Security2_9=An-NoEncap|Svc=*|Name=Scanner|"),
			text("{11111111-0000-0000-0000-000000000004}", "v2.10|Action=Block|Active=FALSE|Dir=Out|RA4=203.0.113.1-203.0.113.1|RA4=203.0.113.7-203.0.113.9|Name=Off|"),
		},
	})
}

var written = time.Date(2026, 1, 20, 18, 30, 0, 0, time.UTC)

func file(root *winreg.Memory, name string) *fstest.MapFile {
	return &fstest.MapFile{Data: regftest.Hive(root, regftest.Options{FileName: `\SystemRoot\System32\Config\` + name, Written: written})}
}

// cases are folders of evidence.
func cases(t testing.TB) map[string]fs.FS {
	sw, sys, comp := file(software(t, "6003"), "SOFTWARE"), file(system(t, "FS01"), "SYSTEM"), file(components(t), "COMPONENTS")
	before := file(software(t, "6002"), "SOFTWARE").Data
	torn := &fstest.MapFile{Data: regftest.Torn(before)}
	empty := &fstest.MapFile{}
	holed := bytes.Clone(sw.Data) // one package's key points to no list of values
	at := bytes.Index(holed, []byte("Package_for_KB4474419")) - 36
	copy(holed[at:], []byte{0xf1, 0xff, 0xff, 0x0f})
	sam := file(keys(t, map[string][]winreg.Value{`SAM\Domains`: nil}), "SAM")
	return map[string]fs.FS{
		"whole_machine":          fstest.MapFS{"SOFTWARE": sw, "SYSTEM": sys, "COMPONENTS": comp, "SAM": sam, "SOFTWARE.LOG1": empty, "SYSTEM.LOG": empty},
		"software_alone":         fstest.MapFS{"software.hiv": sw},
		"software_and_its_store": fstest.MapFS{"SOFTWARE": sw, "COMPONENTS": comp},
		"system_alone":           fstest.MapFS{"SYSTEM": sys},
		"dirty_without_log":      fstest.MapFS{"SOFTWARE": torn, "SYSTEM": sys},
		"dirty_with_old_log":     fstest.MapFS{"SOFTWARE": torn, "software.log1": {Data: regftest.OldLog(before, sw.Data)}, "SOFTWARE.LOG2": empty},
		"dirty_with_new_log":     fstest.MapFS{"SOFTWARE": torn, "SOFTWARE.LOG1": empty, "SOFTWARE.LOG2": {Data: regftest.NewLog(1, before, sw.Data)}},
		"dirty_with_one_new_log": fstest.MapFS{"SOFTWARE": torn, "SOFTWARE.LOG1": {Data: regftest.NewLog(1, before, sw.Data)}},
		"log_alone":              fstest.MapFS{"SOFTWARE.LOG1": {Data: regftest.OldLog(before, sw.Data)}},
		"damaged":                fstest.MapFS{"SOFTWARE": {Data: holed}},
		"cut":                    fstest.MapFS{"SOFTWARE": {Data: sw.Data[:4096+600]}},
		"another_hive":           fstest.MapFS{"SAM": sam},
		"firewall_export":        fstest.MapFS{"policy.wfw": file(exported(t, ""), "policy.wfw"), "SOFTWARE": sw, "SYSTEM": sys},
		"firewall_key_above":     fstest.MapFS{"parameters.hiv": file(exported(t, `FirewallPolicy\`), "parameters.hiv")},
		"firewall_rule_unread": fstest.MapFS{"policy.wfw": file(keys(t, map[string][]winreg.Value{
			`DomainProfile`: {dword("EnableFirewall", 1)},
			`FirewallRules`: {text("a", "v2.0|Action=Block|Active=TRUE|Dir=In|Name=a|"), dword("b", 1)},
		}), "policy.wfw")},
		"two_machines": fstest.MapFS{
			"one/SOFTWARE": sw, "one/SYSTEM": sys, "two/SYSTEM": file(system(t, "FS02"), "SYSTEM"),
			"two/SOFTWARE": file(keys(t, map[string][]winreg.Value{`Microsoft\Windows NT\CurrentVersion`: {text("CurrentBuildNumber", "6002"), text("CurrentVersion", "6.0"), text("ProductId", "92573-082-2500115-76999")}}), "SOFTWARE"),
		},
	}
}

func TestGolden(t *testing.T) {
	for name, tree := range cases(t) {
		t.Run(name, func(t *testing.T) {
			golden.JSON(t, filepath.Join("testdata", name, "want.json"), evidencetest.Read(t, []evidence.Reader{hive.Reader}, tree))
		})
	}
}

func FuzzRead(f *testing.F) {
	for _, tree := range cases(f) {
		err := fs.WalkDir(tree, ".", func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := fs.ReadFile(tree, p)
			f.Add(b)
			return err
		})
		if err != nil {
			f.Fatal(err)
		}
	}
	evidencetest.Fuzz(f, hive.Reader)
}

// export writes a registry as regedit does.
func export(root *winreg.Memory, path string, b *strings.Builder) {
	fmt.Fprintf(b, "[%s]\r\n", path)
	values, _ := root.Values()
	for _, v := range values {
		name := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v.Name) + `"`
		if v.Name == "" {
			name = "@"
		}
		bytes := make([]string, len(v.Data))
		for i, c := range v.Data {
			bytes[i] = hex.EncodeToString([]byte{c})
		}
		fmt.Fprintf(b, "%s=hex(%x):%s\r\n", name, uint32(v.Type), strings.Join(bytes, ","))
	}
	b.WriteString("\r\n")
	for _, c := range root.Children() {
		export(c, path+`\`+c.Name(), b)
	}
}

// TestSameAsExport: a machine gives the same facts by its hives and by an export of them.
func TestSameAsExport(t *testing.T) {
	compare(t, software(t, "6003"), system(t, "FS01"), regftest.Options{})
}

func compare(t *testing.T, sw, sys *winreg.Memory, o regftest.Options) {
	t.Helper()
	var reg strings.Builder
	reg.WriteString("Windows Registry Editor Version 5.00\r\n\r\n")
	export(sw, `HKEY_LOCAL_MACHINE\SOFTWARE`, &reg)
	export(sys, `HKEY_LOCAL_MACHINE\SYSTEM`, &reg)
	readers := []evidence.Reader{hive.Reader, regexport.Reader}
	files := fstest.MapFS{"SOFTWARE": {Data: regftest.Hive(sw, o)}, "SYSTEM": {Data: regftest.Hive(sys, o)}}
	hives := evidencetest.Read(t, readers, files)
	texts := evidencetest.Read(t, readers, fstest.MapFS{"all.reg": {Data: []byte(reg.String())}})
	for _, hosts := range [][]map[string]any{hives, texts} {
		for _, h := range hosts {
			delete(h, "updates") // name their reader
		}
	}
	if diff := cmp.Diff(hives, texts); diff != "" {
		t.Errorf("(-hives +export):\n%s", diff)
	}
	files["all.reg"] = &fstest.MapFile{Data: []byte(reg.String())}
	both := evidencetest.Read(t, readers, files)
	if len(both) != 1 || strings.Contains(fmt.Sprint(both), "disputed") {
		t.Errorf("together they are %d machines, or dispute: %v", len(both), both)
	}
}

// thin copies a registry and leaves out a part of it.
func thin(from, to *winreg.Memory, path string, rng *rand.Rand) {
	k := to
	if path != "" {
		k, _ = to.Create(path) // a path that was created before
	}
	values, _ := from.Values()
	for _, v := range values {
		if rng.IntN(8) > 0 {
			k.Set(v)
		}
	}
	for _, c := range from.Children() {
		if path == "" || rng.IntN(12) > 0 { // what tells which hive it is stays
			thin(c, to, strings.TrimPrefix(path+`\`+c.Name(), `\`), rng)
		}
	}
}

// TestThinSameAsExport is TestSameAsExport for machines of which this or that is not there.
func TestThinSameAsExport(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var sw, sys winreg.Memory
		thin(software(t, "6003"), &sw, "", rng)
		thin(system(t, "FS01"), &sys, "", rng)
		whole(&sw)
		whole(&sys)
		compare(t, &sw, &sys, regftest.Options{List: []string{"lh", "lf", "li", "ri"}[rng.IntN(4)], Minor: 3 + rng.Uint32N(4), Wide: rng.IntN(2) == 0})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// TestSeparateFiles: hives that are named one by one find each other, and their logs, by
// the folder they lie in.
func TestSeparateFiles(t *testing.T) {
	before := file(software(t, "6002"), "SOFTWARE").Data
	after := file(software(t, "6003"), "SOFTWARE").Data
	files := map[string][]byte{
		"COMPONENTS": file(components(t), "COMPONENTS").Data, "SOFTWARE": regftest.Torn(before),
		"SOFTWARE.LOG1": regftest.OldLog(before, after), "SYSTEM": file(system(t, "FS01"), "SYSTEM").Data,
	}
	for _, folder := range []string{"", "./", "/mnt/disk/Windows/System32/config/", `E:\Windows\System32\config\`} {
		var inputs []evidence.Input
		for name, b := range files {
			inputs = append(inputs, evidence.Input{Name: folder + name, File: io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))})
		}
		var hosts []*host.Host
		for h, err := range evidence.Read(context.Background(), []evidence.Reader{hive.Reader}, inputs, evidence.Options{}) {
			if err != nil {
				t.Fatal(err)
			}
			hosts = append(hosts, h)
		}
		if len(hosts) != 1 {
			t.Fatalf("in %q: %d machines", folder, len(hosts))
		}
		h := hosts[0]
		if h.Name.Or("") != "FS01" || h.Build.Or(winver.Build{}).Number != 6003 || !h.Installed.Known() || h.MachineID.Or("") == "" || len(h.Gaps) > 0 {
			t.Errorf("in %q: name %q, build %v, installed %v, gaps %+v", folder, h.Name.Or(""), h.Build.Or(winver.Build{}), h.Installed.Or(time.Time{}), h.Gaps)
		}
	}
}

// TestWide: keys with very many subkeys, in which many names are looked up, take no time
// that people notice.
func TestWide(t *testing.T) {
	all := map[string][]winreg.Value{`Select`: {dword("Current", 1)}}
	for i := range 20_000 {
		id := fmt.Sprintf("{%08x}", i)
		all[`ControlSet001\Services\Service`+id] = []winreg.Value{dword("Start", 2), dword("Type", 0x10)}
		all[`ControlSet001\Services\Tcpip\Parameters\Interfaces\`+id] = []winreg.Value{multi("IPAddress", "192.0.2.1")}
		all[`ControlSet001\Control\Network\{4D36E972-E325-11CE-BFC1-08002BE10318}\`+id+`\Connection`] = []winreg.Value{text("Name", "Local Area Connection")}
	}
	tree := fstest.MapFS{"SYSTEM": file(keys(t, all), "SYSTEM")}
	start := time.Now()
	views := evidencetest.Read(t, []evidence.Reader{hive.Reader}, tree)
	if d := time.Since(start); d > time.Second && !raceEnabled {
		t.Errorf("%d bytes took %v", len(tree["SYSTEM"].Data), d)
	}
	if services, ok := views[0]["services"].([]string); !ok || len(services) != 20_000 {
		t.Errorf("%d services", len(services))
	}
}

// TestRoot: a hive answers as the live registry would.
func TestRoot(t *testing.T) {
	in := func(f *fstest.MapFile, name string) evidence.Input {
		return evidence.Input{Name: name, File: io.NewSectionReader(bytes.NewReader(f.Data), 0, int64(len(f.Data)))}
	}
	live := host.Live{Roots: map[string]winreg.Key{}}
	for _, f := range []evidence.Input{in(file(system(t, "FS01"), "SYSTEM"), "a.hiv"), in(file(software(t, "6003"), "SOFTWARE"), "b.hiv")} {
		name, root, err := hive.Root(f)
		if err != nil {
			t.Fatal(err)
		}
		live.Roots[`HKLM\`+name] = root
	}
	for _, tt := range []struct {
		name, key, value string
		want             host.Tri
		plain            string
	}{
		{"set_in_use", `HKLM\SYSTEM\CurrentControlSet\Control\ComputerName\ComputerName`, "ComputerName", host.Yes, "FS01"},
		{"another_set", `HKLM\SYSTEM\ControlSet001\Control\ComputerName\ComputerName`, "ComputerName", host.Yes, "WIN-OLDNAME"},
		{"absent_in_the_set", `HKLM\SYSTEM\CurrentControlSet\Services\LanmanServer\Parameters`, "SMB1", host.No, ""},
		{"software", `HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion`, "CurrentBuild", host.Yes, "6003"},
		{"no_such_key", `HKLM\SOFTWARE\Microsoft\None`, "x", host.No, ""},
		{"no_such_hive", `HKLM\COMPONENTS\DerivedData`, "x", host.Unknown, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, got := live.RegistryValue(tt.key, tt.value)
			if got != tt.want || v.Plain() != tt.plain {
				t.Errorf("%s\\%s = %q, %v; want %q, %v", tt.key, tt.value, v.Plain(), got, tt.plain, tt.want)
			}
		})
	}
	if _, _, err := hive.Root(in(file(keys(t, map[string][]winreg.Value{`SAM\Domains`: nil}), "SAM"), "SAM")); err == nil {
		t.Error("SAM was opened")
	}
}
