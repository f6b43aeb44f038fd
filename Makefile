# The commands for a checkout. Each target does its own set-up.

PYTHON := .venv/bin/python
PIPELINE := .venv/bin/pipeline
AIRFLOW_PYTHON := .venv-airflow/bin/python
PROCESSORS ?= 2
ANALYTICS ?= 1
WORKERS ?= auto
UV ?= $(or $(shell command -v uv),.venv-uv/bin/uv)
# Ends all descendants of the command when it ends, however it ends, including by a signal to make.
CONTAINED = $(PYTHON) -m local.process_tree
# Needed only if Parquet is written or read; .env has the settings of Docker Compose.
PARQUET := $(if $(findstring parquet,$(SINK_ROTATED_FORMAT) $(ARGS) $(wildcard $(or $(OUTPUT_DIR),output)/*.parquet) \
	$(shell grep -s '^[^\#]*SINK_ROTATED_FORMAT=.*parquet' .env)),.venv/.installed-parquet)
AT = $(if $(BOOTSTRAP),--bootstrap $(BOOTSTRAP))
# The file that a remote pipeline's sink is assumed to write, unless SINK_OUTPUTS has no file.
WRITTEN = $(if $(findstring file,$(or $(SINK_OUTPUTS),file)),--output $(or $(SINK_OUTPUT_PATH),$(or $(OUTPUT_DIR),output)/metrics.json))

.PHONY: help setup hooks readers schemas run watch verify metrics report dead-letters recompute doctor down test chaos fuzz bench check airflow airflow-test airflow-check docs dashboards requirements update clean machine

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | while IFS='	' read -r target text; do printf 'make %-13s %s\n' "$$target" "$$text"; done

setup: .venv/.installed-dev ## create .venv with everything in it, also what the tests and the checks need

# Only the services, local mode and the command `pipeline`.
.venv/.installed: pyproject.toml requirements-cli.txt local/setup.sh
	@sh local/setup.sh

.venv/.installed-dev: pyproject.toml requirements-cli.txt requirements-dev.txt local/setup.sh
	@sh local/setup.sh dev

.venv/.installed-parquet: pyproject.toml requirements-cli.txt services/sink/requirements-parquet.txt local/setup.sh
	@sh local/setup.sh parquet

hooks: setup ## install git hooks that run what CI checks, before each commit
	@$(PYTHON) -m pre_commit install

readers: .venv-readers/.installed ## create .venv-readers with pandas, Polars and DuckDB, for the tests of docs/database.md

.venv-readers/.installed: requirements-readers.txt .venv/.installed
	@$(PYTHON) -m venv --without-pip .venv-readers
	@$(PYTHON) -m pip --python .venv-readers install --no-compile --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r $<
	@touch $@

.venv-docs/.installed: requirements-docs.txt .venv/.installed
	@$(PYTHON) -m venv --without-pip .venv-docs
	@$(PYTHON) -m pip --python .venv-docs install --no-compile --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r $<
	@touch $@

schemas: .venv-schemas/.installed ## make .venv-schemas with the schemas of Kubernetes, KEDA and the Prometheus Operator, for the tests of kubernetes/

.venv-schemas/.installed: requirements-schemas.txt .venv/.installed
	@$(PYTHON) -m venv --without-pip .venv-schemas
	@$(PYTHON) -m pip --python .venv-schemas install --no-compile --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r $<
	@touch $@

.venv-airflow/.installed: bonus_airflow/requirements.txt .venv/.installed
	@echo "setup: installing Airflow into .venv-airflow"
	@$(PYTHON) -m venv --without-pip .venv-airflow
	@$(PYTHON) -m pip --python .venv-airflow install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r $<
	@touch $@

machine:
	@sh local/prerequisites.sh python java maven >/dev/null

# Without BOOTSTRAP these read the pipeline on this machine, even if the shell has KAFKA_BOOTSTRAP_SERVERS.
watch verify metrics report dead-letters: export KAFKA_BOOTSTRAP_SERVERS =

run: machine .venv/.installed $(PARQUET) ## run the pipeline on this machine and watch it; Ctrl-C stops all (PROCESSORS=2 ANALYTICS=1)
	@$(PIPELINE) up --processors $(PROCESSORS) --analytics $(ANALYTICS)

watch: .venv/.installed ## watch the pipeline that runs on this machine, or at BOOTSTRAP (BOOTSTRAP=)
	@$(PIPELINE) watch $(AT)

verify: .venv/.installed $(PARQUET) ## verify what runs on this machine, or at BOOTSTRAP, against the topics (BOOTSTRAP= METRICS= ARGS=)
	@$(PIPELINE) verify $(AT) $(if $(METRICS),--output $(METRICS),$(if $(BOOTSTRAP),$(WRITTEN))) $(ARGS)

metrics: .venv/.installed $(PARQUET) ## metrics by product and minute, hour or day: ARGS="--by day --source database --plot" (BOOTSTRAP=: of the topic there)
	@$(PIPELINE) metrics $(AT) $(ARGS)

report: .venv/.installed $(PARQUET) ## totals of a day or an hour, reconciled, as HTML, CSV and JSON in output/reports (SPAN=2026-11-27 or 2026-11-27T14, BOOTSTRAP= ARGS=)
	@$(PIPELINE) report $(AT) $(ARGS) $(SPAN)

dead-letters: .venv/.installed ## list, show and replay dead letters: ARGS="list" (BOOTSTRAP=, as for verify)
	@$(PIPELINE) dead-letters $(ARGS) $(AT)

recompute: .venv/.installed ## delete everything derived from orders, so that the services compute it again (BOOTSTRAP= ARGS="--yes")
	@$(PIPELINE) recompute $(or $(AT),--local) $(ARGS)

doctor: .venv/.installed ## check this machine and the cluster, and print how to fix each problem (BOOTSTRAP=)
	@$(PIPELINE) doctor $(AT) $(ARGS)

down: .venv/.installed ## stop what runs on this machine
	@$(PIPELINE) down

# Tests start Python hundreds of times: without cached bytecode each start would compile all modules.
test: export PYTHONDONTWRITEBYTECODE =
test: machine setup ## all tests: unit, integration, compose, up to six files at a time, fewer on a slow machine (TESTS=path ARGS= WORKERS=)
	@$(CONTAINED) $(PYTHON) -m local.class_archives
	@$(PYTHON) -m tests.compose.container_cleanup $(PYTHON) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(TESTS) $(ARGS)

chaos: machine setup ## inject faults of every kind, an hour and a half, and print a table of the results (SEED= ARGS="--only killed")
	@$(CONTAINED) $(PYTHON) -m local.class_archives
	@$(CONTAINED) $(PIPELINE) chaos $(if $(SEED),--seed $(SEED)) $(ARGS)

fuzz: setup ## give millions of damaged inputs to every reader of outside data, and print a table (SEED= COUNT=1000000)
	@$(CONTAINED) $(PYTHON) -m tests.fuzz $(if $(SEED),--seed $(SEED)) $(if $(COUNT),--count $(COUNT)) $(ARGS)

bench: machine setup ## speed beside a bare consumer, 3 minutes; PEERS=1 beside other frameworks, 30 minutes (ARGS="--help")
	@$(CONTAINED) $(PYTHON) -m local.class_archives
	@$(CONTAINED) $(PIPELINE) bench $(if $(PEERS),--peers) $(ARGS)

check: setup ## ruff and mypy on everything
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy .

# Not CONTAINED, unlike the tests: a pipeline that a DAG has started keeps running after the end of Airflow.
airflow: machine .venv/.installed $(PARQUET) .venv-airflow/.installed ## Airflow with the DAGs of bonus_airflow, on loopback; Ctrl-C ends it (AIRFLOW_PORT=8085)
	@$(AIRFLOW_PYTHON) -m bonus_airflow.start

airflow-test: machine .venv/.installed .venv-airflow/.installed ## the DAGs' tests, with two real Airflows and pipelines side by side (TESTS=path ARGS=)
	@$(CONTAINED) $(PYTHON) -m local.class_archives
	@$(CONTAINED) $(AIRFLOW_PYTHON) -m pytest -n 2 --dist loadfile $(or $(TESTS),bonus_airflow/tests) $(ARGS)

airflow-check: setup .venv-airflow/.installed ## mypy on bonus_airflow, against Airflow's own environment
	@$(PYTHON) -m mypy --python-executable $(AIRFLOW_PYTHON) $$(find bonus_airflow -name '*.py')

docs: .venv-docs/.installed ## the documentation as a site in site/; a broken link fails it (DOCS_SOURCE_URL=https://…)
	@.venv-docs/bin/python -m sphinx --quiet --fail-on-warning --keep-going --jobs auto docs site

dashboards: setup ## write Grafana's dashboards from monitoring/dashboards, and the alerts once more for Kubernetes
	@$(PYTHON) -m monitoring.dashboards
	@$(PYTHON) -m monitoring.prometheus_rule

.venv-uv/bin/uv: .venv/.installed
	@$(PYTHON) -m venv .venv-uv
	@.venv-uv/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: uv

# Dependencies of the project that the services' images do not need.
COMMAND_ONLY = cyclopts rich supervisor
# Each file constrains the next one if they are installed together.
COMPILE = $(UV) pip compile --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet
requirements: $(filter .venv-uv/%,$(UV)) ## pin the newest versions, with hashes, in requirements*.txt
	@$(COMPILE) pyproject.toml --group build --output-file requirements-cli.txt
	@printf '%s\n' $(COMMAND_ONLY) | $(COMPILE) pyproject.toml --excludes - --constraint requirements-cli.txt --output-file requirements.txt
	@$(COMPILE) --group dev --constraint requirements-cli.txt --output-file requirements-dev.txt
	@$(COMPILE) --group parquet --constraint requirements-dev.txt --output-file services/sink/requirements-parquet.txt
	@$(COMPILE) --group readers --output-file requirements-readers.txt
	@for name in requirements-docs requirements-schemas bonus_airflow/requirements; do \
		$(COMPILE) $$name.in --output-file $$name.txt || exit 1; \
	done

update: ## requirements, and then everything that CI runs, with them
	@$(MAKE) --no-print-directory requirements
	@.ci/run

clean: ## stop what runs here and remove .local, .venv and the caches; output/ stays
	@if [ -x $(PIPELINE) ] && [ -d .local ]; then LOCAL_DIR= $(PIPELINE) down; fi
	@rm -rf .local .venv .venv-readers .venv-docs .venv-airflow .airflow .venv-schemas .venv-uv site .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
