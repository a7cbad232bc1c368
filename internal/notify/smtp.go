package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/mail"
	"net/textproto"
	"strconv"
	"strings"

	gomail "github.com/wneessen/go-mail"
)

// The ways to encrypt a connection to a mail server. The first is the default.
const (
	startTLS = "starttls"
	implicit = "tls"
	inClear  = "none"
)

// maxRecipients bounds the recipients of a mail.
const maxRecipients = 50

func smtpKind() Kind {
	return Kind{
		Name: "smtp", Doc: "mail by a server of yours",
		Fields: []Field{
			{Name: "host", Label: "Mail server", Doc: "its name", Required: true},
			{Name: "port", Label: "Port", Doc: "587 unless said; 465 for tls"},
			{Name: "encryption", Label: "Encryption", Doc: "starttls, tls or none; starttls unless said, and without it nothing is sent"},
			{Name: "from", Label: "From", Doc: "oldguard@example.com", Required: true},
			{Name: "to", Label: "To", Doc: "addresses, separated by commas", Required: true},
			{Name: "user", Label: "User", Doc: "empty for none"},
			{Name: "password", Label: "Password", Secret: true},
		},
		Open: openSMTP,
	}
}

func openSMTP(s Settings, o Options) (Notifier, error) {
	from, err := mail.ParseAddress(s.get("from"))
	if err != nil {
		return Notifier{}, errors.New("from is no mail address")
	}
	to, err := mail.ParseAddressList(s.get("to"))
	if err != nil || len(to) > maxRecipients {
		return Notifier{}, fmt.Errorf("to is no list of at most %d mail addresses", maxRecipients)
	}
	host := s.get("host")
	if strings.ContainsAny(host, " /@") {
		return Notifier{}, errors.New("the mail server is a name or an address")
	}
	options := []gomail.Option{gomail.WithTimeout(sendTimeout), gomail.WithoutNoop()}
	d := dialer(o)
	dial := d.DialContext
	port := 587
	switch s.get("encryption") {
	case "", startTLS:
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	case implicit:
		port = 465
		options = append(options, gomail.WithSSL())
		dial = (&tls.Dialer{NetDialer: d, Config: &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}}).DialContext
	case inClear:
		if s.get("password") != "" {
			return Notifier{}, errors.New("a password is not sent without encryption")
		}
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	default:
		return Notifier{}, errors.New("encryption is starttls, tls or none")
	}
	if word := s.get("port"); word != "" {
		if port, err = strconv.Atoi(word); err != nil || port < 1 || port > 65535 {
			return Notifier{}, errors.New("the port is a number from 1 to 65535")
		}
	}
	options = append(options, gomail.WithPort(port), gomail.WithDialContextFunc(dial))
	if s.get("user") != "" {
		login := gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover)
		if s.get("encryption") == implicit {
			// go-mail does not see that our dialer encrypts, and would not offer a password.
			login = gomail.WithOpportunisticSMTPAuth(gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthSCRAMSHA1, gomail.SMTPAuthPlain, gomail.SMTPAuthLogin)
		}
		options = append(options, login, gomail.WithUsername(s.get("user")), gomail.WithPassword(s.get("password")))
	}
	_, domain, _ := strings.Cut(from.Address, "@")
	return Notifier{"smtp", func(ctx context.Context, m *Message) error {
		msg := gomail.NewMsg()
		msg.FromMailAddress(from)
		msg.ToMailAddress(to...)
		msg.Subject(line(m.Subject, maxSubject))
		msg.SetMessageIDWithValue(m.ID + "@" + domain)
		msg.SetDateWithValue(m.At)
		msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no out-of-office answers
		msg.SetBodyString(gomail.TypeTextPlain, text(m))
		c, err := gomail.NewClient(host, options...)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrPermanent, err)
		}
		err = c.DialAndSendWithContext(ctx, msg)
		if msg.IsDelivered() {
			return nil // whatever went wrong at the farewell
		}
		return mailError(err)
	}}, nil
}

// mailError says what an error of go-mail means for trying again. Until the server has
// taken the end of the text nothing has gone. A login that is refused is not tried again,
// which might lock the account.
func mailError(err error) error {
	var failed *gomail.SendError
	var answer *textproto.Error
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &failed) && errors.As(err, &answer) && answer.Code/100 == 5, errors.Is(err, gomail.ErrNoSupportedAuthDiscovered):
		return fmt.Errorf("%w: %w", ErrPermanent, err)
	case !errors.As(err, &failed):
		return err
	case failed.Reason == gomail.ErrSMTPReset, failed.Reason == gomail.ErrSMTPDataClose && failed.ErrorCode() == 0:
		return fmt.Errorf("%w: %w", ErrUnsure, err)
	case failed.ErrorCode() >= 500 && !failed.IsTemp():
		return fmt.Errorf("%w: %w", ErrPermanent, err)
	}
	return err
}
