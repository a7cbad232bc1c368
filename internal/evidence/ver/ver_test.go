package ver_test

import (
	"testing"

	"github.com/oldguard/oldguard/internal/evidence/evidencetest"
	"github.com/oldguard/oldguard/internal/evidence/ver"
)

func TestGolden(t *testing.T) { evidencetest.Golden(t, ver.Reader) }
func FuzzRead(f *testing.F)   { evidencetest.Fuzz(f, ver.Reader) }
