package cli

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/plan"
	"github.com/oldguard/oldguard/internal/report"
	"github.com/oldguard/oldguard/internal/trust"
	"github.com/oldguard/oldguard/internal/verify"
)

func newPlan(e Env) *cobra.Command {
	c := &cobra.Command{
		Use:     "plan",
		Short:   "say in which order to do what: back to a patched state, fenced in, or off an old release",
		Example: "  oldguard plan patch fs01.txt fs01-qfe.csv\n  oldguard plan isolate --jump 192.0.2.40 fs01/\n  oldguard plan migrate --target windows-server-2022 fs01.txt",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(newPlanPatch(e), newPlanIsolate(e), newPlanMigrate(e))
	return c
}

// patcher is one run of plan patch.
type patcher struct {
	planning
	entitlement, line, files string
}

func newPlanPatch(e Env) *cobra.Command {
	x := patcher{planning: planning{run: run{env: e}}}
	c := &cobra.Command{
		Use:   "patch FILE|FOLDER...",
		Short: "plan the way from where machines are to the newest state they may reach",
		Long: `patch reads the same evidence as assess and plans, for each machine, the way to the newest
state that its owner may lawfully reach: what comes before, which packages in which order,
where a restart is needed, what each step changes, how one knows that it worked and how it
is known to fail. What was published decides what is missing; --entitlement decides what of
it may be installed. Nothing is downloaded, and nothing is done to any machine.

` + planFormatHelp() + `
Exit status: 0 nothing to install, 1 could not run, 2 wrong use, 3 something is missing: to
be installed, or beyond the entitlement, 4 no plan can be made, or support is over, or a
source is too old for the day; 3 beats 4.
`,
		Example: `  oldguard plan patch fs01.txt fs01-qfe.csv                    what to do, as text
  oldguard plan patch --entitlement esu-y3 fs01.txt            with three years of ESU
  oldguard plan patch --files packages --format html -o fs01.html fs01.txt
  oldguard plan patch --files packages --format cmd -o packages/fs01.cmd fs01.txt`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return x.patch(cmd.Context(), args) },
	}
	x.flags(c, planFormatNames())
	f := c.Flags()
	f.StringVar(&x.entitlement, "entitlement", "", "what the `owner` may install beyond the end of support: "+oneOf(plan.Entitlements())+" (default from the evidence, else none)")
	f.StringVar(&x.line, "line", "", "the `line` to keep to: "+oneOf(plan.Lines())+" (default as found)")
	f.StringVar(&x.files, "files", "", "a `folder` with packages: each is verified and matched to its step")
	complete(c, "entitlement", names(plan.Entitlements()))
	complete(c, "line", names(plan.Lines()))
	return c
}

func planFormatNames() (names []string) {
	for _, f := range report.PatchPlans() {
		names = append(names, f.Name)
	}
	return names
}

func planFormatHelp() string {
	var b strings.Builder
	b.WriteString("Formats:\n")
	for _, f := range report.PatchPlans() {
		fmt.Fprintf(&b, "  %-6s %s\n", f.Name, f.Doc)
	}
	return b.String()
}

// settle checks the flags.
func (x *patcher) settle() (format report.PlanFormat, o plan.Options, err error) {
	format, ok := report.FindPlan(report.PatchPlans(), x.format)
	if !ok {
		return format, o, usageError{fmt.Errorf("there is no format %q", x.format)}
	}
	o = plan.Options{Entitlement: plan.Entitlement(x.entitlement), Line: plan.Line(x.line)}
	if x.entitlement != "" && !slices.Contains(plan.Entitlements(), o.Entitlement) {
		return format, o, usageError{fmt.Errorf("--entitlement is %s, not %q", oneOf(plan.Entitlements()), x.entitlement)}
	}
	if x.line != "" && !slices.Contains(plan.Lines(), o.Line) {
		return format, o, usageError{fmt.Errorf("--line is %s, not %q", oneOf(plan.Lines()), x.line)}
	}
	return format, o, x.planning.settle()
}

func (x *patcher) patch(ctx context.Context, args []string) error {
	format, options, err := x.settle()
	if err != nil {
		return err
	}
	var cat *catalog.Catalog
	var plans []*plan.Patch
	return x.plan(ctx, args,
		func(c *catalog.Catalog) error { cat = c; return nil },
		func(h *host.Host) { plans = append(plans, plan.PatchHost(h, cat, options, x.on)) },
		func() error { return x.finish(format, plans, cat) })
}

// finish looks at the owner's files and writes the plans.
func (x *patcher) finish(format report.PlanFormat, plans []*plan.Patch, cat *catalog.Catalog) error {
	if format.Single && len(plans) > 1 {
		return forOne(format.Name, len(plans))
	}
	if x.files != "" {
		files, err := verified(x.files, plans, cat, x.on)
		if err != nil {
			return err
		}
		for _, p := range plans {
			p.Match(files)
		}
	}
	status := statusClear
	for _, p := range plans {
		status = worse(status, planStatus(p))
	}
	return x.answer(status, func(w io.Writer) error { return format.Write(w, plans, x.options) })
}

// planStatus gives the status for a plan.
func planStatus(p *plan.Patch) int {
	switch {
	case p.Why != "":
		return statusUndecided
	case len(p.Steps) > 0, len(p.Beyond) > 0:
		return statusBad
	case p.Before.SupportOver, p.Before.SourceStale:
		return statusUndecided
	}
	return statusClear
}

// verified looks at those files of a folder, and of the folders in it, whose names bear the
// number of an update that a plan needs.
func verified(folder string, plans []*plan.Patch, cat *catalog.Catalog, on time.Time) (files []plan.Have, err error) {
	root, err := os.OpenRoot(folder) // no link leads out of it
	if err != nil {
		return nil, withHint("--files is a folder with packages (.msu, .cab)", "%w", err)
	}
	defer func() { _ = root.Close() }() // it was only read
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !wanted(d.Name(), plans) {
			return err
		}
		f, err := root.Open(name)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // it was only read
		have, err := judged(filepath.FromSlash(name), f, cat, on)
		files = append(files, have)
		return err
	})
	return files, err
}

// wanted reports whether a plan needs the update whose number stands in a file's name.
func wanted(file string, plans []*plan.Patch) bool {
	switch strings.ToLower(filepath.Ext(file)) {
	case ".msu", ".cab", ".exe":
	default:
		return false
	}
	for _, p := range plans {
		for _, s := range p.Updates() {
			if strings.Contains(strings.ToLower(file), strings.ToLower(s.KB.String())) {
				return true
			}
		}
	}
	return false
}

// judged says of one package whether it is Microsoft's, unmodified, and what its name says.
func judged(name string, f *os.File, cat *catalog.Catalog, on time.Time) (plan.Have, error) {
	info, err := f.Stat()
	if err != nil {
		return plan.Have{}, err
	}
	v, err := verify.File(filepath.Base(name), f, info.Size(), verify.Options{Trust: trust.Options{Now: on}, Catalog: cat})
	if err != nil {
		return plan.Have{}, err
	}
	return plan.Have{
		Name: name, SHA1: v.Trust.SHA1, SHA256: v.Trust.SHA256, Size: v.Trust.Size, Genuine: v.Certain(), Verdict: v.Verdict.String(),
		Because: slices.Concat(v.Because, v.Contradictions),
	}, nil
}
