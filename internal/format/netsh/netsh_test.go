package netsh_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/oldguard/oldguard/internal/format/netsh"
	"github.com/oldguard/oldguard/internal/format/netsh/netshtest"
)

// rules are some of every kind.
func rules() []netsh.Rule {
	const svchost = `C:\Windows\system32\svchost.exe`
	return []netsh.Rule{
		{Name: "Remote Desktop (TCP-In)", Group: "Remote Desktop", Enabled: netsh.Yes, Dir: netsh.In, Action: netsh.Allow, Protocol: "TCP", LocalPorts: []string{"3389"}, Program: "System"},
		{
			Name: "Core: DHCP-In", Enabled: netsh.Yes, Dir: netsh.In, Action: netsh.Allow, Protocol: "UDP", LocalPorts: []string{"68"}, RemotePorts: []string{"67"},
			Program: svchost, Service: "dhcp", Description: "Leases: of addresses",
		},
		{Name: "File sharing", Enabled: netsh.No, Dir: netsh.Out, Action: netsh.Allow, Protocol: "TCP", RemotePorts: []string{"445", "139", "5000-5010"}, Remote: []string{"LocalSubnet", "192.0.2.0/24"}, Profiles: []netsh.Word{netsh.Private, netsh.Public}},
		{Name: "RPC", Enabled: netsh.Yes, Dir: netsh.In, Action: netsh.Allow, Protocol: "TCP", LocalPorts: []string{"RPC", "RPC-EPMap"}, Profiles: []netsh.Word{netsh.Domain}, Service: "*"},
		{Name: "ping", Enabled: netsh.Yes, Dir: netsh.In, Action: netsh.Allow, Protocol: "ICMPv4", ICMP: []netsh.ICMP{{Type: 8, Code: -1}, {Type: 3, Code: 4}}},
		{Name: "ping6", Enabled: netsh.Yes, Dir: netsh.In, Action: netsh.Allow, Protocol: "ICMPv6"},
		{Name: "IGMP", Enabled: netsh.Yes, Dir: netsh.Out, Action: netsh.Allow, Protocol: "2", Local: []string{"192.0.2.1", "2001:db8::/64", "192.0.2.10-192.0.2.20", "198.51.100.0/255.255.255.0"}},
		{Name: "bad: peers", Enabled: netsh.Yes, Dir: netsh.In, Action: netsh.Block, Remote: []string{"203.0.113.7/32"}, Interfaces: []string{"LAN", "RAS"}, Security: "Authenticate"},
		{Name: "program", Enabled: netsh.Yes, Dir: netsh.Out, Action: netsh.Block, Program: `C:\Program Files\a & b\x.exe`},
	}
}

// ignored is what is not compared: where a rule stands, and what is for people.
var ignored = cmpopts.IgnoreFields(netsh.Rule{}, "Line", "Edge", "Source")

// TestLanguages: the same rules in every language are the same rules.
func TestLanguages(t *testing.T) {
	for _, lang := range netshtest.Languages() {
		for _, verbose := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s_verbose_%v", lang, verbose), func(t *testing.T) {
				want := rules()
				for i := range want {
					want[i].Verbose = verbose
					if !verbose {
						want[i].Program, want[i].Service, want[i].Description, want[i].Interfaces, want[i].Security = "", "", "", nil, ""
					}
				}
				got := netsh.Parse(netshtest.Show(lang, rules(), verbose))
				if diff := cmp.Diff(want, got.Rules, ignored, cmpopts.EquateEmpty()); diff != "" || len(got.Unread) > 0 || !got.Ended {
					t.Errorf("ended %v, unread %v (-want +got):\n%s", got.Ended, got.Unread, diff)
				}
			})
		}
	}
}

