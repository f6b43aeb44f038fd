"""Which partitions the loop of an attempt takes for healthy, for stuck, or for waiting."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import pytest
from aiokafka.structs import TopicPartition
from structlog.testing import capture_logs

from libs.runtime.errors import StuckConsumerError
from libs.runtime.exactly_once import open_transaction_check, processing, stuck_consumer, transaction_size
from libs.runtime.exactly_once.stage import Progress
from libs.runtime.kafka_client import idle_polling
from libs.runtime.timing import TICK_S
from tests.unit.exactly_once.attempt import Attempt
from tests.unit.exactly_once.fakes import ORDERS, FakeConsumer, FakeLogic


class ConfirmedIdleConsumer(FakeConsumer):
    """Has nothing to read, and the broker has just confirmed it."""

    def last_poll_timestamp(self, _: TopicPartition) -> int | None:
        return int(time.time() * 1000)


@pytest.mark.parametrize(("end", "alive"), [(0, {"started", "orders-0"}), (1, {"started"})])
async def test_a_partition_with_nothing_to_read_is_not_stuck(
    end: int, alive: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idle_polling, "TICK_S", 0.001)
    consumer = ConfirmedIdleConsumer()
    consumer.ends[ORDERS[0]] = end
    attempt = Attempt(consumer, [FakeLogic()])
    checked: asyncio.Queue[None] = asyncio.Queue()
    monkeypatch.setattr(attempt.partitions[0].stuck_check, "update", lambda **_: checked.put_nowait(None))
    for _ in range(2):
        await checked.get()
    await attempt.end()
    assert set(attempt.health._beats) == alive


async def test_a_partition_that_ends_with_an_aborted_transaction_is_drained_and_committed_and_not_stuck(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(idle_polling, "TICK_S", 0.001)
    consumer = ConfirmedIdleConsumer()
    consumer.ends[ORDERS[0]] = consumer.positions[ORDERS[0]] = 2  # after a record and the marker of its transaction
    consumer.put({ORDERS[0]: []})
    logic, progress = FakeLogic(), asyncio.Queue[Progress]()
    monkeypatch.setattr(logic, "punctuate", progress.put_nowait)
    attempt = Attempt(consumer, [logic], interval_ms=0)
    checked: asyncio.Queue[None] = asyncio.Queue()
    monkeypatch.setattr(attempt.partitions[0].stuck_check, "update", lambda **_: checked.put_nowait(None))
    assert await attempt.committed() == {ORDERS[0]: 2}
    for _ in range(2):
        await checked.get()
    await attempt.end()
    assert attempt.producer.begun.empty(), "it is committed once"
    assert progress.get_nowait().position == 2
    assert set(attempt.health._beats) == {"started", "orders-0"}


class Busy(ConfirmedIdleConsumer):
    """Always has one more record of the first partition."""

    async def getmany(self, **_: object) -> Mapping[TopicPartition, list[Any]]:
        await asyncio.sleep(0)
        self.put({ORDERS[0]: [self.reads]})
        return await super().getmany()


async def test_an_idle_partition_is_healthy_while_another_one_always_has_a_transaction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(idle_polling, "TICK_S", 0.001)
    attempt = Attempt(Busy(), [FakeLogic(), FakeLogic()], commits_complete=False, interval_ms=0)
    await attempt.producer.begun.get()
    attempt.health._beats.clear()
    async with asyncio.timeout(600):
        while not attempt.health._beats:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0)
    assert set(attempt.health._beats) == {"orders-1"}
    attempt.producer.completion.release()
    await attempt.end()


async def test_a_partition_waits_for_the_fetch_that_is_processed_if_it_has_records_in_it_or_had_nothing_to_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(idle_polling, "TICK_S", 0.001)
    monkeypatch.setattr(transaction_size, "MAX_RECORDS", 50)
    consumer = ConfirmedIdleConsumer()
    attempt = Attempt(consumer, [FakeLogic(), FakeLogic(), FakeLogic()], commits_complete=False)
    async with asyncio.timeout(600):
        while not attempt.partitions[2].read_to_end:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0)
    consumer.ends = {ORDERS[0]: 101, ORDERS[1]: 101, ORDERS[2]: 7}  # the last one gets records meanwhile
    consumer.put({ORDERS[0]: range(101), ORDERS[1]: range(101)})
    await attempt.committed()
    waiting = [attempt.processing.waits_for_others(source) for source in ORDERS]
    for _ in range(10):
        attempt.producer.completion.release()
    await attempt.end()
    assert waiting == [True, True, True]


async def test_a_partition_waits_for_the_fetch_that_is_processed_if_the_client_has_its_records_already(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first fetch of an attempt has the partitions of the first response only."""
    monkeypatch.setattr(transaction_size, "MAX_RECORDS", 50)
    consumer = FakeConsumer()
    consumer.ends = dict.fromkeys(ORDERS, 101)
    consumer.not_handed_out = {ORDERS[1]}
    attempt = Attempt(consumer, [FakeLogic(), FakeLogic(), FakeLogic()], commits_complete=False)
    consumer.put({ORDERS[0]: range(101)})
    await attempt.committed()
    waiting = [attempt.processing.waits_for_others(source) for source in ORDERS]
    for _ in range(10):
        attempt.producer.completion.release()
    await attempt.end()
    assert waiting == [True, True, False]


