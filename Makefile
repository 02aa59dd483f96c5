# Both commands set up what they need in .venv and can be run again at any time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
UV := uv==0.13.9
UV_PIP := $(BIN)/uv pip install --quiet --system-certs --python $(BIN)/python
TESTS ?= tests
# Two more than there are cores: many tests wait for servers and processes.
WORKERS ?= $(shell expr $$(nproc) + 2)
# Hundreds of tests start programs, and each worker collects all of them: what was compiled once is kept for the others.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test clocks busy campaign soak radosgw readers browser lint types imports check bench bench-large docs clean

demo: $(VENV)/ready
	$(BIN)/python -m demo $(if $(S3),--s3) $(DEMO)

test: $(VENV)/ready
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(PYTEST) $(TESTS)

# No test may depend on the day or the hour: all of them so many days from now (a fraction: at another hour). Needs cc.
DAYS ?= 0.4 1 30 400
clocks: $(VENV)/ready
	$(foreach days,$(DAYS),$(BIN)/python -m tests.trials --days $(days) -n $(WORKERS) --dist worksteal $(PYTEST) $(TESTS) &&) true

# Nor on how fast the machine is: those that wait for processes and threads, beside so many that never rest.
BUSY ?= 2
busy: TESTS := $(if $(filter file,$(origin TESTS)),tests/daemon tests/watching tests/servers tests/backup,$(TESTS))
busy: $(VENV)/ready
	$(BIN)/python -m tests.trials --busy $(BUSY) -n $(WORKERS) --dist worksteal $(PYTEST) $(TESTS)

# What a commit does not wait for: all tests on both databases, every crash moment and layout; the state machine, the laws,
# the chaos, codecs on larger content and damaged Parquet, a fuzzer's included, for much longer.
campaign: $(VENV)/ready
	STORAGED_LONG=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --timeout=7200 $(PYTEST) $(TESTS)

# The store contract and lives on Debian's own radosgw, which is unpacked into a temporary folder and installed nowhere.
# RADOSGW=/a/folder keeps the packages for the next time.
radosgw: $(VENV)/ready
	@folder=$${RADOSGW:-$$(mktemp -d)}; \
	RADOSGW=$$folder $(BIN)/python -m pytest $(PYTEST) tests/radosgw/contract.py tests/radosgw/lives.py; said=$$?; \
	test -n "$$RADOSGW" || rm -rf "$$folder"; exit $$said

# What other programs read of our blobs: those that are too heavy for the tests' environment, in two of their own, 3 GB of
# pinned packages of Python and npm. Needs npm, java, zstd and curl. READERS=/a/folder keeps them for the next time.
readers: $(VENV)/ready
	@folder=$${READERS:-$$(mktemp -d)}; set -e; \
	trap 'test -n "$$READERS" || rm -rf "$$folder"' EXIT; \
	test -x "$$folder/python/bin/python" || $(PYTHON) -m venv "$$folder/python"; \
	"$$folder/python/bin/python" -m pip install --quiet --disable-pip-version-check -r tests/readers/requirements.txt; \
	mkdir -p "$$folder/npm"; cp tests/readers/npm/* "$$folder/npm"; \
	(cd "$$folder/npm" && npm ci --silent --ignore-scripts --no-audit --no-fund); \
	READERS=$$folder $(BIN)/python -m pytest $(PYTEST) tests/readers/apart.py

# The daemon's pages in Debian's Chromium with axe-core, and the pictures of them in the docs. Needs chromium and npm;
# BROWSER=/a/folder keeps npm's packages for the next time.
browser: $(VENV)/ready
	@folder=$${BROWSER:-$$(mktemp -d)}; set -e; \
	trap 'test -n "$$BROWSER" || rm -rf "$$folder"' EXIT; \
	mkdir -p "$$folder"; cp tests/browser/npm/* "$$folder"; \
	(cd "$$folder" && npm ci --silent --ignore-scripts --no-audit --no-fund); \
	BROWSER=$$folder PICTURES=$(CURDIR)/docs/images $(BIN)/python -m pytest $(PYTEST) tests/browser/apart.py

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/ready
	$(BIN)/mypy

imports: $(VENV)/ready
	$(BIN)/lint-imports

check: lint types imports test

bench: $(VENV)/ready
	$(BIN)/python -m benchmarks

# A catalog of ten million objects; N=1000000 for a smaller one.
N ?= 10000000
bench-large: $(VENV)/ready
	$(BIN)/python -m benchmarks.large --objects $(N)

# A daemon at work for so many minutes, whose memory must stay flat; the plot is soak.svg.
SOAK ?= 30
soak: $(VENV)/ready
	$(BIN)/python -m benchmarks.soak --minutes $(SOAK)

docs: $(VENV)/ready
	$(BIN)/python -m docs.generate

# One environment for everything, from the lock: it is made anew only when the lock or the package's metadata change.
# uv needs a tenth of pip's CPU for it, and compiles nothing that nobody imports. Where it does not get to the registry,
# as it knows nothing of pip's configuration, pip does it.
$(VENV)/ready: requirements-dev.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) $(UV)
	$(UV_PIP) -r requirements-dev.txt || $(PIP) -r requirements-dev.txt
	$(UV_PIP) --no-deps -e . || $(PIP) --no-deps -e .
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis demo-lake
