"""The state of all programs, as a table or as JSON."""

import time
from collections.abc import Iterable

from local.probes import health_of, kafka_answers, zookeeper_answers
from local.programs import STARTED_FILES
from local.settings import LocalSettings
from local.supervision import Program

_HEADERS = ("PROGRAM", "STATE", "PID", "UP", "PORT", "HEALTH")
_ORDER = ("zookeeper", "kafka", *STARTED_FILES)


def status_table(settings: LocalSettings, programs: Iterable[Program]) -> str:
    """One row for each program, in the order of the data flow."""
    return _table([_HEADERS, *(_row(settings, program) for program in sorted(programs, key=_place))])


def status_json(settings: LocalSettings, programs: Iterable[Program]) -> dict[str, object]:
    """The same as JSON values: the pipeline's addresses, and its programs.

    ``state`` is "running"; if nothing runs, the caller replaces it. A program's ``health`` is "ok", the reason why not, or "no
    answer"; ``started_at_s`` is in epoch seconds, ``pid`` is 0 for one that does not run, ``exit_code`` is its last one.
    """
    return {
        "state": "running",
        "directory": str(settings.directory),
        "bootstrap_servers": settings.bootstrap_servers,
        "live_page": settings.live_page,
        "window_seconds": settings.window_seconds,
        "sink_outputs": settings.written_outputs,
        "programs": [
            {
                "name": program.name,
                "service": program.name.partition("-")[0],
                "state": program.state,
                "pid": program.pid,
                "started_at_s": program.started_at_s,
                "exit_code": program.exit_code,
                **dict(zip(("port", "health"), _port_and_health(settings, program), strict=True)),
            }
            for program in sorted(programs, key=_place)
        ],
    }


def _place(program: Program) -> tuple[int, int]:
    kind, _, replica = program.name.partition("-")
    return _ORDER.index(kind), int(replica or 0)


def _port_and_health(settings: LocalSettings, program: Program) -> tuple[int, str]:
    if program.name == "zookeeper":
        port = settings.zookeeper_port
        return port, "ok" if zookeeper_answers(port) else "no answer"
    if program.name == "kafka":
        port = settings.kafka_port
        return port, "ok" if kafka_answers(port) else "no answer"
    port = settings.http_port_of(program.name)
    return port, health_of(port)


def _row(settings: LocalSettings, program: Program) -> tuple[str, ...]:
    port, health = _port_and_health(settings, program)
    if program.pid:
        up_s = int(time.time()) - program.started_at_s
        up = f"{up_s // 3600}:{up_s // 60 % 60:02}:{up_s % 60:02}"
        return program.name, program.state, str(program.pid), up, str(port), health
    exit_code = f"exit {program.exit_code}" if program.state == "EXITED" else ""
    return program.name, program.state, "", "", str(port), exit_code


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
