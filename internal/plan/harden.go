package plan

import (
	"github.com/oldguard/oldguard/internal/host"
)

// ControlState is how a control stands on a machine. The zero value is ControlUnknown: no
// evidence, or evidence that contradicts itself, is neither good nor bad.
type ControlState uint8

// The states of a control.
const (
	ControlUnknown      ControlState = iota // the evidence cannot tell; Hardening.Tell would
	ControlGood                             // set as the control wants it: not more than that
	ControlBad                              // set otherwise
	ControlNotAvailable                     // this release has no such thing
	ControlNotConcerned                     // it is for another kind of machine, such as a domain controller
	ControlExternal                         // no evidence from the machine itself can show it
)

var controlStates = [...]string{"unknown", "good", "bad", "not-available", "not-concerned", "external"}

// String gives unknown, good, bad, not-available, not-concerned or external.
func (s ControlState) String() string {
	if int(s) < len(controlStates) {
		return controlStates[s]
	}
	return "unknown"
}

// MarshalText writes what String gives.
func (s ControlState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Hardening is one control, and how it stands on one machine. A control that is good
// takes one way of attack away; none makes an old machine secure, nor do all together.
type Hardening struct {
	ID, Name string
	State    ControlState
	// Now is how it is set, in words; empty where nothing is known.
	Now string
	// Because says why State is what it is.
	Because []host.Reason
	// Exists is what this release has of it, since when or by which update; empty where it
	// simply has it.
	Exists string
	// Protects is what it is good for, Breaks what stops working when it is set.
	Protects, Breaks string
	// Set are the commands that set it on this release, in order, and Undo those that put
	// back what the evidence shows. Both are empty where there is nothing to run: external
	// controls, and those that are good already.
	Set, Undo []string
	// UndoNote is what Undo cannot know, such as a value that no evidence shows; may be empty.
	UndoNote string
	// Restart is what must start anew before it counts: "the machine", a service; empty for
	// nothing.
	Restart string
	// Tell are the commands whose output would tell, where State is unknown.
	Tell []string
	// Known is where the control itself comes from, not how it stands.
	Known
}
