"""A broker that has left out markers of complete transactions: a replica writes them, or `pipeline complete-transactions`."""

import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition

from dead_letters.commands import Pipeline as LetterPipeline
from dead_letters.commands import plan_replay, replay
from dead_letters.replay_marks import ReplayMark, encode_mark
from dead_letters.selection import Selection
from libs.events.dead_letters import Reason
from libs.events.topics import DEAD_LETTERS_REPLAYED, ORDERS
from libs.runtime.errors import PipelineError
from libs.runtime.kafka_security.security import KafkaAddress
from libs.runtime.transactions.connection import BrokerConnection
from libs.runtime.transactions.producer import TransactionalProducer
from libs.runtime.transactions.record_batches import OutputBuffer
from local.broker import LocalBroker
from tests.integration.command_line import run_command
from tests.integration.dead_letters import letter, output_of, write_letters
from tests.integration.pipeline import Pipeline, no_member
from tests.unit.driver import order
from verification import topic_reader

OUTPUT, DEAD_LETTERS = "processed-orders", "orders-dlq"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBroker]:
    """A broker that lets a producer write into a partition that it has not added to its transaction: no marker ends that."""
    directory = tmp_path_factory.mktemp("broker")
    with LocalBroker(directory, more_properties={"transaction.partition.verification.enable": "false"}) as broker:
        yield broker


@pytest.fixture
async def pipeline(broker: LocalBroker, tmp_path: Path) -> Pipeline:
    pipeline = Pipeline(broker.bootstrap_servers, f"{tmp_path.name}-", tmp_path)
    await pipeline.make_topics()
    return pipeline


@pytest.fixture
async def connection(pipeline: Pipeline) -> AsyncIterator[BrokerConnection]:
    topics = [pipeline.prefix + OUTPUT, pipeline.prefix + DEAD_LETTERS]
    connection = await BrokerConnection.open(KafkaAddress(pipeline.kafka), topics)
    yield connection
    await connection.close()


async def leave_out_a_marker(
    connection: BrokerConnection,
    pipeline: Pipeline,
    transactional_id: str,
    partition: int,
    *,
    commit: bool,
    offset: int | None = None,
) -> None:
    """A complete transaction with a record in this partition of the dead letters and in the output, and a marker only there.

    ``offset``, of the same partition of `orders`, has no marker either.
    """
    producer = TransactionalProducer(connection, transactional_id, pipeline.prefix)
    await producer.start()
    buffer = OutputBuffer({OUTPUT: 6, DEAD_LETTERS: 6})
    for topic in (OUTPUT, DEAD_LETTERS):
        buffer.send(topic, partition, None, b"in the transaction", int(time.time() * 1000), [])
    batches = {
        TopicPartition(pipeline.prefix + topic, number): made for (topic, number), made in buffer.batches().items()
    }
    await producer.add_partitions(TopicPartition(pipeline.prefix + OUTPUT, number) for _, number in buffer.batches())
    await producer.produce(batches)
    if offset is not None:
        source = TopicPartition(pipeline.prefix + ORDERS.name, partition)
        await producer._commit_offsets({source: offset}, no_member(pipeline.prefix + "processor"))
    await producer.end(commit=commit)


async def committed_records(pipeline: Pipeline, partition: int) -> list[bytes | None]:
    """The values that a reader of committed records gets from this partition of the dead letters."""
    dead_letters = TopicPartition(pipeline.prefix + DEAD_LETTERS, partition)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=pipeline.kafka, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    async with consumer:
        consumer.assign([dead_letters])
        end = (await consumer.end_offsets([dead_letters]))[dead_letters]
        values: list[bytes | None] = []
        while await consumer.position(dead_letters) < end:
            fetched = await consumer.getmany(timeout_ms=1000)
            values += [record.value for records in fetched.values() for record in records]
        return values


