package report

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"html"
	"io"
	"math"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/golden"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/plan"
	"github.com/oldguard/oldguard/internal/policy"
	"github.com/oldguard/oldguard/internal/policy/dialect"
	"github.com/oldguard/oldguard/internal/policy/netsh"
	"github.com/oldguard/oldguard/winver"
)

var (
	watchedFrom = time.Date(2026, 10, 12, 6, 0, 0, 0, time.UTC)
	watchedTo   = time.Date(2026, 11, 20, 18, 0, 0, 0, time.UTC)
	isolatedOn  = time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
)

// talker adds conversations to a host.
type talker struct {
	*host.Host
	self string
}

func (h talker) talks(client, server string, proto host.IPProto, port uint16, times, refused int, bytes uint64) {
	addr := func(s string) netip.Addr {
		if s == "" {
			s = h.self
		}
		return netip.MustParseAddr(s)
	}
	h.Traffic.Add(host.Talk{Client: addr(client), Server: addr(server), Proto: proto, Port: port}, host.Sighting{
		From: host.Source{Reader: "capture", Input: "fs01.pcap", At: "packet 1"}, Times: times, Refused: refused,
		Packets: bytes / 700, Bytes: bytes, First: watchedFrom, Last: watchedTo, Sure: port != 9100,
	})
}

// fileServer is a member of a domain that many use, that calls home, and that somebody scans.
// All that evidence can name bears the name.
func fileServer(name string, clients int) *host.Host {
	src := host.Source{Reader: "systeminfo", Input: "fs01.txt", At: "line 1"}
	h := talker{&host.Host{}, "10.1.0.10"}
	h.Name.Say(name, 1, src)
	h.Product.Say("Microsoft Windows Server 2008 Standard", 1, src)
	h.Installation.Say(host.Server, 1, src)
	h.Arch.Say(winver.AMD64, 1, src)
	h.Build.Say(winver.Build{Major: 6, Number: 6002}, 1, src)
	h.Role.Say(host.Member, 1, src)
	h.Addresses = []host.Address{
		{Addr: netip.MustParseAddr("10.1.0.10"), Bits: 24, From: host.Source{Reader: "ipconfig", Input: "ipconfig.txt"}},
		{Addr: netip.MustParseAddr("2001:db8:1::10"), Bits: 64, From: host.Source{Reader: "ipconfig", Input: "ipconfig.txt"}},
	}
	h.Watches = []host.Watch{
		{From: host.Source{Reader: "capture", Input: "fs01.pcap"}, Kind: "capture", First: watchedFrom, Last: watchedTo, Records: 1_204_332, Limits: []string{"cut at 96 bytes of each packet"}},
		{From: host.Source{Reader: "netstat", Input: name + ".txt"}, Kind: "netstat", Records: 412},
	}
	h.Names = []host.PeerName{
		{Addr: netip.MustParseAddr("10.1.0.5"), Name: "dc01.corp.example.com"},
		{Addr: netip.MustParseAddr("10.1.0.21"), Name: name},
		{Addr: netip.MustParseAddr("203.0.113.7"), Name: "update.vendor.example.com"},
	}
	for i := range clients {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], 0x0a010100+uint32(i))
		a := netip.AddrFrom4(b).String()
		h.talks(a, "", host.TCP, 445, 5+i%40, i%7, uint64(1000*(i%900)))
		if i%3 == 0 {
			h.talks(a, "", host.TCP, 139, 2, 0, 3000)
		}
		if i%50 == 1 {
			h.talks(a, "", host.TCP, 9100, 3, 0, 500_000)
		}
	}
	h.talks("2001:db8:1:0:21d:9ff:fe1b:a1c3", "2001:db8:1::10", host.TCP, 445, 12, 0, 88_000)
	h.talks("2001:db8:1:0:21d:9ff:fe1b:a1c4", "2001:db8:1::10", host.TCP, 445, 3, 0, 9_000)
	h.talks("10.1.0.21", "", host.TCP, 1433, 4402, 0, 812_000_000)
	h.talks("10.2.0.9", "", host.TCP, 4711, 1, 0, 900)
	h.talks("10.1.0.99", "", host.TCP, 3389, 12, 0, 40_000_000)
	for _, port := range []uint16{53, 88, 135, 389, 49158} {
		h.talks("", "10.1.0.5", host.TCP, port, 900, 0, 2_000_000)
	}
	h.talks("", "10.1.0.5", host.UDP, 53, 9000, 0, 900_000)
	h.talks("", "10.1.0.30", host.TCP, 25, 31, 0, 400_000)
	h.talks("", "203.0.113.7", host.TCP, 443, 500, 0, 20_000_000)
	h.talks("", "198.51.100.4", host.TCP, 80, 20, 0, 30_000)
	h.talks("198.51.100.77", "", host.TCP, 3389, 20, 18, 30_000)
	h.talks("", "10.1.0.6", host.TCP, 1433, 3, 3, 900)
	h.talks("", "10.1.0.255", host.UDP, 138, 900, 0, 90_000)
	for port := uint16(1); port < 60; port++ {
		h.talks("10.1.0.66", "", host.TCP, port, 1, 1, 60)
	}
	for _, l := range []struct {
		port uint16
		loop bool
	}{{445, false}, {3389, false}, {5985, false}, {47001, false}, {8005, true}} {
		a := netip.IPv4Unspecified()
		if l.loop {
			a = netip.MustParseAddr("127.0.0.1")
		}
		h.Listeners = append(h.Listeners, host.Listener{Proto: host.TCP, Addr: a, Port: l.port, Program: name, From: host.Source{Reader: "netstat", Input: "netstat.txt", At: "line 9"}})
	}
	return h.Host
}

