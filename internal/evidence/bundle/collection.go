package bundle

import (
	"crypto/sha1" //nolint:gosec // what certutil of the old machine can make; it is no proof against an attacker, and Doc says so
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/inventory"
	"github.com/oldguard/oldguard/internal/host"
)

// What the collector's own files begin with, and the version of their form.
const (
	statusMagic   = "oldguard-collect "
	manifestMagic = "oldguard-manifest "
	version       = "1"
)

const (
	maxNotes = 1 << 20 // bytes of status.txt or manifest.txt; a real one has 5000
	rerun    = "run oldguard-collect.cmd again, as an administrator if it was not"
)

// notes gives the lines of one of the collector's files, without the first.
func notes(in evidence.Input, magic string) ([]string, error) {
	if in.File.Size() > maxNotes {
		return nil, fmt.Errorf("it has %d bytes, more than the collector ever writes", in.File.Size())
	}
	text, err := in.Text()
	if err != nil {
		return nil, err
	}
	lines := evidence.Lines(text)
	if v, _, _ := strings.Cut(strings.TrimPrefix(lines[0], magic), " "); v != version {
		return nil, fmt.Errorf("it is of version %.20q of the collector, which is newer than this program", v)
	}
	return lines[1:], nil
}

// status says what the collector noted: when and where it ran, and what it did not get.
func status(in evidence.Input, h *host.Host) error {
	lines, err := notes(in, statusMagic)
	if err != nil {
		return err
	}
	from := host.Source{Reader: readerName, Input: in.Name}
	for _, line := range lines {
		if rest, ok := strings.CutPrefix(line, "taken "); ok { // as WMI writes it, or unknown
			from.Taken = inventory.ReadTime(rest).Instant
			break
		}
	}
	failed := 0
	ended := false
	for i, line := range lines {
		at := from
		at.At = fmt.Sprintf("line %d", i+2)
		verb, rest, _ := strings.Cut(line, " ")
		switch verb {
		case "computer":
			h.Name.Say(rest, in.Rank, at)
		case "pending.xml":
			if rest == "yes" {
				h.Restart = append(h.Restart, host.Reason{Text: `servicing has operations that wait for a restart: winsxs\pending.xml`, From: []host.Source{at}})
			}
		case "failed":
			if failed++; failed > maxFailed {
				continue
			}
			h.Gap(host.Gap{What: "collection", From: at, Why: failure(rest, lines[i+1:]), Hint: rerun})
		case "end":
			ended = true
		}
	}
	if failed > maxFailed {
		h.Gap(host.Gap{What: "collection", From: from, Why: fmt.Sprintf("%d more files could not be collected", failed-maxFailed), Hint: rerun})
	}
	if !ended {
		h.Gap(host.Gap{What: "collection", From: from, Why: "the collector did not come to its end: files are missing or cut", Hint: rerun})
	}
	return nil
}

const maxFailed = 100 // shown one by one; the collector writes some 60 files

// failure words a line "failed slmgr.txt 1", for the registry with a key behind it, with what
// the command said, in the lines after it.
func failure(what string, said []string) string {
	file, code, _ := strings.Cut(what, " ")
	code, key, _ := strings.Cut(code, " ")
	why := shown(file) + " could not be collected: "
	if key != "" {
		why = shown(file) + " lacks " + shown(key) + ": "
	}
	if code == "empty" {
		return why + "the command said nothing"
	}
	why += "exit status " + shown(code)
	if len(said) > 0 && strings.HasPrefix(said[0], "  ") {
		why += ": " + shown(strings.TrimSpace(said[0]))
	}
	return why
}

// manifest compares the files beside it with their checksums.
func manifest(in evidence.Input, h *host.Host) error {
	lines, err := notes(in, manifestMagic)
	if err != nil {
		return err
	}
	if in.Beside == nil {
		return errors.New("it lists checksums of files, which are not beside it")
	}
	gap := func(line int, why string) {
		h.Gap(host.Gap{What: "collection", From: host.Source{Reader: readerName, Input: in.Name, At: fmt.Sprintf("line %d", line)}, Why: why, Hint: "bring the collection as the collector made it"})
	}
	seen := map[string]bool{}
	for i, line := range lines {
		want, name, ok := strings.Cut(line, "  ")
		key := strings.ToLower(name)
		switch {
		case line == "":
			continue
		case !ok || len(seen) >= maxFiles || seen[key] || name != base(name):
			gap(i+2, "the manifest is damaged here, and what comes after it was not checked")
			return nil
		}
		seen[key] = true
		f := in.Beside(name)
		if f == nil {
			gap(i+2, shown(name)+" was collected, but is not there any more")
			continue
		}
		sum := sha1.New() //nolint:gosec // see the import
		if _, err := io.Copy(sum, io.NewSectionReader(f, 0, f.Size())); err != nil {
			gap(i+2, fmt.Sprintf("%s cannot be checked: %v", shown(name), err))
			continue
		}
		if want != "unknown" && !strings.EqualFold(want, hex.EncodeToString(sum.Sum(nil))) {
			gap(i+2, shown(name)+" was altered since it was collected: its SHA-1 is another one")
		}
	}
	return nil
}
