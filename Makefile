# One command for each task: `make demo` shows the main function, `make test` tests it, `make
# setup` prepares both; `make check` is for every save. Run as root on Debian 12 or newer, or
# on Ubuntu.
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

NATIVE := $(shell find native -type f -not -path 'native/target/*')

.PHONY: setup dev demo fleet-demo fleet-spark check lint unit test test-long test-peers chaos fuzz soak test-roots test-deb bench laurel peers lock pages tour screenshots man wheel wheelhouse deb release clean

# In $(VENV) is either the wheel (.installed) or this checkout (.dev); pytest's header says which.
setup: $(VENV)/.installed

dev: $(VENV)/.dev

build/.system: tools/system-packages
	@mkdir -p build
	tools/system-packages runtime
	touch $@

build/.system-test: tools/system-packages build/.system
	tools/system-packages test
	touch $@

$(VENV)/.build-tools: constraints.txt build/.system
	$(PYTHON) -m venv --system-site-packages $(VENV)
	# Before all others, so that no isolated build fetches unpinned ones.
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes --ignore-installed \
	    -r <(tools/pick-pins setuptools setuptools-rust semantic-version wheel packaging < constraints.txt)
	touch $@

$(VENV)/.dependencies: $(VENV)/.build-tools
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes --no-build-isolation \
	    -r constraints.txt
	touch $@

dist/.built: $(SOURCES) $(VENV)/.build-tools
	rm -rf $(VENV)/.dev auditsvc/_native*.so dist build/lib* build/temp* build/bdist.* *.egg-info
	$(BIN)/python -m pip wheel -q --disable-pip-version-check --no-build-isolation --no-deps --wheel-dir dist .
	tools/has-native dist/auditsvc-*.whl || true
	touch $@

# Users get the wheel, so the wheel is what we run and test.
$(VENV)/.installed: dist/.built $(VENV)/.dependencies
	rm -rf $(VENV)/.dev auditsvc/_native*.so
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --force-reinstall dist/auditsvc-*.whl
	rm -rf build/lib* build/temp* build/bdist.* *.egg-info
	$(BIN)/auditsvc --version  # says whether the native core was built
	touch $@

# The checkout itself, with the native core built into it if cargo is installed: changes in
# Python are tested without a new build.
$(VENV)/.dev: pyproject.toml $(NATIVE) $(VENV)/.dependencies
	rm -f $(VENV)/.installed
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps --editable .
	rm -rf build/lib* build/temp* build/bdist.*
	$(BIN)/auditsvc --version
	touch $@

# The package's own wheel, in dist; a warning if the native core is not in it.
wheel: dist/.built
	ls dist/auditsvc-*.whl

# What a host installs: no compiler and no index is needed there (packaging/README.md).
# WHEEL=FILE takes that wheel of ours instead of building one: then no cargo is needed.
# EXTRAS="archive fleet": with what these need, which is large.
WHEEL :=
EXTRAS :=
wheelhouse: $(if $(WHEEL),$(VENV)/.build-tools,dist/.built) $(if $(EXTRAS),$(VENV)/.dependencies)
	rm -rf build/wheelhouse
	pins=packaging/constraints-runtime.txt
	if [ -n "$(EXTRAS)" ]; then
	    pins=build/constraints-extras.txt
	    $(BIN)/python tools/runtime-pins $(EXTRAS) < constraints.txt > "$$pins"
	fi
	$(BIN)/python -m pip wheel -q --disable-pip-version-check --require-hashes --no-deps \
	    --no-build-isolation --wheel-dir build/wheelhouse -r "$$pins"
	cp $(or $(WHEEL),dist/auditsvc-*.whl) build/wheelhouse
	tools/has-native build/wheelhouse/auditsvc-*.whl || true

# The Debian package for this machine's release, in dist/deb, by debhelper. REVISION=N: a further
# package of the same version. WHEEL, EXTRAS: as for `wheelhouse`.
REVISION := 1
deb: wheelhouse build/.system-deb
	tools/make-deb $(REVISION)

