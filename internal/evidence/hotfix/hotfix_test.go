package hotfix_test

import (
	"testing"

	"github.com/oldguard/oldguard/internal/evidence/evidencetest"
	"github.com/oldguard/oldguard/internal/evidence/hotfix"
)

func TestGolden(t *testing.T) { evidencetest.Golden(t, hotfix.Reader) }

func FuzzRead(f *testing.F) { evidencetest.Fuzz(f, hotfix.Reader) }
