"""``DatabaseWriter`` with each database: identity, ownership, and commits with an unknown outcome."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.sink.database.database_writer import DatabaseWriter, OtherTopicError
from services.sink.database.session import DatabaseUnavailableError, Identity, Session
from services.sink.metrics_writer import OutputChangedError, OutputUnavailableError, WriterDisplacedError
from services.sink.record_batcher import Position
from tests.databases.probes import Probe
from tests.databases.test_sessions import ROWS

HERE = Identity("cluster", "topic")


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def writer_of(probe: Probe, identity: Identity = HERE, stop: asyncio.Event | None = None) -> DatabaseWriter:
    return DatabaseWriter(probe.database(), identity, stop or asyncio.Event())


@pytest.fixture
async def writer(probe: Probe) -> AsyncIterator[DatabaseWriter]:
    """A writer that has written one row."""
    writer = writer_of(probe)
    assert await writer.acquire()
    assert await writer.open("cluster") == {}
    assert await writer.write(ROWS[:1], {0: Position(5, 9)}) == []
    yield writer
    await writer.close()


async def empty_under(probe: Probe, writer: DatabaseWriter) -> None:
    """Empty the database as a rebuild does; the writer notices it and becomes the writer again."""
    session = await probe.session()
    await session.clear()
    await session.close()
    with pytest.raises(WriterDisplacedError):
        await writer.write(ROWS[1:], {0: Position(8, 1)})
    assert await writer.acquire()


async def test_it_continues_where_it_stopped(probe: Probe, writer: DatabaseWriter) -> None:
    await writer.close()
    again = writer_of(probe)
    assert await again.acquire()
    assert await again.open("cluster") == {0: Position(5, 9)}
    await again.write(ROWS[1:], {0: Position(8, 1), 3: Position(2, 2)})
    await again.close()
    assert probe.rows() == ROWS
    assert probe.progress() == {0: 8, 3: 2}


@pytest.mark.parametrize("other", [Identity("another", "topic"), Identity("cluster", "another")])
async def test_a_database_of_another_pipeline_is_not_touched(
    probe: Probe, writer: DatabaseWriter, other: Identity
) -> None:
    stranger = writer_of(probe, other)
    with pytest.raises(OtherTopicError) as refused:
        await stranger.acquire()
    assert "services.sink.rebuild_database" in refused.value.advice
    await stranger.close()
    await writer.write(ROWS[1:], {0: Position(8, 1)})
    assert probe.rows() == ROWS


async def test_a_replaced_cluster_is_detected(writer: DatabaseWriter) -> None:
    with pytest.raises(OtherTopicError, match="another"):
        await writer.open("another")


async def test_after_a_rebuild_for_a_replaced_cluster_it_stays_the_writer(probe: Probe, writer: DatabaseWriter) -> None:
    """The cluster that the process found at its start is no longer the database's."""
    await empty_under(probe, writer)
    assert await writer.open("another") == {}
    await writer.write(ROWS, {0: Position(3, 1)})
    await writer.close()  # as after a lost connection
    assert await writer.acquire()
    assert await writer.open("another") == {0: Position(3, 1)}


async def test_it_never_starts_over_without_a_command(probe: Probe, writer: DatabaseWriter) -> None:
    with pytest.raises(OtherTopicError, match="the reason"):
        await writer.start_over("the reason")
    assert probe.rows() == ROWS[:1]


async def test_a_second_writer_stands_by_and_takes_over_from_the_first(probe: Probe, writer: DatabaseWriter) -> None:
    second = writer_of(probe)
    assert not await second.acquire()
    probe.expire()
    assert await second.acquire()
    assert await second.open("cluster") == {0: Position(5, 9)}
    with pytest.raises(WriterDisplacedError):
        await writer.write(ROWS[1:], {0: Position(8, 1)})
    assert not await writer.acquire()
    await second.write(ROWS[1:], {0: Position(8, 1)})
    await second.close()
    assert probe.rows() == ROWS
    assert await writer.acquire()
    assert await writer.open("cluster") == {0: Position(8, 1)}


async def test_an_idle_writer_detects_that_it_was_displaced(probe: Probe) -> None:
    clock = Clock()
    writer = DatabaseWriter(probe.database(), HERE, asyncio.Event(), clock)
    assert await writer.acquire()
    await writer.open("cluster")
    probe.expire()
    second = writer_of(probe)
    assert await second.acquire()
    await writer.write([], {})  # not yet due
    clock.now_s += 3
    with pytest.raises(WriterDisplacedError):
        await writer.write([], {})
    await writer.close()
    await second.close()


async def test_an_idle_writer_stays_the_owner(probe: Probe) -> None:
    clock = Clock()
    writer = DatabaseWriter(probe.database(), HERE, asyncio.Event(), clock)
    assert await writer.acquire()
    await writer.open("cluster")
    probe.expire()
    clock.now_s += 3
    await writer.write([], {})
    second = writer_of(probe)
    assert not await second.acquire()
    await second.close()
    await writer.close()


async def test_a_database_restored_from_a_backup_is_filled_from_its_own_progress(
    probe: Probe, writer: DatabaseWriter
) -> None:
    """As after a restore from a backup: its rows and progress are older, but consistent."""
    probe.query("delete from product_metrics")
    probe.query("update sink_progress set next_offset = 2")
    with pytest.raises(OutputChangedError):
        await writer.write(ROWS[1:], {0: Position(8, 1)})
    assert await writer.acquire()
    assert await writer.open("cluster") == {0: Position(2, 9)}


async def test_a_rebuilt_database_is_filled_from_the_beginning(probe: Probe, writer: DatabaseWriter) -> None:
    await empty_under(probe, writer)
    assert await writer.open("cluster") == {}


@pytest.mark.parametrize("committed", [True, False])
async def test_a_commit_whose_outcome_is_unknown_is_looked_up(
    probe: Probe, writer: DatabaseWriter, committed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = writer._session
    assert session
    write = session.write

    async def lose_the_response(*arguments: object) -> object:
        if committed:
            await write(*arguments)  # type: ignore[arg-type]
        raise DatabaseUnavailableError("the connection was lost")

    monkeypatch.setattr(session, "write", lose_the_response)
    with pytest.raises(OutputUnavailableError, match="connection was lost"):
        await writer.write(ROWS[1:], {0: Position(8, 1)})
    assert await writer.acquire()
    positions = await writer.open("cluster")
    assert positions == {0: Position(8, 1) if committed else Position(5, 9)}
    if not committed:
        await writer.write(ROWS[1:], {0: Position(8, 1)})
    assert probe.rows() == ROWS


async def test_an_existing_row_is_reported(probe: Probe, writer: DatabaseWriter) -> None:
    (message,) = await writer.write([ROWS[0]._replace(revenue_cents=1)], {0: Position(6, 1)})
    assert "already" in message
    assert probe.rows() == ROWS[:1]


async def test_a_stop_does_not_wait_for_the_database(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = asyncio.Event()
    writer = writer_of(probe, stop=stop)
    assert await writer.acquire()
    await writer.open("cluster")
    session: Session | None = writer._session
    assert session

    async def hang(*_: object) -> None:
        stop.set()
        await asyncio.sleep(3600)

    monkeypatch.setattr(session, "write", hang)
    with pytest.raises(OutputUnavailableError, match="no answer"):
        await writer.write(ROWS, {0: Position(8, 1)})
    await writer.close()
