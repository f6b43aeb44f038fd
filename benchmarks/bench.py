"""`pipeline bench`: compares this pipeline with a bare consumer, and with other frameworks."""

import asyncio
import gc
import logging
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.environment import EnvironmentMissingError, base_python_version, command_of
from benchmarks.inputs import Inputs
from benchmarks.registry import BARE, OURS, PEERS, Contender
from benchmarks.regression_guard import read_reference, regressions, store_reference
from benchmarks.results import LAST, RESULTS, print_tables, ratios_to_bare, write_results
from benchmarks.run import Bench
from benchmarks.run_series import Part, Result, RunSeries, Workloads
from local.broker import LocalBroker
from local.end_signals import end_signals

console = Console(width=None if sys.stdout.isatty() else 220, highlight=False)

# The first round, the kills and the backlog always run; further rounds as far as this time allows.
_MINUTES_ALONE, _MINUTES_WITH_PEERS = 2.5, 28.5


@dataclass(frozen=True)
class BenchOptions:
    """What is measured, and how much; None means the default of that measurement."""

    peers: bool = False
    only: Sequence[str] = ()
    orders: int = 1_000_000
    rounds: int = 3
    minutes: float | None = None
    parts: Sequence[Part] = tuple(Part)
    seed: int = 1
    results: Path | None = None
    update_reference: bool = False

    @property
    def has_peers(self) -> bool:
        return self.peers or bool(self.only)


def run_bench(options: BenchOptions) -> int:
    """Run the benchmark, print the results, write them to files.

    Returns:
        The exit code: 1 if our output is not exact, or our ratio to the bare consumer is far below the reference.
    """
    for number in end_signals():
        signal.signal(number, signal.default_int_handler)  # so that the programs it has started are ended, too
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it logs errors for the deleted topics of finished runs
    gc.disable()  # a million orders in memory, none of them in a cycle
    commands, left_out = _environments(_chosen(options))
    if OURS not in commands:
        console.print(f"nothing to measure: {left_out[OURS.name]}", style="red", markup=False)
        return 1
    started_s = time.monotonic()
    minutes = options.minutes or (_MINUTES_WITH_PEERS if options.has_peers else _MINUTES_ALONE)
    deadline_s = started_s + minutes * 60
    directory = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        results = asyncio.run(_measure(options, commands, directory, deadline_s))
    finally:
        for data in directory.glob("*/data"):
            shutil.rmtree(data, ignore_errors=True)
    if any(result.outcome.failure for result in results):
        console.print(f"the logs of all runs are in {directory}", markup=False)
    else:
        shutil.rmtree(directory, ignore_errors=True)
    about: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": options.seed,
        "minutes": round((time.monotonic() - started_s) / 60, 1),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()} {platform.release()}",
        "python": base_python_version(),
        "left_out": left_out,
    }
    print_tables(console, results)
    for contender, reason in left_out.items():
        console.print(f"left out: {contender}: {reason}", style="yellow", markup=False)
    written = write_results(options.results or (RESULTS if options.peers else LAST), results, about)
    console.print(f"{about['minutes']} minutes; written: {', '.join(map(str, written))}", markup=False, soft_wrap=True)
    return _judge(results, update=options.update_reference)


def _chosen(options: BenchOptions) -> list[Contender]:
    peers = [peer for peer in PEERS if options.peers or peer.folder in options.only or peer.name in options.only]
    return [OURS, BARE, *peers]


def _environments(contenders: Collection[Contender]) -> tuple[dict[Contender, list[str]], dict[str, str]]:
    """The commands of the contenders that can be run on this machine, and why the others cannot."""
    commands, left_out = {}, {}
    for contender in contenders:
        try:
            commands[contender] = command_of(contender, console.print)
        except EnvironmentMissingError as error:
            left_out[contender.name] = str(error)
    return commands, left_out


async def _measure(
    options: BenchOptions, commands: dict[Contender, list[str]], directory: Path, deadline_s: float
) -> list[Result]:
    all_cores = os.sched_getaffinity(0)
    pinned = frozenset({max(all_cores)})
    others = all_cores - pinned
    if not others:
        console.print("one core for all: nothing here is measured on a core of its own", style="yellow")
    results: list[Result] = []
    with console.status("starting a broker") as status:

        def say(text: str) -> None:
            status.update(text)

        def on_result(result: Result) -> None:
            results.append(result)
            console.print(_line(len(results), result), markup=False)

        workloads = Workloads(options.seed, say)

        async def campaign(
            stack: AsyncExitStack, name: str, broker_cores: Collection[int], cores: frozenset[int]
        ) -> RunSeries:
            os.sched_setaffinity(0, broker_cores)  # for this program, and for the broker that it starts
            broker = LocalBroker(directory / f"broker-{name}")
            stack.callback(broker.stop)
            await asyncio.to_thread(broker.start)
            inputs = await stack.enter_async_context(Inputs(broker.bootstrap_servers))
            runs = directory / name
            runs.mkdir()
            bench = Bench(broker.bootstrap_servers, inputs, cores, runs, say)
            return RunSeries(bench, commands, workloads, options.orders, on_result)

        async with AsyncExitStack() as stack:
            alone = await campaign(stack, "one-core", others or all_cores, pinned)
            # The kills come first: the broker's JVM is still compiling at the start, which would slow down the first contender.
            if Part.KILL in options.parts:
                await alone.kills(options.seed)
            if Part.SPEED in options.parts:
                await alone.round(1, deadline_s)
            if Part.BACKLOG in options.parts:
                async with AsyncExitStack() as inner:
                    machine = await campaign(inner, "machine", all_cores, frozenset(all_cores))
                    await machine.backlog()
                os.sched_setaffinity(0, others or all_cores)
            if Part.SPEED in options.parts:
                for number in range(2, options.rounds + 1):
                    await alone.round(number, deadline_s)
    return results


def _line(number: int, result: Result) -> str:
    outcome = result.outcome
    plan = outcome.plan
    what = f"{number:3}. {result.part} {result.round}, {plan.contender.title} {plan.contender.guarantee}, {plan.stage}"
    if outcome.figures is None:
        return f"{what}: failed: {outcome.failure}"
    differences = f", {outcome.differences}" if outcome.differences else ""
    missing = f", {outcome.missing_orders:,} orders missing" if outcome.missing_orders else ""
    return f"{what}: {outcome.orders:,} orders, {outcome.figures.whole_per_s:,.0f}/s{differences}{missing}"


def _judge(results: list[Result], *, update: bool) -> int:
    ours = [result for result in results if result.outcome.plan.contender is OURS]
    findings = [
        f"{result.part}, {result.outcome.plan.stage}: {result.outcome.failure or result.outcome.differences}"
        for result in ours
        if result.outcome.differences is None or not result.outcome.differences.exact
    ]
    measured = ratios_to_bare(results)
    if measured and update:
        store_reference(measured)
    elif measured:
        findings += regressions(measured, read_reference())
    if any(result.part is Part.SPEED for result in results):
        findings += [f"{stage}: not compared with a bare consumer" for stage in BARE.stages if stage not in measured]
    for finding in findings:
        console.print(f"BAD: {finding}", style="bold red", markup=False)
    for stage, ratio in measured.items():
        console.print(f"{stage}: {ratio.median:.0%} of a bare consumer's speed ({ratio.low:.0%} to {ratio.high:.0%})")
    return 1 if findings else 0
