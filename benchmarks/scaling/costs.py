"""Measures the CPU time of a replica while idle and at live traffic, and its peak memory under full load."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import orjson

from benchmarks.scaling.bench import Bench, until, until_assigned
from benchmarks.scaling.replicas import both_stages
from benchmarks.scaling.service import Service, ServiceFailedError, core_shares
from benchmarks.scaling.workload import Backlog, metrics_batches
from libs.events.topics import ORDERS, PROCESSED_ORDERS, PRODUCT_METRICS
from libs.runtime.timing import IDLE_AFTER_S

_PARTITIONS = 6
_LIVE_RATE = 50
_LIVE_WINDOW_S = 5
_SETTLED_S = 4.0
# The generator's own start, and its random gaps: it must still send when a measurement ends.
_MARGIN_S = 6.0
_REST_COMES_WITHIN_S = 300.0
_MANY_PARTITIONS = 48
_LARGE_ORDERS = 1_500
_LARGE_BYTES = 175_000
_LARGE_LIMIT_BYTES = 256 * 2**20
NOTHING_WRITTEN = "nothing written"


@dataclass(frozen=True)
class Cost:
    """The share of a core that one replica used, and its resident memory at the end."""

    service: str
    load: str
    partitions: int
    core_share: float
    rss_bytes: int
    output: str = ""


@dataclass(frozen=True)
class Peak:
    """The peak resident memory of one replica under full load."""

    service: str
    load: str
    peak_bytes: int
    output: str
    limit_bytes: int = 100 * 10**6


async def idle(bench: Bench, seconds: float) -> list[Cost]:
    """Measure at live traffic, without traffic, and idle, with few and many partitions; then replicas without partitions."""
    return [
        *await _live_and_idle(bench, 6, seconds),
        *await _live_and_idle(bench, 48, seconds),
        *await _live_and_idle(bench, 200, seconds),
        *await _standby(bench, seconds),
    ]


async def _live_and_idle(bench: Bench, partitions: int, seconds: float) -> list[Cost]:
    prefix = bench.new_prefix("idle")
    await bench.make_topics(prefix, partitions)
    output = bench.directory / f"{prefix}metrics.json"
    settings = {
        "WINDOW_SECONDS": str(_LIVE_WINDOW_S),
        "IDLE_AFTER_SECONDS": "1",
        "SINK_OUTPUT_PATH": str(output),
        "GENERATOR_RATE": str(_LIVE_RATE),
        "GENERATOR_COUNT": str(int(_LIVE_RATE * (_SETTLED_S + seconds + _MARGIN_S))),
    }
    count = int(settings["GENERATOR_COUNT"])
    with ExitStack() as stack:
        generator, *others = [
            stack.enter_context(bench.service(name, prefix, partitions, settings))
            for name in ("generator", "processor", "analytics", "sink")
        ]
        for service in others:
            service.start()
        for service in others[:2]:
            await until_assigned([service], partitions)
        generator.start()
        live = await _watched(bench, [generator, *others], f"{_LIVE_RATE} orders/s", partitions, seconds)
        if generator.program.exit_code is not None:
            raise ServiceFailedError("the generator had sent all orders before the measurement ended")

        async def all_written() -> bool:
            return sum(_order_counts(output)) >= count

        await until(all_written, generator, *others)
        calm = await _watched(bench, others, "no traffic", partitions, seconds)
        written = sum(_order_counts(output))
        exactness = "exact" if written == count else f"{written:,} of {count:,} orders"
        rest = await _at_rest(bench, others, partitions, seconds)
    await bench.inputs.delete(prefix)
    return [*(replace(cost, output=exactness) for cost in live + calm), *rest]


async def _at_rest(bench: Bench, services: Collection[Service], partitions: int, seconds: float) -> list[Cost]:
    """Measure idle replicas: wait until nothing is written to the broker's logs any more, since no window is open."""
    bench.say(f"waiting for the last watermark, {partitions} partitions")

    async def settled() -> bool:
        before = bench.stored_bytes()
        await asyncio.sleep(_SETTLED_S)
        return bench.stored_bytes() == before

    await until(settled, *services, within_s=_REST_COMES_WITHIN_S)
    await asyncio.sleep(IDLE_AFTER_S)
    before = bench.stored_bytes()
    rest = await _watched(bench, services, "at rest", partitions, seconds)
    written_bytes = bench.stored_bytes() - before
    output = f"{written_bytes:,} bytes written" if written_bytes else NOTHING_WRITTEN
    return [replace(cost, output=output) for cost in rest]


async def _standby(bench: Bench, seconds: float) -> list[Cost]:
    """Two replicas for one partition: one of them has none."""
    prefix = bench.new_prefix("standby")
    await bench.make_topics(prefix, 1)
    costs: list[Cost] = []
    for name in ("processor", "analytics"):
        with bench.replicas(name, 2, prefix, 1) as services:
            await until_assigned(services, 1)
            spare = [service for service in services if not service.assigned]
            costs += await _watched(bench, spare, "no partition", 0, seconds)
    await bench.inputs.delete(prefix)
    return costs


