"""The generator against a real broker: its orders are in ``orders`` once and in order."""

import time
from itertools import pairwise
from pathlib import Path

import orjson
from aiokafka import AIOKafkaConsumer, ConsumerRecord

from libs.events.dead_letters import Reason
from libs.runtime.kafka_client.partitioning import partition_for
from services.generator.faults import KINDS
from services.generator.generator_settings import parse_faults, parse_rate
from services.generator.order_stream import OrderStream
from tests.integration.services import ServiceProcess, eventually

PARTITIONS = 6

Orders = dict[int, list["ConsumerRecord[bytes, bytes]"]]


async def read_orders(kafka: str, topic_prefix: str) -> Orders:
    """All records of ``orders``, by partition."""
    consumer = AIOKafkaConsumer(
        f"{topic_prefix}orders", bootstrap_servers=kafka, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        found: Orders = {}
        while any(len(found.get(tp.partition, ())) < end for tp, end in ends.items()):
            for tp, records in (await consumer.getmany(timeout_ms=1000)).items():
                found.setdefault(tp.partition, []).extend(records)
        return found
    finally:
        await consumer.stop()


def values(orders: Orders) -> dict[int, list[tuple[bytes | None, bytes | None]]]:
    return {partition: [(record.key, record.value) for record in records] for partition, records in orders.items()}


async def expected_values(
    generator: ServiceProcess, count: int
) -> tuple[dict[int, list[tuple[bytes | None, bytes | None]]], set[Reason | None]]:
    """The expected records for the settings that ``generator`` has logged, and the kinds of faults among them."""
    started = await generator.wait_for("generation starts")
    start_s = started["event_time_starts"]
    stream = OrderStream(
        rate=parse_rate(started["rate"]),
        faults=parse_faults(started["faults"]),
        seed=started["seed"],
        start_ms=round(start_s * 1000),
        now_s=start_s,
    )
    records = [stream.take() for _ in range(count)]
    by_partition: dict[int, list[tuple[bytes | None, bytes | None]]] = {}
    for record in records:
        by_partition.setdefault(partition_for(record.key, PARTITIONS), []).append((record.key, record.value))
    return by_partition, {record.fault for record in records}


async def test_it_sends_its_count_including_faulty_orders_and_exits(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    env = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "TOPIC_PREFIX": topic_prefix,
        "GENERATOR_RATE": "200-400",
        "GENERATOR_COUNT": "300",
        "GENERATOR_SEED": "1",
        "GENERATOR_FAULTS": "0.4",
    }
    before_ms = time.time() * 1000
    async with ServiceProcess("generator", tmp_path, env) as generator:
        assert await generator.wait() == 0
        orders = await read_orders(kafka, topic_prefix)
        wanted, faults = await expected_values(generator, 300)
        assert values(orders) == wanted
        assert faults == {None, *KINDS}
        assert all(
            before_ms <= record.timestamp <= time.time() * 1000 for records in orders.values() for record in records
        )
        finished = await generator.wait_for("all orders sent")
        assert finished["sent"] == 300


async def test_after_its_count_it_waits_for_a_stop_where_exiting_would_restart_it(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    env = {"KAFKA_BOOTSTRAP_SERVERS": kafka, "TOPIC_PREFIX": topic_prefix, "GENERATOR_RESTART": "unless-stopped"}
    async with ServiceProcess("generator", tmp_path, env, "--generator-count", "5") as generator:
        await generator.wait_for("waiting to be stopped")
        await generator.healthy()
        generator.terminate()
        assert await generator.wait() == 0
    assert sum(map(len, (await read_orders(kafka, topic_prefix)).values())) == 5


async def test_sigterm_loses_no_generated_order(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    env = {"KAFKA_BOOTSTRAP_SERVERS": kafka, "TOPIC_PREFIX": topic_prefix}
    async with ServiceProcess("generator", tmp_path, env, "--generator-rate", "2000") as generator:
        await generator.wait_for("generation starts")

        async def flowing() -> bool:
            return sum(map(len, (await read_orders(kafka, topic_prefix)).values())) > 1000

        await eventually(flowing)
        await generator.healthy()
        sent = await generator.all_sent()
        wanted, _ = await expected_values(generator, sent)
        assert values(await read_orders(kafka, topic_prefix)) == wanted


async def test_a_backfill_is_in_order(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    env = {"KAFKA_BOOTSTRAP_SERVERS": kafka, "TOPIC_PREFIX": topic_prefix}
    flags = ["--generator-backfill-seconds", "86400", "--generator-count", "50000"]
    async with ServiceProcess("generator", tmp_path, env, *flags) as generator:
        assert await generator.wait() == 0
    orders = await read_orders(kafka, topic_prefix)
    assert len({record.key for records in orders.values() for record in records}) == 50_000
    begin_s = time.time() - 86_400 - 60
    for records in orders.values():
        times_s = [orjson.loads(record.value or b"")["timestamp"] for record in records]
        assert all(earlier <= later for earlier, later in pairwise(times_s))
        assert begin_s < times_s[0] < times_s[-1] < time.time()


async def test_after_a_backfill_it_continues_live(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    env = {"KAFKA_BOOTSTRAP_SERVERS": kafka, "TOPIC_PREFIX": topic_prefix, "GENERATOR_RATE": "50"}
    flags = ["--generator-backfill-seconds", "20", "--generator-count", "1300"]  # 26 s of traffic, give or take one
    async with ServiceProcess("generator", tmp_path, env, *flags) as generator:
        assert await generator.wait() == 0
        live_from_s = (await generator.wait_for("generation starts"))["event_time_starts"] + 20
    orders = await read_orders(kafka, topic_prefix)
    sent_and_due_s = [
        (record.timestamp / 1000, orjson.loads(record.value or b"")["timestamp"])
        for records in orders.values()
        for record in records
    ]
    assert min(due_s for _, due_s in sent_and_due_s) < live_from_s - 15
    assert max(due_s for _, due_s in sent_and_due_s) > live_from_s
    # No order is sent before it is due. (The record's timestamp is truncated to whole milliseconds.)
    assert all(sent_s > due_s - 0.001 for sent_s, due_s in sent_and_due_s)
