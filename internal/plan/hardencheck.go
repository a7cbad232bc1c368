package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
)

// check runs one part of a control. last tells that no further part matters.
func (x *hardener) check(c *control, name string, services []Hardening) (parts []part, last bool) {
	name, argument, _ := strings.Cut(name, ":")
	switch name {
	case "values":
		return x.values(c.ID), false
	case "cve":
		p := x.vulnerability(argument)
		return []part{p}, p.state == ControlNotConcerned
	case "rdp":
		return x.rdp(c.ID)
	case "rdp-use":
		return []part{x.rdpUse()}, false
	case "running":
		return []part{x.running(argument)}, false
	case "workstation":
		return []part{x.workstation()}, false
	case "services":
		return []part{x.summary(services)}, false
	case "spooler":
		return []part{x.spooler()}, false
	case "forwarding":
		return []part{x.forwarding(list(argument, "|"))}, false
	case "dc":
		return []part{x.controllers()}, false
	case "exists": // the table of what exists has said it
		return nil, true
	}
	panic("hardening.txt: no check " + name) // a test runs them all
}

// values looks at the values of a control.
func (x *hardener) values(id string) (out []part) {
	for i := range controlValues() {
		if v := &controlValues()[i]; v.control == id && v.releases.has(x.build) {
			out = append(out, x.value(v))
		}
	}
	return out
}

// unseenSettings counts the settings that some control asks for and no evidence shows.
func unseenSettings(h *host.Host) int {
	unseen := map[string]bool{}
	for i := range controlValues() {
		v := &controlValues()[i]
		for _, name := range []string{v.setting, v.policy} {
			if name != "" && !h.Settings[name].Known() {
				unseen[name] = true
			}
		}
	}
	return len(unseen)
}

// value looks at one value.
func (x *hardener) value(v *controlValue) part {
	local := x.Settings[v.setting]
	fact, byPolicy := local, false
	set, found := local.Value()
	p := part{}
	if v.policy != "" {
		pol := x.Settings[v.policy]
		switch value, ok := pol.Value(); {
		case pol.Disputed(), ok && value != host.NotSet:
			fact, byPolicy, set, found = pol, true, value, true
		case !ok && !found:
			return x.noEvidence(v, &p)
		case !ok:
			p.now = v.label + ": " + v.word(set) + " on the machine"
			p.because = []host.Reason{
				{Text: fmt.Sprintf("%s: %s is %s in the registry", v.label, v.name, set), From: sourcesOf(local)},
				{Text: "no evidence shows whether a group policy overrides it"},
			}
			return p
		}
	}
	switch {
	case !found:
		return x.noEvidence(v, &p)
	case fact.Disputed():
		p.now = v.label + ": the evidence contradicts itself"
		for _, c := range fact.Claims() {
			p.because = append(p.because, host.Reason{Text: fmt.Sprintf("%s: %s is %s by one source", v.label, v.name, c.Value), From: []host.Source{c.From}})
		}
		return p
	}
	where := "in the registry"
	suffix := ""
	if byPolicy {
		where, suffix = "by group policy", " (group policy)"
	}
	effective := set
	reason := fmt.Sprintf("%s is %s %s", v.name, set, where)
	if set == host.NotSet {
		effective, reason = x.fallback(v)
		suffix = " (not set)"
	}
	p.because = []host.Reason{{Text: v.label + ": " + reason, From: sourcesOf(fact)}}
	if effective == "" {
		p.now = v.label + ": not set"
		x.change(v, &p, fact, byPolicy)
		return p
	}
	p.now = v.label + ": " + v.word(effective) + suffix
	switch good, ok := v.satisfied(effective, x.dc); {
	case !ok:
		p.because = append(p.because, host.Reason{Text: fmt.Sprintf("%s: what %q means for %s is not known here", v.label, effective, v.name)})
	case good:
		p.state = ControlGood
		return p
	default:
		p.state = ControlBad
	}
	x.change(v, &p, fact, byPolicy)
	return p
}

func (x *hardener) noEvidence(v *controlValue, p *part) part {
	p.because = []host.Reason{{Text: fmt.Sprintf("%s: no evidence shows %s (%s)", v.label, v.name, v.key)}}
	x.change(v, p, host.Fact[string]{}, false)
	return *p
}

