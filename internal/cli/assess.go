package cli

import (
	"github.com/spf13/cobra"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/report"
)

func newAssess(e Env) *cobra.Command {
	r := run{env: e, formats: report.Formats()}
	asOf := ""
	c := &cobra.Command{
		Use:   "assess FILE|FOLDER...",
		Short: "say how machines stand to what Microsoft has published",
		Long: `assess reads evidence of one machine or many, in files and folders, and says for each what
it is, how it stands to support, how far behind it is, what to install in which order, what
could not be known, and how old each source of this is. Files of one machine find each
other by its name; "-" is standard input.

` + formatHelp(report.Formats()) + "\n" + statusHelp(),
		Example: `  oldguard assess fs01.txt fs01-qfe.csv        one machine, from two files
  oldguard assess --as-of 2020-01-14 fs01.txt  as on the day on which support ended
  oldguard assess --format json fs01.txt       all findings with their reasons
  oldguard assess --format jsonl evidence/     a folder with many machines, a line each
  systeminfo | oldguard assess -               on the machine itself, or by ssh`,
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
			return r.run(cmd.Context(), args)
		},
	}
	r.flags(c)
	f := c.Flags()
	f.StringVar(&asOf, "as-of", "", "judge by what was published until this `day`, as 2020-01-14 (default today)")
	f.StringVar(&r.findings, "findings", "", "the `vulnerabilities` to list: "+oneOf(report.Choices())+" (default by format)")
	complete(c, "findings", names(report.Choices()))
	f.BoolVarP(&r.options.Verbose, "verbose", "v", false, "as text, write all about each of many machines")
	f.IntVar(&r.jobs, "jobs", 0, "read and assess `N` machines at a time (default one for each processor)")
	return c
}
