"""Measures how long partitions make no progress when a replica stops, joins or is killed, and how long readers are blocked.

``libs/runtime/timing.py`` guarantees these times on a machine that is not overloaded; docs/decisions/0009-timeouts.md says why.
"""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from random import Random
from typing import Self

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from benchmarks.scaling.bench import Bench, until, until_assigned
from benchmarks.scaling.commit_gaps import CommitGaps
from benchmarks.scaling.service import Service
from libs.events.topics import ANALYTICS_STATE, PROCESSED_ORDERS
from libs.runtime.kafka_client.partitioning import partition_for
from libs.runtime.timing import SESSION_TIMEOUT_MS, TRANSACTION_TIMEOUT_MS

_PARTITIONS = 6
_ORDERS_PER_S = "300"
_PRODUCTS = tuple(f"prod-{number}" for number in range(1, 6))
# Partitions without orders get watermarks only, for which there is no guarantee.
_WITH_ORDERS = {
    "processor": set(range(_PARTITIONS)),
    "analytics": {partition_for(product.encode(), _PARTITIONS) for product in _PRODUCTS},
}
_WRITES = {"processor": PROCESSED_ORDERS.name, "analytics": ANALYTICS_STATE.name}
_AFTER_STOP_S = _AFTER_JOIN_S = 1.0
_AFTER_KILL_S = SESSION_TIMEOUT_MS / 1000 + 2
_READERS_S = TRANSACTION_TIMEOUT_MS / 1000 + 5
_COMMIT_ENDS_S = 0.2


@dataclass(frozen=True)
class Recovered:
    """Seconds without progress, by attempt, and the guaranteed maximum."""

    service: str
    event: str
    promised_s: float
    seconds: list[float] = field(default_factory=list)


async def measure(bench: Bench, times: int) -> list[Recovered]:
    """Measure each event ``times`` times for both stages, at live traffic."""
    found = []
    for stage in _WITH_ORDERS:
        found += await _replicas_of(bench, stage, times)
    found += await _unfinished_transactions(bench, times)
    return found


async def _replicas_of(bench: Bench, stage: str, times: int) -> list[Recovered]:
    """With two replicas of ``stage``: stop and restart one of them, then kill and restart it."""
    stopped = Recovered(stage, "a replica is stopped (SIGTERM)", _AFTER_STOP_S)
    joined = Recovered(stage, "a replica joins", _AFTER_JOIN_S)
    killed = Recovered(stage, "a replica is killed", _AFTER_KILL_S)
    prefix = bench.new_prefix("recovery")
    await bench.make_topics(prefix, _PARTITIONS)
    with ExitStack() as stack:
        _start_others(bench, prefix, stack, *(["processor"] if stage == "analytics" else []))
        replicas = stack.enter_context(bench.replicas(stage, 2, prefix, _PARTITIONS))
        await until_assigned(replicas, _PARTITIONS)
        async with CommitGaps(bench.bootstrap_servers, prefix + stage, _WITH_ORDERS[stage]) as gaps:
            for attempt in range(times):
                for row, end in ((stopped, Service.stop), (killed, _kill)):
                    bench.say(f"{stage}: {row.event}, {attempt + 1} of {times}")
                    leaving, staying = replicas[attempt % 2], replicas[1 - attempt % 2]
                    await gaps.all_committed(staying)
                    since_s = time.monotonic()
                    await asyncio.to_thread(end, leaving)
                    await gaps.all_committed(staying)
                    row.seconds.append(gaps.longest_s(since_s))
                    since_s = time.monotonic()
                    leaving.start()
                    await until_assigned(replicas, _PARTITIONS)
                    await gaps.all_committed(*replicas)
                    joined.seconds.append(gaps.longest_s(since_s))
    await bench.inputs.delete(prefix)
    for row in (stopped, joined, killed):
        bench.report(f"{stage}: {row.event}: {max(row.seconds):.2f} s at most")
    return [stopped, joined, killed]


async def _unfinished_transactions(bench: Bench, times: int) -> list[Recovered]:
    """Kill a stage's only replica inside a transaction, and measure how long a reader of its output is blocked."""
    found = []
    for stage, topic in _WRITES.items():
        row = Recovered(stage, f"a reader of {topic}, after a kill in a transaction", _READERS_S)
        for attempt in range(times):
            bench.say(f"{row.event}, {attempt + 1} of {times}")
            prefix = bench.new_prefix("reader")
            await bench.make_topics(prefix, _PARTITIONS)
            with ExitStack() as stack:
                _start_others(bench, prefix, stack, *(["processor"] if stage == "analytics" else []))
                (service,) = stack.enter_context(bench.replicas(stage, 1, prefix, _PARTITIONS))
                await until_assigned([service], _PARTITIONS)
                async with _Readers(bench, prefix + topic) as readers:
                    since_s = await _kill_in_a_transaction(service, readers.held_up, Random(attempt))  # noqa: S311 - not for cryptography
                    await until(readers.released)
                    row.seconds.append(time.monotonic() - since_s)
            await bench.inputs.delete(prefix)
        bench.report(f"{row.event}: {max(row.seconds):.2f} s at most")
        found.append(row)
    return found


def _start_others(bench: Bench, prefix: str, stack: ExitStack, *services: str) -> None:
    settings = {"GENERATOR_RATE": _ORDERS_PER_S}
    for name in ("generator", *services):
        stack.enter_context(bench.service(name, prefix, _PARTITIONS, settings)).start()


def _kill(service: Service) -> None:
    service.program.kill()


async def _kill_in_a_transaction(service: Service, held_up: Callable[[], Awaitable[bool]], random: Random) -> float:
    """Suspend the service repeatedly until a transaction stays open, then kill it; returns when it was suspended."""
    while True:
        await asyncio.sleep(random.uniform(0.02, 0.2))
        _send(service, signal.SIGSTOP)
        paused_s = time.monotonic()
        await asyncio.sleep(_COMMIT_ENDS_S)  # a commit that the broker has accepted is completed meanwhile
        if await held_up():
            service.program.kill()
            return paused_s
        _send(service, signal.SIGCONT)


def _send(service: Service, number: signal.Signals) -> None:
    for pid in service.program.pids():
        os.kill(pid, number)


class _Readers:
    """Compares a topic's last stable offsets with its end offsets."""

    def __init__(self, bench: Bench, topic: str) -> None:
        self._partitions: Sequence[TopicPartition] = [TopicPartition(topic, number) for number in range(_PARTITIONS)]
        self._committed = AIOKafkaConsumer(bootstrap_servers=bench.bootstrap_servers, isolation_level="read_committed")
        self._written = AIOKafkaConsumer(bootstrap_servers=bench.bootstrap_servers)

    async def __aenter__(self) -> Self:
        for consumer in (self._committed, self._written):
            await consumer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for consumer in (self._committed, self._written):
            await consumer.stop()

    async def held_up(self) -> bool:
        # In this order, so that a record added in between does not look blocked.
        written = await self._written.end_offsets(self._partitions)
        readable = await self._committed.end_offsets(self._partitions)
        return any(readable[partition] < written[partition] for partition in self._partitions)

    async def released(self) -> bool:
        return not await self.held_up()
