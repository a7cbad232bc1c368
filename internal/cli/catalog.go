package cli

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/catalog/compile"
)

func newCatalog(e Env) *cobra.Command {
	c := &cobra.Command{
		Use:     "catalog",
		Short:   "what is known of what Microsoft has published",
		Example: "  oldguard catalog info",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(newCatalogInfo(e), newCatalogBuild(e))
	return c
}

func newCatalogInfo(e Env) *cobra.Command {
	file := ""
	c := &cobra.Command{
		Use:   "info",
		Short: "show the sources with their last days, and the releases covered",
		Example: `  oldguard catalog info
  oldguard catalog info --catalog newer.bin`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cat, done, err := openCatalog(file)
			if err != nil {
				return err
			}
			defer done()
			return catalogInfo(e.Stdout, cat)
		},
	}
	c.Flags().StringVar(&file, "catalog", "", "show this `file` instead of what is built in")
	return c
}

func catalogInfo(out io.Writer, c *catalog.Catalog) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(cells ...any) { _, _ = fmt.Fprintln(w, cells...) } // Flush gives the error
	row := func(format string, args ...any) { line(fmt.Sprintf(format, args...)) }
	row("SOURCE\tLAST DAY\tSHA-256\tLICENCE\tWHAT")
	for _, s := range c.Sources() {
		row("%s\t%s\t%.16s\t%s\t%s", s.ID, s.Last, s.SHA256, s.Licence, s.Name)
	}
	line()
	row("RELEASE\tBUILDS\tARCHITECTURES\tUPDATES\tCVES\tNAME")
	updates, fixes := 0, 0
	for _, r := range c.Releases() {
		rec, err := c.Records(r.ID)
		if err != nil {
			return err
		}
		cves := 0
		for i := range rec.Fixes { // by CVE
			if i == 0 || rec.Fixes[i].CVE != rec.Fixes[i-1].CVE {
				cves++
			}
		}
		row("%s\t%s\t%s\t%d\t%d\t%s", r.ID, strings.Join(r.BuildText, ","), strings.Join(r.Arches, ","), len(rec.Updates), cves, r.Name)
		updates += len(rec.Updates)
		fixes += len(rec.Fixes)
	}
	cves, err := c.CVEs()
	if err != nil {
		return err
	}
	line()
	row("%d releases, %d updates, %d fixes of %d vulnerabilities", len(c.Releases()), updates, fixes, len(cves))
	return w.Flush()
}

func newCatalogBuild(e Env) *cobra.Command {
	from, output := "", ""
	c := &cobra.Command{
		Use:   "build --from FOLDER",
		Short: "make a catalogue out of feeds that you have downloaded",
		Long: `build makes a catalogue out of the feeds in a folder, of each the newest by name:

  ` + strings.Join(compile.Feeds(), "\n  ") + `

Equal feeds give equal files. Use the result with --catalog.`,
		Example: "  oldguard catalog build --from feeds --output newer.bin",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if from == "" {
				return usageError{withHint("oldguard catalog build --help lists the feeds", "no folder with feeds is given: --from FOLDER")}
			}
			return catalogBuild(e.Stdout, from, output)
		},
	}
	c.Flags().StringVar(&from, "from", "", "the `folder` with the feeds")
	c.Flags().StringVarP(&output, "output", "o", "catalog.bin", "the `file` to write")
	return c
}

func catalogBuild(out io.Writer, from, output string) error {
	var stats compile.Stats
	err := writeFile(output, func(w io.Writer) (err error) {
		stats, err = compile.Compile(w, os.DirFS(from))
		return err
	})
	if err != nil {
		return withHint("oldguard catalog build --help lists the feeds", "build a catalogue from %s: %w", from, err)
	}
	uncovered := 0
	for _, n := range stats.Uncovered {
		uncovered += n
	}
	_, err = fmt.Fprintf(out, `%s: %d releases, %d updates, %d fixes of %d vulnerabilities
%d rows with an update read, %d of them of these releases
%d rows of %d other products with "Windows" in the name were left out, most of: %s
%d updates were taken out of a release because they are another one's
`,
		output, stats.Releases, stats.Updates, stats.Fixes, stats.CVEs, stats.Rows, stats.Kept,
		uncovered, len(stats.Uncovered), strings.Join(most(stats.Uncovered), ", "), len(stats.Foreign))
	return err
}

// most gives the three names with the greatest numbers.
func most(of map[string]int) []string {
	names := slices.SortedFunc(maps.Keys(of), func(a, b string) int {
		if of[a] != of[b] {
			return of[b] - of[a]
		}
		return strings.Compare(a, b)
	})
	return names[:min(3, len(names))]
}

// writeFile makes a file in one step: whoever sees it sees all of it.
func writeFile(name string, write func(io.Writer) error) error {
	return writeFileAs(name, 0o644, func(f *os.File) error {
		b := bufio.NewWriterSize(f, 1<<16)
		if err := write(b); err != nil {
			return err
		}
		return b.Flush()
	})
}

// writeFileAs is writeFile for one that not everybody may read.
func writeFileAs(name string, mode fs.FileMode, write func(*os.File) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".oldguard-*")
	if err != nil {
		return err
	}
	defer func() {
		_ = f.Close() // closed below unless something failed before
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if err = write(f); err != nil {
		return err
	}
	if err = f.Chmod(mode); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// openCatalog opens a catalogue; the empty name is the one built in. Call done after use.
func openCatalog(name string) (c *catalog.Catalog, done func(), err error) {
	if name == "" {
		c, err = catalog.Embedded()
		return c, func() {}, err
	}
	f, err := os.Open(name) // #nosec G304 -- the user names it
	if err != nil {
		return nil, nil, err
	}
	done = func() { _ = f.Close() } // it was only read
	info, err := f.Stat()
	if err == nil {
		c, err = catalog.Open(f, info.Size())
	}
	if err != nil {
		done()
		return nil, nil, withHint("oldguard catalog build makes one", "catalogue %s: %w", name, err)
	}
	return c, done, nil
}