# All that is published of this commit, made twice and compared, with checksums and a list of its
# components (CycloneDX), in dist/release. Nothing is signed and nothing is uploaded.
release: $(VENV)/.dependencies build/.system-deb
	tools/make-release

build/.system-deb: tools/system-packages build/.system
	tools/system-packages deb
	touch $@

demo: setup
	tools/demo

# A lake in one command: SeaweedFS, three hosts, two committers, and the first answers of all hosts.
fleet-demo: setup
	$(BIN)/python tools/fleet-demo

# The same for Spark, of which parts are killed meanwhile; needs mvn and Java 17, and loads 550 MB.
fleet-spark: setup
	tools/spark/unpack build/spark $(BIN)/python
	$(BIN)/python tools/fleet-spark build/spark

# Other programs for comparison, unpacked and never installed or started as services.
peers: build/peers/.unpacked build/peers/.unpacked-metrics build/peers/.unpacked-shells

build/peers/.unpacked-metrics: tools/unpack-peers build/peers/.unpacked
	tools/unpack-peers build/peers prometheus
	touch $@

build/peers/.unpacked-shells: tools/unpack-peers build/peers/.unpacked-metrics
	tools/unpack-peers build/peers zsh zsh-common fish fish-common libpcre2-32-0
	touch $@

build/peers/.unpacked: tools/unpack-peers build/.system-test
	tools/unpack-peers build/peers auditd libwrap0
	touch $@

# The linters read the checkout, whether it or the wheel is installed.
lint: $(VENV)/.dependencies
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	if command -v cargo-clippy > /dev/null; then
	    cargo fmt --check --manifest-path native/Cargo.toml
	    cargo clippy -q --locked --release --all-targets --manifest-path native/Cargo.toml
	fi

# In parallel, except tests that use the kernel's audit: one worker more than processors, as
# the worker of those tests mostly waits. (With two more it takes longer.)
PYTEST := $(BIN)/pytest -n $(shell expr $$(nproc) + 1)

unit: dev
	$(PYTEST) -q tests/unit

check: dev lint unit

# The states of the host for the live tests: see tests/fixtures/host_states.py.
STATES := off on+limits+foreign-rules
LONG_STATES := off on on+limits on+foreign-rules on+other-keys on+multicast-reader on+half-speed \
    off+limits+foreign-rules+multicast-reader

# ARGS: further arguments for pytest. `.ci/run` gives --no-live-skips. Here each live test runs in
# one of the states, about half of them in each; `test-long` runs all in all.
ARGS :=
test: setup peers lint
	$(PYTEST) --share-states $(STATES:%=--host-state %) $(ARGS)

# Hours rather than minutes: long loops, more examples, a million records against auparse.
test-long: setup peers lint build/newer-peers/.unpacked
	$(PYTEST) --long --timeout 7200 $(LONG_STATES:%=--host-state %) $(ARGS)
	$(HELD_AGAINST_PEERS)

# Search and reports against the ausearch and aureport of a newer Debian than this may be: `test`
# has those of this machine's release.
NEWER_PEERS := trixie
HELD_AGAINST_PEERS = PEERS=build/newer-peers $(BIN)/pytest -q tests/unit/test_search.py \
    tests/conformance/test_search.py tests/conformance/test_search_formats.py \
    tests/conformance/test_search_shown.py tests/conformance/test_aureport.py $(ARGS)
test-peers: setup build/newer-peers/.unpacked
	$(HELD_AGAINST_PEERS)

build/newer-peers/.unpacked: tools/unpack-newer-peers build/.system-test
	tools/unpack-newer-peers $(NEWER_PEERS) build/newer-peers
	touch $@

# Faults, each injected for real, in their long form: docs/guarantees.md names them.
chaos: setup peers
	$(PYTEST) --long --timeout 7200 --durations=20 tests/faults tests/live/test_takeover.py $(ARGS)

# Ten minutes at the kernel's full rate and an hour at 2,000 events a second, into docs/soak.md.
# MINUTES="--full 1 --steady 2": shorter.
MINUTES :=
soak: setup peers
	PYTHONPATH=tests $(BIN)/python benchmarks/soak.py $(MINUTES) --into docs/soak.md

