"""The state that `pipeline_health` keeps between runs: restarts, problems with their start, and counts."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from bonus_airflow.environment import airflow_home
from bonus_airflow.operations.health import Finding

RESTARTS_COUNT_FOR_S = 3600.0
"""Restarts that are older no longer count: a part may then be restarted again."""


@dataclass
class HealthRecord:
    """All times in epoch seconds."""

    restarts: dict[str, list[float]] = field(default_factory=dict)
    """When each part was restarted."""
    wrong: dict[str, float] = field(default_factory=dict)
    """Since when what is wrong, by ``key_of`` its finding."""
    totals: dict[str, int] = field(default_factory=dict)
    """Orders and dead letters at the last look."""

    @classmethod
    def load(cls, path: Path | None = None) -> Self:
        try:
            values: Mapping[str, Any] = json.loads((path or _path()).read_text())
            return cls(dict(values["restarts"]), dict(values["wrong"]), dict(values["totals"]))
        except FileNotFoundError:
            return cls()
        except (ValueError, KeyError, TypeError):
            return cls()  # not critical: without it a part may be restarted a few times more

    def save(self, path: Path | None = None) -> None:
        path = path or _path()
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps({"restarts": self.restarts, "wrong": self.wrong, "totals": self.totals}))
        draft.replace(path)

    def restarts_of(self, part: str, now_s: float) -> int:
        """The number of restarts of ``part`` within the last hour."""
        return sum(now_s - at_s < RESTARTS_COUNT_FOR_S for at_s in self.restarts.get(part, []))

    def restarts_since(self, since_s: float) -> list[str]:
        """The restarts since then, as in ``restart 1 of sink``."""
        return [
            f"restart {number} of {part}"
            for part, times in self.restarts.items()
            for number, at_s in enumerate(times, 1)
            if at_s >= since_s
        ]

    def add_restart(self, part: str, now_s: float) -> None:
        kept = [at_s for at_s in self.restarts.get(part, []) if now_s - at_s < RESTARTS_COUNT_FOR_S]
        self.restarts[part] = [*kept, now_s]

    def take(self, findings: Iterable[Finding]) -> tuple[list[Finding], list[Finding], list[str]]:
        """Store the current findings; returns all of them, the new ones, and the keys of resolved ones.

        A finding that already existed keeps its first ``since_s``.
        """
        before = self.wrong
        now = {key_of(each): before.get(key_of(each), each.since_s) for each in findings}
        current = [Finding(each.part, each.kind, each.problem, now[key_of(each)]) for each in findings]
        self.wrong = now
        return current, [each for each in current if key_of(each) not in before], sorted(before.keys() - now.keys())


def key_of(finding: Finding) -> str:
    """Identifies the same finding in another run."""
    return f"{finding.part} {finding.kind}"


def _path() -> Path:
    return airflow_home() / "pipeline_health.json"
