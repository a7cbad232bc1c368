package netcmd_test

import (
	"testing"

	"github.com/oldguard/oldguard/internal/evidence/evidencetest"
	"github.com/oldguard/oldguard/internal/evidence/netcmd"
)

func TestGolden(t *testing.T) { evidencetest.Golden(t, netcmd.Reader) }

func FuzzRead(f *testing.F) { evidencetest.Fuzz(f, netcmd.Reader) }
