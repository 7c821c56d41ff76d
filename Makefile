# What can be asked of this tree. Each target sets up what it needs; when that is done it costs nothing.
#   make PYTHON=python3.12 ...        build .venv from another interpreter
#   make TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu ...   where torch comes from
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow check format bench evals clean

PYTHON ?=
TORCH_INDEX_URL ?=
SEEDS ?= 940000:940008

BIN := .venv/bin
FOR_RUN := .venv/ready-run
FOR_DEV := .venv/ready-dev
SET_UP := PYTHON='$(PYTHON)' TORCH_INDEX_URL='$(TORCH_INDEX_URL)' .ci/setup
SOURCES := agent inference tools sandbox evals tests

help:  ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

setup: $(FOR_RUN)  ## make .venv and install what the program needs
	@echo "set-up: .venv is ready"

demo: $(FOR_RUN)  ## repair a freshly generated repository with the model that is included
	$(BIN)/qwen-agent demo

test: $(FOR_DEV)  ## the default tests; fail below 85 % of lines
	OMP_NUM_THREADS=1 .ci/pytest -n 3 --dist worksteal --cov
	@$(BIN)/coverage report --format=total --fail-under=85

test-slow: $(FOR_DEV)  ## the tests marked slow, attack or fault
	OMP_NUM_THREADS=1 .ci/pytest -n 2 --dist worksteal -m "slow and not (attack or fault)"
	.ci/pytest -n 2 --dist worksteal -m "attack or fault"

check: $(FOR_DEV)  ## ruff and mypy
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy

format: $(FOR_DEV)  ## put the code into its one form
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

bench: $(FOR_RUN)  ## start-up, session, edits, fork, store, kv and reuse, one by one; reuse takes hours
	@set -e; for name in start repl edit fork store kv reuse; do \
		echo "== $$name"; $(BIN)/python -m evals.bench.$$name; done

evals: $(FOR_RUN)  ## nano on a few fresh repositories under three conditions, paired (SEEDS=A:B)
	$(BIN)/python -m evals.latest docs/evals --seeds $(SEEDS) --runs eval-runs

clean:  ## remove .venv and everything else that was made here
	rm -rf .venv build dist *.egg-info .coverage .mypy_cache .pytest_cache .ruff_cache eval-runs

$(FOR_RUN): pyproject.toml constraints.txt .ci/setup
	@$(SET_UP) run
	@touch $@

$(FOR_DEV): $(FOR_RUN)
	@$(SET_UP) dev
	@touch $@
