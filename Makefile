SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS   += --no-print-directory

FUZZTIME  ?= 20s
COUNT     ?= 10
HOSTS     ?= 20000
FROM      ?= ../shared/data/msrc
PLATFORMS := linux/amd64 linux/arm64 windows/amd64 windows/arm64 darwin/amd64 darwin/arm64
# On a build machine no result comes from the cache.
TESTFLAGS ?= -timeout 20m $(if $(CI),-count=1)

# The tools are pinned in tools/go.mod. Go builds each once and keeps it in its build cache;
# this prints where.
tool = $$(go -C tools tool -n $(1))

.PHONY: help
help: ## what can be made
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## the program, ./oldguard
	CGO_ENABLED=0 go build -trimpath -o oldguard ./cmd/oldguard

.PHONY: test
test: ## all tests, with the race detector
	@# Those that take longest begin first: Go takes packages in the order they are named.
	CGO_ENABLED=1 go test -race $(TESTFLAGS) ./internal/web ./internal/cli ./internal/report ./internal/store ./...

.PHONY: bars
bars: ## without the race detector, the tests that are too slow with it, or whose figures it spoils
	scripts/bars $(TESTFLAGS)

.PHONY: lint
lint: ## golangci-lint and vet
	$(call tool,golangci-lint) run ./...
	go vet ./...

.PHONY: fmt
fmt: ## format all Go files
	$(call tool,golangci-lint) fmt ./...

.PHONY: generate
generate: ## rewrite the Go code of pages from their templates
	@$(call tool,templ) generate -log-level warn -path internal/web

.PHONY: generated
generated: ## fail if the Go code of pages is not that of their templates
	@sum() { cat internal/web/*_templ.go | sha256sum; }; before=$$(sum); $(MAKE) generate; \
	[ "$$before" = "$$(sum)" ] || { echo "the templates changed: commit what make generate wrote"; exit 1; }

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME=20s each
	scripts/fuzz $(FUZZTIME)

.PHONY: bench
bench: ## benchmarks, COUNT=10 runs, compared with bench/base.txt
	@mkdir -p bench
	go test -run '^$$' -bench . -benchmem -count $(COUNT) ./... | tee bench/new.txt
	@if [ -f bench/base.txt ]; then $(call tool,benchstat) bench/base.txt bench/new.txt; fi

.PHONY: bench-pages
bench-pages: ## how long the server takes for each page of HOSTS=20000 machines, on SQLite
	FLEET_HOSTS=$(HOSTS) go test -count=1 -timeout 30m -run '^TestPagesOfLargeFleet$$' -v ./internal/web | grep --line-buffered -v '^=== '

.PHONY: bench-alerts
bench-alerts: ## how long the look for alerts takes over HOSTS=20000 machines, and what it allocates
	FLEET_HOSTS=$(HOSTS) go test -count=1 -timeout 30m -run '^TestLookOverLargeFleet$$' -v ./internal/web | grep --line-buffered -v '^=== '

.PHONY: screenshots
screenshots: ## rewrite docs/screenshots, of examples and machines made of them
	@mkdir -p docs/screenshots
	CI=true SCREENSHOTS="$(CURDIR)/docs/screenshots" go test -count=1 -run '^TestPeerScreenshots$$' ./internal/web

.PHONY: golden
golden: ## rewrite the expected outputs of all tests that use internal/golden; review the difference as the feature
	go test $$(go list -test -f '{{if .ForTest}}{{.ForTest}} {{.Deps}}{{end}}' ./... | grep internal/golden | cut -d' ' -f1 | sort -u) -update

.PHONY: e2e
e2e: ## the command line's transcripts and the tests against real peers, none of them skipped
	CI=true go test -count=1 -run '^Test(Script|Peer)' ./...

.PHONY: bench-fleet
bench-fleet: ## what a fleet server takes: 5,000 machines sent, up to 100,000 assessed again and saved; ten minutes
	OLDGUARD_BIG=1 go test -count=1 -v -timeout 120m -run '^TestFigures$$' ./internal/fleet

.PHONY: crash
crash: ## 500 uploads to a fleet server that is killed 50 times meanwhile, on both databases
	OLDGUARD_BIG=1 go test -count=1 -v -timeout 30m -run '^TestKilled$$' ./internal/fleet

.PHONY: catalog
catalog: ## rebuild the embedded catalogue from the feeds in FROM=DIR
	go run ./cmd/oldguard catalog build --from $(FROM) --output internal/catalog/catalog.bin

.PHONY: docs
docs: ## rewrite the program's outputs quoted in README.md and docs/, and the table of evidence
	go test -run '^Test(QuotedOutput|EvidenceTable)$$' . -update

.PHONY: man
man: ## manual pages of all commands into dist/man
	go run ./cmd/oldguard docs man dist/man

.PHONY: cross
cross: ## compile, tests included, for systems other than this one
	GOOS=windows GOARCH=amd64 CGO_ENABLED=0 go vet ./...
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 go vet ./...
	GOOS=windows GOARCH=amd64 CGO_ENABLED=0 go build ./...
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 go build ./...

.PHONY: check
check: ## everything that a change must pass; what the build machine runs
	scripts/test-deps
	$(call tool,golangci-lint) fmt --diff ./...
	$(MAKE) generated
	$(MAKE) lint
	$(MAKE) cross
	$(MAKE) fuzz FUZZTIME=2s
	$(MAKE) bars
	$(MAKE) crash
	$(MAKE) test

.PHONY: release-dry
release-dry: ## the release files for all platforms into dist/, published nowhere
	@rm -rf dist && mkdir -p dist
	@for p in $(PLATFORMS); do \
		os=$${p%/*} arch=$${p#*/} exe=; \
		[ $$os != windows ] || exe=.exe; \
		echo "dist/oldguard-$$os-$$arch$$exe"; \
		GOOS=$$os GOARCH=$$arch CGO_ENABLED=0 go build -trimpath -buildvcs=true -ldflags '-s -w' \
			-o "dist/oldguard-$$os-$$arch$$exe" ./cmd/oldguard; \
	done
	@cd dist && { command -v sha256sum >/dev/null && sha256sum oldguard-* || shasum -a 256 oldguard-*; } >SHA256SUMS
	@cat dist/SHA256SUMS

.PHONY: hooks
hooks: ## format and lint changed packages before each commit
	ln -sf "$(CURDIR)/scripts/pre-commit" "$$(git rev-parse --git-path hooks)/pre-commit"

.PHONY: new-reader
new-reader: ## scaffold of an evidence reader: make new-reader NAME=wmicqfe
	scripts/new-reader "$(NAME)"
