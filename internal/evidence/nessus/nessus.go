// Package nessus reads reports of the scanner Nessus in its own format, version 2.
package nessus

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/inventory"
	"github.com/oldguard/oldguard/internal/host"
)

const readerName = "nessus"

// Reader reads .nessus files.
var Reader = evidence.Reader{
	Name: readerName,
	Doc: `A report of the scanner Nessus, format .nessus (version 2), about one host or many, from scans with credentials.
Obtain it with: Nessus, Scans, the scan, Export, Nessus.
It proves product, version and architecture (plugin 48942) and names programs (20811). The updates of plugin 62042 are
names of keys in the registry without their state, so they prove no update installed: bring wmic qfe for that. What
the scanner says is missing (38153, 93962 and the findings themselves) is its conclusion and not evidence: it is
not read. Of a scan without credentials nothing but the host's name is believed.`,
	Sniff: func(p evidence.Probe) bool { return strings.Contains(p.Text, "<NessusClientData_v2") },
	Read:  read,
}

const (
	maxToken  = 16 << 20 // bytes between two tags; a long plugin output has one million
	maxOutput = 1 << 20  // of the output of a plugin, what is kept
	maxKept   = 64 << 20 // of all outputs together
	maxHosts  = 20_000
)

// The plugins that are read. Their output is described by their sources as published with
// the scanner, and by the reports in public repositories, read 2026-11-22.
const (
	pluginPrograms = "20811" // Microsoft Windows Installed Software Enumeration (credentialed check)
	pluginVersion  = "48942" // Microsoft Windows SMB Registry : OS Version and Processor Architecture
	pluginUpdates  = "62042" // SMB QuickFixEngineering (QFE) Enumeration
)

var (
	plugins = []string{pluginPrograms, pluginVersion, pluginUpdates}
	tags    = []string{"operating-system", "netbios-name", "host-fqdn", "hostname", "Credentialed_Scan", "HOST_END_TIMESTAMP"}
)

// scanned is one ReportHost.
type scanned struct {
	name    string
	tags    map[string]string
	outputs map[string]string // by plugin
}

func read(ctx context.Context, in evidence.Input, h *host.Host) ([]evidence.Input, error) {
	hosts, err := parse(ctx, in)
	if len(hosts) == 0 {
		if err == nil {
			err = fmt.Errorf("%s holds no ReportHost", in.Name)
		}
		return nil, err
	}
	if err != nil {
		h.Gap(host.Gap{What: "hosts", From: host.Source{Reader: readerName, Input: in.Name}, Why: err.Error()})
	}
	if len(hosts) == 1 {
		say(in, h, hosts[0])
		return nil, nil
	}
	nested := make([]evidence.Input, len(hosts))
	for i, s := range hosts {
		nested[i] = evidence.TextInput(in.Name+"#"+s.name, s.text())
	}
	return nested, nil
}

// tokens bounds what the decoder may read for one token.
type tokens struct {
	r    io.Reader
	left int
}

func (t *tokens) Read(p []byte) (int, error) {
	if t.left <= 0 {
		return 0, fmt.Errorf("more than %d MiB without a tag", maxToken>>20)
	}
	n, err := t.r.Read(p[:min(len(p), t.left)])
	t.left -= n
	return n, err
}

// parse reads the hosts of the report, one tag at a time: such files have gigabytes. What
// was read before an error is given with it.
func parse(ctx context.Context, in evidence.Input) (hosts []scanned, err error) {
	if in.File == nil {
		return nil, fmt.Errorf("%s is a folder where a file is expected", in.Name)
	}
	r := &tokens{r: io.NewSectionReader(in.File, 0, in.File.Size())}
	dec := xml.NewDecoder(r)
	var (
		cur         *scanned
		tag, plugin string // where we are, if it is of use
		inOutput    bool
		text        strings.Builder
		kept        int
	)
	for n := 0; ; n++ {
		if n%1000 == 0 && ctx.Err() != nil {
			return hosts, ctx.Err()
		}
		r.left = maxToken
		token, err := dec.RawToken() // no namespaces and no stack: its depth needs no bound
		switch {
		case errors.Is(err, io.EOF):
			if cur != nil {
				return hosts, errors.New("the report ends within a host")
			}
			return hosts, nil
		case err != nil:
			return hosts, fmt.Errorf("the report is damaged: %w", err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			switch t.Name.Local {
			case "ReportHost":
				if len(hosts) == maxHosts {
					return hosts, fmt.Errorf("there are more than %d hosts", maxHosts)
				}
				cur = &scanned{name: attr(t, "name"), tags: map[string]string{}, outputs: map[string]string{}}
			case "tag":
				if tag = attr(t, "name"); !slices.Contains(tags, tag) {
					tag = ""
				}
			case "ReportItem":
				if plugin = attr(t, "pluginID"); !slices.Contains(plugins, plugin) {
					plugin = ""
				}
			case "plugin_output":
				inOutput = plugin != ""
			}
			text.Reset()
		case xml.CharData:
			if cur == nil || tag == "" && !inOutput || text.Len() >= maxOutput {
				continue
			}
			n, _ := text.Write(t[:min(len(t), maxOutput)])
			if kept += n; kept > maxKept {
				return hosts, fmt.Errorf("there are more than %d MiB of output to read", maxKept>>20)
			}
		case xml.EndElement:
			switch t.Name.Local {
			case "ReportHost":
				if cur != nil {
					hosts = append(hosts, *cur)
				}
				cur, tag, plugin, inOutput = nil, "", "", false
			case "tag":
				if cur != nil && tag != "" {
					cur.tags[tag] = text.String()
				}
				tag = ""
			case "plugin_output":
				if cur != nil && inOutput {
					cur.outputs[plugin] = text.String()
				}
				inOutput = false
			case "ReportItem":
				plugin = ""
			}
		}
	}
}

func attr(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name && len(a.Value) < 256 {
			return strings.Clone(a.Value)
		}
	}
	return ""
}

