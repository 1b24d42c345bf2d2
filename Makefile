# Set-up, the main job, and the checks. `make up` and `make test` need nothing but Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=
COMPILED_FROM := $(shell sed -n 's/^    "\(src.*\.py\)",$$/\1/p' setup.py)

.PHONY: up test check fast format bench docs compiled pure clean

up: $(READY) ## all set-up, then the whole architecture on this machine: make up ARGS="--demo --for 60s"
	@$(BIN)/heliograph up $(ARGS)

test: $(READY) ## all set-up, then every test
	$(BIN)/python -m pytest $(ARGS)

check: $(READY) ## format, lint, types, import rule, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest $(ARGS)

format: $(READY) ## rewrite the code in its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY) ## CPU and memory beside the upstream Collector, where it is present
	$(BIN)/python -m bench $(ARGS)

docs: $(READY) ## regenerate docs/components from the configuration classes
	$(BIN)/python -m heliograph.config.reference

pure: ## remove compiled modules, so that edited sources are what runs
	find src -name '*.so' -delete
	rm -rf build

clean: pure ## remove everything that was made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info src/*.egg-info

# The package is installed in place; its hot modules are compiled where there is a C compiler, and again when they change.
$(READY): pyproject.toml setup.py $(COMPILED_FROM)
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@