// fallback gives what holds where a value is not set, empty if that is not known, and why.
func (x *hardener) fallback(v *controlValue) (value, why string) {
	value, since, conditional := strings.Cut(v.fallback, "@")
	known := cmp.Or(v.Confidence, "inferred")
	if conditional {
		// The update that changed the default is contained in each cumulative one since.
		on, err := catalog.ParseDate(since)
		if err != nil {
			panic("hardening-values.txt: " + err.Error()) // a test reads them all
		}
		if n := x.a.Updates.NewestReleased; n == 0 || n < on {
			return "", fmt.Sprintf("%s is not set, and the default changed with the updates of %s, which no evidence shows to be there", v.name, since)
		}
		return value, fmt.Sprintf("%s is not set: with the updates of %s, which %s contains, that means %s (%s)", v.name, since, x.a.Updates.Newest, value, known)
	}
	if value == "?" {
		return "", fmt.Sprintf("%s is not set, and what %s does then is not known here", v.name, x.named)
	}
	return value, fmt.Sprintf("%s is not set: %s then takes %s (%s)", v.name, x.named, value, known)
}

// word says a value in words, several one by one.
func (v *controlValue) word(value string) string {
	all := strings.Split(value, ", ")
	for i, one := range all {
		all[i] = cmp.Or(v.words[one], one)
	}
	return strings.Join(all, ", ")
}

// satisfied tells whether a value is as the control wants it. ok is false where the value
// says nothing that is known.
func (v *controlValue) satisfied(value string, dc host.Tri) (good, ok bool) {
	want, onDC, hasDC := strings.Cut(v.good, "|")
	if want == "none" {
		if value == "none" {
			return true, true
		}
		if hasDC && dc != host.No {
			allowed := list(strings.TrimSuffix(onDC, "@dc"), ",")
			for _, s := range list(value, ", ") {
				if !slices.Contains(allowed, strings.ToLower(s)) {
					return false, true
				}
			}
			return dc == host.Yes, dc == host.Yes
		}
		return false, true
	}
	// Several values are those of several adapters: each has to be good.
	good = true
	for one := range strings.SplitSeq(value, ", ") {
		n, err := strconv.ParseUint(one, 10, 64)
		if err != nil {
			return false, false
		}
		switch {
		case strings.HasPrefix(want, ">="):
			good = good && n >= number(want[2:])
		case strings.HasPrefix(want, "!"):
			good = good && n != number(want[1:])
		case strings.HasPrefix(want, "&"):
			good = good && n&number(want[1:]) == number(want[1:])
		default:
			good = good && slices.Contains(list(want, ","), one)
		}
	}
	return good, true
}

// number reads a number of the table.
func number(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		panic("hardening-values.txt: " + err.Error()) // a test reads them all
	}
	return n
}

// plainValue is what may stand on a command line as it is: what evidence says is no command.
var plainValue = regexp.MustCompile(`^[A-Za-z0-9_$][A-Za-z0-9_$\\.\-]*$`)

// maxUndo bounds a list of values that a command puts back.
const maxUndo = 1000

// change gives the commands that set a value and put back what was found.
func (x *hardener) change(v *controlValue, p *part, found host.Fact[string], byPolicy bool) {
	if byPolicy {
		p.note = "A group policy sets it: change the policy, since what a command sets lasts until the policy is applied again."
		return
	}
	want := v.want
	old, known := found.Value()
	known = known && !found.Disputed()
	switch n, err := strconv.ParseUint(old, 10, 64); {
	case strings.HasPrefix(v.good, "&") && known && err == nil:
		want = strconv.FormatUint(n|number(v.want), 10) // the other bits stay
	case v.kind == "REG_MULTI_SZ" && strings.HasSuffix(v.good, "@dc") && x.dc == host.Yes:
		_, on, _ := strings.Cut(strings.TrimSuffix(v.good, "@dc"), "|")
		want = strings.ReplaceAll(on, ",", `\0`)
	}
	if want == "" {
		want = `""`
	}
	head := fmt.Sprintf(`"%s" /v %s`, v.key, v.name)
	p.set = append(p.set, fmt.Sprintf("reg add %s /t %s /d %s /f", head, v.kind, want))
	if !known {
		p.note = "Note what is set before, to put it back: see the commands that tell."
		return
	}
	switch back := strings.ReplaceAll(old, ", ", `\0`); {
	case old == host.NotSet:
		p.undo = append(p.undo, fmt.Sprintf("reg delete %s /f", head))
	case old == "none" && v.kind == "REG_MULTI_SZ":
		p.undo = append(p.undo, fmt.Sprintf(`reg add %s /t REG_MULTI_SZ /d "" /f`, head))
	case plainValue.MatchString(back) && len(back) <= maxUndo:
		p.undo = append(p.undo, fmt.Sprintf("reg add %s /t %s /d %s /f", head, v.kind, back))
	default:
		p.note = fmt.Sprintf("%s has a value that is put back by hand: %.200q.", v.name, old)
	}
}

