package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/all"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/report"
)

// run is what assess and inspect share: evidence in, machines assessed one by one, a
// document out.
type run struct {
	env     Env
	formats []report.Format
	inspect bool
	on      time.Time
	options report.Options

	format, as, catalog, findings, output string
	noColor                               bool
	jobs                                  int
}

func (r *run) flags(c *cobra.Command) {
	var formats, readers []string
	for _, f := range r.formats {
		formats = append(formats, f.Name)
	}
	for _, f := range all.Readers() {
		readers = append(readers, f.Name)
	}
	f := c.Flags()
	f.StringVar(&r.format, "format", formats[0], "write as `format`: "+strings.Join(formats, ", "))
	f.StringVar(&r.as, "as", "", "read every file with this `reader`: "+strings.Join(readers, ", "))
	f.StringVar(&r.catalog, "catalog", "", "use this catalogue `file` instead of what is built in")
	f.StringVarP(&r.output, "output", "o", "", "write to `file` instead of standard output")
	f.BoolVar(&r.noColor, "no-color", false, "no colours, even on a terminal")
	complete(c, "format", formats)
	complete(c, "as", readers)
}

// oneOf names values as a choice: "a, b or c".
func oneOf[T ~string](values []T) string {
	var b strings.Builder
	for i, v := range values {
		switch {
		case i > 0 && i == len(values)-1:
			b.WriteString(" or ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(string(v))
	}
	return b.String()
}

// names gives the names of choices.
func names[T ~string](values []T) (out []string) {
	for _, v := range values {
		out = append(out, string(v))
	}
	return out
}

func formatHelp(list []report.Format) string {
	var b strings.Builder
	b.WriteString("Formats:\n")
	for _, f := range list {
		fmt.Fprintf(&b, "  %-13s %s\n", f.Name, f.Doc)
	}
	return b.String()
}

// gcPercent lets the heap grow to five times what is in use before it is collected, where
// Go's usual is twice. What a machine takes is small and gone soon: a fleet is assessed in
// two thirds of the time, ten thousand machines in some 150 MiB.
const gcPercent = 400

// memoryLimit is from where on the heap is collected whatever gcPercent says. What a large capture
// leaves behind would else add up to twice what is needed.
const memoryLimit = 150 << 20

func (r *run) run(ctx context.Context, args []string) error {
	if r.env.Getenv("GOGC") == "" {
		defer debug.SetGCPercent(debug.SetGCPercent(gcPercent))
	}
	format, err := r.choose()
	if err != nil {
		return err
	}
	inputs, done, err := openInputs(args, r.env.Stdin)
	if err != nil {
		return err
	}
	defer done()
	cat, closeCatalog, err := openCatalog(r.catalog)
	if err != nil {
		return err
	}
	defer closeCatalog()
	return r.write(func(w io.Writer) error {
		return r.report(ctx, format, w, cat, r.hosts(ctx, inputs))
	})
}

// choose checks the flags and settles the format and its options.
func (r *run) choose() (report.Format, error) {
	format, ok := report.Find(r.formats, r.format)
	if !ok {
		if _, ok := report.Find(report.Formats(), r.format); ok && !r.inspect {
			return format, usageError{fmt.Errorf("with --since the format is text or json, not %q", r.format)}
		}
		return format, usageError{fmt.Errorf("there is no format %q", r.format)}
	}
	if r.options.Since != nil && r.findings != "" {
		return format, usageError{errors.New("--since lists what changed: --findings chooses nothing")}
	}
	if r.as != "" {
		known := false
		for _, reader := range all.Readers() {
			known = known || reader.Name == r.as
		}
		if !known {
			return format, usageError{fmt.Errorf("there is no reader %q", r.as)}
		}
	}
	r.options.Findings = report.Findings(r.findings)
	if choices := report.Choices(); r.findings != "" && !slices.Contains(choices, r.options.Findings) {
		return format, usageError{fmt.Errorf("--findings is %s, not %q", oneOf(choices), r.findings)}
	}
	if r.jobs < 0 {
		return format, usageError{fmt.Errorf("--jobs is a number of machines, not %d", r.jobs)}
	}
	if r.jobs == 0 {
		r.jobs = runtime.GOMAXPROCS(0)
	}
	if r.output == "" {
		r.options.Width = terminal(r.env.Stdout)
	}
	r.options.Color = r.options.Width > 0 && !r.noColor && r.env.Getenv("NO_COLOR") == ""
	return format, nil
}

// write gives the output to do, and sees to it that an output file is whole or not there.
func (r *run) write(do func(io.Writer) error) error {
	if r.output == "" {
		b := bufio.NewWriterSize(r.env.Stdout, 1<<16)
		err := do(b)
		return errors.Join(err, b.Flush())
	}
	var given error
	err := writeFile(r.output, func(w io.Writer) error {
		given = do(w)
		if a := (answer{}); errors.As(given, &a) {
			return nil
		}
		return given
	})
	if err != nil {
		return err
	}
	return given
}

// limitMemory holds to memoryLimit until it is undone.
func (r *run) limitMemory() (undo func()) {
	if r.env.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	before := debug.SetMemoryLimit(memoryLimit)
	return func() { debug.SetMemoryLimit(before) }
}

// hosts reads the inputs and shows progress.
func (r *run) hosts(ctx context.Context, inputs []evidence.Input) iter.Seq2[*host.Host, error] {
	options := evidence.Options{As: r.as, Workers: r.jobs}
	return func(yield func(*host.Host, error) bool) {
		defer r.limitMemory()()
		meter := newMeter(r.env, r.output == "" && r.options.Width > 0)
		if meter != nil {
			options.Progress = meter.show
			defer meter.clear()
		}
		for h, err := range evidence.Read(ctx, all.Readers(), inputs, options) {
			if !yield(h, err) {
				return
			}
		}
	}
}

// inOrder calls do for each value of seq, up to workers at a time, and yields the results
// in the order of seq. No more than workers results wait.
func inOrder[A, B any](workers int, seq iter.Seq2[A, error], do func(A) B) iter.Seq2[B, error] {
	type result struct {
		value B
		err   error
	}
	return func(yield func(B, error) bool) {
		waiting := make(chan chan result, max(workers-1, 0))
		stop := make(chan struct{})
		go func() {
			defer close(waiting)
			for v, err := range seq {
				c := make(chan result, 1)
				select {
				case waiting <- c:
				case <-stop:
					return
				}
				go func() {
					if err != nil {
						c <- result{err: err}
						return
					}
					c <- result{value: do(v)}
				}()
			}
		}()
		stopped := false
		for c := range waiting { // to the end: seq may use what the caller closes
			r := <-c
			if !stopped && !yield(r.value, r.err) {
				stopped = true
				close(stop)
			}
		}
	}
}

// machine is one machine's part of the report, and what it comes to.
type machine struct {
	part   report.Part
	err    error
	status int
	gaps   []host.Gap // if it is no machine but files that nobody could read
}

// report assesses each machine and writes the document. The first two machines are waited
// for before it is begun: whether there are many shapes it.
func (r *run) report(ctx context.Context, format report.Format, out io.Writer, cat *catalog.Catalog, hosts iter.Seq2[*host.Host, error]) error {
	hosts, n := peek(hosts, 2)
	r.options.Many = n > 1
	if !r.options.Many {
		r.options.Catalog = cat
	}
	if r.options.Findings == "" {
		r.options.Findings = format.Listed(r.options.Many)
	}
	w := format.Open(out, r.options)
	policy := assess.Policy{OnlyOpen: r.options.Findings != report.All}
	status, machines := statusClear, 0
	var gaps []host.Gap
	for m, err := range inOrder(r.jobs, hosts, func(h *host.Host) (m machine) {
		a := assess.Assess(h, cat, policy, r.on)
		m.status = levels[a.Level()]
		if report.Unread(a) {
			m.gaps = h.Gaps
		}
		if m.part, m.err = w.Prepare(a); r.options.Since != nil {
			m.status = levels[m.part.Level]
		}
		return m
	}) {
		if err = errors.Join(err, m.err); err != nil {
			return err
		}
		status = worse(status, m.status)
		if m.gaps == nil {
			machines++
		} else if machines == 0 {
			gaps = append(gaps, m.gaps...)
		}
		if n == 1 && machines == 0 {
			break // the error says it all
		}
		if err := w.Write(m.part); err != nil {
			return err
		}
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case n == 0:
		return withHint("name files with evidence, such as the output of systeminfo; docs/evidence.md lists what can be read", "there is no file in what was named")
	case n == 1 && machines == 0:
		return noneRead(gaps)
	}
	if err := w.Close(); err != nil {
		return err
	}
	if e := r.options.Since; e != nil && r.options.Many && len(e.Gone()) > 0 {
		status = worse(status, statusUndecided)
	}
	switch {
	case machines == 0:
		return withHint("evidence is, for instance, the output of systeminfo; docs/evidence.md lists what can be read", "nothing could be read")
	case r.inspect, status == statusClear:
		return nil
	}
	return answer{status}
}

// peek gives seq again after looking at its first values, n at most, and how many there are.
func peek[T any](seq iter.Seq2[T, error], n int) (again iter.Seq2[T, error], seen int) {
	next, stop := iter.Pull2(seq)
	type result struct {
		value T
		err   error
	}
	var first []result
	for len(first) < n {
		v, err, ok := next()
		if !ok {
			break
		}
		first = append(first, result{v, err})
	}
	return func(yield func(T, error) bool) {
		defer stop()
		for _, f := range first {
			if !yield(f.value, f.err) {
				return
			}
		}
		for {
			v, err, ok := next()
			if !ok || !yield(v, err) {
				return
			}
		}
	}, len(first)
}

// noneRead is the error where nobody could read anything.
func noneRead(gaps []host.Gap) error {
	var why []string
	hint := ""
	for _, g := range gaps {
		why = append(why, g.From.Input+": "+g.Why)
		hint = g.Hint
	}
	return hinted{errors.New(strings.Join(why, "\n")), hint}
}

// Evidence may come through a pipe, and readers go to and fro in it. Up to maxKept of it is held in
// memory, which no text exceeds; more, such as a capture, goes to a temporary file that nobody
// else may read. maxStdin bounds that, lest an endless pipe fill the disk.
const (
	maxKept  = 16 << 20
	maxStdin = 64 << 30
)

// openInputs turns arguments into inputs. Call done after use. What does not exist is an
// error before anything is read.
func openInputs(args []string, stdin io.Reader) (inputs []evidence.Input, done func(), err error) {
	var ends []func()
	done = func() {
		for _, end := range ends {
			end()
		}
	}
	fail := func(err error) ([]evidence.Input, func(), error) {
		done()
		return nil, nil, err
	}
	for _, name := range args {
		if name == "-" {
			in, end, err := stream("standard input", stdin)
			if err != nil {
				return fail(err)
			}
			ends = append(ends, end)
			inputs = append(inputs, in)
			continue
		}
		info, err := os.Stat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fail(withHint("evidence is a file, a folder, or - for standard input", "there is no file or folder %s", name))
		case err != nil:
			return fail(err)
		case info.IsDir():
			root, err := os.OpenRoot(name) // no link leads out of it
			if err != nil {
				return fail(err)
			}
			ends = append(ends, func() { _ = root.Close() }) // it was only read
			inputs = append(inputs, evidence.Input{Name: name, Tree: root.FS()})
		case info.Mode().IsRegular():
			inputs = append(inputs, evidence.Input{Name: name, File: io.NewSectionReader(reopened(name), 0, info.Size())})
		default: // such as a pipe
			f, err := os.Open(name) // #nosec G304 -- the user names it
			if err != nil {
				return fail(err)
			}
			in, end, err := stream(name, f)
			_ = f.Close() // it was only read
			if err != nil {
				return fail(err)
			}
			ends = append(ends, end)
			inputs = append(inputs, in)
		}
	}
	return inputs, done, nil
}

// stream takes in what comes through a pipe. Call done after use, unless there is an error.
func stream(name string, r io.Reader) (in evidence.Input, done func(), err error) {
	b, err := io.ReadAll(io.LimitReader(r, maxKept+1))
	switch {
	case err != nil:
		return in, nil, fmt.Errorf("read %s: %w", name, err)
	case len(b) <= maxKept:
		return evidence.Input{Name: name, File: io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))}, func() {}, nil
	}
	f, err := os.CreateTemp("", "oldguard-*")
	if err != nil {
		return in, nil, noRoom(name, err)
	}
	done = func() {
		_ = f.Close() // it was read; nothing in it is needed
		_ = os.Remove(f.Name())
	}
	size, err := io.Copy(f, io.LimitReader(io.MultiReader(bytes.NewReader(b), r), maxStdin+1))
	if err == nil && size > maxStdin {
		err = fmt.Errorf("it is larger than %d GiB", maxStdin>>30)
	}
	if err != nil {
		done()
		return in, nil, noRoom(name, err)
	}
	return evidence.Input{Name: name, File: io.NewSectionReader(f, 0, size)}, done, nil
}

// noRoom is the error of a pipe whose content could not be put into a temporary file.
func noRoom(name string, err error) error {
	return withHint("a pipe of more than 16 MiB is kept in the folder for temporary files; write it to a file yourself and name that, or let TMPDIR (on Windows TMP) name a folder with room",
		"take in %s: %w", name, err)
}

// reopened is a file that is open only while it is read, so that ten thousand of them can
// be named at once.
type reopened string

// ReadAt opens the file, reads and closes it.
func (name reopened) ReadAt(p []byte, off int64) (int, error) {
	f, err := os.Open(string(name)) // #nosec G304 -- the user names it
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // it was only read
	return f.ReadAt(p, off)
}
