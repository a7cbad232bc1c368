// Package notify sends messages to people and programs: by mail, by a signed webhook, and to
// chats and pagers: see Kinds. It decides nothing, remembers nothing and knows nothing of machines:
// what is said, when and to whom is the caller's matter. Package fleet/alert uses it.
package notify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Errors that tell whether to try again. Any other error means that the message did not go,
// and may later.
var (
	// ErrPermanent: the message did not go, and will not however often it is tried.
	ErrPermanent = errors.New("trying again is of no use")
	// ErrUnsure: it may have gone. Sending it again might send it twice.
	ErrUnsure = errors.New("not known whether it went")
)

// Severity is how bad something is. The zero value is a mere note.
type Severity uint8

// The severities.
const (
	Note Severity = iota
	Warning
	Critical
)

var severities = [...]string{"note", "warning", "critical"}

// String gives note, warning or critical.
func (s Severity) String() string { return severities[min(int(s), len(severities)-1)] }

// ParseSeverity reads what String gives.
func ParseSeverity(word string) (Severity, error) {
	for i, name := range severities {
		if name == word {
			return Severity(i), nil // #nosec G115 -- an index of a short table
		}
	}
	return Note, fmt.Errorf("%q is no severity", word)
}

// Severities lists the severities, the least first.
func Severities() []Severity { return []Severity{Note, Warning, Critical} }

// Message is one message. Its texts may hold what evidence says: channels escape it.
type Message struct {
	// ID is the same each time a message is tried, so that who gets it twice can tell.
	ID      string
	Subject string
	Items   []Item
	More    int       // how many items were left out
	Why     string    // it is sent
	Link    string    // where to look; may be empty
	At      time.Time // it was made
	Sent    time.Time // of this attempt: what a signature states
	Test    bool
}

// Item is one thing that a message tells.
type Item struct {
	Severity Severity
	Rule     string
	Title    string
	Text     string
	Link     string // may be empty
	Ended    bool   // it is over
}

// Notifier sends messages over one channel. All methods may be called at the same time.
type Notifier struct {
	Name string // of the kind of channel
	Send func(ctx context.Context, m *Message) error
}

// Kind is a kind of channel: code and its documentation together.
type Kind struct {
	Name, Doc string
	Fields    []Field
	// Open checks the settings and makes a notifier of them; it sends nothing.
	Open func(s Settings, o Options) (Notifier, error)
}

// Field is one setting of a kind of channel.
type Field struct {
	Name, Label, Doc string
	Secret           bool // never shown again
	Required         bool
}

// Options are those of the server.
type Options struct {
	// Local lets channels reach loopback and link-local addresses.
	Local bool
}

// Kinds lists the kinds of channels.
func Kinds() []Kind { return append([]Kind{smtpKind(), webhookKind()}, chatKinds()...) }

// Open makes a notifier of the kind of that name.
func Open(kind string, s Settings, o Options) (Notifier, error) {
	k, err := KindOf(kind)
	if err != nil {
		return Notifier{}, err
	}
	known := map[string]bool{}
	for _, f := range k.Fields {
		known[f.Name] = true
		if f.Required && s.get(f.Name) == "" {
			return Notifier{}, fmt.Errorf("%s is missing", f.Label)
		}
	}
	for name, v := range s {
		if !known[name] {
			return Notifier{}, fmt.Errorf("a channel of the kind %s has no setting %q", kind, name)
		}
		if len(v) > maxSetting || strings.ContainsFunc(v.Reveal(), unicode.IsControl) {
			return Notifier{}, fmt.Errorf("the setting %s is too long or has characters that are not shown", name)
		}
	}
	return k.Open(s, o)
}

// KindOf gives the kind of that name.
func KindOf(name string) (Kind, error) {
	for _, k := range Kinds() {
		if k.Name == name {
			return k, nil
		}
	}
	return Kind{}, fmt.Errorf("there is no kind of channel %q", name)
}

const (
	maxSetting = 2000
	maxSubject = 200
	maxText    = 2000
)

// line makes one line of a text that may hold anything: without control characters, and
// without those that turn the direction of writing.
func line(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
	s = strings.Join(strings.Fields(s), " ")
	if len(s) <= most {
		return s
	}
	s = s[:most]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + "…"
}

// text is a message as plain text.
func text(m *Message) string {
	var b strings.Builder
	if m.Test {
		b.WriteString("This is a test: nothing happened.\n\n")
	}
	for _, it := range m.Items {
		b.WriteString(heading(&it) + "\n")
		if it.Text != "" {
			b.WriteString("  " + line(it.Text, maxText) + "\n")
		}
		if it.Link != "" {
			b.WriteString("  " + line(it.Link, maxText) + "\n")
		}
	}
	if m.More > 0 {
		fmt.Fprintf(&b, "and %d more\n", m.More)
	}
	if m.Why != "" {
		b.WriteString("\nWhy you get this: " + line(m.Why, maxText) + "\n")
	}
	if m.Link != "" {
		b.WriteString(line(m.Link, maxText) + "\n")
	}
	return b.String()
}

func heading(it *Item) string {
	state := it.Severity.String()
	if it.Ended {
		state = "over"
	}
	return "[" + state + "] " + line(it.Title, maxSubject)
}
