// Package sc reads what sc.exe of Windows prints about services: sc query, sc queryex and sc
// qc, in any display language.
//
// A service is a block whose first indented line is its type, a number in hexadecimal with
// the constants it is made of. The fields behind it have one order in every language, and
// their values are numbers with constants, so no label is needed.
package sc

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/console"
	"github.com/oldguard/oldguard/internal/host"
)

const readerName = "sc"

// Reader reads the output of sc.
var Reader = evidence.Reader{
	Name: readerName,
	Doc: `The services as sc query, sc queryex and sc qc print them, in any language, also many in one file.
Obtain it with: sc queryex type= service state= all > services.txt
It proves which services there are, which ran, and with queryex in which process. When a service starts, and what it
runs, is shown by sc qc alone. Without state= all, sc lists the running ones only: it proves no service absent.`,
	Sniff: func(p evidence.Probe) bool { return len(parse(p.Text, 1)) > 0 },
	Read:  read,
}

// Bounds of what is kept.
const (
	maxServices = 20_000
	maxFields   = 20 // of one service
	maxValue    = 2000
)

// block is what was printed about one service.
type block struct {
	name, display string
	line          int
	fields        []field
}

type field struct {
	value string
	more  bool // a line below it goes on, as what a running service accepts does
}

func read(_ context.Context, in evidence.Input, h *host.Host) ([]evidence.Input, error) {
	text, err := in.Text()
	if err != nil {
		return nil, err
	}
	if parts := console.Parts(in, text); parts != nil {
		return parts, nil
	}
	blocks := parse(text, maxServices)
	if len(blocks) == 0 {
		return nil, fmt.Errorf("%s has no service as sc prints them", in.Name)
	}
	cut := !evidence.Ended(text)
	known := map[string]int{}
	for i, b := range blocks {
		if cut && i == len(blocks)-1 { // what it says last may be half of a value
			if b.fields = b.fields[:len(b.fields)-1]; len(b.fields) == 0 {
				break
			}
		}
		s, ok := b.service()
		if !ok {
			continue
		}
		s.From = host.Source{Reader: readerName, Input: in.Name, At: "line " + strconv.Itoa(b.line)}
		key := strings.ToLower(s.Name)
		at, again := known[key]
		if !again {
			known[key] = len(h.Services)
			h.Services = append(h.Services, s)
			continue
		}
		o := &h.Services[at] // sc query and sc qc of one service
		if o.Start == "" {
			o.Start, o.Image = s.Start, s.Image
		}
		if o.Running == host.Unknown {
			o.Running, o.PID = s.Running, s.PID
		}
		if o.PID == 0 {
			o.PID = s.PID
		}
		if o.Display == "" {
			o.Display = s.Display
		}
	}
	if cut {
		h.Gap(host.Gap{
			What: "services", From: host.Source{Reader: readerName, Input: in.Name}, Why: "the file ends within a line; services behind it are missing",
			Hint: "run: sc queryex type= service state= all > services.txt",
		})
	}
	return nil, nil
}

// parse finds the blocks.
func parse(text string, limit int) (blocks []block) {
	var head [2]string // the last lines without indentation
	headLine := 0
	open := false
	for n, rest := 1, text; rest != ""; n++ {
		var line string
		line, rest = evidence.NextLine(rest)
		if _, prompt := evidence.Prompt(line); prompt || line == "" {
			open, head = false, [2]string{}
			continue
		}
		if line[0] != ' ' && line[0] != '\t' {
			_, value, ok := strings.Cut(line, ":")
			if !ok {
				value = ""
			}
			open, head[0], head[1] = false, head[1], strings.TrimSpace(value)
			if head[0] == "" {
				headLine = n
			}
			continue
		}
		if len(line) > maxValue {
			continue
		}
		label, value, ok := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch {
		case !open && ok && isType(value) && head[1] != "":
			if len(blocks) == limit {
				return blocks
			}
			b := block{name: head[1], line: headLine}
			if head[0] != "" {
				b.name, b.display = head[0], head[1]
			}
			b.fields = append(b.fields, field{value: value})
			blocks = append(blocks, b)
			open = true
		case !open:
		case ok && strings.TrimSpace(label) != "" && len(blocks[len(blocks)-1].fields) < maxFields:
			b := &blocks[len(blocks)-1]
			b.fields = append(b.fields, field{value: value})
		default:
			b := &blocks[len(blocks)-1]
			b.fields[len(b.fields)-1].more = true
		}
	}
	return blocks
}

