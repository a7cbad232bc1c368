package lansweeper_test

import (
	"testing"

	"github.com/oldguard/oldguard/internal/evidence/evidencetest"
	"github.com/oldguard/oldguard/internal/evidence/lansweeper"
)

func TestGolden(t *testing.T) { evidencetest.Golden(t, lansweeper.Reader) }

func FuzzRead(f *testing.F) { evidencetest.Fuzz(f, lansweeper.Reader) }
