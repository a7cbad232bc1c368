package plan

import "github.com/oldguard/oldguard/internal/host"

// Protocol is a service that is known by its port: what most likely answers there. A port
// proves nothing: anything can listen on it.
type Protocol struct {
	ID   string // "smb"
	Name string // "SMB file sharing"
	// Kind is what it is for: directory, name, time, file, print, remote-management, …
	Kind string
	// Proto and From to To are where it is known; To is From but for ranges.
	Proto    host.IPProto
	From, To uint16
	// Peer is the role a server of it mostly has, seen from a machine that asks it:
	// domain-controller, name-server, time-server, backup-server, …; empty for none.
	Peer string
	// Link is true for what never leaves the link: broadcasts, multicasts, router messages.
	Link bool
	// Risks are of "cleartext" (passwords or contents can be read on the way),
	// "remote-management" (who gets in rules the machine) and "worm" (has been used by worms).
	Risks []string
	// Know is what one should know of it before a rule is made; may be empty.
	Know  string
	Known        // Source is where it is listed
	Read  string // the day Source was read
}
