// Package ipconfig reads what ipconfig of Windows prints about network adapters, with and
// without /all, and the cache of /displaydns, in any display language.
//
// It goes by the order of the fields and by their values. What an adapter's own address is
// tell the mask behind it and the word in parentheses. Of the other addresses the labels
// hold DNS, DHCP or WINS in every language; the last one without any is the gateway.
package ipconfig

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/console"
	"github.com/oldguard/oldguard/internal/evidence/inventory"
	"github.com/oldguard/oldguard/internal/host"
)

const readerName = "ipconfig"

// Reader reads the output of ipconfig.
var Reader = evidence.Reader{
	Name: readerName,
	Doc: `The network adapters as ipconfig prints them, with and without /all, in any language; also ipconfig /displaydns.
Obtain it with: ipconfig /all > ipconfig.txt
It proves the machine's addresses with their networks, its gateways and, with /all, its name, its name servers, and
which addresses were leased. /displaydns gives names for addresses that the machine looked up.`,
	Sniff: sniff,
	Read:  read,
}

// Bounds of what is kept.
const (
	maxBlocks  = 20_000 // adapters, and names in the cache
	maxFields  = 200    // of one of them
	maxValues  = 64     // of a field
	maxNames   = 20_000
	maxHeading = 300
)

// field is a line with a label, and the lines that go on with its value.
type field struct {
	label  string
	values []string
	line   int
}

// block is a group of fields.
type block struct {
	kind    blockKind
	heading string
	line    int
	fields  []field
}

type blockKind uint8

const (
	global  blockKind = iota // what stands before the first adapter
	adapter                  // behind a heading with its name
	record                   // of the cache of names, below a row of dashes
)

func sniff(p evidence.Probe) bool {
	dotted, addresses := 0, 0
	for rest := p.Text; rest != ""; {
		var line string
		line, rest = evidence.NextLine(rest)
		if !strings.Contains(line, ". .") {
			continue
		}
		if _, value, ok := fieldOf(line); ok {
			dotted++
			if _, _, ok := address(value); ok {
				addresses++
			}
		}
	}
	return dotted > 1 && addresses > 0
}

func read(_ context.Context, in evidence.Input, h *host.Host) ([]evidence.Input, error) {
	text, err := in.Text()
	if err != nil {
		return nil, err
	}
	if parts := console.Parts(in, text); parts != nil {
		return parts, nil
	}
	from := func(line int) host.Source {
		return host.Source{Reader: readerName, Input: in.Name, At: "line " + strconv.Itoa(line)}
	}
	cut := !evidence.Ended(text)
	blocks := parse(text, cut)
	for i, b := range blocks {
		switch b.kind {
		case global:
			// Of ipconfig /all: the name, and below it the suffix and how names are found.
			if len(b.fields) >= minGlobal && len(b.fields[0].values) == 1 {
				f := b.fields[0]
				name := inventory.Name(f.values[0])
				if name == "" {
					h.Gap(host.Gap{What: "name", From: from(f.line), Why: fmt.Sprintf("%.80q is no computer name", f.values[0])})
				}
				h.Name.Say(name, in.Rank, from(f.line))
			}
		case adapter:
			if a, ok := b.adapter(i == len(blocks)-1); ok {
				a.From = from(b.line)
				h.Adapters = append(h.Adapters, a)
			}
		case record:
			names(b, h, from)
		}
	}
	if cut {
		h.Gap(host.Gap{What: "adapters", From: from(strings.Count(text, "\n") + 1), Why: "the file ends within a line, which was left out; lines behind it are missing"})
	}
	if !h.Setup.Shown() && !h.Name.Known() && len(h.Names) == 0 {
		return nil, fmt.Errorf("%s shows no address of an adapter", in.Name)
	}
	return nil, nil
}

// minGlobal is the number of fields in front of the adapters that make it ipconfig /all, of
// which the first is then the name.
const minGlobal = 4

