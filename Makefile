# Every target makes its own .venv; python3 (3.11 or newer) is all it needs.
PYTHON ?= python3
KILLS ?= 200
SEEDS ?= 4000
SEED := $(or $(SEED),$(shell $(PYTHON) -c "import random; print(random.randrange(10**6))"))
BIN := .venv/bin
export DAGSTER_DISABLE_TELEMETRY := 1
# Hundreds of processes import the same modules: where this is set, each of them compiles them anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo dev test test-long test-bounds test-kill test-mutations test-sim soak test-dagster test-distributed test-minimal test-install bench lint types format pages screenshots clean

help:           ## what there is
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/: .*## /\t/' | expand -t 16

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e . --group dev
	@touch $@

demo: .venv/ready ## materialize the example project on the emulator, and say where the images are
	$(BIN)/python -m example_project.demo

dev: .venv/ready ## the Dagster UI on the example project, http://127.0.0.1:3000
	DAGSTER_HOME=$$($(BIN)/python -m example_project.home) $(BIN)/dagster dev -f definitions.py

test: .venv/ready ## all quick tests (with Node 18 or newer: fal's JavaScript client is one of the judges)
	$(BIN)/python -m pytest -n 5 --dist loadgroup -m "not dagster and not mutation and not kill and not simulation and not soak and not bounds and not long and not distributed"

test-long: .venv/ready ## what the quick tests have no time for: all faults at once, waits of many seconds
	$(BIN)/python -m pytest -n 2 -m long

test-bounds: .venv/ready ## memory stays bounded, whatever fal, a gateway or a table holds
	$(BIN)/python -m pytest -n 2 -m bounds

test-kill: .venv/ready ## SIGKILL at every named point and at 200 random moments
	@echo "SEED=$(SEED) KILLS=$(KILLS)"
	SEED=$(SEED) KILLS=$(KILLS) $(BIN)/python -m pytest -n 2 -m kill

test-mutations: .venv/ready ## each costly mistake, made on purpose, turns the suite red
	$(BIN)/python -m pytest -n 2 -m mutation

test-sim: .venv/ready ## thousands of short histories of several processes, by seed; the protocol's specification
	SEEDS=$(SEEDS) $(BIN)/python -m pytest -n 2 --dist loadgroup -m simulation

soak: .venv/distributed $(SERVICES) ## what takes too long for CI: all seeds, all kills, blips of minutes, five times all that can go wrong on Celery
	$(BIN)/python -m pytest -n 1 -m "soak and not distributed"
	$(MAKE) test-sim test-kill
	for turn in 1 2 3 4 5; do ROWS=600 PARTITIONS=12 $(BIN)/python -m pytest -n 0 -m distributed || exit 1; done

test-dagster: .venv/ready ## Dagster's own processes: runs, backfills, dg, the UI in a browser (needs Debian's chromium)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m dagster

# The services come as packages of Debian. What a fresh machine starts of them by itself is not used.
SERVICES := /usr/lib/postgresql/15/bin/initdb /usr/bin/redis-server

$(SERVICES):
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql-15 redis-server >/dev/null

.venv/distributed: .venv/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --group distributed
	@touch $@

test-distributed: .venv/distributed $(SERVICES) ## Dagster on Postgres, Celery's workers over Redis, the store on S3 (installs Debian's packages)
	$(BIN)/python -m pytest -n 0 -m "distributed and not soak"

test-minimal:   ## the built wheel with its default dependencies only, in a fresh environment
	rm -rf .venv-minimal && $(PYTHON) -m venv .venv-minimal
	.venv-minimal/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt .
	cd /tmp && $(CURDIR)/.venv-minimal/bin/python -W error::ImportWarning $(CURDIR)/scripts/minimal.py
	rm -rf .venv-minimal

test-install:   ## what README and the first pages tell a newcomer to type, each page in a fresh environment
	$(PYTHON) -m scripts.newcomer $(PAGES)

.venv/bench: .venv/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --group bench
	@touch $@

bench: .venv/bench ## measure (15 to 20 minutes; BENCH="slots cpu" for a part), and write docs/performance.md
	$(BIN)/python -m benchmarks $(BENCH)

lint: .venv/ready ## style, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports

format: .venv/ready ## put the code in shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

pages: .venv/ready ## write docs/options.md and docs/api.md from the code
	$(BIN)/python -m scripts.options_page
	$(BIN)/python -m scripts.api_page

screenshots: .venv/ready ## take docs/images from a real Dagster UI (needs Debian's chromium)
	$(BIN)/python -m scripts.screenshots

clean:          ## forget everything that was made here
	rm -rf .venv .demo dist build
