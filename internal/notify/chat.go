package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
)

// maxBlocks bounds the items in a message to a chat: Slack takes 50 blocks.
// https://docs.slack.dev/reference/block-kit/blocks, read 2026-11-25
const maxBlocks = 40

func slackKind() Kind {
	return Kind{
		Name: "slack", Doc: "an incoming webhook of Slack, or of what takes the same form",
		Fields: []Field{{Name: "url", Label: "Address of the webhook", Doc: "https://hooks.slack.com/services/…", Secret: true, Required: true}},
		Open:   chat("slack", slackBody),
	}
}

func teamsKind() Kind {
	return Kind{
		Name: "teams", Doc: "a workflow of Microsoft Teams that posts the adaptive card it is sent",
		Fields: []Field{{Name: "url", Label: "Address of the workflow", Doc: "what the workflow \"when a Teams webhook request is received\" shows", Secret: true, Required: true}},
		Open:   chat("teams", teamsBody),
	}
}

func chat(name string, body func(m *Message) any) func(s Settings, o Options) (Notifier, error) {
	return func(s Settings, o Options) (Notifier, error) {
		u, err := target(s.get("url"))
		if err != nil {
			return Notifier{}, err
		}
		c := client(o)
		return Notifier{name, func(ctx context.Context, m *Message) error {
			b, err := json.Marshal(body(m))
			if err != nil {
				return fmt.Errorf("%w: %w", ErrPermanent, err)
			}
			return post(ctx, c, u, b, nil)
		}}, nil
	}
}

type object = map[string]any

// slackEscapes are those of Slack's mrkdwn:
// https://docs.slack.dev/messaging/formatting-message-text, read 2026-11-25
var slackEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// slackBody is a message in blocks of plain text, in which Slack reads no marks.
func slackBody(m *Message) any {
	plain := func(s string) object { return object{"type": "plain_text", "text": s, "emoji": false} }
	blocks := []object{{"type": "header", "text": plain(line(m.Subject, 140))}} // 150 at most
	for _, s := range chatLines(m) {
		blocks = append(blocks, object{"type": "section", "text": plain(s)})
	}
	return object{"text": slackEscapes.Replace(line(m.Subject, maxSubject)), "blocks": blocks}
}

// teamsBody is a message as an adaptive card. Its texts are runs of rich text, which take
// no Markdown, unlike blocks of text:
// https://adaptivecards.io/explorer/TextRun.html, read 2026-11-25 (inferred for Teams)
func teamsBody(m *Message) any {
	run := func(s string, more object) object {
		r := object{"type": "TextRun", "text": s}
		maps.Copy(r, more)
		return object{"type": "RichTextBlock", "inlines": []object{r}}
	}
	body := []object{run(line(m.Subject, maxSubject), object{"weight": "bolder", "size": "medium"})}
	for _, s := range chatLines(m) {
		body = append(body, run(s, nil))
	}
	return object{"type": "message", "attachments": []object{{
		"contentType": "application/vnd.microsoft.card.adaptive",
		"content":     object{"type": "AdaptiveCard", "$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "version": "1.4", "body": body},
	}}}
}

// chatLines are the paragraphs of a message.
func chatLines(m *Message) (out []string) {
	if m.Test {
		out = append(out, "This is a test: nothing happened.")
	}
	more := m.More
	for i := range m.Items {
		if i == maxBlocks {
			more += len(m.Items) - i
			break
		}
		it := &m.Items[i]
		out = append(out, line(heading(it)+": "+it.Text+" "+it.Link, maxText))
	}
	if more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	if why := line(strings.TrimSpace(m.Why+" "+m.Link), maxText); why != "" {
		out = append(out, why)
	}
	return out
}
