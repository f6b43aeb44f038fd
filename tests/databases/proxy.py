"""Proxies for PostgreSQL: one cuts the connection at a COMMIT, one stalls in the middle of a request."""

import asyncio
import contextlib
from collections.abc import Callable
from random import Random
from types import TracebackType
from typing import Literal, NamedTuple, Self

Cut = Literal["before", "after"]

_CHUNK_BYTES = 65_536


class ServerSide(NamedTuple):
    """A proxy's connection to the server; ``answers`` forwards what ``reader`` gets to the client."""

    writer: asyncio.StreamWriter
    reader: asyncio.StreamReader
    answers: "asyncio.Future[None]"


class Proxy:
    """Forwards all traffic to the server at ``port``, until a subclass ends a connection."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def port(self) -> int:
        assert self._server
        return int(self._server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(OSError):
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
            answers = asyncio.ensure_future(_pass_on(to_reader, writer))
            try:
                server = ServerSide(to_writer, to_reader, answers)
                while (data := await reader.read(_CHUNK_BYTES)) and await self._admit(data, server):
                    to_writer.write(data)
                    await to_writer.drain()
            finally:
                answers.cancel()
                for each in (writer, to_writer):
                    each.transport.abort()

    async def _admit(self, data: bytes, server: ServerSide) -> bool:
        """Whether to forward the client's ``data``; False ends the connection."""
        raise NotImplementedError


class CuttingProxy(Proxy):
    """Cuts the connection at a COMMIT if ``cuts`` says so.

    ``cuts`` is called at each COMMIT. "before": the server does not get it. "after": the server has committed, and its
    response is lost.
    """

    def __init__(self, port: int, cuts: Callable[[], Cut | None]) -> None:
        super().__init__(port)
        self._cuts = cuts
        self.made: list[Cut] = []

    async def _admit(self, data: bytes, server: ServerSide) -> bool:
        cut = self._cuts() if b"commit\0" in data else None
        if cut is None:
            return True
        if cut == "after":
            # The server's response is not forwarded; it only shows that the server has committed.
            server.answers.cancel()
            await asyncio.gather(server.answers, return_exceptions=True)
            server.writer.write(data)
            await server.reader.read(_CHUNK_BYTES)
        self.made.append(cut)
        return False


class StallingProxy(Proxy):
    """Forwards requests until ``limit_bytes`` of them have been forwarded, and then keeps the rest, as a suspended client does.

    ``ends`` has the number of bytes that had been forwarded after each read.
    """

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.limit_bytes: int | None = None
        self.ends: list[int] = [0]
        self.stalled = asyncio.Event()

    async def _admit(self, data: bytes, server: ServerSide) -> bool:
        forwarded = self.ends[-1]
        if self.limit_bytes is not None and forwarded + len(data) > self.limit_bytes:
            server.writer.write(data[: self.limit_bytes - forwarded])
            await server.writer.drain()
            self.stalled.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            return False
        self.ends.append(forwarded + len(data))
        return True


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
        writer.close()


def randomly(random: Random, share: float) -> Callable[[], Cut | None]:
    """Cut at a random ``share`` of all COMMITs, before or after."""
    return lambda: random.choice(("before", "after")) if random.random() < share else None
