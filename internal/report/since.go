package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode/utf16"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// Earlier is a stored report to compare with: the document of one machine, a list of
// documents, or a document a line. It keeps who is in it and where, and reads a document
// again when it is asked for, so that its memory does not grow with what the report holds.
type Earlier struct {
	file     io.ReaderAt
	machines []place

	mu    sync.Mutex
	found map[int]bool // machines that were asked for and are in it
}

// place is a machine of a stored report.
type place struct {
	host     host.Host // name, domain and ids
	from, to int64
}

// stored is what a comparison needs of a document. Documents of other programs and later
// versions hold more.
type stored struct {
	Schema  string        `json:"schema"`
	AsOf    *catalog.Date `json:"as_of"`
	Host    storedHost    `json:"host"`
	Sources []struct {
		ID   string        `json:"id"`
		Last *catalog.Date `json:"last"`
	} `json:"sources"`
	Updates struct {
		Installed []storedUpdate `json:"installed"`
		Missing   []storedUpdate `json:"missing"`
	} `json:"updates"`
	Findings []struct {
		CVE      string  `json:"cve"`
		Verdict  string  `json:"verdict"`
		KEVSince *string `json:"kev_since"`
	} `json:"findings"`
	Summary struct {
		Affected  int `json:"affected"`
		Unfixable int `json:"unfixable"`
	} `json:"summary"`
}

type storedUpdate struct {
	KB winver.KB `json:"kb"`
}

type storedHost struct {
	Name      storedFact `json:"name"`
	Domain    storedFact `json:"domain"`
	ProductID storedFact `json:"product_id"`
	MachineID storedFact `json:"machine_id"`
	Release   storedFact `json:"release"`
	Build     storedFact `json:"build"`
}

type storedFact struct {
	Value string `json:"value"`
}

// ReadEarlier reads a report that was written as JSON. PowerShell writes what is redirected
// into a file as UTF-16: that is read too, in memory.
func ReadEarlier(f io.ReaderAt, size int64) (*Earlier, error) {
	f, from, size, err := utf8Of(f, size)
	if err != nil {
		return nil, err
	}
	e := &Earlier{file: f, found: map[int]bool{}}
	if err := e.index(from, size); err != nil {
		return nil, err
	}
	if len(e.machines) == 0 {
		return nil, errors.New("it holds no machine")
	}
	return e, nil
}

// maxUTF16 bounds what is read into memory to be converted.
const maxUTF16 = 1 << 30

// utf8Of gives a file as UTF-8 and where its text begins.
func utf8Of(f io.ReaderAt, size int64) (io.ReaderAt, int64, int64, error) {
	mark := make([]byte, min(3, size))
	if _, err := f.ReadAt(mark, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, 0, err
	}
	switch {
	case string(mark) == "\xef\xbb\xbf":
		return f, 3, size, nil
	case len(mark) < 2 || mark[0] != 0xff || mark[1] != 0xfe:
		return f, 0, size, nil
	case size > maxUTF16:
		return nil, 0, 0, fmt.Errorf("it is in UTF-16 and larger than %d MiB", maxUTF16>>20)
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, 0, err
	}
	units := make([]uint16, 0, size/2)
	for i := 2; i+1 < len(b); i += 2 {
		units = append(units, uint16(b[i])|uint16(b[i+1])<<8)
	}
	text := string(utf16.Decode(units))
	return strings.NewReader(text), 0, int64(len(text)), nil
}

// index notes where each document stands.
func (e *Earlier) index(from, size int64) error {
	dec := json.NewDecoder(io.NewSectionReader(e.file, from, size-from))
	list, err := toList(dec)
	if err != nil {
		return fmt.Errorf("it is no JSON: %w", err)
	}
	if !list { // from the start: a document, or one a line
		dec = json.NewDecoder(io.NewSectionReader(e.file, from, size-from))
	}
	for dec.More() {
		var d struct {
			Schema string     `json:"schema"`
			Host   storedHost `json:"host"`
		}
		at := from + dec.InputOffset()
		if err := dec.Decode(&d); err != nil {
			return fmt.Errorf("after %d machines it is no JSON: %w", len(e.machines), err)
		}
		if d.Schema != schemaAssessment {
			return fmt.Errorf("it holds %q, not %q", d.Schema, schemaAssessment)
		}
		e.machines = append(e.machines, place{d.Host.host(), at, from + dec.InputOffset()})
	}
	return nil
}

