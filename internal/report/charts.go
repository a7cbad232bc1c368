package report

import (
	"cmp"
	"fmt"
	"html"
	"html/template"
	"slices"
	"strings"
	"time"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
)

// The pictures are SVG drawn here: no script, and no font or file from elsewhere. Their
// colours are classes of the page, so that they follow it into the dark and onto paper.
// Nothing is said by a picture alone: each has a title and a description, and stands beside
// the numbers.
//
// Text in a picture shrinks with it, so each is drawn twice, for wide screens and paper and
// for narrow ones, and the page shows one.

// The widths of pictures, in CSS pixels.
const (
	wide   = 720
	narrow = 320
)

// picture is an SVG in the making.
type picture struct {
	b     strings.Builder
	id    string
	width float64
}

// drawn gives a picture at both widths.
func drawn(id, title, desc string, draw func(p *picture) (height float64)) template.HTML {
	var out strings.Builder
	for _, v := range []struct {
		name  string
		width float64
	}{{"wide", wide}, {"narrow", narrow}} {
		p := &picture{id: id + "-" + v.name, width: v.width}
		height := draw(p)
		fmt.Fprintf(&out, `<svg class="%s" viewBox="0 0 %s %s" role="img" aria-labelledby="%s-t %[4]s-d"><title id="%[4]s-t">%s</title><desc id="%[4]s-d">%s</desc>`,
			v.name, num(v.width), num(height), p.id, html.EscapeString(title), html.EscapeString(desc))
		out.WriteString(p.b.String())
		out.WriteString("</svg>\n")
	}
	return template.HTML(out.String()) // #nosec G203 -- what is not ours was escaped
}

// num writes a coordinate with one decimal at most.
func num(v float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") }

func (p *picture) rect(class string, x, y, w, h float64, title string) {
	fmt.Fprintf(&p.b, `<rect class="%s" x="%s" y="%s" width="%s" height="%s"`, class, num(x), num(y), num(max(w, 0.5)), num(h))
	if title == "" {
		p.b.WriteString("/>")
		return
	}
	fmt.Fprintf(&p.b, "><title>%s</title></rect>", html.EscapeString(title))
}

func (p *picture) line(class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(&p.b, `<path class="%s" d="M%s %sL%s %s"/>`, class, num(x1), num(y1), num(x2), num(y2))
}

// text writes text at x: anchor is start, middle or end.
func (p *picture) text(class, anchor string, x, y float64, s string) {
	fmt.Fprintf(&p.b, `<text class="%s" text-anchor="%s" x="%s" y="%s">%s</text>`, class, anchor, num(x), num(y), html.EscapeString(s))
}

// textWidth is about how wide text of the pictures' size is.
func textWidth(s string) float64 { return 6.2 * float64(len(s)) }

// near writes text beside x, on the side where there is room.
func (p *picture) near(class string, x, y float64, s string) {
	w := textWidth(s) / 2
	p.text(class, "middle", min(max(x, w), p.width-w), y, s)
}

// scale places days between two edges.
type scale struct {
	from, to    catalog.Date
	left, right float64
}

func (s scale) x(d catalog.Date) float64 {
	d = min(max(d, s.from), s.to)
	return s.left + (s.right-s.left)*float64(d-s.from)/float64(max(s.to-s.from, 1))
}

// years marks the years below y.
func (p *picture) years(s scale, y float64) {
	first, last := s.from.Time().Year(), s.to.Time().Year()
	step := 1
	for float64(last-first)/float64(step)*34 > s.right-s.left {
		step++
	}
	for year := first + 1; year <= last; year++ {
		x := s.x(catalog.DateOf(time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)))
		if year%step != 0 {
			p.line("tick", x, y, x, y+3)
			continue
		}
		p.line("tick", x, y, x, y+5)
		p.near("faint", x, y+17, fmt.Sprint(year))
	}
}

// span is a stretch of time in the lifecycle.
type span struct {
	class, name string
	from, until catalog.Date
}

