# make run and make test fetch and build what they need; make help lists the rest.
# Tools and nodes are pinned and kept in .cache, which git ignores.

GO            ?= go
GOLANGCI_LINT  = v2.15.0
GETH           = v1.16.9
# upgrades are tried from the one before, and to one that fails on a development chain:
GETH_OLD       = v1.16.8
GETH_FAILING   = v1.17.8
# the last that seals by proof of authority:
GETH_CLIQUE    = v1.13.15
FUZZTIME      ?= 1m

CACHE := $(CURDIR)/.cache
BIN   := $(CACHE)/bin
IMAGE := $(CACHE)/image
RUN   := $(CACHE)/run

VERSION := $(shell git describe --tags --dirty 2>/dev/null || echo dev)
COMMIT  := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
STATIC   = CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)'

# Asked once, and only by the targets that want to know.
once     = $(eval $1 := $(shell $2))$($1)
DOCKER   = $(call once,DOCKER,docker info >/dev/null 2>&1 && echo yes)
COMPOSE  = $(call once,COMPOSE,docker compose version >/dev/null 2>&1 && echo docker compose -p wemixvisor || \
	{ command -v docker-compose >/dev/null && echo docker-compose -p wemixvisor; })
# The race detector needs a C compiler; where there is none, Go says cgo is off.
RACE     = $(call once,RACE,test "`$(GO) env CGO_ENABLED`" = 1 && echo -race)

LINTER := $(BIN)/golangci-lint-$(GOLANGCI_LINT)
NODE   := $(BIN)/geth-$(GETH)
SIGNER := $(BIN)/geth-$(GETH_CLIQUE)
OLD    := $(BIN)/geth-$(GETH_OLD)
FAILING := $(BIN)/geth-$(GETH_FAILING)

.PHONY: build build-all install run run-here stop opened test unit e2e test-long bench bench-probe bench-upgrade bench-backup \
	image fmt lint ci-test tools clean help
.DELETE_ON_ERROR:

build: ## build ./wemixvisor, static, for this machine
	$(STATIC) -o wemixvisor ./cmd/wemixvisor

build-all: ## build both architectures and check that they are static and small
	@for arch in amd64 arm64; do \
		file=$(CACHE)/dist/wemixvisor-linux-$$arch; \
		GOOS=linux GOARCH=$$arch $(STATIC) -o $$file ./cmd/wemixvisor || exit 1; \
		size=$$(wc -c < $$file); \
		echo "linux/$$arch: $$size bytes"; \
		test $$size -le 16777216 || { echo "linux/$$arch: over 16 MiB"; exit 1; }; \
		if readelf -lW $$file | grep -q INTERP; then echo "linux/$$arch: not static"; exit 1; fi; \
	done

install: ## install wemixvisor into Go's bin folder
	CGO_ENABLED=0 $(GO) install -trimpath -ldflags '$(LDFLAGS)' ./cmd/wemixvisor

run: ## start a development chain under wemixvisor: in a container, else as a process
	@$(MAKE) --no-print-directory $(if $(DOCKER),$(if $(COMPOSE),run-in-container,run-here),run-here)

.PHONY: run-in-container
run-in-container: image-node
	VALIDATORS_SUBNET=10.213.86.0/24 $(COMPOSE) up -d node
	@$(MAKE) -s --no-print-directory opened LOGS='$(COMPOSE) logs -f node'

run-here: build $(NODE) ## start it as a process of this machine
	@echo "no container: the chain runs as a process, its files are in $(RUN)"
	@mkdir -p $(RUN)/bin
	@ln -sf $(NODE) $(RUN)/bin/wemixd
	@PATH=$(RUN)/bin:$$PATH DAEMON_HOME=$(RUN)/home DAEMON_SHUTDOWN_GRACE=5m \
	DAEMON_PROBE_ADDRESS=127.0.0.1:$${PROBE_PORT:-9090} DAEMON_RPC_ADDRESS=127.0.0.1:$${RPC_PORT:-8545} \
	./wemixvisor start --datadir=$(RUN)/home/data --dev --dev.period=1 --cache=256 \
		--http --http.port=$${RPC_PORT:-8545} --http.api=eth,net,web3 || test $$? = 4 # it runs already
	@$(MAKE) -s --no-print-directory opened LOGS='DAEMON_HOME=$(RUN)/home ./wemixvisor logs -f'

opened: PROBE = $${PROBE_PORT:-9090}
opened:
	@n=0; until ./wemixvisor --probe-address 127.0.0.1:$(PROBE) probe ready >/dev/null 2>&1; do \
		n=$$((n+1)); test $$n -lt 240 || break; sleep 0.5; done
	@./wemixvisor --probe-address 127.0.0.1:$(PROBE) probe ready || \
		{ echo "not ready after 2 minutes; see: $(LOGS)"; exit 1; }
	@echo "A development chain runs under wemixvisor. Open:"
	@echo "  http://127.0.0.1:$(PROBE)/readyz?verbose   how it is"
	@echo "  http://127.0.0.1:$(PROBE)/metrics          its metrics"
	@echo "  http://127.0.0.1:$${RPC_PORT:-8545}                  the node's JSON-RPC"
	@echo "Its log: $(LOGS)"
	@echo "Stop it: make stop (its data stays)"

