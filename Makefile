# One door: `make help` lists what there is.
.DEFAULT_GOAL := help
# The system's own Python before that of a version manager, which is often built without optimisation (`speed` in bench/results).
IS_FIT := -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))'
PYTHON ?= $(shell /usr/bin/python3 $(IS_FIT) 2>/dev/null && echo /usr/bin/python3 || echo python3)
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: help
help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Throughline needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Set PYTHON=…"; exit 1; }
	@test -x $(BIN)/uv || { $(PYTHON) -m venv .venv && $(BIN)/python -m pip install --quiet --disable-pip-version-check uv; }
	@$(BIN)/uv sync --frozen --quiet $(SYNC)
	@touch $@

.PHONY: setup
setup: ## make the .venv; .venv/bin/throughline is the script
setup: SYNC = --no-dev
setup: $(STAMP)
	@:

.PHONY: dev
dev: $(STAMP)
	@test -x $(BIN)/pytest || $(BIN)/uv sync --frozen --quiet

.PHONY: run
run: setup ## run the whole pipeline in the foreground
	@exec $(BIN)/throughline run

.PHONY: demo
demo: setup ## the same, with a sample history and live traffic
	@exec $(BIN)/throughline run --demo

.PHONY: test
test: dev ## set up what the tests need and run them all
	@sh tests/needs.sh
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

.PHONY: lint
lint: dev ## style, types, arrows
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: format
format: dev ## rewrite the code in the house style
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format --quiet .

.PHONY: bench
bench: dev ## measure, side by side with what it is compared to
	@sh tests/needs.sh
	@$(BIN)/python -m bench

.PHONY: sites
sites: dev ## renew the list of search engines and social networks
	@$(BIN)/python -m services.ingest.sites.update

.PHONY: up
up: ## the full stack in containers
	docker compose up --build --detach --wait

.PHONY: down
down: ## stop it; the data stays
	docker compose down

.PHONY: clean
clean: ## remove what was built; the data in .throughline stays
	rm -rf .venv .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