// lifecycle gives the stretches of support without a programme, oldest first, none where
// nothing is known.
func lifecycle(a *assess.Assessment) (spans []span) {
	rel, ends := a.Identity.Release, a.Support.Ends
	if rel == nil || ends == 0 {
		return nil
	}
	i := slices.IndexFunc(rel.Lifecycles, func(l catalog.Lifecycle) bool { return l.Extended == ends })
	if i < 0 || rel.Lifecycles[i].Start == 0 {
		return nil
	}
	l := rel.Lifecycles[i]
	if l.Mainstream != 0 && l.Mainstream < ends {
		return []span{{"main", "mainstream support", l.Start, l.Mainstream}, {"ext", "extended support", l.Mainstream, ends}}
	}
	return []span{{"main", "support", l.Start, ends}}
}

// timeline draws where a machine stands in its lifecycle; nothing where that is not known.
func timeline(id string, a *assess.Assessment) template.HTML {
	spans := lifecycle(a)
	if spans == nil {
		return ""
	}
	s := scale{from: spans[0].from, to: max(a.AsOf, a.Support.Ends)}
	over := a.Support.Ends
	var desc []string
	for _, v := range spans {
		desc = append(desc, fmt.Sprintf("%s from %s to %s", v.name, v.from, v.until))
	}
	for _, v := range a.Support.Programmes {
		s.to, over = max(s.to, v.Until), max(over, v.Until)
		desc = append(desc, fmt.Sprintf("%s from %s to %s", v.Name, v.From, cmp.Or(v.Until.String(), "a day that is not known")))
	}
	s.to += 150
	u := &a.Updates
	if u.Newest != 0 && u.NewestReleased != 0 {
		desc = append(desc, fmt.Sprintf("newest update in force %s of %s", u.Newest, u.NewestReleased))
	}
	desc = append(desc, "judged as of "+a.AsOf.String())
	return drawn(id+"-life", "Where the machine stands in its lifecycle", strings.Join(desc, "; ")+".", func(p *picture) float64 {
		s.left, s.right = 6, p.width-6
		const bar, top = 20.0, 40.0
		y := top
		for _, v := range spans {
			x, w := s.x(v.from), s.x(v.until)-s.x(v.from)
			p.rect(v.class, x, y, w, bar, fmt.Sprintf("%s: %s to %s", v.name, v.from, v.until))
			for _, label := range []string{fmt.Sprintf("%s to %s", v.name, v.until), v.name, strings.TrimSuffix(v.name, " support")} {
				if textWidth(label)+8 < w {
					p.text("on", "start", x+5, y+14, label)
					break
				}
			}
		}
		end := s.x(a.Support.Ends)
		y += bar + 4
		var lanes []catalog.Date // the last day of each row of programmes
		for _, v := range a.Support.Programmes {
			lane := slices.IndexFunc(lanes, func(last catalog.Date) bool { return last <= v.From })
			if lane < 0 {
				lane, lanes = len(lanes), append(lanes, 0)
			}
			until := cmp.Or(v.Until, s.to)
			lanes[lane] = until
			x, w, ly := s.x(v.From), s.x(until)-s.x(v.From), y+float64(lane)*(bar+2)
			p.rect("prog", x+0.5, ly, w-1, bar, fmt.Sprintf("%s: %s to %s", v.Name, v.From, cmp.Or(v.Until.String(), "not known")))
			for _, label := range []string{v.Name, short(v.ID)} {
				if textWidth(label)+6 < w {
					p.text("ink", "middle", x+w/2, ly+14, label)
					break
				}
			}
		}
		if over < s.to {
			p.rect("gone", s.x(over), top, s.right-s.x(over), bar, "no updates for anybody after "+over.String())
		}
		if len(lanes) == 0 && over == a.Support.Ends && over < a.AsOf && textWidth("no support")+8 < s.right-end {
			p.text("ink", "start", end+5, top+14, "no support")
		}
		bottom := y + float64(len(lanes))*(bar+2)
		x := s.x(a.AsOf)
		p.line("now", x, 16, x, bottom+4)
		p.near("now", x, 12, "as of "+a.AsOf.String())
		if u.Newest != 0 && u.NewestReleased != 0 {
			x := s.x(u.NewestReleased)
			fmt.Fprintf(&p.b, `<path class="here" d="M%s %sl-5 -8h10z"/>`, num(x), num(top))
			label := fmt.Sprintf("it stands at %s, %s", u.NewestReleased.String()[:7], u.Newest)
			if 1.15*textWidth(label) > p.width/2 { // it is bold
				label = u.Newest.String()
			}
			p.text("here", "end", min(max(x-8, 1.15*textWidth(label)), s.x(a.AsOf)-6), 28, label)
		}
		p.years(s, bottom+4)
		return bottom + 26
	})
}

