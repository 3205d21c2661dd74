# Everything needs Go alone; the race detector wants a C compiler beside it.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
TOOLS   := .tools

# Passed on by `make demo` and `make test`: make demo ARGS='--listen-base 1000'.
ARGS     ?=
FUZZTIME ?= 10s

# Go turns cgo off where it finds no C compiler, and without cgo there is no race
# detector.
RACE := $(if $(filter 1,$(shell $(GO) env CGO_ENABLED)),-race)

.DEFAULT_GOAL := help
.PHONY: help demo build test test-long conformance bench bench-hits bench-purge lint tools fuzz bench-store clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## build and run the whole CDN with a demo site (Ctrl-C ends it)
	bin/freshet dev $(ARGS)

build: ## build bin/freshet
	$(GO) build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/freshet ./cmd/freshet

test: tools ## run all tests (with the race detector where there is a C compiler)
	@$(if $(RACE),:,echo 'no C compiler: the tests run without the race detector')
	$(GO) test $(RACE) -timeout 20m $(ARGS) ./...
	@# What is said of allocations does not hold under the race detector.
	$(if $(RACE),$(GO) test -timeout 5m -run 'Alloc|CostsLittle' ./edge/... ./internal/...)
	@# 10,000 random histories of purges, each some seconds of virtual time; see edge/histories_test.go.
	FRESHET_TEST_HISTORIES=10000 $(GO) test -timeout 15m -run 'TestHistories|TestCheckerFinds' ./edge

test-long: tools ## run all tests, the randomised ones for much longer
	FRESHET_TEST_LONG=1 $(GO) test $(RACE) -timeout 2h -count 1 $(ARGS) ./...

conformance: build ## run the public HTTP cache test suite against the edge (wants Node.js)
	bench/conformance/run $(ARGS)

bench: ## measure the edge beside nginx, Varnish, Traffic Server, H2O and Caddy (half an hour and more)
	$(GO) run ./bench/peers $(ARGS)

bench-hits: build ## measure hits from the page cache against bare sendfile
	$(GO) run ./bench/hits $(ARGS)

bench-purge: tools ## measure purges on 8 nodes, and what marks cost a hit (a minute or two)
	FRESHET_BENCH=1 $(GO) test -count 1 -run TestPurgeLatency -v ./cmd/freshet
	$(GO) test -run '^$$' -bench 'LookUp|Tag$$' ./edge/invalidate
	$(GO) test -run '^$$' -bench 'CommandsBesideHits|TagOfMany' ./edge

lint: ## check formatting, vet, staticcheck and the rules of the house
	@unformatted=$$($(shell $(GO) env GOROOT)/bin/gofmt -l .) && if [ -n "$$unformatted" ]; then \
		echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) test ./internal/archtest

tools: ## fetch what the tests run against (a Consul agent) into .tools
	deploy/consul/get.sh $(TOOLS)

fuzz: ## run every fuzz target for FUZZTIME (10s) each
	@set -e; \
	for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -r -n 1 dirname | sort -u); do \
		for target in $$($(GO) test -list '^Fuzz' $$dir | grep '^Fuzz'); do \
			echo "$$dir $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$dir || { \
				echo "again: what was found is in testdata by now and fails at once; the end of the time alone does not"; \
				$(GO) test -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -run "^$$target\$$" $$dir; }; \
		done; \
	done

# A directory for the replay's disk cache; in RAM, the figures are the same and come sooner.
BENCH_DIR ?= $(firstword $(wildcard /dev/shm) $(TMPDIR) /tmp)

bench-store: ## measure the store: hit ratios, writes, index, restart, sending (minutes)
	@status=0; \
	show() { echo; echo "$$ $$*"; "$$@" || status=1; }; \
	show $(GO) run ./bench/replay -dir $(BENCH_DIR) $(ARGS); \
	show env FRESHET_TEST_LONG=1 $(GO) test -count 1 -run TestTenMillion -v ./edge/store/disk/index; \
	show $(GO) test -run '^$$' -bench Open -benchtime 3x ./edge/store/disk; \
	show $(MAKE) --no-print-directory bench-hits ARGS=; \
	exit $$status

clean: ## remove what was built
	rm -rf bin dist
