# Two verbs for everyone, `make serve` and `make test`; the others are parts of `make test`, for those who work here.
# What a verb needs it installs or builds itself, once: into .venv, target/ and .build/, and from Debian's packages what
# scripts/need.sh finds missing. Nothing is rebuilt that has not changed.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
# One verb after the other, in the order written: cargo uses all cores by itself, and the first failure should be the last line.
.NOTPARALLEL:

PY := .venv/bin
ENV := .venv/.synced
EXTENSION := python/rtpcore/_core.abi3.so
# What the page of --dev takes from npm.
PAGE := python/rtpcore/page/vendor/livekit-client.js
# Clients that the tests drive.
CLIENTS := tests/clients/node_modules/.installed tests/clients/go/client
TESTS_OF_CLIENTS := $(wildcard tests/e2e/test_clients*.py)
# LiveKit's agent workers, in an environment of their own.
AGENTS := .build/agents/.synced
# LiveKit's own server, of which `make conformance` asks what is right.
ORACLE := .build/oracle-1.11.0/server
# These tests wait most of their time.
SIDE_BY_SIDE := --numprocesses 2 --dist loadgroup
# The clients of `rtpcore bench load`.
LOAD := target/release/rtpcore-load
CARGO_DENY := .build/tools/bin/cargo-deny-0.20.2
LOCKED := $(if $(CI),--locked)
# Crates whose unit tests cargo runs: the Python face has none without an interpreter, the simulations are a verb of their own.
CRATES := --workspace --exclude rtpcore-py --exclude rtpcore-sim
# The second DTLS engine is OpenSSL. What is shipped has it compiled in, which takes minutes: that is the optimised build. All
# other builds take the machine's, from Debian's packages.
OF_MACHINE := OPENSSL_NO_VENDOR=1
LOCK := uv pip compile --universal --python-version 3.10 --upgrade --generate-hashes --no-emit-index-url \
  --no-emit-find-links --custom-compile-command 'make lock' --quiet
# Directories are listed too: their time changes when a file is removed.
LOAD_SOURCES := $(shell find bench/load -type d -o -name '*.rs' -o -name Cargo.toml) Cargo.toml Cargo.lock
RUST_SOURCES := $(shell find rust -not -path '*/tests*' \( -type d -o -name '*.rs' -o -name Cargo.toml \)) Cargo.toml Cargo.lock

export VIRTUAL_ENV := $(CURDIR)/.venv
export PATH := $(CURDIR)/.build/uv/bin:$(CURDIR)/.build/tools/bin:$(PATH)
export UV_PYTHON_DOWNLOADS := never
unexport CONDA_PREFIX PYTHONPATH OPENSSL_NO_VENDOR

.PHONY: help
help:  ## Say what the verbs are
	@sed -nE 's/^([a-z0-9-]+):[^#]*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

##### For everyone

.PHONY: serve
serve: build  ## Start a server with a page to publish and play; prints its URL (ARGS="--help" for options)
	@$(PY)/python -m rtpcore.serve --dev $(ARGS)

.PHONY: test
test: needs lint unit sim fuzz e2e instructions purity  ## Everything CI checks; the quick checks first

##### Parts of it

.PHONY: build
build: $(EXTENSION) $(PAGE)  ## .venv with rtpcore in it, the extension optimised, the page complete

.PHONY: lint
lint: lint-python lint-rust supply-chain  ## Format, lints, types, arrows, spelling, licences

.PHONY: lint-python
lint-python: $(ENV)
	$(PY)/ruff check --quiet .
	$(PY)/ruff format --quiet --check .
	$(PY)/typos --quiet
	PYTHONPATH=python $(PY)/lint-imports --no-cache --no-logo
	$(PY)/mypy --no-error-summary

.PHONY: lint-rust
lint-rust: needs-rust
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	$(OF_MACHINE) cargo clippy --quiet --workspace --all-targets $(LOCKED) -- --deny warnings

.PHONY: supply-chain
supply-chain: $(ENV) $(AGENTS) $(CARGO_DENY)
	$(PY)/python scripts/check_licences.py
	$(PY)/python scripts/check_licences.py $(dir $(AGENTS))
	$(CARGO_DENY) --log-level warn --workspace check bans licenses sources

.PHONY: unit
unit: needs-rust needs-unit $(EXTENSION)  ## Tests of the crates and of the package
	$(OF_MACHINE) cargo test --quiet $(CRATES) $(LOCKED)
	$(PY)/stubtest --mypy-config-file pyproject.toml rtpcore._core
	$(PY)/pytest --quiet --ignore tests/e2e

.PHONY: sim
sim: needs-rust  ## Rooms in virtual time: the committed seeds, SEEDS=1000 more of them if asked, calls on bad networks
	$(OF_MACHINE) cargo test --quiet --package rtpcore-sim $(LOCKED)
	$(OF_MACHINE) cargo run --quiet --package rtpcore-sim --bin quality $(LOCKED) -- --check
	$(if $(SEEDS),$(OF_MACHINE) cargo run --quiet --package rtpcore-sim --bin sweep $(LOCKED) -- --seeds 0..$(SEEDS))

.PHONY: fuzz
fuzz: needs-rust needs-fuzz  ## Every fuzz target from its seeds, for FUZZ_SECONDS (15) each
	$(OF_MACHINE) scripts/fuzz.sh $(TARGETS)

.PHONY: e2e
e2e: needs-e2e $(EXTENSION) $(PAGE) $(CLIENTS) $(AGENTS) $(LOAD)  ## Chromium, GStreamer and LiveKit's clients publish and play through a real server
	$(PY)/pytest --quiet $(SIDE_BY_SIDE) tests/e2e

