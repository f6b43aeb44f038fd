"""Airflow's settings as environment variables, the same for ``make airflow`` and for the tests."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONNECTION = "AIRFLOW_CONN_PIPELINE_KAFKA"


def airflow_home() -> Path:
    """AIRFLOW_HOME: Airflow's database, logs and password, and the marker of the pipeline that a run has started."""
    return Path(os.environ.get("AIRFLOW_HOME") or ROOT / ".airflow").resolve()


def airflow_host() -> str:
    """AIRFLOW_HOST: the address that the web interface listens at; in a container all of the container's."""
    return os.environ.get("AIRFLOW_HOST") or "127.0.0.1"


def airflow_port() -> int:
    """AIRFLOW_PORT: of the web interface on loopback.

    Raises:
        SystemExit: it is no port.
    """
    text = os.environ.get("AIRFLOW_PORT") or "8085"  # 8080, Airflow's default, is the live page's with Docker
    if text.isdecimal() and 1024 <= int(text) < 65_536:
        return int(text)
    raise SystemExit(f"AIRFLOW_PORT={text!r}: a port from 1024 to 65535 is allowed")


def kafka_connection(settings: Mapping[str, str]) -> str:
    """The connection `pipeline_kafka` to the broker of KAFKA_BOOTSTRAP_SERVERS, or without it to that of local mode."""
    local = f"127.0.0.1:{settings.get('LOCAL_KAFKA_PORT') or 19_092}"
    extra = {
        "bootstrap.servers": settings.get("KAFKA_BOOTSTRAP_SERVERS") or local,
        "group.id": f"{settings.get('TOPIC_PREFIX', '')}airflow-dead-letter-watch",
        # The provider's trigger commits an offset once its event is stored, and does not start with auto-commit.
        "enable.auto.commit": "false",
        "auto.offset.reset": "earliest",
        # For the time without a pipeline: by default it reconnects, and logs, ten times a second.
        "reconnect.backoff.ms": "5000",
        "reconnect.backoff.max.ms": "10000",
        # A recreated topic is noticed at the next metadata refresh: by default after five minutes, in which the group has no
        # partition.
        "topic.metadata.refresh.interval.ms": "10000",
    }
    return json.dumps({"conn_type": "kafka", "extra": extra})


def _joined(separator: str, *parts: str | None) -> str:
    return separator.join(part for part in parts if part)


def airflow_environment(home: Path, port: int) -> dict[str, str]:
    """The environment of all of Airflow's processes: ours over the caller's.

    ``port`` is the web interface's and the task API's.
    """
    bin_folder = ROOT / ".venv-airflow" / "bin"
    settings: Mapping[str, Mapping[str, object]] = {
        "core": {
            "dags_folder": ROOT / "bonus_airflow" / "dags",
            "load_examples": False,
            "executor": "LocalExecutor",
            "parallelism": 4,  # worker processes are forked at the start, 32 of them by default
            "execution_api_server_url": f"http://127.0.0.1:{port}/execution/",
        },
        "api": {"host": airflow_host(), "port": port, "base_url": f"http://127.0.0.1:{port}", "workers": 1},
        # On a busy machine the API server's first responses may take long, and a task without a response to its start fails.
        "workers": {"execution_api_timeout": 120},
        "database": {"sql_alchemy_conn": f"sqlite:///{home / 'airflow.db'}"},
        "logging": {"base_log_folder": home / "logs"},
        # No requests to the internet.
        "usage_data_collection": {"enabled": False},
    }
    return os.environ | {
        "AIRFLOW_HOME": str(home),
        # `standalone` starts the others by the name `airflow`.
        "PATH": f"{bin_folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONPATH": _joined(os.pathsep, str(ROOT), os.environ.get("PYTHONPATH")),
        "NO_PROXY": _joined(",", "127.0.0.1,localhost", os.environ.get("NO_PROXY")),  # tasks call the API on loopback
        # Only if the user has not defined a connection with this name.
        **({} if CONNECTION in os.environ else {CONNECTION: kafka_connection(os.environ)}),
        **{
            f"AIRFLOW__{section.upper()}__{name.upper()}": str(value)
            for section, values in settings.items()
            for name, value in values.items()
        },
    }
