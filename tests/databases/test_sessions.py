"""The interface ``Session``, tested with each database."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from libs.events.product_metrics import MetricRow
from services.sink.database import sqlite
from services.sink.database.schema import Migration, SchemaError, migrations
from services.sink.database.session import (
    DatabaseRefusedError,
    DatabaseUnavailableError,
    FencedError,
    Identity,
    Move,
    ProgressMovedError,
    Session,
)
from services.sink.record_batcher import Position
from tests.databases.probes import Probe, SqliteProbe

ROWS = [MetricRow(60, 120, "a", 2, 1050, 525), MetricRow(60, 120, "b", 1, 1, 1), MetricRow(120, 180, "a", 3, 100, 33)]
BEGIN = [Move(0, None, Position(2, 7)), Move(4, None, Position(1, 8))]


@pytest.fixture
async def session(probe: Probe) -> AsyncIterator[Session]:
    session = await probe.session()
    yield session
    await session.close()


@pytest.fixture
async def epoch(session: Session) -> int:
    epoch = await session.take_over("first", 10)
    assert epoch == 1
    return epoch


async def test_rows_and_progress_are_committed_together(probe: Probe, session: Session, epoch: int) -> None:
    assert await session.write(epoch, ROWS, BEGIN) == ()
    assert probe.rows() == ROWS
    assert await session.progress() == {0: Position(2, 7), 4: Position(1, 8)}
    await session.write(epoch, [], [Move(0, 2, Position(9, 2**32 - 1))])
    assert await session.progress() == {0: Position(9, 2**32 - 1), 4: Position(1, 8)}
    assert probe.rows() == ROWS
    assert await session.size_bytes() > 0
    assert await session.window_starts() == (60, 120)


@pytest.mark.parametrize(
    "moves",
    [
        [Move(0, 1, Position(3, 0))],
        [Move(0, None, Position(3, 0))],
        [Move(5, 2, Position(3, 0))],
        [Move(0, 2, Position(3, 0)), Move(4, 2, Position(3, 0))],
        [Move(0, 2, Position(3, 0)), Move(4, None, Position(3, 0))],
    ],
)
async def test_a_write_from_another_offset_than_the_stored_one_is_rejected(
    probe: Probe, session: Session, epoch: int, moves: list[Move]
) -> None:
    await session.write(epoch, ROWS[:1], BEGIN)
    with pytest.raises(ProgressMovedError):
        await session.write(epoch, ROWS[1:], moves)
    assert probe.rows() == ROWS[:1]
    assert probe.progress() == {0: 2, 4: 1}


async def test_an_owner_writes_while_its_lease_lasts(probe: Probe, session: Session, epoch: int) -> None:
    second = await probe.session()
    try:
        assert await second.take_over("second", 10) is None
        probe.expire()
        await session.renew(epoch)
        assert await second.take_over("second", 10) is None
        probe.expire()
        assert await second.take_over("second", 10) == epoch + 1
        assert await session.take_over("first", 10) is None
    finally:
        await second.close()


async def test_a_lease_does_not_last_longer_where_the_clock_is_set_back(
    probe: Probe, session: Session, epoch: int
) -> None:
    second = await probe.session()
    try:
        probe.clock_set_back()
        await session.renew(epoch)
        assert await second.take_over("second", 10) is None
        probe.clock_set_back()
        assert await second.take_over("second", 10) == epoch + 1
    finally:
        await second.close()


async def test_a_released_lease_is_available_at_once(probe: Probe, session: Session, epoch: int) -> None:
    await session.release(epoch)
    second = await probe.session()
    try:
        assert await second.take_over("second", 10) == epoch + 1
        await session.release(epoch)  # a late one, of a displaced owner
        assert await session.take_over("third", 10) is None
    finally:
        await second.close()


async def test_the_same_owner_raises_the_epoch_as_well(session: Session, epoch: int) -> None:
    """A write begun on a lost connection must not take effect later."""
    assert await session.take_over("first", 10) == epoch + 1
    with pytest.raises(FencedError):
        await session.write(epoch, ROWS, BEGIN)


async def test_a_displaced_owner_writes_nothing(probe: Probe, session: Session, epoch: int) -> None:
    await session.write(epoch, ROWS[:1], BEGIN)
    probe.expire()
    second = await probe.session()
    try:
        newer = await second.take_over("second", 10)
        assert newer is not None
        for forbidden in (
            session.write(epoch, ROWS[1:], [Move(0, 2, Position(4, 0))]),
            session.renew(epoch),
            session.adopt(epoch, Identity("c", "t")),
        ):
            with pytest.raises(FencedError):
                await forbidden
        assert probe.rows() == ROWS[:1]
        assert await second.identity() is None
        await second.write(newer, ROWS[1:], [Move(0, 2, Position(4, 0))])
        assert probe.rows() == ROWS
    finally:
        await second.close()


async def test_a_product_and_window_have_one_row(probe: Probe, session: Session, epoch: int) -> None:
    await session.write(epoch, ROWS[:2], BEGIN)
    other = ROWS[0]._replace(revenue_cents=9)
    again = await session.write(epoch, [other, ROWS[2], ROWS[2]], [Move(0, 2, Position(5, 0))])
    assert list(again) == [other, ROWS[2]]
    assert probe.rows() == ROWS
    assert probe.progress() == {0: 5, 4: 1}


async def test_windows_of_two_lengths_have_separate_rows(probe: Probe, session: Session, epoch: int) -> None:
    shorter = ROWS[0]._replace(window_end=70)
    assert await session.write(epoch, [ROWS[0], shorter], BEGIN) == ()
    assert probe.rows() == [shorter, ROWS[0]]


async def test_any_valid_metric_is_read_back_exactly(probe: Probe, session: Session, epoch: int) -> None:
    rows = sorted(
        [
            MetricRow(0, 1, "\t\\N\n\r\"'\\.", 1, 10**18 - 1, 10**18 - 1),
            MetricRow(0, 1, "\\N", 2**63 - 1, -(10**18) + 1, -1),
            MetricRow(0, 1, "é\U0001f600" * 32, 1, 0, 5),
            MetricRow(253_402_300_798, 253_402_300_799, "end", 1, 9_007_199_254_740_993, 1),
        ],
        key=lambda row: (row.window_start, row.product_id.encode()),
    )
    assert await session.write(epoch, rows, BEGIN) == ()
    assert probe.rows() == rows


async def test_an_identity_is_stored(probe: Probe, session: Session, epoch: int) -> None:
    assert await session.identity() is None
    await session.adopt(epoch, Identity("cluster", "topic"))
    second = await probe.session()
    try:
        assert await second.identity() == ("cluster", "topic")
    finally:
        await second.close()


async def test_after_clear_it_is_empty_and_has_no_owner(probe: Probe, session: Session, epoch: int) -> None:
    await session.adopt(epoch, Identity("cluster", "topic"))
    await session.write(epoch, ROWS, BEGIN)
    other = await probe.session()
    await other.clear()
    await other.close()
    assert (probe.rows(), probe.progress(), await session.identity()) == ([], {}, None)
    with pytest.raises(FencedError):
        await session.write(epoch, ROWS, [])
    assert await session.take_over("second", 10) == epoch + 2


async def test_a_database_whose_owner_row_was_deleted_is_refused_until_it_is_cleared(
    probe: Probe, session: Session, epoch: int
) -> None:
    """Not taken for one with another sink alive: this one would stand by for ever."""
    await session.write(epoch, ROWS, BEGIN)
    probe.query("delete from sink_owner")
    with pytest.raises(DatabaseRefusedError, match="sink_owner") as refused:
        await session.take_over("first", 10)
    assert "services.sink.rebuild_database" in refused.value.advice
    await session.clear()
    newer = await session.take_over("first", 10)
    assert newer
    await session.write(newer, ROWS, BEGIN)
    assert probe.rows() == ROWS


async def test_an_older_schema_is_migrated_with_its_rows(probe: Probe) -> None:
    known = migrations(probe.dialect)
    old = await probe.database_with(known[:1]).connect()
    epoch = await old.take_over("old", 10)
    assert epoch
    await old.write(epoch, ROWS[:2], BEGIN)
    new = await probe.session()
    try:
        assert probe.query("select * from revenue_share")
        # The older sink's connection continues.
        await old.write(epoch, ROWS[2:], [Move(0, 2, Position(3, 0))])
        assert probe.rows() == ROWS
    finally:
        await old.close()
        await new.close()


async def test_a_table_altered_during_a_session_causes_no_failure(probe: Probe, session: Session, epoch: int) -> None:
    """A statement that psycopg has prepared would fail from here on: "cached plan must not change result type"."""
    for number in range(8):
        await session.write(epoch, [ROWS[0]._replace(window_start=number)], [Move(number, None, Position(1, 1))])
        assert len(await session.progress()) == number + 1
    change = "alter column partition type bigint" if probe.dialect == "postgresql" else "add column note text"
    newer = [*migrations(probe.dialect), Migration(1000, f"alter table sink_progress {change};")]
    await (await probe.database_with(newer).connect()).close()
    assert len(await session.progress()) == 8
    await session.write(epoch, ROWS, [Move(0, 1, Position(2, 2))])


async def test_a_failed_migration_leaves_the_schema_as_it_was(probe: Probe) -> None:
    known = migrations(probe.dialect)
    wrong = Migration(1000, "create table extra (n integer);\ncreate table extra (n integer);\n")
    await (await probe.session()).close()
    with pytest.raises(DatabaseRefusedError):
        await probe.database_with([*known, wrong]).connect()
    right = Migration(1000, "create table extra (n integer);\n")
    await (await probe.database_with([*known, right]).connect()).close()
    assert probe.query("select count(*) from extra") == [(0,)]


async def test_a_newer_schema_is_rejected(probe: Probe) -> None:
    known = migrations(probe.dialect)
    await (await probe.database_with([*known, Migration(1000, "create table extra (n integer);")]).connect()).close()
    with pytest.raises(SchemaError, match="version 1000"):
        await probe.session()


async def test_the_schema_can_be_created_concurrently(probe: Probe) -> None:
    sessions = await asyncio.gather(*(probe.session() for _ in range(4)))
    epochs = await asyncio.gather(*(each.take_over(f"sink {number}", 10) for number, each in enumerate(sessions)))
    for each in sessions:
        await each.close()
    assert sorted(map(str, epochs)) == ["1", "None", "None", "None"]


async def test_a_closed_session_says_that_the_database_is_unavailable(session: Session, epoch: int) -> None:
    await session.close()
    with pytest.raises(DatabaseUnavailableError):
        await session.write(epoch, ROWS, BEGIN)


async def test_foreign_tables_are_rejected(probe: Probe) -> None:
    probe.query("create table product_metrics (n integer)")
    with pytest.raises(DatabaseRefusedError):
        await probe.session()


async def test_a_file_that_is_not_a_database_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "metrics.db").write_bytes(b"something else\n" * 100)
    with pytest.raises(DatabaseRefusedError, match="not the sink's database"):
        await SqliteProbe(tmp_path / "metrics.db").session()
    with pytest.raises(DatabaseRefusedError, match="cannot be written"):
        await SqliteProbe(tmp_path).session()


@pytest.mark.parametrize("instead", [None, b""])
async def test_a_deleted_or_replaced_file_is_detected(tmp_path: Path, instead: bytes | None) -> None:
    probe = SqliteProbe(tmp_path / "metrics.db")
    session = await probe.session()
    epoch = await session.take_over("first", 10)
    assert epoch
    await session.write(epoch, ROWS, BEGIN)
    probe.path.unlink()
    if instead is not None:
        probe.path.write_bytes(instead)
    with pytest.raises(ProgressMovedError):
        await session.renew(epoch)
    await session.close()
    again = await probe.session()
    assert await again.progress() == {}
    await again.close()
    assert probe.query("pragma integrity_check") == [("ok",)]


async def test_a_lease_lasts_from_the_end_of_a_long_write_to_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a standby takes over after each write that takes as long as the lease."""
    probe = SqliteProbe(tmp_path / "metrics.db")
    session = await probe.session()
    epoch = await session.take_over("first", 10)
    assert epoch
    times_s = iter([1000.0, 1020.0])
    monkeypatch.setattr(sqlite, "time", SimpleNamespace(time=lambda: next(times_s)))
    await session.write(epoch, ROWS, BEGIN)
    await session.close()
    assert probe.query("select alive_at_s from sink_owner") == [(1020.0,)]
