"""A broker that has left out markers of complete transactions: a replica writes them, or `pipeline complete-transactions`."""

import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition

from libs.events.topics import ORDERS
from libs.runtime.kafka_security.security import KafkaAddress
from libs.runtime.transactions.connection import BrokerConnection
from libs.runtime.transactions.producer import TransactionalProducer
from libs.runtime.transactions.record_batches import OutputBuffer
from local.broker import LocalBroker
from tests.integration.command_line import run_command
from tests.integration.pipeline import Pipeline, no_member
from tests.unit.driver import order

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
    committed, aborted, foreign = 1, 2, 3
    await leave_out_a_marker(connection, pipeline, f"{pipeline.prefix}processor-1-member-0", committed, commit=True)
    await leave_out_a_marker(connection, pipeline, f"{pipeline.prefix}processor-1-member-1", aborted, commit=False)
    await leave_out_a_marker(connection, pipeline, "of-another-program", foreign, commit=True)
    async with AIOKafkaProducer(bootstrap_servers=pipeline.kafka) as later:
        for partition in (committed, aborted, foreign):
            await later.send_and_wait(pipeline.prefix + DEAD_LETTERS, b"later", partition=partition)
    assert await committed_records(pipeline, committed) == []

    exit_code, report, _ = await run_command(pipeline, "doctor", "--json")
    assert exit_code == 1
    found = {
        finding["message"].partition(f" of {pipeline.prefix}")[0][-1]: finding
        for finding in json.loads(report)["findings"]
        if finding["subject"] == "transactions"
    }
    assert found.keys() == {"1", "2", "3"}
    assert {finding["level"] for finding in found.values()} == {"problem"}
    assert "`pipeline complete-transactions` writes it" in found["1"]["advice"]
    assert "kafka-transactions.sh abort" not in found["1"]["advice"]
    assert "kafka-transactions.sh abort" in found["2"]["advice"]

    exit_code, text, _ = await run_command(pipeline, "complete-transactions")
    assert exit_code == 1
    name = pipeline.prefix + DEAD_LETTERS
    assert sorted(text.splitlines()) == [
        f"partition 1 of {name}, from offset 0: committed",
        f"partition 2 of {name}, from offset 0: nothing was done: its coordinator does not say that it was committed",
        f"partition 3 of {name}, from offset 0: nothing was done: it is no transaction of the processor or the analytics",
    ]
    assert await committed_records(pipeline, committed) == [b"in the transaction", b"later"]
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
