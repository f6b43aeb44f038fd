"""``python -m tests.browser.airflow_screenshot``: makes the screenshots in bonus_airflow/images, of a running `make airflow`.

Trigger `pipeline_control` before, and wait for the end of the run.
"""

import http.client
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.browser.chromium import Browser, chromium
from tests.integration.services import ROOT

_FOLDER = ROOT / "bonus_airflow" / "images"
_DAG = "pipeline_control"
_PASSWORDS = "simple_auth_manager_passwords.json.generated"  # Airflow's own name for it
_SIZE = 1400, 800
_SHOWN_S = 60.0


def main() -> None:
    """Log in, and take screenshots of the grid and of the newest successful run."""
    port = int(os.environ.get("AIRFLOW_PORT") or 8085)
    home = Path(os.environ.get("AIRFLOW_HOME") or ROOT / ".airflow")
    password = json.loads((home / _PASSWORDS).read_text())["admin"]
    token = _ask(port, "POST", "/auth/token", body={"username": "admin", "password": password})["access_token"]
    runs = _ask(port, "GET", f"/api/v2/dags/{_DAG}/dagRuns?state=success&order_by=-run_after&limit=1", token=token)
    if not runs["dag_runs"]:
        sys.exit(f"no run of {_DAG} has succeeded yet")
    run_id = runs["dag_runs"][0]["dag_run_id"]
    url = f"http://127.0.0.1:{port}"
    _FOLDER.mkdir(exist_ok=True)
    with chromium() as browser:
        browser.resize(*_SIZE)
        browser.open(f"{url}/auth/login")
        browser.run("document.cookie = arguments[0]", f"_token={token}; path=/")
        _take(browser, f"{url}/dags/{_DAG}/runs", "grid", lambda text: "verify_orders_flow" in text)
        _take(
            browser, f"{url}/dags/{_DAG}/runs/{run_id}", "run", lambda text: "keep_watching" in text and "Start" in text
        )


def _take(browser: Browser, address: str, name: str, is_shown: Callable[[str], bool]) -> None:
    browser.open(address)
    deadline_s = time.monotonic() + _SHOWN_S
    while not is_shown(browser.text("body")):
        if time.monotonic() > deadline_s:
            sys.exit(f"{address} shows: {browser.text('body')}")
        time.sleep(0.5)
    time.sleep(2)  # drawn to the end
    (_FOLDER / f"{name}.png").write_bytes(browser.screenshot())


def _ask(port: int, method: str, path: str, *, token: str = "", body: object = None) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        connection.request(method, path, json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        if answer.status >= http.HTTPStatus.BAD_REQUEST:
            sys.exit(f"{method} {path}: {answer.status} {text}")
        return json.loads(text)
    finally:
        connection.close()


if __name__ == "__main__":
    main()
