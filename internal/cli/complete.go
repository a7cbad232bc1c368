package cli

import (
	"github.com/spf13/cobra"

	"github.com/oldguard/oldguard/internal/catalog"
)

// complete tells the shell the values of a flag.
func complete(c *cobra.Command, flag string, values []string) {
	err := c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // there is no such flag: a mistake of ours
	}
}

// completeReleases tells the shell the releases of Windows that are covered, with their
// names.
func completeReleases(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	cat, err := catalog.Embedded()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var out []cobra.Completion
	for _, r := range cat.Releases() {
		out = append(out, cobra.CompletionWithDesc(r.ID, r.Name))
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// completeOpen tells the shell how values of a flag begin; the user goes on behind them.
func completeOpen(c *cobra.Command, flag string, values []string) {
	err := c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace))
	if err != nil {
		panic(err) // there is no such flag: a mistake of ours
	}
}
