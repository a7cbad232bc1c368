package explain

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/oldguard/oldguard/internal/catalog"
)

// errorCode answers about an HRESULT in hexadecimal (0x80070661, 80070661) or in decimal
// with its sign (-2147021215).
func (a *asker) errorCode(q string) (bool, error) {
	digits, hex := strings.CutPrefix(strings.ToLower(q), "0x")
	switch {
	case hex:
	case strings.HasPrefix(q, "-"):
		n, err := strconv.ParseInt(q, 10, 32)
		if err != nil || n >= 0 {
			return false, nil //nolint:nilerr // then it is something else
		}
		return true, a.hresult(uint32(n)) // #nosec G115 -- the same bits, which is what an HRESULT is
	case len(q) == 8 && (digits[0] == '8' || digits[0] == 'c'):
		// No KB has eight digits yet that begin with 8: KB5073697 is of 2026.
	case len(q) == 10 && q[0] >= '2' && q[0] <= '4':
		n, err := strconv.ParseUint(q, 10, 32)
		if err != nil {
			return false, nil //nolint:nilerr // then it is something else
		}
		return true, a.hresult(uint32(n)) // #nosec G115 -- parsed as 32 bits
	default:
		return false, nil
	}
	n, err := strconv.ParseUint(digits, 16, 32)
	if err != nil {
		return false, nil //nolint:nilerr // then it is something else
	}
	if n <= 0xffff {
		n |= win32
	}
	return true, a.hresult(uint32(n)) // #nosec G115 -- parsed as 32 bits
}

// win32 is the HRESULT of Win32 error 0: HRESULT_FROM_WIN32(n) is win32|n.
const win32 = 0x80070000

// win32 answers about a Win32 error by its number, if the table has it.
func (a *asker) win32(q string) (bool, error) {
	n, err := strconv.ParseUint(q, 10, 16)
	if err != nil {
		return false, nil //nolint:nilerr // then it is something else
	}
	f, err := tables()
	if err != nil {
		return false, err
	}
	code := win32 | uint32(n) // #nosec G115 -- parsed as 16 bits
	if n == 0 || len(f.errorsOf(code)) == 0 {
		return false, nil
	}
	return true, a.hresult(code)
}

func (f *facts) errorsOf(code uint32) (out []errorRow) {
	for _, r := range f.errors {
		if r.code == code && code != 0 {
			out = append(out, r)
		}
	}
	return out
}

// facilities are those from which the errors of updating come. [MS-ERREF] 2.1 and winerror.h.
var facilities = map[uint32]string{
	0x8007: "Win32", 0x8009: "security and certificates", 0x800B: "trust of signatures", 0x800F: "setup and component servicing (CBS)",
	0x8024: "Windows Update", 0xC004: "software licensing", 0x8020: "background transfer (BITS)",
}

func (a *asker) hresult(code uint32) error {
	f, err := tables()
	if err != nil {
		return err
	}
	found := f.errorsOf(code)
	a.Title = fmt.Sprintf("0x%08X", code)
	if len(found) > 0 && found[0].name != "" {
		a.Title += ", " + found[0].name
	}
	a.section("What it is")
	signed := int32(code) // #nosec G115 -- the same bits, as tools print them
	a.say("written as", "0x%08X, %d", code, signed)
	if code&0xffff0000 == win32 {
		a.say("", "It is Win32 error %d (0x%X): HRESULT_FROM_WIN32(%[1]d)", code&0xffff, code&0xffff)
	}
	if name, ok := facilities[code>>16]; ok {
		a.say("comes from", "%s", name)
	}
	if len(found) == 0 {
		a.Title += " is not in the table of errors"
		a.unknown("The table has errors that stand between an old Windows and its updates, and this is none of them")
		return nil
	}
	a.rows(found)
	return nil
}

// rows writes each cause of an error as a section.
func (a *asker) rows(found []errorRow) {
	for i, r := range found {
		heading := "Cause and cure"
		if len(found) > 1 {
			heading = fmt.Sprintf("Cause and cure, %d of %d", i+1, len(found))
		}
		a.section("%s", heading)
		a.say("says", "%s", r.says)
		a.say("cause", "%s", r.cause)
		a.say("cure", "%s", r.cure)
		last := &a.Sections[len(a.Sections)-1]
		for j := range last.Lines {
			last.Lines[j].Confidence, last.Lines[j].Source = r.confidence, r.from
		}
	}
	a.uses(catalog.SourceFacts)
}

// minWords is how much of a message must be given, in bytes: less would find anything.
const minWords = 12

// message answers about the words of an error.
func (a *asker) message(q string) (bool, error) {
	if len(q) < minWords || !strings.Contains(q, " ") {
		return false, nil
	}
	f, err := tables()
	if err != nil {
		return false, err
	}
	words := strings.ToLower(strings.Join(strings.Fields(q), " "))
	var found []errorRow
	for _, r := range f.errors {
		if says := strings.ToLower(r.says); strings.Contains(says, words) || r.code == 0 && strings.Contains(words, says) {
			found = append(found, r)
		}
	}
	if len(found) == 0 {
		return false, nil
	}
	a.Title = quoted(q)
	for _, r := range found {
		if r.code != 0 {
			a.Near = append(a.Near, fmt.Sprintf("0x%08X", r.code))
		}
	}
	a.rows(found)
	return true, nil
}
