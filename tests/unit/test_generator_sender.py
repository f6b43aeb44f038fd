"""The sender: each record once and in order, a bounded buffer, and errors that name unsent records."""

import math
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.errors import OutOfOrderSequenceNumber, TopicAuthorizationFailedError, UnknownTopicOrPartitionError
from aiokafka.structs import TopicPartition
from prometheus_client import CollectorRegistry

from libs.events.dead_letters import Reason
from libs.runtime.kafka_client.closing import close_producer
from libs.runtime.kafka_client.partitioning import partition_for
from libs.runtime.metrics import totals
from libs.runtime.service.health import Health
from libs.runtime.timing import HEALTHY_FOR_S
from services.generator import order_sender
from services.generator.generator_metrics import GeneratorMetrics
from services.generator.order_sender import OrderSender, UnsentError, idempotent_producer
from tests.unit.generator_fakes import BATCH_RECORDS, FakeProducer, settle

PARTITIONS = 3
CAPACITY = 20
NOW_MS = time.time() * 1000


class Ticks:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def sender_to(
    producer: FakeProducer,
    monotonic_s: Ticks | None = None,
    health: Health | None = None,
    registry: CollectorRegistry | None = None,
) -> OrderSender:
    return OrderSender(
        cast("Any", producer),
        topic="orders",
        partitions=PARTITIONS,
        capacity=CAPACITY,
        health=health or Health(),
        metrics=GeneratorMetrics(registry or CollectorRegistry(), Reason, CAPACITY),
        monotonic_s=monotonic_s or Ticks(),
    )


def key(number: int) -> bytes:
    return b"%032x" % number


async def test_records_arrive_once_and_in_order_while_new_ones_come_in() -> None:
    producer = FakeProducer()
    health = Health()
    sent: dict[int, list[bytes]] = {}
    async with sender_to(producer, health=health) as sender:
        for number in range(200):
            sender.put(key(number), b"{}", NOW_MS)
            sent.setdefault(partition_for(key(number), PARTITIONS), []).append(key(number))
            if number % 5 == 0:
                await settle()
                producer.answer()
                await settle()
        while sender.unconfirmed:
            assert producer.answer()
            await settle()
    assert producer.written == sent
    assert sender.confirmed == 200
    assert set(cast("Any", health.report()[1]["seconds_since"])) == {"started", "connected"}


async def test_a_single_record_is_sent_at_once() -> None:
    producer = FakeProducer()
    async with sender_to(producer) as sender:
        sender.put(key(1), b"{}", NOW_MS)
        await settle()
        assert producer.answer() == 1


async def test_the_remaining_capacity_shrinks_until_the_broker_confirms() -> None:
    producer = FakeProducer()
    async with sender_to(producer) as sender:
        for number in range(CAPACITY):
            assert sender.room == CAPACITY - number
            sender.put(key(number), b"{}", NOW_MS)
        assert sender.room == 0
        await settle()
        assert sender.room == 0
        confirmed = producer.answer()
        await sender.wait_for_change(5)
        assert sender.room == confirmed


async def test_silent_time_is_measured_only_while_orders_are_unconfirmed() -> None:
    producer, ticks = FakeProducer(), Ticks()
    async with sender_to(producer, ticks) as sender:
        ticks.now_s += 50
        assert sender.silent_for_s() == 0
        sender.put(key(1), b"{}", NOW_MS)
        ticks.now_s += 4
        sender.put(key(2), b"{}", NOW_MS)
        assert sender.silent_for_s() == 4
        await settle()
        producer.answer()
        await settle()
        assert sender.silent_for_s() == 0


async def test_a_partition_that_takes_nothing_is_silent_and_unhealthy_while_the_others_go_on() -> None:
    producer, ticks = FakeProducer(), Ticks()
    health = Health(ticks)
    health.started()
    dead = partition_for(key(0), PARTITIONS)
    others = [key(number) for number in range(100) if partition_for(key(number), PARTITIONS) != dead]

    async with sender_to(producer, ticks, health) as sender:
        sender.put(key(0), b"{}", NOW_MS)
        sender.put(key(0), b"{}", NOW_MS)
        for second in range(1, int(HEALTHY_FOR_S) + 2):
            assert health.report()[0]
            sender.put(others[second], b"{}", NOW_MS)
            await settle()
            producer.answer(to=set(range(PARTITIONS)) - {dead})
            await settle()
            ticks.now_s += 1
            assert sender.silent_for_s() == second
        assert sender.unconfirmed == 2
        assert health.report()[1]["reason"] == f"no progress: orders-{dead}"

        producer.answer()
        await settle()
        assert sender.silent_for_s() == 0
        assert health.report()[0]


