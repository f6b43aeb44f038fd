"""One run of one contender: write input, start, monitor, optionally kill, check the output, clean up."""

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from subprocess import TimeoutExpired

from aiokafka.producer.message_accumulator import BatchBuilder

from benchmarks.inputs import ORDERS, PROCESSED, Batches, Inputs
from benchmarks.orders import CATALOGUE, Workload, processed
from benchmarks.output_check import Differences, OrdersCheck, WindowsCheck
from benchmarks.processes import Program
from benchmarks.registry import Contender, Stage
from benchmarks.run_monitor import SAMPLE_EVERY_S, RunMonitor, read_outputs
from benchmarks.samples import FIRST_RECORDS_BYTES, Figures, figures, visible_since
from libs.runtime.errors import PipelineError

QUIET_S = 1.0
# After a kill, an at-least-once program may write records a second time, up to its next commit.
QUIET_AFTER_KILL_S = 3.0
CLOSING_QUIET_S = 0.5
# Without activity for this long, no more output is expected; long enough for rebalances at the start and after a kill.
PATIENCE_S = 15.0
STALLED_S = 40.0
PINNED_GRACE_S = 300


class RunFailedError(PipelineError):
    """A contender has failed."""


@dataclass(frozen=True)
class Prepared:
    """A workload and its records, ready to be written."""

    workload: Workload
    orders: Batches
    closing: Batches
    processed: Batches


def prepare(inputs: Inputs, workload: Workload) -> Prepared:
    """Encode ``workload``, and drop its orders, which take more memory than the batches."""
    prepared = Prepared(
        workload, inputs.encode(workload.orders), inputs.encode(workload.closing), inputs.encode(processed(workload))
    )
    workload.orders.clear()
    return prepared


@dataclass(frozen=True)
class Plan:
    """The parameters of a run.

    Attributes:
        kill_at: the share of the work after which it is killed; None: no kill.
        kill_after_s: an additional random delay, since progress is visible at commits only, and the kill may come at any time.
        copies: processes of each program.
        own_input: whether topics are created and filled; otherwise those of an earlier run with ``prefix`` are read.
    """

    contender: Contender
    stage: Stage
    prefix: str
    kill_at: float | None = None
    kill_after_s: float = 0.0
    copies: int = 1
    threads: int = 1
    grace_s: int = PINNED_GRACE_S
    own_input: bool = True


@dataclass
class Outcome:
    """The outcome of a run; ``failure`` says why there are no figures; ``killed_in_time``: it was killed before its end."""

    plan: Plan
    orders: int
    figures: Figures | None = None
    differences: Differences | None = None
    missing_orders: int | None = None
    killed_in_time: bool = False
    failure: str = ""


