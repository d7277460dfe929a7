# One command each: `make demo` shows the main job, `make test` proves it,
# `make setup` is what both begin with. Run as root on Debian 12 or newer, or Ubuntu.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.ONESHELL:
MAKEFLAGS += --no-print-directory

# The system's interpreter: python3-audit belongs to it.
PYTHON := /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml README.md $(shell find auditsvc rules migrations native -type f \
    -not -path '*/__pycache__/*' -not -path 'native/target/*')

.PHONY: setup demo test bench laurel lint unit peers lock wheel clean

setup: $(VENV)/.installed

build/.system: tools/system-packages
	@mkdir -p build
	tools/system-packages runtime
	touch $@

build/.system-test: tools/system-packages build/.system
	tools/system-packages test
	touch $@

$(VENV)/.dependencies: constraints.txt build/.system
	$(PYTHON) -m venv --system-site-packages $(VENV)
	# Build tools first, so that no isolated build fetches unpinned ones.
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes --ignore-installed \
	    -r <(tools/pick-pins setuptools setuptools-rust semantic-version wheel packaging < constraints.txt)
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes --no-build-isolation \
	    -r constraints.txt
	touch $@

# The wheel is what users get, so the wheel is what we run and test.
$(VENV)/.installed: $(SOURCES) $(VENV)/.dependencies
	rm -rf dist build/lib* build/temp* build/bdist.* *.egg-info
	$(BIN)/python -m pip wheel -q --disable-pip-version-check --no-build-isolation --no-deps --wheel-dir dist .
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --force-reinstall dist/auditsvc-*.whl
	rm -rf build/lib* build/temp* build/bdist.* *.egg-info
	$(BIN)/auditsvc --version  # says whether the native core was built
	touch $@

wheel: setup

demo: setup
	tools/demo

# Oracles and rivals, unpacked and never installed or started as services.
peers: build/peers/.unpacked

build/peers/.unpacked: tools/unpack-peers build/.system-test
	tools/unpack-peers build/peers auditd libwrap0
	touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	if command -v cargo-clippy > /dev/null; then
	    cargo fmt --check --manifest-path native/Cargo.toml
	    cargo clippy -q --locked --release --all-targets --manifest-path native/Cargo.toml
	fi

test: setup peers lint
	$(BIN)/pytest

# Against the peers, into docs/benchmarks.md. BENCH=quick: small, into build/ and not docs/.
# LAUREL=PROGRAM takes another laurel than the one of `make laurel`, or else Debian's.
BENCH := full
bench: setup peers build/peers/.unpacked-bench
	PYTHONPATH=tests $(BIN)/python benchmarks $(if $(filter quick,$(BENCH)),--quick --into build/benchmarks)

build/peers/.unpacked-bench: tools/unpack-peers build/peers/.unpacked
	tools/unpack-peers build/peers laurel libauparse-dev
	touch $@

# The current release of laurel, which Debian's lags behind; takes minutes, and cargo.
LAUREL_VERSION := 0.8.2
laurel: build/peers/laurel-$(LAUREL_VERSION)/bin/laurel

build/peers/laurel-$(LAUREL_VERSION)/bin/laurel:
	tools/system-packages laurel
	cargo install -q --locked --root build/peers/laurel-$(LAUREL_VERSION) laurel@$(LAUREL_VERSION)

# Pins every dependency with its hashes; needs uv.
lock:
	uv pip compile pyproject.toml --group dev --group build --universal --python-version 3.11 \
	    --generate-hashes --no-header --no-annotate --upgrade -q -o constraints.txt

clean:
	rm -rf $(VENV) build dist *.egg-info native/target
