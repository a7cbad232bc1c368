package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oldguard/oldguard/internal/report"
	"github.com/oldguard/oldguard/internal/store"
	"github.com/oldguard/oldguard/internal/store/backup"
)

// keeper is one run of backup or of restore.
type keeper struct {
	env Env
	place
	output, format string
	keep           int
	check          bool
}

// The names that backup gives; the time between them is in UTC, so that they sort by it.
const (
	backupPrefix = "oldguard-backup-"
	backupTime   = "20060102T150405Z"
	backupExt    = ".tar.zst"
)

func newBackup(e Env) *cobra.Command {
	x := keeper{env: e}
	c := &cobra.Command{
		Use:   "backup",
		Short: "save all that a fleet server keeps, while it runs",
		Long: `backup writes everything a fleet server keeps into one file: the rows of its database as they
are at one moment, the work that is not done, and the evidence. The server goes on meanwhile.
Only sessions are left out. The file is a tar archive packed with zstd, and the same whether
the server uses SQLite or PostgreSQL: restore puts it into either.

It holds what the server knows of your weak spots, the digests of passwords and the secrets of
channels: keep it where only those may read it who may read the server's folder.

Exit status: 0 all was saved, 1 could not run, 2 wrong use, 3 saved, but for evidence that is
missing or altered, which is listed.
`,
		Example: `  oldguard backup --data /var/lib/oldguard --output /var/backups/oldguard/ --keep 14
  oldguard backup --data /var/lib/oldguard --output - | ssh backup.example.com 'cat > oldguard.tar.zst'
  oldguard backup --data data --database postgres://oldguard@db.example.com/oldguard --database-password-file secret`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fromEnvironment(cmd.Flags(), e.Getenv); err != nil {
				return err
			}
			return x.backup(cmd.Context())
		},
	}
	f := c.Flags()
	x.flags(f, "the `folder` of the server")
	f.StringVarP(&x.output, "output", "o", ".", "a `file`, a folder, where the file gets a name with the time, or - for standard output")
	f.IntVar(&x.keep, "keep", 0, "in a folder, remove all but this `number` of the newest backups; 0 is none")
	f.StringVar(&x.format, "format", "text", "what is said about it: `text` or json")
	complete(c, "format", []string{"text", "json"})
	return c
}

func newRestore(e Env) *cobra.Command {
	x := keeper{env: e}
	c := &cobra.Command{
		Use:   "restore FILE",
		Short: "put back what backup has saved, or look whether it could be",
		Long: `restore puts a backup into a folder that is empty or not there, and with --database into a
PostgreSQL database without anything of a server in it; then serve goes on from it. All of it
is put there or, after an error, nothing. A backup from SQLite may go to PostgreSQL, and back:
it is also the way to move. A backup of an older version is brought up to date.

Everybody logs in again. Messages that waited when the backup was made are not sent: they may
have gone since. What a token or an account lost after that time it has again.

With --check the backup is read to its end and nothing is written: every byte of evidence is
compared with its SHA-256. FILE may be - for standard input.

Exit status: 0 all was put back, or is whole, 1 could not run, or the backup is damaged, 2 wrong
use, 3 put back, but for evidence that was missing or altered when it was saved.
`,
		Example: `  oldguard restore --check oldguard-backup-20261125T031500Z.tar.zst
  oldguard restore oldguard-backup-20261125T031500Z.tar.zst --data /var/lib/oldguard
  oldguard restore backup.tar.zst --data data --database postgres://oldguard@db.example.com/oldguard --database-password-file secret`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := fromEnvironment(cmd.Flags(), e.Getenv); err != nil {
				return err
			}
			return x.restore(cmd.Context(), args[0])
		},
	}
	f := c.Flags()
	x.flags(f, "the `folder` to put it into")
	f.BoolVar(&x.check, "check", false, "only read it, to its end")
	f.StringVar(&x.format, "format", "text", "what is said about it: `text` or json")
	complete(c, "format", []string{"text", "json"})
	return c
}

func (x *keeper) wrong() error {
	if x.format != "text" && x.format != "json" {
		return usageError{fmt.Errorf("--format is text or json, not %q", x.format)}
	}
	return nil
}

func (x *keeper) backup(ctx context.Context) error {
	c, err := x.config()
	if err = cmp.Or(err, x.wrong()); err != nil {
		return err
	}
	if x.keep < 0 {
		return usageError{errors.New("--keep is a number of backups")}
	}
	m := newMeter(x.env, false)
	o := store.BackupOptions{Now: x.env.Now(), Program: version(), Progress: func(done, total int64) {
		m.part("evidence", done, total)
	}}
	var s contents
	write := func(w io.Writer) error {
		var failed error
		s.Header, s.End, failed = store.Backup(ctx, c, o, w)
		m.clear()
		if errors.Is(failed, fs.ErrNotExist) {
			return withHint("--data is the folder that serve was given, and --database its database if it has one", "%w", failed)
		}
		return failed
	}
	if x.output == "-" {
		if terminal(x.env.Stdout) > 0 {
			return usageError{errors.New("a backup is not for a terminal: --output names a file")}
		}
		if err = write(x.env.Stdout); err != nil {
			return err
		}
		return x.say(x.env.Stderr, &s)
	}
	s.File = x.output
	info, err := os.Stat(x.output)
	folder := err == nil && info.IsDir() || strings.HasSuffix(x.output, "/")
	switch {
	case folder:
		s.File = filepath.Join(x.output, backupPrefix+o.Now.UTC().Format(backupTime)+backupExt)
	case x.keep > 0:
		return usageError{errors.New("--keep is for a folder of backups")}
	}
	err = writeFileAs(s.File, 0o600, func(f *os.File) error {
		if failed := write(f); failed != nil {
			return failed
		}
		return f.Sync() // older backups may be removed now
	})
	if err != nil {
		return err
	}
	if folder && x.keep > 0 && len(s.End.Damaged) == 0 {
		if err := rotate(x.output, x.keep); err != nil {
			return err
		}
	}
	return x.say(x.env.Stdout, &s)
}

