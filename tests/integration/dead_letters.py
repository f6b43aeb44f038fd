"""Runs `pipeline dead-letters` as a process, and writes dead letters directly into `orders-dlq`."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer

from libs.events.dead_letters import Reason, RejectedError, dead_letter_headers
from libs.events.topics import ORDERS_DLQ
from libs.runtime.kafka_client.partitioning import partition_for
from tests.integration.command_line import PreloadedCommand
from tests.integration.pipeline import Pipeline
from tests.unit.driver import FakeRecord

ONE_LETTER_PER_TRANSACTION = {("dead_letters.replay", "LETTERS_PER_TRANSACTION"): 1}


def start_command(pipeline: Pipeline, command: str, *arguments: str, slowly: bool = False) -> PreloadedCommand:
    """Start `pipeline dead-letters`."""
    where = [f"--bootstrap={pipeline.kafka}", f"--topic-prefix={pipeline.prefix}", "--window-seconds=5"]
    constants = ONE_LETTER_PER_TRANSACTION if slowly else {}
    return PreloadedCommand(pipeline.directory, "dead-letters", command, *where, *arguments, constants=constants)


async def output_of(pipeline: Pipeline, *arguments: str) -> str:
    code, out, err = await start_command(pipeline, *arguments).communicate()
    assert code == 0, err
    return out


async def reasons(pipeline: Pipeline) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(await output_of(pipeline, "list", "--json"))["reasons"]
    return found


async def replayed_from(pipeline: Pipeline) -> Counter[str]:
    """How often each letter is in `orders`."""
    return Counter(
        (dict(record.headers)["replayed.from"] or b"").decode().removeprefix(f"{pipeline.prefix}orders-dlq/")
        for record in await pipeline.read("orders")
        if record.headers
    )


def letter(pipeline: Pipeline, value: bytes | None, reason: Reason, **source: Any) -> FakeRecord:
    """A record of `orders` that becomes a dead letter, and the headers of its letter."""
    record = FakeRecord(value, **({"topic": pipeline.prefix + "orders"} | source))
    headers = tuple(
        dead_letter_headers(
            record.topic, record.partition, record.offset, RejectedError(reason, "as the test wants it")
        )
    )
    # A time of today: the broker deletes records beyond their retention.
    now_ms = int(time.time() * 1000)
    return FakeRecord(value, record.key, headers, partition=partition_for(record.key, 6), timestamp=now_ms)


async def write_letters(pipeline: Pipeline, letters: Sequence[FakeRecord]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=pipeline.kafka, max_request_size=4 * 1024 * 1024)
    await producer.start()
    try:
        topic = pipeline.prefix + ORDERS_DLQ.name
        deliveries = []
        for each in letters:
            batch = producer.create_batch()  # send() rejects a record without key and value
            batch.append(timestamp=each.timestamp, key=each.key, value=each.value, headers=[*each.headers])
            deliveries.append(await producer.send_batch(batch, topic, partition=each.partition))
        await asyncio.gather(*deliveries)
    finally:
        await producer.stop()


def many_letters(pipeline: Pipeline, count: int) -> list[FakeRecord]:
    return [
        letter(
            pipeline, b"no JSON %d" % number, Reason.MALFORMED, key=b"%d" % number, partition=number % 6, offset=number
        )
        for number in range(count)
    ]


def order(**fields: object) -> bytes:
    valid = {"order_id": "o", "user_id": "u", "product_id": "prod-1", "amount": 12.5, "timestamp": time.time()}
    return orjson.dumps(valid | fields)
