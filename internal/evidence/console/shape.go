package console

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/evidence"
)

// shape is how the output of a command is known in any display language: by a line that
// only it prints.
type shape struct {
	name string // of the nested input
	// is tells whether a line is of this kind; before is the line above it.
	is func(line, before string) bool
	// back tells how many of the lines above the first such line belong to it: titles and
	// headers. The last of above is the nearest.
	back func(above []string) int
	// weak is a kind that others print too, and that does not make a text one of several
	// outputs.
	weak bool
	// holds tells whether what was printed is indeed of this kind, where several commands rule
	// off their lists alike; nil if a line is enough.
	holds func(text string) bool
	// unread is a kind that no reader reads, and that is known to end the one before it.
	unread bool
}

// shapes are tried in this order.
var shapes = []shape{
	{name: "netstat", is: isConnection, back: clocked(titled(2))},
	{name: "ipconfig", is: isDotted, back: adapterHead},
	{name: "routeprint", is: isDoubleRule},
	{name: "tasklist", is: isTask, back: taskHead},
	{name: "sc", is: isServiceType, back: adjacent(2)},
	{name: "firewall", is: func(line, before string) bool { return isRule(line) && strings.Contains(before, ":") }, back: adjacent(1)},
	{name: "netcmd", is: func(line, before string) bool { return isRule(line) && before == "" }, back: titled(1), holds: isShares},
	{name: "nbtstat", is: isNetBIOS, back: adjacent(1)},
	{name: "systeminfo", is: isVersion, back: adjacent(2)},
	{name: "wmic", is: isProperty},
	{name: "registry", is: func(line, _ string) bool {
		return strings.HasPrefix(line, "HKEY_") || strings.HasPrefix(line, "Windows Registry Editor ")
	}},
	{name: "ver", is: func(line, _ string) bool { return strings.HasPrefix(line, "Microsoft Windows [") }, weak: true},
	{name: "arp", is: isNeighbour, back: titled(2), unread: true, weak: true},
}

// titled takes up to n lines with text, and the empty ones between them.
func titled(n int) func([]string) int {
	return func(above []string) int {
		took := 0
		for i, texts := len(above)-1, 0; i >= 0; i-- {
			if above[i] == "" {
				continue
			}
			if texts++; texts > n {
				break
			}
			took = len(above) - i
		}
		return took
	}
}

// adjacent takes up to n lines with text that stand directly above.
func adjacent(n int) func([]string) int {
	return func(above []string) int {
		took := 0
		for took < min(n, len(above)) && above[len(above)-1-took] != "" {
			took++
		}
		return took
	}
}

// clocked adds the lines with a date or a time of day above what back takes.
func clocked(back func([]string) int) func([]string) int {
	return func(above []string) int {
		took := back(above)
		for i := len(above) - 1 - took; i >= 0; i-- {
			if above[i] == "" {
				continue
			}
			if !evidence.IsStamp(above[i]) {
				break
			}
			took = len(above) - i
		}
		return took
	}
}

// isConnection knows the lines of netstat: a protocol, then an address with a port.
func isConnection(line, _ string) bool {
	s := strings.TrimLeft(line, " \t")
	if len(s) < 8 || s[3] != ' ' || s[:3] != "TCP" && s[:3] != "UDP" {
		return false
	}
	local := strings.TrimLeft(s[3:], " ")
	end := strings.IndexByte(local, ' ')
	return end > 0 && strings.IndexByte(local[:end], ':') > 0 && strings.IndexByte(local[end:], ':') > 0
}

// isDotted knows a field of ipconfig: "   IPv4 Address. . . . . . . . . . . : 192.0.2.11".
func isDotted(line, _ string) bool {
	if line == "" || line[0] != ' ' && line[0] != '\t' {
		return false
	}
	dots := strings.Index(line, ". . .")
	return dots > 0 && strings.IndexByte(line[dots:], ':') > 0
}

const minRule = 60 // of the dashes and double dashes that rule off; real ones have 70 to 79

// adapterHead is the title, or the name of an adapter with the title above it, and fields
// without dots, as the first one has none in German.
func adapterHead(above []string) int {
	took := 0
	for i, line := range slices.Backward(above) {
		switch {
		case line == "":
		case line[0] == ' ' || line[0] == '\t':
			if !strings.Contains(line, ":") {
				return took
			}
			took = len(above) - i
		case strings.HasSuffix(line, ":"):
			took = len(above) - i
		default:
			return len(above) - i
		}
	}
	return took
}

