package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"strings"
)

// maxBlocks bounds the items in a message to a chat: Slack takes 50 blocks.
// https://docs.slack.dev/reference/block-kit/blocks, read 2026-11-25
const maxBlocks = 40

// chats are the kinds that take a POST of JSON. A message goes out as text in which the
// service reads no marks, mentions or links that evidence might hold, as far as it lets us.
var chats = []struct {
	name, doc string
	fields    []Field
	// request says where a message goes and what is sent.
	request func(s Settings, m *Message) request
}{
	{
		"slack", "an incoming webhook of Slack",
		[]Field{{Name: "url", Label: "Address of the webhook", Doc: "https://hooks.slack.com/services/…", Secret: true, Required: true}},
		func(s Settings, m *Message) request { return request{url: s.get("url"), body: slackBody(m)} },
	},
	{
		"teams", "a workflow of Microsoft Teams that posts the adaptive card it is sent",
		[]Field{{Name: "url", Label: "Address of the workflow", Doc: "what the workflow \"when a Teams webhook request is received\" shows", Secret: true, Required: true}},
		func(s Settings, m *Message) request { return request{url: s.get("url"), body: teamsBody(m)} },
	},
	{
		// https://developers.mattermost.com/integrate/webhooks/incoming/, read 2026-11-25
		"mattermost", "an incoming webhook of Mattermost, or of Rocket.Chat or another that takes a text in Markdown",
		[]Field{{Name: "url", Label: "Address of the webhook", Doc: "https://chat.example.com/hooks/…", Secret: true, Required: true}},
		func(s Settings, m *Message) request {
			return request{url: s.get("url"), body: object{"text": markdown(m, mattermostText)}}
		},
	},
	{
		// https://developers.google.com/workspace/chat/format-messages, read 2026-11-25
		"googlechat", "an incoming webhook of a space in Google Chat",
		[]Field{{Name: "url", Label: "Address of the webhook", Doc: "https://chat.googleapis.com/v1/spaces/…", Secret: true, Required: true}},
		func(s Settings, m *Message) request {
			return request{url: s.get("url"), body: object{"text": googleText(m)}}
		},
	},
	{
		// https://docs.discord.com/developers/resources/webhook#execute-webhook, read 2026-11-25:
		// nobody is mentioned unless allowed_mentions says so.
		"discord", "a webhook of a channel in Discord",
		[]Field{{Name: "url", Label: "Address of the webhook", Doc: "https://discord.com/api/webhooks/…", Secret: true, Required: true}},
		func(s Settings, m *Message) request {
			return request{url: s.get("url"), body: object{"content": markdown(m, discordText), "allowed_mentions": object{"parse": []string{}}}}
		},
	},
	{
		// https://docs.ntfy.sh/publish/#publish-as-json, read 2026-11-25
		"ntfy", "a topic of ntfy, at ntfy.sh or a server of your own",
		[]Field{
			{Name: "url", Label: "Server", Doc: "https://ntfy.example.com", Required: true},
			{Name: "topic", Label: "Topic", Doc: "who knows it may read it, unless the server asks for a login", Secret: true, Required: true},
			{Name: "token", Label: "Access token", Doc: "tk_…; empty for none", Secret: true},
		},
		ntfy,
	},
	{
		// https://core.telegram.org/bots/api#sendmessage, read 2026-11-25
		"telegram", "a chat in Telegram, by a bot of yours",
		[]Field{
			{Name: "token", Label: "Token of the bot", Doc: "what BotFather gave", Secret: true, Required: true},
			{Name: "chat", Label: "Chat", Doc: "its number, or @name of a channel", Required: true},
			{Name: "url", Label: "Server", Doc: telegramServer + " unless said"},
		},
		func(s Settings, m *Message) request {
			return request{
				url:  cmp.Or(strings.TrimRight(s.get("url"), "/"), telegramServer) + "/bot" + url.PathEscape(s.get("token")) + "/sendMessage",
				body: object{"chat_id": s.get("chat"), "text": plain(m, telegramText), "link_preview_options": object{"is_disabled": true}},
			}
		},
	},
	{
		// https://developer.pagerduty.com/docs/send-alert-event, read 2026-11-25: an event of a
		// key that is known starts no second incident.
		"pagerduty", "an incident in PagerDuty for each message, by its Events API v2; people resolve it",
		[]Field{
			{Name: "key", Label: "Integration key", Doc: "of a service's integration \"Events API v2\"", Secret: true, Required: true},
			{Name: "url", Label: "Server", Doc: pagerdutyServer + " unless said; https://events.eu.pagerduty.com in Europe"},
		},
		pagerduty,
	},
}

const (
	telegramServer  = "https://api.telegram.org"
	pagerdutyServer = "https://events.pagerduty.com"
)

// The most characters of a text. Discord counts 2,000, Telegram 4,096, PagerDuty 1,024 of a
// summary, and Google 32,000 bytes; Mattermost cuts posts of more than 16,383, and ntfy makes
// files of those of more than 4,096 bytes. As read 2026-11-25 at the addresses above; those
// of Mattermost and ntfy are inferred from their defaults.
const (
	discordText     = 1900
	telegramText    = 4000
	googleChatText  = 15000
	mattermostText  = 15000
	ntfyText        = 3500
	pagerdutyText   = 1000
	pagerdutyDetail = 20000
)