// someControls are one in each state.
func someControls(name string) []plan.Hardening {
	src := []host.Reason{{Text: "HKLM says " + name, From: []host.Source{{Reader: "regexport", Input: name, At: "line 4"}}}}
	return []plan.Hardening{
		{
			ID: "smb1-server", Name: "SMB 1 as a server", State: plan.ControlBad, Now: "on, " + name, Because: src, Exists: "on unless it is switched off", Protects: "worms go over it",
			Breaks: "clients of Windows XP and scanners", Set: []string{`reg add HKLM\SYSTEM\CurrentControlSet\Services\LanmanServer\Parameters /v SMB1 /t REG_DWORD /d 0 /f`},
			Undo: []string{`reg delete HKLM\SYSTEM\CurrentControlSet\Services\LanmanServer\Parameters /v SMB1 /f`}, Restart: "the machine", Known: plan.Known{Confidence: "documented", Source: "https://learn.microsoft.com/windows-server/storage/file-server/troubleshoot/detect-enable-and-disable-smbv1-v2-v3"},
		},
		{ID: "ntlm", Name: "NTLM 1", State: plan.ControlUnknown, Protects: "passwords", Tell: []string{`reg query HKLM\SYSTEM\CurrentControlSet\Control\Lsa /v LmCompatibilityLevel`}},
		{ID: "nla", Name: "Network Level Authentication", State: plan.ControlGood, Now: "required", Protects: "strangers before the logon"},
		{ID: "credguard", Name: "Credential Guard", State: plan.ControlNotAvailable, Because: []host.Reason{{Text: "from Windows 10 on"}}},
		{ID: "ldap", Name: "LDAP signing", State: plan.ControlNotConcerned, Because: []host.Reason{{Text: "for domain controllers"}}},
		{ID: "vlan", Name: "A network of its own", State: plan.ControlExternal, Protects: "keeps neighbours away"},
	}
}

func isolated(tb testing.TB, o plan.IsolateOptions, hosts ...*host.Host) Isolations {
	tb.Helper()
	c, err := catalog.Embedded()
	if err != nil {
		tb.Fatal(err)
	}
	s := Isolations{AsOf: catalog.DateOf(isolatedOn)}
	for _, h := range hosts {
		p := plan.Isolate(h, c, o, isolatedOn)
		p.Hardening = someControls(h.Name.Or(""))
		s.Plans = append(s.Plans, p)
	}
	return s
}

