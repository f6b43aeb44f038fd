"""A notifier as a user would write it: PIPELINE_NOTIFIER=bonus_airflow.tests.recording_notifier.record."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bonus_airflow.notifier import Notification, write_to_log

FILE_SETTING = "RECORDED_NOTIFICATIONS"


def record(notification: Notification) -> None:
    """Append a line to the file that RECORDED_NOTIFICATIONS names, and to the log."""
    write_to_log(notification)
    line = json.dumps(asdict(notification)) + "\n"
    with Path(os.environ[FILE_SETTING]).open("a") as file:
        file.write(line)


def recorded(path: Path, dag_id: str) -> list[dict[str, Any]]:
    """What has been recorded for a DAG."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [each for each in map(json.loads, lines) if each["dag_id"] == dag_id]
