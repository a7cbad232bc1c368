package advfirewall_test

import (
	"testing"

	"github.com/oldguard/oldguard/internal/evidence/advfirewall"
	"github.com/oldguard/oldguard/internal/evidence/evidencetest"
)

func TestGolden(t *testing.T) { evidencetest.Golden(t, advfirewall.Reader) }
func FuzzRead(f *testing.F)   { evidencetest.Fuzz(f, advfirewall.Reader) }