// TestUnknownLanguage: of a language that nobody knows, addresses, ports, protocols, programs and
// what means any are read all the same, and the words are reported and not guessed.
func TestUnknownLanguage(t *testing.T) {
	want := rules()
	for i := range want {
		r := &want[i]
		r.Verbose = true
		word := map[netsh.Word]string{netsh.Yes: "Jes", netsh.No: "Ne", netsh.In: "Enen", netsh.Out: "Eksteren", netsh.Allow: "Lasu", netsh.Block: "Baru", netsh.Domain: "Domajno", netsh.Private: "Hejma", netsh.Public: "Publika"}
		var places []string
		for _, p := range r.Profiles {
			places = append(places, word[p])
		}
		if len(places) == 0 {
			places = []string{"Domajno", "Hejma", "Publika"}
		}
		r.Odd = []string{"Ebla: " + word[r.Enabled], "Irejo: " + word[r.Dir], "Profiloj: " + strings.Join(places, ","), "Ago: " + word[r.Action]}
		r.Enabled, r.Dir, r.Action, r.Profiles = netsh.Unknown, netsh.Unknown, netsh.Unknown, nil
	}
	got := netsh.Parse(netshtest.Show("xx", rules(), true))
	if diff := cmp.Diff(want, got.Rules, ignored, cmpopts.EquateEmpty()); diff != "" || len(got.Unread) > 0 || !got.Ended {
		t.Errorf("ended %v, unread %v (-want +got):\n%s", got.Ended, got.Unread, diff)
	}
}

// TestProfiles: in every language, and three in the usual order even where the headings say
// nothing.
func TestProfiles(t *testing.T) {
	want := []netsh.Profile{
		{Name: netsh.Domain, State: netsh.On, In: netsh.Block, Out: netsh.Allow, LogDropped: netsh.No, LogAllowed: netsh.No, LogFile: `%systemroot%\system32\LogFiles\Firewall\pfirewall.log`},
		{Name: netsh.Private, State: netsh.Off, In: netsh.Block, NoExceptions: true, Out: netsh.Block, LogDropped: netsh.Yes, LogAllowed: netsh.No},
		{Name: netsh.Public, State: netsh.On, In: netsh.Allow, Out: netsh.Block, LogDropped: netsh.Yes, LogAllowed: netsh.Yes},
	}
	opts := cmp.Options{cmpopts.IgnoreFields(netsh.Profile{}, "Line", "Heading"), cmpopts.EquateEmpty()}
	for _, lang := range netshtest.Languages() {
		t.Run(lang, func(t *testing.T) {
			if diff := cmp.Diff(want, netsh.Parse(netshtest.Profiles(lang, want)).Profiles, opts); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got := netsh.Parse(netshtest.Profiles(lang, want[1:2])).Profiles; len(got) != 1 || got[0].Name != netsh.Private {
				t.Errorf("the current profile alone: %+v", got)
			}
		})
	}
	t.Run("unknown", func(t *testing.T) {
		got := netsh.Parse(netshtest.Profiles("xx", want)).Profiles
		for i := range got {
			if got[i].Name != want[i].Name || got[i].In != want[i].In || got[i].Out != want[i].Out || got[i].State != netsh.Unknown || len(got[i].Odd) == 0 {
				t.Errorf("%+v", got[i])
			}
		}
		if alone := netsh.Parse(netshtest.Profiles("xx", want[1:2])).Profiles; len(got) != 3 || len(alone) != 1 || alone[0].Name != netsh.Unknown {
			t.Errorf("three %+v, alone %+v", got, alone)
		}
	})
}