// parse takes the text apart. With cut, the last line is half of one and left out.
func parse(text string, cut bool) (blocks []block) {
	begin := func(b block) {
		if len(blocks) < maxBlocks {
			blocks = append(blocks, b)
		}
	}
	begin(block{})
	for n, rest := 1, text; rest != ""; n++ {
		var line string
		line, rest = evidence.NextLine(rest)
		if rest == "" && cut {
			break
		}
		b := &blocks[len(blocks)-1]
		if label, value, ok := fieldOf(line); ok {
			if len(b.fields) < maxFields {
				f := field{label: label, line: n}
				if value != "" {
					f.values = []string{value}
				}
				b.fields = append(b.fields, f)
			}
			continue
		}
		trimmed := strings.TrimSpace(line)
		_, prompt := evidence.Prompt(line)
		switch {
		case trimmed == "":
		case len(trimmed) >= minDashes && strings.Trim(trimmed, "-") == "":
			begin(block{kind: record, line: n})
		case line[0] == ' ' || line[0] == '\t':
			if len(b.fields) > 0 && indent(line) >= minIndent {
				if f := &b.fields[len(b.fields)-1]; len(f.values) < maxValues {
					f.values = append(f.values, trimmed)
				}
			}
		case strings.HasSuffix(trimmed, ":") && len(trimmed) <= maxHeading && !prompt:
			begin(block{kind: adapter, heading: strings.TrimSpace(strings.TrimSuffix(trimmed, ":")), line: n})
		case b.kind != global || len(b.fields) > 0: // the title, once more
			begin(block{})
		}
	}
	return blocks
}

const minDashes = 20 // real ones have 40

// minIndent is the indentation of a further value; labels have 3, on Windows XP 8.
const minIndent = 20

func indent(line string) (n int) {
	for _, c := range line {
		switch c {
		case ' ':
			n++
		case '\t':
			n += 8
		default:
			return n
		}
	}
	return n
}

// fieldOf takes a line apart: "   Default Gateway . . . . . . . . . : 192.0.2.1". Some labels
// have colons of their own, and some no dots: the colon behind dots is the one, else the first.
func fieldOf(line string) (label, value string, ok bool) {
	if line == "" || line[0] != ' ' && line[0] != '\t' || len(line) > 1000 || indent(line) >= minIndent {
		return "", "", false
	}
	at := -1
	for i := range len(line) {
		if line[i] != ':' || i+1 < len(line) && line[i+1] != ' ' {
			continue
		}
		if before := strings.TrimRight(line[:i], " "); strings.HasSuffix(before, ".") {
			at = i
			break
		}
		if at < 0 {
			at = i
		}
	}
	if at < 0 {
		return "", "", false
	}
	label = strings.Trim(line[:at], " .\t")
	return label, strings.TrimSpace(line[at+1:]), label != ""
}

// address reads an address with what stands behind it: fe80::1%11(Preferred). stated tells
// that there are parentheses, which only the machine's own have.
func address(s string) (a netip.Addr, stated, ok bool) {
	head, _, stated := strings.Cut(s, "(")
	a, err := netip.ParseAddr(strings.TrimSpace(head))
	if err != nil {
		return a, false, false
	}
	return a.WithZone(""), stated, true
}

