// Package kblist reads a plain list of KB numbers, as a person writes one down.
package kblist

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/host"
)

const readerName = "kblist"

// Reader reads a list of KB numbers.
var Reader = evidence.Reader{
	Name: readerName,
	Doc: `A list of KB numbers and nothing else: one in a line, or separated by spaces, commas or semicolons; # begins a comment.
A line "# host: FS01" names the machine, and a last line "# complete" says that no other CBS package is installed.
Write it by hand, or make it from what a program of yours knows.
It proves no more than its writer knew: a number in it counts as installed, and one that is not in it is missing only
if the list says that it is complete.`,
	Sniff: sniff,
	Read:  read,
}

// sniff accepts numbers without their letters only beside one that has them: a column of
// numbers may be anything.
func sniff(p evidence.Probe) bool {
	lettered, complete := false, false
	lines := evidence.Lines(p.Text)
	for i, line := range lines {
		words, comment := split(line)
		complete = complete || isComplete(comment)
		for j, w := range words {
			if _, ok := evidence.UpdateID(w); !ok {
				// The head may end in the middle of a number.
				return lettered && i == len(lines)-1 && j == len(words)-1 && !evidence.Ended(p.Text)
			}
			lettered = lettered || unicode.IsLetter(rune(w[0]))
		}
	}
	return lettered || complete
}

func isComplete(comment string) bool { return strings.EqualFold(comment, "complete") }

// split gives what a line lists, without bullets, and its comment.
func split(line string) (words []string, comment string) {
	line, comment, _ = strings.Cut(line, "#")
	for w := range strings.FieldsFuncSeq(line, func(r rune) bool { return unicode.IsSpace(r) || r == ',' || r == ';' }) {
		if w = strings.Trim(w, `"'`); w != "" && w != "-" && w != "*" && w != "•" {
			words = append(words, w)
		}
	}
	return words, strings.TrimSpace(comment)
}

func read(_ context.Context, in evidence.Input, h *host.Host) ([]evidence.Input, error) {
	text, err := in.Text()
	if err != nil {
		return nil, err
	}
	list := host.Listing{From: host.Source{Reader: readerName, Input: in.Name}, Scope: evidence.ScopeCBS, Announced: -1}
	var odd evidence.Oddities
	complete := false
	lines := evidence.Lines(text)
	// What the file ends with may be half of a number, if no line end is behind it and
	// today's seven digits are not there.
	cut := text[strings.LastIndexAny(text, " \t,;\r\n")+1:]
	if len(strings.TrimLeft(cut, "KkBb")) >= 7 {
		cut = ""
	}
	for i, line := range lines {
		from := host.Source{Reader: readerName, Input: in.Name, At: "line " + strconv.Itoa(i+1)}
		words, comment := split(line)
		if name, value, ok := strings.Cut(comment, ":"); ok && (strings.EqualFold(strings.TrimSpace(name), "host") || strings.EqualFold(strings.TrimSpace(name), "machine")) {
			if value = strings.TrimSpace(value); !strings.ContainsAny(value, " \t\\/:*?\"<>|") && len(value) < 256 && !strings.ContainsFunc(value, unicode.IsControl) {
				h.Name.Say(value, in.Rank, from)
			}
		}
		if strings.TrimSpace(line) != "" { // only the last line shows that nothing was cut off behind it
			complete = isComplete(comment) && len(words) == 0
		}
		for _, w := range words {
			kb, ok := evidence.UpdateID(w)
			if !ok || cut == w && i == len(lines)-1 {
				odd.Add(w)
				continue
			}
			list.Printed++
			h.Updates.Add(kb, from)
		}
	}
	if list.Printed == 0 && !complete {
		return nil, fmt.Errorf("%s lists no KB number", in.Name)
	}
	switch numbers := evidence.Count(list.Printed, "number", "numbers"); {
	case complete && odd.String() != "":
		list.Why = numbers + odd.String() // what it means is not known, so neither is that it is all
	case complete:
		list.Whole, list.Why = true, numbers+`; "# complete" says that there is no other`
	default:
		list.Why = numbers + `, without a last line "# complete"` + odd.String()
	}
	h.Updates.List(list)
	return nil, nil
}