// TestParse: what is special about a text.
func TestParse(t *testing.T) {
	show := netshtest.Show("en", rules()[:2], true)
	inRule, _, _ := strings.Cut(show, "Security")
	tests := []struct {
		name, text                   string
		rules, unread, odd, profiles int
		ended                        bool
	}{
		{"whole", show, 2, 0, 0, 0, true},
		{"cut_in_a_rule", inRule, 1, 0, 1, 0, false},
		{"cut_before_the_end", strings.TrimSuffix(show, "Ok.\r\n\r\n"), 2, 0, 0, 0, false},
		{"doubled_line_ends", strings.ReplaceAll(show, "\r\n", "\r\r\n"), 2, 0, 0, 0, true},
		{"no_trailing_spaces", strings.ReplaceAll(show, "Grouping:                             \r\n", "Grouping:\r\n"), 2, 0, 0, 0, true},
		{"prompt_before", "C:\\>netsh advfirewall firewall show rule name=all verbose\r\n" + show, 2, 0, 0, 0, true},
		{"no_match", "\r\nNo rules match the specified criteria.\r\n\r\n", 0, 0, 0, 0, false},
		{"empty", "", 0, 0, 0, 0, false},
		{"a_field_is_missing", strings.Replace(show, "Protocol:                             UDP\r\n", "", 1), 1, 1, 0, 0, true},
		{"a_word_is_missing", strings.Replace(show, "Enabled:                              Yes", "Enabled:", 1), 2, 0, 1, 0, true},
		{"description_with_labels", strings.Replace(show, "Leases: of addresses", "x\r\nAction:   Block\r\nProtocol:    TCP\r\nEnabled:   No", 1), 2, 0, 0, 0, true},
		{"rules_and_profiles", show + netshtest.Profiles("en", []netsh.Profile{{Name: netsh.Domain, State: netsh.On, In: netsh.Block, Out: netsh.Allow}}), 2, 0, 0, 1, true},
		{"markdown_table", "Name: x\n--------------------------------\na: b\nc: d\n", 0, 1, 0, 0, false},
		{"bad_address", strings.Replace(show, "RemoteIP:                             Any", "RemoteIP:                             192.0.2.0/33", 1), 2, 0, 1, 0, true},
		{"range_backwards", strings.Replace(show, "RemoteIP:                             Any", "RemoteIP:                             192.0.2.9-192.0.2.1", 1), 2, 0, 1, 0, true},
		{"bad_port", strings.Replace(show, "3389", "3389,65536", 1), 2, 0, 1, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out := netsh.Parse(tt.text)
			odd := 0
			for _, r := range out.Rules {
				odd += len(r.Odd)
			}
			if len(out.Rules) != tt.rules || len(out.Unread) != tt.unread || odd < tt.odd || odd > 2*tt.odd || len(out.Profiles) != tt.profiles || out.Ended != tt.ended {
				t.Errorf("%d rules, %d unread, %d odd, %d profiles, ended %v; want %+v\n%+v", len(out.Rules), len(out.Unread), odd, len(out.Profiles), out.Ended, tt, out)
			}
		})
	}
}