func isDoubleRule(line, _ string) bool {
	return len(line) >= minRule && strings.Trim(line, "=") == ""
}

func isRule(line string) bool { return len(line) >= minRule && strings.Trim(line, "-") == "" }

var (
	// The names of processes have 25 columns, their numbers 8, and 6 on Windows XP.
	taskRule = regexp.MustCompile(`^={25} (?:={6}|={8}) =`)
	taskRow  = regexp.MustCompile(`^"(?:[^"]*\.exe","\d{1,10}|[^"]*","0|System","4)","`)
	taskPID  = regexp.MustCompile(`^[^\s:"][^:"]{0,40}:\s+\d{1,10}$`)
	typeLine = regexp.MustCompile(`^\s+\S+\s*: [0-9a-f]{1,4}\s+(?:WIN32|KERNEL_DRIVER|FILE_SYSTEM_DRIVER|USER_|INTERACTIVE)`)
	nodeLine = regexp.MustCompile(`: \[[0-9.]{7,15}\] .*\[.*\]$`)
	version  = regexp.MustCompile(`[\s":](?:[56]|10)\.\d{1,2}\.(\d{3,5}) (.+)`)
	property = regexp.MustCompile(`^(?:AcceptPause|BuildNumber|BuildType|Caption|CSName|Description|DisplayName|Domain|DomainRole|HotFixID|Name|ProcessId)=`)
)

// isTask knows tasklist: the rule of its table, a row of its CSV, and in its list the number
// behind a name.
func isTask(line, before string) bool {
	if line == "" {
		return false
	}
	switch line[0] {
	case '=':
		return taskRule.MatchString(line)
	case '"':
		return taskRow.MatchString(line)
	}
	return strings.HasSuffix(before, ".exe") && strings.IndexByte(before, ':') > 0 && taskPID.MatchString(line)
}

// taskHead is the header of a table or of CSV, or the entries before the first with a program's name.
func taskHead(above []string) int {
	n := adjacent(1)(above)
	if n == 0 || !strings.HasSuffix(above[len(above)-1], ".exe") {
		return n
	}
	for n < len(above) {
		line := above[len(above)-1-n]
		if label, value, ok := strings.Cut(line, ":"); line != "" && (!ok || value == "" || strings.HasPrefix(label, " ")) {
			break
		}
		n++
	}
	return n
}

func isServiceType(line, _ string) bool {
	return strings.HasPrefix(line, "  ") && strings.IndexByte(line, ':') > 0 && typeLine.MatchString(line)
}

// shareRow is a row of net share, or of net session, which begins with the client's name.
var shareRow = regexp.MustCompile(`(?m)^(?:.{12} [A-Za-z]:\\|\S{1,12}\$ {13}|\\\\\S)`)

// isShares knows net share and net session among what net prints.
func isShares(text string) bool { return shareRow.MatchString(text) }

// isNetBIOS knows the head of each of nbtstat's tables, which names the address asked.
func isNetBIOS(line, _ string) bool {
	return strings.HasSuffix(line, "]") && nodeLine.MatchString(line)
}

// isVersion knows the version as systeminfo prints it, which ends with the build number it
// begins with.
func isVersion(line, _ string) bool {
	if strings.IndexByte(line, '.') < 0 {
		return false
	}
	m := version.FindStringSubmatch(line)
	return m != nil && strings.Contains(m[2], " "+m[1])
}

// isProperty knows lists of wmic, and what any program prints of a list of updates.
func isProperty(line, _ string) bool {
	return strings.HasPrefix(line, "Node,") || strings.Contains(line, "HotFixID") ||
		strings.IndexByte(line, '=') > 0 && property.MatchString(line)
}

// isNeighbour knows a line of arp -a.
func isNeighbour(line, _ string) bool {
	if !strings.HasPrefix(line, "  ") || strings.Count(line, "-") < 5 {
		return false
	}
	f := strings.Fields(line)
	if len(f) < 3 || len(f[1]) != len("00-00-5e-00-53-01") || f[1][2] != '-' {
		return false
	}
	_, err := netip.ParseAddr(f[0])
	return err == nil
}
