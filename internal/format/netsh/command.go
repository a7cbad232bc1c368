package netsh

import (
	"slices"
	"strconv"
	"strings"
)

const (
	maxLine    = 1 << 16 // bytes; cmd.exe takes 8191
	maxChanges = 1_000   // commands that change rules made before
)

// Begin and End enclose the commands of a file that holds more than those: what is
// around them prepares, undoes and explains.
const (
	Begin = "rem --- commands begin"
	End   = "rem --- commands end"
)

// Script is what commands of netsh advfirewall leave, one after the other, where there were no
// rules before.
type Script struct {
	Rules []Rule
	// Profiles are those that a command sets, in the order Domain, Private, Public.
	Profiles []Profile
	// OthersOff tells that all rules that were there before are disabled or deleted.
	OthersOff bool
	// Commands is the number of commands that were understood.
	Commands int
	// Odd are commands that were not understood, with their line: they may change what
	// the others leave.
	Odd     []string
	changes int
}

// ParseCommands reads a command file. Where it has lines Begin and End, only what is between
// them counts. It never fails; a text without commands gives none.
func ParseCommands(text string) *Script {
	s := &Script{}
	all := lines(text)
	from, to := slices.Index(all, Begin), slices.Index(all, End)
	if from < 0 || to < from {
		from, to = -1, len(all)
	}
	for i := from + 1; i < to; i++ {
		line, n := all[i], i+1
		for strings.HasSuffix(line, "^") && i+1 < to && len(line) < maxLine {
			i++
			line = strings.TrimSuffix(line, "^") + all[i]
		}
		for _, words := range commands(line) {
			s.command(words, n)
		}
	}
	return s
}

// commands cuts a line as cmd.exe does: into commands at & and |, and those into words at
// spaces outside quotation marks. A redirection ends a command's words.
func commands(line string) (out [][]string) {
	var words []string
	var word strings.Builder
	quoted, inWord, skip := false, false, false
	flush := func() {
		if inWord && !skip {
			words = append(words, word.String())
		}
		if inWord {
			skip = false
		}
		word.Reset()
		inWord = false
	}
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == '%' && i+1 < len(line) && line[i+1] == '%':
			i++ // doubled in a file, single for the program
			word.WriteByte('%')
			inWord = true
		case c == '"':
			quoted = !quoted
			inWord = true
		case quoted:
			word.WriteByte(c)
		case c == '^' && i+1 < len(line):
			i++
			word.WriteByte(line[i])
			inWord = true
		case c == ' ' || c == '\t':
			flush()
		case c == '&' || c == '|':
			flush()
			out = append(out, words)
			words, skip = nil, false
		case c == '>' || c == '<':
			if s := word.String(); s == "1" || s == "2" {
				word.Reset()
				inWord = false
			}
			flush()
			skip = true // the file's name is no word of the command
			for i+1 < len(line) && (line[i+1] == '>' || line[i+1] == '&') {
				i++
			}
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	flush()
	return append(out, words)
}

// command carries out one command, if it is of netsh advfirewall.
func (s *Script) command(words []string, line int) {
	conditional := false
	for len(words) > 0 {
		w := strings.ToLower(strings.TrimLeft(words[0], "@("))
		w = strings.TrimSuffix(w[strings.LastIndexAny(w, `\/`)+1:], ".exe")
		if w == "netsh" {
			break
		}
		if w == "rem" || strings.HasPrefix(w, "::") || w == "echo" || strings.HasPrefix(w, "echo.") {
			return
		}
		conditional = conditional || w == "if" || w == "for"
		words = words[1:]
	}
	if len(words) < 3 || !strings.EqualFold(words[1], "advfirewall") {
		return
	}
	words = words[2:]
	for i := range min(len(words), 3) {
		if !strings.Contains(words[i], "=") {
			words[i] = strings.ToLower(words[i])
		}
	}
	switch {
	case conditional:
		s.odd(line, words, "it depends on something")
	case words[0] == "export" || words[0] == "show" || words[0] == "dump":
	case words[0] == "firewall" && len(words) > 2 && words[2] == "rule":
		switch args, bad := arguments(words[3:]); {
		case bad != "":
			s.odd(line, words, bad)
		case words[1] == "add":
			s.add(line, words, args)
		case words[1] == "set":
			s.set(line, words, args)
		case words[1] == "delete" || words[1] == "del":
			s.delete(line, words, args)
		case words[1] != "show":
			s.odd(line, words, "not understood")
		}
	case words[0] == "set" && len(words) > 2 && profileWord(words[1]) != nil:
		s.profile(line, words, profileWord(words[1]))
	default:
		s.odd(line, words, "not understood")
	}
}

