// Package cbslog reads CBS.log, the log of Windows servicing, whole or in parts. On Windows
// Vista and Server 2008 pkgmgr writes to it too.
package cbslog

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/cbs"
	"github.com/oldguard/oldguard/internal/host"
)

const readerName = "cbslog"

// Reader reads CBS.log.
var Reader = evidence.Reader{
	Name: readerName,
	Doc: `CBS.log, the log of Windows servicing, whole or lines of it; it is written in English everywhere.
Obtain it with: copy %windir%\Logs\CBS\CBS.log .
or only the lines that matter: findstr /c:"ESU:" /c:", Error" /c:"current: " %windir%\Logs\CBS\CBS.log > cbs-extract.log
It proves what failed and with which code, among them why an extended security update was refused, and the state of a
package at the time of its line. What happened later it does not know: it makes no update installed or missing.`,
	Sniff: func(p evidence.Probe) bool {
		for line := range strings.Lines(p.Text) {
			if e, ok := parse(line); ok && parts[e.part] {
				return true
			}
		}
		return false
	},
	Read: read,
}

// entry is one line: 2020-02-12 10:00:00, Info                  CBS    text.
type entry struct {
	on                time.Time
	level, part, text string
}

// parts are those that write to the log.
var parts = map[string]bool{"CBS": true, "CSI": true, "DPX": true, "CMI": true, "DEPLOY": true, "SQM": true}

const stamp = "2006-01-02 15:04:05"

func parse(line string) (e entry, ok bool) {
	// findstr puts the file's name in front where it searches several.
	line = strings.TrimSpace(line)
	if len(line) > len(stamp) && line[len(stamp)] != ',' {
		if at := strings.Index(line[:min(len(line), 300)], ".log:"); at >= 0 {
			line = line[at+len(".log:"):]
		}
	}
	if len(line) <= len(stamp) || line[len(stamp)] != ',' {
		return e, false
	}
	on, err := time.Parse(stamp, line[:len(stamp)])
	if err != nil {
		return e, false
	}
	e.on = on
	rest := strings.TrimLeft(line[len(stamp)+1:], " ")
	e.level, rest, _ = strings.Cut(rest, " ")
	rest = strings.TrimLeft(rest, " ")
	e.part, e.text, _ = strings.Cut(rest, " ")
	e.text = strings.TrimSpace(e.text)
	return e, e.part != ""
}

// Bounds of what one log may say.
const (
	maxErrors = 200
	maxText   = 240 // characters
)

func read(_ context.Context, in evidence.Input, h *host.Host) ([]evidence.Input, error) {
	text, err := in.Text()
	if err != nil {
		return nil, err
	}
	lines := evidence.Lines(text)
	if !evidence.Ended(text) && len(lines) > 0 {
		lines = lines[:len(lines)-1]
	}
	entries, left := 0, 0
	packages := map[string]int{} // place in h.Packages
	errs := map[string]int{}     // place in h.Errors
	for i, line := range lines {
		e, ok := parse(line)
		if !ok {
			continue
		}
		entries++
		from := host.Source{Reader: readerName, Input: in.Name, At: "line " + strconv.Itoa(i+1), Taken: e.on}
		if p, ok := packageOf(e.text); ok {
			p.From = from
			at, seen := packages[p.Name]
			if !seen {
				at = len(h.Packages)
				packages[p.Name] = at
				h.Packages = append(h.Packages, p)
			}
			h.Packages[at] = p // the last one counts
		}
		code, bad := failure(e)
		if !bad {
			continue
		}
		l := host.LogError{Code: code, Text: shorten(e.text), On: e.on, From: from}
		at, seen := errs[l.Code+l.Text]
		switch {
		case seen:
			h.Errors[at] = l // the same again: when it happened last
		case len(h.Errors) >= maxErrors:
			left++
		default:
			errs[l.Code+l.Text] = len(h.Errors)
			h.Errors = append(h.Errors, l)
		}
	}
	if entries == 0 {
		return nil, fmt.Errorf("%s has no line as CBS.log has them", in.Name)
	}
	if len(h.Errors)+len(h.Packages) == 0 {
		h.Gap(host.Gap{What: "errors", From: host.Source{Reader: readerName, Input: in.Name}, Why: "the log shows neither a failure nor the state of a package"})
	}
	if left > 0 {
		h.Gap(host.Gap{What: "errors", From: host.Source{Reader: readerName, Input: in.Name}, Why: evidence.Count(left, "more error was", "more errors were") + " not kept"})
	}
	return nil, nil
}

// packageOf finds a package and its state: "… package: Package_for_KB…~~6.0.1.0, current:
// Installed, pending: Default, …"; earlier "current state: Installed".
func packageOf(text string) (p host.Package, ok bool) {
	_, rest, ok := strings.Cut(text, "ackage: ")
	if !ok {
		return p, false
	}
	p.Name, rest, _ = strings.Cut(rest, ",")
	id, ok := cbs.Parse(p.Name)
	if !ok {
		return p, false
	}
	p.KB = id.KB
	for _, label := range []string{" current: ", " current state: "} {
		if _, state, found := strings.Cut(rest, label); found {
			state, _, _ = strings.Cut(state, ",")
			p.State = cbs.StateWord(state)
			break
		}
	}
	if _, client, found := strings.Cut(rest, " client id: "); found {
		client, _, _ = strings.Cut(client, ",")
		p.Client = shorten(client)
	}
	return p, p.State != host.PackageUnknown
}

// signs are words of a line that tells of a failure though its level is Info.
// MicrosoftDocs/SupportArticles-docs, troubleshoot-extended-security-updates-issues (KB4547184),
// and azure-docs, azure-arc/servers/troubleshoot-extended-security-updates, read 2026-11-22.
var signs = []string{
	"esu: not eligible", "not eligible:", "esu: windows is not activated", "esu: no esu key found", "pre imds checks failed",
	"esu: trying to check imds again", "must be updated before you can install this package",
}

// failure gives the code of what failed, as 0x80070661, and whether anything did.
func failure(e entry) (code string, bad bool) {
	code = codeOf(e.text)
	lower := strings.ToLower(e.text)
	for _, s := range signs {
		if strings.Contains(lower, s) {
			return code, true
		}
	}
	result := e.level == "Error" || strings.Contains(lower, "processing complete") || strings.Contains(lower, "return code:") || strings.HasPrefix(lower, "wer:")
	return code, code != "" && result || e.level == "Error"
}

// codeOf finds an HRESULT that is an error: 0x800f0922, or HRESULT_FROM_WIN32(1633), which
// is 0x80070661.
func codeOf(text string) string {
	if _, rest, ok := strings.Cut(text, "HRESULT_FROM_WIN32("); ok {
		digits, _, closed := strings.Cut(rest, ")")
		if n, err := strconv.ParseUint(digits, 10, 16); err == nil && closed && n > 0 {
			return fmt.Sprintf("0x8007%04x", n)
		}
	}
	for rest := text; ; {
		_, after, ok := strings.Cut(rest, "0x")
		if !ok {
			return ""
		}
		end := 0
		for end < len(after) && strings.IndexByte("0123456789abcdefABCDEF", after[end]) >= 0 {
			end++
		}
		if end == 8 && strings.IndexByte("89cCdD", after[0]) >= 0 {
			return "0x" + strings.ToLower(after[:8])
		}
		rest = after[end:]
	}
}

// shorten makes a line of bounded length of what a log holds.
func shorten(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "…"
}
