"""A backlog under a client quota, as managed clusters set it."""

import asyncio
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import orjson
import pytest

from local.broker import LocalBroker
from local.jars import java_command, kafka_libs
from tests.integration.pipeline import Pipeline, history
from tests.integration.services import eventually

ORDERS = 4_000
# What these orders take in processed-orders, some 1.3 MB, is not written within a transaction's timeout.
PRODUCER_BYTES_PER_S = 50_000


@pytest.fixture
def kafka_with_quota(tmp_path: Path) -> Iterator[str]:
    with LocalBroker(tmp_path / "broker") as broker:
        yield broker.bootstrap_servers


def set_quota(kafka: str, config: str) -> None:
    """For every client from now on."""
    command = [java_command(), "-cp", f"{kafka_libs()}/*", "kafka.admin.ConfigCommand", "--bootstrap-server", kafka]
    clients = ["--entity-type", "clients", "--entity-default"]
    subprocess.run([*command, "--alter", "--add-config", config, *clients], check=True, capture_output=True)


async def test_a_transaction_that_is_too_large_for_a_quota_becomes_smaller(
    kafka_with_quota: str, tmp_path: Path
) -> None:
    pipeline = Pipeline(kafka_with_quota, "", tmp_path)
    await pipeline.make_topics()
    orders = [orjson.dumps(order) for order in history(ORDERS, 600, seed=1)]
    await pipeline.send([(number, orders[number::6]) for number in range(6)])
    await asyncio.to_thread(set_quota, kafka_with_quota, f"producer_byte_rate={PRODUCER_BYTES_PER_S}")
    async with pipeline.service("processor") as processor:
        await processor.wait_for("the next transactions are smaller, since this one was not written in time")
        await eventually(partial(all_processed, pipeline))


async def all_processed(pipeline: Pipeline) -> bool:
    return sum(b'"order_id"' in (record.value or b"") for record in await pipeline.read("processed-orders")) == ORDERS
