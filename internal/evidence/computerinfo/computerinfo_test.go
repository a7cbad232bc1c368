package computerinfo_test

import (
	"testing"

	"github.com/oldguard/oldguard/internal/evidence/computerinfo"
	"github.com/oldguard/oldguard/internal/evidence/evidencetest"
)

func TestGolden(t *testing.T) { evidencetest.Golden(t, computerinfo.Reader) }

func FuzzRead(f *testing.F) { evidencetest.Fuzz(f, computerinfo.Reader) }
