package systeminfo_test

import (
	"testing"

	"github.com/oldguard/oldguard/internal/evidence/evidencetest"
	"github.com/oldguard/oldguard/internal/evidence/systeminfo"
)

func TestGolden(t *testing.T) { evidencetest.Golden(t, systeminfo.Reader) }

func FuzzRead(f *testing.F) { evidencetest.Fuzz(f, systeminfo.Reader) }
