package fleet_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/store"
)

// What a server may take on SQLite: 200 machines a second on two processors.
const (
	hostTime     = 10 * time.Millisecond // of one processor, to receive, read, assess and store one machine
	againTime    = 10 * time.Millisecond // likewise to assess one again
	serverMemory = 512 << 20
)

// variant makes the text of one of many machines: they differ in name and in updates.
func variant(t *testing.T, i int) string {
	t.Helper()
	pairs := []string{"FS01", fmt.Sprintf("V%06d", i), "92573-082-2500115-76101", fmt.Sprintf("92573-082-25%05d-76101", i%100_000)}
	for j, kb := range []string{"KB955430", "KB968930", "KB982861", "KB2999226", "KB4474419", "KB4493730", "KB4493471", "KB4507452", "KB4526478", "KB4525234", "KB4530695", "KB4534303"} {
		if i>>j&1 == 1 {
			pairs = append(pairs, kb, fmt.Sprintf("KB30%05d", j))
		}
	}
	return with(t, pairs...)
}

// TestFigures measures a server of its own: machines that are sent one by one, and all
// assessed again because the program is another. With OLDGUARD_BIG=1 the first are 5,000,
// and it goes on to 100,000; else a few show that it works.
func TestFigures(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("measures time")
	}
	first, sizes := 60, []int{60}
	big := os.Getenv("OLDGUARD_BIG") != ""
	if big {
		first, sizes = 5000, []int{5000, 20_000, 100_000}
	}
	dir := t.TempDir()
	// As serve does: what one machine takes is gone soon, and memory has a limit.
	t.Setenv("GOGC", "400")
	t.Setenv("GOMEMLIMIT", "384MiB")
	t.Setenv(programEnv, "0")

	p := run(t, dir)
	begin := time.Now()
	send(t, p, 0, first)
	p.drain(t)
	took := time.Since(begin)
	p.End(t)
	cpu := (p.Cmd.ProcessState.UserTime() + p.Cmd.ProcessState.SystemTime()) / time.Duration(first)
	t.Logf("%d machines sent one by one: read, assessed and stored in %v, %.0f a second; %v of a processor each; %d MiB at most",
		first, took.Round(time.Millisecond), float64(first)/took.Seconds(), cpu.Round(time.Microsecond), peakMemory(p.Cmd.ProcessState)>>20)
	if big && cpu > hostTime {
		t.Errorf("a machine takes %v of a processor, at most %v", cpu, hostTime)
	}
	checkMemory(t, p)

	for i, n := range sizes {
		if i > 0 {
			p = run(t, dir)
			begin = time.Now()
			sendTogether(t, p, sizes[i-1], n)
			p.drain(t)
			took = time.Since(begin)
			p.End(t)
			t.Logf("%d machines sent in archives of %d: %.0f a second; %d MiB at most", n-sizes[i-1], together, float64(n-sizes[i-1])/took.Seconds(), peakMemory(p.Cmd.ProcessState)>>20)
			checkMemory(t, p)
		}
		t.Setenv(programEnv, fmt.Sprint(i+1))
		p = run(t, dir)
		var r fleet.Run
		for r = ask[fleet.Run](t, p, "/run"); r.Done.IsZero() || r.Hosts != n; r = ask[fleet.Run](t, p, "/run") {
			time.Sleep(50 * time.Millisecond)
		}
		p.End(t)
		took = r.Done.Sub(r.Begun)
		cpu = (p.Cmd.ProcessState.UserTime() + p.Cmd.ProcessState.SystemTime()) / time.Duration(n)
		t.Logf("%d machines assessed again in %v, %.0f a second; %v of a processor each; %d MiB at most",
			n, took.Round(time.Millisecond), float64(n)/took.Seconds(), cpu.Round(time.Microsecond), peakMemory(p.Cmd.ProcessState)>>20)
		if big && cpu > againTime {
			t.Errorf("a machine takes %v of a processor, at most %v", cpu, againTime)
		}
		if r.Changed > 0 {
			t.Errorf("%d machines changed, though nothing did", r.Changed)
		}
		checkMemory(t, p)
		saved(t, dir, n)
	}
}

// saved measures a backup, and the way back from it.
func saved(t *testing.T, dir string, machines int) {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "backup.tar.zst"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	begin := time.Now()
	_, end, err := store.Backup(t.Context(), store.Config{Dir: dir}, store.BackupOptions{Now: begin}, file)
	if err != nil || end.Rows["host"] != int64(machines) {
		t.Fatalf("%d machines saved of %d: %v", end.Rows["host"], machines, err)
	}
	size, err := file.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(begin)
	begin = time.Now()
	back := filepath.Join(t.TempDir(), "data")
	if _, _, err = store.Restore(t.Context(), store.Config{Dir: back}, file); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d machines saved in %v, %d KiB, and put back in %v", machines, took.Round(time.Millisecond), size>>10, time.Since(begin).Round(time.Millisecond))
	if err = os.RemoveAll(back); err != nil {
		t.Fatal(err)
	}
}

func checkMemory(t *testing.T, p *process) {
	t.Helper()
	if m := peakMemory(p.Cmd.ProcessState); m > serverMemory {
		t.Errorf("the server held %d MiB, at most %d", m>>20, serverMemory>>20)
	}
}

func post(p *process, name string, body io.Reader) error {
	res, err := http.Post(p.addr+"/evidence?name="+name, "application/octet-stream", body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusAccepted {
		return fmt.Errorf("%s: %s", name, res.Status)
	}
	return nil
}

// send sends machines one by one, four at a time.
func send(t *testing.T, p *process, from, until int) {
	t.Helper()
	var wg sync.WaitGroup
	next := make(chan int)
	for range 4 {
		wg.Go(func() {
			for i := range next {
				if err := post(p, fmt.Sprintf("%d.txt", i), strings.NewReader(variant(t, i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := from; i < until; i++ {
		next <- i
	}
	close(next)
	wg.Wait()
}

// together is how many machines there are in an archive.
const together = 2500

func sendTogether(t *testing.T, p *process, from, until int) {
	t.Helper()
	for ; from < until; from += together {
		var b bytes.Buffer
		err := fleet.Archive(&b, func(yield func(fleet.File, error) bool) {
			for i := from; i < min(until, from+together); i++ {
				yield(fleet.File{Name: fmt.Sprintf("%d/systeminfo.txt", i), Open: func() (io.ReadCloser, error) {
					return io.NopCloser(strings.NewReader(variant(t, i))), nil
				}}, nil)
			}
		})
		if err == nil {
			err = post(p, "many.zip", &b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