async def _watched(
    bench: Bench, services: Collection[Service], load: str, partitions: int, seconds: float
) -> list[Cost]:
    bench.say(f"{load}, {partitions} partitions")
    await asyncio.sleep(_SETTLED_S)
    since = {service: (time.monotonic(), service.cpu_s) for service in services}
    await asyncio.sleep(seconds)
    shares = core_shares(services, since)
    for service in services:
        service.check()
        bench.report(f"{service.name}, {load}, {partitions} partitions: {shares[service]:.1%} of a core")
    return [Cost(each.name, load, partitions, shares[each], each.rss_bytes) for each in services]


async def memory(bench: Bench, orders: int, metrics: int) -> list[Peak]:
    """Measure each service with a backlog, and the generator at its maximum rate."""
    stages = await both_stages(bench, Backlog(orders), 1, _PARTITIONS)
    found = [Peak(each.service, f"{orders:,} orders", each.peak_bytes, each.output) for each in stages]
    return [*found, await _sink(bench, metrics), await _generator(bench, orders), *await _large_orders(bench)]


async def _sink(bench: Bench, metrics: int) -> Peak:
    prefix = bench.new_prefix("sink")
    await bench.make_topics(prefix, _PARTITIONS)
    batches = metrics_batches(bench.producer.create_batch, metrics, _PARTITIONS)
    await bench.inputs.write(prefix + PRODUCT_METRICS.name, batches)
    output = bench.directory / f"{prefix}metrics.json"

    async def written() -> int:
        return len(_lines(output))

    with bench.service("sink", prefix, _PARTITIONS, {"SINK_OUTPUT_PATH": str(output)}) as service:
        return await _ran(bench, service, f"{metrics:,} metrics", metrics, written)


async def _large_orders(bench: Bench) -> list[Peak]:
    """Measure a backlog of large orders in many partitions, since each partition has its own fetch buffer."""
    prefix = bench.new_prefix("large")
    await bench.make_topics(prefix, _MANY_PARTITIONS)
    backlog = Backlog(_LARGE_ORDERS, _MANY_PARTITIONS)
    catalogue = bench.directory / f"{prefix}catalogue.json"
    catalogue.write_bytes(backlog.catalogue())
    padding = b',"padding":"' + b"x" * _LARGE_BYTES + b'"}'
    items = (item._replace(value=item.value[:-1] + padding) for item in backlog.dealt(_MANY_PARTITIONS))
    await bench.inputs.write(prefix + ORDERS.name, bench.inputs.encode(items))
    load = f"{_LARGE_ORDERS:,} orders of {_LARGE_BYTES // 1000} kB, {_MANY_PARTITIONS} partitions"
    found = []
    for name, topic in (("processor", ORDERS.name), ("analytics", PROCESSED_ORDERS.name)):
        ends = await bench.ends(prefix + topic, _MANY_PARTITIONS)
        # The last offset may be a transaction marker.
        last = {partition: end - (topic != ORDERS.name) for partition, end in ends.items()}
        settings = {"PROCESSOR_CATALOGUE_PATH": str(catalogue)}
        with bench.service(name, prefix, _MANY_PARTITIONS, settings) as service:
            peak_bytes = await _peak_until(service, partial(bench.read_up_to, prefix + name, last))
        bench.report(f"{name}, {load}: {peak_bytes / 1e6:.0f} MB")
        found.append(Peak(name, load, peak_bytes, "", _LARGE_LIMIT_BYTES))
    await bench.inputs.delete(prefix)
    return found


async def _generator(bench: Bench, orders: int) -> Peak:
    prefix = bench.new_prefix("generator")
    await bench.make_topics(prefix, _PARTITIONS)
    settings = {
        "GENERATOR_RATE": "100000",
        "GENERATOR_BACKFILL_SECONDS": "86400",
        "GENERATOR_FAULTS": "0.01",
        "GENERATOR_COUNT": str(orders),
    }

    async def sent() -> int:
        return sum((await bench.ends(prefix + ORDERS.name, _PARTITIONS)).values())

    with bench.service("generator", prefix, _PARTITIONS, settings) as service:
        return await _ran(bench, service, f"{orders:,} orders", orders, sent)


async def _ran(bench: Bench, service: Service, load: str, count: int, seen: Callable[[], Awaitable[int]]) -> Peak:
    bench.say(f"{service.name}: {load}")

    async def all_seen() -> bool:
        return await seen() >= count

    peak_bytes = await _peak_until(service, all_seen)
    total = await seen()
    bench.report(f"{service.name}, {load}: {peak_bytes / 1e6:.0f} MB")
    return Peak(service.name, load, peak_bytes, "exact" if total == count else f"{total:,} of {count:,}")


async def _peak_until(service: Service, done: Callable[[], Awaitable[bool]]) -> int:
    """Start the service; returns its peak memory when ``done`` is true."""
    service.start()
    peak_bytes = 0

    async def finished() -> bool:
        nonlocal peak_bytes
        peak_bytes = service.peak_bytes
        return await done()

    await until(finished, service)
    return peak_bytes


def _order_counts(output: Path) -> list[int]:
    return [orjson.loads(line)["order_count"] for line in _lines(output)]


def _lines(output: Path) -> list[bytes]:
    return (
        [line for line in output.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        if output.exists()
        else []
    )
