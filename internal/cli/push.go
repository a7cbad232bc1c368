package cli

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oldguard/oldguard/internal/fleet/access"
)

// pusher is one run of push.
type pusher struct {
	env                      Env
	server, token, tokenFile string
	wait                     bool
	timeout                  time.Duration
}

// How often an upload is tried, and the first pause, which doubles.
const (
	pushTries = 6
	pushPause = time.Second
	pushPoll  = 500 * time.Millisecond
)

func newPush(e Env) *cobra.Command {
	x := pusher{env: e}
	c := &cobra.Command{
		Use:   "push FILE|FOLDER...",
		Short: "bring evidence to a fleet server",
		Long: `push sends each file as it is, and each folder as one ZIP archive, to the server that serve
runs. Sending again is harmless: the same content is the same upload. What the network
interrupts is tried again. The token needs the scope "send"; it is better in a file or in
OLDGUARD_TOKEN than on the command line, which others can see. With --wait it also needs
"see".

Exit status: 0 everything was received (with --wait: and read), 1 could not run, 2 wrong
use, 3 the server refused something, or could read nothing in it.
`,
		Example: `  oldguard push --server https://oldguard.example.com --token-file token.txt fs01.txt fs01-qfe.csv
  oldguard push --server https://oldguard.example.com --token-file token.txt --wait evidence/`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := fromEnvironment(cmd.Flags(), e.Getenv); err != nil {
				return err
			}
			return x.push(cmd.Context(), args)
		},
	}
	f := c.Flags()
	f.StringVar(&x.server, "server", "", "the `address` of the server")
	f.StringVar(&x.token, "token", "", "a `token` made under Account on the server")
	f.StringVar(&x.tokenFile, "token-file", "", "a `file` with the token")
	f.BoolVar(&x.wait, "wait", false, "wait until the server has read it, and say what it found")
	f.DurationVar(&x.timeout, "timeout", 10*time.Minute, "give up on a file after this `time`")
	return c
}

func (x *pusher) push(ctx context.Context, args []string) error {
	u, err := url.Parse(x.server)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return usageError{errors.New("--server is an address such as https://oldguard.example.com")}
	}
	secret := access.Secret(x.token)
	if x.tokenFile != "" {
		if secret, err = secretFile(x.tokenFile); err != nil {
			return err
		}
	}
	if secret == "" {
		return usageError{errors.New("--token-file names a file with the token")}
	}
	status := statusClear
	for _, name := range args {
		one, err := x.one(ctx, strings.TrimSuffix(x.server, "/"), secret, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		status = worse(status, one)
	}
	if status == statusClear {
		return nil
	}
	return answer{status}
}

