package firewalllog_test

import (
	"testing"

	"github.com/oldguard/oldguard/internal/evidence/evidencetest"
	"github.com/oldguard/oldguard/internal/evidence/firewalllog"
)

func TestGolden(t *testing.T) { evidencetest.Golden(t, firewalllog.Reader) }
func FuzzRead(f *testing.F)   { evidencetest.Fuzz(f, firewalllog.Reader) }
