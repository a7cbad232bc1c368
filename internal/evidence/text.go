package evidence

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
)

// MaxText is the largest text file that is read. The largest real one known, the update
// list of an XP machine, has 120 KB; a list of a whole fleet may be a thousand times that.
const MaxText = 64 << 20

// Text reads the whole input as text, as Decode does. An input of more than MaxText bytes
// is an error, as is a tree.
func (in Input) Text() (string, error) {
	if in.File == nil {
		return "", fmt.Errorf("%s is a folder where a text file is expected", in.Name)
	}
	if in.File.Size() > MaxText {
		return "", fmt.Errorf("%d bytes are more than the %d MiB that are read of a text file", in.File.Size(), MaxText>>20)
	}
	b := make([]byte, in.File.Size())
	n, err := in.File.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read %s: %w", in.Name, err)
	}
	return Decode(b[:n]), nil
}

// Decode turns a text file of any Windows machine into UTF-8. It never fails: UTF-16 and
// UTF-8 are recognised with and without byte order mark, also UTF-16 behind an 8-bit
// first line as wmic of XP writes it; anything else is taken for the code page that makes
// the most words of it, with the system locale named in the text as a hint. Digits, KB
// numbers and ASCII names come out right even if that guess is wrong. NUL characters and
// byte order marks are dropped.
func Decode(b []byte) string {
	switch {
	case bytes.HasPrefix(b, []byte{0xff, 0xfe}):
		return decode16(b[2:], false)
	case bytes.HasPrefix(b, []byte{0xfe, 0xff}):
		return decode16(b[2:], true)
	}
	if start, big, ok := find16(b); ok {
		return string(b[:start]) + decode16(b[start:], big)
	}
	if validUTF8(b) {
		return clean(string(b))
	}
	return clean(decode8(b))
}

// validUTF8 allows for a character cut at the end.
func validUTF8(b []byte) bool {
	for range utf8.UTFMax {
		if utf8.Valid(b) {
			return true
		}
		if len(b) == 0 || b[len(b)-1] < utf8.RuneSelf {
			return false
		}
		b = b[:len(b)-1]
	}
	return false
}

func clean(s string) string {
	if !strings.ContainsAny(s, "\x00\ufeff") {
		return s
	}
	return strings.NewReplacer("\x00", "", "\ufeff", "").Replace(s)
}

func decode16(b []byte, big bool) string {
	var out strings.Builder
	out.Grow(len(b)/2 + len(b)/16)
	lo, hi := 0, 1
	if big {
		lo, hi = 1, 0
	}
	unit := func(i int) rune { return rune(b[i+lo]) | rune(b[i+hi])<<8 }
	for i := 0; i+1 < len(b); i += 2 {
		r := unit(i)
		switch {
		case r == 0 || r == '\ufeff':
			continue
		case utf16.IsSurrogate(r) && i+3 < len(b):
			if pair := utf16.DecodeRune(r, unit(i+2)); pair != unicode.ReplacementChar {
				r, i = pair, i+2
			}
		}
		out.WriteRune(r) // a lone surrogate becomes U+FFFD
	}
	return out.String()
}

// find16 tells whether b is UTF-16 without a mark, from start on: ASCII characters, of
// which every listing has many, leave every second byte zero.
func find16(b []byte) (start int, big, ok bool) {
	b = b[:min(len(b), 8<<10)]
	i := bytes.IndexByte(b, 0)
	if i < 0 {
		return 0, false, false
	}
	zeros := func(b []byte) (even, odd int) {
		for j, c := range b {
			switch {
			case c != 0:
			case j%2 == 0:
				even++
			default:
				odd++
			}
		}
		return even, odd
	}
	const many, few = 6, 30 // at least a sixth of the units, at most a thirtieth
	try := func(at int, big bool) (int, bool, bool) {
		even, odd := zeros(b[at:])
		if big {
			even, odd = odd, even
		}
		units := (len(b) - at) / 2
		if units < 4 || odd <= units/many || even > units/few {
			return 0, false, false
		}
		if !printable(b[:at]) {
			at %= 2 // not an 8-bit line in front, but characters beyond ASCII
		}
		return at, big, true
	}
	if i > 0 {
		if start, big, ok = try(i-1, false); ok {
			return start, big, ok
		}
	}
	return try(i, true)
}

func printable(b []byte) bool {
	for _, c := range b {
		if (c < ' ' || c > '~') && c != '\r' && c != '\n' && c != '\t' {
			return false
		}
	}
	return true
}

