# Everything happens in a local virtual environment, made from requirements.lock the first time.
#
#   make demo     a simulated cook, its temperatures and its alerts in the terminal
#   make test     all tests
#   make lint     formatting, lint and types, as .ci/run checks them
#   make services the servers that tests of brokers talk to: Debian's packages, the others built and cached
#   make faults   pipelines over every broker, killed and cut at random moments; ROUNDS=100 for many
#   make bench    how fast this machine is (minutes)
#   make setup    the environment alone (.venv); does nothing when it is up to date
#   make lock     pin what the environment has now: after changing dependencies in pyproject.toml
#   make clean    remove the environment and everything that was made

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/ready

.PHONY: setup demo test faults services lint bench lock clean

setup: $(READY)

# The stamp is written last: a set-up that was interrupted starts over.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Tocsin needs Python 3.11 or newer; say which with: make PYTHON=/path/to/python3.11") if sys.version_info < (3, 11) else None'
	@echo "Setting up .venv with what requirements.lock names: about a minute, and only when that has changed."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)

demo: setup
	@$(BIN)/tocsin demo

test: setup
	$(BIN)/python -m pytest -n auto $(PYTEST_ARGS)

# Pipelines under fault, many rounds: make faults ROUNDS=100
faults: setup
	TOCSIN_ROUNDS=$(or $(ROUNDS),10) $(BIN)/python -m pytest -n auto -rP tests/test_faults*.py $(PYTEST_ARGS)

services: setup
	@tests/services/fetch

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Every benchmark that is a program of its own, but for the ten minutes of soak.py; benchmarks/README.md has the method and results.
bench: setup
	@for program in $$(grep -l __main__ benchmarks/*.py | grep -v soak.py); do echo "== $$program"; $(BIN)/python $$program || exit 1; done

# pip freeze writes versions only; what it would say of Tocsin itself and of pip is left out.
lock: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --editable '.[dev]'
	@{ echo "# Every package of the environment at the version it was tested with. Written by \`make lock\`."; \
	   $(BIN)/python -m pip freeze --all --exclude tocsin --exclude pip --exclude wheel; } > requirements.lock.new
	@if grep -nE '@|://' requirements.lock.new; then echo "these are addresses, not versions; the lock file stays as it was" >&2; exit 1; fi
	mv requirements.lock.new requirements.lock
	@touch $(READY)

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
