package plan

import "testing"

func TestControlStates(t *testing.T) {
	var zero Hardening
	if zero.State != ControlUnknown || zero.State.String() != "unknown" || ControlState(200).String() != "unknown" {
		t.Errorf("a control of which nothing is known is %s", zero.State)
	}
	seen := map[string]bool{}
	for s := ControlUnknown; s <= ControlExternal; s++ {
		text, err := s.MarshalText()
		if err != nil || seen[string(text)] {
			t.Errorf("%d is %q, %v", s, text, err)
		}
		seen[string(text)] = true
	}
}
