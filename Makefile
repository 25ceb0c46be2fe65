# Everything that is done with this repository, one command each; `make` alone lists them.

SHELL := bash
# Rust's tools and the system's, whether the shell knows their folders or not.
export PATH := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH):/usr/sbin:/sbin
# On a build server, a Cargo.lock that does not fit is a mistake.
LOCKED := $(if $(CI),--locked)
CARGO_DENY := 0.20.2

.PHONY: help run keycloak test wheel lint doc prepare check-prepared openapi bench bench-history bench-python \
	policy-mutants setup

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

run: setup ## Start Kijko with a database of its own
	cargo run $(LOCKED) -p kijko-http

keycloak: ## Start a Keycloak on loopback for trying the Keycloak mode; fetched on the first run
	@scripts/keycloak.sh

test: setup ## Run every test; they start what they need
	@scripts/setup.sh tests
	cargo build $(LOCKED) -p kijko-http -p kijko-cli
	cargo test $(LOCKED) --workspace --exclude kijko-py
	scripts/python.sh test

wheel: setup ## Build the Python package as a wheel
	scripts/python.sh wheel

lint: setup ## Check the format, the code, and the licences and advisories of dependencies
	cargo fmt --all --check
	@# kijko-py too, on a machine without Python: nothing is linked here.
	PYO3_NO_PYTHON=1 PYO3_BUILD_EXTENSION_MODULE=1 \
		cargo clippy $(LOCKED) --workspace --all-targets -- -D warnings
	@# Unoptimised, it is built in a minute and still checks in a second.
	@type -P cargo-deny >/dev/null || \
		CARGO_PROFILE_DEV_DEBUG=0 cargo install cargo-deny --version $(CARGO_DENY) --locked --debug
	cargo deny check --hide-inclusion-graph licenses bans sources
	@if cargo deny fetch db; then \
		cargo deny --offline check --hide-inclusion-graph advisories; \
	else \
		echo "NOT CHECKED: the database of advisories cannot be reached from here."; \
	fi

doc: setup ## Build the documentation of the code; a warning is an error
	RUSTDOCFLAGS="-D warnings" cargo doc $(LOCKED) --no-deps

prepare: setup ## Renew .sqlx after a change to a checked query or a migration
	scripts/prepare.sh

check-prepared: setup ## Check that .sqlx is what `make prepare` would make
	scripts/prepare.sh --check

openapi: setup ## Rewrite docs/openapi.json from the code
	UPDATE_SNAPSHOTS=1 cargo test -p kijko-tests --test it openapi

bench: setup ## Measure throughput and latency
	cargo run --release -p kijko-benches

bench-history: setup ## Load 1,000,000 executions and time every list and statistic over them
	cargo run --release -p kijko-benches -- --history

bench-python: setup ## Measure the Python package beside HTTP and beside a driver
	scripts/python.sh bench

policy-mutants: setup ## Weaken each policy in turn and see that a test notices
	cargo test -p kijko-tests --test it policy_mutants -- --nocapture

setup: ## Install what is missing; every command above begins with this
	@scripts/setup.sh
