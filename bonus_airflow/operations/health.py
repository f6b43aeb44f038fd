"""Finds problems of a running pipeline and their durations: broken parts, which a restart may fix, and slow ones."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Self

from bonus_airflow.operations.backend import Backend
from bonus_airflow.operations.errors import OperationError
from bonus_airflow.operations.parts import INFRASTRUCTURE, Part

BROKEN, SLOW, GONE = "broken", "slow", "gone"
"""Kinds of findings. Only what is broken is restarted: ``gone`` is the whole pipeline, or a Kafka that was stopped on purpose."""
LIVE = "live"
"""The part that tells what is slow."""
STARTING_PATIENCE_S = 300.0
"""For a part that starts, from when it was first seen unwell. Docker is less patient, even with Kafka (three minutes) and then a service
(one minute), so this is for a part that ends and is started again and again."""

_FEW_LETTERS = 10  # no problem, however few orders there are; as in the alert DeadLettersAboveShare


@dataclass(frozen=True)
class Thresholds:
    """The DAG's parameters of the same names, described there."""

    unhealthy_seconds: float
    slow_seconds: float
    max_lag_seconds: float
    max_watermark_age_seconds: float
    max_dead_letter_share: float
    max_sink_delay_seconds: float

    @property
    def longest_patience_s(self) -> float:
        """How long a problem may be observed before it is a finding."""
        return max(self.unhealthy_seconds, STARTING_PATIENCE_S, self.slow_seconds, self.max_sink_delay_seconds)

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        return cls(**{name: float(params[name]) for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Finding:
    """One problem; ``since_s`` in epoch seconds."""

    part: str
    kind: str
    problem: str
    since_s: float

    def text(self) -> str:
        return f"{self.part} is {self.kind} since {moment(self.since_s)}: {self.problem}"


def moment(epoch_s: float) -> str:
    """ISO 8601, to the second, in UTC."""
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="seconds")


class HealthLook:
    """Checks repeatedly until each suspected problem has either disappeared or lasted so long that it is a finding.

    A healthy pipeline needs one check. ``thresholds`` has the fields of Thresholds. ``totals`` are the counts at the end of the
    previous run, to compute the share of dead letters since then; empty at first.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        thresholds: Mapping[str, float],
        totals: Mapping[str, int],
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._backend = backend
        self._thresholds = Thresholds(**thresholds)
        self._totals_before = totals
        self._totals_now: Mapping[str, int] = totals
        self._now_s = now_s
        self._since_s: dict[tuple[str, str], float] = {}
        self._findings: list[Finding] = []

    def look(self) -> list[str]:
        """The suspected problems that have not lasted long enough yet."""
        now_s = self._now_s()
        suspicions = self._broken() or self._slow()
        self._since_s = {key: self._since_s.get(key, now_s) for key in suspicions}
        self._findings, pending = [], []
        for (part, kind), (problem, patience_s) in suspicions.items():
            since_s = self._since_s[part, kind]
            if now_s - since_s >= patience_s:
                self._findings.append(Finding(part, kind, problem, since_s))
            else:
                pending.append(f"{part} to get well ({problem})")
        # What is broken is restarted at once. The look after that comes back to the others, one of which may be starting for minutes.
        return [] if any(found.kind == BROKEN for found in self._findings) else pending

    def result(self) -> dict[str, Any]:
        return {"findings": [asdict(each) for each in self._findings], "totals": dict(self._totals_now)}

    def _broken(self) -> dict[tuple[str, str], tuple[str, float]]:
        patience_s = self._thresholds.unhealthy_seconds
        try:
            parts = self._backend.parts()
        except OperationError as error:
            return {("the pipeline", GONE): (str(error), patience_s)}
        if stopped := stopped_infrastructure(parts):
            return {(stopped.name, GONE): ("it was stopped, and services are running", patience_s)}
        starting_s = max(patience_s, STARTING_PATIENCE_S)
        return {
            (part.name, BROKEN): (part.problem, starting_s if part.is_starting else patience_s)
            for part in root_causes(parts)
        }

    def _slow(self) -> dict[tuple[str, str], tuple[str, float]]:
        try:
            snapshot, outputs = self._backend.snapshot(), self._backend.written_outputs()
        except OperationError as error:
            return {(LIVE, SLOW): (str(error), self._thresholds.slow_seconds)}
        if snapshot["waiting_for"] or not snapshot["stages"]:
            problem = f"the live page waits for {snapshot['waiting_for'] or 'its first look at Kafka'}"
            return {(LIVE, SLOW): (problem, self._thresholds.slow_seconds)}
        self._totals_now = {
            "orders": snapshot["orders"]["written"] - snapshot["stages"]["processor"]["lag"],
            "dead_letters": snapshot["dead_letters"]["count"],
        }
        return slow_parts(snapshot, self._thresholds, self._totals_before, outputs)


def root_causes(parts: Iterable[Part]) -> list[Part]:
    """The unhealthy parts; only Kafka or ZooKeeper if one of them is unhealthy, since all others depend on it."""
    unwell = [part for part in parts if part.problem]
    for service in INFRASTRUCTURE:
        if causes := [part for part in unwell if part.service == service]:
            return causes
    return unwell


def stopped_infrastructure(parts: Iterable[Part]) -> Part | None:
    """ZooKeeper or Kafka, if it was stopped while services run: they are unwell then, and restarts would not help."""
    parts = list(parts)
    stopped = [part for part in parts if part.service in INFRASTRUCTURE and part.is_stopped]
    services = [part for part in parts if part.service not in INFRASTRUCTURE]
    services_run = any(not (part.is_stopped or part.is_starting) for part in services)
    return stopped[0] if stopped and services_run else None


def slow_parts(
    snapshot: Mapping[str, Any], thresholds: Thresholds, totals: Mapping[str, int], outputs: Collection[str]
) -> dict[tuple[str, str], tuple[str, float]]:
    """By part and SLOW: the values above their thresholds, and how long they must stay so to be a finding."""
    found: dict[tuple[str, str], tuple[str, float]] = {}
    for group in ("processor", "analytics"):
        stage = snapshot["stages"][group]
        behind_s = stage["behind_s"]
        if stage["lag"] and (behind_s is None or behind_s > thresholds.max_lag_seconds):
            duration = "and it reads nothing" if behind_s is None else f"{behind_s:.0f} s of work"
            found[group, SLOW] = (f"lag {stage['lag']:,} records, {duration}", thresholds.slow_seconds)
    if lag := _sink_lag(snapshot, outputs):
        # The delay is the waiting time of metrics, so it has to be observed for that long.
        found["sink", SLOW] = (f"{lag:,} metrics wait to be written", thresholds.max_sink_delay_seconds)
    event_time = snapshot["event_time"]
    if event_time["watermark_s"] is not None and not event_time["idle"]:
        age_s = snapshot["now_s"] - event_time["watermark_s"]
        if age_s > thresholds.max_watermark_age_seconds:
            found["event time", SLOW] = (f"the watermark is {age_s:.0f} s old", thresholds.slow_seconds)
    # By what was ever written: retention takes orders away, and with them those that came meanwhile would not be seen.
    orders = snapshot["orders"]["written"] - totals["orders"] if totals else snapshot["orders"]["count"]
    orders -= snapshot["stages"]["processor"]["lag"]  # an order becomes a dead letter when it is processed
    dead_letters = snapshot["dead_letters"]["count"] - totals.get("dead_letters", 0)
    if orders > 0 and dead_letters > _FEW_LETTERS and dead_letters / orders > thresholds.max_dead_letter_share:
        problem = f"{dead_letters:,} of the last {orders:,} processed orders are dead letters"
        found["orders", SLOW] = (problem, 0.0)
    return found


def _sink_lag(snapshot: Mapping[str, Any], outputs: Collection[str]) -> int:
    """The metrics that wait, counted for each output: all of them if it was never written."""
    return sum(lag for output, lag in snapshot["output_lags"].items() if output in outputs)
