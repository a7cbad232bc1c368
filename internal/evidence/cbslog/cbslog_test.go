package cbslog_test

import (
	"testing"

	"github.com/oldguard/oldguard/internal/evidence/cbslog"
	"github.com/oldguard/oldguard/internal/evidence/evidencetest"
)

func TestGolden(t *testing.T) { evidencetest.Golden(t, cbslog.Reader) }
func FuzzRead(f *testing.F)   { evidencetest.Fuzz(f, cbslog.Reader) }
