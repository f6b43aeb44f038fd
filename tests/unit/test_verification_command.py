import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from libs.runtime.errors import PipelineError
from local import commands
from local.jars import ROOT
from local.settings import LocalSettings
from verification.__main__ import _arguments
from verification.report import Damage, Report
from verification.table import render
from verification.verify import CATALOGUE, verify

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


def database(monkeypatch: pytest.MonkeyPatch, *flags: str, **env: str) -> tuple[str | None, Path | None]:
    for name in ("SINK_OUTPUTS", "SINK_DATABASE_URL", "SINK_DATABASE_PASSWORD_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.argv", ["verification", *flags])
    found = _arguments()
    return found.database, found.database_password_file


def test_the_database_is_compared_when_the_sink_writes_one(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "postgresql://sink@here/metrics"
    assert database(monkeypatch) == (None, None)
    assert database(monkeypatch, SINK_DATABASE_URL=url) == (None, None)
    assert database(monkeypatch, SINK_OUTPUTS="file,database") == ("sqlite:///output/metrics.db", None)
    env = {"SINK_OUTPUTS": "database", "SINK_DATABASE_URL": url, "SINK_DATABASE_PASSWORD_FILE": "/run/secret"}
    assert database(monkeypatch, **env) == (url, Path("/run/secret"))
    assert database(monkeypatch, "--database=sqlite:///other.db", **env)[0] == "sqlite:///other.db"


def test_a_local_pipeline_s_database_password_is_not_in_the_list_of_processes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LOCAL_DIR", str(tmp_path))
    monkeypatch.setenv("SINK_OUTPUTS", "database")
    monkeypatch.setenv("SINK_DATABASE_URL", "postgresql://sink:hidden@here/metrics?password=hidden")
    LocalSettings.from_environment().save()
    assert (tmp_path / "settings.json").stat().st_mode & 0o077 == 0
    assert LocalSettings.of_running().outputs == "postgresql://sink@here/metrics"
    called: list[Any] = []

    def call(command: Sequence[str], *, cwd: Path, env: dict[str, str]) -> int:
        called.append((command, env))
        return 0

    monkeypatch.setattr("subprocess.call", call)
    monkeypatch.setattr(commands, "running_supervisor", lambda or_else: None)
    assert commands.verify([]) == 0
    ((command, env),) = called
    assert not any("hidden" in part or part.startswith("--output") for part in command)
    assert env["SINK_OUTPUTS"] == "database"
    assert "hidden" in env["SINK_DATABASE_URL"]


def test_a_window_that_is_no_number_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        arguments(monkeypatch, WINDOW_SECONDS="a minute")
    assert "--window-seconds: invalid int value: 'a minute'" in capsys.readouterr().err


def catalogues(monkeypatch: pytest.MonkeyPatch, *flags: str, env: str | None = None) -> list[Path]:
    if env is None:
        monkeypatch.delenv("PROCESSOR_CATALOGUE_PATH", raising=False)
    else:
        monkeypatch.setenv("PROCESSOR_CATALOGUE_PATH", env)
    monkeypatch.setattr("sys.argv", ["verification", *flags])
    found: list[Path] = _arguments().catalogues
    return found


def test_the_catalogue_is_the_processors_unless_others_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    assert catalogues(monkeypatch) == catalogues(monkeypatch, env="") == [CATALOGUE]
    assert catalogues(monkeypatch, env="now.json") == [Path("now.json")]
    flags = ("--catalogue", "old.json", "--catalogue=new.json")
    assert catalogues(monkeypatch, *flags, env="now.json") == [Path("old.json"), Path("new.json")]


@pytest.mark.parametrize("content", [None, "[]", '{"prod-1": "Lamp"}', '{"prod-1": {}, "prod-1": {}}'])
def test_what_is_no_catalogue_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "catalogue.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(PipelineError, match=r"no catalogue in .*catalogue\.json: .+"):
        asyncio.run(verify("127.0.0.1:1", catalogues=[CATALOGUE, path]))


@pytest.mark.parametrize(
    ("started_with", "expected"),
    [
        ("", CATALOGUE),
        ("mine/catalogue.json", ROOT / "mine/catalogue.json"),
        ("/a/catalogue.json", Path("/a/catalogue.json")),
    ],
)
def test_a_local_pipeline_is_verified_with_the_catalogue_that_it_was_started_with(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, started_with: str, expected: Path
) -> None:
    monkeypatch.setenv("LOCAL_DIR", str(tmp_path))
    monkeypatch.setenv("PROCESSOR_CATALOGUE_PATH", started_with)
    LocalSettings.from_environment().save()
    called: list[Any] = []

    def call(command: Sequence[str], *, cwd: Path, env: dict[str, str]) -> int:
        called.append((command[-1], cwd, env["PROCESSOR_CATALOGUE_PATH"]))
        return 0

    monkeypatch.setattr("subprocess.call", call)
    monkeypatch.setattr(commands, "running_supervisor", lambda or_else: None)
    monkeypatch.setenv("PROCESSOR_CATALOGUE_PATH", "another.json")
    assert commands.verify(["--json"]) == 0
    assert called == [("--json", ROOT, str(expected))]
    assert LocalSettings.of_running().processor_catalogue_path == expected


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
