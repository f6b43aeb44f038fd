"""What one can do with a pipeline on this machine; each returns the program's exit code."""
# ruff: noqa: S603, S606, S607 - starting programs is what this file is for

import contextlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping

from local.errors import LocalModeError
from local.jars import ROOT, kafka_libs
from local.programs import SCALABLE, replica_names, supervisor_config
from local.settings import LocalSettings, local_directory
from local.shutdown import stop
from local.startup import check_ports, metrics_path, start, wait_until_ready
from local.status import status_table
from local.supervision import Supervisor

_WATCH_END_S = 1.5


def up(processors: int, analytics: int, *, detach: bool) -> int:
    """Start everything. Unless told to ``detach``, show it until that ends or Ctrl-C, then stop everything."""
    if importlib.util.find_spec("supervisor") is None:
        raise LocalModeError(
            f"{sys.executable} has no supervisor", advice="call `make setup`, then use .venv/bin/python"
        )
    settings = LocalSettings.from_environment()
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
            _report(
                f"running: Kafka at {settings.bootstrap_servers}, metrics in {metrics_path()}; `make down` stops it"
            )
            return 0
        exit_code = _watch(settings)
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
    _running()
    with contextlib.suppress(KeyboardInterrupt):
        return _watch(LocalSettings.of_running())
    return 0


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
    programs = _running().programs()
    _report(status_table(LocalSettings.of_running(), programs))
    return 0


def scale(wanted: Mapping[str, int]) -> int:
    """Add or remove replicas of the running pipeline."""
    supervisor = _running()
    settings = LocalSettings.of_running()
    before = {program.name for program in supervisor.programs()}
    counts = {service: sum(name.startswith(f"{service}-") for name in before) for service in SCALABLE}
    replicas = counts | dict(wanted)
    names = replica_names(replicas)
    check_ports(settings, [name for name in names if name not in before])
    supervisor.apply(supervisor_config(settings, replicas, supervisor.socket, kafka_libs()))
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


def _running() -> Supervisor:
    supervisor = Supervisor(local_directory())
    if not supervisor.answers():
        if supervisor.processes():
            raise LocalModeError("the supervisor has gone, its programs have not", advice="`make down` ends them")
        raise LocalModeError(f"no pipeline is running in {local_directory()}", advice="`make run` starts one")
    return supervisor


def _watch(settings: LocalSettings) -> int:
    child = subprocess.Popen([sys.executable, "-m", "watch", "--bootstrap", settings.bootstrap_servers], cwd=ROOT)
    try:
        return child.wait()
    except KeyboardInterrupt:
        # Ctrl-C in a terminal has reached the child too, and it may be tidying up; a signal to this program has not.
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_WATCH_END_S)
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_WATCH_END_S)
        raise
    finally:
        child.kill()
        child.wait()


def _report(line: str) -> None:
    # The terminal may be gone, and there is still a pipeline to stop.
    with contextlib.suppress(OSError):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
