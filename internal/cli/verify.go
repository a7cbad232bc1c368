package cli

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/report"
	"github.com/oldguard/oldguard/internal/trust"
	"github.com/oldguard/oldguard/internal/verify"
)

func newVerify(e Env) *cobra.Command {
	v := verifier{env: e}
	var formats []string
	var help strings.Builder
	help.WriteString("Formats:\n")
	for _, f := range report.Verifications() {
		formats = append(formats, f.Name)
		fmt.Fprintf(&help, "  %-8s %s\n", f.Name, f.Doc)
	}
	c := &cobra.Command{
		Use:   "verify FILE|FOLDER...",
		Short: "say whether update files are Microsoft's and unmodified, and what they are",
		Long: `verify says of each file whether it is a genuine Microsoft update, who signed it and when, what
it is and for which machine by its own word, what the catalogue has on it, where these
contradict each other, and why it may fail on an old machine although it is genuine. It reads
MSU and CAB files, programs, installer packages and catalogs, on any system, and never runs
them. Nothing is sent anywhere.

A folder stands for all files in it, and catalogs (.cat) among the files vouch for the others.
Of a Windows folder, such as that of a mounted disk, it compares the installed packages with
their catalogs and hashes instead, and says what is damaged and which package brings it.

` + help.String() + "\n" + verifyStatusHelp(),
		Example: `  oldguard verify windows6.0-kb4493730-x64.msu
  oldguard verify --format json downloads/
  oldguard verify --list windows6.0-kb4493730-x64.msu
  oldguard verify --extract out windows6.0-kb4493730-x64.msu
  oldguard assess --format json fs01.txt > fs01.json
  oldguard verify --against fs01.json downloads/   which of what FS01 lacks is here
  oldguard verify /mnt/Windows                     what is damaged on that disk`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return v.run(cmd.Context(), args) },
	}
	f := c.Flags()
	f.StringVar(&v.format, "format", formats[0], "write as `format`: "+strings.Join(formats, ", "))
	f.StringVarP(&v.output, "output", "o", "", "write to `file` instead of standard output")
	f.BoolVar(&v.noColor, "no-color", false, "no colours, even on a terminal")
	f.StringVar(&v.catalog, "catalog", "", "use this catalogue `file` instead of what is built in")
	f.BoolVar(&v.list, "list", false, "list what is in each cabinet, and in the cabinets inside it")
	f.StringVar(&v.extract, "extract", "", "unpack into this `folder`, which may not hold the same files yet")
	f.StringArrayVar(&v.trust, "trust", nil, "trust the root certificates in this `file` (PEM or DER) as Microsoft's")
	f.StringArrayVar(&v.crls, "crl", nil, "look for revoked certificates in this `file` (a revocation list, PEM or DER)")
	f.StringVar(&v.against, "against", "", "match with what is missing in this `file`, written by assess --format json")
	f.StringVar(&v.asOf, "as-of", "", "judge what bears no countersignature as of this `day`, as 2020-01-14 (default today)")
	complete(c, "format", formats)
	return c
}

// verifyStatuses are the exit statuses of verify.
var verifyStatuses = []struct {
	status  int
	meaning string
}{
	{statusClear, "every file is a genuine Microsoft update"},
	{statusFailed, "could not run, or nothing could be read"},
	{statusUsage, "wrong use of the command line"},
	{statusBad, "a file is altered, unsigned, somebody else's or no update; or a part is damaged, or an update is still to be fetched"},
	{statusUndecided, "a file was not understood or not read, or is genuine but not what its name says; or parts of a Windows folder could not be checked; 3 beats 4"},
}

func verifyStatusHelp() string {
	var b strings.Builder
	b.WriteString("Exit status:\n")
	for _, s := range verifyStatuses {
		fmt.Fprintf(&b, "  %d  %s\n", s.status, s.meaning)
	}
	return b.String()
}

type verifier struct {
	env                                             Env
	format, output, catalog, extract, against, asOf string
	trust, crls                                     []string
	list, noColor                                   bool

	options verify.Options
	found   report.Verified
	status  int
	files   int // seen in folders
}

