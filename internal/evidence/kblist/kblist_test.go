package kblist_test

import (
	"testing"

	"github.com/oldguard/oldguard/internal/evidence/evidencetest"
	"github.com/oldguard/oldguard/internal/evidence/kblist"
)

func TestGolden(t *testing.T) { evidencetest.Golden(t, kblist.Reader) }
func FuzzRead(f *testing.F)   { evidencetest.Fuzz(f, kblist.Reader) }
