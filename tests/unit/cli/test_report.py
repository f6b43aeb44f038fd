"""Which outputs a report compares with the topic."""

from dataclasses import replace
from pathlib import Path

import pytest

from cli.app import EXIT_DIFFERS, EXIT_DONE, run
from cli.commands import report as command
from cli.commands.report import compared_outputs
from cli.context import CATALOGUE, Origin, PipelineContext
from cli.context import Outputs as FoundOutputs
from cli.errors import UsageError
from daily_report.gather import Outputs
from daily_report.reconciliation import reconcile
from daily_report.report import Report
from daily_report.span import Span, parse_span
from libs.events.product_metrics import MetricRow
from services.sink.database.address import SqliteAddress

FILE, DATABASE = Path("/there/metrics.json"), "sqlite:////there/metrics.db"
BOTH, NONE = FoundOutputs(FILE, DATABASE, None), FoundOutputs(None, None, None)
FOUND = PipelineContext(Origin.LOCAL, "here:1", "", 60, BOTH, CATALOGUE)
NAMED = replace(FOUND, origin=Origin.OPTION, outputs=NONE)
DAY = parse_span("2026-11-27")


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SINK_OUTPUTS", "SINK_OUTPUT_PATH", "SINK_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)


def compared(context: PipelineContext, outputs: str | None = None) -> tuple[Path | None, bool]:
    found = compared_outputs(context, outputs)
    assert found.database is None or isinstance(found.database, SqliteAddress)
    return found.file, found.database is not None


def test_outputs_of_a_discovered_pipeline_are_those_of_its_sink() -> None:
    assert compared(FOUND) == (FILE, True)
    assert compared(replace(FOUND, outputs=replace(BOTH, file=None))) == (None, True)
    assert compared(replace(FOUND, outputs=replace(BOTH, database_url=None))) == (FILE, False)
    assert compared(FOUND, "file") == (FILE, False)
    assert compared(FOUND, "Database") == (None, True)
    assert compared(FOUND, "file, database") == (FILE, True)


@pytest.mark.parametrize("origin", [Origin.OPTION, Origin.ENVIRONMENT])
def test_the_outputs_of_this_machine_are_not_those_of_a_pipeline_named_by_its_address(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = replace(NAMED, origin=origin)
    assert compared(named) == (None, False)
    assert compared(named, "file,database") == (Path("output/metrics.json"), True)
    assert compared(replace(named, outputs=replace(NONE, file=FILE))) == (FILE, False)
    monkeypatch.setenv("SINK_OUTPUT_PATH", "/elsewhere/metrics.json")
    assert compared(named) == (Path("/elsewhere/metrics.json"), False)


def test_settings_of_the_sink_name_the_outputs_of_a_pipeline_named_by_its_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SINK_DATABASE_URL", DATABASE)
    assert compared(NAMED) == (None, True), "this machine's file is that of another pipeline"
    monkeypatch.setenv("SINK_OUTPUTS", "database")
    assert compared(NAMED) == (None, True)
    monkeypatch.setenv("SINK_OUTPUTS", "tape")
    with pytest.raises(UsageError, match="SINK_OUTPUTS 'tape': file, database"):
        compared(NAMED)


def test_an_output_named_by_an_option_is_compared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Outputs] = []

    def gather(_: PipelineContext, __: Span, outputs: Outputs, ___: float) -> Report:
        asked.append(outputs)
        return Report(DAY, reconcile({"topic": []}), {}, {})

    def compared_by(*options: str) -> tuple[Path | None, bool]:
        run(["report", "2026-11-27", "--bootstrap=there:1", f"--folder={tmp_path}", *options])
        return asked[-1].file, asked[-1].database is not None

    monkeypatch.setattr(command, "_gather", gather)
    default, named = Path("output/metrics.json"), Path("named.json")
    assert compared_by() == (None, False)
    assert compared_by("--database=sqlite:///named.db") == (None, True)
    assert compared_by("--file=named.json") == (named, False)
    assert compared_by("--file=named.json", "--database=sqlite:///named.db") == (named, True)
    assert compared_by("--outputs=file", "--database=sqlite:///named.db") == (default, False)
    monkeypatch.setenv("SINK_OUTPUTS", "file")
    assert compared_by("--database=sqlite:///named.db") == (default, True)
    monkeypatch.setenv("SINK_OUTPUTS", "database")
    assert compared_by("--file=named.json") == (named, True)


def test_a_database_s_password_is_in_no_error() -> None:
    hidden = replace(FOUND, outputs=replace(BOTH, database_url="mysql://me:hidden@there/db"))
    with pytest.raises(UsageError, match="the sink's database") as raised:
        compared(hidden)
    assert "hidden" not in str(raised.value)


def test_a_report_of_the_topic_alone_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    row = MetricRow(DAY.from_s, DAY.from_s + 60, "prod-1", 2, 1050, 525)
    monkeypatch.setattr(command, "context_of", lambda _: NAMED)
    monkeypatch.setattr(command, "_gather", lambda *_: Report(DAY, reconcile({"topic": [row]}), {}, {}))
    assert run(["report", "2026-11-27", f"--folder={tmp_path}"]) == EXIT_DONE
    captured = capsys.readouterr()
    assert ("2 orders, $10.50" in captured.out, "Not compared" in captured.out, captured.err) == (True, True, "")


@pytest.mark.parametrize("differs", [False, True])
def test_a_difference_is_reported_and_has_its_own_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, *, differs: bool
) -> None:
    row = MetricRow(DAY.from_s, DAY.from_s + 60, "prod-1", 2, 1050, 525)
    found = Report(DAY, reconcile({"topic": [row], "file": [] if differs else [row]}), {}, {})
    monkeypatch.setattr(command, "context_of", lambda _: FOUND)
    monkeypatch.setattr(command, "_gather", lambda *_: found)
    assert run(["report", "2026-11-27", f"--folder={tmp_path}"]) == (EXIT_DIFFERS if differs else EXIT_DONE)
    captured = capsys.readouterr()
    assert "2 orders, $10.50" in captured.out
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == ["report-2026-11-27.csv", "report-2026-11-27.html", "report-2026-11-27.json"]
    assert all(str(tmp_path / name) in captured.out for name in written)
    assert ("prod-1, window from 2026-11-27T00:00:00Z: topic: 2 orders" in captured.err) is differs
