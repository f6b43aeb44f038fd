"""The partition to which an attempt attributes its failure."""

import asyncio
from typing import Any

import pytest
from aiokafka.structs import TopicPartition

from libs.runtime.exactly_once import processing
from libs.runtime.kafka_client.lazy_records import in_batches
from tests.unit.exactly_once.attempt import Attempt
from tests.unit.exactly_once.fakes import ORDERS, FakeConsumer, FakeLogic


async def fails(attempt: Attempt) -> TopicPartition | None:
    """The partition that a failed attempt attributes its failure to."""
    with pytest.raises(RuntimeError, match="refused"):
        await asyncio.wait_for(attempt.task, 30)
    return attempt.processing.failed_partition()


@pytest.mark.usefixtures("no_ticks")
async def test_a_record_that_cannot_be_processed_is_attributed_to_its_partition() -> None:
    attempt = Attempt(consumer := FakeConsumer(), [FakeLogic(), FakeLogic()])
    attempt.logics[1].error = RuntimeError("refused")
    consumer.put({ORDERS[0]: [0], ORDERS[1]: [0]})
    assert await fails(attempt) == ORDERS[1]


@pytest.mark.usefixtures("no_ticks")
async def test_a_batch_that_cannot_be_read_is_attributed_to_its_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_at_99(fetched: Any, size: int) -> Any:
        if fetched[0].offset == 99:
            raise RuntimeError("refused")
        yield from in_batches(fetched, size)

    monkeypatch.setattr(processing, "in_batches", fail_at_99)
    attempt = Attempt(consumer := FakeConsumer(), [FakeLogic(), FakeLogic()])
    consumer.put({ORDERS[0]: [0], ORDERS[1]: [99]})
    assert await fails(attempt) == ORDERS[1]


@pytest.mark.usefixtures("no_ticks")
@pytest.mark.parametrize(("touched", "failed_partition"), [(ORDERS[1:2], ORDERS[1]), (ORDERS[:2], None)])
async def test_a_rejected_commit_is_attributed_to_a_partition_if_it_was_the_only_one(
    touched: list[TopicPartition], failed_partition: TopicPartition | None
) -> None:
    attempt = Attempt(consumer := FakeConsumer(), [FakeLogic(), FakeLogic()], interval_ms=0)
    attempt.producer.error = RuntimeError("refused")
    consumer.put({source: [0] for source in touched})
    assert await fails(attempt) == failed_partition


@pytest.mark.usefixtures("no_ticks")
async def test_a_consumer_error_is_attributed_to_no_partition_even_after_a_commit() -> None:
    attempt = Attempt(consumer := FakeConsumer(), [FakeLogic(), FakeLogic()], interval_ms=0)
    consumer.put({ORDERS[1]: [0]})
    await attempt.committed()
    consumer.found.put_nowait(RuntimeError("refused"))
    assert await fails(attempt) is None