// vulnerability says whether a vulnerability is fixed, as the assessment has it.
func (x *hardener) vulnerability(cve string) part {
	f := x.finding(cve)
	if f == nil {
		return part{
			now:     "no verdict on " + cve,
			because: []host.Reason{{Text: fmt.Sprintf("the catalogue has no record of %s for %s: no fix can be shown, and that it is not affected does not follow", cve, x.named)}},
		}
	}
	if f.Verdict == assess.Unknown {
		if p, ok := x.byFile(cve); ok {
			return p
		}
	}
	p := part{now: cve + ": " + f.Verdict.String(), because: f.Because}
	switch f.Verdict {
	case assess.Fixed:
		p.state = ControlGood
	case assess.NotAffected:
		p.state = ControlNotConcerned
	case assess.Affected:
		p.state = ControlBad
		p.note = "The update is in the plan of oldguard plan patch."
	case assess.Unfixable:
		p.state = ControlBad
		p.note = "No update was ever published for this product and architecture."
	case assess.Unknown:
	}
	return p
}

// remoteDesktop is how Remote Desktop is set: on, off, or not known.
func (x *hardener) remoteDesktop() part {
	for i := range controlValues() {
		if v := &controlValues()[i]; v.control == "rdp-off" && v.releases.has(x.build) {
			return x.value(v)
		}
	}
	return part{}
}

// rdp says of controls of Remote Desktop that they are met where it is off. Where that is
// not known, a value that is set otherwise is not bad for sure.
func (x *hardener) rdp(id string) (parts []part, last bool) {
	p := x.remoteDesktop()
	switch p.state {
	case ControlGood:
		return []part{p}, true
	case ControlBad: // it is on
		return nil, false
	case ControlUnknown, ControlNotAvailable, ControlNotConcerned, ControlExternal:
	}
	parts = x.values(id)
	for i := range parts {
		if parts[i].state == ControlBad {
			parts[i].state = ControlUnknown
			parts[i].because = append(parts[i].because, host.Reason{Text: "whether Remote Desktop is on is not known"})
		}
	}
	return parts, true
}

// rdpUse says whether Remote Desktop is off, or is used.
func (x *hardener) rdpUse() part {
	p := x.remoteDesktop()
	if p.state != ControlBad {
		return p
	}
	ports := []string{"tcp/3389"}
	if n, ok := x.Settings["rdp-port"].Value(); ok && n != host.NotSet {
		ports = []string{"tcp/" + n}
	}
	use := x.used(ports)
	p.because = append(p.because, use.because)
	switch use.is {
	case host.Yes:
		p.state = ControlNotConcerned
		p.now += "; " + use.because.Text
	case host.Unknown:
		p.state = ControlUnknown
	case host.No:
	}
	return p
}

// running says whether a service starts that a control needs.
func (x *hardener) running(name string) part {
	s := x.service(name)
	switch {
	case s.disputed:
		return part{now: name + ": the evidence contradicts itself", because: []host.Reason{{Text: "sources differ about when " + name + " starts", From: s.from}}}
	case !s.found && x.ServicesWhole.Known():
		return part{state: ControlBad, now: "service " + name + " is not there", because: []host.Reason{{Text: "the list of services is whole, and " + name + " is not in it", From: sourcesOf(x.ServicesWhole)}}}
	case !s.found:
		return part{because: []host.Reason{{Text: "no evidence shows whether the service " + name + " starts"}}}
	case s.start == host.StartAuto, s.start == "":
		return part{state: ControlGood, because: []host.Reason{{Text: "the service " + name + " " + s.how(), From: s.from}}}
	case s.start == host.StartDisabled:
		return part{
			state: ControlBad, now: "service " + name + " is disabled", because: []host.Reason{{Text: "the service " + name + " is disabled: without it nothing of this counts", From: s.from}},
			set: []string{"sc.exe config " + name + " start= auto", "sc.exe start " + name}, undo: []string{"sc.exe config " + name + " start= disabled"},
		}
	}
	return part{now: "service " + name + " starts " + string(s.start), because: []host.Reason{{Text: "the service " + name + " starts on demand only", From: s.from}}}
}

