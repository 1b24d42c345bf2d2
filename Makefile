# Set-up, the main job, and the checks. `make up` and `make test` need nothing but Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
COMPILED := build/.compiled
ARGS ?=
HOT := $(shell sed -n 's/^    "\(src.*\.py\)",$$/\1/p' setup.py)

.PHONY: up test lint check format bench docs image chart pure clean

up: $(COMPILED) ## all set-up, then the whole architecture on this machine: make up ARGS="--demo --for 60s"
	@$(BIN)/heliograph up $(ARGS)

test: $(COMPILED) ## all set-up, then every test
	$(BIN)/python -m pytest $(ARGS)

lint: $(READY) ## format, lint, types, import rule
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test ## everything

format: $(READY) ## rewrite the code in its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(COMPILED) ## CPU and memory beside the upstream Collector, where it is present
	$(BIN)/python -m bench $(ARGS)

docs: $(READY) ## regenerate docs/components from the configuration classes
	$(BIN)/python -m heliograph.config.reference docs/components

image: $(READY) ## the container image, without a container engine: build/image/heliograph.tar
	$(BIN)/python deploy/image build $(ARGS)

chart: ## bring the presets into the Helm chart and deploy/systemd
	rm -f deploy/helm/heliograph/files/*
	cp src/heliograph/presets/kubernetes-*.yaml deploy/helm/heliograph/files/
	cp src/heliograph/presets/kubernetes-backend.yaml deploy/systemd/backend.yaml
	cp src/heliograph/presets/backend-secured.yaml deploy/systemd/secured.yaml

pure: ## remove compiled modules, so that edited sources are what runs
	find src -name '*.so' -delete
	rm -rf build

clean: pure ## remove everything that was made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info src/*.egg-info

# The package is installed in place, so that an edited source is what runs.
$(READY): pyproject.toml
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

# The hot modules are compiled beside their sources where there is a C compiler, and again when one of them changes;
# `make pure` removes them. HELIOGRAPH_PURE=1 leaves it out.
$(COMPILED): $(READY) setup.py $(HOT)
	$(BIN)/python setup.py --quiet build_ext --inplace
	@mkdir -p $(@D) && touch $@
