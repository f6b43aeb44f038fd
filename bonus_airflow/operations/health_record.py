"""The state that `pipeline_health` keeps between runs: restarts, problems with their start, and counts."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from bonus_airflow.environment import airflow_home
from bonus_airflow.operations.health import LIVE, SLOW, Finding

RESTARTS_COUNT_FOR_S = 3600.0
"""Restarts that are older no longer count: a part may then be restarted again."""


@dataclass
class Restart:
    """One restart of a part; ``at_s`` in epoch seconds."""

    at_s: float
    failure: str | None
    """Why it failed; None if it succeeded."""

    @property
    def result(self) -> str:
        """As in `` failed (not healthy)``; nothing if it succeeded."""
        return "" if self.failure is None else f" failed ({self.failure})"


@dataclass
class HealthRecord:
    """All times in epoch seconds."""

    restarts: dict[str, list[Restart]] = field(default_factory=dict)
    """By part, oldest first."""
    wrong: dict[str, float] = field(default_factory=dict)
    """Since when what is wrong, by ``key_of`` its finding."""
    totals: dict[str, int] = field(default_factory=dict)
    """Orders and dead letters at the last look."""

    @classmethod
    def load(cls, path: Path | None = None) -> Self:
        try:
            values: Mapping[str, Any] = json.loads((path or _path()).read_text())
            restarts = {part: [Restart(**each) for each in found] for part, found in values["restarts"].items()}
            return cls(restarts, dict(values["wrong"]), dict(values["totals"]))
        except FileNotFoundError:
            return cls()
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls()  # not critical: without it a part may be restarted a few times more

    def save(self, path: Path | None = None) -> None:
        path = path or _path()
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(asdict(self)))
        draft.replace(path)

    def restarts_of(self, part: str, now_s: float) -> int:
        """The number of restarts of ``part`` within the last hour."""
        return len(self._recent(part, now_s))

    def restarts_since(self, since_s: float) -> list[str]:
        """As in ``restart 1 of sink`` or ``restart 2 of sink failed (not healthy)``, oldest first."""
        found = [
            (restart.at_s, f"restart {number} of {part}{restart.result}")
            for part, restarts in self.restarts.items()
            for number, restart in enumerate(restarts, start=1)
            if restart.at_s >= since_s
        ]
        return [text for _, text in sorted(found)]

    def add_restart(self, part: str, now_s: float) -> Restart:
        """Count a restart that begins now. Its ``failure`` is for the caller to change when it has ended."""
        restart = Restart(now_s, "it did not end")
        self.restarts[part] = [*self._recent(part, now_s), restart]
        return restart

    def _recent(self, part: str, now_s: float) -> list[Restart]:
        return [each for each in self.restarts.get(part, []) if now_s - each.at_s < RESTARTS_COUNT_FOR_S]

    def take(self, findings: Iterable[Finding]) -> tuple[list[Finding], list[Finding], list[str]]:
        """Store the current findings; returns all of them, the new ones, and the keys of resolved ones.

        A finding that already existed keeps its first ``since_s``. Where something is broken or gone, or the live page does not know,
        slow parts were not looked at, so none of those is resolved.
        """
        before, findings = self.wrong, list(findings)
        unknown = before if any(each.kind != SLOW or each.part == LIVE for each in findings) else {}
        now = {key: since_s for key, since_s in unknown.items() if key.endswith(f" {SLOW}")}
        now |= {key_of(each): before.get(key_of(each), each.since_s) for each in findings}
        current = [Finding(each.part, each.kind, each.problem, now[key_of(each)]) for each in findings]
        self.wrong = now
        return current, [each for each in current if key_of(each) not in before], sorted(before.keys() - now.keys())


def key_of(finding: Finding) -> str:
    """Identifies the same finding in another run."""
    return f"{finding.part} {finding.kind}"


def _path() -> Path:
    return airflow_home() / "pipeline_health.json"
