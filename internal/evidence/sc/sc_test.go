package sc_test

import (
	"testing"

	"github.com/oldguard/oldguard/internal/evidence/evidencetest"
	"github.com/oldguard/oldguard/internal/evidence/sc"
)

func TestGolden(t *testing.T) { evidencetest.Golden(t, sc.Reader) }

func FuzzRead(f *testing.F) { evidencetest.Fuzz(f, sc.Reader) }
