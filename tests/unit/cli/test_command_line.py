"""The command line: parsing, exit codes, one-line errors."""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.structs import TopicPartition

from cli.app import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, make_app, run
from cli.commands import local_mode
from cli.commands.recompute import described
from cli.errors import UsageError
from cli.options import PipelineOptions
from libs.runtime.errors import PipelineError, SettingsError
from libs.version import VERSION
from live.live_settings import LiveSettings
from local import commands as local_commands
from recompute.commands import Plan, _refuse_members
from tests.integration.services import ROOT
from verification.report import Report


def parsed(*arguments: str) -> dict[str, Any]:
    _, bound, _ = make_app().parse_args(arguments, exit_on_error=False, print_error=False)
    return dict(bound.arguments)


def test_every_command_can_be_imported_and_has_help() -> None:
    app = make_app()
    for names in all_commands():
        command = app
        for name in names:
            command = command[name]
        assert command.help, names


def all_commands() -> list[tuple[str, ...]]:
    return [
        *((name,) for name in make_app() if not name.startswith("-")),
        *(("dead-letters", name) for name in ("list", "show", "replay")),
    ]


def test_the_commands_match_the_documentation() -> None:
    assert {name for name in make_app() if not name.startswith("-")} == {
        *("up", "scale", "logs", "down", "status", "watch", "live", "verify", "metrics", "doctor"),
        *("stop", "start", "restart", "drain", "report"),
        *("dead-letters", "recompute", "complete-transactions", "bench", "chaos"),
    }


@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("watch",),
        ("live",),
        ("verify",),
        ("metrics",),
        ("report",),
        ("report", "2026-11-27"),
        ("doctor",),
        ("dead-letters", "list"),
        ("dead-letters", "show", "1/2"),
        ("dead-letters", "replay"),
        ("recompute",),
        ("complete-transactions",),
    ],
)
def test_all_commands_have_the_same_options_to_select_a_pipeline(command: tuple[str, ...]) -> None:
    arguments = parsed(*command, "--bootstrap=there:2", "--topic-prefix", "mine.", "--window-seconds=20")
    assert arguments["pipeline"] == PipelineOptions(bootstrap="there:2", topic_prefix="mine.", window_seconds=20)
    assert parsed(*command, "--topic-prefix=", "--local")["pipeline"] == PipelineOptions(topic_prefix="", local=True)


def test_options_can_have_several_values() -> None:
    assert parsed("verify", "--catalogue", "old.json", "--catalogue=new.json")["catalogue"] == [
        Path("old.json"),
        Path("new.json"),
    ]
    arguments = parsed("dead-letters", "replay", "1/2", "3/4", "--reason=malformed", "--reason", "too_large")
    assert arguments["places"] == ("1/2", "3/4")
    assert arguments["reason"] == ["malformed", "too_large"]
    listed = parsed("dead-letters", "list", "--json", "--from", "0/12", "1/7", "--reason=malformed")
    assert (listed["from_"], listed["json"], listed["reason"]) == (["0/12", "1/7"], True, ["malformed"])
    assert parsed("restart", "processor-2", "sink") == {"program": "processor-2", "programs": ("sink",)}
    assert parsed("bench", "--only", "quix", "faust", "--parts", "speed")["only"] == ["quix", "faust"]
    chaos = parsed("chaos", "--kafka-4", "--rate", "500", "--only", "late", "EndTxn")
    assert (chaos["kafka_4"], chaos["only"]) == ([], ["late", "EndTxn"])
    assert parsed("chaos", "--kafka-4", "4.1.0")["kafka_4"] == ["4.1.0"]
    assert "kafka_4" not in parsed("chaos")


def test_the_last_of_repeated_options_wins() -> None:
    """make passes some options, and its caller appends others in ARGS."""
    arguments = parsed(
        "verify", "--output=a", "--json", "--bootstrap=a:1", "--bootstrap=b:2", "--output", "b", "--json"
    )
    assert (arguments["output"], arguments["json"], arguments["pipeline"].bootstrap) == (Path("b"), True, "b:2")


