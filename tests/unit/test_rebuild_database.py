"""The confirmation of ``services.sink.rebuild_database``."""

import asyncio
import signal
import sys
from io import StringIO
from pathlib import Path

import pytest

from libs.events.product_metrics import MetricRow
from services.sink.database.address import parse_address
from services.sink.database.connecting import database_at
from services.sink.database.session import Move
from services.sink.rebuild_database import main
from services.sink.record_batcher import Position


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a database with three metrics, which is the one in the settings."""
    url = f"sqlite:///{tmp_path}/metrics.db"
    asyncio.run(_fill(url))
    monkeypatch.setenv("SINK_DATABASE_URL", url)
    return url


async def _fill(url: str) -> None:
    session = await database_at(parse_address(url)).connect()
    epoch = await session.take_over("sink", 10)
    assert epoch
    rows = [MetricRow(start, start + 60, "a", 2, 1050, 525) for start in (120, 60, 180)]
    await session.write(epoch, rows, [Move(0, None, Position(1, 0))])
    await session.close()


async def _is_empty(url: str) -> bool:
    session = await database_at(parse_address(url)).connect()
    try:
        return not await session.progress()
    finally:
        await session.close()


def exit_code(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    monkeypatch.setattr(sys, "argv", ["rebuild_database", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_ctrl_c_ends_it_in_a_container_whose_entry_point_blocks_signals(
    monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        assert exit_code(monkeypatch, "--yes") == 0
        assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert asyncio.run(_is_empty(database))


@pytest.mark.parametrize(
    ("answer", "code"), [("y", 0), ("YES", 0), ("n", 1), ("", 1), (EOFError(), 1), (KeyboardInterrupt(), 130)]
)
def test_only_yes_empties_the_database(
    monkeypatch: pytest.MonkeyPatch, database: str, answer: str | BaseException, code: int
) -> None:
    def asked(_: str) -> str:
        if isinstance(answer, BaseException):
            raise answer
        return answer

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", asked)
    assert exit_code(monkeypatch) == code
    assert asyncio.run(_is_empty(database)) is (code == 0)


def test_the_question_says_which_windows_are_deleted_and_what_is_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], database: str
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: "y")
    assert exit_code(monkeypatch) == 0
    said = capsys.readouterr().out
    assert "from 1970-01-01 00:01:00Z to 1970-01-01 00:03:00Z" in said
    assert "what the topic no longer has (retention.ms) is lost" in said
    assert exit_code(monkeypatch) == 0
    assert "there are no metrics" in capsys.readouterr().out


def test_without_a_terminal_the_option_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], database: str
) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO())
    assert exit_code(monkeypatch) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "--yes" in line
    assert not asyncio.run(_is_empty(database))
    assert exit_code(monkeypatch, "--yes") == 0
    assert asyncio.run(_is_empty(database))
