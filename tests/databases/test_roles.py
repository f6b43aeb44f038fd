"""The initial roles of the containers' database, created by its own script on a real server."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg import errors

from tests.databases.postgresql import PostgresServer, binaries
from tests.databases.probes import PostgresqlProbe
from tests.databases.test_sessions import BEGIN, ROWS

SCRIPT = Path(__file__).resolve().parents[2] / "database" / "roles.sql"
PASSWORDS = {"sink": "the sink's \\ own", "analyst": 'an "analyst"'}


@pytest.fixture
def urls(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The database's URL by role; the test has its own server, since roles belong to the whole server."""
    folder = binaries()
    if folder is None:
        pytest.skip("PostgreSQL is not installed")
    for role, password in PASSWORDS.items():
        (tmp_path / role).write_text(password)
    psql = shutil.which("psql", path=str(folder)) or "psql"
    with PostgresServer() as server:
        server.create_database("metrics")
        command = [psql, "-v", "ON_ERROR_STOP=1", "-v", f"passwords={tmp_path}", "-q", "-f", str(SCRIPT)]
        subprocess.run([*command, server.url("metrics")], check=True)
        yield {role: server.url("metrics", role, quote(password)) for role, password in PASSWORDS.items()}


async def test_the_sink_role_writes_and_the_analyst_role_reads(urls: dict[str, str]) -> None:
    session = await PostgresqlProbe(urls["sink"]).session()
    epoch = await session.take_over("sink", 10)
    assert epoch
    await session.write(epoch, ROWS, BEGIN)
    await session.close()
    analyst = PostgresqlProbe(urls["analyst"])
    assert analyst.rows() == ROWS
    assert analyst.query("select count(*) from revenue_share") == [(2,)]
    for statement in (
        "delete from product_metrics",
        "set default_transaction_read_only = off; delete from product_metrics",
        "set default_transaction_read_only = off; create table mine (n integer)",
        "set default_transaction_read_only = off; update sink_owner set epoch = 0",
    ):
        with pytest.raises((errors.ReadOnlySqlTransaction, errors.InsufficientPrivilege)):
            analyst.query(statement)


def test_other_clients_are_rejected(urls: dict[str, str]) -> None:
    with pytest.raises(psycopg.OperationalError, match="authentication"):
        PostgresqlProbe(urls["analyst"].replace("analyst%22", "wrong")).query("select 1")
