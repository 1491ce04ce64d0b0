# make run    build and start the server with the agents of examples/agents
# make test   run every test, those of the kit for guests too
SHELL       := /bin/bash
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS     := -s -w -X main.version=$(VERSION)
TOOLS       := $(CURDIR)/.tools
PACKAGES    := ./...

GOLANGCI    := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOFUMPT     := mvdan.cc/gofumpt@v0.12.0
GOIMPORTS   := golang.org/x/tools/cmd/goimports@v0.51.0
BENCHSTAT   := golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0

# The race detector watches our code and what it calls, but not the inside of SQLite, where one
# caller at a time is: that took a third of the time. A process under it waits a second at its end
# unless it is told otherwise, and the tests of the command line end hundreds.
RACE := -race -gcflags='github.com/ncruces/go-sqlite3-wasm/v6/...=-race=false'
GORACE ?= atexit_sleep_ms=50
export GORACE

export CGO_ENABLED ?= 0

.PHONY: run build test check bench bench-memory bench-wasm recall weights fuzz soak test-live test-mcp fmt clean

run: build
	./bin/caxton serve --data-dir ./data --agents-dir ./examples/agents

build:
	@echo "building bin/caxton $(VERSION) (the first build compiles SQLite and takes a few minutes)"
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/caxton ./cmd/caxton

# test: the kit for guests is a module of its own.
test:
	go test $(PACKAGES)
	cd guest && go vet ./... && GOOS=wasip1 GOARCH=wasm go vet ./... && go test ./...

# check: format, vet, linters, race tests with the seeds of the fuzz targets, known vulnerabilities.
check: $(TOOLS)/golangci-lint $(TOOLS)/gofumpt $(TOOLS)/goimports
	@files=$$($(TOOLS)/gofumpt -l $$(git ls-files '*.go'); $(TOOLS)/goimports -l $$(git ls-files '*.go')); \
	  if [ -n "$$files" ]; then echo "not formatted:"; echo "$$files"; exit 1; fi
	go vet $(PACKAGES)
	$(TOOLS)/golangci-lint run $(PACKAGES)
	CGO_ENABLED=1 go test $(RACE) $(PACKAGES)
	@go generate ./internal/embedding/bert ./internal/vector && git diff --exit-code --stat -- '*.s' '*_amd64.go' \
	  || { echo "the assembly is not what its generators make: commit the new one"; exit 1; }
	./scripts/check-size.sh
	@if GOBIN=$(TOOLS) go install $(GOVULNCHECK) 2>/dev/null; then \
	  $(TOOLS)/govulncheck $(PACKAGES) || echo "govulncheck: see above, or its database cannot be reached"; \
	else echo "govulncheck cannot be installed here: skipped"; fi

# bench: every promised number, and others beside us in the same run (bench is a module of its own).
COUNT ?= 6
bench: build $(TOOLS)/benchstat
	go test -run '^$$' -bench . -count $(COUNT) -timeout 60m ./internal/router ./internal/node | tee bench.txt
	cd bench && go test -run '^$$' -bench . -count $(COUNT) -timeout 60m . | tee -a ../bench.txt
	$(TOOLS)/benchstat bench.txt

# bench-memory: embedding, the vector index, the store and searches; 1 M vectors with CAXTON_SOAK=1.
bench-memory: $(TOOLS)/benchstat
	go test -run '^$$' -bench . -count $(COUNT) -timeout 120m ./internal/embedding/bert ./internal/vector ./internal/memdb ./internal/memory/engine | tee bench-memory.txt
	$(TOOLS)/benchstat bench-memory.txt

# bench-wasm: modules, from the cache to the answer, and what counting their instructions costs.
bench-wasm: $(TOOLS)/benchstat
	go test -run '^$$' -bench . -count $(COUNT) -timeout 60m ./internal/wasm ./internal/wasm/meter | tee bench-wasm.txt
	$(TOOLS)/benchstat bench-wasm.txt

# recall: how well the memory finds what it was told.
recall: build
	./bin/caxton bench recall --seed 20261 --worlds 4 --markdown

# weights: the embedding model in the program, from a directory with model.safetensors, config.json and vocab.txt.
weights:
	@test -n "$$MODEL_DIR" || { echo "set MODEL_DIR to the directory of the published model"; exit 2; }
	go generate ./internal/embedding/minilm

# fuzz: each fuzz target for FUZZTIME.
FUZZTIME ?= 60s
fuzz:
	@set -e; for pkg in $$(go list $(PACKAGES)); do \
	  for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$target"; go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$pkg; \
	  done; done

# soak: the long forms of tests that make test runs short.
soak:
	CAXTON_SOAK=1 go test -run 'Crash|Reload|Budget|Soak' -count 1 -timeout 60m -v ./internal/node

test-live: build
	./scripts/test-live.sh

# test-mcp: against the reference servers and the conformance suite of MCP; needs npm.
test-mcp:
	./scripts/test-mcp.sh

fmt: $(TOOLS)/gofumpt $(TOOLS)/goimports
	$(TOOLS)/gofumpt -w $$(git ls-files '*.go')
	$(TOOLS)/goimports -w $$(git ls-files '*.go')

clean:
	rm -rf bin bench.txt bench-memory.txt bench-wasm.txt

$(TOOLS)/golangci-lint: Makefile
	GOBIN=$(TOOLS) go install $(GOLANGCI) && touch $@
$(TOOLS)/gofumpt: Makefile
	GOBIN=$(TOOLS) go install $(GOFUMPT) && touch $@
$(TOOLS)/goimports: Makefile
	GOBIN=$(TOOLS) go install $(GOIMPORTS) && touch $@
$(TOOLS)/benchstat: Makefile
	GOBIN=$(TOOLS) go install $(BENCHSTAT) && touch $@
