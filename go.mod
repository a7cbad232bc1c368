module github.com/oldguard/oldguard

go 1.26.0

require (
	github.com/google/go-cmp v0.7.0 // tests: differences one can read
	github.com/klauspost/compress v1.20.3 // zstd, the frames of the catalogue: the standard library has none
	github.com/rogpeppe/go-internal v1.16.0 // tests: transcripts of the command line (testscript)
	github.com/spf13/cobra v1.10.2 // commands, flags, help, completion, man pages
	github.com/ulikunitz/xz v0.5.17 // feeds come packed with xz: the standard library has none
	github.com/xuri/excelize/v2 v2.11.1 // spreadsheet reports
	golang.org/x/crypto v0.58.0 // argon2id, the hashes of passwords
	golang.org/x/term v0.47.0 // whether there is a terminal, and how wide
	golang.org/x/text v0.43.0 // code pages of old consoles
)

require (
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/richardlehane/mscfb v1.0.9 // indirect
	github.com/richardlehane/msoleps v1.0.6 // indirect
	github.com/spf13/pflag v1.0.9 // indirect
	github.com/tiendc/go-deepcopy v1.7.2 // indirect
	github.com/xuri/efp v0.0.3-0.20260924042702-217b81952dec // indirect
	github.com/xuri/nfp v0.0.2-0.20250530014748-2ddeb826f9a9 // indirect
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/tools v0.51.0 // indirect
)
