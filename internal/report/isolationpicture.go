package report

import (
	"cmp"
	"fmt"
	"html"
	"html/template"
	"math"
	"net/netip"
	"slices"
	"strings"
)

// The picture of an isolation: the machine behind a wall, on one side those who begin
// conversations with it, on the other those with whom it begins them. What is allowed
// passes a gate in the wall, the wider the more there is of it; what is cut is a broken line
// that ends at the wall with a cross and the word. Peers that do the same stand together, so
// that twenty thousand clients are one box.

// Bounds of a picture, in boxes of a side.
const (
	maxParties    = 7 // that are allowed
	maxCutParties = 4
)

// party is one box of the picture: peers about whom the same was decided, who do the same.
type party struct {
	Label    string   // "DC01", "412 clients in 10.1.0.0/16"
	Notes    []string // what they are or why they are cut, each in a few words
	Services []string
	Dir      string // in, out
	Cut      bool
	Peers    int
	Times    int
	Bytes    uint64
	// Unseen tells that nobody saw any of it: it is needed by role.
	Unseen bool
}

// Volume says how much of it was seen.
func (p *party) Volume() string {
	switch {
	case p.Unseen:
		return "not seen; needed by role"
	case p.Bytes > 0:
		return many(p.Times, "time") + ", " + amount(p.Bytes)
	}
	return many(p.Times, "time")
}

// Way says in words who begins.
func (p *party) Way() string {
	if p.Dir == "in" {
		return "they begin"
	}
	return "the machine begins"
}

// Word says what was decided.
func (p *party) Word() string {
	if p.Cut {
		return "cut"
	}
	return "allowed"
}

// Note says in a line what they are, or why they are cut.
func (p *party) Note() string { return strings.Join(p.Notes, ", ") }

// List names the services in a line.
func (p *party) List() string { return strings.Join(p.Services, ", ") }

// doer is a peer and what it does in one direction.
type doer struct {
	addr  netip.Addr
	at    []int // places of dependencies
	times int
	bytes uint64
}

// parties sorts the peers of one direction into boxes: those that are allowed, then those that
// are cut, of each those with roles first, then those with the most traffic.
func (h *IsolationHost) parties(dir string) []*party {
	return append(h.allowedParties(dir), h.cutParties(dir)...)
}

