package osquery_test

import (
	"testing"

	"github.com/oldguard/oldguard/internal/evidence/evidencetest"
	"github.com/oldguard/oldguard/internal/evidence/osquery"
)

func TestGolden(t *testing.T) { evidencetest.Golden(t, osquery.Reader) }

func FuzzRead(f *testing.F) { evidencetest.Fuzz(f, osquery.Reader) }
