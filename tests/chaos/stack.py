"""The services under chaos: replicas that are restarted when they end, as by a container's restart policy."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self

from local.broker import LocalBroker
from tests.chaos.chaos_database import ChaosDatabase
from tests.chaos.memory import rss_mb
from tests.chaos.probe import DATABASE_STAGES, STAGES, Probe
from tests.integration.pipeline import Pipeline
from tests.integration.services import ServiceProcess, eventually
from tests.kafka_proxy.faults import RequestFaults
from tests.kafka_proxy.proxy import KafkaProxy

_SUPERVISE_S = 0.2
_MEMORY_S = 1.0


class Replica:
    """A service's process. While ``wanted``, it is restarted whenever it ends."""

    def __init__(self, service: str, process: ServiceProcess) -> None:
        self.service = service
        self.process = process
        self.wanted = True
        self.leased = False

    def __str__(self) -> str:
        return self.process.name


class Stack:
    """One pipeline with its own topics; ``async with`` starts its services and their supervision."""

    def __init__(
        self,
        broker: LocalBroker,
        pipeline: Pipeline,
        rate: int,
        say: Callable[[str], None],
        proxy: KafkaProxy | None = None,
        database: ChaosDatabase | None = None,
    ) -> None:
        self.broker = broker
        self._proxy = proxy
        self._database = database
        self.pipeline = pipeline
        self.say = say
        self.probe = Probe(
            broker.bootstrap_servers,
            pipeline.prefix,
            pipeline.settings().topic_partitions,
            DATABASE_STAGES if database else STAGES,
        )
        self.replicas: list[Replica] = []
        self.problems: list[str] = []
        self.restarts = 0
        """Exits that no fault has caused."""
        self.memory_mb: dict[str, list[float]] = {}
        """The memory of the largest replica of each service, sampled each second."""
        self._rate = rate
        self._background: list[asyncio.Task[None]] = []
        self._later: set[asyncio.Task[None]] = set()

    @property
    def proxy(self) -> KafkaProxy:
        """The proxy between the services and the broker."""
        assert self._proxy, "an episode with network faults needs proxied=True"
        return self._proxy

    @property
    def database(self) -> ChaosDatabase:
        """The sink's database."""
        assert self._database, "an episode with database faults needs outputs=True"
        return self._database

    @property
    def requests(self) -> RequestFaults:
        """The faults of single requests."""
        return self.proxy.faults

    async def __aenter__(self) -> Self:
        await self.pipeline.make_topics()
        await self.probe.__aenter__()
        self._background = [asyncio.create_task(each) for each in (self._supervise(), self._watch_memory())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in (*self._background, *self._later):
            task.cancel()
        await asyncio.gather(*self._background, *self._later, return_exceptions=True)
        for replica in self.replicas:
            await replica.process.__aexit__(None, None, None)
        await self.probe.__aexit__(None, None, None)

    def add(self, service: str, entry_file: Path | None = None, *, wanted: bool = True, **env: str) -> Replica:
        """Start an additional replica."""
        process = self.pipeline.service(service, entry_file=entry_file, **env)
        replica = Replica(service, process)
        replica.wanted = wanted
        process.start()
        self.replicas.append(replica)
        return replica

    def add_traffic(self, faults: float) -> Replica:
        """Start the generator."""
        return self.add("generator", GENERATOR_RATE=str(self._rate), GENERATOR_FAULTS=str(faults))

    def of(self, *services: str) -> list[Replica]:
        """The replicas of these services that should be running."""
        return [each for each in self.replicas if each.service in services and each.wanted]

    async def acquire(self, random: Random, *services: str) -> Replica:
        """A replica of these services that no other fault uses; waits for one."""

        def free() -> list[Replica]:
            return [each for each in self.of(*services) if not each.leased]

        await eventually(lambda: bool(free()), what=f"a replica of {services} is free")
        replica = random.choice(free())
        replica.leased = True
        return replica

    async def acquire_all(self, random: Random, service: str) -> list[Replica]:
        """All replicas of this service; waits until no other fault uses one."""
        return [await self.acquire(random, service) for _ in self.of(service)]

    def run_in_background(self, work: Coroutine[None, None, None]) -> None:
        """Run ``work`` in the background; ``background_done`` waits for it."""
        self._later.add(asyncio.create_task(work))

    async def has_effect(self, condition: Callable[[], bool | Awaitable[bool]], what: str) -> None:
        """Wait until a fault has had its effect, and note a problem if it has none."""
        try:
            await eventually(condition, what=what)
        except AssertionError as error:
            self.problems.append(f"a fault without effect: {error}")

    async def background_done(self) -> None:
        """Wait until all background work of faults is done."""
        tasks, self._later = self._later, set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        self.problems += [repr(error) for error in results if isinstance(error, BaseException)]

    async def stop(self, replica: Replica) -> None:
        """Terminate the replica, and note a problem unless it ends cleanly."""
        replica.wanted = False
        if replica.process.process.poll() is not None:
            return  # it had crashed just before, and was not restarted yet
        # While Python is still importing, the signal ends it directly, and no work has begun yet.
        codes = {0} if replica.process.events() else {0, -signal.SIGTERM}
        if replica.service == "generator":
            codes.add(1)  # without a broker it reports orders that it could not send
        replica.process.terminate()
        await self.ends_with(codes, replica)

    async def ends_with(self, codes: set[int], replica: Replica) -> None:
        """Note a problem, and kill the replica, unless it ends with one of these exit codes."""
        try:
            found = await replica.process.wait()
        except AssertionError as error:
            self.problems.append(str(error))
            replica.process.kill()
            await replica.process.wait()
        else:
            if found not in codes:
                self.problems.append(f"{replica} ended with {found}")

    def start(self, replica: Replica) -> None:
        """Restart the replica after ``stop`` or ``kill``."""
        replica.process.start()
        replica.wanted = True

    async def kill(self, replica: Replica) -> None:
        """Kill the replica (SIGKILL); it stays down until ``start``."""
        replica.wanted = False
        replica.process.kill()
        await replica.process.wait()

    async def remove(self, replica: Replica) -> None:
        """Scale down by this replica."""
        await self.stop(replica)
        self.replicas.remove(replica)

    async def all_healthy(self) -> None:
        """Note a problem for each replica whose ``/health`` does not become healthy."""
        for replica in self.of("processor", "analytics", "sink", "generator"):

            async def healthy(process: ServiceProcess = replica.process) -> bool:
                try:
                    return (await process.health())[0] == HTTPStatus.OK
                except (AssertionError, OSError, HTTPException):
                    return False  # it has ended, and will be restarted

            try:
                await eventually(healthy, what=f"{replica} is healthy")
            except AssertionError as error:
                self.problems.append(str(error))

    async def end_traffic(self) -> None:
        """Let the generators send their buffered orders, and end."""
        flowed_until_s = time.monotonic()
        for replica in self.of("generator"):
            await self.stop(replica)
        await self.probe.freeze(flowed_until_s)

    async def _supervise(self) -> None:
        while True:
            for replica in self.replicas:
                code = replica.process.process.poll()
                if replica.wanted and code is not None:
                    self.restarts += 1
                    self.say(f"{replica} had ended with {code}: started again")
                    replica.process.start()
            await asyncio.sleep(_SUPERVISE_S)

    async def _watch_memory(self) -> None:
        while True:
            for service in ("generator", "processor", "analytics", "sink"):
                sizes = [rss_mb(each.process.process.pid) for each in self.of(service)]
                if sizes:
                    self.memory_mb.setdefault(service, []).append(max(sizes))
            await asyncio.sleep(_MEMORY_S)
