"""How many test files run at the same time."""

import pytest

from tests import worker_count as worker_count_module
from tests.worker_count import measure_rounds_per_s, worker_count


@pytest.mark.parametrize(
    ("rounds_per_s", "workers"), [(90_000_000, 6), (17_500_000, 6), (11_000_000, 3), (5_300_000, 1), (1, 1)]
)
def test_a_slow_machine_has_fewer_workers(rounds_per_s: int, workers: int) -> None:
    assert worker_count(rounds_per_s) == workers


def test_the_speed_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_count_module, "_MEASUREMENTS", 1)
    monkeypatch.setattr(worker_count_module, "_SECONDS", 0.01)
    assert measure_rounds_per_s() > 0