@dataclass(frozen=True)
class Bench:
    """The test bench: a broker, the cores of the contender, a directory for logs and state."""

    bootstrap_servers: str
    inputs: Inputs
    cores: frozenset[int]
    directory: Path
    say: Callable[[str], None]

    async def run(self, plan: Plan, command: list[str], prepared: Prepared) -> Outcome:
        """Carry out ``plan``; failures are part of the outcome."""
        workload = prepared.workload
        outcome = Outcome(plan, workload.valid if plan.stage is Stage.ANALYTICS else workload.count)
        if plan.own_input:
            await self.inputs.create(plan.prefix)
            await self._write_input(plan, prepared)
        programs = self._programs(plan, command)
        windows = WindowsCheck(workload)
        async with AsyncExitStack() as stack:
            stack.callback(_stop_all, programs)
            monitor = await stack.enter_async_context(
                RunMonitor(self.bootstrap_servers, plan.prefix, programs, windows)
            )
            started_s = time.monotonic()
            for program in programs:
                program.start()
            try:
                idle_s = await self._until_done(plan, prepared, programs, monitor, outcome)
                if plan.stage is Stage.PROCESSOR:
                    ended_s = await self._check_orders(plan, workload, monitor, outcome)
                else:
                    ended_s = monitor.last_metric_s - idle_s
                    outcome.differences = windows.differences()
                    outcome.missing_orders = windows.missing_orders
                by_output = plan.stage is not Stage.ANALYTICS
                outcome.figures = figures(monitor.samples, started_s, ended_s, outcome.orders, by_output=by_output)
            except (RunFailedError, ValueError) as error:
                outcome.failure = f"{error}\n{programs[0].tail()}"
        return outcome

    async def read_all(self, plan: Plan, command: list[str], prepared: Prepared) -> Outcome:
        """A run of the bare consumer, which measures its time itself."""
        workload = prepared.workload
        outcome = Outcome(plan, workload.valid if plan.stage is Stage.ANALYTICS else workload.count)
        (program,) = self._programs(plan, command)
        async with AsyncExitStack() as stack:
            stack.callback(_stop_all, [program])
            windows = WindowsCheck(workload)
            monitor = await stack.enter_async_context(
                RunMonitor(self.bootstrap_servers, plan.prefix, [program], windows)
            )
            started_s = time.monotonic()
            program.start()
            try:
                await asyncio.to_thread(program.wait, STALLED_S)
                said = json.loads(program.tail(1))
                seconds = said["seconds"]
                ended_s = monitor.samples[-1].at_s
                seen = figures(monitor.samples, started_s, ended_s, outcome.orders, by_output=False)
                outcome.figures = Figures(
                    seconds,
                    outcome.orders / seconds,
                    seen.steady_per_s,
                    seen.cpu_s_per_million,
                    seen.peak_rss_mib,
                    seen.start_s,
                )
            except (ValueError, KeyError, TimeoutExpired) as error:
                outcome.failure = f"{error}: {program.tail()}"
        return outcome

    async def _write_input(self, plan: Plan, prepared: Prepared) -> None:
        if plan.stage is Stage.ANALYTICS:
            await self.inputs.write(plan.prefix + PROCESSED, prepared.processed)
            return
        await self.inputs.write(plan.prefix + ORDERS, prepared.orders)
        if plan.stage is Stage.PROCESSOR:
            await self.inputs.write(plan.prefix + ORDERS, prepared.closing)

    def _programs(self, plan: Plan, command: list[str]) -> list[Program]:
        catalogue = self.directory / "catalogue.json"
        catalogue.write_text(json.dumps(CATALOGUE))
        programs = []
        for stage in plan.contender.programs(plan.stage):
            for copy in range(plan.copies):
                name = f"{plan.prefix}{plan.contender.name}-{stage}-{copy}"
                state = self.directory / name
                state.mkdir()
                env = {
                    "BENCH_BOOTSTRAP": self.bootstrap_servers,
                    "BENCH_STAGE": stage,
                    "BENCH_PREFIX": plan.prefix,
                    "BENCH_GUARANTEE": plan.contender.guarantee,
                    "BENCH_GRACE_S": str(plan.grace_s),
                    "BENCH_THREADS": str(plan.threads),
                    "BENCH_STATE_DIR": str(state),
                    "BENCH_CATALOGUE": str(catalogue),
                }
                programs.append(Program(command, env, self.cores, self.directory / f"{name}.log"))
        return programs

    async def _until_done(
        self, plan: Plan, prepared: Prepared, programs: list[Program], monitor: RunMonitor, outcome: Outcome
    ) -> float:
        """Wait for the last output; returns the seconds for which the contender waited because of the benchmark.

        Raises:
            RunFailedError: a program ended, or there was no progress.
        """
        count = prepared.workload.count
        outputs = count + (sum(map(_records, prepared.closing.values())) if plan.stage is Stage.PROCESSOR else 0)

        def complete() -> bool:
            return monitor.visible >= outputs if plan.stage is Stage.PROCESSOR else monitor.windows.complete

        kill_at, idle_s, closing_due = plan.kill_at, 0.0, plan.stage is Stage.BOTH
        quiet_s = QUIET_S if kill_at is None else QUIET_AFTER_KILL_S
        while True:
            await asyncio.sleep(SAMPLE_EVERY_S)
            monitor.check()
            share = min(self._progress(plan, prepared, monitor), 1.0)
            self.say(f"{plan.contender.title} {plan.contender.guarantee}, {plan.stage}: {share:.0%}")
            ended = next((program for program in programs if program.exit_code is not None), None)
            if ended:
                raise RunFailedError(f"it ended with exit code {ended.exit_code}; the end of its log: {ended.tail(3)}")
            if kill_at is not None and share >= kill_at:
                await asyncio.sleep(plan.kill_after_s)
                outcome.killed_in_time = not complete()
                for program in programs:
                    program.kill()
                    program.start()
                kill_at = None
                continue
            quiet_for_s, inactive_s = time.monotonic() - monitor.changed_s, time.monotonic() - monitor.active_s
            if closing_due:
                if (monitor.visible >= count and quiet_for_s >= CLOSING_QUIET_S) or inactive_s >= PATIENCE_S:
                    await self.inputs.write(plan.prefix + ORDERS, prepared.closing)
                    idle_s, closing_due = quiet_for_s, False
                continue
            working = plan.kill_at is None and monitor.samples[-1].received_bytes >= FIRST_RECORDS_BYTES
            if (complete() and quiet_for_s >= quiet_s) or inactive_s >= (PATIENCE_S if working else STALLED_S):
                return idle_s

    def _progress(self, plan: Plan, prepared: Prepared, monitor: RunMonitor) -> float:
        if plan.stage is not Stage.ANALYTICS:
            return monitor.visible / prepared.workload.count
        total = sum(batch.size() for filled in prepared.processed.values() for batch in filled)
        return monitor.samples[-1].received_bytes / int(total)

    async def _check_orders(self, plan: Plan, workload: Workload, monitor: RunMonitor, outcome: Outcome) -> float:
        """Check the processor's output; returns when its last record became visible."""
        while True:
            check = OrdersCheck(workload)
            ends = await read_outputs(self.bootstrap_servers, plan.prefix, check)
            outcome.differences = check.differences()
            if not check.lost or time.monotonic() - monitor.changed_s > PATIENCE_S:
                return visible_since(monitor.samples, ends)


def _records(filled: list[BatchBuilder]) -> int:
    return sum(batch.record_count() for batch in filled)


def _stop_all(programs: list[Program]) -> None:
    for program in programs:
        program.terminate()
    for program in programs:
        program.stop()