async def test_a_committed_transaction_without_its_marker_is_completed_and_no_other(
    pipeline: Pipeline, connection: BrokerConnection
) -> None:
    committed, aborted, foreign, of_replay = 1, 2, 3, 4
    await leave_out_a_marker(connection, pipeline, f"{pipeline.prefix}processor-1-member-0", committed, commit=True)
    await leave_out_a_marker(connection, pipeline, f"{pipeline.prefix}processor-1-member-1", aborted, commit=False)
    await leave_out_a_marker(connection, pipeline, "of-another-program", foreign, commit=True)
    await leave_out_a_marker(connection, pipeline, f"{pipeline.prefix}dead-letters-replay", of_replay, commit=True)
    async with AIOKafkaProducer(bootstrap_servers=pipeline.kafka) as later:
        for partition in (committed, aborted, foreign, of_replay):
            await later.send_and_wait(pipeline.prefix + DEAD_LETTERS, b"later", partition=partition)
    assert await committed_records(pipeline, committed) == []

    exit_code, report, _ = await run_command(pipeline, "doctor", "--json")
    assert exit_code == 1
    found = {
        finding["message"].partition(f" of {pipeline.prefix}")[0][-1]: finding
        for finding in json.loads(report)["findings"]
        if finding["subject"] == "transactions"
    }
    assert found.keys() == {"1", "2", "3", "4"}
    assert {finding["level"] for finding in found.values()} == {"problem"}
    for number, completed in (("1", True), ("2", False), ("3", False), ("4", True)):
        assert ("`pipeline complete-transactions` writes it" in found[number]["advice"]) is completed
        assert ("kafka-transactions.sh abort" in found[number]["advice"]) is not completed

    exit_code, text, _ = await run_command(pipeline, "complete-transactions")
    assert exit_code == 1
    name = pipeline.prefix + DEAD_LETTERS
    assert sorted(text.splitlines()) == [
        f"partition 1 of {name}, from offset 0: committed",
        f"partition 2 of {name}, from offset 0: nothing was done: its coordinator does not say that it was committed",
        f"partition 3 of {name}, from offset 0: nothing was done: it is no transaction of this pipeline",
        f"partition 4 of {name}, from offset 0: committed",
    ]
    for partition in (committed, of_replay):
        assert await committed_records(pipeline, partition) == [b"in the transaction", b"later"]
    assert await committed_records(pipeline, aborted) == await committed_records(pipeline, foreign) == []


async def test_a_replica_completes_what_its_predecessor_has_committed(
    pipeline: Pipeline, connection: BrokerConnection
) -> None:
    await pipeline.send([(1, [orjson.dumps(order(number)) for number in range(5)])])
    predecessor = f"{pipeline.prefix}processor-0-member-0"
    await leave_out_a_marker(connection, pipeline, predecessor, 1, commit=True, offset=3)
    assert await committed_records(pipeline, 1) == []
    # The offset is that of no member, which the processor would refuse.
    async with pipeline.service("processor", PROCESSOR_ACCEPT_OFFSETS="true") as processor:
        started = await processor.wait_for("partition started", partition=f"{pipeline.prefix}{ORDERS.name}-1")
    assert started["offset"] == 3
    assert await committed_records(pipeline, 1) == [b"in the transaction"]


async def test_a_replay_waits_for_the_marker_of_an_earlier_one(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hides marks behind it, so that their letters would be replayed twice."""
    monkeypatch.setattr(topic_reader, "_STUCK_AFTER_S", 2.0)
    where, everything = LetterPipeline(KafkaAddress(pipeline.kafka), pipeline.prefix, 5), Selection()
    first, second = (letter(pipeline, b"no JSON", Reason.MALFORMED, key=b"one partition", offset=n) for n in (1, 2))
    await write_letters(pipeline, [first])
    assert "replayed 1" in await output_of(pipeline, "replay", "--all", "--yes")
    await write_letters(pipeline, [second])
    _, ends = await plan_replay(where, everything, lambda _: None)
    marks = TopicPartition(pipeline.prefix + DEAD_LETTERS_REPLAYED.name, first.partition)
    orders = TopicPartition(pipeline.prefix + ORDERS.name, 0)
    connection = await BrokerConnection.open(KafkaAddress(pipeline.kafka), [marks.topic, orders.topic])
    try:
        producer = TransactionalProducer(connection, f"{pipeline.prefix}dead-letters-replay", "")
        await producer.start()
        buffer = OutputBuffer({})
        for topic, number in (marks, orders):
            # A mark of no letter.
            buffer.send(topic, number, b"0/999", encode_mark(ReplayMark(0, 0.0, 0, 0)), int(time.time() * 1000), [])
        await producer.add_partitions([orders])
        await producer.produce({TopicPartition(*target): made for target, made in buffer.batches().items()})
        await producer.end(commit=True)
    finally:
        await connection.close()
    for _ in range(2):
        with pytest.raises(PipelineError, match=f"of an earlier replay, in {marks.topic}-{marks.partition}"):
            await replay(where, everything, ends, 1, lambda _: None)
        with pytest.raises(PipelineError, match=f"a transaction in {marks.topic} stays open"):
            await plan_replay(where, everything, lambda _: None)
    exit_code, text, _ = await run_command(pipeline, "complete-transactions")
    assert (exit_code, text) == (0, f"partition {marks.partition} of {marks.topic}, from offset 2: committed\n")
    assert "replayed 1" in await output_of(pipeline, "replay", "--all", "--yes")
    assert "2 replayed before: skipped" in await output_of(pipeline, "replay", "--all", "--yes")
