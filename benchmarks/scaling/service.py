"""Runs one of our services as a process, and reads its health, log and memory."""

import contextlib
import time
from collections.abc import Collection, Mapping
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
    """A service has failed; the message has the end of its log."""


class Service:
    """A replica; ``name`` is one of the four services, ``settings`` are added to those for its log and port."""

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
        """Peak resident memory since its last start (VmHWM); the last known value if it has ended."""
        for pid in self.program.pids():
            with contextlib.suppress(OSError):
                self._peak_bytes = peak_bytes(pid)
        return self._peak_bytes

    def events(self, *names: str) -> list[dict[str, Any]]:
        """The log events with these names since its last start."""
        with self.program.log.open("rb") as log:
            log.seek(self._log_from)
            lines = [line for line in log if line.endswith(b"\n") and line.startswith(b"{")]
        return [event for event in map(orjson.loads, lines) if event["event"] in names]

    @property
    def assigned(self) -> list[int] | None:
        """Its last assigned partitions; None before the first assignment."""
        found = self.events("partitions assigned")
        return found[-1]["partitions"] if found else None

    @property
    def has_started_its_partitions(self) -> bool:
        """Whether it has started all partitions of its last assignment."""
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
        """Raise ServiceFailedError if it has ended with a non-zero exit code."""
        if self.program.exit_code:
            raise ServiceFailedError(f"{self.name} ended:\n{self.program.tail()}")


def core_shares(services: Collection[Service], since: Mapping[Service, tuple[float, float]]) -> dict[Service, float]:
    """The share of a core that each has used ``since`` a previous sample: monotonic time and CPU seconds."""
    return {each: (each.cpu_s - since[each][1]) / (time.monotonic() - since[each][0]) for each in services}


def broker_cores(cores: Collection[int]) -> set[int]:
    """The cores of broker and benchmark, whatever the number of replicas: at least two, and all that three replicas leave."""
    return set(sorted(cores)[: max(_LEAST_FOR_BROKER, len(cores) - MOST_REPLICAS)])


def core_of(cores: Collection[int], replica: int) -> int:
    """The core of a replica, counted from 0: from the last core down, wrapping around."""
    return sorted(cores, reverse=True)[replica % len(cores)]


def describe_cores(cores: Collection[int]) -> str:
    """The distribution of the cores as text."""
    brokers = broker_cores(cores)
    alone = len({core_of(cores, replica) for replica in range(MOST_REPLICAS)} - brokers)
    whose = "its" if alone == 1 else "their"
    rest = "" if alone == MOST_REPLICAS else ", any further one shares the broker's"
    return (
        f"{len(cores)} cores for all: broker and benchmark on {len(brokers)} of them, "
        f"{alone} of {MOST_REPLICAS} replicas on a core of {whose} own{rest}"
    )
