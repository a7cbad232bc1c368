package catalog

import (
	"bytes"
	_ "embed"
	"sync"
)

// embedded is the catalogue that `make catalog` compiled from the feeds.
//
//go:embed catalog.bin
var embedded []byte

// Embedded opens the catalogue that the program carries. It is opened once and shared.
var Embedded = sync.OnceValues(func() (*Catalog, error) {
	return Open(bytes.NewReader(embedded), int64(len(embedded)))
})