// request is one POST to a chat.
type request struct {
	url    string
	body   any
	header map[string]string
}

// chatKinds makes kinds of the table.
func chatKinds() (out []Kind) {
	for _, c := range chats {
		out = append(out, Kind{Name: c.name, Doc: c.doc, Fields: c.fields, Open: func(s Settings, o Options) (Notifier, error) {
			if _, err := target(c.request(s, &Message{}).url); err != nil {
				return Notifier{}, err
			}
			client := client(o)
			return Notifier{c.name, func(ctx context.Context, m *Message) error {
				r := c.request(s, m)
				u, err := target(r.url)
				if err != nil {
					return fmt.Errorf("%w: %w", ErrPermanent, err)
				}
				b, err := json.Marshal(r.body)
				if err != nil {
					return fmt.Errorf("%w: %w", ErrPermanent, err)
				}
				return post(ctx, client, u, b, r.header)
			}}, nil
		}})
	}
	return out
}

func ntfy(s Settings, m *Message) request {
	// Its priorities go from 1 to 5, of which 3 is the usual.
	r := request{url: s.get("url"), body: object{"topic": s.get("topic"), "title": line(m.Subject, maxSubject), "message": clip(short(m, ntfyText)[1:], ntfyText), "priority": 3 + int(m.worst())}}
	if token := s.get("token"); token != "" {
		r.header = map[string]string{"Authorization": "Bearer " + token}
	}
	return r
}

func pagerduty(s Settings, m *Message) request {
	severity := map[Severity]string{Note: "info", Warning: "warning", Critical: "critical"}[m.worst()]
	return request{
		url: cmp.Or(strings.TrimRight(s.get("url"), "/"), pagerdutyServer) + "/v2/enqueue",
		body: object{
			"routing_key": s.get("key"), "event_action": "trigger", "dedup_key": m.ID, "client": "oldguard", "client_url": m.Link,
			"payload": object{"summary": line(m.Subject, pagerdutyText), "source": "oldguard", "severity": severity, "custom_details": object{"message": plain(m, pagerdutyDetail)}},
		},
	}
}

// worst gives the severity of a message: that of its worst item which is not over.
func (m *Message) worst() (s Severity) {
	for i := range m.Items {
		if !m.Items[i].Ended {
			s = max(s, m.Items[i].Severity)
		}
	}
	return s
}

// plain is a message as lines of plain text, of at most so many bytes.
func plain(m *Message, most int) string { return clip(short(m, most), most) }

// markdown is the same where marks are read: all that might be one is escaped, and the
// names by which people are called.
func markdown(m *Message, most int) string {
	lines := short(m, most)
	for i := range lines {
		lines[i] = markdownEscapes.Replace(lines[i])
	}
	return clip(lines, most)
}

// short gives the lines of a message, none of which takes more than its share of the whole.
func short(m *Message, most int) []string {
	lines := append([]string{m.Subject}, chatLines(m)...)
	for i := range lines {
		lines[i] = line(lines[i], min(most/6, maxText))
	}
	return lines
}

// An at sign and a zero-width space call nobody. Escaping is that of CommonMark:
// https://spec.commonmark.org/0.31.2/#backslash-escapes, read 2026-11-25.
var markdownEscapes = strings.NewReplacer(
	`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "~", `\~`, "|", `\|`, "[", `\[`, "]", `\]`, "<", `\<`, ">", `\>`, "#", `\#`, "@", "@\u200b",
)

// googleText has no escapes for the marks of Google Chat: those that call people or make links go.
func googleText(m *Message) string {
	return strings.NewReplacer("<", "‹", ">", "›").Replace(plain(m, googleChatText))
}

// clip joins lines, with an empty one between, as long as they fit.
func clip(lines []string, most int) string {
	text := ""
	for i, l := range lines {
		rest := fmt.Sprintf("\n\n… and %d more lines", len(lines)-i)
		if i > 0 && len(text)+len(l)+len(rest) > most {
			return text + rest
		}
		text += strings.Repeat("\n\n", min(i, 1)) + l
	}
	return text
}

type object = map[string]any

// slackEscapes are those of Slack's mrkdwn:
// https://docs.slack.dev/messaging/formatting-message-text, read 2026-11-25
var slackEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// slackBody is a message in blocks of plain text, in which Slack reads no marks.
func slackBody(m *Message) any {
	text := func(s string) object { return object{"type": "plain_text", "text": s, "emoji": false} }
	blocks := []object{{"type": "header", "text": text(line(m.Subject, 140))}} // 150 at most
	for _, s := range chatLines(m) {
		blocks = append(blocks, object{"type": "section", "text": text(s)})
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
		text := heading(it)
		if it.Text != "" {
			text += ": " + it.Text
		}
		out = append(out, line(text+" "+it.Link, maxText))
	}
	if more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	if m.Why != "" {
		out = append(out, line("Why you get this: "+m.Why+". "+m.Link, maxText))
	}
	return out
}
