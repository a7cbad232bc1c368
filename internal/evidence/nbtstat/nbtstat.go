// Package nbtstat reads the tables of NetBIOS names that nbtstat of Windows prints: the
// machine's own (nbtstat -n) and those it looked up (nbtstat -c), in any display language.
package nbtstat

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/console"
	"github.com/oldguard/oldguard/internal/evidence/inventory"
	"github.com/oldguard/oldguard/internal/host"
)

const readerName = "nbtstat"

// Reader reads the output of nbtstat.
var Reader = evidence.Reader{
	Name: readerName,
	Doc: `The tables of nbtstat -n and nbtstat -c, in any language.
Obtain them with: nbtstat -n > names.txt; nbtstat -c >> names.txt
They prove the machine's NetBIOS name and addresses, and give names for addresses that it looked up in the last ten
minutes.`,
	Sniff: func(p evidence.Probe) bool {
		for rest := p.Text; rest != ""; {
			var line string
			line, rest = evidence.NextLine(rest)
			if _, ok := nodeOf(line); ok {
				return true
			}
		}
		return false
	},
	Read: read,
}

// Bounds of what is kept.
const (
	maxNames = 20_000
	maxOwn   = 1000
	maxLine  = 400
)

// nodeOf reads the line above each table: "Node IpAddress: [192.0.2.11] Scope Id: []".
func nodeOf(line string) (netip.Addr, bool) {
	if len(line) > maxLine || !strings.HasSuffix(line, "]") {
		return netip.Addr{}, false
	}
	_, rest, ok := strings.Cut(line, ": [")
	s, rest, closed := strings.Cut(rest, "]")
	if !ok || !closed || !strings.Contains(rest, "[") {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(s)
	return a, err == nil && a.Is4()
}

// row is a line of a table: "FS01           <20>  UNIQUE      192.0.2.11          450".
type row struct {
	name string
	kind uint64 // the sixteenth byte of the name
	addr netip.Addr
}

// The kinds of names. That of the file server is the machine's own, never a group's.
// https://learn.microsoft.com/previous-versions/windows/it-pro/windows-2000-server/cc959185(v=technet.10), read 2026-11-25.
const (
	workstation = 0x00
	fileServer  = 0x20
)

func rowOf(line string) (r row, ok bool) {
	if len(line) > maxLine {
		return r, false
	}
	name, rest, ok := strings.Cut(line, "<")
	kind, rest, closed := strings.Cut(rest, ">")
	if !ok || !closed || len(kind) != 2 {
		return r, false
	}
	n, err := strconv.ParseUint(kind, 16, 8)
	r.name, r.kind = inventory.Name(name), n
	words := strings.Fields(rest)
	if err != nil || len(r.name) > 15 || len(words) < 2 {
		return r, false
	}
	for _, w := range words[1:] {
		if a, err := netip.ParseAddr(w); err == nil {
			r.addr = a
			break
		}
	}
	return r, true
}

// isMAC knows "    MAC Address = 00-00-5E-00-53-01".
func isMAC(line string) bool {
	label, value, ok := strings.Cut(line, "=")
	return ok && strings.Contains(label, "MAC") && strings.Count(value, "-") == 5
}

func read(_ context.Context, in evidence.Input, h *host.Host) ([]evidence.Input, error) {
	text, err := in.Text()
	if err != nil {
		return nil, err
	}
	if parts := console.Parts(in, text); parts != nil {
		return parts, nil
	}
	type known struct {
		name string
		addr netip.Addr
	}
	seen, own := map[known]bool{}, map[netip.Addr]bool{}
	rows, ended := 0, evidence.Ended(text)
	name, nameFrom := "", host.Source{} // of the table that is being read
	from := host.Source{Reader: readerName, Input: in.Name}
	for n, rest := 1, text; rest != ""; n++ {
		var line string
		line, rest = evidence.NextLine(rest)
		from.At = "line " + strconv.Itoa(n)
		if rest == "" && !ended {
			h.Gap(host.Gap{What: "names", From: from, Why: "the file ends within a line, which was left out; lines behind it are missing"})
			name = ""
			break
		}
		if isMAC(line) { // nbtstat -a prints another machine's table, and ends it so
			name = ""
			continue
		}
		if a, ok := nodeOf(line); ok {
			rows++
			h.Name.Say(name, in.Rank, nameFrom)
			name = ""
			if !a.IsUnspecified() && !own[a] && len(own) < maxOwn {
				own[a] = true
				h.Addresses = append(h.Addresses, host.Address{Addr: a, Bits: -1, From: from})
			}
			continue
		}
		r, ok := rowOf(line)
		if !ok || r.name == "" {
			continue
		}
		rows++
		key := known{r.name, r.addr}
		switch {
		case !r.addr.IsValid() && r.kind == fileServer:
			name, nameFrom = r.name, from
		case r.addr.IsValid() && (r.kind == fileServer || r.kind == workstation) && !seen[key] && len(h.Names) < maxNames:
			seen[key] = true
			h.Names = append(h.Names, host.PeerName{Addr: r.addr, Name: r.name, From: from})
		}
	}
	h.Name.Say(name, in.Rank, nameFrom)
	if rows == 0 {
		return nil, fmt.Errorf("%s has no table of nbtstat", in.Name)
	}
	return nil, nil
}
