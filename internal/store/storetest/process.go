package storetest

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"testing"
)

// Process is the program of a test that runs once more, as a server of its own that may be
// killed. It ends when its standard input does.
type Process struct {
	Cmd   *exec.Cmd
	First string        // the first line that it printed: it is ready
	Lines <-chan string // those after it; closed at its end
	in    io.WriteCloser
	log   bytes.Buffer
}

// Start starts one with variables of the environment, NAME=VALUE, by which TestMain knows
// what it is. It is killed at the end of the test if it has not ended.
func Start(t testing.TB, env ...string) *Process {
	t.Helper()
	p := &Process{Cmd: exec.Command(os.Args[0], "-test.run=^$")} // #nosec G204 G702 -- this program
	p.Cmd.Env = append(os.Environ(), env...)
	p.Cmd.Stderr = &p.log
	var err error
	if p.in, err = p.Cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.Cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err = p.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		p.Kill()
		t.Fatalf("the server did not start: %s", p.log.String())
	}
	p.First = lines.Text()
	rest := make(chan string, 2)
	p.Lines = rest
	go func() {
		defer close(rest)
		for lines.Scan() {
			rest <- lines.Text()
		}
	}()
	return p
}

// Kill kills it, which is harmless if it has ended.
func (p *Process) Kill() {
	_ = p.Cmd.Process.Kill() // it may have ended
	_ = p.Cmd.Wait()         // as it was killed
}

// End has it end in order.
func (p *Process) End(t testing.TB) {
	t.Helper()
	err := p.in.Close()
	if failed := p.Cmd.Wait(); failed != nil || err != nil {
		t.Errorf("the server ended with %v, %v\n%s", failed, err, p.log.String())
	}
}
