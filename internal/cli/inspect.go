package cli

import (
	"github.com/spf13/cobra"

	"github.com/oldguard/oldguard/internal/report"
)

func newInspect(e Env) *cobra.Command {
	r := run{env: e, formats: report.Inspections(), inspect: true}
	c := &cobra.Command{
		Use:   "inspect FILE|FOLDER...",
		Short: "show what the evidence says, who says it, and what follows",
		Long: `inspect shows what each file states about a machine and at which place, where files
disagree, whether the list of updates is whole and why, and which release and revision
follow. It judges nothing.

` + formatHelp(report.Inspections()) + "\n" + statusHelp(),
		Example: `  oldguard inspect fs01.txt fs01-qfe.csv
  oldguard inspect --as systeminfo odd.txt    the reader chosen by hand
  oldguard inspect --format json fs01.txt`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.on = e.Now()
			return r.run(cmd.Context(), args)
		},
	}
	r.flags(c)
	return c
}
