"""Bad input through a real Kafka and the real services."""

import gzip
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.util import calc_crc32c

from libs.events.topics import LATE_ORDERS, ORDERS, ORDERS_DLQ, PROCESSED_ORDERS, PRODUCT_METRICS
from libs.events.watermarks import ORDER_HEADERS, WATERMARK_HEADERS
from tests.fuzz.analytics import ProcessedOrders
from tests.fuzz.named_cases import named_cases, order_text
from tests.fuzz.oracle import may_be_accepted_by_lenient_parsers, processed_order, watermark
from tests.fuzz.orders import Orders
from tests.fuzz.records import PARTITIONS, RecordHeaders, any_record
from tests.integration.pipeline import Pipeline, history
from tests.integration.services import eventually
from verification.strict_json import NotAnObjectError

FUZZED = 6_000
GOOD = 1_200
FOREIGN = 2_000
MAX_BATCH_BYTES = 1_048_588  # the broker's default limit, which `orders` keeps


class Message(NamedTuple):
    """A record as a client sends it."""

    value: bytes | None
    key: bytes | None = None
    headers: RecordHeaders = ()


@pytest.fixture
def pipeline(kafka: str, topic_prefix: str, tmp_path: Path) -> Pipeline:
    return Pipeline(kafka, topic_prefix, tmp_path)


async def write(pipeline: Pipeline, topic: str, messages: Iterable[Message], **client: Any) -> None:
    """Send ``messages`` round-robin to the partitions of ``topic``, in batches and without retries."""
    producer = AIOKafkaProducer(bootstrap_servers=pipeline.kafka, max_request_size=2**28, **client)
    await producer.start()
    try:
        builders = {number: producer.create_batch() for number in range(PARTITIONS)}
        for number, message in enumerate(messages):
            partition = number % PARTITIONS
            fields: dict[str, Any] = {"key": message.key, "value": message.value, "headers": list(message.headers)}
            if builders[partition].append(timestamp=None, **fields) is None:
                await _deliver(producer, builders[partition], pipeline.prefix + topic, partition)
                builders[partition] = producer.create_batch()
                builders[partition].append(timestamp=None, **fields)
        for partition, builder in builders.items():
            if builder.record_count():
                await _deliver(producer, builder, pipeline.prefix + topic, partition)
    finally:
        await producer.stop()


async def write_unreadable_header_keys(pipeline: Pipeline, topic: str, value: bytes) -> None:
    """Send ``value`` to each partition of ``topic``, with a header whose key is not UTF-8."""
    producer = AIOKafkaProducer(bootstrap_servers=pipeline.kafka)
    await producer.start()
    try:
        for partition in range(PARTITIONS):
            builder = producer.create_batch()
            builder.append(timestamp=None, key=None, value=value, headers=[("abcd", b"")])
            builder.close()
            batch = bytearray(builder._builder.build()).replace(b"abcd", b"a\xff\xfed")
            batch[17:21] = calc_crc32c(bytes(batch[21:])).to_bytes(4)
            builder._buffer = bytes(batch)  # aiokafka's own interface accepts strings only
            await _deliver(producer, builder, pipeline.prefix + topic, partition)
    finally:
        await producer.stop()


async def _deliver(producer: AIOKafkaProducer, builder: BatchBuilder, topic: str, partition: int) -> None:
    await (await producer.send_batch(builder, topic, partition=partition))


def fuzzed(count: int, now_s: float, seed: int) -> list[Message]:
    random = Random(seed)
    orders = Orders(random, now_s)
    records = [any_record(random, orders.value(), number) for number in range(count)]
    return [Message(record.value, record.key, record.headers) for record in records]


def padded(name: str, time_s: float, size: int) -> bytes:
    value = order_text(name, time_s, padding='""')
    return value.replace(b'"padding":""', b'"padding":"' + b"x" * (size - len(value)) + b'"')


