package fleet_test

import (
	"testing"

	"github.com/oldguard/oldguard/internal/evidence/evidencetest"
	"github.com/oldguard/oldguard/internal/evidence/fleet"
)

func TestGolden(t *testing.T) { evidencetest.Golden(t, fleet.Reader) }

func FuzzRead(f *testing.F) { evidencetest.Fuzz(f, fleet.Reader) }
