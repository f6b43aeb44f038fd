"""One Airflow and one pipeline for all tests: an Airflow takes half a minute to start."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bonus_airflow.environment import CONNECTION, kafka_connection
from bonus_airflow.tests.airflow_processes import COMPONENTS, Airflow
from bonus_airflow.tests.compose_pipeline import ComposePipeline
from bonus_airflow.tests.local_pipeline import LocalPipeline
from bonus_airflow.tests.recording_notifier import FILE_SETTING
from local.ports import free_ports


@pytest.fixture(scope="session")
def shared_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPipeline]:
    pipeline = LocalPipeline(tmp_path_factory.mktemp("pipeline") / "files")
    yield pipeline
    pipeline("down")


@pytest.fixture
def pipeline(shared_pipeline: LocalPipeline) -> Iterator[LocalPipeline]:
    """Not running, and without data."""
    shared_pipeline.make_empty()
    yield shared_pipeline
    shared_pipeline("down")


@pytest.fixture(scope="session")
def compose_pipeline(tmp_path_factory: pytest.TempPathFactory) -> ComposePipeline:
    """Not running."""
    return ComposePipeline(tmp_path_factory.mktemp("compose"))


@pytest.fixture(scope="session")
def notifications(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `recording_notifier` writes what DAGs tell."""
    return tmp_path_factory.mktemp("notifications") / "notifications.jsonl"


@pytest.fixture(scope="session")
def airflow(
    tmp_path_factory: pytest.TempPathFactory,
    shared_pipeline: LocalPipeline,
    compose_pipeline: ComposePipeline,
    notifications: Path,
) -> Iterator[Airflow]:
    """Its tasks find the tests' pipelines. `pipeline_health` runs only when a test triggers it."""
    settings = (
        shared_pipeline.settings
        | compose_pipeline.settings
        | {
            "PIPELINE_HEALTH_SCHEDULE": "",
            "PIPELINE_NOTIFIER": "bonus_airflow.tests.recording_notifier.record",
            FILE_SETTING: str(notifications),
            CONNECTION: kafka_connection(shared_pipeline.settings),
            "AIRFLOW_VAR_DEAD_LETTERS_GROUP_SECONDS": "3",
        }
    )
    (port,) = free_ports(1)
    airflow = Airflow(tmp_path_factory.mktemp("airflow"), port, settings)
    airflow.migrate()
    airflow.start(*COMPONENTS)
    airflow.wait_until_ready(["pipeline_control", "pipeline_health", "daily_report", "dead_letter_watch"])
    yield airflow
    airflow.stop()
