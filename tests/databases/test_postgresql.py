"""Behaviour that only PostgreSQL has: rolled-back transactions, outages, and COMMIT that ends as ROLLBACK."""

import asyncio
import itertools
from collections.abc import AsyncIterator

import psycopg
import pytest

from libs.events.product_metrics import MetricRow
from services.sink.database.postgresql import database as postgresql_database
from services.sink.database.postgresql import session as postgresql_session
from services.sink.database.postgresql.session import PostgresqlSession
from services.sink.database.schema import migrations
from services.sink.database.session import DatabaseRefusedError, DatabaseUnavailableError, FencedError, Move
from services.sink.record_batcher import Position
from tests.databases.postgresql import PostgresServer
from tests.databases.probes import PostgresqlProbe
from tests.databases.test_sessions import BEGIN, ROWS
from tests.integration.services import eventually

_numbers = itertools.count(1)


@pytest.fixture
def probe(postgres: PostgresServer) -> PostgresqlProbe:
    return PostgresqlProbe(postgres.create_database(f"alone{next(_numbers)}"))


@pytest.fixture
async def session(probe: PostgresqlProbe) -> AsyncIterator[PostgresqlSession]:
    session = await probe.session()
    assert isinstance(session, PostgresqlSession)
    yield session
    await session.close()


def fail_writes(probe: PostgresqlProbe, sqlstate: str, times: int) -> None:
    """Let the first ``times`` statements that insert rows fail; the sequence ``inserts`` counts all of them."""
    probe.query(f"""
        create sequence inserts;
        create function fail() returns trigger language plpgsql as $$
        begin
            if nextval('inserts') <= {times} then
                raise exception 'planted' using errcode = '{sqlstate}';
            end if;
            return null;
        end $$;
        create trigger fail before insert on product_metrics for each statement execute function fail();
    """)


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
async def test_a_transaction_rolled_back_by_the_server_is_retried(
    probe: PostgresqlProbe, session: PostgresqlSession, sqlstate: str
) -> None:
    epoch = await session.take_over("first", 10)
    assert epoch
    fail_writes(probe, sqlstate, times=3)
    await session.write(epoch, ROWS, BEGIN)
    assert probe.rows() == ROWS
    assert probe.progress() == {0: 2, 4: 1}


async def test_rows_that_are_there_already_take_one_more_statement(
    probe: PostgresqlProbe, session: PostgresqlSession
) -> None:
    """With one statement a row, a backlog with one such row would exceed the time limit of a write on a slow connection."""
    epoch = await session.take_over("first", 10)
    assert epoch
    await session.write(epoch, ROWS, BEGIN)
    fail_writes(probe, "40001", times=0)
    new = [MetricRow(3600, 3660, f"é{number:03}", 1, number, number) for number in range(500)]
    again = new[7]._replace(revenue_cents=9)
    rows = [ROWS[0], *new[:8], again, *new[8:], ROWS[2]]
    assert await session.write(epoch, rows, [Move(0, 2, Position(9, 9))]) == [ROWS[0], again, ROWS[2]]
    assert probe.rows() == [*ROWS, *new]
    assert probe.query("select last_value from inserts") == [(2,)]


@pytest.mark.parametrize("sqlstate", ["40001", "53100", "57014", "25006"])
async def test_a_repeated_failure_is_raised_as_an_outage(
    probe: PostgresqlProbe, session: PostgresqlSession, sqlstate: str
) -> None:
    epoch = await session.take_over("first", 10)
    assert epoch
    fail_writes(probe, sqlstate, times=100)
    with pytest.raises(DatabaseUnavailableError, match="planted"):
        await session.write(epoch, ROWS, BEGIN)
    assert (probe.rows(), probe.progress()) == ([], {})


async def test_a_real_deadlock_is_resolved_by_a_retry(probe: PostgresqlProbe, session: PostgresqlSession) -> None:
    epoch = await session.take_over("first", 10)
    assert epoch
    async with await psycopg.AsyncConnection.connect(probe.url) as other:
        await other.execute(
            "set deadlock_timeout = '1min'"
        )  # so that the sink's transaction is the one that is rolled back
        await other.execute("lock table product_metrics in share mode")
        writing = asyncio.ensure_future(session.write(epoch, ROWS, BEGIN))
        await eventually(lambda: bool(probe.query("select 1 from pg_locks where not granted")))
        await other.execute("update sink_owner set topic = topic")  # waits for the sink, which waits for it
        await other.rollback()
        await writing
    assert probe.rows() == ROWS


