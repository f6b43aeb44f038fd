"""Measures many open windows: speed, memory, changelog, restoring state, and closing all windows at once."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.scaling.bench import Bench, BlockingTransaction, Work, until, until_assigned
from benchmarks.scaling.service import Service, core_of
from benchmarks.scaling.workload import STATE_PARTITIONS, Processed, StateLoad, encode
from libs.events.topics import ANALYTICS_STATE, PROCESSED_ORDERS

_DISTURBANCES = (
    "partitions revoked",
    "partition failed, starting again from its last commit",
    "fenced: another replica has taken over, or the transaction timed out",
)


@dataclass(frozen=True)
class State:
    """The cost of many open windows for one replica.

    Attributes:
        filling_per_s: speed for orders that each open a window.
        per_s: speed for further orders, for random open windows.
        peak_bytes: peak memory while it processed both.
        close_s: from writing the watermarks that close all windows until that is committed.
        closing_peak_bytes: peak memory of the process that closed them.
        disturbances: the number of rebalances and failed transactions, which should be 0.
    """

    products: int
    minutes: int
    orders: int
    filling_per_s: float
    per_s: float
    cpu_s_per_million: float
    peak_bytes: int
    close_s: float
    closing_peak_bytes: int
    disturbances: int
    output: str


@dataclass(frozen=True)
class Restored:
    """A start of the analytics with state in six partitions.

    Attributes:
        changelog: "one record a window", or "not compacted": further records for most windows.
        seconds: until the state of the slowest partition was restored, as the service logs it.
        peak_bytes: peak memory until then.
    """

    products: int
    minutes: int
    changelog: str
    records: int
    bytes: int
    seconds: float
    peak_bytes: int
    output: str


async def measure(bench: Bench, products: int, minutes: int, further: int) -> list[State | Restored]:
    """Fill the windows, restart, process further orders, restart, close all windows at once."""
    load = StateLoad(products, minutes)
    prefix = bench.new_prefix("state")
    run = _Run(bench, load, prefix)
    await bench.make_topics(prefix, STATE_PARTITIONS)
    async with (
        bench.blocking_transaction(run.topic, STATE_PARTITIONS) as blocker,
        bench.metrics(prefix, STATE_PARTITIONS, load.truth) as metrics,
    ):
        with bench.service("analytics", prefix, STATE_PARTITIONS, core=core_of(bench.cores, 0)) as service:
            service.start()
            await until_assigned([service], STATE_PARTITIONS)
            filled = await run.count(service, blocker, load.filling(), "filling")
            fresh = await run.restore(service, "one record a window")
            counted = await run.count(service, blocker, load.further(further), "further orders")
            grown = await run.restore(service, "not compacted")
            run.say("closing all windows")
            since_s = time.monotonic()
            await run.write(load.closing())
            ends = await bench.ends(run.topic, STATE_PARTITIONS)
            await until(lambda: bench.read_up_to(prefix + "analytics", ends), service)
            close_s = time.monotonic() - since_s
            closing_peak_bytes = service.peak_bytes
            disturbances = run.disturbances + len(service.events(*_DISTURBANCES))
        output = await metrics.finish()
    await bench.inputs.delete(prefix)
    state = State(
        products,
        minutes,
        load.windows + further,
        load.windows / filled.seconds,
        further / counted.seconds,
        counted.cpu_s / further * 1e6,
        max(filled.peak_bytes, counted.peak_bytes),
        close_s,
        closing_peak_bytes,
        disturbances,
        output,
    )
    run.say(f"{state.per_s:,.0f}/s, restored in {fresh.seconds:.2f} s and {grown.seconds:.2f} s", done=True)
    return [state, fresh, grown]


class _Run:
    """One load with its own topics."""

    def __init__(self, bench: Bench, load: StateLoad, prefix: str) -> None:
        self._bench = bench
        self._load = load
        self._prefix = prefix
        self.topic = prefix + PROCESSED_ORDERS.name
        self.disturbances = 0

    def say(self, text: str, *, done: bool = False) -> None:
        (self._bench.report if done else self._bench.say)(
            f"{self._load.products:,} products, {self._load.minutes} minutes open: {text}"
        )

    async def write(self, records: Iterable[Processed]) -> None:
        await self._bench.inputs.write(self.topic, encode(self._bench.producer.create_batch, records))

    async def count(
        self, service: Service, blocker: BlockingTransaction, records: Iterable[Processed], what: str
    ) -> Work:
        """Let the running service process ``records``."""
        self.say(what)
        await blocker.open()
        await self.write(records)
        ends = await self._bench.ends(self.topic, STATE_PARTITIONS)
        group = self._prefix + "analytics"
        return await self._bench.measure_backlog(
            [service], STATE_PARTITIONS, blocker, lambda: self._bench.read_up_to(group, ends)
        )

    async def restore(self, service: Service, changelog: str) -> Restored:
        """Restart the service, and measure how long it restores its state."""
        self.say(f"restoring, {changelog}")
        self.disturbances += len(service.events(*_DISTURBANCES))
        service.stop()
        data = self._bench.directory / "broker" / "data" / "kafka"
        topic = self._prefix + ANALYTICS_STATE.name
        size = sum(file.stat().st_size for file in data.glob(f"{topic}-*/*.log"))
        service.start()
        await until_assigned([service], STATE_PARTITIONS)
        events = service.events("state restored")
        windows = sum(event["state_size"] for event in service.events("partition started"))
        wanted = self._load.windows
        return Restored(
            self._load.products,
            self._load.minutes,
            changelog,
            sum(event["changelog_records"] for event in events),
            size,
            max(event["seconds"] for event in events),
            service.peak_bytes,
            "exact" if windows == wanted else f"{windows:,} of {wanted:,} windows",
        )
