package nftables

import (
	"strings"
)

// kind is what a token is.
type kind uint8

const (
	word    kind = iota
	quoted       // its text without the quotes
	mark         // one of {}()[];,=!<>|&^ or two of them
	newline      // or a semicolon
	remark       // # and what follows
)

// token is one piece of a rule set.
type token struct {
	kind kind
	text string
	line int
}

func (t token) is(text string) bool { return (t.kind == word || t.kind == mark) && t.text == text }

const marks = "{}()[],=!<>|&^"

// lex takes text apart. A string that does not end, ends with its line.
func lex(text string) (out []token) {
	line := 1
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == '\n':
			out = append(out, token{newline, "\n", line})
			line++
			i++
		case c == ';':
			out = append(out, token{newline, ";", line})
			i++
		case c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v':
			i++
		case c == '\\' && i+1 < len(text) && text[i+1] == '\n':
			line++
			i += 2
		case c == '\\' && i+2 < len(text) && text[i+1:i+3] == "\r\n":
			line++
			i += 3
		case c == '#':
			end := i + strings.IndexByte(text[i:]+"\n", '\n')
			out = append(out, token{remark, text[i+1 : end], line})
			i = end
		case c == '"' || c == '\'':
			rest := text[i+1:]
			n := strings.IndexAny(rest, string(c)+"\n")
			if n < 0 {
				n = len(rest)
			}
			out = append(out, token{quoted, rest[:n], line})
			i += 1 + n
			if n < len(rest) && rest[n] != '\n' {
				i++
			}
		case strings.IndexByte(marks, c) >= 0:
			n := 1
			if i+1 < len(text) && (text[i+1] == '=' && strings.IndexByte("=!<>", c) >= 0 || text[i+1] == c && (c == '<' || c == '>')) {
				n = 2
			}
			out = append(out, token{mark, text[i : i+n], line})
			i += n
		default:
			n := strings.IndexAny(text[i:], marks+" \t\r\n\f\v;#\"'\\")
			switch {
			case n < 0:
				n = len(text) - i
			case n == 0:
				n = 1 // a backslash within a line
			}
			out = append(out, token{word, text[i : i+n], line})
			i += n
		}
	}
	return out
}

// textOf writes tokens back, for people.
func textOf(list []token) string {
	var s strings.Builder
	for i, t := range list {
		if t.kind == newline || t.kind == remark {
			continue
		}
		if i > 0 && !t.is(",") && s.Len() > 0 {
			s.WriteByte(' ')
		}
		if t.kind == quoted {
			s.WriteString(`"` + t.text + `"`)
		} else {
			s.WriteString(t.text)
		}
	}
	return s.String()
}

// balanced gives how many tokens the brace at the beginning of the list takes to its end, or all
// of them where it has none. The depth of nesting is only counted.
func balanced(list []token) int {
	depth := 0
	for i, t := range list {
		switch {
		case t.is("{") || t.is("("):
			depth++
		case t.is("}") || t.is(")"):
			if depth--; depth <= 0 {
				return i + 1
			}
		}
	}
	return len(list)
}
