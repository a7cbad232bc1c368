package systeminfo

import (
	"net/netip"
	"slices"
	"strings"
	"unicode"

	"github.com/oldguard/oldguard/internal/host"
)

// maxCards bounds the network cards that are kept.
const maxCards = 500

// sayAdapters takes the list of network cards: the one of all lists that has addresses in it.
// A card is a numbered member, and so is each of its addresses; between them stand the name of
// the connection and, where its addresses are leased, the server they are from.
func (r *reading) sayAdapters() {
	for i := r.version + 1; i < len(r.fields); i++ {
		kids := r.fields[i].kids
		if !r.whole && i == len(r.fields)-1 && len(kids) > 0 {
			kids = kids[:len(kids)-1] // it may be half of an address
		}
		var cards []host.Adapter
		named := false // whether the last card's connection is known
		for _, k := range kids {
			// CSV has it all in one cell, with commas; a card may have one in its name.
			pieces := strings.Split(k.text, ",")
			if addr, err := netip.ParseAddr(strings.TrimSpace(pieces[0])); err == nil && k.numbered {
				if n := len(cards); n > 0 {
					cards[n-1].Addresses = append(cards[n-1].Addresses, addr.WithZone("").String())
				}
				continue
			}
			first := slices.IndexFunc(pieces, func(s string) bool { return strings.Contains(s, ":") })
			if first < 0 {
				first = len(pieces)
			}
			if k.numbered {
				cards, named = append(cards, host.Adapter{Name: plainText(strings.Join(pieces[:first], ",")), From: r.from(k.line)}), false
			}
			for _, s := range pieces[first:] {
				if len(cards) > 0 {
					named = about(&cards[len(cards)-1], s, named)
				}
			}
		}
		for _, c := range cards[:min(len(cards), maxCards)] {
			if len(c.Addresses) > 0 {
				r.h.Adapters = append(r.h.Adapters, c)
			}
		}
	}
}

// about takes a line of a card: the first one is the name of the connection, and one with an
// address is the server of DHCP.
func about(c *host.Adapter, line string, named bool) bool {
	_, value, ok := strings.Cut(line, ":")
	value = strings.TrimSpace(value)
	if !ok || value == "" {
		return named
	}
	if addr, err := netip.ParseAddr(value); err == nil && addr.Is4() {
		c.DHCP = true
	} else if !named {
		c.Name = plainText(value)
	}
	return true
}

// plainText drops characters that steer a terminal.
func plainText(s string) string {
	return strings.TrimSpace(strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return -1
		}
		return c
	}, s))
}
