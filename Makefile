# Variables are set on the command line (make test ARGS=-x), never taken from the environment,
# where names as common as DATA may mean something else.
PYTHON = python3
VENV = .venv
PROFILE = smoke
DATA =
ARGS =

BIN = $(VENV)/bin
# Newer than pyproject.toml and constraints.txt exactly when they are what is installed.
STAMP = $(VENV)/.installed
PIP_INSTALL = $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL = help
.PHONY: help setup test test-slow reproduce lint format clean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "  PYTHON=$(PYTHON)  interpreter that a new virtual environment is made with (3.11 or newer)"
	@echo "  VENV=$(VENV)  PROFILE=$(PROFILE)  DATA=folder of data sets  ARGS=further arguments"

setup: $(STAMP) ## Make the virtual environment, or bring it up to date

# Tests compute on one thread each.  The tests of a file share what they make, so stay together.
test: $(STAMP) ## Run the tests in two processes (ARGS go to pytest: -n 8 for more)
	$(BIN)/pytest -n 2 --dist loadfile $(ARGS)

test-slow: $(STAMP) ## Run the tests that kill what runs, or compile: minutes (ARGS go to pytest)
	$(BIN)/pytest -m slow $(ARGS)

reproduce: $(STAMP) ## Run the experiments of PROFILE, on the data in DATA; writes results/PROFILE
	$(BIN)/dood reproduce --profile $(PROFILE) $(if $(DATA),--data-root '$(DATA)') $(ARGS)

lint: $(STAMP) ## Check style, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(STAMP) ## Rewrite the code in the project's format
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

clean: ## Remove caches and build products; keeps VENV, runs/ and results/
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find doodcli tests -type d -name __pycache__ -prune -exec rm -rf {} +

# The stamp goes first and comes back last, so an install that was killed leaves none. It keeps the
# time at which the install began: a file edited meanwhile is newer and is installed the next time.
# An environment whose interpreter is gone, too old or without pip (a killed `venv`) is made again
# in place: only its links to the interpreter are removed, whatever folder VENV may name.
# setuptools comes first and the build is not isolated: thus the build's version is pinned too,
# with any version of pip.
$(STAMP): pyproject.toml constraints.txt
	@rm -f $@
	@$(BIN)/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "dood needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -c \
	      'import platform; print(platform.python_version())' 2>/dev/null || echo missing)." \
	      "Name another: make PYTHON=python3.12 ..." >&2; exit 1; }; \
	  rm -f $(BIN)/python*; \
	  echo "$(PYTHON) -m venv $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@touch $@.part
	$(PIP_INSTALL) setuptools
	$(PIP_INSTALL) --no-build-isolation -e '.[fid,cluster,dev]'
	@mv $@.part $@