def test_times_are_utc_unless_they_say_otherwise() -> None:
    arguments = parsed("metrics", "--from", "2026-11-22T01:00", "--to", "2026-11-22T02:00+01:00")
    assert arguments["from_"] == arguments["to"] == 1_795_309_200


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "nonsense"),
        (["status", "--nonsense"], "--nonsense"),
        (["up", "--processors", "0"], "processors"),
        (["up", "--processors", "51"], "processors"),
        (["up", "--processors", "two"], "two"),
        (["scale"], "say how many replicas"),
        (["scale", "sink=2"], "processor or analytics is allowed"),
        (["scale", "processor=0"], "from 1 to 50 is allowed"),
        (["scale", "processor"], "as in processor=3"),
        (["logs"], "PROGRAM"),
        (["stop"], "PROGRAM"),
        (["start"], "PROGRAM"),
        (["restart"], "PROGRAM"),
        (["drain", "--timeout=-1"], "timeout"),
        (["status", "--local", "--bootstrap=there:2"], "name two pipelines"),
        (["metrics", "--local", "--bootstrap=there:2"], "name two pipelines"),
        (["dead-letters", "list", "--no-json"], "--no-json"),
        (["dead-letters", "list", "--from", "1/2", "zero"], "'zero' is no place of a dead letter"),
        (["report", "tomorrow"], "'tomorrow' is neither a day"),
        (["report", "--outputs=tape"], "'tape': file, database"),
        (["dead-letters", "show", "zero"], "'zero' is no place of a dead letter"),
        (["dead-letters", "replay"], "say which dead letters"),
        (["dead-letters", "replay", "--all", "0/1", "--yes"], "say which dead letters"),
        (["dead-letters", "replay", "--reason=malformed", "0/1", "--yes"], "say which dead letters"),
        (["dead-letters", "replay", "--all"], "cannot ask for confirmation without a terminal"),
        (["dead-letters", "list", "--limit=0"], "limit"),
        (["dead-letters", "list", "--window-seconds=0"], "window-seconds"),
        (["dead-letters", "list", "--bootstrap=:::"], "is no host:port"),
        (["verify", "--newest", "-1"], "newest"),
        (["verify", "--bootstrap=x:1", "--database", "mysql://me:hidden@there/db"], "--database"),
        (["verify", "--bootstrap=x:1", "--database", "postgresql://me:hidden%zz@there/db"], "--database"),
        (["recompute", "--bootstrap=x:1"], "cannot ask for confirmation without a terminal"),
        (["metrics", "--from", "yesterday"], "'yesterday' is not a time"),
        (["metrics", "--format", "parquet"], "needs --to-file"),
        (["metrics", "--database", "mysql://me:hidden@there/db"], "--database"),
        (["chaos", "--part", "moon"], "--part moon"),
        (["chaos", "--only", "moon"], "no such fault"),
        (["live", "--port", "65536"], "port"),
    ],
)
def test_invalid_arguments_are_rejected_in_one_line_before_anything_is_done(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.setattr("sys.stdin", StringIO())
    assert run(arguments) == EXIT_USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = captured.err.splitlines()
    assert line.startswith("pipeline: ")
    assert message in line
    assert "hidden" not in line


@pytest.mark.parametrize(
    ("error", "exit_code", "message"),
    [
        (PipelineError("it broke", advice="mend it"), EXIT_FAILED, "pipeline: it broke (mend it)\n"),
        (PipelineError("it broke"), EXIT_FAILED, "pipeline: it broke\n"),
        (
            PipelineError("its log ends:\na\nb", advice="see it"),
            EXIT_FAILED,
            "pipeline: its log ends:\na\nb\n(see it)\n",
        ),
        (SettingsError("A=1: no"), EXIT_USAGE, "pipeline: A=1: no\n"),
        (UsageError("what?"), EXIT_USAGE, "pipeline: what?\n"),
        (KeyboardInterrupt(), EXIT_INTERRUPTED, ""),
        (ModuleNotFoundError("no", name="hypothesis"), EXIT_FAILED, "`make setup` in a checkout installs it"),
    ],
)
def test_exit_codes_of_commands(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    exit_code: int,
    message: str,
) -> None:
    def failing() -> int:
        raise error

    monkeypatch.setattr(local_commands, "down", failing)
    monkeypatch.setattr(local_mode, "end_as_ctrl_c_does", lambda: None)
    assert run(["down"]) == exit_code
    assert message in capsys.readouterr().err


def test_a_command_with_missing_packages_has_a_clear_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "cli.commands.chaos", raising=False)
    monkeypatch.setitem(sys.modules, "cyclopts.types", None)
    assert run(["chaos", "--short"]) == EXIT_FAILED
    assert "this command needs cyclopts.types, which is not installed" in capsys.readouterr().err


