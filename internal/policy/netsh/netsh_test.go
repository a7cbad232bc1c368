package netsh_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	format "github.com/oldguard/oldguard/internal/format/netsh"
	"github.com/oldguard/oldguard/internal/format/netsh/netshtest"
	"github.com/oldguard/oldguard/internal/golden"
	"github.com/oldguard/oldguard/internal/policy"
	"github.com/oldguard/oldguard/internal/policy/netsh"
	"github.com/oldguard/oldguard/internal/policy/policytest"
)

func write(t testing.TB, p *policy.Policy, o netsh.Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := netsh.WriteFor(&b, p, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func read(t testing.TB, text string) *policy.Policy {
	t.Helper()
	p, err := netsh.Read(text, policy.View{File: "f"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	return p
}

// sure fails the test if anything of what was read was not understood.
func sure(t *testing.T, p *policy.Policy) {
	t.Helper()
	for i := range p.Rules {
		if p.Rules[i].Unsure != "" {
			t.Fatalf("%s: %+v", p.Rules[i].Unsure, p.Rules[i])
		}
	}
	for _, n := range p.Notes {
		if strings.HasPrefix(n, "f: ") {
			t.Fatal(n)
		}
	}
}

// onTheWire are packets but for those of IPv6 from or to nowhere, or the machine itself: networks of
// Windows Firewall must not begin there, and no such packet travels.
func onTheWire(list []policy.Packet) []policy.Packet {
	none := func(a netip.Addr) bool { return a.Is6() && (a.IsUnspecified() || a.IsLoopback()) }
	return slices.DeleteFunc(list, func(k policy.Packet) bool { return none(k.Local) || none(k.Remote) })
}

// TestWrittenAndReadBack: the commands, and what netsh would print of the rules they make, in
// any language, mean the same as the policy on 10,000 packets, and the text stays the same.
func TestWrittenAndReadBack(t *testing.T) {
	const policies, packets = 100, 100
	looked, refused := 0, 0
	for seed := range uint64(policies) {
		r := rand.New(rand.NewPCG(seed, 9))
		p := policytest.Policy(r, policytest.Options{Rules: 9, Drops: seed%3 == 0, Odd: seed%2 == 0, Order: policy.Order(r.IntN(2))})
		p.Host = "FS01"
		for i := range p.Rules {
			p.Rules[i].Program = "" // a hostile one: see TestHostile
		}
		o := netsh.Options{Version: []string{"6.0", "6.1"}[seed%2]}
		var b bytes.Buffer
		if err := netsh.WriteFor(&b, p, o); errors.Is(err, netsh.ErrNoCommands) {
			refused++
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		text := b.String()
		q := read(t, text)
		sure(t, q)
		sample := onTheWire(policytest.Packets(rand.New(rand.NewPCG(seed, 10)), packets+packets/4, p))
		looked += len(sample)
		policytest.Same(t, p, q, sample)
		if again := write(t, q, o); again != text {
			t.Fatalf("seed %d: written again (-first +again):\n%s", seed, cmp.Diff(text, again))
		}
		s := format.ParseCommands(text)
		lang := netshtest.Languages()[seed%3]
		shown := read(t, netshtest.Show(lang, s.Rules, true)+netshtest.Profiles(lang, s.Profiles))
		sure(t, shown)
		policytest.Same(t, p, shown, sample)
		if !netsh.Sniff([]byte(text)) || !netsh.Sniff([]byte(netshtest.Profiles("fr", s.Profiles))) {
			t.Fatal("not recognised")
		}
	}
	t.Logf("%d packets, %d policies refused", looked, refused)
	if looked < 10_000 || refused > 2 {
		t.Errorf("%d packets, %d policies refused", looked, refused)
	}
}

// TestHostile: whatever a reason, a program or a host's name is, the file has the same commands
// and no others, each a line that cmd.exe reads as one, and the reason is text.
func TestHostile(t *testing.T) {
	texts := append(policytest.Hostile(),
		"100% & del C:\\ /q | more > x < y ^ ! %PATH% !PATH! %%a", "ends with a backslash\\", "ends with two\\\\", `"`, `""`, `\"`, "a\r\nnetsh advfirewall reset\r\n", "%", "^", "&", "x\x1a y", ") & calc & rem (",
		strings.Repeat("%", 400), strings.Repeat("^\"", 300), "description=x name=all", "|v2.0|Action=Allow|")
	for i, s := range texts {
		p := &policy.Policy{Host: "FS01", Rules: []policy.Rule{
			{ID: "in-1", Action: policy.Accept, Proto: policy.TCP, LocalPorts: []policy.Ports{{From: 445, To: 445}}, Comment: s, Program: s, Service: s},
			{ID: "out-1", Dir: policy.Out, Action: policy.Accept, Proto: policy.UDP, Comment: s},
		}, Notes: []string{s}}
		text := write(t, p, netsh.Options{})
		script := format.ParseCommands(text)
		if len(script.Rules) != 2 || len(script.Odd) != 0 {
			t.Errorf("%d %q: %d rules, odd %q", i, s, len(script.Rules), script.Odd)
			continue
		}
		q := read(t, text)
		if q.Rules[0].ID != "in-1" || q.Rules[1].ID != "out-1" || q.Rules[0].Action != policy.Accept || q.Rules[0].LocalPorts[0].From != 445 {
			t.Errorf("%d %q: %+v", i, s, q.Rules)
		}
		if again := write(t, q, netsh.Options{}); again != text {
			t.Errorf("%d %q: (-first +again):\n%s", i, s, cmp.Diff(text, again))
		}
		plainest := write(t, &policy.Policy{Host: "FS01", Rules: []policy.Rule{
			{ID: "in-1", Action: policy.Accept, Proto: policy.TCP, LocalPorts: []policy.Ports{{From: 445, To: 445}}, Comment: "x"}, {ID: "out-1", Dir: policy.Out, Action: policy.Accept, Proto: policy.UDP},
		}}, netsh.Options{})
		skeleton := func(text string) string {
			text = regexp.MustCompile(` description="\[[a-z0-9-]+\][^"]*"`).ReplaceAllString(text, "")
			text = regexp.MustCompile(` (program|service)="[^"]*"`).ReplaceAllString(text, "")
			text = regexp.MustCompile(`oldguard [0-9a-f]{8}`).ReplaceAllString(text, "")
			return regexp.MustCompile(`(?m)^rem [^\r\n]*\r\n`).ReplaceAllString(text, "")
		}
		if diff := cmp.Diff(skeleton(plainest), skeleton(text)); diff != "" {
			t.Errorf("%d %q changes more than texts:\n%s", i, s, diff)
		}
		wellFormed(t, text)
	}
}

// wellFormed looks at the file as cmd.exe would.
func wellFormed(t *testing.T, text string) {
	t.Helper()
	labels := map[string]int{}
	for line := range strings.SplitSeq(text, "\r\n") {
		if len(line) > 7900 || strings.ContainsAny(line, "\r\n\x00\x1a") || strings.IndexFunc(line, func(r rune) bool { return r > '~' || r < ' ' }) >= 0 {
			t.Errorf("line of %d: %.200q", len(line), line)
		}
		if strings.Count(line, `"`)%2 != 0 {
			t.Errorf("quotation marks: %.200q", line)
		}
		if strings.HasPrefix(line, ":") {
			labels[line]++
		}
		if rest, ok := strings.CutPrefix(line, "rem "); ok && strings.ContainsAny(rest, "&|<>^") && !strings.HasPrefix(rest, "---") {
			t.Errorf("remark %q", line)
		}
		if strings.HasPrefix(line, "netsh advfirewall firewall add rule") {
			// Nothing of the kind %x% is left: each sign of percent but the log's is doubled.
			bare := strings.ReplaceAll(strings.Replace(line, "%OG_LOG%", "", 1), "%%", "")
			if strings.Contains(bare, "%") {
				t.Errorf("a variable: %q", line)
			}
			// Outside quotation marks nothing but words and what is ours.
			out := regexp.MustCompile(`"[^"]*"`).ReplaceAllString(line, "")
			if out = strings.TrimSuffix(out, ` >> 2>&1`); strings.ContainsAny(out, "&|<>^()!;`") {
				t.Errorf("outside quotation marks: %q", out)
			}
		}
	}
	for l, n := range labels {
		if n != 1 {
			t.Errorf("label %s %d times", l, n)
		}
	}
	for _, m := range regexp.MustCompile(`(?:goto|call) (:\w+)`).FindAllStringSubmatch(text, -1) {
		if labels[m[1]] == 0 {
			t.Errorf("there is no label %s", m[1])
		}
	}
}

// aPolicy is one as plan isolate makes it.
func aPolicy() *policy.Policy {
	net := func(list ...string) (out []netip.Prefix) {
		for _, s := range list {
			out = append(out, netip.MustParsePrefix(s))
		}
		return out
	}
	port := func(list ...uint16) (out []policy.Ports) {
		for _, p := range list {
			out = append(out, policy.Ports{From: p, To: p})
		}
		return out
	}
	return &policy.Policy{
		Host: "fs01.corp.example", Own: []netip.Addr{netip.MustParseAddr("192.0.2.10")}, Notes: []string{"Seen for 3 days only."},
		Rules: []policy.Rule{
			{ID: "in-rdp", Action: policy.Accept, Proto: policy.TCP, Remote: net("192.0.2.200/32"), LocalPorts: port(3389), Comment: "management from the jump host only"},
			{ID: "in-smb", Action: policy.Accept, Proto: policy.TCP, Remote: net("198.51.100.0/24", "203.0.113.7/32"), LocalPorts: port(139, 445), Program: "System", Comment: "file shares, 41 clients & 100% of the traffic"},
			{ID: "in-backup", Action: policy.Accept, Proto: policy.TCP, Remote: net("198.51.100.5/32"), LocalPorts: port(10000), Program: `%ProgramFiles%\Backup\agent.exe`, Service: "BackupAgent"},
			{ID: "in-ping", Action: policy.Accept, Proto: policy.ICMP, ICMP: []policy.ICMPType{{Type: 8, Code: -1}, {Type: 3, Code: 4}}},
			{ID: "in-nd", Action: policy.Accept, Proto: policy.ICMPv6, ICMP: []policy.ICMPType{{Type: 135, Code: -1}, {Type: 136, Code: -1}}, Comment: "without it there is no IPv6"},
			{ID: "out-dns", Dir: policy.Out, Action: policy.Accept, Proto: policy.UDP, Remote: net("192.0.2.53/32"), RemotePorts: port(53)},
			{ID: "out-dns6", Dir: policy.Out, Action: policy.Accept, Proto: policy.UDP, Remote: net("2001:db8::53/128"), RemotePorts: port(53)},
			{ID: "out-rpc", Dir: policy.Out, Action: policy.Accept, Proto: policy.TCP, Remote: net("192.0.2.2/31"), RemotePorts: []policy.Ports{{From: 135, To: 135}, {From: 49152, To: 49162}}, Comment: "domain controllers"},
			{ID: "out-gre", Dir: policy.Out, Action: policy.Accept, Proto: 47, Remote: net("203.0.113.9/32")},
		},
	}
}

func TestGolden(t *testing.T) {
	p := aPolicy()
	text := write(t, p, netsh.Options{Version: "6.0", ProductID: "92573-082-2500115-76101", MachineID: "{11111111-2222-3333-4444-555555555555}", Minutes: 15})
	wellFormed(t, text)
	golden.Check(t, filepath.Join("testdata", "fs01.cmd"), []byte(text))
	q := read(t, text)
	if diff := cmp.Diff(p.Rules[:3], q.Rules[:3], cmpopts.IgnoreFields(policy.Rule{}, "At"), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" || q.Host != "FS01" {
		t.Errorf("read back as %q (-want +got):\n%s", q.Host, diff)
	}
	if c := policy.Compare(q, p); len(c.Differences) > 0 || c.Cut != "" {
		t.Errorf("%d differences: %+v", len(c.Differences), c)
	}
}

// TestRanges: Windows 6.0 has no ranges of ports, and no rule has more than a thousand.
func TestRanges(t *testing.T) {
	p := &policy.Policy{Host: "FS01", Rules: []policy.Rule{{ID: "out-rpc", Dir: policy.Out, Action: policy.Accept, Proto: policy.TCP, RemotePorts: []policy.Ports{{From: 49152, To: 65535}}}}}
	for version, want := range map[string]int{"": 18, "6.0": 18, "6.1": 1, "6.3": 1} {
		text := write(t, p, netsh.Options{Version: version})
		wellFormed(t, text)
		script := format.ParseCommands(text)
		if len(script.Rules) != want || version < "6.1" && strings.Contains(text, "49152-") {
			t.Errorf("version %q: %d rules, want %d", version, len(script.Rules), want)
		}
		for _, r := range script.Rules {
			if len(r.RemotePorts) > 1000 {
				t.Errorf("%d ports in one rule", len(r.RemotePorts))
			}
		}
		if c := policy.Compare(read(t, text), p); len(c.Differences) > 0 {
			t.Errorf("version %q: %+v", version, c.Differences)
		}
	}
}

// TestLongLists: tens of thousands of peers are many rules, each of a length that cmd.exe takes.
func TestLongLists(t *testing.T) {
	r := policy.Rule{ID: "in-smb", Action: policy.Accept, Proto: policy.TCP, LocalPorts: []policy.Ports{{From: 445, To: 445}}, Comment: strings.Repeat("long ", 100), Program: `C:\` + strings.Repeat("x", 250) + ".exe", Service: strings.Repeat("s", 200)}
	r6 := r
	r6.ID = "in-smb6"
	for i := range 10_000 {
		r.Remote = append(r.Remote, netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 7), byte(i << 1)}), 32))
		r6.Remote = append(r6.Remote, netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 4: 0xff, 8: 0x12, 13: byte(i >> 7), 15: byte(i << 1)}), 128))
	}
	p := &policy.Policy{Host: "FS01", Rules: []policy.Rule{r, r6}}
	text := write(t, p, netsh.Options{})
	wellFormed(t, text)
	q := read(t, text)
	if len(q.Rules) < 20 || len(q.Rules) > 200 {
		t.Errorf("%d rules", len(q.Rules))
	}
	policytest.Same(t, p, q, policytest.Packets(rand.New(rand.NewPCG(1, 2)), 300, &policy.Policy{Rules: []policy.Rule{{Remote: r.Remote[:50]}, {Remote: r6.Remote[9950:]}}}))
}

func TestWriteRefuses(t *testing.T) {
	tcp := policy.Rule{ID: "a", Action: policy.Accept, Proto: policy.TCP}
	wide := tcp
	wide.LocalPorts, wide.RemotePorts = []policy.Ports{{From: 1, To: 65535}}, []policy.Ports{{From: 1, To: 65534}}
	for _, tt := range []struct {
		name string
		p    policy.Policy
		o    netsh.Options
		want string
	}{
		{"no_host", policy.Policy{}, netsh.Options{}, "does not name the machine"},
		{"host_with_a_command", policy.Policy{Host: "A&calc"}, netsh.Options{}, "not take literally"},
		{"host_with_a_variable", policy.Policy{Host: "%PATH%"}, netsh.Options{}, "not take literally"},
		{"host_not_ascii", policy.Policy{Host: "Bür01"}, netsh.Options{}, "not take literally"},
		{"id_with_a_command", policy.Policy{Host: "A"}, netsh.Options{MachineID: `" & calc & "`}, "not take literally"},
		{"no_policy", policy.Policy{Host: "A", Rules: []policy.Rule{{ID: "a"}, {ID: "a"}}}, netsh.Options{}, "twice"},
		{"too_many", policy.Policy{Host: "A", Rules: []policy.Rule{wide}}, netsh.Options{}, "more than 5000 commands"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := netsh.WriteFor(&b, &tt.p, tt.o); err == nil || !strings.Contains(err.Error(), tt.want) || b.Len() > 0 {
				t.Errorf("%v, %d bytes written; want %q", err, b.Len(), tt.want)
			}
		})
	}
}

// TestOrder: the firewall knows no order, and a policy whose first match counts is written so that
// it means the same without one.
func TestOrder(t *testing.T) {
	net := func(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }
	rules := []policy.Rule{
		{ID: "one", Action: policy.Accept, Proto: policy.TCP, Remote: net("192.0.2.5/32")},
		{ID: "not-the-net", Action: policy.Drop, Proto: policy.TCP, Remote: net("192.0.2.0/24")},
		{ID: "all", Action: policy.Accept, Proto: policy.TCP},
		{ID: "never", Action: policy.Drop, Proto: policy.TCP},
	}
	for _, rest := range []policy.Action{policy.Drop, policy.Accept} {
		p := &policy.Policy{Host: "A", In: rest, Rules: rules}
		q := read(t, write(t, p, netsh.Options{Version: "6.1"}))
		for _, d := range policy.Compare(q, p).Differences {
			if !strings.Contains(d.String(), "::") {
				t.Errorf("in %s: %s", rest, d.String())
			}
		}
	}
}

// TestRead looks at what netsh prints and people write.
func TestRead(t *testing.T) {
	files, err := filepath.Glob("testdata/read/*.txt")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !netsh.Sniff(b) {
				t.Error("not recognised")
			}
			p, err := netsh.Read(string(b), policy.View{File: filepath.Base(file)})
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Check(); err != nil {
				t.Error(err)
			}
			golden.Check(t, strings.TrimSuffix(file, ".txt")+".want", []byte(show(p)))
		})
	}
}

// show writes a policy for people.
func show(p *policy.Policy) string {
	var b strings.Builder
	fmt.Fprintf(&b, "host %q, in %s, out %s, order %d\n", p.Host, p.In, p.Out, p.Order)
	for _, r := range p.Rules {
		fmt.Fprintf(&b, "%s: %s %s %s, local %v %v, remote %v %v", r.ID, r.Dir, r.Action, r.Proto, r.Local, r.LocalPorts, r.Remote, r.RemotePorts)
		for name, v := range map[string]string{"icmp": strings.Trim(fmt.Sprint(r.ICMP), "[]")} {
			if v != "" {
				fmt.Fprintf(&b, ", %s %s", name, v)
			}
		}
		fmt.Fprintf(&b, ", program %q, service %q, at %s, %q\n", r.Program, r.Service, r.At, r.Comment)
		if r.Unsure != "" {
			fmt.Fprintf(&b, "  unsure: %s\n", r.Unsure)
		}
	}
	for _, n := range p.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	return b.String()
}

func TestReadFails(t *testing.T) {
	for _, text := range []string{"", "hello", "*filter\n:INPUT DROP\nCOMMIT\n", "table inet x {\n}\n"} {
		if _, err := netsh.Read(text, policy.View{File: "x"}); err == nil || netsh.Sniff([]byte(text)) {
			t.Errorf("%q was read", text)
		}
	}
}

// TestKnown: who knows the profile and what keywords stand for reads more.
func TestKnown(t *testing.T) {
	rules := []format.Rule{
		{Name: "a", Enabled: format.Yes, Dir: format.In, Action: format.Allow, Protocol: "TCP", Remote: []string{"LocalSubnet", "203.0.113.0/24"}, Profiles: []format.Word{format.Domain}},
		{Name: "b", Enabled: format.Yes, Dir: format.In, Action: format.Allow, Protocol: "UDP", Profiles: []format.Word{format.Public}},
	}
	profiles := []format.Profile{
		{Name: format.Domain, State: format.On, In: format.Block, Out: format.Block},
		{Name: format.Private, State: format.On, In: format.Block, Out: format.Allow},
		{Name: format.Public, State: format.Off, In: format.Block, Out: format.Allow},
	}
	p := netsh.From(rules, profiles, policy.View{File: "f"}, netsh.Known{Profile: format.Domain, Keywords: map[string][]netip.Prefix{"LocalSubnet": {netip.MustParsePrefix("192.0.2.0/24")}}})
	want := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("203.0.113.0/24")}
	if len(p.Rules) != 1 || p.Rules[0].Unsure != "" || !slices.Equal(p.Rules[0].Remote, want) || p.Out != policy.Drop {
		t.Errorf("%+v", p)
	}
	p = netsh.From(rules, profiles, policy.View{File: "f"}, netsh.Known{Profile: format.Public})
	if p.In != policy.Accept || p.Out != policy.Accept || len(p.Rules) != 0 {
		t.Errorf("switched off: %+v", p)
	}
	p = netsh.From(rules, profiles, policy.View{File: "f"}, netsh.Known{})
	if p.In != policy.Drop || p.Out != policy.Drop {
		t.Errorf("%+v", p)
	}
	for _, r := range p.Rules {
		if r.Unsure == "" {
			t.Errorf("sure: %+v", r)
		}
	}
}

// FuzzRead: nothing makes it fail, and what is read is a policy that can be written.
func FuzzRead(f *testing.F) {
	f.Add(write(f, aPolicy(), netsh.Options{}))
	files, err := filepath.Glob("testdata/read/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := netsh.Read(text, policy.View{File: "f"})
		if err != nil {
			return
		}
		if err := p.Check(); err != nil {
			t.Fatal(err)
		}
		p.Host = "FS01"
		var b bytes.Buffer
		if err := netsh.Write(&b, p); errors.Is(err, netsh.ErrNoCommands) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		q := read(t, b.String())
		policytest.Same(t, p, q, onTheWire(policytest.Packets(rand.New(rand.NewPCG(1, 2)), 30, p)))
	})
}

// FuzzWrite: no reason, note, program or service is more than text.
func FuzzWrite(f *testing.F) {
	for _, s := range policytest.Hostile() {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, reason, program string) {
		p := aPolicy()
		p.Rules[0].Comment, p.Rules[1].Program, p.Rules[2].Service, p.Notes = reason, program, program, []string{reason}
		text := write(t, p, netsh.Options{})
		wellFormed(t, text)
		if s := format.ParseCommands(text); len(s.Odd) > 0 || len(s.Rules) != 11 {
			t.Errorf("%d rules, odd %q", len(s.Rules), s.Odd)
		}
	})
}
