package wmicqfe_test

import (
	"testing"

	"github.com/oldguard/oldguard/internal/evidence/evidencetest"
	"github.com/oldguard/oldguard/internal/evidence/wmicqfe"
)

func TestGolden(t *testing.T) { evidencetest.Golden(t, wmicqfe.Reader) }

func FuzzRead(f *testing.F) { evidencetest.Fuzz(f, wmicqfe.Reader) }
