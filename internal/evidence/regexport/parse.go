package regexport

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/winreg"
)

// parser builds the registry that a text shows.
type parser struct {
	machine *winreg.Memory // HKEY_LOCAL_MACHINE
	keys    int
	// partial says why nothing is proven to be absent; empty if the text is a whole export.
	partial string
	stated  map[*winreg.Memory]bool // keys that have a line of their own
	key     *winreg.Memory          // the current key; nil in another hive, or after a bad line
}

func (p *parser) mark(why string, args ...any) {
	if p.partial == "" {
		p.partial = fmt.Sprintf(why, args...)
	}
}

// open begins a key. Keys of other hives are passed over.
func (p *parser) open(path string, line int) {
	p.key = nil
	hive, rest, _ := strings.Cut(path, `\`)
	wanted, known := roots[strings.ToUpper(hive)]
	if !known {
		p.mark("line %d names no hive: %.60q", line, path)
	}
	if !wanted || rest == "" {
		return
	}
	k, err := p.machine.Create(rest)
	if err != nil {
		p.mark("line %d: %v", line, err)
		return
	}
	if p.stated == nil {
		p.stated = map[*winreg.Memory]bool{}
	}
	p.keys++
	p.key, p.stated[k] = k, true
}

// reg reads a .reg file: https://support.microsoft.com/help/310516 says what it may hold.
func (p *parser) reg(text string, ansi bool) {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	if !strings.HasSuffix(text, "\n\n") {
		p.mark("the file does not end with an empty line as every export does, so it may be cut")
	}
	ended := strings.HasSuffix(text, "\n")
	n := 0
	for text != "" {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		n++
		if n == 1 || line == "" || line[0] == ';' {
			continue
		}
		if text == "" && !ended {
			break // cut within this line: half of a number is another number
		}
		switch line[0] {
		case '[':
			path, closed := strings.CutSuffix(strings.TrimRight(line, " \t\r"), "]")
			path = path[1:]
			if !closed || strings.HasPrefix(path, "-") {
				p.key = nil
				p.mark("line %d is of no export but of a file to import: %.60q", n, line)
				continue
			}
			p.open(path, n)
		case '"', '@':
			start := n
			rest, lines := extend(&line, text)
			text, n = rest, n+lines
			v, err := regValue(line, ansi)
			switch {
			case err != nil:
				p.mark("line %d: %v", start, err)
			case p.key != nil:
				p.key.Set(v)
			}
		default:
			// Exports joined by copy /b begin again.
			if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, headRegedit5) {
				p.mark("line %d is none of a .reg file: %.60q", n, line)
			}
		}
	}
	if p.partial != "" {
		return
	}
	for k := range p.stated {
		k.Whole = true
	}
	inherit(p.machine, false)
}

// inherit makes whole what is below a whole key.
func inherit(k *winreg.Memory, whole bool) {
	k.Whole = k.Whole || whole
	for _, c := range k.Children() {
		inherit(c, k.Whole)
	}
}

// extend appends to line what continues it: bytes after a backslash at the end, and the
// rest of a text with line ends in it. It gives what is left and how many lines it took.
func extend(line *string, rest string) (left string, lines int) {
	_, data, ok := cutName(*line)
	l := strings.TrimRight(*line, " \t\r")
	var b strings.Builder
	for strings.HasPrefix(data, "hex") && strings.HasSuffix(l, `\`) && rest != "" {
		b.WriteString(strings.TrimSuffix(l, `\`))
		var next string
		next, rest, _ = strings.Cut(rest, "\n")
		l = strings.TrimSpace(next)
		lines++
	}
	if lines > 0 {
		b.WriteString(l)
		*line = b.String()
		return rest, lines
	}
	if !ok || !strings.HasPrefix(data, `"`) || closed(data) {
		return rest, 0
	}
	b.WriteString(*line)
	for range maxTextLines {
		var next string
		if rest == "" {
			break
		}
		next, rest, _ = strings.Cut(rest, "\n")
		lines++
		b.WriteString("\n" + next)
		if endsQuoted(next) {
			break
		}
	}
	*line = b.String()
	return rest, lines
}

