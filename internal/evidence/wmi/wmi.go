// Package wmi reads instances of the WMI classes Win32_OperatingSystem,
// Win32_ComputerSystem, Win32_Product, Win32_Service and Win32_Process, with Win32_QuickFixEngineering beside them, as
// JSON, CSV and lists of properties, from wmic and from PowerShell. The names of
// properties are the same in every language.
//
// Lists of Win32_QuickFixEngineering alone are for the readers wmicqfe and hotfix.
package wmi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/console"
	"github.com/oldguard/oldguard/internal/evidence/inventory"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

const readerName = "wmi"

// Reader reads instances of WMI classes.
var Reader = evidence.Reader{
	Name: readerName,
	Doc: `The WMI classes Win32_OperatingSystem, Win32_ComputerSystem, Win32_Product, Win32_Service and Win32_Process, as wmic
prints them with /format:csv or /format:list, and as PowerShell's Get-WmiObject and Get-CimInstance give them through ConvertTo-Json, Export-Csv or Format-List.
Obtain it with: wmic os get /format:csv > os.csv; wmic computersystem get /format:csv > computersystem.csv
They prove product, version, service pack, name, domain and role, and when they were asked. Win32_Product names
programs that Windows Installer installed, and only those; asking it makes Windows check each of them, which takes
long and can start repairs. Win32_Service and Win32_Process name services and processes, and which service was in which. Also read is CIM_DataFile with
Name and Version of files in System32, as the collector asks for it.`,
	Sniff: sniff,
	Read:  read,
}

type class uint8

const (
	other class = iota
	quickFix
	operatingSystem
	computerSystem
	product
	service
	process
	dataFile
)

// systemOnly are properties that Win32_OperatingSystem has and Win32_BIOS, which has a
// BuildNumber too, has not:
// https://learn.microsoft.com/windows/win32/cimwin32prov/win32-operatingsystem
var systemOnly = []string{"OSArchitecture", "CSDVersion", "OperatingSystemSKU", "ServicePackMajorVersion", "LastBootUpTime", "ProductType", "SystemDirectory"}

// classOf tells the class by what names it has, which is all that a selection of
// properties leaves.
func classOf(has func(...string) bool) class {
	switch {
	case has(evidence.ColumnID):
		return quickFix
	case has("BuildNumber"), has("Version", "Caption"):
		for _, p := range systemOnly {
			if has(p) {
				return operatingSystem
			}
		}
	}
	switch {
	case has("DomainRole"), has("PartOfDomain", "Name"), has("Domain", "Name", "TotalPhysicalMemory"):
		return computerSystem
	case has("Name", "Version", "IdentifyingNumber"), has("Name", "Version", "Vendor"):
		return product
	case has("Name", "StartMode"), has("Name", "PathName", "State"):
		return service
	case has("Name", "ProcessId"):
		return process
	}
	return other
}

// isWmicProduct knows the header of: wmic product get name,version /format:csv
func isWmicProduct(names []string) bool {
	return len(names) == 3 && inventory.Named(names, "Node", "Name", "Version") && names[0] == "Node"
}

func sniff(p evidence.Probe) bool {
	if inventory.LooksJSON(p.Text) {
		c := classOf(func(names ...string) bool {
			// An update beside the system does not make it a list of updates.
			return names[0] != evidence.ColumnID && inventory.HasKey(p.Text, names...)
		})
		return c != other
	}
	lines := evidence.Lines(p.Text)
	if _, _, ok := inventory.Header(lines, isOurs); ok {
		return true
	}
	for _, sep := range []byte{'=', ':'} {
		for _, r := range inventory.Properties(p.Text, sep) {
			if c := classOf(r.Has); c != other && c != quickFix || c == other && kindOf(r) == dataFile {
				return true
			}
		}
	}
	return false
}

func isOurs(names []string) bool {
	c := classOf(func(want ...string) bool { return inventory.Named(names, want...) })
	return c != other && c != quickFix && !inventory.Named(names, "AssetName") || isWmicProduct(names)
}

// fields are the properties that are read.
var fields = []string{
	"Node", "CSName", "PSComputerName", "__SERVER", "SystemName", "Name", "DNSHostName", "Domain", "Workgroup", "DomainRole", "PartOfDomain", "SystemType",
	"Caption", "Version", "BuildNumber", "CSDVersion", "ServicePackMajorVersion", "OSArchitecture", "ProductType", "OperatingSystemSKU",
	"SystemDirectory", "TotalPhysicalMemory", "SerialNumber", "InstallDate", "LastBootUpTime", "LocalDateTime", "CurrentTimeZone", "IdentifyingNumber", "Vendor",
	"DisplayName", "PathName", "ProcessId", "StartMode", "State", "ServiceType",
	evidence.ColumnID, evidence.ColumnPack, evidence.ColumnOn,
}

