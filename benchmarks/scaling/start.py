"""Measures the start of a service: until it reports healthy, and until its first commit or output."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from benchmarks.scaling.bench import PATIENCE_S, Bench
from benchmarks.scaling.service import Service, ServiceFailedError
from benchmarks.scaling.workload import STATE_PARTITIONS, Backlog, StateLoad, encode, metrics_batches
from libs.events.topics import ORDERS, PROCESSED_ORDERS, PRODUCT_METRICS
from local.programs import ENTRY_FILES

_PARTITIONS = STATE_PARTITIONS
_RECORDS = 60
_POLL_S = 0.01


@dataclass(frozen=True)
class Started:
    """Seconds from the process's start to the first 200 of `/health`, and to the first output or commit, by attempt."""

    service: str
    healthy_s: list[float]
    worked_s: list[float]


class _Pipeline:
    """Creates topics, and writes input for each service at each of its starts."""

    def __init__(self, bench: Bench, prefix: str) -> None:
        self._bench = bench
        self._prefix = prefix
        self._backlog, self._load = Backlog(_RECORDS), StateLoad(_RECORDS, 1)
        self._output = bench.directory / f"{prefix}metrics.json"
        catalogue = bench.directory / f"{prefix}catalogue.json"
        catalogue.write_bytes(self._backlog.catalogue())
        self.settings = {
            "PROCESSOR_CATALOGUE_PATH": str(catalogue),
            "SINK_OUTPUT_PATH": str(self._output),
            "GENERATOR_RATE": "50",
        }

    async def write_for(self, service: str, attempt: int) -> None:
        """Write a few input records; the generator needs none."""
        create_batch = self._bench.producer.create_batch
        if service == "processor":
            orders = self._bench.inputs.encode(self._backlog.dealt(_PARTITIONS))
            await self._bench.inputs.write(self._prefix + ORDERS.name, orders)
        elif service == "analytics":
            batches = encode(create_batch, self._load.further(_RECORDS))
            await self._bench.inputs.write(self._prefix + PROCESSED_ORDERS.name, batches)
        elif service == "sink":
            batches = metrics_batches(create_batch, _RECORDS, _PARTITIONS, first_s=attempt * 86_400)
            await self._bench.inputs.write(self._prefix + PRODUCT_METRICS.name, batches)

    async def done_by(self, service: str) -> int:
        """A number that grows with each commit or output of the service."""
        if service == "sink":
            return self._output.stat().st_size if self._output.exists() else 0
        if service == "generator":
            return sum((await self._bench.ends(self._prefix + ORDERS.name, _PARTITIONS)).values())
        return sum(max(offset, 0) for offset in (await self._bench.committed(self._prefix + service)).values())


async def measure(bench: Bench, times: int) -> list[Started]:
    """Start each service ``times`` times, with existing topics and a few records to process."""
    prefix = bench.new_prefix("start")
    await bench.make_topics(prefix, _PARTITIONS)
    pipeline = _Pipeline(bench, prefix)
    found = []
    for name in ENTRY_FILES:
        with bench.service(name, prefix, _PARTITIONS, pipeline.settings) as service:
            started = Started(name, [], [])
            for attempt in range(times):
                bench.say(f"{name}: start {attempt + 1} of {times}")
                await pipeline.write_for(name, attempt)
                healthy_s, worked_s = await _start(service, partial(pipeline.done_by, name))
                service.stop()
                started.healthy_s.append(healthy_s)
                started.worked_s.append(worked_s)
        bench.report(
            f"{name}: healthy after {min(started.healthy_s):.2f} s, did its first work after {min(started.worked_s):.2f} s"
        )
        found.append(started)
    await bench.inputs.delete(prefix)
    return found


async def _start(service: Service, progress: Callable[[], Awaitable[int]]) -> tuple[float, float]:
    before, since_s = await progress(), time.monotonic()
    service.start()
    healthy_s = worked_s = None
    while healthy_s is None or worked_s is None:
        await asyncio.sleep(_POLL_S)
        service.check()
        if healthy_s is None and service.healthy:
            healthy_s = time.monotonic() - since_s
        if worked_s is None and await progress() > before:
            worked_s = time.monotonic() - since_s
        if time.monotonic() - since_s > PATIENCE_S:
            raise ServiceFailedError(f"not within {PATIENCE_S:.0f} s; the end of the log:\n{service.program.tail()}")
    return healthy_s, worked_s
