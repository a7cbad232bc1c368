package catalog

// The file: a magic line, the length of the header, the header (JSON in a zstd frame), then
// one zstd frame with the CVE table and one for each release, each a row of columns. Only
// the frames asked for are inflated. Equal content gives equal bytes: nothing in here
// depends on map order, time or the machine.

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/oldguard/oldguard/winver"
)

const (
	magic = "oldguard catalogue 1\n"
	// Bounds on what a catalogue file may claim; the embedded one is a hundredth of each.
	maxHeader  = 16 << 20
	maxFrame   = 256 << 20
	maxUpdates = math.MaxUint16
	maxFixes   = 1 << 24
	maxCVEs    = 1 << 20
)

type frame struct{ Off, Len int64 }

type meta struct {
	Sources        []Source
	Releases       []*Release
	Programs       []Program
	ComponentNames []string
	CVEs           frame
	Frames         []frame // of the releases, in their order
}

type reader struct {
	r    io.ReaderAt
	base int64
	size int64
}

// Content is everything a catalogue holds, for Write.
type Content struct {
	Sources    []Source
	Programs   []Program
	Components []string // the first is the empty string: Windows itself
	CVEs       []CVE
	Records    []Records // ascending by release id
}

// Write writes a catalogue file. Equal content gives equal bytes.
func Write(w io.Writer, c Content) error {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true))
	if err != nil {
		return err
	}
	m := meta{Sources: c.Sources, Programs: c.Programs, ComponentNames: c.Components}
	var body []byte
	add := func(raw []byte) frame {
		off := int64(len(body))
		body = enc.EncodeAll(raw, body)
		return frame{off, int64(len(body)) - off}
	}
	m.CVEs = add(encodeCVEs(c.CVEs))
	for _, r := range c.Records {
		m.Releases = append(m.Releases, r.Release)
		m.Frames = append(m.Frames, add(encodeRecords(r)))
	}
	head, err := json.Marshal(m)
	if err != nil {
		return err
	}
	head = enc.EncodeAll(head, nil)
	out := append([]byte(magic), binary.LittleEndian.AppendUint32(nil, uint32(len(head)))...) // #nosec G115 -- a few KiB
	for _, part := range [][]byte{out, head, body} {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return nil
}

var decoder = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxFrame), zstd.WithDecoderLowmem(true))
})

// Open reads a catalogue of the given size from r, which must stay readable as long as the
// Catalog is used. It reads the header only. The error says whether the file is no
// catalogue, or a damaged one.
func Open(r io.ReaderAt, size int64) (*Catalog, error) {
	head := make([]byte, len(magic)+4)
	if _, err := r.ReadAt(head, 0); err != nil || string(head[:len(magic)]) != magic {
		return nil, errors.New("not an oldguard catalogue")
	}
	n := int64(binary.LittleEndian.Uint32(head[len(magic):]))
	base := int64(len(head)) + n
	if n > maxHeader || base > size {
		return nil, errors.New("catalogue is cut short")
	}
	c := &Catalog{data: reader{r, base, size}, recs: map[string]func() (*Records, error){}}
	raw, err := c.data.inflate(frame{-n, n})
	if err != nil {
		return nil, fmt.Errorf("catalogue header: %w", err)
	}
	if err := json.Unmarshal(raw, &c.meta); err != nil {
		return nil, fmt.Errorf("catalogue header: %w", err)
	}
	if len(c.meta.Frames) != len(c.meta.Releases) {
		return nil, errors.New("catalogue header: frames and releases differ in number")
	}
	for i, rel := range c.meta.Releases {
		if rel == nil || i > 0 && rel.ID <= c.meta.Releases[i-1].ID {
			return nil, errors.New("catalogue header: releases are not in order")
		}
		rel.frame = c.meta.Frames[i]
		for _, s := range rel.BuildText {
			b, err := parseBuild(s)
			if err != nil {
				return nil, fmt.Errorf("catalogue header: %w", err)
			}
			rel.Builds = append(rel.Builds, b)
		}
	}
	c.cves = sync.OnceValues(func() ([]CVE, error) {
		raw, err := c.data.inflate(c.meta.CVEs)
		if err != nil {
			return nil, fmt.Errorf("catalogue CVEs: %w", err)
		}
		return decodeCVEs(raw)
	})
	return c, nil
}

