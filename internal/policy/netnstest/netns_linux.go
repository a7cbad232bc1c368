package netnstest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oldguard/oldguard/internal/peer"
)

// NS is a network namespace: that of one thread, which is ended with the test, and the
// namespace with it.
type NS struct {
	t    testing.TB
	work chan func()
	tid  int
}

// New makes a namespace with nothing in it but a loopback that is up. Where the test may not, it
// is skipped with the reason.
func New(t testing.TB) *NS {
	t.Helper()
	n := &NS{t: t, work: make(chan func())}
	failed := make(chan error)
	done := make(chan struct{})
	go func() {
		// Never unlocked: the thread ends with the goroutine.
		runtime.LockOSThread()
		defer close(done)
		n.tid = syscall.Gettid()
		err := syscall.Unshare(syscall.CLONE_NEWNET)
		failed <- err
		if err != nil {
			return
		}
		for f := range n.work {
			f()
		}
	}()
	if err := <-failed; err != nil {
		t.Skipf("needs a network namespace of its own, as root: %v", err)
	}
	t.Cleanup(func() {
		close(n.work)
		<-done
	})
	n.IP("link", "set", "lo", "up")
	return n
}

// Do runs f in the namespace: sockets that it opens stay there. It must not end the test.
func (n *NS) Do(f func()) {
	done := make(chan struct{})
	n.work <- func() {
		defer close(done)
		f()
	}
	<-done
}

// Path names the namespace for other programs.
func (n *NS) Path() string { return fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), n.tid) }

// Try runs a peer in the namespace and gives what it printed.
func (n *NS) Try(stdin, name string, args ...string) (string, error) {
	n.t.Helper()
	path := peer.Need(n.t, name)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	var err error
	n.Do(func() {
		cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // a peer, with what the test says
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &out
		err = cmd.Run()
	})
	return out.String(), err
}

// Run is Try for what has to work.
func (n *NS) Run(stdin, name string, args ...string) string {
	n.t.Helper()
	out, err := n.Try(stdin, name, args...)
	if err != nil {
		n.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// IP runs ip.
func (n *NS) IP(args ...string) {
	n.t.Helper()
	n.Run("", "ip", args...)
}

// Set writes a setting below /proc/sys/net.
func (n *NS) Set(name, value string) {
	n.t.Helper()
	var err error
	n.Do(func() { err = os.WriteFile("/proc/sys/net/"+name, []byte(value), 0o600) })
	if err != nil {
		n.t.Fatal(err)
	}
}
