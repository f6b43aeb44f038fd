"""Requests that are delayed in the network after a broken connection, and arrive during the next transaction."""

from pathlib import Path

import pytest

from local.broker import LocalBroker
from local.kafka_files import ProxyPorts
from local.ports import free_ports
from tests.chaos.episode import run_episode
from tests.chaos.network_plan import SHORT_FORM_OF_LATE_REQUESTS
from tests.chaos.table import findings


@pytest.mark.timeout(1800)  # a minute and a half if it passes; a failure needs time to print its table
async def test_late_requests_do_not_break_atomicity(tmp_path: Path) -> None:
    kafka, zookeeper, *proxy = free_ports(4)
    with LocalBroker(tmp_path / "broker", kafka, zookeeper, ProxyPorts(*proxy)) as broker:
        outcome = await run_episode(
            SHORT_FORM_OF_LATE_REQUESTS, broker, tmp_path / "chaos", seed=4, rate=300, say=print
        )
    assert outcome.ok, "\n".join(findings([outcome]))