func (d reader) inflate(f frame) ([]byte, error) {
	if f.Len < 0 || f.Len > maxFrame || d.base+f.Off < 0 || d.base+f.Off > d.size-f.Len {
		return nil, errors.New("frame lies outside the file")
	}
	buf := make([]byte, f.Len)
	if _, err := d.r.ReadAt(buf, d.base+f.Off); err != nil {
		return nil, err
	}
	dec, err := decoder()
	if err != nil {
		return nil, err
	}
	return dec.DecodeAll(buf, nil)
}

func (c *Catalog) readRecords(rel *Release) (*Records, error) {
	raw, err := c.data.inflate(rel.frame)
	if err != nil {
		return nil, fmt.Errorf("catalogue, %s: %w", rel.ID, err)
	}
	rec, err := decodeRecords(raw)
	if err != nil {
		return nil, fmt.Errorf("catalogue, %s: %w", rel.ID, err)
	}
	for _, f := range rec.Fixes {
		if int(f.Component) >= len(c.meta.ComponentNames) {
			return nil, fmt.Errorf("catalogue, %s: a fix names no component", rel.ID)
		}
	}
	rec.Release = rel
	return rec, nil
}

// parseBuild reads 6.0.6003 or 6.0.6003.23717: the catalogue's own writing, nothing else.
func parseBuild(s string) (b winver.Build, err error) {
	parts := strings.Split(s, ".")
	var n [4]uint64
	if len(parts) != 3 && len(parts) != 4 {
		return b, fmt.Errorf("build %q: want three or four numbers", s)
	}
	for i, p := range parts {
		if _, err := fmt.Sscanf(p, "%d", &n[i]); err != nil || n[i] > math.MaxUint32 {
			return b, fmt.Errorf("build %q: not a number: %q", s, p)
		}
	}
	b = winver.Build{Major: uint16(n[0]), Minor: uint16(n[1]), Number: uint32(n[2])} // #nosec G115 -- checked above, versions are small
	if len(parts) == 4 {
		b.Revision, b.HasRevision = uint32(n[3]), true // #nosec G115 -- checked above
	}
	return b, nil
}

// columns writes numbers as varints.
type columns struct{ b []byte }

func (c *columns) u(v uint64)   { c.b = binary.AppendUvarint(c.b, v) }
func (c *columns) i(v int64)    { c.b = binary.AppendVarint(c.b, v) }
func (c *columns) s(s string)   { c.u(uint64(len(s))); c.b = append(c.b, s...) }
func (c *columns) byte(v uint8) { c.b = append(c.b, v) }

// uncolumns reads what columns wrote. After the first error everything reads as zero.
type uncolumns struct {
	r   *bytes.Reader
	err error
}

func (c *uncolumns) u() uint64 {
	if c.err != nil {
		return 0
	}
	v, err := binary.ReadUvarint(c.r)
	c.err = err
	return v
}

func (c *uncolumns) i() int64 {
	if c.err != nil {
		return 0
	}
	v, err := binary.ReadVarint(c.r)
	c.err = err
	return v
}

func (c *uncolumns) byte() uint8 {
	if c.err != nil {
		return 0
	}
	v, err := c.r.ReadByte()
	c.err = err
	return v
}

func (c *uncolumns) s() string {
	n := c.count(1 << 16)
	b := make([]byte, n)
	if c.err == nil {
		_, c.err = io.ReadFull(c.r, b)
	}
	return string(b)
}

// count reads a count that is at most limit and, as every counted thing takes a byte at
// least, at most what is left.
func (c *uncolumns) count(limit int) int {
	n := c.u()
	if c.err == nil && (n > uint64(limit) || n > uint64(c.r.Len())) { // #nosec G115 -- both positive
		c.err = fmt.Errorf("count %d is more than there can be", n)
	}
	if c.err != nil {
		return 0
	}
	return int(n) // #nosec G115 -- checked above
}

