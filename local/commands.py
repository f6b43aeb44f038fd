"""The commands of local mode; each returns the program's exit code."""
# ruff: noqa: S606, S607 - this file starts programs

import asyncio
import contextlib
import fcntl
import importlib.util
import math
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from libs.report_line import report_line
from local.errors import EndedElsewhereError, LocalModeError
from local.paths import ROOT, check_path
from local.programs import INFRASTRUCTURE, SCALABLE, replica_names, supervisor_config, with_programs_of
from local.running import running_supervisor
from local.settings import LocalSettings, local_directory
from local.shutdown import stop
from local.startup import check_ports, start, wait_until_ready
from local.status import status_table
from local.supervision import Supervisor

_STILL_THERE_S = 1.0


def up(processors: int, analytics: int, *, detach: bool, kafka_only: bool = False) -> int:
    """Start everything. Without ``detach``, show it until the pipeline ends or Ctrl-C, then stop everything.

    With ``kafka_only`` no service is started, and there is nothing to show.
    """
    if importlib.util.find_spec("supervisor") is None:
        raise LocalModeError(
            f"{sys.executable} has no supervisor", advice="call `make setup`, then use .venv/bin/python"
        )
    settings = LocalSettings.from_environment()
    for path in (ROOT, settings.directory):
        check_path(path)
    settings.directory.mkdir(parents=True, exist_ok=True)
    supervisor = Supervisor(settings.directory)
    replicas = {} if kafka_only else {"processor": processors, "analytics": analytics}
    with _only_one_starts(settings.directory):
        if supervisor.is_running():
            raise LocalModeError(
                f"a pipeline is still running in {settings.directory}",
                advice="`pipeline watch` shows it, `pipeline down` stops it; another LOCAL_DIR, LOCAL_..._PORT and SINK_OUTPUT_PATH "
                "(SINK_DATABASE_URL) make room for a second one",
            )
        try:
            start(settings, supervisor, replicas, report_line)
        except BaseException:
            stop(supervisor, report_line)
            raise
    try:
        wait_until_ready(settings, supervisor, report_line)
        if detach or kafka_only:
            make = f"LOCAL_DIR={shlex.quote(str(settings.directory))} make" if os.environ.get("LOCAL_DIR") else "make"
            metrics = ""
            if not kafka_only:
                report_line(f"live page: {settings.live_page}")
                metrics = f", metrics in {settings.outputs}"
            report_line(f"running: Kafka at {settings.bootstrap_servers}{metrics}; `{make} down` stops it")
            return 0
        _watch(settings, supervisor)
    except EndedElsewhereError as error:
        report_line(str(error))
        return 1 if detach or kafka_only else 0
    except KeyboardInterrupt:
        report_line("")
    except BaseException:
        stop(supervisor, report_line)
        raise
    stop(supervisor, report_line)
    report_line("stopped; nothing is left running")
    return 0


@contextlib.contextmanager
def _only_one_starts(directory: Path) -> Iterator[None]:
    """Until the supervisor runs, which may take minutes at first, nothing else shows that a pipeline is starting in ``directory``."""
    with (directory / "start.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalModeError(
                f"a pipeline is already starting in {directory}", advice="wait for it, then try again"
            ) from None
        yield


def down() -> int:
    """Stop everything."""
    supervisor = Supervisor(local_directory())
    if not supervisor.is_running():
        report_line(f"nothing is running in {local_directory()}")
        return 0
    stop(supervisor, report_line)
    report_line("stopped")
    return 0


def scale(wanted: Mapping[str, int]) -> int:
    """Add or remove replicas of the running pipeline."""
    supervisor = running_supervisor()
    settings = LocalSettings.of_running()
    before = {program.name for program in supervisor.programs()}
    counts = {service: sum(name.startswith(f"{service}-") for name in before) for service in SCALABLE}
    if not any(counts.values()):
        raise LocalModeError("no service is running", advice="`make down`, then `make run` starts all of them")
    replicas = counts | dict(wanted)
    names = replica_names(replicas)
    check_ports(settings, [name for name in names if name not in before])
    # Kafka goes on as it was started: since then Java may have moved, or the tests have made the archives of its classes.
    config = supervisor_config(settings, replicas, supervisor.socket)
    supervisor.apply(with_programs_of(supervisor.config, config, INFRASTRUCTURE))
    wait_until_ready(settings, supervisor, report_line, before)
    report_line(status_table(settings, supervisor.programs()))
    return 0


def logs(program: str, lines: int, *, follow: bool) -> int:
    """Show the last ``lines`` of the log of ``program``, or of all replicas of that service."""
    folder = local_directory() / "logs"
    files = sorted(folder.glob(f"{program}.log")) or sorted(folder.glob(f"{program}-*.log"))
    if not files:
        known = ", ".join(sorted(file.stem for file in folder.glob("*.log")))
        there = f"there are: {known}" if known else "nothing has run yet"
        raise LocalModeError(
            f"no log of {program!r}",
            advice=f"{there}; these are the logs of local mode, `docker compose logs SERVICE` shows those of Docker Compose",
        )
    os.execvp("tail", ["tail", "-n", str(lines), *(["-F"] if follow else []), *map(str, files)])


def _watch(settings: LocalSettings, supervisor: Supervisor) -> None:
    """Show the pipeline until the view ends.

    Raises:
        EndedElsewhereError: another command has stopped the pipeline.
    """
    report_line(f"live page: {settings.live_page}")
    asyncio.run(_show_while_running(settings, supervisor))


async def _show_while_running(settings: LocalSettings, supervisor: Supervisor) -> None:
    from watch.view import show  # noqa: PLC0415 - takes half a second, which would delay the start

    session = supervisor.session()
    # Without a limit for the topics: `pipeline recompute` deletes them.
    view = asyncio.create_task(
        show(settings.bootstrap_servers, settings.topic_prefix, settings.window_seconds, topics_within_s=math.inf)
    )
    try:
        while supervisor.session() == session and supervisor.processes():
            done, _ = await asyncio.wait({view}, timeout=_STILL_THERE_S)
            if done:
                view.result()
                return
    finally:
        view.cancel()
        await asyncio.wait({view})
    raise EndedElsewhereError