func (s *Script) odd(line int, words []string, why string) {
	if len(s.Odd) < maxOdd {
		s.Odd = append(s.Odd, shown("line "+strconv.Itoa(line)+": "+why+": "+strings.Join(words, " ")))
	}
}

// argument is name=value.
type argument struct{ name, value string }

// arguments reads them; netsh takes names short, and a value behind a space: name = "x".
func arguments(words []string) (out []argument, bad string) {
	for i := 0; i < len(words); i++ {
		name, value, ok := strings.Cut(words[i], "=")
		switch {
		case strings.EqualFold(words[i], "new"):
			out = append(out, argument{name: "new"})
			continue
		case !ok && i+1 < len(words) && strings.HasPrefix(words[i+1], "="):
			i++
			value = words[i][1:]
		case !ok && len(out) == 0 && strings.EqualFold(words[i], "all"):
			out = append(out, argument{"name", "all"})
			continue
		case !ok:
			return nil, "no name=value"
		}
		if value == "" && i+1 < len(words) && !strings.Contains(words[i+1], "=") {
			i++
			value = words[i]
		}
		full := argumentName(strings.ToLower(name))
		if full == "" {
			return nil, "an argument of that name is not known"
		}
		out = append(out, argument{full, value})
	}
	return out, ""
}

// argumentNames are those of add rule, of Windows 6.0 and 6.1:
// https://learn.microsoft.com/previous-versions/windows/it-pro/windows-server-2008-R2-and-2008/dd734783(v=ws.10), read 2026-11-25
var argumentNames = []string{
	"name", "group", "dir", "action", "program", "service", "description", "enable", "profile", "localip", "remoteip", "localport", "remoteport",
	"protocol", "interfacetype", "rmtcomputergrp", "rmtusrgrp", "edge", "security",
}

// argumentName finds the one name that begins so.
func argumentName(short string) string {
	found := ""
	for _, n := range argumentNames {
		switch {
		case n == short:
			return n
		case short != "" && strings.HasPrefix(n, short):
			if found != "" {
				return ""
			}
			found = n
		}
	}
	return found
}

// apply sets what an argument says of a rule.
func (r *Rule) apply(a argument) {
	isAny := func(v string) bool { return strings.EqualFold(v, "any") }
	f := field{label: a.name, value: a.value}
	if n := strings.Count(a.value, "%"); n > 1 && a.name != "description" && a.name != "program" {
		r.odd(a.name, a.value) // a variable, of which nothing tells the value
		return
	}
	english := func(w Word) Word {
		if w == Unknown {
			r.odd(a.name, a.value)
		}
		return w
	}
	switch a.name {
	case "name":
		r.Name = clip(a.value)
	case "description":
		r.Description = clip(a.value)
	case "dir":
		r.Dir = english(directions(a.value))
	case "action":
		r.Action = english(actions(a.value))
	case "enable":
		r.Enabled = english(answers(a.value))
	case "program":
		r.Program = clip(a.value)
	case "service":
		r.Service = clip(a.value)
		if isAny(a.value) {
			r.Service = "*"
		}
	case "profile":
		r.Profiles = nil
		r.profiles(f)
	case "localip":
		r.Local = r.list(f, isAny, isNetwork)
	case "remoteip":
		r.Remote = r.list(f, isAny, isRemote)
	case "localport":
		r.LocalPorts = r.list(f, isAny, isPort)
	case "remoteport":
		r.RemotePorts = r.list(f, isAny, isPort)
	case "protocol":
		name, types, has := strings.Cut(a.value, ":")
		r.ICMP = nil
		if has {
			f.more = []string{strings.Replace(types, ",", " ", 1)}
			if strings.EqualFold(types, "any") || strings.EqualFold(types, "any,any") {
				f.more = nil
			}
		}
		r.Protocol = ""
		f.value = name
		if len(f.more) == 1 {
			f.more = append([]string{"Type Code"}, f.more...)
		}
		r.protocol(f, isAny)
	case "interfacetype":
		if !isAny(a.value) {
			for item := range strings.SplitSeq(a.value, ",") {
				if name := interfaceTypes[strings.ToLower(item)]; name != "" {
					r.Interfaces = append(r.Interfaces, name)
				} else {
					r.odd(a.name, a.value)
				}
			}
		}
	case "security":
		v, ok := securities[strings.ToLower(a.value)]
		if !ok {
			r.odd(a.name, a.value)
		}
		r.Security = v
	case "edge":
		r.Edge = clip(a.value)
	default: // groups of machines and people, who must be authenticated
		r.odd(a.name, a.value)
	}
}

