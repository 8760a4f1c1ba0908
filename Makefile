# make run and make test fetch and build what they need; see README.md.
# Tools and nodes are pinned and kept in .cache, which git ignores.

GO            ?= go
GOLANGCI_LINT  = v2.15.0
GOFUMPT        = v0.9.2
GETH           = v1.16.9
GETH_CLIQUE    = v1.13.15

CACHE := $(CURDIR)/.cache
BIN   := $(CACHE)/bin
IMAGE := $(CACHE)/image

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
STATIC   = CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)'

DOCKER  := $(shell docker info >/dev/null 2>&1 && echo yes)
COMPOSE  = $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)

.PHONY: build build-all install fmt lint test ci-test image run stop bench clean help

build: ## build ./wemixvisor, static, for this machine
	$(STATIC) -o wemixvisor ./cmd/wemixvisor

build-all: ## build both architectures and show their sizes
	@for arch in amd64 arm64; do \
		GOARCH=$$arch $(STATIC) -o $(CACHE)/dist/wemixvisor-linux-$$arch ./cmd/wemixvisor || exit 1; \
		size=$$(wc -c < $(CACHE)/dist/wemixvisor-linux-$$arch); \
		echo "linux/$$arch: $$size bytes"; \
		test $$size -le 16777216 || { echo "over 16 MB"; exit 1; }; \
	done

install: ## install wemixvisor into Go's bin folder
	CGO_ENABLED=0 $(GO) install -trimpath -ldflags '$(LDFLAGS)' ./cmd/wemixvisor

fmt: $(BIN)/gofumpt ## format the code
	$(BIN)/gofumpt -w $$(git ls-files '*.go')

lint: $(BIN)/gofumpt $(BIN)/golangci-lint ## check format, vet and house rules
	@bad=$$($(BIN)/gofumpt -l $$(git ls-files '*.go')); test -z "$$bad" || { echo "not formatted: $$bad"; exit 1; }
	$(GO) vet -tags e2e ./...
	$(BIN)/golangci-lint run --build-tags e2e ./...

test: unit e2e ## run all tests
.PHONY: unit e2e
unit:
	$(GO) test -race -timeout 15m ./...

# The tests themselves skip loudly where no Docker engine answers; under CI they fail.
e2e: build $(if $(DOCKER),image)
	$(GO) test -race -tags e2e -timeout 20m -count=1 ./e2e/

ci-test: lint build-all test ## what CI runs

image: build $(BIN)/geth-$(GETH) $(BIN)/geth-$(GETH_CLIQUE) ## build the images
	rm -rf $(IMAGE)
	mkdir -p $(IMAGE)/data $(IMAGE)/tmp $(IMAGE)/licenses/go-ethereum
	chmod 1777 $(IMAGE)/tmp
	touch $(IMAGE)/data/.keep $(IMAGE)/tmp/.keep
	cp LICENSE NOTICE $(IMAGE)/licenses/
	install -m 644 $$($(GO) list -m -f '{{.Dir}}' github.com/ethereum/go-ethereum)/COPYING* $(IMAGE)/licenses/go-ethereum/
	cp wemixvisor $(BIN)/geth-$(GETH) $(BIN)/geth-$(GETH_CLIQUE) $(IMAGE)/
	docker build -q -f Dockerfile --target wemixvisor -t wemixvisor:dev $(IMAGE)
	docker build -q -f Dockerfile --target node --build-arg GETH=geth-$(GETH) -t wemixvisor-node:dev $(IMAGE)
	docker build -q -f Dockerfile --target node --build-arg GETH=geth-$(GETH_CLIQUE) -t wemixvisor-node:clique $(IMAGE)

ifeq ($(DOCKER),yes)
run: image ## start a development chain under wemixvisor
	$(COMPOSE) up -d node
	@$(MAKE) -s --no-print-directory opened
	@echo "stop it with: make stop"

stop: ## stop the development chain
	$(COMPOSE) down
else
run: build $(BIN)/geth-$(GETH)
	mkdir -p $(CACHE)/run/bin
	ln -sf $(BIN)/geth-$(GETH) $(CACHE)/run/bin/wemixd
	PATH=$(CACHE)/run/bin:$$PATH DAEMON_HOME=$(CACHE)/run/home ./wemixvisor start \
		--datadir=$(CACHE)/run/home/data --dev --dev.period=1 --http --http.api=eth,net,web3
	@$(MAKE) -s --no-print-directory opened
	@echo "stop it with: make stop"

stop:
	DAEMON_HOME=$(CACHE)/run/home ./wemixvisor stop
endif

.PHONY: opened
opened: build
	@for i in $$(seq 120); do ./wemixvisor probe ready >/dev/null 2>&1 && break; sleep 0.5; done; \
	./wemixvisor probe ready
	@echo "a development chain runs under wemixvisor. Open:"
	@echo "  http://127.0.0.1:9090/readyz?verbose   how it is"
	@echo "  http://127.0.0.1:9090/metrics          its metrics"
	@echo "  http://127.0.0.1:8545                  the node's JSON-RPC"

bench: build ## compare with tini, dumb-init and catatonit in one run
	@command -v tini >/dev/null && command -v dumb-init >/dev/null && command -v catatonit >/dev/null || \
		{ echo "installing the peers: tini dumb-init catatonit"; apt-get update -qq && apt-get install -y -qq tini dumb-init catatonit; }
	$(GO) run ./e2e/bench -supervisor ./wemixvisor

clean: ## remove what was built; nodes and tools in .cache stay
	rm -rf wemixvisor $(CACHE)/dist $(IMAGE)

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/' | expand -t 12

# A node is a program of its own, built from its public module. It takes minutes, once.
$(BIN)/geth-v%:
	@echo "building geth v$*, for several minutes, once"
	@mkdir -p $(BIN) $(CACHE)/geth-v$*
	cd /tmp && CGO_ENABLED=0 GOBIN=$(CACHE)/geth-v$* $(GO) install -trimpath \
		-ldflags '-s -w $(if $(filter $(GETH_CLIQUE),v$*),-checklinkname=0)' \
		github.com/ethereum/go-ethereum/cmd/geth@v$*
	mv $(CACHE)/geth-v$*/geth $@ && rmdir $(CACHE)/geth-v$*

$(BIN)/golangci-lint: Makefile
	@echo "building golangci-lint $(GOLANGCI_LINT), for several minutes, once"
	cd /tmp && GOBIN=$(BIN) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT)
	@touch $@

$(BIN)/gofumpt: Makefile
	cd /tmp && GOBIN=$(BIN) $(GO) install mvdan.cc/gofumpt@$(GOFUMPT)
	@touch $@
