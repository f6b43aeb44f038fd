"""Measures the speed of one, two and three replicas, and of one with more partitions: a backlog through both stages."""

from dataclasses import dataclass

from benchmarks.scaling.bench import Bench, Work
from benchmarks.scaling.workload import Backlog, even_over
from libs.events.topics import ORDERS, PROCESSED_ORDERS

_WARM_UP_ORDERS = 150_000


@dataclass(frozen=True)
class Scaled:
    """One stage with a number of replicas and partitions; ``peak_bytes`` is the highest among the replicas.

    ``output`` is the check of both stages: each window against the expected one.
    """

    service: str
    replicas: int
    partitions: int
    orders: int
    per_s: float
    cpu_s_per_million: float
    peak_bytes: int
    output: str


async def measure(bench: Bench, shapes: list[tuple[int, int]], orders: int, rounds: int) -> list[Scaled]:
    """Measure each of ``shapes`` (replicas, partitions) in turn, ``rounds`` times, after a warm-up of the broker."""
    await both_stages(bench, Backlog(min(orders, _WARM_UP_ORDERS)), max(replicas for replicas, _ in shapes), 6)
    backlogs = {
        even: Backlog(orders, even) for even in dict.fromkeys(even_over(partitions) for _, partitions in shapes)
    }
    return [
        scaled
        for _ in range(rounds)
        for replicas, partitions in shapes
        for scaled in await both_stages(bench, backlogs[even_over(partitions)], replicas, partitions)
    ]


async def both_stages(bench: Bench, backlog: Backlog, replicas: int, partitions: int) -> list[Scaled]:
    """Measure the processors first, then the analytics with their output, including watermarks."""
    prefix = bench.new_prefix("replicas")
    source, processed = prefix + ORDERS.name, prefix + PROCESSED_ORDERS.name
    shape = f"{replicas} of each, {partitions} partitions"
    bench.say(f"{shape}: writing {backlog.truth.count:,} orders")
    catalogue = bench.directory / f"{prefix}catalogue.json"
    catalogue.write_bytes(backlog.catalogue())
    await bench.make_topics(prefix, partitions)
    await bench.write_first_index_entries(prefix, partitions)
    async with (
        bench.blocking_transaction(source, partitions) as before_orders,
        bench.blocking_transaction(processed, partitions) as before_processed,
        bench.metrics(prefix, partitions, backlog.truth) as metrics,
    ):
        await before_orders.open()
        await before_processed.open()
        await bench.inputs.write(source, bench.inputs.encode(backlog.dealt(partitions)))
        ends = await bench.ends(source, partitions)

        async def processed_all() -> bool:
            return await bench.read_up_to(prefix + "processor", ends)

        bench.say(f"{shape}: processor")
        # An open transaction in its output topic would block the processor's check whether it has run before.
        settings = {"PROCESSOR_CATALOGUE_PATH": str(catalogue), "PROCESSOR_ACCEPT_OFFSETS": "true"}
        with bench.replicas("processor", replicas, prefix, partitions, settings) as services:
            processor = await bench.measure_backlog(services, partitions, before_orders, processed_all)
        bench.say(f"{shape}: analytics")
        with bench.replicas("analytics", replicas, prefix, partitions) as services:
            analytics = await bench.measure_backlog(services, partitions, before_processed, metrics.complete)
        output = await metrics.finish()
    await bench.inputs.delete(prefix)

    def scaled(service: str, work: Work) -> Scaled:
        count = backlog.truth.count
        per_million = work.cpu_s / count * 1e6
        return Scaled(service, replicas, partitions, count, count / work.seconds, per_million, work.peak_bytes, output)

    found = [scaled("processor", processor), scaled("analytics", analytics)]
    for each in found:
        bench.report(f"{shape}: {each.service}: {each.per_s:,.0f}/s, {each.output}")
    return found
