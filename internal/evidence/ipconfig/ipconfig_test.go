package ipconfig_test

import (
	"testing"

	"github.com/oldguard/oldguard/internal/evidence/evidencetest"
	"github.com/oldguard/oldguard/internal/evidence/ipconfig"
)

func TestGolden(t *testing.T) { evidencetest.Golden(t, ipconfig.Reader) }

func FuzzRead(f *testing.F) { evidencetest.Fuzz(f, ipconfig.Reader) }