// small reads a number that must fit its type.
func small[T uint8 | uint16 | uint32](c *uncolumns) T {
	n := c.u()
	if v := T(n); uint64(v) == n {
		return v
	}
	if c.err == nil {
		c.err = fmt.Errorf("number %d is too large", n)
	}
	return 0
}

// table interns strings in order of first use.
type table struct {
	idx   map[string]int
	names []string
}

func (t *table) of(s string) uint64 {
	if t.idx == nil {
		t.idx = map[string]int{}
	}
	i, ok := t.idx[s]
	if !ok {
		i = len(t.names)
		t.idx[s] = i
		t.names = append(t.names, s)
	}
	return uint64(i) // #nosec G115 -- an index
}

func encodeCVEs(cves []CVE) []byte {
	var vectors, areas table
	for _, v := range cves {
		vectors.of(v.Vector)
		areas.of(v.Area)
	}
	var c columns
	for _, t := range []table{vectors, areas} {
		c.u(uint64(len(t.names)))
		for _, s := range t.names {
			c.s(s)
		}
	}
	c.u(uint64(len(cves)))
	for _, v := range cves {
		c.s(strings.TrimPrefix(v.ID, "CVE-"))
	}
	for _, v := range cves {
		c.u(vectors.of(v.Vector))
	}
	for _, v := range cves {
		c.u(areas.of(v.Area))
	}
	for _, v := range cves {
		c.byte(uint8(math.Round(v.Score * 10))) // #nosec G115 -- 0 to 100
	}
	for _, v := range cves {
		c.i(int64(v.First))
	}
	for _, v := range cves {
		c.i(int64(v.KEV))
	}
	for _, v := range cves {
		c.byte(bit(v.Ransomware, 1))
	}
	for _, v := range cves {
		if v.KEV == 0 {
			continue
		}
		c.u(uint64(len(v.On)))
		for _, r := range v.On {
			c.u(uint64(r.Release))
			c.i(int64(r.Fixed))
		}
	}
	return c.b
}

func decodeCVEs(raw []byte) ([]CVE, error) {
	c := &uncolumns{r: bytes.NewReader(raw)}
	var tables [2][]string
	for i := range tables {
		tables[i] = make([]string, c.count(1<<16))
		for j := range tables[i] {
			tables[i][j] = c.s()
		}
	}
	pick := func(t []string) string {
		if n := c.u(); n < uint64(len(t)) {
			return t[n]
		}
		if c.err == nil {
			c.err = errors.New("index outside its table")
		}
		return ""
	}
	cves := make([]CVE, c.count(maxCVEs))
	for i := range cves {
		cves[i].ID = "CVE-" + c.s()
	}
	for i := range cves {
		cves[i].Vector = pick(tables[0])
	}
	for i := range cves {
		cves[i].Area = pick(tables[1])
	}
	for i := range cves {
		cves[i].Score = float64(c.byte()) / 10
	}
	for i := range cves {
		cves[i].First = Date(c.i()) // #nosec G115 -- written from a Date
	}
	for i := range cves {
		cves[i].KEV = Date(c.i()) // #nosec G115 -- written from a Date
	}
	for i := range cves {
		cves[i].Ransomware = c.byte() != 0
	}
	for i := range cves {
		if cves[i].KEV == 0 {
			continue
		}
		cves[i].On = make([]Recorded, c.count(1<<10))
		for j := range cves[i].On {
			cves[i].On[j] = Recorded{small[uint16](c), Date(c.i())} // #nosec G115 -- written from a Date
		}
	}
	return cves, c.err
}

const (
	flagCVE = 1 << iota
	flagNotInRollup
	flagNextRollup
)

func bit(on bool, v uint8) uint8 {
	if on {
		return v
	}
	return 0
}

