# Two commands do everything on a fresh machine: `make chat` and `make test`.
# They need Python >= 3.11, a C++ compiler and make; the first run compiles llama.cpp (about 5 minutes on 2 cores).
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/installed
DEV    := $(VENV)/installed-dev
TRAIN  := $(VENV)/installed-train
BASE   := patches/BASE
SDIST  := $(shell sed -n 's/^sdist //p' $(BASE))
SHA256 := $(shell sed -n 's/^sha256 //p' $(BASE))
CACHE  ?= $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/ledlocal
SOURCE := $(CACHE)/sdist/$(SDIST)

export LEDLOCAL_SDIST_DIR = $(SOURCE)
PROFILE ?= cpu
# PyTorch gives each step's tensors back to the system and asks for them again: keep them.
ONE_HEAP := MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_TOP_PAD_=268435456
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: chat native sanitize test test-all test-native test-demo demo-model lint types check sdist clean help

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

chat: $(STAMP) ## open a chat on the embedded demo model (MODEL=file.gguf for another)
	@$(BIN)/ledlocal chat $(if $(MODEL),"$(MODEL)")

test: $(DEV) $(SOURCE)/ok ## the quick suite
	$(PYTEST) -m "not slow"

test-all: $(DEV) $(SOURCE)/ok ## everything
	$(PYTEST)

test-native: $(DEV) $(SOURCE)/ok ## what the patched library must pass (make native first)
	LEDLOCAL_TEST_NATIVE="$$($(BIN)/python -c 'from ledlocal.runtime.install import *; print(native_folder())')" \
		$(PYTEST) tests/test_taps.py tests/test_tap_choice.py tests/test_native_tap.py tests/test_paper_models.py \
		tests/test_engine.py tests/test_engine_phases.py tests/test_engine_slots.py tests/test_engine_continues.py \
		tests/test_kv_cache.py tests/test_memory.py tests/test_doctor.py tests/test_worker_engine.py

test-demo: $(TRAIN) ## what trains the embedded model, and its types (installs PyTorch)
	$(BIN)/mypy -p demo
	$(PYTEST) tests/test_demo_*.py

demo-model: $(TRAIN) ## train the embedded model anew into build/demo (PROFILE=cpu, smoke or gpu; MINUTES=8 for a part)
	$(ONE_HEAP) $(BIN)/python -m demo --profile $(PROFILE) $(if $(MINUTES),--minutes $(MINUTES))

lint: $(DEV) ## ruff
	$(BIN)/ruff check .

types: $(DEV) ## mypy --strict on both packages
	mkdir -p .mypy_cache/path && ln -sfn ../../tui .mypy_cache/path/ledlocal_tui
	MYPYPATH=.mypy_cache/path $(BIN)/mypy -p ledlocal -p ledlocal_tui

native: $(STAMP) ## compile the patched llama.cpp (about 2 minutes on 2 cores)
	$(BIN)/ledlocal build

sanitize: $(DEV) $(SOURCE)/ok ## the patch under address and undefined-behaviour sanitizers, over the tap tests
	CXXFLAGS="-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize=vptr" \
		$(BIN)/ledlocal build --into $(VENV)/sanitized
	LD_PRELOAD="$$(c++ -print-file-name=libasan.so) $$(c++ -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0:log_path=$(VENV)/sanitized/report UBSAN_OPTIONS=print_stacktrace=1 \
	LEDLOCAL_TEST_NATIVE=$(abspath $(VENV))/sanitized LEDLOCAL_LIBRARY=$(abspath $(VENV))/sanitized \
		$(BIN)/python -m pytest -s tests/test_taps.py tests/test_native_tap.py > $(VENV)/sanitized/log 2>&1 || \
		{ tail -40 $(VENV)/sanitized/log; exit 1; }
	tail -1 $(VENV)/sanitized/log
	! grep -n "llama-tap.*runtime error\|llama-tap\.cpp" $(VENV)/sanitized/log $(VENV)/sanitized/report* 2>/dev/null

check: lint types test ## lint, types and the quick suite

sdist: $(SOURCE)/ok ## source of the pinned llama-cpp-python: real vocabularies and templates for the tests

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ledlocal needs Python 3.11 or later")'
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV); the first time this compiles llama.cpp, about 5 minutes on 2 cores"
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(DEV): pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV); the first time this compiles llama.cpp, about 5 minutes on 2 cores"
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(STAMP)

$(TRAIN): pyproject.toml | $(DEV)
	$(BIN)/python -m pip install --quiet --editable '.[dev,train]'
	@touch $@

$(SOURCE)/ok: | $(BIN)/python
	@mkdir -p $(CACHE)/sdist
	$(BIN)/python -m pip download --quiet --no-deps --no-binary llama-cpp-python --dest $(CACHE)/sdist \
		llama-cpp-python==$(lastword $(subst -, ,$(SDIST)))
	echo '$(SHA256)  $(CACHE)/sdist/$(SDIST).tar.gz' | sha256sum --check --quiet
	tar -xzf $(CACHE)/sdist/$(SDIST).tar.gz -C $(CACHE)/sdist
	@touch $@

clean: ## remove the environment and caches of this folder
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