func read(_ context.Context, in evidence.Input, h *host.Host) ([]evidence.Input, error) {
	text, err := in.Text()
	if err != nil {
		return nil, err
	}
	if parts := console.Parts(in, text); parts != nil {
		return parts, nil
	}
	found, cut := parse(text, in, h)
	var records []inventory.Record
	for _, r := range found {
		if p := r.Pick(fields...); kindOf(p) != other {
			records = append(records, p)
		}
	}
	if len(records) == 0 {
		if cut != "" {
			return nil, errors.New(cut)
		}
		return nil, fmt.Errorf("%s has no instance of a WMI class that is known", in.Name)
	}
	if k := kindOf(records[len(records)-1]); cut != "" && (k == service || k == process) {
		h.Gap(host.Gap{What: "entries", From: host.Source{Reader: readerName, Input: in.Name}, Why: cut + "; the last entry was left out, and what is behind it is missing"})
		records = records[:len(records)-1]
	}
	nested, err := inventory.Split(in, records, cut != "", machineOf)
	if nested != nil || err != nil {
		return nested, err
	}
	updates := evidence.UpdateList{Node: "Source", Usual: evidence.MonthFirst, Cut: cut}
	listed := false
	folder := running(records, h, host.Source{Reader: readerName, Input: in.Name})
	for _, r := range records {
		from := host.Source{Reader: readerName, Input: in.Name, At: r.At}
		switch kindOf(r) {
		case quickFix:
			listed = true
			row := evidence.UpdateRow{At: r.At}
			for _, name := range []string{evidence.ColumnID, evidence.ColumnPack, evidence.ColumnOn} {
				row.Set(name, r.Str(name))
			}
			updates.Rows = append(updates.Rows, row)
		case operatingSystem:
			saySystem(r, in, h, from)
		case computerSystem:
			inventory.Machine{
				Name: r.First("DNSHostName", "Name"), Domain: r.First("Domain", "Workgroup"),
				Arch: r.Str("SystemType"), DomainRole: r.Str("DomainRole"),
			}.Say(h, in.Rank, from)
		case product:
			h.Name.Say(inventory.Name(machineOf(r)), in.Rank, from)
			inventory.SayProgram(h, r.Str("Name"), r.Str("Version"), r.Str("Vendor"), from)
		case service:
			sayService(r, h, from)
		case process:
			if pid, ok := r.Int("ProcessId"); ok && pid > 0 && len(h.Processes) < maxProcesses {
				h.Processes = append(h.Processes, host.Process{PID: uint32(pid), Image: plain(r.Str("Name")), From: from}) //nolint:gosec // it is above 0
			}
		case dataFile:
			sayFile(r, folder, h, from)
		case other:
		}
	}
	if listed {
		_, err = updates.Say(h, in, readerName)
	}
	return nil, err
}

func parse(text string, in evidence.Input, h *host.Host) (records []inventory.Record, cut string) {
	if inventory.LooksJSON(text) {
		return inventory.JSON(text)
	}
	if _, _, ok := inventory.Header(evidence.Lines(text), isOurs); ok {
		rows, bad, within := inventory.CSV(text, isOurs)
		if bad > 0 {
			h.Gap(host.Gap{
				What: "entries", From: host.Source{Reader: readerName, Input: in.Name},
				Why:  evidence.Count(bad, "line has", "lines have") + " more or fewer values than the header, as commas in names make with wmic",
				Hint: "PowerShell quotes: Get-WmiObject Win32_Product | Export-Csv products.csv",
			})
		}
		if within {
			cut = "the file ends within a line"
		}
		return rows, cut
	}
	if !evidence.Ended(text) {
		cut = "the file ends within a line"
	}
	for _, sep := range []byte{'=', ':'} {
		records = inventory.Properties(text, sep)
		for _, r := range records {
			if classOf(r.Has) != other || kindOf(r) == dataFile {
				return records, cut
			}
		}
	}
	return nil, cut
}

// kindOf is the class of a record that was read.
func kindOf(r inventory.Record) class {
	if c := classOf(r.Has); c != other {
		return c
	}
	if r.Str("Caption") != "" && r.Str("Version") != "" && inventory.Product(r.Str("Caption")) != "" {
		return operatingSystem
	}
	if folder, _ := windowsFile(r); folder != "" {
		return dataFile
	}
	if r.Has("Node", "Name", "Version") && !r.Has("Caption") {
		return product
	}
	return other
}