func encodeRecords(r Records) []byte {
	var c columns
	ups := r.Updates
	c.u(uint64(len(ups)))
	last := winver.KB(0)
	for _, u := range ups {
		c.u(uint64(u.KB - last))
		last = u.KB
	}
	for _, u := range ups {
		c.byte(uint8(u.Stream))
		c.byte(uint8(u.Sure))
		c.byte(uint8(u.Arches))
		c.byte(bit(u.HasCVE, flagCVE) | bit(u.NotInRollup, flagNotInRollup) | bit(u.NextRollup, flagNextRollup))
		c.byte(u.Feeds)
	}
	for _, u := range ups {
		c.i(int64(u.Released))
		c.u(uint64(u.Pos))
		c.s(u.Build.String())
		c.u(uint64(len(u.Supersedes)))
		last := u.KB
		for _, s := range u.Supersedes {
			c.i(int64(last) - int64(s))
			last = s
		}
	}
	// Fixes are stored by update, where neighbouring CVE numbers lie together.
	byUpdate := slices.Clone(r.Fixes)
	slices.SortStableFunc(byUpdate, func(a, b Fix) int {
		if a.Update != b.Update {
			return int(a.Update) - int(b.Update)
		}
		if a.CVE != b.CVE {
			return int(int64(a.CVE) - int64(b.CVE))
		}
		return int(a.Component) - int(b.Component)
	})
	c.u(uint64(len(byUpdate)))
	prev := Fix{}
	for _, f := range byUpdate {
		c.u(uint64(f.Update - prev.Update))
		if f.Update != prev.Update {
			prev.CVE = 0
		}
		c.i(int64(f.CVE) - int64(prev.CVE))
		prev = f
	}
	for _, f := range byUpdate {
		c.u(uint64(f.Component))
	}
	for _, f := range byUpdate {
		c.byte(uint8(f.On))
	}
	for _, f := range byUpdate {
		c.byte(uint8(f.Severity)<<4 | uint8(f.Impact))
	}
	return c.b
}

func decodeRecords(raw []byte) (*Records, error) {
	c := &uncolumns{r: bytes.NewReader(raw)}
	r := &Records{Updates: make([]Update, c.count(maxUpdates))}
	ups := r.Updates
	last := uint64(0)
	for i := range ups {
		last += c.u()
		ups[i].KB = winver.KB(last) // #nosec G115 -- a wrong number finds no KB
	}
	for i := range ups {
		u := &ups[i]
		u.Stream, u.Sure, u.Arches = Stream(c.byte()), Sureness(c.byte()), ArchSet(c.byte())
		f := c.byte()
		u.HasCVE, u.NotInRollup, u.NextRollup = f&flagCVE != 0, f&flagNotInRollup != 0, f&flagNextRollup != 0
		u.Feeds = c.byte()
	}
	for i := range ups {
		u := &ups[i]
		u.Released = Date(c.i()) // #nosec G115 -- written from a Date
		u.Pos = small[uint16](c)
		if s := c.s(); s != "" && c.err == nil {
			u.Build, c.err = parseBuild(s)
		}
		last := int64(u.KB)
		for range c.count(1 << 12) {
			last -= c.i()
			u.Supersedes = append(u.Supersedes, winver.KB(last)) // #nosec G115 -- a wrong number finds no KB
		}
	}
	r.Fixes = make([]Fix, c.count(maxFixes))
	prev := Fix{}
	for i := range r.Fixes {
		f := &r.Fixes[i]
		step := small[uint16](c)
		f.Update = prev.Update + step
		if int(f.Update) >= len(ups) && c.err == nil {
			c.err = errors.New("a fix names no update")
		}
		if step != 0 {
			prev.CVE = 0
		}
		f.CVE = uint32(int64(prev.CVE) + c.i()) // #nosec G115 -- checked against the table where used
		prev = *f
	}
	for i := range r.Fixes {
		r.Fixes[i].Component = small[uint16](c)
	}
	for i := range r.Fixes {
		r.Fixes[i].On = ArchSet(c.byte())
	}
	for i := range r.Fixes {
		b := c.byte()
		r.Fixes[i].Severity, r.Fixes[i].Impact = Severity(b>>4), Impact(b&15)
	}
	if c.err != nil {
		return nil, c.err
	}
	slices.SortStableFunc(r.Fixes, func(a, b Fix) int {
		if a.CVE != b.CVE {
			return int(int64(a.CVE) - int64(b.CVE))
		}
		return int(a.Update) - int(b.Update)
	})
	return r, nil
}