// workstation sees whether the Workstation service still starts without the SMBv1 driver.
func (x *hardener) workstation() part {
	start, _ := x.Settings["smb1-client-start"].Value()
	depends := x.Settings["smb-client-depends"]
	on, ok := depends.Value()
	if !ok || start != "4" || !strings.Contains(strings.ToLower(on), "mrxsmb10") {
		return part{none: true}
	}
	return part{
		state: ControlBad, now: "the Workstation service still waits for it, and cannot start",
		because: []host.Reason{{Text: "LanmanWorkstation depends on mrxsmb10, which is disabled", From: sourcesOf(depends)}},
	}
}

// use is whether others come to a port.
type use struct {
	is      host.Tri
	because host.Reason
}

// used looks for others that come to one of the ports, such as tcp/80. Where nobody watched,
// or the machine's own addresses are not known, nothing is known.
func (x *hardener) used(ports []string) use {
	x.look()
	clients, seen := map[netip.Addr]bool{}, []host.Source{}
	for _, p := range ports {
		for client := range x.clients[p].addrs {
			clients[client] = true
		}
		seen = append(seen, x.clients[p].from...)
	}
	slices.SortFunc(seen, compareSources)
	at := strings.Join(ports, ", ")
	switch {
	case len(clients) > 0:
		text := fmt.Sprintf("%d others were seen to use %s", len(clients), at)
		if len(clients) == 1 {
			text = "one other was seen to use " + at
		}
		return use{host.Yes, host.Reason{Text: text, From: firstOf(unique(seen))}}
	case len(x.Watches) == 0:
		return use{host.Unknown, host.Reason{Text: "no evidence shows who uses " + at}}
	case len(x.own) == 0:
		return use{host.Unknown, host.Reason{Text: "the machine's own addresses are not known, so not who uses " + at}}
	case x.Traffic.Lost > 0:
		return use{host.Unknown, host.Reason{Text: "the evidence has more conversations than are kept, so not all who use " + at}}
	}
	var from []host.Source
	var longest time.Duration
	for _, w := range x.Watches {
		from = append(from, w.From)
		longest = max(longest, w.Last.Sub(w.First))
	}
	return use{host.No, host.Reason{Text: "nobody was seen to use " + at + "; the longest look took " + spanWords(longest), From: firstOf(unique(from))}}
}

// users are those who came to a port, and who says so: the first few sources of all.
type users struct {
	addrs map[netip.Addr]struct{}
	from  []host.Source // in order, maxSources at most
}

func compareSources(a, b host.Source) int {
	return cmp.Or(cmp.Compare(a.Reader, b.Reader), cmp.Compare(a.Input, b.Input), cmp.Compare(a.At, b.At))
}

// say notes a source, if it is among the first.
func (u *users) say(from host.Source) {
	at, known := slices.BinarySearchFunc(u.from, from, compareSources)
	if known || at == maxSources {
		return
	}
	u.from = slices.Insert(u.from, at, from)
	u.from = u.from[:min(len(u.from), maxSources)]
}

// look goes through the traffic once: there may be very much of it.
func (x *hardener) look() {
	if x.clients != nil {
		return
	}
	x.own, x.clients = map[netip.Addr]bool{}, map[string]users{}
	for _, a := range x.Own() {
		x.own[a.Addr] = true
	}
	for c := range x.Traffic.Each() {
		name := map[host.IPProto]string{host.TCP: "tcp", host.UDP: "udp"}[c.Proto]
		if name == "" || !x.own[c.Server] || x.own[c.Client] {
			continue
		}
		for _, s := range c.Seen {
			if s.Refused >= s.Times {
				continue
			}
			port := name + "/" + strconv.Itoa(int(c.Port))
			u := x.clients[port]
			if u.addrs == nil {
				u.addrs = map[netip.Addr]struct{}{}
			}
			u.addrs[c.Client] = struct{}{}
			u.say(s.From)
			x.clients[port] = u
			break
		}
	}
}

// maxSources bounds how many sources a reason names; of a thousand clients the first few do.
const maxSources = 5

func firstOf(list []host.Source) []host.Source { return list[:min(len(list), maxSources)] }

