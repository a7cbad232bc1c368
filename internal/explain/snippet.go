package explain

import "embed"

//go:embed snippet
var snippets embed.FS

// Snippet is a version check for software that runs on the machine itself, where Go no
// longer does: it takes 6002 and 6003 for what they are, Server 2008 SP2.
type Snippet struct {
	Name, Doc string
	file      string
}

// Snippets lists the checks, in the order of the manual.
func Snippets() []Snippet {
	return []Snippet{
		{"cmd", "batch file; exit status 0, 1 or 2", "check.cmd"},
		{"vbs", "Windows Script Host; exit status 0, 1 or 2", "check.vbs"},
		{"powershell", "PowerShell 1.0 and later; exit status 0, 1 or 2", "check.ps1"},
		{"nsis", "function for an NSIS installer", "check.nsi"},
		{"inno", "[Code] for Inno Setup", "check.iss"},
		{"wix", "launch condition for Windows Installer, WiX 3", "check.wxs"},
		{"c", "C, with RtlGetVersion", "check.c"},
	}
}

// Text gives the check, ready to be written to a file.
func (s Snippet) Text() (string, error) {
	b, err := snippets.ReadFile("snippet/" + s.file)
	return string(b), err
}

// HasSnippet reports whether the answer is about what the snippets check.
func (a *Answer) HasSnippet() bool { return a.snippet }