// windowsFile gives the Windows folder, in lower case, and the name within it of a file of which a
// record of CIM_DataFile states the version: https://learn.microsoft.com/windows/win32/cimwin32prov/cim-datafile,
// read 2026-11-25. Of others nobody has a use, and both are empty.
func windowsFile(r inventory.Record) (folder, name string) {
	full := plain(r.Str("Name"))
	if len(full) < len(`c:\w\x`) || full[1:3] != `:\` || !r.Has("Version") {
		return "", ""
	}
	folder, name, _ = strings.Cut(full[3:], `\`)
	if len(name) >= maxFileName || !strings.HasPrefix(strings.ToLower(name), `system32\`) {
		return "", ""
	}
	return strings.ToLower(full[:3] + folder), name
}

// running gives the Windows folder whose files a listing is taken to be of: the one that the system
// itself states, or else the only one. A second Windows on the machine, a mounted disk and a backup have
// such folders too, and their files say nothing of what runs. Where nothing tells, that is a gap.
func running(records []inventory.Record, h *host.Host, from host.Source) string {
	var folders, stated []string
	for _, r := range records {
		switch kindOf(r) {
		case dataFile:
			folder, _ := windowsFile(r)
			folders = append(folders, folder)
		case operatingSystem:
			if folder, ok := strings.CutSuffix(strings.ToLower(plain(r.Str("SystemDirectory"))), `\system32`); ok {
				stated = append(stated, folder)
			}
		case other, quickFix, computerSystem, product, service, process:
		}
	}
	slices.Sort(folders)
	slices.Sort(stated)
	folders, stated = slices.Compact(folders), slices.Compact(stated)
	switch {
	case len(folders) == 0:
	case len(stated) == 1 && slices.Contains(folders, stated[0]):
		return stated[0]
	case len(stated) == 0 && len(folders) == 1:
		return folders[0]
	default:
		why := "it has files of " + evidence.Count(len(folders), "Windows folder", "Windows folders") + ", and nothing tells which one runs: none was taken"
		if len(stated) == 1 {
			why = "it has no file of the Windows folder that runs: none was taken"
		}
		h.Gap(host.Gap{What: "file version", From: from, Why: why, Hint: "list the files of the Windows folder that runs, which is %SystemRoot%"})
	}
	return ""
}

// sayFile says the version of a file of Windows, if it is in the folder that runs.
func sayFile(r inventory.Record, running string, h *host.Host, from host.Source) {
	folder, name := windowsFile(r)
	v, err := winver.Parse(plain(r.Str("Version")))
	if folder != running || err != nil || !v.Build.HasRevision || len(h.Files) >= maxFiles {
		return
	}
	h.Files = append(h.Files, host.File{Name: `System32` + name[len(`system32`):], FileVersion: host.FileVersion{Version: v.Build}, From: from})
}

func machineOf(r inventory.Record) string {
	name := r.First("CSName", "Node", "PSComputerName", "__SERVER", "SystemName")
	if name == "" && kindOf(r) == computerSystem {
		name = r.First("DNSHostName", "Name")
	}
	return name
}

// Bounds of what is kept.
const (
	maxServices  = 20_000
	maxProcesses = 50_000
	maxFiles     = 1000
	maxFileName  = 260
)

// starts are the values of Win32_Service.StartMode, which no language changes, as those of State:
// https://learn.microsoft.com/windows/win32/cimwin32prov/win32-service, read 2026-11-25.
var starts = map[string]host.Start{
	"boot": host.StartBoot, "system": host.StartSystem, "auto": host.StartAuto, "manual": host.StartManual, "disabled": host.StartDisabled,
}

func sayService(r inventory.Record, h *host.Host, from host.Source) {
	s := host.Service{Name: plain(r.Str("Name")), Display: plain(r.Str("DisplayName")), Image: plain(r.Str("PathName")), Start: starts[strings.ToLower(r.Str("StartMode"))], From: from}
	if s.Name == "" || len(h.Services) >= maxServices || strings.HasSuffix(r.Str("ServiceType"), "Driver") {
		return
	}
	switch strings.ToLower(r.Str("State")) {
	case "stopped":
		s.Running = host.No
	case "running", "paused", "start pending", "stop pending", "continue pending", "pause pending":
		s.Running = host.Yes
	}
	if pid, ok := r.Int("ProcessId"); ok && pid > 0 {
		s.PID = uint32(pid) //nolint:gosec // it is above 0
	}
	h.Services = append(h.Services, s)
}

// plain undoes what wmic does to a value in its lists, and drops characters that steer a
// terminal.
func plain(s string) string {
	return strings.TrimSpace(strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return -1
		}
		return c
	}, strings.ReplaceAll(s, "&amp;", "&")))
}

func saySystem(r inventory.Record, in evidence.Input, h *host.Host, from host.Source) {
	from.Taken = r.Time("LocalDateTime").Instant
	m := inventory.Machine{
		Name: machineOf(r), Product: r.Str("Caption"), Version: r.Str("Version"), ServicePack: r.Str("CSDVersion"),
		Arch: r.Str("OSArchitecture"), ProductType: r.Str("ProductType"), SKU: r.Str("OperatingSystemSKU"),
		Installed: r.Time("InstallDate").Wall, Booted: r.Time("LastBootUpTime").In(r.Str("CurrentTimeZone")),
	}
	if m.Version == "" {
		m.Version = r.Str("BuildNumber")
	}
	if id := r.Str("SerialNumber"); len(id) == len("92573-082-2500115-76417") && strings.Count(id, "-") == 3 {
		m.ProductID = id // the class's name for it
	}
	if n, ok := r.Int("ServicePackMajorVersion"); ok && m.ServicePack == "" {
		if n == 0 {
			h.ServicePack.Say(host.NoServicePack, in.Rank, from)
		} else if v, err := winver.Parse("Service Pack " + r.Str("ServicePackMajorVersion")); err == nil {
			h.ServicePack.Say(v.ServicePack, in.Rank, from)
		}
	}
	m.Say(h, in.Rank, from)
}