// codePages names, for a language of Windows, its OEM code page, which cmd.exe writes,
// and its ANSI code page. Those that golang.org/x/text lacks (737, 857, 720, 775) are left
// out. From Microsoft's "Code Page Identifiers" and the locale table (NLS).
var codePages = map[string][]encoding.Encoding{
	"":   {charmap.CodePage850, charmap.Windows1252, charmap.CodePage866, charmap.Windows1251},
	"bg": {charmap.CodePage866, charmap.Windows1251},
	"be": {charmap.CodePage866, charmap.Windows1251},
	"cs": {charmap.CodePage852, charmap.Windows1250},
	"da": {charmap.CodePage850, charmap.CodePage865, charmap.Windows1252},
	"el": {charmap.Windows1253},
	"he": {charmap.CodePage862, charmap.Windows1255},
	"hr": {charmap.CodePage852, charmap.Windows1250},
	"hu": {charmap.CodePage852, charmap.Windows1250},
	"ja": {japanese.ShiftJIS},
	"ko": {korean.EUCKR},
	"nb": {charmap.CodePage850, charmap.CodePage865, charmap.Windows1252},
	"pl": {charmap.CodePage852, charmap.Windows1250},
	"ro": {charmap.CodePage852, charmap.Windows1250},
	"ru": {charmap.CodePage866, charmap.Windows1251},
	"sk": {charmap.CodePage852, charmap.Windows1250},
	"sl": {charmap.CodePage852, charmap.Windows1250},
	"th": {charmap.Windows874},
	"tr": {charmap.Windows1254},
	"uk": {charmap.CodePage866, charmap.Windows1251},
	"zh": {simplifiedchinese.GBK, traditionalchinese.Big5},
}

// decode8 reads b in the code page that makes most sense of it.
func decode8(b []byte) string {
	pages, ok := codePages[localeOf(b)]
	if !ok {
		pages = codePages[""]
	}
	sample := b[:min(len(b), 64<<10)]
	best, bestScore := pages[0], 0
	for i, p := range pages {
		text, err := p.NewDecoder().Bytes(sample)
		if err != nil {
			continue
		}
		if s := wordScore(text); i == 0 || s > bestScore {
			best, bestScore = p, s
		}
	}
	text, err := best.NewDecoder().Bytes(b)
	if err != nil { // charmaps and the East Asian decoders replace, they do not fail
		return strings.ToValidUTF8(string(b), "\ufffd")
	}
	return string(text)
}

// wordScore counts letters beyond ASCII, and takes off what does not occur in words: signs,
// and letters of another alphabet beside Latin ones.
func wordScore(text []byte) (score int) {
	isLatin := func(b rune) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' }
	latin := false // whether the character before is an ASCII letter
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		text = text[n:]
		before := latin
		latin = r < utf8.RuneSelf && isLatin(r)
		switch {
		case r < utf8.RuneSelf || r == '\u00a0' || r == '\u00ae' || r == '\u2122':
		case r == utf8.RuneError:
			score -= 4
		case unicode.IsLetter(r) && !unicode.Is(unicode.Latin, r) && (before || len(text) > 0 && isLatin(rune(text[0]))):
			score -= 2
		case unicode.In(r, unicode.Ll, unicode.Lu, unicode.Lo):
			score++
		default:
			score -= 2
		}
	}
	return score
}

// localeOf finds a locale as systeminfo writes it, "de;Deutsch (Deutschland)", and gives
// its language, or nothing.
func localeOf(b []byte) string {
	for i := 0; i < len(b); {
		j := bytes.IndexByte(b[i:], ';')
		if j < 0 {
			return ""
		}
		end := i + j
		i = end + 1
		start := end
		for start > 0 && end-start < 12 && (b[start-1] >= 'a' && b[start-1] <= 'z' || b[start-1] == '-') {
			start--
		}
		lang, _, _ := bytes.Cut(b[start:end], []byte("-"))
		if len(lang) == 2 && start > 0 && (b[start-1] == ' ' || b[start-1] == '"') {
			return string(lang)
		}
	}
	return ""
}

// Lines splits text at line ends of any kind, also the doubled carriage returns that a
// redirected wmic writes, and trims white space at the ends of lines.
func Lines(text string) []string {
	lines := make([]string, 0, strings.Count(text, "\n")+1)
	for text != "" {
		var line string
		line, text = NextLine(text)
		lines = append(lines, line)
	}
	return lines
}

// NextLine takes the first line off a text that is not empty, as Lines does, for texts of
// too many lines to keep them all.
func NextLine(text string) (line, rest string) {
	i := strings.IndexAny(text, "\r\n\v\f")
	if i < 0 {
		return strings.TrimRightFunc(text, unicode.IsSpace), ""
	}
	line, rest = text[:i], text[i:]
	cr := len(rest) - len(strings.TrimLeft(rest, "\r"))
	rest = rest[cr:]
	if rest != "" && strings.IndexByte("\n\v\f", rest[0]) >= 0 {
		rest = rest[1:]
	}
	return strings.TrimRightFunc(line, unicode.IsSpace), rest
}

// Ended reports whether the text ends with a line end, as every program's output does; if
// not, the file may have been cut in the last line.
func Ended(text string) bool {
	return strings.HasSuffix(text, "\n") || strings.HasSuffix(text, "\r")
}

// Prompt tells whether a line is a prompt with a command of cmd.exe or PowerShell, as in
// a pasted console, and gives the command.
func Prompt(line string) (command string, ok bool) {
	line = strings.TrimSpace(line)
	rest, ps := strings.CutPrefix(line, "PS ")
	if !ps && (len(rest) < 3 || rest[1] != ':' || rest[2] != '\\') {
		return "", false
	}
	_, command, ok = strings.Cut(rest, ">")
	return strings.TrimSpace(command), ok
}