func (v *verifier) run(ctx context.Context, args []string) error {
	var format report.VerificationFormat
	for _, f := range report.Verifications() {
		if f.Name == v.format {
			format = f
		}
	}
	if format.Name == "" {
		return usageError{fmt.Errorf("there is no format %q", v.format)}
	}
	done, err := v.prepare()
	if err != nil {
		return err
	}
	defer done()
	inputs, closeInputs, err := openInputs(args, v.env.Stdin)
	if err != nil {
		return err
	}
	defer closeInputs()
	var named []verifiable
	for _, in := range inputs {
		switch {
		case in.Tree == nil:
			named = append(named, verifiable{name: in.Name, r: in.File, size: in.File.Size()})
		case verify.IsWindows(in.Tree):
			if err := v.windows(in.Name, in.Tree); err != nil {
				return err
			}
		default:
			list, err := v.walk(in.Name, in.Tree)
			if err != nil {
				return err
			}
			named = append(named, list...)
		}
	}
	v.readCatalogs(named)
	if v.extract != "" && len(named) == 0 {
		return usageError{errors.New("--extract wants files")}
	}
	for _, n := range named {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := v.file(n, len(named) > 1); err != nil {
			return err
		}
	}
	if len(v.found.Files)+len(v.found.Stores) == 0 {
		return v.nothing()
	}
	if err := v.match(); err != nil {
		return err
	}
	if err := v.write(format); err != nil {
		return err
	}
	if v.status != statusClear {
		return answer{v.status}
	}
	return nil
}

// prepare reads what the flags name.
func (v *verifier) prepare() (func(), error) {
	o := &v.options.Trust
	o.Now = v.env.Now()
	if v.asOf != "" {
		d, err := catalog.ParseDate(v.asOf)
		if err != nil {
			return nil, usageError{err}
		}
		o.Now = d.Time().Add(24*time.Hour - time.Second) // the whole day counts
	}
	var err error
	if o.Roots, err = parseAll(v.trust, x509.ParseCertificate); err != nil {
		return nil, err
	}
	if o.CRLs, err = parseAll(v.crls, x509.ParseRevocationList); err != nil {
		return nil, err
	}
	v.found.Contents = v.list
	c, done, err := openCatalog(v.catalog)
	v.options.Catalog = c
	return done, err
}

// parseAll reads all that files hold: blocks of PEM, or one value in DER.
func parseAll[T any](names []string, parse func([]byte) (T, error)) ([]T, error) {
	var all []T
	for _, name := range names {
		b, err := readDER(name)
		if err != nil {
			return nil, err
		}
		block, rest := pem.Decode(b)
		if block == nil {
			block = &pem.Block{Bytes: b}
		}
		for ; block != nil; block, rest = pem.Decode(rest) {
			one, err := parse(block.Bytes)
			if err != nil {
				return nil, withHint("it wants PEM or DER", "%s: %w", name, err)
			}
			all = append(all, one)
		}
	}
	return all, nil
}

// maxDER bounds a file of certificates or a revocation list.
const maxDER = 64 << 20

func readDER(name string) ([]byte, error) {
	f, err := os.Open(name) // #nosec G304 -- the user names it
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	return io.ReadAll(io.LimitReader(f, maxDER))
}

// verifiable is a file to be looked at.
type verifiable struct {
	name string
	r    io.ReaderAt
	size int64
}

// maxVerified bounds how many files are looked at in folders.
const maxVerified = 100_000

// walk finds the files of a folder.
func (v *verifier) walk(name string, tree fs.FS) (list []verifiable, err error) {
	err = fs.WalkDir(tree, ".", func(p string, d fs.DirEntry, err error) error {
		at := filepath.Join(name, filepath.FromSlash(p))
		if err != nil {
			v.unread(at, err)
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		if v.files++; v.files > maxVerified {
			return fmt.Errorf("more than %d files in %s", maxVerified, name)
		}
		info, err := d.Info()
		if err != nil {
			v.unread(at, err)
			return nil
		}
		list = append(list, verifiable{at, inTree{tree, p}, info.Size()})
		return nil
	})
	return list, err
}

// inTree is a file that is open only while it is read, and never outside its tree.
type inTree struct {
	tree fs.FS
	name string
}

// ReadAt opens the file, reads and closes it.
func (f inTree) ReadAt(p []byte, off int64) (int, error) {
	file, err := f.tree.Open(f.name)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	at, ok := file.(io.ReaderAt)
	if !ok {
		return 0, fmt.Errorf("%s cannot be read at a place", f.name)
	}
	return at.ReadAt(p, off)
}

func (v *verifier) unread(name string, err error) {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		err = p.Err // the name stands beside it
	}
	v.found.Unread = append(v.found.Unread, report.UnreadFile{File: name, Why: err.Error()})
	v.status = worse(v.status, statusUndecided)
}

// nothing is the error where no file could be read.
func (v *verifier) nothing() error {
	var why []string
	for _, u := range v.found.Unread {
		why = append(why, u.File+": "+u.Why)
	}
	if len(why) == 0 {
		return withHint("name update files, or a folder with some", "there is no file in what was named")
	}
	return errors.New(strings.Join(why, "\n"))
}

