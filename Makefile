# Two commands do everything on a fresh machine: `make chat` and `make test`.
# They need Python >= 3.11, a C++ compiler and make; the first run compiles llama.cpp (about 5 minutes on 2 cores).
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/installed
DEV    := $(VENV)/installed-dev
BASE   := patches/BASE
SDIST  := $(shell sed -n 's/^sdist //p' $(BASE))
SHA256 := $(shell sed -n 's/^sha256 //p' $(BASE))
CACHE  ?= $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/ledlocal
SOURCE := $(CACHE)/sdist/$(SDIST)

export LEDLOCAL_SDIST_DIR = $(SOURCE)
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: chat native test test-all lint types check sdist clean help

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

chat: $(STAMP) ## open a chat on the embedded demo model (MODEL=file.gguf for another)
	@$(BIN)/ledlocal chat $(MODEL)

test: $(DEV) $(SOURCE)/ok ## the quick suite
	$(PYTEST) -m "not slow"

test-all: $(DEV) $(SOURCE)/ok ## everything
	$(PYTEST)

lint: $(DEV) ## ruff
	$(BIN)/ruff check .

types: $(DEV) ## mypy --strict on both packages
	$(BIN)/mypy ledlocal tui

native: $(STAMP) ## compile the patched llama.cpp (about 4 minutes on 2 cores)
	$(BIN)/ledlocal build

check: lint types test ## lint, types and the quick suite

sdist: $(SOURCE)/ok ## source of the pinned llama-cpp-python: real vocabularies and templates for the tests

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ledlocal needs Python 3.11 or later")'
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(DEV): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(STAMP)

$(SOURCE)/ok: | $(BIN)/python
	@mkdir -p $(CACHE)/sdist
	$(BIN)/python -m pip download --quiet --no-deps --no-binary llama-cpp-python --dest $(CACHE)/sdist \
		llama-cpp-python==$(lastword $(subst -, ,$(SDIST)))
	echo '$(SHA256)  $(CACHE)/sdist/$(SDIST).tar.gz' | sha256sum --check --quiet
	tar -xzf $(CACHE)/sdist/$(SDIST).tar.gz -C $(CACHE)/sdist
	@touch $@

clean: ## remove the environment and caches of this folder
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
