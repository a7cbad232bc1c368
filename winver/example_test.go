package winver_test

import (
	"fmt"

	"github.com/oldguard/oldguard/winver"
)

// An installer that asks for exactly 6002 refuses every Windows Server 2008 SP2 that was
// patched after March 2019.
func Example_exactMatch() {
	for _, text := range []string{"6.0.6001", "6.0.6002", "6.0.6003"} {
		v, err := winver.Parse(text)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(text, "exact match:", text == "6.0.6002", "- right:", winver.IsServer2008SP2(v.Build))
	}
	// Output:
	// 6.0.6001 exact match: false - right: false
	// 6.0.6002 exact match: true - right: true
	// 6.0.6003 exact match: false - right: true
}

// A monitoring tool that looks a build number up in its own list finds no name for 6003.
func Example_lookup() {
	names := map[uint32]string{6001: "2008 SP1", 6002: "2008 SP2", 7601: "2008 R2 SP1"}
	b := winver.Build{Major: 6, Minor: 0, Number: 6003}
	fmt.Printf("own list: %q\n", names[b.Number])
	fmt.Printf("Line:     %q\n", b.Line())
	// Output:
	// own list: ""
	// Line:     "Windows Vista / Windows Server 2008, Service Pack 2"
}

// A scanner that compares the last number alone takes the newer machine for the older
// one: revisions began again with 6003.
func Example_revision() {
	march, err := winver.Parse("6.0.6002.24566") // 2019-03-12
	if err != nil {
		fmt.Println(err)
		return
	}
	april, err := winver.Parse("6.0.6003.20489") // 2019-04-09
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("revision alone:", april.Build.Revision > march.Build.Revision)
	fmt.Println("right:         ", april.Build.Compare(march.Build) > 0)
	// Output:
	// revision alone: false
	// right:          true
}

// A range that begins at 6.0.6003.0, as vulnerability records since November 2024 have it,
// leaves out 6002, which lacks all that 6003 lacks and more.
func Example_vulnerableRange() {
	first := winver.Build{Major: 6, Number: 6003, HasRevision: true}
	fixed := winver.Build{Major: 6, Number: 6003, Revision: 23717, HasRevision: true}
	host := winver.Build{Major: 6, Number: 6002, Revision: 24566, HasRevision: true}
	fmt.Println("in the range:", host.AtLeast(first) && !host.AtLeast(fixed))
	fmt.Println("right:       ", host.SameProduct(fixed) && !host.AtLeast(fixed))
	// Output:
	// in the range: false
	// right:        true
}

func ExampleParse() {
	for _, text := range []string{
		"6003.22015.amd64fre.vistasp2_ldr_escrow.230327-1945",
		"6.0.6003 Service Pack 2 сборка 6003",
		"Microsoft Windows [Versión 10.0.19045.2965]",
		"6.3.17763",
	} {
		v, err := winver.Parse(text)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Printf("%v SP%d %q %q\n", v.Build, v.ServicePack, v.Arch, v.Branch)
	}
	// Output:
	// 6.0.6003.22015 SP0 "amd64" "escrow"
	// 6.0.6003 SP2 "" ""
	// 10.0.19045.2965 SP0 "" ""
	// windows version "6.3.17763": build number 17763 belongs to 10.0, not to 6.3
}

func ExampleBuild_AtLeast() {
	sp2 := winver.Build{Major: 6, Minor: 0, Number: 6002} // no revision: whatever its updates
	for _, b := range []winver.Build{
		{Major: 6, Minor: 0, Number: 6001},
		{Major: 6, Minor: 0, Number: 6003},
		{Major: 10, Minor: 0, Number: 17763},
		{}, // not known
	} {
		fmt.Printf("%q %t\n", b, b.AtLeast(sp2))
	}
	// Output:
	// "6.0.6001" false
	// "6.0.6003" true
	// "10.0.17763" true
	// "" false
}

func ExampleFromRegistry() {
	values := map[string]string{
		"CurrentVersion":     "6.0",
		"CurrentBuildNumber": "6003",
		"CSDVersion":         "Service Pack 2",
		"BuildLabEx":         "6003.22015.x86fre.vistasp2_ldr_escrow.230327-1945",
	}
	v, err := winver.FromRegistry(func(name string) string { return values[name] })
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(v.Build, v.ServicePack, v.Arch, v.BranchName, v.Compiled.Format("2006-01-02"))
	fmt.Println(v.Build.Line())
	// Output:
	// 6.0.6003.22015 2 x86 vistasp2_ldr_escrow 2023-03-27
	// Windows Vista / Windows Server 2008, Service Pack 2
}
