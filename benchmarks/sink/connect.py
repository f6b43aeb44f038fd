"""``python -m benchmarks.sink.connect``: compares our sink's file output with Kafka Connect's file sink, on one broker.

First they read a backlog, one after the other. Then both follow the same metrics: measured are the time from a metric's commit
to its line, and the duplicates after a kill. Only the ratios can be compared with other machines.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import NamedTuple, Protocol

from aiokafka import AIOKafkaProducer
from rich.console import Console
from rich.table import Table

from benchmarks.process_figures import cpu_seconds, peak_bytes
from benchmarks.sink.topic import encoded, fill, metric, metrics
from connect.register import connectors, register, wait_until_running
from libs.events.product_metrics import MetricRow
from libs.events.topics import PRODUCT_METRICS
from libs.runtime.service.settings import ServiceSettings
from libs.runtime.topics.creation import ensure_topics
from local.broker import LocalBroker
from tests.connect.worker import ConnectWorker
from tests.integration.services import ServiceProcess

_JAVA = ["-Xms128m", "-Xmx512m"]  # as in docker-compose.yml
_POLL_S = 0.01
_STARTS_WITHIN_S = 120.0


class FileSink(Protocol):
    """A sink process that writes metrics into ``file``."""

    file: Path

    @property
    def pid(self) -> int: ...
    def start(self) -> None: ...
    def kill(self) -> None: ...


class OurSink:
    """``services/sink``."""

    def __init__(self, bootstrap: str, folder: Path, prefix: str) -> None:
        self.file = folder / "metrics.json"
        env = {"KAFKA_BOOTSTRAP_SERVERS": bootstrap, "TOPIC_PREFIX": prefix, "LOG_LEVEL": "warning"}
        self._service = ServiceProcess("sink", folder, env | {"SINK_OUTPUT_PATH": str(self.file)})

    @property
    def pid(self) -> int:
        return self._service.process.pid

    def start(self) -> None:
        self._service.start()

    def kill(self) -> None:
        self._service.kill()
        self._service.process.wait()


class ConnectSink:
    """The connector of ``connect/connectors/metrics-file.json`` in its own worker."""

    def __init__(self, bootstrap: str, folder: Path, prefix: str, flush_ms: str = "1000") -> None:
        name = f"{prefix}{folder.name}-metrics-file"
        config = connectors(prefix)[f"{prefix}metrics-file"] | {"file": f"output/connect/{folder.name}.json"}
        self._wanted = {name: config}
        settings = {"offset.flush.interval.ms": flush_ms}
        self._worker = ConnectWorker(bootstrap, folder, f"{prefix}{folder.name}-", _JAVA, settings)
        self.file = self._worker.files / f"{folder.name}.json"

    @property
    def pid(self) -> int:
        return self._worker.pid

    def start(self) -> None:
        self._worker.start()
        deadline = time.monotonic() + _STARTS_WITHIN_S
        register(self._worker.worker, self._wanted, deadline)
        wait_until_running(self._worker.worker, list(self._wanted), deadline)

    def kill(self) -> None:
        self._worker.kill()


class Backlog(NamedTuple):
    """Speed from the first line to the last: metrics per second and per second of CPU time, and peak memory."""

    per_s: float
    per_cpu_s: float
    rss_mb: float


def read_backlog(sink: FileSink, rows: Sequence[MetricRow]) -> Backlog:
    """Start ``sink``, and measure until it has written a line for each of ``rows``."""
    whole = sum(len(encoded(row)) + 1 for row in rows)
    sink.start()
    try:
        first: tuple[float, float, int] | None = None
        while True:
            size = _size(sink.file)
            now_s, cpu_s = time.perf_counter(), cpu_seconds(sink.pid)
            if size and first is None:
                first = (now_s, cpu_s, size)
            if first and size >= whole:
                counted = len(rows) * (1 - first[2] / whole)
                return Backlog(counted / (now_s - first[0]), counted / (cpu_s - first[1]), peak_bytes(sink.pid) / 2**20)
            time.sleep(_POLL_S)
    finally:
        sink.kill()


class SteadyLoad:
    """Writes metrics minute by minute, a few in each transaction, like the analytics."""

    def __init__(self, producer: AIOKafkaProducer, topic: str) -> None:
        self._producer = producer
        self._topic = topic
        self.values: list[bytes] = []

    async def write(self, count: int) -> None:
        values = [self._next() for _ in range(count)]
        await self._producer.begin_transaction()
        await asyncio.gather(*[await self._producer.send(self._topic, value, partition=0) for value in values])
        await self._producer.commit_transaction()

    def _next(self) -> bytes:
        minute = len(self.values)
        self.values.append(encoded(metric(minute, "prod-1", 100_000 + minute)))
        return self.values[-1]


async def latencies_ms(sinks: Sequence[FileSink], load: SteadyLoad, count: int) -> list[list[float]]:
    """For each of ``sinks``, the times from a metric's commit to its line."""
    found: list[list[float]] = [[] for _ in sinks]
    chance = Random(1)  # noqa: S311 - a load that can be repeated, no secret
    for _ in range(count):
        await asyncio.sleep(chance.uniform(0.02, 0.12))
        before = [_size(sink.file) for sink in sinks]
        await load.write(1)
        committed_s, waiting = time.perf_counter(), set(range(len(sinks)))
        while waiting:
            await asyncio.sleep(0.0005)
            for number in [number for number in waiting if _size(sinks[number].file) > before[number]]:
                found[number].append(1000 * (time.perf_counter() - committed_s))
                waiting.remove(number)
    return found


