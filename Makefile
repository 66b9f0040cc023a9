# One virtual environment, .venv, with the package (editable), every extra and the development tools at the versions of
# constraints.txt. It is installed again only when pyproject.toml or constraints.txt change.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

AT_LEAST_3_11 := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
ifndef PYTHON
PYTHON := $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	$$p $(AT_LEAST_3_11) >/dev/null 2>&1 && echo $$p && break; done)
endif

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help demo test check format coverage docs range clean

help:  ## Show these targets
	@grep -E '^[a-z]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z]+):.*## /\1|/' | \
		awk -F'|' '{ printf "  make %-10s %s\n", $$1, $$2 }'

demo: $(INSTALLED)  ## Learn a library with the built-in simulated LM: no key, no network
	@$(BIN)/tfgrpo demo

test: $(INSTALLED)  ## Run the tests on all cores; PYTEST="-k name" narrows them
	@$(BIN)/python -m pytest --numprocesses auto --dist worksteal $(PYTEST)

check: $(INSTALLED)  ## Formatting, lint and types: what a change must pass besides the tests
	@failed=0; \
	$(BIN)/ruff format --check --output-format concise . || { echo "make format mends this"; failed=1; }; \
	$(BIN)/ruff check . || failed=1; \
	$(BIN)/python -m mypy || failed=1; \
	exit $$failed

format: $(INSTALLED)  ## Format the code and apply the safe lint fixes
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

coverage: $(INSTALLED)  ## Run the tests with branch coverage of tfgrpo_dspy (below 90% fails)
	@$(BIN)/python -m pytest --numprocesses auto --dist worksteal --cov --cov-report term $(PYTEST)

docs: $(INSTALLED)  ## Build the documentation site into build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet && echo "build/site/index.html"

range:  ## Run the tests on the lowest and on the newest versions of what we need; logs in build/range
	@PYTHON=$(PYTHON) .ci/range

clean:  ## Delete .venv, caches and build results; runs in mlruns/ are kept
	@rm -rf $(VENV) build dist htmlcov .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	@find . -type d -name __pycache__ -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml constraints.txt
	@$(or $(PYTHON),false) $(AT_LEAST_3_11) 2>/dev/null || { \
		echo "Python 3.11 or newer is needed, and $(or $(PYTHON),python3) is not one: install it," \
			"or name yours, e.g. make $(or $(MAKECMDGOALS),test) PYTHON=python3.12" >&2; exit 1; }
	@echo "Creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@echo "Installing tfgrpo-dspy, its extras and the development tools (once, about 160 packages, a few minutes)"
	@$(PIP) install --quiet --quiet --constraint constraints.txt --editable '.[all,dev]'
	@touch $@
