# The commands for a checkout. Each target does its own set-up.

PYTHON := .venv/bin/python
AIRFLOW_PYTHON := .venv-airflow/bin/python
PROCESSORS ?= 2
ANALYTICS ?= 1
WORKERS ?= 3
UV ?= $(or $(shell command -v uv),.venv-uv/bin/uv)
# Whatever ends the command, also a signal to make, ends all that the command has started.
CONTAINED = $(PYTHON) -m local.process_tree $(PYTHON)

.PHONY: help setup hooks readers schemas run watch verify metrics report dead-letters recompute down test chaos fuzz bench check airflow airflow-test airflow-check docs dashboards requirements update clean machine

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | while IFS='	' read -r target text; do printf 'make %-13s %s\n' "$$target" "$$text"; done

setup: .venv/.installed ## create .venv with everything in it

.venv/.installed: requirements.txt requirements-dev.txt local/setup.sh
	@sh local/setup.sh

hooks: setup ## install git hooks that run what CI checks, before each commit
	@$(PYTHON) -m pre_commit install

readers: .venv-readers/.installed ## create .venv-readers with pandas, Polars and DuckDB, for the tests of docs/database.md

.venv-readers/.installed: requirements-readers.txt .venv/.installed
	@$(PYTHON) -m venv .venv-readers
	@.venv-readers/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r $<
	@touch $@

.venv-docs/.installed: requirements-docs.txt .venv/.installed
	@$(PYTHON) -m venv --without-pip .venv-docs
	@$(PYTHON) -m pip --python .venv-docs install --no-compile --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r $<
	@touch $@

schemas: .venv-schemas/.installed ## make .venv-schemas with the schemas of Kubernetes, KEDA and the Prometheus Operator, for the tests of kubernetes/

.venv-schemas/.installed: requirements-schemas.txt .venv/.installed
	@$(PYTHON) -m venv .venv-schemas
	@.venv-schemas/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r $<
	@touch $@

.venv-airflow/.installed: bonus_airflow/requirements.txt .venv/.installed
	@echo "setup: installing Airflow into .venv-airflow"
	@$(PYTHON) -m venv .venv-airflow
	@.venv-airflow/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r $<
	@touch $@

machine:
	@sh local/prerequisites.sh python java maven >/dev/null

run: machine setup ## run the pipeline on this machine and watch it; Ctrl-C stops all (PROCESSORS=2 ANALYTICS=1)
	@$(PYTHON) local/pipeline.py up --processors $(PROCESSORS) --analytics $(ANALYTICS)

watch: setup ## watch the pipeline that runs on this machine, or at BOOTSTRAP (BOOTSTRAP=)
ifdef BOOTSTRAP
	@$(PYTHON) -m watch --bootstrap $(BOOTSTRAP)
else
	@$(PYTHON) local/pipeline.py watch
endif

verify: setup ## verify what runs on this machine, or at BOOTSTRAP, against the topics (BOOTSTRAP= METRICS= ARGS=)
ifdef BOOTSTRAP
	@$(PYTHON) -m verification --bootstrap $(BOOTSTRAP) \
		$(if $(METRICS)$(findstring file,$(or $(SINK_OUTPUTS),file)),--output $(or $(METRICS),$(SINK_OUTPUT_PATH),output/metrics.json)) $(ARGS)
else
	@$(PYTHON) local/pipeline.py verify $(if $(METRICS),--output $(METRICS)) $(ARGS)
endif

metrics: setup ## metrics by product and minute, hour or day: ARGS="--by day --source database --plot" (BOOTSTRAP= for --source topic)
	@$(PYTHON) -m metrics_report $(if $(BOOTSTRAP),--bootstrap $(BOOTSTRAP)) $(ARGS)

report: setup ## totals of a day or an hour, reconciled, as HTML, CSV and JSON in output/reports (SPAN=2026-11-27 or 2026-11-27T14, BOOTSTRAP= ARGS=)
ifdef BOOTSTRAP
	@$(PYTHON) -m daily_report --bootstrap $(BOOTSTRAP) $(ARGS) $(SPAN)
else
	@$(PYTHON) local/pipeline.py report $(ARGS) $(SPAN)
endif

dead-letters: setup ## list, show and replay dead letters: ARGS="list" (BOOTSTRAP=, as for verify)
ifdef BOOTSTRAP
	@$(PYTHON) -m dead_letters --bootstrap $(BOOTSTRAP) $(ARGS)
else
	@$(PYTHON) local/pipeline.py dead-letters $(ARGS)
endif

recompute: setup ## delete everything derived from orders, so that the services compute it again (BOOTSTRAP= ARGS="--yes")
	@$(PYTHON) -m recompute --bootstrap $(or $(BOOTSTRAP),localhost:$(or $(LOCAL_KAFKA_PORT),19092)) $(ARGS)

down: setup ## stop what runs on this machine
	@$(PYTHON) local/pipeline.py down

test: machine setup ## all tests: unit, integration, compose, three files at a time (TESTS=path ARGS= WORKERS=3)
	@$(CONTAINED) -m local.jars
	@$(CONTAINED) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(TESTS) $(ARGS)

chaos: machine setup ## inject faults of every kind, an hour and a half, and print a table of the results (SEED= ARGS="--only killed")
	@$(CONTAINED) -m local.jars
	@$(CONTAINED) -m tests.chaos $(if $(SEED),--seed $(SEED)) $(ARGS)

fuzz: setup ## give millions of damaged inputs to every reader of outside data, and print a table (SEED= COUNT=1000000)
	@$(CONTAINED) -m tests.fuzz $(if $(SEED),--seed $(SEED)) $(if $(COUNT),--count $(COUNT)) $(ARGS)

bench: machine setup ## speed beside a bare consumer, 3 minutes; PEERS=1 beside other frameworks, 30 minutes (ARGS="--help")
	@$(CONTAINED) -m local.jars
	@$(CONTAINED) -m benchmarks $(if $(PEERS),--peers) $(ARGS)

check: setup ## ruff and mypy on everything
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy .

# Not contained as the tests are: a pipeline that a DAG has started survives the end of Airflow, as it does that of a shell.
airflow: machine setup .venv-airflow/.installed ## Airflow with the DAGs of bonus_airflow, on loopback; Ctrl-C ends it (AIRFLOW_PORT=8085)
	@$(AIRFLOW_PYTHON) -m bonus_airflow.start

airflow-test: machine setup .venv-airflow/.installed ## the DAGs' tests, with a real Airflow and a real pipeline (TESTS=path ARGS=)
	@$(CONTAINED) -m local.jars
	@$(PYTHON) -m local.process_tree $(AIRFLOW_PYTHON) -m pytest $(or $(TESTS),bonus_airflow/tests) $(ARGS)

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

requirements: $(filter .venv-uv/%,$(UV)) ## pin the newest versions, with hashes, in requirements*.txt
	@for name in requirements requirements-dev services/sink/requirements-parquet requirements-readers requirements-docs requirements-schemas bonus_airflow/requirements; do \
		$(UV) pip compile --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet \
			$$name.in --output-file $$name.txt || exit 1; \
	done

update: ## requirements, and then everything that CI runs, with them
	@$(MAKE) --no-print-directory requirements
	@.ci/run

clean: ## stop what runs here and remove .local, .venv and the caches; output/ stays
	@if [ -x $(PYTHON) ] && [ -d .local ]; then $(PYTHON) local/pipeline.py down; fi
	@rm -rf .local .venv .venv-readers .venv-docs .venv-airflow .airflow .venv-schemas .venv-uv site .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
