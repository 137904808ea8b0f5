# One entry point for each chore; `make` alone lists them.
#
# Settings, each overridable on the command line:
#   PYTHON       the interpreter that makes the environment (3.11 or newer)
#   VENV         where the environment lives
#   PYTEST_ARGS  more arguments for pytest

SHELL := /bin/bash
VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.13 python; do \
	"$$p" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& echo "$$p" && break; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTEST_ARGS ?=
# A second Python, for a smoke test only; empty where there is none.
PYTHON312 ?= $(shell { command -v python3.12; \
	for v in $$(pyenv whence python3.12 2>/dev/null); do echo "$$(pyenv prefix $$v)/bin/python3.12"; done; } \
	2>/dev/null | while read -r p; do "$$p" -c '' >/dev/null 2>&1 && echo "$$p" && break; done)

export MPLBACKEND ?= Agg
# The tests start dozens of processes, each of which would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test quick lint types docs figures notebooks slow smoke-3.12 newest bench format lock install install-dev install-3.12 clean

help: ## list the chores
	@grep -hE '^[a-z0-9.-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

# --- environment -----------------------------------------------------------------------------

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer was found; give one with PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Installed again only when the locked versions or the project's own metadata change.
$(VENV)/.installed: requirements.lock pyproject.toml | $(BIN)/python
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip
	@echo "Installing pinned versions into $(VENV); the first time takes a minute or two"
	@$(PIP) install -qq -r requirements.lock
	@$(PIP) install -qq --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	@echo "Installing the tools of the tests and the docs into $(VENV)"
	@$(PIP) install -qq -r requirements-dev.lock
	@touch $@

install: $(VENV)/.installed ## the environment with what the experiments need
install-dev: $(VENV)/.installed-dev ## the environment with what the tests and the docs need

# --- what a newcomer runs --------------------------------------------------------------------

demo: $(VENV)/.installed ## install, then recover a neuron's input current from its spikes
	$(BIN)/roughsnn run input-current --quick

# --- what CI checks --------------------------------------------------------------------------

# Says how long make took until the command before it ended, and passes on whether that failed.
STARTED := $(shell date +%s)
TOOK = failed=$$?; took=$$(($$(date +%s) - $(STARTED))); \
	echo "== make $@ took $$((took / 60)) min $$((took % 60)) s"; exit $$failed

# What has nothing to do with each other runs side by side, installing too, and what each chore says
# comes in one piece where this make can do that. pytest comes last, so that its own summary closes
# the run.
SIDE_BY_SIDE := $(MAKE) --no-print-directory -j4
test: ## install, then everything CI checks
	@$(SIDE_BY_SIDE) install-dev install-3.12
	@echo "== $$($(BIN)/python --version)"
	@$(SIDE_BY_SIDE) $(if $(findstring output-sync,$(.FEATURES)),--output-sync=target) \
		smoke-3.12 lint types docs
	@echo "== pytest (the notebooks and the code blocks of the docs are among the tests)"
	@$(BIN)/python -m pytest -n auto --dist loadfile $(PYTEST_ARGS); $(TOOK)

# Something of every room, without what compiles long; no type checks, docs or notebooks.
QUICK := test_checks.py test_event_sde.py drivers/test_brownian_grid.py \
	estimators/test_interface.py experiments/test_benchmarks.py gated/test_gates.py io/test_tables.py \
	io/test_nir.py losses/test_first_spikes.py networks/test_spiking_network.py \
	neurons/test_stochastic_lif.py plotting/test_histograms.py runs/test_checkpoints.py \
	runs/test_settings.py signatures/test_goursat.py solve/test_results.py spikes/test_windows.py \
	spikes/test_trains.py training/test_fit.py

quick: $(VENV)/.installed-dev lint ## ruff, and the tests that take less than three minutes
	@$(BIN)/python -m pytest -n auto --dist loadfile $(PYTEST_ARGS) $(QUICK:%=tests/%); $(TOOK)