// isType knows "20  WIN32_SHARE_PROCESS" and "110  WIN32_OWN_PROCESS (interactive)": the
// type of a service, in hexadecimal, with its constants.
// https://learn.microsoft.com/windows/win32/api/winsvc/ns-winsvc-service_status_process, read 2026-11-25.
func isType(value string) bool {
	number, rest, _ := strings.Cut(value, " ")
	_, err := strconv.ParseUint(number, 16, 32)
	rest = strings.TrimSpace(rest)
	for _, constant := range []string{"WIN32", "KERNEL_DRIVER", "FILE_SYSTEM_DRIVER", "USER_", "INTERACTIVE"} {
		if err == nil && strings.HasPrefix(rest, constant) {
			return true
		}
	}
	return false
}

// The bits of the type that make it a service and no driver: SERVICE_WIN32.
const win32 = 0x30

// Places of the fields behind the type, the first.
const (
	// of sc query and queryex, which print that structure from its beginning to its end
	atState = 1
	atExit  = 2
	atPID   = 6
	// of sc qc
	atStart   = 1
	atImage   = 3
	atDisplay = 6
)

// starts are the ways to start, by number: SERVICE_BOOT_START and so on.
var starts = []host.Start{host.StartBoot, host.StartSystem, host.StartAuto, host.StartManual, host.StartDisabled}

// States by number. All but SERVICE_STOPPED have a process: those that start, stop, are
// paused or run.
const (
	stopped   = 1
	lastState = 7 // SERVICE_PAUSED
)

// service says what the fields mean. Drivers are left out.
func (b block) service() (s host.Service, ok bool) {
	kind, err := strconv.ParseUint(word(b.fields[0].value), 16, 32)
	s.Name, s.Display = clean(b.name), clean(b.display)
	if err != nil || kind&win32 == 0 || s.Name == "" || strings.ContainsAny(s.Name, `/\`) { // names have no slashes
		return s, false
	}
	at := func(i int) string {
		if i < len(b.fields) {
			return b.fields[i].value
		}
		return ""
	}
	if len(b.fields) <= atExit && !b.isQuery() {
		return s, true // cut before what tells one from the other
	}
	if b.isQuery() {
		switch n, err := strconv.ParseUint(word(at(atState)), 10, 8); {
		case err != nil || n == 0 || n > lastState:
		case n == stopped:
			s.Running = host.No
		default:
			s.Running = host.Yes
		}
		if pid, err := strconv.ParseUint(at(atPID), 10, 32); err == nil {
			s.PID = uint32(pid)
		}
		return s, true
	}
	if n, err := strconv.ParseUint(word(at(atStart)), 10, 8); err == nil && n < uint64(len(starts)) {
		s.Start = starts[n]
	}
	s.Image = clean(at(atImage))
	if s.Display == "" {
		s.Display = clean(at(atDisplay))
	}
	return s, true
}

// isQuery tells sc query from sc qc: its second field is the state with what is accepted on
// a line below it, and its third an exit code twice, "0  (0x0)".
func (b block) isQuery() bool {
	return len(b.fields) > atState && b.fields[atState].more || len(b.fields) > atExit && strings.HasSuffix(b.fields[atExit].value, ")") && strings.Contains(b.fields[atExit].value, "(0x")
}

func word(s string) string {
	w, _, _ := strings.Cut(s, " ")
	return w
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
