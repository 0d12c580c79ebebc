# Two commands do all the set-up: `make run` (the default study) and `make test`.
VENV ?= .venv
PYTHON ?= $(shell for p in python3 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$p && break; done)
BIN := $(VENV)/bin
ARGS ?=

.PHONY: run test test-images test-faults lint docs install install-dev clean

run: install
	$(BIN)/einsearch run $(ARGS)

test: install-dev lint
	$(BIN)/python -m pytest -n 2

# The images without an engine: the Dockerfile's own steps in a folder, and the SLURM script on what they made.
# torch comes from pip's usual index here: TORCH_INDEX=https://download.pytorch.org/whl/cpu is what the images take.
test-images: export TORCH_INDEX ?= $(shell $(BIN)/python -c 'from pip._internal.models.index import PyPI; print(PyPI.simple_url)')
test-images: install-dev
	$(BIN)/python -m pytest -n 0 -m slow tests/docker

# Every fault on every backend and store; `make test` has a part of them.
test-faults: install-dev
	$(BIN)/python -m pytest -n 0 -m "slow or not slow" tests/faults

install: $(VENV)/.installed

install-dev: $(VENV)/.installed-dev

$(VENV)/.installed: requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or 3.12 found; install one or give PYTHON=..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

# The types are checked on the package as a wheel installs it: that is where `kernels/` has its name.
lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target build/typecheck .
	cd build/typecheck && ../../$(BIN)/mypy --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache

docs: install-dev
	$(BIN)/python -m typer einsearch.cli.main utils docs --name einsearch --output docs/commands.md
	$(BIN)/python docs/refresh.py

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
