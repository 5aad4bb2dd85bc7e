# `make demo` and `make test` need only python3 (3.11 or newer): each makes its own virtual
# environment from a lock file first. Variables: PYTHON, VENV, PYTEST_ARGS, LOCK_ARGS, UV.

PYTHON ?= python3
VENV ?= .venv
UV ?= uv
PYTEST_ARGS ?=
LOCK_ARGS ?=

# What runs in the environment: its own Python once it exists. 3.11 has a lock file of its own,
# 3.12 and newer share one.
BIN := $(VENV)/bin
BASE := $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON))
VERSION := $(shell $(BASE) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
OLD := 2.% 3.0 3.1 3.2 3.3 3.4 3.5 3.6 3.7 3.8 3.9 3.10
LOCK := $(if $(filter-out $(OLD),$(VERSION)),requirements/py31$(if $(filter 3.11,$(VERSION)),1,2).txt)
STAMP := $(VENV)/.dancejax-$(notdir $(basename $(LOCK)))
PIP := $(BIN)/python -m pip --disable-pip-version-check

# Tests run on the CPU wherever they are, unless told otherwise.
JAX_PLATFORMS ?= cpu

.DEFAULT_GOAL := help
.PHONY: help demo test coverage lint docs lock clean venv check-python

help: ## show this list
	@grep -E '^[a-z-]+:.* ## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):.* ## /\1|/' \
	| while IFS='|' read -r name text; do printf '  make %-8s %s\n' "$$name" "$$text"; done

demo: $(STAMP) ## condense a small data set and evaluate it, into runs/demo
	$(BIN)/python -m launch.demo --workdir=runs/demo

test: $(STAMP) ## run the fast tests (PYTEST_ARGS='-m ""' for all)
	JAX_PLATFORMS=$(JAX_PLATFORMS) $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal $(PYTEST_ARGS)

coverage: $(STAMP) ## count the lines of dancejax/ that the fast tests run, into .coverage
	JAX_PLATFORMS=$(JAX_PLATFORMS) $(BIN)/python -m coverage run -m pytest -n auto --maxprocesses 4 --dist worksteal $(PYTEST_ARGS)
	$(BIN)/python -m coverage combine
	$(BIN)/python -m coverage report

lint: $(STAMP) ## check style, formatting and types
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

docs: $(STAMP) ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

lock: ## renew requirements/*.txt from setup.cfg (LOCK_ARGS=--upgrade for newer versions)
	@command -v $(UV) >/dev/null 2>&1 \
	|| { echo "make lock needs uv: pip install uv, or UV=path/to/uv" >&2; exit 1; }
	for minor in 11 12; do \
	  $(UV) pip compile setup.cfg --extra test --quiet --output-file requirements/py3$$minor.txt \
	    --universal --fork-strategy fewest --python-version 3.$$minor --generate-hashes \
	    --no-emit-index-url --custom-compile-command "make lock" $(LOCK_ARGS) || exit 1; \
	done

clean: ## remove build outputs and caches, but neither runs/ nor the environment
	rm -rf build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find $(wildcard dancejax launch scripts tests) -name __pycache__ -type d -prune -exec rm -rf {} +

venv: $(STAMP) ## make the virtual environment only

check-python:
	@command -v $(BASE) >/dev/null 2>&1 \
	|| { echo "dancejax needs Python 3.11 or newer: $(BASE) is not there (set PYTHON=...)" >&2; exit 1; }
	@test -n "$(LOCK)" \
	|| { echo "dancejax needs Python 3.11 or newer: $(BASE) is $(or $(VERSION),broken) (set PYTHON=...)" >&2; exit 1; }
	@$(BASE) -c 'import ensurepip, venv' 2>/dev/null || test -x $(BIN)/python \
	|| { echo "$(BASE) has no venv module: install it (Debian, Ubuntu: python3-venv)" >&2; exit 1; }

$(STAMP): $(LOCK) setup.cfg pyproject.toml | check-python
	@echo "Installing dancejax and $(LOCK) into $(VENV) (Python $(VERSION), about a minute the first time)"
	@test -x $(BIN)/python || $(BASE) -m venv $(VENV)
	@$(PIP) install --quiet --requirement $(LOCK)
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
