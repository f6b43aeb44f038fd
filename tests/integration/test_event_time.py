"""Event-time windows: correct under lag and in any reading order, and closed when traffic stops."""

import asyncio
import time
from collections.abc import Iterable
from http import HTTPStatus
from random import Random

import orjson
from aiokafka import AIOKafkaProducer

from libs.events.topics import ORDERS, PROCESSED_ORDERS
from tests.integration.pipeline import Pipeline, history
from tests.integration.services import eventually
from watch.kafka_view import KafkaView
from watch.state import lags_of


async def test_a_backlog_read_partition_by_partition_is_complete(pipeline: Pipeline) -> None:
    """The reading order in which stream time with a grace period loses most: 20 minutes of history, partition by partition."""
    await pipeline.make_topics()
    orders = history(45_000, span_s=1200, seed=1)
    spread: list[list[bytes]] = [[] for _ in range(6)]
    for number, order in enumerate(orders):
        spread[Random(number).randrange(6)].append(orjson.dumps(order))
    await pipeline.send(enumerate(spread))
    async with pipeline.service("analytics"), pipeline.service("analytics"), pipeline.service("sink"):
        for partition in (3, 0, 5, 1, 4, 2):
            await pipeline.process_partition_alone(partition)
        async with pipeline.service("processor"):
            report = await pipeline.verify()
    assert report.accepted == report.in_closed_windows == len(orders)
    assert report.late == 0


async def test_the_last_windows_close_without_any_traffic(pipeline: Pipeline) -> None:
    await pipeline.make_topics()
    async with pipeline.service("processor"), pipeline.service("analytics"), pipeline.service("sink"):
        await pipeline.send([(0, [orjson.dumps(order) for order in history(10, span_s=1, seed=2)])])
        report = await pipeline.verify()
    assert report.in_closed_windows == 10


async def test_the_last_windows_close_after_a_sender_has_aborted_its_last_transaction(pipeline: Pipeline) -> None:
    """A fetch of the partition's end then has no record for aiokafka to return, only the consumer's position advances."""
    await pipeline.make_topics()
    orders = [orjson.dumps(order) for order in history(11, span_s=1, seed=6)]
    async with pipeline.service("processor") as processor, pipeline.service("analytics"), pipeline.service("sink"):
        await pipeline.send([(0, orders[:10])])
        await eventually(
            lambda: pipeline.has_records(PROCESSED_ORDERS.name), what="the orders are fetched before the others"
        )
        await send_and_abort(pipeline, orders[10], partitions=[0])
        report = await pipeline.verify()
        assert (await processor.health())[0] == HTTPStatus.OK
    assert report.in_closed_windows == 10


async def test_aborted_records_are_not_counted_as_lag(pipeline: Pipeline) -> None:
    """Otherwise a drain, for which the generator is stopped, would wait for it without end."""
    await pipeline.make_topics()
    order, last = (orjson.dumps(order) for order in history(2, span_s=1, seed=8))

    async def is_drained() -> bool:
        async with KafkaView(pipeline.kafka, pipeline.prefix, {}) as view:
            return not any(lags_of(await view.look(), ORDERS.name).values())

    async with pipeline.service("processor"), pipeline.service("analytics"), pipeline.service("sink"):
        await pipeline.send([(0, [order])])
        await pipeline.verify()
        await send_and_abort(pipeline, last, partitions=[0, 1, 2])
        await eventually(is_drained, what="no lag is left")


async def send_and_abort(pipeline: Pipeline, order: bytes, partitions: Iterable[int]) -> None:
    """Write ``order`` into each of ``partitions`` in a transaction, and abort it."""
    sender = AIOKafkaProducer(bootstrap_servers=pipeline.kafka, transactional_id=f"{pipeline.prefix}sender")
    await sender.start()
    try:
        await sender.begin_transaction()
        for partition in partitions:
            await sender.send_and_wait(pipeline.prefix + ORDERS.name, order, partition=partition)
        await sender.abort_transaction()
    finally:
        await sender.stop()


async def test_windows_close_while_a_partition_gets_nothing_but_dead_letters(pipeline: Pipeline) -> None:
    await pipeline.make_topics()
    orders = [orjson.dumps(order) for order in history(10, span_s=1, seed=7)]
    verified = asyncio.Event()

    async def send_dead_letters() -> None:
        while not verified.is_set():
            await pipeline.send([(3, [b"no order"])])
            await asyncio.sleep(0.2)

    async with pipeline.service("processor"), pipeline.service("analytics"), pipeline.service("sink"):
        await pipeline.send([(0, orders)])
        sending = asyncio.create_task(send_dead_letters())
        try:
            report = await pipeline.verify()
        finally:
            verified.set()  # a producer that is cancelled while it starts leaves its connection open
            await sending
    assert report.in_closed_windows == 10


async def test_an_idle_pipeline_that_has_never_had_an_order_accepts_old_orders(pipeline: Pipeline) -> None:
    await pipeline.make_topics()
    async with pipeline.service("processor") as processor, pipeline.service("analytics"), pipeline.service("sink"):
        await processor.wait_for("partition started")
        await asyncio.sleep(4)  # twice IDLE_AFTER_SECONDS: long enough for a wrong watermark
        orders = [orjson.dumps(order) for order in history(1000, span_s=7200, seed=3)]
        await pipeline.send((partition, orders[partition::6]) for partition in range(6))
        report = await pipeline.verify()
    assert report.late == 0


async def test_an_order_for_a_closed_window_is_stored_and_counted_as_late(pipeline: Pipeline) -> None:
    await pipeline.make_topics()
    async with pipeline.service("processor"), pipeline.service("analytics"), pipeline.service("sink"):
        first, *rest = history(10, span_s=1, seed=4)
        await pipeline.send([(0, [orjson.dumps(order) for order in rest])])
        await pipeline.verify()
        await pipeline.send([(3, [orjson.dumps(first | {"timestamp": time.time() - 600})])])
        report = await pipeline.verify()
    assert report.late == 1
    assert report.in_closed_windows == 9


async def test_orders_of_other_clients_are_processed(pipeline: Pipeline) -> None:
    """Any partition, any spacing, any field order, and extra fields, none of which replaces ours."""
    await pipeline.make_topics()
    random = Random(5)
    values: list[bytes] = []
    for order in history(300, span_s=20, seed=5):
        extra = {
            "coupon": "SPRING:1",
            "nested": {"product_name": [1, {"a": None}]},
            "product_name": "Evil",
            "category": 7,
            "ünï": "\N{SNOWMAN}",
        }
        fields = [*order.items(), *random.sample(sorted(extra.items()), random.randrange(4))]
        random.shuffle(fields)
        text = orjson.dumps(dict(fields), option=random.choice([0, orjson.OPT_INDENT_2]))
        values.append(random.choice([b"", b" ", b"\n\t"]) + text + random.choice([b"", b" \r\n"]))
    await pipeline.send((partition, values[partition::6]) for partition in range(6))
    async with pipeline.service("processor"), pipeline.service("analytics"), pipeline.service("sink"):
        report = await pipeline.verify()
    assert report.in_closed_windows == len(values)
