package winver

import "fmt"

// Line is what a build number stands for: a release at one service pack, and the products
// that were made from it. A client and a server bear the same number, and no number tells
// which of the two a machine is; embedded editions are not named. Lines are comparable
// with ==.
type Line struct {
	Major, Minor uint16
	// First and Last are the build numbers of this line, both inclusive. They differ for
	// one line only: 6002 and 6003.
	First, Last uint32
	// Client and Server are product names, empty where there is no such product.
	Client, Server string
	// ServicePack is 1 and up, NoServicePack, or 0 where the build number does not tell
	// (before Vista a service pack did not change it).
	ServicePack int

	rtm uint32 // revision as released; 0 where this package has no use for it
}

// Sources, read 2026-11-22: names and numbers from Microsoft's lifecycle data
// (https://learn.microsoft.com/lifecycle/products/, MicrosoftDocs/lifecycle-data-pr) and
// https://endoflife.date/windows, https://endoflife.date/windows-server; the revisions from
// the BuildLabEx strings of the released media, quoted beside them. In order of number.
var lines = [...]Line{
	{5, 1, 2600, 2600, "Windows XP", "", 0, 0},
	{5, 2, 3790, 3790, "Windows XP x64", "Windows Server 2003", 0, 0}, // 2003 R2 as well
	{6, 0, 6000, 6000, "Windows Vista", "", NoServicePack, 16386},     // 6000.16386.x86fre.vista_rtm.061101-2205
	// Server 2008 was released as SP1. 6001.18000.x86fre.longhorn_rtm.080118-1840
	{6, 0, 6001, 6001, "Windows Vista", "Windows Server 2008", 1, 18000},
	// 6003 is 6002 with KB4489887 (2019-03-19), KB4493471 or KB4493458 (2019-04-09) or later:
	// https://support.microsoft.com/topic/1335e4d4-c155-52eb-4a45-b85bd1909ca8 (KB4495374),
	// https://betawiki.net/wiki/Windows_Server_2008_build_6003. 6002.18005.x86fre.lh_sp2rtm.090410-1830
	{6, 0, 6002, 6003, "Windows Vista", "Windows Server 2008", 2, 18005},
	{6, 1, 7600, 7600, "Windows 7", "Windows Server 2008 R2", NoServicePack, 16385}, // 7600.16385.amd64fre.win7_rtm.090713-1255
	{6, 1, 7601, 7601, "Windows 7", "Windows Server 2008 R2", 1, 17514},             // 7601.17514.amd64fre.win7sp1_rtm.101119-1850
	{6, 2, 9200, 9200, "Windows 8", "Windows Server 2012", NoServicePack, 0},
	{6, 3, 9600, 9600, "Windows 8.1", "Windows Server 2012 R2", NoServicePack, 0},
	{10, 0, 10240, 10240, "Windows 10, version 1507", "", NoServicePack, 0},
	{10, 0, 10586, 10586, "Windows 10, version 1511", "", NoServicePack, 0},
	{10, 0, 14393, 14393, "Windows 10, version 1607", "Windows Server 2016", NoServicePack, 0},
	{10, 0, 15063, 15063, "Windows 10, version 1703", "", NoServicePack, 0},
	{10, 0, 16299, 16299, "Windows 10, version 1709", "Windows Server, version 1709", NoServicePack, 0},
	{10, 0, 17134, 17134, "Windows 10, version 1803", "Windows Server, version 1803", NoServicePack, 0},
	{10, 0, 17763, 17763, "Windows 10, version 1809", "Windows Server 2019", NoServicePack, 0}, // Windows Server, version 1809 as well
	{10, 0, 18362, 18362, "Windows 10, version 1903", "Windows Server, version 1903", NoServicePack, 0},
	{10, 0, 18363, 18363, "Windows 10, version 1909", "Windows Server, version 1909", NoServicePack, 0},
	{10, 0, 19041, 19041, "Windows 10, version 2004", "Windows Server, version 2004", NoServicePack, 0},
	{10, 0, 19042, 19042, "Windows 10, version 20H2", "Windows Server, version 20H2", NoServicePack, 0},
	{10, 0, 19043, 19043, "Windows 10, version 21H1", "", NoServicePack, 0},
	{10, 0, 19044, 19044, "Windows 10, version 21H2", "", NoServicePack, 0},
	{10, 0, 19045, 19045, "Windows 10, version 22H2", "", NoServicePack, 0},
	{10, 0, 20348, 20348, "", "Windows Server 2022", NoServicePack, 0},
	{10, 0, 22000, 22000, "Windows 11, version 21H2", "", NoServicePack, 0},
	{10, 0, 22621, 22621, "Windows 11, version 22H2", "", NoServicePack, 0},
	{10, 0, 22631, 22631, "Windows 11, version 23H2", "", NoServicePack, 0},
	{10, 0, 25398, 25398, "", "Windows Server, version 23H2", NoServicePack, 0},
	{10, 0, 26100, 26100, "Windows 11, version 24H2", "Windows Server 2025", NoServicePack, 0},
	{10, 0, 26200, 26200, "Windows 11, version 25H2", "", NoServicePack, 0},
	{10, 0, 28000, 28000, "Windows 11, version 26H1", "", NoServicePack, 0},
}

