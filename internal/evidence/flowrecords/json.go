package flowrecords

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/oldguard/oldguard/internal/evidence/traffic"
	"github.com/oldguard/oldguard/internal/host"
)

// Bounds of JSON. What is over is passed over; a record of a flow is far below.
const (
	maxDepth  = 24
	maxFields = 400
	maxText   = 4 << 10  // of a name or a value
	maxObject = 32 << 10 // of names and values
)

// errDamaged is JSON that is none.
var errDamaged = errors.New("damaged JSON")

// object is what is known of an object: the values in it, with their names, and those of the objects
// in it with both names.
type object struct {
	text   []byte
	fields []field
}

// field is a name and a value, as places in an object's text.
type field struct{ name, value [2]int }

func (o *object) reset() { o.text, o.fields = o.text[:0], o.fields[:0] }

// add keeps a value; one too many is left out.
func (o *object) add(prefix, name, value []byte) {
	if len(o.fields) >= maxFields || len(o.text)+len(prefix)+1+len(name)+len(value) > maxObject || len(prefix)+len(name) > 2*maxName {
		return
	}
	var f field
	put := func(parts ...[]byte) [2]int {
		begin := len(o.text)
		for _, p := range parts {
			o.text = append(o.text, p...)
		}
		return [2]int{begin, len(o.text)}
	}
	if len(prefix) > 0 {
		f.name = put(prefix, []byte{'.'}, name)
	} else {
		f.name = put(name)
	}
	f.value = put(value)
	o.fields = append(o.fields, f)
}

// jsonReader reads JSON of any size piece by piece: one value after another, or lists of them, or
// objects that hold lists of them.
type jsonReader struct {
	r     *bufio.Reader
	line  int
	stack [maxDepth + 1]object
	name  []byte
	text  []byte
	row   row

	found func(r *row)                // a record, which is valid until found returns
	tuple func(text []byte, line int) // a string in a list that is called flowTuples
	bad   func(line int)              // a place where it is damaged
}

// json reads a file of JSON.
func (x *reading) json(b *bufio.Reader) error {
	j := jsonReader{
		r: b, line: 1,
		found: func(r *row) {
			if why := x.record(r); why != fine {
				x.skip(why)
			}
		},
		tuple: func(text []byte, line int) {
			if !x.azure(text, line) {
				x.skip(wrongCount)
			}
		},
		bad: func(int) { x.skip(notJSON) },
	}
	cut, err := j.all()
	x.cut = cut
	return err
}

// jsonIn recognises JSON with records of conversations by its beginning.
func jsonIn(head []byte) *layout {
	is := false
	j := jsonReader{
		r: bufio.NewReader(bytes.NewReader(head)),
		found: func(r *row) {
			var src, dst endpoint
			is = is || ends(r, &src, &dst) == fine
		},
		tuple: func(text []byte, _ int) { is = is || bytes.Count(text, []byte{','}) >= 7 },
		bad:   func(int) {},
	}
	if _, err := j.all(); err != nil || !is {
		return nil
	}
	return &layout{json: true}
}

// all reads everything. cut tells that the text ends within a value. After damage it goes on with
// the next object that begins a line.
func (j *jsonReader) all() (cut bool, err error) {
	lost := false
	for {
		c, err := j.skipSpace()
		switch {
		case err != nil:
			return false, notEnd(err)
		case c == ',' || c == ']' || c == '}': // of what damage has begun
			continue
		case lost && c != '{':
			err = errDamaged
		default:
			err = j.value(c, 0, nil, false)
		}
		switch {
		case err == nil:
			lost = false
			continue
		case errors.Is(err, io.EOF):
			return true, nil
		case !errors.Is(err, errDamaged):
			return false, err
		case !lost:
			j.bad(j.line)
		}
		lost = true
		if err = j.skipLine(); err != nil {
			return false, notEnd(err)
		}
	}
}