// maxTextLines bounds a text value with line ends; it is no bound of Windows.
const maxTextLines = 1000

// closed reports whether data, which begins with a quotation mark, ends with another.
func closed(data string) bool { return len(data) > 1 && endsQuoted(data[1:]) }

// endsQuoted reports whether s ends with a quotation mark that no backslash escapes.
func endsQuoted(s string) bool {
	s, ok := strings.CutSuffix(strings.TrimRight(s, " \t\r"), `"`)
	return ok && (len(s)-len(strings.TrimRight(s, `\`)))%2 == 0
}

// cutName takes the name from a line "name"=data or @=data.
func cutName(line string) (name, data string, ok bool) {
	if data, ok = strings.CutPrefix(line, "@="); ok {
		return "", strings.TrimSpace(data), true
	}
	if line == "" || line[0] != '"' {
		return "", "", false
	}
	for i := 1; i < len(line); i++ {
		switch line[i] {
		case '\\':
			i++
		case '"':
			data, ok = strings.CutPrefix(strings.TrimLeft(line[i+1:], " "), "=")
			return unescape(line[1:i]), strings.TrimSpace(data), ok
		}
	}
	return "", "", false
}

var unescaper = strings.NewReplacer(`\\`, `\`, `\"`, `"`)

func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	return unescaper.Replace(s)
}

func regValue(line string, ansi bool) (v winreg.Value, err error) {
	name, data, ok := cutName(line)
	if !ok {
		return v, fmt.Errorf("%.60q is no value", line)
	}
	kind, rest, colon := strings.Cut(data, ":")
	switch {
	case strings.HasPrefix(data, `"`):
		if !closed(data) {
			return v, fmt.Errorf("the text of %.60q does not end", name)
		}
		return winreg.TextValue(name, winreg.String, unescape(data[1:len(data)-1])), nil
	case kind == "dword" && colon:
		n, err := strconv.ParseUint(rest, 16, 32)
		if err != nil {
			return v, fmt.Errorf("%.60q is no number", rest)
		}
		return winreg.DwordValue(name, uint32(n)), nil
	case strings.HasPrefix(kind, "hex") && colon:
		t := winreg.Binary
		if kind != "hex" {
			n, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimPrefix(kind, "hex("), ")"), 16, 32)
			if err != nil {
				return v, fmt.Errorf("%.60q is no type", kind)
			}
			t = winreg.Type(n)
		}
		b, err := hex.DecodeString(strings.Map(func(r rune) rune {
			if strings.ContainsRune(", \t\r\n", r) {
				return -1
			}
			return r
		}, rest))
		if err != nil {
			return v, fmt.Errorf("the bytes of %.60q: %w", name, err)
		}
		if ansi && (t == winreg.String || t == winreg.Expand || t == winreg.Multi) {
			wide := make([]byte, 0, 2*len(b))
			for _, c := range b { // letters beyond ASCII are in a code page that the file does not name
				wide = append(wide, c, 0)
			}
			b = wide
		}
		return winreg.Value{Name: name, Type: t, Data: b}, nil
	}
	return v, fmt.Errorf("%.60q is of no type of an export", data)
}

