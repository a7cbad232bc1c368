// Package console takes a text apart that holds what several commands printed: all that a
// batch file appended to one file, or what was copied out of a window. Each command's
// output is known by its shape, in any display language, and where the commands are in the
// text too, by the prompts.
//
// It says nothing about a machine. It is for the readers of such output: the one that
// recognises the beginning of the text gives what Parts finds as its nested inputs.
package console

import (
	"strconv"
	"strings"

	"github.com/oldguard/oldguard/internal/evidence"
)

// Bounds: of the parts of one text, behind which the last one takes the rest, and of the
// lines above a first line that may be its title.
const (
	maxParts = 2000
	maxAbove = 16
)

// section is a part of the text.
type section struct {
	kind       *shape // nil where no line is known
	start, end int
	command    string // of the prompt at its beginning, in lower case
}

// Parts gives the outputs in a text, one input for each, in their order, named after the
// command below the name of in, and so as files of one archive. It gives nothing if
// the text is the output of one command.
func Parts(in evidence.Input, text string) []evidence.Input {
	sections := split(text)
	for i, s := range sections {
		if s.kind != nil && s.kind.holds != nil && !s.kind.holds(text[s.start:s.end]) {
			sections[i].kind = nil
		}
	}
	kinds := map[string]bool{}
	for _, s := range sections {
		if s.kind != nil && !s.kind.weak {
			kinds[s.kind.name] = true
		}
	}
	if len(kinds) < 2 {
		return nil
	}
	var parts []evidence.Input
	count := map[string]int{}
	for _, s := range sections {
		name := s.command
		if s.kind != nil {
			name = s.kind.name
		}
		if s.kind == nil && !readable[name] || s.kind != nil && s.kind.unread {
			continue
		}
		name = strings.ReplaceAll(name, " ", "-")
		if count[name]++; count[name] > 1 {
			name += "-" + strconv.Itoa(count[name])
		}
		parts = append(parts, evidence.TextInput(in.Name+"/"+name, text[s.start:s.end]))
	}
	return parts
}

// readable are commands whose output is handed on though no shape knows it. What others
// print, such as cd and dir, is left out.
var readable = map[string]bool{
	"cscript": true, "dism": true, "get-ciminstance": true, "get-computerinfo": true, "get-hotfix": true, "get-nettcpconnection": true,
	"get-windowspackage": true, "get-wmiobject": true, "net start": true, "netsh": true, "powershell": true, "slmgr": true, "systeminfo": true, "wmic": true,
}

// clocks are commands whose output says when the next one ran.
var clocks = map[string]bool{"date": true, "time": true, "echo": true}

// split finds the sections, which cover the text but for what stands before the first one.
func split(text string) []section {
	var sections []section
	var above []string // the last lines since the last one that was known
	var starts []int   // of those lines
	open := false      // whether the last section goes on
	end := func(at int) {
		if open {
			sections[len(sections)-1].end = at
		}
		open = false
	}
	begin := func(kind *shape, start int, command string) {
		if len(sections) >= maxParts {
			open = true
			return
		}
		end(start)
		sections = append(sections, section{kind: kind, start: start, command: command})
		open = true
	}
	before := ""
	for rest := text; rest != ""; {
		start := len(text) - len(rest)
		var line string
		line, rest = evidence.NextLine(rest)
		if command, prompt := evidence.Prompt(line); prompt {
			if command != "" {
				begin(nil, start, program(command))
			} else {
				end(start)
			}
			above, starts, before = above[:0], starts[:0], ""
			continue
		}
		if kind := kindOf(line, before); kind != nil {
			last := len(sections) - 1
			switch {
			case open && sections[last].kind == kind:
			case open && sections[last].kind == nil:
				sections[last].kind = kind
			default:
				at := start
				if kind.back != nil {
					if n := kind.back(above); n > 0 {
						at = starts[len(starts)-n]
					}
				}
				begin(kind, at, "")
			}
			above, starts = above[:0], starts[:0]
		} else {
			if len(above) == maxAbove {
				above, starts = append(above[:0], above[1:]...), append(starts[:0], starts[1:]...)
			}
			above, starts = append(above, line), append(starts, start)
		}
		before = line
	}
	end(len(text))
	return join(sections)
}

func kindOf(line, before string) *shape {
	if line == "" {
		return nil
	}
	for i := range shapes {
		if shapes[i].is(line, before) {
			return &shapes[i]
		}
	}
	return nil
}

// program is the name of the program in a command: netstat of C:\Windows\System32\NETSTAT.EXE -ano.
// That of net has what is asked with it.
func program(command string) string {
	word, rest, _ := strings.Cut(command, " ")
	word = strings.Trim(word, `"'@(`)
	word = word[strings.LastIndexByte(word, '\\')+1:]
	word = strings.ToLower(word)
	for _, ext := range []string{".exe", ".com", ".vbs"} {
		word = strings.TrimSuffix(word, ext)
	}
	if asked := strings.Fields(rest); word == "net" && len(asked) > 0 {
		word += " " + strings.ToLower(asked[0])
	}
	return word
}

// join puts together what follows on each other and is of one kind, as netstat asked again
// and again, with the dates between.
func join(sections []section) []section {
	var out []section
	clock := -1 // where the commands that print the time began
	for _, s := range sections {
		last := len(out) - 1
		switch {
		case s.kind == nil && clocks[s.command]:
			if clock < 0 {
				clock = s.start
			}
			continue
		case s.kind != nil && s.kind.name == "netstat" && last >= 0 && out[last].kind == s.kind,
			s.kind != nil && clock < 0 && last >= 0 && out[last].kind == s.kind:
			out[last].end = s.end
		default:
			if s.kind != nil && s.kind.name == "netstat" && clock >= 0 {
				s.start = clock
			}
			out = append(out, s)
		}
		clock = -1
	}
	return out
}
