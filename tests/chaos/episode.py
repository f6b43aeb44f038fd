"""Runs one pipeline from its start to its verification, and injects faults meanwhile."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from local.broker import LocalBroker
from services.sink.file.finished_files import finished_files
from tests.chaos.chaos_database import ChaosDatabase
from tests.chaos.faults import Fault
from tests.chaos.missing_markers import end_hanging_transactions
from tests.chaos.stack import Stack
from tests.integration.pipeline import Pipeline
from tests.integration.services import HANGS_AFTER_S
from tests.kafka_proxy.faults import RequestFaults
from tests.kafka_proxy.proxy import KafkaProxy
from verification.output_database import OutputDatabase
from verification.report import Report
from verification.verify import verify

_PAUSE_S = (0.3, 2.0)
_PAUSE_AMONG_OTHERS_S = (1.0, 6.0)


@dataclass(frozen=True)
class Episode:
    """The faults and parameters of one pipeline run.

    The ``lanes`` run concurrently. Each injects its faults one after the other: each fault once, and then in random order
    for the rest of ``seconds``. ``faulty`` is the share of invalid orders. ``lateness``: some orders have to be late, in other
    episodes none may be. ``proxied``: the services connect through the proxy that injects network faults. ``outputs``: there are two sinks, which also write
    into PostgreSQL, and the file is finished every few seconds. ``replicas`` is the initial number of processors and of
    analytics. ``brokers`` is the number of brokers; with several, no fault of one may end a service, and the order of
    committed records is checked.
    """

    name: str
    lanes: Sequence[Sequence[Fault]]
    seconds: float = 0.0
    faulty: float = 0.01
    lateness: bool = False
    window_s: int = 5
    proxied: bool = False
    outputs: bool = False
    partitions: int = 6
    replicas: int = 3
    brokers: int = 1


@dataclass
class Outcome:
    """The outcome of an episode. Durations are reported but not checked, since they depend on the machine."""

    name: str
    report: Report
    injected: Counter[str] = field(default_factory=Counter)
    stall_s: float = 0.0
    recovery_s: float = 0.0
    peak_lag: int = 0
    restarts: int = 0
    memory_mb: dict[str, list[float]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return self.report.ok and not self.problems


async def run_episode(
    episode: Episode, broker: LocalBroker, directory: Path, *, seed: int, rate: int, say: Callable[[str], None]
) -> Outcome:
    """Start a pipeline with its own topics, inject the faults, and verify the result."""
    directory.mkdir(parents=True)  # noqa: ASYNC240 - nothing else runs yet that it could block
    async with AsyncExitStack() as exits:
        proxy = None
        if episode.proxied:
            assert broker.proxy, "the broker has no listener for the proxy"
            requests = RequestFaults(Random(f"{seed} {episode.name} requests"))
            proxy = await exits.enter_async_context(KafkaProxy(broker.proxy.clients, broker.proxy.broker, requests))
        servers = proxy.address if proxy else broker.bootstrap_servers
        pipeline = Pipeline(servers, f"{directory.name}-", directory, episode.window_s)
        pipeline.env |= {
            "IDLE_AFTER_SECONDS": "4",
            "TOPIC_PARTITIONS": str(episode.partitions),
            "TOPIC_REPLICATION_FACTOR": str(episode.brokers),
        }
        database = await exits.enter_async_context(ChaosDatabase()) if episode.outputs else None
        if database:
            pipeline.env |= {"SINK_OUTPUTS": "file,database", "SINK_DATABASE_URL": database.url}
            pipeline.env |= {"SINK_ROTATE": "2KB", "SINK_ROTATED_FORMAT": "gzip"}
        stack = await exits.enter_async_context(Stack(broker, pipeline, rate, say, proxy, database))
        sinks = ["sink"] * (2 if database else 1)
        for service in (*["processor"] * episode.replicas, *["analytics"] * episode.replicas, *sinks):
            stack.add(service)
        stack.add_traffic(episode.faulty)
        await stack.all_healthy()
        await stack.probe.flowing()
        await stack.probe.caught_up()
        outcome = Outcome(episode.name, Report())
        ends_s = time.monotonic() + episode.seconds
        in_order = len(episode.lanes) == 1 or not episode.seconds
        async with asyncio.TaskGroup() as lanes:
            for number, faults in enumerate(episode.lanes):
                random = Random(f"{seed} {episode.name} {number}")
                lanes.create_task(_lane(stack, outcome, faults, random, ends_s, in_order=in_order))
        await _recover(stack, outcome)
        await stack.all_healthy()
        await stack.end_traffic()
        say("traffic has ended: verifying")
        # Otherwise nothing could be verified.
        stack.problems += await end_hanging_transactions(broker.bootstrap_servers, pipeline.prefix, say)
        outcome.report = await verify(
            broker.bootstrap_servers,
            topic_prefix=pipeline.prefix,
            output=pipeline.output,
            database=OutputDatabase(database.direct_url) if database else None,
            window_seconds=episode.window_s,
            wait_closed_s=HANGS_AFTER_S,
            settle_s=HANGS_AFTER_S,
        )
        await stack.all_healthy()
        await asyncio.gather(*(stack.stop(each) for each in stack.of("processor", "analytics", "sink")))
    _conclude(episode, stack, outcome)
    return outcome


async def _lane(
    stack: Stack, outcome: Outcome, faults: Sequence[Fault], random: Random, ends_s: float, *, in_order: bool
) -> None:
    """Inject each fault once, then any of them until the time is over."""
    due = list(faults)
    while due or time.monotonic() < ends_s:
        fault = due.pop(0) if due else random.choice(faults)
        await asyncio.sleep(random.uniform(*(_PAUSE_S if in_order else _PAUSE_AMONG_OTHERS_S)))
        outcome.injected[fault.name] += await fault.inject(stack, random) or 1
        if in_order:
            await _recover(stack, outcome)
        await stack.background_done()


async def _recover(stack: Stack, outcome: Outcome) -> None:
    since_s = time.monotonic()
    try:
        await stack.probe.caught_up()
    except AssertionError as error:
        stack.problems.append(str(error))
    outcome.recovery_s = max(outcome.recovery_s, time.monotonic() - since_s)


def _conclude(episode: Episode, stack: Stack, outcome: Outcome) -> None:
    outcome.stall_s, outcome.peak_lag = stack.probe.stall_s, stack.probe.peak_lag
    outcome.restarts, outcome.memory_mb, outcome.problems = stack.restarts, stack.memory_mb, stack.problems
    if outcome.report.late and not episode.lateness:
        outcome.problems.append(f"{outcome.report.late} orders were late, though none came out of order")
    if episode.lateness and not outcome.report.late:
        outcome.problems.append("no order was late, though some were sent too late")
    if episode.outputs and not any(finished_files(stack.pipeline.output)):
        outcome.problems.append("the sink has finished no file")
    if episode.brokers > 1:
        outcome.problems += stack.probe.order.problems()
        if stack.probe.order.orders < outcome.report.processed / 2:
            outcome.problems.append(f"the committed reader saw {stack.probe.order.orders} orders only")
    if stack.restarts and episode.brokers > 1:
        outcome.problems.append(f"a service ended {stack.restarts} times, though no outage is worth that")
