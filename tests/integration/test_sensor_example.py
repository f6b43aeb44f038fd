"""examples/sensor_readings.py on a real broker: exact, even if replicas are killed."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import NamedTuple

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from tests.integration.pipeline import Pipeline
from tests.integration.services import ROOT, ServiceProcess, eventually

PARTITIONS = 3
WINDOW_MS = 60_000
OUT_OF_ORDER_MS = 5_000
READINGS = 30_000
KILLED = (0, 1, 0)


class Reading(NamedTuple):
    """``time_ms`` is None for an invalid reading."""

    key: bytes | None
    value: bytes
    time_ms: int | None = None
    millidegrees: int = 0


def some_readings(random: Random, start_ms: int, end_ms: int, count: int) -> list[Reading]:
    """Times go from start to end, each up to 9 s out of order, so that some are late; one in fifty is invalid."""
    broken = (
        Reading(b"boiler-0", b"{"),
        Reading(b"boiler-0", b'{"deep":' + b"[" * 5_000),
        Reading(None, b'{"time_ms": 1, "millidegrees": 2}'),
        Reading(b"boiler-0", b'{"time_ms": 1, "millidegrees": "2"}'),
        Reading(b"boiler-0", orjson.dumps({"time_ms": end_ms + 3_600_000, "millidegrees": 2})),
        Reading(b"\xff", b'{"time_ms": 1, "millidegrees": 2}'),
    )
    made = []
    for number in range(count):
        if random.random() < 0.02:
            made.append(random.choice(broken))
            continue
        time_ms = start_ms + (end_ms - start_ms) * number // count - random.randrange(9_000)
        millidegrees = random.randrange(-40_000, 120_000)
        value = orjson.dumps({"time_ms": time_ms, "millidegrees": millidegrees, "number": number})
        made.append(Reading(b"boiler-%d" % random.randrange(7), value, time_ms, millidegrees))
    return made


class Truth:
    """The expected output for readings by partition, in the order of each partition."""

    def __init__(self, sent: Mapping[int, Sequence[Reading]]) -> None:
        self.statistics: list[tuple[str, int, int, int, int]] = []
        self.late: Counter[bytes] = Counter()
        self.invalid: Counter[bytes] = Counter()
        for readings in sent.values():
            valid = [each for each in readings if each.time_ms is not None]
            self.invalid.update(each.value for each in readings if each.time_ms is None)
            seen_before = [0, *accumulate((each.time_ms or 0 for each in valid), max)]
            windows: defaultdict[tuple[bytes, int], list[int]] = defaultdict(list)
            for reading, latest_ms in zip(valid, seen_before, strict=False):
                end_ms = ((reading.time_ms or 0) // WINDOW_MS + 1) * WINDOW_MS
                if end_ms <= latest_ms - OUT_OF_ORDER_MS:
                    self.late[reading.value] += 1
                else:
                    windows[reading.key or b"", end_ms].append(reading.millidegrees)
            self.statistics += [
                (key.decode(), end_ms, len(values), sum(values), max(values))
                for (key, end_ms), values in windows.items()
                if end_ms <= seen_before[-1] - OUT_OF_ORDER_MS
            ]


async def send(producer: AIOKafkaProducer, topic: str, sent: Mapping[int, Sequence[Reading]]) -> None:
    """Write each partition's readings in order."""
    deliveries = [
        await producer.send(topic, reading.value, reading.key, partition=partition)
        for partition, readings in sent.items()
        for reading in readings
    ]
    await asyncio.gather(*deliveries)


def by_partition(readings: Sequence[Reading]) -> dict[int, list[Reading]]:
    """All readings of a sensor are in one partition."""
    sent: dict[int, list[Reading]] = {partition: [] for partition in range(PARTITIONS)}
    for reading in readings:
        sent[sum(reading.key or b"") % PARTITIONS].append(reading)
    return sent


@pytest.fixture
def replicas(pipeline: Pipeline, tmp_path: Path) -> list[ServiceProcess]:
    """Two replicas, not started."""
    env = pipeline.env | {"TOPIC_PARTITIONS": str(PARTITIONS), "PYTHONPATH": str(ROOT)}
    entry_file = ROOT / "examples/sensor_readings.py"
    return [ServiceProcess("sensors", tmp_path, env, entry_file=entry_file) for _ in range(2)]


async def test_every_reading_is_counted_once_despite_killed_replicas(
    pipeline: Pipeline, admin: AIOKafkaAdminClient, replicas: list[ServiceProcess]
) -> None:
    now_ms = int(time.time() * 1000)
    sent = by_partition(some_readings(Random(22), now_ms - 20 * WINDOW_MS, now_ms, READINGS))

    async def committed(more_than: int) -> bool:
        try:
            offsets = await admin.list_consumer_group_offsets(f"{pipeline.prefix}sensors")
        except KafkaError:  # a new group has no coordinator for a moment
            return False
        return sum(offset.offset for offset in offsets.values()) > more_than

    producer = AIOKafkaProducer(bootstrap_servers=pipeline.kafka, enable_idempotence=True)
    first, second = replicas
    async with first, second:
        await first.wait_for("partition started")
        await second.wait_for("partition started")
        async with producer:
            share = READINGS // PARTITIONS // (len(KILLED) + 1)
            for number, victim in enumerate(KILLED):
                part = {
                    partition: readings[number * share : (number + 1) * share] for partition, readings in sent.items()
                }
                sending = asyncio.create_task(send(producer, f"{pipeline.prefix}readings", part))
                await eventually(partial(committed, number * share * PARTITIONS), what="some records are committed")
                replicas[victim].kill()
                await replicas[victim].wait()
                replicas[victim].start()
                await sending
            rest = {partition: readings[len(KILLED) * share :] for partition, readings in sent.items()}
            await send(producer, f"{pipeline.prefix}readings", rest)
            await eventually(partial(committed, READINGS - 1), what="everything is committed")
        for replica in replicas:
            replica.terminate()
            assert await replica.wait() == 0
    truth = Truth(sent)
    assert len(truth.statistics) > 100
    assert truth.late
    assert truth.invalid
    found = [orjson.loads(record.value or b"") for record in await pipeline.read("sensor-statistics")]
    statistics = [(each["sensor"], each["end_ms"], each["count"], each["sum"], each["peak"]) for each in found]
    assert sorted(statistics) == sorted(truth.statistics)
    rejected: dict[bool, Counter[bytes]] = {True: Counter(), False: Counter()}
    for record in await pipeline.read("rejected-readings"):
        rejected[dict(record.headers)["reason"].startswith(b"late")][record.value or b""] += 1
    assert rejected[True] == truth.late
    assert rejected[False] == truth.invalid
