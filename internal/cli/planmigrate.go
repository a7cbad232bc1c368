package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/plan"
	"github.com/oldguard/oldguard/internal/report"
)

// migrator is one run of plan migrate.
type migrator struct {
	planning
	target, by string
}

func newPlanMigrate(e Env) *cobra.Command {
	x := migrator{planning: planning{run: run{env: e}}}
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
	x.flags(c, formats)
	f := c.Flags()
	f.StringVar(&x.target, "target", "", "the `release` to go to: "+strings.Join(plan.Targets(), ", ")+" (default every one with support)")
	f.StringVar(&x.by, "by", "", "the `day` by which it is to be done, as 2027-06-30")
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
	if err = x.planning.settle(); err != nil {
		return format, o, err
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
	return format, o, nil
}

func (x *migrator) migrate(ctx context.Context, args []string) error {
	format, options, err := x.settle()
	if err != nil {
		return err
	}
	var cat *catalog.Catalog
	var plans []*plan.Migration
	return x.plan(ctx, args, func(c *catalog.Catalog) error {
		cat = c
		if rel, err := cat.Release(options.Target); options.Target != "" && (err != nil || !rel.Server) {
			return usageError{fmt.Errorf("--target is a release such as windows-server-2022, not %q", options.Target)}
		}
		return nil
	}, func(h *host.Host) {
		plans = append(plans, plan.Migrate(h, cat, options, x.on))
	}, func() error {
		on, status := catalog.DateOf(x.on), statusClear
		for _, v := range plan.Waves(plans, on, options.By) {
			switch {
			case v.Moves:
				status = worse(status, statusBad)
			case v.ID == "unknown":
				status = worse(status, statusUndecided)
			}
		}
		return x.answer(status, func(w io.Writer) error {
			return format.Write(w, report.NewMigration(plans, on, options.By), x.options)
		})
	})
}
