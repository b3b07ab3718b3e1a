# `make` lists the targets. Every one that builds sources scripts/env.sh first, which installs what a
# fresh machine lacks and says so; nothing has to be done by hand.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# ARGS is passed on to the program; SEED selects one simulated world.
ARGS ?=
SEED ?=
# Seconds or runs of each fuzz target, and which; see scripts/fuzz.sh.
TIME ?= 60
RUNS ?=
TARGETS ?=

ENV := . scripts/env.sh;
CARGO := $(ENV) cargo
# cargo-nextest where it is installed, else cargo's own runner; the same tests either way.
NEXTEST := $(shell cargo nextest --version >/dev/null 2>&1 </dev/null && echo yes)
NEXTEST_PROFILE := $(if $(CI),--profile ci,)

.PHONY: help
help: ## list the targets
	@printf 'Blindfold: order first, read later, prove it to anyone.\n\n'
	@sed -n 's/^\([a-z][a-z-]*\):[^#]*## \(.*\)$$/  \1|\2/p' Makefile | awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'

##### Use

.PHONY: devnet
devnet: ## build and run a whole network on this machine; ARGS="--transactions 200 --exit --json"
	@$(ENV) exec cargo run --locked -p blindfold-node --bin blindfold -- devnet $(ARGS)

.PHONY: demo-slash
demo-slash: ## a test-only build makes one poster reorder a batch: found from L1, proven, its stake burns; ARGS=--json
	@$(ENV) exec cargo run --locked -p blindfold-node --features demo --bin blindfold -- demo slash $(ARGS)

.PHONY: build
build: ## build the release binary `blindfold`
	@$(CARGO) build --locked --release -p blindfold-node --bin blindfold
	@$(ENV) printf 'built: %s\n' "$$CARGO_TARGET_DIR/release/blindfold"

##### Measure

# Which benchmarks (a regular expression), and whether to measure shortly.
BENCH_FILTER ?=
QUICK ?=

.PHONY: bench
bench: ## every step of opening beside its limit and other libraries; BENCH_FILTER="share|seal" QUICK=1
	@BENCH_FILTER="$(BENCH_FILTER)" QUICK="$(QUICK)" bash scripts/bench.sh

.PHONY: bench-snapshot
bench-snapshot: ## put the table of the last whole run into docs/performance.md
	@$(CARGO) run --quiet --locked --release -p blindfold-bench -- snapshot target/bench

##### Check

.PHONY: test
test: ## build and run every test
	@$(CARGO) test --quiet --locked --workspace --doc
ifeq ($(NEXTEST),yes)
	@$(CARGO) nextest run --locked --workspace $(NEXTEST_PROFILE)
else
	@$(CARGO) test --locked --workspace --lib --bins --tests --no-fail-fast
endif

.PHONY: test-slow
test-slow: ## the same with slow tests, 2,048 cases per property that sets no count of its own, and test-machine
ifeq ($(NEXTEST),yes)
	@$(ENV) PROPTEST_CASES=2048 cargo nextest run --locked --workspace --profile slow --run-ignored all -E 'not test(/^machine::/)'
else
	@$(ENV) PROPTEST_CASES=2048 cargo test --locked --workspace --lib --bins --tests --no-fail-fast -- --include-ignored --skip machine::
endif
	@$(MAKE) test-machine

# What the machine lacks is printed as NOT RUN and counted as such (the script's exit code 77): no failure, and no
# pass either.
.PHONY: test-machine
test-machine: ## faults that need root, a C compiler or network namespaces: full disk, wrong clock, partitions
	@bash scripts/machine.sh || [ $$? = 77 ]

.PHONY: test-netns
test-netns: ## of these, the members in network namespaces: partitions, 100 ms delay and 5 % loss, heal
	@bash scripts/machine.sh netns:: || [ $$? = 77 ]

.PHONY: sim
sim: ## replay one simulated world, SEED=n (without: the default seeds)
	@$(ENV) exec cargo run --locked -p blindfold-sim -- $(if $(SEED),--seed $(SEED)) $(ARGS)

.PHONY: fuzz
fuzz: ## fuzz every decoder and the admission path, TIME=60 seconds each or RUNS=n; TARGETS="block keys"
	@TIME="$(TIME)" RUNS="$(RUNS)" TARGETS="$(TARGETS)" bash scripts/fuzz.sh

# The length of a soak, in minutes.
MINUTES ?= 20

.PHONY: soak
soak: ## a devnet under half load with random kills for MINUTES=20: memory, files, disk; ARGS="--rate 5 --json"
	@$(ENV) exec cargo run --locked -p blindfold-node --bin blindfold -- devnet --soak $(MINUTES) --exit $(ARGS)

# A rate is found by itself; ARGS="--rate 200" sets one.
SECONDS_EACH ?= 20

.PHONY: load
load: build ## a devnet of release builds under load: rate, the machine's limit, latencies; ARGS="--rate 200 --json"
	@$(ENV) exec "$$CARGO_TARGET_DIR/release/blindfold" bench load --seconds $(SECONDS_EACH) $(ARGS)

.PHONY: fmt
fmt: ## format the code
	@cargo fmt --all

.PHONY: fmt-check
fmt-check: ## fail if `make fmt` would change anything
	@cargo fmt --all --check

.PHONY: lint
lint: ## clippy over all targets, warnings denied
	@$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

.PHONY: doc
doc: ## the API documentation, broken links denied
	@$(ENV) RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps

# The compiled contracts are committed, so nothing but this target, its tests and CI needs their compiler.
.PHONY: contracts
contracts: ## recompile the Solidity contracts (npm) and run forge's tests; ARGS=--check only compares
	@bash scripts/contracts.sh build $(ARGS)
	@bash scripts/contracts.sh test
	@bash scripts/contracts.sh gas $(ARGS)

.PHONY: contracts-check
contracts-check: ## what CI runs of it: compare the committed code and gas table, run forge's tests
	@$(MAKE) contracts ARGS=--check

.PHONY: deny
deny: ## licences and sources of every dependency (installs cargo-deny if missing)
	@cargo deny --version >/dev/null 2>&1 || cargo install --locked cargo-deny
	@cargo deny --locked check bans licenses sources

.PHONY: ci
ci: ## what continuous integration runs: fmt-check, contracts-check, lint, doc, test, with the time of each
	@bash scripts/ci.sh fmt-check contracts-check lint doc test
