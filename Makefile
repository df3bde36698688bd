# What to run: `make demo` shows the product, `make test` is what CI runs. Nothing but Python >= 3.11
# is needed before; both make .venv at the first call and reuse it until the pins change.

SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt
WORKERS ?= 2
export OMP_NUM_THREADS ?= 1

.PHONY: help demo headline reality starts parity bench bench-peer test inventory long torture e2e fast lint clean

help:
	@echo "make demo   optimise the ladle-furnace detector of data/studies/ladle_furnace.yaml"
	@echo "make headline  parity, and ten fits under two acceptances against human designs; resumable"
	@echo "make reality  the same comparison where something is less convenient; resumable"
	@echo "make starts  one fit and the best of four from twenty random detectors: the regret"
	@echo "make parity  the published ladle table computed as published, and what its errors do"
	@echo "make bench  CPU time per muon, growth with muons and voxels, banks, rounding"
	@echo "make bench-peer  the same workloads beside the public release of TomOpt, in .venv-peer"
	@echo "make test   everything that CI runs: lint, types, import contracts, tests, slow tests"
	@echo "make inventory  every public name, defect and physics test with the test that shows it"
	@echo "make fast   the same without the slow tests"
	@echo "make long   ten thousand random designs and objects (minutes, not in CI)"
	@echo "make torture  hundreds of SIGKILLs at random moments of small runs (not in CI)"
	@echo "make e2e    tomopt up and a person at a browser: forms, schedules, kills (15 minutes, not in CI)"
	@echo "make lint   format, lint and type-check"
	@echo "make clean  remove .venv and the caches of tools; data/store stays"

demo: .venv/runtime.stamp
	$(BIN)/tomopt run data/studies/ladle_furnace.yaml

headline: parity
	$(BIN)/tomopt campaign run data/campaigns/ladle_headline.yaml

reality: .venv/runtime.stamp
	$(BIN)/tomopt campaign run data/campaigns/ladle_reality.yaml

starts: .venv/dev.stamp
	$(BIN)/tomopt campaign run data/campaigns/ladle_starts.yaml
	$(BIN)/python -m tests.benchmarks.regret data/campaigns/ladle_starts.yaml

parity: .venv/dev.stamp
	$(BIN)/python -m tests.benchmarks.parity --seeds 10 --switches

bench: .venv/dev.stamp
	$(BIN)/python -m tests.benchmarks.speed

bench-peer: .venv/dev.stamp .venv-peer/stamp
	$(BIN)/python -m tests.benchmarks.speed.peer --python .venv-peer/bin/python

test: .venv/dev.stamp
	$(BIN)/python -m pytest -n $(WORKERS) -m "not long"

inventory: .venv/dev.stamp
	$(BIN)/python -m tests.print_inventory

long: .venv/dev.stamp
	$(BIN)/python -m pytest -n $(WORKERS) -m long --ignore=tests/e2e

torture: .venv/dev.stamp
	$(BIN)/python -m tests.torture

# Chromium where there is none: as root from Debian's or Ubuntu's packages, else it says what to do.
e2e: .venv/dev.stamp
	@command -v chromium chromium-browser google-chrome >/dev/null || \
		(apt-get update -q && apt-get install -y -q chromium) || \
		{ echo "install Chromium or Chrome first"; exit 2; }
	$(BIN)/python -m pytest -m "long or slow" tests/e2e

fast: .venv/dev.stamp
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow and not long"

lint: .venv/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check .
	$(BIN)/mypy

# A CPU build of torch where pip finds one, else the build that the registry offers (which brings
# gigabytes of CUDA). TORCH_INDEX=<index of CPU wheels> points pip at one.
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
INDEX := $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))

.venv/torch.stamp: constraints.txt
	@test -n "$(PYTHON)" || { echo "no Python >= 3.11 found; install one or set PYTHON=/path/to/python"; exit 2; }
	$(PYTHON) -m venv .venv
	$(PIP) $(INDEX) "$(TORCH)+cpu" || $(PIP) $(INDEX) "$(TORCH)"
	@touch $@

.venv/runtime.stamp: .venv/torch.stamp pyproject.toml
	$(PIP) --editable .
	@touch $@

.venv/dev.stamp: .venv/torch.stamp pyproject.toml
	$(PIP) --editable ".[dev]"
	@touch $@ .venv/runtime.stamp

# mypy_extensions: the release imports it without saying so.
PEER := tomopt==0.1.0 mypy_extensions
.venv-peer/stamp:
	$(PYTHON) -m venv .venv-peer
	.venv-peer/bin/python -m pip install --disable-pip-version-check $(INDEX) "$(TORCH)+cpu" \
		|| .venv-peer/bin/python -m pip install --disable-pip-version-check $(INDEX) "$(TORCH)"
	.venv-peer/bin/python -m pip install --disable-pip-version-check $(PEER)
	@touch $@

clean:
	rm -rf .venv .venv-peer .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
