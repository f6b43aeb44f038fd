"""One of our services as a process, looked at from outside: its health, its log, its memory."""

import contextlib
import time
from collections.abc import Collection, Mapping
from datetime import datetime
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import orjson

from benchmarks.process_figures import peak_bytes
from benchmarks.processes import ROOT, Program
from libs.runtime.errors import PipelineError
from local.ports import free_ports
from local.programs import ENTRY_FILES

MOST_REPLICAS = 3
_LEAST_FOR_BROKER = 2


class ServiceFailedError(PipelineError):
    """A service did not do its work; the message has the end of its log."""


class Service:
    """A replica; ``name`` is one of the four services, ``settings`` go beside those for its log and its port."""

    def __init__(self, python: str, name: str, log: Path, settings: Mapping[str, str], cores: Collection[int]) -> None:
        self.name = name
        self._port = free_ports(1)[0]
        env = {"LOG_FORMAT": "json", "LOG_LEVEL": "info", "HTTP_PORT": str(self._port), **settings}
        command = [python, str(ROOT / ENTRY_FILES[name])]
        self.program = Program(command, env, cores, log)
        self._log_from = 0
        self._peak_bytes = 0

    def start(self) -> None:
        log = self.program.log
        self._log_from = log.stat().st_size if log.exists() else 0
        self._peak_bytes = 0
        self.program.start()

    def stop(self) -> None:
        self.program.stop()

    @property
    def cpu_s(self) -> float:
        return self.program.usage().cpu_s

    @property
    def rss_bytes(self) -> int:
        return self.program.usage().rss_bytes

    @property
    def peak_bytes(self) -> int:
        """The most memory resident since its last start, as the kernel keeps it (VmHWM); of the last look if it ended."""
        for pid in self.program.pids():
            with contextlib.suppress(OSError):
                self._peak_bytes = peak_bytes(pid)
        return self._peak_bytes

    def events(self, *names: str) -> list[dict[str, Any]]:
        """What it has logged by these names since its last start."""
        with self.program.log.open("rb") as log:
            log.seek(self._log_from)
            lines = [line for line in log if line.endswith(b"\n") and line.startswith(b"{")]
        return [event for event in map(orjson.loads, lines) if event["event"] in names]

    @property
    def assigned(self) -> list[int] | None:
        """The partitions that it was given last; None before it was given any, or none."""
        found = self.events("partitions assigned")
        return found[-1]["partitions"] if found else None

    @property
    def works_its_partitions(self) -> bool:
        """Whether it has started all partitions that it was given last."""
        events = self.events("partitions assigned", "partition started")
        last = max((at for at, event in enumerate(events) if event["event"] == "partitions assigned"), default=None)
        return last is not None and len(events) - last - 1 >= len(events[last]["partitions"])

    @property
    def healthy(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=2)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == HTTPStatus.OK
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def check(self) -> None:
        """Raise ServiceFailedError if it has ended in any way but a good one."""
        if self.program.exit_code:
            raise ServiceFailedError(f"{self.name} ended:\n{self.program.tail()}")


def logged_at_s(event: Mapping[str, Any]) -> float:
    """When it was logged, in epoch seconds."""
    return datetime.fromisoformat(event["timestamp"]).timestamp()


def core_shares(services: Collection[Service], since: Mapping[Service, tuple[float, float]]) -> dict[Service, float]:
    """The share of a core that each has used ``since`` it was looked at: a monotonic time, and CPU seconds."""
    return {each: (each.cpu_s - since[each][1]) / (time.monotonic() - since[each][0]) for each in services}


def broker_cores(cores: Collection[int]) -> set[int]:
    """The broker's and the benchmark's, the same however many replicas there are: two, and what three replicas leave."""
    return set(sorted(cores)[: max(_LEAST_FOR_BROKER, len(cores) - MOST_REPLICAS)])


def core_of(cores: Collection[int], replica: int) -> int:
    """The core of a replica, counted from 0: from the last core down, around again when there are no more."""
    return sorted(cores, reverse=True)[replica % len(cores)]


def told(cores: Collection[int]) -> str:
    """The same in words."""
    brokers = broker_cores(cores)
    alone = len({core_of(cores, replica) for replica in range(MOST_REPLICAS)} - brokers)
    whose = "its" if alone == 1 else "their"
    rest = "" if alone == MOST_REPLICAS else ", any further one shares the broker's"
    return (
        f"{len(cores)} cores for all: broker and benchmark on {len(brokers)} of them, "
        f"{alone} of {MOST_REPLICAS} replicas on a core of {whose} own{rest}"
    )
