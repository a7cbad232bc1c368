package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newDocs is for those who package the program: it is not in the help.
func newDocs() *cobra.Command {
	c := &cobra.Command{
		Use:     "docs",
		Short:   "write the program's own documents",
		Example: "  oldguard docs man man/",
		Hidden:  true,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(&cobra.Command{
		Use:     "man FOLDER",
		Short:   "write a manual page for each command",
		Example: "  oldguard docs man man/\n  man -l man/oldguard-assess.1",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil { // #nosec G301 -- manual pages are for everybody
				return err
			}
			return eachCommand(cmd.Root(), func(c *cobra.Command) error {
				return writeFile(filepath.Join(args[0], manName(c)+".1"), func(w io.Writer) error { return man(w, c) })
			})
		},
	})
	return c
}

// eachCommand calls do for c and what is below it, as far as help shows it.
func eachCommand(c *cobra.Command, do func(*cobra.Command) error) error {
	errs := []error{do(c)}
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			errs = append(errs, eachCommand(sub, do))
		}
	}
	return errors.Join(errs...)
}

func manName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// man writes a manual page in the macros of man(7). It bears no date, so that equal
// programs have equal pages.
func man(w io.Writer, c *cobra.Command) error {
	var b strings.Builder
	c.InitDefaultHelpFlag()
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"oldguard\" \"oldguard\"\n", strings.ToUpper(manName(c)))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(manName(c)), roff(c.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roff(c.UseLine()))
	b.WriteString(".SH DESCRIPTION\n")
	manText(&b, orShort(c.Long, c.Short))
	b.WriteString(".SH OPTIONS\n")
	c.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		names := "--" + f.Name
		if f.Shorthand != "" {
			names = "-" + f.Shorthand + ", " + names
		}
		fmt.Fprintf(&b, ".TP\n\\fB%s\\fR", roff(names))
		if value != "" {
			fmt.Fprintf(&b, " \\fI%s\\fR", roff(value))
		}
		fmt.Fprintf(&b, "\n%s\n", roff(usage))
	})
	if c.Example != "" {
		b.WriteString(".SH EXAMPLES\n")
		manText(&b, c.Example)
	}
	var also []string
	if c.HasParent() {
		also = append(also, manName(c.Parent()))
	}
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			also = append(also, manName(sub))
		}
	}
	if len(also) > 0 {
		b.WriteString(".SH SEE ALSO\n")
		for i, name := range also {
			sep := ","
			if i == len(also)-1 {
				sep = ""
			}
			fmt.Fprintf(&b, ".BR %s (1)%s\n", roff(name), sep)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func orShort(long, short string) string {
	if long == "" {
		return short
	}
	return long
}

// manText writes help as a manual page has it: what is indented keeps its lines.
func manText(b *strings.Builder, text string) {
	kept := false
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		line = strings.TrimRight(line, "\n")
		indented := strings.HasPrefix(line, "  ")
		if indented != kept && line != "" {
			if kept = indented; kept {
				b.WriteString(".PP\n.nf\n")
			} else {
				b.WriteString(".fi\n")
			}
		}
		if line == "" {
			b.WriteString(".PP\n")
			continue
		}
		b.WriteString(roff(line) + "\n")
	}
	if kept {
		b.WriteString(".fi\n")
	}
}

// roff escapes what roff would act on.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}