// short abbreviates the id of a programme: esu-y4-azure is Y4.
func short(id string) string {
	for part := range strings.SplitSeq(id, "-") {
		if len(part) == 2 && part[0] == 'y' {
			return strings.ToUpper(part)
		}
	}
	return ""
}

// severities are the ratings as they are stacked, the gravest first.
var severities = []struct {
	of    catalog.Severity
	class string
	name  string
}{
	{catalog.Critical, "s4", "critical"},
	{catalog.Important, "s3", "important"},
	{catalog.Moderate, "s2", "moderate"},
	{catalog.Low, "s1", "low"},
	{catalog.SeverityNone, "s0", "not rated"},
}

// severityIndex is the place of a rating in severities.
func severityIndex(v catalog.Severity) int { return int(catalog.Critical - min(v, catalog.Critical)) }

// tally counts findings by severity, in the order of severities.
type tally [5]int

func (t tally) sum() (n int) {
	for _, v := range t {
		n += v
	}
	return n
}

func (t tally) words() string {
	var out []string
	for i, v := range severities {
		if t[i] > 0 {
			out = append(out, fmt.Sprintf("%d %s", t[i], v.name))
		}
	}
	return strings.Join(out, ", ")
}

// isOpen reports whether a finding is one that a fix was published for, or never will be,
// and that the machine lacks.
func isOpen(f *assess.Finding) bool {
	return f.Verdict == assess.Affected || f.Verdict == assess.Unfixable
}

// monthly draws what is missing by the month of its first fix, and below it each exploited
// vulnerability by itself.
func monthly(id string, a *assess.Assessment) template.HTML {
	var first, last catalog.Date
	n, exploited, undated := 0, 0, 0
	for i := range a.Findings {
		f := &a.Findings[i]
		if !isOpen(f) {
			continue
		}
		if f.First == 0 {
			undated++
			continue
		}
		n++
		if first == 0 || f.First < first {
			first = f.First
		}
		last = max(last, f.First)
		if f.KEV == host.Yes {
			exploited++
		}
	}
	if n == 0 {
		return ""
	}
	desc := fmt.Sprintf("%d vulnerabilities whose fix is missing, by the month in which their first fix came, from %s to %s; %d of them are known to be exploited.",
		n, first.String()[:7], last.String()[:7], exploited)
	if undated > 0 {
		desc += fmt.Sprintf(" %d more have no date.", undated)
	}
	last = max(last, min(a.AsOf, last+365))
	return drawn(id+"-month", "What is missing, by month", desc, func(p *picture) float64 {
		return p.months(id, a, first, last)
	})
}

// bucket is what came in one bar's time.
type bucket struct {
	tally
	exploited []*assess.Finding
}

