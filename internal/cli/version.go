package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/oldguard/oldguard/internal/catalog"
)

func newVersion(e Env) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "print the version of the program and of its catalogue",
		Example: "  oldguard version",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			c, err := catalog.Embedded()
			if err != nil {
				return err
			}
			last := "unknown"
			if s, ok := c.Source(catalog.SourceUpdates); ok {
				last = s.Last.String()
			}
			_, err = fmt.Fprintf(e.Stdout, "oldguard %s %s/%s\nupdates known until %s\n", version(), runtime.GOOS, runtime.GOARCH, last)
			return err
		},
	}
}

// version gives what Go noted when it built the program.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
