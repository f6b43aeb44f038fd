"""A broker connection without sockets: it records every request, and responds by script."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Any, cast

from aiokafka.structs import TopicPartition

from libs.runtime.transactions.connection import BrokerConnection
from tests.unit.transactions.requests import Sent, answer_to, sent

Scripted = int | BaseException | Callable[[Sent], Any]
"""An error code, an error to raise, or a function that creates the response."""


class FakeConnection:
    """Answers a request with the next entry of its script, or with success if there is none.

    Args:
        leaders: by partition; all others are led by broker 1.
    """

    def __init__(self, leaders: dict[TopicPartition, int] | None = None) -> None:
        self.leaders = leaders or {}
        self.requests: list[Sent] = []
        self.answered: list[str] = []
        self.refreshes = 0
        self.on_refresh: Callable[[], None] = lambda: None
        self.held: dict[str, asyncio.Event] = {}
        self._scripts: defaultdict[str, deque[Scripted]] = defaultdict(deque)

    def script(self, name: str, *answers: Scripted) -> None:
        """Set the responses to the next requests with this name."""
        self._scripts[name].extend(answers)

    def hold(self, *names: str) -> None:
        """Leave requests with these names unanswered until they are released; ``Produce@2`` is one to broker 2."""
        for name in names:
            self.held[name] = asyncio.Event()

    def release(self, name: str) -> None:
        self.held.pop(name).set()

    def as_connection(self) -> BrokerConnection:
        return cast(BrokerConnection, self)

    @property
    def names(self) -> list[str]:
        """The names of all requests, in the order in which they were sent."""
        return [request.name for request in self.requests]

    def named(self, name: str) -> list[Sent]:
        return [request for request in self.requests if request.name == name]

    def brokers(self) -> Iterable[int]:
        return [1, 2]

    async def leader(self, partition: TopicPartition) -> int:
        return self.leaders.get(partition, 1)

    async def refresh(self) -> None:
        self.refreshes += 1
        self.on_refresh()

    async def ask_coordinator(self, kind: int, key: str, request: Any) -> Any:
        return await self._answer(sent(request, to=(kind, key)))

    async def ask_any(self, request: Any) -> Any:
        return await self._answer(sent(request, to=0))

    async def coordinator(self, kind: int, key: str) -> int:
        return 2

    async def send(self, node: int, request: Any, group: int = 0) -> Any:
        return await self._answer(sent(request, to=node))

    async def _answer(self, request: Sent) -> Any:
        self.requests.append(request)
        await asyncio.sleep(0)
        for name in (request.name, f"{request.name}@{request.to}"):
            if name in self.held:
                await self.held[name].wait()
        scripted = self._scripts[request.name].popleft() if self._scripts[request.name] else 0
        if isinstance(scripted, BaseException):
            raise scripted
        self.answered.append(request.name)
        return answer_to(request, scripted) if isinstance(scripted, int) else scripted(request)
