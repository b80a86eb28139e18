# The two commands of the README are `make demo` and `make test`; both install what is missing first.

VENV   := .venv
BIN    := $(VENV)/bin
PYTHON ?= python3
STAMP  := $(VENV)/.installed

# What every python of ours would else compile again at each start, on a machine that says so.
export PYTHONDONTWRITEBYTECODE :=

# The quick tests make and remove a hundred thousand small files: in memory, where there is room.
ROOM := $(shell [ -w /dev/shm ] && [ $$(df --output=avail /dev/shm | tail -n 1) -gt 4000000 ] && echo /dev/shm)
QUICK := PYTEST_DEBUG_TEMPROOT=$(ROOM) $(BIN)/pytest -n 2 -o tmp_path_retention_policy=failed tests/unit tests/flow

.PHONY: demo test check others slow kernels faults accuracy schema packages clean \
	bench bench-builds bench-guests bench-judge bench-report bench-history bench-cluster

demo: $(STAMP)
	$(BIN)/kdelta run

# Once lint, types and the quick tests pass, in two lanes: what waits for guests leaves room to what compiles kernels.
test: check
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=line others kernels

# Lint, types, import rules, and the tests that build and boot nothing, but those that make many whole runs.
check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(QUICK) -m "not long"

others:
	@$(MAKE) --no-print-directory slow
	@$(MAKE) --no-print-directory faults

# The other whole runs; Chromium; real QEMU.
slow: $(STAMP)
	$(QUICK) -m long
	$(BIN)/pytest tests/browser
	$(BIN)/pytest -n 2 tests/vm

# Real kernels: one test after the other, because each of them uses all processors.
kernels: $(STAMP)
	$(BIN)/pytest tests/kernel

# What must be said of each fault, on real guests; docs/faults.md is written anew.
faults: $(STAMP)
	PYTHONPATH=. $(BIN)/python -m tests.faults

# Each prints ratios of one run; the first builds kernels in caches of its own, the others want some in yours.
bench: bench-builds bench-guests bench-judge bench-report bench-history bench-cluster

bench-builds: $(STAMP)
	$(BIN)/python benchmarks/bench.py
	PYTHONPATH=. $(BIN)/python benchmarks/builds.py
	$(BIN)/python benchmarks/plan_large.py

bench-guests: $(STAMP)
	PYTHONPATH=. $(BIN)/python benchmarks/restores.py
	PYTHONPATH=. $(BIN)/python benchmarks/restores.py --panics 20
	PYTHONPATH=. $(BIN)/python benchmarks/restores.py --tests 200
	PYTHONPATH=. $(BIN)/python benchmarks/restores.py --restores 1000
	$(BIN)/python benchmarks/parse_ktap.py
	$(BIN)/python benchmarks/parse_console.py

bench-judge: $(STAMP)
	$(BIN)/python benchmarks/judge.py

bench-report: $(STAMP)
	PYTHONPATH=. $(BIN)/python benchmarks/report.py
	PYTHONPATH=. $(BIN)/python benchmarks/report.py 10000 10000

bench-history: $(STAMP)
	PYTHONPATH=. $(BIN)/python benchmarks/history.py
	PYTHONPATH=. $(BIN)/python benchmarks/history.py --postgresql

bench-cluster: $(STAMP)
	PYTHONPATH=. $(BIN)/python benchmarks/cluster.py

# How often kdelta is right about seeded changes; hours, and goes on where it was cut off. A part: `ARGS="--only thp"`.
accuracy: $(STAMP)
	PYTHONPATH=. $(BIN)/python -m benchmarks.accuracy $(ARGS)

# docs/run.schema.json, from the model.
schema: $(STAMP)
	$(BIN)/python -c 'import json; from orchestrator import store; print(json.dumps(store.schema(), indent=1))' \
		>docs/run.schema.json

packages:
	@sh .ci/packages

$(STAMP): pyproject.toml constraints.txt | packages
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