// text writes the host as a report about it alone, which this package reads again.
func (s scanned) text() string {
	var out strings.Builder
	escape := func(v string) string {
		var b strings.Builder
		_ = xml.EscapeText(&b, []byte(v)) // a strings.Builder does not fail
		return b.String()
	}
	fmt.Fprintf(&out, "<NessusClientData_v2>\n<Report><ReportHost name=\"%s\"><HostProperties>\n", escape(s.name))
	for _, t := range tags {
		if v, ok := s.tags[t]; ok {
			fmt.Fprintf(&out, "<tag name=\"%s\">%s</tag>\n", t, escape(v))
		}
	}
	out.WriteString("</HostProperties>\n")
	for _, p := range plugins {
		if v, ok := s.outputs[p]; ok {
			fmt.Fprintf(&out, "<ReportItem pluginID=\"%s\"><plugin_output>%s</plugin_output></ReportItem>\n", p, escape(v))
		}
	}
	out.WriteString("</ReportHost></Report></NessusClientData_v2>\n")
	return out.String()
}

func say(in evidence.Input, h *host.Host, s scanned) {
	from := func(at string) host.Source {
		src := host.Source{Reader: readerName, Input: in.Name, At: s.name + ", " + at}
		if n, err := strconv.ParseInt(s.tags["HOST_END_TIMESTAMP"], 10, 64); err == nil && n > 0 && n < 1<<33 {
			src.Taken = time.Unix(n, 0).UTC()
		}
		return src
	}
	m := inventory.Machine{Name: lastName(s)}
	credentials := s.tags["Credentialed_Scan"] == "true" || s.outputs[pluginVersion] != ""
	// Several lines are guesses from what the network shows.
	if system := strings.TrimSpace(s.tags["operating-system"]); credentials && !strings.Contains(system, "\n") {
		m.Product = system
	}
	version := from("plugin " + pluginVersion)
	readVersion(s.outputs[pluginVersion], &m)
	m.Say(h, in.Rank, version)
	if credentials && m.Version == "" {
		h.Gap(host.Gap{What: "version", From: version, Why: "the scan has no output of plugin " + pluginVersion + ", which names the build", Hint: "systeminfo"})
	}
	if !credentials {
		h.Gap(host.Gap{
			What: "machine", From: from("HostProperties"), Why: "the scan had no credentials for this host, so it knows it from outside only",
			Hint: "scan with credentials, or bring the text of systeminfo",
		})
	}
	readPrograms(h, s.outputs[pluginPrograms], from("plugin "+pluginPrograms))
	inventory.SayPackages(h, readUpdates(s.outputs[pluginUpdates]), "Nessus", in, readerName)
}

// lastName gives the name of the machine without its domain.
func lastName(s scanned) string {
	for _, t := range []string{"netbios-name", "hostname", "host-fqdn"} {
		v := strings.TrimSpace(s.tags[t])
		v = v[strings.LastIndexByte(v, '\\')+1:] // CORP\FS01
		if v, _, _ = strings.Cut(v, "."); inventory.Name(v) != "" {
			return v
		}
	}
	return ""
}

// readVersion reads
//
//	Operating system version = 6.0.6003
//	Architecture = x64
//	Build lab extended = 6003.20555.amd64fre.vistasp2_ldr.190703-1733
//
// For Windows 10 the version is 10.17763.
func readVersion(output string, m *inventory.Machine) {
	for line := range strings.Lines(output) {
		name, value, _ := strings.Cut(line, "=")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(name) {
		case "Operating system version":
			if build, ok := strings.CutPrefix(value, "10."); ok && strings.Count(value, ".") == 1 {
				value = "10.0." + build
			}
			if strings.Count(value, ".") >= 2 {
				m.Version = value
			}
		case "Architecture":
			m.Arch = value
		case "Build lab extended":
			if len(value) < 100 {
				m.BuildLab = value
			}
		}
	}
}

// readPrograms reads lines such as
//
//	Microsoft SQL Server 2008 R2 (64-bit)  [version 10.50.1600.1]  [installed on 2014/02/11]
//
// up to the updates of programs, which follow.
func readPrograms(h *host.Host, output string, from host.Source) {
	began := false
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "The following software are installed"):
			began = true
		case strings.HasPrefix(line, "The following updates are installed"):
			return
		case began && line != "":
			name, rest, _ := strings.Cut(line, "  [")
			version := ""
			if v, ok := strings.CutPrefix(rest, "version "); ok {
				version, _, _ = strings.Cut(v, "]")
			}
			inventory.SayProgram(h, name, version, "", from)
		}
	}
}

// readUpdates reads lines such as "KB4493730, Installed on: 2019/05/14".
func readUpdates(output string) (rows []evidence.UpdateRow) {
	for line := range strings.Lines(output) {
		id, on, _ := strings.Cut(strings.TrimSpace(line), ", Installed on: ")
		if strings.HasPrefix(id, "KB") {
			rows = append(rows, evidence.UpdateRow{ID: id, On: on, At: "plugin " + pluginUpdates})
		}
	}
	return rows
}
