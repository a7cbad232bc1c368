package nessus_test

import (
	"testing"

	"github.com/oldguard/oldguard/internal/evidence/evidencetest"
	"github.com/oldguard/oldguard/internal/evidence/nessus"
)

func TestGolden(t *testing.T) { evidencetest.Golden(t, nessus.Reader) }

func FuzzRead(f *testing.F) { evidencetest.Fuzz(f, nessus.Reader) }
