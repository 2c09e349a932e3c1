# Two commands do everything, on a machine that has nothing yet:
#
#   make contracts [ARGS="-k fork --examples 500"]    the contracts, against a stock Linux kernel in QEMU
#   make test                                         every self-test, the linters, a short round of contracts
#
# Both leave a virtual environment in .venv/ in which `pytest contracts` and `python -m harness …` work.
PYTHON ?= python3
ARGS   ?=
# `make test` draws the same programs every time; `make contracts` draws new ones.
SEED   ?= 1
BIN    := .venv/bin

.PHONY: contracts test tools lint self-test short-contracts clean
.DELETE_ON_ERROR:

contracts: .venv/ready tools
	$(BIN)/pytest contracts $(ARGS)

test: .venv/ready tools lint self-test short-contracts

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

self-test: .venv/ready tools
	$(BIN)/pytest harness strategies contracts/_tests -n auto -q

short-contracts: .venv/ready tools
	$(BIN)/pytest contracts --guest model --examples 100 -n auto -q --seed $(SEED)
	$(BIN)/pytest contracts --guest linux --examples 25 -n auto -q --seed $(SEED)
	$(BIN)/pytest contracts --guest mini --examples 10 -n auto -q --seed $(SEED)

# The environment: exactly what the lock file says, so that every machine runs the same versions.
.venv/ready: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "pagepact needs Python 3.11 or newer; say which with: make PYTHON=python3.12 …" >&2; exit 2; }
	@$(PYTHON) -m venv .venv 2>/dev/null || \
	  { $(PYTHON) -m pip --version >/dev/null 2>&1 && $(PYTHON) -m pip install -q virtualenv && $(PYTHON) -m virtualenv -q .venv; } || \
	  sh .ci/install python3-venv "a virtual environment"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements.lock
	@touch $@

# QEMU and a C compiler, from the distribution where that is possible.
tools:
	@command -v qemu-system-x86_64 >/dev/null || sh .ci/install qemu-system-x86 "QEMU (qemu-system-x86_64)"
	@command -v cc >/dev/null || command -v gcc >/dev/null || command -v clang >/dev/null || \
	  $(BIN)/python -c 'import ziglang' 2>/dev/null || sh .ci/install gcc "a C compiler" || \
	  $(BIN)/python -m pip install -q ziglang

clean:
	rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
