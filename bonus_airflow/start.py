"""``make airflow``: all of Airflow in one process tree, until Ctrl-C."""
# ruff: noqa: S607 - starting Airflow is what this file is for

import json
import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

from bonus_airflow.environment import airflow_environment, airflow_home, airflow_port
from bonus_airflow.operations.watched import LIVE_PAGE_SETTING
from local.process_tree import end_descendants

_STOP_S = 5.0
_GRACE_S = 30.0
# Airflow's own name for the file that its simple login keeps in AIRFLOW_HOME.
_PASSWORD_FILE = "simple_auth_manager_passwords.json.generated"  # noqa: S105 - a file's name, not a password


def main() -> int:
    """Start Airflow, say where it is, and wait for its end; the exit code is Airflow's, or 0 when it was asked to end."""
    home, port = airflow_home(), airflow_port()
    home.mkdir(parents=True, exist_ok=True)
    _make_password(home / _PASSWORD_FILE)
    _say(_welcome(home, port))
    # A shell starts what runs in its background with SIGINT ignored, and Airflow would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    child = subprocess.Popen(["airflow", "standalone"], env=airflow_environment(home, port))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        exit_code = child.wait()
    except KeyboardInterrupt:
        _end(child)
        exit_code = 0
    _say("Airflow has ended. A pipeline that a DAG has started goes on: `make down` or `docker compose down` stops it.")
    return exit_code


def _make_password(path: Path) -> None:
    """Airflow would make one, too, and print it; one that is there it only names."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(json.dumps({"admin": secrets.token_urlsafe(12)}))


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Wait until Airflow has ended after Ctrl-C, which a terminal sends to it, too.

    A signal to this process alone is passed on to all of its processes: `airflow standalone` alone would leave the others.
    """
    try:
        child.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        end_descendants(_GRACE_S)
        child.wait()


def _welcome(home: Path, port: int) -> str:
    password_file = home / _PASSWORD_FILE
    if LIVE_PAGE_SETTING in os.environ:
        return f"""
    Airflow, in half a minute: http://127.0.0.1:{port}/
    user admin, password by    docker compose exec airflow cat {password_file}
"""
    return f"""
    Airflow, in half a minute: http://127.0.0.1:{port}/
    user admin, password in    {password_file}
    run the pipeline:          .venv-airflow/bin/python -m bonus_airflow dags trigger pipeline_control
    end Airflow:               Ctrl-C
"""


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
