"""Runs all contenders in a fixed order: rounds on one core, kills, and a backlog on the whole machine."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from random import Random

from aiokafka.errors import KafkaError

from benchmarks.inputs import Inputs
from benchmarks.orders import make_workload
from benchmarks.registry import BARE, OURS, Contender, Stage
from benchmarks.run import Bench, Outcome, Plan, Prepared, RunFailedError, prepare

KILL_ORDERS = 200_000
_KILLED_STAGES = (Stage.PROCESSOR, Stage.ANALYTICS)
_KILL_BETWEEN = (0.25, 0.7)
_COMMIT_S = 0.1


class Part(StrEnum):
    """The part of the benchmark that a run belongs to."""

    SPEED = "speed"
    KILL = "kill"
    BACKLOG = "backlog"


@dataclass(frozen=True)
class Result:
    """The outcome of a run, with its part and round; rounds are counted from 1."""

    part: Part
    round: int
    outcome: Outcome


@dataclass
class Workloads:
    """Workloads by their number of orders, each created once."""

    seed: int
    say: Callable[[str], None]
    _made: dict[int, Prepared] = field(default_factory=dict)

    def of(self, count: int, inputs: Inputs) -> Prepared:
        if count not in self._made:
            self.say(f"making {count:,} orders")
            self._made[count] = prepare(inputs, make_workload(count, self.seed, time.time()))
        return self._made[count]


@dataclass
class RunSeries:
    """Runs several contenders on one broker.

    Args:
        commands: the contenders, and the command that starts each of them.
        orders: the maximum number of orders in a run.
        on_result: called with each result.
    """

    bench: Bench
    commands: Mapping[Contender, list[str]]
    workloads: Workloads
    orders: int
    on_result: Callable[[Result], None]
    _durations_s: dict[tuple[str, Stage], float] = field(default_factory=dict)

    async def round(self, number: int, deadline_s: float) -> None:
        """One round on one core, stage by stage, the contenders in turn; after the first round only those that fit into the time."""
        if number > 1 and not self._fits(OURS, Stage.PROCESSOR, deadline_s):
            return  # its output is the input of others, and its figures are their reference
        prefix = f"r{number}-"
        for stage in Stage:
            for contender in self.commands:
                if stage not in contender.stages or (number > 1 and not self._fits(contender, stage, deadline_s)):
                    continue
                count = self._orders_of(contender)
                self.workloads.of(count, self.bench.inputs)  # created outside of the measured time
                started_s = time.monotonic()
                plan = self._plan(contender, stage, prefix)
                await self._run(Part.SPEED, number, plan, count)
                self._durations_s[contender.name, stage] = time.monotonic() - started_s
                if contender not in (OURS, BARE):
                    await self.bench.inputs.delete(plan.prefix)
        await self.bench.inputs.delete(prefix)

    async def kills(self, seed: int) -> None:
        """Kill each contender once in each stage, at a random time determined by ``seed``, and restart it at once."""
        random = Random(seed)  # noqa: S311 - not for cryptography
        for stage in _KILLED_STAGES:
            for contender in self.commands:
                kill_at, kill_after_s = random.uniform(*_KILL_BETWEEN), random.uniform(0, _COMMIT_S)
                if stage in contender.stages and contender is not BARE:
                    plan = replace(self._plan(contender, stage, "k-"), kill_at=kill_at, kill_after_s=kill_after_s)
                    count = min(contender.orders // 2, KILL_ORDERS, self.orders)
                    await self._run(Part.KILL, 1, plan, count)
        await self.bench.inputs.delete("k-")

    async def backlog(self) -> None:
        """Run both stages concurrently, with as many processes or threads as there are cores, once for each grace period."""
        for contender in self.commands:
            for grace_s in contender.graces_s if contender.machine_processes else ():
                prefix = f"b{grace_s}-{contender.name}-"
                threads = contender.machine_threads
                plan = Plan(
                    contender, Stage.BOTH, prefix, copies=contender.machine_processes, threads=threads, grace_s=grace_s
                )
                await self._run(Part.BACKLOG, 1, plan, self._orders_of(contender))
                await self.bench.inputs.delete(prefix)

    def _orders_of(self, contender: Contender) -> int:
        return min(contender.orders, self.orders)

    def _fits(self, contender: Contender, stage: Stage, deadline_s: float) -> bool:
        return time.monotonic() + self._durations_s.get((contender.name, stage), 0) <= deadline_s

    def _plan(self, contender: Contender, stage: Stage, prefix: str) -> Plan:
        if contender is BARE or (contender is OURS and stage is not Stage.BOTH):
            # Our analytics and the bare consumer read the output of our processor, including watermarks.
            return Plan(contender, stage, f"{prefix}ours-", own_input=contender is OURS and stage is Stage.PROCESSOR)
        return Plan(contender, stage, f"{prefix}{contender.name}-{stage}-")

    async def _run(self, part: Part, number: int, plan: Plan, count: int) -> None:
        prepared = self.workloads.of(count, self.bench.inputs)
        run = self.bench.read_all if plan.contender is BARE else self.bench.run
        try:
            outcome = await run(plan, self.commands[plan.contender], prepared)
        except (KafkaError, OSError, RunFailedError) as error:
            outcome = Outcome(plan, count, failure=repr(error))
        self.on_result(Result(part, number, outcome))
