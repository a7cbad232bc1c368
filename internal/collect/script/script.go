// Package script holds the collector that runs on the old machine itself, where no Go
// program runs any more: one command file that needs nothing but what Windows Vista and
// Server 2008 came with. It fetches; what it fetched is read by the evidence readers.
package script

import _ "embed"

// CMD is the command file, with lines ending in CR LF as cmd.exe wants them.
//
//go:embed oldguard-collect.cmd
var CMD []byte
