package cli

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/report"
)

func newAssess(e Env) *cobra.Command {
	r := run{env: e, formats: report.Formats()}
	asOf, since := "", ""
	c := &cobra.Command{
		Use:   "assess FILE|FOLDER...",
		Short: "say how machines stand to what Microsoft has published",
		Long: `assess reads evidence of one machine or many, in files and folders, and says for each what
it is, how it stands to support, how far behind it is, what to install in which order, what
could not be known, and how old each source of this is. Files of one machine find each
other by its name; "-" is standard input.

` + formatHelp(report.Formats()) + `
With --since it says what changed since an earlier report, one that was written with
--format json or jsonl, and why: 3 is a vulnerability that came to be exploited, or came to
affect a machine and is exploited; 4 a machine that the earlier report does not hold or
that is there no more, a vulnerability of which nobody can tell whether it concerns the
machine, or a source too old for the day; 0 everything else. Its formats are text and json.

` + statusHelp(),
		Example: `  oldguard assess fs01.txt fs01-qfe.csv         one machine, from two files
  oldguard assess --as-of 2020-01-14 fs01.txt   as on the day on which support ended
  oldguard assess --format json fs01.txt        all findings with their reasons
  oldguard assess --format jsonl evidence/      a folder with many machines, a line each
  oldguard assess --since monday.json fs01.txt  what changed since then, and why
  systeminfo | oldguard assess -                on the machine itself, or by ssh`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.on = e.Now()
			if asOf != "" {
				d, err := catalog.ParseDate(asOf)
				if err != nil {
					return usageError{err}
				}
				r.on = d.Time()
			}
			if since != "" {
				earlier, done, err := openEarlier(since)
				if err != nil {
					return err
				}
				defer done()
				r.options.Since, r.formats = earlier, report.Changes()
			}
			return r.run(cmd.Context(), args)
		},
	}
	r.flags(c)
	f := c.Flags()
	f.StringVar(&asOf, "as-of", "", "judge by what was published until this `day`, as 2020-01-14 (default today)")
	f.StringVar(&r.findings, "findings", "", "the `vulnerabilities` to list: "+oneOf(report.Choices())+" (default by format)")
	complete(c, "findings", names(report.Choices()))
	f.StringVar(&since, "since", "", "say what changed since the earlier report in this `file`, written with --format json or jsonl")
	f.BoolVarP(&r.options.Verbose, "verbose", "v", false, "as text, write all about each of many machines")
	f.IntVar(&r.jobs, "jobs", 0, "read and assess `N` machines at a time (default one for each processor)")
	return c
}

// openEarlier opens a stored report. Call done after use.
func openEarlier(name string) (e *report.Earlier, done func(), err error) {
	f, err := os.Open(name) // #nosec G304 -- the user names it
	if err != nil {
		return nil, nil, withHint("the report of the last time: oldguard assess --format json --output "+name+" EVIDENCE", "%w", err)
	}
	done = func() { _ = f.Close() } // it was only read
	info, err := f.Stat()
	if err == nil {
		e, err = report.ReadEarlier(f, info.Size())
	}
	if err != nil {
		done()
		return nil, nil, withHint("oldguard assess --format json or jsonl writes reports to compare with", "earlier report %s: %w", name, err)
	}
	return e, done, nil
}