# Parsers on bytes that a search guided by coverage finds, each of four targets for so long: see
# tests/fuzz/__main__.py. The decoder is built with counters for it, and with checks of overflow.
FUZZ_SECONDS := 900
fuzz: setup build/fuzz/.built
	PYTHONPATH=build/fuzz/package:tests $(BIN)/python tests/fuzz $(FUZZ_SECONDS) $(ARGS)

SANCOV := -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=3 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Coverflow-checks=yes
build/fuzz/.built: tests/fuzz/constraints.txt $(SOURCES) $(VENV)/.dependencies
	rm -rf build/fuzz/package
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes --no-deps \
	    --target build/fuzz/package -r tests/fuzz/constraints.txt
	# With a target, the flags are not for programs that run during the build.
	target=$$(rustc -vV | sed -n 's/^host: //p')
	RUSTFLAGS="$(SANCOV)" cargo build -q --release --locked --manifest-path native/Cargo.toml \
	    --target $$target --target-dir build/fuzz/target --features pyo3/extension-module
	cp -r auditsvc build/fuzz/package
	cp -r rules migrations build/fuzz/package/auditsvc
	cp build/fuzz/target/$$target/release/lib_native.so build/fuzz/package/auditsvc/_native.abi3.so
	touch $@

# Debian 12, Debian 13 and Ubuntu 24.04, bare, in build/roots: installed as packaging/README.md
# says, and used. Packages come from the archives in this machine's apt configuration; a release
# whose archive is not there is skipped with the reason (on a Debian machine that is Ubuntu,
# unless MIRROR and KEYRING name its archive and the file with its keys: then use one root).
ROOTS := bookworm trixie noble
test-roots: setup peers
	$(BIN)/pytest -rs -q tests/roots $(ROOTS:%=--root %) $(ARGS)

# The Debian package, made and used in such roots: installed, started, upgraded, removed, purged.
test-deb: setup wheel peers
	$(BIN)/pytest -rs -q tests/roots/test_deb.py $(ROOTS:%=--root %) $(ARGS)

# Against the peers, into docs/benchmarks.md. BENCH=quick: small, into build/ and not docs/.
# LAUREL=PROGRAM uses another laurel than that of `make laurel`, or else Debian's.
BENCH := full
bench: setup peers build/peers/.unpacked-bench
	PYTHONPATH=tests $(BIN)/python benchmarks $(if $(filter quick,$(BENCH)),--quick --into build/benchmarks)

build/peers/.unpacked-bench: tools/unpack-peers build/peers/.unpacked
	tools/unpack-peers build/peers laurel libauparse-dev
	touch $@

# The current release of laurel, as Debian's is older; needs some minutes, and cargo.
LAUREL_VERSION := 0.8.2
laurel: build/peers/laurel-$(LAUREL_VERSION)/bin/laurel

build/peers/laurel-$(LAUREL_VERSION)/bin/laurel:
	tools/system-packages laurel
	cargo install -q --locked --root build/peers/laurel-$(LAUREL_VERSION) laurel@$(LAUREL_VERSION)

# The documentation that is made from the program; a test compares it.
pages: dev
	$(BIN)/python tools/make-pages

# docs/tour.md: the commands of a tour with what they say now.
tour: dev
	$(BIN)/python tools/tour

# docs/web-*.png: pages over a made store, by headless Chromium.
screenshots: dev
	PYTHONPATH=tests $(BIN)/python tools/make-screenshots

# Man pages, and completion for bash, zsh and fish, in build/man.
man: dev
	rm -rf build/man
	$(BIN)/python tools/make-pages build/man

# Pins every dependency with its hashes; needs uv.
lock:
	uv pip compile pyproject.toml --extra archive --extra arrow --extra fleet --extra web --group dev --group build --universal --python-version 3.11 \
	    --generate-hashes --no-header --no-annotate --upgrade -q -o constraints.txt
	$(BIN)/python tools/runtime-pins < constraints.txt > packaging/constraints-runtime.txt

clean:
	rm -rf $(VENV) build dist *.egg-info native/target auditsvc/_native*.so
