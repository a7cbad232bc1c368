package wazuh_test

import (
	"testing"

	"github.com/oldguard/oldguard/internal/evidence/evidencetest"
	"github.com/oldguard/oldguard/internal/evidence/wazuh"
)

func TestGolden(t *testing.T) { evidencetest.Golden(t, wazuh.Reader) }

func FuzzRead(f *testing.F) { evidencetest.Fuzz(f, wazuh.Reader) }
