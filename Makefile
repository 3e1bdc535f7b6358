# The whole workflow. `make run` and `make test` work as the first command on a machine with Rust and Python 3; `make test`
# needs PostgreSQL, Redis and Node.js too, which `make setup` installs where it may and names where it may not.

PYTHON ?= python3
CARGO ?= cargo
FUZZ_SECONDS ?= 60
# The binary that make bench measures: the released one.
BENCH_TOLLWARD ?= $(CURDIR)/target/dist/tollward
FUZZ_TARGETS ?= $(patsubst fuzz/fuzz_targets/%.rs,%,$(wildcard fuzz/fuzz_targets/*.rs))

.DEFAULT_GOAL := help
.PHONY: help setup run test lint fmt fuzz release bench bench-scale docs clean

help: ## Show what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Provide what tests drive: Envoy, grpcurl and an identity provider in .tools/, servers from the system
	@$(PYTHON) scripts/setup

run: ## Start Tollward, Envoy and a sample upstream; print lines to try
	@$(PYTHON) scripts/setup tools
	$(CARGO) build --locked --bin tollward --example upstream
	@exec $(PYTHON) scripts/run.py

test: setup ## Run every test, the ones through a real Envoy included
	$(CARGO) test --locked --lib --bins --tests
	$(CARGO) test --locked --doc
	@$(CARGO) build --locked --bin tollward --example upstream
	$(PYTHON) scripts/run.py --check

lint: ## Formatting, clippy and documentation, warnings denied
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items

fmt: ## Format the code
	$(CARGO) fmt

fuzz: ## Feed each reader of foreign bytes for FUZZ_SECONDS (60), guided by coverage
	@test -x .tools/bin/cargo-fuzz || $(CARGO) install --locked --quiet --version 0.12.0 --root .tools cargo-fuzz
	@# The compiler in use takes the flags that its nightly takes: no second one is needed.
	for target in $(FUZZ_TARGETS); do \
		RUSTC_BOOTSTRAP=1 .tools/bin/cargo-fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS) -max_len=16384 || exit 1; \
	done

release: ## Build target/dist/tollward, the binary as it is released: laid out by what it does under load
	@$(PYTHON) scripts/setup release
	$(PYTHON) scripts/release.py

bench: release ## Measure Check against the reference servers; writes target/bench/summary.json
	BENCH_TOLLWARD=$(BENCH_TOLLWARD) $(CARGO) bench --locked --bench check

bench-scale: setup ## Measure a million keys in PostgreSQL: times to resolve one, and memory
	$(CARGO) bench --locked --bench scale

docs: ## Write docs/configuration.md anew from the configuration types
	TOLLWARD_WRITE_DOCS=1 $(CARGO) test --locked --lib config

clean: ## Remove what was built and installed
	$(CARGO) clean
	rm -rf .tools