// adapter says what the fields mean. Of the last adapter of a text, which may have been cut
// between two lines, a last field that may as well be an address of its own is left out.
func (b block) adapter(last bool) (a host.Adapter, ok bool) {
	a.Name = connection(b.heading)
	var gateway *field
	var maybe []string // an address that is the machine's own if another one follows
	for i := 0; i < len(b.fields); i++ {
		f := b.fields[i]
		label := strings.ToUpper(f.label)
		addr, stated, is := netip.Addr{}, false, false
		if len(f.values) > 0 {
			addr, stated, is = address(f.values[0])
		}
		switch {
		case len(f.values) > 0 && !is:
		case strings.Contains(label, "WINS"):
		case strings.Contains(label, "DNS"):
			a.NameServers = append(a.NameServers, addresses(f.values)...)
		case strings.Contains(label, "DHCP"):
			a.DHCP = a.DHCP || is
		case is && addr.Is4() && i+1 < len(b.fields) && isMask(b.fields[i+1]):
			i++
			a.Addresses = append(append(a.Addresses, maybe...), addr.String()+"/"+b.fields[i].values[0])
			gateway, maybe = nil, nil
		case is && stated:
			a.Addresses = append(append(a.Addresses, maybe...), addr.String())
			gateway, maybe = nil, nil
		default:
			a.Addresses = append(a.Addresses, maybe...)
			gateway, maybe = &b.fields[i], addresses(f.values)
			masked := func(s string) bool { return strings.Contains(s, "/") }
			is4 := func(s string) bool { return !strings.Contains(s, ":") }
			if last && i == len(b.fields)-1 && len(f.values) > 0 && (!slices.ContainsFunc(a.Addresses, masked) || !slices.ContainsFunc(maybe, is4)) {
				gateway = nil
			}
		}
	}
	if gateway != nil {
		a.Gateways = addresses(gateway.values)
	}
	return a, len(a.Addresses)+len(a.Gateways)+len(a.NameServers) > 0
}

func addresses(values []string) (out []string) {
	for _, v := range values {
		if a, _, ok := address(v); ok && !a.IsUnspecified() && !a.IsMulticast() && !reserved.Contains(a) {
			out = append(out, a.String())
		}
	}
	return out
}

// reserved are no addresses of machines, but masks of networks: RFC 1112 section 4.
var reserved = netip.MustParsePrefix("240.0.0.0/4")

// isMask knows the mask of a network: ones, and then zeros.
func isMask(f field) bool {
	if len(f.values) != 1 || strings.Count(f.values[0], ".") != 3 {
		return false
	}
	_, bits, ok := host.AdapterAddress("192.0.2.1/" + f.values[0])
	return ok && bits >= 0
}

// kinds are what stands before the name of a connection, in the languages we are sure of.
// In others the heading is kept as it is.
var kinds = []string{
	"Ethernet adapter ", "Wireless LAN adapter ", "Tunnel adapter ", "PPP adapter ", "Unknown adapter ",
	"Ethernet-Adapter ", "Ethernetadapter ", "Drahtlos-LAN-Adapter ", "Tunneladapter ", "PPP-Adapter ", "Unbekannter Adapter ",
	"Carte Ethernet ", "Carte réseau sans fil ", "Carte Tunnel ", "Carte PPP ", "Carte inconnue ",
	"Adaptador de Ethernet ", "Adaptador Ethernet ", "Adaptador de LAN inalámbrica ", "Adaptador de túnel ", "Adaptador PPP ", "Adaptador desconocido ",
	"Scheda Ethernet ", "Scheda LAN wireless ", "Scheda Tunnel ", "Scheda PPP ", "Scheda sconosciuta ",
	"Tunnel-adapter ", "Adaptador de Rede sem Fio ",
}

// connection gives the name of the connection in the heading of an adapter.
func connection(heading string) string {
	for _, k := range kinds {
		if len(heading) > len(k) && strings.EqualFold(heading[:len(k)], k) {
			heading = heading[len(k):]
			break
		}
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, heading)
}

// names takes the answers out of the cache of names: a name, the type of the record as a
// number, its life, its length, its section, and then an address.
func names(b block, h *host.Host, from func(int) host.Source) {
	const behind = 5
	for i := behind; i < len(b.fields); i++ {
		value := func(back int) string {
			if f := b.fields[i-back]; len(f.values) == 1 {
				return f.values[0]
			}
			return ""
		}
		addr, _, ok := address(value(0))
		if kind := value(4); !ok || kind != typeA && kind != typeAAAA {
			continue
		}
		if name := inventory.Name(value(behind)); name != "" && len(h.Names) < maxNames {
			h.Names = append(h.Names, host.PeerName{Addr: addr, Name: name, From: from(b.fields[i].line)})
		}
	}
}

// The types of records that hold addresses: RFC 1035 section 3.2.2, RFC 3596 section 2.1.
const (
	typeA    = "1"
	typeAAAA = "28"
)
