package inventory

import (
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// Machine is what an inventory says about a machine and its system, as it writes it. Empty
// fields are not said.
type Machine struct {
	Name, Domain string
	Product      string // Microsoft® Windows Server® 2008 Standard
	Version      string // 6.0.6003, or with its revision 10.0.17763.2686
	Revision     string // where it stands alone: UBR
	ServicePack  string // CSDVersion, "Service Pack 2"
	Arch         string // of the system: "64-bit", "x64", "64 bits", "x86_64"
	// ProductType is Win32_OperatingSystem.ProductType and DomainRole that of
	// Win32_ComputerSystem, as numbers; SKU is OperatingSystemSKU.
	ProductType, DomainRole, SKU string
	ProductID, BuildLab          string
	Installed, Booted            time.Time
}

// The numbers of Win32_OperatingSystem.ProductType and Win32_ComputerSystem.DomainRole,
// and the names that .NET, and so Get-ComputerInfo, gives them:
// https://learn.microsoft.com/windows/win32/cimwin32prov/win32-operatingsystem and
// …/win32-computersystem; Microsoft.PowerShell.Commands.ProductType and DomainRole.
var (
	productTypes = map[string]struct {
		kind host.Installation
		role host.Role
	}{
		"1": {kind: host.Client}, "2": {host.Server, host.DomainController}, "3": {kind: host.Server},
		"WorkStation": {kind: host.Client}, "DomainController": {host.Server, host.DomainController}, "Server": {kind: host.Server},
	}
	domainRoles = map[string]host.Role{
		"0": host.Standalone, "1": host.Member, "2": host.Standalone, "3": host.Member, "4": host.DomainController, "5": host.DomainController,
		"StandaloneWorkstation": host.Standalone, "MemberWorkstation": host.Member, "StandaloneServer": host.Standalone,
		"MemberServer": host.Member, "BackupDomainController": host.DomainController, "PrimaryDomainController": host.DomainController,
	}
)

// skus gives the edition, as the registry's EditionID names it, for OperatingSystemSKU:
// the PRODUCT_… numbers of GetProductInfo,
// https://learn.microsoft.com/windows/win32/api/sysinfoapi/nf-sysinfoapi-getproductinfo
var skus = map[string]struct {
	edition string
	core    bool
}{
	"1": {"Ultimate", false}, "2": {"HomeBasic", false}, "3": {"HomePremium", false}, "4": {"Enterprise", false}, "6": {"Business", false},
	"7": {"ServerStandard", false}, "8": {"ServerDatacenter", false}, "9": {"ServerSBSStandard", false}, "10": {"ServerEnterprise", false},
	"11": {"Starter", false}, "12": {"ServerDatacenterCore", true}, "13": {"ServerStandardCore", true}, "14": {"ServerEnterpriseCore", true},
	"15": {"ServerEnterpriseIA64", false}, "17": {"ServerWeb", false}, "29": {"ServerWebCore", true}, "33": {"ServerWinFoundation", false},
	"36": {"ServerStandardV", false}, "37": {"ServerDatacenterV", false}, "38": {"ServerEnterpriseV", false},
	"39": {"ServerDatacenterVCore", true}, "40": {"ServerStandardVCore", true}, "41": {"ServerEnterpriseVCore", true}, "42": {"ServerHyperCore", true},
	"48": {"Professional", false}, "101": {"Core", false}, "125": {"EnterpriseS", false},
}

// servicePack ends the product names of some inventories, "Microsoft Windows Server 2008
// Standard Service Pack 2".
var servicePack = regexp.MustCompile(` (Service Pack \d)$`)

// Say says to h what the machine's values mean. What cannot be read is a gap.
func (m Machine) Say(h *host.Host, rank int, from host.Source) {
	h.Name.Say(Name(m.Name), rank, from)
	h.Domain.Say(Name(m.Domain), rank, from)
	h.ProductID.Say(m.ProductID, rank, from)
	h.BuildLab.Say(m.BuildLab, rank, from)
	if strings.Contains(m.Product, "Itanium") { // where Windows says no more than "64-bit" of itself
		h.Arch.Say(winver.IA64, rank, from)
	} else {
		h.Arch.Say(archOf(m.Arch), rank, from)
	}
	h.Installed.Say(m.Installed, rank, from)
	h.Booted.Say(m.Booted, rank, from)
	if sp := servicePack.FindStringSubmatch(m.Product); sp != nil && m.ServicePack == "" {
		m.Product, m.ServicePack = strings.TrimSuffix(m.Product, sp[0]), sp[1]
	}
	product := Product(m.Product)
	h.Product.Say(product, rank, from)
	sku := skus[m.SKU]
	if e := edition(product); e != "" {
		h.Edition.Say(e, rank, from)
	} else {
		h.Edition.Say(sku.edition, rank, from)
	}
	t := productTypes[m.ProductType]
	switch {
	case sku.core, strings.Contains(product, "Hyper-V Server"): // never had a desktop
		h.Installation.Say(host.ServerCore, rank, from)
	case t.kind != "":
		h.Installation.Say(t.kind, rank, from)
	case strings.Contains(product, "Windows Server"):
		h.Installation.Say(host.Server, rank, from)
	case strings.Contains(product, "Windows"):
		h.Installation.Say(host.Client, rank, from)
	}
	role := domainRoles[m.DomainRole]
	if role == "" {
		role = t.role
	}
	h.Role.Say(role, rank, from)
	m.sayVersion(h, rank, from)
}

func (m Machine) sayVersion(h *host.Host, rank int, from host.Source) {
	if m.Version == "" {
		if sp, err := winver.Parse(m.ServicePack); err == nil {
			h.ServicePack.Say(sp.ServicePack, rank, from)
		}
		return
	}
	v, err := winver.Parse(m.Version)
	if err != nil || !v.Build.Known() {
		why := "it names no build of Windows"
		if err != nil {
			why = err.Error()
		}
		h.Gap(host.Gap{What: "version", From: from, Why: why})
		return
	}
	if n, err := strconv.ParseUint(m.Revision, 10, 16); err == nil && n > 0 && !v.Build.HasRevision {
		v.Build.Revision, v.Build.HasRevision = uint32(n), true
	}
	h.Build.Say(v.Build, rank, from)
	h.ServicePack.Say(v.ServicePack, rank, from)
	if sp, err := winver.Parse(m.ServicePack); err == nil {
		h.ServicePack.Say(sp.ServicePack, rank, from)
	}
}

// Name drops what no name of a machine or a domain may hold: Microsoft's "Naming
// conventions in Active Directory for computers, domains, sites, and OUs".
func Name(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > 255 || strings.ContainsAny(s, " \t\\/:*?\"<>|,") || strings.ContainsFunc(s, unicode.IsControl) || strings.EqualFold(s, "localhost") {
		return ""
	}
	return s
}

var marks = strings.NewReplacer("(R)", "", "(r)", "", "®", "", "(TM)", "", "(tm)", "", "™", "", "\ufffd", "")

// Product gives a product name as Windows shows it, without trademark signs: "Microsoft
// Windows Server 2008 Standard". Anything but a Windows is nothing.
func Product(s string) string {
	s = strings.Join(strings.Fields(marks.Replace(s)), " ")
	if !strings.Contains(s, "Windows") || len(s) > 200 {
		return ""
	}
	if strings.HasPrefix(s, "Windows ") {
		s = "Microsoft " + s
	}
	return s
}

// releases are the words between "Windows" and the edition, the longer ones first.
var releases = []string{
	"Server 2008 R2", "Server 2012 R2", "Server 2003 R2", "Server 2003", "Server 2008", "Server 2012", "Server 2016", "Server 2019", "Server 2022", "Server 2025",
	"Vista", "8.1", "10", "11", "7", "8", "XP",
}

func edition(product string) string {
	for _, r := range releases {
		if _, e, ok := strings.Cut(product, "Windows "+r+" "); ok {
			return strings.TrimSpace(e)
		}
	}
	return ""
}

// archOf reads "64-bit", "64 bits", "64 位", "64ビット", "x64-based PC", "x86_64", "ARM 64-bit
// Processor", "32-bit".
func archOf(s string) winver.Arch {
	s = strings.ToLower(s)
	for _, a := range []struct {
		part string
		arch winver.Arch
	}{
		{"itanium", winver.IA64},
		{"ia64", winver.IA64},
		{"arm64", winver.ARM64},
		{"aarch64", winver.ARM64},
		{"arm 64", winver.ARM64},
		{"arm", winver.ARM},
		{"64", winver.AMD64},
		{"x86", winver.X86},
		{"i386", winver.X86},
		{"i686", winver.X86},
		{"32", winver.X86},
	} {
		if strings.Contains(s, a.part) {
			return a.arch
		}
	}
	return winver.ArchUnknown
}

// Time is a moment as an inventory writes it.
type Time struct {
	// Wall is the clock on the wall of the machine, in UTC fields; zero if it is not told.
	Wall time.Time
	// Instant is the moment; zero if no zone is told.
	Instant time.Time
}

// ReadTime reads a CIM datetime (20260113091500.500000+060), the JSON of PowerShell 5
// ("/Date(1768292100000)/", an instant), and ISO 8601 with a zone or without.
func ReadTime(s string) (t Time) {
	s = strings.TrimSpace(s)
	if ms, ok := strings.CutPrefix(s, "/Date("); ok {
		ms, _, _ = strings.Cut(ms, ")")
		if n, err := strconv.ParseInt(ms, 10, 64); err == nil && n > 0 && n < 1<<43 {
			t.Instant = time.UnixMilli(n).UTC()
		}
		return t
	}
	if len(s) == len("20260113091500.500000+060") && s[14] == '.' && (s[21] == '+' || s[21] == '-') {
		wall, err := time.ParseInLocation("20060102150405", s[:14], time.UTC)
		zone, zerr := strconv.Atoi(s[21:])
		if err == nil && zerr == nil {
			t.Wall, t.Instant = wall, wall.Add(-time.Duration(zone)*time.Minute)
		}
		return t
	}
	if wall, err := time.Parse(time.RFC3339, s); err == nil {
		_, zone := wall.Zone()
		t.Instant = wall.UTC().Truncate(time.Second)
		if !strings.HasSuffix(s, "Z") { // a moment in UTC, not a clock on a wall
			t.Wall = t.Instant.Add(time.Duration(zone) * time.Second)
		}
		return t
	}
	if wall, err := time.ParseInLocation("2006-01-02T15:04:05", s, time.UTC); err == nil {
		t.Wall = wall.Truncate(time.Second)
	}
	return t
}

// In gives the clock on the wall where it is not told, from the instant and the offset of
// the machine's zone in minutes, as CurrentTimeZone has it.
func (t Time) In(minutes string) time.Time {
	if n, err := strconv.Atoi(minutes); t.Wall.IsZero() && !t.Instant.IsZero() && err == nil && n > -24*60 && n < 24*60 {
		return t.Instant.Add(time.Duration(n) * time.Minute)
	}
	return t.Wall
}

// maxPrograms bounds the programs of one machine; a developer's has a thousand.
const maxPrograms = 20_000

// SayProgram adds a program that is installed. Names are cut to what people can read.
func SayProgram(h *host.Host, name, version, publisher string, from host.Source) {
	if name = short(name); name == "" || len(h.Programs) >= maxPrograms {
		return
	}
	h.Programs = append(h.Programs, host.Program{Name: name, Version: short(version), Publisher: short(publisher), From: from})
}

func short(s string) string {
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s))
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "") + "…"
	}
	return s
}

// SayPackages adds updates of which a source knows the key in the registry alone, and not
// the state: what was tried and rolled back has a key too, as ESU updates without a licence
// do. They are packages of unknown state, and the gap says what would tell.
func SayPackages(h *host.Host, rows []evidence.UpdateRow, who string, in evidence.Input, reader string) {
	n := 0
	for _, r := range rows {
		kb, ok := evidence.UpdateID(r.ID)
		if !ok {
			continue
		}
		n++
		on, _ := evidence.InstallDate(r.On, evidence.OrderUnknown)
		h.Packages = append(h.Packages, host.Package{
			Name: r.ID, KB: kb, Installed: on,
			From: host.Source{Reader: reader, Input: in.Name, At: r.At},
		})
	}
	if n == 0 {
		return
	}
	h.Gap(host.Gap{
		What: "updates", From: host.Source{Reader: reader, Input: in.Name},
		Why:  who + " names " + evidence.Count(n, "update", "updates") + " by their keys in the registry, whatever their state: what was rolled back is among them",
		Hint: evidence.UpdatesHint,
	})
}
