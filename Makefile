# Targets of gpuledger. `make` alone lists them. A Python of 3.11 or later with venv is all it needs.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench run migration lock docs test-parts check-database

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
FOCUS := var/focus-validator
FOCUS_STAMP := $(FOCUS)/.installed
# Two workers fit a two-core machine; each starts a Postgres of its own.
WORKERS ?= 2
ARGS ?=

# The first Python here that is new enough and can make a virtual environment.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

setup: $(STAMP) ## install the locked packages and gpuledger into .venv

$(STAMP): requirements.lock pyproject.toml
	@test -x $(BIN)/python || { \
		test -n "$(PYTHON)" || { echo "No Python 3.11+ with venv here. Debian: apt-get install python3-venv" >&2; exit 1; }; \
		echo "Creating $(VENV) with $$($(PYTHON) --version)"; $(PYTHON) -m venv $(VENV); }
	@echo "Installing the locked packages into $(VENV) (about a minute the first time)"
	@$(BIN)/python -m pip install --disable-pip-version-check --no-input --quiet --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --disable-pip-version-check --no-input --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: setup ## collect, price and explain a simulated fleet, then serve its dashboard
	@$(BIN)/gpuledger demo $(ARGS)

test: setup test-parts ## run every test (ARGS="tests/usage -k gap" narrows it)
	@$(BIN)/pytest -n $(WORKERS) --dist loadgroup $(ARGS)

# Real Prometheus and VictoriaMetrics in the tests are Debian's. Nothing else is ever installed but
# the FOCUS validator, into an environment of its own.
test-parts: $(FOCUS_STAMP)
	@missing=""; \
	command -v prometheus >/dev/null && command -v promtool >/dev/null || missing="$$missing prometheus"; \
	command -v victoria-metrics >/dev/null || missing="$$missing victoria-metrics"; \
	command -v openssl >/dev/null || missing="$$missing openssl"; \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
		else \
			echo "Parts of the tests are missing: apt-get install$$missing" >&2; \
			[ "$${CI:-}" != true ] || exit 1; \
		fi; \
	fi

# The validator asks for Python 3.12 and runs on 3.11 as well, but for one line that is mended.
$(FOCUS_STAMP): $(STAMP) requirements.focus.lock tests/real/focus_validator.py
	@echo "Installing focus-validator into $(FOCUS)"
	@$(BIN)/python -m venv $(FOCUS)
	@$(FOCUS)/bin/python -m pip install --disable-pip-version-check --no-input --quiet --require-hashes --no-deps \
		--ignore-requires-python --no-compile -r requirements.focus.lock
	@$(BIN)/python -m tests.real.focus_validator $(FOCUS)
	@touch $@

check: setup ## lint, format, types, layers, dependencies, database against its models
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/deptry .
	@$(MAKE) --no-print-directory check-database

check-database:
	@data=$$(mktemp -d); trap 'rm -rf "$$data"' EXIT; \
	ledger() { env -u GPULEDGER_DATABASE_URL -u GPULEDGER_CONFIG GPULEDGER_DATA_DIR="$$data" $(BIN)/gpuledger "$$@"; }; \
	ledger db upgrade; ledger db check

bench: setup ## measure speed and write docs/benchmarks.md
	@$(BIN)/python -m benchmarks $(ARGS)

run: setup ## serve the API and the dashboard of ./var on port 8080
	@$(BIN)/gpuledger db upgrade
	@$(BIN)/gpuledger serve $(ARGS)

migration: setup ## begin the next database revision: make migration name="add budgets"
	@test -n "$(name)" || { echo 'Say what it does: make migration name="add budgets"' >&2; exit 2; }
	@last=$$(ls migrations/versions | grep -oE '^[0-9]{4}' | sort | tail -1); \
	next=$$(printf '%04d' $$((10#$${last:-0} + 1))); \
	$(BIN)/python -c 'import sys; from alembic import command; from app.store.migrating import configuration; \
		command.revision(configuration(), message=sys.argv[1], rev_id=sys.argv[2])' "$(name)" "$$next"

lock: setup ## resolve the dependencies again and write the locks
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--group dev pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--group build --all-extras -c requirements.lock pyproject.toml -o requirements.image.lock
	@printf 'focus-validator==2.2.1\npyarrow<22\n' | $(BIN)/uv pip compile --quiet --universal --python-version 3.12 \
		--generate-hashes --no-emit-index-url --no-header --no-annotate - -o requirements.focus.lock

docs: setup ## write docs/metrics-read.md from the catalogue
	@$(BIN)/python -m tests.metrics_page
