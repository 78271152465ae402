# Two commands a newcomer needs: `make run` and `make test`. Everything is installed into .venv; nothing is
# written outside the checkout. `make help` lists the rest.
PYTHON ?= python3
BIN := .venv/bin
INSTALL = $(BIN)/uv pip install --quiet --python $(BIN)/python --no-cache --require-hashes
COMPILE = $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-annotate --custom-compile-command "make lock" --exclude-newer "5 days" --upgrade
export PIP_NO_CACHE_DIR := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export KECHUANG_SANDBOX ?= 1

.DEFAULT_GOAL := help
.PHONY: help run demo test test-large check bench chaos docs lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

run: .venv/runtime  ## everything in one process on an embedded PostgreSQL, with a demo city
	@exec $(BIN)/python -m services run

demo: .venv/runtime  ## tell one loan's whole journey against the running system
	@$(BIN)/python -m services demo

test: .venv/dev  ## set up and run the test suite
	@$(BIN)/python -m pytest $(ARGS)

test-large: .venv/dev  ## the same tests at full size: 100,000 rows, 2,000 histories, 200 kills
	@$(BIN)/python -m pytest -m large --override-ini addopts="-ra --strict-markers --strict-config" $(ARGS)

check: .venv/dev  ## format, lint, types, walls
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

bench: .venv/dev  ## measure against floors of the same run; prints ratios
	@$(BIN)/python -m bench $(ARGS)

docs: .venv/dev  ## generate the documents that are woven from the code
	@$(BIN)/python -m shared.measures.weave
	@$(BIN)/python -m services.asyncapi
	@$(BIN)/python -m services.gateway.openapi > docs/openapi.json

lock:  ## resolve pyproject.toml anew into the lock files
	$(COMPILE) pyproject.toml -o requirements.lock
	$(COMPILE) --group dev pyproject.toml -c requirements.lock -o requirements-dev.lock

clean:  ## remove what was installed (the data folder stays)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis deploy/kafka/target

# The environment is made in one go: an interrupted or moved one has no valid mark and is made anew.
.venv/runtime: requirements-setup.lock requirements.lock
	@$(PYTHON) -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "需要 Python 3.11 及其 venv 模块 / Python 3.11 and its venv module are needed (python3-venv)"; exit 1; }
	@echo "安装依赖到 .venv … installing into .venv" >&2
	@rm -rf .venv
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements-setup.lock
	@$(INSTALL) -r requirements.lock
	@touch $@

.venv/dev: .venv/runtime requirements-dev.lock
	@$(INSTALL) -r requirements-dev.lock
	@touch $@

# A checkout that was moved or copied has an environment that points elsewhere.
ifneq ($(wildcard .venv/runtime),)
ifneq ($(shell $(BIN)/python -c 'import sys; print(sys.prefix)' 2>/dev/null),$(CURDIR)/.venv)
.PHONY: .venv/runtime
endif
endif