// notEnd is no error for the end of the text.
func notEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (j *jsonReader) skipLine() error {
	for {
		_, err := j.r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		j.line++
		return err
	}
}

// skipSpace gives the next byte that is no white space.
func (j *jsonReader) skipSpace() (c byte, err error) {
	for {
		c, err = j.r.ReadByte()
		switch c {
		case '\n':
			j.line++
		case ' ', '\t', '\r':
		default:
			return c, err
		}
		if err != nil {
			return 0, err
		}
	}
}

// value reads a value that begins with c. It is added to its parent, if that is an object; so is
// what is in an object that is no record itself. tuples tells that the parent is a list of flow
// tuples.
func (j *jsonReader) value(c byte, depth int, parent *object, tuples bool) error {
	if depth >= maxDepth {
		return errDamaged
	}
	switch c {
	case '{':
		return j.object(depth, parent)
	case '[':
		return j.list(depth, string(j.name) == "flowTuples")
	case '"':
		line := j.line
		text, err := j.string(j.text[:0])
		j.text = text
		if err != nil {
			return err
		}
		if tuples {
			j.tuple(text, line)
		}
	default:
		if err := j.bareValue(c); err != nil {
			return err
		}
	}
	if parent != nil && string(j.text) != "null" {
		parent.add(nil, j.name, j.text)
	}
	return nil
}

// list reads a list behind its bracket. Its objects are for themselves.
func (j *jsonReader) list(depth int, tuples bool) error {
	for first := true; ; first = false {
		c, err := j.skipSpace()
		if err != nil {
			return err
		}
		if c == ']' && first {
			return nil
		}
		if err = j.value(c, depth+1, nil, tuples); err != nil {
			return err
		}
		if c, err = j.skipSpace(); err != nil {
			return err
		}
		if c == ']' {
			return nil
		}
		if c != ',' {
			return errDamaged
		}
	}
}

// object reads an object behind its brace.
func (j *jsonReader) object(depth int, parent *object) error {
	o := &j.stack[depth]
	o.reset()
	line := j.line
	var own []byte
	if parent != nil {
		own = bytes.Clone(j.name)
	}
	for first := true; ; first = false {
		c, err := j.skipSpace()
		if err != nil {
			return err
		}
		if c == '}' && first {
			break
		}
		if c != '"' {
			return errDamaged
		}
		if j.name, err = j.string(j.name[:0]); err != nil {
			return err
		}
		if c, err = j.skipSpace(); err != nil {
			return err
		}
		if c != ':' {
			return errDamaged
		}
		if c, err = j.skipSpace(); err != nil {
			return err
		}
		if err = j.value(c, depth+1, o, false); err != nil {
			return err
		}
		if c, err = j.skipSpace(); err != nil {
			return err
		}
		if c == '}' {
			break
		}
		if c != ',' {
			return errDamaged
		}
	}
	j.row.clear(line)
	for _, f := range o.fields {
		m, _ := lookup(o.text[f.name[0]:f.name[1]])
		if v := value(o.text[f.value[0]:f.value[1]]); v != nil {
			j.row.set(m, v)
		}
	}
	if j.row.conversation() {
		j.found(&j.row)
		return nil
	}
	if parent != nil {
		for _, f := range o.fields {
			parent.add(own, o.text[f.name[0]:f.name[1]], o.text[f.value[0]:f.value[1]])
		}
	}
	return nil
}

// string reads a string behind its quote. What is longer than maxText is cut.
func (j *jsonReader) string(to []byte) ([]byte, error) {
	for {
		c, err := j.r.ReadByte()
		if err != nil {
			return to, err
		}
		switch c {
		case '"':
			return to, nil
		case '\n':
			return to, errors.Join(errDamaged, j.r.UnreadByte())
		case '\\':
			if c, err = j.r.ReadByte(); err != nil {
				return to, err
			}
			switch c {
			case 'u':
				r, err := j.escape()
				if err != nil {
					return to, err
				}
				if len(to) < maxText {
					to = utf8.AppendRune(to, r)
				}
				continue
			case 'n', 'r', 't', 'b', 'f':
				c = ' '
			case '"', '\\', '/':
			default:
				return to, errDamaged
			}
		}
		if len(to) < maxText {
			to = append(to, c)
		}
	}
}

