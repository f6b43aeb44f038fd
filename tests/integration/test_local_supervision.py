"""The supervisor, with dummy programs that only wait."""

import os
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import commands, shutdown
from local.errors import EndedElsewhereError, LocalModeError, PortTakenError
from local.processes import Session, session_members
from local.settings import LocalSettings
from local.startup import wait_until_ready
from local.supervision import Supervisor
from tests.integration.services import HANGS_AFTER_S, eventually

CONFIG = """\
[supervisord]
nodaemon=true
silent=true
logfile={directory}/logs/supervisord.log
pidfile={directory}/supervisord.pid
[unix_http_server]
file={socket}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""


WAIT = "import time; time.sleep(600)"
DEAF = (
    f"import pathlib, signal, sys; signal.signal(15, signal.SIG_IGN); pathlib.Path(sys.argv[1], 'deaf').touch(); {WAIT}"
)


class Programs:
    """A supervisor and its programs: Python code that by default only waits."""

    def __init__(self, directory: Path) -> None:
        (directory / "logs").mkdir(parents=True)
        self.directory = directory
        self.supervisor = Supervisor(directory)

    def config(self, *names: str, code: str = WAIT) -> str:
        head = CONFIG.format(directory=self.directory, socket=self.supervisor.socket)
        return head + "".join(self.section(name, code) for name in names)

    def section(self, name: str, code: str) -> str:
        command = shlex.join([sys.executable, "-c", code, str(self.directory)])
        return f"[program:{name}]\ncommand={command}\nstopwaitsecs=1\nstdout_logfile=NONE\nstderr_logfile=NONE\n"

    def ids(self) -> dict[str, int]:
        return {program.name: program.pid for program in self.supervisor.programs()}


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    programs = Programs(tmp_path)
    yield programs
    programs.supervisor.kill()
    assert programs.supervisor.processes() == []


async def test_a_new_configuration_does_not_restart_unchanged_programs(programs: Programs) -> None:
    programs.supervisor.start(programs.config("a", "b"), os.environ)
    before = programs.ids()
    programs.supervisor.apply(programs.config("b", "c"))
    after = programs.ids()
    assert after.keys() == {"b", "c"}
    assert after["b"] == before["b"]
    # Including the supervisor. A process has no command line for a moment during exec.
    await eventually(lambda: len(programs.supervisor.processes()) == 3, what="three processes")


async def test_a_second_supervisor_of_a_folder_does_not_start(programs: Programs) -> None:
    programs.supervisor.start(programs.config("a"), os.environ)
    first = programs.ids()
    session = programs.supervisor.session()
    with pytest.raises(LocalModeError, match="another supervisor runs"):
        Supervisor(programs.directory).start(programs.config("a"), os.environ)
    assert programs.ids() == first
    assert programs.supervisor.session() == session


def test_a_second_start_in_a_folder_leaves_the_first_one_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one may still be fetching Kafka, which takes minutes."""
    monkeypatch.setenv("LOCAL_DIR", str(tmp_path))
    steps: list[str] = []

    def start(*_: object) -> None:
        steps.append("the first one starts")
        with pytest.raises(LocalModeError, match="already starting"):
            commands.up(1, 1, detach=True)
        steps.append("the second one has ended")
        raise PortTakenError("a port is taken")

    monkeypatch.setattr(commands, "start", start)
    monkeypatch.setattr(commands, "stop", lambda *_: steps.append("stopped"))
    with pytest.raises(PortTakenError):
        commands.up(1, 1, detach=True)
    assert steps == ["the first one starts", "the second one has ended", "stopped"]


async def test_a_pipeline_without_its_session_file_is_still_found(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOCAL_DIR", str(programs.directory))
    programs.supervisor.start(programs.config("one"), {**os.environ})
    session = programs.supervisor.session()
    assert session
    (programs.directory / "supervisor.session").write_text("")
    with pytest.raises(LocalModeError, match="still running"):
        commands.up(1, 1, detach=True)
    assert programs.supervisor.answers()
    assert commands.down() == 0
    assert "stopped" in capsys.readouterr().out
    assert not programs.supervisor.answers()
    await eventually(lambda: session_members(session, [programs.directory]) == [])


def test_a_start_that_another_command_ends_says_so(tmp_path: Path) -> None:
    with pytest.raises(EndedElsewhereError, match="stopped from elsewhere"):
        wait_until_ready(LocalSettings.from_environment(), Supervisor(tmp_path), print)


async def test_finds_the_processes_of_a_killed_supervisor(programs: Programs) -> None:
    programs.supervisor.start(programs.config("a", "b"), os.environ)
    left = set(programs.ids().values())
    leader, *_ = programs.supervisor.processes()
    os.kill(leader, signal.SIGKILL)
    another = Supervisor(programs.directory)
    await eventually(lambda: set(another.processes()) == left, what="only the programs are left")
    assert not another.answers()
    another.kill()
    assert another.processes() == []


@pytest.mark.parametrize("line", [1, 2], ids=["after another boot", "in the same boot"])
def test_the_session_of_a_reused_process_id_is_left_alone(programs: Programs, line: int) -> None:
    programs.supervisor.start(programs.config("a"), os.environ)
    file = programs.directory / "supervisor.session"
    written = file.read_text()
    lines = written.split("\n")
    lines[line] += "0"
    file.write_text("\n".join(lines))
    assert programs.supervisor.processes() == []
    for text in (written, lines[0]):  # as an earlier version has written it
        file.write_text(text)
        assert programs.supervisor.processes() != []


def test_the_own_session_is_never_the_supervisors() -> None:
    assert session_members(Session.led_by(os.getsid(0)), [Path("/")]) == []


async def test_a_service_that_overruns_its_grace_period_does_not_cost_kafka_its_own(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutdown, "SERVICE_GRACE_S", 1)  # as stopwaitsecs of these programs
    kafka = (
        "import pathlib, signal, sys; folder = pathlib.Path(sys.argv[1]); "
        "signal.signal(15, lambda *_: ((folder / 'flushed').touch(), sys.exit())); "
        f"(folder / 'up').touch(); {WAIT}"
    )
    programs.supervisor.start(programs.config("sink", code=DEAF) + programs.section("kafka", kafka), os.environ)
    await eventually(lambda: all((programs.directory / name).exists() for name in ("deaf", "up")))
    lines: list[str] = []
    shutdown.stop(programs.supervisor, lines.append)
    assert (programs.directory / "flushed").exists()
    assert lines == ["stopping the services", "stopping Kafka"]


async def test_kills_a_program_that_overruns_its_grace_period(programs: Programs) -> None:
    programs.supervisor.start(programs.config("deaf", code=DEAF), os.environ)
    await eventually((programs.directory / "deaf").exists)
    programs.supervisor.stop(["deaf"], timeout_s=HANGS_AFTER_S)
    assert [program.state for program in programs.supervisor.programs()] == ["STOPPED"]


def test_an_invalid_configuration_is_reported(programs: Programs) -> None:
    with pytest.raises(LocalModeError, match=r"(?s)the supervisor did not start: .*badly formatted"):
        programs.supervisor.start(programs.config("a", code="%"), os.environ)


def test_works_in_a_folder_whose_path_is_too_long_for_a_socket(tmp_path: Path) -> None:
    programs = Programs(tmp_path / ("deep" * 30))
    programs.supervisor.start(programs.config("a"), os.environ)
    assert programs.ids().keys() == {"a"}
    programs.supervisor.end()
    assert not programs.supervisor.socket.exists()
    assert programs.supervisor.processes() == []
