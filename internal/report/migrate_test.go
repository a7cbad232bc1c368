package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/plan"
	"github.com/oldguard/oldguard/winver"
)

const migrationSchema = "../../docs/schema/migration-1.json"

// migrations are of a machine that can be upgraded, one of 32 bits with roles, one in a
// cluster, and one of which nothing is known.
func migrations(t *testing.T, name string) *MigrationDocument {
	t.Helper()
	c, err := catalog.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	on, src := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), host.Source{Reader: "test", Input: "fs01.txt"}
	by := catalog.DateOf(on) + 200
	var list []*plan.Migration
	for i, m := range []struct {
		build string
		arch  winver.Arch
		roles []string
	}{{"6.0.6002", winver.AMD64, nil}, {"6.0.6002", winver.X86, []string{"domain controller", "DHCP server"}}, {"6.3.9600", winver.AMD64, []string{"cluster node"}}, {"", winver.ArchUnknown, nil}} {
		h := &host.Host{}
		if m.build != "" {
			h.Name.Say(strings.Repeat(name, i+1), 1, src)
			v, err := winver.Parse(m.build)
			if err != nil {
				t.Fatal(err)
			}
			h.Build.Say(v.Build, 1, src)
			h.Product.Say("Windows Server Standard", 1, src)
			h.Installation.Say(host.Server, 1, src)
			h.Arch.Say(m.arch, 1, src)
			h.ServicesWhole.Say(true, 1, src)
		}
		for _, r := range m.roles {
			h.Roles.Add(r, src)
		}
		list = append(list, plan.Migrate(h, c, plan.MigrateOptions{By: by}, on))
	}
	return NewMigration(list, catalog.DateOf(on), by)
}

func TestMigrationSchema(t *testing.T) {
	root := readSchema(t, migrationSchema)
	var b bytes.Buffer
	if err := migrationJSON(&b, migrations(t, "FS"), Options{}); err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(b.Bytes(), &v); err != nil {
		t.Fatal(err)
	}
	c := checker{root: root}
	c.whole("$", root, v)
	for _, e := range c.errors {
		t.Error(e)
	}
	text, err := os.ReadFile(migrationSchema)
	if err != nil {
		t.Fatal(err)
	}
	var visit func(reflect.Type)
	visit = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice:
			visit(typ.Elem())
		case reflect.Struct:
			for f := range typ.Fields() {
				if name := f.Tag.Get("json"); name != "" && !bytes.Contains(text, []byte(`"`+strings.Split(name, ",")[0]+`": {`)) {
					t.Errorf("%s.%s: the schema has no %q", typ.Name(), f.Name, name)
				}
				visit(f.Type)
			}
		default:
		}
	}
	visit(reflect.TypeFor[MigrationDocument]())
}

func TestMigrationHTML(t *testing.T) {
	var b bytes.Buffer
	if err := migrationHTML(&b, migrations(t, "<b>\x1b[1m"), Options{}); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	if strings.Contains(page, "<b>\x1b") || strings.Contains(page, "\x1b") {
		t.Error("a name from evidence is markup, or acts on a terminal")
	}
	for _, want := range []string{"2008 SP2 &gt; 2012 &gt; 2016 &gt; 2025", "wave exploited", "No upgrade in place leads from 32-bit", "Cluster OS Rolling Upgrade", "dfsrmig", "No plan:"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	for _, outside := range []string{"<script", "http-equiv=\"refresh\"", "src=", "<link"} {
		if strings.Contains(page, outside) {
			t.Errorf("the page holds %q", outside)
		}
	}
}

func TestMigrationText(t *testing.T) {
	var b bytes.Buffer
	if err := migrationText(&b, migrations(t, "F\x1b[2J"), Options{Width: 80}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "\x1b") {
		t.Error("text acts on a terminal")
	}
	for _, want := range []string{"Upgrade to Windows Server 2012 standard.", "Updates: none: the last programme", "servermanagercmd"} {
		if got := strings.Contains(b.String(), want); got != (want != "servermanagercmd") {
			t.Errorf("%q: %v", want, got)
		}
	}
}

// TestMigrationTies: who uses whom stands beside the waves, and what follows for who moves
// them.
func TestMigrationTies(t *testing.T) {
	c, err := catalog.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	src := host.Source{Reader: "test", Input: "a.txt"}
	var list []*plan.Migration
	for i, name := range []string{"FS01", "<i>APP03\x1b[1m", "NEW05"} {
		h := talker{fileServer(name, 0), "10.1.0.10"}
		h.Addresses = []host.Address{{Addr: netip.AddrFrom4([4]byte{10, 1, 0, byte(20 + i)}), Bits: 24, From: src}}
		if name == "NEW05" {
			h.Build = host.Fact[winver.Build]{}
			h.Build.Say(winver.Build{Major: 10, Number: 26100}, 1, src)
			h.Product = host.Fact[string]{}
			h.Product.Say("Microsoft Windows Server 2025 Standard", 1, src)
		}
		h.talks("10.1.0.21", "10.1.0.20", host.TCP, 445, 3, 0, 1000)
		h.talks("10.1.0.22", "10.1.0.20", host.TCP, 1433, 3, 0, 1000)
		list = append(list, plan.Migrate(h.Host, c, plan.MigrateOptions{}, isolatedOn))
	}
	d := NewMigration(list, catalog.DateOf(isolatedOn), 0)
	for i, want := range []string{"in the same wave: move them together", "not in the same wave: keep the way between them open"} {
		if i >= len(d.Ties) || !strings.HasPrefix(d.Ties[i].Follows(), want) {
			t.Errorf("tie %d does not follow %q: %+v", i, want, d.Ties)
		}
	}
	var text, page bytes.Buffer
	if err := errors.Join(migrationText(&text, d, Options{}), migrationHTML(&page, d, Options{})); err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]string{"text": text.String(), "page": page.String()} {
		if strings.Contains(got, "\x1b") || name == "page" && strings.Contains(got, "<i>") {
			t.Errorf("%s lets a name act", name)
		}
		for _, want := range []string{"APP03", "SQL Server", "move them together, or keep the way between them open"} {
			if !strings.Contains(strings.Join(strings.Fields(got), " "), want) {
				t.Errorf("%s does not say %q", name, want)
			}
		}
	}
	var b bytes.Buffer
	if err := migrationJSON(&b, d, Options{}); err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(b.Bytes(), &v); err != nil {
		t.Fatal(err)
	}
	root := readSchema(t, migrationSchema)
	c2 := checker{root: root}
	c2.whole("$", root, v)
	for _, e := range c2.errors {
		t.Error(e)
	}
}
