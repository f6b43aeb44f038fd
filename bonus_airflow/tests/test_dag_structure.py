"""Each DAG file imports without error or warning and does nothing on the way; each DAG has the structure that README.md shows."""

import importlib.metadata
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bonus_airflow.environment import ROOT, airflow_environment

FILES = sorted((ROOT / "bonus_airflow" / "dags").glob("*.py"))

# Runs in a process of its own. Airflow itself is imported before the file: what counts is the file.
LOAD = """
import json, sys, warnings
from airflow.dag_processing.dagbag import DagBag
import airflow.sdk

path, imported = sys.argv[1], False
done = []
WATCHED = ("subprocess.Popen", "socket.connect", "socket.bind", "os.system", "os.exec", "os.mkdir", "os.remove", "os.rename")

def audit(event, arguments):
    if not imported:
        return
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wxa+")
    if event in WATCHED or writes and "__pycache__" not in str(arguments[0]):
        done.append(f"{event} {arguments[:2]!r}")

sys.addaudithook(audit)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    imported = True
    bag = DagBag(dag_folder=path, collect_dags=False)
    bag.process_file(path)
    imported = False
dags = {
    dag_id: {
        "edges": sorted([task.task_id, after] for task in dag.tasks for after in task.downstream_task_ids),
        "modules": {task.task_id: type(task).__module__ for task in dag.tasks},
        "teardowns": [task.task_id for task in dag.tasks if task.is_teardown],
        "retries": {task.task_id: task.retries for task in dag.tasks},
        "rules": {task.task_id: task.trigger_rule.value for task in dag.tasks},
        "params": {name: [dag.params.get_param(name).schema, dag.params.get_param(name).description] for name in dag.params},
        "max_active_runs": dag.max_active_runs,
        "catchup": dag.catchup,
        "paused": dag.is_paused_upon_creation,
        "doc": bool(dag.doc_md),
    }
    for dag_id, dag in bag.dags.items()
}
captured = [str(each) for each in bag.captured_warnings.values()]
print("RESULT" + json.dumps({
    "errors": dict(bag.import_errors), "warnings": [str(each.message) for each in caught] + captured, "done": done, "dags": dags,
}))
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """By file name, what its import brought."""
    home = tmp_path_factory.mktemp("airflow")
    environment = airflow_environment(home, 1) | {"PYTHONDONTWRITEBYTECODE": "1"}
    return {path.stem: _load(path, environment) for path in FILES}


def _load(path: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", LOAD, path], env=dict(environment), capture_output=True, text=True, check=False, cwd=ROOT
    )
    results = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    assert results, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(results[0].removeprefix("RESULT"))
    return found


@pytest.mark.parametrize("name", [path.stem for path in FILES])
def test_a_dag_file_imports_without_error_or_warning_and_does_nothing(loaded: Mapping[str, Any], name: str) -> None:
    found = loaded[name]
    assert found["errors"] == {}
    assert found["warnings"] == []
    assert found["done"] == []
    assert list(found["dags"]) == [name], "a file is named as its DAG"


@pytest.mark.parametrize("name", [path.stem for path in FILES])
def test_no_dag_uses_an_operator_of_the_provider(loaded: Mapping[str, Any], name: str) -> None:
    """`ConsumeFromTopicOperator` loses records when its function fails, `ProduceToTopicOperator` is green with no broker."""
    modules = loaded[name]["dags"][name]["modules"]
    assert not [task for task, module in modules.items() if module.startswith("airflow.providers.apache")]


@pytest.mark.parametrize("name", [path.stem for path in FILES])
def test_no_task_makes_a_failed_run_green(loaded: Mapping[str, Any], name: str) -> None:
    """A run's state is its leaves': one that runs whatever came before it must be a teardown, which does not count."""
    dag = loaded[name]["dags"][name]
    for task, rule in dag["rules"].items():
        assert task in dag["teardowns"] or not rule.startswith("all_done"), task


@pytest.mark.parametrize("name", [path.stem for path in FILES])
def test_every_parameter_has_a_type_limits_and_a_description(loaded: Mapping[str, Any], name: str) -> None:
    for parameter, (schema, description) in loaded[name]["dags"][name]["params"].items():
        assert "type" in schema, parameter
        assert description, parameter
        assert "title" in schema, parameter
        assert {"enum", "pattern", "minimum", "format"} & schema.keys(), parameter


def test_structure_of_pipeline_control(loaded: Mapping[str, Any]) -> None:
    dag = loaded["pipeline_control"]["dags"]["pipeline_control"]
    order = [
        "claim_pipeline",
        "start_pipeline",
        "wait_until_healthy",
        "mark_running",
        "verify_orders_flow",
        "keep_watching",
        "stop_generator",
        "drain",
        "stop_services",
        "verify",
        "stop_pipeline",
        "clean_up",
    ]
    assert dag["modules"].keys() == set(order)
    edges = {tuple(edge) for edge in dag["edges"]}
    assert edges >= set(itertools.pairwise(order))
    assert all(order.index(before) < order.index(after) for before, after in edges)
    assert dag["teardowns"] == ["clean_up"]
    assert dag["retries"]["clean_up"] > 0, "what it leaves running, or its marker, nobody else removes"
    assert dag["max_active_runs"] == 1
    assert not dag["paused"]
    # In this order README.md shows them.
    readme = (ROOT / "bonus_airflow" / "README.md").read_text()
    places = [readme.index(f"`{task}`") for task in order]
    assert places == sorted(places)


def test_structure_of_pipeline_health(loaded: Mapping[str, Any]) -> None:
    dag = loaded["pipeline_health"]["dags"]["pipeline_health"]
    order = ["find_pipeline", "look", "restart_broken", "judge"]
    assert dag["modules"].keys() == set(order)
    assert {tuple(edge) for edge in dag["edges"]} >= set(itertools.pairwise(order))
    assert dag["max_active_runs"] == 1
    assert not dag["paused"]
    assert not dag["catchup"]


def test_structlog_is_as_new_as_airflow_needs_it() -> None:
    """An older one satisfies Airflow's own metadata, and its processes then fail."""
    version = tuple(map(int, importlib.metadata.version("structlog").split(".")[:2]))
    assert version >= (26, 1)


def test_the_services_environment_has_no_airflow() -> None:
    done = subprocess.run(
        [ROOT / ".venv" / "bin" / "python", "-c", "import airflow"],
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert "No module named 'airflow'" in done.stderr


def test_structure_of_daily_report(loaded: Mapping[str, Any]) -> None:
    dag = loaded["daily_report"]["dags"]["daily_report"]
    assert list(dag["modules"]) == ["report"]
    assert not dag["paused"]
    assert not dag["catchup"], "past days are a backfill's"


def test_structure_of_dead_letter_watch(loaded: Mapping[str, Any]) -> None:
    dag = loaded["dead_letter_watch"]["dags"]["dead_letter_watch"]
    order = ["wait_for_more", "count", "report", "remember"]
    assert dag["modules"].keys() == set(order)
    assert {tuple(edge) for edge in dag["edges"]} >= set(itertools.pairwise(order))
    assert dag["rules"]["remember"] == "none_failed", "a letter that was not told is told again"
    assert dag["max_active_runs"] == 1
    assert not dag["paused"]