// needed looks for what needs a service, by the words of the table.
func (x *hardener) needed(by []string) (host.Reason, bool) {
	for _, n := range by {
		kind, name, _ := strings.Cut(n, ":")
		switch kind {
		case "role":
			if x.Roles.Has(name) == host.Yes {
				return host.Reason{Text: "the role " + name + " needs it", From: x.Roles.Sources(name)}, true
			}
		case "service":
			if s := x.service(name); s.found && !s.disputed && (s.start == host.StartAuto || s.running == host.Yes) {
				return host.Reason{Text: "the service " + s.name + " " + s.how(), From: s.from}, true
			}
		case "setting":
			if v, ok := x.Settings[name].Value(); ok && v != host.NotSet && v != "0" {
				return host.Reason{Text: name + " is set", From: sourcesOf(x.Settings[name])}, true
			}
		default:
			panic("hardening tables: no need " + n) // a test goes through them all
		}
	}
	return host.Reason{}, false
}

// printers gives the printers that the machine shares.
func (x *hardener) printers() (out []host.Source) {
	for _, s := range x.Shares {
		// A shared printer has its name and this word for a path. Inferred.
		if strings.HasSuffix(strings.ToLower(s.Path), ",localsplonly") {
			out = append(out, s.From)
		}
	}
	return out
}

// starts is what sources say of one service.
type starts struct {
	name            string     // as the machine writes it
	start           host.Start // empty where only a list of processes shows it
	from            []host.Source
	found, disputed bool
	running         host.Tri
}

// how says how a service runs that does.
func (s *starts) how() string {
	if s.start == host.StartAuto {
		return "starts with Windows"
	}
	return "runs"
}

func (x *hardener) service(name string) (out starts) {
	out.name = name
	for _, s := range x.Services {
		if !strings.EqualFold(s.Name, name) {
			continue
		}
		out.disputed = out.disputed || out.found && out.start != s.Start
		out.found, out.start, out.name = true, s.Start, s.Name
		out.from = append(out.from, s.From)
	}
	for _, p := range x.Processes {
		if len(p.Services) > 0 && out.running == host.Unknown {
			out.running = host.No // services are listed, so this one would be
		}
		if slices.ContainsFunc(p.Services, func(s string) bool { return strings.EqualFold(s, name) }) {
			out.running, out.found = host.Yes, true
			out.from = append(out.from, p.From)
			break
		}
	}
	return out
}

// services says of each service of the table that the machine has how it stands.
func (x *hardener) services() (out []Hardening) {
	if !x.known() {
		return nil
	}
	for i := range controlServices() {
		c := &controlServices()[i]
		s := x.service(c.name)
		if !c.releases.has(x.build) || !s.found || !s.disputed && s.start == host.StartManual && s.running != host.Yes {
			continue
		}
		out = append(out, x.unneeded(c, s))
	}
	return out
}

// unneeded says how a service stands that mostly nothing needs.
func (x *hardener) unneeded(c *controlService, s starts) Hardening {
	out := Hardening{
		ID: "service-" + strings.ToLower(c.name), Name: "No " + c.display + " (" + c.name + ") unless something needs it",
		Protects: c.risk, Breaks: c.breaks, Known: c.Known,
	}
	if c.always != "" {
		out.Name = "No " + c.display + " (" + c.name + ")"
	}
	say := func(state ControlState, now string, because ...host.Reason) {
		out.State, out.Now, out.Because = state, now, append(out.Because, because...)
	}
	now := map[host.Start]string{host.StartAuto: "starts with Windows", host.StartManual: "starts on demand, and runs"}[s.start]
	if now == "" {
		now = "runs"
	}
	if s.running == host.No {
		now += ", but did not run when the processes were listed"
	}
	how := host.Reason{Text: c.name + " " + now + x.waiting(c.ports), From: s.from}
	switch {
	case s.disputed:
		out.Tell = []string{"sc.exe qc " + c.name}
		say(ControlUnknown, "the evidence contradicts itself", host.Reason{Text: "sources differ about when it starts", From: s.from})
		return out
	case s.start == host.StartDisabled:
		say(ControlGood, "disabled", host.Reason{Text: c.name + " is disabled", From: s.from})
		return out
	case c.always != "":
		say(ControlBad, now+"; "+c.always, how)
	default:
		x.judgeNeed(c, now, how, say)
	}
	switch out.State {
	case ControlBad:
		mode := map[host.Start]string{host.StartAuto: "auto", host.StartManual: "demand"}[s.start]
		out.Set = []string{"sc.exe config " + c.name + " start= disabled", "sc.exe stop " + c.name}
		out.Undo = []string{"sc.exe config " + c.name + " start= " + mode, "sc.exe start " + c.name}
		if mode == "" {
			out.Undo = nil
			out.UndoNote = "Note how it starts before, to put it back: sc.exe qc " + c.name
		}
	case ControlUnknown:
		out.Tell = []string{"sc.exe queryex " + c.name, "netstat -ano"}
	case ControlGood, ControlNotAvailable, ControlNotConcerned, ControlExternal:
	}
	return out
}