// rotate removes the oldest backups of a folder: files that have a name from us.
func rotate(folder string, keep int) error {
	entries, err := os.ReadDir(folder) // sorted by name
	if err != nil {
		return err
	}
	var ours []string
	for _, e := range entries {
		middle, before := strings.CutPrefix(e.Name(), backupPrefix)
		middle, behind := strings.CutSuffix(middle, backupExt)
		if _, err := time.Parse(backupTime, middle); before && behind && err == nil && e.Type().IsRegular() {
			ours = append(ours, e.Name())
		}
	}
	for _, name := range ours[:max(0, len(ours)-keep)] {
		if err := os.Remove(filepath.Join(folder, name)); err != nil {
			return err
		}
	}
	return nil
}

func (x *keeper) restore(ctx context.Context, name string) error {
	c, err := x.config()
	if x.check {
		err = nil
	}
	if err = cmp.Or(err, x.wrong()); err != nil {
		return err
	}
	from := x.env.Stdin
	var size int64
	if name != "-" {
		f, failed := os.Open(name) // #nosec G304 -- the operator names it
		if failed != nil {
			return failed
		}
		defer func() { _ = f.Close() }() // it was only read
		if info, failed := f.Stat(); failed == nil {
			size = info.Size()
		}
		from = f
	}
	m := newMeter(x.env, false)
	r := &measured{ctx: ctx, r: from, show: func(done int64) { m.part(filepath.Base(name), done, max(done, size)) }}
	s := contents{File: name}
	if x.check {
		s.Header, s.End, err = backup.Check(r)
	} else {
		s.Header, s.End, err = store.Restore(ctx, c, r)
	}
	m.clear()
	switch {
	case errors.Is(err, store.ErrNotEmpty):
		return withHint("name another folder or database, or move away what is there: a backup replaces nothing", "%w", err)
	case errors.Is(err, backup.ErrNewer):
		return withHint("use the version of oldguard that made it, or a later one", "%w", err)
	case errors.Is(err, backup.ErrDamaged):
		return withHint("try another backup: nothing of this one was put back", "%w", err)
	case err != nil:
		return err
	}
	return x.say(x.env.Stdout, &s)
}

// measured tells how much was read, and ends with the context.
type measured struct {
	ctx  context.Context //nolint:containedctx // of the one call that it lives for
	r    io.Reader
	done int64
	show func(done int64)
}

// Read reads.
func (m *measured) Read(p []byte) (int, error) {
	if m.ctx.Err() != nil {
		return 0, context.Cause(m.ctx)
	}
	n, err := m.r.Read(p)
	m.done += int64(n)
	m.show(m.done)
	return n, err
}

// contents is what a backup holds, as it is told.
type contents struct {
	Schema string        `json:"schema"`
	File   string        `json:"file,omitempty"`
	Header backup.Header `json:"backup"`
	End    backup.End    `json:"contents"`
}

// counted are the tables that people know, in their words.
var counted = []struct{ table, words string }{
	{"host", "machines"}, {"upload", "uploads"}, {"host_change", "changes"}, {"account", "accounts"}, {"audit", "entries of the audit log"},
}

// say tells what a backup holds.
func (x *keeper) say(w io.Writer, s *contents) error {
	if x.format == "json" {
		s.Schema = "oldguard/backup-contents/1"
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		if err := e.Encode(s); err != nil {
			return err
		}
	} else if err := s.text(w); err != nil {
		return err
	}
	if len(s.End.Damaged) > 0 {
		return answer{statusBad}
	}
	return nil
}

func (s *contents) text(w io.Writer) error {
	var b strings.Builder
	if s.File != "" {
		fmt.Fprintf(&b, "%s\n", visible(s.File))
	}
	fmt.Fprintf(&b, "made %s by oldguard %s from %s\n", s.Header.Made.Format("2006-01-02 15:04:05 UTC"), visible(s.Header.Program), visible(s.Header.Database))
	line := func(what string, n int64, more string) { fmt.Fprintf(&b, "  %-25s %9d%s\n", what, n, more) }
	for _, c := range counted {
		line(c.words, s.End.Rows[c.table], "")
	}
	line("files of evidence", s.End.Evidence, ", "+report.Size(s.End.Bytes))
	line("jobs not done", s.End.Jobs, "")
	for _, d := range s.End.Damaged {
		fmt.Fprintf(&b, "evidence %s is not in it: %s\n", visible(d.Hash), visible(d.Why))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
