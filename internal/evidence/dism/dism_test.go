package dism_test

import (
	"testing"

	"github.com/oldguard/oldguard/internal/evidence/dism"
	"github.com/oldguard/oldguard/internal/evidence/evidencetest"
)

func TestGolden(t *testing.T) { evidencetest.Golden(t, dism.Reader) }
func FuzzRead(f *testing.F)   { evidencetest.Fuzz(f, dism.Reader) }