lint: $(VENV)/.installed-dev ## ruff: rules and format
	@echo "== ruff"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev ## pyright
	@echo "== pyright"
	@$(BIN)/pyright --pythonpath $(BIN)/python --level error

docs: $(VENV)/.installed-dev ## the documentation site, into site/
	@echo "== mkdocs"
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --config-file docs/mkdocs/mkdocs.yml

figures: $(VENV)/.installed ## draw the pictures of the README and of the pages that draw their own
	$(BIN)/python docs/assets/example.py
	$(BIN)/python docs/assets/pages.py
	$(BIN)/python docs/assets/signature_kernel.py

notebooks: $(VENV)/.installed-dev ## run the notebooks
	$(BIN)/python -m pytest tests/test_notebooks.py $(PYTEST_ARGS)

slow: $(VENV)/.installed-dev ## the tests that take minutes
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

install-3.12: # the environment of the smoke test
ifneq ($(strip $(PYTHON312)),)
	@$(MAKE) --no-print-directory install VENV=.venv-3.12 PYTHON="$(PYTHON312)"
endif

smoke-3.12: install-3.12 ## the smoke test on Python 3.12, where that is at hand
ifeq ($(strip $(PYTHON312)),)
	@echo "== Python 3.12 is not at hand: nothing was run on it"
else
	@echo "== smoke test on $$(.venv-3.12/bin/python --version)"
	@.venv-3.12/bin/python tests/smoke.py
endif

# The suite with the newest versions that the project allows, not the locked ones, in environments of
# their own: `make newest`, or for one of them `make newest NEWEST=3.13`; PYTEST_ARGS says which
# tests. A Python that is not at hand is named and left out.
NEWEST ?= 3.12 3.13
newest: $(NEWEST:%=newest-%) ## the tests with the newest versions, on Python 3.12 and 3.13

newest-%:
	@python=$$({ command -v python$*; \
		for v in $$(pyenv whence python$* 2>/dev/null); do echo "$$(pyenv prefix $$v)/bin/python$*"; done; } \
		2>/dev/null | while read -r p; do "$$p" -c '' >/dev/null 2>&1 && echo "$$p" && break; done); \
	if [ -z "$$python" ]; then echo "== Python $* is not at hand: nothing was run on it"; exit 0; fi; \
	"$$python" -m venv .venv-newest-$* && \
	.venv-newest-$*/bin/python -m pip install -qq --upgrade --upgrade-strategy eager -e '.[dev]' && \
	echo "== pytest on $$(.venv-newest-$*/bin/python --version), jax $$(.venv-newest-$*/bin/python \
		-c 'import jax; print(jax.__version__)')" && \
	.venv-newest-$*/bin/python -m pytest -n auto --dist loadfile $(PYTEST_ARGS)

# --- the rest --------------------------------------------------------------------------------

bench: $(VENV)/.installed-dev ## every benchmark, one after another
	@failed=0; for study in $$($(BIN)/python -m experiments.benchmarks --names); do \
		$(BIN)/python -m experiments.benchmarks $$study || failed=1; done; exit $$failed

format: $(VENV)/.installed-dev ## format, and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The locks hold for every supported Python at once, by markers. `make lock UPGRADE=--upgrade`
# takes the newest versions; the smaller lock follows the larger, so that the two agree.
LOCK := uv pip compile pyproject.toml --group build --universal --python-version 3.11 --quiet \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links --no-emit-package roughsnn
lock: $(VENV)/.installed-dev ## write the lock files anew
	$(BIN)/$(LOCK) $(UPGRADE) --all-extras -o requirements-dev.lock
	$(BIN)/$(LOCK) $(UPGRADE) --extra experiments -c requirements-dev.lock -o requirements.lock

clean: ## remove environments, caches and builds; results in runs/ stay
	rm -rf $(VENV) .venv-3.12 .venv-newest-* .cache .pytest_cache .ruff_cache .hypothesis build dist site
	find roughsnn experiments tests -name __pycache__ -type d -prune -exec rm -rf {} +
