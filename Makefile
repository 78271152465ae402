# Two commands a newcomer needs: `make run` and `make test`. Everything is installed into .venv; nothing is
# written outside the checkout. `make help` lists the rest.
PYTHON ?= python3
BIN := .venv/bin
COMPILE = $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-annotate --custom-compile-command "make lock" --exclude-newer "5 days" --upgrade
export PIP_NO_CACHE_DIR := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export UV_NO_CACHE := 1
export UV_SYSTEM_CERTS := 1

.DEFAULT_GOAL := help
.PHONY: help run demo test test-large chaos check bench docs lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

run: export KECHUANG_SANDBOX ?= 1
run: .venv/runtime  ## everything in one process on an embedded PostgreSQL, with a demo city
	@exec $(BIN)/python -m services run

demo: .venv/runtime  ## tell one loan's whole journey against the running system
	@$(BIN)/python -m services demo

test: .venv/dev  ## set up and run the test suite
	@$(BIN)/python -m pytest $(ARGS)

test-large: .venv/dev  ## the same tests at full size: 100,000 rows, 2,000 histories, 200 kills
	@$(BIN)/python -m pytest -m large $(ARGS)

chaos: .venv/dev  ## kill -9 at every point, restarts, no broker, at full size; SEED=n tries a run again
	@KECHUANG_SEED=$(SEED) $(BIN)/python -m pytest tests/faults -m "" -s $(ARGS)

check: .venv/dev  ## format, lint, types, walls, Dockerfile
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/hadolint deploy/Dockerfile

bench: .venv/dev  ## measure against floors of the same run; prints ratios
	@$(BIN)/python -m bench $(ARGS)

docs: .venv/dev  ## generate the documents that are woven from the code
	@$(BIN)/python -m shared.measures.weave
	@$(BIN)/python -m services.documents

lock:  ## resolve pyproject.toml anew into the lock files
	$(COMPILE) pyproject.toml -o requirements.lock
	$(COMPILE) --group dev pyproject.toml -c requirements.lock -o requirements-dev.lock

clean:  ## remove what was installed (the data folder stays)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis deploy/kafka/target

# The environment is made in one go, by one make at a time. Its mark names the folder and the Python it was made
# for: an interrupted, moved or copied one, or one whose Python went, has no valid mark and is made anew.
ONE_AT_A_TIME := $(if $(shell command -v flock),flock .venv.lock)
VERSION := $(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
ifneq ($(shell cat .venv/runtime 2>/dev/null),$(CURDIR)/.venv $(shell $(VERSION)))
.PHONY: .venv/runtime
endif

# uv is fast but reads no pip configuration: it is told the index pip uses, and where it fails pip does it.
define install
	@index="$${PIP_INDEX_URL:-$$($(BIN)/python -m pip config get global.index-url 2>/dev/null)}"; \
	if [ -n "$$index" ]; then export UV_DEFAULT_INDEX="$$index"; fi; \
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r $(1) 2>.venv/uv.log \
		|| $(BIN)/python -m pip install --quiet --require-hashes -r $(1) \
		|| { cat .venv/uv.log; echo "依赖未能安装：请检查到 PyPI 的网络，或在 pip 的配置中指定镜像 /" \
			"installing failed: check the network to PyPI, or name a mirror in pip's configuration"; exit 1; } >&2
endef

ifdef ALONE

.venv/runtime: requirements-setup.lock requirements.lock
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo \
		"需要 Python 3.11 及其 venv 模块 / Python 3.11 and its venv module are needed (python3-venv)"; exit 1; } >&2
	@echo "安装依赖到 .venv … installing into .venv" >&2
	@rm -rf .venv
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements-setup.lock
	$(call install,requirements.lock)
	@echo "$(CURDIR)/.venv $$($(VERSION))" >.venv/half-made
	@mv .venv/half-made $@

# While it is being added to, it has no mark either.
.venv/dev: .venv/runtime requirements-dev.lock
	@mv .venv/runtime .venv/half-made
	$(call install,requirements-dev.lock)
	@mv .venv/half-made .venv/runtime
	@touch $@

else

.venv/runtime: requirements-setup.lock requirements.lock
	@$(ONE_AT_A_TIME) $(MAKE) --silent ALONE=1 $@

.venv/dev: .venv/runtime requirements-dev.lock
	@$(ONE_AT_A_TIME) $(MAKE) --silent ALONE=1 $@

endif
