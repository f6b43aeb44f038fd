# Everything one does with a checkout. Each target does its own set-up.

PYTHON := .venv/bin/python
PIPELINE := .venv/bin/pipeline
PROCESSORS ?= 2
ANALYTICS ?= 1
WORKERS ?= 3
UV ?= uv
# Whatever ends the command, also a signal to make, ends all that the command has started.
CONTAINED = $(PYTHON) -m local.process_tree
# Where a run writes Parquet or a report is to be Parquet, what is needed for that.
PARQUET = $(if $(findstring parquet,$(SINK_ROTATED_FORMAT) $(ARGS)),.venv/.installed-parquet)
AT = $(if $(BOOTSTRAP),--bootstrap $(BOOTSTRAP))
# The file that a sink elsewhere is taken to write, unless it writes none.
WRITTEN = $(if $(findstring file,$(or $(SINK_OUTPUTS),file)),--output $(or $(SINK_OUTPUT_PATH),output/metrics.json))

.PHONY: help setup readers run watch verify metrics dead-letters recompute doctor down test chaos fuzz bench check dashboards requirements clean machine

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | while IFS='	' read -r target text; do printf 'make %-13s %s\n' "$$target" "$$text"; done

setup: .venv/.installed-dev ## make .venv with everything in it, what the tests and the checks need, too

# Only the services, local mode and the command `pipeline`.
.venv/.installed: pyproject.toml requirements-cli.txt local/setup.sh
	@sh local/setup.sh

.venv/.installed-dev: pyproject.toml requirements-cli.txt requirements-dev.txt local/setup.sh
	@sh local/setup.sh dev

.venv/.installed-parquet: pyproject.toml requirements-cli.txt services/sink/requirements-parquet.txt local/setup.sh
	@sh local/setup.sh parquet

readers: .venv-readers/.installed ## make .venv-readers with pandas, Polars and DuckDB, for the tests of docs/database.md

.venv-readers/.installed: requirements-readers.txt .venv/.installed
	@$(PYTHON) -m venv .venv-readers
	@.venv-readers/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r $<
	@touch $@

machine:
	@sh local/prerequisites.sh python java maven >/dev/null

# Without BOOTSTRAP these are about what runs on this machine, whatever else the shell is set up for.
watch verify dead-letters: export KAFKA_BOOTSTRAP_SERVERS =

run: machine .venv/.installed $(PARQUET) ## run the pipeline on this machine and watch it; Ctrl-C stops all (PROCESSORS=2 ANALYTICS=1)
	@$(PIPELINE) up --processors $(PROCESSORS) --analytics $(ANALYTICS)

watch: .venv/.installed ## watch the pipeline that runs on this machine, or at BOOTSTRAP (BOOTSTRAP=)
	@$(PIPELINE) watch $(AT)

verify: .venv/.installed $(PARQUET) ## verify what runs on this machine, or at BOOTSTRAP, against the topics (BOOTSTRAP= METRICS= ARGS=)
	@$(PIPELINE) verify $(AT) $(if $(METRICS),--output $(METRICS),$(if $(BOOTSTRAP),$(WRITTEN))) $(ARGS)

metrics: .venv/.installed $(PARQUET) ## metrics by product and minute, hour or day: ARGS="--by day --source database --plot" (BOOTSTRAP= for --source topic)
	@$(PIPELINE) metrics $(AT) $(ARGS)

dead-letters: .venv/.installed ## list, show and replay dead letters: ARGS="list" (BOOTSTRAP=, as for verify)
	@$(PIPELINE) dead-letters $(ARGS) $(AT)

recompute: .venv/.installed ## delete what was made of orders, so that the services make it once more (BOOTSTRAP= ARGS="--yes")
	@$(PIPELINE) recompute --bootstrap $(or $(BOOTSTRAP),localhost:$(or $(LOCAL_KAFKA_PORT),19092)) $(ARGS)

doctor: .venv/.installed ## what will not work on this machine and in the cluster, and how to mend it (BOOTSTRAP=)
	@$(PIPELINE) doctor $(AT) $(ARGS)

down: .venv/.installed ## stop what runs on this machine
	@$(PIPELINE) down

test: machine setup ## all tests: unit, integration, compose, three files at a time (TESTS=path ARGS= WORKERS=3)
	@$(CONTAINED) $(PYTHON) -m local.jars
	@$(CONTAINED) $(PYTHON) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(TESTS) $(ARGS)

chaos: machine setup ## faults of every kind, an hour and a half, and a table of what came of them (SEED= ARGS="--only killed")
	@$(CONTAINED) $(PYTHON) -m local.jars
	@$(CONTAINED) $(PIPELINE) chaos $(if $(SEED),--seed $(SEED)) $(ARGS)

fuzz: setup ## bad input by the million for all that is read from outside, and a table of it (SEED= COUNT=1000000)
	@$(CONTAINED) $(PYTHON) -m tests.fuzz $(if $(SEED),--seed $(SEED)) $(if $(COUNT),--count $(COUNT)) $(ARGS)

bench: machine setup ## our speed against a bare consumer's, 3 minutes; PEERS=1 against other frameworks', 30 (ARGS="--help")
	@$(CONTAINED) $(PYTHON) -m local.jars
	@$(CONTAINED) $(PIPELINE) bench $(if $(PEERS),--peers) $(ARGS)

check: setup ## ruff and mypy on everything
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy .

dashboards: setup ## write Grafana's dashboards from monitoring/dashboards
	@$(PYTHON) -m monitoring.dashboards

COMPILE = $(UV) pip compile --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet
requirements: ## pin the newest versions that pyproject.toml allows, with hashes, in requirements*.txt (needs uv)
	@$(COMPILE) pyproject.toml --output-file requirements.txt
	@$(COMPILE) pyproject.toml --extra cli --group build --constraint requirements.txt --output-file requirements-cli.txt
	@$(COMPILE) --group dev --constraint requirements-cli.txt --output-file requirements-dev.txt
	@$(COMPILE) --group parquet --constraint requirements-dev.txt --output-file services/sink/requirements-parquet.txt
	@$(COMPILE) --group readers --output-file requirements-readers.txt

clean: ## stop what runs here and remove .local, .venv and the caches; output/ stays
	@if [ -x $(PIPELINE) ] && [ -d .local ]; then $(PIPELINE) down; fi
	@rm -rf .local .venv .venv-readers .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