# LiveKit's server may fail what ours must not: pytest says 1 then, and the table which. What it never does need not be
# waited for as long.
.PHONY: conformance
conformance: needs-e2e $(EXTENSION) $(CLIENTS) $(ORACLE)  ## What LiveKit's clients can do here and with LiveKit's server
	CONFORMANCE=.build/ours.json $(PY)/pytest --quiet $(SIDE_BY_SIDE) $(TESTS_OF_CLIENTS)
	CONFORMANCE=.build/theirs.json DEADLINE=20 ORACLE=$(ORACLE) \
	  $(PY)/pytest --quiet $(SIDE_BY_SIDE) $(TESTS_OF_CLIENTS) || [ $$? -eq 1 ]
	$(PY)/python -m tests.e2e.conformance .build/ours.json .build/theirs.json > docs/conformance.md

.PHONY: purity
purity: wasm package  ## What the code promises beyond behaviour: a pure core, a complete package

.PHONY: wasm
wasm:  ## The core builds for wasm32 and asks the host for nothing
	scripts/wasm.sh

.PHONY: package
package: $(ENV) $(EXTENSION) $(PAGE)
	scripts/package.sh

.PHONY: instructions
instructions: needs-bench $(ENV)  ## Instructions per packet beside bench/baseline.txt (ARGS=--check to fail, --update to write)
	$(PY)/python bench/instructions.py $(ARGS)

.PHONY: bench
bench: needs-bench $(EXTENSION) $(PAGE) $(LOAD)  ## Measure against the floor, aiortc and LiveKit's server; writes bench/results/bench.json
	$(PY)/python -m bench $(ARGS)

# LiveKit's server has rows in `make bench` and a column here where it is there: `make .build/oracle-1.11.0/server`.
.PHONY: quality
quality: needs-quality $(EXTENSION) $(PAGE)  ## What Chromium sees on bad networks, beside LiveKit's server; half an hour
	$(PY)/python -m bench.quality $(ARGS)

##### Housekeeping

.PHONY: lock
lock:  ## Take the newest versions that pyproject.toml allows into requirements/
	@scripts/get-uv.sh
	$(LOCK) pyproject.toml --group dev --output-file requirements/dev.txt
	$(LOCK) --group agents --no-emit-package livekit-local-inference --output-file requirements/agents.txt

.PHONY: format
format: $(ENV)  ## Let the formatters have their way
	cargo fmt --all
	cargo fmt --manifest-path fuzz/Cargo.toml
	$(PY)/ruff check --quiet --fix .
	$(PY)/ruff format --quiet .

.PHONY: clean
clean:  ## Remove everything that was built or installed here
	rm -rf .venv .build target fuzz/target fuzz/corpus fuzz/artifacts dist $(EXTENSION) page/node_modules $(dir $(PAGE))
	rm -rf tests/clients/node_modules tests/clients/go/client
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

.PHONY: needs needs-rust needs-unit needs-e2e needs-fuzz needs-bench needs-quality
# Asked for in one go by `make test`, so that a missing package is known after a second and not after ten minutes.
needs:
	@scripts/need.sh libssl libsrtp2 chromium gstreamer npm go c++ valgrind
needs-rust:
	@scripts/need.sh libssl
needs-unit:
	@scripts/need.sh libsrtp2
needs-e2e:
	@scripts/need.sh libssl chromium gstreamer npm go
needs-fuzz:
	@scripts/need.sh c++
needs-bench:
	@scripts/need.sh valgrind chromium npm
needs-quality:
	@scripts/need.sh libssl chromium npm

##### What is on disk

$(ENV): requirements/dev.txt
	@scripts/get-uv.sh
	uv venv --quiet --allow-existing --no-project --python '>=3.10' .venv
	uv pip sync --quiet --require-hashes requirements/dev.txt
	touch $@

# livekit-agents pins one release of `livekit`, an older one than the tests drive as a client: two environments. It comes
# without its models, whose licence is not free; tests/clients/agents has none of what they do.
$(AGENTS): requirements/agents.txt
	@scripts/get-uv.sh
	uv venv --quiet --allow-existing --no-project --python '>=3.10' $(@D)
	VIRTUAL_ENV=$(CURDIR)/$(@D) uv pip sync --quiet --require-hashes requirements/agents.txt
	touch $@

# What is in the lock file, wherever this machine takes its packages from; nothing of it runs here but in a browser.
tests/clients/node_modules/.installed: tests/clients/package.json tests/clients/package-lock.json
	npm ci --prefix tests/clients --silent --no-audit --no-fund --ignore-scripts
	touch $@

tests/clients/go/client: $(wildcard tests/clients/go/*.go) tests/clients/go/go.mod tests/clients/go/go.sum
	go build -C tests/clients/go -trimpath -o client .

# Some minutes of a processor, once.
$(ORACLE):
	GOBIN=$(CURDIR)/$(@D) go install github.com/livekit/livekit-server/cmd/server@v1.11.0

$(EXTENSION): $(ENV) pyproject.toml $(RUST_SOURCES)
	$(PY)/maturin develop --release --uv --quiet
	touch $@

$(LOAD): $(LOAD_SOURCES)
	$(OF_MACHINE) cargo build --quiet --release --package rtpcore-load $(LOCKED)
	touch $@

$(PAGE): page/package.json page/package-lock.json page/vendor.mjs
	@scripts/need.sh npm
	npm --prefix page ci --ignore-scripts --loglevel error
	npm --prefix page run build --silent

$(CARGO_DENY):
	scripts/get-cargo-tool.sh cargo-deny 0.20.2
	ln -sf cargo-deny $@
