"""Tests of the tests: defects planted into the PostgreSQL code have to be detected."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from random import Random
from typing import Any

import pytest

from libs.events.product_metrics import MetricRow
from services.sink.database.address import parse_address
from services.sink.database.connecting import database_at
from services.sink.database.database_writer import DatabaseWriter
from services.sink.database.postgresql import session as postgresql_session
from services.sink.database.postgresql.session import PostgresqlSession
from services.sink.database.postgresql.statements import BEGIN_PARTITION, MOVE
from services.sink.database.session import Identity, Move
from services.sink.metrics_writer import OutputChangedError, OutputUnavailableError, WriterDisplacedError
from services.sink.record_batcher import Position
from tests.databases.postgresql import PostgresServer
from tests.databases.probes import PostgresqlProbe
from tests.databases.proxy import CuttingProxy, randomly

ROWS = [MetricRow(60 * number, 60 * number + 60, "prod-1", 1, number, number) for number in range(60)]
Writer = type[DatabaseWriter]


def writer_at(url: str, kind: Writer) -> DatabaseWriter:
    return kind(database_at(parse_address(url)), Identity("cluster", "topic"), asyncio.Event())


async def write_rest(writer: DatabaseWriter, random: Random) -> None:
    """Write ``ROWS`` like the sink: from the database's progress to the end, restarted after any error."""
    while True:
        try:
            assert await writer.acquire()
            positions = await writer.open("cluster")
            begun = positions[0].next_offset if positions else 0
            while begun < len(ROWS):
                end = min(begun + random.randrange(1, 5), len(ROWS))
                left_out = await writer.write(ROWS[begun:end], {0: Position(end, 0)})
                assert not left_out, "no row is duplicated"
                begun = end
        except (OutputUnavailableError, OutputChangedError, WriterDisplacedError):
            continue
        return


async def write_with_cut_connections(postgres: PostgresServer, probe: PostgresqlProbe, kind: Writer) -> None:
    """Nearly every second COMMIT is cut off, before or after the server has received it."""
    async with AsyncExitStack() as exits:
        cuts = randomly(Random(5), share=0.4)
        proxy = await exits.enter_async_context(CuttingProxy(postgres.port, cuts))
        writer = writer_at(probe.url.replace(f":{postgres.port}/", f":{proxy.port}/"), kind)
        exits.push_async_callback(writer.close)
        await write_rest(writer, Random(6))
        assert {"before", "after"} == set(proxy.made)
    assert probe.rows() == ROWS
    assert probe.progress() == {0: len(ROWS)}


async def resume_a_displaced_sink(postgres: PostgresServer, probe: PostgresqlProbe, kind: Writer) -> None:
    """It holds a batch that it has read, and still considers itself the owner."""
    async with AsyncExitStack() as exits:
        first, second = writer_at(probe.url, kind), writer_at(probe.url, kind)
        for writer in (first, second):
            exits.push_async_callback(writer.close)
        assert await first.acquire()
        await first.open("cluster")
        await first.write(ROWS[:2], {0: Position(2, 0)})
        probe.expire()
        assert await second.acquire()
        assert await second.open("cluster") == {0: Position(2, 0)}
        with pytest.raises(WriterDisplacedError):
            await first.write(ROWS[2:4], {0: Position(4, 0)})
        assert probe.rows() == ROWS[:2]
        await write_rest(second, Random(6))
    assert probe.rows() == ROWS


async def offsets_before_rows(
    self: PostgresqlSession,
    epoch: int,
    rows: Sequence[MetricRow],
    moves: Sequence[Move],
    put: Callable[[Sequence[MetricRow]], Awaitable[Sequence[MetricRow]]],
) -> Sequence[MetricRow]:
    """Two transactions instead of one."""
    await write(self, epoch, [], moves, put)
    await self._connection.execute("commit")
    await self._connection.execute("begin")
    return await put(rows)


write = PostgresqlSession._write


class RepeatsUnconfirmedCommit(DatabaseWriter):
    """A COMMIT without a response is assumed to have failed, and the transaction is repeated."""

    async def write(self, items: Sequence[MetricRow], positions: Any) -> Sequence[str]:
        offsets = dict(self._offsets)
        while True:
            try:
                return await super().write(items, positions)
            except OutputUnavailableError:
                assert await self.acquire()
                self._offsets = offsets


# Without the check of the previous offset.
MOVE_FROM_ANYWHERE = MOVE.replace("and progress.next_offset = move.before", "")
BEGIN_ANYWHERE = BEGIN_PARTITION.replace(
    "do nothing", "(partition) do update set next_offset = excluded.next_offset, crc32_before = excluded.crc32_before"
)

Scenario = Callable[[PostgresServer, PostgresqlProbe, Writer], Awaitable[None]]


@pytest.mark.parametrize("scenario", [write_with_cut_connections, resume_a_displaced_sink])
async def test_without_a_defect_nothing_is_found(scenario: Scenario, postgres: PostgresServer) -> None:
    probe = PostgresqlProbe(postgres.create_database(scenario.__name__))
    await scenario(postgres, probe, DatabaseWriter)


async def test_offsets_committed_before_the_rows_are_found(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PostgresqlSession, "_write", offsets_before_rows)
    probe = PostgresqlProbe(postgres.create_database("offsets-first"))
    with pytest.raises(AssertionError):
        await write_with_cut_connections(postgres, probe, DatabaseWriter)
    assert set(probe.rows()) < set(ROWS), "rows are lost"


async def test_a_missing_epoch_check_is_found(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql_session, "_require_own", lambda cursor, epoch: None)
    probe = PostgresqlProbe(postgres.create_database("no-epoch"))
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        await resume_a_displaced_sink(postgres, probe, DatabaseWriter)
    assert probe.rows() == ROWS[:4], "the displaced sink has written"


async def test_a_commit_repeated_without_checking_its_outcome_is_found(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The offsets would detect it; without their check the table's key does, and a row is reported as left out."""
    monkeypatch.setattr(postgresql_session, "MOVE", MOVE_FROM_ANYWHERE)
    monkeypatch.setattr(postgresql_session, "BEGIN_PARTITION", BEGIN_ANYWHERE)
    probe = PostgresqlProbe(postgres.create_database("repeated"))
    with pytest.raises(AssertionError, match="no row is duplicated"):
        await write_with_cut_connections(postgres, probe, RepeatsUnconfirmedCommit)


async def test_a_commit_assumed_done_without_checking_its_outcome_is_found(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class AssumesUnconfirmedCommitDone(DatabaseWriter):
        async def write(self, items: Sequence[MetricRow], positions: Any) -> Sequence[str]:
            try:
                return await super().write(items, positions)
            except OutputUnavailableError:
                assert await self.acquire()
                return ()

    monkeypatch.setattr(postgresql_session, "MOVE", MOVE_FROM_ANYWHERE)
    monkeypatch.setattr(postgresql_session, "BEGIN_PARTITION", BEGIN_ANYWHERE)
    probe = PostgresqlProbe(postgres.create_database("taken-for-done"))
    with pytest.raises(AssertionError):
        await write_with_cut_connections(postgres, probe, AssumesUnconfirmedCommitDone)
    assert set(probe.rows()) < set(ROWS), "rows are lost"