func writtenIsolation(tb testing.TB, format string, o Options, s Isolations) string {
	tb.Helper()
	f, ok := FindIsolation(format)
	if !ok {
		tb.Fatalf("no format %q", format)
	}
	var b bytes.Buffer
	if err := f.Write(&b, s, o); err != nil {
		tb.Fatal(err)
	}
	return b.String()
}

const isolationSchema = "../../docs/schema/isolation-1.json"

var jumpHost = plan.IsolateOptions{Roles: map[string][]netip.Prefix{"jump": {netip.MustParsePrefix("10.1.7.7/32")}}}

// checked adds what a firewall has now: it lets everything out, and in from too many and too few.
func checked(name string, s Isolations) Isolations {
	existing := &policy.Policy{Own: s.Plans[0].Policy.Own, Out: policy.Accept, Notes: []string{"line 4: " + name}, Rules: []policy.Rule{
		{ID: "a", Dir: policy.In, Action: policy.Accept, Proto: policy.TCP, LocalPorts: []policy.Ports{{From: 3389, To: 3389}}, Comment: name, At: "line 7"},
		{ID: "b", Dir: policy.In, Action: policy.Accept, Proto: policy.TCP, LocalPorts: []policy.Ports{{From: 1433, To: 1433}}, Program: name, At: "line 9"},
	}}
	s.Check = &RuleSet{File: name + ".nft", Dialect: "nftables", Existing: existing, Comparison: policy.Compare(existing, s.Plans[0].Policy)}
	return s
}

func TestIsolationSchema(t *testing.T) {
	root := readSchema(t, isolationSchema)
	for name, s := range map[string]Isolations{
		"one":     isolated(t, jumpHost, fileServer("FS01", 50)),
		"checked": checked("FS01", isolated(t, jumpHost, fileServer("FS01", 50))),
		"many":    isolated(t, plan.IsolateOptions{Interface: "vmbr7", Once: plan.Cut}, fileServer("FS01", 5), &host.Host{}),
		"none":    isolated(t, plan.IsolateOptions{}),
	} {
		t.Run(name, func(t *testing.T) {
			var v any
			if err := json.Unmarshal([]byte(writtenIsolation(t, "json", Options{}, s)), &v); err != nil {
				t.Fatal(err)
			}
			c := checker{root: root}
			c.whole("$", root, v)
			for _, e := range c.errors {
				t.Error(e)
			}
		})
	}
	text, err := os.ReadFile(isolationSchema)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	var visit func(reflect.Type)
	visit = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice:
			visit(typ.Elem())
		case reflect.Struct:
			for f := range typ.Fields() {
				if name := f.Tag.Get("json"); name != "" {
					if n++; !bytes.Contains(text, []byte(`"`+strings.Split(name, ",")[0]+`": {`)) {
						t.Errorf("%s.%s: the schema has no %q", typ.Name(), f.Name, name)
					}
					visit(f.Type)
				}
			}
		default:
		}
	}
	visit(reflect.TypeFor[IsolationDocument]())
	if n < 100 {
		t.Errorf("looked at %d fields only", n)
	}
}

