package tasklist_test

import (
	"testing"

	"github.com/oldguard/oldguard/internal/evidence/evidencetest"
	"github.com/oldguard/oldguard/internal/evidence/tasklist"
)

func TestGolden(t *testing.T) { evidencetest.Golden(t, tasklist.Reader) }

func FuzzRead(f *testing.F) { evidencetest.Fuzz(f, tasklist.Reader) }
