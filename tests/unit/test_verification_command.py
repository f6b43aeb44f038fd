from pathlib import Path

import pytest
from rich.console import Console

from verification.__main__ import _arguments
from verification.report import Damage, Report
from verification.table import render

SETTINGS = ("KAFKA_BOOTSTRAP_SERVERS", "TOPIC_PREFIX", "WINDOW_SECONDS", "SINK_OUTPUT_PATH")


def arguments(monkeypatch: pytest.MonkeyPatch, *flags: str, **env: str) -> tuple[str, str, int, Path | None]:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.argv", ["verification", *flags])
    found = _arguments()
    return found.bootstrap, found.topic_prefix, found.window_seconds, found.output


def test_defaults_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.json"
    env = dict(zip(SETTINGS, ("here:1", "mine.", "10", str(metrics)), strict=True))
    assert arguments(monkeypatch) == ("localhost:9092", "", 60, None)
    assert arguments(monkeypatch, **dict.fromkeys(SETTINGS, "")) == ("localhost:9092", "", 60, None)
    assert arguments(monkeypatch, **env) == ("here:1", "mine.", 10, None)
    metrics.touch()
    assert arguments(monkeypatch, **env) == ("here:1", "mine.", 10, metrics)
    flags = ("--bootstrap=there:2", "--topic-prefix=", "--window-seconds=20", "--output=other.json")
    assert arguments(monkeypatch, *flags, **env) == ("there:2", "", 20, Path("other.json"))


def test_a_window_that_is_no_number_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        arguments(monkeypatch, WINDOW_SECONDS="a minute")
    assert "--window-seconds: invalid int value: 'a minute'" in capsys.readouterr().err


def table(report: Report) -> str:
    console = Console(width=160, color_system=None)
    with console.capture() as capture:
        console.print(render(report))
    return capture.get()


def test_the_table_says_what_its_figures_are() -> None:
    report = Report(sent=9, processed=9, accepted=9, in_closed_windows=4, in_open_windows=5)
    report.closed_windows, report.open_windows = 2, 3
    shown = table(report)
    assert "in closed windows (metrics: 2)" in shown
    assert "in open windows (metrics to come: 3)" in shown
    assert "A metric is the total of one product in one window." in shown
    assert "not compared" in shown
    assert "is running" not in shown


def test_the_table_says_why_more_are_accepted_than_processed() -> None:
    report = Report(sent=9, processed=9, accepted=12, in_closed_windows=12)
    assert "accepted also counts 3 orders that came while this looked" in table(report)
    report = Report(sent=9, processed=8, accepted=9, in_closed_windows=9)
    report.found(Damage.LOST, "orders[0]@1")
    assert "is running" not in table(report)