// TestSeen: samples as others have seen them, that no printer of ours made: labels of
// another width, and a rule of Windows 11 with what it had not before.
func TestSeen(t *testing.T) {
	const text = `
Regelname:                               VagrantWinNFSd-1.4.0
----------------------------------------------------------------------
Aktiviert:                               Ja
Richtung:                                Eingehend
Profile:                                 Domäne,Privat,Öffentlich
Gruppierung:
Lokales IP:                              Beliebig
Remote-IP:                               Beliebig
Protokoll:                               Beliebig
Edgeausnahme:                            Nein
Aktion:                                  Zulassen

Nombre de regla:                      Bloquear HTTP
----------------------------------------------------------------------
Habilitada:                           Sí
Dirección:                            Fuera
Perfiles:                             Dominio,Privada,Pública
Agrupamiento:
LocalIP:                              Cualquiera
RemoteIP:                             Cualquiera
Protocolo:                            TCP
LocalPort:                            Cualquiera
RemotePort:                           80
Cruce seguro del perímetro:          No
Acción:                               Bloquear
`
	// Two languages never come in one text: each is read for itself.
	german, spanish, _ := strings.Cut(text, "\nNombre")
	got := slices.Concat(netsh.Parse(german).Rules, netsh.Parse("Nombre"+spanish).Rules)
	want := []netsh.Rule{
		{Name: "VagrantWinNFSd-1.4.0", Enabled: netsh.Yes, Dir: netsh.In, Action: netsh.Allow},
		{Name: "Bloquear HTTP", Enabled: netsh.Yes, Dir: netsh.Out, Action: netsh.Block, Protocol: "TCP", RemotePorts: []string{"80"}},
	}
	if diff := cmp.Diff(want, got, ignored, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestOld: netsh firewall tells the state of two profiles, and how much is open.
func TestOld(t *testing.T) {
	const config = `
Domain profile configuration:
-------------------------------------------------------------------
Operational mode                  = Enable
Exception mode                    = Enable
Multicast/broadcast response mode = Enable
Notification mode                 = Disable

Service configuration for Domain profile:
Mode     Customized  Name
-------------------------------------------------------------------
Enable   No          Remote Desktop

Allowed programs configuration for Domain profile:
Mode     Traffic direction    Name / Program
-------------------------------------------------------------------
Enable   Inbound              Web server / C:\apps\httpd.exe
Disable  Inbound              Old / C:\apps\old.exe

Port configuration for Domain profile:
Port   Protocol  Mode    Traffic direction     Name
-------------------------------------------------------------------
8500   TCP       Enable  Inbound               CF
8501   TCP       Disable Inbound               off

Standard profile configuration (current):
-------------------------------------------------------------------
Operational mode                  = Disable
Exception mode                    = Enable
`
	const state = `
Firewall status:
-------------------------------------------------------------------
Profile                           = Standard
Operational mode                  = Enable
Exception mode                    = Enable

Ports currently open on all network interfaces:
Port   Protocol  Version  Program
-------------------------------------------------------------------
22     TCP       Any      (null)
2222   TCP       Any      (null)
`
	for _, tt := range []struct {
		name, text string
		opened     int
		want       map[netsh.Word]netsh.Word
	}{
		{"config", config, 2, map[netsh.Word]netsh.Word{netsh.Domain: netsh.On, netsh.Private: netsh.Off}},
		{"state", state, 2, map[netsh.Word]netsh.Word{netsh.Private: netsh.On}},
		{"nothing_of_it", "Results\n-----------------------\nmode = Enable\n80  TCP  Enable\n", 0, map[netsh.Word]netsh.Word{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := netsh.Parse(tt.text)
			got := map[netsh.Word]netsh.Word{}
			for _, p := range out.Profiles {
				got[p.Name] = p.State
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || out.Opened != tt.opened {
				t.Errorf("%d opened, want %d; profiles (-want +got):\n%s", out.Opened, tt.opened, diff)
			}
		})
	}
}

func TestCommands(t *testing.T) {
	const before = "netsh advfirewall firewall add rule name=\"a\" dir=in action=allow protocol=tcp localport=80\n"
	for _, tt := range []struct {
		name, text string
		want       []netsh.Rule
		off        bool
		odd        string // part of the first; empty for none
	}{
		{
			"all_arguments",
			`@NETSH.exe advfirewall firewall add rule name = "Web & more" dir=in action=allow enable=yes profile=domain,private protocol=TCP localip=192.0.2.1 remoteip=192.0.2.0/24,LocalSubnet localport=80,443,5000-5010 remoteport=any program="%%SystemRoot%%\x y.exe" service=w3svc interfacetype=lan description="a ""b""" security=authenticate edge=no >> "log file.txt" 2>&1 || goto :failed`,
			[]netsh.Rule{{
				Name: "Web & more", Enabled: netsh.Yes, Dir: netsh.In, Action: netsh.Allow, Profiles: []netsh.Word{netsh.Domain, netsh.Private}, Protocol: "TCP", Local: []string{"192.0.2.1"},
				Remote: []string{"192.0.2.0/24", "LocalSubnet"}, LocalPorts: []string{"80", "443", "5000-5010"}, Program: `%SystemRoot%\x y.exe`, Service: "w3svc", Interfaces: []string{"LAN"},
				Description: "a b", Security: "Authenticate",
			}},
			false, "",
		},
		{"continued", "netsh advfirewall firewall add rule ^\n name=a dir=out ^\n action=block", []netsh.Rule{{Name: "a", Enabled: netsh.Yes, Dir: netsh.Out, Action: netsh.Block}}, false, ""},
		{"icmp", "netsh advfirewall firewall add rule name=p dir=in action=allow protocol=icmpv4:8,any", []netsh.Rule{{Name: "p", Enabled: netsh.Yes, Dir: netsh.In, Action: netsh.Allow, Protocol: "ICMPv4", ICMP: []netsh.ICMP{{Type: 8, Code: -1}}}}, false, ""},
		{"icmp_code", "netsh advfirewall firewall add rule name=p dir=in action=allow protocol=icmpv6:1,3", []netsh.Rule{{Name: "p", Enabled: netsh.Yes, Dir: netsh.In, Action: netsh.Allow, Protocol: "ICMPv6", ICMP: []netsh.ICMP{{Type: 1, Code: 3}}}}, false, ""},
		{"two_in_a_line", before[:len(before)-1] + " & " + before, []netsh.Rule{tcp80("a"), tcp80("a")}, false, ""},
		{"disabled_at_last", before + "netsh advfirewall firewall set rule name=all new enable=no", []netsh.Rule{disabled(tcp80("a"))}, true, ""},
		{"disabled_at_first", "netsh advfirewall firewall set rule name=all new enable=no\n" + before, []netsh.Rule{tcp80("a")}, true, ""},
		{"all_without_name", "netsh advfirewall firewall set rule all new enable=no\n" + before, []netsh.Rule{tcp80("a")}, true, ""},
		{"disabled_and_enabled", before + "netsh advfirewall firewall set rule name=all new enable=no\nnetsh advfirewall firewall set rule name=a new enable=yes", []netsh.Rule{tcp80("a")}, true, ""},
		{"deleted", before + "netsh advfirewall firewall delete rule name=a", nil, false, ""},
		{"deleted_all", before + "netsh advfirewall firewall delete rule name=all", nil, true, ""},
		{"only_one_direction", before + "netsh advfirewall firewall delete rule name=all dir=out", []netsh.Rule{tcp80("a")}, false, ""},
		{"comments", "rem netsh advfirewall reset\n:: netsh advfirewall reset\necho netsh advfirewall reset\n" + before, []netsh.Rule{tcp80("a")}, false, ""},
		{"between_marks", "netsh advfirewall reset\n" + netsh.Begin + "\n" + before + netsh.End + "\nnetsh advfirewall import x.wfw", []netsh.Rule{tcp80("a")}, false, ""},
		{"import", before + "netsh advfirewall import x.wfw", []netsh.Rule{tcp80("a")}, false, "line 2: not understood: import x.wfw"},
		{"condition", "if exist x netsh advfirewall firewall delete rule name=all", nil, false, "depends on something"},
		{"group", `netsh advfirewall firewall set rule group="Remote Desktop" new enable=yes`, nil, false, "which rules"},
		{"variable", "netsh advfirewall firewall add rule name=a dir=in action=allow remoteip=%PEER%", []netsh.Rule{{Name: "a", Enabled: netsh.Yes, Dir: netsh.In, Action: netsh.Allow, Odd: []string{"remoteip: %PEER%"}}}, false, ""},
		{"short_names", "netsh advfirewall firewall add rule na=a di=in ac=block", []netsh.Rule{{Name: "a", Enabled: netsh.Yes, Dir: netsh.In, Action: netsh.Block}}, false, ""},
		{"ambiguous_name", "netsh advfirewall firewall add rule name=a dir=in action=block local=1", nil, false, "an argument of that name"},
		{"of_another_kind", "netsh interface show interface\ncurl http://example.com\n", nil, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := netsh.ParseCommands(tt.text)
			for i := range tt.want {
				tt.want[i].Verbose = true
			}
			if diff := cmp.Diff(tt.want, s.Rules, ignored, cmpopts.EquateEmpty()); diff != "" || s.OthersOff != tt.off {
				t.Errorf("others off %v (-want +got):\n%s", s.OthersOff, diff)
			}
			if (tt.odd == "") != (len(s.Odd) == 0) || tt.odd != "" && !strings.Contains(s.Odd[0], tt.odd) {
				t.Errorf("odd %q, want %q", s.Odd, tt.odd)
			}
		})
	}
}

func tcp80(name string) netsh.Rule {
	return netsh.Rule{Name: name, Enabled: netsh.Yes, Dir: netsh.In, Action: netsh.Allow, Protocol: "TCP", LocalPorts: []string{"80"}}
}

func disabled(r netsh.Rule) netsh.Rule {
	r.Enabled = netsh.No
	return r
}

func TestCommandsOfProfiles(t *testing.T) {
	s := netsh.ParseCommands(`netsh advfirewall set allprofiles state on
netsh advfirewall set allprofiles firewallpolicy blockinbound,blockoutbound
netsh advfirewall set publicprofile firewallpolicy blockinboundalways,allowoutbound
netsh advfirewall set domainprofile logging droppedconnections enable
netsh advfirewall set currentprofile state off
`)
	want := []netsh.Profile{
		{Line: 1, Name: netsh.Domain, State: netsh.On, In: netsh.Block, Out: netsh.Block, LogDropped: netsh.Yes},
		{Line: 1, Name: netsh.Private, State: netsh.On, In: netsh.Block, Out: netsh.Block},
		{Line: 1, Name: netsh.Public, State: netsh.On, In: netsh.Block, NoExceptions: true, Out: netsh.Allow},
	}
	if diff := cmp.Diff(want, s.Profiles); diff != "" || len(s.Odd) != 1 || !strings.Contains(s.Odd[0], "currentprofile") {
		t.Errorf("odd %q (-want +got):\n%s", s.Odd, diff)
	}
}

func seeds(f *testing.F) {
	for _, lang := range append(netshtest.Languages(), "xx") {
		f.Add(netshtest.Show(lang, rules(), true) + netshtest.Profiles(lang, []netsh.Profile{{Name: netsh.Domain, State: netsh.On, In: netsh.Block, Out: netsh.Allow}}))
	}
	f.Add("Standard profile configuration:\n--------------------\nmode = Enable\n8500  TCP  Enable\n")
}

// FuzzParse: no text makes it fail, take long or say what is not there.
func FuzzParse(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, text string) {
		out := netsh.Parse(text)
		for _, r := range out.Rules {
			if r.Line < 1 || r.Line > strings.Count(text, "\n")+1 {
				t.Errorf("line %d", r.Line)
			}
			for _, p := range append(r.LocalPorts, r.RemotePorts...) {
				if !strings.Contains(text, p) {
					t.Errorf("port %q is not in the text", p)
				}
			}
			for _, a := range append(r.Local, r.Remote...) {
				if !strings.Contains(text, a) {
					t.Errorf("address %q is not in the text", a)
				}
			}
		}
	})
}

// FuzzCommands: likewise.
func FuzzCommands(f *testing.F) {
	f.Add("netsh advfirewall firewall add rule name=\"a\" dir=in action=allow protocol=tcp localport=80 >x 2>&1 || goto :y\nnetsh advfirewall firewall set rule name=all new enable=no\n")
	f.Add("netsh advfirewall set allprofiles firewallpolicy blockinbound,blockoutbound & netsh advfirewall firewall delete rule all")
	f.Fuzz(func(t *testing.T, text string) {
		s := netsh.ParseCommands(text)
		if s.Commands > strings.Count(strings.ToLower(text), "netsh") {
			t.Errorf("%d commands in %q", s.Commands, text)
		}
	})
}