stop: ## stop the development chain
	@if test -S $(RUN)/home/wemixvisor/wemixvisor.sock; then DAEMON_HOME=$(RUN)/home ./wemixvisor stop; fi
	$(if $(DOCKER),$(if $(COMPOSE),$(COMPOSE) down))

test: unit e2e ## run all tests

unit:
	$(if $(RACE),,@echo "=== no C compiler (apt-get install gcc libc6-dev): WITHOUT THE RACE DETECTOR ===")
	$(GO) test $(RACE) -tags failpoint -timeout 15m ./...
	cd e2e/kubernetes && $(GO) test ./...

# Where no Docker engine answers the tests skip; under CI=true they fail.
e2e: build ## run the end-to-end tests alone
	$(if $(DOCKER),@$(MAKE) --no-print-directory image,@echo "=== NO DOCKER ENGINE ANSWERS: THE END-TO-END TESTS DO NOT RUN ===")
	$(GO) test $(RACE) -tags e2e -timeout 30m -count=1 ./e2e

test-long: test ## also: what takes long, the unit tests ten times, and every fuzz target for FUZZTIME
	WEMIXVISOR_LONG=1 $(GO) test $(RACE) -tags failpoint -timeout 120m -count=1 ./...
	WEMIXVISOR_LONG=1 $(GO) test $(RACE) -tags e2e -timeout 120m -parallel 5 -count=1 ./e2e
	$(GO) test $(RACE) -tags failpoint -timeout 60m -count=10 ./...
	@for package in $$($(GO) list ./...); do \
		for fuzz in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			$(GO) test -run '^$$' -fuzz "^$$fuzz\$$" -fuzztime $(FUZZTIME) $$package || exit 1; \
		done; \
	done

PEERS = tini dumb-init catatonit
bench: build ## measure against tini, dumb-init and catatonit, in one run
	@for peer in $(PEERS); do command -v $$peer >/dev/null || missing="$$missing $$peer"; done; \
	test -z "$$missing" || { \
		test "$$(id -u)" = 0 || { echo "please install first:$$missing"; exit 1; }; \
		echo "installing:$$missing"; apt-get update -qq && apt-get install -y -qq $$missing; }
	$(GO) run ./e2e/bench -supervisor ./wemixvisor $(BENCHFLAGS)

bench-probe: build $(NODE) ## measure probes, metrics and their cost over a real node
	$(GO) run ./e2e/bench -supervisor ./wemixvisor -node $(NODE) $(BENCHFLAGS)

bench-upgrade: build $(NODE) ## measure how long a node is down for an upgrade
	$(GO) run ./e2e/bench -supervisor ./wemixvisor -node $(NODE) -upgrade $(BENCHFLAGS)

bench-backup: build ## measure backups against tar, zstd and cp, on generated chain data
	$(GO) run ./e2e/bench -supervisor ./wemixvisor -backup -rounds 3 -markdown $(BENCHFLAGS)
	@echo; echo "The window in which the node is down, against cold tar | zstd and cp -a:"
	@WEMIXVISOR_LONG=1 $(GO) test -count=1 -v -timeout 30m -run '^TestBarOf(TheWindow|ManyFiles)$$' ./backup | grep -E 'bars_test|^(ok|FAIL)'

image: image-node image-signer image-upgrades ## build the images

# What the Dockerfile copies: all is static and from scratch, so that building an
# image is no more than this. Anybody may read it: the image's user is not root.
.PHONY: stage image-node image-signer image-upgrades
stage: build
	@rm -rf $(IMAGE)
	@mkdir -p $(IMAGE)/empty $(IMAGE)/root/etc $(IMAGE)/root/tmp $(IMAGE)/root/licenses/go
	@cp wemixvisor $(IMAGE)
	@echo 'wemixvisor:x:65532:65532::/data:/' > $(IMAGE)/root/etc/passwd
	@echo 'wemixvisor:x:65532:' > $(IMAGE)/root/etc/group
	@cp LICENSE NOTICE $(IMAGE)/root/licenses
	@cp "$$($(GO) env GOROOT)/LICENSE" $(IMAGE)/root/licenses/go
	@$(GO) list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}' ./cmd/wemixvisor | \
		sort -u | grep . | while read -r path dir; do \
			to="$(IMAGE)/root/licenses/$$path"; mkdir -p "$$to"; \
			find "$$dir" -maxdepth 1 -type f \( -iname 'licen[cs]e*' -o -name 'COPYING*' -o -name 'NOTICE*' \) \
				-exec install -m 644 -t "$$to" {} +; \
			test -n "$$(ls "$$to")" || { echo "no licence text: $$path"; exit 1; }; \
		done
	@chmod -R u=rwX,go=rX $(IMAGE)
	@chmod 1777 $(IMAGE)/root/tmp

