package nbtstat_test

import (
	"testing"

	"github.com/oldguard/oldguard/internal/evidence/evidencetest"
	"github.com/oldguard/oldguard/internal/evidence/nbtstat"
)

func TestGolden(t *testing.T) { evidencetest.Golden(t, nbtstat.Reader) }

func FuzzRead(f *testing.F) { evidencetest.Fuzz(f, nbtstat.Reader) }
