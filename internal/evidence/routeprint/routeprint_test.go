package routeprint_test

import (
	"testing"

	"github.com/oldguard/oldguard/internal/evidence/evidencetest"
	"github.com/oldguard/oldguard/internal/evidence/routeprint"
)

func TestGolden(t *testing.T) { evidencetest.Golden(t, routeprint.Reader) }

func FuzzRead(f *testing.F) { evidencetest.Fuzz(f, routeprint.Reader) }