def test_an_unknown_command_is_reported_although_another_one_cannot_be_imported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in the image of `cli`, which has no `benchmarks`."""
    monkeypatch.delitem(sys.modules, "cli.commands.bench", raising=False)
    monkeypatch.setitem(sys.modules, "benchmarks", None)
    monkeypatch.setitem(sys.modules, "benchmarks.bench", None)
    assert run(["verfiy"]) == EXIT_USAGE
    [line] = capsys.readouterr().err.splitlines()
    assert line == 'pipeline: unknown command "verfiy"; did you mean "verify"? (`pipeline --help`)'
    assert run(["dead-letters", "zzz"]) == EXIT_USAGE
    [line] = capsys.readouterr().err.splitlines()
    assert line == 'pipeline: unknown command "zzz"; there are list, show, replay (`pipeline dead-letters --help`)'


@pytest.mark.parametrize(
    ("arguments", "counterpart"),
    [
        (["up"], "`docker compose up`"),
        (["up", "--kafka-only"], "`docker compose up`"),
        (["down"], "`docker compose --profile '*' down`"),
    ],
)
def test_local_mode_refers_to_docker_compose_in_an_image(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    counterpart: str,
) -> None:
    monkeypatch.setattr("libs.checkout.ROOT", tmp_path)
    monkeypatch.setattr(local_mode, "end_as_ctrl_c_does", lambda: None)
    monkeypatch.setenv("LOCAL_DIR", str(tmp_path / "local"))
    monkeypatch.setattr(local_commands, "start", lambda *_: pytest.fail("started"))
    assert run(arguments) == EXIT_FAILED
    captured = capsys.readouterr()
    [line] = captured.err.splitlines()
    assert counterpart in line
    assert "docs/cli.md, In Docker" in line
    assert captured.out == ""
    assert not (tmp_path / "local").exists()


def test_a_missing_module_of_our_own_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing() -> int:
        raise ModuleNotFoundError("no", name="local.nowhere")

    monkeypatch.setattr(local_commands, "down", failing)
    monkeypatch.setattr(local_mode, "end_as_ctrl_c_does", lambda: None)
    with pytest.raises(ModuleNotFoundError):
        run(["down"])


@pytest.mark.parametrize("exit_code", [0, 1])
def test_the_exit_code_is_that_of_the_command(monkeypatch: pytest.MonkeyPatch, exit_code: int) -> None:
    monkeypatch.setattr(local_commands, "down", lambda: exit_code)
    monkeypatch.setattr(local_mode, "end_as_ctrl_c_does", lambda: None)
    assert run(["down"]) == exit_code


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["verify", "--help"], ["dead-letters", "--help"]])
def test_help_and_version(capsys: pytest.CaptureFixture[str], arguments: Sequence[str]) -> None:
    assert run(arguments) == EXIT_DONE
    assert capsys.readouterr().out.strip()


def test_the_version_is_that_of_the_project(capsys: pytest.CaptureFixture[str]) -> None:
    run(["--version"])
    assert capsys.readouterr().out.strip() == VERSION


def test_help_imports_no_slow_modules() -> None:
    code = (
        "import sys; from cli.app import run; run(['--help']); print(*sorted(sys.modules), sep='\\n', file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    imported = set(done.stderr.splitlines())
    assert "rich" in imported
    assert not imported & {"aiokafka", "pydantic", "structlog", "psycopg", "prometheus_client", "supervisor"}
    for command in ("verify", "dead-letters", "doctor", "up"):
        assert f" {command} " in done.stdout


def test_the_completion_has_all_options() -> None:
    for shell in ("bash", "zsh", "fish"):
        script = make_app().generate_completion(shell=shell)
        for word in ("dead-letters", "replay", "wait-closed", "topic-prefix"):
            assert word in script, (shell, word)


def test_a_recomputation_shows_what_it_deletes_and_where() -> None:
    plan = Plan("processor", "orders", ["processed-orders"], {}, {})
    text = described(plan, "there:2")
    assert "At there:2, up to 0 orders are processed again" in text
    assert "These topics are deleted with all records: processed-orders." in text
    assert "Metrics may differ from those published" in text
    assert "twice" not in text
    assert "database" not in text
    of_database = described(plan, "there:2", with_database=True)
    assert "until `python -m services.sink.rebuild_database` empties it" in of_database
    assert "it gets only what orders still has" in of_database


@pytest.mark.parametrize(
    ("replicas", "settings", "said"),
    [
        (1, [], None),
        (3, [], "start the services with TOPIC_REPLICATION_FACTOR=3, or they get 1"),
        (1, ["a: retention.ms=-1", "b: x=y"], "Settings made on them by hand are lost (a: retention.ms=-1; b: x=y)."),
    ],
)
def test_a_recomputation_says_what_the_services_do_not_create_again(
    replicas: int, settings: list[str], said: str | None
) -> None:
    text = described(
        Plan("processor", "orders", ["a", "b"], {}, {}, replicas=replicas, lost_settings=settings), "there:2"
    )
    assert ("replicas" in text or "by hand" in text) is (said is not None)
    assert said is None or said in text


def test_a_recomputation_says_which_windows_get_too_small() -> None:
    orders = TopicPartition("orders", 0)
    text = described(Plan("processor", "orders", [], {orders: 0}, {orders: 9}), "there:2")
    assert "too small" not in text
    text = described(Plan("processor", "orders", [], {orders: 7}, {orders: 9}, whole_since_s=560.5), "there:2")
    assert "Windows that begin before 1970-01-01 00:09:21Z get too small metrics, or none" in text
    assert ".1.old" in text
    assert "keep them" in text


@pytest.mark.parametrize(("answer", "changed"), [("y", True), ("n", False), ("", False), (EOFError(), False)])
def test_a_recomputation_asks_first(monkeypatch: pytest.MonkeyPatch, answer: str | EOFError, changed: bool) -> None:
    done: list[str] = []

    async def make_plan(*_: object) -> Plan:
        return Plan("processor", "orders", [], {}, {})

    async def carry_out(*_: object) -> None:
        done.append("recomputed")

    def asked(_: str) -> str:
        if isinstance(answer, EOFError):
            raise answer
        return answer

    monkeypatch.setattr("cli.commands.recompute.make_plan", make_plan)
    monkeypatch.setattr("cli.commands.recompute.carry_out", carry_out)
    monkeypatch.setattr("cli.commands.recompute.run_in_kafka", lambda work, *_: asyncio.run(work()))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", asked)
    assert run(["recompute", "--bootstrap=there:2"]) == (EXIT_DONE if changed else EXIT_FAILED)
    assert bool(done) is changed


@pytest.mark.parametrize("error", [PipelineError("it broke"), KeyboardInterrupt()])
@pytest.mark.parametrize("changed", [False, True])
def test_an_interrupted_recomputation_says_that_it_has_to_be_run_again_if_it_has_changed_anything(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, changed: bool
) -> None:
    async def make_plan(*_: object) -> Plan:
        return Plan("processor", "orders", [], {}, {})

    async def carry_out(_: object, __: object, begun: asyncio.Event) -> None:
        if changed:
            begun.set()
        raise error

    monkeypatch.setattr("cli.commands.recompute.make_plan", make_plan)
    monkeypatch.setattr("cli.commands.recompute.carry_out", carry_out)
    monkeypatch.setattr("cli.commands.recompute.run_in_kafka", lambda work, *_: asyncio.run(work()))
    exit_code = EXIT_INTERRUPTED if isinstance(error, KeyboardInterrupt) else EXIT_FAILED
    assert run(["recompute", "--yes", "--bootstrap=there:2"]) == exit_code
    assert ("run it again before you start the services" in capsys.readouterr().err) is changed


def test_a_verification_of_nothing_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Retention may have deleted all orders of a pipeline that rests."""
    monkeypatch.setattr("cli.commands.verify.run_in_kafka", lambda *_: Report())
    assert run(["verify", "--bootstrap=there:2"]) == EXIT_DONE
    assert "nothing to verify" in capsys.readouterr().err