// query reads what reg query prints: a key at the beginning of a line, and its values
// indented, in three columns with four spaces between them (on XP a tab).
func (p *parser) query(text string) {
	lines := evidence.Lines(text)
	if !evidence.Ended(text) {
		p.mark("the file ends within a line")
		lines = lines[:len(lines)-1]
	}
	valued := map[*winreg.Memory]bool{}
	for i, line := range lines {
		switch command, prompt := evidence.Prompt(line); {
		case strings.TrimSpace(line) == "":
		case prompt:
			if c := strings.ToLower(command); strings.Contains(c, "/f ") || strings.Contains(c, "/v") || strings.Contains(c, "|") {
				p.mark("line %d shows that it is a part only: %.60q", i+1, command)
			}
			p.key = nil
		case keyOf(line) != "":
			p.open(keyOf(line), i+1)
		case strings.HasPrefix(line, "    ") || strings.HasPrefix(line, "\t"):
			v, err := queryValue(line)
			switch {
			case err != nil:
				p.mark("line %d: %v", i+1, err)
			case p.key != nil:
				p.key.Set(v)
				valued[p.key] = true
			}
		case strings.HasPrefix(line, absent):
			key, name, ok := strings.Cut(line[len(absent):], `" `)
			if !ok || keyOf(key) == "" {
				p.mark("line %d names no value: %.60q", i+1, line)
				continue
			}
			p.open(keyOf(key), i+1)
			if p.key != nil {
				p.key.Lack(strings.TrimSpace(name))
			}
			p.key = nil
		case strings.HasPrefix(line, "! REG.EXE VERSION"): // XP and Server 2003
		case strings.HasPrefix(line, "Microsoft Windows ["), strings.HasPrefix(line, "Copyright "), strings.HasPrefix(line, "(c) "): // banner of cmd.exe
		default:
			// An error, in any language, or the number of matches that a search ends with.
			p.key = nil
			p.mark("line %d is none of a list of keys: %.60q", i+1, line)
		}
	}
	if p.partial != "" {
		return
	}
	// Without /s, or of one value, it looks the same but for this: keys below have no values.
	var below func(k *winreg.Memory) bool
	below = func(k *winreg.Memory) bool {
		deep := false
		for _, c := range k.Children() {
			deep = below(c) || valued[c] || deep
		}
		k.Whole = deep && p.stated[k]
		return deep
	}
	below(p.machine)
	inherit(p.machine, false)
}

// defaults are names of a key's default value in some languages, as reg query prints it.
var defaults = map[string]bool{
	"(Default)": true, "(Standard)": true, "(par défaut)": true, "(Predeterminado)": true, "(Predefinito)": true, "<NO NAME>": true, "(既定)": true,
}

func queryValue(line string) (v winreg.Value, _ error) {
	at := strings.Index(line, "    REG_")
	gap := "    "
	if at < 0 {
		at, gap = strings.Index(line, "\tREG_"), "\t"
	}
	if at < 0 {
		return v, fmt.Errorf("%.60q is no value", line)
	}
	name := strings.TrimSpace(line[:at])
	if defaults[name] {
		name = ""
	}
	kind, data, _ := strings.Cut(line[at+len(gap):], gap)
	t, ok := winreg.TypeOf(kind)
	if !ok {
		return v, fmt.Errorf("%.60q is no type", kind)
	}
	switch t {
	case winreg.String, winreg.Expand, winreg.Link:
		return winreg.TextValue(name, t, data), nil
	case winreg.Multi:
		return winreg.TextValue(name, t, strings.Split(strings.TrimSuffix(data, `\0`), `\0`)...), nil
	case winreg.Dword, winreg.DwordBig, winreg.Qword:
		n, err := strconv.ParseUint(strings.TrimPrefix(data, "0x"), 16, 64)
		if err != nil || t != winreg.Qword && n >= 1<<32 {
			return v, fmt.Errorf("%.60q is no number", data)
		}
		if t == winreg.Qword {
			return winreg.Value{Name: name, Type: t, Data: binary.LittleEndian.AppendUint64(nil, n)}, nil
		}
		return winreg.DwordValue(name, uint32(n)), nil //nolint:gosec // below 1<<32, see above
	case winreg.None, winreg.Binary:
	}
	b, err := hex.DecodeString(strings.TrimSpace(data))
	if err != nil {
		return v, fmt.Errorf("the bytes of %.60q: %w", name, err)
	}
	return winreg.Value{Name: name, Type: t, Data: b}, nil
}