image-node: stage $(NODE)
	@install -m 755 $(NODE) $(IMAGE)/geth
	$(call docker_build,wemixvisor,wemixvisor:dev)
	$(call docker_build,node,wemixvisor-node:dev)

image-signer: image-upgrades $(SIGNER) $(CACHE)/genesis
	@install -m 755 $(SIGNER) $(IMAGE)/geth-clique
	@cp -r $(CACHE)/genesis e2e/network $(IMAGE)
	@chmod -R u=rwX,go=rX $(IMAGE)/genesis $(IMAGE)/network
	$(call docker_build,signer,wemixvisor-node:clique)

# Three nodes and a bad one, each called wemixd in a folder of its own: PATH says
# which of them is the image's. The tests have them also with a wemixvisor that ends
# at a named moment.
image-upgrades: image-node $(OLD) $(FAILING)
	@rm -rf $(IMAGE)/opt
	@install -D -m 755 $(OLD) $(IMAGE)/opt/old/wemixd
	@install -D -m 755 $(NODE) $(IMAGE)/opt/new/wemixd
	@install -D -m 755 $(FAILING) $(IMAGE)/opt/failing/wemixd
	@mkdir -p $(IMAGE)/opt/bad
	@CGO_ENABLED=0 $(GO) build -trimpath -o $(IMAGE)/opt/bad/wemixd ./e2e/badnode
	@chmod -R u=rwX,go=rX $(IMAGE)/opt
	@CGO_ENABLED=0 $(GO) build -trimpath -tags failpoint -o $(IMAGE)/failpoint/wemixvisor ./cmd/wemixvisor
	@chmod -R u=rwX,go=rX $(IMAGE)/failpoint
	$(call docker_build,upgrades,wemixvisor-node:upgrades)
	$(call docker_build,failpoint,wemixvisor-node:failpoint)

# The engine's word is of interest when it fails: the classic builder complains of
# its age each time.
docker_build = @echo "image $2" && docker build -q --target $1 -t $2 \
	--label org.opencontainers.image.version=$(VERSION) --label org.opencontainers.image.revision=$(COMMIT) \
	. >$(IMAGE).log 2>&1 || { cat $(IMAGE).log; exit 1; }

fmt: $(LINTER) ## format the code
	$(LINTER) fmt

lint: $(LINTER) ## check the format and the rules of the house
	$(LINTER) fmt --diff
	$(GO) vet -tags e2e,failpoint ./...
	$(GO) vet ./backup/failpoint
	cd e2e/kubernetes && $(GO) vet ./...
	$(LINTER) run

ci-test: ## what CI runs
	.ci/run

tools: $(LINTER) $(NODE) $(SIGNER) $(OLD) $(FAILING) ## build the pinned tools and nodes (make -j2 tools)

clean: ## remove what was built; the tools and nodes in .cache/bin stay
	rm -rf wemixvisor $(CACHE)/dist $(CACHE)/genesis $(IMAGE) $(IMAGE).log

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-11s %s\n", $$1, $$2 }' Makefile

# A program of another module: built aside, then put in place under a name that
# holds its version.
go_install = @mkdir -p $(BIN) && aside=$$(mktemp -d $(CACHE)/aside.XXXXXX) && \
	echo "building $(@F): takes minutes, once" && cd $$aside && \
	CGO_ENABLED=0 GOFLAGS= GOBIN=$$aside $(GO) install -trimpath -ldflags '-s -w $2' $1 && \
	mv $$aside/* $@ && rmdir $$aside

$(LINTER):
	$(call go_install,github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT))

$(NODE) $(OLD) $(FAILING): $(BIN)/geth-%:
	$(call go_install,github.com/ethereum/go-ethereum/cmd/geth@$*)

# It reaches into the standard library, which Go's linker refuses by now.
$(SIGNER):
	$(call go_install,github.com/ethereum/go-ethereum/cmd/geth@$(GETH_CLIQUE),-checklinkname=0)

# The three signers' data before their first start: the genesis block, and one that
# signer1 sealed. Started all at once on the genesis block alone, each may seal the
# next before it knows the others, and then all wait for each other for ever; on
# this one there is always one who has not signed last.
$(CACHE)/genesis: e2e/network/genesis.json | $(SIGNER)
	@rm -rf $@
	@network=e2e/network; account=$$(ls $$network/signer1/keystore | sed 's/.*--//'); { \
		$(SIGNER) init --datadir $@ $< && \
		timeout 60 $(SIGNER) --datadir $@ --networkid 77077 --syncmode full --gcmode archive \
			--nodiscover --nat none --maxpeers 0 --port 0 --authrpc.port 0 --ipcdisable \
			--keystore $$network/signer1/keystore --password $$network/password --unlock $$account \
			--mine --miner.etherbase $$account \
			--exec 'while (eth.blockNumber < 1) admin.sleep(0.1)' console; \
	} >$@.log 2>&1 || { cat $@.log; exit 1; }
	@rm -rf $@.log $@/keystore $@/history $@/geth/nodekey $@/geth/jwtsecret
	@touch $@