// one brings one file or folder, and says what became of it.
func (x *pusher) one(parent context.Context, server string, secret access.Secret, name string) (status int, err error) {
	ctx, cancel := context.WithTimeout(parent, x.timeout)
	defer cancel()
	file, shown, err := content(name)
	if err != nil {
		return 0, err
	}
	defer func() {
		_ = file.Close() // it was only read
		if file.Name() != name {
			_ = os.Remove(file.Name()) // #nosec G703 -- our own temporary archive
		}
	}()
	hash := sha256.New()
	size, err := io.Copy(hash, file)
	if err != nil {
		return 0, err
	}
	key := hex.EncodeToString(hash.Sum(nil))
	target := server + "/api/v1/evidence?name=" + url.QueryEscape(shown)
	var up upload
	pause := pushPause
	for try := 1; ; try++ {
		var again bool
		up, again, err = x.send(ctx, target, secret, key, io.NewSectionReader(file, 0, size))
		if err == nil {
			break
		}
		if !again || try == pushTries || ctx.Err() != nil {
			var refused refusal
			if errors.As(err, &refused) && refused.status >= 400 && refused.status < 500 && refused.status != http.StatusUnauthorized && refused.status != http.StatusForbidden {
				_, werr := fmt.Fprintf(x.env.Stdout, "%s: refused: %s\n", name, visible(refused.Error()))
				return statusBad, werr
			}
			return 0, err
		}
		if _, err = fmt.Fprintf(x.env.Stderr, "%s: %s; again in %s\n", name, visible(err.Error()), pause); err != nil {
			return 0, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		pause *= 2
	}
	if !x.wait {
		_, err = fmt.Fprintf(x.env.Stdout, "%s: received as upload %d\n", name, up.ID)
		return statusClear, err
	}
	for up.State == "received" {
		select {
		case <-time.After(pushPoll):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		if up, _, err = x.ask(ctx, server+up.Status, secret); err != nil {
			return 0, err
		}
	}
	if up.State == "failed" {
		_, err = fmt.Fprintf(x.env.Stdout, "%s: received as upload %d, and nothing could be read: %s\n", name, up.ID, visible(up.Error))
		return statusBad, err
	}
	if _, err = fmt.Fprintf(x.env.Stdout, "%s: received as upload %d, machines in it: %d\n", name, up.ID, up.Machines); err != nil {
		return 0, err
	}
	for line := range strings.Lines(up.Error) {
		if _, err = fmt.Fprintf(x.env.Stdout, "  not read: %s\n", visible(strings.TrimSpace(line))); err != nil {
			return 0, err
		}
	}
	return statusClear, nil
}

// content opens a file; a folder is packed into a temporary archive first. The name is what
// the server is told.
func content(name string) (f *os.File, shown string, err error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, "", err
	}
	shown = filepath.Base(filepath.Clean(name))
	if shown == "." || shown == string(filepath.Separator) {
		full, failed := filepath.Abs(name)
		if failed != nil {
			return nil, "", failed
		}
		shown = filepath.Base(full)
	}
	if !info.IsDir() {
		f, err = os.Open(name) // #nosec G304 -- the user names it
		return f, shown, err
	}
	f, err = os.CreateTemp("", "oldguard-*.zip")
	if err != nil {
		return nil, "", err
	}
	if err = pack(f, name); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, "", errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return f, shown + ".zip", nil
}

// pack writes a folder as a ZIP archive: the same folder gives the same bytes. Links are
// not followed.
func pack(w io.Writer, dir string) error {
	z := zip.NewWriter(w)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // it was only read
	err = fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		out, err := z.CreateHeader(&zip.FileHeader{Name: p, Method: zip.Deflate})
		if err != nil {
			return err
		}
		in, err := root.Open(p)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, in)
		return errors.Join(err, in.Close())
	})
	return errors.Join(err, z.Close())
}

// upload is what the server says of one.
type upload struct {
	ID       int64  `json:"id"`
	State    string `json:"state"`
	Error    string `json:"error"`
	Machines int    `json:"machines"`
	Status   string `json:"status"`
}

// refusal is the server's no.
type refusal struct {
	status int
	detail string
}

func (r refusal) Error() string {
	return "the server answers " + strconv.Itoa(r.status) + " " + http.StatusText(r.status) + ": " + r.detail
}

// send sends a file once; again tells that it may help to try again.
func (x *pusher) send(ctx context.Context, target string, secret access.Secret, key string, body *io.SectionReader) (up upload, again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, body)
	if err != nil {
		return up, false, err
	}
	req.ContentLength = body.Size()
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("Idempotency-Key", key)
	return x.do(req, secret)
}

func (x *pusher) ask(ctx context.Context, target string, secret access.Secret) (up upload, again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return up, false, err
	}
	return x.do(req, secret)
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 1 << 20

func (x *pusher) do(req *http.Request, secret access.Secret) (up upload, again bool, err error) {
	req.Header.Set("Authorization", "Bearer "+secret.Reveal())
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		if e := (*url.Error)(nil); errors.As(err, &e) {
			err = e.Err // the address is the user's own, and long
		}
		return up, true, err
	}
	defer func() { _ = res.Body.Close() }() // it was only read
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return up, true, err
	}
	if res.StatusCode >= 300 {
		var p struct {
			Detail string `json:"detail"`
		}
		_ = json.Unmarshal(b, &p) // without a problem document the status must do
		return up, res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusRequestTimeout || res.StatusCode >= 500, refusal{res.StatusCode, p.Detail}
	}
	if err := json.Unmarshal(b, &up); err != nil {
		return up, false, fmt.Errorf("the answer is none of a fleet server: %w", err)
	}
	return up, false, nil
}
