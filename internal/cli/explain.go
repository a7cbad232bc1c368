package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/explain"
)

func newExplain(e Env) *cobra.Command {
	x := explainer{env: e}
	c := &cobra.Command{
		Use:   "explain KB|CVE|VERSION|RELEASE|PACKAGE|ERROR...",
		Short: "say what is known of an update, a vulnerability, a build, a release or an error",
		Long: `explain says what is known of one thing, from which source and how sure that is, where
sources disagree, and until which day they speak. It takes a KB, a CVE, a version in any
of the ways it is written, a release by id or name, the name of a package or of an update
file, an ESU activation id, an error code in any form, or words of an error.

With --snippet it prints a version check for software that runs on Server 2008 SP2 itself:
one that takes both 6002 and 6003 for what they are. The checks:

` + snippetHelp() + `
Exit status: 0 answered, 1 could not run, 2 not understood, 4 understood, but not in the
catalogue.
`,
		Example: `  oldguard explain KB4493730
  oldguard explain CVE-2019-0708
  oldguard explain 6003
  oldguard explain Server 2008 SP2
  oldguard explain --as-of 2020-06-01 2012 R2
  oldguard explain 0x80070661
  oldguard explain 6003 --snippet nsis > check.nsi`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return x.run(args) },
	}
	f := c.Flags()
	f.StringVar(&x.format, "format", "text", "write as `format`: text, json")
	f.StringVar(&x.asOf, "as-of", "", "answer by what was published until this `day`, as 2020-01-14 (default today)")
	f.StringVar(&x.catalog, "catalog", "", "use this catalogue `file` instead of what is built in")
	f.StringVar(&x.snippet, "snippet", "", "print a version check for this `tool`: "+strings.Join(snippetNames(), ", "))
	complete(c, "format", []string{"text", "json"})
	complete(c, "snippet", snippetNames())
	c.ValidArgsFunction = completeReleases
	return c
}

func snippetHelp() string {
	var b strings.Builder
	for _, s := range explain.Snippets() {
		fmt.Fprintf(&b, "  %-10s  %s\n", s.Name, s.Doc)
	}
	return b.String()
}

func snippetNames() (names []string) {
	for _, s := range explain.Snippets() {
		names = append(names, s.Name)
	}
	return names
}

type explainer struct {
	env                            Env
	format, asOf, catalog, snippet string
}

func (x *explainer) run(args []string) error {
	on := x.env.Now()
	if x.asOf != "" {
		d, err := catalog.ParseDate(x.asOf)
		if err != nil {
			return usageError{err}
		}
		on = d.Time()
	}
	if x.format != "text" && x.format != "json" {
		return usageError{fmt.Errorf("there is no format %q", x.format)}
	}
	cat, done, err := openCatalog(x.catalog)
	if err != nil {
		return err
	}
	defer done()
	answers, err := x.answers(args, cat, on)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(x.env.Stdout)
	if x.snippet != "" {
		if err := x.printSnippet(out, answers); err != nil {
			return err
		}
		return out.Flush()
	}
	if err := errors.Join(x.write(out, answers), out.Flush()); err != nil {
		return err
	}
	for _, a := range answers {
		if !a.Known {
			return answer{statusUndecided}
		}
	}
	return nil
}

// answers answers each argument, or all together where they are words of one question, as
// in "Server 2008 SP2": that is so if one of them alone is no question.
func (x *explainer) answers(args []string, cat *catalog.Catalog, on time.Time) ([]*explain.Answer, error) {
	var answers []*explain.Answer
	for _, arg := range args {
		a, err := explain.Explain(arg, cat, on)
		var misunderstood *explain.QuestionError
		switch {
		case err == nil:
			answers = append(answers, a)
			continue
		case !errors.As(err, &misunderstood):
			return nil, err
		case len(args) > 1:
			if a, err := explain.Explain(strings.Join(args, " "), cat, on); err == nil {
				return []*explain.Answer{a}, nil
			}
		}
		hint := "oldguard explain --help lists what can be asked"
		if len(misunderstood.Near) > 0 {
			hint = "perhaps: " + strings.Join(misunderstood.Near, ", ")
		}
		return nil, usageError{hinted{misunderstood, hint}}
	}
	return answers, nil
}

func (x *explainer) printSnippet(out io.Writer, answers []*explain.Answer) error {
	if len(answers) != 1 || !answers[0].HasSnippet() {
		return usageError{withHint("oldguard explain 6003 --snippet "+x.snippet, "there are version checks for Server 2008 SP2 only")}
	}
	for _, s := range explain.Snippets() {
		if s.Name != x.snippet {
			continue
		}
		text, err := s.Text()
		if err != nil {
			return err
		}
		_, err = io.WriteString(out, text)
		return err
	}
	return usageError{fmt.Errorf("there is no snippet %q: it is %s", x.snippet, strings.Join(snippetNames(), ", "))}
}

func (x *explainer) write(out io.Writer, answers []*explain.Answer) error {
	if x.format == "json" {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		if len(answers) == 1 {
			return enc.Encode(answers[0])
		}
		return enc.Encode(struct {
			Schema       string            `json:"schema"`
			Explanations []*explain.Answer `json:"explanations"`
		}{explain.SchemaMany, answers})
	}
	for i, a := range answers {
		if i > 0 {
			if _, err := io.WriteString(out, "\n"); err != nil {
				return err
			}
		}
		if err := a.WriteText(out, terminal(x.env.Stdout)); err != nil {
			return err
		}
	}
	return nil
}
