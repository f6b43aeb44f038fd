"""The span of a report, which a partition key may write in several ways."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bonus_airflow.operations import reports
from bonus_airflow.operations.errors import SpanError


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Sequence[Any]]:
    """The commands that were run; each has written the report of 2026-11-27T14."""
    run: list[Sequence[Any]] = []
    found = {"span": "2026-11-27T14", "products": {}, "total": {}, "dead_letters": {}, "notes": []}
    (tmp_path / "report-2026-11-27T14.json").write_text(json.dumps(found))
    monkeypatch.setattr(reports, "run_command", run.append)
    return run


@pytest.mark.parametrize("key", ["2026-11-27T14", "2026-11-27T14:00", "2026-11-27T14:00:00", "2026-11-27T14:00:00Z"])
def test_an_hour_may_have_minutes_and_a_time_zone(commands: list[Sequence[Any]], tmp_path: Path, key: str) -> None:
    made = reports.make_report(key, str(tmp_path), 60)
    assert made["html"] == str(tmp_path / "report-2026-11-27T14.html")
    assert [command[-1] for command in commands] == ["2026-11-27T14"]


@pytest.mark.parametrize("key", ["yesterday", "2026-11-27T14:30", "2026-11-27:00", "../2026-11-27", "2026-11-27\n"])
def test_another_key_is_refused_before_the_command(commands: list[Sequence[Any]], tmp_path: Path, key: str) -> None:
    with pytest.raises(SpanError, match="is neither a day as in 2026-11-27 nor an hour as in 2026-11-27T14"):
        reports.make_report(key, str(tmp_path), 60)
    assert commands == []
