"""Starts the process supervisor (supervisord) of a pipeline, and controls it over its socket.

The supervisor leads its own session, and its programs stay in that session. So its processes can be found even after the
supervisor itself was killed.
"""
# ruff: noqa: S603 - this file starts programs

import contextlib
import hashlib
import http.client
import os
import signal
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.errors import LocalModeError
from local.paths import ROOT
from local.processes import Session, session_members
from local.unix_rpc import UnixTransport

_START_S = 15.0
_END_S = 15.0
_POLL_S = 0.1
# The kernel's limit is 107 on Linux, 103 on macOS; the supervisor temporarily appends a dot and its process id.
_LONGEST_SOCKET_PATH = 94
_ADVICE = "is another command at work? `make down` ends everything"

ENDED = frozenset({"STOPPED", "EXITED", "FATAL"})


@dataclass(frozen=True)
class Program:
    """The supervisor's information about a program. ``state`` is one of the supervisor's states, such as RUNNING."""

    name: str
    state: str
    pid: int
    started_at_s: int
    exit_code: int


class Supervisor:
    """The supervisor of the pipeline in ``directory``, running or not."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._config = directory / "supervisord.conf"
        self.socket = _socket_path(directory)
        self._session_file = directory / "supervisor.session"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def config(self) -> str:
        """The configuration of the last start, or of the last change since."""
        return self._config.read_text()

    def start(self, config: str, env: Mapping[str, str]) -> None:
        """Start it with all its programs; they inherit ``env``.

        Raises:
            LocalModeError: it did not start, or another one runs in this folder.
        """
        if self.answers():
            raise LocalModeError(f"another supervisor runs in {self._directory}", advice=_ADVICE)
        self._config.write_text(config)
        output = self._directory / "logs" / "supervisord.out"
        with output.open("wb") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._config)],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._session_file.write_text(str(Session.led_by(self._child.pid)))
        deadline = time.monotonic() + _START_S
        while not self.answers():
            if self._child.poll() is not None or time.monotonic() > deadline:
                raise LocalModeError(
                    f"the supervisor did not start: {output.read_text().strip()}", advice=f"see {output}"
                )
            time.sleep(_POLL_S)

    def answers(self) -> bool:
        """Whether it responds."""
        try:
            self._call("getState")
        except LocalModeError:
            return False
        return True

    def answers_within(self, timeout_s: float) -> bool:
        """Whether it responds before the time is over."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            time.sleep(_POLL_S)
            if self.answers():
                return True
        return False

    def programs(self) -> list[Program]:
        return [
            Program(info["name"], info["statename"], info["pid"], info["start"], info["exitstatus"])
            for info in self._call("getAllProcessInfo")
        ]

    def apply(self, config: str) -> None:
        """Apply a new configuration: start added programs, stop removed ones, leave the others running."""
        self._config.write_text(config)
        [[added, changed, removed]] = self._call("reloadConfig")
        if changed:
            raise LocalModeError(
                f"this checkout has changed since the start, for {', '.join(changed)}",
                advice="stop and start the pipeline",
            )
        self.stop(removed, timeout_s=30.0)
        for name in removed:
            self._call("removeProcessGroup", name)
        for name in added:
            self._call("addProcessGroup", name)

    def stop(self, names: Iterable[str], timeout_s: float) -> None:
        """Stop programs concurrently; the supervisor kills those that exceed their grace period."""
        wanted = set(names)
        for name in wanted:
            with contextlib.suppress(LocalModeError):  # it does not run
                self._call("stopProcess", name, False)
        deadline = time.monotonic() + timeout_s
        while any(program.name in wanted and program.state not in ENDED for program in self.programs()):
            if time.monotonic() > deadline:
                raise LocalModeError(f"{', '.join(sorted(wanted))} did not stop within {timeout_s:.0f} s")
            time.sleep(_POLL_S)

    def start_programs(self, names: Iterable[str]) -> None:
        """Start the programs that do not run; returns at once."""
        ended = {program.name for program in self.programs() if program.state in ENDED}
        for name in ended & set(names):
            self._call("startProcess", name, False)

    def end(self) -> None:
        """End the supervisor; programs that still run are killed."""
        with contextlib.suppress(LocalModeError):
            self._call("shutdown")
            deadline = time.monotonic() + _END_S
            while self.is_running() and time.monotonic() < deadline:
                time.sleep(_POLL_S)
        self.kill()

    def kill(self) -> None:
        """Kill the supervisor and all of its programs.

        Raises:
            LocalModeError: they belong to another user, or do not end.
        """
        deadline = time.monotonic() + _END_S
        # The supervisor is first in the list, so that it cannot restart the programs that are killed after it.
        while pids := self.processes():
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass  # it has ended meanwhile
                except PermissionError:
                    raise LocalModeError(
                        f"process {pid} belongs to another user", advice="call the command as that user"
                    ) from None
            if time.monotonic() > deadline:
                raise LocalModeError(f"cannot be killed: process {', '.join(map(str, pids))}")
            time.sleep(_POLL_S)
        self.socket.unlink(missing_ok=True)
        self._session_file.unlink(missing_ok=True)

    def processes(self) -> list[int]:
        """The supervisor's process and all that it started."""
        if self._child:
            self._child.poll()  # reap it, or it would stay a zombie
        session = self.session()
        return [] if session is None else session_members(session, [ROOT, self._directory])

    def is_running(self) -> bool:
        """Whether any of its processes runs, or it answers: the session file may be missing, or name a process of another container."""
        return bool(self.processes()) or self.answers()

    def session(self) -> Session | None:
        """Identifies this run: the next run in the same folder has another session."""
        try:
            return Session.parse(self._session_file.read_text())
        except (OSError, ValueError):
            return None

    def _call(self, method: str, *arguments: object) -> Any:
        proxy = xmlrpc.client.ServerProxy("http://supervisor", transport=UnixTransport(self.socket))
        try:
            with proxy:
                return getattr(proxy.supervisor, method)(*arguments)
        except (OSError, http.client.HTTPException) as error:
            raise LocalModeError(f"the supervisor does not answer: {error!r}", advice=_ADVICE) from error
        except xmlrpc.client.Fault as error:
            raise LocalModeError(f"the supervisor refuses {method}: {error.faultString}", advice=_ADVICE) from error


def _socket_path(directory: Path) -> Path:
    path = directory / "supervisor.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"order-pipeline-{os.getuid()}-{digest}.sock"
