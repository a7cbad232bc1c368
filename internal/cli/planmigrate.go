package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/plan"
	"github.com/oldguard/oldguard/internal/report"
)

// migrator is one run of plan migrate.
type migrator struct {
	run
	target, by, asOf string
}

func newPlanMigrate(e Env) *cobra.Command {
	x := migrator{run: run{env: e}}
	var formats []string
	var help strings.Builder
	for _, f := range report.MigrationFormats() {
		formats = append(formats, f.Name)
		fmt.Fprintf(&help, "  %-6s %s\n", f.Name, f.Doc)
	}
	c := &cobra.Command{
		Use:   "migrate FILE|FOLDER...",
		Short: "plan the way off old releases: upgrade, move, rehost or retire",
		Long: `migrate reads the same evidence as assess and lays the ways off each machine side by side:
upgrades in place along the chains that Microsoft's tables support, a new server beside it,
the same machine on Azure or on Azure Local, or its end; each with steps, what stops it, how
long there are updates afterwards, and what the evidence could not tell. Many machines are
sorted into waves by what is exploited, support and role; with --by these get days.

Formats:
` + help.String() + `
Exit status: 0 every machine is one that may stay, 1 could not run, 2 wrong use, 3 there is
one to move, 4 there is one about which the evidence does not tell; 3 beats 4.
`,
		Example: `  oldguard plan migrate fs01.txt                                        all targets
  oldguard plan migrate --target windows-server-2022 fs01.txt
  oldguard plan migrate --by 2027-06-30 --format html -o plan.html evidence/`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return x.migrate(cmd.Context(), args) },
	}
	f := c.Flags()
	f.StringVar(&x.format, "format", formats[0], "write as `format`: "+strings.Join(formats, ", "))
	f.StringVar(&x.target, "target", "", "the `release` to go to: "+strings.Join(plan.Targets(), ", ")+" (default every one with support)")
	f.StringVar(&x.by, "by", "", "the `day` by which it is to be done, as 2027-06-30")
	f.StringVar(&x.asOf, "as-of", "", "plan as on this `day` (default today)")
	f.StringVar(&x.catalog, "catalog", "", "use this catalogue `file` instead of what is built in")
	f.StringVarP(&x.output, "output", "o", "", "write to `file` instead of standard output")
	f.BoolVar(&x.noColor, "no-color", false, "no colours, even on a terminal")
	complete(c, "format", formats)
	complete(c, "target", plan.Targets())
	return c
}

// settle checks the flags that need no catalogue.
func (x *migrator) settle() (format report.MigrationFormat, o plan.MigrateOptions, err error) {
	for _, f := range report.MigrationFormats() {
		if f.Name == x.format {
			format = f
		}
	}
	if format.Write == nil {
		return format, o, usageError{fmt.Errorf("there is no format %q", x.format)}
	}
	x.on = x.env.Now()
	if x.asOf != "" {
		var d catalog.Date
		if d, err = catalog.ParseDate(x.asOf); err != nil {
			return format, o, usageError{err}
		}
		x.on = d.Time()
	}
	o.Target = x.target
	if x.by != "" {
		if o.By, err = catalog.ParseDate(x.by); err != nil {
			return format, o, usageError{err}
		}
		if o.By <= catalog.DateOf(x.on) {
			return format, o, usageError{errors.New("--by is a day to come, not " + x.by)}
		}
	}
	if x.output == "" {
		x.options.Width = terminal(x.env.Stdout)
	}
	x.options.Color = x.options.Width > 0 && !x.noColor && x.env.Getenv("NO_COLOR") == ""
	return format, o, nil
}

func (x *migrator) migrate(ctx context.Context, args []string) error {
	format, options, err := x.settle()
	if err != nil {
		return err
	}
	inputs, done, err := openInputs(args, x.env.Stdin)
	if err != nil {
		return err
	}
	defer done()
	cat, closeCatalog, err := openCatalog(x.catalog)
	if err != nil {
		return err
	}
	defer closeCatalog()
	if rel, err := cat.Release(options.Target); options.Target != "" && (err != nil || !rel.Server) {
		return usageError{fmt.Errorf("--target is a release such as windows-server-2022, not %q", options.Target)}
	}
	var plans []*plan.Migration
	var gaps []host.Gap
	for h, err := range x.hosts(ctx, inputs) {
		if err != nil {
			return err
		}
		if report.Unread(&assess.Assessment{Host: h}) {
			gaps = append(gaps, h.Gaps...)
			continue
		}
		plans = append(plans, plan.Migrate(h, cat, options, x.on))
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case len(plans) == 0 && len(gaps) > 0:
		return unread(gaps)
	case len(plans) == 0:
		return withHint("evidence is a file or folder such as the output of systeminfo; docs/evidence.md lists what can be read", "there is no file in what was named")
	}
	on := catalog.DateOf(x.on)
	return x.write(func(w io.Writer) error {
		if err := format.Write(w, report.NewMigration(plans, on, options.By), x.options); err != nil {
			return err
		}
		status := statusClear
		for _, v := range plan.Waves(plans, on, options.By) {
			switch {
			case v.Moves:
				status = worse(status, statusBad)
			case v.ID == "unknown":
				status = worse(status, statusUndecided)
			}
		}
		if status == statusClear {
			return nil
		}
		return answer{status}
	})
}