// toList moves to the first document of a list of documents and reports whether there is
// such a list.
func toList(dec *json.Decoder) (bool, error) {
	t, err := dec.Token()
	if err != nil || t != json.Delim('{') {
		return false, err
	}
	for range 2 { // schema and the list, in either order
		key, err := dec.Token()
		if err != nil {
			return false, err
		}
		value, err := dec.Token()
		switch {
		case err != nil:
			return false, err
		case key == "assessments":
			return value == json.Delim('['), nil
		case key != "schema" || value != schemaAssessments:
			return false, nil
		}
	}
	return false, nil
}

// host gives what tells the machine from others.
func (s *storedHost) host() (h host.Host) {
	h.Name.Say(s.Name.Value, 0, host.Source{})
	h.Domain.Say(s.Domain.Value, 0, host.Source{})
	h.ProductID.Say(s.ProductID.Value, 0, host.Source{})
	h.MachineID.Say(s.MachineID.Value, 0, host.Source{})
	return h
}

// find gives the earlier state of a machine, or why there is none to compare with. Alone
// is true if there is no other machine now: then one that nothing tells apart will do.
func (e *Earlier) find(h *host.Host, alone bool) (s assess.Snapshot, why string, err error) {
	match := -1
	for i := range e.machines {
		same := evidence.Same(h, &e.machines[i].host)
		if same == host.Yes || same == host.Unknown && alone && len(e.machines) == 1 {
			if match >= 0 {
				return s, "the earlier report holds several machines that may be this one", nil
			}
			match = i
		}
	}
	if match < 0 {
		return s, "the earlier report does not hold it", nil
	}
	e.mu.Lock()
	e.found[match] = true
	e.mu.Unlock()
	m := &e.machines[match]
	b := make([]byte, m.to-m.from)
	if _, err := e.file.ReadAt(b, m.from); err != nil && !errors.Is(err, io.EOF) {
		return s, "", err
	}
	var d stored
	if err := json.Unmarshal(bytes.TrimLeft(b, ", \t\r\n"), &d); err != nil { // a comma separates items of a list
		return s, "", err
	}
	s, why = d.snapshot()
	return s, why, nil
}

// Gone names the machines that nobody asked for.
func (e *Earlier) Gone() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := []string{}
	for i := range e.machines {
		if !e.found[i] {
			out = append(out, e.machines[i].host.Name.Or("a machine whose name is not known"))
		}
	}
	return out
}

// verdicts by name.
var verdicts = func() map[string]assess.Verdict {
	m := map[string]assess.Verdict{}
	for v := assess.Unknown; v <= assess.Unfixable; v++ {
		m[v.String()] = v
	}
	return m
}()

func (d *stored) snapshot() (s assess.Snapshot, why string) {
	s = assess.Snapshot{
		Name: d.Host.Name.Value, Release: d.Host.Release.Value, Build: d.Host.Build.Value,
		Verdicts: map[string]assess.Verdict{}, Exploit: map[string]bool{}, Sources: map[string]catalog.Date{},
	}
	if d.AsOf != nil {
		s.AsOf = *d.AsOf
	}
	open := 0
	for _, f := range d.Findings {
		v := verdicts[f.Verdict] // what is not known to us is unknown
		if v == assess.Affected || v == assess.Unfixable {
			open++
		}
		s.Verdicts[f.CVE], s.Exploit[f.CVE] = v, f.KEVSince != nil
	}
	if open < d.Summary.Affected+d.Summary.Unfixable {
		return s, fmt.Sprintf("the earlier report lists %d of its %d affected vulnerabilities; write it with --findings affected", open, d.Summary.Affected+d.Summary.Unfixable)
	}
	for _, u := range d.Updates.Missing {
		s.Missing = append(s.Missing, u.KB)
	}
	for _, u := range d.Updates.Installed {
		s.Listed = append(s.Listed, u.KB)
	}
	for _, src := range d.Sources {
		if src.Last != nil {
			s.Sources[src.ID] = *src.Last
		}
	}
	return s, ""
}