@pytest.mark.parametrize("code", [14, 15, 16])
async def test_nothing_is_recomputed_while_the_groups_members_are_unknown(code: int) -> None:
    """The group's coordinator is moving: such an answer has no members."""

    class Admin:
        async def describe_consumer_groups(self, groups: list[str]) -> list[SimpleNamespace]:
            return [SimpleNamespace(groups=[(code, groups[0], "", "", "", [])])]

    admin: Any = Admin()
    with pytest.raises(PipelineError, match=r"unknown whether group 'mine\.processor' has members"):
        await _refuse_members(admin, "mine.")


def test_a_recomputation_warns_that_replayed_orders_may_count_twice() -> None:
    """They are in `orders` in their rejected form, too, and are valid by now."""
    text = described(Plan("processor", "mine.orders", [], {}, {}, replayed=True), "there:2")
    assert "each such order is in mine.orders twice" in text


def test_the_live_page_is_served_for_the_discovered_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[LiveSettings] = []
    monkeypatch.setattr("cli.commands.live.serve", served.append)
    monkeypatch.setenv("LIVE_PORT", "81")
    where = ("--bootstrap=there:2", "--topic-prefix=mine.", "--window-seconds=20")
    assert run(["live", *where, "--host", "0.0.0.0"]) == EXIT_DONE
    assert run(["live", *where, "--port", "0"]) == EXIT_DONE
    first, second = served
    assert (first.kafka_bootstrap_servers, first.topic_prefix, first.window_seconds) == ("there:2", "mine.", 20)
    assert (first.live_host, first.live_port) == ("0.0.0.0", 81)
    assert (second.live_host, second.live_port) == ("127.0.0.1", 0)


def test_an_empty_prefix_of_the_live_page_hides_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[LiveSettings] = []
    monkeypatch.setattr("cli.commands.live.serve", served.append)
    monkeypatch.setenv("TOPIC_PREFIX", "other.")
    assert run(["live", "--bootstrap=there:2", "--topic-prefix="]) == EXIT_DONE
    assert served[0].topic_prefix == ""
