# Footplate on one machine. The environment is .venv; it is made again when pyproject.toml changes.
PYTHON ?= python3
PYTEST_ARGS ?=
PORT ?=
DIR ?=
ONLY ?=

BIN := .venv/bin
READY := .venv/.footplate-ready
UP_ARGS := $(if $(DIR),--dir $(DIR)) $(if $(PORT),--port $(PORT))

.DEFAULT_GOAL := help
.PHONY: help setup run stop test test-cluster cluster-tools bench prove lint schema format setup-browser clean

help:  ## Show what can be made.
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  PORT=8001 and DIR=folder choose another place for 'make run' and 'make stop'."

setup: $(READY)  ## Make .venv with everything that the platform and its tests need.

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Footplate needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv \
	  || { echo "this Python cannot make environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@if command -v uv >/dev/null; then uv pip install --quiet --python $(BIN)/python -e '.[hub,dev]'; \
	  else $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[hub,dev]'; fi
	@touch $@

run: $(READY)  ## Start the platform and run the quickstart notebook through it, as a person would.
	@$(BIN)/python scripts/run_quickstart.py $(UP_ARGS)

stop: $(READY)  ## Stop the platform; running jobs go on.
	@$(BIN)/footplate down $(if $(DIR),--dir $(DIR))

test: $(READY)  ## Run every test that this machine can run.
	@mkdir -p test-results
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

test-cluster: cluster-tools  ## Run jobs on a real Kubernetes that is started here (needs root), with every engine.
	@$(BIN)/python -m pytest tests/cluster $(PYTEST_ARGS)

cluster-tools: $(READY)  ## Compile what is not there yet of the Kubernetes for tests (needs Go; half an hour at first).
	@PYTHONPATH=tests $(BIN)/python -m cluster.harness.tools

bench: $(READY)  ## Measure; ONLY=main chooses one part.
	@$(BIN)/python -m tests.bench $(ONLY)

prove: $(READY)  ## Kill everything at random while jobs run; prove the queue's promises (goes on where it was killed).
	@FOOTPLATE_FAULT_JOBS=100 FOOTPLATE_FAULT_KILLS=50 $(BIN)/python -m pytest tests/faults $(PYTEST_ARGS)
	@FOOTPLATE_PROVE=1 $(BIN)/python -m pytest tests/proofs $(PYTEST_ARGS)
	@PYTHONPATH=tests $(BIN)/python -m proofs.queue

lint: $(READY)  ## Style, types and who may import whom.
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

schema: $(READY)  ## Rewrite the OpenAPI document and the JSON Schemas in docs.
	@$(BIN)/footplate schema docs

format: $(READY)  ## Put the code into the one style.
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

setup-browser:  ## Install Debian's Chromium, for the tests in a real browser (needs root).
	apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium

clean:  ## Remove what was made here, .venv included.
	rm -rf .venv dist build test-results .pytest_cache .mypy_cache .ruff_cache
