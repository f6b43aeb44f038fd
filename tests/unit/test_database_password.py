"""SINK_DATABASE_PASSWORD_FILE: everything that reads the file names it if it has no password, and never its content."""

import asyncio
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from libs.runtime.errors import PipelineError
from metrics_report.sources import from_database
from metrics_report.summary import Selection
from services.sink.database.address import parse_address
from services.sink.database.connecting import database_at
from services.sink.database.session import DatabaseUnavailableError
from verification.output_database import OutputDatabase, read_rows

URL = "postgresql://sink@127.0.0.1:1/metrics"


def connect(file: Path) -> None:
    asyncio.run(database_at(parse_address(URL, file)).connect())


def verify(file: Path) -> None:
    read_rows(OutputDatabase(URL, file), 60)


def report(file: Path) -> None:
    list(from_database(parse_address(URL, file), Selection()))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read: No such file"),
        (b"", "is empty"),
        (b"\nhidden", "is empty"),
        (b"\xffhidden", "cannot be read: it is no UTF-8"),
    ],
)
@pytest.mark.parametrize("read", [connect, verify, report])
def test_a_file_without_a_password_is_named(
    tmp_path: Path, content: bytes | None, reason: str, read: Callable[[Path], None]
) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(PipelineError) as refused:
        read(file)
    assert str(refused.value).startswith(f"SINK_DATABASE_PASSWORD_FILE='{file}' {reason}")
    assert "hidden" not in "".join(traceback.format_exception(refused.value))
    if read is connect:
        assert isinstance(refused.value, DatabaseUnavailableError), "it is retried"
