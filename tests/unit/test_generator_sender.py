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
from libs.runtime.metrics import GeneratorMetrics, totals
from services.generator import order_sender
from services.generator.order_sender import OrderSender, UnsentError, idempotent_producer
from tests.unit.generator_fakes import FakeProducer, settle

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
    monotonic: Ticks | None = None,
    signs: list[int] | None = None,
    registry: CollectorRegistry | None = None,
) -> OrderSender:
    return OrderSender(
        cast("Any", producer),
        topic="orders",
        partitions=PARTITIONS,
        capacity=CAPACITY,
        on_confirmed=lambda: (signs if signs is not None else []).append(1),
        metrics=GeneratorMetrics(registry or CollectorRegistry(), Reason, CAPACITY),
        monotonic=monotonic or Ticks(),
    )


def key(number: int) -> bytes:
    return b"%032x" % number


async def test_records_arrive_once_and_in_order_while_new_ones_come_in() -> None:
    producer = FakeProducer()
    signs: list[int] = []
    sent: dict[int, list[bytes]] = {}
    async with sender_to(producer, signs=signs) as sender:
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
    assert signs


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