// readCatalogs lets the catalogs among the files vouch for the others.
func (v *verifier) readCatalogs(files []verifiable) {
	for _, n := range files {
		if !strings.EqualFold(path.Ext(n.name), ".cat") {
			continue
		}
		if c, err := trust.ReadCatalog(filepath.Base(n.name), n.r, n.size, v.options.Trust); err == nil { // else its own answer says so
			v.options.Trust.Catalogs = append(v.options.Trust.Catalogs, c)
		}
	}
}

// verdictStatus gives the status for a verdict.
var verdictStatus = map[trust.Verdict]int{
	trust.Genuine: statusClear, trust.MicrosoftOther: statusBad, trust.OtherPublisher: statusBad, trust.Altered: statusBad,
	trust.Uncovered: statusBad, trust.Unsigned: statusBad, trust.NotUnderstood: statusUndecided,
}

func (v *verifier) file(n verifiable, many bool) error {
	a, err := verify.File(n.name, n.r, n.size, v.options)
	if err != nil {
		v.unread(n.name, err)
		return nil
	}
	v.status = worse(v.status, verdictStatus[a.Verdict])
	if !a.Certain() {
		v.status = worse(v.status, statusUndecided)
	}
	v.found.Files = append(v.found.Files, a)
	defer a.Release() // there may be thousands
	if v.extract == "" {
		return nil
	}
	to := v.extract
	if many {
		to = filepath.Join(to, filepath.Base(n.name)+".d")
	}
	if err := unpack(a, to); errors.Is(err, verify.ErrNothing) {
		a.Notes = append(a.Notes, "not unpacked: "+err.Error())
	} else if err != nil {
		return withHint("what was unpacked until then is there", "unpack %s: %w", n.name, err)
	} else {
		a.Notes = append(a.Notes, "unpacked into "+to)
	}
	return nil
}

// unpack writes what is in a file below a folder, and never outside it. It replaces nothing.
func unpack(a *verify.Answer, to string) error {
	if a.Package == nil {
		return verify.ErrNothing
	}
	if err := os.MkdirAll(to, 0o750); err != nil {
		return err
	}
	root, err := os.OpenRoot(to)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // what was written is closed
	for _, c := range a.Contents() {
		if c.Path == "" {
			a.Notes = append(a.Notes, fmt.Sprintf("not unpacked: %q: %s", c.Name, c.Unsafe))
		}
	}
	return a.Walk(func(c verify.Content, r io.Reader) error {
		if dir := path.Dir(c.Path); dir != "." {
			if err := root.MkdirAll(dir, 0o750); err != nil {
				return err
			}
		}
		f, err := root.OpenFile(c.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, r)
		if err = errors.Join(err, f.Close()); err != nil || c.Modified.IsZero() {
			return err
		}
		return root.Chtimes(c.Path, c.Modified, c.Modified)
	})
}

func (v *verifier) windows(name string, tree fs.FS) error {
	s, err := verify.Windows(name, tree, v.options)
	if err != nil {
		return err
	}
	v.found.Stores = append(v.found.Stores, s)
	if len(s.Damaged) > 0 {
		v.status = worse(v.status, statusBad)
	} else if len(s.Unchecked) > 0 || s.Packages.Good == 0 {
		v.status = worse(v.status, statusUndecided)
	}
	return nil
}

// match compares the files with an assessment.
func (v *verifier) match() error {
	if v.against == "" {
		return nil
	}
	f, err := os.Open(v.against)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	machines, err := verify.ReadLacking(bufio.NewReader(f))
	if err != nil {
		return withHint("oldguard assess --format json fs01.txt > fs01.json", "%s: %w", v.against, err)
	}
	v.found.Matches = verify.Against(v.found.Files, machines)
	for _, m := range v.found.Matches {
		for _, w := range m.Wants {
			if w.State != verify.Here {
				v.status = worse(v.status, statusBad)
			}
		}
	}
	return nil
}

func (v *verifier) write(format report.VerificationFormat) error {
	var o report.Options
	if v.output == "" {
		o.Width = terminal(v.env.Stdout)
	}
	o.Color = o.Width > 0 && !v.noColor && v.env.Getenv("NO_COLOR") == ""
	if v.output != "" {
		return writeFile(v.output, func(w io.Writer) error { return format.Write(w, &v.found, o) })
	}
	b := bufio.NewWriterSize(v.env.Stdout, 1<<16)
	return errors.Join(format.Write(b, &v.found, o), b.Flush())
}
