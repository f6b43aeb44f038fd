"""Runs services as processes, configured by environment variables and observed through their logs."""

import asyncio
import http.client
import itertools
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.integration.preloaded_processes import PreloadedProcess

ROOT = Path(__file__).resolve().parents[2]
ENTRY_FILES = {
    "generator": "services/generator/event_generator.py",
    "processor": "services/processor/order_processor.py",
    "analytics": "services/analytics/analytics_engine.py",
    "sink": "services/sink/data_sink.py",
}
POLL_S = 0.05
# A generous limit, not an assertion about speed: 240 were too few on a slow machine, where stacks of containers started together.
HANGS_AFTER_S = 600.0
TAIL_LINES = 40

Event = dict[str, Any]
_numbers = itertools.count(1)


async def eventually(
    condition: Callable[[], bool | Awaitable[bool]], timeout_s: float = HANGS_AFTER_S, what: str = ""
) -> None:
    """Wait until ``condition``, plain or awaitable, is true; fail after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while True:
        result = condition()
        if result if isinstance(result, bool) else await result:
            return
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what or condition}"
        await asyncio.sleep(POLL_S)


class ServiceProcess:
    """One service as a process, which the end of the ``async with`` block always ends.

    If the block fails, the last lines of the service's log are printed, so that pytest shows them.

    Args:
        service: a key of ENTRY_FILES.
        directory: the folder of the log.
        env: settings, added to the test run's own environment.
        arguments: command-line flags.
        entry_file: replaces the service's own entry file.
    """

    def __init__(
        self, service: str, directory: Path, env: dict[str, str], *arguments: str, entry_file: Path | None = None
    ) -> None:
        self.name = f"{service}-{next(_numbers)}"
        self.log = directory / f"{self.name}.log"
        self._arguments = [str(entry_file or ROOT / ENTRY_FILES[service]), *arguments]
        self._env = os.environ | {"LOG_FORMAT": "json", "HTTP_PORT": "0"} | env
        self._process: PreloadedProcess | None = None
        self._started_at = 0

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ended_before = self.process.poll()
        if ended_before is None:
            self.resume()
            self.kill()
            self.process.wait()
        if error is not None:
            state = "was still running" if ended_before is None else f"had exited with {ended_before}"
            sys.stdout.write(f"--- {self.name} {state}; the end of its log:\n{self.tail()}\n")

    @property
    def process(self) -> PreloadedProcess:
        assert self._process, f"{self.name} was not started"
        return self._process

    def start(self) -> None:
        """Start or restart it; a restart appends to the same log file."""
        self.log.touch()
        self._started_at = self.log.stat().st_size
        self._process = PreloadedProcess(self._arguments, self._env, self.log)

    def terminate(self) -> None:
        self.process.terminate()

    def kill(self) -> None:
        self.process.kill()

    def pause(self) -> None:
        """Suspend it (SIGSTOP), as a pause of a virtual machine would; see ``resume``."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    async def wait(self, timeout_s: float = HANGS_AFTER_S) -> int:
        """Wait for its end; returns the exit code."""
        await eventually(lambda: self.process.poll() is not None, timeout_s, f"{self.name} ends")
        assert self.process.returncode is not None
        return self.process.returncode

    async def all_sent(self) -> int:
        """End a generator; returns the number of orders that it has sent."""
        self.terminate()
        assert await self.wait() == 0
        return int((await self.wait_for("all orders sent"))["sent"])

    def events(self) -> list[Event]:
        """The log events since its last start; lines that are not JSON have the key ``raw``."""
        # Text after the last line break is still being written.
        lines = self.log.read_bytes()[self._started_at :].split(b"\n")[:-1]
        return [_parse(line) for line in lines]

    async def wait_for(self, event: str, timeout_s: float = HANGS_AFTER_S, **fields: object) -> Event:
        """Wait for a log event with this name and these fields; returns the first one.

        Fails at once if the process ends without it.
        """
        wanted = {"event": event, **fields}
        deadline = time.monotonic() + timeout_s
        while True:
            ended = self.process.poll() is not None
            found = next((line for line in self.events() if wanted.items() <= line.items()), None)
            if found is not None:
                return found
            assert not ended, f"{self.name} exited with {self.process.returncode} and never logged {wanted}"
            assert time.monotonic() < deadline, f"{self.name} did not log {wanted} within {timeout_s} s"
            await asyncio.sleep(POLL_S)

    async def health(self) -> tuple[int, Event]:
        """The current response of ``/health``: HTTP status and report."""
        port = (await self.wait_for("service started"))["http_port"]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANGS_AFTER_S)
        try:
            connection.request("GET", "/health")
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    async def healthy(self, timeout_s: float = HANGS_AFTER_S) -> None:
        """Wait until ``/health`` responds with 200."""

        async def responds_ok() -> bool:
            return (await self.health())[0] == 200

        await eventually(responds_ok, timeout_s, f"{self.name} is healthy")

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:])


def _parse(line: bytes) -> Event:
    try:
        parsed = json.loads(line)
    except ValueError:
        parsed = None
    return parsed if isinstance(parsed, dict) else {"event": "", "raw": line.decode(errors="replace")}