// TestIsolationJSONIsTheDocument: what is written piece by piece is the encoding of the document.
func TestIsolationJSONIsTheDocument(t *testing.T) {
	fs01 := isolated(t, jumpHost, fileServer("FS<01>", 50))
	for name, s := range map[string]Isolations{"one": fs01, "check": checked("FS01", fs01), "many": isolated(t, jumpHost, fileServer("FS01", 5), &host.Host{}), "none": {}} {
		t.Run(name, func(t *testing.T) {
			var want bytes.Buffer
			e := json.NewEncoder(&want)
			e.SetEscapeHTML(false)
			e.SetIndent("", "  ")
			if err := e.Encode(NewIsolation(s)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want.String(), writtenIsolation(t, "json", Options{}, s)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestIsolationText(t *testing.T) {
	fs01 := isolated(t, jumpHost, fileServer("FS01", 50))
	for _, tc := range []struct {
		name  string
		width int
		s     Isolations
	}{
		{"fs01", 0, fs01},
		{"fs01_narrow", 60, fs01},
		{"check", 0, checked("FS01", fs01)},
		{"many", 0, isolated(t, jumpHost, fileServer("FS01", 5), &host.Host{})},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := writtenIsolation(t, "text", Options{Width: tc.width}, tc.s)
			golden.Check(t, "testdata/isolation/"+tc.name+".txt", []byte(got))
			width := tc.width
			if width == 0 {
				width = plainWidth
			}
			for line := range strings.Lines(got) {
				long := slices.ContainsFunc(strings.Fields(line), func(word string) bool { return len(word) > width/2 })
				if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > width && !long {
					t.Errorf("%d wide: %s", n, line)
				}
			}
		})
	}
}

// TestIsolationManyPeers: what twenty thousand clients and a scan of all ports make of the text, the page
// and the picture stays small, and says how many there are.
func TestIsolationManyPeers(t *testing.T) {
	h := talker{fileServer("FS01", 20_000), "10.1.0.10"}
	for port := 1; port < 1<<16; port += 9 {
		h.talks("10.1.0.66", "", host.TCP, uint16(port), 1, 1, 60)
	}
	s := isolated(t, jumpHost, h.Host)
	if got := s.Plans[0].Try(); got.Passed != got.Allowed || got.Allowed < 20_000 {
		t.Errorf("of %d conversations that were allowed %d pass", got.Allowed, got.Passed)
	}
	text, page := writtenIsolation(t, "text", Options{}, s), writtenIsolation(t, "html", Options{}, s)
	if len(text) > 20_000 {
		t.Errorf("the text has %d bytes", len(text))
	}
	if len(page) > 300_000 {
		t.Errorf("the page has %d bytes", len(page))
	}
	for _, want := range []string{"clients</text>", "in 10.1.0.0/17 and 2 by IPv6", "more: <code>--format json</code> has all"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	for _, want := range []string{" more in 10.1.0.0/", "10.1.0.66 tried 20 ports or more"} {
		if !strings.Contains(text, want) {
			t.Errorf("the text does not say %q", want)
		}
	}
}

// TestIsolationNamed: a network to which the owner gave a role is in no dependency, and is shown all the
// same.
func TestIsolationNamed(t *testing.T) {
	s := isolated(t, plan.IsolateOptions{Roles: map[string][]netip.Prefix{"jump": {netip.MustParsePrefix("10.1.7.0/28")}}}, fileServer("FS01", 5))
	for _, format := range []string{"text", "html"} {
		got := writtenIsolation(t, format, Options{}, s)
		for _, want := range []string{"and 1 network that the owner named", "networks that the owner named", "in, tcp 3389", "in, icmp type 8", "10.1.7.0/28"} {
			if !strings.Contains(strings.Join(strings.Fields(got), " "), want) {
				t.Errorf("%s does not say %q", format, want)
			}
		}
	}
}

// TestIsolationEscapes puts what acts on a terminal or a page into all that evidence can name.
func TestIsolationEscapes(t *testing.T) {
	const evil = `"><script>alert(1)</script><img src=//192.0.2.1/x>` + "\x1b[2J\u202e\r\n=1+1<!--'`"
	s := checked(evil, isolated(t, jumpHost, fileServer(evil, 50)))
	many := isolated(t, jumpHost, fileServer(evil, 5), fileServer(evil, 5))
	for _, format := range []string{"text", "html"} {
		for _, v := range []Isolations{s, many, {Plans: s.Plans}} {
			got := writtenIsolation(t, format, Options{}, v)
			bad := []string{"\x1b", "\u202e", "\r"}
			if format == "html" {
				bad = append(bad, "<script", "<img", "<!--", "src=", "<link", "javascript:")
				got = strings.ReplaceAll(got, "img src=//192.0.2.1/x&gt;", "")
			}
			for _, b := range bad {
				if i := strings.Index(got, b); i >= 0 {
					t.Errorf("%s holds %q: …%s…", format, b, got[max(i-60, 0):i+len(b)])
				}
			}
		}
	}
}

// TestIsolationSaysNotSafe: no document calls a machine safe.
func TestIsolationSaysNotSafe(t *testing.T) {
	s := checked("FS01", isolated(t, jumpHost, fileServer("FS01", 5)))
	for _, f := range IsolationFormats() {
		for _, v := range []Isolations{s, {AsOf: s.AsOf, Plans: s.Plans}} {
			for _, m := range regexp.MustCompile(`(?i).{0,40}\b(safe|secure)\b`).FindAllString(writtenIsolation(t, f.Name, Options{}, v), -1) {
				if !strings.Contains(m, "nothing in it says that a machine is safe") {
					t.Errorf("%s says %q", f.Name, m)
				}
			}
		}
	}
}

// TestIsolationPicture: both drawings are well formed, nothing lies outside of them, and what is said
// by them is said in words.
func TestIsolationPicture(t *testing.T) {
	for _, n := range []int{0, 1, 5, 50, 5000} {
		d := NewIsolation(isolated(t, jumpHost, fileServer("FS<01>", n)))
		h := &d.Hosts[0]
		for svg := range strings.SplitSeq(strings.TrimSpace(string(h.picture("h1"))), "\n") {
			x := xml.NewDecoder(strings.NewReader(svg))
			var width, height float64
			for {
				token, err := x.Token()
				if err == io.EOF { //nolint:errorlint // as the decoder gives it
					break
				}
				if err != nil {
					t.Fatalf("%d clients: %v\n%s", n, err, svg)
				}
				e, ok := token.(xml.StartElement)
				if !ok {
					continue
				}
				at := map[string]float64{}
				for _, a := range e.Attr {
					if a.Name.Local == "viewBox" {
						if _, err := fmt.Sscanf(a.Value, "0 0 %g %g", &width, &height); err != nil {
							t.Fatal(err)
						}
					}
					if v, err := strconv.ParseFloat(a.Value, 64); err == nil {
						at[a.Name.Local] = v
					}
				}
				if x, y := at["x"]+at["width"], at["y"]+at["height"]; at["x"] < 0 || at["y"] < 0 || x > width+0.1 || y > height+0.1 || math.IsNaN(x+y) {
					t.Errorf("%d clients: %s at %v is outside of %g×%g", n, e.Name.Local, at, width, height)
				}
			}
			if c := strings.Count(svg, `class="cutword"`); c == 0 || c != strings.Count(svg, `class="cutline"`) {
				t.Errorf("%d clients: %d words for %d broken lines", n, c, strings.Count(svg, `class="cutline"`))
			}
			for _, p := range h.partyTable() {
				if !strings.Contains(svg, p.Word()) || !strings.Contains(svg, html.EscapeString(p.Label)) {
					t.Errorf("%d clients: the picture does not say %s, %s", n, p.Label, p.Word())
				}
			}
		}
	}
	if got := (&IsolationHost{}).picture("h1"); got != "" {
		t.Errorf("a picture of nothing: %s", got)
	}
}

func TestIsolationWords(t *testing.T) {
	addrs := func(list string) (out []netip.Addr) {
		for s := range strings.FieldsSeq(list) {
			out = append(out, netip.MustParseAddr(s))
		}
		return out
	}
	for _, tc := range []struct{ name, got, want string }{
		{"one_address", networkWords(addrs("192.0.2.1")), "192.0.2.1"},
		{"network", networkWords(addrs("192.0.2.1 192.0.2.200")), "192.0.2.0/24"},
		{"far_apart", networkWords(addrs("192.0.2.1 10.0.0.1 10.0.0.2")), "2 networks of /16"},
		{"both_families", networkWords(addrs("192.0.2.1 2001:db8::1 2001:db8::2")), "192.0.2.1 and 2001:db8::/126"},
		{"brief", networkBrief(addrs("192.0.2.1 2001:db8::1 2001:db8::2")), "192.0.2.1 and 2 by IPv6"},
		{"ports", portWords(joinPorts([]IsolationPorts{{9, 9}, {1, 3}, {4, 5}, {65535, 65535}})), "1-5, 9, 65535"},
		{"thousands", thousands(1234567), "1,234,567"},
		{"few", thousands(999), "999"},
		{"bytes", amount(999), "999 bytes"},
		{"megabytes", amount(1_234_567), "1.2 MB"},
		{"much", amount(87_654_321_000), "88 GB"},
		{"days", lasting(72 * time.Hour), "3 days"},
		{"large", large(2e30), "about 2e+30"},
		{"middle", midClip(9, "2001:db8:1:0:21d:9ff"), "2001…:9ff"},
		{"fit_all", strings.Join(fit([]string{"SMB", "RPC"}, 12, 2), "|"), "SMB, RPC"},
		{"fit_two_lines", strings.Join(fit([]string{"SMB", "RPC", "Kerberos"}, 12, 2), "|"), "SMB, RPC,|Kerberos"},
		{"fit_more", strings.Join(fit([]string{"SMB", "RPC", "Kerberos", "LDAP", "DNS"}, 12, 2), "|"), "SMB, RPC,|Kerberos +2"},
		{"fit_one_line", strings.Join(fit([]string{"10.1.0.5", "domain controller", "name server"}, 12, 1), "|"), "10.1.0.5 +2"},
		{"fit_too_long", strings.Join(fit([]string{"a note that is longer than a line"}, 12, 1), "|"), "a note tha…"},
		{"wrap", strings.Join(wrap("a bb ccc dddddddd e", " ", 6), "|"), " a bb| ccc| ddddd| ddd e"},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, tc.got, tc.want)
		}
	}
}

// TestIsolationRules: whatever names the evidence holds, the rules in each dialect are those of the plan,
// and nothing else is in them.
func TestIsolationRules(t *testing.T) {
	evil := []string{"FS01", "x\"; flush ruleset; #\n-A INPUT -j ACCEPT\r\nnetsh advfirewall reset & ^ %PATH%", "=cmd|'/c calc'!A1", "\u202e\x1b[2J'"}
	for _, name := range evil {
		h := fileServer(name, 20)
		h.Name = host.Fact[string]{}
		h.Name.Say("FS01", 1, host.Source{})
		for i := range h.Listeners {
			h.Listeners[i].Program = name
		}
		s := isolated(t, jumpHost, h)
		s.Plans[0].Policy.Notes = append(s.Plans[0].Policy.Notes, name)
		n := 0
		for _, f := range IsolationFormats() {
			if !f.Rules {
				continue
			}
			n++
			text := writtenIsolation(t, f.Name, Options{}, s)
			if strings.ContainsAny(text, "\x1b\u202e") {
				t.Errorf("%s with %q acts on a terminal", f.Name, name)
			}
			p, as, err := dialect.Read(text, policy.View{File: "f", Own: s.Plans[0].Policy.Own})
			if err != nil || as.Name != f.Name {
				t.Errorf("%s with %q: read as %q, %v", f.Name, name, as.Name, err)
				continue
			}
			c := policy.Compare(p, s.Plans[0].Policy)
			for i := range c.Differences {
				t.Errorf("%s with %q: %s %s", f.Name, name, c.Differences[i].Kind, c.Differences[i].String())
			}
		}
		if n < 4 {
			t.Errorf("only %d formats of rules", n)
		}
	}
	s := isolated(t, jumpHost, fileServer("not a name", 5))
	f, _ := FindIsolation("netsh")
	if err := f.Write(io.Discard, s, Options{}); !errors.Is(err, netsh.ErrNoCommands) {
		t.Errorf("a command file for a machine with an odd name: %v", err)
	}
}
