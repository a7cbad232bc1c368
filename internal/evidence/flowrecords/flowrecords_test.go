package flowrecords_test

import (
	"testing"

	"github.com/oldguard/oldguard/internal/evidence/evidencetest"
	"github.com/oldguard/oldguard/internal/evidence/flowrecords"
)

func TestGolden(t *testing.T) { evidencetest.Golden(t, flowrecords.Reader) }
func FuzzRead(f *testing.F)   { evidencetest.Fuzz(f, flowrecords.Reader) }
