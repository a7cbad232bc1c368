package capture_test

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/bundle"
	"github.com/oldguard/oldguard/internal/evidence/capture"
	"github.com/oldguard/oldguard/internal/format/pcap/pcaptest"
	"github.com/oldguard/oldguard/internal/host"
)

// files cuts a capture into a series: a new file after each so many packets.
func (c *tape) files(each int, name func(i int) string) fstest.MapFS {
	out := fstest.MapFS{}
	i := 0
	for part := range slices.Chunk(c.packets, each) {
		out[name(i)] = &fstest.MapFile{Data: pcaptest.Pcap{Packets: part}.Bytes()}
		i++
	}
	return out
}

// readAll reads a folder, and takes all of it for one machine's. That none is named is no gap here.
func readAll(t *testing.T, tree fstest.MapFS) *host.Host {
	t.Helper()
	all := new(host.Host)
	for h, err := range evidence.Read(context.Background(), []evidence.Reader{capture.Reader, bundle.Reader}, []evidence.Input{{Name: "captures", Tree: tree}}, evidence.Options{}) {
		if err != nil {
			t.Fatal(err)
		}
		all.Merge(h)
	}
	all.Gaps = slices.DeleteFunc(all.Gaps, func(g host.Gap) bool { return g.What == "machine" })
	return all
}

// highPorts is a connection whose ports do not tell who serves, beside others: what of it is in a later file
// would be taken for the other way round.
func highPorts() *tape {
	c := new(tape)
	const client, server = "192.0.2.20:50000", "192.0.2.11:60001"
	c.tcp(client, server, syn, 1).tcp(server, client, syn|ack, 1).tcp(client, server, ack, 2)
	for i := range 12 {
		c.tcp(server, client, psh|ack, 2, make([]byte, 100)...).tcp(client, server, ack, 2)
		c.connect(fmt.Sprintf("192.0.2.21:%d", 51000+i), "192.0.2.11:445", 10)
	}
	return c.tcp(client, server, fin|ack, 2).tcp(server, client, fin|ack, 2).tcp(client, server, ack, 3)
}

// TestSeries: a capture in many files is what it would be in one, whatever the files are called.
func TestSeries(t *testing.T) {
	c := highPorts()
	want := talks(read(t, c.pcap()))
	for name, call := range map[string]func(i int) string{
		"tcpdump": func(i int) string {
			if i == 0 {
				return "fs01.pcap"
			}
			return fmt.Sprintf("fs01.pcap%d", i)
		},
		"tcpdump_ring": func(i int) string { return fmt.Sprintf("fs01.pcap%02d", (i+3)%20) }, // it has begun anew
		"dumpcap":      func(i int) string { return fmt.Sprintf("fs01_%05d_202611020815%02d.pcapng", i+1, 30+i) },
		"nmcap": func(i int) string {
			if i == 0 {
				return "fs01.cap"
			}
			return fmt.Sprintf("fs01(%d).cap", i)
		},
	} {
		t.Run(name, func(t *testing.T) {
			tree := c.files(7, call)
			h := readAll(t, tree)
			if diff := cmp.Diff(want, talks(h)); diff != "" {
				t.Errorf("(-one file +series):\n%s", diff)
			}
			says := fmt.Sprintf("These are %d files that follow one another, %s to %s, read as one capture.", len(tree), call(0), call(len(tree)-1))
			if len(h.Watches) != 1 || h.Watches[0].Records != uint64(len(c.packets)) || !slices.Contains(h.Watches[0].Limits, says) {
				t.Errorf("watches %+v", h.Watches)
			}
			for _, talk := range h.Traffic.All() {
				if at := talk.Seen[0].From; at.Input != "captures/"+call(0) || talk.Port == 445 && at.At != "packet 6" {
					t.Errorf("%v is seen first at %v", talk.Talk, at)
				}
			}
		})
	}
}

// TestSeriesInAnArchive: a ZIP archive holds a series as a folder does.
func TestSeriesInAnArchive(t *testing.T) {
	c := highPorts()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, f := range c.files(20, func(i int) string { return fmt.Sprintf("day/fs01_%05d.pcap", i) }) {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write(f.Data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	h := readAll(t, fstest.MapFS{"captures.zip": {Data: b.Bytes()}})
	if diff := cmp.Diff(talks(read(t, c.pcap())), talks(h)); diff != "" {
		t.Errorf("(-one file +series):\n%s", diff)
	}
}

// TestNoSeries: captures of the same time or with other names are not one after the other, one that is damaged
// hides no other, and a pause between two is said.
func TestNoSeries(t *testing.T) {
	c := highPorts()
	half := len(c.packets) / 2
	first, second := pcaptest.Pcap{Packets: c.packets[:half]}.Bytes(), pcaptest.Pcap{Packets: c.packets[half:]}.Bytes()
	later := slices.Clone(c.packets[half:])
	for i := range later {
		later[i].At = later[i].At.Add(5 * time.Hour)
	}
	for _, tc := range []struct {
		name    string
		tree    fstest.MapFS
		watches int
		says    string
		gaps    int
	}{
		{"same_time", fstest.MapFS{"a1.pcap": {Data: first}, "a2.pcap": {Data: first}}, 2, "", 0},
		{"other_names", fstest.MapFS{"a.pcap": {Data: first}, "b.pcap": {Data: second}}, 2, "", 0},
		{"pause", fstest.MapFS{"a1.pcap": {Data: first}, "a2.pcap": {Data: pcaptest.Pcap{Packets: later}.Bytes()}}, 1, "Between a1.pcap and a2.pcap nothing was captured for 5 hours: whether anybody was listening, they do not tell.", 0},
		{"cut", fstest.MapFS{"a1.pcap": {Data: first[:len(first)-5]}, "a2.pcap": {Data: second}}, 1, "a1.pcap: The file ends within a packet: what was captured after that is not in it.", 0},
		{"damaged_head", fstest.MapFS{"a1.pcap": {Data: first}, "a2.pcap": {Data: second}, "a3.pcap": {Data: first[:20]}}, 1, "", 1},
		{"empty_ones", fstest.MapFS{"a1.pcap": {Data: first[:24]}, "a2.pcap": {Data: first[:24]}}, 2, "", 0},
		{"no_capture", fstest.MapFS{"a1.pcap": {Data: []byte("nothing of the kind")}, "a2.pcap": {Data: first}}, 1, "", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := readAll(t, tc.tree)
			var limits []string
			for _, w := range h.Watches {
				limits = append(limits, w.Limits...)
			}
			if len(h.Watches) != tc.watches || tc.says != "" && !slices.Contains(limits, tc.says) || len(h.Gaps) != tc.gaps {
				t.Errorf("%d watches, %d gaps %v:\n%s", len(h.Watches), len(h.Gaps), h.Gaps, strings.Join(limits, "\n"))
			}
		})
	}
}
