package cli

import (
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/oldguard/oldguard/internal/collect/script"
)

func newCollect(e Env) *cobra.Command {
	asScript, output := false, ""
	c := &cobra.Command{
		Use:   "collect --script",
		Short: "write the collector that runs on the old machine itself",
		Long: `Collect writes oldguard-collect.cmd, which runs on Windows Vista and Server 2008 and later as
they are, also on Server Core, in every language and as an ordinary user as far as that
goes. Run there, it asks the machine's own tools, changes nothing, and makes a folder and a
cabinet, NAME-DATE.cab, with what they said, what failed, and the SHA-1 of each file.
Bring either here and assess it.`,
		Example: `  oldguard collect --script -o oldguard-collect.cmd
  oldguard assess FS01-20260112093000.cab`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if !asScript {
				return usageError{errors.New("collect writes a script only: --script")}
			}
			write := func(w io.Writer) error {
				_, err := w.Write(script.CMD)
				return err
			}
			if output == "" {
				return write(e.Stdout)
			}
			return writeFile(output, write)
		},
	}
	c.Flags().BoolVar(&asScript, "script", false, "write oldguard-collect.cmd, for the machine itself")
	c.Flags().StringVarP(&output, "output", "o", "", "write to `file` instead of standard output")
	return c
}
