"""The proxy's sockets; the decisions are made in ``faults``."""

import asyncio
import contextlib
import time
from types import TracebackType
from typing import Self

from tests.kafka_proxy.faults import NO_ANSWER, Decision, HeldRequest, RequestFault, RequestFaults
from tests.kafka_proxy.wire_format import (
    correlation_id_of_answer,
    correlation_id_of_request,
    error_codes,
    parse_request,
)

_HOST = "127.0.0.1"
_POLL_S = 0.02
_ANSWER_LIMIT_S = 5.0


class KafkaProxy:
    """Listens on ``port`` and forwards all traffic to the broker's ``broker_port``; an async context manager.

    The broker has to advertise ``port`` on its listener ``broker_port`` (see ``LocalBroker``). Late requests are delivered
    over separate connections: a broker identifies a producer by its id, not by its connection.

    With ``idle_limit_s`` it handles idle connections like a load balancer: it silently drops a connection without traffic for
    that long, and resets it when the client uses it again. ``idle_resets`` counts these.
    """

    def __init__(
        self, port: int, broker_port: int, faults: RequestFaults, *, idle_limit_s: float | None = None
    ) -> None:
        self._port = port
        self._broker_port = broker_port
        self.faults = faults
        self.idle_limit_s = idle_limit_s
        self.idle_resets = 0
        self._open = asyncio.Event()
        self._open.set()
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        """Bootstrap servers for clients."""
        return f"{_HOST}:{self._port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, _HOST, self._port)
        self._keep(asyncio.create_task(self._deliver_overdue()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def idle_connections(self) -> int:
        """The number of connections that have been idle beyond the limit."""
        return sum(connection.is_idle() for connection in self._connections)

    def cut_all(self) -> int:
        """Close all connections at both ends; returns their number."""
        connections = list(self._connections)
        for connection in connections:
            connection.abort()
        return len(connections)

    def stall(self) -> None:
        """Stop forwarding in both directions; connections stay open, and new ones are accepted."""
        self._open.clear()

    def resume(self) -> None:
        """End ``stall``: forward everything received meanwhile, also from senders that have disconnected."""
        self._open.set()

    async def deliver(self, held: HeldRequest, *, in_time: bool) -> None:
        """Deliver a held request to the broker, and wait for the response."""
        codes = {NO_ANSWER}
        with contextlib.suppress(OSError, EOFError, TimeoutError):
            async with asyncio.timeout(_ANSWER_LIMIT_S):
                reader, writer = await asyncio.open_connection(_HOST, self._broker_port)
                try:
                    _write_frame(writer, held.frame)
                    codes = error_codes(held.request, await _read_frame(reader))
                finally:
                    writer.close()
        self.faults.delivered(held, codes, in_time=in_time)

    async def _deliver_overdue(self) -> None:
        while True:
            for held in self.faults.overdue(time.monotonic()):
                self._keep(asyncio.create_task(self.deliver(held, in_time=False)))
            await asyncio.sleep(_POLL_S)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.create_task(self._serve(reader, writer))
        serving.add_done_callback(lambda _: writer.transport.abort())  # also if it was cancelled before it began
        self._keep(serving)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            broker_reader, broker_writer = await asyncio.open_connection(_HOST, self._broker_port)
        except OSError:
            return
        connection = _Connection(self, self._open, (reader, writer), (broker_reader, broker_writer))
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)


class _Connection:
    """A client's connection, and the corresponding one to the broker."""

    def __init__(
        self,
        proxy: KafkaProxy,
        is_open: asyncio.Event,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        broker: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._proxy = proxy
        self._is_open = is_open
        self._from_client, self._to_client = client
        self._from_broker, self._to_broker = broker
        self._to_lose: dict[int, RequestFault] = {}
        self._used_s = time.monotonic()

    def abort(self) -> None:
        self._to_client.transport.abort()
        self._to_broker.transport.abort()

    async def run(self) -> None:
        """Forward requests and responses until either end, or a fault, closes the connection."""
        pumps = [asyncio.create_task(self._pass_requests()), asyncio.create_task(self._pass_answers())]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            try:
                results = await asyncio.gather(*pumps, return_exceptions=True)
            finally:
                # Data already written to the broker is still delivered.
                self._to_client.transport.abort()
                self._to_broker.close()
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, OSError | EOFError):
                raise result

    async def _pass_requests(self) -> None:
        while True:
            frame = await _read_frame(self._from_client)
            if self.is_idle():
                self._proxy.idle_resets += 1
                return
            self._used_s = time.monotonic()
            await self._is_open.wait()
            request = parse_request(frame)
            decision = self._proxy.faults.on_request(request, frame, time.monotonic()) if request else Decision()
            for held in decision.deliver_first:
                await self._proxy.deliver(held, in_time=True)
            if not decision.forward:
                return
            if decision.lose_answer:
                self._to_lose[correlation_id_of_request(frame)] = decision.lose_answer
            _write_frame(self._to_broker, frame)
            await self._to_broker.drain()

    def is_idle(self) -> bool:
        """Whether it has been idle beyond the limit."""
        limit_s = self._proxy.idle_limit_s
        return limit_s is not None and time.monotonic() - self._used_s > limit_s

    async def _pass_answers(self) -> None:
        while True:
            frame = await _read_frame(self._from_broker)
            self._used_s = time.monotonic()
            await self._is_open.wait()
            fault = self._to_lose.get(correlation_id_of_answer(frame))
            if fault is not None:
                self._proxy.faults.answer_lost(fault)
                return
            _write_frame(self._to_client, frame)
            await self._to_client.drain()


async def _read_frame(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))


def _write_frame(writer: asyncio.StreamWriter, frame: bytes) -> None:
    writer.write(len(frame).to_bytes(4, "big"))
    writer.write(frame)