func (h *IsolationHost) allowedParties(dir string) (out []*party) {
	var doers []*doer
	at := map[netip.Addr]*doer{}
	for i := range h.Dependencies {
		d := &h.Dependencies[i]
		if !d.Allowed() || d.Direction != dir {
			continue
		}
		for _, t := range d.Peers {
			x := at[t.Address]
			if x == nil {
				x = &doer{addr: t.Address}
				at[t.Address] = x
				doers = append(doers, x)
			}
			x.at = append(x.at, i)
			x.times += t.Times
			x.bytes += t.Bytes
		}
	}
	type group struct {
		role  string // of all its members; empty where they have none
		doers []*doer
	}
	groups := map[string]*group{}
	for _, x := range doers {
		role, key := h.roleOf(x.addr), fmt.Sprint(x.at)
		if role != "" {
			key = role
		}
		if groups[key] == nil {
			groups[key] = &group{role: role}
		}
		groups[key].doers = append(groups[key].doers, x)
	}
	list := make([]*group, 0, len(groups))
	for _, g := range groups {
		list = append(list, g)
	}
	weight := func(g *group) (w float64) {
		for _, x := range g.doers {
			w += float64(x.times) + float64(x.bytes)/1000
		}
		return w
	}
	slices.SortFunc(list, func(a, b *group) int {
		return cmp.Or(-cmp.Compare(boolInt(a.role != ""), boolInt(b.role != "")), -cmp.Compare(weight(a), weight(b)), a.doers[0].addr.Compare(b.doers[0].addr))
	})
	if len(list) > maxParties { // the last box holds all others
		rest := &group{}
		for _, g := range list[maxParties-1:] {
			rest.doers = append(rest.doers, g.doers...)
		}
		list = append(list[:maxParties-1], rest)
	}
	for _, g := range list {
		out = append(out, h.partyOf(dir, g.role, g.doers))
	}
	return out
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// roleOf names the roles of a peer, as far as they tell peers apart.
func (h *IsolationHost) roleOf(a netip.Addr) string {
	p := h.peer(a)
	if p == nil {
		return ""
	}
	var roles []string
	for _, r := range p.Roles {
		if r.Role != "gateway" || len(p.Roles) == 1 {
			roles = append(roles, roleWords(r.Role))
		}
	}
	return strings.Join(roles, ", ")
}

func (h *IsolationHost) partyOf(dir, role string, doers []*doer) *party {
	p := &party{Dir: dir, Peers: len(doers), Unseen: true}
	var addrs []netip.Addr
	volume := map[int]int{}
	for _, x := range doers {
		addrs = append(addrs, x.addr)
		p.Times += x.times
		p.Bytes += x.bytes
		for _, i := range x.at {
			volume[i] += x.times
			p.Unseen = p.Unseen && len(h.Dependencies[i].Readers) == 0
		}
	}
	p.Services = h.serviceNames(volume)
	if len(doers) == 1 {
		p.Label = addrs[0].String()
		if q := h.peer(addrs[0]); q != nil && q.Name != nil {
			p.Label, p.Notes = *q.Name, []string{addrs[0].String()}
		}
		if role != "" {
			p.Notes = append(p.Notes, strings.Split(role, ", ")...)
		}
		return p
	}
	word := "server"
	if dir == "in" {
		word = "client"
	}
	p.Label, p.Notes = many(len(doers), word), []string{"in " + networkBrief(addrs)}
	if role != "" {
		p.Label = thousands(len(doers)) + " × " + role
	}
	return p
}

// networkBrief is networkWords with no more than a number of those of IPv6 where there are both.
func networkBrief(addrs []netip.Addr) string {
	four := slices.DeleteFunc(slices.Clone(addrs), netip.Addr.Is6)
	if n := len(addrs) - len(four); n > 0 && len(four) > 0 {
		return networkWords(four) + fmt.Sprintf(" and %s by IPv6", thousands(n))
	}
	return networkWords(addrs)
}

// serviceNames names dependencies, those seen most first and each name once.
func (h *IsolationHost) serviceNames(volume map[int]int) (out []string) {
	var order []int
	for i := range volume {
		order = append(order, i)
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(volume[b], volume[a]), cmp.Compare(a, b)) })
	seen := map[string]bool{}
	for _, i := range order {
		if name := h.Dependencies[i].Name; !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	return out
}

// cutParties makes a box of each reason to cut.
func (h *IsolationHost) cutParties(dir string) (out []*party) {
	for _, g := range h.cuts() {
		p := &party{Dir: dir, Cut: true, Notes: []string{g.Title()}}
		seen, names := map[netip.Addr]bool{}, map[string]bool{}
		for _, d := range g.Dependencies {
			if d.Direction != dir {
				continue
			}
			p.Times += d.Times
			p.Bytes += d.Bytes
			if !names[d.Name] {
				names[d.Name] = true
				p.Services = append(p.Services, d.Name)
			}
			for _, t := range d.Peers {
				seen[t.Address] = true
			}
		}
		if p.Peers = len(seen); p.Peers == 0 {
			continue
		}
		switch {
		case g.Rule == "internet":
			p.Label, p.Notes = "Internet", []string{many(p.Peers, "address")}
		case p.Peers == 1:
			for a := range seen {
				p.Label = h.short(a)
			}
		default:
			p.Label = many(p.Peers, "peer")
		}
		out = append(out, p)
	}
	if len(out) > maxCutParties {
		rest := &party{Dir: dir, Cut: true, Label: "more", Notes: []string{"for other reasons"}}
		for _, p := range out[maxCutParties-1:] {
			rest.Peers += p.Peers
			rest.Times += p.Times
			rest.Bytes += p.Bytes
			rest.Services = append(rest.Services, p.Services...)
		}
		rest.Label = many(rest.Peers, "other peer")
		out = append(out[:maxCutParties-1], rest)
	}
	return out
}

// short names a peer by its name, or its address where it has none.
func (h *IsolationHost) short(a netip.Addr) string {
	if p := h.peer(a); p != nil && p.Name != nil {
		return *p.Name
	}
	return a.String()
}

