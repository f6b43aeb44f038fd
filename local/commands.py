"""What one can do with a pipeline on this machine; each returns the program's exit code."""
# ruff: noqa: S603, S606, S607 - starting programs is what this file is for

import contextlib
import importlib.util
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence

from local.errors import LocalModeError
from local.jars import ROOT
from local.paths import check_path
from local.programs import SCALABLE, replica_names, supervisor_config
from local.running import running_supervisor
from local.settings import LocalSettings, local_directory
from local.shutdown import stop
from local.startup import check_ports, start, wait_until_ready
from local.status import status_json, status_table
from local.supervision import Supervisor

_WATCH_END_S = 1.5
_STILL_THERE_S = 1.0


def up(processors: int, analytics: int, *, detach: bool) -> int:
    """Start everything. Unless told to ``detach``, show it until that ends or Ctrl-C, then stop everything."""
    if importlib.util.find_spec("supervisor") is None:
        raise LocalModeError(
            f"{sys.executable} has no supervisor", advice="call `make setup`, then use .venv/bin/python"
        )
    settings = LocalSettings.from_environment()
    for path in (ROOT, settings.directory):
        check_path(path)
    settings.directory.mkdir(parents=True, exist_ok=True)
    supervisor = Supervisor(settings.directory)
    if supervisor.processes():
        raise LocalModeError(
            f"a pipeline is still running in {settings.directory}",
            advice="`make watch` shows it, `make down` stops it; LOCAL_DIR and LOCAL_..._PORT make room for a second one",
        )
    replicas = {"processor": processors, "analytics": analytics}
    try:
        start(settings, supervisor, replicas, _report)
        wait_until_ready(settings, supervisor, _report)
        if detach:
            make = f"LOCAL_DIR={shlex.quote(str(settings.directory))} make" if os.environ.get("LOCAL_DIR") else "make"
            _report(f"live page: {settings.live_page}")
            _report(
                f"running: Kafka at {settings.bootstrap_servers}, metrics in {settings.outputs}; `{make} down` stops it"
            )
            return 0
        exit_code = _watch(settings, supervisor)
        if exit_code is None:
            return 0
    except KeyboardInterrupt:
        _report("")
        exit_code = 0
    except BaseException:
        stop(supervisor, _report)
        raise
    stop(supervisor, _report)
    _report("stopped; nothing is left running")
    return exit_code


def watch() -> int:
    """Show what flows through a running pipeline."""
    supervisor = running_supervisor(or_else="; `make watch BOOTSTRAP=host:port` shows what runs elsewhere")
    with contextlib.suppress(KeyboardInterrupt):
        return _watch(LocalSettings.of_running(), supervisor) or 0
    return 0


def verify(arguments: Sequence[str]) -> int:
    """Verify the running pipeline; ``arguments`` are the verification's own, and win."""
    running_supervisor(or_else="; `make verify BOOTSTRAP=host:port` verifies what runs elsewhere")
    settings = LocalSettings.of_running()
    output = [f"--output={settings.sink_output_path}"] if settings.writes_file else []
    return subprocess.call(
        [*_program("verification", settings), *output, *arguments], cwd=ROOT, env=os.environ | _settings_told(settings)
    )


def _settings_told(settings: LocalSettings) -> dict[str, str]:
    """What others must know of a run and no flag would do for.

    Each --catalogue that is given counts, the variable only where none is; and a URL's password would stand in the list of
    processes.
    """
    return {
        "PROCESSOR_CATALOGUE_PATH": str(settings.processor_catalogue_path),
        "SINK_OUTPUTS": settings.sink_outputs,
        "SINK_OUTPUT_PATH": "",
        "SINK_DATABASE_URL": settings.sink_database_url,
    }


def dead_letters(arguments: Sequence[str]) -> int:
    """List, show or replay the running pipeline's dead letters; ``arguments`` are that command's own."""
    running_supervisor(or_else='; `make dead-letters BOOTSTRAP=host:port ARGS="list"` looks at what runs elsewhere')
    return subprocess.call([*_program("dead_letters", LocalSettings.of_running()), *arguments], cwd=ROOT)