async def twice_after_a_kill(sink: FileSink, load: SteadyLoad, seconds: float) -> int:
    """The number of duplicate lines after a SIGKILL in the middle of ``seconds`` with 50 metrics a second.

    Raises:
        AssertionError: a metric is missing, or a line is not a metric.
    """
    kill_at_s = time.monotonic() + seconds / 2
    killed = False
    for _ in range(int(seconds * 10)):
        await load.write(5)
        await asyncio.sleep(0.1)
        if not killed and time.monotonic() > kill_at_s:
            await asyncio.to_thread(sink.kill)
            killed = True
    await asyncio.to_thread(sink.start)
    await _until(lambda: set(_lines(sink.file)) >= set(load.values))
    lines = _lines(sink.file)
    assert set(lines) == set(load.values), "lines that are no metric"
    return len(lines) - len(load.values)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not condition():  # noqa: ASYNC110 - there is no notification for a growing file
            await asyncio.sleep(0.1)


def _size(file: Path) -> int:
    with suppress(FileNotFoundError):
        return file.stat().st_size
    return 0


def _lines(file: Path) -> list[bytes]:
    return file.read_bytes().split(b"\n")[:-1] if file.exists() else []


async def follow(bootstrap: str, scratch: Path, count: int, kill_s: float) -> dict[str, tuple[list[float], int]]:
    """Latencies and duplicate lines, by the name of the sink."""
    prefix = "load-"
    await ensure_topics(ServiceSettings(kafka_bootstrap_servers=bootstrap, topic_prefix=prefix), [PRODUCT_METRICS])
    folders = [scratch / name for name in ("ours", "connect", "connect-default")]
    for folder in folders:
        folder.mkdir()
    sinks: dict[str, FileSink] = {
        "our sink": OurSink(bootstrap, folders[0], prefix),
        "Connect": ConnectSink(bootstrap, folders[1], prefix),
        "Connect, offsets flushed every 60 s": ConnectSink(bootstrap, folders[2], prefix, "60000"),
    }
    topic = prefix + PRODUCT_METRICS.name
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id="load")
    await producer.start()
    try:
        load = SteadyLoad(producer, topic)
        followed = list(sinks.values())[:2]
        for sink in followed:
            await asyncio.to_thread(sink.start)
        await load.write(1)
        await _until(lambda: all(_size(sink.file) for sink in followed))
        latencies = await latencies_ms(followed, load, count)
        for sink in followed:
            sink.kill()
        found = {}
        for number, (name, sink) in enumerate(sinks.items()):
            await asyncio.to_thread(sink.start)
            await _until(lambda sink=sink: set(_lines(sink.file)) >= set(load.values))  # type: ignore[misc]
            before = len(_lines(sink.file)) - len(load.values)  # the duplicates of the previous kill
            twice = await twice_after_a_kill(sink, load, kill_s) - before
            sink.kill()
            found[name] = (latencies[number] if number < len(latencies) else [], twice)
        return found
    finally:
        await producer.stop()


def main() -> None:
    """Measure, print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sink.connect", description=__doc__)
    parser.add_argument("--metrics", type=int, default=1_000_000, help="in the backlog (1000000)")
    parser.add_argument("--rounds", type=int, default=3, help="of the backlog, of which the medians are shown (3)")
    parser.add_argument("--latencies", type=int, default=200, help="how many are measured (200)")
    parser.add_argument("--kill-seconds", type=float, default=20, help="how long metrics flow around a kill (20)")
    arguments = parser.parse_args()
    rows, console = metrics(arguments.metrics), Console(width=120)
    backlogs: dict[str, list[Backlog]] = {"our sink": [], "Connect": []}
    with tempfile.TemporaryDirectory() as scratch, LocalBroker(Path(scratch) / "kafka") as broker:
        bootstrap = broker.bootstrap_servers
        asyncio.run(fill(bootstrap, rows))
        for number in range(arguments.rounds):
            for name, make in (("our sink", OurSink), ("Connect", ConnectSink)):
                folder = Path(scratch) / f"{make.__name__.lower()}-{number}"
                folder.mkdir()
                run = read_backlog(make(bootstrap, folder, ""), rows)
                backlogs[name].append(run)
                console.print(
                    f"round {number + 1}, {name}: {run.per_s:,.0f} metrics/s, {run.per_cpu_s:,.0f} per CPU second, "
                    f"{run.rss_mb:.0f} MB"
                )
        followed = asyncio.run(follow(bootstrap, Path(scratch), arguments.latencies, arguments.kill_seconds))
    table = Table("", "metrics/s", "per CPU second", "peak MB", "commit to line, ms: p50", "p99", "twice after a kill")
    for name, (found_ms, twice) in followed.items():
        runs = backlogs.get(name)
        speeds = [f"{statistics.median(run[column] for run in runs):,.0f}" if runs else "" for column in range(3)]
        hundredths = statistics.quantiles(found_ms, n=100) if found_ms else []
        delays = [f"{hundredths[49]:.1f}", f"{hundredths[98]:.1f}"] if hundredths else ["", ""]
        table.add_row(name, *speeds, *delays, str(twice))
    console.print(table)
    ratios = [ours.per_cpu_s / theirs.per_cpu_s for ours, theirs in zip(*backlogs.values(), strict=True)]
    console.print(f"metrics per CPU second, our sink's by Connect's: {statistics.median(ratios):.2f} {sorted(ratios)}")


if __name__ == "__main__":
    main()