func (p *picture) months(id string, a *assess.Assessment, first, last catalog.Date) float64 {
	const left, top, high = 30.0, 16.0, 120.0
	month := first.Month()
	count := last.Month() - month + 1
	each := 1 // months in a bar
	for float64((count+each-1)/each)*3 > p.width-left {
		each++
	}
	if each == 2 || each > 3 {
		each = (each + 2) / 3 * 3 // quarters or years
	}
	if each > 3 {
		each = 12
	}
	month -= month % each
	buckets := make([]bucket, (last.Month()-month)/each+1)
	most, tower := 1, 0
	for i := range a.Findings {
		f := &a.Findings[i]
		if !isOpen(f) || f.First == 0 {
			continue
		}
		b := &buckets[(f.First.Month()-month)/each]
		b.tally[severityIndex(f.Severity)]++
		most = max(most, b.sum())
		if f.KEV == host.Yes {
			b.exploited = append(b.exploited, f)
			tower = max(tower, len(b.exploited))
		}
	}
	step := min((p.width-left-4)/float64(len(buckets)), 24)
	grid := nice(most)
	for v := 0; v <= most; v += grid {
		y := top + high - high*float64(v)/float64(most)
		p.line("grid", left, y, p.width, y)
		p.text("faint", "end", left-4, y+4, fmt.Sprint(v))
	}
	p.text("faint", "start", 0, 9, "vulnerabilities a "+map[int]string{1: "month", 3: "quarter", 12: "year"}[each])
	x := func(i int) float64 { return left + 2 + step*float64(i) }
	for s := range severities {
		var d strings.Builder
		for i := range buckets {
			below := 0
			for _, n := range buckets[i].tally[:s] {
				below += n
			}
			if n := buckets[i].tally[s]; n > 0 {
				h := high * float64(n) / float64(most)
				y := top + high - high*float64(below)/float64(most)
				fmt.Fprintf(&d, "M%s %sv%sh%sv%sz", num(x(i)), num(y), num(-h), num(step-0.6), num(h))
			}
		}
		if d.Len() > 0 {
			fmt.Fprintf(&p.b, `<path class="%s" d="%s"/>`, severities[s].class, d.String())
		}
	}
	day := func(i int) catalog.Date {
		m := month + i*each
		return catalog.DateOf(time.Date(m/12, time.Month(m%12+1), 1, 0, 0, 0, 0, time.UTC))
	}
	for i := range buckets {
		if n := buckets[i].sum(); n > 0 {
			p.rect("hit", x(i), top, step, high, fmt.Sprintf("%s: %d (%s), exploited %d", day(i).String()[:7], n, buckets[i].words(), len(buckets[i].exploited)))
		}
	}
	y := top + high
	p.line("axis", left, y, p.width, y)
	s := scale{from: day(0), to: day(len(buckets)), left: x(0), right: x(len(buckets))}
	p.years(s, y)
	if e := a.Support.Ends; e > s.from && e < s.to {
		p.line("mark", s.x(e), top-4, s.x(e), y)
		p.near("faint", s.x(e), 9, "support ended")
	}
	y += 26
	if tower == 0 {
		return y
	}
	p.text("faint", "start", 0, y+8, "exploited, a mark each; filled: by ransomware")
	y += 14
	side := max(min(step-0.8, 9), 3)
	rows := float64(tower) * (side + 1)
	for i := range buckets {
		for j, f := range buckets[i].exploited {
			class, how := "kev", ""
			if f.Ransomware {
				class, how = "ransom", ", used by ransomware"
			}
			at := y + float64(j)*(side+1)
			fmt.Fprintf(&p.b, `<a tabindex="-1" href="#%s-%s">`, id, html.EscapeString(f.CVE))
			p.rect(class, x(i), at, side, side, fmt.Sprintf("%s, on the list since %s%s", f.CVE, f.KEVSince, how))
			p.b.WriteString("</a>")
		}
	}
	return y + rows + 2
}

// nice gives a round distance between grid lines, so that there are three to six.
func nice(most int) int {
	for unit := 1; ; unit *= 10 {
		for _, f := range []int{1, 2, 5} {
			if most/(unit*f) <= 5 {
				return unit * f
			}
		}
	}
}

// strip draws a tally as one bar whose whole width is that of most findings.
func strip(t tally, most int) template.HTML {
	var p picture
	title := cmp.Or(t.words(), "none affected")
	fmt.Fprintf(&p.b, `<svg class="strip" viewBox="0 0 120 10" preserveAspectRatio="none" role="img"><title>%s</title>`, html.EscapeString(title))
	p.rect("rail", 0, 0, 120, 10, "")
	x := 0.0
	for i, v := range severities {
		if t[i] > 0 {
			w := 120 * float64(t[i]) / float64(max(most, 1))
			p.rect(v.class, x, 0, w, 10, "")
			x += w
		}
	}
	p.b.WriteString("</svg>")
	return template.HTML(p.b.String()) // #nosec G203 -- what is not ours was escaped
}
