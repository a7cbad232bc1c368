// Package fleet reads what Fleet (fleetdm.com) knows of Windows hosts, as its API and
// fleetctl give it.
package fleet

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/inventory"
	"github.com/oldguard/oldguard/internal/host"
)

const readerName = "fleet"

// Reader reads hosts of Fleet.
var Reader = evidence.Reader{
	Name: readerName,
	Doc: `Hosts of Fleet as JSON: what its API answers about one host or about many, and fleetctl get hosts --json.
Obtain it with: fleetctl get host NAME --json > host.json; or GET /api/v1/fleet/hosts?populate_software=true
It proves name, product, version (with the revision on Windows 10 and later), architecture and installed programs, as
of the day that Fleet last asked. It knows no updates: bring the result of osquery's table patches for that.`,
	Sniff: func(p evidence.Probe) bool {
		has := func(names ...string) bool { return inventory.HasKey(p.Text, names...) }
		return inventory.LooksJSON(p.Text) && has("os_version", "hostname") && (has("osquery_version") || has("platform"))
	},
	Read: read,
}

// fields are the properties of a host that are read:
// https://fleetdm.com/docs/rest-api/rest-api#get-host
var fields = []string{"hostname", "computer_name", "platform", "os_version", "cpu_type", "detail_updated_at", "software", "osquery_version"}

func read(_ context.Context, in evidence.Input, h *host.Host) ([]evidence.Input, error) {
	text, err := in.Text()
	if err != nil {
		return nil, err
	}
	found, cut := inventory.JSON(text)
	var hosts []inventory.Record
	others := 0
	keep := func(r inventory.Record) {
		switch p := r.Str("platform"); {
		case !r.Has("os_version"):
		case p != "" && p != "windows":
			others++
		default:
			hosts = append(hosts, r.Pick(fields...))
		}
	}
	for _, r := range found {
		list, isList := r.List("hosts")
		for _, e := range list {
			keep(e)
		}
		if !isList {
			keep(r)
			keep(r.Sub("host"))
			keep(r.Sub("spec")) // fleetctl get host
		}
	}
	if len(hosts) == 0 {
		if others > 0 {
			return nil, fmt.Errorf("%s holds hosts of Fleet, and none runs Windows", in.Name)
		}
		return nil, fmt.Errorf("%s holds no host of Fleet: nothing was read. %s", in.Name, cut)
	}
	if cut != "" {
		h.Gap(host.Gap{What: "hosts", From: host.Source{Reader: readerName, Input: in.Name}, Why: cut})
	}
	nested, err := inventory.Split(in, hosts, false, name)
	if nested != nil || err != nil {
		return nested, err
	}
	for _, r := range hosts {
		say(in, h, r)
	}
	return nil, nil
}

func name(r inventory.Record) string { return r.First("computer_name", "hostname") }

// version ends os_version: "Windows Server 2019 Datacenter 10.0.17763.4010", "Windows 11
// Enterprise 21H2 10.0.22000.856".
var version = regexp.MustCompile(`^(.*?)(?: (?:\d{4}|\d\dH\d))?(?: (\d+\.\d+\.\d+(?:\.\d+)?))?$`)

func say(in evidence.Input, h *host.Host, r inventory.Record) {
	from := host.Source{Reader: readerName, Input: in.Name, At: r.At, Taken: r.Time("detail_updated_at").Instant}
	m := inventory.Machine{Name: name(r), Arch: r.Str("cpu_type")}
	if v := r.Str("os_version"); len(v) < 200 {
		if parts := version.FindStringSubmatch(v); parts != nil {
			m.Product, m.Version = parts[1], parts[2]
			if m.Version == "" || isRelease(v) {
				m.Product = v // the year is the name: "Windows Server 2022"
			}
		}
	}
	m.Say(h, in.Rank, from)
	programs, _ := r.List("software")
	for _, p := range programs {
		if s := p.Str("source"); s == "" || s == "programs" {
			at := from
			at.At = p.At
			inventory.SayProgram(h, p.Str("name"), p.Str("version"), p.Str("vendor"), at)
		}
	}
}

func isRelease(s string) bool {
	_, year, ok := strings.Cut(s, "Windows Server ")
	return ok && len(year) == 4
}
