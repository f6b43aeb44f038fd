"""Services are stopped in order, so that no records are left between them."""

import pytest

from bonus_airflow.operations import draining
from bonus_airflow.operations.errors import OperationError


def test_the_analytics_is_stopped_when_it_has_read_what_the_processor_wrote_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(draining, "_POLL_S", 0.0)
    done: list[tuple[str, ...]] = []
    left = [["analytics to read 18 records"], ["analytics to read 1 records"], []]

    def look() -> list[str]:
        done.append(("look",))
        return left.pop(0)

    draining.stop_in_order(lambda *names: done.append(names), look)
    assert done == [("generator", "processor"), ("look",), ("look",), ("look",), ("analytics", "sink")]


def test_work_left_for_minutes_is_reported_and_the_rest_continues(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "_POLL_S", 0.0)
    monkeypatch.setattr(draining, "_DRAINED_WITHIN_S", 0.0)
    done: list[tuple[str, ...]] = []
    with pytest.raises(OperationError, match="analytics to read 18 records"):
        draining.stop_in_order(lambda *names: done.append(names), lambda: ["analytics to read 18 records"])
    assert done == [("generator", "processor")]
