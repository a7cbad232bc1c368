package regexport_test

import (
	"testing"

	"github.com/oldguard/oldguard/internal/evidence/evidencetest"
	"github.com/oldguard/oldguard/internal/evidence/regexport"
)

func TestGolden(t *testing.T) { evidencetest.Golden(t, regexport.Reader) }
func FuzzRead(f *testing.F)   { evidencetest.Fuzz(f, regexport.Reader) }
