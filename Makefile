# Every command of the project; `make` lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
RUN := $(BIN)/python manage.py
APPS := aforo catalog billing guard metering portal tests bench conftest.py manage.py
speed ?= 60
args ?=

.PHONY: help up demo test test-full lint format types arch bench-ingest bench-paced bench-singles bench-history \
	bench-check bench-rating bench-backtest bench-composer verify doctor clean ci browser

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | \
		awk -F'\t' '{printf "  make %-14s %s\n", $$1, $$2}'

up: .venv/.base ## start everything: Postgres, Redis, web, worker, beat; Ctrl-C stops it
	@exec $(RUN) up $(args)

demo: .venv/.base ## replay real agent traffic into what `make up` runs (speed=60)
	@exec $(RUN) demo --speed $(speed) $(args)

test: .venv/.dev browser ## run the tests on two processes (args="-k name" chooses)
	$(BIN)/python -m pytest -n 2 --dist loadfile $(args)

test-full: .venv/.dev browser ## run every test, the long ones too
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not benchmark" \
		--hypothesis-profile=full $(args)

lint: .venv/.dev ## check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/.dev ## put style and formatting right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: .venv/.dev ## check types
	$(BIN)/mypy $(APPS)

arch: .venv/.dev ## check who imports whom
	$(BIN)/lint-imports

bench-ingest: .venv/.dev ## events per second, HTTP to committed ledger
	$(BIN)/python -m bench.ingest $(args)

bench-paced: .venv/.dev ## ingest at a fixed pace: backlog, lateness, memory, single events
	$(BIN)/python -m bench.paced $(args)

bench-singles: .venv/.dev ## single-event requests per second, 64 connections
	$(BIN)/python -m bench.singles $(args)

bench-history: .venv/.dev ## what an event costs when ten million are stored
	$(BIN)/python -m bench.history $(args)

bench-check: .venv/.dev ## latency of /v1/check beside a bare Redis round trip
	$(BIN)/python -m bench.check $(args)

bench-rating: .venv/.dev ## rated measurements per second of the engine on one core
	$(BIN)/python -m bench.rating $(args)

bench-backtest: .venv/.dev ## a million events over four plans: seconds and memory
	$(BIN)/python -m bench.backtest $(args)

bench-composer: .venv/.dev ## how long the composer takes to answer a change
	$(BIN)/python -m bench.composer $(args)

verify: .venv/.base ## check every invariant of the books
	$(RUN) verify $(args)

doctor: .venv/.base ## say in words what is wrong here
	$(RUN) doctor

ci: ## what must pass before anything lands
	.ci/run

clean: ## remove the virtual environment and caches; data in .aforo stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Made again when the requirements change.
.venv/.python: Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
		"Name another one: make PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@touch $@

.venv/.base: requirements/base.txt | .venv/.python
	@echo "Installing requirements/base.txt"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

.venv/.dev: requirements/dev.txt requirements/base.txt | .venv/.python
	@echo "Installing requirements/dev.txt"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@ .venv/.base

browser:
	@command -v chromium >/dev/null || { \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo "Installing chromium for the browser tests"; \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
				apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
		else \
			echo "The browser tests need chromium: sudo apt-get install chromium" >&2; \
			exit 1; \
		fi; }
