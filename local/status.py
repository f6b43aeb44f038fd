"""What runs, as a table."""

import time
from collections.abc import Iterable

from local.probes import health_of, kafka_answers, zookeeper_answers
from local.programs import STARTED_FILES
from local.settings import LocalSettings
from local.supervision import Program

_HEADERS = ("PROGRAM", "STATE", "PID", "UP", "PORT", "HEALTH")
_ORDER = ("zookeeper", "kafka", *STARTED_FILES)


def status_table(settings: LocalSettings, programs: Iterable[Program]) -> str:
    """One line a program, in the order in which the data flows."""
    return _table([_HEADERS, *(_row(settings, program) for program in sorted(programs, key=_place))])


def _place(program: Program) -> tuple[int, int]:
    kind, _, replica = program.name.partition("-")
    return _ORDER.index(kind), int(replica or 0)


def _row(settings: LocalSettings, program: Program) -> tuple[str, ...]:
    if program.name == "zookeeper":
        port = settings.zookeeper_port
        health = "ok" if zookeeper_answers(port) else "no answer"
    elif program.name == "kafka":
        port = settings.kafka_port
        health = "ok" if kafka_answers(port) else "no answer"
    else:
        port = settings.http_port_of(program.name)
        health = health_of(port)
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
