"""Whether started programs are ready: all respond, and still do a little later."""

from collections.abc import Callable, Iterable

from local.probes import health_of, kafka_answers, zookeeper_answers
from local.programs import INFRASTRUCTURE, SERVICE_STARTED_AFTER_S
from local.settings import LocalSettings
from local.supervision import Program

_NEEDED_FIRST = ("zookeeper", "kafka")


class Readiness:
    """The programs that are ``waiting`` and those that have ``failed``, those that others depend on first.

    ``settled`` is set when all have responded twice: a service is healthy before its work begins, which may end it.
    """

    def __init__(self, settings: LocalSettings, report: Callable[[str], None]) -> None:
        self.waiting: list[Program] = []
        self.failed: list[Program] = []
        self.settled = False
        self._settings = settings
        self._report = report
        self._reported: set[str] = set()
        self._ready: set[str] = set()
        self._all_ready_from_s: float | None = None
        self._pids: dict[str, int] = {}

    def look(self, programs: Iterable[Program], elapsed_s: float) -> None:
        """Take in the state of ``programs``, ``elapsed_s`` after their start; reports each one that responds."""
        programs = sorted(programs, key=_needed_first)
        long_enough = (
            self._all_ready_from_s is not None and elapsed_s - self._all_ready_from_s >= SERVICE_STARTED_AFTER_S
        )
        if long_enough:
            self._ready.clear()
        for program in programs:
            if program.name not in self._ready and _is_ready(self._settings, program):
                self._ready.add(program.name)
                self._report_once(program.name, elapsed_s)
        self.failed = [program for program in programs if self._has_failed(program)]
        self.waiting = [program for program in programs if program.name not in self._ready]
        if self.failed or self.waiting:
            self._all_ready_from_s = None
        elif self._all_ready_from_s is None:
            self._all_ready_from_s = elapsed_s
        else:
            self.settled = long_enough

    def _report_once(self, name: str, elapsed_s: float) -> None:
        if name not in self._reported:
            self._reported.add(name)
            self._report(f"  {name:<14}{'ready':<8}{elapsed_s:5.1f} s")

    def _has_failed(self, program: Program) -> bool:
        """Whether a program has failed. Services wait for their dependencies, so one that ends has a bad setting or a bug.

        ZooKeeper and Kafka may need more than one start after a crash.
        """
        if program.name in INFRASTRUCTURE:
            return program.state == "FATAL"
        if program.state in {"STOPPING", "STOPPED"}:  # by another command, which may start it again
            self._pids.pop(program.name, None)
            return False
        # The supervisor may have started it again between two looks.
        is_another = program.pid != 0 and self._pids.setdefault(program.name, program.pid) != program.pid
        return is_another or (program.state in {"FATAL", "BACKOFF", "EXITED"} and not _ended_well(program))


def _needed_first(program: Program) -> int:
    return _NEEDED_FIRST.index(program.name) if program.name in _NEEDED_FIRST else len(_NEEDED_FIRST)


def _is_ready(settings: LocalSettings, program: Program) -> bool:
    if program.name == "zookeeper":
        return zookeeper_answers(settings.zookeeper_port)
    if program.name == "kafka":
        return kafka_answers(settings.kafka_port)
    return _ended_well(program) or (
        program.state == "RUNNING" and health_of(settings.http_port_of(program.name)) == "ok"
    )


def _ended_well(program: Program) -> bool:
    """The generator may have ended after its configured count."""
    return program.state == "EXITED" and program.exit_code == 0