func (s *Script) add(line int, words []string, args []argument) {
	r := Rule{Line: line, Enabled: Yes, Verbose: true}
	for _, a := range args {
		if a.name == "group" || a.name == "new" {
			s.odd(line, words, "add rule has no "+a.name)
			return
		}
		r.apply(a)
	}
	if r.Name == "" || len(s.Rules) >= maxRules {
		s.odd(line, words, "a rule without a name, or one too many")
		return
	}
	s.Rules = append(s.Rules, r)
	s.Commands++
}

// matches gives the rules that the arguments before new name; ok is false if they name them by
// more than the name, the direction and the protocol.
func (s *Script) matches(args []argument) (found []int, all, ok bool) {
	if s.changes++; s.changes > maxChanges {
		return nil, false, false
	}
	name, want := "", Rule{}
	for _, a := range args {
		switch a.name {
		case "name":
			name = a.value
		case "dir", "protocol":
			want.apply(a)
		default:
			return nil, false, false
		}
	}
	all = strings.EqualFold(name, "all")
	for i := range s.Rules {
		r := &s.Rules[i]
		if (all || strings.EqualFold(r.Name, name)) && (want.Dir == Unknown || want.Dir == r.Dir) && (want.Protocol == "" || want.Protocol == r.Protocol) {
			found = append(found, i)
		}
	}
	return found, all && len(args) == 1, name != ""
}

func (s *Script) set(line int, words []string, args []argument) {
	at := slices.IndexFunc(args, func(a argument) bool { return a.name == "new" })
	if at < 0 {
		s.odd(line, words, "nothing new is said")
		return
	}
	found, all, ok := s.matches(args[:at])
	if !ok {
		s.odd(line, words, "not understood which rules it means")
		return
	}
	fresh := args[at+1:]
	for _, i := range found {
		for _, a := range fresh {
			s.Rules[i].apply(a)
		}
	}
	off := len(fresh) == 1 && fresh[0].name == "enable" && answers(fresh[0].value) == No
	switch {
	case all && off:
		s.OthersOff = true
	case len(found) == 0:
		s.odd(line, words, "it is about rules that this file does not make")
		return
	}
	s.Commands++
}

func (s *Script) delete(line int, words []string, args []argument) {
	found, all, ok := s.matches(args)
	if !ok {
		s.odd(line, words, "not understood which rules it means")
		return
	}
	kept := s.Rules[:0]
	for i := range s.Rules {
		if len(found) > 0 && found[0] == i {
			found = found[1:]
			continue
		}
		kept = append(kept, s.Rules[i])
	}
	s.Rules = kept
	if all {
		s.OthersOff = true
	}
	s.Commands++
}

// profileWord gives the profiles that a command is about, nil if it is about none.
func profileWord(word string) []Word {
	switch word {
	case "allprofiles":
		return []Word{Domain, Private, Public}
	case "domainprofile":
		return []Word{Domain}
	case "privateprofile":
		return []Word{Private}
	case "publicprofile":
		return []Word{Public}
	}
	return nil
}

// profile carries out set …profile state, firewallpolicy and logging.
func (s *Script) profile(line int, words []string, names []Word) {
	what, value := words[2], strings.ToLower(strings.Join(words[3:], " "))
	m := policyValue.FindStringSubmatch(value)
	if what == "firewallpolicy" && m == nil || what == "state" && value != "on" && value != "off" || what != "state" && what != "firewallpolicy" && what != "logging" && what != "settings" {
		s.odd(line, words, "not understood")
		return
	}
	for _, name := range names {
		i := slices.IndexFunc(s.Profiles, func(p Profile) bool { return p.Name == name })
		if i < 0 {
			i = len(s.Profiles)
			s.Profiles = append(s.Profiles, Profile{Line: line, Name: name})
		}
		p := &s.Profiles[i]
		switch what {
		case "state":
			p.State = states(value)
		case "firewallpolicy":
			p.In, p.NoExceptions, p.Out = actions(m[1]), m[2] != "", actions(m[3])
		case "logging":
			if len(words) == 5 && strings.EqualFold(words[3], "droppedconnections") {
				p.LogDropped = states(words[4])
			}
			if len(words) == 5 && strings.EqualFold(words[3], "allowedconnections") {
				p.LogAllowed = states(words[4])
			}
		}
	}
	slices.SortStableFunc(s.Profiles, func(a, b Profile) int { return int(a.Name) - int(b.Name) })
	s.Commands++
}
