package xmltree

import (
	"encoding/xml"
	"errors"
	"strings"
	"testing"
)

// TestLimitOfBytes tries a small limit: to fill the real one takes a second.
func TestLimitOfBytes(t *testing.T) {
	const text = "<a>some text</a>"
	ignore := func(xml.Token) error { return nil }
	if err := scan(strings.NewReader(text), int64(len(text)), ignore); err != nil {
		t.Errorf("a text as long as the limit gave %v", err)
	}
	for _, limit := range []int64{0, 3, int64(len(text)) - 1} {
		if err := scan(strings.NewReader(text), limit, ignore); !errors.Is(err, ErrLimit) {
			t.Errorf("with a limit of %d, scan gave %v", limit, err)
		}
	}
}
