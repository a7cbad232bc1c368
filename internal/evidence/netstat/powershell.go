package netstat

import (
	"strconv"
	"strings"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/inventory"
	"github.com/oldguard/oldguard/internal/host"
)

// columns are those of Get-NetTCPConnection that are read. Their names, and those of the
// states, are the same in every language.
var columns = []string{"LocalAddress", "LocalPort", "RemoteAddress", "RemotePort", "State", "OwningProcess"}

func isConnections(names []string) bool { return inventory.Named(names, columns[:4]...) }

// isPowerShell knows the header of Get-NetTCPConnection, as a table and as CSV.
func isPowerShell(line string) bool {
	return strings.Contains(line, columns[0]) && strings.Contains(line, columns[3]) &&
		isConnections(strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(` ,;"`+"\t", r) }))
}

// powerShell reads Get-NetTCPConnection, and gives the number of rows.
func (r *reading) powerShell(text string) (rows int) {
	records, bad, cut := inventory.CSV(text, isConnections)
	if len(records) == 0 {
		records, bad = tableOf(text)
		cut = len(records) > 0 && !evidence.Ended(text)
	}
	if cut {
		r.h.Gap(host.Gap{What: "connections", From: host.Source{Reader: readerName, Input: r.in.Name}, Why: "the file ends within a line; lines behind it are missing"})
	}
	for _, c := range records {
		found, ok := connection(c)
		if !ok {
			bad++
			continue
		}
		line, err := strconv.Atoi(strings.TrimPrefix(c.At, "line "))
		if err != nil {
			line = 1
		}
		r.add(found, line)
		rows++
	}
	r.bad += bad
	if rows > 0 {
		r.next()
	}
	return rows
}

func connection(c inventory.Record) (r row, ok bool) {
	bracket := func(s string) string {
		if strings.Contains(s, ":") {
			return "[" + s + "]"
		}
		return s
	}
	r.proto = host.TCP
	if r.local, ok = readEnd(bracket(c.Str("LocalAddress")) + ":" + c.Str("LocalPort")); !ok {
		return r, false
	}
	if r.remote, ok = readEnd(bracket(c.Str("RemoteAddress")) + ":" + c.Str("RemotePort")); !ok {
		return r, false
	}
	r.state = strings.ToUpper(c.Str("State"))
	if pid, err := strconv.ParseUint(c.Str("OwningProcess"), 10, 32); err == nil {
		r.pid = uint32(pid)
	}
	return r, r.local.addr.IsValid() && r.remote.addr.IsValid()
}

// tableOf reads the table that PowerShell prints. No value has a blank in it; that of
// AppliedSetting may be empty. bad is the number of rows with an address that was cut.
func tableOf(text string) (records []inventory.Record, bad int) {
	var names []string
	ended := evidence.Ended(text)
	for n, rest := 1, text; rest != ""; n++ {
		var line string
		line, rest = evidence.NextLine(rest)
		words := strings.Fields(line)
		switch {
		case names == nil && isConnections(words) && len(words) < evidence.MaxColumns:
			names = words
			continue
		case names == nil || len(words) < 5 || strings.HasPrefix(words[0], "---") || rest == "" && !ended:
			continue
		case len(words) == len(names)-1: // no AppliedSetting, which stands before the process
			words = append(words[:len(words)-1:len(words)-1], "", words[len(words)-1])
		}
		if len(words) != len(names) {
			bad++
			continue
		}
		c := inventory.Record{At: "line " + strconv.Itoa(n)}
		for i, name := range names {
			if words[i] != "" {
				c.Set(name, words[i])
			}
		}
		records = append(records, c)
	}
	return records, bad
}