// Picture draws who talks to whom and what is cut; empty where nothing was seen.
func (h *IsolationHost) picture(id string) template.HTML {
	in, out := h.parties("in"), h.parties("out")
	if len(in)+len(out) == 0 {
		return ""
	}
	var desc strings.Builder
	for _, p := range slices.Concat(in, out) {
		fmt.Fprintf(&desc, "%s, %s, %s: %s. ", p.Label, p.Way(), p.Word(), p.List())
	}
	most := 0.0
	for _, p := range slices.Concat(in, out) {
		most = max(most, p.weight())
	}
	return drawn(id+"-flows", "Who talks to "+h.Title()+", and what is cut", clip(maxText, desc.String()), func(p *picture) float64 {
		w := wall{picture: p, most: most}
		if p.width < wide {
			return w.narrow(h, in, out)
		}
		return w.wide(h, in, out)
	})
}

// weight is how much there is of it, for the width of its line.
func (p *party) weight() float64 { return float64(p.Bytes)/1000 + float64(p.Times) }

// wall draws boxes on one side of the machine.
type wall struct {
	*picture
	most float64
}

// lane is where the boxes of one direction go: box from x to x+w, the wall's line, and the
// machine's edge.
type lane struct{ x, w, wall, edge float64 }

const (
	partyGap = 10.0
	lineHigh = 14.0
	headHigh = 22.0
)

// wide draws inbound on the left, outbound on the right.
func (w wall) wide(h *IsolationHost, in, out []*party) float64 {
	const box, wallAt, edge = 216.0, 288.0, 304.0
	mirror := func(x float64) float64 { return w.width - x }
	left, right := lane{0, box, wallAt, edge}, lane{mirror(box), box, mirror(wallAt), mirror(edge)}
	height := max(headHigh+w.height(in, box), headHigh+w.height(out, box), 120)
	w.rect("wall", wallAt, 4, mirror(wallAt)-wallAt, height-8, "")
	w.rect("machine", edge, 16, mirror(edge)-edge, height-32, "")
	w.text("faint", "start", 0, 12, "others begin")
	w.text("faint", "end", w.width, 12, "the machine begins")
	w.boxes(in, left, headHigh)
	w.boxes(out, right, headHigh)
	y := height/2 - 8
	w.text("name", "middle", w.width/2, y, clip(13, h.inPicture()))
	for _, s := range machineWords(h) {
		y += lineHigh
		w.text("faint", "middle", w.width/2, y, clip(17, s))
	}
	return height
}

// machineWords are the lines below its name.
func machineWords(h *IsolationHost) (out []string) {
	if h.ReleaseName != nil {
		out = append(out, strings.TrimPrefix(*h.ReleaseName, "Windows "))
	}
	for i, a := range h.Addresses {
		if i == 3 {
			out = append(out, fmt.Sprintf("and %d more", len(h.Addresses)-i))
			break
		}
		out = append(out, midClip(17, a.Address.String()))
	}
	return out
}

// narrow draws all boxes on the left of the machine, inbound above outbound.
func (w wall) narrow(h *IsolationHost, in, out []*party) float64 {
	const box, wallAt, edge = 208.0, 262.0, 274.0
	l := lane{0, box, wallAt, edge}
	parts := []struct {
		head string
		list []*party
	}{{"others begin", in}, {"the machine begins", out}}
	height := 0.0
	for _, p := range parts {
		if len(p.list) > 0 {
			height += headHigh + w.height(p.list, box)
		}
	}
	fmt.Fprintf(&w.b, `<path class="wall" d="M%s 4H%sV%sH%s"/>`, num(w.width), num(wallAt), num(height-4), num(w.width))
	w.rect("machine", edge, 14, w.width-edge, height-28, "")
	fmt.Fprintf(&w.b, `<text class="name" text-anchor="middle" transform="translate(%s %s) rotate(-90)">%s</text>`, num((edge+w.width)/2+4), num(height/2), html.EscapeString(clip(24, h.inPicture())))
	y := 0.0
	for _, p := range parts {
		if len(p.list) == 0 {
			continue
		}
		w.text("faint", "start", 0, y+12, p.head)
		y = w.boxes(p.list, l, y+headHigh)
	}
	return height
}

// lines are the text of a box below its label.
func (p *party) lines(width float64) (out []string) {
	chars := int((width - 18) / 6.2)
	return append(fit(p.Notes, chars, 1), fit(p.Services, chars, 2)...)
}

