# Each target works alone on a fresh machine: it makes .venv, installs into it with constraints.txt, and runs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The stamp carries the time of the last install, so that repeated calls install nothing.
STAMP := $(VENV)/.installed
# Two workers by default: tests are small and each uses one thread.
TEST_WORKERS ?= 2
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-slow lint format

help:
	@echo "make demo       all six tasks on a generated clip; videos in demo/out"
	@echo "make test       all tests but the slow ones (PYTEST_ARGS=... goes to pytest)"
	@echo "make test-slow  all tests"
	@echo "make lint       check style and imports"
	@echo "make format     rewrite the files in the project's style"
	@echo "make venv       only create .venv and install"

venv: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/python demo/run_demo.py

test: $(STAMP)
	$(BIN)/python -m pytest -n $(TEST_WORKERS) -m "not slow" $(PYTEST_ARGS)

test-slow: $(STAMP)
	$(BIN)/python -m pytest -n $(TEST_WORKERS) $(PYTEST_ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
