package cli

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/report"
)

// planning is what the plan commands share: a day, evidence in, a plan of each machine, and
// one document of all.
type planning struct {
	run
	asOf   string
	unread []host.Gap // of files that nobody could read
}

// flags adds the flags that every plan has. The first format is the default.
func (p *planning) flags(c *cobra.Command, formats []string) {
	f := c.Flags()
	f.StringVar(&p.format, "format", formats[0], "write as `format`: "+strings.Join(formats, ", "))
	f.StringVar(&p.asOf, "as-of", "", "plan as on this `day`, by what was published until then, as 2020-01-14 (default today)")
	f.StringVar(&p.catalog, "catalog", "", "use this catalogue `file` instead of what is built in")
	f.StringVarP(&p.output, "output", "o", "", "write to `file` instead of standard output")
	f.BoolVar(&p.noColor, "no-color", false, "no colours, even on a terminal")
	complete(c, "format", formats)
}

// settle fixes the day and the way to write.
func (p *planning) settle() error {
	p.on = p.env.Now()
	if p.asOf != "" {
		d, err := catalog.ParseDate(p.asOf)
		if err != nil {
			return usageError{err}
		}
		p.on = d.Time()
	}
	if p.output == "" {
		p.options.Width = terminal(p.env.Stdout)
	}
	p.options.Color = p.options.Width > 0 && !p.noColor && p.env.Getenv("NO_COLOR") == ""
	return nil
}

// plan opens what the arguments name and the catalogue, gives the catalogue to begin and
// then each machine to plan, and ends with write. It is an error if nothing could be read;
// one input that could not be read among others is not.
func (p *planning) plan(ctx context.Context, args []string, begin func(*catalog.Catalog) error, plan func(*host.Host), write func() error) error {
	inputs, done, err := openInputs(args, p.env.Stdin)
	if err != nil {
		return err
	}
	defer done()
	cat, closeCatalog, err := openCatalog(p.catalog)
	if err != nil {
		return err
	}
	defer closeCatalog()
	if err := begin(cat); err != nil {
		return err
	}
	defer p.limitMemory()() // the plans may be large too
	machines := 0
	for h, err := range p.hosts(ctx, inputs) {
		if err != nil {
			return err
		}
		if report.Unread(&assess.Assessment{Host: h}) {
			p.unread = append(p.unread, h.Gaps...)
			continue
		}
		machines++
		plan(h)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case machines == 0 && len(p.unread) > 0:
		return noneRead(p.unread)
	case machines == 0:
		return withHint("evidence is a file or folder such as the output of systeminfo; docs/evidence.md lists what can be read", "there is no file in what was named")
	}
	return write()
}

// answer writes the document and ends with the status.
func (p *planning) answer(status int, write func(io.Writer) error) error {
	return p.write(func(w io.Writer) error {
		if err := write(w); err != nil || status == statusClear {
			return err
		}
		return answer{status}
	})
}

// forOne is the error of a format that is for one machine where there are several.
func forOne(format string, machines int) error {
	return usageError{withHint("name the files of one machine", "--format %s is for one machine, and there are %d", format, machines)}
}