// escape reads four hexadecimal digits. Halves of pairs become U+FFFD.
func (j *jsonReader) escape() (r rune, err error) {
	for range 4 {
		c, err := j.r.ReadByte()
		if err != nil {
			return 0, err
		}
		i := bytes.IndexByte([]byte("0123456789abcdef"), c|0x20)
		if i < 0 {
			return 0, errDamaged
		}
		r = r<<4 | rune(i) //nolint:gosec // 0 to 15
	}
	return r, nil
}

// bareValue reads a number or a word.
func (j *jsonReader) bareValue(c byte) error {
	j.text = j.text[:0]
	for {
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c == '-', c == '+', c == '.', c == 'E':
		default:
			return errDamaged
		}
		if len(j.text) < maxText {
			j.text = append(j.text, c)
		}
		next, err := j.r.Peek(1)
		if err != nil {
			return err
		}
		if bytes.IndexByte([]byte(" \t\r\n,]}"), next[0]) >= 0 {
			return nil
		}
		c = next[0]
		if _, err := j.r.Discard(1); err != nil {
			return err
		}
	}
}

// azure reads a tuple of Azure's flow logs: of network security groups, versions 1 and 2,
// 1491143966,192.0.2.4,198.51.100.232,37560,443,T,O,A,B,packets,bytes,packets,bytes, and of virtual
// networks, with the number of the protocol, state and encryption in their place. The first address is
// that of who began. https://learn.microsoft.com/azure/network-watcher/nsg-flow-logs-overview and
// …/vnet-flow-logs-overview; checked against samples in public parsers, read 2026-11-25.
func (x *reading) azure(text []byte, line int) bool {
	var places [16][]byte
	cells, ok := cut(places[:0], text, ',')
	if !ok || len(cells) < 8 {
		return false
	}
	f := flow{kind: whole, icmp: unshown, sure: true, more: true, hasSource: true, session: 1, line: line}
	var ok1, ok2 bool
	f.src, ok1 = traffic.Addr(cells[1])
	f.dst, ok2 = traffic.Addr(cells[2])
	if !ok1 || !ok2 {
		return false
	}
	f.sport, ok1 = traffic.Port(cells[3])
	f.dport, ok2 = traffic.Port(cells[4])
	if !ok1 || !ok2 {
		return false
	}
	x.firewall = true
	state, counts := byte('B'), cells[len(cells):]
	virtual := false
	switch string(cells[5]) {
	case "T":
		f.proto = host.TCP
	case "U":
		f.proto = host.UDP
	default:
		virtual = true
		if f.proto, ok = traffic.Proto(cells[5]); !ok {
			return false
		}
	}
	if !traffic.HasPorts(f.proto) {
		f.sport, f.dport = 0, 0
	}
	if virtual {
		if len(cells[7]) == 1 {
			state = cells[7][0]
		}
		f.refused = state == 'D'
		if len(cells) > 9 {
			counts = cells[9:]
		}
	} else {
		f.refused = string(cells[7]) == "D"
		if len(cells) > 9 && len(cells[8]) == 1 {
			state, counts = cells[8][0], cells[9:]
		}
	}
	f.begins = state == 'B' || state == 'D'
	for i, c := range counts[:min(len(counts), 4)] {
		if n, ok := traffic.Number(c); ok && i%2 == 0 {
			f.packets += n
		} else if ok {
			f.bytes += n
		}
	}
	f.first = x.time.at(cells[0])
	f.last = f.first
	x.take(&f)
	return true
}
