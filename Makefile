# make run    start Portal on http://localhost:8000 (PORT=8001 for another port)
# make test   run every check and test that this machine can run
# make bench  measure how fast it is (PEERS=1: beside others; BENCH="--help": what else)
# make bench-scale   measure a million applications against a hundred (a few minutes, 3 GB of disk)
#
# Needs python3 (3.11 or later) with venv, and nothing else: all else goes into .venv.

PY ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
NEEDS := setup.cfg pyproject.toml constraints.txt

.PHONY: run test bench bench-peers bench-scale lint format clean clean-data

run: .venv/ready
	@$(BIN)/flask --app wsgi serve --demo

test: .venv/test-ready lint
	$(BIN)/python -m pytest -n 2 --dist worksteal $(TESTS)

bench: .venv/test-ready $(if $(PEERS),bench-peers)
	$(BIN)/python -m bench $(if $(PEERS),--peers) $(BENCH)

# Others to compare with, away from .venv; the bench says why when one of them is not there.
# With its own headers node can build the SQLite module where no ready one is to be had.
NODE_HOME := $(patsubst %/include/node/node.h,%,$(wildcard /usr/include/node/node.h /usr/local/include/node/node.h))

bench-peers: .venv-bench/ready
	-test -e bench/peers/node_modules/oidc-provider || \
	  $(if $(NODE_HOME),npm_config_nodedir=$(firstword $(NODE_HOME))) \
	  npm install --prefix bench/peers --no-package-lock --no-audit --no-fund

.venv-bench/ready: bench/peers/requirements.txt
	-$(PY) -m venv .venv-bench && .venv-bench/bin/python -m pip install --quiet \
	  --disable-pip-version-check -r $< && touch $@

lint: .venv/test-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/test-ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What a million applications cost; see python -m bench.scale --help for SCALE="--postgres" etc.
bench-scale: .venv/test-ready
	$(BIN)/python -m bench.scale $(SCALE)

# What people and applications left in instance/; the next start begins afresh.
clean-data:
	rm -rf instance

clean: clean-data
	rm -rf .venv .venv-bench bench/peers/node_modules build *.egg-info .mypy_cache .ruff_cache .pytest_cache

.venv/ready: $(NEEDS)
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Portal needs Python 3.11 or later, and $(PY) is older or missing: try make run PY=python3.12" >&2; exit 1; }
	@$(PY) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "This Python cannot make virtual environments: sudo apt install python3-venv" >&2; exit 1; }
	@echo "Installing into .venv (once) ..."
	@rm -f $@ .venv/test-ready
	@$(PY) -m venv .venv
	@$(INSTALL) setuptools
	@$(INSTALL) --no-build-isolation -e '.[postgres]'
	@touch $@

.venv/test-ready: .venv/ready
	@echo "Installing what the tests need (once) ..."
	@$(INSTALL) --no-build-isolation -e '.[postgres,test]'
	@touch $@