// firstWindows10 is the number from which on every build is 10.0, whether this table has
// it or not: Windows 10 as released was 10240, and Windows 11 is 10.0 still.
const firstWindows10 = 10240

// family gives the major and minor version that a build number implies.
func family(number uint32) (major, minor uint16, ok bool) {
	if number >= firstWindows10 {
		return 10, 0, true
	}
	for i := range lines {
		if l := &lines[i]; l.First <= number && number <= l.Last {
			return l.Major, l.Minor, true
		}
	}
	return 0, 0, false
}

// Line gives the line that b belongs to. It is the zero Line for a build that was never
// released (betas, insider builds), is not known to this package, or is before XP.
func (b Build) Line() Line {
	for i := range lines {
		if l := &lines[i]; l.Major == b.Major && l.Minor == b.Minor && l.First <= b.Number && b.Number <= l.Last {
			return *l
		}
	}
	return Line{}
}

// Known reports whether l is a line at all.
func (l Line) Known() bool { return l != Line{} }

// String names the products and the service pack, as in "Windows Vista / Windows Server
// 2008, Service Pack 2". The zero value is the empty string.
func (l Line) String() string {
	name := l.Client + l.Server
	if l.Client != "" && l.Server != "" {
		name = l.Client + " / " + l.Server
	}
	if l.ServicePack > 0 {
		name += fmt.Sprintf(", Service Pack %d", l.ServicePack)
	}
	return name
}

// SameProduct reports whether b and c are one release at one service pack, whatever their
// revisions: 6.0.6002 and 6.0.6003 are, 6.0.6001 and 6.0.6002 are not. Builds this package
// does not know are the same product if they differ in revision only. Nothing is the same
// product as an unknown build.
//
// It says nothing about updates: Windows 10 versions 2004 to 22H2 (19041 to 19045) are five
// products, each with its own end of support, that install the same updates.
func (b Build) SameProduct(c Build) bool {
	if !b.Known() || !c.Known() {
		return false
	}
	if l := b.Line(); l.Known() {
		return l == c.Line()
	}
	return b.Base() == c.Base()
}

// IsServer2008SP2 reports whether b is the build of Windows Server 2008 SP2, which is that
// of Windows Vista SP2 too: 6.0.6002 or 6.0.6003. Where this package cannot be used, test
// for major 6, minor 0 and a build number of at least 6002; there is no 6004, the last
// update having appeared on 2026-01-13 as 6.0.6003.23717 (KB5073697, CVE-2026-0386).
func IsServer2008SP2(b Build) bool {
	return b.SameProduct(Build{Major: 6, Minor: 0, Number: 6002})
}
