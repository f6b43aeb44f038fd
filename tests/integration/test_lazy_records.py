"""The consumer of lazy records, which uses internals of the pinned aiokafka, reads the same as aiokafka's own."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from itertools import chain, cycle
from pathlib import Path
from random import Random
from typing import Any

import aiokafka
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.structs import ConsumerRecord, TopicPartition

from libs.runtime.kafka_client import lazy_records
from libs.runtime.kafka_client.consumers import FETCH_BYTES, FETCH_MAX_BYTES, consumer_arguments
from libs.runtime.kafka_client.header_keys import AnyHeaderConsumer
from libs.runtime.kafka_client.lazy_records import SUPPORTED_AIOKAFKA, LazyRecordConsumer, in_batches
from libs.runtime.kafka_client.stage_consumer import StageConsumer
from tests.integration.pipeline import Pipeline

RECORDS = 3000


def test_the_pinned_aiokafka_version_is_the_supported_one() -> None:
    assert aiokafka.__version__ == SUPPORTED_AIOKAFKA, (
        "check that lazy_records still matches aiokafka, then raise SUPPORTED_AIOKAFKA"
    )


async def test_it_reads_the_same_records_as_aiokafkas_consumer(
    kafka: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = Pipeline(kafka, topic_prefix, tmp_path)
    await pipeline.make_topics()
    partition = TopicPartition(f"{topic_prefix}processed-orders", 0)
    producer = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=f"{topic_prefix}t", max_batch_size=10_000)
    await producer.start()
    random, number = Random(7), 0
    while number < RECORDS:
        await producer.begin_transaction()
        for _ in range(random.randrange(1, 400)):
            number += 1
            key, value = random.choice((None, b"", b"key")), random.choice((b"", b"v" * random.randrange(300)))
            headers = [("type", b"order"), ("none", None)][: random.randrange(3)]
            await producer.send(partition.topic, value, key=key, partition=0, timestamp_ms=number, headers=headers)
        await (producer.abort_transaction() if random.random() < 0.3 else producer.commit_transaction())
    await producer.stop()

    expected, plain = await read(pipeline, partition, AnyHeaderConsumer)
    paced = partial(StageConsumer, fetches_apart_s=0.01)
    found, lazy = await read(pipeline, partition, LazyRecordConsumer)
    assert len(found) > RECORDS / 2
    assert found == expected
    assert plain == {ConsumerRecord}
    assert ConsumerRecord not in lazy

    assert (await read(pipeline, partition, paced))[0] == expected
    assert (await read(pipeline, partition, paced, fetch_bytes=2 * FETCH_MAX_BYTES))[0] == expected

    monkeypatch.setattr(lazy_records, "SUPPORTED_AIOKAFKA", "another")
    assert await read(pipeline, partition, LazyRecordConsumer) == (expected, plain)
    assert await read(pipeline, partition, paced) == (expected, plain)


async def read(
    pipeline: Pipeline,
    partition: TopicPartition,
    kind: Callable[..., AnyHeaderConsumer],
    fetch_bytes: int = FETCH_BYTES,
) -> tuple[list[tuple[Any, ...]], set[type]]:
    """The content of each record, and the types of the records; reading begins in the middle of a batch."""
    consumer = kind(**consumer_arguments(pipeline.settings(), group=None, fetch_bytes=fetch_bytes))
    await consumer.start()
    try:
        consumer.assign([partition])
        consumer.seek(partition, 5)
        end = (await consumer.end_offsets([partition]))[partition]
        records: list[Any] = []
        while await consumer.position(partition) < end:
            fetched = (await consumer.getmany(partition, timeout_ms=200)).get(partition, ())
            records += chain.from_iterable(in_batches(fetched, 70))
    finally:
        await consumer.stop()
    fields = [(r.offset, r.timestamp, r.timestamp_type, r.key, r.value, tuple(r.headers)) for r in records]
    return fields, {type(record) for record in records}


async def test_records_that_come_one_by_one_are_fetched_at_intervals(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    apart_s, rounds = 0.3, 5
    pipeline = Pipeline(kafka, topic_prefix, tmp_path)
    await pipeline.make_topics()
    partition = TopicPartition(f"{topic_prefix}orders", 0)
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    consumer = StageConsumer(fetches_apart_s=apart_s, **consumer_arguments(pipeline.settings(), group=None))
    await producer.start()
    await consumer.start()
    try:
        consumer.assign([partition])
        began_s = time.monotonic()
        for number in range(rounds):
            await producer.send_and_wait(partition.topic, b"%d" % number, partition=0)
            while await consumer.position(partition) <= number:
                for fetched in (await consumer.getmany(partition, timeout_ms=200)).values():
                    assert [record.value for record in chain.from_iterable(in_batches(fetched, 1))] == [b"%d" % number]
        # The first two fetches may begin before the first record is sent.
        assert time.monotonic() - began_s >= (rounds - 2) * apart_s
    finally:
        await consumer.stop()
        await producer.stop()


async def test_a_backlog_is_fetched_in_turns_and_does_not_delay_another_partition(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    """Two partitions at a time, 15 records of each; the sixth partition's only record comes while they are read."""
    count, value = 30, b"v" * 100_000
    pipeline = Pipeline(kafka, topic_prefix, tmp_path)
    await pipeline.make_topics()
    *backlogs, quiet = [TopicPartition(f"{topic_prefix}orders", number) for number in range(6)]
    arguments = consumer_arguments(pipeline.settings(), group=None)
    consumer = StageConsumer(fetches_apart_s=0.0, independent_partitions=True, **arguments)
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    await consumer.start()
    try:
        for topic, number in backlogs:
            await asyncio.gather(*[await producer.send(topic, value, partition=number) for _ in range(count)])
        consumer.assign([*backlogs, quiet])
        await consumer.seek_to_beginning()
        responses: list[dict[TopicPartition, list[int]]] = []
        while sum(len(offsets) for response in responses for offsets in response.values()) <= count * len(backlogs):
            fetched = await consumer.getmany(timeout_ms=200)
            responses.append(
                {
                    key: [record.offset for batch in in_batches(some, 50) for record in batch]
                    for key, some in fetched.items()
                }
            )
            if len(responses) == 1:
                await producer.send_and_wait(quiet.topic, b"here", partition=quiet.partition)
    finally:
        await consumer.stop()
        await producer.stop()
    for partition in backlogs:
        assert list(chain.from_iterable(each.get(partition, []) for each in responses)) == list(range(count))
    # The first fetch cannot know where there is a backlog.
    assert max(len(response.keys() - {quiet}) for response in responses[1:]) == 2
    assert quiet in set().union(*responses[:-1])