// waiting says on which of its ports a service waits, where a source lists them.
func (x *hardener) waiting(ports []string) string {
	if len(ports) == 0 || len(x.Listeners) == 0 {
		return ""
	}
	var on []string
	others := false
	for _, l := range x.Listeners {
		port := map[host.IPProto]string{host.TCP: "tcp", host.UDP: "udp"}[l.Proto] + "/" + strconv.Itoa(int(l.Port))
		if !slices.Contains(ports, port) {
			continue
		}
		others = others || !l.Addr.IsLoopback()
		if !slices.Contains(on, port) {
			on = append(on, port)
		}
	}
	slices.Sort(on)
	switch {
	case len(on) == 0:
		return "; none of its ports was open when they were listed"
	case !others:
		return "; it waits on " + strings.Join(on, ", ") + ", for the machine itself only"
	}
	return "; it waits on " + strings.Join(on, ", ")
}

// judgeNeed says whether something seen needs a service that runs.
func (x *hardener) judgeNeed(c *controlService, now string, how host.Reason, say func(ControlState, string, ...host.Reason)) {
	if why, ok := x.needed(c.needs); ok {
		say(ControlNotConcerned, now+"; needed", how, why)
		return
	}
	if len(c.ports) == 0 {
		say(ControlBad, now+"; nothing seen needs it", how, host.Reason{Text: "no evidence shows what needs it; a person may know better"})
		return
	}
	switch u := x.used(c.ports); u.is {
	case host.Yes:
		say(ControlNotConcerned, now+"; "+u.because.Text, how, u.because)
	case host.No:
		say(ControlBad, now+"; nothing seen needs it", how, u.because)
	case host.Unknown:
		say(ControlUnknown, now, how, u.because)
	}
}

// summary sums the services up.
func (x *hardener) summary(services []Hardening) part {
	var bad, open []string
	for i := range services {
		name := strings.TrimPrefix(services[i].ID, "service-")
		switch services[i].State {
		case ControlBad:
			bad = append(bad, name)
		case ControlUnknown:
			open = append(open, name)
		case ControlGood, ControlNotAvailable, ControlNotConcerned, ControlExternal:
		}
	}
	p := part{}
	var now []string
	if len(bad) > 0 {
		p.state = ControlBad
		now = append(now, "nothing seen needs "+strings.Join(bad, ", "))
	}
	if len(open) > 0 {
		now = append(now, "not known who uses "+strings.Join(open, ", "))
	}
	p.now = strings.Join(now, "; ")
	switch {
	case len(bad) > 0:
		p.because = []host.Reason{{Text: "see the services one by one"}}
	case len(open) > 0:
		p.because = []host.Reason{{Text: "who uses some of the services the evidence does not show"}}
	case x.ServicesWhole.Known():
		p.state, p.now = ControlGood, "of the services known for it, none runs without need"
		p.because = []host.Reason{{Text: "the list of services is whole", From: sourcesOf(x.ServicesWhole)}}
	default:
		p.because = []host.Reason{{Text: "no evidence lists every service"}}
	}
	return p
}

