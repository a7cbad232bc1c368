// Package wazuh reads the inventory that Wazuh's agents collect (syscollector), as the
// Wazuh API gives it.
package wazuh

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/inventory"
	"github.com/oldguard/oldguard/internal/host"
)

const readerName = "wazuh"

// Reader reads answers of the Wazuh API.
var Reader = evidence.Reader{
	Name: readerName,
	Doc: `Answers of the Wazuh API about the inventory of agents, as JSON: /syscollector/ID/os, /hotfixes and /packages, the same below
/experimental for all agents, and /agents. Several answers may follow each other in one file.
Obtain it with: curl -k -H "Authorization: Bearer $TOKEN" "https://WAZUH:55000/syscollector/001/os" > os.json; likewise hotfixes
and packages?limit=100000. Files of one agent go into one folder: only the first names the machine.
They prove name, product, version and architecture, and name programs. The hotfixes are names of keys in the registry
without their state, so they prove no update installed: bring wmic qfe for that.`,
	Sniff: func(p evidence.Probe) bool {
		has := func(names ...string) bool { return inventory.HasKey(p.Text, names...) }
		return inventory.LooksJSON(p.Text) && has("affected_items") &&
			(has("hotfix") || has("os") && has("version") || has("name", "version", "agent_id"))
	},
	Read: read,
}

func read(_ context.Context, in evidence.Input, h *host.Host) ([]evidence.Input, error) {
	text, err := in.Text()
	if err != nil {
		return nil, err
	}
	found, cut := inventory.JSON(text)
	var items []inventory.Record
	total := 0
	for _, r := range found {
		if r.Has(agent) { // out of an answer that was about several agents
			items = append(items, r)
			continue
		}
		data := r.Sub("data")
		list, _ := data.List("affected_items")
		for _, e := range list {
			e.Set(agent, e.First("agent_id", "id"))
			items = append(items, e)
		}
		if n, ok := data.Int("total_affected_items"); ok {
			total += max(0, n-len(list))
		}
	}
	found = items
	items = slices.DeleteFunc(slices.Clone(items), foreign)
	if len(items) == 0 && len(found) > 0 {
		return nil, fmt.Errorf("%s holds an inventory of Wazuh, and nothing in it runs Windows", in.Name)
	}
	if len(items) == 0 {
		return nil, fmt.Errorf("%s holds no item of an inventory: nothing was read. %s", in.Name, cut)
	}
	if total > 0 || cut != "" {
		why := cut
		if total > 0 {
			why = fmt.Sprintf("the answer leaves out %d items", total)
		}
		h.Gap(host.Gap{
			What: "inventory", From: host.Source{Reader: readerName, Input: in.Name}, Why: why,
			Hint: "ask with a higher limit: ?limit=100000",
		})
	}
	nested, err := split(in, items)
	if nested != nil || err != nil {
		return nested, err
	}
	var hotfixes []evidence.UpdateRow
	for _, r := range items {
		scan := r.Sub("scan").Time("time")
		from := host.Source{Reader: readerName, Input: in.Name, At: r.At, Taken: scan.Instant}
		system := r.Sub("os")
		switch {
		case r.Has("hotfix"):
			hotfixes = append(hotfixes, evidence.UpdateRow{ID: r.Str("hotfix"), At: r.At})
		case !system.Empty():
			saySystem(in, h, r, system, from)
		case r.Has("name", "version"):
			inventory.SayProgram(h, r.Str("name"), r.Str("version"), r.Str("vendor"), from)
		}
	}
	// https://github.com/wazuh/wazuh, src/shared_modules/utils/packagesWindowsParserHelper.h,
	// getHotFixFromReg: the names of the keys below Component Based Servicing\Packages, and
	// from 4.10 on the history of Windows Update too.
	inventory.SayPackages(h, hotfixes, "Wazuh", in, readerName)
	return nil, nil
}

// agent is the name under which a record keeps its agent in a nested input.
const agent = "@agent"

// split gives one nested input for each agent. They begin as answers do, so that they are
// known by it.
func split(in evidence.Input, items []inventory.Record) ([]evidence.Input, error) {
	return inventory.SplitAs(in, items, false, func(r inventory.Record) string { return r.Str(agent) }, `{"data":{"affected_items":[]}}`+"\n")
}

// foreign reports whether an item is about another system than Windows.
func foreign(r inventory.Record) bool {
	system := r.Sub("os")
	p := system.Str("platform")
	return !system.Empty() && p != "windows" && (p != "" || !strings.Contains(system.Str("name"), "Windows"))
}

func saySystem(in evidence.Input, h *host.Host, r, system inventory.Record, from host.Source) {
	m := inventory.Machine{
		Name: r.First("hostname", "name"), Product: system.Str("name"), Version: system.Str("version"),
		Arch: r.First("architecture"),
	}
	// The build has the revision on Windows 10 and later: "17763.2686".
	if build := system.Str("build"); strings.Contains(build, ".") && strings.Count(m.Version, ".") < 3 {
		m.Version = system.Str("major") + "." + system.Str("minor") + "." + build
	}
	m.Say(h, in.Rank, from)
}