async def test_every_invalid_order_is_one_dead_letter_and_every_valid_one_is_processed(pipeline: Pipeline) -> None:
    pipeline.window_s = 3600
    pipeline.env["WINDOW_SECONDS"] = "3600"
    now_s = time.time() - 3 * 3600  # in the past, so that every window can close at once
    named = [Message(case.value, case.key, case.headers) for case in named_cases(now_s)]
    good = [Message(orjson.dumps(order)) for order in history(GOOD, 60, seed=3, end_s=now_s)]
    # A batch header has 61 bytes, and a record about 20 besides its value.
    largest = MAX_BATCH_BYTES - 100
    fitting = [Message(padded("fits", now_s, largest)), Message(padded("broken", now_s, largest)[:-1])]
    too_large = padded("too large", now_s, MAX_BATCH_BYTES)
    await pipeline.make_topics()
    async with AsyncExitStack() as stack:
        for service in ("processor", "processor", "analytics", "sink"):
            await stack.enter_async_context(pipeline.service(service))
        await write(pipeline, ORDERS.name, good)
        await write(pipeline, ORDERS.name, fuzzed(FUZZED // 2, now_s, seed=1))
        await write(pipeline, ORDERS.name, [*named, *fitting])
        await write_unreadable_header_keys(pipeline, ORDERS.name, order_text("unreadable header", now_s))
        for codec, value in ((None, too_large), ("gzip", too_large), ("gzip", b"{" * 20_000_000)):
            with pytest.raises(MessageSizeTooLargeError):
                await write(pipeline, ORDERS.name, [Message(value)], compression_type=codec)
        await write(pipeline, ORDERS.name, fuzzed(FUZZED // 2, now_s, seed=2), compression_type="gzip")
        report = await pipeline.verify()
    dead = sum(report.dead_letters.values())
    assert report.sent == report.processed + dead
    assert report.sent > 0.99 * FUZZED + len(named) + GOOD
    assert report.processed > GOOD
    assert dead > FUZZED / 2


def foreign_records(count: int) -> list[Message]:
    """Invalid orders and invalid watermarks; none could be accepted by a lenient parser."""
    random = Random(7)
    source = ProcessedOrders(random)
    found: list[Message] = []
    while len(found) < count:
        is_watermark = random.random() < 0.5
        value = source.watermark() if is_watermark else source.order()
        try:
            sound: object = watermark(value) if is_watermark else processed_order(value)
        except NotAnObjectError:
            sound = may_be_accepted_by_lenient_parsers(value)
        if not sound:
            headers = WATERMARK_HEADERS if is_watermark else ORDER_HEADERS
            found.append(Message(value, random.choice((None, b"", b"k", b"\xff")), tuple(headers)))
    return found


FOREIGN_WATERMARKS = (
    *(b'{"source":0,"sources":1000000000,"watermark":1}', b'{"source":-1,"sources":6,"watermark":1}'),
    *(b'{"source":0,"sources":0,"watermark":1}', b'{"source":6,"sources":6,"watermark":1}'),
    *(b'{"source":false,"sources":true,"watermark":1}', b'{"source":0.0,"sources":6.0,"watermark":1}'),
    *(b'{"source":0,"sources":6,"watermark":NaN}', b'{"source":0,"sources":6,"watermark":Infinity}'),
    *(b'{"source":0,"sources":6,"watermark":1e300}', b'{"source":0,"sources":6,"watermark":"1e9"}'),
    b'{"source":0,"sources":6,"watermark":' + b"[" * 1000 + b"]" * 1000 + b"}",
)
FOREIGN_ORDERS = (
    *(b'{"product_id":[],"amount":1,"timestamp":1}', b'{"product_id":5,"amount":1,"timestamp":1}'),
    *(b'{"product_id":"prod-1","amount":-1,"timestamp":1}', b'{"product_id":"prod-1","amount":1,"timestamp":1e300}'),
    b'{"product_id":"prod-1","timestamp":1,"amount":[' + b"0," * 400_000 + b"0]}",
)
FOREIGN_METRICS = (None, b"", b"{", b"[]", b"null", b"\xff", gzip.compress(b"{}"), b"{" * 100_000, b'{"a":1}}', b"NaN")


def orders_in(path: Path) -> tuple[int, int]:
    """The total orders and cents of the metrics in the file."""
    metrics = [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []
    return sum(each["order_count"] for each in metrics), sum(round(each["total_revenue"] * 100) for each in metrics)


def cents_in(orders: Iterable[Mapping[str, Any]]) -> int:
    return sum(round(order["amount"] * 100) for order in orders)


async def test_foreign_records_in_internal_topics_stop_no_service(pipeline: Pipeline) -> None:
    watermarks = [Message(value, None, tuple(WATERMARK_HEADERS)) for value in FOREIGN_WATERMARKS]
    orders = [Message(value, b"k", tuple(ORDER_HEADERS)) for value in FOREIGN_ORDERS]
    foreign = [*foreign_records(FOREIGN), *watermarks, *orders, Message(None)]
    await pipeline.make_topics()
    async with AsyncExitStack() as stack:
        for service in ("processor", "analytics", "sink"):
            await stack.enter_async_context(pipeline.service(service))
        first = history(GOOD, 1, seed=4)
        await write(pipeline, ORDERS.name, [Message(orjson.dumps(order)) for order in first])
        # Output records before the first commit would be taken for those of a pipeline that has lost its offsets.
        await eventually(lambda: pipeline.has_records(PROCESSED_ORDERS.name))
        await write(pipeline, PROCESSED_ORDERS.name, foreign)
        await write(pipeline, PRODUCT_METRICS.name, [Message(value) for value in FOREIGN_METRICS] * 10)
        for topic in (PROCESSED_ORDERS, PRODUCT_METRICS):
            await write_unreadable_header_keys(pipeline, topic.name, b"foreign")
        await eventually(lambda: pipeline.output.exists() and orders_in(pipeline.output)[0] > 0)
        second = history(GOOD, 1, seed=5)
        await write(pipeline, ORDERS.name, [Message(orjson.dumps(order)) for order in second])
        late: list[Mapping[str, Any]] = []

        async def all_counted() -> bool:
            late[:] = [orjson.loads(record.value or b"") for record in await pipeline.read(LATE_ORDERS.name)]
            return orders_in(pipeline.output)[0] + len(late) >= 2 * GOOD

        await eventually(all_counted)
        letters = await pipeline.read(ORDERS_DLQ.name)
    count, cents = orders_in(pipeline.output)
    assert (count + len(late), cents + cents_in(late)) == (2 * GOOD, cents_in([*first, *second]))
    foreign += [Message(b"foreign")] * PARTITIONS  # with unreadable headers
    assert Counter((each.key, each.value) for each in letters) == Counter((each.key, each.value) for each in foreign)