// spooler judges the print spooler.
func (x *hardener) spooler() part {
	const name = "Spooler"
	s := x.service(name)
	start := map[host.Start]string{host.StartAuto: "starts with Windows", host.StartManual: "starts on demand", "": "runs"}[s.start]
	switch {
	case s.disputed:
		return part{now: "the evidence contradicts itself", because: []host.Reason{{Text: "sources differ about when " + name + " starts", From: s.from}}}
	case !s.found && x.ServicesWhole.Known():
		return part{state: ControlGood, now: "not there", because: []host.Reason{{Text: "the list of services is whole, and " + name + " is not in it", From: sourcesOf(x.ServicesWhole)}}}
	case !s.found:
		return part{because: []host.Reason{{Text: "no evidence shows whether " + name + " starts"}}}
	case s.start == host.StartDisabled:
		return part{state: ControlGood, now: "disabled", because: []host.Reason{{Text: name + " is disabled", From: s.from}}}
	}
	p := part{now: start, because: []host.Reason{{Text: name + " " + start, From: s.from}}}
	need, needs := x.needed([]string{"role:Print-Services", "role:Print-Server", "role:fax server", "role:Fax", "service:LPDSVC"})
	if shared := x.printers(); len(shared) > 0 {
		need, needs = host.Reason{Text: "it shares printers", From: firstOf(shared)}, true
	}
	switch {
	case needs:
		v := x.vulnerability("CVE-2021-34527")
		p.now += "; it is a print server, so it stays; " + v.now
		p.because = append(append(p.because, need), v.because...)
		p.state, p.keep, p.note = v.state, true, "The spooler of a print server stays: what counts there is the update, and who may reach it."
	case x.ServicesWhole.Known():
		p.state = ControlBad
		p.now += "; nothing seen prints through it"
		p.because = append(p.because, host.Reason{Text: "no shared printer and no print role is shown", From: sourcesOf(x.ServicesWhole)})
	default:
		p.because = append(p.because, host.Reason{Text: "whether it shares printers no evidence shows"})
	}
	return p
}

// forwarding says whether something takes the event logs away.
func (x *hardener) forwarding(by []string) part {
	if why, ok := x.needed(by); ok {
		return part{state: ControlGood, now: "something takes them away", because: []host.Reason{why, {Text: "whether it takes all that matters, and whether it arrives, must be seen there"}}}
	}
	p := part{because: []host.Reason{{Text: "no agent that is known here starts, and a collector may fetch them all the same"}}}
	pol, ok := x.Settings["policy-event-forwarding"].Value()
	winrm := x.service("WinRM")
	if ok && pol == host.NotSet && x.ServicesWhole.Known() && !winrm.disputed && (!winrm.found || winrm.start == host.StartDisabled) {
		p.state, p.now = ControlBad, "they stay on the machine"
		p.because = []host.Reason{
			{Text: "no agent that is known here is among the services, whose list is whole", From: sourcesOf(x.ServicesWhole)},
			{Text: "no policy names a collector", From: sourcesOf(x.Settings["policy-event-forwarding"])},
			{Text: "WinRM, by which a collector would fetch them, does not start", From: winrm.from},
		}
	}
	return p
}

// controllers judges a domain controller by the support of its release.
func (x *hardener) controllers() part {
	role := sourcesOf(x.Role)
	for _, n := range []string{"domain controller", "AD-Domain-Services"} {
		role = append(role, x.Roles.Sources(n)...)
	}
	s := x.a.Support
	switch {
	case x.dc == host.No:
		return part{state: ControlGood, now: "no domain controller", because: []host.Reason{{Text: "it is no domain controller", From: role}}}
	case x.dc == host.Unknown:
		return part{because: []host.Reason{{Text: "no evidence tells for sure whether it is a domain controller", From: role}}}
	case s.State == assess.Over:
		return part{
			state: ControlBad, now: "a domain controller without support: it cannot be isolated, demote it",
			because: append([]host.Reason{{Text: "it is a domain controller", From: role}}, s.Because...),
			set:     []string{"netdom query fsmo", demote(x)},
			note:    "First have domain controllers of a supported release, move the FSMO roles, DNS and time there, then demote. A demotion is not undone but by promoting anew.",
		}
	case s.State == assess.Mainstream || s.State == assess.Extended:
		return part{state: ControlGood, now: "a domain controller with support until " + s.Ends.String(), because: append([]host.Reason{{Text: "it is a domain controller", From: role}}, s.Because...)}
	}
	return part{now: "a domain controller; support: " + string(s.State), because: append([]host.Reason{{Text: "it is a domain controller, and whether it gets updates depends on what the owner bought", From: role}}, s.Because...)}
}

// demote is the command that makes a domain controller a member. From Server 2012 on dcpromo
// only points to another way. Inferred.
func demote(x *hardener) string {
	if x.build.Major == 6 && x.build.Minor < 2 {
		return "dcpromo"
	}
	return `powershell -Command "Uninstall-ADDSDomainController"`
}
