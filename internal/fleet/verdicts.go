package fleet

import (
	"encoding/binary"
	"errors"
	"slices"
	"strconv"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/winver"
)

// Verdicts are the verdicts on one machine, with the updates that are missing in the order
// of installation. They are some two thousand, and machines that are kept alike have the
// same: so they are stored packed, once for all machines that share them. A row for each
// machine and vulnerability would be forty million rows for 20,000 machines.
//
// The packed form is a version, then for each vulnerability, ordered by number, the
// difference to the one before and its verdict, both in one varint; then the updates.
type Verdicts struct {
	List    []CVEVerdict // ordered by year and number
	Missing []winver.KB
}

// CVEVerdict is the verdict on one vulnerability, and whether it was on the list of
// exploited ones.
type CVEVerdict struct {
	CVE       string
	Verdict   assess.Verdict
	Exploited bool
}

const packedVersion = 1

// A number holds, from the top, whether it is a CVE, the year, what follows the year, and
// with how many digits that is written: the feeds know a CVE-2017-00016.
const (
	digitBits  = 4
	serialBits = 30
	yearBits   = 14
)

// CVENumber makes a number of CVE-2019-0708 or ADV190023, so that numbers are ordered as the ids are by
// year and number, and advisories come first. It gives false for other ids.
func CVENumber(id string) (number uint64, ok bool) {
	kind, year, rest := uint64(1), "", ""
	switch {
	case len(id) > 9 && id[:4] == "CVE-" && id[8] == '-':
		year, rest = id[4:8], id[9:]
	case len(id) > 5 && id[:3] == "ADV":
		kind, year, rest = 0, id[3:5], id[5:]
	default:
		return 0, false
	}
	y, ok1 := decimal(year)
	n, ok2 := decimal(rest)
	ok = ok1 && ok2 && len(rest) <= 9
	return ((kind<<yearBits|y)<<serialBits|n)<<digitBits | uint64(len(rest)), ok
}

// decimal reads digits that are not too many.
func decimal(s string) (n uint64, ok bool) {
	for i := range len(s) {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		n = n*10 + uint64(c)
	}
	return n, true
}

// CVEID gives the id of a number.
func CVEID(v uint64) string {
	digits := int(v & (1<<digitBits - 1)) // #nosec G115 -- four bits
	n := v >> digitBits & (1<<serialBits - 1)
	y := v >> (digitBits + serialBits) & (1<<yearBits - 1)
	b := make([]byte, 0, 24)
	if v>>(digitBits+serialBits+yearBits) == 0 {
		return string(padded(padded(append(b, "ADV"...), y, 2), n, digits))
	}
	return string(padded(append(padded(append(b, "CVE-"...), y, 4), '-'), n, digits))
}

// padded appends a number with at least so many digits.
func padded(b []byte, n uint64, digits int) []byte {
	for least := n; digits > 1; digits-- {
		if least /= 10; least == 0 {
			b = append(b, '0')
		}
	}
	return strconv.AppendUint(b, n, 10)
}

const exploitedBit = 8 // beside the verdict, which is less

// Pack writes verdicts. A vulnerability with an id of another form is left out. Equal
// verdicts give equal bytes.
func (v *Verdicts) Pack() []byte {
	items := make([]uint64, 0, len(v.List)) // number and verdict in one, as they are written
	for _, c := range v.List {
		if n, ok := CVENumber(c.CVE); ok {
			bits := uint64(c.Verdict)
			if c.Exploited {
				bits |= exploitedBit
			}
			items = append(items, n<<4|bits)
		}
	}
	slices.Sort(items)
	b := make([]byte, 0, 16+4*len(items))
	b = append(b, packedVersion)
	b = binary.AppendUvarint(b, uint64(len(items)))
	last := uint64(0)
	for _, it := range items {
		b = binary.AppendUvarint(b, it-last)
		last = it &^ 15
	}
	b = binary.AppendUvarint(b, uint64(len(v.Missing)))
	for _, kb := range v.Missing {
		b = binary.AppendUvarint(b, uint64(kb))
	}
	return b
}

var errPacked = errors.New("stored verdicts are damaged")

// EachVerdict calls use for each vulnerability of packed verdicts, in order, until it
// gives false.
func EachVerdict(packed []byte, use func(number uint64, v assess.Verdict, exploited bool) bool) error {
	_, err := eachVerdict(packed, use)
	return err
}

func eachVerdict(b []byte, use func(number uint64, v assess.Verdict, exploited bool) bool) (rest []byte, err error) {
	if len(b) == 0 || b[0] != packedVersion {
		return nil, errPacked
	}
	b = b[1:]
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)) {
		return nil, errPacked
	}
	b = b[k:]
	last := uint64(0)
	for range n {
		v, k := binary.Uvarint(b)
		if k <= 0 {
			return nil, errPacked
		}
		b = b[k:]
		last += v >> 4
		if !use(last, assess.Verdict(v&7), v&exploitedBit != 0) {
			return nil, nil
		}
	}
	return b, nil
}

// UnpackVerdicts reads what Pack wrote.
func UnpackVerdicts(packed []byte) (v Verdicts, err error) {
	rest, err := eachVerdict(packed, func(number uint64, verdict assess.Verdict, exploited bool) bool {
		v.List = append(v.List, CVEVerdict{CVEID(number), verdict, exploited})
		return true
	})
	if err != nil {
		return v, err
	}
	n, k := binary.Uvarint(rest)
	if k <= 0 || n > uint64(len(rest)) {
		return v, errPacked
	}
	rest = rest[k:]
	for range n {
		kb, k := binary.Uvarint(rest)
		if k <= 0 || kb > 1<<32-1 {
			return v, errPacked
		}
		rest = rest[k:]
		v.Missing = append(v.Missing, winver.KB(kb))
	}
	return v, nil
}
