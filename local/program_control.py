"""Stops, starts, restarts and drains single programs of a running pipeline."""

from collections.abc import Iterable

from libs.report_line import report_line
from local.errors import LocalModeError
from local.running import running_supervisor
from local.settings import LocalSettings
from local.startup import wait_until_ready
from local.supervision import ENDED, Program, Supervisor
from watch.endpoints import Endpoints
from watch.remaining_work import wait_until_drained

# Longer than the longest grace period (Kafka's), after which the supervisor kills a program.
_STOP_S = 40.0


def stop(names: Iterable[str]) -> int:
    """Stop programs, named by program or by service; they stay stopped."""
    supervisor = running_supervisor()
    chosen = [program.name for program in _chosen(supervisor, names)]
    supervisor.stop(chosen, _STOP_S)
    report_line(f"stopped: {', '.join(chosen)}")
    return 0


def start(names: Iterable[str]) -> int:
    """Start programs that are stopped or have failed, and wait until they are healthy; others are not changed."""
    supervisor = running_supervisor()
    _start(supervisor, [program.name for program in _chosen(supervisor, names)])
    return 0


def restart(names: Iterable[str]) -> int:
    """Stop programs, start them again, and wait until they are healthy."""
    supervisor = running_supervisor()
    chosen = [program.name for program in _chosen(supervisor, names)]
    supervisor.stop(chosen, _STOP_S)
    _start(supervisor, chosen)
    return 0


def drain(timeout_s: float) -> int:
    """Stop the generator, then wait until all orders have passed all stages and all windows are closed.

    The services keep running. The exit code is 1 if something is left after ``timeout_s``.
    """
    supervisor = running_supervisor()
    settings = LocalSettings.of_running()
    supervisor.stop(["generator"], _STOP_S)
    left = wait_until_drained(_endpoints(settings, supervisor.programs()), timeout_s, report_line)
    report_line("drained" if left.done else f"not drained: {'; '.join(left.waiting_for)}")
    return 0 if left.done else 1


def _endpoints(settings: LocalSettings, programs: Iterable[Program]) -> Endpoints:
    # A stopped replica does not respond, and has no partitions.
    replicas = [each.name for each in programs if each.name.startswith("analytics-") and each.state not in ENDED]
    return Endpoints(
        settings.live_page,
        [f"http://127.0.0.1:{settings.http_port_of(replica)}" for replica in replicas],
        settings.written_outputs,
    )


def _start(supervisor: Supervisor, names: list[str]) -> None:
    supervisor.start_programs(names)
    others = {program.name for program in supervisor.programs()} - set(names)
    wait_until_ready(LocalSettings.of_running(), supervisor, report_line, others)


def _chosen(supervisor: Supervisor, names: Iterable[str]) -> list[Program]:
    programs = supervisor.programs()
    chosen: dict[str, Program] = {}
    for name in names:
        found = [each for each in programs if name in {each.name, each.name.partition("-")[0]}]
        if not found:
            known = sorted({known for each in programs for known in (each.name, each.name.partition("-")[0])})
            raise LocalModeError(
                f"no program {name!r} is part of this pipeline", advice=f"there are: {', '.join(known)}"
            )
        chosen |= {each.name: each for each in found}
    return list(chosen.values())
