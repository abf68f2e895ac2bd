# `make help` lists the targets. Everything is installed into .venv, once.
PYTHON ?= python3
VENV ?= .venv
LOGDIR ?= outputs
PORT ?= 6006
RUN := $(VENV)/bin/python
export STRESS_SECONDS ?= 120

.DEFAULT_GOAL := help
.PHONY: help setup train test stress lint format reproduce tensorboard benchmark audit clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.core  ## install what training needs into .venv

train: $(VENV)/.core  ## train a GRU with the default config (ARGS="data=cinema" for more)
	$(RUN) train.py model=gru $(ARGS)

test: $(VENV)/.dev  ## run the tests
	$(RUN) -m pytest -n 2 --dist worksteal $(ARGS)

stress: $(VENV)/.dev  ## run the long tests, and print what they measure (STRESS_SECONDS=120 for each open-ended one)
	$(RUN) -m pytest -m stress -s $(ARGS)

lint: $(VENV)/.dev  ## check style and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: $(VENV)/.dev  ## mend the style
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

reproduce: $(VENV)/.core  ## run the reference experiments over seeds, write a page (ARGS="--seeds 3 trend_gru")
	$(RUN) scripts/reproduce.py $(ARGS)

tensorboard: $(VENV)/.core  ## serve outputs/ on http://localhost:6006 (PORT=, LOGDIR=)
	$(RUN) -m tensorboard.main --logdir $(LOGDIR) --port $(PORT)

benchmark: $(VENV)/.core  ## measure start-up and the memory of a long CSV
	$(RUN) scripts/benchmark.py start
	$(RUN) scripts/benchmark.py memory

audit: $(VENV)/.audit  ## look for known vulnerabilities in the pinned packages, as far as that can be done offline
	$(RUN) scripts/audit.py $(ARGS)

clean:  ## remove .venv and caches, never outputs/
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than 3.11: name a newer one, as in make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "setting up $(VENV), once: this takes a minute or two"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.core: $(VENV)/.python pyproject.toml constraints.txt
	@$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	@$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

$(VENV)/.audit: $(VENV)/.core
	@$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[audit]'
	@touch $@
