"""The short form of the chaos suite: each guarantee under a fault that could break it."""

from pathlib import Path

import pytest

from local.broker import LocalBroker
from tests.chaos.episode import run_episode
from tests.chaos.plan import SHORT_FORM
from tests.chaos.table import findings


@pytest.mark.timeout(1800)  # two minutes if it passes; a failure needs time to print its table
async def test_no_order_is_lost_or_counted_twice(tmp_path: Path) -> None:
    with LocalBroker(tmp_path / "broker") as broker:
        outcome = await run_episode(SHORT_FORM, broker, tmp_path / "chaos", seed=4, rate=500, say=print)
    assert outcome.ok, "\n".join(findings([outcome]))