async def test_each_batch_of_a_partition_has_its_own_time_to_be_confirmed() -> None:
    producer, ticks = FakeProducer(), Ticks()
    health = Health(ticks)
    health.started()
    async with sender_to(producer, ticks, health) as sender:
        for _ in range(2 * BATCH_RECORDS):
            sender.put(key(0), b"{}", NOW_MS)
        await settle()
        ticks.now_s += HEALTHY_FOR_S
        producer.answer()
        await settle()
        assert sender.unconfirmed == BATCH_RECORDS
        assert sender.silent_for_s() == 0
        ticks.now_s += HEALTHY_FOR_S
        assert health.report()[0]
        assert sender.silent_for_s() == HEALTHY_FOR_S


async def test_latency_is_measured_from_the_oldest_order_of_a_batch_to_its_confirmation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    producer, registry = FakeProducer(), CollectorRegistry()
    monkeypatch.setattr(order_sender, "time", SimpleNamespace(time=lambda: NOW_MS / 1000))
    async with sender_to(producer, registry=registry) as sender:
        sender.put(key(1), b"{}", NOW_MS - 100_000)
        sender.put(key(1), b"{}", NOW_MS - 10_000)
        assert registry.get_sample_value("pipeline_event_latency_seconds_count") == 0
        await settle()
        assert producer.answer() == 2
        await settle()
    assert registry.get_sample_value("pipeline_event_latency_seconds_count") == 1
    assert registry.get_sample_value("pipeline_event_latency_seconds_sum") == pytest.approx(100)


async def test_it_waits_for_a_topic_that_is_unknown_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_sender, "_RETRY_S", 0)
    producer = FakeProducer()
    producer.refusals.extend([UnknownTopicOrPartitionError(), UnknownTopicOrPartitionError()])
    registry = CollectorRegistry()
    async with sender_to(producer, registry=registry) as sender:
        sender.put(key(1), b"{}", NOW_MS)
        await settle()
        assert producer.answer() == 1
        sender.raise_failure()
        await settle()
    assert totals(registry) == {"orders_sent": 1, "delivery_errors_retried": 2}


async def test_a_failed_delivery_is_final_and_reports_unsent_orders() -> None:
    producer, registry = FakeProducer(), CollectorRegistry()
    async with sender_to(producer, registry=registry) as sender:
        sender.put(key(1), b"{}", NOW_MS)
        await settle()
        producer.answer()
        await settle()
        for number in range(2, 9):
            sender.put(key(number), b"{}", NOW_MS)
        await settle()
        producer.answer(OutOfOrderSequenceNumber())
        await sender.wait_for_change(5)
        with pytest.raises(UnsentError, match="OutOfOrderSequenceNumber") as caught:
            sender.raise_failure()
        assert "7 orders were not confirmed" in str(caught.value)
        assert f"first order_id {key(2).decode()}, last {key(8).decode()}" in str(caught.value)
        await settle()
        assert not producer.outstanding
    counted = totals(registry)
    assert counted.pop("delivery_errors_refused") >= 1
    assert counted == {"orders_sent": 1}


async def test_a_missing_permission_is_named() -> None:
    producer = FakeProducer()
    producer.refusals.append(TopicAuthorizationFailedError("orders"))
    async with sender_to(producer) as sender:
        sender.put(key(1), b"{}", NOW_MS)
        await settle()
        with pytest.raises(UnsentError) as caught:
            sender.raise_failure()
        assert "allow this client to write to topic 'orders'" in caught.value.advice


async def test_a_defect_is_not_reported_as_a_broker_error() -> None:
    producer = FakeProducer()
    producer.refusals.append(ZeroDivisionError())
    async with sender_to(producer) as sender:
        sender.put(key(1), b"{}", NOW_MS)
        await settle()
        with pytest.raises(ZeroDivisionError):
            sender.raise_failure()


async def test_the_pinned_client_never_expires_batches() -> None:
    producer = idempotent_producer("localhost:1")
    accumulator = producer._message_accumulator
    batch = accumulator._append_batch(accumulator.create_builder(), TopicPartition("orders", 0))
    assert batch._ttl == math.inf
    assert not batch.expired()
    await close_producer(producer)
