package nftables_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/oldguard/oldguard/internal/peer"
	"github.com/oldguard/oldguard/internal/policy"
	"github.com/oldguard/oldguard/internal/policy/netnstest"
	"github.com/oldguard/oldguard/internal/policy/nftables"
)

// TestPeerBridge: on a bridge that hands packets on, as the head of the file says, the rules do with real
// sockets what they do on a router; and nothing before it does.
func TestPeerBridge(t *testing.T) {
	peer.Need(t, "nft")
	a := netip.MustParseAddr
	own, friend, stranger := a("192.0.2.17"), a("192.0.2.51"), a("192.0.2.99")
	p := &policy.Policy{Host: "FS01", Own: []netip.Addr{own}, Rules: []policy.Rule{{
		ID: "in-smb", Dir: policy.In, Action: policy.Accept, Proto: policy.TCP,
		Local: []netip.Prefix{netip.PrefixFrom(own, 32)}, Remote: []netip.Prefix{netip.PrefixFrom(friend, 32)}, LocalPorts: []policy.Ports{{From: 445, To: 445}},
	}}}
	var file strings.Builder
	if err := nftables.Write(&file, p); err != nil {
		t.Fatal(err)
	}
	command := ""
	for line := range strings.Lines(file.String()) {
		if text, ok := strings.CutPrefix(line, "# ip link set BRIDGE "); ok {
			command, _, _ = strings.Cut(text, " (")
		}
	}
	if command == "" {
		t.Fatal("the file does not say what the bridge needs")
	}
	bridge, machine, others := netnstest.New(t), netnstest.New(t), netnstest.New(t)
	bridge.IP("link", "add", "br0", "type", "bridge", "forward_delay", "0")
	for name, ns := range map[string]*netnstest.NS{"machine": machine, "others": others} {
		bridge.IP("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", ns.Path())
		bridge.IP("link", "set", name, "master", "br0", "up")
		ns.IP("link", "set", "eth0", "up")
	}
	bridge.IP("link", "set", "br0", "up")
	machine.IP("addr", "add", own.String()+"/24", "dev", "eth0")
	for _, x := range []netip.Addr{friend, stranger} {
		others.IP("addr", "add", x.String()+"/24", "dev", "eth0")
	}
	for _, port := range []uint16{445, 8080} {
		var l net.Listener
		var err error
		machine.Do(func() { l, err = net.Listen("tcp", netip.AddrPortFrom(own, port).String()) })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
	}
	passes := func(from netip.Addr, port uint16) (ok bool) {
		t.Helper()
		var err error
		others.Do(func() {
			d := net.Dialer{Timeout: 700 * time.Millisecond, LocalAddr: &net.TCPAddr{IP: from.AsSlice()}}
			var c net.Conn
			if c, err = d.Dial("tcp", netip.AddrPortFrom(own, port).String()); err == nil {
				_ = c.Close()
			}
		})
		if late := net.Error(nil); err != nil && (!errors.As(err, &late) || !late.Timeout()) {
			t.Fatal(err)
		}
		return err == nil
	}
	for _, name := range []string{"bridge-nf-call-iptables", "bridge-nf-call-ip6tables"} {
		if _, err := os.Stat("/proc/sys/net/bridge/" + name); err != nil {
			t.Skipf("this kernel's bridge hands nothing on: %v", err)
		}
		bridge.Set("bridge/"+name, "0") // or each bridge of the namespace does
	}
	bridge.Run(file.String(), "nft", "-f", "-")
	if !passes(stranger, 8080) {
		t.Fatal("the bridge passes nothing, or filters before it was told to")
	}
	bridge.IP(append([]string{"link", "set", "br0"}, strings.Fields(command)...)...)
	for _, tc := range []struct {
		from netip.Addr
		port uint16
		want bool
	}{{friend, 445, true}, {friend, 8080, false}, {stranger, 445, false}} {
		if got := passes(tc.from, tc.port); got != tc.want {
			t.Errorf("%s to port %d passes: %v, want %v", tc.from, tc.port, got, tc.want)
		}
	}
}