async def test_a_partition_with_records_that_do_not_come_does_not_wait_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(idle_polling, "TICK_S", 0.001)
    consumer = ConfirmedIdleConsumer()
    consumer.ends[ORDERS[1]] = 7
    attempt = Attempt(consumer, [FakeLogic(), FakeLogic()], interval_ms=0)
    consumer.put({ORDERS[0]: range(10)})
    await attempt.committed()
    waiting = [attempt.processing.waits_for_others(source) for source in ORDERS]
    await attempt.end()
    assert waiting[1:] == [False, False]


class AbortedTransactions(ConfirmedIdleConsumer):
    """Has an endless sequence of aborted transactions in the first partition."""

    async def getmany(self, **_: object) -> Mapping[TopicPartition, list[Any]]:
        await asyncio.sleep(0)
        return {ORDERS[0]: []}


async def test_endless_aborted_transactions_do_not_block_the_other_partitions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(idle_polling, "TICK_S", 0.001)
    attempt = Attempt(AbortedTransactions(), [FakeLogic(), FakeLogic()])
    checked = asyncio.Event()
    monkeypatch.setattr(attempt.partitions[1].stuck_check, "update", lambda **_: checked.set())
    async with asyncio.timeout(600):
        await checked.wait()
    await attempt.end()
    assert set(attempt.health._beats) == {"started", "orders-0", "orders-1"}


@pytest.mark.parametrize("reads_ends", [True, False])
async def test_a_partition_without_fetch_responses_is_stuck_if_every_leader_responds(
    reads_ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idle_polling, "TICK_S", 0.001)
    monkeypatch.setattr(processing, "FRESH_S", 0.0)
    monkeypatch.setattr(stuck_consumer, "STUCK_AFTER_S", 0.0)
    attempt = Attempt(FakeConsumer(), [FakeLogic()], reads_ends=reads_ends)
    if reads_ends:
        with pytest.raises(StuckConsumerError, match="orders-0"):
            await asyncio.wait_for(attempt.task, 30)
    else:
        await asyncio.wait({attempt.task}, timeout=TICK_S)
        await attempt.end()


async def test_a_partition_that_waits_for_its_turn_is_not_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle_polling, "TICK_S", 0.001)
    monkeypatch.setattr(processing, "FRESH_S", 0.001)
    consumer = FakeConsumer()
    consumer.waiting = {ORDERS[0]}
    attempt = Attempt(consumer, [FakeLogic()])
    excuses: asyncio.Queue[bool] = asyncio.Queue()
    monkeypatch.setattr(attempt.partitions[0].stuck_check, "update", lambda *, excused: excuses.put_nowait(excused))
    await asyncio.sleep(0.01)
    for _ in range(3):
        assert await excuses.get()
    await attempt.end()


class ConstantlyOpen(FakeConsumer):
    """The same transaction is open in the last response of each partition; that of the second partition is an old one."""

    def highwater(self, _: TopicPartition) -> int:
        return 5

    def last_stable_offset(self, _: TopicPartition) -> int:
        return 0

    def last_poll_timestamp(self, source: TopicPartition) -> int | None:
        return int(time.time() * 1000) if source == ORDERS[0] else None


async def test_a_transaction_is_open_only_as_far_as_a_recent_response_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle_polling, "TICK_S", 0.001)
    monkeypatch.setattr(processing, "_METRICS_EVERY_S", 0.0)
    monkeypatch.setattr(open_transaction_check, "REPORT_AFTER_S", 0.0)
    attempt = Attempt(ConstantlyOpen(), [FakeLogic(), FakeLogic()])
    attempt.partitions[1].confirmed_s -= 2 * processing.FRESH_S
    with capture_logs() as lines:
        async with asyncio.timeout(600):
            while len(lines) < 5:  # noqa: ASYNC110 - they have no event
                await asyncio.sleep(0)
    await attempt.end()
    assert {(line["partition"], line["event"].split(":")[0]) for line in lines} == {
        ("orders-0", "a transaction stays open")
    }


async def test_a_clock_that_is_set_back_makes_no_partition_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle_polling, "TICK_S", 0.001)
    monkeypatch.setattr(processing, "FRESH_S", 0.0)
    monkeypatch.setattr(stuck_consumer, "STUCK_AFTER_S", 0.0)
    consumer = FakeConsumer()
    consumer.confirmed_ms = int((time.time() + 3600) * 1000)  # the last response came before that
    with pytest.raises(StuckConsumerError, match="orders-0"):
        await asyncio.wait_for(Attempt(consumer, [FakeLogic()]).task, 30)


@pytest.mark.parametrize("former", [True, False])
async def test_a_broker_that_has_lost_the_leadership_confirms_no_end(
    former: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer, logic, progress = ConfirmedIdleConsumer(), FakeLogic(), asyncio.Queue[Progress]()
    monkeypatch.setattr(logic, "punctuate", progress.put_nowait)
    attempt = Attempt(consumer, [logic])
    attempt.processing._watch.former_leaders.partitions = ORDERS[:1] if former else ORDERS[1:]
    consumer.put({})
    async with asyncio.timeout(600):
        confirmed = (await progress.get()).confirmed_at_s
    await attempt.end()
    assert (confirmed is None) is former
