# Every target sets up what it needs: a fresh checkout and python3 >= 3.11 are enough.
#
#   make run            start postroom in the foreground; DATA_DIR=... and BASE_PORT=... choose where
#   make test           the whole test suite
#   make check          formatter, linter, types, import rules, tests
#   make help           the rest

PYTHON    ?= python3
VENV      ?= .venv
DATA_DIR  ?= data
# Empty: 20000 at the first start, and what was chosen then at later ones.
BASE_PORT ?=
# How many tests run side by side, and what pytest is told besides: make test PYTEST_ARGS='-k imap -x'
JOBS        ?= auto
PYTEST_ARGS ?=
# Counts of the long runs: make test-crash KILLS=10000, make test-power CUTS=10000
KILLS    ?= 2000
CUTS     ?= 2000
EXAMPLES ?= 2000
BENCH_ARGS ?=

BIN     := $(VENV)/bin
SOURCES := src tests bench
PYTEST  := $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help venv venv-run venv-kerberos run test test-crash test-power test-properties musts check lint format docs bench bench-tls bench-growth lock clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-24s %s\n", $$1, $$2 }'

# --- setting up: a stamp per lock, so that nothing is installed twice

PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "postroom needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) -V 2>&1)." \
	         "Name another one with: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) cannot make virtual environments (its ensurepip is missing)." \
	         "On Debian and Ubuntu: apt install python3-venv; then run make again." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# The project itself goes in last, in editable form, with build tools from a lock and without build isolation:
# nothing comes from the network that the locks do not name.
$(VENV)/.installed-run: requirements.lock requirements-build.lock pyproject.toml | $(VENV)/.made
	$(PIP) --require-hashes -r requirements.lock
	$(PIP) --require-hashes -r requirements-build.lock
	$(PIP) --no-build-isolation --no-deps --no-index --editable .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed-run
	$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@

venv-run: $(VENV)/.installed-run ## set up .venv with what running needs

venv: $(VENV)/.installed-dev ## set up .venv with what developing needs

# There is no wheel of gssapi for Linux: it is compiled here, with tools from a lock of their own, for MIT's libraries.
$(VENV)/.installed-kerberos: requirements-kerberos.lock requirements-kerberos-build.lock $(VENV)/.installed-run
	@command -v krb5-config >/dev/null || { echo "Kerberos is compiled against MIT's libraries, and krb5-config is missing." \
	  "On Debian and Ubuntu: apt install libkrb5-dev gcc python3-dev; then run make again." >&2; exit 1; }
	$(PIP) --require-hashes -r requirements-kerberos-build.lock
	$(PIP) --require-hashes --no-build-isolation -r requirements-kerberos.lock
	@touch $@

venv-kerberos: $(VENV)/.installed-kerberos ## add what Kerberos needs to .venv: GSSAPI and KPOP

# --- running

run: venv-run ## first-time set-up, then serve in the foreground (DATA_DIR=, BASE_PORT=)
	@exec $(BIN)/python -m postroom run --data-dir '$(DATA_DIR)' $(if $(BASE_PORT),--base-port '$(BASE_PORT)')

# --- testing

test: venv ## the whole test suite (JOBS=, PYTEST_ARGS=)
	$(PYTEST) -n $(JOBS) --dist loadgroup $(PYTEST_ARGS)

test-crash: venv ## kill -9 at random moments, many times (KILLS=)
	POSTROOM_TEST_KILLS=$(KILLS) $(PYTEST) -m crash -k 'not power' --timeout 0 $(PYTEST_ARGS)

test-power: venv ## simulated power cuts, many times (CUTS=)
	POSTROOM_TEST_CUTS=$(CUTS) $(PYTEST) -m crash -k power --timeout 0 $(PYTEST_ARGS)

test-properties: venv ## property tests with many more examples (EXAMPLES=)
	POSTROOM_TEST_EXAMPLES=$(EXAMPLES) $(PYTEST) -n $(JOBS) --timeout 0 $(PYTEST_ARGS)

musts: venv ## what the standards demand, and what of it code and transcripts cite (MUSTS_ARGS='--missing 9051')
	$(BIN)/python -m tests.citations $(MUSTS_ARGS)

check: lint test ## formatter, linter, types, import rules, tests

lint: venv ## the same without the tests
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports

format: venv ## rewrite the sources in the project's format
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

docs: venv ## write the generated pages of docs/ anew
	$(BIN)/python -m postroom.config.reference --write docs/configuration.md
	$(BIN)/python -m postroom.cli.reference --write docs/cli.md
	$(BIN)/python -m postroom.cli.protocols --write docs/protocols.md

bench: venv ## measure beside Dovecot, Postfix and Cyrus, as a table (BENCH_ARGS='--quick --only NOOP')
	$(BIN)/python -m bench $(BENCH_ARGS)

bench-tls: venv ## measure TLS beside openssl s_server, and thousands of idle sessions
	$(BIN)/python -m bench.tls
	$(BIN)/python -m bench.idle

bench-growth: venv ## measure as mailboxes and accounts become many (BENCH_ARGS='--quick')
	$(BIN)/python -m bench.growth $(BENCH_ARGS)

# --- keeping the project

UV ?= uv
LOCK := $(UV) pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet

lock: ## resolve the dependencies anew (needs uv, and libkrb5-dev)
	$(LOCK) --upgrade pyproject.toml -o requirements.lock
	$(LOCK) --upgrade pyproject.toml --group dev -c requirements.lock -o requirements-dev.lock
	$(LOCK) --upgrade pyproject.toml --extra kerberos -c requirements.lock -o requirements-kerberos.lock
	printf 'Cython==3.3.0\nsetuptools\n' | $(LOCK) --upgrade -o requirements-kerberos-build.lock -
	printf 'hatchling==1.31.0\neditables\n' | $(LOCK) --upgrade -c requirements-dev.lock -o requirements-build.lock -

clean: ## remove what was made here; mail in DATA_DIR stays
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
