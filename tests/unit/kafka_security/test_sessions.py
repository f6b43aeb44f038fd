"""A connection is replaced when most of its session is over and no request is pending."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.conn import AIOKafkaConnection
from aiokafka.protocol.admin import ApiVersionRequest, SaslAuthenticateRequest
from aiokafka.protocol.metadata import MetadataRequest

from libs.runtime.kafka_security import sessions
from libs.runtime.kafka_security.sessions import SessionConnection


class FakeTime:
    now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    time = FakeTime()
    monkeypatch.setattr(sessions, "time", time)
    return time


@pytest.fixture
async def connection(monkeypatch: pytest.MonkeyPatch) -> SessionConnection:
    """An open connection, whose broker answers every request with a session of ten seconds."""

    async def answer(*_: object) -> SimpleNamespace:
        return SimpleNamespace(session_lifetime_ms=10_000)

    monkeypatch.setattr(AIOKafkaConnection, "connected", lambda self: not getattr(self, "ended", False))
    monkeypatch.setattr(AIOKafkaConnection, "send", answer)
    monkeypatch.setattr(AIOKafkaConnection, "close", lambda self, **_: setattr(self, "ended", True))
    monkeypatch.setattr(AIOKafkaConnection, "__del__", lambda _: None)
    return SessionConnection("broker", 9092)


async def test_a_connection_is_replaced_after_four_fifths_of_its_session(
    connection: SessionConnection, time: FakeTime
) -> None:
    await connection.send(SaslAuthenticateRequest(b""))
    time.now_s += 7.9
    assert connection.connected()
    time.now_s += 0.1
    assert not connection.connected()
    assert connection.ended  # type: ignore[attr-defined]  # the fake's


async def test_a_connection_with_a_pending_request_is_not_replaced(
    connection: SessionConnection, time: FakeTime
) -> None:
    await connection.send(SaslAuthenticateRequest(b""))
    time.now_s += 60
    requests: Any = connection._requests
    requests.append("under way")
    assert connection.connected()
    requests.clear()
    assert not connection.connected()


async def test_a_connection_without_a_session_lifetime_is_kept(connection: SessionConnection, time: FakeTime) -> None:
    await connection.send(ApiVersionRequest())
    time.now_s += 1e6
    assert connection.connected()


@pytest.mark.parametrize("bootstraps", [True, False])
async def test_a_bootstrap_connection_is_closed_when_its_request_is_cancelled(
    connection: SessionConnection, monkeypatch: pytest.MonkeyPatch, bootstraps: bool
) -> None:
    """No client has it yet, so nobody else would close it."""

    async def no_answer(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(AIOKafkaConnection, "send", no_answer)
    if not bootstraps:
        connection = SessionConnection("broker", 9092, on_close=print)
    request = asyncio.ensure_future(connection.send(MetadataRequest([])))
    await asyncio.sleep(0)
    request.cancel()
    await asyncio.wait({request})
    assert request.cancelled()
    assert connection.connected() is not bootstraps
