// Package ver reads the few lines that tell a Windows version and nothing else: what ver
// prints, the banner of cmd.exe, and what the window of winver shows.
package ver

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/console"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

const readerName = "ver"

// Reader reads the output of ver and the text of winver.
var Reader = evidence.Reader{
	Name: readerName,
	Doc: `What ver prints, "Microsoft Windows [Version 6.0.6003]", in any language; the banner of cmd.exe; the text of winver.
Obtain it with: ver > ver.txt
It proves the build, from Windows 10 version 1909 on with its revision; winver also shows the service pack. On Windows
6.x it proves no update beyond what the build number itself does, and it does not tell a client from a server.`,
	Sniff: func(p evidence.Probe) bool { return len(p.Head) < maxSize && len(find(p.Text)) > 0 },
	Read:  read,
}

const (
	maxSize  = 4 << 10 // bytes; the text of winver has some 600, with a licence terms line
	maxLines = 24      // that are not empty
)

type found struct {
	line    int
	version winver.Version
}

// find gives the lines that state a version. A text in which others than the words of
// these programs stand is not theirs: a console may begin with the banner and go on with
// anything.
func find(text string) (all []found) {
	n := 0
	for i, line := range evidence.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if n++; n > maxLines {
			return nil
		}
		command, prompt := evidence.Prompt(line)
		switch lower := strings.ToLower(line); {
		case prompt:
			if c := strings.ToLower(command); c != "" && c != "ver" && c != "winver" && c != "exit" && !strings.HasPrefix(c, "ver ") {
				return nil
			}
		case isBanner(line):
			v, err := winver.Parse(line[strings.IndexByte(line, '['):])
			if err != nil || !v.Build.Known() {
				return nil
			}
			all = append(all, found{i + 1, v})
		case isWinver(line):
			v, err := winver.Parse(line)
			if err != nil || !v.Build.Known() {
				return nil
			}
			all = append(all, found{i + 1, v})
		case strings.ContainsAny(line, "{}[]|=<>\t") || strings.Contains(lower, "kb") && strings.ContainsAny(line, "0123456789"):
			return nil
		case n == 1 && !strings.Contains(line, "Windows"):
			return nil
		}
	}
	return all
}

// isBanner: Microsoft Windows [Version 6.0.6003], Microsoft Windows XP [版本 5.1.2600].
func isBanner(line string) bool {
	at := strings.IndexByte(line, '[')
	return at > 0 && strings.HasPrefix(line, "Microsoft ") && strings.Contains(line[:at], "Windows") && strings.HasSuffix(line, "]")
}

// isWinver: Version 6.0 (Build 6003: Service Pack 2), Version 1809 (Build 17763.107), with the
// first and the third word translated.
func isWinver(line string) bool {
	open := strings.IndexByte(line, '(')
	if open < 0 || !strings.HasSuffix(line, ")") || len(line) > 120 {
		return false
	}
	words := strings.Fields(line[:open])
	inner := strings.FieldsFunc(line[open+1:len(line)-1], func(r rune) bool { return r == ' ' || r == ':' })
	if len(words) != 2 || len(inner) < 2 || len(inner) > 6 {
		return false
	}
	for _, w := range inner {
		if number, _, _ := strings.Cut(w, "."); len(number) >= 4 && strings.Trim(number, "0123456789") == "" {
			return true
		}
	}
	return false
}

func read(_ context.Context, in evidence.Input, h *host.Host) ([]evidence.Input, error) {
	text, err := in.Text()
	if err != nil {
		return nil, err
	}
	if parts := console.Parts(in, text); parts != nil {
		return parts, nil
	}
	all := find(text)
	if len(all) == 0 {
		return nil, fmt.Errorf("%s is not what ver or winver shows", in.Name)
	}
	for _, f := range all {
		from := host.Source{Reader: readerName, Input: in.Name, At: "line " + strconv.Itoa(f.line)}
		h.Build.Say(f.version.Build, in.Rank, from)
		h.ServicePack.Say(f.version.ServicePack, in.Rank, from)
	}
	return nil, nil
}