async def test_a_batch_larger_than_a_share_is_read_while_other_partitions_always_have_new_records(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    """A broker leaves such a batch out of a response that has records of another partition already (KIP-74)."""
    pipeline = Pipeline(kafka, topic_prefix, tmp_path)
    await pipeline.make_topics()
    *others, large = [TopicPartition(f"{topic_prefix}orders", number) for number in range(6)]
    arguments = consumer_arguments(pipeline.settings(), group=None, fetch_bytes=FETCH_BYTES // 2)
    consumer = StageConsumer(fetches_apart_s=0.07, **arguments)
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    await consumer.start()

    async def send_to_the_others() -> None:
        for topic, number in cycle(others):
            await producer.send(topic, b"v" * 300, partition=number)
            await asyncio.sleep(0.003)

    sending = asyncio.create_task(send_to_the_others())
    try:
        consumer.assign([*others, large])
        await consumer.seek_to_beginning()
        responses = 0
        while await consumer.position(large) == 0:
            if responses == 20:
                await producer.send_and_wait(large.topic, b"v" * FETCH_BYTES, partition=large.partition)
            responses += bool(await consumer.getmany(timeout_ms=200))
            assert responses < 300, "300 responses, none of which had the large batch"
    finally:
        sending.cancel()
        await asyncio.wait({sending})
        await consumer.stop()
        await producer.stop()
