"""The proxy's sockets, in front of a broker that answers every request with success."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import pytest
from aiokafka.protocol.api import RequestStruct
from aiokafka.protocol.transaction import EndTxnRequest_v0, TxnOffsetCommitRequest_v0

from local.ports import free_ports
from tests.integration.services import eventually
from tests.kafka_proxy.faults import RequestFault, RequestFaults, Treatment
from tests.kafka_proxy.proxy import KafkaProxy
from tests.kafka_proxy.wire_format import Api

SUCCESS = bytes(6)  # of an EndTxn: throttle time and error code
OFFSETS = TxnOffsetCommitRequest_v0("id", "group", 7, 0, [("orders", [(0, 1, "")])])
END = EndTxnRequest_v0("id", 7, 0, True)


@dataclass
class Broker:
    """Keeps the received requests in order."""

    requests: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))
                self.requests.append(request)
                answer = request[4:8] + SUCCESS
                writer.write(len(answer).to_bytes(4, "big") + answer)
        except asyncio.IncompleteReadError:
            writer.close()


class Client:
    """A connection to the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._correlation_id = 0

    def send(self, request: RequestStruct) -> bytes:
        self._correlation_id += 1
        header = request.build_request_header(correlation_id=self._correlation_id, client_id="client")
        frame = bytes(header.encode() + request.encode())
        self._writer.write(len(frame).to_bytes(4, "big") + frame)
        return frame

    async def answer(self) -> int:
        """The correlation id of the next response."""
        size = int.from_bytes(await self._reader.readexactly(4), "big")
        return int.from_bytes((await self._reader.readexactly(size))[:4], "big")

    async def closed(self) -> bool:
        try:
            return not await self._reader.read(1)
        except ConnectionError:
            return True

    def close(self) -> None:
        self._writer.close()


class Setup:
    """A broker, the proxy in front of it, and clients."""

    def __init__(self, broker: Broker, proxy: KafkaProxy, port: int) -> None:
        self.broker = broker
        self.proxy = proxy
        self._port = port
        self.clients: list[Client] = []

    async def client(self) -> Client:
        self.clients.append(Client(*await asyncio.open_connection("127.0.0.1", self._port)))
        return self.clients[-1]


@asynccontextmanager
async def setup(*faults: RequestFault) -> AsyncIterator[Setup]:
    broker, (port, broker_port) = Broker(), free_ports(2)
    server = await asyncio.start_server(broker.serve, "127.0.0.1", broker_port)
    requests = RequestFaults(Random(1))
    for fault in faults:
        requests.add(fault)
    async with KafkaProxy(port, broker_port, requests) as proxy:
        running = Setup(broker, proxy, port)
        yield running
        for client in running.clients:
            client.close()
    server.close()
    await server.wait_closed()


async def test_requests_and_responses_are_forwarded() -> None:
    async with setup() as running:
        client = await running.client()
        sent = [client.send(OFFSETS), client.send(END)]
        assert [await client.answer(), await client.answer()] == [1, 2]
        assert running.broker.requests == sent


async def test_a_late_request_reaches_the_broker_just_before_its_target() -> None:
    fault = RequestFault(Api.END_TXN, Treatment.LATE, 1, Api.TXN_OFFSET_COMMIT, share=1.0)
    async with setup(fault) as running:
        client = await running.client()
        first = client.send(OFFSETS)
        assert await client.answer() == 1
        late = client.send(END)
        assert await client.closed()
        assert running.broker.requests == [first]
        client = await running.client()
        again, second = client.send(END), client.send(OFFSETS)
        assert [await client.answer(), await client.answer()] == [1, 2]
        assert running.broker.requests == [first, again, late, second]
        assert running.proxy.faults.answers == {(fault, 0): 1}


async def test_a_late_request_without_a_target_is_delivered_by_time() -> None:
    fault = RequestFault(Api.END_TXN, Treatment.LATE, 1, within_s=(0.01, 0.02), share=1.0)
    async with setup(fault) as running:
        client = await running.client()
        late = client.send(END)
        assert await client.closed()
        await eventually(lambda: running.proxy.faults.done(fault))
        assert running.broker.requests == [late]


async def test_a_lost_response() -> None:
    fault = RequestFault(Api.END_TXN, Treatment.ANSWER_LOST, 1, share=1.0)
    async with setup(fault) as running:
        client = await running.client()
        sent = [client.send(OFFSETS), client.send(END)]
        assert await client.answer() == 1
        assert await client.closed()
        assert running.broker.requests == sent
        assert running.proxy.faults.done(fault)


@pytest.mark.parametrize("sender_stays", [True, False])
async def test_half_open(sender_stays: bool) -> None:
    async with setup() as running:
        client = await running.client()
        client.send(OFFSETS)
        assert await client.answer() == 1
        running.proxy.stall()
        stalled = client.send(END)
        newcomer = await running.client()
        newcomer.send(OFFSETS)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.gather(client.answer(), newcomer.answer()), 0.1)
        assert len(running.broker.requests) == 1
        if not sender_stays:
            client.close()
        running.proxy.resume()
        await eventually(lambda: len(running.broker.requests) == 3)
        assert stalled in running.broker.requests


async def test_all_connections_cut() -> None:
    async with setup() as running:
        clients = [await running.client() for _ in range(3)]
        for client in clients:
            client.send(OFFSETS)
            assert await client.answer() == 1
        assert running.proxy.cut_all() == 3
        assert [await client.closed() for client in clients] == [True] * 3
        assert await _asked(await running.client()) == 1


async def _asked(client: Client) -> int:
    client.send(OFFSETS)
    return await client.answer()
