# Every target sets up .venv by itself, once, with the exact versions of constraints.txt.
# Another interpreter: make test PYTHON=python3.12
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
BIN := $(VENV)/bin
READY := $(VENV)/ready
BENCH_READY := $(VENV)/bench-ready

.PHONY: help demo test test-targets test-arm test-full coverage bench lint format doctest docs test-site translations clean

help:
	@echo "make demo      convolutions on real pictures and digits; results in demo-out/"
	@echo "make test      all tests but those of test-full"
	@echo "make test-targets  a sample of the parity suite without the engine, and with code for narrower processors"
	@echo "make test-arm  the engine's code for ARM in an emulator; needs Debian's qemu-user and binutils-aarch64-linux-gnu"
	@echo "make test-full the full products of the parity suite: every dtype and layout of conv1d, conv3d, transposed;"
	@echo "               and all its grids as test-targets runs a sample of them"
	@echo "make coverage  all tests, and which lines and branches they reach"
	@echo "make bench     every layer of published networks, timed beside torch and other engines (ARGS='--threads 2')"
	@echo "make lint      ruff, mypy --strict, import-linter"
	@echo "make format    what ruff can put right by itself"
	@echo "make doctest   the examples in docstrings and in the READMEs"
	@echo "make docs      the site, in docs/_build/html, and in Chinese in docs/_build/html/zh"
	@echo "make test-site the built site in a headless Chromium"
	@echo "make translations  brings the Chinese catalogues of the lessons up to date"
	@echo "make clean     remove .venv and everything that was built"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("miniconv needs Python 3.10 or newer: make PYTHON=..." if sys.version_info < (3, 10) else 0)'
	$(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV): torch makes this a few minutes"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(READY)
	$(BIN)/python -m miniconv demo --out demo-out

# One BLAS thread a worker: two workers with two threads each only get in one another's way.
PYTEST := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

test: $(READY)
	$(PYTEST)

# How else than with the engine's code for the processor at hand, which must be an x86 with AVX2 for the last two.
SETUPS := MINICONV_ALGORITHM=im2col MINICONV_TARGET=avx2 MINICONV_TARGET=x86-64
GRIDS := tests/parity/test_conv2d_grid.py tests/parity/test_family_grids.py

test-targets: $(READY)
	@set -e; for setup in $(SETUPS); do echo "$$setup"; env $$setup $(PYTEST) -m sample tests/parity/test_sample.py; done

test-arm: $(READY)
	$(PYTEST) -m arm tests/unit/test_codegen_arm.py

# What make test samples: too long for CI.
test-full: $(READY)
	$(PYTEST) -m full
	@set -e; for setup in $(SETUPS); do echo "$$setup"; env $$setup $(PYTEST) $(GRIDS); done

# Without miniconv's own plugin, which pytest would import before the coverage of imports is measured.
coverage: $(READY)
	$(PYTEST) -p no:miniconv --cov --cov-report=term

# The other engines are no part of the development set-up: only those who measure need them.
$(BENCH_READY): $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	@touch $@

bench: $(BENCH_READY)
	$(BIN)/python -m bench $(ARGS)

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

doctest: $(READY)
	$(BIN)/python -m pytest --doctest-modules src
	MINICONV_LANG=en $(BIN)/python -m pytest --doctest-glob='*.md' README.md README.zh-CN.md src/miniconv/codegen/README.md

# Lessons run in the first of the two and not in the second.
docs: $(READY)
	rm -rf docs/_build
	$(BIN)/python -m sphinx -W --keep-going -d docs/_build/en docs docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -d docs/_build/zh -D language=zh_CN docs docs/_build/html-zh
	mv docs/_build/html-zh docs/_build/html/zh

test-site: $(READY)
	$(PYTEST) tests/parity/test_site.py

translations: $(READY)
	$(BIN)/python docs/translations.py

clean:
	rm -rf $(VENV) build dist demo-out docs/_build docs/jupyter_execute docs/reference/generated docs/results/measured
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .coverage .coverage.*
	find docs/locale -name "*.mo" -delete
	find src tests docs -name __pycache__ -type d -exec rm -rf {} +
