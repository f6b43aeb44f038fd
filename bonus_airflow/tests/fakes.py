"""A fake pipeline whose state the test sets."""

import copy
from collections.abc import Mapping
from typing import Any

from bonus_airflow.operations.errors import OperationError
from bonus_airflow.operations.parts import Part, StartPlan

WELL: Mapping[str, Any] = {
    "waiting_for": "",
    "now_s": 1000.0,
    "orders": {"count": 100, "written": 100, "per_s": 10.0},
    "accepted": {"per_s": 10.0},
    "metrics": {"count": 5},
    "stages": {
        "processor": {"lag": 0, "behind_s": 0.0},
        "analytics": {"lag": 0, "behind_s": 0.0},
        "sink": {"lag": 0, "behind_s": 0.0},
    },
    "database_lag": None,
    "output_lags": {"file": 0, "database": 0},
    "event_time": {"watermark_s": 990.0, "idle": False},
    "dead_letters": {"count": 1},
}


class FakeBackend:
    """Replaces the backend ``name``; ``problems`` has the problem of each part."""

    name = "local"
    can_control = True

    def __init__(self, *names: str) -> None:
        self.running = True
        self.problems: dict[str, str] = dict.fromkeys(names or ("kafka", "processor-1", "processor-2"), "")
        self.snapshot_data = copy.deepcopy(dict(WELL))
        self.outputs = ["database", "file"]
        self.stopped = 0

    def problem(self) -> str:
        return ""

    def is_running(self) -> bool:
        return self.running

    def start(self, plan: StartPlan) -> None:
        self.running = True

    def parts(self) -> list[Part]:
        if not self.running:
            raise OperationError("local mode is stopped")
        return [Part(name, name.partition("-")[0], problem) for name, problem in self.problems.items()]

    def restart(self, part: str) -> None:
        self.problems[part] = ""

    def stop_generator(self) -> None:
        """Nothing comes."""

    def left_to_drain(self) -> list[str]:
        return []

    def written_outputs(self) -> list[str]:
        return self.outputs

    def stop_services(self) -> None:
        """Nothing runs."""

    def verify(self) -> None:
        """All is well."""

    def stop_all(self) -> None:
        self.running = False
        self.stopped += 1

    def snapshot(self) -> Mapping[str, Any]:
        return copy.deepcopy(self.snapshot_data)
