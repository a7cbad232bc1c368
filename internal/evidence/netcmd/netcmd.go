// Package netcmd reads lists that net.exe of Windows prints: net share and net start, in
// any display language.
//
// It goes by columns: under a row of dashes net share has the name in the first twelve, and
// what is shared from the fourteenth on. Each service of net start has a line with three
// blanks in front.
package netcmd

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/console"
	"github.com/oldguard/oldguard/internal/host"
)

const readerName = "netcmd"

// Reader reads the output of net share and net start.
var Reader = evidence.Reader{
	Name: readerName,
	Doc: `The lists of net share and net start, in any language.
Obtain them with: net share > shares.txt; net start > started.txt
net share proves what is shared and from where. net start proves which services ran, by the names that are displayed,
which differ by language: sc queryex names them better. Of net session, net use and net file nothing is read, since they
do not show to which address of the machine a client spoke; netstat does.`,
	Sniff: func(p evidence.Probe) bool { return parse(p.Text).found() },
	Read:  read,
}

// Bounds of what is kept.
const (
	maxShares   = 20_000
	maxServices = 5_000
	maxLine     = 2000
	minRule     = 60 // of the row of dashes; real ones have 79
	minStarted  = 5  // services that make a list one of net start
)

type share struct {
	name, path string
	line       int
}

type service struct {
	name string
	line int
}

type lists struct {
	shares   []share
	started  []service
	sessions bool
}

func (l lists) found() bool { return len(l.shares) > 0 || len(l.started) >= minStarted || l.sessions }

func read(_ context.Context, in evidence.Input, h *host.Host) ([]evidence.Input, error) {
	text, err := in.Text()
	if err != nil {
		return nil, err
	}
	if parts := console.Parts(in, text); parts != nil {
		return parts, nil
	}
	l := parse(text)
	if !l.found() {
		return nil, fmt.Errorf("%s has no list of net share or net start", in.Name)
	}
	from := func(line int) host.Source {
		return host.Source{Reader: readerName, Input: in.Name, At: "line " + strconv.Itoa(line)}
	}
	for _, s := range l.shares {
		h.Shares = append(h.Shares, host.Share{Name: s.name, Path: s.path, From: from(s.line)})
	}
	if len(l.started) >= minStarted {
		for _, s := range l.started {
			h.Services = append(h.Services, host.Service{Display: s.name, Running: host.Yes, From: from(s.line)})
		}
	}
	if l.sessions {
		h.Gap(host.Gap{
			What: "sessions", From: host.Source{Reader: readerName, Input: in.Name},
			Why: "the list names the other side and not the address of this machine that it spoke to, so it was not read", Hint: "run: netstat -ano > netstat.txt",
		})
	}
	if !evidence.Ended(text) {
		h.Gap(host.Gap{What: "shares and services", From: host.Source{Reader: readerName, Input: in.Name}, Why: "the file ends within a line; lines behind it are missing"})
	}
	return nil, nil
}

// reading goes line by line.
type reading struct {
	lists
	ruled   bool   // below the dashes of a list
	pending share  // a long name, whose path is on the next line
	before  string // the last line with text
	empty   bool   // an empty line is directly above
	titled  bool   // below the title of net start
}

func parse(text string) lists {
	r := reading{empty: true}
	ended := evidence.Ended(text)
	for n, rest := 1, text; rest != ""; n++ {
		var line string
		line, rest = evidence.NextLine(rest)
		if rest == "" && !ended || len(line) > maxLine {
			continue // it may be half of one
		}
		r.line(line, n)
	}
	return r.lists
}

func (r *reading) line(line string, n int) {
	_, prompt := evidence.Prompt(line)
	switch {
	case line == "":
	case len(line) >= minRule && strings.Trim(line, "-") == "":
		r.ruled, r.titled, r.pending = r.empty, false, share{}
	case prompt:
		r.ruled, r.titled, r.pending = false, false, share{}
	case r.ruled:
		r.share(line, n)
	case isStarted(line) && (r.titled || r.empty && strings.HasSuffix(r.before, ":") && r.before[0] != ' '):
		r.titled = true
		if name := clean(line); len(r.started) < maxServices && name != "" {
			r.started = append(r.started, service{name, n})
		}
	default:
		r.titled = false
	}
	if r.empty = line == ""; !r.empty {
		r.before = line
	}
}

// isStarted knows a line of net start, which has three blanks and a name.
func isStarted(line string) bool {
	return strings.HasPrefix(line, "   ") && len(line) > 3 && line[3] != ' ' && line[3] != '\t' && !strings.Contains(line, ". .") &&
		!strings.HasSuffix(line, ":") && !strings.Contains(line, ": ")
}

// The columns of net share.
const (
	atPath   = 13
	atRemark = 45
)

func (r *reading) share(line string, n int) {
	if strings.HasPrefix(line, `\\`) { // net session
		r.sessions, r.ruled = true, false
		return
	}
	name, path := columns(line)
	switch {
	case name == "" && r.pending.name != "" && path != "":
		r.pending.path = path
		r.keep(r.pending)
		r.pending = share{}
	case name == "" || r.pending.name != "":
		r.pending = share{}
	case utf8.RuneCountInString(line) >= atPath && (path != "" || strings.HasSuffix(name, "$")):
		r.keep(share{name, path, n})
	case path == "": // or the sentence at the end, below which there is no path
		r.pending = share{clean(line), "", n}
	}
}

func (r *reading) keep(s share) {
	if len(r.shares) < maxShares && s.name != "" && !strings.ContainsAny(s.name, `/\`) {
		r.shares = append(r.shares, s)
	}
}

// columns takes a row of net share apart. What is neither a path nor a device is no path.
func columns(line string) (name, path string) {
	at := 0
	cut := len(line)
	for i := range line {
		if at == atPath {
			cut = i
			break
		}
		at++
	}
	name, rest := line[:cut], line[cut:]
	if name != "" && !strings.HasSuffix(name, " ") && cut < len(line) {
		return clean(line), "" // a long name has a line of its own
	}
	path = strings.TrimSpace(rest)
	if strings.HasPrefix(rest, " ") && strings.TrimSpace(name) != "" {
		path = "" // a remark alone
	}
	if i := strings.Index(path, "  "); i >= 0 {
		path = path[:i]
	} else if i := atRemark - atPath; utf8.RuneCountInString(rest) > i && isPath(path) {
		runes := []rune(rest)
		if runes[i-1] == ' ' {
			path = strings.TrimSpace(string(runes[:i]))
		}
	}
	if !isPath(path) {
		path = ""
	}
	return clean(name), clean(path)
}

// isPath knows a folder, and the ports of printers.
func isPath(s string) bool {
	if len(s) >= 3 && s[1] == ':' && s[2] == '\\' && unicode.IsLetter(rune(s[0])) {
		return true
	}
	for _, port := range []string{"LPT", "COM", "USB", "IP_", "WSD", `\\`, "DOT4", "FILE:"} {
		if strings.HasPrefix(s, port) {
			return true
		}
	}
	return false
}

// clean drops characters that steer a terminal.
func clean(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, s))
}
