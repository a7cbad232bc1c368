// Package data holds the project's own tables of facts about Windows releases, each row
// with its source, as tab-separated text: see the first lines of each file. Package compile
// reads them into the catalogue.
package data

import "embed"

// Files holds the tables.
//
//go:embed *.txt
var Files embed.FS

// AsOf is the day on which the tables were last held against their sources.
const AsOf = "2026-11-22"
