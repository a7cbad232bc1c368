package pcap_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/format/pcap"
	"github.com/oldguard/oldguard/internal/format/pcap/pcaptest"
	"github.com/oldguard/oldguard/internal/peer"
)

// tshark gives time, captured and full length of the packets of a file as Wireshark reads them.
func tshark(t *testing.T, file string) (lines []string) {
	t.Helper()
	cmd := exec.Command(peer.Need(t, "tshark"), "-n", "-r", file, "-T", "fields", "-e", "frame.time_epoch", "-e", "frame.cap_len", "-e", "frame.len")
	cmd.Env = append(os.Environ(), "TZ=UTC")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

func ours(t *testing.T, file string) (lines []string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r, err := pcap.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatalf("%s: %v", filepath.Base(file), err)
	}
	var p pcap.Packet
	for {
		err := r.Next(&p)
		if errors.Is(err, io.EOF) {
			return lines
		}
		if err != nil {
			t.Fatalf("%s: %v", filepath.Base(file), err)
		}
		at := ""
		if p.Time != 0 {
			at = fmt.Sprintf("%d.%09d", p.Time/1e9, p.Time%1e9)
		}
		lines = append(lines, fmt.Sprintf("%s\t%d\t%d", at, len(p.Data), p.Length))
	}
}

// TestPeerReadsTheSame compares what we read in our files, and in what editcap makes of them,
// with what tshark reads there.
func TestPeerReadsTheSame(t *testing.T) {
	editcap := peer.Need(t, "editcap")
	dir := t.TempDir()
	var files []string
	write := func(name string, b []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
		return file
	}
	for name, b := range map[string][]byte{
		"pcap_modified":   pcaptest.Pcap{Modified: true, Big: true, Packets: packets()}.Bytes(),
		"pcapng_big_nano": ng(true, 9, 1e9),
		"netmon_2":        pcaptest.Netmon{Major: 2, Medium: 1, Start: start, Packets: packets(), Backwards: true}.Bytes(),
		"netmon_3":        pcaptest.Netmon{Major: 2, Minor: 3, Medium: 1, Start: start, Packets: packets()}.Bytes(),
	} {
		write(name, b)
	}
	many := make([]pcaptest.Packet, 500)
	for i := range many {
		many[i] = packets()[i%3]
		many[i].At = many[i].At.Add(1e6 * 7 * 1e3)
	}
	whole := write("many", pcaptest.Pcap{Nano: true, Packets: many}.Bytes())
	for _, format := range []string{"nsecpcap", "pcapng", "netmon1", "netmon2"} {
		file := filepath.Join(dir, "editcap_"+format)
		cmd := exec.Command(editcap, "-F", format, whole, file)
		cmd.Env = append(os.Environ(), "TZ=UTC") // Network Monitor's times are local
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("editcap -F %s: %v\n%s", format, err, out)
		}
		files = append(files, file)
	}
	slices.Sort(files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tshark(t, file), ours(t, file)); diff != "" {
				t.Errorf("-tshark +ours:\n%s", diff)
			}
		})
	}
}
