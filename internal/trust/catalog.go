package trust

import (
	"fmt"
	"io"
	"slices"

	"github.com/oldguard/oldguard/internal/format/cat"
	"github.com/oldguard/oldguard/internal/format/pkcs7"
)

// Catalog is a catalog file together with the answer about itself. It is read-only.
type Catalog struct {
	Name   string
	Report *Report
	List   *cat.Catalog // nil if the report says that it is not understood
}

// ReadCatalog reads and judges a catalog, so that it can vouch for files by their digests. The name
// is for reports.
func ReadCatalog(name string, r io.ReaderAt, size int64, o Options) (*Catalog, error) {
	o.Catalogs = nil
	rep, err := Check(r, size, o)
	if err != nil {
		return nil, err
	}
	c := &Catalog{Name: name, Report: rep}
	if rep.Kind != List || rep.Verdict == NotUnderstood {
		return c, nil
	}
	data := make([]byte, size) // Check bounded it
	if _, err = io.ReadFull(io.NewSectionReader(r, 0, size), data); err != nil {
		return nil, fmt.Errorf("catalog %q: %w", name, err)
	}
	sd, err := pkcs7.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("catalog %q: %w", name, err)
	}
	if c.List, err = cat.Parse(sd.Content); err != nil {
		rep.Verdict, rep.Reasons = NotUnderstood, []string{err.Error()}
	}
	return c, nil
}

// catalogs looks for a catalog that lists the file: by the digest of all its bytes, or of a program by
// that of Authenticode. A catalog that is not itself what Microsoft signed vouches for nothing.
func (j *judge) catalogs(rep *Report, s *subject, sums [][]byte) {
	sums = slices.Clip(sums)
	if s.digest != nil && s.err == nil {
		for h := range digests {
			if digest, err := s.sum(h); err == nil {
				sums = append(sums, digest)
			}
		}
	}
	for _, c := range j.options.Catalogs {
		if c.List == nil {
			continue
		}
		for _, sum := range sums {
			m := c.List.Lookup(sum)
			if m == nil {
				continue
			}
			rep.Reasons = append(rep.Reasons, fmt.Sprintf("catalog %q lists it as %s, and is itself: %s", c.Name, m.Tag, c.Report.Verdict))
			if len(c.Report.Signatures) > 0 {
				sig := c.Report.Signatures[0]
				sig.Place = "catalog " + c.Name
				rep.Signatures = append(rep.Signatures, sig)
			}
			if rep.Verdict != Genuine {
				rep.Verdict, rep.Publisher = c.Report.Verdict, c.Report.Publisher
			}
			break
		}
	}
}