def report(arguments: Sequence[str]) -> int:
    """Report a day or an hour of the running pipeline; ``arguments`` are that command's own, and win."""
    running_supervisor(or_else="; `make report BOOTSTRAP=host:port` reports what runs elsewhere")
    settings = LocalSettings.of_running()
    told = os.environ | _settings_told(settings) | {"SINK_OUTPUT_PATH": str(settings.sink_output_path)}
    return subprocess.call([*_program("daily_report", settings), *arguments], cwd=ROOT, env=told)


def down() -> int:
    """Stop everything."""
    supervisor = Supervisor(local_directory())
    if not supervisor.processes():
        _report(f"nothing is running in {local_directory()}")
        return 0
    stop(supervisor, _report)
    _report("stopped")
    return 0


def status() -> int:
    """Show a table of what runs."""
    programs = running_supervisor().programs()
    _report(status_table(LocalSettings.of_running(), programs))
    return 0


def status_for_programs() -> int:
    """Print JSON, whether something runs or not: for programs, for which that is no error."""
    supervisor = Supervisor(local_directory())
    if supervisor.answers():
        _report(json.dumps(status_json(LocalSettings.of_running(), supervisor.programs())))
    else:
        _report(json.dumps({"state": "unsupervised" if supervisor.processes() else "stopped"}))
    return 0


def scale(wanted: Mapping[str, int]) -> int:
    """Add or remove replicas of the running pipeline."""
    supervisor = running_supervisor()
    settings = LocalSettings.of_running()
    before = {program.name for program in supervisor.programs()}
    counts = {service: sum(name.startswith(f"{service}-") for name in before) for service in SCALABLE}
    replicas = counts | dict(wanted)
    names = replica_names(replicas)
    check_ports(settings, [name for name in names if name not in before])
    supervisor.apply(supervisor_config(settings, replicas, supervisor.socket))
    wait_until_ready(settings, supervisor, _report, before)
    return status()


def logs(program: str, lines: int, *, follow: bool) -> int:
    """Show the last ``lines`` of the log of ``program``, or of all replicas of that service."""
    folder = local_directory() / "logs"
    files = sorted(folder.glob(f"{program}.log")) or sorted(folder.glob(f"{program}-*.log"))
    if not files:
        known = ", ".join(sorted(file.stem for file in folder.glob("*.log")))
        raise LocalModeError(f"no log of {program!r}", advice=f"there are: {known}" if known else "nothing has run yet")
    os.execvp("tail", ["tail", "-n", str(lines), *(["-F"] if follow else []), *map(str, files)])


def _program(module: str, settings: LocalSettings) -> list[str]:
    return [
        sys.executable,
        "-m",
        module,
        f"--bootstrap={settings.bootstrap_servers}",
        f"--topic-prefix={settings.topic_prefix}",
        f"--window-seconds={settings.window_seconds}",
    ]


def _watch(settings: LocalSettings, supervisor: Supervisor) -> int | None:
    """Show the pipeline until the view ends; the exit code is None if the pipeline ended before."""
    session = supervisor.session()
    _report(f"live page: {settings.live_page}")
    child = subprocess.Popen(_program("watch", settings), cwd=ROOT)
    try:
        while supervisor.session() == session and supervisor.processes():
            with contextlib.suppress(subprocess.TimeoutExpired):
                return child.wait(_STILL_THERE_S)
        _end(child)
    except KeyboardInterrupt:
        # Ctrl-C in a terminal has reached the child too, and it may be tidying up; a signal to this program has not.
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_WATCH_END_S)
        _end(child)
        raise
    finally:
        child.kill()
        child.wait()
    _report("the pipeline was stopped from elsewhere")
    return None


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(_WATCH_END_S)


def _report(line: str) -> None:
    # The terminal may be gone, and there is still a pipeline to stop.
    with contextlib.suppress(OSError):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
