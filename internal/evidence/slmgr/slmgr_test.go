package slmgr_test

import (
	"testing"

	"github.com/oldguard/oldguard/internal/evidence/evidencetest"
	"github.com/oldguard/oldguard/internal/evidence/slmgr"
)

func TestGolden(t *testing.T) { evidencetest.Golden(t, slmgr.Reader) }
func FuzzRead(f *testing.F)   { evidencetest.Fuzz(f, slmgr.Reader) }
