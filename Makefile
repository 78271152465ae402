# Two commands a newcomer needs: `make run` and `make test`. Everything is installed into .venv.
PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python --no-cache --require-hashes

.PHONY: run test

.venv/.runtime: requirements.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(UV) -r requirements.lock
	@touch $@

.venv/.dev: .venv/.runtime requirements-dev.lock
	@$(UV) -r requirements-dev.lock
	@touch $@

lock:  ## resolve pyproject.toml anew into the two lock files
	$(BIN)/uv pip compile -q --universal --generate-hashes --exclude-newer "5 days" --no-emit-index-url --no-annotate --upgrade pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile -q --universal --generate-hashes --exclude-newer "5 days" --no-emit-index-url --no-annotate --group dev pyproject.toml -c requirements.lock -o requirements-dev.lock
