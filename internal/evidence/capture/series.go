package capture

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/format/pcap"
	"github.com/oldguard/oldguard/internal/host"
)

// A capture of days is written as a series of files, each begun when the one before was full: by
// tcpdump as fs01.pcap, fs01.pcap1 and so on, by dumpcap as fs01_00001_20261102081530.pcapng, by
// Network Monitor as fs01.cap, fs01(1).cap. A connection goes on from one file to the next, so
// they are read as one capture, in the order of their first packets. They are known by names
// that differ in numbers only. Those that were written at the same time, such as on two lines,
// are not one after the other, and each begins anew.

const (
	// sniffed is how much of a file is looked at to tell whether it is a capture.
	sniffed = 4 << 10
	// maxMixed is by how much packets of a file may be earlier than those of the one before: they
	// are not always written in the order of their times.
	maxMixed = int64(time.Second)
	// longPause is from how long on it is worth a word that there is nothing between two files:
	// nobody knows whether somebody was listening.
	longPause = int64(time.Hour)
)

// seriesOf is what the names of a series have in common: all but numbers.
func seriesOf(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r == '(' || r == ')' {
			return -1
		}
		return r
	}, strings.ToLower(path.Base(strings.ReplaceAll(name, `\`, "/"))))
}

// member is a file of a series.
type member struct {
	evidence.Neighbour
	first int64 // time of its first packet; 0 if there is none or it is not known
}

// series gives the files that are read together with in, in their order. It is
// evidence.ErrPart where they are read with another one.
func series(ctx context.Context, in evidence.Input) ([]member, error) {
	alone := []member{{Neighbour: evidence.Neighbour{Name: in.Name, Self: true, Visit: func(use func(*io.SectionReader)) error {
		use(in.File)
		return nil
	}}}}
	if in.Folder == nil {
		return alone, nil
	}
	own := seriesOf(in.Name)
	var list []member
	for _, n := range in.Folder() {
		if seriesOf(n.Name) != own {
			continue
		}
		is := n.Self // whatever it looks like: --as may say so
		if !is {
			err := n.Visit(func(f *io.SectionReader) { is = isCapture(f) })
			is = is && err == nil
		}
		switch {
		case is && len(list) == 0 && !n.Self:
			return nil, evidence.ErrPart
		case is:
			list = append(list, member{Neighbour: n})
		}
	}
	if len(list) < 2 {
		return alone, nil
	}
	for i := range list {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		// One that cannot be opened says so when it is read.
		_ = list[i].Visit(func(f *io.SectionReader) { list[i].first = firstTime(f) })
	}
	slices.SortStableFunc(list, func(a, b member) int { return cmp.Compare(a.first, b.first) })
	return list, nil
}

func isCapture(f *io.SectionReader) bool {
	head := make([]byte, min(f.Size(), sniffed))
	n, err := f.ReadAt(head, 0)
	return (err == nil || errors.Is(err, io.EOF)) && pcap.Is(head[:n])
}

// firstTime is the time of the first packet of a file that has one.
func firstTime(f *io.SectionReader) int64 {
	r, err := pcap.NewReader(f, f.Size())
	if err != nil {
		return 0
	}
	var p pcap.Packet
	for {
		if err := r.Next(&p); err != nil || p.Time != 0 {
			return p.Time
		}
	}
}

// read reads a file, and with it those of its series.
func read(ctx context.Context, in evidence.Input, h *host.Host) ([]evidence.Input, error) {
	if in.File == nil {
		return nil, fmt.Errorf("%s is a folder where a file is expected", in.Name)
	}
	files, err := series(ctx, in)
	if err != nil {
		return nil, err
	}
	r := newReader()
	for i, f := range files {
		var failed error
		err := f.Visit(func(file *io.SectionReader) {
			var p *pcap.Reader
			if p, failed = pcap.NewReader(stoppable{ctx, file}, file.Size()); failed != nil {
				return
			}
			if len(r.pieces) > 0 && (f.first == 0 || r.last == 0 || f.first < r.last-maxMixed || f.first == files[i-1].first) {
				r.say(h)
				r = newReader()
			}
			failed = r.file(ctx, f, len(files) > 1, p, h)
		})
		switch err = errors.Join(err, failed); {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err == nil:
		case len(files) == 1:
			return nil, err
		default:
			h.Gap(host.Gap{What: "file", From: host.Source{Reader: readerName, Input: f.Name}, Why: err.Error()})
		}
	}
	if len(r.pieces) > 0 {
		r.say(h)
	}
	return nil, nil
}

// begin says which file comes next.
func (r *reader) begin(f member) {
	if n := len(r.pieces); n > 0 && f.first-r.last > longPause {
		r.notes = append(r.notes, fmt.Sprintf("Between %s and %s nothing was captured for %s: whether anybody was listening, they do not tell.",
			base(r.pieces[n-1].name), base(f.Name), pauseWords(time.Duration(f.first-r.last))))
	}
	r.pieces = append(r.pieces, piece{name: f.Name, before: r.records})
}

// pauseWords says how long a pause of an hour or more was.
func pauseWords(d time.Duration) string {
	if d < 48*time.Hour {
		return evidence.Count(int(d.Round(time.Hour)/time.Hour), "hour", "hours")
	}
	return evidence.Count(int(d.Round(24*time.Hour)/(24*time.Hour)), "day", "days")
}

func base(name string) string { return path.Base(strings.ReplaceAll(name, `\`, "/")) }

// piece is a file that was read.
type piece struct {
	name   string
	before uint64 // packets in those before it
}

// at gives the file in which a packet is, and its number there.
func (r *reader) at(number uint64) (name string, n uint64) {
	i, _ := slices.BinarySearchFunc(r.pieces, number, func(p piece, n uint64) int { return cmp.Compare(p.before, n) })
	p := &r.pieces[max(i-1, 0)] // the last that has fewer before it
	return p.name, number - p.before
}