async def test_a_commit_that_the_server_answers_with_rollback_is_an_error(
    probe: PostgresqlProbe, session: PostgresqlSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL answers COMMIT with ROLLBACK after an earlier error; psycopg raises no exception then."""
    epoch = await session.take_over("first", 10)
    assert epoch

    async def swallow(_: object) -> tuple[()]:
        with pytest.raises(psycopg.Error):
            await session._connection.execute("select 1 / 0")
        return ()

    monkeypatch.setattr(session, "_insert", swallow)
    with pytest.raises(DatabaseUnavailableError, match="ROLLBACK"):
        await session.write(epoch, ROWS, BEGIN)
    assert probe.progress() == {}


async def test_output_after_a_read_is_committed(probe: PostgresqlProbe, session: PostgresqlSession) -> None:
    """Without autocommit mode, the read would have opened a transaction that is never committed."""
    epoch = await session.take_over("first", 10)
    assert epoch
    assert await session.identity() is None
    await session.write(epoch, ROWS, BEGIN)
    assert probe.rows() == ROWS
    await session.close()
    assert probe.rows() == ROWS


async def test_the_open_transaction_of_a_stopped_sink_is_rolled_back(
    probe: PostgresqlProbe, session: PostgresqlSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its session holds a lock on the owner's row, until the server ends it."""
    monkeypatch.setattr(postgresql_database, "_SESSION", "set idle_in_transaction_session_timeout = '300ms'")
    paused = await probe.session()
    assert isinstance(paused, PostgresqlSession)
    epoch = await paused.take_over("paused", 10)
    assert epoch
    probe.expire()
    await paused._connection.execute("begin")
    await paused._connection.execute("update sink_owner set alive_at = clock_timestamp() - interval '1 hour'")
    newer = None
    while newer is None:
        newer = await session.take_over("second", 10)
    await session.write(newer, ROWS, BEGIN)
    with pytest.raises(DatabaseUnavailableError):
        await paused.write(epoch, ROWS, [Move(0, 2, Position(9, 9))])
    await paused.close()
    assert probe.progress() == {0: 2, 4: 1}


async def test_the_open_transaction_of_an_own_earlier_session_is_not_taken_for_another_sink(
    probe: PostgresqlProbe, session: PostgresqlSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A single sink whose connection broke in the middle of a write would wait for itself, and report that it stands by."""
    earlier_epoch = await session.take_over("first", 10)
    assert earlier_epoch
    monkeypatch.setattr(postgresql_database, "_SESSION", "set lock_timeout = '50ms'")
    later = await probe.session()
    await session._connection.execute("begin")
    await session.renew(earlier_epoch)
    assert await later.take_over("second", 10) is None
    with pytest.raises(DatabaseUnavailableError, match="earlier session of this sink"):
        await later.take_over("first", 10)
    await session._connection.execute("rollback")
    assert await later.take_over("first", 10) == earlier_epoch + 1
    await later.close()


async def test_a_role_without_privileges_gets_an_error_naming_them(
    postgres: PostgresServer, probe: PostgresqlProbe
) -> None:
    probe.query("create role poor login password 'poor'")
    probe.query("revoke create on schema public from public")
    unprivileged = PostgresqlProbe(probe.url.replace(f"admin:{postgres.password}", "poor:poor"))
    with pytest.raises(DatabaseRefusedError, match="permission denied"):
        await unprivileged.session()


async def test_of_several_hosts_it_takes_the_one_that_can_be_written(
    postgres: PostgresServer, probe: PostgresqlProbe
) -> None:
    """After a failover the former primary is back, read-only, and first in the URL."""
    database = probe.url.rpartition("/")[2]
    with PostgresServer() as former:
        former.create_database(database)
        with former.connect() as connection:
            connection.execute(f"alter role admin password '{postgres.password}'".encode())
            connection.execute(f"alter database {database} set default_transaction_read_only = on".encode())
        hosts = f"127.0.0.1:{former.port},127.0.0.1:{postgres.port}"
        both = PostgresqlProbe(f"postgresql://admin:{postgres.password}@{hosts}/{database}")
        session = await both.session()
        epoch = await session.take_over("first", 10)
        assert epoch
        await session.write(epoch, ROWS, BEGIN)
        await session.close()
        with pytest.raises(DatabaseUnavailableError, match="read-only"):
            await PostgresqlProbe(f"{both.url}?target_session_attrs=any").session()
    assert probe.rows() == ROWS


async def test_a_later_session_needs_no_right_to_create_tables(
    postgres: PostgresServer, probe: PostgresqlProbe
) -> None:
    probe.query("create role writer login password 'writer'")
    probe.query("grant create on schema public to writer")
    writer = PostgresqlProbe(probe.url.replace(f"admin:{postgres.password}", "writer:writer"))
    try:
        await (await writer.session()).close()
        probe.query("revoke create on schema public from public, writer")
        session = await writer.session()
        assert await session.take_over("first", 10)
        await session.close()
    finally:
        probe.query("drop owned by writer; drop role writer")


async def test_a_schema_that_is_named_after_the_role_later_changes_nothing(probe: PostgresqlProbe) -> None:
    """It comes first in the search path; a second set of tables would be begun there."""
    session = await probe.database_with(migrations("postgresql")[:2]).connect()
    epoch = await session.take_over("first", 10)
    assert epoch
    await session.write(epoch, ROWS, BEGIN)
    await session.close()
    probe.query("create schema authorization current_user")
    session = await probe.session()
    assert await session.take_over("first", 10) == epoch + 1
    assert await session.progress() == {0: Position(2, 7), 4: Position(1, 8)}
    await session.close()
    assert probe.query("select relname from pg_class where relnamespace = current_schema::regnamespace") == []
    assert probe.query("select max(version) from public.sink_schema") == [(migrations("postgresql")[-1].version,)]


async def test_a_lease_lasts_from_the_end_of_a_long_write(
    probe: PostgresqlProbe, session: PostgresqlSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a standby takes over after each write that takes as long as the lease."""
    monkeypatch.setattr(postgresql_session, "_LONG_WRITE_S", 0.0)
    epoch = await session.take_over("first", 10)
    assert epoch
    async with await psycopg.AsyncConnection.connect(probe.url) as other:
        await other.execute("lock table product_metrics in share mode")
        writing = asyncio.ensure_future(session.write(epoch, ROWS, BEGIN))
        await eventually(lambda: bool(probe.query("select 1 from pg_locks where not granted")))
        [(blocked,)] = probe.query("select clock_timestamp()")
        await other.rollback()
        await writing
    [(alive_at,)] = probe.query("select alive_at from sink_owner")
    assert alive_at > blocked


async def test_clear_names_the_transaction_that_is_in_its_way(
    probe: PostgresqlProbe, session: PostgresqlSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch = await session.take_over("first", 10)
    assert epoch
    await session.write(epoch, ROWS, BEGIN)
    monkeypatch.setattr(postgresql_database, "_SESSION", "set lock_timeout = '50ms'")
    clearing = await probe.session()
    async with await psycopg.AsyncConnection.connect(probe.url) as analyst:
        await analyst.execute("select count(*) from product_metrics")
        with pytest.raises(DatabaseUnavailableError, match="another transaction") as blocked:
            await clearing.clear()
        assert "pg_stat_activity" in blocked.value.advice
    assert probe.rows() == ROWS
    await clearing.clear()
    assert probe.rows() == []
    await clearing.close()


async def test_a_lost_connection_leaves_the_outcome_of_the_commit_unknown(
    probe: PostgresqlProbe, session: PostgresqlSession
) -> None:
    epoch = await session.take_over("first", 10)
    assert epoch
    probe.query("select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'order-%'")
    with pytest.raises(DatabaseUnavailableError):
        await session.write(epoch, ROWS, BEGIN)
    again = await probe.session()
    newer = await again.take_over("first", 10)
    assert newer == epoch + 1
    assert await again.progress() == {}
    await again.write(newer, ROWS, BEGIN)
    await again.close()
    with pytest.raises((DatabaseUnavailableError, FencedError)):
        await session.renew(epoch)
