"""A sink that is suspended, or whose host is cut off, in the middle of a write to PostgreSQL does not keep others from writing."""

import asyncio
import itertools

import pytest

from libs.events.product_metrics import MetricRow
from services.sink.database.postgresql.session import PostgresqlSession
from services.sink.database.session import DatabaseUnavailableError, FencedError, Move
from services.sink.record_batcher import Position
from tests.databases.postgresql import PostgresServer
from tests.databases.probes import PostgresqlProbe
from tests.databases.proxy import StallingProxy
from tests.integration.services import eventually

ROWS = [MetricRow(60, 120, f"product-{number:04}", 2, 300, 150) for number in range(200)]
MOVES = [Move(0, None, Position(200, 7))]
NO_LEASE_S = 0.0  # only a lock can keep the successor waiting


async def test_the_owner_can_be_replaced_wherever_its_write_stops(postgres: PostgresServer) -> None:
    positions = await positions_in_a_write(postgres)
    assert len(positions) > 8, "begin, lock, progress, rows and commit are separate requests"
    await asyncio.gather(*[replace_owner(postgres, f"stopped-{position}", position) for position in positions])


async def positions_in_a_write(postgres: PostgresServer) -> list[int]:
    """The number of bytes up to the middle and up to the end of each request of a write, but not up to its last one's end."""
    async with StallingProxy(postgres.port) as proxy:
        session = await session_at(proxy, postgres.create_database("complete"))
        epoch = await session.take_over("first", NO_LEASE_S)
        assert epoch is not None
        before = len(proxy.ends) - 1
        await session.write(epoch, ROWS, MOVES)
        ends = [end - proxy.ends[before] for end in proxy.ends[before:]]
        await session.close()
    halves = [(begin + end) // 2 for begin, end in itertools.pairwise(ends)]
    return sorted([*halves, *ends[1:-1]])


async def replace_owner(postgres: PostgresServer, name: str, position: int) -> None:
    url = postgres.create_database(name)
    probe = PostgresqlProbe(url)
    async with StallingProxy(postgres.port) as proxy:
        first = await session_at(proxy, url)
        second = await probe.session()
        await shorten_timeouts(first)
        epoch = await first.take_over("first", NO_LEASE_S)
        assert epoch is not None
        proxy.limit_bytes = proxy.ends[-1] + position
        write = asyncio.create_task(first.write(epoch, ROWS, MOVES))
        stalled = asyncio.create_task(proxy.stalled.wait())
        # On a very slow machine the server may end the session before.
        await asyncio.wait({write, stalled}, return_when=asyncio.FIRST_COMPLETED)
        stalled.cancel()
        taken: list[int] = []

        async def take_over() -> bool:
            taken.extend(filter(None, [await second.take_over("second", NO_LEASE_S)]))
            return bool(taken)

        await eventually(take_over, what=f"the lock is released, with {position} bytes of the write sent")
        assert await second.write(taken[0], ROWS, MOVES) == ()
        assert probe.rows() == ROWS
        await second.close()
    with pytest.raises((DatabaseUnavailableError, FencedError)):
        await write
    await first.close()
    assert probe.rows() == ROWS


async def shorten_timeouts(session: PostgresqlSession) -> None:
    for name, seconds in (("idle_in_transaction_session_timeout", 2), ("statement_timeout", 3)):
        cursor = await session._connection.execute(f"show {name}".encode())
        assert await cursor.fetchone() not in {None, ("0",)}, f"{name} is set"
        await session._connection.execute(f"set {name} = '{seconds}s'".encode())


async def session_at(proxy: StallingProxy, url: str) -> PostgresqlSession:
    session = await PostgresqlProbe(url.rpartition(":")[0] + f":{proxy.port}/" + url.rpartition("/")[2]).session()
    assert isinstance(session, PostgresqlSession)
    return session
