"""`make airflow`: starts all of Airflow, lets its user in, and ends all of it."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import httpx

from bonus_airflow.environment import ROOT
from bonus_airflow.tests.airflow_processes import HANGS_AFTER_S, eventually
from local.ports import free_ports, is_taken


def is_ready(client: httpx.Client, password_file: Path) -> bool:
    """Whether all components are healthy and the user of the password file sees the DAGs."""
    try:
        health = client.get("/api/v2/monitor/health").raise_for_status().json()
        ((user, password),) = json.loads(password_file.read_text()).items()
        token = client.post("/auth/token", json={"username": user, "password": password}).raise_for_status()
        headers = {"Authorization": f"Bearer {token.json()['access_token']}"}
        dags = client.get("/api/v2/dags", headers=headers).raise_for_status().json()["dags"]
    except httpx.HTTPError:
        return False
    components = ("metadatabase", "scheduler", "triggerer", "dag_processor")
    return "pipeline_control" in {each["dag_id"] for each in dags} and all(
        health[each]["status"] == "healthy" for each in components
    )


def processes_of(home: Path) -> list[str]:
    """The programs with this AIRFLOW_HOME."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"AIRFLOW_HOME={home}\0".encode() in environment.read_bytes():
                found.append(environment.with_name("cmdline").read_text())
    return found


def test_all_of_airflow_starts_and_ends_by_a_signal(tmp_path: Path) -> None:
    home = tmp_path / "airflow"
    port, log_port, trigger_log_port = free_ports(3)
    env = os.environ | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_PORT": str(port),
        "PIPELINE_HEALTH_SCHEDULE": "",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(log_port),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_log_port),
    }
    output = tmp_path / "output.log"
    with output.open("wb") as log:
        start = subprocess.Popen(
            [sys.executable, "-m", "bonus_airflow.start"],
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=HANGS_AFTER_S, trust_env=False) as client:
            password_file = home / "simple_auth_manager_passwords.json.generated"
            eventually(lambda: start.poll() is not None or is_ready(client, password_file), "Airflow is ready")
        assert start.poll() is None, output.read_text()[-3000:]
        start.terminate()
        assert start.wait(HANGS_AFTER_S) == 0, output.read_text()[-3000:]
    finally:
        if start.poll() is None:
            start.terminate()
            start.wait(HANGS_AFTER_S)
    assert "Airflow has ended." in output.read_text()
    assert not is_taken(port)  # the API server's environment cannot be read
    assert processes_of(home) == []
