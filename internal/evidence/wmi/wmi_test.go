package wmi_test

import (
	"testing"

	"github.com/oldguard/oldguard/internal/evidence/evidencetest"
	"github.com/oldguard/oldguard/internal/evidence/wmi"
)

func TestGolden(t *testing.T) { evidencetest.Golden(t, wmi.Reader) }

func FuzzRead(f *testing.F) { evidencetest.Fuzz(f, wmi.Reader) }
