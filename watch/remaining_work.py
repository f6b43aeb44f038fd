"""What is left before every order has gone through all stages and every window has closed."""

import http.client
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from watch.endpoints import TIMEOUT_S, Endpoints

_POLL_S = 1.0


@dataclass(frozen=True)
class RemainingWork:
    """The remaining work: ``waiting_for`` has an entry for each part that is not drained, and is empty if all are.

    ``open_windows`` counts a window once for each product; None if a replica of the analytics did not respond.
    """

    waiting_for: list[str]
    open_windows: int | None

    @property
    def done(self) -> bool:
        return not self.waiting_for


def remaining_work(endpoints: Endpoints, monotonic_s: Callable[[], float] = time.monotonic) -> RemainingWork:
    """The remaining work now.

    The order of the checks makes it exact: no lag of the first stages, then no open window, then no lag of the sink. The lags have
    to be read from Kafka after this call, and again after the windows were checked, so newer snapshots of the live page are awaited.
    """
    try:
        snapshot = _newer_snapshot(endpoints, monotonic_s)
        if waiting := _lags(snapshot, endpoints.outputs):
            return RemainingWork(waiting, None)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return RemainingWork([f"an answer of the live page: {error!r}"], None)
    try:
        if left := _windows_left(endpoints.open_windows(), snapshot["event_time"]["partitions"]):
            return left
    except (OSError, http.client.HTTPException, ValueError) as error:
        return RemainingWork([f"an answer of every replica of the analytics: {error!r}"], None)
    try:
        return RemainingWork(_lags(_newer_snapshot(endpoints, monotonic_s), endpoints.outputs), 0)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return RemainingWork([f"an answer of the live page: {error!r}"], 0)


def wait_until_drained(endpoints: Endpoints, timeout_s: float, report: Callable[[str], None]) -> RemainingWork:
    """Check until nothing is left or the time is over; ``report`` is called with each change of the remaining work."""
    deadline_s = time.monotonic() + timeout_s
    reported = ""
    while True:
        left = remaining_work(endpoints)
        if (text := "; ".join(left.waiting_for)) != reported and text:
            report(f"waiting for {text}")
            reported = text
        if left.done or time.monotonic() >= deadline_s:
            return left
        time.sleep(_POLL_S)


def _lags(snapshot: Mapping[str, Any], outputs: Collection[str]) -> list[str]:
    if snapshot["waiting_for"] or not snapshot["stages"]:
        return [snapshot["waiting_for"] or "the first look at Kafka"]
    lags = {group: stage["lag"] for group, stage in snapshot["stages"].items()}
    # The stage's lag is that of whichever output has offsets, so it says nothing about one that was never written.
    of_outputs = snapshot["output_lags"]
    lags["sink"] = of_outputs["file"] if "file" in outputs else 0
    left = [f"{group} to read {lag:,} records" for group, lag in lags.items() if lag]
    if "database" in outputs and of_outputs["database"]:
        left.append(f"sink to write {of_outputs['database']:,} metrics to the database")
    # A working stage has open transactions, so a blocked count is reported only for a stage without lag.
    blocked = {group: stage["blocked"] for group, stage in snapshot["stages"].items() if not lags[group]}
    left += [
        f"{group} to read {count:,} records behind an open transaction (`pipeline doctor` finds one that stays open)"
        for group, count in blocked.items()
        if count
    ]
    return left


def _windows_left(open_windows: Mapping[str, int], partitions: int) -> RemainingWork | None:
    """What the analytics has left; None if no window is open in any of the partitions."""
    if count := sum(open_windows.values()):
        return RemainingWork([f"{count:,} open windows, counted by product"], count)
    if (missing := partitions - len(open_windows)) > 0:
        return RemainingWork([f"the analytics to restore its state of {missing} partitions"], None)
    return None


def _newer_snapshot(endpoints: Endpoints, monotonic_s: Callable[[], float]) -> Mapping[str, Any]:
    """A snapshot that was begun after this call: the second one that is finished after it."""
    seen = {endpoints.snapshot()["seen_at_s"]}
    deadline_s = monotonic_s() + 4 * TIMEOUT_S
    while True:
        snapshot = endpoints.snapshot()
        seen.add(snapshot["seen_at_s"])
        if len(seen) > 2 or snapshot["waiting_for"]:
            return snapshot
        if monotonic_s() > deadline_s:
            raise TimeoutError("it has stopped looking at Kafka")
        time.sleep(_POLL_S / 4)
