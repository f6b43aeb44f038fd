"""How far apart a stage's fetches are."""

import pytest
from prometheus_client import CollectorRegistry

from libs.events.topics import ORDERS, PROCESSED_ORDERS
from libs.runtime.exactly_once.stage import Stage
from libs.runtime.metrics import StageMetrics


@pytest.mark.parametrize(
    ("commit_interval_ms", "fetch_interval_ms", "apart_s"),
    [(100, 60, 0.06), (100, 100, 0.1), (20, 60, 0.02), (0, 60, 0.0)],
)
def test_fetches_are_no_further_apart_than_commits(
    commit_interval_ms: int, fetch_interval_ms: int, apart_s: float
) -> None:
    stage = Stage(
        name="copier",
        source=ORDERS,
        outputs=[PROCESSED_ORDERS],
        logics=lambda _: {},
        metrics=StageMetrics(CollectorRegistry(), ORDERS.name, [PROCESSED_ORDERS.name], stateful=False),
        depends_on={},
        commit_interval_ms=commit_interval_ms,
        fetch_interval_ms=fetch_interval_ms,
    )
    assert stage.fetches_apart_s == apart_s
