package notify

import "log/slog"

// Secret is a value of a channel's settings: "redacted" wherever it is printed. Addresses
// of webhooks are secrets too: whoever knows one may write there.
type Secret string

const redacted = "redacted"

// String gives "redacted".
func (Secret) String() string { return redacted }

// GoString gives "redacted".
func (Secret) GoString() string { return redacted }

// MarshalText gives "redacted".
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue gives "redacted".
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// Reveal gives the secret itself.
func (s Secret) Reveal() string { return string(s) }

// Settings are those of one channel, by the names of its kind's fields.
type Settings map[string]Secret

func (s Settings) get(name string) string { return s[name].Reveal() }
