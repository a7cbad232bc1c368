//nolint:gosec // addresses, ports and lengths here are made by the test itself
package prooftest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/oldguard/oldguard/internal/policy"
	"github.com/oldguard/oldguard/internal/policy/netnstest"
)

const (
	patience   = 3 * time.Second        // for what is to work
	impatience = 250 * time.Millisecond // for what is not to
	words      = "oldguard asks"
)

// conversation is two sockets that talk.
type conversation struct {
	conn  net.Conn // of who asked
	stop  []io.Closer
	err   error
	ended chan struct{} // closed when the other side is done
}

func (c *conversation) close() {
	if t, ok := c.conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // leaves no address waiting
	}
	if c.conn != nil {
		_ = c.conn.Close()
	}
	for _, s := range c.stop {
		_ = s.Close()
	}
	if c.ended != nil {
		<-c.ended
	}
}

// again asks once more, and waits for the echo.
func (c *conversation) again() error {
	if c.conn == nil {
		return errors.New("there was no conversation")
	}
	if err := c.conn.SetDeadline(deadline()); err != nil {
		return err
	}
	if _, err := c.conn.Write([]byte(words)); err != nil {
		return err
	}
	b := make([]byte, len(words))
	if _, err := io.ReadFull(c.conn, b); err != nil {
		return err
	}
	if string(b) != words {
		return fmt.Errorf("answered %q", b)
	}
	return nil
}

func deadline() time.Time { return time.Now().Add(patience) } //nolint:forbidigo // sockets want a time

// converse has the packet begin a conversation, and the other side echo.
func converse(from, to *netnstest.NS, k policy.Packet) (c *conversation) {
	c = &conversation{}
	client, server := netip.AddrPortFrom(k.Remote, k.RemotePort), netip.AddrPortFrom(k.Local, k.LocalPort)
	if k.Dir == policy.Out {
		client, server = server, client
	}
	switch k.Proto {
	case policy.TCP:
		c.tcp(from, to, client, server, patience)
	case policy.UDP:
		c.udp(from, to, client, server)
	default:
		c.err = ping(from, client.Addr(), server.Addr(), k)
	}
	return c
}

func (c *conversation) tcp(from, to *netnstest.NS, client, server netip.AddrPort, wait time.Duration) {
	var l *net.TCPListener
	to.Do(func() { l, c.err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(server)) })
	if c.err != nil {
		return
	}
	c.stop = append(c.stop, l)
	c.ended = make(chan struct{})
	go func() {
		defer close(c.ended)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close() //nolint:errcheck // it only echoes
		_, _ = io.Copy(conn, conn)
	}()
	d := net.Dialer{Timeout: wait, LocalAddr: net.TCPAddrFromAddrPort(client), Control: reuse}
	from.Do(func() { c.conn, c.err = d.Dial("tcp", server.String()) })
	if c.err == nil {
		c.err = c.again()
	}
}

func (c *conversation) udp(from, to *netnstest.NS, client, server netip.AddrPort) {
	var l *net.UDPConn
	to.Do(func() { l, c.err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(server)) })
	if c.err != nil {
		return
	}
	c.stop = append(c.stop, l)
	c.ended = make(chan struct{})
	go func() {
		defer close(c.ended)
		b := make([]byte, 1500)
		for {
			n, who, err := l.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = l.WriteToUDPAddrPort(b[:n], who)
		}
	}()
	d := net.Dialer{Timeout: patience, LocalAddr: net.UDPAddrFromAddrPort(client), Control: reuse}
	from.Do(func() { c.conn, c.err = d.Dial("udp", server.String()) })
	if c.err == nil {
		c.err = c.again()
	}
}

// reuse lets a client have a port that another had just before.
func reuse(_, _ string, raw syscall.RawConn) error {
	var err error
	return errors.Join(raw.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	}), err)
}

// ping sends an echo request, which the other side's system answers.
func ping(from *netnstest.NS, client, server netip.Addr, k policy.Packet) error {
	network, answer := "ip4:icmp", byte(0)
	if k.Proto == policy.ICMPv6 {
		network, answer = "ip6:ipv6-icmp", 129
	}
	var conn *net.IPConn
	var err error
	from.Do(func() {
		conn, err = net.DialIP(network, &net.IPAddr{IP: client.AsSlice()}, &net.IPAddr{IP: server.AsSlice()})
	})
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // it only pings
	message := append([]byte{k.Type, k.Code, 0, 0, 0x6f, 0x6c, 0, 1}, words...)
	if k.Proto == policy.ICMP { // the system adds that of ICMPv6
		sum := checksum(add(0, message))
		message[2], message[3] = byte(sum>>8), byte(sum)
	}
	if err := conn.SetDeadline(deadline()); err != nil {
		return err
	}
	if _, err := conn.Write(message); err != nil {
		return err
	}
	b := make([]byte, 1500)
	for {
		n, _, err := conn.ReadFrom(b)
		if err != nil {
			return err
		}
		if n >= 8 && b[0] == answer && bytes.HasSuffix(b[:n], []byte(words)) {
			return nil
		}
	}
}