// fit names as many of a list as there is room for in some lines, and says how many more
// there are.
func fit(list []string, chars, lines int) (out []string) {
	line := ""
	for i, s := range list {
		more := ""
		if i < len(list)-1 {
			more = ","
		}
		s = clip(chars-2, s)
		last := len(out) == lines-1
		room := chars
		if last && i < len(list)-1 {
			room -= len(" +" + thousands(len(list)-i-1))
		}
		switch {
		case line == "":
			line = s + more
		case len([]rune(line))+1+len([]rune(s)) <= room:
			line += " " + s + more
		case last:
			return append(out, strings.TrimSuffix(line, ",")+" +"+thousands(len(list)-i))
		default:
			out = append(out, line)
			line = s + more
		}
	}
	if line != "" {
		out = append(out, line)
	}
	return out
}

// midClip keeps the start and the end of a text that has more than n characters.
func midClip(n int, s string) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n/2]) + "…" + string(r[len(r)-(n-n/2-1):])
}

func (w wall) partyHeight(p *party, width float64) float64 {
	return 12 + lineHigh*float64(1+len(p.lines(width)))
}

func (w wall) height(list []*party, width float64) (sum float64) {
	for _, p := range list {
		sum += w.partyHeight(p, width) + partyGap
	}
	return sum
}

// boxes draws the parties of one lane from y on, and gives where it ends.
func (w wall) boxes(list []*party, l lane, y float64) float64 {
	right := l.x > l.wall // of the machine
	for _, p := range list {
		high := w.partyHeight(p, l.w)
		class := "party"
		if p.Cut {
			class = "party cut"
		}
		fmt.Fprintf(&w.b, `<g><title>%s</title>`, html.EscapeString(clip(maxText, fmt.Sprintf("%s %s: %s (%s), %s, %s", p.Label, p.Note(), p.List(), p.Volume(), p.Way(), p.Word()))))
		near := l.x + l.w // its edge towards the machine
		if right {
			near = l.x
		}
		w.flow(p, near, l, y+high/2, right)
		if p.Peers > 1 { // several stand behind each other
			w.rect(class+" behind", l.x+4, y+4, l.w-4, high-2, "")
			w.rect(class, l.x, y, l.w-4, high-2, "")
		} else {
			w.rect(class, l.x, y, l.w, high, "")
		}
		w.text("label", "start", l.x+9, y+17, midClip(int((l.w-18)/6.7), p.Label))
		for i, s := range p.lines(l.w) {
			w.text("faint", "start", l.x+9, y+17+lineHigh*float64(i+1), s)
		}
		w.b.WriteString("</g>")
		y += high + partyGap
	}
	return y
}

// flow draws the line between a box and the machine.
func (w wall) flow(p *party, near float64, l lane, y float64, right bool) {
	dir := 1.0 // towards the machine
	if right {
		dir = -1
	}
	if p.Cut {
		w.line("cutline", near, y, l.wall-dir*7, y)
		fmt.Fprintf(&w.b, `<circle class="cross" cx="%s" cy="%s" r="7"/><path class="cross" d="M%s %sl6 6m0 -6l-6 6"/>`, num(l.wall), num(y), num(l.wall-3), num(y-3))
		w.text("cutword", "middle", (near+l.wall-dir*7)/2, y-5, "cut")
		return
	}
	thick := 2.0
	if w.most > 0 && p.weight() > 0 {
		thick += 12 * math.Log1p(p.weight()) / math.Log1p(w.most)
	}
	gate := thick/2 + 5
	w.rect("gate", l.wall-2, y-gate, 4, 2*gate, "")
	for _, end := range []float64{-gate, gate} {
		w.line("post", l.wall-5, y+end, l.wall+5, y+end)
	}
	from, to := near, l.edge // where the arrow begins and ends
	if p.Dir == "out" {
		from, to = l.edge, near
	}
	ahead := math.Copysign(1, to-from)
	head := thick/2 + 4
	base := to - ahead*head*1.3
	fmt.Fprintf(&w.b, `<path class="flow" d="M%s %sH%sV%sL%s %sL%s %sV%sH%sz"/>`, num(from), num(y-thick/2), num(base), num(y-head),
		num(to), num(y), num(base), num(y+head), num(y+thick/2), num(from))
}

// partyTable is the picture as a table: the same boxes.
func (h *IsolationHost) partyTable() []*party {
	return slices.Concat(h.parties("in"), h.parties("out"))
}

// inPicture is what the machine is called where there is room for a few letters.
func (h *IsolationHost) inPicture() string {
	if h.Name == nil {
		return "the machine"
	}
	return h.Title()
}
