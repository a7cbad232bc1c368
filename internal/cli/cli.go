// Package cli is the command line: one file for each command. It is the only package that
// opens what the user names, that knows the clock, and that wires the parts together.
package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
)

// Run runs the program and gives its exit status.
func Run(ctx context.Context, args []string, e Env) int {
	ran := false
	root := newRoot(e)
	root.PersistentPreRun = func(*cobra.Command, []string) { ran = true }
	root.SetArgs(args)
	command, err := root.ExecuteContextC(ctx)
	status := statusOf(err, ran)
	if a := (answer{}); err == nil || errors.As(err, &a) {
		return status
	}
	hint := ""
	if h := (hinted{}); errors.As(err, &h) {
		hint = h.hint
	} else if status == statusUsage {
		hint = command.CommandPath() + " --help"
	}
	printError(e.Stderr, err, hint)
	return status
}

func newRoot(e Env) *cobra.Command {
	root := &cobra.Command{
		Use:   "oldguard",
		Short: "what an old Windows server is, what it lacks, and what cannot be known",
		Long: `oldguard reads what you can get from a Windows machine, such as the text of systeminfo and
wmic qfe, registry exports and hives, logs, or the lists of an inventory, and says what the
machine is, how it stands to support, what it lacks of what Microsoft has published, and
what cannot be known from this evidence. What Microsoft has published is built in; nothing
is sent anywhere, but by push to a server that you name.

` + statusHelp(),
		Example: `  oldguard assess fs01.txt fs01-qfe.csv
  oldguard assess --format html --output fleet.html evidence/
  oldguard inspect fs01.txt
  oldguard explain 6003
  oldguard catalog info`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(e.Stdin)
	root.SetOut(e.Stdout)
	root.SetErr(e.Stderr)
	root.AddCommand(newAssess(e), newInspect(e), newExplain(e), newPlan(e), newVerify(e), newCatalog(e), newCollect(e), newServe(e), newPush(e), newBackup(e), newRestore(e), newVersion(e), newDocs())
	return root
}
