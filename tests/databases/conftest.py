"""A PostgreSQL server for all tests of a run, and an empty database of each kind for a test."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.databases.postgresql import PostgresServer, binaries
from tests.databases.probes import PostgresqlProbe, Probe, SqliteProbe

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The server; without an installed PostgreSQL the test is skipped, and fails in CI."""
    if binaries() is None:
        message = "PostgreSQL is not installed (Debian, Ubuntu: apt install postgresql)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    with PostgresServer() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def probe(request: pytest.FixtureRequest, tmp_path: Path) -> Probe:
    """An empty database, and a probe that reads it without code of the sink."""
    if request.param == "sqlite":
        return SqliteProbe(tmp_path / "metrics.db")
    return PostgresqlProbe(request.getfixturevalue("postgres").create_database(f"test{next(_numbers)}"))
