# `make` alone prints what there is. Everything runs in the environment that `make env` sets up.
PROFILE ?= full
PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
READY   := $(VENV)/.ready
LOCKS   := requirements.lock requirements-torch.lock requirements-cuda.lock
PIP     := $(BIN)/python -m pip --quiet
LOCKED  := $(PIP) install --require-hashes --no-deps
TORCH   := $(shell grep -o '^torch==[^ ]*' requirements-torch.lock)

# The index that torch alone is taken from, where the plain one's build is not wanted.
TORCH_INDEX ?=

.DEFAULT_GOAL := help
.PHONY: help env reproduce quick test notebooks lab lint clean data docs bench lock

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14
	@echo
	@echo 'PROFILE=full|quick chooses the settings of `make reproduce`; SETS="..." the data of `make data`.'

env: $(READY) ## set up the environment in .venv

# Only a download leaves the choice of torch's build to the index; what came is installed if it is
# in the lock. A build without +cpu is a CUDA build on Linux; elsewhere that lock asks for nothing.
$(READY): $(LOCKS) pyproject.toml setup.py
	$(PYTHON) -m venv $(VENV)
	$(LOCKED) -r requirements.lock
	rm -rf $(VENV)/torch
	$(PIP) download --no-deps --dest $(VENV)/torch $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	$(LOCKED) --no-index --find-links $(VENV)/torch -r requirements-torch.lock
	rm -rf $(VENV)/torch
	$(BIN)/python -c 'import importlib.metadata as m; exit("+cpu" not in m.version("torch"))' \
		|| $(LOCKED) -r requirements-cuda.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

lock: $(READY) ## renew the locks from pyproject.toml's ranges (needs uv)
	$(BIN)/python tools/lock.py

reproduce: $(READY) ## execute the notebooks headless (PROFILE=full or quick); results in results/
	$(BIN)/python -m biglearn_core.reproduce --profile $(PROFILE)

quick: ## reproduce with the quick values
	@$(MAKE) --no-print-directory reproduce PROFILE=quick

test: lint ## all checks: ruff, pytest, the notebooks at quick values
	BIGLEARN_QUIET=1 $(BIN)/python -m pytest --quiet -rs --numprocesses=2 --dist=loadfile --no-loadscope-reorder \
		--nbval-lax --nbval-current-env --nbval-cell-timeout=300 notebooks tests

notebooks: $(READY) ## re-execute the notebooks in place at their quick values
	BIGLEARN_QUIET=1 $(BIN)/jupyter execute --inplace --kernel_name=python3 \
		--NotebookClient.record_timing=False notebooks/*.ipynb

lab: $(READY) ## open Jupyter
	$(BIN)/jupyter lab notebooks

lint: $(READY) ## ruff, and mypy on the public names
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY) ## build the site into docs/site
	$(BIN)/python docs/build.py

bench: $(READY) ## run all benchmarks; the tables of benchmarks/results and docs/comparison.md (hours)
	for name in small_steps whole_fits em_step scaling threads gmm25_step fashion_step deep_training large_sets \
			estimators_gmm25 estimators_grid public_sets hard_problems selection combining \
			diagonal_step scale gmm25_hundred_seeds explorer table comparison; do \
		echo "== $$name" && $(BIN)/python benchmarks/$$name.py || exit 1; done

data: $(READY) ## download further data sets: make data SETS="covtype connect-4"
	$(BIN)/python -m biglearn_core.datasets $(SETS)

clean: ## remove results, caches and the environment
	find results -mindepth 1 -maxdepth 1 ! -name record -exec rm -rf {} +
	rm -rf .pytest_cache .ruff_cache .mypy_cache .hypothesis $(VENV)
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
