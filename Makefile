# Two commands matter: `make demo` and `make test`.  Each sets up all that it needs.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Bytecode is kept: without, each worker rewrites the asserts of all tests, each time (8 s of CPU).
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help demo test check format lint types daemon crash endurance controllers mutants soak
.PHONY: bench docs clean

help:  ## what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY)  ## the main job on real input, in a temporary home
	@$(BIN)/jobd demo

test: $(READY)  ## all tests but the slow lanes
	$(PYTEST) -n auto --ignore tests/daemon --ignore tests/demo/test_demo.py

check: $(READY) lint types test  ## what CI runs: format, lint, types, tests

format: $(READY)  ## put the code in the house's layout
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(READY)  ## layout and lint, changing nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY)  ## mypy --strict, for Linux and for Windows
	$(BIN)/mypy
	$(BIN)/mypy --platform win32

daemon: $(READY)  ## the real daemon killed, restarted, attacked, out of room; the real demo
	$(PYTEST) -n auto --dist worksteal tests/daemon tests/demo/test_demo.py

crash: $(READY)  ## a campaign: the daemon and its keeper killed under load, and judged
	$(BIN)/python tests/crash/campaign.py

endurance: $(READY)  ## ten thousand jobs, half of them stopped: nothing grows, nothing is left
	$(BIN)/python tests/endurance/run.py

controllers: $(READY)  ## limits on a kernel that has all controllers of cgroup v2
	tests/controllers/run.sh $(BIN)/python

mutants: $(READY)  ## plant known bugs, one at a time: each must be caught by a test
	$(BIN)/python tests/mutants/run.py

soak: $(READY)  ## thousands of simulated lives; every byte of a journal flipped and repaired
	JOBD_SEEDS=3000 JOBD_FLIP_STEP=1 $(PYTEST) -n auto --timeout 3600 tests/simulation \
	  tests/journal/test_repair.py

bench: $(READY)  ## figures of this machine; no pass, no fail
	$(BIN)/python benchmarks/run.py

docs: $(READY)  ## rewrite the tables of docs/protocol.md from the code
	$(BIN)/python -m jobd.rpc.reference

clean:  ## remove what the targets made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "jobd needs Python 3.11 or newer; call make PYTHON=python3.12, say" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
