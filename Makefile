# Tasks for people. `python -m venv .venv && .venv/bin/pip install -e '.[dev]'` first.
PYTHON ?= .venv/bin/python
BIN := $(dir $(PYTHON))

.PHONY: check format lint types imports test golden bench example docs gpu

check: lint types imports test

format:
	$(BIN)ruff format .
	$(BIN)ruff check --fix .

lint:
	$(BIN)ruff format --check .
	$(BIN)ruff check .

types:
	$(BIN)mypy

imports:
	.ci/imports $(BIN)lint-imports

test:
	$(BIN)pytest -n auto

golden:
	GRAPHJIT_UPDATE_GOLDEN=1 $(BIN)pytest -q tests/passes tests/codegen tests/cli/test_main.py
	git diff --stat tests/golden

bench:
	$(PYTHON) benchmarks/compare.py

example:
	$(PYTHON) examples/digits.py

# into build/docs; `pip install -e '.[dev,docs]'` first
docs:
	$(PYTHON) -m sphinx -W --keep-going -q -d build/doctrees docs build/docs

# on a machine with an NVIDIA GPU and its driver; the report tells what was run on what
gpu:
	$(PYTHON) -m pip install --quiet -e '.[dev,cuda]'
	@nvidia-smi | tee gpu-report.txt
	$(BIN)pytest -m gpu -rA --junitxml=gpu-report.xml tests/ptx >> gpu-report.txt; \
	status=$$?; tail -n 40 gpu-report.txt; exit $$status
